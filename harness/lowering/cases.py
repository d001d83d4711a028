"""Cases of a compiled component: numbers to give it, and what its own function makes of them.

Its float32 is held against the function in float64. It may be three times as far from that as PyTorch's own
float32 is, and a few units in the last place further; where PyTorch's float32 is inf or NaN it must be, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.lowering.calls import OVERRUN, Arrays
from harness.lowering.lowered import Lowered, number
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Reals = NDArray[np.float64]

FACTOR = 3.0
"""Error of compiled code at most, in PyTorch's float32 errors ..."""
ROUNDING = 8 * 2.0**-23
"""... and beyond them, in parts of the value: eight units in the last place,"""
TINY = 2.0**-125
"""... and in numbers so small that processors may round them to 0."""
VALUES = 4096
NEIGHBOURS = 32
EDGES = (
    0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-39, -1e-39, 1.1754944e-38, -1.1754944e-38,
    3.4028235e38, -3.4028235e38, 1e-30, -1e-30, 1e-8, -1e-8, 1e30, -1e30, 1e10, -1e10, 1.0, -1.0, 3.0, -3.0,
    6.0, -6.0, 9.0, -9.0, 20.0, -20.0, 20.5, -20.5, 88.0, -88.0, 89.5, -89.5, 104.0, -104.0, 710.0, -710.0,
)  # fmt: skip
SAMPLES = 64
STEPS = 5
FADE = (1.0, 0.9, 0.5, 1.0, 0.3)
"""Parts of its learning rate that an optimizer takes its steps with."""
PARAMETERS, PIXELS, BATCH = 75, 23, 9


@dataclass(frozen=True)
class Case:
    """A call of compiled code, and `compare`, which says in words how its answer is wrong, or ""."""

    what: str
    given: Arrays
    compare: Callable[[Arrays], str]

    def complaint(self, answer: Arrays) -> str:
        """Say in words how an answer is wrong, or ""."""
        if OVERRUN in answer:
            return "it writes outside of its arrays"
        with np.errstate(all="ignore"):
            return self.compare(answer)


def cases(lowered: Lowered, lanes: int) -> Iterator[Case]:
    """Make the cases of a component, for vectors of so many numbers; torch is imported for them."""
    of_kind: Mapping[str, Callable[[Lowered, int], Iterator[Case]]] = {
        "activation": _activation, "output": _output, "metric": _metric, "optimizer": _optimizer,
    }  # fmt: skip
    with np.errstate(all="ignore"):
        yield from of_kind[lowered.kind](lowered, lanes)


@dataclass(frozen=True)
class Expected:
    """Values of a function: `exact` in float64, `single` in PyTorch's float32; `error` is what is allowed."""

    exact: Reals
    single: Reals
    error: Reals

    def first_wrong(self, got: NDArray[Any]) -> tuple[int, ...] | None:
        """Return the place of the first value that is wrong."""
        values = np.asarray(got, np.float64)
        near = np.abs(values - self.exact) <= self.error
        like = np.abs(values - self.single) <= ROUNDING * np.abs(self.single) + TINY
        # PyTorch's vectors and its single numbers differ here and there: gelu(inf) is NaN, or inf.
        right = near | like | _same_limit(values, self.single) | _same_limit(values, self.exact)
        places = np.argwhere(~right)
        return tuple(map(int, places[0])) if len(places) else None


def _same_limit(a: Reals, b: Reals) -> NDArray[np.bool_]:
    """Tell where both are the same inf, or both NaN."""
    same: NDArray[np.bool_] = (np.isinf(a) & (a == b)) | (np.isnan(a) & np.isnan(b))
    return same


def _error(exact: Reals, single: Reals) -> Reals:
    """Return PyTorch's errors; 0 where a value is not finite."""
    error = np.abs(single - exact)
    return np.where(np.isfinite(error), error, 0.0)


def _allowed(error: Reals, scale: Reals) -> Reals:
    size = np.where(np.isfinite(scale), np.abs(scale), 0.0)
    allowed: Reals = FACTOR * error + ROUNDING * size + TINY
    return allowed


def _numpy(value: Tensor) -> Reals:
    return np.asarray(value.detach().double().numpy(), np.float64)


# ------------------------------------------------------------------------------------------------ activations


def _activation(lowered: Lowered, _lanes: int) -> Iterator[Case]:
    (component,) = lowered.origin.components
    rng = np.random.default_rng(0)
    quarter = VALUES // 4
    spread = [rng.normal(0, scale, quarter) for scale in (0.1, 1.0, 4.0)]
    x = np.sort(np.concatenate([*spread, np.linspace(-30, 30, quarter)])).astype(np.float32)
    grad = rng.normal(size=VALUES).astype(np.float32)
    yield _of_activation(component, x, grad, NEIGHBOURS)
    edges = np.resize(np.array(EDGES, np.float32), math.ceil(len(EDGES) / 16) * 16)
    yield _of_activation(component, edges, np.ones_like(edges), 0)


def _of_activation(component: Any, x: NDArray[np.float32], grad: NDArray[np.float32], window: int) -> Case:
    def evaluated(dtype: Any) -> tuple[Reals, Reals]:
        leaf = torch.tensor(x, dtype=dtype).requires_grad_()
        y = component.forward(leaf)
        at_y = torch.tensor(grad, dtype=dtype)
        if component.backward is None:
            (at_x,) = torch.autograd.grad(y, leaf, at_y)
        else:
            at_x = component.backward(at_y, leaf.detach(), y.detach())
        return _numpy(y), _numpy(at_x)

    exact, single = evaluated(torch.float64), evaluated(torch.float32)
    size = np.abs(grad).astype(np.float64)
    expected = {
        "y": _near(exact[0], single[0], np.ones_like(size), window),
        "grad": _near(exact[1], single[1], size, window),
    }
    number = ~np.isnan(x)  # behind a NaN nothing is learned, whatever its gradient is

    def compare(answer: Arrays) -> str:
        for name, what in (("y", "gives"), ("grad", "has the gradient")):
            values = answer[name] if name == "y" else np.where(number, answer[name], exact[1])
            place = expected[name].first_wrong(values)
            if place is not None:
                scale = 1.0 if name == "y" else size[place]
                got, right = answer[name][place] / scale, expected[name].exact[place] / scale
                return f"at x = {x[place]:.9g} it {what} {got:.9g}, its function {right:.9g}"
        return ""

    return Case("activation", {"x": x, "grad": grad}, compare)


def _near(exact: Reals, single: Reals, size: Reals, window: int) -> Expected:
    """Allow at each value the largest error among its neighbours, as a part of `size`."""
    error = _error(exact, single) / np.where(size > 0, size, 1.0)
    padded = np.pad(error, window, mode="edge")
    error = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1).max(-1)
    return Expected(exact, single, _allowed(error * size, exact))


# ---------------------------------------------------------------------------------------- outputs and metrics


def _samples(classes: int, scale: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int32], int]:
    """Draw logits (C, b), labels of every class (b,), and how many samples count."""
    b = max(SAMPLES, math.ceil(min(classes, 1024) / 16) * 16)
    rng = np.random.default_rng(seed)
    z = rng.normal(0, scale, (classes, b)).astype(np.float32)
    label = rng.permutation(np.resize(np.arange(classes), b)).astype(np.int32)
    return z, label, b - 3


def _output(lowered: Lowered, _lanes: int) -> Iterator[Case]:
    classes = lowered.origin.classes
    targets = ((1.0, 0.0), (0.9, 0.1 / classes), (1.0, 0.0), (0.5, 0.5 / classes))
    for number_of, (scale, target) in enumerate(zip((0.3, 3.0, 30.0, 1.0), targets, strict=True)):
        yield _of_output(lowered, *_samples(classes, scale, number_of), target, number_of)
    z, label, _ = _samples(classes, 1.0, 9)
    for value in (np.nan, np.inf, -np.inf):
        for place in (0, classes - 1):
            logits = z[:, :16].copy()
            logits[place, 1] = value
            yield _of_broken_output(lowered, logits, label[:16])
    yield _of_output(
        lowered, np.zeros_like(z), label, SAMPLES, (1.0, 0.0), 0
    )  # the first of equal ones is best


def _loss_settings(lowered: Lowered, variant: int) -> dict[str, float]:
    _, loss = lowered.origin.components
    values = {name: float(loss.default_of(name, lowered.origin.classes)) for name in loss.settings}
    return {name: _varied(value, variant) for name, value in values.items()}


class _Outputs:
    """A head and a loss on samples, in one type of numbers."""

    def __init__(
        self, lowered: Lowered, z: NDArray[Any], label: NDArray[Any], values: Mapping[str, float], dtype: Any
    ) -> None:
        self.head, self.form = lowered.origin.components[0], lowered.origin.form
        self.z = torch.tensor(z.T[None], dtype=dtype)  # (1, B, C), as in a stack
        self.one_hot = torch.nn.functional.one_hot(torch.tensor(label).long(), len(z)).to(dtype)[None]
        self.settings = {name: torch.full((1, 1), value, dtype=dtype) for name, value in values.items()}

    def losses(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        f = self.head.forward(z)
        return f, self.form.forward(f, target, **self.settings)

    def trained(self, keep: float, spread: float) -> tuple[Reals, Reals]:
        """Return losses (B,) and their gradients (C, B)."""
        target = keep * self.one_hot + spread
        if self.head.backward is not None and self.form.gradient is not None:
            f, loss = self.losses(self.z, target)
            grad = self.head.backward(self.form.gradient(f, target, **self.settings), f)
        else:
            leaf = self.z.clone().requires_grad_()
            _, loss = self.losses(leaf, target)
            (grad,) = torch.autograd.grad(loss.sum(), leaf)
        return _numpy(loss[0]), _numpy(grad[0]).T

    def judged(self) -> tuple[Reals, Reals, Reals]:
        """Return losses (B,), outputs and probabilities (B, C)."""
        f, loss = self.losses(self.z, self.one_hot)
        return _numpy(loss[0]), _numpy(f[0]), _numpy(probabilities(self.head.kind, f)[0])


def probabilities(kind: str, f: Tensor) -> Tensor:
    """Return the probabilities that outputs (..., C) of a kind stand for."""
    if kind == "logits":
        return f.softmax(-1)
    if kind == "log_probabilities":
        return f.exp()
    return f / f.sum(-1, keepdim=True) if kind == "scores" else f


def _of_output(
    lowered: Lowered, z: NDArray[np.float32], label: NDArray[np.int32], count: int,
    target: tuple[float, float], variant: int,
) -> Case:  # fmt: skip
    values = _loss_settings(lowered, variant)
    exact, single = (
        _Outputs(lowered, z[:, :count], label[:count], values, dtype)
        for dtype in (torch.float64, torch.float32)
    )
    trained, judged = [x.trained(*target) for x in (exact, single)], [x.judged() for x in (exact, single)]
    loss = _mean(trained[0][0], trained[1][0])
    error = _error(trained[0][1], trained[1][1]).max(
        keepdims=True
    )  # where p - 1 cancels, it may be 0 by luck
    size = np.abs(trained[0][1]).max(0, keepdims=True)
    allowed = np.broadcast_to(_allowed(error, size), trained[0][1].shape) / count
    grad = Expected(trained[0][1] / count, trained[1][1] / count, allowed)
    total = _mean(judged[0][0], judged[1][0], count)

    def compare(answer: Arrays) -> str:
        if loss.first_wrong(answer["loss"]) is not None:
            return (
                f"the loss of a batch is {float(answer['loss']):.9g}, by its function {float(loss.exact):.9g}"
            )
        place = grad.first_wrong(answer["grad"][:, :count])
        if place is not None:
            got, right = answer["grad"][place] * count, grad.exact[place] * count
            return f"at a logit of {z[place]:.9g} it has the gradient {got:.9g}, its function {right:.9g}"
        if (answer["grad"][:, count:] != 0).any():
            return "samples beyond the batch have a gradient"
        return _misjudged(answer, total, judged, label[:count])

    arrays = {"z": z, "label": label, "count": np.array(count), "target": np.array(target)}
    settings = np.array([values[name] for name in lowered.settings], np.float64)
    return Case("output", {**arrays, "settings": settings}, compare)


def _mean(exact: Reals, single: Reals, times: int = 1) -> Expected:
    """Expect the mean of values, so many times."""
    allowed = _allowed(np.asarray(_error(exact, single).mean()), np.asarray(np.abs(exact).mean()))
    return Expected(np.asarray(exact.mean() * times), np.asarray(single.mean() * times), allowed * times)


def _misjudged(answer: Arrays, total: Expected, judged: Sequence[Any], label: NDArray[Any]) -> str:
    """Say how an evaluation is wrong: losses, hits, best classes, their probabilities."""
    (_, f, p), (_, f_single, _) = judged
    if total.first_wrong(answer["total"][0]) is not None:
        return f"evaluated losses sum to {answer['total'][0]:.9g}, by its function {float(total.exact):.9g}"
    best, rows = answer["best"], np.arange(len(f))
    if ((best < 0) | (best >= f.shape[1])).any():
        return "a class that it finds best is none"
    error = _allowed(_error(f, f_single).max(1), np.abs(f).max(1))
    ahead = f.max(1) - f[rows, best] > 2 * error
    equal = (f == f[:, :1]).all(1) & (best > 0)
    if (ahead | equal).any():
        return "another class has the largest output, or a later one of equal ones is taken"
    if answer["hits"][0] != (best == label).sum():
        return f"it counts {answer['hits'][0]} hits, and there are {(best == label).sum()}"
    sure = np.abs(answer["sure"] - p[rows, best]) <= _allowed(error, p[rows, best]) + 1e-5
    if not sure.all():
        return "the probability of the best class is wrong"
    if not np.allclose(answer["total_twice"], 2 * answer["total"], rtol=1e-6):
        return "evaluated losses are not added to what is there"
    return "" if (answer["hits_twice"] == 2 * answer["hits"]).all() else "hits are not added to what is there"


def _of_broken_output(lowered: Lowered, z: NDArray[np.float32], label: NDArray[np.int32]) -> Case:
    """Judge a batch with a logit that is not finite: no loss is then, and the best class is PyTorch's."""
    values = _loss_settings(lowered, 0)
    single = _Outputs(lowered, z, label, values, torch.float32)
    losses, _ = single.trained(1.0, 0.0)
    f = single.judged()[1]
    largest = f == f.max(1, keepdims=True)  # nothing equals NaN: then the last class
    right = np.where(largest.any(1), largest.argmax(1), f.shape[1] - 1)

    def compare(answer: Arrays) -> str:
        if np.isfinite(answer["loss"]) != np.isfinite(losses.mean()):
            return f"with a logit of {z[~np.isfinite(z)][0]} the loss is {float(answer['loss']):.9g}"
        if np.isfinite(answer["total"]).any():
            return f"with a logit of {z[~np.isfinite(z)][0]} evaluated losses are finite"
        return (
            "" if answer["best"][1] == right[1] else "with a logit that is not finite, another class is best"
        )

    settings = np.array([values[name] for name in lowered.settings], np.float64)
    arrays = {"z": z, "label": label, "count": np.array(len(label)), "target": np.array((1.0, 0.0))}
    return Case("output", {**arrays, "settings": settings}, compare)


def _metric(lowered: Lowered, _lanes: int) -> Iterator[Case]:
    head, component = lowered.origin.components
    for seed, scale in enumerate((0.3, 1.0, 4.0)):
        z, label, count = _samples(lowered.origin.classes, scale, seed)

        def measured(dtype: Any, z: Any = z, label: Any = label, count: int = count) -> Reals:
            logits = torch.tensor(z.T[:count], dtype=dtype)
            target = torch.nn.functional.one_hot(torch.tensor(label[:count]).long(), len(z)).to(dtype)
            p = probabilities(head.kind, head.forward(logits))
            return _numpy(component.function(p, target))

        total = _mean(measured(torch.float64), measured(torch.float32), count)

        def compare(answer: Arrays, total: Expected = total) -> str:
            if total.first_wrong(answer["total"][0]) is None:
                return ""
            return f"its values sum to {answer['total'][0]:.9g}, by its function {float(total.exact):.9g}"

        yield Case("metric", {"z": z, "label": label, "count": np.array(count)}, compare)


# ------------------------------------------------------------------------------------------------- optimizers


def _varied(value: float, variant: int) -> float:
    """Change a setting a little; one between 0.5 and 1, such as a momentum, stays there."""
    factor = (1.0, 0.7, 1.3, 0.4)[variant % 4]
    return 1 - (1 - value) * factor if 0.5 < value < 1 else value * factor


def _optimizer_settings(lowered: Lowered, variant: int) -> dict[str, Any]:
    """Give all settings of an optimizer: its defaults, a little changed; what is not left out is not 0."""
    (component,), origin = lowered.origin.components, lowered.origin
    settings: dict[str, Any] = dict(origin.switches)
    for name, setting in component.settings.items():
        default: Any = setting.default
        if name in settings:
            continue
        if isinstance(default, list):
            columns = [(f"{name}.{place}", value) for place, value in enumerate(default)]
            settings[name] = tuple(_value(lowered, *column, variant) for column in columns)
        else:
            settings[name] = _value(lowered, name, default, variant)
    return settings


def _value(lowered: Lowered, column: str, default: float, variant: int) -> float:
    return 0.0 if column in lowered.origin.zeros else _varied(float(default or 0.1), variant)


def _columns(lowered: Lowered, settings: Mapping[str, Any]) -> Reals:
    """Return the numbers (T, S) that an optimizer's `scalars` is given at each step."""
    each = [{**settings, "lr": settings["lr"] * part} for part in FADE]
    return np.array([[number(values, name) for name in lowered.settings] for values in each], np.float64)


def _updated(
    lowered: Lowered, w: NDArray[Any], grads: NDArray[Any], settings: Sequence[Mapping[str, Any]], dtype: Any
) -> Reals:
    """Take steps of members' parameters (k, n) by gradients (T, k, n); return them after each (T, k, n)."""
    (component,) = lowered.origin.components
    param, after = torch.tensor(w, dtype=dtype), []
    state: dict[str, Tensor] = {}
    given = {name: _of_members([member[name] for member in settings]) for name in settings[0]}
    for t, grad in enumerate(grads, 1):
        faded = given | {"lr": given["lr"] * FADE[t - 1]}
        with torch.no_grad():
            component.update(param, torch.tensor(grad, dtype=dtype), state, t, **faded)
        after.append(_numpy(param.clone()))
    return np.array(after)


def _of_members(values: Sequence[Any]) -> Any:
    """Give a setting as an optimizer is given it: a switch, a 0 of all members, else a number for each."""
    if isinstance(values[0], tuple):
        return tuple(map(_of_members, zip(*values, strict=True)))
    if isinstance(values[0], (bool, str)) or not any(values):
        return values[0]
    return torch.tensor(values, dtype=torch.float64)[:, None]


def _optimizer(lowered: Lowered, lanes: int) -> Iterator[Case]:
    for variant in range(3):
        yield _of_rows(lowered, variant)
    still = _still(lowered)
    for width in (1, 2, 4, 8):
        yield _of_tiles(lowered, width, lanes, shifted=False, still=still)
        yield _of_tiles(lowered, width, lanes, shifted=True, still=still)


def _still(lowered: Lowered) -> bool:
    """Tell whether steps without a gradient leave parameters as they are."""
    w = np.random.default_rng(5).normal(size=(1, PARAMETERS))
    after = _updated(
        lowered, w, np.zeros((STEPS, *w.shape)), [_optimizer_settings(lowered, 0)], torch.float64
    )
    return bool((after == w).all())


def _of_rows(lowered: Lowered, variant: int) -> Case:
    rng = np.random.default_rng(variant)
    w, grads = (
        rng.normal(size=(1, PARAMETERS)),
        rng.normal(size=(STEPS, 1, PARAMETERS)) * (1.0, 0.01, 30.0)[variant],
    )
    grads *= rng.random(grads.shape) > 0.2
    grads[:, :, :5] = 0.0
    w, grads = w.astype(np.float32), grads.astype(np.float32)
    settings = _optimizer_settings(lowered, variant)
    exact, single = (_updated(lowered, w, grads, [settings], dtype)[:, 0] for dtype in _both())
    expected = _steps_of(exact, single)
    arrays: dict[str, NDArray[Any]] = {
        "w": w[0],
        "grads": grads[:, 0],
        "settings": _columns(lowered, settings),
        "sizes": _sizes(lowered),
    }
    return Case("rows", arrays, lambda answer: _wrong_step(expected, answer["w"]))


def _of_tiles(lowered: Lowered, width: int, lanes: int, *, shifted: bool, still: bool) -> Case:
    """Step tiles of members with settings of their own, with pixels that are not zero, or with zeros."""
    rng = np.random.default_rng(width)
    u = rng.random((BATCH, PIXELS)) * (rng.random((BATCH, PIXELS)) < 0.3)
    u[:, ::4] = 0.0
    c = rng.normal(size=PIXELS if shifted else 0).astype(np.float32)
    occurs = (np.arange(PIXELS) % 8 > 0).astype(np.uint8)  # some occur, and not in this batch
    w, sums = rng.normal(size=(width, PIXELS, lanes)), rng.normal(size=(STEPS, BATCH, width, lanes))
    u, w, sums = u.astype(np.float32), w.astype(np.float32), sums.astype(np.float32)
    pixels = u.astype(np.float64) + (c if shifted else 0.0)
    grads = np.einsum("bd,tbgl->tgdl", pixels, sums.astype(np.float64)).reshape(STEPS, width, -1)
    settings = [_optimizer_settings(lowered, member) for member in range(width)]
    flat = w.reshape(width, -1)
    exact, single = (
        _updated(lowered, flat, grads, settings, dtype).reshape(STEPS, *w.shape) for dtype in _both()
    )
    # The batch's sums round in an order of their own: single precision is off by that, too.
    expected = _steps_of(exact, single, 4 * ROUNDING)
    arrays: dict[str, NDArray[Any]] = {
        "w": w, "sums": sums, "u": u, "c": c, "sizes": _sizes(lowered),
        "occurs": occurs if still and not shifted else np.zeros(0, np.uint8),
        "settings": np.stack([_columns(lowered, member) for member in settings], 1),
    }  # fmt: skip

    def compare(answer: Arrays) -> str:
        wrong = _wrong_step(expected, answer["w"])
        if wrong or not shifted:
            return wrong
        moved = np.einsum("d,tgdl->tgl", c.astype(np.float64), answer["w"].astype(np.float64))
        near = np.abs(answer["moved"] - moved) <= 1e-4 * np.abs(answer["w"]).sum(2) + TINY
        return "" if near.all() else "the sums of its weights over the pixels are wrong"

    return Case("tiles", arrays, compare)


def _both() -> tuple[Any, Any]:
    return torch.float64, torch.float32


def _sizes(lowered: Lowered) -> NDArray[np.int64]:
    return np.array([len(lowered.states), lowered.scalars])


def _steps_of(exact: Reals, single: Reals, more: float = 0.0) -> Expected:
    """Expect parameters after each step, as exact as the worst of PyTorch's."""
    axes = tuple(range(1, exact.ndim))
    error = _error(exact, single).max(axes, keepdims=True)
    size = np.abs(exact).max(axes, keepdims=True)
    return Expected(exact, single, _allowed(error, exact) + (ROUNDING / 4 + more) * size)


def _wrong_step(expected: Expected, got: NDArray[Any]) -> str:
    place = expected.first_wrong(got)
    if place is None:
        return ""
    exact = expected.exact[place]
    return f"at step {place[0] + 1} a parameter becomes {got[place]:.9g}, by its function {exact:.9g}"
