"""The loop that the labs write by hand, a trial at a time; with one thread, or those that torch takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from labs_loop import Lab, evaluate
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from harness.data.samples import Data, Split
from peers import groups
from peers.in_memory import network, optimizer, tensors
from peers.shares import Share, Timing


class Trial:
    """One trial in training."""

    def __init__(self, data: Data, share: Share) -> None:
        work, rate = share.work, share.first[0]
        self.data = {split: TensorDataset(*pair) for split, pair in tensors(data, share.device).items()}
        self.lab = Lab(
            lambda: network(work).to(share.device), F.cross_entropy,
            lambda p: torch.optim.SGD(p, lr=rate), work.batch_size,
        )  # fmt: skip
        self.model = self.lab.model()
        self.optimizer = optimizer(self.model, work.optimizer, rate)
        loader = DataLoader(self.data["train"], batch_size=work.batch_size, shuffle=True)
        self.batches = itertools.chain.from_iterable(itertools.repeat(loader))  # pass after pass

    def train(self, steps: int) -> None:
        """The next so many batches."""
        for x, y in itertools.islice(self.batches, steps):
            loss = self.lab.loss(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.model[0].bias[0].item()  # type: ignore[index]  # a GPU has done what it was told

    def evaluate(self, split: Split) -> Sequence[float]:
        """Loss and accuracy as the labs compute them."""
        return [evaluate(self.model, self.data[split], self.lab)[1]]


def prepare(share: Share) -> None:
    """Nothing to compile."""


def time(share: Share) -> Timing:
    """One trial after the other."""
    return groups.time(share, Trial, chunk=500)
