"""Axes that tell values apart: accuracies by their error, losses by factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from harness.plots.style import PercentTicks
from harness.text import measured_in, short_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

Kind: TypeAlias = Literal["error", "log", "linear"]

LEAST_ERROR = 1e-4  # the axis of accuracies ends here: 100 % lies at no finite place
SPAN = 5  # values that differ by more than this factor want a logarithmic axis
TICKS: Sequence[Sequence[float]] = [
    [0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999],
    [*np.arange(0.1, 0.9, 0.1).round(1), 0.85, *np.arange(0.9, 1, 0.01).round(2), 0.995, 0.998],
    list(np.arange(0.1, 1, 0.005).round(3)),
    list(np.arange(0.1, 1, 0.002).round(3)),
]
"""Shares to name on the axis: the first of these that has three within the limits."""


def error(share: Any, least: float = LEAST_ERROR) -> Any:
    """Return the place of an accuracy on an axis logarithmic in the error, down to the error `least`."""
    return -np.log10(np.maximum(1 - np.asarray(share, dtype=float), least))


def share(place: Any) -> Any:
    """Return the accuracy at a place of `error`."""
    return 1 - 10 ** -np.asarray(place, dtype=float)


def ticks(low: float, high: float) -> list[float]:
    """Choose shares to name between two."""
    within = [[share for share in shares if low <= share <= high] for shares in TICKS]
    return next((few for few in within if len(few) > 2), [low, high])


def kind_of(name: str, values: ArrayLike) -> Kind:
    """Choose the kind of axis for a quantity, by its name and the span of its values."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if name.endswith("accuracy"):
        return "error"
    wide = known.size and known.min() > 0 and known.max() / known.min() > SPAN
    return "log" if wide else "linear"


def trained_ends(curves: pd.DataFrame) -> tuple[float, float] | None:
    """Return the ends of an axis for the accuracies of trained networks; None if guessing lies not below.

    Guessing before the first epoch would press everything after it into a corner.

    Args:
        curves: epoch, value.
    """
    values, trained = curves["value"], curves.loc[curves["epoch"].gt(0), "value"]
    if curves["epoch"].nunique() < 3 or not trained.min() > values.min():
        return None
    room = 0.06 * (values.max() - trained.min()) or 0.01
    return float(trained.min() - room), float(values.max() + room)


def places(values: ArrayLike, kind: Kind, least: float = LEAST_ERROR) -> NDArray[np.float64]:
    """Return values as distances along an axis of this kind, so that colours grow as the axis does.

    Args:
        values: any shape.
        kind: as from `kind_of`.
        least: of accuracies, the error from which on the axis is even; `least_error` of all that it shows.
    """
    known = np.asarray(values, dtype=float)
    if kind == "linear":
        return known
    return np.asarray(_to_end(known, least) if kind == "error" else np.log10(known), dtype=float)


def values_at(at: ArrayLike, kind: Kind, least: float = LEAST_ERROR) -> NDArray[np.float64]:
    """Return the values at places: the inverse of `places`."""
    known = np.asarray(at, dtype=float)
    if kind == "linear":
        return known
    return np.asarray(_from_end(known, least) if kind == "error" else 10**known, dtype=float)


def _to_end(shares: Any, least: float) -> Any:
    """Place accuracies by the logarithm of the error, and evenly from the error `least` on to 100 %."""
    shares = np.asarray(shares, dtype=float)
    return error(shares, least) + np.maximum(shares - (1 - least), 0) / (least * math.log(10))


def _from_end(place: Any, least: float) -> Any:
    place, end = np.asarray(place, dtype=float), -math.log10(least)
    return share(np.minimum(place, end)) + np.maximum(place - end, 0) * least * math.log(10)


def value_axis(ax: Axes, which: Literal["x", "y"], name: str, values: ArrayLike) -> None:
    """Lay an axis out for a quantity: scale, limits around all of its values, ticks, label."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    kind, axis = kind_of(name, known), ax.xaxis if which == "x" else ax.yaxis
    least = least_error(known)
    setter = ax.set_xscale if which == "x" else ax.set_yscale
    if kind == "error":
        setter("function", functions=(lambda of: _to_end(of, least), lambda of: _from_end(of, least)))
    elif kind == "log":
        setter("log")
    if known.size:
        ends = places([known.min(), known.max()], kind, least)
        room = 0.06 * (float(np.ptp(ends)) or 0.1)
        low, high = values_at([ends[0] - room, ends[1] + room], kind, least).tolist()
        (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
        if kind == "error":
            named = [share for share in ticks(max(low, 0), min(high, 1)) if share <= 1 - least]
            axis.set_major_locator(FixedLocator([*named, *([1.0] if known.max() == 1 else [])]))
        elif kind == "log":
            few = high / low < 1000
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if few else LogLocator(numticks=7))
    if kind == "error":
        axis.set_major_formatter(PercentTicks())
    else:
        axis.set_major_formatter(lambda value, _: short_number(value))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(measured_in(name))


def least_error(values: ArrayLike) -> float:
    """Return the smallest error except 0, which lies at no finite place of a logarithm."""
    known = np.asarray(values, dtype=float)
    errors = 1 - known[np.isfinite(known)]
    errors = errors[errors > 1e-9]
    return max(LEAST_ERROR, float(errors.min())) if errors.size else LEAST_ERROR
