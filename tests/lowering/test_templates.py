"""Emitted texts, compiled, against the components' own functions in PyTorch."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from calling import Array, Compiled, TilesStep, Turned, at
from torch import Tensor
from torch.nn.functional import one_hot

from harness.axes.activations import Activation, activations
from harness.axes.heads import Head, heads
from harness.axes.losses import Form, losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import Optimizer, optimizers
from harness.lowering import templates
from harness.lowering.lowered import facts_of

TYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
HEADS = pytest.mark.parametrize("head", [entry.name for entry in heads])
PAIRS = [
    (head.name, loss.name, match)
    for head, loss, match in itertools.product(heads, losses, ("kind", "ignore"))
    if loss.component.form(head.component.kind, match) is not None
]
SINGLE = 2e-7  # a rounding of float32, and a little
CROSSED = pytest.mark.slow(reason="a size in the other type: both are among the fast ones")


def sizes(*counts: int) -> pytest.MarkDecorator:
    """Numbers of classes in both types: the first in float32 and the last in float64, the others slow."""
    usual = {("float32", counts[0]), ("float64", counts[-1])}
    both = itertools.product(("float32", "float64"), counts)
    cases = [pytest.param(*case, marks=() if case in usual else CROSSED) for case in both]
    return pytest.mark.parametrize(("dtype", "classes"), cases)


def near(got: Any, exact: Any, single: Any, dtype: str, scale: float = 0.0) -> None:
    """Compare with the function in float64; float32 may err three times as much as PyTorch's does.

    Roundings are of the largest value, or of `scale`, where values are what is left of larger ones.
    """
    got, exact, single = (np.asarray(x, np.float64) for x in (got, exact, single))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(single))
    if dtype == "float64":
        np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-14)
        return
    finite = np.isfinite(exact) & np.isfinite(single) & np.isfinite(got)
    scale = np.abs(exact[finite]).max(initial=scale)
    error, theirs = (np.abs(x - exact)[finite].max(initial=0) for x in (got, single))
    assert error <= 3 * theirs + SINGLE * scale
    assert (got[~finite] == single[~finite]).all() or np.isnan(got[~finite]).any()


def in_both(function: Callable[[Any], tuple[Tensor, ...]]) -> list[tuple[Array, ...]]:
    """Return a function's values in double and in single precision."""
    both = (function(dtype) for dtype in (torch.float64, torch.float32))
    return [tuple(x.detach().double().numpy() for x in values) for values in both]


# ------------------------------------------------------------------------------------------------ activations


@functools.cache
def activation_text(name: str) -> str:
    return templates.activation(activations[name])


@TYPES
@pytest.mark.parametrize("name", [entry.name for entry in activations])
def test_an_activation_and_its_derivative(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, scale, 700) for scale in (0.1, 1, 5)]).astype(np.float32)
    grad = rng.normal(size=x.size).astype(np.float32)

    def both(precision: Any) -> tuple[Tensor, ...]:
        leaf = torch.tensor(x, dtype=precision).requires_grad_()
        y = activations[name].forward(leaf)
        return y, *torch.autograd.grad(y, leaf, torch.tensor(grad, dtype=precision))

    exact, single = in_both(both)
    compiled = Compiled(activation_text(name), dtype)
    y = compiled.activate(x)
    near(y[: x.size], exact[0], single[0], dtype)
    near(compiled.derive(grad, x, y[: x.size])[: x.size], exact[1], single[1], dtype)
    assert compiled.facts == {"kind": "activation", "name": name, "settings": []}


@pytest.mark.parametrize("name", [entry.name for entry in activations])
def test_activations_of_numbers_at_the_edges(name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 88.7, -88.7, 103.9, -103.9])
    expected = activations[name].forward(torch.tensor(x, dtype=torch.float64)).float().numpy()
    got = Compiled(activation_text(name)).activate(x)[: x.size]
    near(got[3:], expected[3:], expected[3:], "float32")
    assert np.isnan(got[2])
    # gelu(inf) and silu(-inf) are inf * 0 or the limit, in PyTorch too, by the length of a tensor.
    assert got[0] == x[0] or name in {"sigmoid", "tanh"}
    assert np.isnan(got[1]) or got[1] == expected[1] or name in {"gelu", "silu"}


def test_what_an_activation_has_left_in_y_is_not_computed_again() -> None:
    text = templates.activation(Activation("own", torch.tanh))
    assert text.count("vector_tanh") == 1


# --------------------------------------------------------------------------------------------------- outputs


@functools.cache
def output_text(head: str, loss: str, match: str, classes: int) -> str:
    form = losses[loss].form(heads[head].kind, match)
    assert form is not None
    return templates.output(heads[head], form, classes, list(losses[loss].settings))


def drawn(classes: int, count: int = 37, scale: float = 2.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(classes)
    return rng.normal(0, scale, (count, classes)).astype(np.float32), rng.integers(0, classes, count)


def compare_output(
    text: str, head: Head, form: Form, classes: int, dtype: str, settings: Mapping[str, float]
) -> None:
    """Compare training's and evaluation's halves of an output with the functions in PyTorch."""
    z, label = drawn(classes)
    compiled = Compiled(text, dtype)
    for smoothing in (0.0, 0.1):

        def trained(precision: Any, smoothing: float = smoothing) -> tuple[Tensor, ...]:
            leaf = torch.tensor(z, dtype=precision).requires_grad_()
            target = (1 - smoothing) * one_hot(torch.from_numpy(label), classes).to(precision)
            target += smoothing / classes
            values = {name: torch.tensor(value, dtype=precision) for name, value in settings.items()}
            loss = form.forward(head.forward(leaf), target, **values)
            (grad,) = torch.autograd.grad(loss.mean(), leaf)
            return loss.mean(), grad, loss.sum(), head.forward(leaf), loss.abs().mean()

        exact, single = in_both(trained)
        target = (1 - smoothing, smoothing / classes)
        loss, grad = compiled.loss(z, label, *target, list(settings.values()))
        near(loss, exact[0], single[0], dtype, float(exact[4]))
        near(grad, exact[1], single[1], dtype, 1 / len(label))
        if not smoothing:
            total, hits, best, sure = compiled.judge(z, label, list(settings.values()))
            near(total, exact[2], single[2], dtype, float(exact[4]) * len(label))
            outputs = exact[3] if dtype == "float64" else single[3]
            np.testing.assert_array_equal(best, outputs.argmax(-1))
            assert hits == (best == label).sum()
            p = of_kind(head.kind, torch.from_numpy(exact[3])).numpy()
            np.testing.assert_allclose(sure, p[np.arange(len(label)), best], rtol=2e-6)


def of_kind(kind: str, f: Tensor) -> Tensor:
    if kind == "logits":
        return f.softmax(-1)
    if kind == "log_probabilities":
        return f.exp()
    return f / f.sum(-1, keepdim=True) if kind == "scores" else f


@sizes(10, 2, 37)
@pytest.mark.parametrize(("head", "loss", "match"), PAIRS)
def test_a_loss_on_a_heads_output(head: str, loss: str, match: str, classes: int, dtype: str) -> None:
    form = losses[loss].form(heads[head].kind, match)
    assert form is not None
    settings = dict.fromkeys(losses[loss].settings, 1.75)
    compare_output(output_text(head, loss, match, classes), heads[head], form, classes, dtype, settings)


@TYPES
@pytest.mark.parametrize("classes", [3, 1000])
@pytest.mark.parametrize(("head", "loss"), [("identity", "ce"), ("softmax", "ccql"), ("log_softmax", "nll")])
def test_few_and_many_classes(head: str, loss: str, classes: int, dtype: str) -> None:
    form = losses[loss].forms[heads[head].kind]
    settings = dict.fromkeys(losses[loss].settings, 1.75)
    compare_output(output_text(head, loss, "kind", classes), heads[head], form, classes, dtype, settings)


@HEADS
def test_the_first_largest_class_is_the_best(head: str) -> None:
    loss = next(name for name in ("ql", "nll") if heads[head].kind in losses[name].forms)
    compiled = Compiled(output_text(head, loss, "kind", 10))
    z = np.zeros((5, 10), np.float32)
    z[1, 3] = z[1, 7] = 2.0
    z[2] = 50.0  # a sigmoid of 1, each
    z[3, 9] = 1.0
    z[4, [2, 4]] = 100.0, 90.0  # equal where the sigmoid is 1
    _, hits, best, _ = compiled.judge(z, np.array([0, 3, 0, 9, 2]))
    assert best.tolist() == [0, 3, 0, 9, 2]
    assert hits == 5


def test_a_batch_that_is_not_full_is_the_mean_of_its_own_samples() -> None:
    compiled = Compiled(output_text("identity", "ce", "kind", 10))
    z, label = drawn(10, 16)
    whole, grad = compiled.loss(z, label)
    for count in (1, 5, 15):
        _, part_grad = compiled.loss(z[:count], label[:count])
        np.testing.assert_allclose(part_grad * count, grad[:count] * 16, rtol=1e-6, atol=1e-7)
    halves = [compiled.loss(z[i : i + 8], label[i : i + 8])[0] for i in (0, 8)]
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-6)


# --------------------------------------------------------------------------------------------------- metrics


@HEADS
@sizes(10, 2)
@pytest.mark.parametrize("name", [entry.name for entry in metrics])
def test_a_metric_of_probabilities(name: str, head: str, classes: int, dtype: str) -> None:
    z, label = drawn(classes)
    compiled = Compiled(templates.metric(heads[head], metrics[name], classes), dtype)

    def measured(precision: Any) -> tuple[Tensor]:
        f = heads[head].forward(torch.tensor(z, dtype=precision))
        target = one_hot(torch.from_numpy(label), classes).to(precision)
        return (metrics[name].function(of_kind(heads[head].kind, f), target).double().sum(),)

    (exact,), (single,) = in_both(measured)
    near(compiled.measure(z, label), exact, single, dtype)


# ------------------------------------------------------------------------------------------------- optimizers


def columns_of(optimizer: Optimizer) -> dict[str, float]:
    """Return an optimizer's numbers, none of them 0."""
    numbers: dict[str, float] = {}
    for name, setting in optimizer.settings.items():
        default: Any = setting.default
        if isinstance(default, list):
            numbers |= {f"{name}.{place}": value for place, value in enumerate(default)}
        elif not isinstance(default, (bool, str)):
            numbers[name] = default or 0.3
    return numbers


def variants(*, every: bool) -> list[Any]:
    """List each optimizer with its switches on and off, and choices of settings that are 0."""
    made = []
    for entry in optimizers:
        defaults = entry.component.settings
        names = [name for name, s in defaults.items() if isinstance(s.default, bool)]
        columns = sorted(set(columns_of(entry.component)) - {"lr"})
        usual = [name for name in columns if name in defaults and defaults[name].default == 0]
        subsets = itertools.product((False, True), repeat=len(columns))
        patterns = [tuple(itertools.compress(columns, chosen)) for chosen in subsets]
        for on in itertools.product((False, True), repeat=len(names)):
            for zeros in patterns if every else dict.fromkeys([(), tuple(usual), tuple(columns)]):
                switches = dict(zip(names, on, strict=True))
                text = f"{entry.name}-{'+'.join(itertools.compress(names, on))}-{'+'.join(zeros)}"
                made.append(pytest.param(entry.name, switches, zeros, id=text))
    return made


def given(optimizer: Optimizer, numbers: Mapping[str, float], switches: Mapping[str, bool]) -> dict[str, Any]:
    """Return settings as an update takes them, numbers that are not 0 as tensors of a stack."""
    values: dict[str, Any] = dict(switches)
    as_given = {
        name: torch.tensor([[value]], dtype=torch.float64) if value else 0.0
        for name, value in numbers.items()
    }
    for name, setting in optimizer.settings.items():
        if isinstance(setting.default, list):
            values[name] = tuple(as_given[f"{name}.{place}"] for place in range(len(setting.default)))
        elif name not in values:
            values[name] = as_given[name]
    return values


@pytest.mark.parametrize(("name", "switches", "zeros"), variants(every=True))
def test_an_optimizer_is_lowered_whatever_is_zero(
    name: str, switches: Mapping[str, bool], zeros: tuple[str, ...]
) -> None:
    text = templates.optimizer(optimizers[name], switches, zeros)
    settings = set(facts_of(text)["settings"])
    assert settings == set(columns_of(optimizers[name])) - set(zeros)


@pytest.mark.parametrize(("name", "switches", "zeros"), variants(every=False))
def test_an_optimizers_steps(name: str, switches: Mapping[str, bool], zeros: tuple[str, ...]) -> None:
    optimizer = optimizers[name]
    numbers = {column: 0.0 if column in zeros else value for column, value in columns_of(optimizer).items()}
    text = templates.optimizer(optimizer, switches, zeros)
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=77).astype(np.float32), rng.normal(size=(6, 77)).astype(np.float32)
    grads += np.sign(grads)  # none near 0, where a root of a small square is all rounding

    def stepped(precision: Any) -> tuple[Tensor, ...]:
        param, state = torch.tensor(start[None], dtype=precision), dict[str, Tensor]()
        for t, grad in enumerate(grads, 1):
            step = torch.tensor(grad[None], dtype=precision)
            optimizer.update(param, step, state, t, **given(optimizer, numbers, switches))
        return param[0], *(value[0] for value in state.values())

    exact, single = in_both(stepped)
    for dtype in ("float32", "float64"):
        # -O3 takes twice as long, mostly for steps of tiles, which are compiled so in the tests of tiles.
        compiled, w, states = Compiled(text, dtype, ("-O1",)), start.astype(dtype), list[Array]()
        for t, grad in enumerate(grads, 1):
            compiled.step_rows(w, grad.astype(dtype), states, t, numbers)
        assert set(compiled.facts["settings"]) == set(numbers) - set(zeros)
        for got, right, theirs in zip((w, *states), exact, single, strict=True):
            if name == "rmsprop" and switches.get("centered") and {"eps", "alpha"} & set(zeros):
                continue  # 0 over 0
            near(got, right, theirs, dtype)


def test_adams_scalars_are_taken_in_double_precision() -> None:
    compiled = Compiled(templates.optimizer(optimizers["adam"], {"amsgrad": False}, {"weight_decay"}))
    for t in (2, 1000, 10**6):
        scalars = compiled.scalars(t, {"lr": 1e-3, "betas.0": 0.9, "betas.1": 0.999, "eps": 1e-8})
        assert np.float32(1 - 0.999) in scalars
        rate = 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        assert np.isclose(scalars[:-1], rate, rtol=1e-7).any()


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("shifted", [False, True])
@TYPES
def test_tiles_step_as_rows_do(name: str, shifted: bool, dtype: str) -> None:
    optimizer = optimizers[name]
    switches = {key: False for key, s in optimizer.settings.items() if isinstance(s.default, bool)}
    numbers = columns_of(optimizer)
    compiled = Compiled(templates.optimizer(optimizer, switches, ()), dtype, ("-DLANES=8",))
    lanes, pixels, batch = 8, 13, 5
    for width in (1, 2, 4, 8):
        rng = np.random.default_rng(width)
        u = np.where(rng.random((batch, pixels)) < 0.4, rng.random((batch, pixels)), 0).astype(dtype)
        u[:, 3] = 0
        c = rng.random(pixels).astype(dtype)
        sums = rng.normal(size=(batch, width, lanes)).astype(dtype)
        w = rng.normal(size=(width, pixels, lanes)).astype(dtype)
        x = u + c if shifted else u
        full = np.einsum("bgl,bd->gdl", sums, x).astype(dtype)
        step = Tiles(compiled, w.copy(), sums, u, c if shifted else None)
        rows = [(w[g].reshape(-1).copy(), list[Array]()) for g in range(width)]
        for t in (1, 2, 3):
            scales = [1.0 + g for g in range(width)]  # a learning rate of each tile's own
            own = [{**numbers, "lr": 0.1 * scale} for scale in scales]
            moved = step.step(t, own)
            for g, (weights, states) in enumerate(rows):
                compiled.step_rows(weights, full[g].reshape(-1), states, t, own[g])
                got = step.w[g].reshape(-1)
                np.testing.assert_allclose(
                    got, weights, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-6
                )
            if shifted:
                np.testing.assert_allclose(moved, np.einsum("d,gdl->gl", c, step.w), rtol=1e-5, atol=1e-5)


def test_pixels_without_images_are_left_alone_where_that_is_allowed() -> None:
    optimizer = optimizers["momentum"]
    numbers = columns_of(optimizer) | {"weight_decay": 0.0}
    compiled = Compiled(templates.optimizer(optimizer, {}, {"weight_decay"}), flags=("-DLANES=8",))
    u = np.zeros((2, 3), np.float32)
    u[0, 1] = 1.0
    w, sums = np.ones((1, 3, 8), np.float32), np.ones((2, 1, 8), np.float32)
    step = Tiles(compiled, w, sums, u, None, occurs=np.array([1, 1, 0], np.uint8))
    step.step(1, [numbers])
    assert (step.states[0][0, 0] == 0).all(), "it occurs, so that its state is made"
    assert np.isnan(step.states[0][0, 2]).all(), "it never occurs: nothing is read or written"
    assert (w[0, [0, 2]] == 1).all()
    assert (w[0, 1] != 1).all()


class Tiles:
    """Tiles of weights (width, d, LANES) that a compiled optimizer steps by a turned batch."""

    def __init__(
        self,
        compiled: Compiled,
        w: Array,
        sums: Array,
        u: Array,
        c: Array | None,
        occurs: Array | None = None,
    ) -> None:
        self.compiled, self.w, self.sums, self.c, self.occurs = compiled, w, sums, c, occurs
        self.states = [np.full_like(w, np.nan) for _ in compiled.facts["states"]]
        places = [np.flatnonzero(column) for column in u.T]
        self.start = np.cumsum([0, *map(len, places)]).astype(np.int32)
        self.sample = np.concatenate(places).astype(np.int32)
        self.value = np.concatenate([column[place] for column, place in zip(u.T, places, strict=True)])
        self.total = np.ascontiguousarray(sums.sum(0))
        self.moved = np.full_like(self.total, np.nan)

    def step(self, t: int, numbers: list[dict[str, float]]) -> Array:
        scalars = [self.compiled.scalars(t, own) for own in numbers]
        k = TilesStep()
        k.w, k.sums, k.c, k.total, k.moved, k.occurs = map(
            at, (self.w, self.sums, self.c, self.total, self.moved, self.occurs)
        )
        for place, state in enumerate(self.states):
            k.state[place] = state.ctypes.data
        for place, own in enumerate(scalars):
            k.scalars[place] = own.ctypes.data
        k.d, k.width, k.first = self.w.shape[1], self.w.shape[0], t == 1
        batch = Turned(at(self.start), at(self.sample), at(self.value))
        self.compiled.library.step_tiles(ctypes.byref(k), batch)
        return self.moved


def test_a_text_is_the_same_each_time() -> None:
    assert templates.optimizer(optimizers["adam"], {"amsgrad": True}, ()) == templates.optimizer(
        optimizers["adam"], {"amsgrad": True}, ()
    )
