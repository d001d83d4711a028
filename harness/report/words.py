"""What came out, in sentences that numbers back: each with its interval, each doubt said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from harness import stats
from harness.plots import percent
from harness.report.reading import Comparison, Reading, comparisons, rank


def answers(reading: Reading) -> list[str]:
    """Say what came out, a paragraph a data set; every number with its interval, every doubt as one."""
    if not reading.trials["status"].eq("ok").any():
        return ["No trial has finished yet, so there is nothing to conclude."]
    ranking = rank(reading)
    return [
        " ".join([*_choices(reading, dataset), *_best(ranking[ranking["dataset"].eq(dataset)], dataset)])
        for dataset in reading.datasets
    ]


def _choices(reading: Reading, dataset: str) -> Iterator[str]:
    """What mattered on one data set, by design."""
    if reading.trials["val_accuracy"].notna().sum() == 0:
        yield f"On {dataset} there is no validation accuracy, and nothing is chosen on test: no verdict."
    elif reading.design == "grid":
        yield from _spread_words(stats.axis_spreads(reading.trials, reading.axes), dataset)
    else:
        for comparison in comparisons(reading):
            yield from _contrast_words(comparison, dataset)


def _spread_words(spreads: pd.DataFrame, dataset: str) -> Iterator[str]:
    here = spreads[spreads["dataset"].eq(dataset)].to_dict("records")
    if not here:
        return
    first, rest = here[0], here[1:]
    yield (
        f"On {dataset} the {first['axis']} mattered most: averaged over everything else, val accuracy goes from "
        f"{percent(first['worst_mean'])} ({first['worst']}) to {percent(first['best_mean'])} ({first['best']}), "
        f"a spread of {points(first['spread'])} points ({interval(first)})."
    )
    close = [other for other in rest if other["high"] >= first["low"]]
    if close:
        names = " and ".join(f"the {other['axis']} ({points(other['spread'])} points)" for other in close)
        yield f"Close to it: {names}; the intervals overlap, so their order is open."
    after = [other for other in rest if other not in close]
    if after:
        words = (f"the {other['axis']} ({points(other['spread'])} points, {interval(other)})" for other in after)
        yield f"{'Then' if not close else 'After them'}: {', '.join(words)}."


def _contrast_words(comparison: Comparison, dataset: str) -> Iterator[str]:
    here = comparison.contrasts[comparison.contrasts["dataset"].eq(dataset)]
    if here.empty:
        yield f"On {dataset} no arm finished a seed that {comparison.reference} finished too."
        return
    row = here.loc[here["difference"].abs().idxmax()]
    told = row["low"] > 0 or row["high"] < 0
    yield (
        f"On {dataset} the largest change from {comparison.reference} is {row['label']}: "
        f"{points(row['difference'], sign=True)} points of val accuracy ({interval(row)})."
    )
    if row["n"] > 1 and not told:
        yield "Its interval contains 0: with these seeds it cannot be told from no change."
    elif row["n"] > 1:
        clear = int(((here["low"] > 0) | (here["high"] < 0)).sum())
        yield f"Of {len(here)} such differences {clear} have an interval that excludes 0 (each by itself, uncorrected)."


def _best(ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    ranked = ranking[ranking["rank"].notna()]
    if ranked.empty:
        yield f"On {dataset} no arm has a finished trial with a validation accuracy."
        return
    best = ranked.iloc[0]
    among = f"The best of {len(ranked)} arms by validation" if len(ranked) > 1 else "The one arm"
    test = percent(best["shown_mean"], 2) if best["shown_n"] else "not evaluated"
    spoiled = int(ranking["diverged"].sum())
    yield (
        f"{among}: {best['label']}, val {percent(best['mean'], 2)} ({interval(best, percent)}), test {test}."
        + (f" {spoiled} trials diverged." if spoiled > 1 else " 1 trial diverged." if spoiled else "")
    )


def points(share: float, *, sign: bool = False) -> str:
    """A difference of shares in percentage points: 0.159 is "15.9", 0.0012 is "0.12"."""
    digits = 1 if abs(share) >= 0.01 else 2
    return f"{100 * share:{'+' if sign else ''}.{digits}f}".replace("-", "\u2212")


def interval(row: Mapping[Any, Any] | pd.Series[Any], words: Any = points) -> str:
    """The interval of a row with low, high and n in words; one seed has none, and that is said."""
    if row["n"] < 2:
        return "one seed, so no interval"
    return f"95\u00a0% interval {words(row['low'])} to {words(row['high'])} over {row['n']:.0f} seeds"
