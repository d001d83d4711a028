"""The C kernels beside this file: compiled and tried at first use on a machine, and kept in the cache.

The engine computes the same in PyTorch where there is no C compiler, where HARNESS_KERNELS=off, and where a
self-test (`engines/self_test.py`, some seconds, once a machine) finds the kernels wrong or
slower. It also measures where they are faster in which form. HARNESS_KERNELS=on uses them untested.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from harness.lowering import builds, compiler
from harness.lowering.calls import MOST_STATES as MOST_STATES
from harness.lowering.calls import WIDEST as WIDEST
from harness.lowering.compiler import SWITCH, UnavailableError
from harness.planning import compilation
from harness.system import files, machine

SOURCE = Path(__file__).with_name("kernels.c")
RULES = [SOURCE.parents[1] / "compiled" / name for name in ("forms.py", "images.py")]
"""Files that decide which form of an image the kernels read, and so the order of sums."""
GPUS = "one_lane.h"
"""The header that only a GPU reads."""
TIMEOUT = 300
"""Seconds for the self-test, which takes about ten where nothing else runs."""
MOST_LANES = 16
"""LANES in C at most, and a multiple of any. LANES depends on the processor: see `lanes`."""
LAYOUT = 12
"""Numbers that `layout` in C writes."""
EVALUATED = 64
"""Images of an evaluation at a time: EVALUATED in C."""
TILE = np.dtype(
    [("row", "i8"), ("rows", "i4"), ("block", "i4"), ("batch", "i4"), ("member", "i4")], align=True
)
"""The struct `tile` in C."""


class CImages(Structure):
    """The struct `images` in C."""

    _fields_ = [*((name, c_void_p) for name in ("full", "row", "column", "value", "c")), ("ranges", c_int64)]


class Turned(Structure):
    """The struct `turned` in C."""

    _fields_ = [(name, c_void_p) for name in ("start", "sample", "value")]


class CParts(Structure):
    """The struct `parts` in C."""

    _fields_ = [
        *((name, c_void_p) for name in ("activate", "derive", "loss", "judge", "measures", "loss_settings")),
        *((name, c_double) for name in ("keep", "spread", "dropped")),
    ]


class Members(Structure):
    """The struct `members` in C."""

    _fields_ = [
        *((name, c_int64) for name in ("k", "n", "d", "depth", "states", "settings_each", "scalars_each")),
        *((name, c_void_p) for name in ("widths", "parts", "tiles", "scalars", "step_tiles", "step_rows")),
        ("w", c_void_p), ("state", c_void_p * MOST_STATES),
        ("rest", c_void_p), ("rest_state", c_void_p * MOST_STATES),
        ("settings", c_void_p), ("idle", c_int64),
    ]  # fmt: skip


class Stretch(Structure):
    """The struct `stretch` in C."""

    _fields_ = [
        ("x", CImages), ("batches", Turned), ("full", c_void_p),
        ("full_products", c_int64), ("full_steps", c_int64),
        *((name, c_void_p) for name in ("occurs", "index", "label", "uniforms")),
        *((name, c_int64) for name in ("layers", "widest", "t", "steps", "seeds", "b", "count")),
    ]  # fmt: skip


class CEvaluation(Structure):
    """The struct `evaluation` in C."""

    _fields_ = [
        ("x", CImages), ("index", c_void_p), ("label", c_void_p), ("n", c_int64), ("metrics", c_int64),
        *((name, c_void_p) for name in ("loss", "measured", "hits", "best", "sure", "full")),
        ("expanded", c_int64),
    ]  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Facts about the kernels on a machine, by their self-test.

    Attributes:
        complaint: why they are not to be used; empty where they are.
        wide: they are faster than PyTorch in wide layers, too.
        dense: they are faster than PyTorch with images without common pixels, too.
        forms: by batch size, the fastest form of a batch in cells of density: a digit a cell, a place in
            `compiled.forms.FORMS`. Empty where nothing was measured.
    """

    complaint: str = ""
    wide: bool = True
    dense: bool = True
    forms: Sequence[tuple[int, str]] = ()

    @classmethod
    def from_text(cls, text: str) -> Measured:
        """Read what the self-test prints; raise ValueError for anything else."""
        told = json.loads(text)
        if not isinstance(told, dict) or told.keys() != {"complaint", "wide", "dense", "forms"}:
            raise ValueError(f"the self-test says {text[:80]!r}")
        rows = tuple((int(batch), str(cells)) for batch, cells in told["forms"])
        return cls(str(told["complaint"]), told["wide"] is True, told["dense"] is True, rows)


@dataclass(frozen=True)
class _Kernels:
    """The kernels and their identity, or why there are none."""

    library: ctypes.CDLL | None = None
    identity: str = ""
    missing: str = ""
    lanes: int = 0
    measured: Measured = Measured()
    kept: str = ""


def name_of(dtype: object) -> str:
    """Return float32 or float64 for a type of NumPy's or PyTorch's, or its name."""
    return str(dtype).removeprefix("torch.")


def library(dtype: object) -> ctypes.CDLL:
    """Return the kernels for float32 or float64, compiled if need be; raise UnavailableError without them."""
    kernels = _found(dtype)
    if kernels.library is None:
        raise UnavailableError(kernels.missing)
    return kernels.library


def lanes(dtype: object) -> int:
    """Return the hidden units of a tile, and images of a vector: 16, 8 or 4, as a register holds."""
    library(dtype)
    return _found(dtype).lanes


def why_not(dtype: object = "float32") -> str:
    """Return why the kernels are not used here; empty where they are."""
    return _found(dtype).missing


def identity(dtype: object = "float32") -> str:
    """Return a digest of what decides their bits: source, compiler, flags, processor, measured forms."""
    return _found(dtype).identity


@functools.cache
def text_digest() -> str:
    """Digest the C text of the kernels, with all that it includes, and the rules of their forms."""
    headers = (path for path in sorted(compiler.HEADERS.glob("*.h")) if path.name != GPUS)
    parts = [path.read_bytes() for path in (*sorted(SOURCE.parent.glob("*.[ch]")), *headers)]
    return hashlib.sha256(b"\n".join([*parts, _rules().encode()])).hexdigest()


@functools.cache
def _rules() -> str:
    """Digest the Python that decides which form an image and a batch have."""
    return hashlib.sha256(b"\n".join(path.read_bytes() for path in RULES)).hexdigest()


def _found(dtype: object) -> _Kernels:
    """Return the kernels of the build in use for a type of numbers."""
    return _find(name_of(dtype), builds.current())


def measured() -> Measured:
    """Return what the self-test measured on this machine."""
    return _found("float32").measured


def measurements() -> dict[str, Measured]:
    """Return what was measured of the kernels here, by a name that they have on every equal machine."""
    found = _found("float32")
    return {found.kept: found.measured} if found.kept else {}


_preferred: dict[str, Measured] = {}
"""What another machine measured, by the same names."""


def prefer(found: Mapping[str, Measured]) -> None:
    """Compute with the forms that another machine measured, if the kernels are the same here.

    Which form is the fastest is measured, so that two equal machines may choose different ones, and have
    other bits. The kernels are tried here all the same. It is called before the kernels' first use.
    """
    _preferred.update(found)


@functools.cache  # failures, too: to find one out may take a compiler a minute
def _find(dtype: str, build: builds.Build) -> _Kernels:
    try:
        source = (SOURCE.read_text(encoding="utf-8"), dtype, SOURCE.name, (SOURCE.parent,))
        path = compiler.compiled(*source, build=build)
        loaded = _declared(compiler.library(*source, build=build))
        found, kept = Measured(), ""
        if dtype != "float32":  # for checks, not for speed
            found = measured()
        elif not compiler.trusted():
            kept = _place(path).name
            found = _preferred.get(kept, _measured(path))
            compilation.note_wide(faster=found.wide)
        layout = (c_int64 * LAYOUT)()
        loaded.layout(layout)
        forms = hashlib.sha256(f"{found.forms} {_rules()}".encode()).hexdigest()[:8]
        return _Kernels(loaded, f"{path.stem}-{forms}", lanes=layout[0], measured=found, kept=kept)
    except UnavailableError as error:
        return _Kernels(missing=str(error))


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Treat subnormal numbers as zero in this thread: those of a dying network would slow a whole stack.

    For the same bits on every processor they stay what they are: x86-64 decides after rounding whether a
    number is too small, AArch64 before.
    """
    flush = library("float32").flush_subnormals
    before = flush(not builds.portable())
    try:
        yield
    finally:
        flush(before)


def forget() -> None:
    """Search for the kernels again at their next use, because the environment has changed."""
    compiler.forget()
    _find.cache_clear()


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the types of the functions' arguments; return the library."""
    at, n, members = c_void_p, c_int64, POINTER(Members)
    signatures: dict[str, list[Any]] = {
        "compress": [at, at, n, n, at, at, at],
        "turn": [CImages, at, n, n, n, Turned],
        "expand": [CImages, at, n, n, n, n, at],
        "products_of_all": [at, at, n, CImages, at, at, n, n, n, at, at, at],
        "gradients": [at, at, n, at, at, Turned, at, n, n, at],
        "layout": [at],
        "flush_subnormals": [n],
        "train_stretch": [members, POINTER(Stretch), n, at, n, at, n, at],
        "evaluate": [members, POINTER(CEvaluation), n, at],
    }
    for name, arguments in signatures.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    loaded.compressed_size.argtypes, loaded.compressed_size.restype = [at, at, n, n], n
    loaded.flush_subnormals.restype = n
    for name in ("ranges_of", "row_of"):
        getattr(loaded, name).argtypes, getattr(loaded, name).restype = [n], n
    loaded.stretch_room.argtypes, loaded.stretch_room.restype = [members, n, n], n
    return loaded


def _place(path: Path) -> Path:
    """Return the file in which it is kept what a self-test measures of kernels."""
    facts = [metadata.version("torch"), *machine.tuning(), _rules()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    return path.with_name(f"{path.stem}-{digest}.json")


def _measured(path: Path) -> Measured:
    """Return what a self-test measures, or measured earlier; raise UnavailableError for its complaint."""
    kept = _place(path)
    found = _read(kept)
    if found is None:
        told = _self_test()
        try:
            found = Measured.from_text(told)
        except (ValueError, TypeError) as error:
            raise UnavailableError(str(error)) from error
        found = files.keep_first(kept, told, _read) or found
    if found.complaint:
        raise UnavailableError(f"{found.complaint} (kept in {kept}; HARNESS_KERNELS=on uses them anyway)")
    return found


def _read(kept: Path) -> Measured | None:
    with suppress(OSError, ValueError, TypeError, OverflowError):  # the last of a number such as 1e999
        return Measured.from_text(kept.read_text(encoding="utf-8", errors="replace"))
    return None


def _self_test() -> str:
    """Run the self-test; return what it prints. One that fails is not kept."""
    command = [sys.executable, "-P", "-m", "harness.engines.self_test", builds.bits()]
    environment = {**os.environ, SWITCH: "on", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=TIMEOUT, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"the self-test of the kernels cannot be run: {error}") from error
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        raise UnavailableError(
            f"the self-test of the kernels ends with exit status {done.returncode} {last}".strip()
        )
    return done.stdout.strip()
