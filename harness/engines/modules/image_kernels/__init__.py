"""The C kernels for layers of images, in `images.c`: compiled at first use and kept in the cache.

A short self-test (`trying.py`) decides once a machine whether they are used; PyTorch's convolutions take
their place where not. They read and write images whose memory is (member, channel, row, column, image of the
batch), which PyTorch sees as (K, B, C, H, W) with strides.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from ctypes import c_int64, c_void_p
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from harness.engines.modules.image_kernels import trying
from harness.engines.modules.image_kernels.layout import Pair, inner, numbers, outer, sizes_of
from harness.lowering import builds, compiler
from harness.lowering.compiler import UnavailableError
from harness.system import machine

__all__ = [
    "Pair", "available", "identity", "inner", "lanes", "library", "numbers", "outer", "sizes_of", "why_not",
]  # fmt: skip

SOURCE = Path(__file__).with_name("images.c")
REALS = {torch.float32: "float32", torch.float64: "float64"}
ARGUMENTS = {
    "convolve": 6, "convolve_back": 5, "convolve_slopes": 6, "pool": 3, "pool_back": 4, "normalise": 8,
    "normalise_back": 10, "block_forth": 4, "block_back": 4,
}  # fmt: skip
"""How many pointers each function takes."""
CONVOLUTION = 15
"""Numbers in the struct `convolution` in C."""


@dataclass(frozen=True)
class _Found:
    """The kernels with the name of their compiled file, or why there are none."""

    library: ctypes.CDLL | None = None
    name: str = ""
    missing: str = ""


def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the kernels of a type of numbers; raise UnavailableError where they are not used."""
    found = _find(dtype)
    if found.library is None:
        raise UnavailableError(found.missing)
    return found.library


def why_not(dtype: torch.dtype = torch.float32) -> str:
    """Return why the kernels are not used here; empty where they are."""
    return _find(dtype).missing


def available(x: Tensor) -> bool:
    """Tell whether the kernels compute with a tensor: of a processor, and of their types of numbers."""
    return x.device.type == "cpu" and not why_not(x.dtype)


def identity() -> str:
    """Return a digest of what decides the kernels' bits; empty where they are not used."""
    found = _find(torch.float32)
    return hashlib.sha256(found.name.encode()).hexdigest()[:10] if found.library else ""


def _find(dtype: torch.dtype) -> _Found:
    if dtype not in REALS:
        return _Found(missing=f"the kernels of images are of float32 and float64, not {dtype}")
    state = (compiler.folder(), compiler.switched_off(), compiler.trusted())
    return _loaded(REALS[dtype], builds.current(), state)


@functools.cache  # failures, too: to find one out may take a compiler a minute
def _loaded(real: str, build: builds.Build, state: tuple[Path, bool, bool]) -> _Found:
    """Compile and declare the kernels, and try them; `state` is there so that a change of it is seen."""
    source = (SOURCE.read_text(encoding="utf-8"), real, SOURCE.name, (SOURCE.parent,))
    try:
        path = compiler.compiled(*source, build=build)
        loaded = _declared(compiler.library(*source, build=build))
    except UnavailableError as error:
        return _Found(missing=str(error))
    if real != "float32":  # for checks, not for speed
        missing = _loaded("float32", build, state).missing
    elif compiler.trusted():
        missing = ""
    else:
        missing = _complaint(loaded, path)
    return _Found(missing=missing) if missing else _Found(loaded, path.stem)


def _complaint(loaded: ctypes.CDLL, path: Path) -> str:
    facts = [metadata.version("torch"), *machine.tuning(), Path(trying.__file__).read_text(encoding="utf-8")]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    kept = path.with_name(f"{path.stem}-{digest}.txt")
    told = trying.complaint(loaded, kept)
    return f"{told} (kept in {kept}; HARNESS_KERNELS=on uses them anyway)" if told else ""


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the types of the functions' arguments; return the library."""
    for name, count in ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = count * [c_void_p], None
    for name in ("lanes", "most_rows"):
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = [], c_int64
    return loaded


def lanes(dtype: torch.dtype) -> int:
    """Return the images of a vector: a batch has at least as many."""
    return int(library(dtype).lanes())
