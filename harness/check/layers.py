"""Check a layer written by hand, a convolution, a pooling or a norm: values and derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.check import calling, gradients, numbers
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.layer_mistakes import LAYERS, RightLayer
from harness.check.result import CheckResult
from harness.errors import ComponentError, UsageError, did_you_mean


def layer(
    fn: Callable[..., Any], like: str = "convolution", *, backward: Callable[..., Any] | None = None
) -> CheckResult:
    """Check a layer of your own: values, and its derivative, against the harness's and central differences.

    Args:
        fn: a function of x and the layer's parameters, in NumPy or PyTorch: convolution(x, w, b) of images
            (B, C, H, W), weights (O, C, k, k) and biases (O,), without padding, stride 1; max_pooling(x) and
            average_pooling(x), 2 x 2; batch_norm(x, gamma, beta) in training, and layer_norm(x, gamma, beta),
            of x (B, C) or (B, C, H, W), eps 1e-5.
        like: which of these it should be, by its name.
        backward: its derivative by hand: backward(g, x, w, b) gives a tuple, a gradient for each argument; in
            any other form of `harness.check.gradient`.

    Returns:
        A result that is true where all is equal, to rounding; shown, it says what is wrong.

    Raises:
        UsageError: `like` is unknown, or fn or backward is no function.

    Example:
        >>> import numpy as np
        >>> def norm(x, gamma, beta):
        ...     return gamma * (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + 1e-5) + beta
        >>> print(layer(norm, "batch_norm").problems[0][:59])
        the variance is of n - 1 (ddof=1, as torch.var gives it): n
    """
    if like not in LAYERS:
        raise UsageError(f"like = {like!r}: {did_you_mean(str(like), LAYERS)}")
    calling.check_callable("fn", fn)
    if backward is not None:
        calling.check_callable("backward", backward)
    name = calling.name_of(fn)
    with calling.checking(f"{name} as {like} of {LAYERS[like].arguments}") as findings:
        _LayerCheck(name, fn, LAYERS[like], findings).all(like, backward)
    return findings.result()


class _LayerCheck:
    """The comparison of a person's layer with the right one."""

    def __init__(self, name: str, fn: Callable[..., Any], right: RightLayer, findings: Findings) -> None:
        self.right, self.findings = right, findings
        self.cases = [_drawn(shapes, seed) for seed, shapes in enumerate(right.cases)]
        self.own, _ = calling.find(name, fn, *self.cases[0], usual="numpy")

    def all(self, like: str, backward: Callable[..., Any] | None) -> None:
        """Compare values, then the derivative by hand."""
        tried = self._values(like)
        if backward is None or self.findings.problems:
            if backward is None and self.own.library == "numpy":
                self.findings.notes.append("give backward= to have its derivative checked")
            return
        for case in tried:
            self._gradient(backward, case)
            if self.findings.problems:
                return

    def _values(self, like: str) -> list[Sequence[Array]]:
        """Compare values; give the cases that it takes."""
        taken, gots = list[Sequence[Array]](), list[Array]()
        for place, case in enumerate(self.cases):
            try:
                gots.append(self.own(*case))
                taken.append(case)
            except ComponentError as fault:
                if not place:
                    raise
                self.findings.notes.append(f"not of x {case[0].shape}: {fault}")
        expecteds = [self.right.values(*case) for case in taken]
        off = numbers.worst(gots, expecteds)
        if off < numbers.SINGLE:
            shapes = " and ".join(str(case[0].shape) for case in taken)
            self.findings.compared.append(f"values of x {shapes} (largest relative difference {off:.1g})")
            return taken
        for mistake in self.right.mistakes:
            if numbers.worst(gots, [mistake.values(*case) for case in taken]) < numbers.SINGLE:
                self.findings.problems.append(mistake.words)
                return taken
        for given, got, expected in zip(taken, gots, expecteds, strict=True):
            if numbers.error(got, expected) >= numbers.SINGLE:
                self._tell(like, given[0].shape, got, expected)
                break
        return taken

    def _tell(self, like: str, shape: tuple[int, ...], got: Array, expected: Array) -> None:
        if got.shape != expected.shape:
            told = f"of x {shape} it gives shape {got.shape}; {like} gives {expected.shape}"
        else:
            off = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
            place = tuple(int(i) for i in np.unravel_index(int(off.argmax()), off.shape))
            told = f"of x {shape} it gives {got[place]:.6g} at {list(place)}; {like} is {expected[place]:.6g}"
        self.findings.problems.append(told)

    def _gradient(self, backward: Callable[..., Any], case: Sequence[Array]) -> None:
        """Compare the derivative by hand with central differences, and a wrong one with known mistakes."""
        at: Any = tuple(case) if len(case) > 1 else case[0]
        result = gradients.gradient(self.own.function, backward, at=at)
        problems = [f"the derivative by hand: {problem}" for problem in result.problems]
        if problems and (words := self._named(backward, case)):
            problems[0] = f"the derivative by hand {words}"
        self.findings.problems += problems
        self.findings.compared += [f"the derivative by hand, {compared}" for compared in result.compared]
        self.findings.notes += result.notes

    def _named(self, backward: Callable[..., Any], case: Sequence[Array]) -> str:
        """Name the mistake in the gradient at x; empty where it is right, or wrong in another way."""
        g = np.random.default_rng(7).standard_normal(self.right.values(*case).shape)
        own = OwnFunction("backward", backward, self.own.library, self.own.dtype)
        try:
            given = own.raw(own.given(g), *map(own.given, case))
            got = calling.as_array("backward", given[0] if isinstance(given, (tuple, list)) else given)
        except ComponentError:
            return ""
        for mistake in self.right.of_gradient:
            if numbers.error(got, mistake.values(g, *case)) < numbers.SINGLE:
                return mistake.words
        return ""


def _drawn(shapes: Sequence[tuple[int, ...]], seed: int) -> list[Array]:
    """Draw arguments; of small variance, so that eps is seen."""
    rng = np.random.default_rng(seed)
    return [0.05 * rng.standard_normal(shapes[0]) + 0.02, *(rng.standard_normal(s) for s in shapes[1:])]
