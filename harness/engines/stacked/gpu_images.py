"""A split's images on a GPU: a byte a pixel, which is the place of its value in a palette.

Images come as bytes, and a preprocessing that treats every pixel alike makes at most 256 values of them
again, whatever it computes. The values are looked up, so that no preprocessing needs to be known: a palette
restores them exactly, in a quarter of the memory and of a gather's reads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.pixel_source import CHUNK
from harness.data.samples import Samples
from harness.engines.members import SeedIndex

PALETTE = 256
"""Values of a palette, at most."""


@dataclass(frozen=True)
class Coded:
    """Pixels (N, D) as `stored`; with a palette, a stored code c stands for the value `palette[c]`."""

    stored: Tensor
    palette: Tensor | None = None

    def pixels_at(self, rows: Tensor) -> Tensor:
        """Return the pixels (B, D) of images by their places (B,)."""
        return self._decoded(self.stored.index_select(0, rows))

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all pixels (B, D), so many images at a time."""
        return map(self._decoded, self.stored.split(size))

    def _decoded(self, stored: Tensor) -> Tensor:
        if self.palette is None:
            return stored
        return self.palette.index_select(0, stored.view(-1).int()).view(stored.shape)


@functools.lru_cache(maxsize=6)  # the splits of two data sets, as `data.prepare` keeps them
def coded(samples: Samples, device: torch.device) -> Coded:
    """Return a split on a device, by palette if its pixels have few values."""
    x = torch.from_numpy(samples.x)
    palette = x.new_empty(0, device=device)
    for chunk in x.split(CHUNK):
        palette = torch.unique(torch.cat([palette, chunk.to(device).view(-1)]))
        if len(palette) > PALETTE or palette.isnan().any():
            return Coded(x.to(device))
    codes = torch.empty(x.shape, dtype=torch.uint8, device=device)
    for piece, chunk in zip(codes.split(CHUNK), x.split(CHUNK), strict=True):
        piece.copy_(torch.bucketize(chunk.to(device), palette))
    return Coded(codes, palette)


class ResidentImages:
    """A split's images as `dense.DenseImages` gives them."""

    def __init__(self, samples: Samples, seeds: SeedIndex, device: torch.device) -> None:
        self.coded = coded(samples, device)
        self.of_member = torch.tensor(seeds.of_member, device=device)

    def at(self, index: Tensor) -> Tensor:
        """Return pixels (B, D) of one batch, or (K, B, D) of one a member."""
        if len(index) == 1:
            return self.coded.pixels_at(index[0])
        pixels = self.coded.pixels_at(index.reshape(-1)).view(*index.shape, -1)
        return pixels.index_select(0, self.of_member)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield pixels (B, D), so many images at a time."""
        return self.coded.chunks(size)
