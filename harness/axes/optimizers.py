"""Optimizers: one step of many trials at once, in place.

An optimizer is a function `update(param, grad, state, t, *, lr, ...)`:

- `param` and `grad` (k, n): a row is one trial's parameters. `grad` may be overwritten.
- `state`: what the optimizer keeps between steps, a dict of tensors like `param`; empty at first.
- `t`: the number of this step, from 1: an int; on a GPU a float64 tensor (), because a step is recorded once
  there and replayed. An optimizer that needs an int (`if t == 1:`), or that puts a new tensor into `state` at
  each step where it could change the one that is there, is not replayed, and slower there: the run says so.
- keyword-only parameters are its settings, with their defaults: a float where all k trials agree, else a
  float64 tensor (k, 1). Do small arithmetic on them as they come and `cast` the result to param's type.

It must treat every element by itself. One that does not (norms over a whole tensor) is registered with
`stackable=False` and sees one parameter tensor of one trial at a time, in its natural shape; the
harness also finds such optimizers out by trying. Update rules follow torch.optim, and `torch_class` names the
class each is tested against and trained with in the loop engine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from harness.registry import Registry
from harness.settings import Setting, Value, check_declared, declared
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Scalar: TypeAlias = "float | Tensor"
Count: TypeAlias = "int | Tensor"
State: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True)
class Optimizer:
    """A registered optimizer.

    Args:
        name: its name.
        update: see the module's docstring.
        torch_class: the class in torch.optim that does the same, if there is one.
        torch_settings: fixed arguments of that class.
        torch_differs: switches that make that class compute otherwise: it is not trained with then.
        stackable: whether it treats every element by itself.
        linear: whether, without weight decay, it is `param -= lr * grad` and nothing else, so that a
            stack may accumulate the step straight into the weights.
    """

    name: str
    update: Callable[..., None]
    torch_class: str | None = None
    torch_settings: Mapping[str, Value] = field(default_factory=dict)
    torch_differs: tuple[str, ...] = ()
    stackable: bool = True
    linear: bool = False

    def __post_init__(self) -> None:
        check_declared(self.update)
        lr = self.settings["lr"].default if "lr" in self.settings else None
        if lr is None or isinstance(lr, (bool, str, list)) or not 0 < lr < math.inf:
            raise TypeError(
                "it needs a setting lr with a default above 0: def update(param, grad, state, t, *, lr=0.1)"
            )

    @functools.cached_property  # to read a signature takes longer than all that is done with it
    def settings(self) -> dict[str, Setting]:
        """Its settings, lr first."""
        return declared(self.update)

    def switches(self, settings: Mapping[str, Value]) -> tuple[str, ...]:
        """Return its settings that are not numbers: members of a stack share them to be updated together."""
        return tuple(str(settings[name]) for name in self.settings if isinstance(settings[name], (bool, str)))

    def zeros(self, settings: Mapping[str, Value]) -> tuple[str, ...]:
        """Return its settings that are 0, "betas.0" of a pair: compiled, their terms are left out."""
        zeros = []
        for name in self.settings:
            value = settings[name]
            if isinstance(value, (list, tuple)):
                zeros += [f"{name}.{place}" for place, part in enumerate(value) if part == 0]
            elif name != "lr" and not isinstance(value, (bool, str)) and value == 0:
                zeros.append(name)  # the rate may be 0 at one step and not at another
        return tuple(zeros)


optimizers: Registry[Optimizer] = Registry("optimizer", Optimizer)


def cast(value: Scalar, like: Tensor) -> Scalar:
    """Convert a setting, or arithmetic on settings, to the parameters' type."""
    return value if isinstance(value, (int, float)) else value.to(like.dtype)


def is_zero(value: Scalar) -> bool:
    """Return whether a setting is 0 in all trials of the stack."""
    return isinstance(value, (int, float)) and value == 0


def slot(state: State, name: str, like: Tensor, start: Scalar = 0.0) -> Tensor:
    """Return the state called `name`, made at first use with the value `start`."""
    if name not in state:
        state[name] = torch.zeros_like(like).add_(cast(start, like))
    return state[name]


def descend(param: Tensor, direction: Tensor, rate: Scalar) -> None:
    """Descend: param -= rate * direction."""
    if isinstance(rate, (int, float)):
        param.add_(direction, alpha=-rate)
    else:
        param.sub_(direction * rate.to(param.dtype))


def decay_into(grad: Tensor, param: Tensor, weight_decay: Scalar) -> None:
    """Add the gradient of the L2 penalty: grad += weight_decay * param."""
    if isinstance(weight_decay, (int, float)):
        if weight_decay:
            grad.add_(param, alpha=weight_decay)
    else:
        grad.add_(param * cast(weight_decay, param))


@optimizers.register("sgd", torch_class="SGD", linear=True)
def sgd(
    param: Tensor, grad: Tensor, _state: State, _t: Count, *, lr: Scalar = 0.1, weight_decay: Scalar = 0.0
) -> None:
    """Gradient descent, nothing else: p -= lr g."""
    decay_into(grad, param, weight_decay)
    descend(param, grad, lr)


def _velocity(grad: Tensor, state: State, t: Count, momentum: Scalar, dampening: Scalar) -> Tensor:
    """Update buf = momentum buf + (1 - dampening) g; as in torch, the first step is not dampened."""
    buf = slot(state, "velocity", grad).mul_(cast(momentum, grad))
    if is_zero(dampening):
        return buf.add_(grad)
    later = 1 - 0.0 ** (t - 1)  # 0 at the first step, 1 ever after
    return buf.add_(grad * cast(1 - dampening * later, grad))


@optimizers.register("momentum", torch_class="SGD")
def momentum(
    param: Tensor, grad: Tensor, state: State, t: Count, *,
    lr: Scalar = 0.02, momentum: Scalar = 0.9, dampening: Scalar = 0.0, weight_decay: Scalar = 0.0,
) -> None:  # fmt: skip
    """Heavy ball (Polyak 1964): p -= lr v, v = momentum v + g."""
    decay_into(grad, param, weight_decay)
    velocity = _velocity(grad, state, t, momentum, dampening)
    descend(param, velocity, lr)


@optimizers.register("nesterov", torch_class="SGD", torch_settings={"nesterov": True})
def nesterov(
    param: Tensor, grad: Tensor, state: State, t: Count, *,
    lr: Scalar = 0.02, momentum: Scalar = 0.9, weight_decay: Scalar = 0.0,
) -> None:  # fmt: skip
    """Nesterov's momentum as Sutskever et al. (2013) write it: p -= lr (g + momentum v)."""
    decay_into(grad, param, weight_decay)
    velocity = _velocity(grad, state, t, momentum, 0.0)
    descend(param, grad.add_(velocity * cast(momentum, param)), lr)


@optimizers.register("rmsprop", torch_class="RMSprop", torch_differs=("centered",))
def rmsprop(
    param: Tensor, grad: Tensor, state: State, _t: Count, *,
    lr: Scalar = 1e-3, alpha: Scalar = 0.99, eps: Scalar = 1e-8, momentum: Scalar = 0.0,
    centered: bool = False, weight_decay: Scalar = 0.0,
) -> None:  # fmt: skip
    """The gradient over the root of its running mean square (Hinton 2012; centered: Graves 2013)."""
    decay_into(grad, param, weight_decay)
    keep = cast(1 - alpha, param)
    square = slot(state, "square", param).mul_(cast(alpha, param))
    square.add_((grad * grad).mul_(keep))
    if centered:
        mean = slot(state, "mean", param).mul_(cast(alpha, param)).add_(grad * keep)
        # A variance that rounding has made negative is 0; of torch's class it is NaN.
        root = (square - mean * mean).clamp_(min=0).sqrt_()
    else:
        root = square.sqrt()
    grad.div_(root.add_(cast(eps, param)))
    if not is_zero(momentum):
        grad = slot(state, "velocity", param).mul_(cast(momentum, param)).add_(grad)
    descend(param, grad, lr)


@dataclass(frozen=True)
class _Adam:
    """Adam or AdamW: `decoupled` weight decay shrinks parameters, the other kind adds to gradients."""

    lr: Scalar
    betas: tuple[Scalar, Scalar]
    eps: Scalar
    weight_decay: Scalar
    amsgrad: bool
    decoupled: bool

    def step(self, param: Tensor, grad: Tensor, state: State, t: Count) -> None:
        """Take step t in place, in one pass where the trials of the stack agree on the settings."""
        shared = _agree(*self.betas, self.eps) and not self.amsgrad and isinstance(t, (int, torch.Tensor))
        if shared and _agree(self.lr, self.weight_decay):
            self._one_pass(param, grad, state, t)
            return
        if self.decoupled:
            param.mul_(cast(1 - self.lr * self.weight_decay, param))
        else:
            decay_into(grad, param, self.weight_decay)
        if shared:  # a step of length one, from zero, times each trial's own learning rate
            length = torch.zeros_like(param)
            unit = replace(self, lr=1.0, weight_decay=0.0, decoupled=False)
            unit._one_pass(length, grad, state, t)
            param.add_(length.mul_(cast(self.lr, param)))
        else:
            self._several_passes(param, grad, state, t)

    def _one_pass(self, param: Tensor, grad: Tensor, state: State, t: Count) -> None:
        """Take torch's own fused step, which is three times faster."""
        from torch.optim.adam import adam as fused_adam

        if isinstance(t, int):
            count = torch.full((), t - 1, dtype=torch.float32, device=param.device)
        else:
            count = (t - 1).to(torch.float32)
        mean, square = slot(state, "mean", param), slot(state, "square", param)
        fused_adam(
            [param], [grad], [mean], [square], [], [count], fused=True,
            decoupled_weight_decay=self.decoupled, amsgrad=False, maximize=False, lr=self.lr,
            beta1=float(self.betas[0]), beta2=float(self.betas[1]), eps=float(self.eps),
            weight_decay=float(self.weight_decay),
        )  # fmt: skip

    def _several_passes(self, param: Tensor, grad: Tensor, state: State, t: Count) -> None:
        """Take the step after weight decay.

        Bias corrections are folded into the step size and eps: fewer passes over (k, n), same value.
        """
        beta1, beta2 = self.betas
        mean = slot(state, "mean", param).mul_(cast(beta1, param)).add_(grad * cast(1 - beta1, param))
        square = slot(state, "square", param).mul_(cast(beta2, param))
        square.add_(grad.mul_(grad).mul_(cast(1 - beta2, param)))
        if self.amsgrad:
            largest = slot(state, "largest", param)
            square = torch.maximum(largest, square, out=largest)
        unbias2 = (1 - beta2**t) ** 0.5
        torch.sqrt(square, out=grad).add_(cast(self.eps * unbias2, param))
        descend(param, torch.div(mean, grad, out=grad), self.lr * unbias2 / (1 - beta1**t))


def _agree(*settings: Scalar) -> bool:
    return all(isinstance(setting, (int, float)) for setting in settings)


@optimizers.register("adam", torch_class="Adam")
def adam(
    param: Tensor, grad: Tensor, state: State, t: Count, *,
    lr: Scalar = 1e-3, betas: tuple[Scalar, Scalar] = (0.9, 0.999), eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0, amsgrad: bool = False,
) -> None:  # fmt: skip
    """Adam (Kingma & Ba 2015); amsgrad: Reddi et al. 2018."""
    _Adam(lr, betas, eps, weight_decay, amsgrad, decoupled=False).step(param, grad, state, t)


@optimizers.register("adamw", torch_class="AdamW")
def adamw(
    param: Tensor, grad: Tensor, state: State, t: Count, *,
    lr: Scalar = 1e-3, betas: tuple[Scalar, Scalar] = (0.9, 0.999), eps: Scalar = 1e-8,
    weight_decay: Scalar = 1e-2, amsgrad: bool = False,
) -> None:  # fmt: skip
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    _Adam(lr, betas, eps, weight_decay, amsgrad, decoupled=True).step(param, grad, state, t)


@optimizers.register("adagrad", torch_class="Adagrad")
def adagrad(
    param: Tensor, grad: Tensor, state: State, t: Count, *,
    lr: Scalar = 1e-2, lr_decay: Scalar = 0.0, eps: Scalar = 1e-10, initial_accumulator_value: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
) -> None:  # fmt: skip
    """The gradient over the root of the sum of its squares (Duchi et al. 2011)."""
    decay_into(grad, param, weight_decay)
    total = slot(state, "total", param, start=initial_accumulator_value).addcmul_(grad, grad)
    descend(param, grad.div_(total.sqrt().add_(cast(eps, param))), lr / (1 + (t - 1) * lr_decay))
