"""Extrapolation of learning curves."""

from __future__ import annotations

import math
from fractions import Fraction


def least_curves(confidence: float) -> int:
    """Return the finished curves that a bound of a confidence needs: the least n with n >= (n + 1) c.

    >>> least_curves(0.95)
    19
    """
    share = Fraction(str(confidence))
    return math.ceil(share / (1 - share))
