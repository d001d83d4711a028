"""Error rates of studies that are looked at, and of studies whose seeds a pilot's spread has planned.

As in `aa_draws`, a set of R studies is an array `(R, arms, n)`; arm 0 is the reference of the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import aa_draws
import aa_rates
import numpy as np
import pandas as pd
from aa_rates import ALPHA, AROUND_95, CONFIDENCE, counted
from scipy import special

from harness import stats
from harness.stats.group_sequential import verdicts_at_look
from harness.stats.power_analysis import POWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aa_rates import Check
    from numpy.typing import NDArray

    from harness.stats.group_sequential import Spending

LOOKS = (5, 10, 20)
SPENDINGS: tuple[Spending, ...] = ("obrien-fleming", "pocock")
SHIFTS = (0.5, 1.0, 1.5, 2.0)
"""True differences, in SDs of the paired differences, whose finding takes so many seeds."""
PILOTS = (5, 10, 20)
MOST = 100
"""Seeds that a pilot may plan for."""
PLANNED_FOR = 1.0
"""The difference that a pilot plans to find, in SDs of the paired differences: 10 seeds, if it knew them."""

FOUND = "called different at any of the looks"
HELD = "repeated intervals that hold at all looks together"
SAME = "called the same at any of the looks, though exactly at the margin"
FAMILY = "any of four contrasts called different at any of the looks, Holm"
PILOT_FOUND = "called different, seeds planned by the study's own first ones"
PILOT_POWER = "found, seeds planned by the study's own first ones"
FRESH_POWER = "found, seeds planned by a pilot of other ones"

INSIDE = {FOUND: (0.02, 0.08), HELD: AROUND_95}
"""From 2,000 studies on, the interval of a rate lies within these bounds."""
ASKED = {
    FOUND: "Arms that are the same, looked at after 5, 10, 20 seeds, found different: at most 5 %",
    HELD: "The same studies: repeated intervals with zero in them at all looks: 95 %",
    SAME: "Arms exactly a margin apart, called the same at any look: at most 5 %",
    FAMILY: "Five arms that are the same, any found better or worse at any look (Holm): at most 5 %",
    PILOT_FOUND: "Arms that are the same, seeds planned by the spread of their first n, found different",
    PILOT_POWER: "A difference that was planned for, by the spread of the first n, found: 80 % promised",
    FRESH_POWER: "The same, where the first n only plan, and are not in the study",
}


def at_looks(studies: NDArray[np.float64], margin: float, spending: Spending) -> list[pd.DataFrame]:
    """The verdicts on two-arm studies `(R, 2, n)` at each look, a row a study, as `aa_draws.judged`."""
    return [
        verdicts_at_look(
            aa_draws.differences(studies[:, :, :seeds]), seeds=seeds, looks=LOOKS, margin=margin,
            spending=spending,
        )
        for seeds in LOOKS
    ]  # fmt: skip


def looked_at(source: str, studies: NDArray[np.float64], sd: float, spending: Spending) -> list[Check]:
    """A/A studies `(R, 2, 20)` at their looks; `sd` is that of the paired differences."""
    margin, n, name = aa_rates.MARGIN * sd, LOOKS[-1], f"{source}, {spending}"
    looks = at_looks(studies, margin, spending)
    found = np.any([table["p"].le(ALPHA) for table in looks], axis=0)
    held = np.all([aa_rates.covers(table, 0.0) for table in looks], axis=0)
    apart = at_looks(aa_rates.shifted(studies, margin), margin, spending)
    same = np.any([table["p_same"].le(ALPHA) for table in apart], axis=0)
    return [
        counted(FOUND, name, n, found, 0, ALPHA),
        counted(HELD, name, n, held, CONFIDENCE, CONFIDENCE),
        counted(SAME, name, n, same, 0, ALPHA, shift=aa_rates.MARGIN),
    ]


def families(source: str, studies: NDArray[np.float64], sd: float, spending: Spending) -> Check:
    """Studies of several arms that are all the same `(R, arms, 20)`, each a family of its own."""
    wrong = np.zeros(len(studies), dtype=bool)
    for seeds in LOOKS:
        differences = aa_draws.differences(studies[:, :, :seeds]).groupby("dataset", sort=False)
        words = [
            verdicts_at_look(
                one, seeds=seeds, looks=LOOKS, margin=aa_rates.MARGIN * sd, spending=spending
            )["verdict"]
            for _, one in differences
        ]  # fmt: skip
        wrong |= np.array([bool(one.isin(["better", "worse"]).any()) for one in words])
    return counted(FAMILY, f"{source}, {spending}", LOOKS[-1], wrong, 0, ALPHA)


def seeds_taken(source: str, studies: NDArray[np.float64], sd: float) -> Iterator[dict[str, object]]:
    """How many seeds looked-at studies take until a true difference is told, and how many find it."""
    for spending in SPENDINGS:
        for shift in SHIFTS:
            apart = aa_rates.shifted(studies, shift * sd)
            told = np.array([table["p"].le(ALPHA) for table in at_looks(apart, aa_rates.NARROW, spending)])
            taken = np.where(told.any(axis=0), np.array(LOOKS)[told.argmax(axis=0)], LOOKS[-1])
            at_once = aa_draws.judged(apart, margin=aa_rates.NARROW)["p"].le(ALPHA)
            yield {
                "source": source, "spending": spending, "shift": shift, "studies": len(apart),
                "found": float(told.any(axis=0).mean()), "found_at_once": float(at_once.mean()),
                "seeds": float(taken.mean()),
            }  # fmt: skip


def pilots(source: str, studies: NDArray[np.float64], sd: float) -> Iterator[Check]:
    """Studies `(R, 2, 120)` whose seeds the spread of their first ones plans, those included or not."""
    for pilot in PILOTS:
        for question, shift, fresh in (
            (PILOT_FOUND, 0.0, False), (PILOT_POWER, PLANNED_FOR, False), (FRESH_POWER, PLANNED_FOR, True),
        ):  # fmt: skip
            values = studies[:, 1] - studies[:, 0] + shift * sd
            spread = values[:, :pilot].std(axis=1, ddof=1)
            needed = np.nan_to_num(stats.seeds_needed(PLANNED_FOR * sd, spread, ALPHA), nan=MOST)
            least = 2 if fresh else pilot
            used = values[:, pilot:] if fresh else values
            found = p_of_first(used, np.clip(needed, least, MOST).astype(int)) <= ALPHA
            predicted = POWER if shift else math.nan
            yield counted(
                question, source, pilot, found, math.nan, math.nan, shift=shift, predicted=predicted
            )


def p_of_first(values: NDArray[np.float64], n: NDArray[np.int_]) -> NDArray[np.float64]:
    """P values of paired t tests on the first `n` of each row of differences (R, N)."""
    used = np.arange(values.shape[1]) < n[:, None]
    mean = np.where(used, values, 0.0).sum(axis=1) / n
    squares = np.where(used, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
    t = mean / np.sqrt(squares / (n - 1) / n)
    return np.asarray(2 * special.stdtr(n - 1, -np.abs(t)))
