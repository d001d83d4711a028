"""torch, imported when it is first used: `harness list` and every usage error answer without it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
else:

    class _Torch:
        """Stands where `import torch` would, and imports it at the first attribute asked for."""

        def __getattr__(self, name: str) -> Any:
            attribute = getattr(importlib.import_module("torch"), name)
            vars(self)[name] = attribute  # asked for many times a step
            return attribute

    torch = _Torch()

__all__ = ["torch"]
