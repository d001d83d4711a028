"""Checks of a person's own activation or head."""

# ruff: noqa: ARG005
# (a backward pass is given what forward was, and may not need it)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.check import CheckResult, activation, head
from harness.errors import UsageError

Array = NDArray[Any]


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def check(like: str, fn: Any, by_hand: Any = None) -> CheckResult:
    if like in activations:
        return activation(fn, like, backward=by_hand)
    return head(fn, like, backward=by_hand)


@pytest.mark.parametrize("name", [entry.name for registry in (activations, heads) for entry in registry])
def test_registered_functions_are_right_as_themselves(name: str) -> None:
    results = [activation(name, name)] if name in activations else []
    results += [head(name, name)] if name in heads else []
    for result in results:
        assert result, result
        assert not result.problems
        assert "autograd's derivative" in str(result.compared)
        assert "the derivative by hand" in str(result.compared)


RIGHT: list[tuple[str, Any, Any]] = [
    ("relu", lambda x: np.maximum(x, 0), lambda x: x > 0),
    ("relu", lambda x: np.maximum(x, 0), lambda grad, x, y: grad * (y > 0)),
    ("relu", torch.nn.ReLU(), None),
    ("sigmoid", lambda x: 1 / (1 + torch.exp(-x)), None),
    ("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    ("leaky_relu", torch.nn.LeakyReLU(), None),
    ("gelu", torch.nn.GELU(), None),
    ("silu", lambda x: x * torch.sigmoid(x), None),
    ("tanh", lambda x: np.tanh(x.astype(np.float32)), None),
    ("softmax", softmax, lambda g, f: f * (g - (g * f).sum(1, keepdims=True))),
    ("softmax", lambda z: torch.softmax(z, -1), None),
    ("softmax", torch.nn.Softmax(dim=1), None),
    ("log_softmax", lambda z: z - z.logsumexp(1, keepdim=True), None),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(RIGHT)))
def test_right_functions_pass(case: int) -> None:
    result = check(*RIGHT[case])
    assert result, result


OVER_SAMPLES = r"the output of one sample changes with the other samples of the batch: did you normalise over"
MISTAKES: dict[str, tuple[str, Any, Any, str]] = {
    "sign of the exponent": ("sigmoid", lambda x: 1 / (1 + np.exp(x)), None,
        r"the sign of the exponent is wrong"),
    "another": ("sigmoid", np.tanh, None, r"these are the values of tanh, not of sigmoid\. At x = "),
    "a softmax": ("sigmoid", lambda x: x.softmax(-1), None, r"a softmax over the last dimension"),
    "slope": ("leaky_relu", torch.nn.LeakyReLU(0.2), None,
        r"its slope below 0 is 0.2; of leaky_relu it is 0.01"),
    "leaky": ("relu", torch.nn.LeakyReLU(0.1), None, r"its slope below 0 is 0.1; of relu it is 0"),
    "min": ("relu", lambda x: np.minimum(x, 0), None, r"it is min\(x, 0\)"),
    "step": ("relu", lambda x: (x > 0) * 1.0, None, r"ReLU's derivative: multiply by x"),
    "approximate": ("gelu", torch.nn.GELU(approximate="tanh"), None, r"GELU by tanh, an approximation"),
    "elu": ("elu", lambda x: np.where(x > 0, x, np.exp(x)), None, r"minus 1 is missing"),
    "factor": ("tanh", lambda x: 2 * np.tanh(x), None, r"it is 2 times what it should be"),
    "offset": ("tanh", lambda x: np.tanh(x) + 0.5, None, r"it is 0.5 too large everywhere"),
    "derivative": ("relu", lambda x: np.maximum(x, 0), lambda x: x < 0,
        r"the derivative by hand: the gradient is wrong"),
    "detached": ("relu", lambda x: x.detach().relu(), None, r"gives values without a gradient"),
    "over samples": ("softmax", lambda z: torch.softmax(z, 0), None, OVER_SAMPLES),
    "over samples in NumPy": ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=0), None, OVER_SAMPLES),
    "log over samples": ("log_softmax", lambda z: z.log_softmax(0), None, OVER_SAMPLES),
    "over all": ("softmax", lambda z: np.exp(z) / np.exp(z).sum(), None,
        r"divided by the sum over the whole batch"),
    "twice": ("softmax", lambda z: z.softmax(1).softmax(1), None, r"softmax twice"),
    "no division": ("softmax", np.exp, None, r"the division is missing: it gives e\^z, whose rows do not"),
    "no exponential": ("softmax", lambda z: z / z.sum(1, keepdims=True), None, r"the exponential is missing"),
    "log": ("softmax", lambda z: z.log_softmax(1), None, r"these are the values of log_softmax"),
    "no log": ("log_softmax", lambda z: z.softmax(1), None, r"the log is missing: it gives the softmax"),
    "keepdims": ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1), None,
        r"is keepdims=True .* missing"),
    "diagonal": ("softmax", softmax, lambda g, f: g * f * (1 - f), r"only the diagonal of the Jacobian"),
    "shape": ("softmax", lambda z: softmax(z).T, None, r"gives shape \(10, 12\) for \(12, 10\).*transposed"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence(mistake: str) -> None:
    like, fn, by_hand, words = MISTAKES[mistake]
    result = check(like, fn, by_hand)
    assert not result
    assert re.search(words, "; ".join(result.problems)), result


def test_a_function_that_mixes_samples_is_found_where_its_values_are_right() -> None:
    def shifted(x: Array) -> Array:
        return np.asarray(np.tanh(x + (abs(x.mean() + 0.08) < 0.05)))

    assert "its value at one element changes with the others" in activation(shifted, "tanh").problems[0]


@pytest.mark.parametrize(
    ("like", "fn", "words"),
    [
        (
            "relu",
            lambda x: torch.maximum(x, torch.zeros_like(x)),
            r"derivative at 0, where there is a kink, is 0.5",
        ),
        ("sigmoid", lambda x: np.exp(x) / (1 + np.exp(x)), r"gives nan at x = 1000, where sigmoid is finite"),
        (
            "softmax",
            lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True),
            r"nan .* Subtract each row's maximum",
        ),
        ("tanh", np.tanh, r"has no derivative of its own"),
        ("tanh", lambda x: np.tanh(x.astype(np.float32)), r"equal to single precision only"),
        ("tanh", lambda x: torch.tanh(x.double()), r"gives float64 for float32"),
    ],
)
def test_notes(like: str, fn: Callable[..., Any], words: str) -> None:
    result = check(like, fn)
    assert result, result
    assert re.search(words, "; ".join(result.notes)), result


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown activation 'rele': did you mean 'relu'"):
        activation(np.tanh, "rele")
    with pytest.raises(UsageError, match="unknown head 'softmx': did you mean 'softmax'"):
        head(np.tanh, "softmx")
    with pytest.raises(UsageError, match=r"a class. Give an instance of it: ReLU\(\)"):
        activation(torch.nn.ReLU)
    with pytest.raises(UsageError, match="backward = 3: not a function"):
        head(softmax, backward=3)  # type: ignore[arg-type]


def test_random_numbers_are_found() -> None:
    result = activation(lambda x: torch.nn.functional.dropout(torch.tanh(x), 0.5), "tanh")
    assert "other values when it is called again" in result.problems[0]
