"""Two classifiers on the same test samples: the error that seeds do not cover.

A seed's accuracies are means over one finite test set, the same for every seed. What another draw of it would
have changed is seen only sample by sample, from kept predictions. Samples are the unit here and taken as
independent; the trained models are given, so nothing here speaks of other seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.power_analysis import POWER
from harness.stats.summaries import CONFIDENCE
from harness.stats.verdicts import COLUMNS, decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> pd.DataFrame:
    """Test with McNemar's exact test whether two models err equally often where only one of them errs.

    Args:
        right_a: bool (seeds, samples), or (samples,) for one pair of models: what A got right.
        right_b: the same of B, on the same samples.

    Returns:
        A row a seed, in order: samples, b (A right and B wrong), c (B right and A wrong), p (two-sided,
        binomial; 1 where the two never differ). Seeds share their samples: their p values are not independent
        tests, and their counts must not be added up into one.

    Raises:
        ValueError: shapes differ.

    >>> mcnemar([True, True, True, True, False], [False, False, False, False, True]).to_dict("records")
    [{'samples': 5, 'b': 4, 'c': 1, 'p': 0.375}]
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    a, b = _alike(right_a, right_b)
    only_a, only_b = (a & ~b).sum(axis=1), (b & ~a).sum(axis=1)
    p = [test([[0, i], [j, 0]], exact=True).pvalue for i, j in zip(only_a, only_b, strict=True)]
    return pd.DataFrame({"samples": a.shape[1], "b": only_a, "c": only_b, "p": np.asarray(p, dtype=float)})


def sample_verdicts(
    differences: pd.DataFrame, by: Sequence[str] = ("dataset", "arm", "reference"), *, margin: float | None,
    alpha: float = 0.05, higher_is_better: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Judge groups of paired samples that are right (1) or wrong (0), all groups as one family.

    `p` is that of McNemar's exact test. The interval, and with it `p_same` (two one-sided tests), is Wald's
    with one added to each count of samples that only one side got right (Bonett and Price 2012), which keeps
    its coverage where few samples tell the two apart (Fagerland, Lydersen and Laake 2014). As the test is
    exact and the interval is not, they may disagree at the very edge.

    Args:
        differences: `by`, value, reference_value, difference; a row a sample, NaN where one side has none.
        by: the columns that name a group.
        margin: up to which arms count as the same, a share; None: nobody has said.
        alpha: of the whole family.
        higher_is_better: False where 1 is an error.

    Returns:
        The columns of `verdicts` (n: samples, more_seeds: more samples), then only_arm and only_reference:
        the samples of which one side alone has a 1.
    """
    value, other = differences["value"], differences["reference_value"]
    both = value.notna() & other.notna()
    counted = differences[list(by)].assign(
        n=both, only_arm=both & value.gt(other), only_reference=both & value.lt(other)
    )
    table = counted.groupby(list(by), sort=False, observed=True, dropna=False).sum().astype(int).reset_index()
    n, a, b = (table[name].to_numpy(dtype=float) for name in ("n", "only_arm", "only_reference"))
    with np.errstate(divide="ignore", invalid="ignore"):
        table["difference"] = (a - b) / n
        table["sd"] = np.sqrt((a + b - (a - b) ** 2 / n) / (n - 1))
    p = np.minimum(2 * special.bdtr(np.minimum(a, b), (a + b).astype(int), 0.5), 1)
    table["p"] = np.where(n > 1, p, np.nan)
    middle, shares = (a - b) / (n + 2), (a + b + 2) / (n + 2)
    error = np.where(n > 1, np.sqrt((shares - middle**2) / (n + 2)), np.nan)
    half = special.ndtri(0.5 + CONFIDENCE / 2) * error
    table["low"], table["high"] = np.clip(middle - half, -1, 1), np.clip(middle + half, -1, 1)
    size = np.nan if margin is None else margin
    table["p_same"] = special.ndtr((np.abs(middle) - size) / error)
    table = decided(table, alpha, higher_is_better=higher_is_better)
    hurdle = alpha / max(int(table["p"].count()), 1)
    steps = special.ndtri(1 - hurdle / 2) + special.ndtri(POWER)
    table["detectable"] = steps * error
    table["more_seeds"] = np.maximum(np.ceil((steps * error / size) ** 2 * (n + 2)) - n, 0)
    return table[[*by, *COLUMNS, "only_arm", "only_reference"]]


def sample_bootstrap(
    right_a: ArrayLike, right_b: ArrayLike, rng: np.random.Generator, resamples: int = 10_000,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:  # fmt: skip
    """Bootstrap an accuracy difference over test samples, with the models given.

    A sample is drawn with all seeds of both models. What it adds to the difference is one of a few numbers
    (2 seeds + 1), so a resample is one multinomial draw of how often each of them occurs.

    Args:
        right_a: bool (seeds, samples), or (samples,): what A got right.
        right_b: the same of B, on the same samples, with as many seeds.
        rng: where the resamples come from.
        resamples: how many.
        confidence: coverage of the interval.

    Returns:
        One row: seeds, samples, difference (accuracy of A - accuracy of B), low, high; NaN without samples,
        and no interval (NaN) where every sample adds the same.

    Raises:
        ValueError: shapes differ.
    """
    a, b = _alike(right_a, right_b)
    seeds, samples = a.shape
    row = {"seeds": seeds, "samples": samples, "difference": np.nan, "low": np.nan, "high": np.nan}
    if a.size:
        net, counts = np.unique(a.sum(axis=0) - b.sum(axis=0), return_counts=True)
        drawn = rng.multinomial(samples, counts / samples, size=resamples) @ net / a.size
        row["difference"] = float(counts @ net / a.size)
        if len(net) > 1:
            row["low"], row["high"] = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return pd.DataFrame([row])


def _alike(right_a: ArrayLike, right_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = (np.atleast_2d(np.asarray(right, dtype=bool)) for right in (right_a, right_b))
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(
            f"right_a {a.shape}, right_b {b.shape}: allowed is (seeds, samples), the same of both"
        )
    return a, b
