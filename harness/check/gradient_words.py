"""Words for what is wrong with a gradient: the elements, the factor, the shape, the sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.check import numbers
from harness.check.calling import Array
from harness.check.differences import Slope

AGREE = 1e-6
"""Relative difference to which a right derivative agrees, beside ten times the bound of the differences."""
MOST_KINKS = 2
MIXED = (
    "{name}(x) gives one derivative for each element, and forward mixes elements (each output depends on "
    "several inputs, as in a softmax): give backward(grad, x), or the Jacobian"
)
UNUSED = (
    "the incoming gradient is not used: {name}(grad, x) gives the derivative alone; by the chain rule it "
    "is the derivative times grad"
)
DIAGONAL = (
    "{name} has only the diagonal of the Jacobian: each output depends on all inputs of its row (as in a "
    "softmax, dy_i/dx_j = y_i ((i = j) - y_j)), so the sum over the outputs is missing"
)


def tolerance(slope: Slope, size: float) -> float:
    """Return how far a right derivative may be from a slope; `size` is what is compared with."""
    return AGREE * size + 10 * slope.bound


@dataclass(frozen=True, eq=False)
class Disagreement:
    """A gradient `got` by x, and the slopes by central differences at some places of x."""

    x: Array
    got: Array
    places: Sequence[tuple[int, ...]]
    slopes: Sequence[Slope]
    batch: int = 1
    """Rows of what the function gives."""
    letter: str = "x"
    """The name of what is differentiated by, where its value at an element tells something."""

    @property
    def expected(self) -> Array:
        """The slopes as an array, in the order of the places."""
        return np.array([slope.value for slope in self.slopes])

    @property
    def _given(self) -> Array:
        return np.array([self.got[place] for place in self.places], dtype=np.float64)

    def wrong(self, given: Array | None = None) -> Array:
        """Tell for each place whether the derivative is wrong; at a kink all between the sides is right."""
        given = self._given if given is None else given
        floor = numbers.FLOOR * float(np.nanmax(np.abs(self.expected), initial=0.0))
        wrong = []
        for value, slope in zip(given, self.slopes, strict=True):
            room = tolerance(slope, abs(slope.value) + floor)
            low, high = slope.sides or (slope.value, slope.value)
            room = max(room, AGREE * 100 * abs(high - low)) if slope.sides else room
            wrong.append(not min(low, high) - room <= value <= max(low, high) + room)
        return np.array(wrong, dtype=bool)

    def agrees(self) -> bool:
        """Tell whether the gradient is right: of x's shape, and within the bounds everywhere."""
        return self.got.shape == self.x.shape and bool(self.places) and not self.wrong().any()

    def equals(self, values: Array) -> bool:
        """Tell whether the gradient has these values at the places."""
        return numbers.error(self._given, values) < numbers.SINGLE

    def of_shape(self) -> str:
        """Say what is wrong with the shape, or "" if nothing is."""
        if self.got.shape == self.x.shape:
            return ""
        words = f"has shape {self.got.shape}, and what it is the gradient of has {self.x.shape}"
        if self.got.shape == self.x.shape[::-1] and self.x.ndim > 1:
            turned = Disagreement(self.x, self.got.T, self.places, self.slopes)
            return f"{words}: transposed{'' if turned.agrees() else ', and its values differ, too'}"
        if self.got.size == self.x.size:
            return f"{words}: reshape it"
        if self.got.ndim > self.x.ndim and self.got.shape[self.got.ndim - self.x.ndim :] == self.x.shape:
            return f"{words}: the sum over the samples (dimension 0) is missing"
        return words

    def of_factor(self) -> str:
        """Say by which factor the gradient is off, or "" if there is none."""
        smooth = np.array([slope.sides is None for slope in self.slopes], dtype=bool)
        value = numbers.ratio(self._given[smooth], self.expected[smooth])
        if value is None or abs(value - 1) < numbers.SAME_FACTOR:
            return ""
        for number, words in self._named_factors():
            if number and abs(value / number - 1) < numbers.SAME_FACTOR:
                return words
        return f"is exactly {value:.6g} times the derivative"

    def _named_factors(self) -> Iterator[tuple[float, str]]:
        yield -1, "is minus the derivative: the sign is wrong"
        yield 2, "is exactly 2 times the derivative"
        yield 0.5, "is exactly half of the derivative"
        shape, batch = self.x.shape or (1,), self.batch
        of_batch = f"{batch} is the number of samples (rows)"
        yield batch, f"is exactly {batch} times the derivative, and {of_batch}: of the sum, not of the mean?"
        yield (
            1 / batch,
            (
                f"is exactly 1/{batch} of the derivative, and {of_batch}: the derivative of the mean, not "
                "of the sum?"
            ),
        )
        counts = ((shape[0], "rows"), (shape[-1], "columns"), (self.x.size, "elements"))
        for number, what in counts:
            yield number, f"is exactly {number} times the derivative, and {number} is the number of {what}"
            yield 1 / number, f"is exactly 1/{number} of the derivative, and {number} is the number of {what}"

    def of_order(self) -> str:
        """Say that a square gradient is transposed, or that it is a constant too large, or ""."""
        if self.x.ndim == 2 and self.x.shape[0] == self.x.shape[1]:
            turned = np.array([self.got.T[place] for place in self.places])
            if not self.wrong(turned).any():
                return "is transposed"
        apart = self._given - self.expected
        if apart.size > 1 and np.isfinite(apart).all() and np.ptp(apart) < AGREE * np.abs(apart).max():
            return f"is the derivative {'plus' if apart[0] > 0 else 'minus'} {abs(apart[0]):.6g}"
        return ""

    def in_general(self) -> str:
        """Say how many elements are wrong, where, and give the worst."""
        if not self.places:
            return "is right at the elements compared and wrong elsewhere (along random directions)"
        if not self.got.any():
            return "is 0 everywhere"
        wrong, given = self.wrong(), self._given
        off = np.where(wrong & np.isfinite(given), np.abs(given - self.expected), np.where(wrong, np.inf, -1))
        worst = int(off.argmax())
        place = self.places[worst]
        index = f"[{', '.join(map(str, place))}]"
        x = f", where {self.letter} = {self.x[place]:.4g}," if self.x.shape and self.letter else ""
        only = self._region(wrong)
        return (
            f"is wrong at {int(wrong.sum())} of {len(wrong)} elements{only}; at {index}{x} it is "
            f"{given[worst]:.6g}, and central differences give {self.slopes[worst].value:.6g}"
        )

    def kinks(self) -> list[str]:
        """Say at which x there is a kink, and what the gradient has there."""
        notes = []
        for place, slope in zip(self.places, self.slopes, strict=True):
            if slope.sides:
                low, high = slope.sides
                notes.append(
                    f"at x = {self.x[place]:.4g} there is a kink, with slopes {low:.4g} and {high:.4g}: "
                    f"yours there is {self.got[place]:.4g}, and any number between is right"
                )
        return notes[:MOST_KINKS]

    def _region(self, wrong: Array) -> str:
        """Say that all wrong elements, and no right ones, are at positive or at negative x."""
        x = np.array([self.x[place] for place in self.places])
        if not self.letter:
            return ""
        for words, inside in ((", all those where x < 0", x < 0), (", all those where x > 0", x > 0)):
            if wrong.any() and not wrong.all() and np.array_equal(wrong, inside):
                return words
        return ""


def of_jacobian(name: str, got: Array, expected: Array) -> list[str]:
    """Say what is wrong with a Jacobian, in a list that is empty if nothing is."""
    if numbers.error(got, expected) < 1e-5:
        return []
    if got.shape[-1] == got.shape[-2] and numbers.error(np.swapaxes(got, -1, -2), expected) < 1e-5:
        return [f"{name} gives the Jacobian transposed: its rows are outputs, its columns inputs"]
    value = numbers.ratio(got, expected)
    if value is not None:
        return [f"{name} gives the Jacobian exactly {value:.6g} times"]
    off = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    place = np.unravel_index(int(off.argmax()), off.shape)
    index = ", ".join(str(int(i)) for i in place)
    words = (
        f"{name} gives a wrong Jacobian: at [{index}] it is {got[place]:.6g}, and central differences give "
        f"{expected[place]:.6g}"
    )
    return [words]
