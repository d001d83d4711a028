"""The C kernels for layers of images, in `images.c`: compiled at first use on a machine, and kept in the cache.

They read and write images whose memory is (member, channel, row, column, image of the batch), which PyTorch
sees as (K, B, C, H, W) with strides.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from ctypes import c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from harness.lowering import builds, compiler
from harness.lowering.compiler import UnavailableError

SOURCE = Path(__file__).with_name("images.c")
REALS = {torch.float32: "float32", torch.float64: "float64"}
ARGUMENTS = {
    "convolve": 6, "convolve_back": 5, "convolve_slopes": 6, "pool": 3, "pool_back": 4, "normalise": 8,
    "normalise_back": 10, "block_forth": 4, "block_back": 4,
}  # fmt: skip
"""How many pointers each function takes."""
CONVOLUTION = 15
"""Numbers in the struct `convolution` in C."""


def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the kernels of a type of numbers; raise UnavailableError where there are none."""
    if dtype not in REALS:
        raise UnavailableError(f"the kernels of images are of float32 and float64, not {dtype}")
    return _loaded(REALS[dtype], builds.current(), compiler.folder(), compiler.switched_off())


@functools.cache
def _loaded(real: str, build: builds.Build, folder: Path, off: bool) -> ctypes.CDLL:  # noqa: ARG001 (keys)
    """Compile and declare; the folder and the switch are there so that a change of either is seen."""
    loaded = compiler.library(SOURCE.read_text(encoding="utf-8"), real, SOURCE.name, (SOURCE.parent,), build)
    for name, count in ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = count * [c_void_p], None
    for name in ("lanes", "most_rows"):
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = [], c_int64
    return loaded


def available(x: Tensor) -> bool:
    """Tell whether the kernels compute with a tensor: of a processor, and of their types of numbers."""
    if x.device.type != "cpu":
        return False
    try:
        library(x.dtype)
    except UnavailableError:
        return False
    return True


def identity() -> str:
    """Return a digest of what decides the kernels' bits; empty where they are not used."""
    try:
        found = compiler.compiled(SOURCE.read_text(encoding="utf-8"), "float32", SOURCE.name, (SOURCE.parent,))
    except UnavailableError:
        return ""
    return hashlib.sha256(found.stem.encode()).hexdigest()[:10]


def lanes(dtype: torch.dtype) -> int:
    """Return the images of a vector: a batch has at least as many."""
    return int(library(dtype).lanes())


def inner(x: Tensor, least: int = 1) -> Tensor:
    """Return (K, B, C, H, W) as dense memory (K, C, H, W, B'), filled up with zeros to `least` images.

    What lies in memory like that already is not copied.
    """
    turned = x.detach().permute(0, 2, 3, 4, 1)
    if x.shape[1] < least:
        return torch.nn.functional.pad(turned, (0, least - x.shape[1]))
    return turned.contiguous()


def outer(x: Tensor, batch: int) -> Tensor:
    """Return memory (K, C, H, W, B') as (K, B, C, H, W): a view of the first `batch` images."""
    return x[..., :batch].permute(0, 4, 1, 2, 3)


def numbers(*values: int) -> ctypes.Array[c_int64]:
    """Return whole numbers as a struct of them in C."""
    return (c_int64 * len(values))(*values)
