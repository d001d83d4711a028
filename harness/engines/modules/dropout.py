"""Dropout of a stack of modules: each member leaves out what it leaves out alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.engines.base import uniforms
from harness.engines.members import SeedIndex
from harness.engines.regularisation import CHANNELS, drawn_as
from harness.rng import StreamSeed


class ModuleMasks:
    """The dropout modules of K networks of one form, which may differ in their shares.

    What is drawn depends on a seed, a module's number and the step, as in the loop engine. Multiplying mixes
    no members, and leaves a NaN where it is.
    """

    def __init__(self, nets: Sequence[nn.Module], seeds: Sequence[StreamSeed], like: Tensor) -> None:
        """Take the shares of members' networks; `like` has the device and type of their images."""
        self.seeds = SeedIndex.of(seeds)
        self.of_member = torch.tensor(self.seeds.of_member, device=like.device)
        named = [list(_dropouts(net)) for net in nets]
        self.layers = {name: layer for layer, (name, _) in enumerate(named[0])}
        self.shares, self.scales = {}, {}
        for layer, (name, _) in enumerate(named[0]):
            shares = [float(member[layer][1].p) for member in named]
            shares = shares[:1] if len(set(shares)) == 1 else shares
            # Compared as float32 in every engine, whatever they train in: that is what is drawn.
            self.shares[name] = torch.tensor(shares, dtype=torch.float32, device=like.device)[:, None, None]
            scales = [1 / (1 - share) if share < 1 else 0.0 for share in shares]
            self.scales[name] = torch.tensor(scales, dtype=like.dtype, device=like.device)[:, None, None]
        self.begin(0)

    def begin(self, step: int) -> None:
        """Begin a step."""
        self.step, self.uses = step, dict.fromkeys(self.layers, 0)

    def __call__(self, name: str, x: Tensor, *, channels: bool) -> Tensor:
        """Leave out some values of (K, B, ..), or whole channels, in the dropout module of this name."""
        shape = x.shape[1:3] if channels else x.shape[1:]
        layer = drawn_as(self.layers[name], self.uses[name])
        self.uses[name] += 1
        width = math.prod(shape[1:])
        drawn = [uniforms(seed, layer, self.step, width, shape[0]) for seed in self.seeds.seeds]
        u = torch.stack([torch.from_numpy(each) for each in drawn]).to(x.device)
        if len(u) > 1:
            u = u.index_select(0, self.of_member)
        stays = torch.ge(u, self.shares[name]).to(x.dtype).mul_(self.scales[name])
        mask = stays.mT.reshape(-1, *shape)
        return x * mask.view(*mask.shape, *[1] * (x.dim() - mask.dim()))


def _dropouts(net: nn.Module) -> list[tuple[str, Any]]:
    """List a network's dropout modules, numbered as `regularisation.seed_dropout` numbers them."""
    return [
        (name, module) for name, module in net.named_modules() if isinstance(module, (nn.Dropout, *CHANNELS))
    ]
