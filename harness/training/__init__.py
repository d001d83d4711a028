"""Training: a plan's stacks go to worker processes, and their results into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.training.folder_runs import RunSummary as RunSummary
    from harness.training.options import RunOptions as RunOptions
    from harness.training.runs import run as run
    from harness.training.runs import train as train

_HOMES = {"RunOptions": "options", "RunSummary": "folder_runs", "run": "runs", "train": "runs"}
__all__ = ["RunOptions", "RunSummary", "run", "train"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
