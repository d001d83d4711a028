"""Calls of compiled components on arrays, in a process of their own: one that crashes or hangs ends alone.

`python -m harness.lowering.calls` reads frames from its input, each a component and the arrays it is given,
and answers each with the arrays that it writes. Nothing here needs torch.
"""

from __future__ import annotations

import ctypes
import io
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from ctypes import POINTER, Structure, c_double, c_float, c_int64, c_void_p
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
WIDEST = 8
"""Tiles that read a transposed batch together: WIDEST in C."""
MOST_STATES = 4
"""States of an optimizer, at most: MOST_STATES in C."""
GUARD = 64
"""Bytes on either side of an array that a component must leave as they are."""
PATTERN = 0xA5
OVERRUN = "overrun"
"""Name of an answer that says that memory beside the arrays was written."""


class TurnedBatch(Structure):
    """The struct `turned` in C."""

    _fields_ = [("start", c_void_p), ("sample", c_void_p), ("value", c_void_p)]


class TilesStep(Structure):
    """The struct `tiles_step` in C."""

    _fields_ = [
        ("w", c_void_p), ("state", c_void_p * MOST_STATES),
        *((name, c_void_p) for name in ("sums", "c", "total", "moved", "occurs")),
        *((name, c_int64) for name in ("d", "width", "first")),
        ("scalars", c_void_p * WIDEST),
    ]  # fmt: skip


class Memory:
    """Arrays between guards, so that one that is written beyond its ends is noticed."""

    def __init__(self) -> None:
        self._buffers: list[tuple[NDArray[np.uint8], int]] = []

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Copy an array."""
        values = np.ascontiguousarray(values)
        buffer = np.full(values.nbytes + 2 * GUARD, PATTERN, np.uint8)
        self._buffers.append((buffer, values.nbytes))
        copy = buffer[GUARD : GUARD + values.nbytes].view(values.dtype).reshape(values.shape)
        copy[...] = values
        return copy

    def room(self, shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array that is to be written, of NaN where numbers are real."""
        return self.of(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -1, dtype))

    @property
    def whole(self) -> bool:
        """Tell whether all guards are as they were."""
        return all(
            (buffer[:GUARD] == PATTERN).all() and (buffer[GUARD + size :] == PATTERN).all()
            for buffer, size in self._buffers
        )


def _at(values: NDArray[Any]) -> c_void_p:
    return c_void_p(values.ctypes.data)


def _real(dtype: Any) -> Any:
    return c_float if np.dtype(dtype) == np.float32 else c_double


def activation(loaded: ctypes.CDLL, given: Arrays, memory: Memory) -> dict[str, NDArray[Any]]:
    """Compute y of x, and the gradient at x of `grad` at y."""
    x, grad = memory.of(given["x"]), memory.of(given["grad"])
    y, n = memory.room(x.shape, x.dtype), c_int64(x.size)
    loaded.activate(_at(x), _at(y), n)
    loaded.derive(_at(grad), _at(x), _at(y), n)
    return {"y": y, "grad": grad}


def output(loaded: ctypes.CDLL, given: Arrays, memory: Memory) -> dict[str, NDArray[Any]]:
    """Compute the loss of a batch and its gradient, and judge the batch.

    `z` (C, b), `label` (b,), `count`, `target` (keep, spread) and `settings`.
    """
    z, label, settings = (memory.of(given[name]) for name in ("z", "label", "settings"))
    real, b, count = _real(z.dtype), c_int64(z.shape[1]), int(given["count"])
    grad, best = memory.room(z.shape, z.dtype), memory.room(count, np.int64)
    sure, total, hits = memory.room(count, z.dtype), memory.of(np.zeros(1)), memory.of(np.zeros(1, np.int64))
    loaded.loss.restype = real
    keep, spread = map(real, given["target"])
    loss = loaded.loss(_at(z), _at(label), b, c_int64(count), keep, spread, _at(settings), _at(grad))
    loaded.judge.restype = None
    loaded.judge(
        _at(z), _at(label), b, c_int64(count), _at(settings), _at(total), _at(hits), _at(best), _at(sure)
    )
    totals = {"total": total.copy(), "hits": hits.copy()}
    loaded.judge(_at(z), _at(label), b, c_int64(count), _at(settings), _at(total), _at(hits), None, None)
    twice = {"total_twice": total, "hits_twice": hits}
    return {"loss": np.array(loss), "grad": grad, "best": best, "sure": sure, **totals, **twice}


def metric(loaded: ctypes.CDLL, given: Arrays, memory: Memory) -> dict[str, NDArray[Any]]:
    """Compute the sum of a metric over a batch, as `output`; it is added to 1."""
    z, label, total = memory.of(given["z"]), memory.of(given["label"]), memory.of(np.ones(1))
    loaded.measure(_at(z), _at(label), c_int64(z.shape[1]), c_int64(int(given["count"])), _at(total))
    return {"total": total - 1}


def rows(loaded: ctypes.CDLL, given: Arrays, memory: Memory) -> dict[str, NDArray[Any]]:
    """Take steps of parameters (n,) by gradients (T, n) and settings (T, S); return them after each (T, n).

    `sizes` are the numbers of states and of scalars.
    """
    w, grads, settings = (memory.of(given[name]) for name in ("w", "grads", "settings"))
    states, scalars = map(int, given["sizes"])
    kept = [memory.room(w.shape, w.dtype) for _ in range(states)]
    addresses = (c_void_p * max(1, states))(*(state.ctypes.data for state in kept))
    numbers, after = memory.room(scalars, w.dtype), []
    for t, (grad, values) in enumerate(zip(grads, settings, strict=True), 1):
        loaded.scalars(c_double(t), _at(values), _at(numbers))
        loaded.step_rows(_at(w), _at(grad), addresses, c_int64(w.size), c_int64(t == 1), _at(numbers))
        after.append(w.copy())
    return {"w": np.array(after)}


def tiles(loaded: ctypes.CDLL, given: Arrays, memory: Memory) -> dict[str, NDArray[Any]]:
    """Take steps of tiles `w` (width, d, LANES), each member's by settings (T, width, S).

    `u` (B, d) are pixels without their `c` (d,), which may be empty; `sums` (T, B, width, LANES) are
    gradients; `occurs` (d,) may be empty, too. Returns weights and `moved` after each step.
    """
    w, settings = memory.of(given["w"]), memory.of(given["settings"])
    width, d, lanes = w.shape
    states, scalars = map(int, given["sizes"])
    start, sample, value = (memory.of(part) for part in _turned(given["u"]))
    kept = [memory.room(w.shape, w.dtype) for _ in range(states)]
    numbers = [memory.room(scalars, w.dtype) for _ in range(width)]
    c, occurs = (memory.of(given[name]) if given[name].size else None for name in ("c", "occurs"))
    after: list[NDArray[Any]] = []
    moves: list[NDArray[Any]] = []
    loaded.step_tiles.argtypes = [POINTER(TilesStep), TurnedBatch]
    loaded.step_tiles.restype = None
    for t, each in enumerate(given["sums"], 1):
        for member in range(width):
            loaded.scalars(c_double(t), _at(settings[t - 1, member]), _at(numbers[member]))
        sums, total = memory.of(each), memory.of(each.sum(0))
        moved = memory.room((width, lanes), w.dtype)
        step = TilesStep(w=_at(w), sums=_at(sums), d=d, width=width, first=t == 1)
        step.state = (c_void_p * MOST_STATES)(*(state.ctypes.data for state in kept))
        step.scalars = (c_void_p * WIDEST)(*(part.ctypes.data for part in numbers))
        if c is not None:
            step.c, step.total, step.moved = _at(c), _at(total), _at(moved)
        if occurs is not None:
            step.occurs = _at(occurs)
        loaded.step_tiles(ctypes.byref(step), TurnedBatch(_at(start), _at(sample), _at(value)))
        after.append(w.copy())
        moves.append(moved)
    return {"w": np.array(after), "moved": np.array(moves)}


def _turned(u: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Turn a batch (B, d): for each pixel, the samples in which it is not zero, and its values there."""
    pixel, sample = np.nonzero(u.T)
    start = np.searchsorted(pixel, np.arange(u.shape[1] + 1)).astype(np.int32)
    return start, sample.astype(np.int32), u.T[pixel, sample]


CALLS: Mapping[str, Callable[[ctypes.CDLL, Arrays, Memory], dict[str, NDArray[Any]]]] = {
    "activation": activation, "output": output, "metric": metric, "rows": rows, "tiles": tiles,
}  # fmt: skip


def call(path: str, what: str, given: Arrays) -> dict[str, NDArray[Any]]:
    """Call a component, one of CALLS, in this process."""
    memory = Memory()
    answer = CALLS[what](ctypes.CDLL(path), given, memory)
    return {name: values.copy() for name, values in answer.items()} if memory.whole else {OVERRUN: np.ones(1)}


# ----------------------------------------------------------------------------------------------------- frames


def frames(stream: BinaryIO) -> Iterator[dict[str, NDArray[Any]]]:
    """Read the arrays of each frame, to the end of a stream or of what is whole of it."""
    with suppress(struct.error, ValueError, OSError, EOFError):
        while True:
            (size,) = struct.unpack("<Q", stream.read(8))
            content = stream.read(size)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                frame = dict(arrays)
            yield frame


def frame(arrays: Arrays) -> bytes:
    """Return arrays as a frame."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return struct.pack("<Q", content.tell()) + content.getvalue()


def serve(source: BinaryIO, target: BinaryIO, calls: Iterable[str]) -> None:
    """Answer the frames of a stream, which come with `path` and the name of the call."""
    known = set(calls)
    for given in frames(source):
        path, what = str(given.pop("path")), str(given.pop("what"))
        if what in known:
            target.write(frame(call(path, what, given)))
            target.flush()


if __name__ == "__main__":
    with np.errstate(all="ignore"), os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what compiled code might print is no answer
        serve(sys.stdin.buffer, answers, CALLS)
