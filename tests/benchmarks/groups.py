"""Trials that train together, one or many, timed whole or over fewer steps: what most peers share."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from work import Share, Timing, load

from harness.data.samples import Data, Split


class Group(Protocol):
    """The trials of one group, in training."""

    def train(self, steps: int) -> None:
        """Train on the first `steps` batches of a new order of the training images; an epoch at most."""

    def evaluate(self, split: Split) -> Sequence[float]:
        """Mean loss and accuracy of a split, computed; gives each trial's accuracy."""


Start = Callable[[Data, Share], Group]
"""From the data to the first group of a share, initialised."""


def time(share: Share, start: Start, chunk: int = 100, warm_up: int = 5) -> Timing:
    """Time a share's first group and count it for all of them.

    Args:
        share: what to do.
        start: makes the group.
        chunk: steps that are trained at a time, where not all are.
        warm_up: steps before those that are timed.
    """
    begun = clock.perf_counter()
    data = load(share.work)
    loaded = clock.perf_counter() - begun
    if share.extent == "parts":
        chunk = min(chunk, share.work.steps_per_epoch)
        timing = in_parts(share, start, data, chunk, min(chunk, warm_up))
    else:
        timing = whole(share, start, data)
    seconds, measured = loaded + timing.seconds, loaded + timing.measured
    return replace(timing, load=loaded, seconds=seconds, measured=measured, device=share.device)


def whole(share: Share, start: Start, data: Data) -> Timing:
    """All steps and evaluations of the first group, or of all; loading is not in it."""
    done = share.each() if share.extent == "all" else [replace(share, rates=share.first)]
    begun = clock.perf_counter()
    accuracies = [accuracy for group in done for accuracy in _trained(group, start, data)]
    measured = clock.perf_counter() - begun
    times, n = len(share.rates) / len(accuracies), len(accuracies)
    told = f"{n} of {len(share.rates)} trials, all their steps" if times > 1 else ""
    return Timing(
        times * measured, measured, 0.0, steps=share.work.steps, trials=n, extrapolated=told,
        accuracies=accuracies,
    )  # fmt: skip


def _trained(share: Share, start: Start, data: Data) -> Sequence[float]:
    """Test accuracies of one group, trained to the end."""
    group = start(data, share)
    _observe(group)
    for _ in range(share.work.epochs):
        group.train(share.work.steps_per_epoch)
        _observe(group)
    return [float(one) for one in group.evaluate("test")]


def in_parts(share: Share, start: Start, data: Data, chunk: int, warm_up: int) -> Timing:
    """Steps of the first group for `slice` seconds and each evaluation once, multiplied; without loading."""
    begun, work, n = clock.perf_counter(), share.work, len(share.first)
    group = start(data, share)
    started = clock.perf_counter() - begun
    group.train(warm_up)
    steps, before = 0, clock.perf_counter()
    while steps == 0 or clock.perf_counter() - before < share.slice:
        group.train(chunk)
        steps += chunk
    step = (clock.perf_counter() - before) / steps
    before = clock.perf_counter()
    _observe(group)
    observed = clock.perf_counter() - before
    before = clock.perf_counter()
    group.evaluate("test")
    tested = clock.perf_counter() - before
    one = started + work.steps * step + (work.epochs + 1) * observed + tested
    return Timing(
        share.groups * one, clock.perf_counter() - begun, 0.0, steps=steps, trials=n,
        extrapolated=f"{steps} of {work.steps} steps of {n} of {len(share.rates)} trials, evaluations once",
    )  # fmt: skip


def _observe(group: Group) -> None:
    group.evaluate("train")
    group.evaluate("val")
