"""Checks of a derivative by hand against central differences."""

# ruff: noqa: ARG005
# (a backward pass is given what forward was, and may not need it)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.axes import formulas
from harness.check import differences, gradient
from harness.errors import UsageError

Array = NDArray[Any]
LAYER = [(6, 5), (3, 5), (3,)]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def softmax_backward(grad: Array, z: Array) -> Array:
    f = softmax(z)
    return np.asarray(f * (grad - (grad * f).sum(1, keepdims=True)))


def softmax_jacobian(z: Array) -> Array:
    return np.stack([np.diag(f) - np.outer(f, f) for f in softmax(z)])


def layer(x: Array, w: Array, b: Array) -> Array:
    return np.asarray(x @ w.T + b)


def layer_backward(grad: Array, x: Array, w: Array, b: Array) -> tuple[Array, ...]:
    del b
    return grad @ w, grad.T @ x, grad.sum(0)


PROBABILITIES = softmax(np.random.default_rng(0).normal(size=(6, 5)))
LABELS = np.array([0, 1, 2, 3, 4, 0])


def ce(p: Array, y: Array) -> Array:
    return np.asarray(-np.log(p[np.arange(len(y)), y]))


def ce_gradient(p: Array, y: Array) -> Array:
    return np.asarray(-np.eye(5)[y] / p)


def in_single(x: Array) -> Array:
    return np.asarray(np.tanh(x.astype(np.float32)))


def wrong_at_the_end(x: Array) -> Array:
    gradient_of_cubes = 3 * x**2
    gradient_of_cubes[-1, -1] += 9
    return np.asarray(gradient_of_cubes)


SQUARE = np.arange(16.0).reshape(4, 4)
AT_LABELS: dict[str, Any] = {"at": PROBABILITIES, "args": (LABELS,)}
RIGHT: list[tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = [
    (np.tanh, lambda x: 1 - np.tanh(x) ** 2, {}),
    (relu, lambda x: x > 0, {}),
    (relu, lambda grad, x: grad * (x > 0), {}),
    (sigmoid, lambda grad, x, y: grad * y * (1 - y), {}),
    (sigmoid, lambda s: s * (1 - s), {}),
    (softmax, softmax_backward, {}),
    (softmax, lambda grad, f: f * (grad - (grad * f).sum(1, keepdims=True)), {}),
    (softmax, softmax_jacobian, {}),
    (layer, layer_backward, {"shape": LAYER}),
    (ce, ce_gradient, AT_LABELS),
    (lambda p, y: ce(p, y).mean(), lambda p, y: ce_gradient(p, y) / 6, AT_LABELS),
    (lambda x: float((x**3).sum()), lambda x: 3 * x**2, {"shape": (40, 30)}),
    (in_single, lambda x: 1 - np.tanh(x) ** 2, {}),
    (lambda x: x**2, lambda x: 2 * x, {"at": 3.0}),
    (np.exp, np.exp, {"at": [1, 2, 3]}),
    (np.exp, np.exp, {"shape": 7}),
]


@pytest.mark.parametrize("case", range(len(RIGHT)))
def test_right_derivatives_pass(case: int) -> None:
    forward, backward, how = RIGHT[case]
    result = gradient(forward, backward, **how)
    assert result, result
    assert result.compared


@pytest.mark.parametrize("name", formulas.ACTIVATIONS)
def test_the_harnesss_formulas_are_right(name: str) -> None:
    formula = formulas.ACTIVATIONS[name]
    assert gradient(formula.forward, formula.backward)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(-40, 40))
def test_a_derivative_is_right_at_any_point_and_scale(seed: int, middle: float) -> None:
    at = middle + np.random.default_rng(seed).standard_normal(4)
    assert gradient(np.tanh, lambda x: 1 - np.tanh(x) ** 2, at=at)
    assert not gradient(np.sin, lambda x: np.cos(x) + 0.01, at=at)


MISTAKES: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "sign": (sigmoid, lambda x: -sigmoid(x) * (1 - sigmoid(x)), {}, r"is minus the derivative: the sign is"),
    "half": (lambda x: x**2, lambda x: x, {}, r"is exactly half of the derivative"),
    "twice": (lambda x: x**2 / 2, lambda x: 2 * x, {}, r"is exactly 2 times the derivative"),
    "some number": (lambda x: x**2, lambda x: 2.6 * x, {}, r"is exactly 1.3 times the derivative"),
    "below 0": (relu, lambda x: np.where(x > 0, 1, 0.1), {},
        r"wrong at 16 of 30 elements, all those where x < 0"),
    "the square": (np.tanh, lambda x: 1 - np.tanh(x), {}, r"wrong at 30 of 30.*where x = .*differences give"),
    "diagonal": (softmax, lambda g, z: g * softmax(z) * (1 - softmax(z)), {},
        r"only the diagonal of the Jacobian"),
    "diagonal of f": (softmax, lambda g, f: g * f * (1 - f), {}, r"only the diagonal of the Jacobian"),
    "one a number": (softmax, lambda z: softmax(z) * (1 - softmax(z)), {},
        r"only the diagonal of the Jacobian"),
    "of the output": (sigmoid, lambda x: x * (1 - x), {},
        r"is right of forward's output y, and not of its input x"),
    "grad unused": (sigmoid, lambda _g, x: sigmoid(x) * (1 - sigmoid(x)), {},
        r"the incoming gradient is not used"),
    "mean": (ce, lambda p, y: ce_gradient(p, y) / 6, AT_LABELS,
        r"1/6 of .*the derivative of the mean, not of the sum"),
    "sum": (lambda p, y: ce(p, y).mean(), ce_gradient, AT_LABELS,
        r"6 times the derivative.*of the sum, not of the"),
    "transposed": (layer, lambda g, x, w, b: (g @ w, x.T @ g, g.sum(0)), {"shape": LAYER},
        r"argument 2 has shape \(5, 3\).*transposed$"),
    "square, transposed": (
        lambda w: (SQUARE * w**2).sum(), lambda w: (SQUARE * 2 * w).T, {"shape": (4, 4)},
        r"is transposed"),
    "bias not summed": (layer, lambda g, x, w, b: (g @ w, g.T @ x, g), {"shape": LAYER},
        r"argument 3 has shape \(6, 3\).*sum over the samples"),
    "bias averaged": (layer, lambda g, x, w, b: (g @ w, g.T @ x, g.mean(0)), {"shape": LAYER},
        r"argument 3 is exactly 1/6.*number of samples"),
    "one of three": (layer, lambda g, x, w, b: g.T @ x, {"shape": LAYER},
        r"gives 1 gradient; forward takes 3 arrays"),
    "a constant": (np.sin, lambda x: np.cos(x) + 0.5, {}, r"is the derivative plus 0.5"),
    "zero": (np.sin, lambda x: 0 * x, {}, r"is 0 everywhere"),
    "reshaped": (np.sin, lambda x: np.cos(x).ravel(), {}, r"shape \(30,\).*reshape it"),
    "Jacobian turned": (lambda x: x @ SQUARE[:3, :3], lambda _x: SQUARE[:3, :3], {"shape": 3},
        r"the Jacobian transposed"),
    "Jacobian, sign": (softmax, lambda z: -softmax_jacobian(z), {"shape": (2, 3)},
        r"the Jacobian exactly -1 times"),
    "far away": (lambda x: (x**3).sum(), wrong_at_the_end, {"shape": (40, 30)},
        r"wrong elsewhere"),
    "random": (lambda x: x * np.random.default_rng().random(x.shape), lambda x: x, {},
        r"other values when it is called again"),
    "no return": (np.tanh, lambda _x: None, {}, r"gives None"),
    "no number": (np.tanh, lambda _x: "cosh", {}, r"gives str: 'cosh'; allowed: an array"),
    "raises": (lambda x: x @ x, lambda x: x, {},
        r"forward raises ValueError.*test_gradients\.py:\d+, called with \(6, 5\)"),
    "arguments": (np.tanh, lambda a, b, c, d: a, {},
        r"takes 4 arguments; allowed: backward\(x\) or backward\(grad, x\)"),
    "in single precision": (in_single, lambda x: 1 - np.tanh(x) ** 2 + 0.01, {},
        r"is wrong at|is the derivative plus"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence(mistake: str) -> None:
    forward, backward, how, words = MISTAKES[mistake]
    result = gradient(forward, backward, **how)
    assert re.search(words, "; ".join(result.problems)), result


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_at_a_kink_all_between_its_slopes_is_right(value: float) -> None:
    result = gradient(relu, lambda x: np.heaviside(x, value), at=np.arange(-3, 4))
    assert result
    assert "at x = 0 there is a kink, with slopes 0 and 1" in result.notes[0]
    assert not gradient(relu, lambda x: np.heaviside(x, -0.2), at=np.arange(-3, 4))
    assert gradient(relu, lambda x: np.heaviside(x, value), at=np.zeros(3))  # at nothing else


def test_single_precision_is_said() -> None:
    result = gradient(in_single, lambda x: 1 - np.tanh(x) ** 2)
    assert "forward computes in single precision" in result.notes[0]


@pytest.mark.parametrize(
    ("function", "right"),
    [(np.sin, 1.0), (lambda t: np.exp(3 * t), 3.0), (lambda t: 1e6 + t**3 - 2 * t, -2.0), (abs, 0.0)],
)
def test_the_bound_of_an_error_holds(function: Callable[[float], float], right: float) -> None:
    slope = differences.slope(function)
    assert abs(slope.value - right) <= slope.bound + 1e-15
    assert slope.bound < 1e-6
    assert (slope.sides is not None) == (function is abs)


@pytest.mark.parametrize(
    ("arguments", "how", "words"),
    [
        ((3, np.cos), {}, r"forward = 3: not a function"),
        ((np.sin, 3), {}, r"backward = 3: not a function"),
        ((np.sin, np.cos), {"at": "here"}, r"at = 'here': .*Allowed: at= an array"),
        ((np.sin, np.cos), {"shape": "wide"}, r"shape = 'wide': "),
        ((np.sin, np.cos), {"shape": (0, 3)}, r"nothing to differentiate by"),
    ],
)
def test_wrong_use_is_refused(arguments: tuple[Any, ...], how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        gradient(*arguments, **how)


class Sigmoid:
    """A layer as people write it, whose forward keeps what its backward needs."""

    def forward(self, x: Array) -> Array:
        self.y = sigmoid(x)
        return self.y

    def backward(self, grad: Array) -> Array:
        return np.asarray(grad * self.y * (1 - self.y))

    def wrong(self, grad: Array) -> Array:
        return np.asarray(-grad * self.y * (1 - self.y))


class SquaredError:
    """A loss as people write it."""

    def forward(self, x: Array, t: Array) -> float:
        self.apart = x - t
        return float((self.apart**2).sum())

    def backward(self) -> Array:
        return 2 * self.apart


def test_methods_of_an_object_that_keeps_its_input() -> None:
    one, other = Sigmoid(), SquaredError()
    result = gradient(one.forward, one.backward)
    assert result, result
    assert "backward(grad) at 30 elements" in result.compared[0]
    assert "is minus the derivative" in gradient(one.forward, one.wrong).problems[0]
    assert gradient(other.forward, other.backward, shape=(4, 3), args=(np.zeros((4, 3)),))


def test_points_outside_of_a_functions_domain_are_said() -> None:
    result = gradient(np.log, lambda x: 1 / x)
    assert re.search(r"gives nan at \d+ of 30 elements: .* Give others as at=", result.problems[0])
    assert gradient(np.log, lambda x: 1 / x, at=np.array([0.05, 0.5, 2]))
