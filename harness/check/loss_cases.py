"""Cases that a loss is tried on: batches of outputs and labels, worked values, and the right answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.axes import probes
from harness.axes.heads import Kind
from harness.axes.losses import losses
from harness.check.calling import Array
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10  # as of MNIST: a number that a person may have written into a function
BATCHES = (12, 7)
WORKED = np.array([[0.3, 0.2, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]])
"""Outputs whose losses are known by hand; the third class is true of the first, the first of the second."""


@dataclass(frozen=True, eq=False)
class LossCase:
    """A batch: outputs f (B, C) of one kind and labels y (B,)."""

    f: Array
    y: Array

    @property
    def size(self) -> tuple[int, int]:
        """B and C."""
        return self.f.shape[0], self.f.shape[1]

    @property
    def one_hot(self) -> Array:
        """The labels as rows (B, C), 1 at the true class."""
        return np.eye(self.size[1])[self.y]

    def target(self, labels: str) -> Array:
        """The labels as a function takes them: "one-hot" rows (B, C), or "int" (B,)."""
        return self.y if labels == "int" else self.one_hot


def cases(like: str, kind: Kind) -> list[LossCase]:
    """Make batches of random outputs of a kind, uniform ones, and the worked ones, the last."""
    made = []
    for seed, samples in enumerate(BATCHES):
        z = 2 * probes.noise(samples, CLASSES, seed=seed)
        z[-1] = 0  # whose losses are known, too
        y = np.random.default_rng(seed).integers(CLASSES, size=samples)
        made.append(LossCase(probes.like_output(kind, z).numpy(), y))
    logarithms = kind == "log_probabilities" or (kind == "logits" and like in ("ce", "nll"))
    made.append(LossCase(np.log(WORKED) if logarithms else WORKED, np.array([2, 0])))
    return made


@dataclass(frozen=True)
class RightLoss:
    """A registered loss on one kind of output, in float64: its values (B,), and its gradient (B, C)."""

    name: str
    kind: Kind
    settings: Mapping[str, float]

    def _tensors(self) -> dict[str, Tensor]:
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in self.settings.items()}

    def values(self, f: Array, target: Array) -> Array:
        """Return the loss of each sample; targets are one-hot or smoothed rows."""
        form = losses[self.name].forms[self.kind]
        with torch.no_grad():
            given = torch.from_numpy(np.array(f)), torch.from_numpy(np.array(target))
            values: Array = form.forward(*given, **self._tensors()).numpy()
        return values

    def gradient(self, f: Array, target: Array) -> Array:
        """Return the derivative of each sample's loss by its outputs, by autograd."""
        form, leaf = losses[self.name].forms[self.kind], torch.from_numpy(np.array(f)).requires_grad_()
        form.forward(leaf, torch.from_numpy(np.array(target)), **self._tensors()).sum().backward()
        gradient: Array = leaf.grad.numpy() if leaf.grad is not None else np.zeros_like(f)
        return gradient


def default_settings(like: str, given: Mapping[str, float]) -> dict[str, float]:
    """Return the settings of a loss: the given ones, and defaults for ten classes."""
    loss = losses[like]
    defaults: dict[str, Any] = {name: loss.default_of(name, CLASSES) for name in loss.settings}
    return {**defaults, **given}


def of_torch(like: str, kind: Kind) -> tuple[str, Callable[[Array, LossCase], Array]] | None:
    """Return torch's own function of the same loss, and its name, if there is one."""
    functional: Any = torch.nn.functional
    mean_square = functools.partial(functional.mse_loss, reduction="none")
    table: dict[tuple[str, str], tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
        ("ce", "logits"): (
            "torch.nn.functional.cross_entropy",
            lambda f, y, _t: functional.cross_entropy(f, y, reduction="none"),
        ),
        ("ce", "probabilities"): (
            "torch.nn.functional.nll_loss of the logarithm",
            lambda f, y, _t: functional.nll_loss(f.log(), y, reduction="none"),
        ),
        ("nll", "log_probabilities"): (
            "torch.nn.functional.nll_loss",
            lambda f, y, _t: functional.nll_loss(f, y, reduction="none"),
        ),
        ("mse", "any"): ("torch.nn.functional.mse_loss", lambda f, _y, t: mean_square(f, t).mean(-1)),
        ("ql", "any"): (
            "torch.nn.functional.mse_loss, summed and halved",
            lambda f, _y, t: mean_square(f, t).sum(-1) / 2,
        ),
    }  # fmt: skip
    chosen = table.get((like, kind)) or (table.get((like, "any")) if kind != "log_probabilities" else None)
    if chosen is None:
        return None
    name, function = chosen

    def values(f: Array, case: LossCase) -> Array:
        tensors = (torch.from_numpy(np.array(x)) for x in (f, case.y, case.one_hot))
        answer: Array = function(*tensors).numpy()
        return answer

    return name, values


def reduced(values: Array, reduction: str) -> Array:
    """Reduce losses (B,) as a person's function does: "none", "mean" or "sum"."""
    if reduction == "none":
        return values
    return np.asarray(values.mean() if reduction == "mean" else values.sum())


def sizes(batches: Sequence[LossCase]) -> list[tuple[int, int]]:
    """Return B and C of each batch."""
    return [case.size for case in batches]
