"""The values of a stack's networks: parameters and buffers of K members, by name and as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.axes.stacked_layers.form import canonical_names
from harness.engines.classifier import weight_names
from harness.engines.outcome import Floats


class MemberValues:
    """Parameters and buffers of K networks.

    `flat` (K, n) are the parameters that are trained, in the order of the network's; `by_name` has them and
    all other values as (K, ..), under the network's own names.
    """

    def __init__(self, nets: Sequence[nn.Module], device: torch.device, dtype: torch.dtype) -> None:
        """Start from members' networks."""
        first = nets[0]
        trained = [name for name, parameter in first.named_parameters() if parameter.requires_grad]
        states = [{**dict(net.named_parameters()), **dict(net.named_buffers())} for net in nets]
        first_names = canonical_names(first)
        self.saved = {name: first_names[own] for name, own in weight_names(first).items()}
        rows = [torch.cat([state[name].detach().reshape(-1) for name in trained]) for state in states]
        self.flat = torch.stack(rows).to(device, dtype)
        self.gradients = torch.zeros_like(self.flat)
        self.leaves = {
            name: view.detach().requires_grad_()
            for name, view in _views(self.flat, {name: states[0][name].shape for name in trained}).items()
        }
        self.into = _views(self.gradients, {name: leaf.shape[1:] for name, leaf in self.leaves.items()})
        others = {
            name: torch.stack([state[name].detach() for state in states])
            for name in states[0]
            if name not in self.leaves
        }
        self.others = {
            name: value.to(device, dtype if value.is_floating_point() else value.dtype)
            for name, value in others.items()
        }
        self.by_name: dict[str, Tensor] = {**self.leaves, **self.others}

    def gradient(self, logits: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient (K, n) of the parameters from that at logits; it is overwritten next time."""
        found = torch.autograd.grad(logits, list(self.leaves.values()), grad, allow_unused=True)
        for into, gradient in zip(self.into.values(), found, strict=True):
            if gradient is not None:
                into.copy_(gradient)
        return self.gradients

    def of_members(self) -> list[dict[str, Floats]]:
        """Return each member's values that a network's state_dict has, named by `weight_names`."""
        kept = {name: self.by_name[own].detach().cpu().numpy() for name, own in self.saved.items()}
        return [{name: np.array(value[k]) for name, value in kept.items()} for k in range(len(self.flat))]

    def state_dict(self) -> dict[str, Any]:
        """Return everything as rows (K, n) by name."""
        rows = {f"buffer.{name}": value.view(len(value), -1) for name, value in self.others.items()}
        return {"parameters": self.flat, **rows}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.flat.copy_(torch.from_numpy(values["parameters"]))
        for name, value in self.others.items():
            value.copy_(torch.from_numpy(values[f"buffer.{name}"]).view(value.shape))


def _views(flat: Tensor, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the parts of rows (K, n) by name, as (K, ..)."""
    views, at = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        views[name] = flat[:, at : at + size].view(-1, *shape)
        at += size
    return views
