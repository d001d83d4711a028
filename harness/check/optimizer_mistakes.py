"""Mistakes in optimizers: a step that each makes, and what is said of it.

Steps are written as in `harness.axes.formulas`: (p, g, state, k, **settings) changes p in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from harness.axes import formulas
from harness.axes.formulas import Array, State, slot

Step = Callable[..., None]


@dataclass(frozen=True)
class OptimizerMistake:
    """A wrong step, and what is said of it."""

    words: str
    step: Step


@dataclass(frozen=True)
class AdamSteps:
    """Adam with one thing otherwise."""

    corrected: tuple[bool, bool] = (True, True)  # whether the means m and s are bias-corrected
    eps: Literal["outside", "inside", "uncorrected"] = "outside"
    decay: Literal["coupled", "decoupled", "whole"] = "coupled"
    late: int = 0  # added to the number of the step
    swapped: bool = False
    root: bool = True
    stored: bool = False  # the corrected means are kept in place of the means
    weighted: tuple[bool, bool] = (True, True)  # whether a new gradient has the weight 1 - beta
    largest: bool = True  # whether amsgrad is heeded

    def __call__(self, p: Array, g: Array, state: State, k: int, **settings: Any) -> None:
        """Take step k."""
        lr, decay = settings["lr"], settings["weight_decay"]
        b1, b2 = settings["betas"][::-1] if self.swapped else settings["betas"]
        p *= 1 - {"decoupled": lr * decay, "whole": decay}.get(self.decay, 0.0)
        g = g + decay * p if self.decay == "coupled" else g
        m, s = slot(state, "m", p), slot(state, "s", p)
        m *= b1
        m += (1 - b1 if self.weighted[0] else 1) * g
        s *= b2
        s += (1 - b2 if self.weighted[1] else 1) * g * g
        spread = s
        if settings["amsgrad"] and self.largest:
            largest = slot(state, "largest", p)
            spread = np.maximum(largest, s, out=largest)
        first = m / (1 - b1 ** (k + self.late)) if self.corrected[0] else m
        correction = 1 - b2 ** (k + self.late) if self.corrected[1] else 1
        p -= lr * first / self._divisor(spread, correction, settings["eps"])
        if self.stored:
            m[...], s[...] = first, spread / correction

    def _divisor(self, s: Array, correction: float, eps: float) -> Array:
        if not self.root:
            return np.asarray(s / correction + eps)
        if self.eps == "inside":
            return np.asarray(np.sqrt(s / correction + eps))
        if self.eps == "uncorrected":
            return np.asarray((np.sqrt(s) + eps) / np.sqrt(correction))
        return np.asarray(np.sqrt(s / correction) + eps)


def _of_adam(name: str) -> Iterator[OptimizerMistake]:
    right = AdamSteps(decay="decoupled" if name == "adamw" else "coupled")
    variants: list[tuple[str, dict[str, Any]]] = [
        ("without bias correction (m / (1 - beta1^t), s / (1 - beta2^t))", {"corrected": (False, False)}),
        ("without bias correction of the mean of squares, s / (1 - beta2^t)", {"corrected": (True, False)}),
        ("without bias correction of the mean, m / (1 - beta1^t)", {"corrected": (False, True)}),
        ("with the step counted one too high in the bias correction: t is 1 at the first step", {"late": 1}),
        ("with the step counted one too low in the bias correction: t is 1 at the first step", {"late": -1}),
        ("with eps inside the root, sqrt(s + eps): it is sqrt(s) + eps", {"eps": "inside"}),
        (
            "with eps added before the bias correction of s: it is sqrt(s / (1 - beta2^t)) + eps",
            {"eps": "uncorrected"},
        ),
        ("with the two betas exchanged", {"swapped": True}),
        ("without the square root: it divides by s", {"root": False}),
        ("with the corrected means stored: the correction is for the step alone", {"stored": True}),
        ("without the factor 1 - beta1 of the gradient", {"weighted": (False, True)}),
        ("without the factor 1 - beta2 of the squared gradient", {"weighted": (True, False)}),
        ("without the factors 1 - beta of the gradient and of its square", {"weighted": (False, False)}),
        ("without amsgrad: the largest s so far is not kept", {"largest": False}),
        ("with weight decay that is not times lr: p *= 1 - lr weight_decay", {"decay": "whole"}),
    ]  # fmt: skip
    decoupled = "with decoupled weight decay, as AdamW's: Adam adds weight_decay p to the gradient"
    coupled = "with weight decay added to the gradient, as Adam's: AdamW shrinks p by 1 - lr weight_decay"
    other = {"adam": (decoupled, "decoupled"), "adamw": (coupled, "coupled")}[name]
    variants.append((other[0], {"decay": other[1]}))
    for words, change in variants:
        yield OptimizerMistake(f"your {name} is ours {words}", replace(right, **change))


@dataclass(frozen=True)
class ScaledSteps:
    """RMSprop, or Adagrad where `total`, with one thing otherwise."""

    total: bool = False
    eps: Literal["outside", "inside"] = "outside"
    root: bool = True
    swapped: bool = False
    weighted: bool = True
    velocity: bool = True
    centred: bool = True
    late: bool = False  # the gradient is divided by the means before they are updated

    def __call__(self, p: Array, g: Array, state: State, k: int, **settings: Any) -> None:
        """Take step k."""
        lr, eps = settings["lr"], settings["eps"]
        g = g + settings["weight_decay"] * p
        before = state["s"].copy() if "s" in state else np.zeros_like(p)
        spread = self._spread(p, g, state, settings)
        spread = before if self.late else spread
        spread = np.maximum(spread, 0)
        if self.eps == "inside":
            direction = g / np.sqrt(spread + eps)
        else:
            direction = g / ((np.sqrt(spread) if self.root else spread) + eps)
        if settings.get("momentum") and self.velocity:
            v = slot(state, "v", p)
            v *= settings["momentum"]
            v += direction
            direction = v
        p -= lr / (1 + (k - 1) * settings.get("lr_decay", 0.0)) * direction

    def _spread(self, p: Array, g: Array, state: State, settings: dict[str, Any]) -> Array:
        """Update the mean of squares, or their sum, and give what the gradient is divided by the root of."""
        s = slot(state, "s", p, start=settings.get("initial_accumulator_value", 0.0))
        if self.total:
            s += g * g
            return s
        alpha = 1 - settings.get("alpha", 0.99) if self.swapped else settings.get("alpha", 0.99)
        s *= alpha
        s += (1 - alpha if self.weighted else 1) * g * g
        if not (settings.get("centered") and self.centred):
            return s
        m = slot(state, "m", p)
        m *= alpha
        m += (1 - alpha) * g
        return np.asarray(s - m * m)


def _of_rmsprop() -> Iterator[OptimizerMistake]:
    right = ScaledSteps()
    variants: list[tuple[str, dict[str, Any]]] = [
        ("with eps inside the root, sqrt(s + eps): it is sqrt(s) + eps", {"eps": "inside"}),
        ("without the square root: it divides by s", {"root": False}),
        ("with alpha and 1 - alpha exchanged: s = alpha s + (1 - alpha) g^2", {"swapped": True}),
        ("without the factor 1 - alpha of the squared gradient", {"weighted": False}),
        ("with a sum of squares in place of their running mean, as Adagrad's", {"total": True}),
        ("without momentum", {"velocity": False}),
        ("without centering", {"centred": False}),
        ("with the mean of squares before it is updated by this step's gradient", {"late": True}),
    ]
    for words, change in variants:
        yield OptimizerMistake(f"your rmsprop is ours {words}", replace(right, **change))


def _of_adagrad() -> Iterator[OptimizerMistake]:
    right = ScaledSteps(total=True)
    variants: list[tuple[str, dict[str, Any]]] = [
        ("with eps inside the root, sqrt(s + eps): it is sqrt(s) + eps", {"eps": "inside"}),
        ("without the square root: it divides by s", {"root": False}),
        ("with the sum of squares before this step's gradient is in it", {"late": True}),
    ]
    for words, change in variants:
        yield OptimizerMistake(f"your adagrad is ours {words}", replace(right, **change))


@dataclass(frozen=True)
class HeavySteps:
    """SGD with momentum, or Nesterov's where `ahead`, with one thing otherwise."""

    ahead: bool = False
    own_share: Literal["dampened", "whole", "rest"] = "dampened"  # the gradient's factor in the velocity
    first: bool = True  # whether the first step is exempt from dampening
    velocity: bool = True
    decay: Literal["coupled", "velocity-free"] = "coupled"
    sign: int = 1
    only: bool = False  # the look-ahead steps along the velocity's share alone

    def __call__(self, p: Array, g: Array, state: State, k: int, **settings: Any) -> None:
        """Take step k."""
        lr, momentum, decay = settings["lr"], settings["momentum"], settings["weight_decay"]
        shrunk = decay * p if self.decay == "velocity-free" else 0.0
        g = g + decay * p if self.decay == "coupled" else g
        share = {"whole": 1.0, "rest": 1 - momentum, "dampened": 1 - settings.get("dampening", 0.0)}
        v = slot(state, "v", p)
        v *= momentum * self.sign
        v += g * (1.0 if self.first and k == 1 and self.own_share != "rest" else share[self.own_share])
        direction = g + momentum * v if self.ahead else v
        direction = g if not self.velocity else direction
        direction = g + v if self.only else direction
        p -= lr * (direction + shrunk)


def _of_momentum(name: str) -> Iterator[OptimizerMistake]:
    right = HeavySteps(ahead=name == "nesterov")
    variants: list[tuple[str, dict[str, Any]]] = [
        ("without momentum: it is plain gradient descent", {"velocity": False}),
        (
            "with the gradient times 1 - momentum in the velocity (a running mean): it is v = momentum v + g",
            {"own_share": "rest"},
        ),
        ("with the velocity subtracted: v = momentum v + g", {"sign": -1}),
        (
            "with weight decay outside of the velocity: it is added to the gradient",
            {"decay": "velocity-free"},
        ),
    ]  # fmt: skip
    if name == "nesterov":
        variants += [
            ("without the look ahead: it is heavy-ball momentum", {"ahead": False}),
            ("with the velocity not times momentum: the step is g + momentum v", {"only": True}),
        ]
    else:
        variants += [
            ("with Nesterov's look ahead", {"ahead": True}),
            ("without dampening", {"own_share": "whole"}),
            ("with dampening at the first step, too: there v is the gradient", {"first": False}),
        ]
    for words, change in variants:
        yield OptimizerMistake(f"your {name} is ours {words}", replace(right, **change))


def _reversed(step: Step, p: Array, g: Array, state: State, k: int, **settings: Any) -> None:
    before = p.copy()
    step(p, g, state, k, **settings)
    p += 2 * (before - p)


def _forgetful(step: Step, p: Array, g: Array, _state: State, k: int, **settings: Any) -> None:
    step(p, g, {}, k, **settings)


def _without_decay(step: Step, p: Array, g: Array, state: State, k: int, **settings: Any) -> None:
    step(p, g, state, k, **{**settings, "weight_decay": 0.0})


def _of_any(name: str, step: Step) -> Iterator[OptimizerMistake]:
    yield OptimizerMistake(
        "it goes up: the sign is wrong, p -= lr * .. descends", functools.partial(_reversed, step)
    )
    yield OptimizerMistake(
        f"your {name} is ours without weight decay", functools.partial(_without_decay, step)
    )
    yield OptimizerMistake(
        "what it remembers is lost from step to step: keep it in `state`", functools.partial(_forgetful, step)
    )


def _of_sgd() -> Iterator[OptimizerMistake]:
    def whole(p: Array, g: Array, _state: State, _k: int, *, lr: float, weight_decay: float) -> None:
        p *= 1 - weight_decay
        p -= lr * g

    def half(p: Array, g: Array, _state: State, _k: int, *, lr: float, weight_decay: float) -> None:
        p -= lr * (g + 2 * weight_decay * p)

    def sign(p: Array, g: Array, _state: State, _k: int, *, lr: float, weight_decay: float) -> None:
        p -= lr * (g + weight_decay * np.sign(p))

    def without_rate(p: Array, g: Array, _state: State, _k: int, *, lr: float, weight_decay: float) -> None:
        del lr
        p -= g + weight_decay * p

    yield OptimizerMistake("your sgd is ours with weight decay that is not times lr", whole)
    yield OptimizerMistake(
        "your sgd is ours with twice the weight decay: the gradient of w/2 p^2 is w p", half
    )
    yield OptimizerMistake(
        "your sgd is ours with an L1 penalty (the sign of p): weight decay adds w p to the gradient", sign
    )
    yield OptimizerMistake("your sgd is ours without the learning rate: p -= lr * grad", without_rate)


def optimizer_mistakes(name: str, step: Step) -> list[OptimizerMistake]:
    """List the mistakes that are known of an optimizer, the most telling first."""
    of_name: dict[str, Callable[[], Iterator[OptimizerMistake]]] = {
        "adam": lambda: _of_adam("adam"), "adamw": lambda: _of_adam("adamw"), "rmsprop": _of_rmsprop,
        "adagrad": _of_adagrad, "momentum": lambda: _of_momentum("momentum"),
        "nesterov": lambda: _of_momentum("nesterov"), "sgd": _of_sgd,
    }  # fmt: skip
    own = list(of_name[name]()) if name in of_name else []
    return [*own, *_of_any(name, step), *_others(name)]


def _others(name: str) -> Iterator[OptimizerMistake]:
    """Yield the harness's other optimizers, with settings as given where they have them."""
    from harness.axes.optimizers import optimizers

    for other, step in formulas.OPTIMIZERS.items():
        if other == name:
            continue
        defaults = {
            key: tuple(s.default) if isinstance(s.default, list) else s.default
            for key, s in optimizers[other].settings.items()
        }
        yield OptimizerMistake(
            f"these are the steps of {other}", functools.partial(_as_other, step, defaults)
        )


def _as_other(
    step: Step, defaults: dict[str, Any], p: Array, g: Array, state: State, k: int, **settings: Any
) -> None:
    step(p, g, state, k, **{**defaults, **{key: settings[key] for key in defaults if key in settings}})
