"""Joining: stacks that pruning has made thin train on as one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.engines import engine
from harness.engines.outcome import Outcome
from harness.lowering.lowered import looking_once
from harness.planning import grouping
from harness.planning.stack import Stack
from harness.results.parts import ShareOutcome
from harness.searching.rounds import StageResult


@looking_once()
def joined(results: Sequence[StageResult], least: int = 1) -> list[StageResult]:
    """Join stacks that wait for the same stage, up to the size that a plan gives a stack.

    Whether stacks wait for the same stage is the caller's to know, who also has taken the ended members out
    of them. They are joined if they have taken equally many steps, by one engine on one device, and see the
    same batches (`grouping.can_join`). What cannot be joined comes back as it is. The result depends on
    nothing but `results`; it is ordered by the first of each stack's.

    Args:
        results: stacks between two stages.
        least: stacks that are left at least, if there are as many: a core a stack.
    """
    bins: list[list[StageResult]] = []
    count = len(results)
    for result in results:
        into = next((found for found in bins if count > least and _fits(found, result)), None)
        if into is None:
            bins.append([result])
        else:
            into.append(result)
            count -= 1
    return [found[0] if len(found) == 1 else _as_one(found) for found in bins]


def _fits(found: Sequence[StageResult], result: StageResult) -> bool:
    """Tell whether a result may join others."""
    first = found[0]
    key = _key(first)
    if key is None or key != _key(result):
        return False
    trials = itertools.chain(*(one.stage.stack.trials for one in (*found, result)))
    return grouping.filled(trials, first.stage.device) <= 1


def _key(result: StageResult) -> grouping.Key | None:
    """Give what results share that can be joined; None of what cannot."""
    stage = result.stage
    key = grouping.can_join(stage.stack, stage.device)
    if result.failure or key is None:
        return None
    step = 0 if result.state is None else result.state.step
    return stage.device, stage.stack.engine, step, result.outcome is None, *key


def _as_one(results: Sequence[StageResult]) -> StageResult:
    """Join results into one stack, whose members are in a plan's order."""
    first, stacks = results[0].stage, [result.stage.stack for result in results]
    every = list(itertools.chain(*(stack.trials for stack in stacks)))
    trials = grouping.side_by_side(every)
    place = {id(trial): k for k, trial in enumerate(every)}
    order = [place[id(trial)] for trial in trials]
    states = [result.state for result in results if result.state is not None]
    outcomes = [result.outcome for result in results if result.outcome is not None]
    state = (
        engine(first.stack.engine).join(states, [stack.trials for stack in stacks], order) if states else None
    )
    seconds = sum(result.seconds for result in results)
    stack = Stack.of(first.stack.engine, trials)
    stage = replace(first, stack=stack, state=state, seconds=seconds, kernels=(), hosts=())
    outcome = Outcome.joined(outcomes).of(order) if outcomes else None
    return StageResult(stage, outcome, state, seconds)


def by_planned_stack(
    share: ShareOutcome, planned: Mapping[str, Stack]
) -> Iterator[tuple[Stack, ShareOutcome]]:
    """Yield members that ended together by the stacks of their plan, each with its part of the seconds.

    `planned` are the stacks by trial_id. A trial's row keeps the group of its planned stack, so that a search
    that goes on finds it there.
    """
    members: dict[str, list[int]] = {}
    for k, trial in enumerate(share.trials):
        members.setdefault(planned[trial.trial_id].group, []).append(k)
    for places in members.values():
        trials = [share.trials[k] for k in places]
        seconds = share.seconds * len(places) / len(share.trials)
        reasons = {
            trial.trial_id: share.reasons[trial.trial_id]
            for trial in trials
            if trial.trial_id in share.reasons
        }
        some = replace(
            share, trials=trials, outcome=share.outcome.of(places), seconds=seconds, reasons=reasons
        )
        yield planned[trials[0].trial_id], some
