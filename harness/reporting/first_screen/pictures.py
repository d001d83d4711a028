"""The picture of a page's first screen: a few rows, each with a name, an interval, a number and a verdict.

It is drawn by the page itself, so that it is text: it fits any width, is read aloud, found, and printed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.reporting.contrasts import arm, contrast, level
from harness.reporting.first_screen.model import Bar, Picture
from harness.reporting.ladder_steps import ladders
from harness.reporting.search.tables import value_words
from harness.reporting.verdict_text import inside_margin
from harness.settings.schema import WINNER
from harness.stats.verdicts import IDENTICAL
from harness.text import between, hundredths, percent, points, significant, spaced, span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence
    from harness.reporting.ladder_steps import Ladder
    from harness.reporting.search.data import SearchData

    Row = Mapping[Any, Any]

MOST = 6  # rows
TONES = {"better": "better", "worse": "worse", "same within margin": "same", IDENTICAL: "same"}


def of_study(evidence: Evidence) -> Picture | None:
    """Draw a ladder's climb, the choices of a grid that asks what matters, else the verdicts."""
    reading = evidence.reading
    if reading.design == "ladder":
        return _climb(evidence)
    if evidence.asks_what_matters and reading.trials["val_accuracy"].notna().any():
        chosen = _choices(evidence)
        if chosen is not None:
            return chosen
    return forest(evidence.main)


def forest(judged: Verdicts, link: str = "verdicts") -> Picture | None:
    """Draw the verdicts of a family, the largest differences of each data set; None without any."""
    rows: Sequence[Row] = [row for row in judged.table.to_dict("records") if row["n"]]
    if not rows:
        return None
    if len(rows) > MOST and any(row["within"] for row in rows):
        return _ranges(judged, rows, link)
    shown = _most_telling(rows, lambda row: abs(row["difference"]))
    several = len(judged.datasets) > 1
    title, name = _names(judged, shown)
    bars = []
    for row in shown:
        small = ", ".join(filter(None, (row["dataset"] if several else "", row["within"])))
        words = f"{points(row['difference'], sign=True)} ({span(row)})"
        said = ", ".join(filter(None, (row["verdict"], inside_margin(row))))
        bars.append(
            Bar(name(row), small, row["difference"], row["low"], row["high"], words, said,
                TONES.get(row["verdict"], "open"))
        )  # fmt: skip
    note = f"{_lines(bars)} Band: as good as equal."
    return Picture(title, note, bars, len(rows) - len(shown), link, 0.0, judged.family.margin)


def _lines(bars: Sequence[Bar]) -> str:
    """Say what the lines of a picture are."""
    some = any(math.isfinite(bar.low) for bar in bars)
    return "Lines: 95\u00a0% intervals." if some else "There are no intervals."


def _names(judged: Verdicts, rows: Sequence[Row]) -> tuple[str, Callable[[Row], str]]:
    """Return a title and the name of a row; a reference that all rows share stands in the title alone."""
    metric = spaced(judged.family.metric)
    references = {level(row) for row in rows}
    if len(references) == 1:
        return f"Points of {metric} above {references.pop()}", arm
    return f"Difference in {metric}, in points", contrast


def _ranges(judged: Verdicts, rows: Sequence[Row], link: str) -> Picture:
    """Draw each contrast once, from its least to its greatest difference over all combinations."""
    title, name_of = _names(judged, rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(name_of(row), []).append(row)
    bars = []
    for name, cells in groups.items():
        low, *_, high = sorted(row["difference"] for row in [*cells, *cells])
        tones = [TONES.get(row["verdict"], "open") for row in cells]
        seen = [f"{tones.count(tone)} {tone}" for tone in dict.fromkeys(TONES.values()) if tone in tones]
        seen += [f"{tones.count('open')} open"] if "open" in tones else []
        words = between([points(low, sign=True), points(high, sign=True)])
        tone = tones[0] if len(set(tones)) == 1 else "open"
        bars.append(Bar(name, "", math.nan, low, high, words, ", ".join(seen), tone))
    bars.sort(key=lambda bar: -max(abs(bar.low), abs(bar.high)))
    note = "Lines: least to greatest. Band: as good as equal."
    return Picture(title, note, bars[:MOST], len(bars[MOST:]), link, 0.0, judged.family.margin)


def _most_telling(rows: Sequence[Row], size: Callable[[Row], float]) -> list[Row]:
    """Return up to MOST rows, the largest of each data set, data sets in their order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["dataset"], []).append(row)
    each = max(1, MOST // len(groups))
    shown = [row for group in groups.values() for row in sorted(group, key=size, reverse=True)[:each]]
    return shown[:MOST]


def _choices(evidence: Evidence) -> Picture | None:
    """Draw how far apart the levels of each choice of a grid are."""
    reading = evidence.reading
    rows: Sequence[Row] = reading.spreads.to_dict("records")
    if not rows:
        return None
    shown = _most_telling(rows, lambda row: row["spread"])
    several = len(reading.datasets) > 1
    bars = [
        Bar(row["axis"], row["dataset"] if several else "", row["spread"], row["low"], row["high"],
            f"{points(row['spread'])} ({span(row)})",
            "" if math.isnan(row["share"]) else f"{percent(row['share'])} of variance")
        for row in shown
    ]  # fmt: skip
    title = "Best minus worst level, val accuracy in points"
    note = f"{_lines(bars)} Exploratory."
    return Picture(title, note, bars, len(rows) - len(shown), "choices", 0.0)


def _climb(evidence: Evidence) -> Picture | None:
    every = [one for one in ladders(evidence.reading) if one.splits]
    if not every:
        return None
    split = "test" if all("test" in one.splits for one in every) else every[0].splits[0]
    verdicts = {
        (row["dataset"], row["arm"], row["reference"]): row for row in evidence.main.table.to_dict("records")
    }
    rows = [row for one in every for row in _steps(one, split, verdicts)]
    shown = _telling_steps(rows)
    several = len(every) > 1
    bars = []
    for row in shown:
        words = f"{percent(row['mean'])} ({span(row, hundredths)})" if row["n"] else "no data"
        small = row["dataset"] if several else ""
        bars.append(
            Bar(row["label"], small, row["mean"], row["low"], row["high"], words, row["said"], row["tone"])
        )
    link = "rungs" if not several else "steps"
    note = f"{_lines(bars)} Right: against the step before, in points."
    title = f"{split.capitalize()} accuracy, step by step"
    return Picture(title, note, bars, len(rows) - len(shown), link)


def _steps(one: Ladder, split: str, verdicts: Mapping[tuple[str, str, str], Row]) -> list[dict[str, Any]]:
    """Return a row a step: its accuracy, and the verdict on its change since the step before."""
    accuracy = one.accuracy(split).set_index("label")
    rows = []
    for step in one.steps:
        before = one.before(step)
        row = None if before is None else verdicts.get((one.dataset, step.arm, before.arm))
        said, tone, size = "", "open", math.inf  # the first step is always shown
        if row is not None and row["n"]:
            said = f"{row['verdict']} {points(row['difference'], sign=True)}"
            tone, size = TONES.get(row["verdict"], "open"), abs(row["difference"])
        elif before is not None:
            said, size = "nothing new" if before.arm == step.arm else "no verdict", 0.0
        facts = accuracy.loc[step.label]
        rows.append(
            {"dataset": one.dataset, "label": step.label, "said": said, "tone": tone, "size": size, **facts}
        )
    rows[-1]["size"] = math.inf  # and so is the last
    return rows


def _telling_steps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the ends of each ladder and its largest steps, in the ladder's order."""
    kept = sorted(range(len(rows)), key=lambda place: -rows[place]["size"])[:MOST]
    return [rows[place] for place in sorted(kept)]


def of_search(search: SearchData) -> Picture | None:
    """Draw the winner against its baseline with fresh seeds; before that, the best suggestions."""
    confirmed, judged = search.confirmed, search.judged
    drawn = None if confirmed is None or judged is None else _confirmed(confirmed, judged)
    return drawn or _best(search)


def _confirmed(confirmed: ReportData, judged: Verdicts) -> Picture | None:
    metric, trials = judged.family.metric, confirmed.trials
    done = stats.finished(trials, metric) if metric in trials else trials.iloc[:0]
    if done.empty:
        return None
    table = stats.summarise(done, ["dataset", "arm"], metric)
    verdict = {row["arm"]: row for row in judged.table.to_dict("records") if row["n"]}
    bars = []
    for row in table.to_dict("records"):
        said = verdict.get(row["arm"])
        words = "" if said is None else f"{said['verdict']} {points(said['difference'], sign=True)}"
        tone = "open" if said is None else TONES.get(said["verdict"], "open")
        name = row["arm"] if row["arm"] != WINNER else f"{WINNER} of the search"
        number = f"{_metric(metric, row['mean'])} ({span(row, _ends(metric))})"
        bars.append(Bar(name, "", row["mean"], row["low"], row["high"], number, words, tone))
    title = f"{spaced(metric).capitalize()} of winner and baseline, with fresh seeds"
    note = f"{_lines(bars)} Right: the difference, in points."
    return Picture(title, note, bars, 0, "confirmation")


def _metric(metric: str, value: float) -> str:
    return percent(value, 2) if metric.endswith("accuracy") else significant(value, 4)


def _ends(metric: str) -> Callable[[float], str]:
    return hundredths if metric.endswith("accuracy") else significant


def _best(search: SearchData) -> Picture | None:
    """Draw the best complete suggestions by the leading objective, which chose them."""
    objective = search.objective
    complete: pd.DataFrame = search.complete.sort_values(
        "value", ascending=not objective.maximize, kind="stable"
    )
    if complete.empty:
        return None
    bars = [
        Bar(row["arm"], "", row["value"], math.nan, math.nan, value_words(objective, float(row["value"])))
        for row in complete.head(MOST).to_dict("records")
    ]
    title = f"The best suggestions by {spaced(objective.name)}"
    note = "Chosen by these numbers, so they flatter."
    return Picture(title, note, bars, len(complete) - len(bars), "all-suggestions")
