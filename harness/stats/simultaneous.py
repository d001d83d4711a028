"""Intervals of a family of differences that all hold together, beside the p values that Holm corrects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.stats.verdicts import half_width

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

COLUMNS = ["low_all", "high_all"]


def simultaneous_intervals(
    judged: pd.DataFrame, alpha: float = 0.05, *, resolution: ArrayLike = 0.0, overlap: ArrayLike = 0.0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> pd.DataFrame:  # fmt: skip
    """Widen the intervals of a family so that all of them hold their true difference with 1 - alpha.

    Bonferroni's: each row has Student's t at alpha divided by the number of rows that have a test. That needs
    nothing of how rows depend on each other (they share seeds and a reference) and takes unequal numbers of
    seeds and unequal spreads; a maximum of t statistics would need the correlations of the rows, which a
    handful of seeds does not give. Holm's p decides at least as much, so such an interval may have 0 in it
    beside a verdict.

    Args:
        judged: n, difference, sd; rows as from `verdicts`.
        alpha: of the whole family.
        resolution: as in `verdicts`, one number or one a row.
        overlap: as in `verdicts`, likewise.
        within: the least and the greatest difference there can be.

    Returns:
        low_all, high_all, in the index of `judged`; NaN below two seeds, and where seeds show no spread.

    Raises:
        ValueError: alpha is out of range.

    >>> judged = pd.DataFrame({"n": [5, 5], "difference": [0.1, 0.0], "sd": [0.1, 0.1]})
    >>> simultaneous_intervals(judged).round(3).to_dict("list")
    {'low_all': [-0.056, -0.156], 'high_all': [0.256, 0.156]}
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha}: allowed is 0 < alpha < 1")
    n, difference, sd = (judged[name].to_numpy(dtype=float) for name in ("n", "difference", "sd"))
    half = half_width(n, sd, alpha / max(int((n > 1).sum()), 1), overlap)
    known = np.asarray(resolution, dtype=float)
    low, high = (np.clip(difference + sign * half, *within) + sign * known for sign in (-1, 1))
    return pd.DataFrame({"low_all": low, "high_all": high}, index=judged.index)
