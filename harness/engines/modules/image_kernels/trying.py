"""The self-test of the kernels of images: are they right here, and faster than PyTorch's convolutions?

It takes some tenths of a second once a machine; what it finds is kept beside the compiled code, so that all
processes of a run compute in one way.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from harness.engines.modules.image_kernels import layout
from harness.system import files
from harness.system.process_state import one_thread

BATCH, CHANNELS, OUTPUTS, PIXELS, KERNEL = 32, 8, 16, 12, 3
TIMES, ROUNDS = 3, 6
DIFFERENT = 1e-3
"""Difference of float32 beyond rounding, of sums of about 100 or 5,000 products."""


def complaint(library: ctypes.CDLL, kept: Path) -> str:
    """Return why the kernels are not to be used, as found on this machine first; empty where they are."""
    found = _read(kept)
    if found is None:
        found = _found(library)
        found = files.keep_first(kept, f"{found}\n", _read) or found
    return found


def _read(path: Path) -> str | None:
    """Return a complaint, which is one line; None where there is no such line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text[:-1] if text.endswith("\n") else None


@torch.no_grad()
def _found(library: ctypes.CDLL) -> str:
    """Compare the kernels with PyTorch, in results and in time."""
    with one_thread():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            x = torch.randn(BATCH, CHANNELS, PIXELS, PIXELS)
            weight, g = (
                torch.randn(OUTPUTS, CHANNELS, KERNEL, KERNEL),
                torch.randn(BATCH, OUTPUTS, PIXELS, PIXELS),
            )
        ours, theirs = _kernels(library, x, weight, g), _pytorch(x, weight, g)
        for mine, right in zip(ours(), theirs(), strict=True):
            if not torch.allclose(mine, right, rtol=DIFFERENT, atol=DIFFERENT * float(right.abs().max())):
                return "the kernels of images fail their self-test: they differ from PyTorch's convolutions"
        slowness = _seconds(ours) / _seconds(theirs)
    if slowness > 1:
        return f"the kernels of images take {slowness:.1f} times as long as PyTorch here, by their self-test"
    return ""


def _seconds(call: Callable[[], object]) -> float:
    """Return processor seconds of the fastest of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(TIMES):
            call()
        taken.append(time.process_time() - start)
    return min(taken)


def _pytorch(x: Tensor, weight: Tensor, g: Tensor) -> Callable[[], list[Tensor]]:
    """Return a call that gives an output, and the gradients at images and weights."""
    rest = (None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, True, False))

    def call() -> list[Tensor]:
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(g, x, weight, *rest)
        return [torch.conv2d(x, weight, None, 1, 1), to_x, to_weight]

    return call


def _kernels(library: ctypes.CDLL, x: Tensor, weight: Tensor, g: Tensor) -> Callable[[], list[Tensor]]:
    """Return a call that gives the same by the kernels."""
    images, weights, out_g = layout.inner(x[None]), weight[None], layout.inner(g[None])
    sizes = layout.numbers(*layout.sizes_of(images, weights, (1, 1), (1, 1)))
    out, to_x, to_weight = torch.empty_like(out_g), torch.empty_like(images), torch.empty_like(weights)
    room = weight.new_empty(weight[0].numel() * library.most_rows() * library.lanes() + weight.numel())

    def call() -> list[Tensor]:
        at_x, at_w, at_g, at_room = (of.data_ptr() for of in (images, weights, out_g, room))
        library.convolve(sizes, at_x, at_w, None, out.data_ptr(), at_room)
        library.convolve_back(sizes, at_g, at_w, to_x.data_ptr(), at_room)
        library.convolve_slopes(sizes, at_x, at_g, to_weight.data_ptr(), None, at_room)
        return [layout.outer(out, BATCH)[0], layout.outer(to_x, BATCH)[0], to_weight[0]]

    return call
