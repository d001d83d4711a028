"""Going on: longer trials of a study that need not start again, because a shorter one's state was kept.

A trial goes on from the state of one that differs in its budget alone, where that gives the numbers of a
training from the start, to the last bit: the first steps have the same learning rates, the learning curve
has the same points, and the same kernels compute them. All others start again, and a note says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from harness import notes
from harness.axes import plugins
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.datasets import Dataset
from harness.data.samples import train_size
from harness.engines import engine
from harness.engines.base import learning_rates, schedule_factors, schedule_key
from harness.engines.outcome import at_steps
from harness.engines.states import State
from harness.errors import UsageError
from harness.planning.grouping import trains_alone
from harness.planning.plan import Known, Plan
from harness.planning.stack import Engine, Stack
from harness.results import checkpoints, kept_states
from harness.results.checkpoints import UNREADABLE, CheckpointHeader, DamagedError
from harness.results.kept_states import KeptState
from harness.results.origins import Origin
from harness.study.trials import BUDGET, Trial, other_budget
from harness.text import count

SCHEDULE = "their schedule depends on the number of epochs"
EVALUATED = "their learning curve is measured at other steps"
OTHER_STACK = "their stack has other members than the one whose state was kept"


@dataclass(frozen=True)
class StateSource:
    """A kept state, from which trials go on (`checkpoints.BeginningState`).

    `places` are the rows of their parents, by trial_id; where `whole`, all of them go on together or none.
    """

    path: Path
    origin: Origin
    places: Mapping[str, int]
    datasets: Mapping[str, Dataset]
    whole: bool

    def at(self, path: Path) -> Self:
        """Return the same source in a copy of its file."""
        return replace(self, path=path)

    def unlike(self, here: Origin) -> str:
        """Say what another kind of machine would compute otherwise: its trials then start again."""
        return self.origin.unlike(here)

    def of(self, share: Sequence[Trial]) -> tuple[CheckpointHeader, State] | None:
        """Return the state of a share's trials, as `checkpoints.BeginningState.of`."""
        try:
            header, state = checkpoints.read(self.path, self.origin)
        except DamagedError as error:
            notes.warn(f"the state {self.path} is damaged ({error}): its trials start again")
            return None
        keep = [self.places[trial.trial_id] for trial in share]
        if len(keep) < len(header.trials):
            if self.whole:
                return None
            state = engine(self.origin.engine).select(state, header.made_of(self.datasets), keep)
        parents = [header.trials[k] for k in keep]
        values = at_steps(state.values, _budget(share[0].arm.settings).eval_steps)
        return replace(header, parents=parents), State(state.step, values)


@dataclass(frozen=True)
class Longer:
    """The trials that go on: their stacks, as an earlier plan's, sources by group, and notes to a person."""

    stacks: Sequence[Known] = ()
    sources: Mapping[str, StateSource] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def find(
    drawn: Plan,
    trained_by: Engine,
    known: Sequence[Known],
    finished: Collection[str],
    folder: Path,
    device: str,
) -> Longer:
    """Find the unfinished trials of a plan that go on from states that a folder has kept.

    The arguments are those of `plan.arrange`; `finished` are the trials that need not be trained again.
    """
    kept = kept_states.listed(folder)
    if not kept:
        return Longer()
    return _ParentSearch(drawn, trained_by, device, kept).find(known, finished)


@dataclass(frozen=True)
class _Candidate:
    """A trial, and the shorter one's row in a kept state."""

    trial: Trial
    state: KeptState
    place: int


class _ParentSearch:
    """The search for trials that go on."""

    def __init__(self, drawn: Plan, trained_by: Engine, device: str, kept: Sequence[KeptState]) -> None:
        self.drawn, self.engine, self.device, self.kept = drawn, trained_by, device, kept
        self.datasets = drawn.study.datasets
        self.again: Counter[str] = Counter()
        self.reasons: dict[tuple[str, ...], str] = {}

    def find(self, known: Sequence[Known], finished: Collection[str]) -> Longer:
        """Find the trials, and say what goes on and what starts again."""
        needless = {*finished, *self.drawn.skipped, *self.drawn.waiting}
        todo = [trial for trial in self.drawn.trials if trial.trial_id not in needless]
        found = {candidate.trial.trial_id: candidate for candidate in self._candidates(todo)}
        ids = {trial.trial_id for trial in todo}
        stacks = [(group, trials) for group, _, trials in known if ids.issuperset(trials)]
        planned = {trial_id for _, trials in stacks for trial_id in trials}
        new: list[Known] = []
        for state in self.kept:
            free = [c for c in found.values() if c.state is state and c.trial.trial_id not in planned]
            if free:
                members = [c.trial for c in sorted(free, key=lambda c: c.place)]
                stack = Stack.of(state.origin.engine, members)
                new.append((stack.group, stack.engine, [trial.trial_id for trial in members]))
        sources: dict[str, StateSource] = {}
        goes_on: Counter[str] = Counter()
        for group, trials in [*stacks, *((group, trials) for group, _, trials in new)]:
            chosen = [found[trial_id] for trial_id in trials if trial_id in found]
            if not chosen:
                continue
            if why := self._why_not(chosen, len(trials)):
                self.again[why] += len(chosen)
                continue
            sources[group] = self._source(chosen)
            goes_on[_words(chosen[0].state)] += len(chosen)
        return Longer([stack for stack in new if stack[0] in sources], sources, self._remarks(goes_on))

    def _candidates(self, todo: Sequence[Trial]) -> Iterator[_Candidate]:
        """Give the trials that a longest shorter trial's state fits, as far as their settings tell."""
        rows = {trial_id: (state, k) for state in self.kept for k, trial_id in enumerate(state.trials)}
        budgets = {str(budget): budget for budget in map(_budget_settings, self.kept)}.values()
        sources = plugins.sources()
        for trial in todo:
            ids = (other_budget(trial, budget, sources) for budget in budgets)
            shorter = [rows[trial_id] for trial_id in ids if trial_id in rows]
            shorter.sort(key=lambda row: -row[0].step)
            reasons = [self._reason(trial, state) for state, _ in shorter]
            if "" in reasons:
                state, place = shorter[reasons.index("")]
                yield _Candidate(trial, state, place)
            elif any(reasons):
                self.again[next(filter(None, reasons))] += 1

    def _reason(self, trial: Trial, state: KeptState) -> str:
        """Say why a trial cannot go on from a state, whose settings are its own but for the budget."""
        settings = trial.arm.settings
        earlier = Settings(
            {name: value for name, value in settings.items() if name not in BUDGET} | _budget_settings(state),
            settings.study_dataset,
        )
        key = (
            schedule_key(settings), settings.dataset, str(settings.val_fraction), str(settings.batch_size),
            *(str(chosen.get(name)) for name in BUDGET for chosen in (settings, earlier)),
        )  # fmt: skip
        if key not in self.reasons:
            self.reasons[key] = _reason(settings, earlier, state.step)
        return self.reasons[key]

    def _why_not(self, chosen: Sequence[_Candidate], members: int) -> str:
        """Say why a stack of so many members does not go on from the state of those chosen; "" if it does."""
        state, places = chosen[0].state, [candidate.place for candidate in chosen]
        together = len(chosen) == members and all(c.state is state for c in chosen)
        if not together or places != sorted(places) or (_whole(state) and len(places) < len(state.trials)):
            return OTHER_STACK
        if state.origin.engine != self.engine and not (
            (self.engine, state.origin.engine) == ("stacked", "loop") and trains_alone(chosen[0].trial.arm)
        ):
            return f"their state is the {state.origin.engine} engine's, not the {self.engine} engine's"
        if state.header.metrics != checkpoints.digests(self.drawn.study.metrics):
            return "other metrics were tracked"
        if why := self._otherwise(state):
            return why
        return self._unreadable(chosen)

    def _otherwise(self, state: KeptState) -> str:
        """Say what this machine or version would compute otherwise than it was."""
        try:
            members = state.header.made_of(self.datasets)
            stack = Stack(state.header.group, state.origin.engine, tuple(members))
            here = Origin.here(stack, self.device, self.drawn.study.metrics)
        except (KeyError, UsageError) as error:
            return f"a member of their stack cannot be trained here any more ({error})"
        unlike = state.origin.unlike(here)
        return f"another version or device made their state: {unlike}" if unlike else ""

    def _unreadable(self, chosen: Sequence[_Candidate]) -> str:
        """Say why the state of trials cannot be used, once it is read whole."""
        state = chosen[0].state
        try:
            _, read = checkpoints.read(state.path, state.origin)
            diverged = read.values["diverged_step"][[candidate.place for candidate in chosen]]
            trials = [candidate.trial for candidate in chosen]
            return _differs(trials, state, last_only=bool((diverged == state.step).any()))
        except (DamagedError, *UNREADABLE) as error:
            return f"their state {state.path} is damaged ({error})"

    def _source(self, chosen: Sequence[_Candidate]) -> StateSource:
        state = chosen[0].state
        places = {candidate.trial.trial_id: candidate.place for candidate in chosen}
        return StateSource(state.path.resolve(), state.origin, places, self.datasets, _whole(state))

    def _remarks(self, goes_on: Mapping[str, int]) -> list[str]:
        remarks = [
            f"{count(n, 'trial')} {'goes' if n == 1 else 'go'} on from {shorter}"
            for shorter, n in goes_on.items()
        ]
        return remarks + [
            f"{n} {'starts' if n == 1 else 'start'} again: {reason}" for reason, n in self.again.items()
        ]


def _budget(settings: Settings) -> Budget:
    return Budget.of(settings, train_size(settings))


def _budget_settings(state: KeptState) -> dict[str, str | int]:
    """Return the settings of a state's trials that decide its budget."""
    settings = state.header.members[0]["settings"]
    return {name: settings[name] for name in BUDGET if name in settings}


def _words(state: KeptState) -> str:
    """Say how long the trials of a state were trained, such as "3 epochs"."""
    budget = _budget_settings(state)
    unit = "epoch" if "epochs" in budget else "step"
    return count(int(budget[f"{unit}s"]), unit)


def _whole(state: KeptState) -> bool:
    """Tell whether the bits of a state's trials may depend on which of them train together."""
    return state.origin.engine == "stacked" and state.header.library != "compiled"


def _reason(settings: Settings, earlier: Settings, step: int) -> str:
    """Say why training from a state after `step` steps does not give the numbers of one from the start."""
    longer, shorter = _budget(settings), _budget(earlier)
    if step != shorter.steps or step >= longer.steps:
        return "they are not longer"
    if not {at for at in longer.eval_steps if at <= step}.issubset(shorter.eval_steps):
        return EVALUATED
    same = np.array_equal(schedule_factors(settings, longer)[:step], schedule_factors(earlier, shorter))
    return "" if same else SCHEDULE


def _differs(trials: Sequence[Trial], state: KeptState, *, last_only: bool) -> str:
    """Say what else a longer training would have done otherwise up to a state.

    `last_only`: a trial diverged at the state's last step, perhaps in an evaluation that is not the longer's.
    """
    longer = _budget(trials[0].arm.settings)
    aside = state.step not in longer.eval_steps
    if aside and (last_only or not trials[0].arm.settings.plain_mlp):
        return EVALUATED
    if _whole(state):  # learning rates that all members share are a number, others a tensor: other kernels
        rates = learning_rates(trials, longer)
        if _distinct(rates) != _distinct(rates[: state.step]):
            return "their learning rates part later"
    return ""


def _distinct(rates: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> int:
    """Count the different learning rates of trials, (S, K)."""
    return int(np.unique(rates, axis=1).shape[1])
