"""Leaving: what actors are asked for before they are ended, within a time however the cluster is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.system import signals
from harness.training.cluster.actors import Answer

IDLE_WITHIN = 10.0  # seconds for an actor that trains nothing to remove its folder, on a busy node
JOINING_WITHIN = 2.0  # seconds for one that has not joined yet, and may never be started
ON_THE_WAY = 0.5  # seconds of the grace that a save takes to the driver


class Leaver(Protocol):
    """An actor of a run, as the executor keeps it."""

    handle: Any
    answer: Any
    joined: bool
    work: Any


def leave(ray: Any, actors: Sequence[Leaver], group: str, take: Callable[[Any, Answer], object]) -> None:
    """Ask actors to save what they train, and to remove their folders.

    Args:
        ray: the module.
        actors: those that are about to be ended.
        group: the concurrency group of what is asked while an actor trains.
        take: is given the work of an actor, and its answer.
    """
    training = {actor.answer: actor.work for actor in actors if actor.work is not None}
    grace = signals.GRACE if training else IDLE_WITHIN
    asked = [
        actor.handle.leave.options(concurrency_group=group).remote(grace - ON_THE_WAY) for actor in actors
    ]
    joined = [reference for reference, actor in zip(asked, actors, strict=True) if actor.joined]
    for references, seconds in ((asked, JOINING_WITHIN), (joined, grace - JOINING_WITHIN)):
        if references:
            ray.wait(references, num_returns=len(references), timeout=seconds)
    if training:
        done, _ = ray.wait(list(training), num_returns=len(training), timeout=ON_THE_WAY)
        for reference in done:
            take(training[reference], ray.get(reference))
