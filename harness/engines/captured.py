"""Steps on a GPU: each is recorded once as a CUDA graph, and replayed.

A small network's step is some dozens of kernels, and starting them takes longer than running them. A graph
starts all of them at once, but replays them on the very memory they were recorded with, and knows nothing of
what Python does in between. So whatever differs from step to step is read from the device by the step itself:
`taken`, which it advances, says which row of the epoch's batches, of the learning rates and of dropout's
numbers is its own, and where its losses go. The same code, run operation by operation, is the warm-up, whose
steps are real ones, and what is left where recording fails.

Source: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.batches import Budget
from harness.data import Data
from harness.dropout import uniforms
from harness.engines.stack import Stack
from harness.engines.steps import Feed
from harness.engines.updates import Updates, update_key, updates_of
from harness.trials import Trial

WARM_UP = (
    3  # steps of a size before it is recorded: libraries choose their kernels, optimizers make their states
)
OTHERWISE = "so its stack trains operation by operation, which is slower"


class Graph(Protocol):
    """Something that records what a function does on the device, and does it again."""

    def capture(self, record: Callable[[], None]) -> None:
        """Record what the function does; nothing is computed."""

    def replay(self) -> None:
        """Compute what was recorded, on the same memory."""


class CudaGraph:
    """A torch.cuda.CUDAGraph, recorded on the device's stream of `streaming`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.graph = device, torch.cuda.CUDAGraph()

    def capture(self, record: Callable[[], None]) -> None:
        """As `Graph.capture`."""
        with torch.cuda.graph(self.graph, stream=_stream(self.device)):
            record()

    def replay(self) -> None:
        """As `Graph.replay`."""
        self.graph.replay()


class Rerun:
    """In the place of a graph that could not be recorded: calls the function."""

    def capture(self, record: Callable[[], None]) -> None:
        """As `Graph.capture`."""
        self.record = record

    def replay(self) -> None:
        """As `Graph.replay`."""
        self.record()


def graphs(device: torch.device) -> Callable[[], Graph] | None:
    """What makes graphs on a device; None where there are none."""
    return functools.partial(CudaGraph, device) if device.type == "cuda" else None


@functools.cache  # memory that one stream gave back is not another's
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def streaming(device: torch.device) -> Iterator[None]:
    """Compute on a stream of the device's own, because the default one cannot be recorded."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        own, before = _stream(device), torch.cuda.current_stream(device)
        own.wait_stream(before)
        with torch.cuda.stream(own):
            yield
        before.wait_stream(own)


def steps(stack: Stack, data: Data, feed: Feed, note: Callable[[str], None]) -> Captured | None:
    """A stack's steps by graphs; None where its device has none, or where, as is noted, that cannot be."""
    make = graphs(stack.device)
    if make is None:
        return None
    reason = why_not(stack.trials, data, feed.budget, stack.dtype)
    if reason:
        note(reason)
        return None
    return Captured(stack, feed, make, note)


class Captured:
    """The steps of a stack, recorded by batch size: full ones, and an epoch's short last one."""

    def __init__(
        self, stack: Stack, feed: Feed, make: Callable[[], Graph], note: Callable[[str], None]
    ) -> None:
        self.stack, self.feed, self.make, self.note = stack, feed, make, note
        per_epoch, size = feed.budget.steps_per_epoch, feed.budget.batch_size
        self.taken = torch.zeros(1, dtype=torch.int64, device=stack.device)
        self.orders = self.taken.new_zeros(len(stack.seeds), per_epoch, size)
        self.rows = torch.tensor(stack.rows, device=stack.device)
        self.dropout = Uniforms(stack, size, feed.kept)
        self.sizes: list[int] = []  # of an epoch's batches
        self.graphs: dict[int, Graph] = {}
        self.warm: Counter[int] = Counter()

    def begin(self, orders: NDArray[np.int64], step: int) -> None:
        """As `Steps.begin`."""
        size, n = self.feed.budget.batch_size, orders.shape[1]
        self.orders.view(len(orders), -1)[:, :n].copy_(torch.from_numpy(orders))
        self.taken.fill_(step)
        self.sizes = [min(size, n - at) for at in range(0, n, size)]

    def advance(self, step: int) -> int:
        """As `Steps.advance`: one."""
        self.dropout.ready(step, self.sizes)
        self.take(self.sizes[step % len(self.sizes)])
        return 1

    def take(self, size: int) -> None:
        """Take the next step, on a batch of this size."""
        if size in self.graphs:
            self.graphs[size].replay()
        elif self.warm[size] < WARM_UP:
            self.record(size)
            self.warm[size] += 1
        else:
            self.graphs[size] = self._recorded(functools.partial(self.record, size))
            self.graphs[size].replay()

    def record(self, size: int) -> None:
        """One step, all of it on the device: no number of it comes back, and none comes from Python."""
        stack, feed = self.stack, self.feed
        index = self.orders.index_select(1, self.taken % self.orders.shape[1])[:, 0, :size]
        mine = index[0] if len(index) == 1 else index.index_select(0, self.rows)
        place = self.taken % feed.kept
        t = (self.taken[0] + 1).double()
        masks = self.dropout.masks(place, size)
        loss = stack.step(t, feed.images.at(index), feed.target[mine], masks)
        feed.losses.index_copy_(0, place, loss[None])
        self.taken.add_(1)

    def _recorded(self, record: Callable[[], None]) -> Graph:
        """A graph of the step; where that fails, which is noted, what computes it anyway."""
        graph, updates = self.make(), [part.update for part in self.stack.first.parts]
        before = [[dict(state) for state in update.states] for update in updates]
        try:
            graph.capture(record)
            fault = next(filter(None, map(_changed, updates, before)), "")
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 (whatever cannot be recorded can be computed)
            fault = f"a step cannot be recorded as a CUDA graph ({_told(error)})"
        if not fault:
            return graph
        for update, states in zip(updates, before, strict=True):
            update.states[:] = states  # what recording put there holds nothing
        self.note(f"{fault}, {OTHERWISE}")
        rerun = Rerun()
        rerun.capture(record)
        return rerun


class Uniforms:
    """Dropout's numbers of the steps to come, on the device: `numbers` of each layer, (T, S, h, B).

    They are drawn as everywhere, by NumPy, as many steps T at a time as losses are looked at together.
    """

    def __init__(self, stack: Stack, batch: int, kept: int) -> None:
        self.kept, self.until = kept, 0
        self.blocks = [block.masks for block in stack.blocks]
        self.seeds = list(dict.fromkeys(s for masks in self.blocks if masks.widths for s in masks.seeds))
        widest = map(max, itertools.zip_longest(*(masks.widths for masks in self.blocks), fillvalue=0))
        self.numbers = [
            torch.zeros(kept, len(self.seeds), width, batch, device=stack.device) for width in widest
        ]
        self.places = [
            torch.tensor([self.seeds.index(s) for s in masks.seeds if masks.widths], device=stack.device)
            for masks in self.blocks
        ]

    def ready(self, step: int, sizes: Sequence[int]) -> None:
        """Have the numbers of the step after `step` others; `sizes` are those of an epoch's batches."""
        if not self.numbers or self.until - self.kept <= step < self.until:
            return
        self.until = step - step % self.kept + self.kept
        for layer, numbers in enumerate(self.numbers):
            drawn = np.zeros(numbers.shape, np.float32)
            for own in range(step, self.until):
                size = sizes[own % len(sizes)]
                for place, seed in enumerate(self.seeds):
                    u = uniforms(seed, layer, own + 1, numbers.shape[2], size)
                    drawn[own % self.kept, place, :, :size] = u
            numbers.copy_(torch.from_numpy(drawn))

    def masks(self, place: Tensor, size: int) -> list[list[Tensor]]:
        """The masks of each block, layer by layer, for the step whose numbers are at `place` (1,)."""
        own = [numbers.index_select(0, place)[0, :, :, :size] for numbers in self.numbers]
        return [
            [
                masks.of(u.index_select(0, seeds)[:, :width])
                for u, width in zip(own, masks.widths, strict=False)  # others may be deeper
            ]
            for masks, seeds in zip(self.blocks, self.places, strict=True)
        ]


def why_not(trials: Sequence[Trial], data: Data, budget: Budget, dtype: torch.dtype) -> str:
    """Why the step of a stack cannot be recorded; empty where it seems to be possible.

    Found out by trying, with tensors that hold no numbers: whatever needs one in Python fails on them, and
    harms no GPU.
    """
    device = torch.device("meta")
    few = representatives(trials)
    stack = Stack(few, data, updates_of(few, budget, device), device, dtype)
    feed = Feed.of(stack, data, stack.first.images(data.train), budget)
    tried = Captured(stack, feed, Rerun, lambda _: None)
    t = torch.ones((), dtype=torch.float64, device=device)
    for part in stack.first.parts:
        fault = _fault(part.update, functools.partial(part.update.apply, t, [part.rest], [part.grad_rest]))
        if fault:
            return f"{fault}, {OTHERWISE}"
    try:
        tried.record(budget.batch_size)
    except Exception as error:  # noqa: BLE001 (whatever a component does wrong, eager steps will tell)
        return f"a step cannot be recorded as a CUDA graph ({_told(error)}), {OTHERWISE}"
    return ""


def representatives(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that have every component of a stack's, in their order, of two seeds where it has several."""
    seeds = list(dict.fromkeys(trial.seed for trial in trials))[:2]
    found: dict[Any, Trial] = {}
    for trial in trials:
        settings = trial.arm.settings
        axes = [str(settings.get(axis)) for axis in ("activation", "head", "loss", "match")]
        if trial.seed in seeds:
            found.setdefault((trial.seed, *update_key(trial), *axes), trial)
    return list(found.values())


def _fault(update: Updates, apply: Callable[[], None]) -> str:
    """What keeps an optimizer's steps from being replayed; empty where nothing does."""
    try:
        apply()
        before = [dict(state) for state in update.states]
        apply()
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it, eager steps will tell)
        return f"optimizer {update.optimizer.name!r} needs numbers in Python ({_told(error)})"
    return _changed(update, before)


def _changed(update: Updates, before: Sequence[dict[str, Any]]) -> str:
    """What an optimizer's step put in the place of what it had kept, in words; a replay would not."""
    for was, now in zip(before, update.states, strict=True):
        for name in now:
            if now[name] is not was.get(name):
                return (
                    f"optimizer {update.optimizer.name!r} keeps a new {name!r} at each step, not the old one"
                )
    return ""


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
