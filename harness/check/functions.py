"""Check an activation or a head: values, and derivative, against the harness's and torch's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.axes import probes
from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.check import calling, function_mistakes, gradients, numbers
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.function_mistakes import FunctionMistake
from harness.check.result import CheckResult
from harness.errors import ComponentError
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

LINE = np.linspace(-6, 6, 25)
"""Numbers at which an activation is compared, its kinks among them."""
AGAIN = "{name} gives other values when it is called again on the same numbers (random numbers?)"
FAR = 1000.0
"""An input whose exponential overflows in double and in single precision."""


def activation(
    fn: Callable[..., Any] | str, like: str = "relu", *, backward: Callable[..., Any] | None = None
) -> CheckResult:
    """Check an activation of your own: values and derivative, against the harness's and PyTorch's.

    Args:
        fn: a function of an array of any shape, in PyTorch or NumPy; or the name of a registered activation.
        like: the registered activation that it should be.
        backward: its derivative by hand: backward(x), backward(grad, x) or, as of registered ones,
            backward(grad, x, y), found by the number of parameters. Of a function in PyTorch autograd's is
            compared, too.

    Returns:
        A result that is true where all is equal, to rounding; shown, it says what is wrong.

    Raises:
        UsageError: `like` is unknown, or fn is no function.

    Example:
        >>> import numpy as np
        >>> bool(activation(lambda x: np.maximum(x, 0), "relu", backward=lambda x: x > 0))
        True
    """
    reference = activations[like]
    if isinstance(fn, str):
        own = activations[fn]
        subject = _FunctionSubject(fn, own.forward, backward or own.backward)
    else:
        subject = _FunctionSubject.of(fn, backward)
    right = _RightFunction(
        like, reference.forward, function_mistakes.of_activation(like), [LINE, LINE[:24].reshape(6, 4)]
    )
    with calling.checking(f"{subject.name} as {like}") as findings:
        check = _FunctionCheck(subject, right, findings)
        if check.values() and not check.mixes(
            "its value at one element changes with the others (a mean, a softmax?): an activation is "
            "elementwise"
        ):
            check.gradients(LINE[:24].reshape(6, 4) + 0.05)
            check.notes()
            check.note_kink()
    return findings.result()


def head(
    fn: Callable[..., Any] | str, like: str = "softmax", *, backward: Callable[..., Any] | None = None
) -> CheckResult:
    """Check a head of your own, such as a softmax: values and derivative, against the harness's and torch's.

    Args:
        fn: a function of logits (B, C), in PyTorch or NumPy; or the name of a registered head.
        like: the registered head that it should be: "softmax", "log_softmax", "sigmoid", "identity".
        backward: its derivative by hand: backward(grad, z), or backward(grad, f) of the output f. Of a
            function in PyTorch autograd's is compared, too.

    Returns:
        A result that is true where all is equal, to rounding; shown, it says what is wrong.

    Raises:
        UsageError: `like` is unknown, or fn is no function.

    Example:
        >>> import numpy as np
        >>> bool(head(lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), "softmax"))
        True
    """
    reference = heads[like]
    if isinstance(fn, str):
        own = heads[fn]
        subject = _FunctionSubject(fn, own.forward, backward or own.backward)
    else:
        subject = _FunctionSubject.of(fn, backward)
    cases = [2 * probes.noise(b, c, seed=b).numpy() for b, c in ((12, 10), (7, 10), (2, 4))]
    right = _RightFunction(like, reference.forward, function_mistakes.of_head(like), cases)
    with calling.checking(f"{subject.name} as {like}") as findings:
        check = _FunctionCheck(subject, right, findings)
        if check.values() and not check.mixes(function_mistakes.OVER_SAMPLES):
            check.gradients(cases[1][:, :5])
            check.notes()
    return findings.result()


@dataclass(frozen=True)
class _FunctionSubject:
    """A person's function, and its derivative by hand, if there is one."""

    name: str
    function: Callable[..., Any]
    backward: Callable[..., Any] | None

    @classmethod
    def of(cls, fn: Callable[..., Any], backward: Callable[..., Any] | None) -> _FunctionSubject:
        calling.check_callable("fn", fn)
        if backward is not None:
            calling.check_callable("backward", backward)
        return cls(calling.name_of(fn), fn, backward)


@dataclass(frozen=True)
class _RightFunction:
    """The function that it should be: the registered one, known mistakes, and inputs to compare at."""

    name: str
    forward: Callable[[Tensor], Tensor]
    mistakes: Sequence[FunctionMistake]
    cases: Sequence[Array]

    def values(self, x: Array) -> Array:
        with torch.no_grad():
            values: Array = self.forward(torch.from_numpy(np.array(x))).numpy()
        return values

    def gradient(self, x: Array) -> Array:
        """Return autograd's gradient of the sum of cos(y) y, which weighs outputs differently."""
        leaf = torch.from_numpy(np.array(x)).requires_grad_()
        y = self.forward(leaf)
        (gradient,) = torch.autograd.grad(y, leaf, torch.cos(y.detach()))
        values: Array = gradient.numpy()
        return values


class _FunctionCheck:
    """The steps of a check of a function of one array; each adds to the findings."""

    def __init__(self, subject: _FunctionSubject, right: _RightFunction, findings: Findings) -> None:
        self.subject, self.right, self.findings = subject, right, findings

    def values(self) -> bool:
        """Compare values; tell if they are right."""
        self.own, first = calling.find(self.subject.name, self.subject.function, self.right.cases[0])
        if self.own(self.right.cases[0]).tobytes() != first.tobytes():
            raise ComponentError(AGAIN.format(name=self.subject.name))
        gots = [first, *self._others()]
        cases = self.right.cases[: len(gots)]
        for x, got in zip(cases, gots, strict=True):
            if got.shape != x.shape:
                turned = ": transposed" if got.shape == x.shape[::-1] else ""
                self.findings.problems.append(
                    f"gives shape {got.shape} for {x.shape}; allowed: the same{turned}"
                )
                return False
        expecteds = [self.right.values(x) for x in cases]
        off = numbers.worst(gots, expecteds)
        if off < numbers.SINGLE:
            self._tell(gots, cases, off)
            return True
        words = function_mistakes.diagnosis(gots, expecteds, cases, self.right.mistakes)
        self.findings.problems.append(
            f"{words or 'the values differ'}. {self._example(gots, expecteds, cases)}"
        )
        return False

    def _others(self) -> list[Array]:
        results = []
        for x in self.right.cases[1:]:
            try:
                results.append(self.own(x))
            except ComponentError as fault:
                self.findings.notes.append(f"it fails on other sizes: {fault}")
                break
        return results

    def _tell(self, gots: Sequence[Array], cases: Sequence[Array], off: float) -> None:
        library = "NumPy" if self.own.library == "numpy" else "PyTorch"
        self.findings.compared.append(
            f"{sum(x.size for x in cases)} values, in {library} (largest relative difference {off:.1g})"
        )
        theirs = function_mistakes.of_torch(self.right.name)
        if theirs is not None:
            name, function = theirs
            answers = [function(torch.from_numpy(np.array(x))).numpy() for x in cases]
            self.findings.compared.append(f"{name} ({numbers.worst(gots, answers):.1g})")
        if off > numbers.DOUBLE:
            self.findings.notes.append(f"equal to single precision only: a relative difference of {off:.1g}")

    def _example(self, gots: Sequence[Array], expecteds: Sequence[Array], cases: Sequence[Array]) -> str:
        """Give a row, or an element, at which the values differ."""
        for x, got, expected in zip(cases[::-1], gots[::-1], expecteds[::-1], strict=True):
            if numbers.error(got, expected) < numbers.SINGLE:
                continue
            off = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
            place = np.unravel_index(int(off.argmax()), off.shape)
            index = ", ".join(str(int(i)) for i in place)
            if len(self.right.cases) == 2:
                return (
                    f"At x = {x[place]:.4g} it gives {got[place]:.6g}; {self.right.name} is "
                    f"{expected[place]:.6g}"
                )
            row = ", ".join(f"{value:.4g}" for value in x[place[0]])
            return (
                f"Of the logits [{row}] (and {len(x) - 1} more) it gives {got[place]:.6g} at [{index}]; "
                f"{self.right.name} is {expected[place]:.6g}"
            )
        return ""

    def mixes(self, words: str) -> bool:
        """Say so where the result for one row changes with another row; tell if it does."""
        x = self.right.cases[1]
        other = np.concatenate([x[:1, ::-1] + 1, x[1:]])
        mixed = numbers.error(self.own(other)[1:], self.own(x)[1:]) > numbers.SINGLE
        if mixed:
            self.findings.problems.append(words)
        return mixed

    def gradients(self, x: Array) -> None:
        """Compare autograd's derivative, and the one by hand."""
        if self.own.library == "torch":
            self._autograd(x)
        if self.subject.backward is not None:
            result = gradients.gradient(self.own.function, self.subject.backward, at=x)
            self.findings.problems += [f"the derivative by hand: {problem}" for problem in result.problems]
            self.findings.compared += [f"the derivative by hand, {compared}" for compared in result.compared]
            self.findings.notes += result.notes
        elif self.own.library == "numpy":
            self.findings.notes.append(
                "a function in NumPy has no derivative of its own: give yours to have it checked"
            )

    def _autograd(self, x: Array) -> None:
        _, gradient = self.own.with_gradient(np.cos, x)
        if gradient is None:
            self.findings.problems.append(
                "gives values without a gradient (a .detach(), no_grad or NumPy inside?): nothing would "
                "be learned through it"
            )
            return
        off = numbers.error(gradient, self.right.gradient(x))
        if off < numbers.SINGLE:
            self.findings.compared.append(f"autograd's derivative ({off:.1g})")
        else:
            self.findings.problems.append(
                "the values are right and autograd's derivative is not: is a part detached, or computed "
                "outside of PyTorch?"
            )

    def notes(self) -> None:
        """Say what is worth knowing: large inputs, and the type of the result."""
        single = OwnFunction(self.own.name, self.own.function, self.own.library, np.float32)
        x = self.right.cases[1]
        value = single(x)
        if self.own.library == "torch" and value.dtype == np.float64 and self.own.dtype == np.float64:
            self.findings.notes.append(
                "gives float64 for float32: networks compute with float32 (.to(x.dtype))"
            )
        for sign in (1, -1):
            far = np.full(x.shape, 0.0)
            far[:, 0] = sign * FAR
            got, expected = single(far), self.right.values(far)
            if np.isfinite(expected).all() and not np.isfinite(got).all():
                self.findings.notes.append(
                    f"gives {got[~np.isfinite(got)].ravel()[0]} at x = {sign * FAR:.0f}, where "
                    f"{self.right.name} is finite: e^x overflows. "
                    f"{function_mistakes.stable(self.right.name)}"
                )
                return

    def note_kink(self) -> None:
        """Say so where autograd's derivative at 0 is another than the harness's."""
        if self.own.library != "torch":
            return
        _, got = self.own.with_gradient(np.ones_like, np.zeros(1))
        leaf = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(self.right.forward(leaf).sum(), leaf)
        if got is not None and not np.allclose(got, expected.numpy(), atol=1e-6):
            self.findings.notes.append(
                f"its derivative at 0, where there is a kink, is {float(got[0]):.4g}; of {self.right.name} "
                f"here and in PyTorch it is {float(expected[0]):.4g}"
            )
