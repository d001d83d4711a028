"""Mistakes in activations and heads: the values that each makes, and what is said of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.axes import formulas
from harness.check import numbers
from harness.check.calling import Array
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

OVER_SAMPLES = (
    "the output of one sample changes with the other samples of the batch: did you normalise over "
    "dimension 0? Classes are the last dimension (dim=-1 in PyTorch, axis=1 in NumPy)"
)


@dataclass(frozen=True)
class FunctionMistake:
    """A wrong formula, and what is said of it."""

    words: str
    values: Callable[[Array], Array]


def _gelu_by_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def _of_sigmoid_and_tanh() -> dict[str, list[FunctionMistake]]:
    s = formulas.sigmoid
    return {
        "sigmoid": [
            FunctionMistake(
                "the sign of the exponent is wrong: it falls; write 1 / (1 + e^-x)", lambda x: s(-x)
            ),
            FunctionMistake("it gives e^-x / (1 + e^x)", lambda x: np.exp(-x) / (1 + np.exp(x))),
            FunctionMistake("this is the sigmoid's derivative, s (1 - s)", lambda x: s(x) * (1 - s(x))),
        ],
        "tanh": [
            FunctionMistake(
                "it is tanh(x / 2): tanh is 2 s(2x) - 1, s the sigmoid", lambda x: np.tanh(x / 2)
            ),
            FunctionMistake("this is tanh's derivative, 1 - tanh^2", lambda x: 1 - np.tanh(x) ** 2),
        ],
        "silu": [FunctionMistake("x is missing: it gives the sigmoid alone", s)],
        "gelu": [
            FunctionMistake(
                "GELU by tanh, an approximation (approximate='tanh' in PyTorch): the exact one has erf",
                _gelu_by_tanh,
            ),
            FunctionMistake(
                "GELU by a sigmoid, an approximation: the exact one has erf", lambda x: x * s(1.702 * x)
            ),
            FunctionMistake("x is missing: it gives the normal distribution function", formulas.normal_cdf),
        ],
    }


def _of_relus() -> dict[str, list[FunctionMistake]]:
    return {
        "relu": [
            FunctionMistake(
                "it is min(x, 0), the negative part: write max(x, 0)", lambda x: np.minimum(x, 0)
            ),
            FunctionMistake("it is |x|: of negative x it should be 0", np.abs),
            FunctionMistake("it is 1 where x > 0, ReLU's derivative: multiply by x", lambda x: (x > 0) * 1.0),
        ],
        "leaky_relu": [
            FunctionMistake("the two sides are exchanged", lambda x: np.where(x > 0, 0.01 * x, x))
        ],
        "elu": [
            FunctionMistake(
                "minus 1 is missing: below 0 it is e^x - 1", lambda x: np.where(x > 0, x, np.exp(x))
            )
        ],
    }


def of_activation(like: str) -> list[FunctionMistake]:
    """List the mistakes that are known of an activation, the most telling first."""
    slopes = [
        FunctionMistake(f"its slope below 0 is {slope:g}; of {like} it is {right:g}", _leaky(slope))
        for slope in (0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5)
        for right in ({"relu": 0.0, "leaky_relu": 0.01}.get(like, slope),)
        if slope != right
    ]
    return [
        *{**_of_sigmoid_and_tanh(), **_of_relus()}.get(like, ()),
        *slopes,
        *_others(like, {name: formula.forward for name, formula in formulas.ACTIVATIONS.items()}),
        FunctionMistake(
            "a softmax over the last dimension: an activation treats each element by itself",
            lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
        ),
    ]


def _leaky(slope: float) -> Callable[[Array], Array]:
    return lambda x: np.where(x > 0, x, slope * x)


def of_head(like: str) -> list[FunctionMistake]:
    """List the mistakes that are known of a head, the most telling first."""
    special = {"softmax": _of_softmax, "log_softmax": _of_log_softmax}
    others = _others(like, {name: formula.forward for name, formula in formulas.HEADS.items()})
    more = of_activation(like) if like in formulas.ACTIVATIONS else special[like]() if like in special else []
    return [*more, *others]


def _of_softmax() -> list[FunctionMistake]:
    softmax = formulas.softmax
    return [
        FunctionMistake(OVER_SAMPLES, lambda z: softmax(z.T).T),
        FunctionMistake(
            "divided by the sum over the whole batch: the output of one sample changes with the others. "
            "Sum over the classes alone (dim=-1, keepdim=True in PyTorch, axis=1, keepdims=True in NumPy)",
            lambda z: np.exp(z) / np.exp(z).sum(),
        ),
        FunctionMistake("softmax twice: it is the softmax of the softmax", lambda z: softmax(softmax(z))),
        FunctionMistake("the division is missing: it gives e^z, whose rows do not sum to 1", np.exp),
        FunctionMistake(
            "the division is missing: it gives e^(z - maximum), whose rows do not sum to 1",
            lambda z: np.exp(z - z.max(1, keepdims=True)),
        ),
        FunctionMistake(
            "the exponential is missing: z is divided by its sum", lambda z: z / z.sum(1, keepdims=True)
        ),
        FunctionMistake("powers of 2 where powers of e should be", lambda z: softmax(z * np.log(2))),
        FunctionMistake("the sign of z is wrong: e^-z", lambda z: softmax(-z)),
    ]


def _of_log_softmax() -> list[FunctionMistake]:
    log_softmax = formulas.log_softmax
    return [
        FunctionMistake(OVER_SAMPLES, lambda z: log_softmax(z.T).T),
        FunctionMistake("the log is missing: it gives the softmax", formulas.softmax),
        FunctionMistake("the sign is wrong: it gives minus the log-softmax", lambda z: -log_softmax(z)),
        FunctionMistake("the log of the sum is added, not subtracted", lambda z: 2 * z - log_softmax(z)),
        FunctionMistake(
            "the log of the sum is missing: it gives z - maximum", lambda z: z - z.max(1, keepdims=True)
        ),
    ]


def _others(like: str, known: dict[str, Callable[..., Any]]) -> Iterator[FunctionMistake]:
    """Yield the harness's other functions of the axis."""
    for name, forward in known.items():
        if name != like:
            yield FunctionMistake(f"these are the values of {name}, not of {like}", forward)


def diagnosis(
    gots: Sequence[Array],
    expecteds: Sequence[Array],
    cases: Sequence[Array],
    mistakes: Sequence[FunctionMistake],
) -> str:
    """Say which known mistake gives exactly these values, or by which number they are off, or ""."""
    for mistake in mistakes:
        try:
            made = [mistake.values(x) for x in cases]
        except (ValueError, IndexError):  # a formula for rows, of values in a line
            continue
        if numbers.worst(gots, made) < numbers.SINGLE:
            return mistake.words
    found = numbers.factor(gots, expecteds, [(x.shape[0], x.shape[-1]) for x in cases])
    if found is not None:
        return "the sign is wrong" if found == "-1" else f"it is {found} times what it should be"
    apart = [got - expected for got, expected in zip(gots, expecteds, strict=True)]
    first = float(apart[0].flat[0])
    if all(np.isfinite(a).all() and np.allclose(a, first, rtol=1e-6) for a in apart):
        return f"it is {abs(first):.6g} too {'large' if first > 0 else 'small'} everywhere"
    return ""


def of_torch(name: str) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    """Return torch's own function, with its name, if there is one."""
    if name in ("softmax", "log_softmax"):
        return f"torch.{name}", functools.partial(getattr(torch, name), dim=-1)
    if name in ("sigmoid", "tanh", "relu"):
        return f"torch.{name}", getattr(torch, name)
    functional: Any = torch.nn.functional
    if name in ("gelu", "leaky_relu", "elu", "silu", "softplus"):
        return f"torch.nn.functional.{name}", getattr(functional, name)
    return None


def stable(name: str) -> str:
    """Say how a function is computed without an overflow."""
    advice = {
        "softmax": "Subtract each row's maximum first: the softmax stays the same",
        "log_softmax": "Subtract each row's maximum first: z - max - log(sum e^(z - max))",
        "sigmoid": "Write it with e^-|x|, and of negative x as e^x / (1 + e^x)",
        "elu": "Take e^min(x, 0)",
        "softplus": "Take max(x, 0) + log(1 + e^-|x|)",
        "tanh": "Take np.tanh or torch.tanh",
    }
    return advice.get(name, "Use a form whose exponents are not positive")
