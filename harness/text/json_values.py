"""Values in JSON's own types, for `--json` and the live page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MISSING = ("NAType", "NaTType")
"""Types of the values that pandas has where there is none."""


def plain(value: Any) -> Any:
    """Return a value in JSON's own types: NaN and infinity become null, paths and other objects text."""
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a number of NumPy's
    if value is None or isinstance(value, bool | int | str):
        return value
    if type(value).__name__ in MISSING:  # by name: nothing here imports pandas
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, Path):
        return [plain(one) for one in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict("records"))
    return str(value)
