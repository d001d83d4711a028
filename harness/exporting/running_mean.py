"""Running means of a training loop: losses and accuracies, weighted by the samples that they are of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import notes
from harness.errors import UsageError


class RunningMean:
    """Weighted running means of several named quantities, so that a short last batch counts as it should.

    Sums are float64. A value is one number, the mean of n samples; or an array or tensor with a value for
    each sample, whose n need not be told. Tensors are taken as they are: no `.item()`, no `.detach()`.

    Example:
        >>> mean = harness.RunningMean()
        >>> mean.update(loss=0.5, accuracy=0.75, n=32)
        >>> mean.update(loss=2.0, accuracy=1.0, n=13)
        >>> mean
        loss 0.9333, accuracy 82.2 %, of 45
        >>> round(mean.loss, 4), round(mean["accuracy"], 4), mean.total("loss")
        (0.9333, 0.8222, 42.0)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: for the next epoch."""
        self._sums: dict[str, float] = {}
        self.n = 0

    def update(self, *, n: int | None = None, **values: Any) -> None:
        """Add the values of a batch.

        Args:
            n: the samples that single numbers are the mean of, `len(y)`.
            values: a number, or an array or tensor (n,), by name; the same names every time.

        Raises:
            UsageError: n is missing, negative or not that of an array; names differ from those before.
        """
        if not values:
            raise UsageError("no value is given; allowed: mean.update(loss=loss, n=len(y))")
        if self._sums and values.keys() != self._sums.keys():
            raise UsageError(
                f"got {', '.join(values)}, before {', '.join(self._sums)}: the same names every time, or "
                "reset(), or a RunningMean each"
            )
        for name, value in values.items():
            if value is None:
                raise UsageError(f"{name} = None: is the `return` of a function missing?")
            if name.startswith("_") or hasattr(type(self), name):
                raise UsageError(
                    f"{name} = ..: a name of the running mean's own; allowed: another, my_{name}"
                )
        arrays = {name: _numbers(name, value) for name, value in values.items()}
        count = _count(n, arrays)
        sums = {
            name: float(array.sum()) if array.ndim else float(array) * count for name, array in arrays.items()
        }
        for name, total in sums.items():
            if count and math.isnan(total) and not math.isnan(self._sums.get(name, 0.0)):
                notes.warn(
                    f"{name} is nan in the batch after {self.n:,} samples, and so is its mean from here on: "
                    "has training diverged?"
                )
        self._sums = {
            name: self._sums.get(name, 0.0) + (total if count else 0.0) for name, total in sums.items()
        }
        self.n += count

    def total(self, name: str) -> float:
        """Return the sum over all samples; raise UsageError for an unknown name."""
        if name not in self._sums:
            known = ", ".join(self._sums) or "none yet: update() comes first"
            raise UsageError(f"there is no mean of {name!r}; there are: {known}")
        return self._sums[name]

    def __getitem__(self, name: str) -> float:
        """Return the mean over all samples; raise UsageError for an unknown name."""
        total = self.total(name)
        return total / self.n if self.n else math.nan

    def __getattr__(self, name: str) -> float:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UsageError as error:
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._sums]

    def __repr__(self) -> str:
        words = [_in_words(name, self[name]) for name in self._sums]
        return ", ".join([*words, f"of {self.n:,}"]) if words else "no samples yet"


def _in_words(name: str, mean: float) -> str:
    return f"{name} {100 * mean:.1f} %" if "accuracy" in name else f"{name} {mean:.4g}"


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    """Give a value as one number or one a sample, in float64."""
    try:
        value = value.detach().cpu().double() if hasattr(value, "detach") else value
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name} = {value!r:.60}: allowed: a number, or one a sample ({error})") from None
    if array.ndim > 1:
        raise UsageError(f"{name} has shape {array.shape}; allowed: a number, or one a sample, (n,)")
    return array


def _count(n: Any, arrays: dict[str, NDArray[np.float64]]) -> int:
    """Count the samples of a batch, and check that all agree."""
    counts = {name: len(array) for name, array in arrays.items() if array.ndim}
    if n is None:
        if len(counts) < len(arrays):
            single = ", ".join(name for name in arrays if name not in counts)
            raise UsageError(f"n is missing: how many samples is {single} the mean of? Say n=len(y)")
        n = next(iter(counts.values()))
    elif not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 0:
        raise UsageError(f"n = {n!r}: allowed: the samples of the batch, a whole number from 0 on")
    for name, count in counts.items():
        if count != n:
            raise UsageError(f"{name} has {count} values and n is {n}; allowed: one a sample")
    return int(n)
