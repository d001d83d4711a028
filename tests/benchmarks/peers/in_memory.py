"""A tuned loop of one's own: tensors in memory, index batches, one trial after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from cells import Cell
from torch import Tensor, nn
from torch.nn import functional as F

from harness.data.datasets import datasets
from harness.data.samples import Data, Split
from peers import groups
from peers.shares import Share, Timing

EVALUATED = 5_000  # images at once


def network(work: Cell) -> nn.Sequential:
    """The network of the work, as torch.nn initialises it; its images are rows of pixels."""
    if not work.mlp:
        shape = datasets[work.whole["dataset"]].facts.shape
        return nn.Sequential(nn.Unflatten(1, (1, *shape)), work.network())
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(work.widths):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def optimizer(model: nn.Module, name: str, rate: float, fused: bool | None = None) -> torch.optim.Optimizer:
    """The optimizer of the work from torch.optim, with the harness's settings."""
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, fused=fused)
    momentum = 0.9 if name == "momentum" else 0.0
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, fused=fused)


def tensors(data: Data, device: str) -> dict[Split, tuple[Tensor, Tensor]]:
    """Images and labels of every split, on the device."""
    splits: tuple[Split, ...] = ("train", "val", "test")
    return {
        split: (torch.from_numpy(data[split].x).to(device), torch.from_numpy(data[split].y).to(device))
        for split in splits
    }


def orders(y: Tensor, size: int) -> Iterator[Tensor]:
    """The places of each batch, pass after pass; an order is drawn once a pass, whatever is timed of it."""
    while True:
        yield from torch.randperm(len(y), device=y.device).split(size)


class Trial:
    """One trial in training."""

    def __init__(self, data: Data, share: Share, rate: float | None = None) -> None:
        self.data, self.batch_size = tensors(data, share.device), share.work.batch_size
        self.model = network(share.work).to(share.device)
        fused = True if share.variant == "fused" else None
        self.optimizer = optimizer(self.model, share.work.optimizer, rate or share.first[0], fused)
        self.batches = orders(self.data["train"][1], self.batch_size)

    def train(self, steps: int) -> None:
        """The next so many batches."""
        x, y = self.data["train"]
        self.model.train()
        for batch in itertools.islice(self.batches, steps):
            loss = F.cross_entropy(self.model(x[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        _wait(y)

    @torch.inference_mode()
    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy, in large pieces."""
        x, y = self.data[split]
        self.model.eval()
        loss, right = torch.zeros((), device=y.device), torch.zeros((), device=y.device)
        for images, labels in zip(x.split(EVALUATED), y.split(EVALUATED), strict=True):
            f = self.model(images)
            loss += F.cross_entropy(f, labels, reduction="sum")
            right += (f.argmax(1) == labels).sum()
        loss.item()
        return [right.item() / len(y)]


def _wait(tensor: Tensor) -> None:
    """Until a GPU has done what it was told."""
    if tensor.is_cuda:
        torch.cuda.synchronize()


def prepare(share: Share) -> None:
    """Nothing to compile."""


def time(share: Share) -> Timing:
    """One trial after the other."""
    return groups.time(share, Trial)
