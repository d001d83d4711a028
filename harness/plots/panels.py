"""Panels: the Axes that a person gets from a public function, in the house's style.

In a notebook a figure belongs to pyplot, which shows it when its cell is over, with what a person changed
there, and then forgets it. Elsewhere it is a plain Figure, which goes when nobody holds it any more.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias

import numpy as np
from matplotlib.axes import Axes

from harness import notes
from harness.errors import UsageError
from harness.plots import fonts
from harness.plots.figures import shown_once
from harness.plots.style import styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


P = ParamSpec("P")
Panels: TypeAlias = Any
"""One Axes; or an array of them, (N,), where there are several panels: as pyplot's subplots, untyped."""


class AxesArray(np.ndarray[Any, Any]):
    """An array (N,) of Axes that is one short line where a notebook writes the last value of a cell."""

    def __repr__(self) -> str:
        return f"an array of {self.size} Axes"


def public(draw: Callable[P, Sequence[Axes]]) -> Callable[P, Panels]:
    """Make a person's function of one that draws panels: it returns the Axes, or an array of several.

    In a notebook its figure is shown once; one that is half drawn when an error comes is not shown.
    """
    drawn = styled(draw)

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Panels:
        ax = kwargs.get("ax")
        if ax is not None and not isinstance(ax, Axes):
            raise UsageError(
                f"ax = {type(ax).__name__}: allowed is one of matplotlib's Axes; of an array of them, axes[0]"
            )
        with shown_once():
            return _finished(drawn(*args, **kwargs))

    return wrapper


@styled
def _finished(axes: Sequence[Axes]) -> Panels:
    """Make every tick while the style holds: a notebook draws the figure later, in a style of its own."""
    parts: list[Any] = [ax.figure for ax in axes]
    for whole in dict.fromkeys(part.figure for part in parts):  # of a part of a figure, all of it
        whole.draw_without_rendering()
        fonts.settle(whole)
    if fonts.note():
        notes.warn_once(fonts.note())
    if len(axes) == 1:
        return axes[0]
    array = np.empty(len(axes), dtype=object).view(AxesArray)
    array[:] = axes
    return array
