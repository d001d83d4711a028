"""New figures: pyplot's own where a notebook's cell is to show them, else plain ones without global state."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.notes.notebook import ipython_display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SILENT = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
"""Backends that show nothing: with one of these, pyplot would only keep the figures."""
_made: ContextVar[list[Figure] | None] = ContextVar("made", default=None)
"""The figures of pyplot that the present call has made; None where figures are to be plain."""


def new_figure(size: tuple[float, float], layout: Any = None) -> Figure:
    """Make an empty figure of a size in inches."""
    made = _made.get()
    if made is None:
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
        return figure
    from matplotlib import pyplot as plt

    with mpl.rc_context({"figure.max_open_warning": 0}):  # they are closed when their cell is over
        made.append(plt.figure(figsize=size, layout=layout))
    return made[-1]


@contextmanager
def shown_once() -> Iterator[None]:
    """Let pyplot own the figures of the block, in a notebook; close them where the block raises."""
    if not _shows():
        yield
        return
    from matplotlib import pyplot as plt

    made: list[Figure] = []
    token = _made.set(made)
    try:
        yield
    except BaseException:
        for figure in made:
            plt.close(figure)
        raise
    finally:
        _made.reset(token)


def _shows() -> bool:
    """Return whether pyplot shows figures in this process's cells."""
    if ipython_display() is None:
        return False
    from matplotlib import pyplot as plt

    if not plt.get_fignums():
        # pyplot sets its backend up now: within a style that is taken back, its settings would be, too.
        set_up: Callable[[], None] = plt.draw_if_interactive
        set_up()
    return mpl.get_backend().lower() not in SILENT
