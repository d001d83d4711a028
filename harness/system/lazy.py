"""Imports at first use: `harness list` and every usage error answer without torch and pandas."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import did_you_mean
from harness.system import signals

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


def public_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package that imports its public names when they are asked for.

    `homes` maps a public name to its module below the package, with another name behind a colon if the object
    is called differently there ("planning.plan:make"); behind a colon alone, the module itself is meant.
    """

    def attribute_of_package(name: str) -> Any:
        if name not in homes:
            hint = f": {did_you_mean(name, homes)}" if not name.startswith("_") else ""
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        module, colon, attribute = homes[name].partition(":")
        with signals.interrupts_after():  # or a notebook's matplotlib stays half imported for good
            home = importlib.import_module(f"{package}.{module}")
        return home if colon and not attribute else getattr(home, attribute or name)

    return attribute_of_package, lambda: sorted(homes)
