"""The notebook that this process is the kernel of, if it is one; IPython is never imported for that."""

from __future__ import annotations

import importlib
import sys
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
