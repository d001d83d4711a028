"""Costs: what a plan takes in seconds and bytes, estimated before anything is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import limits
from harness.axes.datasets import datasets
from harness.batches import Budget, extent
from harness.data import train_size
from harness.known import knows
from harness.settings import Value
from harness.text import as_text

if TYPE_CHECKING:
    from harness.grouping import Stack
    from harness.plan import Plan
    from harness.study import Study


@dataclass(frozen=True)
class Cost:
    """An estimate: seconds on this machine with so many processes, and bytes in the results folder."""

    seconds: float
    bytes: int


STEP_SECONDS = 250e-6  # a stack's Python and dispatch, per step, measured with 4 activations and 4 outputs
BLOCK_SECONDS = 125e-6  # more of it for each further shape
STRETCH_SECONDS = 20e-6  # of a step, where many are one call: a batch is turned
PASSES = {"sgd": 0, "momentum": 6, "nesterov": 7, "adam": 4, "adamw": 4, "adagrad": 6, "rmsprop": 8}
BYTES_PER_SECOND = 15e9  # an optimizer's passes over weights and state in cache, one core
FLOPS_SHARE = 0.6  # of a large product's rate that a stack's wide products reach
LONE_STEP_SECONDS = {"loop": 500e-6, "numpy": 80e-6}  # of one trial, by engine


def cost(plan: Plan, processes: int, *, flops: Callable[[], float] | None = None) -> Cost:
    """Estimate a plan's cost from arithmetic, memory traffic and dispatch; within a factor of two or so."""
    rate = (flops or flops_per_second)() * FLOPS_SHARE
    seconds = sum(stack_seconds(stack, rate) for stack in plan.stacks)
    return Cost(seconds / max(1, min(processes, len(plan.stacks))), disk_bytes(plan.stacks, plan.study))


def disk_bytes(stacks: Iterable[Stack], study: Study) -> int:
    """Estimate what stacks of a study leave in its results folder, in bytes."""
    return sum(_bytes(stack, study) for stack in stacks)


def stack_seconds(stack: Stack, rate: float = 1e11) -> float:
    """Estimate one stack's seconds on one core that reaches so many FLOP/s."""
    settings = stack.trials[0].arm.settings
    n, _, test = _sizes(settings)
    budget = Budget.of(settings, n)
    each = [(trial.arm.settings, _sizes(trial.arm.settings)[1]) for trial in stack.trials]
    evaluated = len(budget.eval_steps) * datasets[str(settings["dataset"])].facts.train + test
    samples = budget.steps * budget.batch_size
    arithmetic = sum(parameters for _, parameters in each) * (4 * samples + 2 * evaluated) / rate
    if stack.engine != "stacked":
        return arithmetic + budget.steps * LONE_STEP_SECONDS[stack.engine]
    traffic = sum(PASSES.get(str(own["optimizer"]), 8) * parameters * 4 for own, parameters in each)
    further = len({str(own["hidden"]) for own, _ in each}) - 1
    dispatch = STEP_SECONDS + further * BLOCK_SECONDS
    if all(knows(own) for own, _ in each):
        dispatch = STRETCH_SECONDS
    return arithmetic + budget.steps * (dispatch + traffic / BYTES_PER_SECOND)


def _sizes(settings: Mapping[str, Value]) -> tuple[int, int, int]:
    """Training images, parameters and test images of a trial."""
    facts = datasets[str(settings["dataset"])].facts
    hidden = settings.get("hidden", [])
    widths = [math.prod(facts.shape), *hidden, len(facts.classes)]  # type: ignore[misc]
    return (
        train_size(settings),
        sum((i + 1) * o for i, o in itertools.pairwise(widths)),
        facts.test,
    )


def evaluations(settings: Mapping[str, Value]) -> int:
    """How often a trial is evaluated after its start; counted, not listed."""
    steps, every = extent(settings, train_size(settings))
    return len(range(0, steps, every))


def too_large(settings: Mapping[str, Value]) -> Iterator[str]:
    """What of a trial's settings asks for more than one trial may have (`limits`), in words."""
    n, parameters, _ = _sizes(settings)
    steps, _ = extent(settings, n)
    looks = evaluations(settings)
    if steps > limits.STEPS:
        yield (
            f"epochs = {settings['epochs']:,} with batch_size = {settings['batch_size']}: {steps:,} steps; "
            f"allowed: up to {limits.STEPS:,} a trial. Lower epochs, or raise batch_size"
        )
    elif looks > limits.EVALUATIONS:
        yield (
            f"eval_every = {settings['eval_every']!r}: {looks:,} evaluations in {steps:,} steps; allowed: up "
            f"to {limits.EVALUATIONS:,} a trial. Evaluate less often: eval_every = '{steps // 1000} steps'"
        )
    if parameters > limits.PARAMETERS:
        yield (
            f"hidden = {as_text(settings['hidden'])[:60]}: {parameters:,} parameters; allowed: up to "
            f"{limits.PARAMETERS:,}. Make its layers narrower"
        )


def _bytes(stack: Stack, study: Study) -> int:
    settings = stack.trials[0].arm.settings
    n, _, test = _sizes(settings)
    parameters = sum(_sizes(trial.arm.settings)[1] for trial in stack.trials)
    facts = datasets[str(settings["dataset"])].facts
    kept = {"train": n, "val": facts.train - n, "test": test}
    rows = 300 + 2 * 60 * len(Budget.of(settings, n).eval_steps) + 2 * 30 * len(facts.classes) ** 2
    predictions = 3 * sum(kept[split] for split in study.about.keep_predictions)
    weights = {"all": 4 * parameters, "best": 4 * parameters / len(stack.trials), "none": 0.0}
    # Rows are there twice: in the parts, which are the truth, and in the CSVs made from them.
    return int(len(stack.trials) * (1.3 * rows + predictions) + weights[study.about.keep_weights])


def flops_per_second() -> float:
    """What one core does on a large float32 product, measured in about 20 ms."""
    import time

    import numpy as np
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(0).random((512, 512), np.float32)
    with threadpool_limits(1):
        a @ a
        start = time.perf_counter()
        for _ in range(8):
            a @ a
    return 8 * 2 * 512**3 / (time.perf_counter() - start)
