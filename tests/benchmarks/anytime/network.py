"""The common training: an mlp over tensors in memory, in one thread, as the harness trains the same settings.

Images, split, network, distribution of the initial weights, loss and optimizer are those of the harness's
study; random numbers are PyTorch's. It needs PyTorch and NumPy alone.
"""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from problem import Cell, Configuration
from torch import Tensor, nn
from torch.nn import functional as F

EVALUATED = 2_000
"""Images that are evaluated at once."""
BETWEEN_LOOKS = 50
"""Steps between two looks at the clock."""


@functools.cache
def images(folder: str, split: str) -> tuple[Tensor, Tensor]:
    """Return pixels (N, 784) float32 and labels (N,) int64 of a split, mapped: processes share the memory."""
    x, y = (np.load(Path(folder) / f"{split}_{part}.npy", mmap_mode="c") for part in "xy")
    return torch.from_numpy(x), torch.from_numpy(y)


def network(configuration: Configuration) -> nn.Sequential:
    """784 - width_1 - width_2 - 10 with ReLU, and dropout behind both hidden layers."""
    widths = [784, int(configuration["width_1"]), int(configuration["width_2"])]
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(widths):
        layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(configuration["dropout"])]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


class Training:
    """One configuration in training: `next_epoch` trains on; `save` and `load` are for methods that pause."""

    def __init__(self, cell: Cell, configuration: Configuration, split: str = "val") -> None:
        torch.set_num_threads(1)
        self.cell, self.configuration, self.split, self.epoch = cell, configuration, split, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.training_seed)
            self.model = network(configuration)
            self.random = torch.get_rng_state()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=configuration["lr"],
            weight_decay=configuration["weight_decay"],
            fused=True,
        )

    def next_epoch(self) -> float:
        """Train one more epoch, and return the accuracy; NaN if its last loss is not finite."""
        x, y = images(self.cell.images, "train")
        size = int(self.configuration["batch_size"])
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random)
            for k, batch in enumerate(torch.randperm(len(y)).split(size)):
                if k % BETWEEN_LOOKS == 0:
                    self.cell.check_time()
                loss = F.cross_entropy(self.model(x[batch]), y[batch])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self.random = torch.get_rng_state()
        self.epoch += 1
        return self.accuracy() if math.isfinite(loss.item()) else math.nan

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the share of the split that the network gets right, in inference mode."""
        x, y = images(self.cell.images, self.split)
        self.model.eval()
        parts = zip(x.split(EVALUATED), y.split(EVALUATED), strict=True)
        right = sum(int((self.model(images).argmax(1) == labels).sum()) for images, labels in parts)
        return right / len(y)

    def save(self, path: Path) -> None:
        """Save all that training goes on from."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "random": self.random,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        part = path.with_name(f"{path.name}.part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a saved state: the next epochs are those of an uninterrupted training."""
        state = torch.load(path, weights_only=True)
        self.epoch, self.random = state["epoch"], state["random"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
