"""Calibration: reliability tables, expected calibration error, negative log-likelihood and Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 15


def calibration(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Sort samples into bins of equal width by their confidence: the table of a reliability diagram.

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
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n})
    return table.assign(confidence=confidences / occupied, accuracy=hits / occupied)


def ece(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Compute the expected calibration error: |accuracy - confidence|, averaged over bins by their samples.

    It takes the arguments of `calibration`. It depends on the bins, and a small sample raises it: compare
    models on the same samples with the same bins only.

    Returns:
        A share in 0..1; NaN without samples.

    >>> round(ece([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 3)
    0.15
    """
    return ece_of_table(calibration(confidence, right, bins))


def ece_of_table(table: pd.DataFrame) -> float:
    """Compute `ece` from the table of `calibration`."""
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    samples = table["n"].sum()
    return float((gaps * table["n"]).sum() / samples) if samples else float("nan")


def overconfidence_of_table(table: pd.DataFrame) -> float:
    """Compute how far confidence is above accuracy on average, from the table of `calibration`.

    Returns:
        A share: positive of a model that is overconfident, negative of an underconfident one; NaN without
        samples. Errors of bins in both directions cancel: it is not more than the ECE.

    >>> round(overconfidence_of_table(calibration([0.9, 0.9, 0.9, 0.9], [True, True, True, False])), 3)
    0.15
    """
    gaps = (table["confidence"] - table["accuracy"]).fillna(0)
    samples = table["n"].sum()
    return float((gaps * table["n"]).sum() / samples) if samples else float("nan")


def nll(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Compute the mean negative log-likelihood of the true classes, in nats.

    Args:
        probabilities: (samples, classes), rows that sum to 1.
        labels: (samples,) the true classes as integers.

    Returns:
        0 or more; infinite where a true class has probability 0.

    >>> round(nll([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 3)
    0.49
    """
    with np.errstate(divide="ignore"):
        return float(-np.log(_of_labels(probabilities, labels)).mean())


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Compute the Brier score: the squared errors of all classes' probabilities, averaged over samples.

    Args:
        probabilities: as for `nll`.
        labels: as for `nll`.

    Returns:
        A number in 0..2 (Brier 1950, "Verification of forecasts expressed in terms of probability").

    >>> brier([[0.5, 0.5], [0.0, 1.0]], [0, 1])
    0.25
    """
    squares = (np.asarray(probabilities, dtype=float) ** 2).sum(axis=1)
    return float((squares - 2 * _of_labels(probabilities, labels) + 1).mean())


def _of_labels(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    index = np.asarray(labels, dtype=int)
    chosen = np.asarray(probabilities, dtype=float)[np.arange(len(index)), index]
    return np.asarray(chosen, dtype=float)
