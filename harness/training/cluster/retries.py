"""Tasks that are to be tried again: which attempts count against a task, and when it is given up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from harness.text import count
from harness.training.cluster.connection import ClusterNode
from harness.training.executors import DIED, MOST_TRIES
from harness.training.tasks import Task

PROVEN_WITHIN = 120.0  # seconds in which a node shows, by its next actor, that only the actor has died
MOST_MOVES = 50  # of a task whose nodes die under it


@dataclass
class TriedTask:
    """A task, and how its attempts have ended so far: `deaths` of actors, `moves` from nodes that died."""

    task: Task[Any]
    deaths: int = 0
    moves: int = 0

    def attempt(self) -> Task[Any]:
        """Return the task as it is tried next."""
        return self.task.retry(self.deaths) if self.deaths else self.task


@dataclass(frozen=True)
class _Suspect:
    """A task whose actor has died, on a node that may be dead as well: then it is none of the task's."""

    tried: TriedTask
    node: ClusterNode
    since: float


class Retries:
    """The tasks that wait to be tried again, and those of which it is not known yet why their actor died.

    Actors die with their nodes, and a node's death is known later than theirs. So a death counts once another
    actor has joined on the same node.
    """

    def __init__(self) -> None:
        self.waiting: deque[TriedTask] = deque()
        self._suspects: list[_Suspect] = []

    def __bool__(self) -> bool:
        """Tell whether there is a task that is not over."""
        return bool(self.waiting or self._suspects)

    def moved(self, tried: TriedTask) -> None:
        """Have a task tried elsewhere, because its node has died or cannot be reached."""
        tried.moves += 1
        self.waiting.appendleft(tried)

    def died(self, tried: TriedTask, node: ClusterNode) -> None:
        """Note that a task's actor has died on a node."""
        self._suspects.append(_Suspect(tried, node, time.monotonic()))

    def proven(self, node: ClusterNode) -> None:
        """Count the deaths of actors on a node that is alive: it was the task, or a stray kill."""
        for suspect in [one for one in self._suspects if one.node.node_id == node.node_id]:
            self._count(suspect)

    def _count(self, suspect: _Suspect) -> None:
        self._suspects.remove(suspect)
        suspect.tried.deaths += 1
        self.waiting.append(suspect.tried)

    def given_up(self, alive: Collection[str]) -> Iterator[Any]:
        """Judge by the nodes that are alive; yields the results of tasks that are not tried again."""
        for suspect in list(self._suspects):
            if suspect.node.node_id not in alive:
                self._suspects.remove(suspect)
                self.moved(suspect.tried)
            elif time.monotonic() - suspect.since > PROVEN_WITHIN:
                self._count(suspect)
        for tried in [one for one in self.waiting if one.deaths >= MOST_TRIES or one.moves > MOST_MOVES]:
            self.waiting.remove(tried)
            often = f"{DIED} {count(tried.deaths, 'time')}" if tried.deaths >= MOST_TRIES else ""
            yield tried.task.died(often or f"{count(tried.moves, 'node')} died while it was trained there")
