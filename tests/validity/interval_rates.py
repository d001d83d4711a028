"""Coverage of the intervals beside the verdicts, and wrong claims of the same and of all data sets.

As in `aa_draws`, a set of R studies is an array `(R, arms, n)`; arm 0 is the reference of the others.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import aa_draws
import aa_rates
import numpy as np
import pandas as pd
from aa_rates import ALPHA, AROUND_95, CONFIDENCE, counted
from scipy import special

from harness import stats

if TYPE_CHECKING:
    from aa_rates import Check
    from numpy.typing import NDArray

TOGETHER = "intervals of four contrasts that hold together"
RAGGED = "the same, arms that lack seeds"
APART = "intervals of four contrasts, each by itself, that hold together"
SAME_OF_THREE = "any pair of three arms a margin apart called the same"
AT_MOST = "bounds of three pairs that hold together"
OVER_SETS = "coverage of a mean over two data sets"
EVERY_EQUAL = "called better or worse on every data set, the same on both"
EVERY_HALF = "called better or worse on every data set, different on one"
SAME_HALF = "called the same on every data set, a margin apart on one"
DEPENDS = "called another on another data set, the same on both"
ANY_WORD = "any word of a difference over two data sets, the same on both"
CROSSED = "coverage, seeds and images"
BOUNDED = "coverage, seeds and images, bounded without predictions"
SEEDS_ALONE = "the same, an interval over seeds alone"
SPLITS = "coverage, resampled splits (Nadeau and Bengio)"
SPLITS_T = "the same, Student's t"

INSIDE = dict.fromkeys((TOGETHER, RAGGED, OVER_SETS, CROSSED), AROUND_95) | {SPLITS: (AROUND_95[0], 1.0)}
ASKED = {
    TOGETHER: "Five arms that are the same: all four simultaneous intervals have zero in them: 95 %",
    RAGGED: "The same, of 5, 4, 3 and 2 seeds where n is 5, and so on",
    APART: "The same studies, each interval at 95 % by itself: why there are simultaneous ones",
    SAME_OF_THREE: "Three arms, each a margin from the next: any pair called the same: at most 5 %",
    AT_MOST: "The same arms: no pair is further apart than its bound: at least 95 %",
    OVER_SETS: "The mean over two data sets, arms that are the same: intervals with zero in them: 95 %",
    EVERY_EQUAL: "Arms that are the same, called better or worse on every data set: at most 5 %",
    EVERY_HALF: "Arms that differ on one data set alone, called better or worse on every one: at most 5 %",
    SAME_HALF: "Arms a margin apart on one data set alone, called the same on every one: at most 5 %",
    DEPENDS: "Arms that are the same on both, called to depend on the data set: at most 5 %",
    ANY_WORD: "The same, called better or worse on every one, on average, or to depend: at most 5 %",
    CROSSED: "Some seeds and some test images: intervals with the difference over all of both in them: 95 %",
    BOUNDED: "The same without predictions of single images: at least 95 %",
    SEEDS_ALONE: "The same, Student's t over the seeds alone: what the images add",
    SPLITS: "Seeds with splits of their own, by val: intervals with the difference over all sets: >= 95 %",
    SPLITS_T: "The same, Student's t: why there is a correction",
}


def ragged(studies: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same studies, in which arm k lacks its last k - 1 seeds, so that contrasts have unequal n."""
    fewer = studies.copy()
    for arm in range(2, studies.shape[1]):
        fewer[:, arm, 1 - arm :] = np.nan
    return fewer


def together(question: str, source: str, studies: NDArray[np.float64]) -> Check:
    """Studies of arms that are all the same: all simultaneous intervals of a study have zero in them.

    Where seeds show no spread there is no interval, and nothing that could be wrong: of two seeds, judged by
    10,000 images, that is nearly 1 % of contrasts.
    """
    judged = stats.verdicts(aa_draws.differences(studies), margin=1.0)
    families = [one for _, one in judged.groupby("dataset", sort=False)]
    ends = pd.concat([stats.simultaneous_intervals(one, ALPHA) for one in families])
    wrong = ends["low_all"].gt(0) | ends["high_all"].lt(0)
    held = ~wrong.groupby(judged["dataset"], sort=False).any()
    return counted(question, source, studies.shape[2], held.to_numpy(), CONFIDENCE, 1)


def by_themselves(source: str, studies: NDArray[np.float64]) -> Check:
    """The same studies, by the intervals that hold at 95 % each."""
    judged = stats.verdicts(aa_draws.differences(studies), margin=1.0)
    wrong = judged["low"].gt(0) | judged["high"].lt(0)
    held = ~wrong.groupby(judged["dataset"], sort=False).any()
    return counted(APART, source, studies.shape[2], held.to_numpy(), math.nan, math.nan)


def pairs(studies: NDArray[np.float64]) -> pd.DataFrame:
    """Every arm less every earlier one, seed by seed; `dataset` is the study's number."""
    number, seeds = np.arange(len(studies)), studies.shape[2]
    tables = [
        pd.DataFrame({
            "dataset": np.repeat(number, seeds), "arm": f"arm {later}", "reference": f"arm {earlier}",
            "difference": (studies[:, later] - studies[:, earlier]).ravel(),
        })
        for earlier, later in combinations(range(studies.shape[1]), 2)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def same_of_three(source: str, studies: NDArray[np.float64], sd: float) -> list[Check]:
    """Studies of three arms (R, 3, n) that are the same, but for a margin from each to the next."""
    margin = aa_rates.MARGIN * sd
    apart = pairs(studies + margin * np.arange(3)[:, None])
    truth = {("arm 1", "arm 0"): margin, ("arm 2", "arm 1"): margin, ("arm 2", "arm 0"): 2 * margin}
    called, held = [], []
    for _, one in apart.groupby("dataset", sort=False):
        table = stats.equivalence(one, margin=margin, alpha=ALPHA)
        far = np.array([truth[pair] for pair in zip(table["arm"], table["reference"], strict=True)])
        called.append(bool(table["same"].any()))
        held.append(not bool((table["at_most"] < far).any()))
    n = studies.shape[2]
    return [
        counted(SAME_OF_THREE, source, n, np.array(called), 0, ALPHA, shift=aa_rates.MARGIN),
        counted(AT_MOST, source, n, np.array(held), CONFIDENCE, 1, shift=aa_rates.MARGIN),
    ]


def over_sets(
    source: str, sets: NDArray[np.float64], n: int, studies: int, rng: np.random.Generator
) -> list[Check]:
    """A/A studies over data sets: two arms of n seeds each, drawn from those of one arm.

    Args:
        source: which trials they are.
        sets: (data sets, seeds), one arm's accuracies.
        n: seeds an arm.
        studies: how many.
        rng: of the draws.
    """
    order = rng.permuted(np.tile(np.arange(sets.shape[1]), (studies, 1)), axis=1)
    values = sets[:, order[:, :n]] - sets[:, order[:, n : 2 * n]]  # (data sets, studies, n)
    sd = math.sqrt(2) * sets.std(axis=1, ddof=1)
    margin = aa_rates.MARGIN * float(sd.max())
    found = stats.over_data_sets(_frame(values), ["arm"], margin=margin)
    on_one = np.array([margin, *[0.0] * (len(sets) - 1)])[:, None, None]
    half = stats.over_data_sets(_frame(values + on_one), ["arm"], margin=margin)
    any_word = found[["p", "p_every", "p_apart"]].le(ALPHA / 3).any(axis=1)  # as a verdict alone shares alpha

    def wrong(question: str, table: pd.DataFrame, p: str) -> Check:
        return counted(question, source, n, table[p].le(ALPHA).to_numpy(), 0, ALPHA)

    return [
        counted(OVER_SETS, source, n, aa_rates.covers(found, 0.0), CONFIDENCE, CONFIDENCE),
        wrong(EVERY_EQUAL, found, "p_every"),
        wrong(EVERY_HALF, half, "p_every"),
        wrong(SAME_HALF, half, "p_same"),
        wrong(DEPENDS, found, "p_apart"),
        counted(ANY_WORD, source, n, any_word.to_numpy(), 0, ALPHA),
    ]


def _frame(values: NDArray[np.float64]) -> pd.DataFrame:
    """Differences (data sets, studies, n) as rows; `arm` is the study's number."""
    dataset, study, seed = (index.ravel() for index in np.indices(values.shape))
    return pd.DataFrame({"dataset": dataset, "arm": study, "seed": seed, "difference": values.ravel()})


def crossed(
    source: str, differences: NDArray[np.int8], error: float, size: tuple[int, int], studies: int,
    rng: np.random.Generator,
) -> list[Check]:  # fmt: skip
    """Studies of some seeds and some images, of which the difference over all of both is known.

    Args:
        source: which trials they are.
        differences: (seeds, images): 1 where only the arm is right, -1 where only its reference is, else 0.
        error: the error rates of both arms, added.
        size: seeds and images of a study.
        studies: how many.
        rng: of the draws.
    """
    truth, (n, images) = float(differences.mean()), size
    rows, bounds = [], []
    for _ in range(studies):
        seeds, shown = (
            rng.choice(of, k, replace=False) for of, k in zip(differences.shape, size, strict=True)
        )
        x = differences[np.ix_(seeds, shown)].astype(float)
        rows.append(stats.crossed_interval(x))
        bounds.append(stats.bounded_interval(x.mean(axis=1), error, images))
    found, bounded = pd.concat(rows, ignore_index=True), pd.concat(bounds, ignore_index=True)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * found["error_seeds"]
    alone = found.assign(low=found["difference"] - half, high=found["difference"] + half)
    source = f"{source}, {images} images"
    return [
        counted(CROSSED, source, n, aa_rates.covers(found, truth), CONFIDENCE, CONFIDENCE),
        counted(BOUNDED, source, n, aa_rates.covers(bounded, truth), CONFIDENCE, 1),
        counted(SEEDS_ALONE, source, n, aa_rates.covers(alone, truth), math.nan, math.nan),
    ]


def splits(source: str, differences: NDArray[np.float64], overlap: float) -> list[Check]:
    """Studies of n seeds (R, n), each seed with a split of its own, each study with images of its own.

    `overlap`: val images / train images. The truth is the mean over all studies.
    """
    studies, n = differences.shape
    names = {"dataset": np.repeat(np.arange(studies), n), "arm": "a", "reference": "b"}
    rows = pd.DataFrame({**names, "difference": differences.ravel()})
    corrected = stats.verdicts(rows.assign(overlap=overlap), margin=1.0)
    plain, truth = stats.verdicts(rows, margin=1.0), float(differences.mean())
    return [
        counted(SPLITS, source, n, aa_rates.covers(corrected, truth), CONFIDENCE, 1),
        counted(SPLITS_T, source, n, aa_rates.covers(plain, truth), math.nan, math.nan),
    ]
