"""The standing of a study's arms, for the screen: what `stats.rank_arms` gives, in plain Python.

To import pandas and SciPy takes longer than a small study trains.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.results.csv_rows import TextTable
from harness.settings.schema import BASELINE, FIXED_SEED, SEED_BLOCK
from harness.study.seed_axes import NONE
from harness.text import as_word

CONFIDENCE = 0.95
SPREADLESS = 1e-9
"""Up to this part of their mean, values differ by rounding alone: they are one value."""
MOST_VALUES = 3  # that name the baseline: with more axes the name would be a paragraph
BROKEN = ("diverged", "failed")
COLUMNS = ("data set", "rank", "arm", "val accuracy [95 % interval]", "test accuracy")
MOST_ROWS = 5  # arms of a data set that are told at once


@dataclass(frozen=True)
class ArmMean:
    """An arm's mean accuracies over its finished seeds.

    Attributes:
        dataset, arm: its names.
        rank: its place on the data set by val accuracy, from 1; 0 where it has none.
        finished: seeds that finished.
        n: seeds with a val accuracy; blocks with one, where blocks of seeds chose the arm's settings.
        mean, low, high: val accuracy, and its Student-t interval; NaN without a spread to make one of.
        shown: test accuracy, NaN where there is none.
    """

    dataset: str
    arm: str
    rank: int
    finished: int
    n: int
    mean: float
    low: float
    high: float
    shown: float


def ranked(trials: TextTable) -> dict[str, list[ArmMean]]:
    """Order the arms of each data set by val accuracy, best first.

    Arms with a diverged or failed seed come after those without, because the mean of the survivors
    flatters them; arms without any value come last and have no rank. Trials with a fixed seed, which vary
    a source of randomness, are no arms to choose among.
    """
    rows: dict[tuple[str, str], list[tuple[str, str, str, str]]] = {}
    names = ("dataset", "arm", "status", "val_accuracy", "test_accuracy")
    units = trials[SEED_BLOCK] if SEED_BLOCK in trials else map(str, range(len(trials)))
    fixed_seeds = trials[FIXED_SEED] if FIXED_SEED in trials else itertools.repeat(NONE, len(trials))
    columns = zip(*(trials[name] for name in names), units, fixed_seeds, strict=True)
    for dataset, arm, *cells, unit, fixed_seed in columns:
        if fixed_seed == NONE:
            rows.setdefault((dataset, arm), []).append((cells[0], cells[1], cells[2], unit))
    arms: dict[str, list[tuple[tuple[bool, bool, float], ArmMean]]] = {}
    for (dataset, arm), seeds in rows.items():
        mean = _mean(dataset, arm, seeds)
        broken = any(status in BROKEN for status, *_ in seeds)
        arms.setdefault(dataset, []).append(((not mean.n, broken, -mean.mean if mean.n else 0.0), mean))
    return {dataset: _placed(listed) for dataset, listed in arms.items()}


def _placed(listed: Sequence[tuple[tuple[bool, bool, float], ArmMean]]) -> list[ArmMean]:
    ordered = [mean for _, mean in sorted(listed, key=lambda pair: pair[0])]
    return [
        ArmMean(**{**vars(mean), "rank": place}) if mean.n else mean for place, mean in enumerate(ordered, 1)
    ]


def _mean(dataset: str, arm: str, seeds: Sequence[tuple[str, str, str, str]]) -> ArmMean:
    """Average an arm's seeds, of which each has its status, val and test accuracy, and its unit."""
    done = [cells for status, *cells in seeds if status == "ok"]
    values, shown = (_units([(unit, cells[i]) for *cells, unit in done]) for i in (0, 1))
    low, high = interval(values)
    return ArmMean(dataset, arm, 0, len(done), len(values), _average(values), low, high, _average(shown))


def _units(cells: Iterable[tuple[str, str]]) -> list[float]:
    """Average the values of each unit (a seed, or a block of seeds), of those that have one."""
    of_unit: dict[str, list[float]] = {}
    for unit, cell in cells:
        if cell:
            of_unit.setdefault(unit, []).append(float(cell))
    return [_average(values) for values in of_unit.values()]


def _average(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def interval(shares: Sequence[float]) -> tuple[float, float]:
    """Return the Student-t interval of the mean of some shares, within 0 and 1; NaN without a spread."""
    if len(shares) < 2:
        return math.nan, math.nan
    mean, sd = statistics.fmean(shares), statistics.stdev(shares)
    if sd <= max(SPREADLESS * abs(mean), 1e-12):
        return math.nan, math.nan
    half = student(len(shares) - 1) * sd / math.sqrt(len(shares))
    return max(mean - half, 0.0), min(mean + half, 1.0)


@functools.cache
def student(freedom: int) -> float:
    """Return the t beyond which, on both sides, Student's distribution has 1 - CONFIDENCE.

    The share within t is a sum of powers of cos(atan(t / sqrt(freedom))), which grows with t: Abramowitz and
    Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4.

    >>> round(student(2), 6), round(student(9), 6)
    (4.302653, 2.262157)
    """
    low, high = 0.0, math.pi / 2
    while (angle := (low + high) / 2) not in {low, high}:
        low, high = (angle, high) if _within(angle, freedom) < CONFIDENCE else (low, angle)
    return math.tan(high) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """Return the share of Student's distribution within tan(angle) * sqrt(freedom)."""
    odd, square = freedom % 2, math.cos(angle) ** 2
    term = total = (math.cos(angle) if odd else 1.0) if freedom > 1 else 0.0
    for i in range(2 + odd, freedom - 1, 2):
        term *= square * (i - 1) / i
        total += term
    share = math.sin(angle) * total
    return (angle + share) * 2 / math.pi if odd else share


def shown_arms(trials: TextTable) -> dict[str, str]:
    """Map each arm to its name on the screen, as `arm_names`."""
    baseline = next((row for row in trials.rows if row[trials.columns.index("arm")] == BASELINE), [])
    return arm_names(
        trials["arm"], trials.columns, lambda axis: as_word(baseline[trials.columns.index(axis)])
    )


def arm_names(arms: Iterable[str], columns: Collection[str], value: Callable[[str], str]) -> dict[str, str]:
    """Map each arm to its name on figures and tables: the baseline's is its values on the varied axes.

    Between lr=0.03 and lr=0.3 it is "lr=0.1 (baseline)". Its name in trials.csv stays "baseline".
    """
    names = {arm: arm for arm in arms}
    varied = dict.fromkeys(arm.partition("=")[0] for arm in names if "=" in arm)
    axes = [axis for axis in varied if axis in columns and axis != "dataset"]
    if BASELINE in names and 0 < len(axes) <= MOST_VALUES:
        values = ", ".join(f"{axis}={value(axis)}" for axis in axes)
        names[BASELINE] = f"{values} ({BASELINE})"
    return names


def cells(name: str, arm: ArmMean) -> tuple[str, str, str, str]:
    """Write an arm's rank, name, and accuracies on val, with its interval, and on test."""
    if not arm.finished:
        return "", name, "no finished trial", ""
    if not arm.n:
        return "", name, "no val images", f"{arm.shown:.4f}"
    interval = f" [{arm.low:.4f}, {arm.high:.4f}]" if arm.n > 1 else ""
    if arm.n > 1 and arm.low != arm.low:  # NaN: values without a spread have no interval
        interval = " [one value in all seeds]"
    return f"{arm.rank}", name, f"{arm.mean:.4f}{interval}", f"{arm.shown:.4f}"


def best_rows(trials: TextTable) -> tuple[list[tuple[str, ...]], int]:
    """Write the best arms of each data set, as COLUMNS names them, and count the arms that are left out."""
    shown_as, rows, left = shown_arms(trials), list[tuple[str, ...]](), 0
    for dataset, arms in ranked(trials).items():
        for arm in arms[:MOST_ROWS]:
            name = shown_as[arm.arm].replace(f"dataset={dataset}, ", "")
            rows.append((dataset, *cells(name, arm)))
        left += max(len(arms) - MOST_ROWS, 0)
    return rows, left
