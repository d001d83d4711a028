"""From trials to stacks: which trials train together, and what that costs in seconds and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.planning.plan import Plan as Plan
    from harness.planning.plan import make as make
    from harness.planning.stack import Stack as Stack

_HOMES = {"Plan": "plan", "make": "plan", "Stack": "stack"}
__all__ = ["Plan", "Stack", "make"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
