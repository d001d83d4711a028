"""The target of a study, `[study] until`: a level of val or train whose first reaching is recorded.

A target decides no number that training gives: trials train to their end whether they reach it or not. So it
is no part of a trial's id, and may be given, changed or taken out after a study has been trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import did_you_mean, quoted
from harness.settings.schema import TARGETS

EXAMPLE = "until = { val_accuracy = 0.97 }"


@dataclass(frozen=True)
class Target:
    """A level of loss or accuracy on train or val, first reached at some evaluation, or never.

    An accuracy is reached from below, a loss from above; a value equal to `level` reaches it.
    """

    split: str
    metric: str
    level: float

    @classmethod
    def of(cls, until: Mapping[str, float] | None) -> Target | None:
        """Give the target of a checked `until`; None where a study has none."""
        if not until:
            return None
        ((column, level),) = until.items()
        split, _, metric = column.partition("_")
        return cls(split, metric, level)

    @property
    def column(self) -> str:
        """The column of trials.csv that holds the final value, such as "val_accuracy"."""
        return f"{self.split}_{self.metric}"

    @property
    def words(self) -> str:
        """The target in words, such as "97 % val accuracy"."""
        if self.metric == "accuracy":
            return f"{100 * self.level:.6g}\u00a0% {self.split} accuracy"
        return f"a {self.split} loss of {self.level:.6g}"

    def is_reached(self, value: float) -> bool:
        """Tell whether a value reaches the target; a missing one (NaN) does not."""
        return value >= self.level if self.metric == "accuracy" else value <= self.level

    def first(self, values: Iterable[float]) -> int | None:
        """Find the place of the first value that reaches the target; None where none does."""
        return next((place for place, value in enumerate(values) if self.is_reached(value)), None)


def checked(given: Any) -> Any:
    """Check the value of `until`; an empty table means no target.

    Raises:
        ValueError: it is no target that a trial could reach; says what is allowed.
    """
    if given is None or given == {}:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f"a table with one target, as in {EXAMPLE}")  # noqa: TRY004 (pydantic's validators)
    if len(given) > 1:
        raise ValueError(f"one target, as in {EXAMPLE}; these are {len(given)}")
    ((column, level),) = given.items()
    if str(column).startswith("test_"):
        raise ValueError(
            f"{', '.join(TARGETS)}: test is evaluated once, at a trial's end, so no target can be on it"
        )
    if column not in TARGETS:
        raise ValueError(f"a target on loss or accuracy; {did_you_mean(str(column), TARGETS)}")
    if isinstance(level, bool) or not isinstance(level, int | float) or not math.isfinite(level):
        raise ValueError(f"a number for {column}, as in {EXAMPLE}; not {quoted(level, most=60)}")
    if column.endswith("accuracy") and not 0 < level <= 1:
        share = f": {level:g}\u00a0% is {level / 100:g}" if 1 < level <= 100 else ""
        raise ValueError(f"a share above 0 and up to 1{share}; no trial reaches more")
    return {str(column): float(level)}
