"""Rounds: a batch of suggestions trains as stacks, from rung to rung, and who is pruned leaves its stack."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.costs import stack_seconds
from harness.engines.outcome import Outcome
from harness.errors import MachineError
from harness.parts import Trained
from harness.searching.asking import Asker, Suggestion
from harness.searching.stages import Reached, Stage, Workers
from harness.stacks import Stack, budget_of
from harness.trials import Trial

PRUNED = "pruned after evaluation {}"
OTHER_SEED = "another seed of this suggestion diverged"


@dataclass(frozen=True)
class Setup:
    """How the stacks of a search train, whichever batch it is."""

    workers: Workers
    devices: Sequence[str]
    rungs: Sequence[int]
    objective: str
    metrics: Sequence[str] = ()


@dataclass
class Round:
    """What has come of a batch so far.

    `shares` are members of stacks that ended together, `failed` the stack and the message of trials that
    could not be trained, by trial_id; `going` is what still trains.
    """

    going: list[Reached]
    shares: list[tuple[Stack, Trained]] = field(default_factory=list)
    failed: dict[str, tuple[Stack, str]] = field(default_factory=dict)


def train(
    batch: Sequence[Suggestion],
    stacks: Sequence[Stack],
    asker: Asker,
    setup: Setup,
    tell: Callable[[float], None] = lambda _share: None,
) -> Round:
    """Train a batch to its end, or as far as the pruner lets each suggestion go.

    Args:
        batch: suggestions that were asked for.
        stacks: their trials, as the plan has put them together.
        asker: hears what suggestions reach, and asks the pruner.
        setup: how to train.
        tell: told now and then which share of the stages between two rungs is done.
    """
    found = Round(
        [Reached(Stage(stack, 0, setup.devices[i % len(setup.devices)])) for i, stack in enumerate(stacks)]
    )
    reported: set[tuple[int, int]] = set()
    last = max((len(budget_of(stack).eval_steps) - 1 for stack in stacks), default=0)
    rungs = [*(rung for rung in setup.rungs if rung < last), last]
    for done, rung in enumerate(rungs):
        stages = [_next(reached, rung, setup) for reached in found.going]
        stages.sort(key=lambda stage: stack_seconds(stage.stack) * stage.until, reverse=True)
        found.going = []
        for count, reached in enumerate(_trained(stages, setup.workers), 1):
            found.going.append(reached)
            tell((done + min(1.0, count / len(stages))) / len(rungs))
        # In the order of the plan: who is done first must not decide who is asked first.
        found.going.sort(key=lambda reached: reached.stage.stack.group)
        _report(batch, found, asker, setup, reported)
        _part(found, rung, _stopped(batch, found, asker) if rung in setup.rungs else set())
        if not found.going:
            break
    _check_whole(stacks, found)
    tell(1.0)
    return found


def _check_whole(stacks: Sequence[Stack], found: Round) -> None:
    """Raise MachineError where a trial of a batch has no end: a batch is told whole, or not at all."""
    planned = {trial.trial_id for stack in stacks for trial in stack.trials}
    ended = {trial.trial_id for _, share in found.shares for trial in share.trials} | set(found.failed)
    if planned != ended:
        raise MachineError(
            f"{len(planned - ended)} of {len(planned)} trials of a batch came to no end, so that nothing of "
            "it was written. Run the same command again: it asks for the same batch."
        )


def _trained(stages: Sequence[Stage], workers: Workers) -> Iterator[Reached]:
    """Train stages; a stack that fails is trained again in halves, so that only who is guilty fails."""
    waiting = list(stages)
    while waiting:
        halves: list[Stage] = []
        for reached in workers.train(waiting):
            if reached.failure and len(reached.stage.stack.trials) > 1:
                halves += _halves(reached.stage)
            else:
                yield reached
        waiting = halves


def _halves(stage: Stage) -> Iterator[Stage]:
    """A stage as two, of half the members each."""
    stack, count = stage.stack, len(stage.stack.trials)
    engine = importlib.import_module(f"harness.engines.{stack.engine}")
    for keep in (range(count // 2), range(count // 2, count)):
        state = stage.state and engine.select(stage.state, stack.trials, list(keep))
        yield replace(stage, stack=replace(stack, trials=tuple(stack.trials[k] for k in keep)), state=state)


def _stopped(batch: Sequence[Suggestion], found: Round, asker: Asker) -> set[str]:
    """The arms that the pruner stops, of those that would go on."""
    going = {
        trial.arm.name
        for reached in found.going
        if reached.stage.until < budget_of(reached.stage.stack).steps
        for trial in reached.stage.stack.trials
    } - {*_lost(found)}
    asked = [suggestion for suggestion in batch if suggestion.arm in going]
    stopped = asker.pruned(asked)
    return {suggestion.arm for suggestion in asked if suggestion.number in stopped}


def _next(reached: Reached, rung: int, setup: Setup) -> Stage:
    """The way from where a stack is to the next rung, or to its own end."""
    stack = reached.stage.stack
    steps = budget_of(stack).eval_steps
    until = steps[min(rung, len(steps) - 1)]
    return Stage(stack, until, reached.stage.device, reached.state, setup.metrics, reached.seconds)


def _report(
    batch: Sequence[Suggestion],
    found: Round,
    asker: Asker,
    setup: Setup,
    reported: set[tuple[int, int]],
) -> None:
    """Report to Optuna what all suggestions reached since the last rung, evaluation by evaluation."""
    if len(asker.search.objective) > 1:
        return
    curves: dict[str, list[Mapping[int, float]]] = {}
    for reached in found.going:
        if reached.outcome is not None:
            for k, trial in enumerate(reached.stage.stack.trials):
                curves.setdefault(trial.arm.name, []).append(curve(reached.outcome, k, setup.objective))
    seeds = len(asker.search.seeds)
    for suggestion in batch:
        own = curves.get(suggestion.arm, [])
        if len(own) < seeds:  # a seed diverged, or its stack failed
            continue
        for evaluation in sorted(set.intersection(*(set(one) for one in own))):
            if (suggestion.number, evaluation) not in reported:
                reported.add((suggestion.number, evaluation))
                value = float(np.mean([one[evaluation] for one in own]))
                asker.report(suggestion, evaluation, value)


def curve(outcome: Outcome, k: int, objective: str) -> dict[int, float]:
    """A member's objective on val by evaluation, from 1, up to where it diverged; as the results have it."""
    metric, end = objective.removeprefix("val_"), outcome.diverged_step[k]
    points = [point for point in outcome.curve if point.split == "val" and (not end or point.step < end)]
    values = {
        i: float(getattr(p, metric)[k] if metric in {"loss", "accuracy"} else p.metrics[metric][k])
        for i, p in enumerate(points)
    }
    return {i: rounded(value) for i, value in values.items() if i > 0}


def rounded(value: float) -> float:
    """A number as results hold it."""
    return float(f"{value:.7g}")


def _part(found: Round, rung: int, stopped: set[str]) -> None:
    """Take out of the stacks who has come to an end: of its training, by divergence, or by the pruner."""
    going: list[Reached] = []
    lost = set(_lost(found))
    for reached in found.going:
        stack, outcome = reached.stage.stack, reached.outcome
        if outcome is None:
            found.failed |= {trial.trial_id: (stack, reached.failure) for trial in stack.trials}
            continue
        finished = reached.stage.until == budget_of(stack).steps
        reasons = {} if finished else _reasons(stack, outcome, stopped, lost, rung)
        ended = [
            k
            for k, trial in enumerate(stack.trials)
            if finished or outcome.diverged_step[k] or trial.trial_id in reasons
        ]
        if ended:
            trials = [stack.trials[k] for k in ended]
            share = Trained(trials, outcome.of(ended), reached.seconds, reached.stage.device, reasons)
            found.shares.append((stack, share))
        keep = [k for k in range(len(stack.trials)) if k not in set(ended)]
        if keep:
            going.append(_kept(reached, keep))
    found.going = going


def _lost(found: Round) -> Iterator[str]:
    """The arms of which a seed diverged or failed: nothing more can come of them."""
    for reached in found.going:
        for k, trial in enumerate(reached.stage.stack.trials):
            if reached.outcome is None or reached.outcome.diverged_step[k]:
                yield trial.arm.name
    yield from (trial.arm.name for stack, _ in found.failed.values() for trial in stack.trials)


def _reasons(stack: Stack, outcome: Outcome, stopped: set[str], lost: set[str], rung: int) -> dict[str, str]:
    """Why members are stopped that could go on, by trial_id."""
    told = {}
    for k, trial in enumerate(stack.trials):
        if not outcome.diverged_step[k]:
            if trial.arm.name in lost:
                told[trial.trial_id] = OTHER_SEED
            elif trial.arm.name in stopped:
                told[trial.trial_id] = PRUNED.format(rung)
    return told


def _kept(reached: Reached, keep: Sequence[int]) -> Reached:
    """A stack and its state with some of its members."""
    stack, state = reached.stage.stack, reached.state
    if len(keep) == len(stack.trials) or state is None:
        return reached
    engine = importlib.import_module(f"harness.engines.{stack.engine}")
    trials = tuple(stack.trials[k] for k in keep)
    smaller = Stack(stack.group, stack.engine, trials)
    stage = Stage(smaller, reached.stage.until, reached.stage.device)
    return Reached(stage, state=engine.select(state, stack.trials, keep), seconds=reached.seconds)


def name_of(trials: Sequence[Trial]) -> str:
    """The name of a batch's part."""
    text = " ".join(trial.trial_id for trial in trials)
    return "b" + hashlib.sha256(text.encode()).hexdigest()[:8]
