"""Cases of a compiled component: numbers to give it, and what its own function makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.lowering import output_cases
from harness.lowering.calls import Arrays
from harness.lowering.expectations import (
    ROUNDING,
    TINY,
    Case,
    Expected,
    Reals,
    allowed,
    error_of,
    numpy_of,
    varied,
)  # fmt: skip
from harness.lowering.lowered import Lowered, number
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

VALUES = 4096
NEIGHBOURS = 32
EDGES = (
    0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-39, -1e-39, 1.1754944e-38, -1.1754944e-38,
    3.4028235e38, -3.4028235e38, 1e-30, -1e-30, 1e-8, -1e-8, 1e30, -1e30, 1e10, -1e10, 1.0, -1.0, 3.0, -3.0,
    6.0, -6.0, 9.0, -9.0, 20.0, -20.0, 20.5, -20.5, 88.0, -88.0, 89.5, -89.5, 104.0, -104.0, 710.0, -710.0,
)  # fmt: skip
STEPS = 5
FADE = (1.0, 0.9, 0.5, 1.0, 0.3)
"""Parts of its learning rate that an optimizer takes its steps with."""
PARAMETERS, PIXELS, BATCH = 75, 23, 9


def cases(lowered: Lowered, lanes: int) -> Iterator[Case]:
    """Make the cases of a component, for vectors of so many numbers; torch is imported for them."""
    with np.errstate(all="ignore"):
        if lowered.kind == "activation":
            yield from _activation(lowered)
        elif lowered.kind == "output":
            yield from output_cases.output(lowered)
        elif lowered.kind == "metric":
            yield from output_cases.metric(lowered)
        else:
            yield from _optimizer(lowered, lanes)


# ------------------------------------------------------------------------------------------------ activations


def _activation(lowered: Lowered) -> Iterator[Case]:
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
        leaf = torch.tensor(x, dtype=dtype).view(-1, 16).requires_grad_()  # samples of 16 units
        y = component.forward(leaf)
        at_y = torch.tensor(grad, dtype=dtype).view(-1, 16)
        if component.backward is None:
            (at_x,) = torch.autograd.grad(y, leaf, at_y)
        else:
            at_x = component.backward(at_y, leaf.detach(), y.detach())
        return numpy_of(y).ravel(), numpy_of(at_x).ravel()

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
    error = error_of(exact, single) / np.where(size > 0, size, 1.0)
    padded = np.pad(error, window, mode="edge")
    error = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1).max(-1)
    return Expected(exact, single, allowed(error * size, exact))


# ------------------------------------------------------------------------------------------------- optimizers


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
    return 0.0 if column in lowered.origin.zeros else varied(float(default or 0.1), variant)


def _columns(lowered: Lowered, settings: Mapping[str, Any]) -> Reals:
    """Return the numbers (T, S) that an optimizer's `scalars` is given at each step."""
    each = [{**settings, "lr": settings["lr"] * part} for part in FADE]
    return np.array([[number(values, name) for name in lowered.settings] for values in each], np.float64)


def _updated(
    lowered: Lowered, w: NDArray[Any], grads: NDArray[Any], settings: Sequence[Mapping[str, Any]], dtype: Any
) -> Reals:
    """Take steps of members' parameters (k, n) by gradients (T, k, n); return them after each (T, k, n).

    Each member steps by itself, with settings that are floats, so that its function may ask what they are.
    """
    rows = [slice(k, k + 1) for k in range(len(w))]
    members = zip(rows, settings, strict=True)
    return np.concatenate(
        [_updated_alone(lowered, w[row], grads[:, row], mine, dtype) for row, mine in members], axis=1
    )


def _updated_alone(
    lowered: Lowered, w: NDArray[Any], grads: NDArray[Any], settings: Mapping[str, Any], dtype: Any
) -> Reals:
    (component,) = lowered.origin.components
    param, after = torch.tensor(w, dtype=dtype), []
    state: dict[str, Tensor] = {}
    for t, grad in enumerate(grads, 1):
        faded = {**settings, "lr": settings["lr"] * FADE[t - 1]}
        with torch.no_grad():
            component.update(param, torch.tensor(grad, dtype=dtype), state, t, **faded)
        after.append(numpy_of(param.clone()))
    return np.array(after)


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
    settings = _optimizer_settings(lowered, variant)
    w = rng.normal(
        0, (settings["lr"], 1.0, settings["lr"])[variant], (1, PARAMETERS)
    )  # or steps were lost in w
    grads = rng.normal(0, (1.0, 0.01, 30.0)[variant], (STEPS, 1, PARAMETERS))
    grads *= rng.random(grads.shape) > 0.2
    grads[:, :, :5] = 0.0
    w, grads = w.astype(np.float32), grads.astype(np.float32)
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
    settings = [_optimizer_settings(lowered, member) for member in range(width)]
    # In eighths, so that the gradients' sums are exact in any order.
    u = rng.integers(0, 9, (BATCH, PIXELS)) * (rng.random((BATCH, PIXELS)) < 0.3) / 8
    u[:, ::4] = 0.0
    c = rng.integers(-8, 9, PIXELS if shifted else 0) / 8
    sums = rng.integers(-64, 65, (STEPS, BATCH, width, lanes)) / 64
    occurs = (np.arange(PIXELS) % 8 > 0).astype(np.uint8)  # some occur, and not in this batch
    w = rng.normal(0, settings[0]["lr"], (width, PIXELS, lanes)).astype(np.float32)
    grads = np.einsum("bd,tbgl->tgdl", u + (c if shifted else 0.0), sums).reshape(STEPS, width, -1)
    u, c, sums = u.astype(np.float32), c.astype(np.float32), sums.astype(np.float32)
    flat = w.reshape(width, -1)
    exact, single = (
        _updated(lowered, flat, grads, settings, dtype).reshape(STEPS, *w.shape) for dtype in _both()
    )
    expected = _steps_of(exact, single)
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


def _steps_of(exact: Reals, single: Reals) -> Expected:
    """Expect parameters after each step, as exact as the worst of PyTorch's."""
    axes = tuple(range(1, exact.ndim))
    error = error_of(exact, single).max(axes, keepdims=True)
    size = np.abs(exact).max(axes, keepdims=True)
    return Expected(exact, single, allowed(error, exact) + ROUNDING / 4 * size)


def _wrong_step(expected: Expected, got: NDArray[Any]) -> str:
    place = expected.first_wrong(got)
    if place is None:
        return ""
    exact = expected.exact[place]
    return f"at step {place[0] + 1} a parameter becomes {got[place]:.9g}, by its function {exact:.9g}"
