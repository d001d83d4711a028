"""The C kernels beside this file: compiled for this machine at first use, and kept in the cache.

Where there is no C compiler, or HARNESS_KERNELS=off, the engine does the same in PyTorch.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import POINTER, Structure, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from harness import sources

SOURCE = Path(__file__).with_name("kernels.c")
SOURCES = (SOURCE, *sorted(SOURCE.parent.glob("*.h")))
SWITCH = "HARNESS_KERNELS"
NATIVE = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
FLAGS = ("-O3", NATIVE, "-ffp-contract=fast", "-fno-math-errno", "-w", "-fPIC", "-shared")
REALS = {"float32": ("float", 4), "float64": ("double", 8)}
LANES = 16
"""Hidden units of a tile: LANES in C."""
WIDEST = 8
"""Tiles that read a turned batch together: WIDEST in C."""
TILE = np.dtype(
    [("row", "i8"), ("rows", "i4"), ("block", "i4"), ("batch", "i4"), ("member", "i4")], align=True
)
"""The struct `tile` in C."""


class Images(Structure):
    """The struct `images` in C."""

    _fields_ = [("row", c_void_p), ("column", c_void_p), ("value", c_void_p)]


class Turned(Structure):
    """The struct `turned` in C."""

    _fields_ = [("start", c_void_p), ("sample", c_void_p), ("value", c_void_p)]


class Task(Structure):
    """The struct `task` in C."""

    _fields_ = [
        *((name, c_void_p) for name in ("w", "one", "two", "tiles", "grads", "lr", "settings")),
        *((name, c_int64) for name in ("count", "first_member", "n", "t", "b", "d")),
        *((name, c_void_p) for name in ("occurs", "sums")),
    ]


class Network(Structure):
    """The struct `network` in C."""

    _fields_ = [
        *((name, c_int64) for name in ("k", "b", "n", "depth")),
        *((name, c_void_p) for name in ("widths", "activation", "rest", "grad_rest", "z", "a", "scratch")),
    ]


class Members(Structure):
    """The struct `members` in C."""

    _fields_ = [
        *((name, c_int64) for name in ("k", "n", "d", "depth", "settings_each")),
        *((name, c_void_p) for name in ("widths", "activation", "tiles", "w", "one", "two")),
        *((name, c_void_p) for name in ("rest", "rest_one", "rest_two", "grad_rest")),
        *((name, c_void_p) for name in ("settings", "keep", "spread")),
    ]


class Stretch(Structure):
    """The struct `stretch` in C."""

    _fields_ = [
        ("x", Images), ("batches", Turned),
        *((name, c_void_p) for name in ("occurs", "index", "label")),
        *((name, c_int64) for name in ("t", "steps", "seeds", "b", "count")),
    ]  # fmt: skip


class UnavailableError(Exception):
    """The kernels cannot be had here, and why."""


@functools.cache
def library(dtype: DTypeLike) -> ctypes.CDLL:
    """The kernels for float32 or float64, compiled if they are not in the cache.

    Raises:
        UnavailableError: there is no compiler, or it fails; or they are switched off.
    """
    if os.environ.get(SWITCH, "").lower() in {"off", "0", "no"}:
        raise UnavailableError(f"switched off by {SWITCH}")
    path = _compiled(*REALS[np.dtype(dtype).name])
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise UnavailableError(f"{path} cannot be loaded ({error}). Delete it") from error
    at, n, task, members = c_void_p, c_int64, POINTER(Task), POINTER(Members)
    signatures: dict[str, list[Any]] = {
        "compress": [at, n, n, at, at, at],
        "turn": [Images, at, n, n, n, Turned],
        "products": [at, at, n, Images, at, n, n, at, at],
        "step_first": [c_int, task, Turned],
        "step_rest": [c_int, task, at, n],
        "forward_rest": [POINTER(Network)],
        "backward_rest": [POINTER(Network), at, at],
        "cross_entropy": [at, at, *4 * [n], *5 * [at]],
        "judge": [at, at, *3 * [n], *4 * [at], n],
        "train_stretch": [c_int, members, POINTER(Stretch), n, at, n, at, n, at],
    }
    for name, arguments in signatures.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    loaded.compressed_size.argtypes, loaded.compressed_size.restype = [c_void_p, c_int64], c_int64
    loaded.stretch_room.argtypes = [POINTER(Members), c_int64, c_int64]
    loaded.stretch_room.restype = c_int64
    return loaded


def why_not(dtype: DTypeLike = np.float32) -> str:
    """Why the kernels are not used here; empty where they are."""
    try:
        library(np.dtype(dtype).name)
    except UnavailableError as missing:
        return str(missing)
    return ""


def _compiled(real: str, size: int) -> Path:
    name = os.environ.get("CC") or "cc"
    compiler = shutil.which(name)
    if compiler is None:
        raise UnavailableError(f"no C compiler ({name}) is installed")
    parts = [*(path.read_bytes() for path in SOURCES), *map(str.encode, (*FLAGS, _cpu(), compiler))]
    key = hashlib.sha256(b"\n".join(parts))
    folder = sources.cache_root() / "kernels"
    target = folder / f"{real}-{key.hexdigest()[:16]}.so"
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                made = Path(scratch) / "kernels.so"
                defined = (f"-DREAL={real}", f"-DREAL_BYTES={size}")
                command = [compiler, *FLAGS, *defined, "-o", str(made), str(SOURCE), "-lm"]
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
                made.replace(target)  # whole or not at all: other processes compile at the same time
        except subprocess.SubprocessError as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[:1]
            raise UnavailableError(f"{compiler} fails on {SOURCE.name}: {' '.join(said)}") from error
        except OSError as error:
            raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from error
    return target


def _cpu() -> str:
    """What -march=native depends on: a cache may be shared by machines."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return platform.machine() + " ".join(told[:2])
