"""Dropout and label smoothing in PyTorch: what the stacked and the loop engine do while training alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.engines.base import uniforms
from harness.engines.members import SeedIndex
from harness.rng import StreamSeed
from harness.settings import limits
from harness.study.trials import Trial


class SharedUniforms:
    """`uniforms` for the blocks of a stack: drawn once a step, where a narrower block has the first rows."""

    def __init__(self, shapes: Sequence[Sequence[int]]) -> None:
        """Prepare for blocks whose hidden layers have these widths."""
        self.widest = [max(layer) for layer in itertools.zip_longest(*shapes, fillvalue=0)]
        self.step = 0
        self.drawn: dict[tuple[StreamSeed, int], NDArray[np.float32]] = {}

    def __call__(
        self, seed: StreamSeed, layer: int, step: int, width: int, batch: int
    ) -> NDArray[np.float32]:
        """Draw as `uniforms`."""
        if step != self.step:
            self.step, self.drawn = step, {}
        if (seed, layer) not in self.drawn:
            self.drawn[seed, layer] = uniforms(seed, layer, step, self.widest[layer], batch)
        return self.drawn[seed, layer][:width]


class Masks:
    """The dropout of a stack: at each step a mask a hidden layer, by which its activations are multiplied.

    A mask is 0 where a unit is left out and 1 / (1 - p) where it stays; members without dropout have ones.
    Multiplying mixes no members, and leaves a NaN where it is.

    Source: Srivastava et al. 2014, "Dropout", inverted as in torch.nn.Dropout.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        widths: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        draw: Callable[..., NDArray[np.float32]] = uniforms,
    ) -> None:
        """Prepare the masks of trials whose hidden layers have these widths.

        `draw` is `uniforms`, or shares its numbers with others.
        """
        self.draw = draw
        shares = [trial.arm.settings.dropout for trial in trials]
        self.widths = widths if any(shares) else []
        self.seeds = SeedIndex.of(trial.step_seed for trial in trials)
        self.of_member = torch.tensor(self.seeds.of_member, device=device)
        if len(set(shares)) == 1:
            shares = shares[:1]
        # Compared as float32 in every engine, whatever they train in: that is what is drawn.
        self.shares = torch.tensor(shares, dtype=torch.float32, device=device)[:, None, None]
        scales = [1 / (1 - share) for share in shares]
        self.scales = torch.tensor(scales, dtype=dtype, device=device)[:, None, None]

    def at(self, step: int, batch: int) -> list[Tensor]:
        """Return the masks of a step's batch, layer by layer: (K, h, B), or (1, h, B) where all share one.

        The list is empty where no member has dropout.
        """
        return [self._mask(layer, step, width, batch) for layer, width in enumerate(self.widths)]

    def _mask(self, layer: int, step: int, width: int, batch: int) -> Tensor:
        drawn = [torch.from_numpy(self.draw(seed, layer, step, width, batch)) for seed in self.seeds.seeds]
        u = drawn[0][None] if len(drawn) == 1 else torch.stack(drawn)
        return self.of(u.to(self.shares.device))

    def of(self, u: Tensor) -> Tensor:
        """Return the mask (K, h, B), or (1, h, B), of a layer's uniform numbers (S, h, B), by seed."""
        if len(u) > 1:
            u = u.index_select(0, self.of_member)
        mask = self.scales.new_empty(max(len(u), len(self.shares)), *u.shape[1:])
        # Straight into floats: through a mask of booleans it takes seven times as long.
        return torch.ge(u, self.shares, out=mask).mul_(self.scales)


class SeededDropout(nn.Module):
    """A dropout module for the loop engine: what it leaves out at `step` is drawn from the trial's stream.

    One that a network uses several times a step draws each time: `use` counts from 0. With `channels` whole
    channels of (B, C, ..) are left out, as by torch.nn.Dropout2d; else single values.
    """

    def __init__(self, p: float, seed: StreamSeed, layer: int, *, channels: bool = False) -> None:
        super().__init__()
        self.p, self.seed, self.layer, self.channels = p, seed, layer, channels
        self.begin(0)

    def begin(self, step: int) -> None:
        """Begin a step."""
        self.step, self.use = step, 0

    def forward(self, x: Tensor) -> Tensor:
        """Leave out some of the activations (B, ..); none in inference mode."""
        if not self.training:
            return x
        shape = x.shape[:2] if self.channels else x.shape
        layer, width = drawn_as(self.layer, self.use), math.prod(shape[1:])
        self.use += 1
        u = uniforms(self.seed, layer, self.step, width, len(x)).T
        stays = torch.from_numpy(u >= np.float32(self.p)).view(*shape, *[1] * (x.dim() - len(shape)))
        return x * stays.to(x.device, x.dtype).mul_(1 / (1 - self.p)) if self.p < 1 else x * 0

    def extra_repr(self) -> str:
        """Return the share, for print(model)."""
        return f"p={self.p}{', channels' if self.channels else ''}"


CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Modules that leave out whole channels."""


def drawn_as(layer: int, use: int) -> int:
    """Number the draws of a dropout module that is used several times a step among those of layers."""
    return layer + limits.LAYERS * use


def seed_dropout(net: nn.Module, trial: Trial) -> list[SeededDropout]:
    """Replace each dropout module of a network by one of the trial's own stream; return the new modules.

    They are numbered in the order of the network's modules. What a network leaves out without a module, and
    torch.nn.AlphaDropout, still draws from torch's own generator.
    """
    plain = [
        (name, module) for name, module in net.named_modules() if isinstance(module, (nn.Dropout, *CHANNELS))
    ]
    seeded = [
        SeededDropout(module.p, trial.step_seed, layer, channels=isinstance(module, CHANNELS))
        for layer, (_, module) in enumerate(plain)
    ]
    for (name, _), module in zip(plain, seeded, strict=True):
        net.set_submodule(name, module)
    return seeded


@dataclass(frozen=True)
class Smoothing:
    """Label smoothing s of k members over C classes: the target t becomes (1 - s) t + s / C.

    `keep` is 1 - s and `spread` s / C: floats where all members agree, else (k, 1, 1).

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", as torch.nn.CrossEntropyLoss.
    """

    keep: float | Tensor
    spread: float | Tensor

    def __call__(self, target: Tensor) -> Tensor:
        """Smooth a target; return (B, C) or (k, B, C)."""
        return target * self.keep + self.spread


def smoothing(
    trials: Sequence[Trial], classes: int, device: torch.device, dtype: torch.dtype
) -> Smoothing | None:
    """Return the label smoothing of some trials; None where no trial has any."""
    shares = [trial.arm.settings.label_smoothing for trial in trials]
    if not any(shares):
        return None
    keep, spread = [1 - share for share in shares], [share / classes for share in shares]
    if len(set(shares)) == 1:
        return Smoothing(keep[0], spread[0])
    tensors = torch.tensor([keep, spread], dtype=dtype, device=device)[..., None, None]
    return Smoothing(tensors[0], tensors[1])
