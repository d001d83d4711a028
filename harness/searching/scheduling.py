"""Scheduling: which batches are in training at once, which stage is next, when the next batch is asked for.

With barriers (`Pruning.waits_for == "batch"`) nothing depends on time. The next batch is asked for once
this one has come to `next_at`, with what all its members had reached then, and once the batch before it has
ended. So two batches are in training, and whenever stacks of one wait for its last, there are stages of the
other. Stages up to `next_at` go first, since the next batch waits for them.

Without barriers ("stack") each stack is judged when it arrives, and the next batch is asked for as soon as
no stage waits for a worker; also where suggestions wait for the whole search ("search"), whose sampler needs
no result.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.planning.plan import Plan
from harness.planning.stack import Stack
from harness.results import parts
from harness.searching import joining, outcomes, pruners, rounds
from harness.searching.ask_tell import AskTell, Suggestion, SuggestionResult
from harness.searching.costs import Costs
from harness.searching.outcomes import TrialResult
from harness.searching.rounds import Round, StageResult, StageTask
from harness.searching.told import Told
from harness.study.searches import Pruning, Search
from harness.study.study import Study
from harness.study.trials import Trial

TAIL = 0.2
"""Share of a batch's evaluations that are still to come when the next one is asked for, at least."""


def next_at(pruning: Pruning, evaluations: int, members: int) -> int:
    """Return the evaluation, of so many, at which the next batch is asked for; 0: at the end of the batch.

    Late enough to know much of the `members`, and early enough that there are stages beside those of the next
    batch: the last rung after which halving leaves a share TAIL of the evaluations; else two thirds.

    >>> next_at(Pruning(name="hyperband"), 5, 32), next_at(Pruning(name="halving"), 5, 32)
    (3, 1)
    >>> next_at(Pruning(), 6, 32), next_at(Pruning(), 1, 32)
    (4, 0)
    """
    if evaluations < 2:
        return 0
    rungs = pruners.rungs(pruning, evaluations) if pruning.name in pruners.HALVING else []
    if not rungs:
        return max(1, evaluations * 2 // 3)
    trained = pruners.trained(pruning, evaluations, members)
    late = [rung for i, rung in enumerate(rungs, 1) if sum(trained[i:]) >= TAIL * sum(trained)]
    return late[-1] if late else rungs[0]


@dataclass
class Batch:
    """Suggestions that were asked for at once, from their asking until they are told.

    `ended` are results by trial_id that needed no training now; `rounds` train the others.
    """

    number: int
    suggestions: Sequence[Suggestion]
    plan: Plan
    ended: Mapping[str, TrialResult]
    rounds: list[Round]
    next_at: int = 0
    written: set[str] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """True if all trials have ended."""
        return all(trained.is_over for trained in self.rounds)

    @property
    def passed(self) -> int:
        """The evaluation at which all were judged last."""
        return min((trained.passed for trained in self.rounds), default=0)

    @property
    def share(self) -> float:
        """The share of the evaluations that is done, of the suggestions that get most."""
        return min((trained.passed / max(1, trained.last) for trained in self.rounds), default=1.0)

    def results(self, search: Search, costs: Costs) -> list[SuggestionResult]:
        """Return the result of each suggestion, once all have ended."""
        self.check_complete()
        trained = dict(self.ended)
        for one in self.rounds:
            trained |= outcomes.of_round(one, search.objective)
        return [outcomes.combine(self.trials_of(s), trained, search, costs) for s in self.suggestions]

    def check_complete(self) -> None:
        """Raise MachineError where a trial has no end: a batch is told whole, or not at all."""
        for one in self.rounds:
            one.check_complete()

    def known(self, search: Search, costs: Costs) -> dict[int, SuggestionResult | None]:
        """Return what is known of each suggestion by now."""
        trained = dict(self.ended)
        for one in self.rounds:
            trained |= outcomes.so_far(one, search.objective)
        return {
            suggestion.number: outcomes.combine(trials, trained, search, costs)
            if all(trial.trial_id in trained for trial in trials)
            else None
            for suggestion in self.suggestions
            for trials in [self.trials_of(suggestion)]
        }

    def trials_of(self, suggestion: Suggestion) -> list[Trial]:
        """Return the trials of a suggestion, one a seed."""
        return [trial for trial in self.plan.trials if trial.arm.name == suggestion.arm]

    def write(self, folder: Path) -> None:
        """Write what has ended since the last call as a part of the results folder."""
        stacks = [stack for one in self.rounds for stack in one.stacks]
        planned = {trial.trial_id: stack for stack in stacks for trial in stack.trials}
        shares = [
            part
            for one in self.rounds
            for _, share in one.shares
            if share.trials[0].trial_id not in self.written
            for part in joining.by_planned_stack(share, planned)
        ]
        failed = {
            trial_id: (planned[trial_id], message)
            for one in self.rounds
            for trial_id, (_, message) in one.failed.items()
            if trial_id not in self.written
        }
        ids = {trial.trial_id for _, share in shares for trial in share.trials} | set(failed)
        if ids:
            trials = [trial for trial in self.plan.trials if trial.trial_id in ids]
            parts.write_batch(folder, rounds.name_of(trials), shares, failed)
        self.written |= ids


class StageSchedule:
    """The batches in training, oldest first, and their stages that wait for a worker.

    `trained` are the seconds that stages took, summed over the `workers`, of whom there may be more or fewer
    from then on (`count_workers`).
    """

    def __init__(  # noqa: PLR0913 (the parts of one search)
        self, study: Study, ask_tell: AskTell, told: Told, costs: Costs, rungs: Sequence[int],
        devices: Sequence[str], workers: int,
    ) -> None:  # fmt: skip
        assert study.search is not None  # noqa: S101 (a search's)
        self.study, self.search, self.ask_tell = study, study.search, ask_tell
        self.told, self.costs, self.rungs = told, costs, rungs
        self.devices, self.workers = devices, workers
        self.waits_for = self.search.pruner.waits_for
        self.batches: list[Batch] = []
        self.trained = 0.0
        self._offered, self._counted = 0.0, time.monotonic()
        self._queue: list[tuple[tuple[int, int, int], StageTask]] = []
        self._counter = itertools.count()
        self._reported: set[tuple[int, int]] = set()
        self._rounds: dict[str, tuple[Batch, Round]] = {}

    def add(
        self, number: int, suggestions: Sequence[Suggestion], plan: Plan, ended: Mapping[str, TrialResult],
        stacks: Sequence[Stack],
    ) -> None:  # fmt: skip
        """Begin to train a batch: those of its trials that are in `stacks`."""
        batch = Batch(number, suggestions, plan, ended, [])
        self.batches.append(batch)
        groups = _groups(stacks) if self.waits_for == "stack" else [list(stacks)] if stacks else []
        self._restore(batch)
        for group in groups:
            one = self._round(batch, group)
            batch.rounds.append(one)
            self._rounds |= {t.trial_id: (batch, one) for stack in group for t in stack.trials}
        last = max((one.last for one in batch.rounds), default=0)
        if self.waits_for == "batch" and not self.search.own:
            batch.next_at = next_at(self.search.pruner, last, len(suggestions))
        for one in batch.rounds:
            one.stops = [batch.next_at] if batch.next_at else []
            self._enqueue(batch, one, one.begin(self.devices))

    def _round(self, batch: Batch, stacks: Sequence[Stack]) -> Round:
        arms = {trial.arm.name for stack in stacks for trial in stack.trials}
        members = [suggestion for suggestion in batch.suggestions if suggestion.arm in arms]
        return Round(
            self.study, members, stacks, self.ask_tell, self.rungs, holds=self.waits_for == "search",
            join=lambda results: joining.joined(results, 2 * self.workers if self.workers > 1 else 1),
            judge=self._judged if self.waits_for == "stack" else None, reported=self._reported,
        )  # fmt: skip

    def _restore(self, batch: Batch) -> None:
        """Report again what an earlier run had reported, for those who are judged against it."""
        self.told.note_drawn({s.number: s.drawn for s in batch.suggestions})
        if self.waits_for != "batch":
            for suggestion in batch.suggestions:
                for evaluation, value in self._reports(batch, suggestion).items():
                    self.ask_tell.report(suggestion, evaluation, value)
                    self._reported.add((suggestion.number, evaluation))

    def _reports(self, batch: Batch, suggestion: Suggestion) -> Mapping[int, float]:
        trials = batch.trials_of(suggestion)
        if all(trial.trial_id in batch.ended for trial in trials):
            return outcomes.combine(trials, batch.ended, self.search, self.costs).intermediate
        return self.told.reported(suggestion.number)

    def _judged(self, candidates: Sequence[Suggestion], rung: int) -> set[int]:
        """Return who is stopped after a rung: as an earlier run has judged, else as the pruner judges now."""
        before = {s.number: self.told.judged(s.number, rung) for s in candidates}
        anew = [suggestion for suggestion in candidates if before[suggestion.number] is None]
        stopped = self.ask_tell.pruned(anew)
        if anew:
            reported = {s.number: self.ask_tell.reported(s) for s in anew}
            self.told.note_judged(rung, reported, sorted(stopped))
        return stopped | {number for number, stop in before.items() if stop}

    @property
    def busy(self) -> float:
        """The share of the workers' seconds, since the first batch was asked for, for which they trained."""
        return self.trained / max(1e-9, self._offered)

    def count_workers(self, workers: int) -> None:
        """Note how many workers there are from now on."""
        now = time.monotonic()
        self._offered += self.workers * (now - self._counted)
        self.workers, self._counted = workers, now

    def stop(self) -> None:
        """Note that the search is over. Raises MachineError where a trial has no end."""
        self.count_workers(self.workers)
        for batch in self.batches:
            batch.check_complete()

    def take(self) -> StageTask | None:
        """Return the stage to train next; None while there is none."""
        return heapq.heappop(self._queue)[1] if self._queue else None

    def arrive(self, result: StageResult, *, more: bool) -> None:
        """Take the result of a stage, and put the stages in the queue that come next.

        What the next batch is asked for with is noted; `more`: one is wanted in this run.
        """
        self.trained += 0.0 if result.failure else result.seconds - result.stage.seconds
        batch, one = self._rounds[result.stage.stack.trials[0].trial_id]
        self._enqueue(batch, one, one.arrive(result))
        if batch.next_at and batch is self.batches[-1] and batch.passed >= batch.next_at:
            self.told.note_known(batch.number + 1, batch.known(self.search, self.costs), wanted=more)

    def _enqueue(self, batch: Batch, one: Round, stages: Sequence[StageTask]) -> None:
        late = int(self.waits_for == "batch" and one.rung > batch.next_at)
        for stage in stages:
            heapq.heappush(self._queue, ((late, batch.number, next(self._counter)), stage))

    def may_ask(self) -> bool:
        """Tell whether the next batch may be asked for by now."""
        if not self.batches:
            return True
        number = self.batches[-1].number + 1
        if self.waits_for == "batch":
            return len(self.batches) == 1 and self.batches[0].next_at > 0 and number in self.told.known
        return number in self.told.known or not self._queue

    def foresee(self, number: int) -> None:
        """Have the next batch asked for with what is known of those in training, and note that."""
        if self.waits_for == "stack":
            known: dict[int, SuggestionResult | None] = {}
            for batch in self.batches:
                known |= batch.known(self.search, self.costs)
            self.told.note_known(number, known)
        self.ask_tell.foresee(self.told.known.get(number, {}))

    def release(self) -> bool:
        """Let those go on that waited for the whole search, once all others have ended; False if none did."""
        every = [(batch, one) for batch in self.batches for one in batch.rounds]
        held = [(batch, one) for batch, one in every if one.held]
        if not held or not all(one.held or one.is_over for _, one in every):
            return False
        for _, one in held:
            one.judge_again()
        for batch, one in held:
            self._enqueue(batch, one, one.release())
        return True

    def remove(self, batch: Batch) -> None:
        """Forget a batch that has been told."""
        self.batches.remove(batch)
        self._rounds = {i: (other, one) for i, (other, one) in self._rounds.items() if other is not batch}


def _groups(stacks: Sequence[Stack]) -> list[list[Stack]]:
    """Group stacks that train seeds of the same suggestions: these are judged together."""
    groups: list[tuple[set[str], list[Stack]]] = []
    for stack in stacks:
        arms = {trial.arm.name for trial in stack.trials}
        shared = [group for group in groups if group[0] & arms]
        others = [group for group in groups if not group[0] & arms]
        merged = [one for group in shared for one in group[1]]
        groups = [*others, (arms.union(*(group[0] for group in shared)), [*merged, stack])]
    return [group for _, group in groups]
