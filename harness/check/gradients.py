"""Check a backward pass in NumPy against central differences."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.check import backward_forms, calling, differences, gradient_words
from harness.check.backward_forms import BackwardForm
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.differences import Slope
from harness.check.gradient_words import Disagreement
from harness.check.result import CheckResult
from harness.errors import ComponentError, UsageError
from harness.text import count

SHAPE = (6, 5)
MOST, DIRECTIONS = 100, 4


def gradient(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    at: Any = None,
    shape: Any = None,
    args: Sequence[Any] = (),
    seed: int = 0,
) -> CheckResult:
    """Check a derivative that you wrote by hand against central differences of the function itself.

    Args:
        forward: y = forward(x), or forward(x, w, b) of several arrays; y an array or one number.
        backward: its derivative in one of the usual forms, found by its number of parameters:
            backward(x) gives dy/dx of an elementwise function, the gradient of one number (or of the sum
            of losses (B,)), or the Jacobian; backward(grad, x) gives the gradient at x, of the gradient at y;
            backward(grad), or backward(), is a method of the object whose forward has kept x.
            Of several arrays it gives a tuple, one gradient for each.
        at: the point: an array, or a tuple of arrays; None draws it.
        shape: the shape to draw, (6, 5) where nothing is said; a list of shapes for several arrays.
        args: further arguments of both functions, such as labels, by which nothing is differentiated.
        seed: of the numbers that are drawn.

    Returns:
        A result that is true where all elements agree within the error of the differences.

    Raises:
        UsageError: forward or backward is no function, or the point is not of numbers.

    Example:
        >>> import numpy as np
        >>> result = gradient(np.tanh, lambda x: 1 - np.tanh(x))  # the square is forgotten
        >>> bool(result)
        False
    """
    calling.check_callable("forward", forward)
    calling.check_callable("backward", backward)
    inputs, several = _point(at, shape, np.random.default_rng(seed))
    names = calling.name_of(forward, "forward"), calling.name_of(backward, "backward")
    with calling.checking(f"{names[1]} as the derivative of {names[0]}") as findings:
        fixed = [np.asarray(value) for value in args]
        own, y = calling.find(names[0], forward, *inputs, *fixed, usual="numpy")
        if np.asarray(own(*inputs, *fixed)).tobytes() != y.tobytes():
            raise ComponentError(f"{names[0]} gives other values when it is called again (random numbers?)")
        if not np.isfinite(y).all():
            raise ComponentError(
                f"{names[0]} gives {y[~np.isfinite(y)].ravel()[0]} at {int((~np.isfinite(y)).sum())} of "
                f"{y.size} elements: is it defined at these points? Give others as at="
            )
        check = _GradientCheck(own, (names[1], backward), (inputs, several), fixed, y, findings)
        check.all(np.random.default_rng(seed + 1))
    return findings.result()


def _point(at: Any, shape: Any, rng: np.random.Generator) -> tuple[list[Array], bool]:
    """Give the arrays at which to differentiate, and whether they are several."""
    try:
        if at is not None:
            several = isinstance(at, (tuple, list)) and any(isinstance(part, np.ndarray) for part in at)
            arrays = [np.array(part, dtype=np.float64) for part in (at if several else [at])]
        else:
            several = isinstance(shape, list)
            shapes = shape if isinstance(shape, list) else [SHAPE if shape is None else shape]
            arrays = [rng.standard_normal(one) for one in shapes]
    except (TypeError, ValueError) as error:
        given = f"at = {at!r:.80}" if at is not None else f"shape = {shape!r:.80}"
        raise UsageError(
            f"{given}: {error}. Allowed: at= an array of numbers or a tuple of such arrays; shape= (6, 5) "
            "or a list of shapes"
        ) from error
    if not arrays or not all(x.size for x in arrays):
        raise UsageError("there is nothing to differentiate by: the point has no elements")
    return arrays, several


class _GradientCheck:
    """One comparison: forward at a point, backward in the form that fits it."""

    def __init__(
        self,
        forward: OwnFunction,
        backward: tuple[str, Callable[..., Any]],
        point: tuple[list[Array], bool],
        fixed: list[Array],
        y: Array,
        findings: Findings,
    ) -> None:
        self.forward, self.fixed, self.y, self.findings = forward, fixed, y.astype(np.float64), findings
        self.name, self.backward = backward
        self.inputs, self.several = point

    def all(self, rng: np.random.Generator) -> None:
        """Call backward in the ways that are possible, and judge by the one that is right, if any is."""
        self.incoming = rng.standard_normal(self.y.shape)
        self.rounding = self._rounding(rng)
        results: list[tuple[BackwardForm, list[Array]]] = []
        fault: ComponentError | None = None
        counts = len(self.inputs), len(self.fixed)
        alike = self.y.shape == self.inputs[0].shape
        for form in backward_forms.forms(self.forward.function, self.backward, counts, alike=alike):
            try:
                results.append((form, self._call(form)))
            except ComponentError as error:
                fault = fault or error
        if not results:
            raise fault or ComponentError(
                f"{self.name} takes {len(inspect.signature(self.backward).parameters)} arguments; allowed: "
                f"{self.name}({self._letters()}) or {self.name}(grad, {self._letters()})"
            )
        if self._jacobian(results[0]):
            return
        outcomes: list[tuple[BackwardForm, list[Disagreement]]] = []
        for form, gots in results:
            found = self._compare(form, gots, rng)
            outcomes.append((form, [one for one in found if not one.agrees()]))
            if not outcomes[-1][1]:
                self._tell_right(form, found)
                return
        named = [
            outcome
            for outcome in outcomes
            if outcome[0].takes == "output" and backward_forms.named_output(self.backward, outcome[0])
        ]
        form, wrong = (named or outcomes)[0]
        self.findings.problems += [self._words(form, one) for one in wrong]

    def _letters(self) -> str:
        return ", ".join(["x"] if len(self.inputs) == 1 else [f"x{i + 1}" for i in range(len(self.inputs))])

    def _call(self, form: BackwardForm) -> list[Array]:
        """Give backward's arrays, one for each input; of an object's method forward is called before it."""
        if form.takes == "nothing":
            self.forward(*self.inputs, *self.fixed)
        arguments = form.arguments(self.incoming, self.inputs, self.fixed, self.y)
        own = OwnFunction(self.name, self.backward, self.forward.library, self.forward.dtype)
        return backward_forms.call(own, arguments, len(self.inputs) if self.several else 0)

    def _scalar(self, weights: Array, inputs: Sequence[Array]) -> float:
        return float((weights * self.forward.again(*inputs, *self.fixed)).sum())

    def _slopes(self, weights: Array, which: int, places: Sequence[tuple[int, ...]]) -> list[Slope]:
        """Differentiate <weights, forward> by elements of one of the inputs."""
        return [self._slope(weights, differences.unit(self.inputs, which, place)) for place in places]

    def _slope(self, weights: Array, direction: Sequence[Array]) -> Slope:
        line = differences.line(functools.partial(self._scalar, weights), self.inputs, direction)
        return differences.slope(line, self.rounding)

    def _rounding(self, rng: np.random.Generator) -> float:
        """Measure the relative error of forward's values."""
        (direction,) = differences.directions(self.inputs, 1, rng)
        scalar = functools.partial(self._scalar, self.incoming)
        return differences.measured_rounding(differences.line(scalar, self.inputs, direction))

    def _compare(
        self, form: BackwardForm, gots: Sequence[Array], rng: np.random.Generator
    ) -> list[Disagreement]:
        """Compare each input's gradient with central differences."""
        weights = self.incoming if form.vjp else np.ones(self.y.shape)
        batch = self.y.shape[0] if self.y.ndim else len(np.atleast_1d(self.inputs[0]))
        found = []
        for which, (x, got) in enumerate(zip(self.inputs, gots, strict=True)):
            places = differences.places(x.shape, MOST, rng)
            found.append(Disagreement(x, got, places, self._slopes(weights, which, places), batch))
        if all(one.agrees() for one in found) and not self._along_directions(weights, gots, rng):
            return [Disagreement(self.inputs[0], gots[0], (), (), batch)]
        return found

    def _along_directions(self, weights: Array, gots: Sequence[Array], rng: np.random.Generator) -> bool:
        """Compare along random directions where not every element was compared."""
        if all(x.size <= MOST for x in self.inputs):
            return True
        for direction in differences.directions(self.inputs, DIRECTIONS, rng):
            known = self._slope(weights, direction)
            got = sum(float((g * d).sum()) for g, d in zip(gots, direction, strict=True))
            size = float(np.sqrt(sum((g * g).sum() for g in gots)))
            if abs(got - known.value) > gradient_words.tolerance(known, size) and not known.sides:
                return False
        return True

    def _elementwise(self) -> bool:
        """Tell whether each element of forward's result depends on its own element of x alone."""
        x = self.inputs[0]
        if len(self.inputs) > 1 or x.shape != self.y.shape or x.size < 2:
            return True
        other = x.copy()
        other.flat[0] += 0.5
        changed = self.forward(other, *self.fixed).astype(np.float64).ravel()[1:] - self.y.ravel()[1:]
        return bool(np.abs(changed).max() < 1e-6)

    def _tell_right(self, form: BackwardForm, found: Sequence[Disagreement]) -> None:
        if not form.vjp and form.takes == "inputs" and not self._elementwise():
            self.findings.problems.append(gradient_words.MIXED.format(name=self.name))
            return
        if form.takes == "output" and not backward_forms.named_output(self.backward, form):
            self.findings.problems.append(
                f"{self.name} is right of forward's output y, and not of its input x: call it with what "
                "forward gave"
            )
            return
        if form.takes == "output":
            self.findings.notes.append(f"{self.name} takes what forward gave, not forward's input")
        elements, arrays = sum(len(one.places) for one in found), len(found)
        call = f"{self.name}({form.told(self._letters())})"
        of = f" of {arrays} arrays" if arrays > 1 else ""
        rest = f", and {DIRECTIONS} random directions" if any(x.size > MOST for x in self.inputs) else ""
        bounds = [slope.bound for one in found for slope in one.slopes if not slope.sides]
        bound = f" (bound of their error {max(bounds):.0e})" if bounds else ""  # none where all are kinks
        self.findings.compared.append(
            f"{call} at {count(elements, 'element')}{of} with central differences{bound}{rest}"
        )
        if self.rounding > differences.SINGLE:
            self.findings.notes.append(
                "forward computes in single precision, so that a small mistake in the derivative cannot "
                "be seen"
            )
        self.findings.notes += [note for one in found for note in one.kinks()]

    def _jacobian(self, first: tuple[BackwardForm, list[Array]]) -> bool:
        """Compare a Jacobian, if that is what backward gives; tell if it is."""
        form, (got, *others) = first
        x, y = self.inputs[0], self.y
        batch = x.ndim == y.ndim == 2 and got.shape == (len(x), y.shape[1], x.shape[1])
        if others or form.vjp or not y.shape or not (got.shape == y.shape + x.shape or batch):
            return False
        expected = self._numeric_jacobian()
        if batch:
            expected = np.stack([expected[i, :, i, :] for i in range(len(x))])
        self.findings.problems += gradient_words.of_jacobian(self.name, got, expected)
        if not self.findings.problems:
            self.findings.compared.append(f"the Jacobian {got.shape} with central differences")
        return True

    def _numeric_jacobian(self) -> Array:
        x, rows = self.inputs[0], []
        for place in np.ndindex(*self.y.shape):
            weights = np.zeros(self.y.shape)
            weights[place] = 1.0
            slopes = self._slopes(weights, 0, list(np.ndindex(*x.shape)))
            rows.append(np.array([one.value for one in slopes]).reshape(x.shape))
        return np.array(rows).reshape(*self.y.shape, *x.shape)

    def _words(self, form: BackwardForm, found: Disagreement) -> str:
        """Say what is wrong with one input's gradient."""
        which = next(i for i, x in enumerate(self.inputs) if x is found.x)
        name = "the gradient" if len(self.inputs) == 1 else f"the gradient by argument {which + 1}"
        if words := found.of_shape() or found.of_factor() or found.of_order():
            return f"{name} {words}"
        if form.vjp and len(self.inputs) == 1:
            ones = self._slopes(np.ones(self.y.shape), which, found.places)
            if found.equals(np.array([one.value for one in ones])):
                return gradient_words.UNUSED.format(name=self.name)
        if found.x.shape == self.y.shape and not self._elementwise():
            diagonal = self._diagonal(found.places)
            weights = np.array([self.incoming[place] for place in found.places]) if form.vjp else 1.0
            if found.equals(weights * diagonal):
                return gradient_words.DIAGONAL.format(name=self.name)
        return f"{name} {found.in_general()}"

    def _diagonal(self, places: Sequence[tuple[int, ...]]) -> Array:
        """Differentiate each element of forward's result by its own element of x."""
        values = []
        for place in places:
            weights = np.zeros(self.y.shape)
            weights[place] = 1.0
            values.append(self._slopes(weights, 0, [place])[0].value)
        return np.array(values)
