"""Checks of a person's own optimizer: its steps, and the variant that a mistake is."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.axes import formulas
from harness.axes.optimizers import optimizers
from harness.check import optimizer
from harness.check.optimizer_mistakes import AdamSteps, HeavySteps, ScaledSteps, optimizer_mistakes
from harness.check.optimizer_runs import problem_of
from harness.errors import UsageError

Array = NDArray[Any]
NAMES = [entry.name for entry in optimizers]


@pytest.mark.parametrize("name", NAMES)
def test_registered_optimizers_are_right_as_themselves(name: str) -> None:
    result = optimizer(name, name)
    assert result, result
    assert f"torch.optim.{optimizers[name].torch_class}" in result.compared[1]


@pytest.mark.parametrize("name", NAMES)
def test_torchs_classes_are_right(name: str) -> None:
    made = getattr(torch.optim, str(optimizers[name].torch_class))
    result = optimizer(functools.partial(made, **optimizers[name].torch_settings), name)
    assert result, result


def defaults(name: str) -> dict[str, Any]:
    settings = {key: setting.default for key, setting in optimizers[name].settings.items()}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("adam", AdamSteps()), ("adamw", AdamSteps(decay="decoupled")), ("rmsprop", ScaledSteps()),
        ("adagrad", ScaledSteps(total=True)), ("momentum", HeavySteps()),
        ("nesterov", HeavySteps(ahead=True)),
    ],
)  # fmt: skip
def test_variants_without_a_mistake_are_the_formula(name: str, step: Callable[..., None]) -> None:
    more = {
        "momentum": 0.8,
        "dampening": 0.3,
        "centered": True,
        "amsgrad": True,
        "weight_decay": 0.1,
        "lr_decay": 0.2,
    }
    settings = {**defaults(name), **{key: value for key, value in more.items() if key in defaults(name)}}
    problem = problem_of(settings)
    np.testing.assert_allclose(problem.by(step), problem.by(formulas.OPTIMIZERS[name]), rtol=1e-9)


VARIANTS = [
    (name, i) for name in NAMES for i, _ in enumerate(optimizer_mistakes(name, formulas.OPTIMIZERS[name]))
]


@pytest.mark.parametrize(("name", "which"), VARIANTS)
def test_each_known_mistake_is_told_from_the_right_steps_and_named(name: str, which: int) -> None:
    mistake = optimizer_mistakes(name, formulas.OPTIMIZERS[name])[which]

    def own(param: Array, grad: Array, state: Any, t: int, **settings: Any) -> None:
        mistake.step(param, grad, state, t, **settings)

    result = optimizer(own, name)
    if result:  # of an optimizer that remembers nothing, nothing is lost
        assert (name, mistake.words[:17]) == ("sgd", "what it remembers")
        return
    known = [one.words for one in optimizer_mistakes(name, formulas.OPTIMIZERS[name])]
    assert any(words in result.problems[0] for words in known), result


class OwnAdam:
    """Adam in NumPy, or the same with one mistake."""

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake

    def __call__(
        self, p: Array, g: Array, state: dict[str, Array], t: int, *,
        lr: float, beta1: float, beta2: float, epsilon: float, weight_decay: float = 0.0,
    ) -> Any:  # fmt: skip
        g = g + weight_decay * p
        m = beta1 * state.get("m", 0) + (1 - beta1) * g
        s = beta2 * state.get("s", 0) + (1 - beta2) * g * g
        state["m"], state["s"] = m, s
        if self.mistake != "bias":
            m, s = m / (1 - beta1**t), s / (1 - beta2**t)
        if self.mistake == "stored":
            state["m"], state["s"] = m, s
        step = lr * m / (np.sqrt(s + epsilon) if self.mistake == "eps" else np.sqrt(s) + epsilon)
        if self.mistake == "returned":
            return p - step
        if self.mistake == "lost":
            state.clear()
        if self.mistake == "forgotten":
            p = p - step
            return None
        p -= {"sign": -1, "half": 0.5}.get(self.mistake, 1) * step
        return None


def test_a_right_adam_in_numpy_passes_under_its_own_names_of_settings() -> None:
    result = optimizer(OwnAdam(), "adam")
    assert result, result
    assert "betas = (0.7, 0.9)" in result.compared[0]
    assert "no such setting: amsgrad" in result.notes[0]
    assert optimizer(OwnAdam("returned"), "adam").notes[-1].startswith("it returns new parameters")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("bias", r"your adam is ours without bias correction \(m / .*After step 1, a parameter that was"),
        ("stored", r"with the corrected means stored"),
        ("eps", r"with eps inside the root"),
        ("sign", r"it goes up: the sign is wrong"),
        ("half", r"the first step is exactly 0.5 times as long"),
        ("lost", r"what it remembers is lost from step to step"),
        ("forgotten", r"changes no parameter: it must change `param` in place"),
    ],
)
def test_a_mistake_gets_its_sentence(mistake: str, words: str) -> None:
    result = optimizer(OwnAdam(mistake), "adam")
    assert re.search(words, "; ".join(result.problems)), result


def test_adamw_is_not_adam() -> None:
    assert "with decoupled weight decay, as AdamW's" in optimizer(torch.optim.AdamW, "adam").problems[0]
    assert "with weight decay added to the gradient" in optimizer(torch.optim.Adam, "adamw").problems[0]


def running_mean(p: Tensor, g: Tensor, state: dict[str, Tensor], lr: float, momentum: float) -> None:
    state["v"] = momentum * state.get("v", torch.zeros_like(g)) + (1 - momentum) * g
    p.sub_(lr * state["v"])


def test_a_momentum_that_is_a_running_mean() -> None:
    assert "times 1 - momentum in the velocity" in optimizer(running_mean, "momentum").problems[0]


def test_memory_that_arrays_share_is_found() -> None:
    memory: dict[int, Array] = {}

    def own(p: Array, g: Array, lr: float, momentum: float) -> None:
        total = momentum * memory.get(0, np.zeros(1)).sum() + g
        memory[0] = total
        p -= lr * total

    assert (
        "change with another's: keep what is remembered in `state`" in optimizer(own, "momentum").problems[0]
    )


class OwnSGD:
    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params, self.lr = list(params), lr

    def step(self) -> None:
        with torch.no_grad():
            for p in self.params:
                p.sub_(self.lr * (0 if p.grad is None else p.grad))


def test_a_class_of_ones_own() -> None:
    assert optimizer(OwnSGD, "sgd", lr=0.3)
    assert "these are the steps of sgd" in optimizer(OwnSGD, "adam").problems[0]


def fails(p: Any, _g: Any, lr: float) -> None:
    p.missing(lr)


def in_single(p: Array, g: Array, lr: float) -> None:
    p -= (lr * g).astype(np.float32)


def test_single_precision_is_right() -> None:
    assert optimizer(in_single, "sgd").notes[-1].startswith("equal to single precision only")


@pytest.mark.parametrize(
    ("fn", "like", "how", "words"),
    [
        (
            fails,
            "sgd",
            {},
            r"raises AttributeError.*test_optimizer_checks\.py:\d+, at step 1, of param",
        ),
        (lambda _p: 3, "sgd", {}, r"gives int; allowed: an object with step\(\)"),
        (
            lambda p, g, t, lr: p.__isub__(lr * g / (1 - 0.9 ** (t - 1))),
            "sgd",
            {},
            r"are not finite from step 1 on",
        ),
    ],
)
def test_what_fails_is_a_problem(fn: Any, like: str, how: dict[str, Any], words: str) -> None:
    assert re.search(words, "; ".join(optimizer(fn, like, **how).problems))


@pytest.mark.parametrize(
    ("fn", "like", "how", "words"),
    [
        (OwnSGD, "sdg", {}, r"unknown optimizer 'sdg': did you mean 'sgd'"),
        (OwnSGD, "sgd", {"momentum": 0.9}, r"momentum is no setting of optimizer 'sgd'; allowed: lr"),
        (OwnSGD, "sgd", {"lr": -1}, r"lr = -1: allowed: greater than 0"),
        (OwnSGD, "sgd", {"weight_decay": 0.9}, r"OwnSGD has no parameter 'weight_decay'; it has: params, lr"),
        (3, "sgd", {}, r"fn = 3: allowed: a function update"),
        (OwnSGD, "sgd", {"lr": "a"}, r"lr = 'a': allowed: a valid number"),
        (OwnSGD, None, {}, r"unknown optimizer None"),
    ],
)
def test_wrong_use_is_refused(fn: Any, like: str, how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        optimizer(fn, like, **how)
