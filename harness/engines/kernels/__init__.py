"""The C kernels beside this file: compiled and tried at first use on a machine, and kept in the cache.

The engine does the same in PyTorch where there is no C compiler, where HARNESS_KERNELS=off, and where a
self-test (`engines/kernel_self_test.py`, some seconds, once a machine) finds the kernels wrong or slower.
HARNESS_KERNELS=on uses them untested.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from ctypes import POINTER, Structure, c_int, c_int64, c_void_p
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from harness import cache
from harness.known import OFF, ON, SWITCH

SOURCE = Path(__file__).with_name("kernels.c")
SOURCES = (SOURCE, *sorted(SOURCE.parent.glob("*.h")))
LONGEST = 120  # seconds for a compiler
NATIVE = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
FLAGS = ("-O3", NATIVE, "-ffp-contract=fast", "-fno-math-errno", "-w", "-fPIC", "-shared")
REALS = {"float32": ("float", 4), "float64": ("double", 8)}
MOST_LANES = 16
"""LANES in C at most, and a multiple of any. It depends on the processor: see `lanes`."""
LAYOUT = 10
"""Numbers that `layout` in C tells."""
PYTORCH_TUNING = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that PyTorch's own speed depends on."""
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


@dataclass(frozen=True)
class _Found:
    """The kernels, and what tells them from those of another machine or compiler; or why there are none."""

    library: ctypes.CDLL | None = None
    identity: str = ""
    missing: str = ""
    lanes: int = 0


def name_of(dtype: object) -> str:
    """float32 or float64, of a type of NumPy's or PyTorch's, or by its name."""
    return str(dtype).removeprefix("torch.")


def library(dtype: object) -> ctypes.CDLL:
    """The kernels for float32 or float64, compiled if they are not in the cache.

    Raises:
        UnavailableError: there is no compiler, or it fails; or they are switched off.
    """
    found = _find(name_of(dtype))
    if found.library is None:
        raise UnavailableError(found.missing)
    return found.library


def lanes(dtype: object) -> int:
    """Hidden units of a tile, and images of a vector: 16, 8 or 4, as the processor's registers hold.

    Raises:
        UnavailableError: as `library`.
    """
    library(dtype)
    return _find(name_of(dtype)).lanes


def why_not(dtype: object = "float32") -> str:
    """Why the kernels are not used here; empty where they are."""
    return _find(name_of(dtype)).missing


def identity(dtype: object = "float32") -> str:
    """What decides the bits that they compute: source, compiler, flags and processor, as a digest."""
    return _find(name_of(dtype)).identity


@functools.cache  # of what is missing, too: to find that out may take a compiler a minute
def _find(dtype: str) -> _Found:
    switch = os.environ.get(SWITCH, "").lower()
    if switch in OFF:
        return _Found(missing=f"switched off by {SWITCH}")
    try:
        path = _compiled(*REALS[dtype])
        loaded = _declared(ctypes.CDLL(str(path)))
        if dtype == "float32" and switch not in ON:  # float64 is for checks, not for speed
            _check(path)
        layout = (c_int64 * LAYOUT)()
        loaded.layout(layout)
        return _Found(loaded, path.stem, lanes=layout[0])
    except UnavailableError as error:
        return _Found(missing=str(error))
    except OSError as error:
        return _Found(
            missing=f"a kernel cannot be loaded: {error}. Delete {cache.cache_root() / 'kernels'}"
        )


def forget() -> None:
    """Look for the kernels anew when they are next asked for: the environment has changed."""
    _find.cache_clear()


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """The kernels' functions with the types of their arguments."""
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
        "layout": [at],
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


def _compiled(real: str, size: int) -> Path:
    compiler = shlex.split(os.environ.get("CC") or "cc")  # with arguments of its own, perhaps
    if shutil.which(compiler[0]) is None:
        raise UnavailableError(f"no C compiler ({compiler[0]}) is installed")
    parts = [*(path.read_bytes() for path in SOURCES), *map(str.encode, (*FLAGS, _cpu(), *compiler))]
    key = hashlib.sha256(b"\n".join(parts))
    folder = cache.cache_root() / "kernels"
    target = folder / f"{real}-{key.hexdigest()[:16]}.so"
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                made = Path(scratch) / "kernels.so"
                defined = (f"-DREAL={real}", f"-DREAL_BYTES={size}")
                _run([*compiler, *FLAGS, *defined, "-o", str(made), str(SOURCE), "-lm"])
                made.replace(target)  # whole or not at all: other processes compile at the same time
        except OSError as error:
            if not target.exists():
                raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from error
    return target


def _check(path: Path) -> None:
    """Try compiled kernels in a process of their own, or read what came of it before.

    Raises:
        UnavailableError: they are slower than PyTorch, compute something else, or end their process.
    """
    settings = [f"{name}={os.environ.get(name, '')}" for name in PYTORCH_TUNING]
    of = hashlib.sha256("\n".join([metadata.version("torch"), *settings]).encode()).hexdigest()[:8]
    kept = path.with_name(f"{path.stem}-{of}.txt")
    if kept.exists():
        complaint = kept.read_text(encoding="utf-8", errors="replace")
    else:
        complaint = _self_test()
        with suppress(OSError), tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / kept.name
            made.write_text(complaint, encoding="utf-8")
            made.replace(kept)
    if complaint:
        raise UnavailableError(f"{complaint} (kept in {kept}; HARNESS_KERNELS=on uses them all the same)")


def _self_test() -> str:
    """Run the self-test; gives why the kernels are not to be used, or nothing.

    Raises:
        UnavailableError: it did not end; the next run tries again.
    """
    command = [sys.executable, "-P", "-m", "harness.engines.kernel_self_test"]
    environment = {**os.environ, SWITCH: "on", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LONGEST, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"the self-test of the kernels cannot be run: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise UnavailableError(
            f"the self-test of the kernels ends with exit status {done.returncode} {said}".strip()
        )
    return done.stdout.strip()


def _run(command: Sequence[str]) -> None:
    """Run a compiler."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} took more than {LONGEST} s on {SOURCE.name}") from error
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        said = " ".join(done.stderr.strip().splitlines()[:1])
        raise UnavailableError(f"{command[0]} fails on {SOURCE.name}: {said}")


def _cpu() -> str:
    """What -march=native depends on: a cache may be shared by machines."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return " ".join(
        [platform.machine(), platform.processor(), platform.node() if not told else "", *told[:2]]
    )
