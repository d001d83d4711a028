"""Ask and tell: Optuna suggests settings, each once, and is told the results.

The sampler works on a study in memory, where the suggestions of a batch in training are running, so that they
know of each other. The storage gets a suggestion when it is over, whole: nothing in it is ever running. For
each batch there is a new sampler, seeded by the number of suggestions before it, so that a search that was
killed asks for the same batch again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset
from harness.searching import draws, pruners, samplers
from harness.searching.costs import Costs
from harness.searching.pruners import BATCH, EVALUATIONS
from harness.searching.storages import quiet_optuna
from harness.searching.trial_memory import TrialMemory
from harness.study.checker import GivenSettings
from harness.study.searches import SAMPLED_BY, Search
from harness.study.space import Choices, Drawn, Floats, Parameter, Space
from harness.study.trials import identity_of, resolve

MOST_ASKED = 20
"""Asks for one suggestion of a sampler that repeats itself, before a point is drawn at random."""
MOST_DRAWN = 1000
"""Points drawn at random to find a new one, before all of them are looked at."""
ASKED, SIZE, REACHED, SECONDS, REASON = "asked", "batch_size", "reached", "seconds", "reason"
"""User attributes of a trial: asks before it, its batch's size, its evaluations, its time, why it stopped."""
OUTSIDE = "outside"
"""User attribute of a trial that was told to an Optuna study outside too: never asked for again."""
COSTS, REFUSED = "costs", "refused"
"""User attributes of a search with constraints: a trial's costs, and the points refused before it."""
AGAIN = "again"
"""User attribute of a batch's trials: the suggestions that were asked for again in it."""


@dataclass(frozen=True)
class Suggestion:
    """A point of the space. `trial` is Optuna's, running in memory until its result is told."""

    number: int
    drawn: Drawn
    settings: GivenSettings
    trial: optuna.Trial

    @property
    def arm(self) -> str:
        """The name of its arm."""
        return arm_of(self.number)


def arm_of(number: int) -> str:
    """Return the name of a suggestion's arm."""
    return f"suggestion {number}"


@dataclass(frozen=True)
class SuggestionResult:
    """The result of a suggestion: `values` by objective, none if it failed; the first one by evaluation.

    `reached` is the number of evaluations it got.
    """

    state: TrialState
    values: Sequence[float]
    intermediate: Mapping[int, float]
    reached: int = 0
    reason: str = ""


Known: TypeAlias = "Mapping[int, SuggestionResult | None]"
"""What is known of suggestions, by number: what each came to, or how far it is; None of one in training."""


class AskTell:
    """Optuna's ask-and-tell interface to a study in memory. `seconds` is the time that Optuna has taken.

    `costs` are those of suggestions, for the constraints; a search gives its own, which its folder keeps.
    With `waits`, a batch is asked for once all before it were told; with `repeats` suggestions whose worker
    died are asked for again.
    """

    waits, repeats = False, True

    def __init__(
        self, search: Search, space: Space, evaluations: int, datasets: Mapping[str, Dataset]
    ) -> None:
        self.search, self.space, self.datasets = search, space, datasets
        self.costs = Costs(search)
        self.seconds = 0.0
        self.count = 0
        self.batch = 0
        self._identities: set[str] = set()
        self._refused: list[dict[str, Any]] = []
        self._earlier: list[FrozenTrial] = []
        self._known: Known = {}
        self._shown: dict[int, Mapping[int, FrozenTrial]] = {}
        self._places: dict[int, int] = {}
        self._memory = TrialMemory()
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=self._memory, directions=search.directions,
                pruner=pruners.make(search.pruner, evaluations=evaluations),
            )  # fmt: skip

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of the block as Optuna's."""
        start = time.perf_counter()
        try:
            with quiet_optuna():
                yield
        finally:
            self.seconds += time.perf_counter() - start

    def wanted(self, before: int) -> int:  # noqa: ARG002 (what a study outside needs)
        """Return how many suggestions are wanted, beside those repeated; `before` are there already."""
        return self.search.suggestions

    def facts(self) -> dict[str, Any]:
        """Return what the provenance of the run is to say of it, beside what it says of every search."""
        return {}

    def learn(self, points: Sequence[tuple[Drawn, Sequence[float]]]) -> None:
        """Let the sampler know points of an earlier search and their objectives, before its first suggestion.

        They take the first places of the study. A point of them may be asked for as any other.
        """
        with self.timed():
            for drawn, objectives in points:
                trial = create_trial(
                    values=list(objectives),
                    params=drawn,
                    distributions=draws.distributions(self.space, drawn),
                    system_attrs=samplers.attributes_of_known(self.search),
                )
                self._earlier.append(trial)
                self._study.add_trial(trial)

    def restore(self, before: Sequence[FrozenTrial]) -> None:
        """Restore the trials of an earlier run of this search."""
        with self.timed():
            for trial in before:
                entries = trial.user_attrs.get(REFUSED, [])  # without a place if a study outside drew them
                refused = {entry[ASKED]: entry for entry in entries if ASKED in entry}
                # Asks that were refused as repeated leave their places, which samplers may count.
                while (place := len(self._study.get_trials(deepcopy=False))) < trial.user_attrs[ASKED]:
                    self._study.add_trial(self._placeholder(refused.get(place)))
                self._study.add_trial(trial)
        self._places = {number: trial.user_attrs[ASKED] for number, trial in enumerate(before)}
        self.count = len(before)
        self.batch = 1 + max((int(trial.user_attrs[BATCH]) for trial in before), default=-1)
        self._identities = {self._identity(self.space.settings(drawn_of(trial))) for trial in before}

    def foresee(self, known: Known) -> None:
        """Let the next batch be asked for with this in place of what suggestions have come to by now."""
        self._known = known

    def ask(
        self, count: int, evaluations: Callable[[GivenSettings], int], again: Mapping[int, Drawn]
    ) -> list[Suggestion]:
        """Ask for up to `count` suggestions, as far as a finite space has some that are new.

        `evaluations` counts those that settings get, unpruned; `again` are the draws of suggestions, by their
        numbers, that are asked for once more, under new ones.
        """
        with self.timed():
            seed = np.random.SeedSequence([self.search.seed, self.count]).generate_state(2)
            self._study.sampler = samplers.make(
                self.search, self.space, seed=int(seed[0]), earlier=self._earlier, kept=self._keeps
            )
            rng = np.random.default_rng(int(seed[1]))
            batch = []
            repeats = list(again.values())
            shown = self._foreseen()
            with self._memory.showing(shown):
                for number in range(self.count, self.count + count):
                    point = self._enqueued(repeats.pop(0)) if repeats else self._new(rng)
                    if point is None:
                        break
                    trial, drawn, settings = point
                    if again:
                        trial.set_user_attr(AGAIN, list(again))
                    if self._refused:
                        trial.set_user_attr(REFUSED, self._refused)
                        self._refused = []
                    trial.set_user_attr(BATCH, self.batch)
                    trial.set_user_attr(EVALUATIONS, evaluations(settings))
                    batch.append(Suggestion(number, drawn, settings, trial))
                    self._places[number], self._shown[number] = trial.number, shown
        self.count += len(batch)
        self.batch += 1
        return batch

    def _foreseen(self) -> dict[int, FrozenTrial]:
        """Return the trials, by their places, that the next batch sees otherwise than they are by now."""
        trials = self._study.get_trials(deepcopy=False)
        known = {self._places[n]: result for n, result in self._known.items() if n in self._places}
        self._known = {}
        return {place: _as_known(trials[place], result) for place, result in known.items()}

    def _placeholder(self, refused: Mapping[str, Any] | None) -> FrozenTrial:
        """Return the trial of an ask that was not taken; of one that broke a constraint, what it drew."""
        if refused is None:
            return create_trial(state=TrialState.FAIL)
        params = refused["params"]
        return create_trial(
            state=samplers.state_of_refused(self.search),
            params=params,
            distributions=draws.distributions(self.space, params),
            constraints=self._excess(refused[COSTS]),
        )

    def _new(self, rng: np.random.Generator) -> tuple[optuna.Trial, Drawn, GivenSettings] | None:
        """Return a new point: the sampler's, or a random one where the sampler repeats itself."""
        for _ in range(MOST_ASKED):
            point = self._asked()
            if self._refuse(*point):
                continue
            if self._is_new(point[2]):
                return point
            self._study.tell(point[0], state=TrialState.FAIL)
        left = self._left(rng)
        return None if left is None else self._enqueued(left)

    def _refuse(self, trial: optuna.Trial, drawn: Drawn, settings: GivenSettings) -> bool:
        """Tell the sampler of a point that breaks a constraint, if it does."""
        costs = self._note_costs(trial, settings)
        if self.costs.kept(costs):
            return False
        for name, excess in self._excess(costs).items():
            trial.set_constraint(name, excess)
        self._refused.append({ASKED: trial.number, "params": drawn, COSTS: costs})
        self._study.tell(trial, state=samplers.state_of_refused(self.search))
        return True

    def _keeps(self, drawn: Drawn) -> bool:
        """Tell whether a point keeps all constraints."""
        if not self.search.constraints:
            return True
        return self.costs.kept(self.costs.bounded(self._resolved(self.space.settings(drawn))))

    def _note_costs(self, trial: optuna.Trial, settings: GivenSettings) -> Mapping[str, float]:
        """Note in a trial its costs that have a bound."""
        if not self.search.constraints:
            return {}
        costs = self.costs.bounded(self._resolved(settings))
        trial.set_user_attr(COSTS, costs)
        return costs

    def _excess(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Return Optuna's constraints of a refused point; none for a sampler that would only warn of them."""
        return self.costs.excess(costs) if self.search.sampler in samplers.HEARS_OF_REFUSED else {}

    def _enqueued(self, drawn: Drawn) -> tuple[optuna.Trial, Drawn, GivenSettings]:
        self._study.enqueue_trial(drawn)
        point = self._asked()
        self._note_costs(point[0], point[2])
        self._is_new(point[2])
        return point

    def _asked(self) -> tuple[optuna.Trial, Drawn, GivenSettings]:
        trial = self._study.ask()
        return trial, *self.space.walk(lambda parameter: suggest(trial, parameter))

    def _left(self, rng: np.random.Generator) -> Drawn | None:
        """Return a random point that was not asked for yet and keeps all constraints; None without one."""
        for draw in (samplers.at_random, samplers.near_an_end)[: 2 if self.search.constraints else 1]:
            for _ in range(MOST_DRAWN):
                drawn, settings = self.space.walk(partial(draw, rng=rng))
                if self._is_left(settings):
                    return drawn
        if not self.space.finite:
            return None
        left = [drawn for drawn in self.space.points() if self._is_left(self.space.settings(drawn))]
        return left[int(rng.integers(len(left)))] if left else None

    def _is_left(self, settings: GivenSettings) -> bool:
        """Tell whether settings were not asked for yet, and keep the constraints."""
        resolved = self._resolved(settings)
        if identity_of(resolved) in self._identities:
            return False
        return not self.search.constraints or self.costs.kept(self.costs.bounded(resolved))

    def _is_new(self, settings: GivenSettings) -> bool:
        identity = self._identity(settings)
        new = identity not in self._identities
        self._identities.add(identity)
        return new

    def _identity(self, settings: GivenSettings) -> str:
        return identity_of(self._resolved(settings))

    def _resolved(self, settings: GivenSettings) -> Settings:
        return resolve(self.space.baseline | settings, self.datasets)

    def report(self, suggestion: Suggestion, evaluation: int, value: float) -> None:
        """Report the value that a suggestion reached after so many evaluations."""
        with self.timed():
            suggestion.trial.report(value, evaluation)

    def pruned(self, batch: Sequence[Suggestion]) -> set[int]:
        """Return the numbers of the suggestions that the pruner stops, once all of them have reported.

        A pruner that waits for the batch sees the batches before as they were when this one was asked for,
        so that it does not matter how far they are by now.
        """
        shown = self._shown.get(batch[0].number, {}) if batch else {}
        with self.timed(), self._memory.showing(shown if self.search.pruner.waits_for == "batch" else {}):
            return {suggestion.number for suggestion in batch if suggestion.trial.should_prune()}

    def reported(self, suggestion: Suggestion) -> Mapping[int, float]:
        """Return what a suggestion has reported, by evaluation."""
        return self._study.get_trials(deepcopy=False)[suggestion.trial.number].intermediate_values

    def tell(
        self, batch: Sequence[Suggestion], results: Sequence[SuggestionResult], seconds: float
    ) -> list[FrozenTrial]:
        """Tell Optuna the results of a batch; returns the trials for the storage."""
        with self.timed():
            frozen = []
            for suggestion, result in zip(batch, results, strict=True):
                self._catch_up(suggestion, result)
                self._study.tell(suggestion.trial, values_of(result), state=result.state)
                frozen.append(self._frozen(suggestion, result, len(batch), seconds))
                self._shown.pop(suggestion.number, None)
        return frozen

    def _catch_up(self, suggestion: Suggestion, result: SuggestionResult) -> None:
        """Report what is not reported yet: of a batch that an earlier run trained, everything."""
        reported = self._study.get_trials(deepcopy=False)[suggestion.trial.number].intermediate_values
        for evaluation, value in result.intermediate.items():
            if evaluation not in reported:
                suggestion.trial.report(value, evaluation)

    def _frozen(
        self, suggestion: Suggestion, result: SuggestionResult, size: int, seconds: float
    ) -> FrozenTrial:
        memory = self._study.get_trials(deepcopy=False)[suggestion.trial.number]
        attributes = {**memory.user_attrs, ASKED: suggestion.trial.number, SIZE: size}
        attributes |= {REACHED: result.reached, SECONDS: round(seconds, 3), SAMPLED_BY: self.search.sampler}
        if result.reason:
            attributes[REASON] = result.reason
        return create_trial(
            state=result.state,
            values=values_of(result),
            params=memory.params,
            distributions=memory.distributions,
            intermediate_values=dict(result.intermediate),
            user_attrs=attributes,
            system_attrs=memory.system_attrs,
        )


def _as_known(trial: FrozenTrial, result: SuggestionResult | None) -> FrozenTrial:
    """Return a trial as it is with a result; without one, in training."""
    shown = copy.copy(trial)
    shown.state = TrialState.RUNNING if result is None else result.state
    shown.values = None if result is None else values_of(result)
    shown.intermediate_values = {} if result is None else dict(result.intermediate)
    return shown


def values_of(result: SuggestionResult) -> list[float] | None:
    """Return the values that Optuna takes: those of a complete trial."""
    return list(result.values) if result.state == TrialState.COMPLETE else None


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Ask a trial for a value of a parameter."""
    values = parameter.values
    if isinstance(values, Choices):
        return trial.suggest_categorical(parameter.name, values.names)
    if isinstance(values, Floats):
        return trial.suggest_float(parameter.name, values.low, values.high, log=values.log, step=values.step)
    return trial.suggest_int(parameter.name, values.low, values.high, log=values.log, step=values.step)


def whole_batches(trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Split trials into those of whole batches, and those of a batch that was killed while it was stored."""
    last = [trial for trial in trials if trial.user_attrs[BATCH] == trials[-1].user_attrs[BATCH]]
    if not last or OUTSIDE in last[0].user_attrs or len(last) == last[0].user_attrs[SIZE]:
        return list(trials), []
    return list(trials[: -len(last)]), last


def drawn_of(trial: FrozenTrial) -> Drawn:
    """Return the values that a stored trial drew."""
    return dict(trial.params)
