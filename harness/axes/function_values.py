"""Values of a registered activation, head or loss over a range, and its derivative by autograd.

`values(found("gelu"), -5, 5)` is a table with the columns x, value and derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from harness.axes.activations import activations
from harness.axes.heads import Head, heads, log_softmax, softmax
from harness.axes.losses import Loss, losses
from harness.axes.plugins import catalogue, load_installed
from harness.errors import UsageError, did_you_mean, in_words
from harness.registry import Registry
from harness.system.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Drawn = Literal["activation", "head", "loss"]
"""The axes whose components are functions of a number, in the order in which a name is looked for."""
CLASSES = 10  # of a head or a loss that is drawn
POINTS = 1001
STEP = 1e-6  # of a derivative by differences
HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z, "scores": lambda z: z, "probabilities": softmax, "log_probabilities": log_softmax,
}  # fmt: skip
"""Kind of a head's output -> a function that makes it of logits."""
BEHIND = {"probabilities": "softmax", "log_probabilities": "log-softmax", "scores": "scores"}


@dataclass(frozen=True)
class DrawnFunction:
    """A function of one number x: of tensors (n,) -> (n,), with words for a figure.

    Attributes:
        name: its own.
        kind: activation, head, loss; or "function", of a person's own.
        summary: the first line of its docstring.
        reads: the meaning of x and of the value.
        also: other axes that have a component of this name.
    """

    name: str
    kind: str
    summary: str
    reads: str
    apply: Callable[[Tensor], Tensor]
    also: tuple[str, ...] = ()


def found(function: str | Callable[..., Any], axis: str | None = None) -> DrawnFunction:
    """Find a function that can be drawn.

    Args:
        function: the name of a registered activation, head or loss, in this order where several have it; or
            a function of one's own, of tensors (n,) or NumPy arrays, elementwise.
        axis: activation, head or loss, to say which.

    Raises:
        UsageError: there is none of this name.
    """
    if callable(function):
        name = getattr(function, "__name__", type(function).__name__)
        return DrawnFunction(name, "function", _summary(function), "f(x)", function)
    load_installed()
    if axis is not None and axis not in get_args(Drawn):
        raise UsageError(f"axis = {axis!r}: {did_you_mean(str(axis), get_args(Drawn))}")
    registries: dict[str, Registry[Any]] = {"activation": activations, "head": heads, "loss": losses}
    having = [kind for kind, registry in registries.items() if function in registry]
    if axis in having:
        having = [axis, *(kind for kind in having if kind != axis)]
    if not having or (axis is not None and having[0] != axis):
        searched = {axis: registries[axis]} if axis else registries
        names = dict.fromkeys(entry.name for registry in searched.values() for entry in registry)
        kinds = axis or "activation, head or loss"
        others = [kind for kind, registry in catalogue().items() if function in registry]
        hint = f" ({function} is a name of axis {' and '.join(others)})" if others else ""
        raise UsageError(f"there is no {kinds} {function!r}{hint}: {did_you_mean(str(function), names)}")
    make = {"activation": _activation, "head": _head, "loss": _loss}[having[0]]
    return make(function, tuple(having[1:]))


def _activation(name: str, also: tuple[str, ...]) -> DrawnFunction:
    entry = activations.entry(name)
    forward = entry.component.forward
    return DrawnFunction(name, "activation", entry.summary, "f(x), elementwise", forward, also)


def _others_at_0(x: Tensor) -> Tensor:
    """Make logits (n, C) of x (n,): the first class has x, the others 0."""
    return torch.cat([x[:, None], torch.zeros(len(x), CLASSES - 1, dtype=x.dtype)], 1)


def _head(name: str, also: tuple[str, ...]) -> DrawnFunction:
    entry = heads.entry(name)
    reads = f"output of the class with logit x, the {CLASSES - 1} other logits at 0"

    def apply(x: Tensor) -> Tensor:
        return entry.component.forward(_others_at_0(x))[:, 0]

    return DrawnFunction(name, "head", entry.summary, reads, apply, also)


def _loss(name: str, also: tuple[str, ...]) -> DrawnFunction:
    entry = losses.entry(name)
    loss = entry.component
    kind, form = next(iter(loss.forms.items()))
    reads = f"loss of a sample whose true class has logit x, the {CLASSES - 1} other logits at 0"
    reads += f", through {BEHIND[kind]}" if kind in {"probabilities", "log_probabilities"} else ""

    def apply(x: Tensor) -> Tensor:
        given: dict[str, Any] = {key: loss.default_of(key, CLASSES) for key in loss.settings}
        settings = {key: torch.full((len(x),), float(value), dtype=x.dtype) for key, value in given.items()}
        target = torch.zeros(len(x), CLASSES, dtype=x.dtype)
        target[:, 0] = 1
        return form.forward(HEADS[kind](_others_at_0(x)), target, **settings)

    return DrawnFunction(name, "loss", entry.summary, reads, apply, also)


def _summary(function: object) -> str:
    return (getattr(function, "__doc__", "") or "").strip().partition("\n")[0]


def values(function: DrawnFunction, low: float, high: float, points: int = POINTS) -> pd.DataFrame:
    """Tabulate a function over a range, in float64: x, value, derivative (NaN where autograd gives none).

    Raises:
        UsageError: the range is none, or the function fails or gives something else than a number for each x.
    """
    numbers = all(isinstance(end, int | float | np.number) and math.isfinite(end) for end in (low, high))
    if not (numbers and low < high):
        raise UsageError(f"range {low} to {high}: allowed: two numbers, the lower one first")
    if function.kind == "function" and not _takes_tensors(function):
        return _of_arrays(function, np.linspace(low, high, points))
    x = torch.from_numpy(np.linspace(low, high, points)).requires_grad_()
    y = _called(function, x)
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        got = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
        raise UsageError(
            f"{function.kind} {function.name!r} gives {got} for a tensor of shape {tuple(x.shape)}: allowed "
            "is a tensor of this shape, a number for each x"
        )
    derivative = np.full(points, np.nan)
    if y.requires_grad:
        (of_x,) = torch.autograd.grad(y, x, torch.ones_like(y), allow_unused=True)
        derivative = np.zeros(points) if of_x is None else of_x.numpy()
    return _table(x.detach().numpy(), y.detach().double().numpy(), derivative)


def _table(x: Any, value: Any, derivative: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": x, "value": value, "derivative": derivative})


def _called(function: DrawnFunction, x: Any) -> Any:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return function.apply(x)
    except Exception as error:
        fault = f"{function.kind} {function.name!r} fails on numbers of shape {tuple(x.shape)}"
        raise UsageError(f"{fault}: {in_words(error)}") from error


def _takes_tensors(function: DrawnFunction) -> bool:
    """Return whether a person's function is of tensors, and not of NumPy arrays alone."""
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    given: tuple[Any, Any] = (x, np.zeros(3))
    for numbers, tensors in zip(given, (True, False), strict=True):
        with suppress(Exception):
            if isinstance(function.apply(numbers), torch.Tensor) or not tensors:
                return tensors
    return True  # it works with neither: what it says of tensors is told


def _of_arrays(function: DrawnFunction, x: NDArray[np.float64]) -> pd.DataFrame:
    """Tabulate a function of NumPy arrays; its derivative is by central differences."""
    at = [_called(function, x + shift) for shift in (0, STEP, -STEP)]
    value, above, below = (np.asarray(y, dtype=np.float64) for y in at)
    if value.shape != x.shape:
        raise UsageError(
            f"{function.kind} {function.name!r} gives shape {value.shape} for an array of shape {x.shape}: "
            "allowed is an array of this shape, a number for each x"
        )
    return _table(x, value, (above - below) / (2 * STEP))


def facts(function: DrawnFunction, table: pd.DataFrame) -> list[str]:
    """Say in lines what a function is, where its derivative comes from, and what its values are."""
    registries: dict[str, Any] = {"activation": activations, "head": heads, "loss": losses}
    lines = [f"{function.kind} {function.name}: {function.summary}", f"drawn: {function.reads}"]
    component = registries[function.kind][function.name]
    if isinstance(component, Loss):
        given = ", ".join(f"{key} = {component.default_of(key, CLASSES):.4g}" for key in component.settings)
        lines.append(f"takes {', '.join(component.forms)}{'; ' + given if given else ''}")
        closed = next(iter(component.forms.values())).gradient
    else:
        lines += [f"gives {component.kind}"] if isinstance(component, Head) else []
        closed = component.backward
    trained = "a closed form" if closed is not None else "autograd"
    lines.append(f"derivative: drawn by autograd, trained with {trained}")
    finite = table.replace([np.inf, -np.inf], np.nan)
    low, high = table["x"].iloc[[0, -1]]
    for column in ("value", "derivative"):
        least, most = finite[column].min(), finite[column].max()
        lines.append(f"{column} for x from {low:g} to {high:g}: {least:.4g} to {most:.4g}")
    return [*lines, *(f"also {_article(axis)}: --axis {axis} shows that" for axis in function.also)]


def _article(axis: str) -> str:
    return f"an {axis}" if axis.startswith("a") else f"a {axis}"


def title(function: DrawnFunction) -> str:
    """Say what is drawn of a function, on an axis x."""
    also = f" (also {' and '.join(map(_article, function.also))} of this name)" if function.also else ""
    kind = f"{function.kind} {function.name}" if function.kind != "function" else function.name
    return f"{kind}{also}: {function.reads}"
