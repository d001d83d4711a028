"""Seeds and test images at once: an interval for other seeds and for other images of the same kind.

The result of a seed is a mean over one finite test set that all seeds share. An interval over seeds speaks of
other seeds on these images, a test over images of other images with these models; this one speaks of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from harness.stats.seed_variance import MeanSquares
from harness.stats.summaries import CONFIDENCE
from harness.stats.verdicts import EQUAL

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

COLUMNS = ["seeds", "images", "difference", "error_seeds", "error_images", "error", "df", "low", "high"]


def crossed_interval(
    differences: ArrayLike, confidence: float = CONFIDENCE, within: tuple[float, float] = (-1.0, 1.0)
) -> pd.DataFrame:
    """Compute the interval of a mean difference over other seeds and other test images.

    The model is that of two crossed random effects: x[s, i] = mean + seed s + image i + rest, all of them
    independent, with mean squares MS. The mean of S seeds and N images has the variance (MS_seed + MS_image -
    MS_rest) / (S N): what seeds spread, plus what images spread, less the rest, which both have in them. Its
    degrees of freedom are those of Hillis (2007, Statistics in Medicine 26:596, the denominator for several
    readers who read the same cases): V^2 / (MS_seed^2 / (S - 1)), V = MS_seed + max(MS_image - MS_rest, 0);
    images are many, so their own degrees of freedom do not count.

    Args:
        differences: (S, N): what image i, shared by all seeds, adds to the difference of seed s: 1 where only
            the arm is right, -1 where only its reference is, else 0; or a mean of such over combinations of
            the other settings.
        confidence: coverage of the interval.
        within: the least and the greatest difference there can be.

    Returns:
        One row: seeds, images, difference (mean), error_seeds (standard error over seeds alone, on these
        images), error_images (what the draw of the images adds), error (both), df, low, high. NaN with fewer
        than two seeds or images, and no interval where seeds do not differ.

    Raises:
        ValueError: it has not two dimensions.

    >>> row = crossed_interval([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]).iloc[0]
    >>> [round(float(row[name]), 3) for name in ("difference", "error_seeds", "error_images", "df")]
    [0.333, 0.083, 0.0, 2.0]
    """
    x = np.asarray(differences, dtype=float)
    if x.ndim != 2:
        raise ValueError(f"differences has shape {x.shape}; allowed: (seeds, images)")
    seeds, images = x.shape
    row = dict.fromkeys(COLUMNS, np.nan) | {"seeds": seeds, "images": images}
    if x.size:
        row["difference"] = float(x.mean())
    if seeds > 1 and images > 1:
        squares = MeanSquares.of(x)  # rows are seeds, columns are images
        of_images = max(squares.columns - squares.rest, 0.0) / x.size
        row |= _interval(row["difference"], squares.rows / x.size, of_images, seeds, confidence)
        row["low"], row["high"] = np.clip([row["low"], row["high"]], *within)
    return pd.DataFrame([row])


def bounded_interval(
    differences: ArrayLike, errors: float, images: int, confidence: float = CONFIDENCE,
    within: tuple[float, float] = (-1.0, 1.0),
) -> pd.DataFrame:  # fmt: skip
    """Bound the interval of `crossed_interval` where predictions of single images are not kept.

    Only an image that exactly one of the two gets wrong adds to a difference, so the variance over images is
    at most the sum of both error rates less the squared difference. A larger part of the images also brings
    more degrees of freedom, so the interval is the wider one of those with all of that and with none: what
    lies between is narrower. It is too wide by as much as both err on the same images.

    Args:
        differences: (S,), of the accuracies of each seed.
        errors: the error rates of arm and reference, as shares, added.
        images: of the test set.
        confidence: coverage of the interval.
        within: the least and the greatest difference there can be.

    Returns:
        One row, as `crossed_interval`; error_images, error, df, low and high are bounds.

    >>> row = bounded_interval([0.01, 0.02, 0.03], 0.05, 10_000).iloc[0]
    >>> [round(float(row[name]), 4) for name in ("error_seeds", "error_images")]
    [0.0058, 0.0022]
    """
    x = np.asarray(differences, dtype=float)
    row = dict.fromkeys(COLUMNS, np.nan) | {"seeds": len(x), "images": images}
    if len(x):
        row["difference"] = float(x.mean())
    if len(x) > 1 and images > 0:
        most = max(errors - float(x.mean()) ** 2, 0.0) / images
        of_seeds = float(x.var(ddof=1)) / len(x)
        ends = [_interval(row["difference"], of_seeds, part, len(x), confidence) for part in (0.0, most)]
        row |= ends[1]
        row["low"] = max(min(end["low"] for end in ends), within[0])
        row["high"] = min(max(end["high"] for end in ends), within[1])
    return pd.DataFrame([row])


def _interval(
    difference: float, of_seeds: float, of_images: float, seeds: int, confidence: float
) -> dict[str, float]:
    """Combine the variances of a mean, over seeds and what images add, into errors and an interval."""
    whole = of_seeds + of_images
    known = whole > EQUAL**2 and of_seeds > EQUAL**2
    df = whole**2 / (of_seeds**2 / (seeds - 1)) if known else np.nan
    error = np.sqrt(whole)
    half = float(special.stdtrit(df, 0.5 + confidence / 2)) * error if known else np.nan
    return {
        "error_seeds": float(np.sqrt(of_seeds)), "error_images": float(np.sqrt(of_images)),
        "error": float(error), "df": df, "low": difference - half, "high": difference + half,
    }  # fmt: skip
