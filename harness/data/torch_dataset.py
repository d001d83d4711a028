"""A split as PyTorch's Dataset, for the loop engine and for `harness.split_dataset`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from harness.data.samples import Samples


class SplitDataset(Dataset[tuple[Tensor, Tensor]]):
    """One split as a map-style Dataset: (pixels (D,) in floats, label () in int64) by place in the split.

    Args:
        samples: the split, as `harness.data.samples.prepare` gives it.
        shape: height and width of an image, for networks that want them back: `x.view(-1, 1, *shape)`.
        classes: the class names, in label order.
    """

    def __init__(self, samples: Samples, shape: tuple[int, ...] = (), classes: Sequence[str] = ()) -> None:
        self.x, self.y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
        self.index = torch.from_numpy(samples.index)
        self.shape, self.classes = shape or (samples.width,), tuple(classes)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.x[place], self.y[place]


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack samples into a batch: pixels (B, D) and labels (B,)."""
    x, y = zip(*samples, strict=True)
    return torch.stack(x), torch.stack(y)
