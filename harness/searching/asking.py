"""Asking: what Optuna suggests, each suggestion once; and telling it what came out.

The sampler works on a study in memory, where a batch that is out is running, so that suggestions of one batch
know of each other. The storage gets a suggestion when it is over, whole: nothing in it is ever running. For
each batch there is a new sampler, seeded by how many suggestions came before, so that a search that was
killed asks for the same batch again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.axes.datasets import Dataset
from harness.checking import Settings
from harness.parameters import Choices, Drawn, Floats, Parameter, Space
from harness.searches import Search
from harness.searching import pruners, samplers
from harness.searching.pruners import BATCH, EVALUATIONS
from harness.searching.silence import silenced
from harness.trials import identity_of, resolve

MOST_ASKED = 20
"""How often a sampler that repeats itself is asked for one suggestion, before a point is drawn at random."""
MOST_DRAWN = 1000
"""How many points are drawn at random to find a new one, before all of them are looked at."""
ASKED, SIZE, REACHED, SECONDS, REASON = "asked", "batch_size", "reached", "seconds", "reason"
"""User attributes: asks before it, its batch's size, evaluations it got, when it was told, why it stopped."""
AGAIN = "again"
"""The user attribute of a batch's trials that says which suggestions were asked for again in it."""


@dataclass(frozen=True)
class Suggestion:
    """One point of the space. `trial` is Optuna's, running in memory until it is told."""

    number: int
    drawn: Drawn
    settings: Settings
    trial: optuna.Trial

    @property
    def arm(self) -> str:
        """What its arm is called."""
        return arm_of(self.number)


def arm_of(number: int) -> str:
    """What the arm of a suggestion is called."""
    return f"suggestion {number}"


@dataclass(frozen=True)
class Told:
    """What came of a suggestion: `values` by objective (none if it failed), and the first one by evaluation.

    `reached` is how many evaluations it got.
    """

    state: TrialState
    values: Sequence[float]
    intermediate: Mapping[int, float]
    reached: int = 0
    reason: str = ""


class Asker:
    """A search's study in memory. `seconds` is the time that Optuna takes of the search, all in all."""

    def __init__(
        self, search: Search, space: Space, evaluations: int, datasets: Mapping[str, Dataset]
    ) -> None:
        self.search, self.space, self.datasets = search, space, datasets
        self.seconds = 0.0
        self.count = 0
        self.batch = 0
        self._seen: set[str] = set()
        with silenced():
            self._study = optuna.create_study(
                directions=search.directions, pruner=pruners.make(search.pruner, evaluations=evaluations)
            )

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what happens within as Optuna's time."""
        start = time.perf_counter()
        try:
            with silenced():
                yield
        finally:
            self.seconds += time.perf_counter() - start

    def know(self, before: Sequence[FrozenTrial]) -> None:
        """Learn what an earlier run of this search was told."""
        with self.timed():
            for trial in before:
                # Asks that were refused as known leave their places, which samplers may count.
                while len(self._study.get_trials(deepcopy=False)) < trial.user_attrs[ASKED]:
                    self._study.add_trial(create_trial(state=TrialState.FAIL))
                self._study.add_trial(trial)
        self.count = len(before)
        self.batch = 1 + max((int(trial.user_attrs[BATCH]) for trial in before), default=-1)
        self._seen = {self._identity(self.space.settings(drawn_of(trial))) for trial in before}

    def ask(
        self, count: int, evaluations: Callable[[Settings], int], again: Mapping[int, Drawn]
    ) -> list[Suggestion]:
        """Ask for a batch of suggestions, none of which was there before but those asked for again.

        Args:
            count: how many, at most: a finite space may be used up.
            evaluations: how many each gets of its settings, unpruned.
            again: what suggestions drew that are asked for once more, under other numbers; by number.
        """
        with self.timed():
            seed = np.random.SeedSequence([self.search.seed, self.count]).generate_state(2)
            self._study.sampler = samplers.make(self.search, self.space, seed=int(seed[0]))
            rng = np.random.default_rng(int(seed[1]))
            batch = []
            once_more = list(again.values())
            for number in range(self.count, self.count + count):
                found = self._enqueued(once_more.pop(0)) if once_more else self._new(rng)
                if found is None:
                    break
                trial, drawn, settings = found
                if again:
                    trial.set_user_attr(AGAIN, list(again))
                trial.set_user_attr(BATCH, self.batch)
                trial.set_user_attr(EVALUATIONS, evaluations(settings))
                batch.append(Suggestion(number, drawn, settings, trial))
        self.count += len(batch)
        self.batch += 1
        return batch

    def _new(self, rng: np.random.Generator) -> tuple[optuna.Trial, Drawn, Settings] | None:
        """A point that was not asked for yet: the sampler's, or of one that repeats itself, any."""
        for _ in range(MOST_ASKED):
            found = self._asked()
            if self._is_new(found[2]):
                return found
            self._study.tell(found[0], state=TrialState.FAIL)
        left = self._left(rng)
        if left is None:
            return None
        return self._enqueued(left)

    def _enqueued(self, drawn: Drawn) -> tuple[optuna.Trial, Drawn, Settings]:
        self._study.enqueue_trial(drawn)
        found = self._asked()
        self._is_new(found[2])
        return found

    def _asked(self) -> tuple[optuna.Trial, Drawn, Settings]:
        asked = self._study.ask()
        return asked, *self.space.walk(lambda parameter: suggest(asked, parameter))

    def _left(self, rng: np.random.Generator) -> Drawn | None:
        """A point that is left, any of them; None if there is none."""
        for _ in range(MOST_DRAWN):
            drawn, settings = self.space.walk(lambda parameter: at_random(parameter, rng))
            if self._identity(settings) not in self._seen:
                return drawn
        if not self.space.finite:
            return None
        points = self.space.points()
        left = [drawn for drawn in points if self._identity(self.space.settings(drawn)) not in self._seen]
        return left[int(rng.integers(len(left)))] if left else None

    def _is_new(self, settings: Settings) -> bool:
        identity = self._identity(settings)
        new = identity not in self._seen
        self._seen.add(identity)
        return new

    def _identity(self, settings: Settings) -> str:
        return identity_of(resolve(self.space.baseline | settings, self.datasets))

    def report(self, suggestion: Suggestion, evaluation: int, value: float) -> None:
        """Report what a suggestion reached after so many evaluations."""
        with self.timed():
            suggestion.trial.report(value, evaluation)

    def pruned(self, batch: Sequence[Suggestion]) -> set[int]:
        """The numbers of those that the pruner stops, once all of them have reported."""
        with self.timed():
            return {suggestion.number for suggestion in batch if suggestion.trial.should_prune()}

    def tell(self, batch: Sequence[Suggestion], told: Sequence[Told], seconds: float) -> list[FrozenTrial]:
        """Tell what came of a batch; gives the trials as a storage gets them."""
        with self.timed():
            frozen = []
            for suggestion, one in zip(batch, told, strict=True):
                self._catch_up(suggestion, one)
                values = list(one.values) if one.state == TrialState.COMPLETE else None
                self._study.tell(suggestion.trial, values, state=one.state)
                frozen.append(self._frozen(suggestion, one, len(batch), seconds))
        return frozen

    def _catch_up(self, suggestion: Suggestion, told: Told) -> None:
        """Report what was not: of a batch that an earlier run trained, everything."""
        known = self._study.get_trials(deepcopy=False)[suggestion.trial.number].intermediate_values
        for evaluation, value in told.intermediate.items():
            if evaluation not in known:
                suggestion.trial.report(value, evaluation)

    def _frozen(self, suggestion: Suggestion, told: Told, size: int, seconds: float) -> FrozenTrial:
        memory = self._study.get_trials(deepcopy=False)[suggestion.trial.number]
        attributes = {**memory.user_attrs, ASKED: suggestion.trial.number, SIZE: size}
        attributes[REACHED] = told.reached
        attributes |= {SECONDS: round(seconds, 3), "sampler": self.search.sampler}
        if told.reason:
            attributes[REASON] = told.reason
        return create_trial(
            state=told.state,
            values=list(told.values) if told.state == TrialState.COMPLETE else None,
            params=memory.params,
            distributions=memory.distributions,
            intermediate_values=dict(told.intermediate),
            user_attrs=attributes,
            system_attrs=memory.system_attrs,
        )


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Ask a trial for a value of a parameter."""
    values = parameter.values
    if isinstance(values, Choices):
        return trial.suggest_categorical(parameter.name, values.names)
    if isinstance(values, Floats):
        return trial.suggest_float(parameter.name, values.low, values.high, log=values.log, step=values.step)
    return trial.suggest_int(parameter.name, values.low, values.high, log=values.log, step=values.step)


def at_random(parameter: Parameter, rng: np.random.Generator) -> Any:
    """A value of a parameter, each as probable as any other."""
    return samplers.at(samplers.distribution(parameter.values), rng.random())


def whole_batches(trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The trials of whole batches, and those of one that was killed while it was stored, if there is one."""
    last = [trial for trial in trials if trial.user_attrs[BATCH] == trials[-1].user_attrs[BATCH]]
    if not last or len(last) == last[0].user_attrs[SIZE]:
        return list(trials), []
    return list(trials[: -len(last)]), last


def drawn_of(trial: FrozenTrial) -> Drawn:
    """What a stored trial drew."""
    return dict(trial.params)
