"""The memory that the kernels read images from, batch innermost, and the numbers that describe it to them."""

from __future__ import annotations

import ctypes
from ctypes import c_int64
from typing import TypeAlias

import torch
from torch import Tensor

Pair: TypeAlias = tuple[int, int]
"""Rows and columns."""


def inner(x: Tensor, least: int = 1) -> Tensor:
    """Return (K, B, C, H, W) as dense memory (K, C, H, W, B'), filled up with zeros to `least` images.

    What lies in memory like that already is not copied.
    """
    turned = x.detach().permute(0, 2, 3, 4, 1)
    if x.shape[1] < least:
        return torch.nn.functional.pad(turned, (0, least - x.shape[1]))
    return turned.contiguous()


def outer(x: Tensor, batch: int) -> Tensor:
    """Return memory (K, C, H, W, B') as (K, B, C, H, W): a view of the first `batch` images.

    It is called on what a function of autograd gives, not inside of one: a network's code may change its
    images in place (`out += x`), which autograd forbids for a view made in there.
    """
    return (x if x.shape[-1] == batch else x[..., :batch]).permute(0, 4, 1, 2, 3)


def numbers(*values: int) -> ctypes.Array[c_int64]:
    """Return whole numbers as a struct of them in C."""
    return (c_int64 * len(values))(*values)


def sizes_of(images: Tensor, weights: Tensor, stride: Pair, padding: Pair) -> tuple[int, ...]:
    """Return the struct `convolution` in C; images (K or 1, C, H, W, B), weights (K, O, C, rows, columns)."""
    shared, channels, height, width, batch = images.shape
    members, outputs, _, *kernel = weights.shape
    out = (
        (size + 2 * pad - of) // step + 1
        for size, pad, of, step in zip((height, width), padding, kernel, stride, strict=True)
    )
    first = (members, batch, channels, height, width, outputs)
    return *first, *out, *kernel, *stride, *padding, int(shared < members)
