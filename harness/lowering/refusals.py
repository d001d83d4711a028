"""The refusal to lower a component, in words."""

from __future__ import annotations


class NotLoweredError(Exception):
    """A component has no compiled form; the message names the operation, and says why."""
