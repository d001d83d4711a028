"""Networks under torch.func.vmap: for those that cannot be rewritten layer by layer.

Layers that are known here are computed for all members at once, as in a stacked form, and not as vmap would:
it makes one grouped convolution of K, which trains slowly.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from harness.axes.stacked_layers import layers
from harness.axes.stacked_layers.form import canonical_names
from harness.axes.stacked_layers.graphs import MemberActivation
from harness.axes.stacked_layers.layers import Pass

KNOWN = (
    MemberActivation, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
)  # fmt: skip
"""Layers in which members differ, or with which vmap is slow."""


class MappedForm:
    """A network's forward for K members by vmap, in training or inference mode.

    Args:
        net: one member's network, whose values are never read.
        training: the mode.
        shared: whether all members see the same pixels.
    """

    def __init__(self, net: nn.Module, *, training: bool, shared: bool) -> None:
        self.now = _Now()
        self.net = copy.deepcopy(net).train(training)
        for name, module in list(self.net.named_modules()):
            if type(module) in KNOWN and name:
                self.net.set_submodule(name, _OfAllMembers(module, name, self.now))
        self.own = self._names(canonical_names(net))
        self.in_dims = (0, 0, None if shared else 0)

    def _names(self, first: dict[str, str]) -> dict[str, str]:
        """Map each place of a parameter or buffer, once, to the first name of what is there.

        Ties are written out: a module that is registered twice would make PyTorch put its values there twice,
        and leave them behind, so that the next call finds a tie no more.
        """
        places = [
            f"{prefix}.{kind}".removeprefix(".")
            for prefix, module in self.net.named_modules()
            for kind, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        ]
        return {name: first[name] for name in places}

    def __call__(self, done: Pass, x: Tensor) -> Tensor:
        """Compute logits (K, B, C) of pixels (B, ..), which all members share, or (K, B, ..)."""
        self.now.done = done
        mapped = torch.func.vmap(self._member, self.in_dims, randomness="error")
        try:
            logits: Tensor = mapped(dict(done.values), x.new_empty(done.members), x)
        finally:
            self.now.done = self.now.token = None
        return logits

    def _member(self, values: dict[str, Tensor], token: Tensor, x: Tensor) -> Any:
        self.now.token = token
        placed = {name: values[first] for name, first in self.own.items()}
        return torch.func.functional_call(self.net, placed, (x,), tie_weights=False)


class _Now:
    """The pass that is going on, and a tensor of which each member has a part: with it, vmap sees a layer."""

    done: Pass | None = None
    token: Tensor | None = None


class _OfAllMembers(nn.Module):
    """A layer that is computed for all members at once, inside vmap; its values have the layer's names."""

    def __init__(self, module: nn.Module, name: str, now: _Now) -> None:
        super().__init__()
        self.layer, self.layer_name, self.now = layers.LAYERS[type(module)], name, now
        self.of = [module]  # a list, so that what it has is not this module's
        for kind, parameter in module.named_parameters(recurse=False):
            self.register_parameter(kind, parameter)
        for kind, buffer in module.named_buffers(recurse=False):
            self.register_buffer(kind, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer's output, for one member as its code sees it, and so for all."""
        apply: Any = _AllMembers.apply
        result: Tensor = apply(self, self.now.token, x)
        return result

    def together(self, x: Tensor, members: int) -> Tensor:
        """Compute the outputs (K, B, ..) of (K, B, ..), or of (1, B, ..) of all."""
        (module,) = self.of
        assert self.now.done is not None  # noqa: S101 (a pass is going on)
        if type(module) not in layers.OF_SHARED:
            x = x.expand(members, *x.shape[1:])
        return self.layer(self.now.done, module, self.layer_name, x)


class _AllMembers(torch.autograd.Function):
    """A layer of all members, where vmap shows one."""

    @staticmethod
    def forward(layer: _OfAllMembers, token: Tensor, x: Tensor) -> Tensor:
        """Refuse: outside vmap there is one member."""
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: autograd sees what vmap's rule calls."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, layer: _OfAllMembers, _token: Tensor, x: Tensor) -> Any:
        """Give the layer the images of all members."""
        at = in_dims[2]
        return layer.together(x[None] if at is None else x.movedim(at, 0), info.batch_size), 0
