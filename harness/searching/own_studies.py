"""A person's own Optuna study, asked and told in place of a search's: any storage, sampler and pruner.

A trial is marked when it is asked for, with the results folder that it belongs to, and once its parameters
are drawn with its suggestion's number. So whoever comes after a kill finds those that were left running:
they are trained, or found in the folder, and told.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.data.datasets import Dataset
from harness.errors import UsageError, did_you_mean, few, quoted
from harness.searching import ask_tell
from harness.searching.ask_tell import (
    ASKED,
    COSTS,
    OUTSIDE,
    REACHED,
    REASON,
    REFUSED,
    SECONDS,
    SIZE,
    AskTell,
    Suggestion,
    SuggestionResult,
    drawn_of,
    suggest,
)
from harness.searching.draws import distribution, distributions
from harness.searching.pruners import BATCH, EVALUATIONS
from harness.study.checker import GivenSettings
from harness.study.searches import REFUSED_AFTER, SAMPLED_BY, Pruning, Search
from harness.study.space import Choices, Drawn, Floats, Space, Values
from harness.training.executors import DIED

FOLDER, SUGGESTION = "harness.folder", "harness.suggestion"
"""User attributes of a trial of the study outside: the results folder, the number of its suggestion there."""
WHY = "harness.reason"
"""User attribute of a trial of the study outside that has no value: why."""
INTERRUPTED = "the search was interrupted before this trial was told"
DEQUEUE = (
    "It stays in the study's storage; study.tell(study.ask(), state=optuna.trial.TrialState.FAIL) takes "
    "the first that waits out of the queue"
)
MOST_LISTED = 8


@dataclass
class Outside:
    """A study outside, of which `left` trials are still to be asked for, for one results folder.

    `pending` are those that were asked for and not told, by number, with the number of their suggestion once
    it is known; `told` are those told, with it and the result; `drawn` are their parameters.
    """

    study: optuna.Study
    left: int
    folder: str
    pending: dict[int, tuple[optuna.Trial, int | None]] = field(default_factory=dict)
    told: list[tuple[int, int | None, SuggestionResult]] = field(default_factory=list)
    drawn: dict[int, Drawn] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The sampler and the pruner, by the names of their classes."""
        return f"{type(self.study.sampler).__name__}, {type(self.study.pruner).__name__}"

    @property
    def pruning(self) -> Pruning:
        """The evaluations at which the pruner is asked: all, unless it prunes or is reported nothing."""
        asked = not isinstance(self.study.pruner, NopPruner) and len(self.study.directions) == 1
        return Pruning(name="median", startup=0, warmup=0) if asked else Pruning()

    def fail(self, number: int, why: str) -> None:
        """Tell a trial that it has failed, unless another process has told it."""
        trial, _ = self.pending.pop(number)
        with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):
            trial.set_user_attr(WHY, why)
            self.study.tell(trial, state=TrialState.FAIL)

    def fail_pending(self) -> None:
        """Tell what was asked for and not told that it has failed: nothing stays running for ever."""
        for number in list(self.pending):
            self.fail(number, INTERRUPTED)


class OwnAskTell(AskTell):
    """Asks and tells a study outside; settings that it repeats are not trained again, only told."""

    def __init__(
        self, search: Search, space: Space, evaluations: int, datasets: Mapping[str, Dataset],
        outside: Outside,
    ) -> None:  # fmt: skip
        super().__init__(search, space, evaluations, datasets)
        self._study, self._outside = outside.study, outside
        self._numbers: dict[str, int] = {}
        self._results: dict[int, SuggestionResult] = {}
        self._reported: dict[int, set[int]] = {}
        self._over: dict[int, FrozenTrial] = {}
        self._facts: dict[int, dict[str, Any]] = {}
        self._interrupted: deque[optuna.Trial] = deque()

    waits = True  # so that the sampler knows all that was told, whatever the timing
    repeats = False  # settings whose worker died are trained again where the study asks for them

    def learn(self, points: Sequence[tuple[Drawn, Sequence[float]]]) -> None:
        """Learn nothing of an earlier search: the study outside is its owner's."""

    def facts(self) -> dict[str, Any]:
        """Return how many points were refused that no stored suggestion counts."""
        waiting = sum(len(facts.get(REFUSED, ())) for facts in self._facts.values())
        behind = len(self._refused) + waiting
        return {REFUSED_AFTER: behind} if behind else {}

    def wanted(self, before: int) -> int:
        """Return how many suggestions there will be at most."""
        return before + self._outside.left + len(self._interrupted)

    def restore(self, before: Sequence[FrozenTrial]) -> None:
        """Take up the suggestions of the folder, and what an earlier process left running in the study."""
        self.count = len(before)
        self.batch = 1 + max((int(trial.user_attrs[BATCH]) for trial in before), default=-1)
        for number, trial in enumerate(before):
            if DIED not in trial.user_attrs.get(REASON, ""):
                self._numbers[self._identity(self.space.settings(drawn_of(trial)))] = number
                self._results[number] = _result_of(trial)
        with self.timed():
            self._interrupted = deque(self._left_behind())

    def _left_behind(self) -> Iterator[optuna.Trial]:
        """Yield the trials of this folder that are running, or whose result its storage has not got."""
        for frozen in self._study.get_trials(deepcopy=False):
            given_up = frozen.user_attrs.get(WHY) == INTERRUPTED
            if given_up or frozen.user_attrs.get(FOLDER) != self._outside.folder:
                continue
            number, running = frozen.user_attrs.get(SUGGESTION), not frozen.state.is_finished()
            if running or (number is not None and number >= self.count):
                trial = optuna.Trial(self._study, frozen._trial_id)
                if number is None:
                    self._outside.pending[trial.number] = trial, None
                    self._outside.fail(trial.number, INTERRUPTED)
                else:
                    self._reported[trial.number] = set(frozen.intermediate_values) if running else set()
                    if running:
                        self._outside.pending[trial.number] = trial, None
                    else:
                        self._over[trial.number] = frozen
                    yield trial

    def ask(
        self, count: int, evaluations: Callable[[GivenSettings], int], again: Mapping[int, Drawn]  # noqa: ARG002
    ) -> list[Suggestion]:  # fmt: skip
        """Ask the study for up to `count` suggestions with settings that the folder has not."""
        batch: list[Suggestion] = []
        with self.timed():
            while len(batch) < count and (self._interrupted or self._outside.left):
                trial = self._next()
                drawn, settings = self.space.walk(partial(suggest, trial))
                costs = self.costs.bounded(self._resolved(settings)) if self.search.constraints else {}
                if not self.costs.kept(costs):
                    self._tell_broken(trial, costs)
                    continue
                number = self._number(trial, settings)
                if number == self.count:
                    self.count += 1
                    self._facts[number] = {BATCH: self.batch, EVALUATIONS: evaluations(settings)}
                    if self.search.constraints:
                        self._facts[number] |= {COSTS: costs, REFUSED: self._refused}
                        self._refused = []
                    batch.append(Suggestion(number, drawn, settings, trial))
                self._tell_known()
        self.batch += 1
        return batch

    def _next(self) -> optuna.Trial:
        """Return a trial that was left running, else a new one, marked as this folder's."""
        if self._interrupted:
            trial = self._interrupted.popleft()
            self._outside.pending[trial.number] = trial, None
            return trial
        self._outside.left -= 1
        trial = self._study.ask()
        self._outside.pending[trial.number] = trial, None
        self._reported[trial.number] = set()
        trial.set_user_attr(FOLDER, self._outside.folder)
        return trial

    def _tell_broken(self, trial: optuna.Trial, costs: Mapping[str, float]) -> None:
        """Tell the study of a trial that breaks [search.constraints], which is not trained: it is pruned."""
        for name, excess in self.costs.excess(costs).items():
            trial.set_constraint(name, excess)
        bounds = self.search.constraints.items()
        broken = [f"{name} {costs[name]:g} > {bound:g}" for name, bound in bounds if costs[name] > bound]
        why = f"breaks [search.constraints]: {', '.join(broken)}"
        trial.set_user_attr(WHY, why)
        self._study.tell(trial, state=TrialState.PRUNED)
        del self._outside.pending[trial.number]
        self._note(trial, None, SuggestionResult(TrialState.PRUNED, [], {}, 0, why))
        self._refused.append({"params": dict(trial.params), COSTS: costs})

    def _note(self, trial: optuna.Trial, suggestion: int | None, result: SuggestionResult) -> None:
        self._outside.told.append((trial.number, suggestion, result))
        self._outside.drawn[trial.number] = dict(trial.params)

    def _number(self, trial: optuna.Trial, settings: GivenSettings) -> int:
        """Return the number of the suggestion with these settings: of a new one, if they are new."""
        number = self._numbers.setdefault(self._identity(settings), self.count)
        if trial.user_attrs.get(SUGGESTION) != number:
            trial.set_user_attr(SUGGESTION, number)
        self._outside.pending[trial.number] = trial, number
        return number

    def report(self, suggestion: Suggestion, evaluation: int, value: float) -> None:
        """Report the value that a suggestion reached after so many evaluations, unless the study has it."""
        trial = suggestion.trial.number
        if trial not in self._over and evaluation not in self._reported[trial]:
            super().report(suggestion, evaluation, value)
        self._reported[trial].add(evaluation)

    def pruned(self, batch: Sequence[Suggestion]) -> set[int]:
        """Return the numbers of the suggestions that the study's pruner stops.

        A trial that the study was told before its suggestion was stored is stopped where it was then.
        """
        told = {s.number: s.trial.number for s in batch if s.trial.number in self._over}
        again = {number for number, trial in told.items() if self._was_pruned(trial)}
        return again | super().pruned([s for s in batch if s.number not in told])

    def _was_pruned(self, trial: int) -> bool:
        """Tell whether a trial was pruned after no more evaluations than its suggestion has had by now."""
        then = self._over[trial]
        return then.state == TrialState.PRUNED and {*then.intermediate_values} <= self._reported[trial]

    def tell(
        self, batch: Sequence[Suggestion], results: Sequence[SuggestionResult], seconds: float
    ) -> list[FrozenTrial]:
        """Tell the study the results of a batch in the order of asking; returns the folder's own trials."""
        with self.timed():
            self._results |= {s.number: result for s, result in zip(batch, results, strict=True)}
            frozen = [self._stored(suggestion, len(batch), seconds) for suggestion in batch]
            self._tell_known()
        return frozen

    def _tell_known(self) -> None:
        """Tell the trials whose suggestions have a result, those with settings of before among them."""
        for number, (trial, suggestion) in sorted(self._outside.pending.items()):
            result = None if suggestion is None else self._results.get(suggestion)
            if suggestion is None or result is None:
                continue
            frozen = self._study.get_trials(deepcopy=False)[number]
            if not frozen.state.is_finished():
                if len(self._study.directions) == 1:
                    for evaluation in sorted(set(result.intermediate) - self._reported[number]):
                        trial.report(result.intermediate[evaluation], evaluation)
                if result.reason:
                    trial.set_user_attr(WHY, result.reason)
                self._study.tell(trial, ask_tell.values_of(result), state=result.state)
            del self._outside.pending[number]
            self._note(trial, suggestion, result)

    def _stored(self, suggestion: Suggestion, size: int, seconds: float) -> FrozenTrial:
        """Return the trial for the folder's own storage."""
        number, result = suggestion.number, self._results[suggestion.number]
        attributes: dict[str, Any] = {**self._facts.pop(number), ASKED: number, SIZE: size}
        attributes |= {REACHED: result.reached, SECONDS: round(seconds, 3), SAMPLED_BY: self._outside.name}
        attributes[OUTSIDE] = suggestion.trial.number
        if result.reason:
            attributes[REASON] = result.reason
        return create_trial(
            state=result.state,
            values=ask_tell.values_of(result),
            params=suggestion.drawn,
            distributions=distributions(self.space, suggestion.drawn),
            intermediate_values=dict(result.intermediate),
            user_attrs=attributes,
        )


def _result_of(trial: FrozenTrial) -> SuggestionResult:
    """Return the result that the folder's storage has of a suggestion."""
    values = trial.values or []
    attributes = trial.user_attrs
    return SuggestionResult(
        trial.state, values, trial.intermediate_values, attributes[REACHED], attributes.get(REASON, "")
    )


def check(study: object, search: Search, space: Space) -> None:
    """Raise UsageError where an Optuna study cannot be asked for this space and these objectives."""
    if not isinstance(study, optuna.Study):
        raise UsageError(
            f"optuna_study is {quoted(study)}: allowed: what optuna.create_study() or optuna.load_study() "
            "returns, or None for StackedStudy.evaluate alone"
        )
    wanted, there = search.directions, [direction.name.lower() for direction in study.directions]
    if there != list(wanted):
        raise UsageError(
            f"the Optuna study is to {' and '.join(there)}, and this space's objective is to "
            f"{' and '.join(f'{way} {name}' for way, name in zip(wanted, search.objective, strict=True))}. "
            f"Create it with optuna.create_study(directions={list(wanted)}), or change [search] objective"
        )
    problems = list(dict.fromkeys(_problems(study, space)))
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems[:MOST_LISTED])
        more = f"\n  - and {len(problems) - MOST_LISTED} more" if len(problems) > MOST_LISTED else ""
        raise UsageError(
            f"the Optuna study {study.study_name!r} does not fit the space; nothing was trained\n"
            f"{listed}{more}"
        )


def _problems(study: optuna.Study, space: Space) -> Iterator[str]:
    """Yield what does not fit of the trials in the study: distributions, and values of enqueued ones."""
    known = values_of(space)
    for trial in study.get_trials(deepcopy=False):
        for name, theirs in trial.distributions.items():
            if name not in known:
                yield f"trial {trial.number} has the parameter {name!r}: {did_you_mean(name, known)}"
            elif not _same_kind(theirs, ours := distribution(known[name])):
                yield (
                    f"trial {trial.number} drew {name} from {theirs}, the space draws it from {ours}: take "
                    "another study, or write the space so"
                )
        if trial.state == TrialState.WAITING:
            fixed = trial.system_attrs.get("fixed_params", {})
            yield from (f"enqueued trial {trial.number}: {why}. {DEQUEUE}" for why in misfits(fixed, known))


def values_of(space: Space) -> dict[str, Values]:
    """Return what each parameter of a space may be."""
    return {parameter.name: parameter.values for parameter in space.parameters}


def _same_kind(theirs: BaseDistribution, ours: BaseDistribution) -> bool:
    """Tell whether an Optuna study takes both: they are of one kind and scale, with equal choices."""
    if type(theirs) is not type(ours) or getattr(theirs, "log", None) != getattr(ours, "log", None):
        return False
    return not isinstance(theirs, CategoricalDistribution) or theirs == ours


def misfits(point: Mapping[str, Any], known: Mapping[str, Values]) -> Iterator[str]:
    """Yield what is wrong with the parameters of a point: their names, and their values."""
    for name, value in point.items():
        if name not in known:
            yield f"{quoted(name)} is no parameter of the space; {did_you_mean(name, known)}"
        elif not fits(value, values := known[name]):
            yield f"{name} = {quoted(value)}; allowed: {_allowed(values)}"


def fits(value: Any, values: Values) -> bool:
    """Tell whether a value is one of a parameter's.

    >>> fits("relu", Choices(("relu", "tanh"))), fits(0.5, Floats(0.0, 1.0)), fits(2.0, Floats(0.0, 1.0))
    (True, True, False)
    """
    if isinstance(values, Choices):
        return value in values.names
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if not values.low <= value <= values.high:
        return False
    if values.step is None or (not isinstance(values, Floats) and values.log):
        return isinstance(values, Floats) or value == int(value)
    steps = (value - values.low) / values.step
    return abs(steps - round(steps)) < 1e-6


def _allowed(values: Values) -> str:
    if isinstance(values, Choices):
        return f"{few(list(map(repr, values.names)))}, as text"
    whole = "" if isinstance(values, Floats) else "a whole number "
    return f"{whole}from {values.low:g} to {values.high:g}" + (
        f" in steps of {values.step:g}" if values.step and not values.log else ""
    )
