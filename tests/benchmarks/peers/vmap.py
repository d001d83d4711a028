"""torch.func: functional_call, grad and vmap over trials that see the same batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from harness.data.samples import Data, Split
from peers import groups
from peers.in_memory import _wait, network, orders, tensors
from peers.shares import Share, Timing

EVALUATED = 2_000  # images at once


class Members:
    """K trials in training, as one."""

    def __init__(self, data: Data, share: Share) -> None:
        self.data, self.work = tensors(data, share.device), share.work
        models: list[nn.Module] = [network(share.work).to(share.device) for _ in share.first]
        stacked, self.buffers = stack_module_state(models)
        self.parameters = {name: p.detach() for name, p in stacked.items()}
        self.rates = torch.tensor(share.first, device=share.device)
        self.states = {
            name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in self.parameters.items()
        }
        self.step = 0
        self.batches = orders(self.data["train"][1], share.work.batch_size)
        skeleton, trained = (network(share.work).to("meta").train(mode) for mode in (False, True))

        def outputs(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            f: Tensor = functional_call(skeleton, (parameters, buffers), (x,))
            return f

        def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(trained, (parameters, buffers), (x,)), y)

        self.outputs = vmap(outputs, in_dims=(0, 0, None))
        self.gradients = vmap(grad(loss), in_dims=(0, 0, None, None))

    def train(self, steps: int) -> None:
        """The next so many batches, the same for all members."""
        x, y = self.data["train"]
        for batch in itertools.islice(self.batches, steps):
            self._update(self.gradients(self.parameters, self.buffers, x[batch], y[batch]))
        _wait(y)

    @torch.no_grad()
    def _update(self, gradients: dict[str, Tensor]) -> None:
        """The optimizer's step; torch.optim has one learning rate a tensor, members one each."""
        self.step += 1
        for name, g in gradients.items():
            p, (m, v) = self.parameters[name], self.states[name]
            rates = self.rates.view(-1, *[1] * (p.dim() - 1))
            if self.work.optimizer == "adam":
                m.lerp_(g, 0.1)
                v.mul_(0.999).addcmul_(g, g, value=0.001)
                divisor = (v / (1 - 0.999**self.step)).sqrt_().add_(1e-8)
                p.sub_((m / divisor).mul_(rates / (1 - 0.9**self.step)))
            elif self.work.optimizer == "momentum":
                p.addcmul_(m.mul_(0.9).add_(g), rates, value=-1)
            else:
                p.addcmul_(g, rates, value=-1)

    @torch.inference_mode()
    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy of every member."""
        x, y = self.data[split]
        k = len(self.rates)
        loss, right = (torch.zeros(k, device=y.device) for _ in range(2))
        for images, labels in zip(x.split(EVALUATED), y.split(EVALUATED), strict=True):
            f = self.outputs(self.parameters, self.buffers, images)
            each = F.cross_entropy(f.flatten(0, 1), labels.repeat(k), reduction="none")
            loss += each.view(k, -1).sum(1)
            right += (f.argmax(-1) == labels).sum(-1)
        loss.tolist()
        return [float(one) for one in (right / len(y)).tolist()]


def prepare(share: Share) -> None:
    """Nothing to compile."""


def time(share: Share) -> Timing:
    """K trials after K trials."""
    return groups.time(share, Members)
