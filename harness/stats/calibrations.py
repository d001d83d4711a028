"""Calibration: is a model right as often as it is sure?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BINS = 15


def calibration(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Reliability table: samples in bins of equal width by their confidence.

    Args:
        confidence: probability of the predicted class, any shape, shares in 0..1.
        right: bool, of the same shape: whether that class was the true one.
        bins: how many; 15 as in Guo et al. 2017, "On calibration of modern neural networks".

    Returns:
        A row a bin: low, high (confidences in (low, high]; the first bin has 0 too), n, confidence, accuracy
        (means in the bin; NaN where it is empty).

    Raises:
        ValueError: shapes differ, or a confidence is not in 0..1 (a model that diverged has none).

    >>> calibration([0.55, 0.65, 0.95, 1.0], [True, False, True, True], bins=2).to_dict("list")["n"]
    [0, 4]
    """
    sure, hit = np.asarray(confidence, dtype=float), np.asarray(right, dtype=bool)
    if sure.shape != hit.shape:
        raise ValueError(f"confidence {sure.shape}, right {hit.shape}: the shapes must be the same")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("confidence: allowed are shares in 0..1; got others or NaN")
    sure, hit = sure.ravel(), hit.ravel()
    edges = np.linspace(0, 1, bins + 1)
    place = np.maximum(np.searchsorted(edges, sure, side="left") - 1, 0)
    n, confidences, hits = (np.bincount(place, weights, minlength=bins) for weights in (None, sure, hit))
    occupied = np.where(n > 0, n, np.nan)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": n,
            "confidence": confidences / occupied,
            "accuracy": hits / occupied,
        }
    )


def ece(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - confidence| of each bin, averaged by the samples in it.

    Takes what `calibration` takes. It depends on the bins, and a small sample raises it: compare models on
    the same samples with the same bins only.

    Returns:
        A share in 0..1; NaN without samples.

    >>> round(ece([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 3)
    0.15
    """
    table = calibration(confidence, right, bins)
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    samples = table["n"].sum()
    return float((gaps * table["n"]).sum() / samples) if samples else float("nan")
