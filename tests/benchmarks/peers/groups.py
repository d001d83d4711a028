"""Trials that train together, one or many, timed whole or over fewer steps: what most peers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from harness.data.samples import Data, Split
from peers.shares import Share, Timing, now


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
    begun = now()
    data = share.work.load()
    wall, cpu = (now() - begun).tolist()
    if share.extent == "parts":
        chunk = min(chunk, share.work.steps_per_epoch)
        timing = in_parts(share, start, data, chunk, min(chunk, warm_up))
    else:
        timing = whole(share, start, data)
    return replace(timing, wall=wall + timing.wall, cpu=cpu + timing.cpu)


def whole(share: Share, start: Start, data: Data) -> Timing:
    """All steps and evaluations of the first group, or of all; loading is not in it."""
    done = share.each() if share.extent == "all" else [replace(share, rates=share.first)]
    begun = now()
    accuracies = [accuracy for group in done for accuracy in _trained(group, start, data)]
    n, times = len(accuracies), len(share.rates) / len(accuracies)
    wall, cpu = (times * (now() - begun)).tolist()
    told = f"{n} of {len(share.rates)} trials, all their steps" if times > 1 else ""
    return Timing(wall, cpu, n, told, accuracies)


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
    work, n, begun = share.work, len(share.first), now()
    group = start(data, share)
    started = now() - begun
    group.train(warm_up)
    steps, before = 0, now()
    while steps == 0 or now()[0] - before[0] < share.slice:
        group.train(chunk)
        steps += chunk
    step = (now() - before) / steps
    before = now()
    _observe(group)
    observed = now() - before
    before = now()
    group.evaluate("test")
    one = started + work.steps * step + (work.epochs + 1) * observed + (now() - before)
    wall, cpu = (share.groups * one).tolist()
    told = f"{steps} of {work.steps} steps of {n} of {len(share.rates)} trials, evaluations once"
    return Timing(wall, cpu, n, told)


def _observe(group: Group) -> None:
    group.evaluate("train")
    group.evaluate("val")
