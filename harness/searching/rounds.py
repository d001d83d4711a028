"""Rounds: suggestions train as stacks, from rung to rung, and the pruned leave their stack.

A stage of a stack is a pure function: the stack's state goes in, the state at the next rung comes out. So any
worker can train any stage, pruned members are left out between two stages, and a worker that dies loses
nothing but its stage.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.data.batches import Budget
from harness.data.samples import Data
from harness.engines import arithmetic, bits, engine
from harness.engines.base import EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.states import State
from harness.errors import MachineError
from harness.planning.cost import stack_seconds
from harness.planning.stack import Stack, budget_of
from harness.results.parts import ShareOutcome
from harness.searching.ask_tell import AskTell, Suggestion
from harness.study.study import Study
from harness.study.trials import Trial
from harness.system import machine
from harness.training.progress import SharedProgress
from harness.training.tasks import Task, quiet_arithmetic, undisturbed

PRUNED = "pruned after evaluation {}"
OTHER_SEED = "another seed of this suggestion diverged or failed"


@dataclass(frozen=True)
class StageTask(Task["StageResult"]):
    """A stack, its state after so many seconds, and the step to train it to. Without a state it begins.

    `kernels` and `hosts` name, of each trial, what computed it up to that state, and where.
    """

    until: int = 0
    state: State | None = None
    seconds: float = 0.0
    kernels: Sequence[str] = ()
    hosts: Sequence[str] = ()

    def train(self, data: Data, shared: SharedProgress | None) -> StageResult:  # noqa: ARG002 (not a run's)
        """Train the stack to its next rung."""
        start = time.perf_counter() - self.seconds
        memory = _InMemory(self.state)
        # Nothing is chosen by train, whose evaluation would take a quarter of the time.
        options = EngineOptions(
            metrics=self.study.metrics, checkpoints=memory, sealed=True, until=self.until, splits=("val",)
        )
        stack = self.stack
        library = arithmetic(stack.engine, stack.trials, data, self.device, self.study.metrics)
        with quiet_arithmetic(library), undisturbed():
            outcome = engine(stack.engine).train(stack.trials, data, self.device, options=options)
            kernels = bits.of_trials(
                stack.engine, stack.trials, data, self.device, self.study.metrics, outcome.steps
            )
        outcome.kernels = _both(self.kernels, kernels)
        outcome.hosts = _both(self.hosts, [machine.host()] * len(stack.trials))
        seconds = time.perf_counter() - start
        # The state that the stage began with stays where it is: on its way back it would double the bytes.
        done = replace(self, state=None)
        return StageResult(done, replace(outcome, weights=[]), memory.state, seconds)

    def failed(self, message: str) -> StageResult:
        """Return the failure of the stage."""
        return StageResult(self, failure=message)

    def only(self, members: Sequence[int]) -> StageTask:
        """Return the stage with some of its members."""
        trials = self.stack.trials
        state = self.state and engine(self.stack.engine).select(self.state, trials, list(members))
        return replace(
            self,
            stack=replace(self.stack, trials=tuple(trials[k] for k in members)),
            state=state,
            kernels=[self.kernels[k] for k in members] if self.kernels else (),
            hosts=[self.hosts[k] for k in members] if self.hosts else (),
        )


def _both(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Name what computed each trial of a stack, before and after a stage began."""
    return list(map(bits.of_both, before, after)) if before else list(after)


@dataclass(frozen=True)
class StageResult:
    """All that was observed of a stack so far and the state to go on from; or the message of its failure.

    The stage still has the state that it began with where it failed, to be tried again.
    """

    stage: StageTask
    outcome: Outcome | None = None
    state: State | None = None
    seconds: float = 0.0
    failure: str = ""

    @property
    def notes(self) -> Sequence[str]:
        """What the engine did otherwise than expected, in words."""
        return () if self.outcome is None else self.outcome.notes


class _InMemory:
    """The checkpoints of a stage: `load` gives the state that it begins with, `save` keeps the last one."""

    def __init__(self, state: State | None) -> None:
        self.state = state

    def load(self) -> State | None:
        return self.state

    def due(self, step: int, budget: Budget) -> bool:  # noqa: ARG002 (the protocol's signature)
        return False

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        self.state = State(step, {name: _copied(value) for name, value in values.items()})


def _copied(value: Any) -> Any:
    """Copy a tensor or an array into an array of its own; other values are as JSON knows them."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return value.copy() if isinstance(value, np.ndarray) else value


@dataclass
class Round:
    """Suggestions in training that wait for one another: a batch, or what cannot be judged apart.

    `stacks` are their trials, as the plan has put them together; `ask_tell` hears what suggestions reach, and
    asks the pruner after the evaluations `rungs`. Stacks also wait for one another after the evaluations
    `stops`. With `holds` whoever passes the first rung waits there until it is released. `join` may put
    stacks together that wait for the same rung.

    `reported` are the numbers and the evaluations that the pruner has heard of. `shares` are members of
    stacks that ended together, `failed` the stack and the message of trials that could not be trained, by
    trial_id; `in_training` is what goes on, as it was when all had arrived last, and `rung` the evaluation to
    which it trains.
    """

    study: Study
    batch: Sequence[Suggestion]
    stacks: Sequence[Stack]
    ask_tell: AskTell
    rungs: Sequence[int]
    stops: Sequence[int] = ()
    holds: bool = False
    join: Callable[[Sequence[StageResult]], list[StageResult]] = list
    judge: Callable[[Sequence[Suggestion], int], set[int]] | None = None
    shares: list[tuple[Stack, ShareOutcome]] = field(default_factory=list)
    failed: dict[str, tuple[Stack, str]] = field(default_factory=dict)
    in_training: list[StageResult] = field(default_factory=list)
    reported: set[tuple[int, int]] = field(default_factory=set)
    rung: int = 0
    passed: int = 0
    held: bool = False
    _arrived: list[StageResult] = field(default_factory=list)
    _awaited: int = 0

    @property
    def last(self) -> int:
        """The number of evaluations of the suggestion that gets most."""
        return max((len(budget_of(stack).eval_steps) - 1 for stack in self.stacks), default=0)

    @property
    def is_over(self) -> bool:
        """True if nothing of the round trains or waits any more."""
        return not self.in_training and not self._arrived and not self._awaited

    def begin(self, devices: Sequence[str]) -> list[StageTask]:
        """Return the first stage of each stack."""
        self.in_training = [
            StageResult(StageTask(stack, devices[i % len(devices)], self.study))
            for i, stack in enumerate(self.stacks)
        ]
        return self._onward()

    def arrive(self, result: StageResult) -> list[StageTask]:
        """Take the result of a stage; return the stages that come next, none while others are awaited.

        A stack that failed is trained again in halves, so that only faulty members fail.
        """
        members = len(result.stage.stack.trials)
        if result.failure and members > 1:
            self._awaited += 1
            return [result.stage.only(range(members // 2)), result.stage.only(range(members // 2, members))]
        self._arrived.append(result)
        self._awaited -= 1
        if self._awaited:
            return []
        # In the order of the plan: which stack is done first must not decide which is asked about first.
        self.in_training = sorted(self._arrived, key=_place)
        self._arrived = []
        self.report()
        self._remove_ended(self.rung, self._stopped() if self.rung in self.rungs else set())
        self.passed = self.rung
        self.in_training = self.join(self.in_training)
        if self.holds and self.passed in self.rungs and self.in_training:
            self.held = True
            return []
        return self._onward()

    def judge_again(self) -> None:
        """Ask the pruner again about those that are held, who may have better rivals by now."""
        if self.held:
            self._remove_ended(self.passed, self._stopped())

    def release(self) -> list[StageTask]:
        """Return the stages of those that were held."""
        self.held = False
        return self._onward()

    def _onward(self) -> list[StageTask]:
        """Return the stages to the next rung, the longest first."""
        later = (rung for rung in sorted({*self.rungs, *self.stops}) if self.passed < rung < self.last)
        self.rung = next(later, self.last)
        stages = [self._next(result, self.rung) for result in self.in_training]
        self._awaited = len(stages)
        return sorted(stages, key=lambda stage: stack_seconds(stage.stack) * stage.until, reverse=True)

    def _next(self, result: StageResult, rung: int) -> StageTask:
        """Return the stage from a stack's state to the next rung, or to its own end."""
        stack, device = result.stage.stack, result.stage.device
        steps = budget_of(stack).eval_steps
        until = steps[min(rung, len(steps) - 1)]
        outcome = result.outcome
        made_by = (outcome.kernels, outcome.hosts) if outcome else ()
        return StageTask(stack, device, self.study, until, result.state, result.seconds, *made_by)

    def report(self) -> None:
        """Report to Optuna what all suggestions reached since the last rung, evaluation by evaluation."""
        search = self.ask_tell.search
        if len(search.objective) > 1:
            return
        curves: dict[str, list[Mapping[int, float]]] = {}
        for result in self.in_training:
            if result.outcome is not None:
                for k, trial in enumerate(result.stage.stack.trials):
                    points = curve(result.outcome, k, search.objective[0])
                    curves.setdefault(trial.arm.name, []).append(points)
        for suggestion in self.batch:
            seeds = curves.get(suggestion.arm, [])
            if len(seeds) < len(search.seeds):  # a seed diverged, or its stack failed
                continue
            for evaluation in sorted(set.intersection(*(set(points) for points in seeds))):
                if (suggestion.number, evaluation) not in self.reported:
                    self.reported.add((suggestion.number, evaluation))
                    value = float(np.mean([points[evaluation] for points in seeds]))
                    self.ask_tell.report(suggestion, evaluation, value)

    def _stopped(self) -> set[str]:
        """Return the arms that the pruner stops, of those that would go on."""
        unfinished = {
            trial.arm.name
            for result in self.in_training
            if not _is_finished(result.stage)
            for trial in result.stage.stack.trials
        } - {*self._lost()}
        candidates = [suggestion for suggestion in self.batch if suggestion.arm in unfinished]
        stopped = (self.judge or self._judged)(candidates, self.rung)
        return {suggestion.arm for suggestion in candidates if suggestion.number in stopped}

    def _judged(self, candidates: Sequence[Suggestion], rung: int) -> set[int]:  # noqa: ARG002
        return self.ask_tell.pruned(candidates)

    def _remove_ended(self, rung: int, stopped: set[str]) -> None:
        """Take the members out of the stacks that end here: trained to their end, diverged, or pruned."""
        remaining: list[StageResult] = []
        lost = set(self._lost())
        for result in self.in_training:
            stage, outcome = result.stage, result.outcome
            stack = stage.stack
            if outcome is None:
                self.failed |= {trial.trial_id: (stack, result.failure) for trial in stack.trials}
                continue
            finished = _is_finished(stage)
            reasons = {} if finished else _reasons(stack, outcome, stopped, lost, rung)
            ended = [
                k
                for k, trial in enumerate(stack.trials)
                if finished or outcome.diverged_step[k] or trial.trial_id in reasons
            ]
            if ended:
                trials = [stack.trials[k] for k in ended]
                share = ShareOutcome(trials, outcome.of(ended), result.seconds, stage.device, reasons)
                self.shares.append((stack, share))
            kept = [k for k in range(len(stack.trials)) if k not in set(ended)]
            if kept and ended:
                stage = replace(stage, state=result.state).only(kept)
                remaining.append(StageResult(stage, outcome.of(kept), stage.state, result.seconds))
            elif kept:
                remaining.append(result)
        self.in_training = remaining

    def _lost(self) -> Iterator[str]:
        """Yield the arms of which a seed diverged or failed: nothing more can come of them."""
        for result in self.in_training:
            for k, trial in enumerate(result.stage.stack.trials):
                if result.outcome is None or result.outcome.diverged_step[k]:
                    yield trial.arm.name
        yield from (trial.arm.name for stack, _ in self.failed.values() for trial in stack.trials)

    def check_complete(self) -> None:
        """Raise MachineError where a trial has no end: a batch is told whole, or not at all."""
        planned = {trial.trial_id for stack in self.stacks for trial in stack.trials}
        ended = {trial.trial_id for _, share in self.shares for trial in share.trials} | set(self.failed)
        if planned != ended:
            raise MachineError(
                f"{len(planned - ended)} of {len(planned)} trials of a batch did not end, so it was not "
                "told. Run the same command again: it trains what is missing."
            )


def _place(result: StageResult) -> tuple[str, str]:
    stack = result.stage.stack
    return stack.group, stack.trials[0].trial_id


def _is_finished(stage: StageTask) -> bool:
    return stage.until == budget_of(stage.stack).steps


def _reasons(stack: Stack, outcome: Outcome, stopped: set[str], lost: set[str], rung: int) -> dict[str, str]:
    """Return by trial_id the reason why members are stopped that could go on."""
    reasons = {}
    for k, trial in enumerate(stack.trials):
        if not outcome.diverged_step[k]:
            if trial.arm.name in lost:
                reasons[trial.trial_id] = OTHER_SEED
            elif trial.arm.name in stopped:
                reasons[trial.trial_id] = PRUNED.format(rung)
    return reasons


def curve(outcome: Outcome, k: int, objective: str) -> dict[int, float]:
    """Return a member's objective on val by evaluation, from 1, up to its divergence; as results hold it."""
    metric, end = objective.removeprefix("val_"), outcome.diverged_step[k]
    points = [point for point in outcome.curve if point.split == "val" and (not end or point.step < end)]
    values = {
        i: float(getattr(p, metric)[k] if metric in {"loss", "accuracy"} else p.metrics[metric][k])
        for i, p in enumerate(points)
    }
    return {i: rounded(value) for i, value in values.items() if i > 0}


def rounded(value: float) -> float:
    """Round a number to the digits that results hold."""
    return float(f"{value:.7g}")


def name_of(trials: Sequence[Trial]) -> str:
    """Return the name of a batch's part: another one where its suggestions are asked for again."""
    text = " ".join(f"{trial.arm.name} {trial.trial_id}" for trial in trials)
    return "b" + hashlib.sha256(text.encode()).hexdigest()[:8]
