"""Check a whole NumPy network of a person's own on real images: parameters in, loss and gradients out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.check import calling, differences, engine_classes, gradient_words, network_reference, numbers
from harness.check.calling import Array, Findings
from harness.check.differences import Slope
from harness.check.gradient_words import Disagreement
from harness.check.loss_calls import check_choice
from harness.check.network_calls import LABELS, NetworkFunction, OwnParameters, image_batch
from harness.check.network_reference import ReferenceNetwork
from harness.check.result import CheckResult
from harness.errors import ComponentError
from harness.text import count, joined

MOST, LARGEST, DIRECTIONS = 8, 6, 2
"""Elements of an array that are compared, drawn and by size, and random directions."""
ROUGH = 0.02
"""Relative difference of gradients in single precision, of which small ones are sums of large terms."""


def network(
    loss_and_gradients: Callable[..., Any],
    parameters: Any = None,
    *,
    dataset: Any = "mnist",
    batch: int = 16,
    labels: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> CheckResult:
    """Check the gradients of a NumPy network of your own, on real images, by central differences.

    Args:
        loss_and_gradients: a function (parameters, x, y) that gives (loss, gradients): the loss of the batch
            as one number, and a gradient for each parameter, in a list or dict as the parameters are. It must
            compute with the parameters that it is given. x is (B, D), pixels in 0..1. Or a class as
            `harness.run(study, engine=MyNetwork)` takes it, with `like`.
        parameters: a list, tuple or dict of arrays, of any start; they are not changed. Not of a class.
        dataset: the name of a registered data set, whose first training images are taken; or your own
            images and labels, (x (B, D), y (B,)).
        batch: the number of images.
        labels: "int" where y is whole numbers (B,), "one-hot" where it is rows (B, C); None tries both.
        like: what the network is, as in a study file: dict(hidden=[50], activation="relu", head="softmax",
            loss="ce"). Then loss and gradients are also compared with the harness's own formulas.

    Returns:
        A result that is true where every gradient is right; shown, it says which one is not, and how.

    Raises:
        UsageError: a choice is unknown, or there are no parameters.

    Example:
        >>> import numpy as np
        >>> def softmax_regression(parameters, x, y):
        ...     w, b = parameters
        ...     z = x @ w + b
        ...     p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        ...     d = (p - np.eye(10)[y]) / len(x)
        ...     return -np.log(p[np.arange(len(x)), y]).mean(), [x.T @ d, d.sum(0)]
        >>> start = [np.zeros((64, 10)), np.zeros(10)]
        >>> bool(network(softmax_regression, start, dataset="digits", like=dict(hidden=[], loss="ce")))
        True
    """
    check_choice("labels", labels, (None, *LABELS))
    if isinstance(loss_and_gradients, type):
        loss_and_gradients, parameters = engine_classes.as_function(loss_and_gradients, like, dataset)
        labels = "one-hot"
    calling.check_callable("loss_and_gradients", loss_and_gradients)
    held = OwnParameters.of(parameters)
    images = image_batch(dataset, batch)
    architecture = None
    if like is not None:
        architecture = network_reference.architecture(like, images.x.shape[1], images.classes)
    name = calling.name_of(loss_and_gradients, "the network")
    with calling.checking(f"{name} on {len(images.x)} images of {images.name}") as findings:
        own = NetworkFunction(name, loss_and_gradients, held, images, labels)
        check = _NetworkCheck(own, findings)
        check.all()
        if architecture is not None:
            check.against(architecture)
    return findings.result()


@dataclass
class _NetworkCheck:
    """The comparison of gradients with differences of the loss, and with the harness's formulas."""

    own: NetworkFunction
    findings: Findings
    bound: float = 0.0
    rounding: float = differences.ROUNDING

    def all(self) -> None:
        """Compare every array's gradient by central differences."""
        held, rng = self.own.held, np.random.default_rng(0)
        self.loss, self.gradients = self.own.results(held.arrays)
        if not np.isfinite(self.loss):
            raise ComponentError(f"the loss is {self.loss} at these parameters: start from smaller ones")
        if self.own.results(held.arrays)[0] != self.loss:
            raise ComponentError(
                f"{self.own.name} gives another loss when it is called again (dropout, a batch that is "
                "drawn?)"
            )
        if not self._shapes():
            return
        (direction,) = differences.directions(held.arrays, 1, rng)
        self.rounding = differences.measured_rounding(differences.line(self.own.loss, held.arrays, direction))
        compared = [self._compare(which, rng) for which in range(len(held.arrays))]
        self._tell(compared)

    def _shapes(self) -> bool:
        """Say which gradients have another shape than their parameters; tell if none has."""
        for name, array, gradient in zip(
            self.own.held.names, self.own.held.arrays, self.gradients, strict=True
        ):
            if gradient.shape != array.shape:
                hint = ""
                if gradient.shape == array.shape[::-1]:
                    hint = ": transposed?"
                elif gradient.shape == (len(self.own.images.x), *array.shape):
                    hint = ": is the sum over the samples missing?"
                self.findings.problems.append(
                    f"the gradient of {name!r} is {gradient.shape}, the parameter {array.shape}{hint}"
                )
        return not self.findings.problems

    def _slope(self, direction: Sequence[Array]) -> Slope:
        line = differences.line(self.own.loss, self.own.held.arrays, direction)
        return differences.slope(line, self.rounding)

    def _compare(self, which: int, rng: np.random.Generator) -> Disagreement:
        """Compare one array's gradient at some elements and along random directions of this array."""
        arrays, got = self.own.held.arrays, self.gradients[which]
        drawn = differences.places(got.shape, MOST, rng)
        order = np.argsort(-np.abs(got), axis=None)[:LARGEST]
        largest = [
            tuple(int(i) for i in place) for place in zip(*np.unravel_index(order, got.shape), strict=True)
        ]
        places = list(dict.fromkeys([*drawn, *(largest if got.shape else [])]))
        slopes = [self._slope(differences.unit(arrays, which, place)) for place in places]
        found = Disagreement(arrays[which], got, places, slopes, len(self.own.images.x), "")
        self.bound = max([self.bound, *(slope.bound for slope in slopes)])
        if found.agrees() and not self._along(which, rng):
            return Disagreement(arrays[which], got, (), ())
        return found

    def _along(self, which: int, rng: np.random.Generator) -> bool:
        """Tell whether one array's gradient is right along random directions."""
        arrays, got = self.own.held.arrays, self.gradients[which]
        for (part,) in differences.directions([arrays[which]], DIRECTIONS, rng):
            known = self._slope([part if i == which else np.zeros(a.shape) for i, a in enumerate(arrays)])
            size = float(np.sqrt((got * got).sum()))
            if abs(float((got * part).sum()) - known.value) > gradient_words.tolerance(known, size):
                return False
        return True

    def _tell(self, compared: Sequence[Disagreement]) -> None:
        """Say which gradients are wrong, or what was compared."""
        names = [str(name) for name in self.own.held.names]
        wrong = [name for name, one in zip(names, compared, strict=True) if not one.agrees()]
        if not wrong:
            elements = sum(len(one.places) for one in compared)
            self.findings.compared.append(
                f"the gradients of {count(len(names), 'array')}, at {count(elements, 'element')} and along "
                f"{DIRECTIONS} random directions of each, with central differences of the loss (bound of "
                f"their error {self.bound:.0e}); labels as "
                f"{'whole numbers' if self.own.labels == 'int' else 'one-hot rows'}"
            )
            if self.rounding >= differences.SINGLE:
                self.findings.notes.append(
                    "it computes in single precision, so that a small mistake in a gradient cannot be "
                    "seen: compute in float64 here"
                )
            return
        slopes = np.concatenate([one.expected for one in compared])
        if not slopes.any():
            self.findings.problems.append(
                f"the loss does not change when parameters are changed: does {self.own.name} read the "
                "parameters that it is given? (Or are they so large that it is saturated?)"
            )
            return
        words = {name: _words(one) for name, one in zip(names, compared, strict=True) if name in wrong}
        if len(set(words.values())) == 1 and len(wrong) > 1:
            self.findings.problems.append(f"the gradient of each of {joined(wrong)} {words[wrong[0]]}")
        else:
            self.findings.problems += [f"the gradient of {name!r} {words[name]}" for name in wrong]
        right = names[len(wrong) :]
        if wrong == names[: len(wrong)] and len(right) > 1 and len(wrong) > 1:
            self.findings.notes.append(
                f"{joined(right)} are right and {joined(wrong)}, nearer to the input, are not: look at "
                "what is passed back between them (times the weights, times the activation's derivative)"
            )

    def against(self, architecture: ReferenceNetwork) -> None:
        """Compare loss and gradients with the harness's formulas of a network."""
        images, arrays = self.own.images, self.own.held.arrays
        target = images.target("one-hot")
        best: tuple[float, float, list[Array], list[Array]] | None = None
        for layers in network_reference.layouts(architecture.widths, arrays):
            loss, gradients = architecture.loss_and_gradients(layers, images.x, target)
            off = abs(loss - self.loss)
            if best is None or off < best[0]:
                best = (off, loss, gradients, [array for layer in layers for array in layer.arrays()])
        assert best is not None  # noqa: S101 (there is at least one layout)
        _, loss, gradients, order = best
        if not self._same_loss(loss):
            self.findings.problems.append(self._other_loss(architecture, loss))
            return
        places = [next(i for i, array in enumerate(arrays) if array is one) for one in order]
        off = max(
            numbers.error(self.gradients[place], gradient)
            for place, gradient in zip(places, gradients, strict=True)
        )
        if off < numbers.DOUBLE:
            self.findings.compared.append(
                f"loss and gradients with the harness's of {architecture} ({off:.1g})"
            )
        elif off < (ROUGH if self.rounding >= differences.SINGLE else numbers.SINGLE):
            self.findings.compared.append(f"loss and gradients with the harness's of {architecture}")
            self.findings.notes.append(f"equal to single precision only: a relative difference of {off:.1g}")
        elif not self.findings.problems:
            self.findings.problems.append(
                f"the gradients differ from the harness's of {architecture} by {off:.1g}"
            )

    def _same_loss(self, loss: float) -> bool:
        room = 1e-6 if self.rounding >= differences.SINGLE else 0.0
        return bool(np.isclose(self.loss, loss, rtol=numbers.SINGLE, atol=room))

    def _other_loss(self, architecture: ReferenceNetwork, loss: float) -> str:
        """Say that the loss is another, by which factor, and of which network it is the loss."""
        b = len(self.own.images.x)
        words = f"the loss is {self.loss:.7g}; of {architecture}, with these parameters, it is {loss:.7g}"
        for factor, what in (
            (b, f"{b} times the mean: the sum over the batch"),
            (1 / b, f"1/{b} of the mean"),
        ):
            if abs(self.loss / (factor * loss) - 1) < numbers.SAME_FACTOR:
                return f"{words}: {what}"
        for other in network_reference.others(architecture):
            for layers in network_reference.layouts(other.widths, self.own.held.arrays):
                value, _ = other.loss_and_gradients(
                    layers, self.own.images.x, self.own.images.target("one-hot")
                )
                if self._same_loss(value):
                    return f"{words}. It is the loss of {other}"
        return words


def _words(found: Disagreement) -> str:
    return found.of_shape() or found.of_factor() or found.of_order() or found.in_general()
