"""The refusal to lower a component, in words."""

from __future__ import annotations

BRANCHES = "Python branches on the value of a tensor"
"""Words of a refusal: in a stack the value would be that of all members."""


class NotLoweredError(Exception):
    """A component has no compiled form; the message names the operation, and says why."""
