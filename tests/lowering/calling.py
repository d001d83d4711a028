"""Compiled texts, called from tests: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.lowering import templates
from harness.lowering.lowered import facts_of

HEADERS = Path(templates.__file__).parent / "headers"
REALS = {"float32": ("float", 4), "float64": ("double", 8)}
FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-w",
    "-Wno-psabi",
    "-fPIC",
    "-shared",
)
Array = npt.NDArray[Any]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def shared_object(text: str, dtype: str, *more: str) -> Path:
    real, size = REALS[dtype]
    key = hashlib.sha256("\n".join((text, dtype, *more)).encode()).hexdigest()[:20]
    source, built = (Path(_folder().name) / f"{key}.{ending}" for ending in ("c", "so"))
    source.write_text(text)
    command: list[str] = [
        *shlex.split(os.environ.get("CC") or "cc"),
        *FLAGS,
        *more,
        f"-DREAL={real}",
        f"-DREAL_BYTES={size}",
        f"-I{HEADERS}",
        "-o",
        str(built),
        str(source),
        "-lm",
    ]
    subprocess.run(command, check=True)
    return built


def at(array: Array | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def n(count: int) -> ctypes.c_int64:
    return ctypes.c_int64(count)


def filled(array: Array, lanes: int = 16) -> Array:
    """Fill the last axis up to whole vectors, with what could do harm."""
    more = -array.shape[-1] % lanes
    width = [(0, 0)] * (array.ndim - 1) + [(0, more)]
    filling: Any = np.nan if array.dtype.kind == "f" else 0
    return np.ascontiguousarray(np.pad(array, width, constant_values=filling))


@dataclass
class Compiled:
    """A component's text, compiled for a type of numbers."""

    text: str
    dtype: str = "float32"
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.library = ctypes.CDLL(str(shared_object(self.text, self.dtype, *self.flags)))
        self.facts = facts_of(self.text)
        self.labels = np.int32 if self.dtype == "float32" else np.int64
        self.real = ctypes.c_float if self.dtype == "float32" else ctypes.c_double

    def settings(self, values: Sequence[float]) -> Array:
        return np.array([*values, np.nan], dtype=np.float64)

    def activate(self, x: Array) -> Array:
        x = filled(x.astype(self.dtype))
        y = np.empty_like(x)
        self.library.activate(at(x), at(y), n(x.size))
        return y

    def derive(self, grad: Array, x: Array, y: Array) -> Array:
        result, x, y = (filled(a.astype(self.dtype)) for a in (grad, x, y))
        self.library.derive(at(result), at(x), at(y), n(x.size))
        return result

    def loss(
        self, z: Array, label: Array, keep: float = 1.0, spread: float = 0.0, settings: Sequence[float] = ()
    ) -> tuple[float, Array]:
        """Return the mean loss of logits (B, C), and its gradient (B, C)."""
        count = len(label)
        logits, labels = filled(z.T.astype(self.dtype)), filled(label.astype(self.labels))
        grad = np.full_like(logits, 7.0)
        self.library.loss.restype = self.real
        value = self.library.loss(
            at(logits), at(labels), n(logits.shape[1]), n(count), self.real(keep), self.real(spread),
            at(self.settings(settings)), at(grad),
        )  # fmt: skip
        assert not grad[:, count:].any()
        return float(value), grad[:, :count].T

    def judge(
        self, z: Array, label: Array, settings: Sequence[float] = ()
    ) -> tuple[float, int, Array, Array]:
        """Return the sum of losses, the hits, and each sample's best class and its probability."""
        count = len(label)
        logits, labels = filled(z.T.astype(self.dtype)), filled(label.astype(self.labels))
        loss, hits = np.zeros(1), np.zeros(1, np.int64)
        best, sure = np.full(count, -1), np.full(count, 7.0, self.dtype)
        for wanted in ((best, sure), (None, None)):
            self.library.judge(
                at(logits), at(labels), n(logits.shape[1]), n(count), at(self.settings(settings)),
                at(loss), at(hits), at(wanted[0]), at(wanted[1]),
            )  # fmt: skip
        assert hits[0] % 2 == 0, "it is added to"
        return float(loss[0]) / 2, int(hits[0]) // 2, best, sure

    def measure(self, z: Array, label: Array) -> float:
        logits, labels = filled(z.T.astype(self.dtype)), filled(label.astype(self.labels))
        total = np.zeros(1)
        self.library.measure(at(logits), at(labels), n(logits.shape[1]), n(len(label)), at(total))
        return float(total[0])

    def scalars(self, t: int, settings: Mapping[str, float]) -> Array:
        to = np.full(self.facts["scalars"] + 1, np.nan, self.dtype)
        given = self.settings([settings[name] for name in self.facts["settings"]])
        self.library.scalars(ctypes.c_double(t), at(given), at(to))
        return to

    def step_rows(
        self, w: Array, g: Array, states: list[Array], t: int, settings: Mapping[str, float]
    ) -> None:
        """Take a step in place; states are made at the first one."""
        if t == 1:
            states[:] = [np.full_like(w, np.nan) for _ in self.facts["states"]]
        places = (ctypes.c_void_p * (len(states) + 1))(*[s.ctypes.data for s in states])
        scalars = self.scalars(t, settings)
        self.library.step_rows(at(w), at(g), places, n(w.size), n(t == 1), at(scalars))


class Turned(ctypes.Structure):
    """The struct `turned` in C."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("start", "sample", "value")]


class TilesStep(ctypes.Structure):
    """The struct `tiles_step` in C."""

    _fields_ = [
        ("w", ctypes.c_void_p),
        ("state", ctypes.c_void_p * 4),
        *((name, ctypes.c_void_p) for name in ("sums", "c", "total", "moved", "occurs")),
        *((name, ctypes.c_int64) for name in ("d", "width", "first")),
        ("scalars", ctypes.c_void_p * 8),
    ]
