"""Steps on a GPU: each is recorded once as a CUDA graph, and replayed.

A small network's step is some dozens of kernels, and starting them takes longer than running them. A graph
starts all of them at once, but replays them on the very memory they were recorded with, and ignores what
Python does in between. So whatever differs from step to step is read from the device by the step itself:
`taken`, which it advances, says which row of the epoch's batches, of the learning rates and of dropout's
numbers belongs to it, and where its losses go. The same code, run operation by operation, is the warm-up,
whose steps are real ones, and the fallback where recording fails.

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

from harness.data.batches import Budget
from harness.data.samples import Data
from harness.engines.base import uniforms
from harness.engines.members import SeedIndex, update_key
from harness.engines.stacked.first_layer import ParameterGroup
from harness.engines.stacked.network import StackedNetwork
from harness.engines.stacked.optimizer import StackOptimizer, stack_optimizers
from harness.engines.stacked.steps import Feed
from harness.study.trials import Trial

WARM_UP = 3
"""Steps of a size before it is recorded: libraries choose their kernels, optimizers make their states."""
OTHERWISE = "so its stack trains operation by operation, which is slower"
"""The end of a note that a step is not recorded."""


class Graph(Protocol):
    """A recorder of what a function does on the device, which can do it again."""

    def capture(self, record: Callable[[], None]) -> None:
        """Record what the function does, without computing it."""

    def replay(self) -> None:
        """Compute what was recorded, on the same memory."""


class CudaGraph:
    """A torch.cuda.CUDAGraph, recorded on the device's stream of `streaming`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.graph = device, torch.cuda.CUDAGraph()

    def capture(self, record: Callable[[], None]) -> None:
        """Capture as `Graph.capture`."""
        with torch.cuda.graph(self.graph, stream=_stream(self.device)):
            record()

    def replay(self) -> None:
        """Replay as `Graph.replay`."""
        self.graph.replay()


def graphs(device: torch.device) -> Callable[[], Graph] | None:
    """Return the constructor of a device's graphs; None where it has none."""
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
        stream, before = _stream(device), torch.cuda.current_stream(device)
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            yield
        before.wait_stream(stream)


def steps(stack: StackedNetwork, data: Data, feed: Feed, note: Callable[[str], None]) -> Captured | None:
    """Return a stack's steps by graphs; None where its device has none, or, as is noted, they do not work."""
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

    kind = "graphs"

    def __init__(
        self, stack: StackedNetwork, feed: Feed, make: Callable[[], Graph], note: Callable[[str], None]
    ) -> None:
        self.stack, self.feed, self.make, self.note = stack, feed, make, note
        per_epoch, size = feed.budget.steps_per_epoch, feed.budget.batch_size
        self.taken = torch.zeros(1, dtype=torch.int64, device=stack.device)
        self.orders = self.taken.new_zeros(len(stack.seeds.seeds), per_epoch, size)
        self.of_member = torch.tensor(stack.seeds.of_member, device=stack.device)
        self.dropout = Uniforms(stack, size, feed.kept)
        self.sizes: list[int] = []  # of an epoch's batches
        self.replays: dict[int, Callable[[], None]] = {}
        self.warm: Counter[int] = Counter()

    def begin(self, orders: NDArray[np.int64], step: int) -> None:
        """Begin as `Steps.begin`."""
        size, n = self.feed.budget.batch_size, orders.shape[1]
        self.orders.view(len(orders), -1)[:, :n].copy_(torch.from_numpy(orders))
        self.taken.fill_(step)
        self.sizes = [min(size, n - at) for at in range(0, n, size)]

    def advance(self, step: int, until: int) -> int:  # noqa: ARG002 (the protocol's signature)
        """Take one step."""
        self.dropout.ready(step, self.sizes)
        self.take(self.sizes[step % len(self.sizes)])
        return 1

    def take(self, size: int) -> None:
        """Take the next step, on a batch of this size."""
        if size in self.replays:
            self.replays[size]()
        elif self.warm[size] < WARM_UP:
            self.record(size)
            self.warm[size] += 1
        else:
            self.replays[size] = self._recorded(functools.partial(self.record, size))
            self.replays[size]()

    def record(self, size: int) -> None:
        """Take a step on the device alone: no number comes back from it, or from Python."""
        stack, feed = self.stack, self.feed
        index = self.orders.index_select(1, self.taken % self.orders.shape[1])[:, 0, :size]
        samples = index[0] if len(index) == 1 else index.index_select(0, self.of_member)
        place = self.taken % feed.kept
        t = (self.taken[0] + 1).double()
        masks = self.dropout.masks_at(place, size)
        loss = stack.step(t, feed.images.at(index), feed.target[samples], masks)
        feed.losses.index_copy_(0, place, loss[None])
        self.taken.add_(1)

    def _recorded(self, record: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of the step; where recording fails, which is noted, the step itself."""
        graph, optimizers = self.make(), [group.optimizer for group in self.stack.first.groups]
        before = [[dict(state) for state in optimizer.states] for optimizer in optimizers]
        try:
            graph.capture(record)
            fault = next(filter(None, map(_replaced_state, optimizers, before)), "")
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 (whatever cannot be recorded can be computed)
            fault = f"a step cannot be recorded as a CUDA graph ({_brief(error)})"
        if not fault:
            return graph.replay
        for optimizer, states in zip(optimizers, before, strict=True):
            optimizer.states[:] = states  # tensors of the recording hold no numbers
        self.note(f"{fault}, {OTHERWISE}")
        return record


class Uniforms:
    """Dropout's numbers of the steps to come, on the device: `numbers` of each layer, (T, S, h, B).

    They are drawn as everywhere, by NumPy, as many steps T at a time as losses are looked at together.
    """

    def __init__(self, stack: StackedNetwork, batch: int, kept: int) -> None:
        self.kept, self.until = kept, 0
        self.masks = [block.masks for block in stack.blocks]
        self.seeds = SeedIndex.of(s for masks in self.masks if masks.widths for s in masks.seeds.seeds).seeds
        widest = map(max, itertools.zip_longest(*(masks.widths for masks in self.masks), fillvalue=0))
        self.numbers = [
            torch.zeros(kept, len(self.seeds), width, batch, device=stack.device) for width in widest
        ]
        self.places = [
            torch.tensor(
                [self.seeds.index(seed) for seed in masks.seeds.seeds if masks.widths], device=stack.device
            )
            for masks in self.masks
        ]

    def ready(self, step: int, sizes: Sequence[int]) -> None:
        """Draw the numbers of the step after `step`, if need be; `sizes` are those of an epoch's batches."""
        if not self.numbers or self.until - self.kept <= step < self.until:
            return
        self.until = step - step % self.kept + self.kept
        for layer, numbers in enumerate(self.numbers):
            drawn = np.zeros(numbers.shape, np.float32)
            for k in range(step, self.until):
                size = sizes[k % len(sizes)]
                for place, seed in enumerate(self.seeds):
                    u = uniforms(seed, layer, k + 1, numbers.shape[2], size)
                    drawn[k % self.kept, place, :, :size] = u
            numbers.copy_(torch.from_numpy(drawn))

    def masks_at(self, place: Tensor, size: int) -> list[list[Tensor]]:
        """Return the masks of each block, layer by layer, of the step whose numbers are at `place` (1,)."""
        layers = [numbers.index_select(0, place)[0, :, :, :size] for numbers in self.numbers]
        return [
            [
                masks.of(u.index_select(0, seeds)[:, :width])
                for u, width in zip(layers, masks.widths, strict=False)  # others may be deeper
            ]
            for masks, seeds in zip(self.masks, self.places, strict=True)
        ]


def why_not(trials: Sequence[Trial], data: Data, budget: Budget, dtype: torch.dtype) -> str:
    """Return why the step of a stack cannot be recorded; empty where it seems to be possible.

    It is tried with tensors that hold no numbers: whatever needs one in Python fails on them, and harms no
    GPU.
    """
    device = torch.device("meta")
    few = representatives(trials)
    stack = StackedNetwork(few, data, stack_optimizers(few, budget, device), device, dtype)
    feed = Feed.of(stack, data, stack.first.images(data.train), budget)
    trial_run = Captured(stack, feed, functools.partial(CudaGraph, device), lambda _: None)
    for group in stack.first.groups:
        fault = _fault(group)
        if fault:
            return f"{fault}, {OTHERWISE}"
    try:
        trial_run.record(budget.batch_size)
    except Exception as error:  # noqa: BLE001 (whatever a component does wrong, eager steps will tell)
        return f"a step cannot be recorded as a CUDA graph ({_brief(error)}), {OTHERWISE}"
    return ""


def representatives(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials that have every component of a stack's, in order, of two seeds where it has several."""
    seeds = SeedIndex.of(trial.step_seed for trial in trials).seeds[:2]
    chosen: dict[Any, Trial] = {}
    for trial in trials:
        settings = trial.arm.settings
        axes = [str(settings.get(axis)) for axis in ("activation", "head", "loss", "match")]
        if trial.step_seed in seeds:
            chosen.setdefault((trial.step_seed, *update_key(trial), *axes), trial)
    return list(chosen.values())


def _fault(group: ParameterGroup) -> str:
    """Return what keeps an optimizer's steps from being replayed; empty where nothing does."""
    optimizer, t = group.optimizer, torch.ones((), dtype=torch.float64, device=group.rest.device)
    try:
        optimizer.apply(t, [group.rest], [group.grad_rest])
        before = [dict(state) for state in optimizer.states]
        optimizer.apply(t, [group.rest], [group.grad_rest])
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it, eager steps will tell)
        return f"optimizer {optimizer.optimizer.name!r} needs numbers in Python ({_brief(error)})"
    return _replaced_state(optimizer, before)


def _replaced_state(optimizer: StackOptimizer, before: Sequence[dict[str, Any]]) -> str:
    """Return which state an optimizer's step replaced, in words; a replay would not replace it."""
    for old, new in zip(before, optimizer.states, strict=True):
        for name in new:
            if new[name] is not old.get(name):
                component = optimizer.optimizer.name
                return f"optimizer {component!r} keeps a new {name!r} at each step, not the old one"
    return ""


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
