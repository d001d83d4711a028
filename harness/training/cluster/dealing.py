"""Dealing: which task a node trains next, so that the arms of a seed are trained on one kind of processor.

So are all stages of a search's stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import notes
from harness.planning import kinds
from harness.planning.cost import stack_seconds
from harness.planning.kinds import Deal, Kind
from harness.training.executors import Take
from harness.training.tasks import Task


class Dealing:
    """The tasks of a run that wait, the first ones first, dealt over the kinds of its nodes.

    They are dealt anew where a kind has come, has gone, or has other workers; seeds that have been begun on a
    kind stay there.
    """

    def __init__(self, tasks: Sequence[Task[Any]]) -> None:
        self._tasks = list(tasks)
        self._waiting = dict(enumerate(self._tasks))
        self._begun: dict[int, Kind] = {}
        self._seconds: dict[str, float] = {}
        self._workers: Mapping[Kind, int] = {}
        self._deal: Deal | None = None
        self._told: set[tuple[frozenset[Kind], bool]] = set()

    def take(self, kind: Kind, workers: Mapping[Kind, int]) -> Task[Any] | None:
        """Take the next task for a node of a kind; None where the others are to train what is left.

        `workers` maps each kind to the number of its actors, 0 for none; kinds are told apart by their names.
        """
        if not self._waiting:
            return None
        if len(workers) < 2 and self._deal is None:
            place = next(iter(self._waiting))
            self._begun[place] = kind
            return self._waiting.pop(place)
        if self._deal is None or workers != self._workers:
            self._deal, self._workers = self._dealt(workers), dict(workers)
            self._tell(self._deal)
        places = {task.stack.group: place for place, task in self._waiting.items()}
        group = self._deal.choose(list(places), kind, workers)
        if group is None:
            return None
        self._begun[places[group]] = kind
        return self._waiting.pop(places[group])

    def any(self) -> Task[Any] | None:
        """Take the first task that waits, for whoever comes; None where none does."""
        return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None

    def prefers(self, task: Task[Any], kind: Kind, workers: Mapping[Kind, int]) -> bool:
        """Tell whether a node of a kind may try a task again: its own kind's, or one whose kind has gone."""
        if len(workers) < 2:
            return True
        begun = self._by_group()
        before = begun.get(task.stack.group, kind)
        return before == kind or not workers.get(before)

    def _by_group(self) -> dict[str, Kind]:
        return {self._tasks[place].stack.group: kind for place, kind in self._begun.items()}

    def _dealt(self, workers: Mapping[Kind, int]) -> Deal:
        stacks = [task.stack for task in self._tasks]
        left = {task.stack.group for task in self._waiting.values()}
        if not self._seconds:
            self._seconds = {stack.group: stack_seconds(stack) for stack in stacks}
        seconds = [self._seconds[stack.group] if stack.group in left else 0.0 for stack in stacks]
        return kinds.deal(stacks, seconds, workers, self._by_group())

    def _tell(self, deal: Deal) -> None:
        """Say that there are several kinds: once of the same ones, and once more where seeds are parted."""
        way = frozenset(deal.places.values()), bool(deal.parted)
        if way not in self._told:
            self._told.add(way)
            for line in deal.words():
                notes.warn(line)


class StageDealing:
    """The stages that a search gives one by one: a stack goes on with the kind of processor that began it.

    Where that kind has gone, any other goes on with it, and its rows name both.
    """

    def __init__(self, take: Take[Any]) -> None:
        self._take = take
        self._held: list[Task[Any]] = []
        self._begun: dict[str, Kind] = {}
        self._told = False

    def take(self, kind: Kind, workers: Mapping[Kind, int]) -> Task[Any] | None:
        """Take the next stage for a node of a kind; None where there is none, or the others' alone."""
        if len(workers) > 1 and not self._told:
            self._told = True
            notes.warn(
                f"nodes of {len(workers)} kinds of processor train this search: numbers, and what is "
                "suggested by them, may differ in the last digits from one search to the next. --bits "
                "portable makes them the same"
            )
        task = next((held for held in self._held if self.prefers(held, kind, workers)), None)
        if task is not None:
            self._held.remove(task)
        while task is None and (task := self._take()) is not None:
            if not self.prefers(task, kind, workers):
                self._held.append(task)
                task = None
        if task is not None:
            self._begun |= {trial.trial_id: kind for trial in task.stack.trials}
        return task

    def any(self) -> Task[Any] | None:
        """Take the first stage that waits, for whoever comes; None where none does."""
        return self._held.pop(0) if self._held else self._take()

    def prefers(self, task: Task[Any], kind: Kind, workers: Mapping[Kind, int]) -> bool:
        """Tell whether a node of a kind may train a stage: its own kind's, or one whose kind has gone."""
        if len(workers) < 2 and not self._held:
            return True
        before = {self._begun.get(trial.trial_id, kind) for trial in task.stack.trials}
        return kind in before or not any(workers.get(one) for one in before)
