"""The notebook that this process is the kernel of, or a command of; IPython is never imported for that."""

from __future__ import annotations

import contextvars
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def ipython_display() -> Any | None:
    """Return the module IPython.display in a notebook's kernel, None elsewhere.

    A script, a plain Python prompt and IPython on a terminal have no kernel, and no cell to draw into.
    """
    ipython = sys.modules.get("IPython")
    find = getattr(ipython, "get_ipython", None)
    if find is None or not hasattr(find(), "kernel"):
        return None
    return importlib.import_module("IPython.display")


def on_terminal() -> bool:
    """Tell whether a line on stderr can be drawn anew: on a terminal.

    A notebook gives a command of its own (`!harness run ..`) a terminal, too, whose cell shows every drawing
    below the last one; Jupyter marks the processes of its kernels by JPY_PARENT_PID.
    """
    return sys.stderr.isatty() and "JPY_PARENT_PID" not in os.environ


@contextmanager
def drawn_beside(draw: Callable[[threading.Event], None]) -> Iterator[None]:
    """Draw in a thread while the block runs: `draw(stop)` returns when `stop` is set, which is awaited."""
    stop = threading.Event()
    # A notebook's output knows its cell by context variables, which a thread does not inherit.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(draw, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
