"""Imports at first use: `harness list` and every usage error answer without torch and pandas."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
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

__all__ = ["public_names", "torch"]


def public_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose public names are imported when they are first asked for.

    `homes` maps a public name to its module below the package, with another name behind a colon if the object
    is called differently there ("planning.plan:make").
    """

    def attribute_of_package(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        return getattr(importlib.import_module(f"{package}.{module}"), attribute or name)

    return attribute_of_package
