"""Searches: Optuna suggests settings, batches of which train as stacks, and is told their results."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.searching.loop import search as search
    from harness.searching.search_result import SearchResult as SearchResult
    from harness.searching.stacked_study import StackedStudy as StackedStudy

# Optuna imports tqdm's bar for notebooks, which nothing here draws.
warnings.filterwarnings("ignore", message="IProgress not found")
_HOMES = {"SearchResult": "search_result", "StackedStudy": "stacked_study", "search": "loop"}
__all__ = ["SearchResult", "StackedStudy", "search"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
