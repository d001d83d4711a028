"""The page of a campaign, README.md in its folder: standings, verdicts and a figure, from its tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anytime_figure
import pandas as pd
import standings
from campaign import CELLS, CONFIRMED, read
from standings import MARGIN, NEAR, OURS

from harness.plots.style import save

FIGURE, PAGE = "anytime", "README.md"
COLUMNS = (
    "method", "seconds to come near", "repeats that came near", "best val", "incumbent on test", "tried",
    "epochs", "both cores busy",
)  # fmt: skip
SAME = "same within margin"
AHEAD = 2.0
"""How many times as long as the harness another method is to take to come near the best."""


def write(folder: Path, titles: Mapping[str, str]) -> Path | None:
    """Write the page and the figure of a campaign's folder; None while there is nothing to compare.

    `titles` names methods, in the order of the page.
    """
    finished = read(folder / CELLS)
    cells = standings.whole_repeats(finished) if len(finished) else finished
    if not len(cells):
        return None
    found = standings.curves(folder, cells)
    best, near = standings.target(found)
    if math.isnan(best):
        return None
    reached = standings.times(cells, found, near)
    named = {name: title for name, title in titles.items() if name in set(cells["method"])}
    save(anytime_figure.figure(cells, found, reached, named, best, near), folder / FIGURE)
    means = (
        standings.confirmed_means(read(folder / CONFIRMED), cells) if (folder / CONFIRMED).is_file() else None
    )
    unpaired = sorted({*finished["repeat"]} - {*cells["repeat"]})
    lines = [*_head(cells, best, near, unpaired), *_standings(cells, reached, means, named)]
    lines += [*_time_verdicts(reached, named), *_test_verdicts(means, named)]
    page = folder / PAGE
    page.write_text("\n".join([*lines, *_machine(cells)]) + "\n", encoding="utf-8")
    return page


def _head(cells: pd.DataFrame, best: float, near: float, unpaired: Sequence[int]) -> Iterator[str]:
    first = cells.iloc[0]
    repeats = cells["repeat"].nunique()
    minutes = f"{first['minutes']:g} minutes a cell"
    yield f"# Anytime comparison: {first['problem']} space, {minutes}, repeats: {repeats}"
    yield ""
    yield "Written by `nox -s anytime` from the tables beside it; docs/anytime.md says how it is done."
    yield ""
    yield (
        f"The best val accuracy that any method reached in any repeat is {_percent(best)}; "
        f"*near* it is within {100 * NEAR:.1f} points, {_percent(near)}."
    )
    yield ""
    if unpaired:
        yield f"Left out, since not every method has finished it: repeat {', '.join(map(str, unpaired))}."
        yield ""
    yield f"![best val accuracy so far, and seconds to come near the best]({FIGURE}.png)"
    yield ""


def _standings(
    cells: pd.DataFrame, reached: pd.DataFrame, means: pd.DataFrame | None, titles: Mapping[str, str]
) -> Iterator[str]:
    """Yield the table of all methods: medians over repeats, with their intervals."""
    yield "Median over repeats (interval of the median).\n"
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{len(COLUMNS) * '---|'}"
    for name, title in titles.items():
        own, time = cells[cells["method"].eq(name)], reached[reached["method"].eq(name)]
        seconds = time["seconds"].fillna(math.inf)
        busy = own["cpu_seconds"] / (2 * 60 * own["minutes"])
        tested = "" if means is None else _tested(means[means["method"].eq(name)])
        columns = [
            title,
            _spread(seconds, _seconds),
            f"{int(time['seconds'].notna().sum())} of {len(time)}",
            _spread(own["best_val_accuracy"], _percent),
            tested,
            _spread(own["configurations"], _whole),
            _spread(own["epochs"], _whole),
            _spread(busy, lambda share: f"{100 * share:.0f} %"),
        ]
        yield f"| {' | '.join(columns)} |"
    yield ""


def _tested(means: pd.DataFrame) -> str:
    lost = int(means["status"].ne("ok").sum())
    words = _spread(means["test_accuracy"].dropna(), _percent)
    return f"{words}; {lost} not trained to the end" if lost else words


def _time_verdicts(reached: pd.DataFrame, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield how long the others take, repeat by repeat, and where the harness is not ahead."""
    others = [name for name in titles if name != OURS]
    if OURS not in titles or not others:
        return
    table = standings.judged(standings.log_times(reached), "log2_seconds", None, higher=False)
    yield "## Seconds to come near the best, repeat by repeat\n"
    yield "A time that was never reached counts as the whole time of the cell: the ratio is a bound there."
    yield "Verdicts are of paired t tests of the logarithms, p values corrected for their number (Holm).\n"
    yield "| method | times as long as the harness, median (interval) | the harness |"
    yield "|---|---|---|"
    medians, behind = {}, []
    for row in table.to_dict("records"):
        name = row["reference"]
        ratios = _ratios(reached, name)
        medians[name] = standings.median(ratios)[0]
        yield f"| {titles[name]} | {_spread(ratios, _times)} | {_verdict(row)} |"
        if not medians[name] >= AHEAD and not name.startswith(OURS):
            behind.append(titles[name])
    yield ""
    if behind:
        yield f"**Not {AHEAD:g} times as long in the median: {'; '.join(behind)}.**\n"
    else:
        yield f"All other tools take at least {AHEAD:g} times as long in the median.\n"


def _ratios(reached: pd.DataFrame, name: str) -> list[float]:
    """Return seconds of a method over the harness's, repeat by repeat."""
    known = reached.assign(known=reached["seconds"].fillna(reached["end"]))
    seconds = known.pivot_table(index="repeat", columns="method", values="known")
    return [float(ratio) for ratio in seconds[name] / seconds[OURS]]


def _test_verdicts(means: pd.DataFrame | None, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the differences of confirmed test accuracy, and who is better than the harness."""
    if means is None or OURS not in set(means["method"]) or means["method"].nunique() < 2:
        yield "The incumbents are not confirmed yet.\n"
        return
    table = standings.judged(means, "test_accuracy", MARGIN, higher=True)
    yield "## Confirmed test accuracy, repeat by repeat\n"
    yield (
        "Incumbents trained anew with fresh seeds, a mean a repeat; the same within "
        f"{100 * MARGIN:.1f} points by two one-sided tests; p values corrected for their number (Holm).\n"
    )
    yield "| the harness minus | points [95 %] | the harness |"
    yield "|---|---|---|"
    for row in table.to_dict("records"):
        between = f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
        interval = "no interval" if math.isnan(row["low"]) else between
        points = f"{100 * row['difference']:+.2f} {interval}"
        yield f"| {titles[row['reference']]} | {points} | {_verdict(row)} |"
    others = [row for row in table.to_dict("records") if not row["reference"].startswith(OURS)]
    worse = [titles[row["reference"]] for row in others if row["verdict"] == "worse"]
    lower = [titles[row["reference"]] for row in others if row["difference"] < 0]
    yield ""
    yield f"**Better than the harness: {'; '.join(worse) or 'none by these tests'}.**"
    yield f"Higher in the mean: {'; '.join(lower) or 'none'}.\n"


def _verdict(row: Mapping[Any, Any]) -> str:
    """Write a verdict with the corrected p value of the test that decided it."""
    p = row["p_same_holm" if row["verdict"] == SAME else "p_holm"]
    return str(row["verdict"]) if pd.isna(p) else f"{row['verdict']} (p {p:.2g})"


def _machine(cells: pd.DataFrame) -> Iterator[str]:
    yield "## Versions and machine\n"
    for name, own in cells.groupby("method", sort=False):
        yield f"- {name}: {'; '.join(map(str, dict.fromkeys(own['version'])))}"
    load = _spread(cells["load"], lambda value: f"{value:.1f}")
    yield f"- {'; '.join(map(str, dict.fromkeys(cells['processor'])))}; load when a cell began: {load}"


def _spread(values: Sequence[float] | pd.Series[Any], written: Callable[[float], str]) -> str:
    """Write a median and its interval."""
    middle, low, high = standings.median([float(value) for value in values])
    return "" if math.isnan(middle) else f"{written(middle)} ({written(low)} to {written(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def _times(value: float) -> str:
    return f"{value:.1f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
