"""What README.md and docs/comparisons.md state of the harness's tests of itself, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from doc_numbers import Claim
from reference_values import PERCENT, Interval, row, table

FOLDER = "validity"
TWICE, NAMED, POOL = "trained: CE twice", "trained: MSE 5 lr, QL lr", "resampled: pool (mnist)"
LOOKED = "trained: one arm, by val"
FALSE, COVERAGE, BOOTSTRAP = "false positives", "coverage", "coverage, percentile bootstrap"
MARGIN = "called the same, though exactly at the margin"
FAMILY = "false positives in a family of 4, Holm"
LOOKS, UNCORRECTED = (
    f"false positives, looked at {how}" for how in ("up to 20 seeds", "without a correction")
)
SIZES = (5, 10, 20)


def _rate(question: str, source: str, n: int) -> Interval:
    """Read a rate with its 95 % interval, in percent."""
    found = row(table(f"{FOLDER}/rates.csv"), {"question": question, "source": source, "n": n})
    return Interval(*(PERCENT * float(found[name]) for name in ("rate", "low", "high")))


def _rates(question: str, source: str) -> Sequence[float]:
    return [number for n in SIZES for number in _rate(question, source, n)]


def _studies() -> Sequence[float]:
    where = {"question": FALSE, "source": TWICE, "n": 5}
    studies = float(row(table(f"{FOLDER}/rates.csv"), where)["studies"])
    found = [*_rate(FALSE, TWICE, 5), *_rate(COVERAGE, TWICE, 5)]
    return [studies, *found, _rate(BOOTSTRAP, POOL, 5).mean]


def _bootstraps() -> Sequence[float]:
    return [_rate(BOOTSTRAP, POOL, n).mean for n in SIZES]


def _looks() -> Sequence[float]:
    where = {"question": LOOKS, "source": LOOKED, "n": 20}
    studies = float(row(table(f"{FOLDER}/rates.csv"), where)["studies"])
    return [studies, *_rate(LOOKS, LOOKED, 20), _rate(UNCORRECTED, LOOKED, 20).mean]


PAGE = "docs/comparisons.md"
CELL = "{} % ({} to {})"
AT_LOOKS = "equal arms, looked at after 3, 5, 7, 10, 14, 20 seeds ([harness try](trying.md)), found different"
ROWS = {
    "arms that are the same, found different (trained; 5 % is right)": (FALSE, TWICE),
    "MSE at 5 lr and QL at lr, with other seeds, found different": (FALSE, NAMED),
    "intervals that hold the true difference (95 % is right)": (COVERAGE, TWICE),
    "five equal arms, any found better or worse, Holm-corrected (pool)": (FAMILY, POOL),
    "arms exactly a margin apart, called the same (at most 5 %)": (MARGIN, TWICE),
}
"""A row of the page -> its question and its source in rates.csv."""
TUNED_ROWS = {
    "one choice for all seeds, by one tuning seed": "a choice for all, 1 tuning",
    "one choice for all seeds, by two": "a choice for all, 2 tuning",
    "5 blocks, two tuning seeds each": "5 blocks, 2 tuning",
    "10 blocks, two each": "10 blocks, 2 tuning",
    "20 blocks, two each": "20 blocks, 2 tuning",
    "5 blocks, four each, halving": "5 blocks, 4 tuning, halving",
}
"""A row of the page -> its way of tuning in tuned.csv."""


INTERVAL_ROWS = {
    "four simultaneous intervals, all hold (95 %)":
        "intervals of four contrasts that hold together",
    "the same, where arms lack seeds":
        "the same, arms that lack seeds",
    "the same intervals at 95 % each, all hold":
        "intervals of four contrasts, each by itself, that hold together",
    "the bounds of three pairs, all hold (95 % or more)":
        "bounds of three pairs that hold together",
    "three arms, each a margin from the next: any pair called the same (at most 5 %)":
        "any pair of three arms a margin apart called the same",
    "the mean over two data sets (95 %)":
        "coverage of a mean over two data sets",
    "better or worse on every data set, though different on one alone (at most 5 %)":
        "called better or worse on every data set, different on one",
    "the same on every data set, though a margin apart on one (at most 5 %)":
        "called the same on every data set, a margin apart on one",
    "it depends on the data set, though it does not (at most 5 %)":
        "called another on another data set, the same on both",
    "any word of a difference, where there is none (at most 5 %)":
        "any word of a difference over two data sets, the same on both",
    "seeds and test images at once (95 %)":
        "coverage, seeds and images",
    "the same studies, Student's t over seeds alone":
        "the same, an interval over seeds alone",
}  # fmt: skip
"""A row of the page -> its question in intervals.csv."""
SPLIT_ROWS = {
    "a split for each seed, by val (95 % or more)": "coverage, resampled splits (Nadeau and Bengio)",
    "the same studies, Student's t": "the same, Student's t",
}


def _further(question: str, sizes: Sequence[int]) -> Sequence[float]:
    rates = table(f"{FOLDER}/intervals.csv")
    found = [row(rates, {"question": question, "n": n}) for n in sizes]
    return [PERCENT * float(of[name]) for of in found for name in ("rate", "low", "high")]


def _tuned(way: str) -> Sequence[float]:
    rates = table(f"{FOLDER}/tuned.csv")
    once = "one choice for all seeds" if way.startswith("a choice") else "a choice a block"
    question = f"false positives of tuned arms, {once}"
    found = [row(rates, {"question": question, "source": f"{loss} twice, {way}"}) for loss in ("CE", "QL")]
    return [PERCENT * float(of[name]) for of in found for name in ("rate", "low", "high")]


def _tuned_intervals() -> Sequence[float]:
    rates = table(f"{FOLDER}/tuned.csv")
    held = rates[rates["question"].str.match("coverage") & ~rates["source"].str.contains("a choice for all")]
    (wide,) = held[~held["ok"]].to_dict("records")
    assert wide["source"] == "QL twice, 5 blocks, 2 tuning, halving"
    return [len(held), held["ok"].sum(), *(PERCENT * wide[name] for name in ("rate", "low", "high"))]


AT_ANY_LOOK = {
    "found different (trained; at most 5 %)": ("called different at any of the looks", LOOKED),
    "repeated intervals that all hold 0 (trained; 95 %)": (
        "repeated intervals that hold at all looks together", LOOKED,
    ),
    "exactly a margin apart, called the same (trained; at most 5 %)": (
        "called the same at any of the looks, though exactly at the margin", LOOKED,
    ),
    "five equal arms, any found better or worse, Holm (pool; at most 5 %)": (
        "any of four contrasts called different at any of the looks, Holm", POOL,
    ),
}  # fmt: skip
"""A row of the page on looks -> its question and its source in looks.csv."""
OWN, OTHER = "seeds planned by the study's own first ones", "seeds planned by a pilot of other ones"
PILOT_ROWS = {
    "the study goes on from it: equal arms found different": f"called different, {OWN}",
    "the study goes on from it: the difference is found": f"found, {OWN}",
    "the study has other seeds: the difference is found": f"found, {OTHER}",
}
SPENDINGS = ("obrien-fleming", "pocock")


def _with_interval(found: pd.Series[Any]) -> Sequence[float]:
    return [PERCENT * float(found[name]) for name in ("rate", "low", "high")]


def _at_any_look(question: str, source: str) -> Sequence[float]:
    rates = table(f"{FOLDER}/looks.csv")
    found = [row(rates, {"question": question, "source": f"{source}, {how}"}) for how in SPENDINGS]
    return [number for of in found for number in _with_interval(of)]


def _planned_by(question: str) -> Sequence[float]:
    rates = table(f"{FOLDER}/looks.csv")
    return [number for n in SIZES for number in _with_interval(row(rates, {"question": question, "n": n}))]


def _by_a_small_pilot() -> Sequence[float]:
    found = row(table(f"{FOLDER}/looks.csv"), {"question": f"called different, {OWN}", "n": SIZES[0]})
    return [PERCENT * float(found["rate"]), float(found["studies"])]


def _seeds_taken() -> Sequence[float]:
    taken = table(f"{FOLDER}/looks_seeds.csv")
    return [float(row(taken, {"spending": how, "shift": 1})["seeds"]) for how in SPENDINGS]


CLAIMS = [
    Claim(
        "README.md", FOLDER,
        """
    in {} A/A studies of 5 seeds, an arm against itself, really trained, it found a difference in {} % (95 %
    interval {} to {} %), and its 95 % intervals held the truth in {} % ({} to {} %); a percentile bootstrap
    would have in {} %.""",
        _studies,
    ),
    Claim(
        "README.md", FOLDER,
        """
    of {} trained comparisons of an arm with itself, {} % ({} to {}) were called different, where p < 0.05
    at each look would be wrong in {} %.""",
        _looks,
    ),
    *(
        Claim(
            PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 3)} |",
            partial(_rates, question, source),
        )
        for title, (question, source) in ROWS.items()
    ),
    Claim(
        PAGE, FOLDER, "| the same intervals by a percentile bootstrap (pool) | {} % | {} % | {} % |",
        _bootstraps,
    ),
    Claim(
        PAGE, FOLDER,
        """
    Of the {} rates at which intervals of tuned arms with a choice a block hold the truth, {} are within
    bounds. QL with 5 blocks of two tuning seeds and halving is a little too wide: its intervals hold zero in
    {} % ({} to {}).""",
        _tuned_intervals,
    ),
    *(
        Claim(PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 2)} |", partial(_tuned, way))
        for title, way in TUNED_ROWS.items()
    ),
    *(
        Claim(PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 3)} |", partial(_further, question, SIZES))
        for title, question in INTERVAL_ROWS.items()
    ),
    *(
        Claim(PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 2)} |", partial(_further, question, SIZES[:2]))
        for title, question in SPLIT_ROWS.items()
    ),
    *(
        Claim(PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 2)} |", partial(_at_any_look, *asked))
        for title, asked in AT_ANY_LOOK.items()
    ),
    *(
        Claim(PAGE, FOLDER, f"| {title} | {' | '.join([CELL] * 3)} |", partial(_planned_by, question))
        for title, question in PILOT_ROWS.items()
    ),
    Claim(
        PAGE, FOLDER,
        "equal arms are called different more often than alpha ({} % of {} studies, below)",
        _by_a_small_pilot,
    ),
    Claim(
        PAGE, FOLDER,
        """
    A difference of one standard deviation is decided after {} of 20 seeds by O'Brien and Fleming's spending,
    and after {} by Pocock's, in the mean.""",
        _seeds_taken,
    ),
    Claim(PAGE, FOLDER, f"| {AT_LOOKS} | | | {CELL} |", partial(_rate, LOOKS, LOOKED, 20)),
    Claim(
        PAGE, FOLDER, f"| the same looks without their correction | | | {CELL} |",
        partial(_rate, UNCORRECTED, LOOKED, 20),
    ),
]  # fmt: skip
