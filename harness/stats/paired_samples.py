"""Two classifiers on the same test samples: the error that seeds do not cover.

A seed's accuracies are means over one finite test set, the same for every seed. What another draw of it would
have changed is seen only sample by sample, from kept predictions. Samples are the unit here and taken as
independent; the trained models are given, so nothing here speaks of other seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.stats.summaries import CONFIDENCE

if TYPE_CHECKING:
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
