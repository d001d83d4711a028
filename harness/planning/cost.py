"""Costs: the seconds and bytes that stacks take, estimated before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.axes.architectures import architectures
from harness.data.arm_settings import Settings, once_an_arm
from harness.data.batches import extent
from harness.data.samples import TRAINED_ON, train_size
from harness.errors import ComponentError
from harness.lowering.lowered import looking_once
from harness.planning import compilation, networks
from harness.planning.parameters import size_of
from harness.planning.stack import Stack, budget_of, parameters_of
from harness.settings import limits
from harness.study.study import Study
from harness.system.garbage import uncollected
from harness.text import as_text


@dataclass(frozen=True)
class Cost:
    """An estimate of seconds on this machine with so many processes, and of bytes in the results folder."""

    seconds: float
    bytes: int


STEP_SECONDS = 250e-6  # a stack's Python and dispatch, per step, measured with 4 activations and 4 outputs
BLOCK_SECONDS = 125e-6  # more of it for each further shape
STRETCH_SECONDS = 20e-6  # of a step, where many are one call: a batch is turned
PASSES = {"sgd": 0, "momentum": 6, "nesterov": 7, "adam": 4, "adamw": 4, "adagrad": 6, "rmsprop": 8}
OPTIMIZER_STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "adagrad": 1, "rmsprop": 1}
MEMBER_BYTES = 800  # of a state's header: a member's settings
BYTES_PER_SECOND = 15e9  # an optimizer's passes over weights and state in cache, one core
MEMBER_SECONDS = 2e-6  # of a step's dispatch, for each member of a wide stack
ALSO_ELEMENTWISE = 2  # times the products of a convolutional network take, with all that is not a product
FLOPS_SHARE = 0.8  # of a large product's rate that a stack's wide products reach in PyTorch
LONE_STEP_SECONDS = {"loop": 500e-6, "numpy": 80e-6}  # of one trial, by engine


@looking_once()
@uncollected()
def cost(
    stacks: Sequence[Stack], study: Study, processes: int, *, flops: Callable[[], float] | None = None
) -> Cost:
    """Estimate what stacks take, from arithmetic, memory traffic and dispatch; within a factor of two or so.

    So many `processes` train at once, each on a core whose FLOP/s `flops` measures.
    """
    times = StackTimes((flops or flops_per_second)() * FLOPS_SHARE)
    seconds = sum(map(times.seconds, stacks))
    return Cost(seconds / max(1, min(processes, len(stacks))), disk_bytes(stacks, study))


def state_bytes(stacks: Iterable[Stack], study: Study) -> int:
    """Estimate what the states of stacks take in a study's results folder, in bytes: 0 if none are kept."""
    if study.about.keep_state == "none":
        return 0
    size = once_an_arm(parameters_of)
    return sum(_state_bytes(stack, size) for stack in stacks)


def _state_bytes(stack: Stack, size: Callable[[Settings], int]) -> int:
    """Estimate one stack's state: weights, optimizer states, and the learning curve of each member."""
    every = (trial.arm.settings for trial in stack.trials)
    curve = 2 * 8 * len(TRAINED_ON) * len(budget_of(stack).eval_steps) + MEMBER_BYTES
    return sum(4 * (1 + OPTIMIZER_STATES.get(s.optimizer, 2)) * size(s) + curve for s in every)


def disk_bytes(stacks: Iterable[Stack], study: Study) -> int:
    """Estimate what stacks of a study leave in its results folder, in bytes."""
    size = once_an_arm(parameters_of)
    return sum(_bytes(stack, study, size) for stack in stacks)


def stack_seconds(stack: Stack, rate: float = 1e11) -> float:
    """Estimate one stack's seconds on one core that reaches so many FLOP/s."""
    return StackTimes(rate).seconds(stack)


def trial_seconds(settings: Settings) -> float:
    """Estimate what a trial adds to a wide stack, in seconds of a core of 1e11 FLOP/s.

    Nothing of this machine enters: neither its compiler, nor what was measured here, nor PyTorch's version.
    """
    steps, _ = extent(settings, train_size(settings))
    trained = steps * settings.batch_size
    evaluated = evaluations(settings) * settings.facts.train + settings.facts.test
    parameters, flops = _counted(settings)
    if settings.plain_mlp:
        operations = parameters * (4 * trained + 2 * evaluated)
    else:
        operations = ALSO_ELEMENTWISE * (flops or 2 * parameters) * (3 * trained + evaluated)
    traffic = 4 * PASSES.get(settings.optimizer, 8) * parameters * steps
    return operations / 1e11 + traffic / BYTES_PER_SECOND + steps * MEMBER_SECONDS


@looking_once()
def longest_first(stacks: Iterable[Stack]) -> list[Stack]:
    """Sort stacks by their estimated seconds, the longest first."""
    return sorted(stacks, key=StackTimes().seconds, reverse=True)


class StackTimes:
    """Estimates of the seconds of stacks on one core that reaches so many FLOP/s (`rate`).

    What an arm adds to them is computed once, for all its trials and for all stacks.
    """

    def __init__(self, rate: float = 1e11) -> None:
        self.rate = rate
        self._member = once_an_arm(_mlp_member)
        self._why_not = compilation.once_a_kind(compilation.why_not)

    def seconds(self, stack: Stack) -> float:
        """Estimate one stack's seconds."""
        seeds = len({trial.step_seed for trial in stack.trials})
        augmented = budget_of(stack).steps * seeds * networks.augmentation_seconds(stack.settings)
        if stack.settings.plain_mlp:
            return augmented + self._mlp_seconds(stack)
        arms = [trial.arm.settings for trial in stack.trials]
        return augmented + networks.stack_seconds(stack.engine, arms, self.rate)

    def _mlp_seconds(self, stack: Stack) -> float:
        """Estimate the seconds of plain mlps, on images as they are."""
        facts, budget = stack.settings.facts, budget_of(stack)
        members = [self._member(trial.arm.settings) for trial in stack.trials]
        evaluated = len(budget.eval_steps) * facts.train + facts.test
        samples = budget.steps * budget.batch_size
        arithmetic = sum(size for size, _, _ in members) * (4 * samples + 2 * evaluated) / self.rate
        if stack.engine != "stacked":
            return arithmetic + budget.steps * LONE_STEP_SECONDS.get(stack.engine, LONE_STEP_SECONDS["numpy"])
        traffic = sum(moved for _, moved, _ in members)
        shapes = len({hidden for _, _, hidden in members})
        dispatch = STEP_SECONDS + (shapes - 1) * BLOCK_SECONDS
        if not self._why_not(stack.settings):  # nor for the others: grouping.py
            dispatch = STRETCH_SECONDS
            arithmetic *= networks.COMPILED_SHARE  # less where images have many zeros, as MNIST's have
        return arithmetic + budget.steps * (dispatch + traffic / BYTES_PER_SECOND)


def _mlp_member(settings: Settings) -> tuple[int, int, str]:
    """Give a plain mlp's parameters, the bytes that a step of its optimizer moves, and its hidden layers."""
    size = parameters_of(settings)
    return size, 4 * PASSES.get(settings.optimizer, 8) * size, str(settings.hidden)


def evaluations(settings: Settings) -> int:
    """Count the evaluations of a trial after its start, without listing them."""
    steps, every = extent(settings, train_size(settings))
    return len(range(0, steps, every))


def too_large(settings: Settings) -> Iterator[str]:
    """Say which of a trial's settings ask for more than one trial may have (`limits`)."""
    steps, _ = extent(settings, train_size(settings))
    looks, (parameters, flops) = evaluations(settings), _counted(settings)
    if steps > limits.STEPS:
        yield (
            f"epochs = {settings.epochs:,} with batch_size = {settings.batch_size}: {steps:,} steps; "
            f"allowed: up to {limits.STEPS:,} a trial. Lower epochs, or raise batch_size"
        )
    elif looks > limits.EVALUATIONS:
        yield (
            f"eval_every = {settings.eval_every!r}: {looks:,} evaluations in {steps:,} steps; allowed: up "
            f"to {limits.EVALUATIONS:,} a trial. Evaluate less often: eval_every = '{steps // 1000} steps'"
        )
    if parameters > limits.PARAMETERS:
        yield (
            f"{_widths_in_words(settings)}: {parameters:,} parameters; allowed: up to "
            f"{limits.PARAMETERS:,}. Make its layers narrower"
        )
    elif flops > limits.OPERATIONS and not settings.plain_mlp:
        yield (
            f"architecture {settings.architecture!r}: {flops:,} multiplications and additions for one image; "
            f"allowed: up to {limits.OPERATIONS:,}. Fewer channels, or smaller images"
        )


def _counted(settings: Settings) -> tuple[int, int]:
    """Count a network's parameters and operations; 0 where they are not known.

    A person's own may build none, which a plan says by itself.
    """
    try:
        size = size_of(settings)
    except ComponentError:
        return 0, 0
    return size.parameters, size.flops or 0


def _widths_in_words(settings: Settings) -> str:
    """Say which settings make a network large."""
    own = architectures[settings.architecture].settings
    told = [name for name in ("channels", "blocks", "hidden") if name in own and name in settings]
    words = [f"{name} = {as_text(settings[name])[:60]}" for name in told]
    return ", ".join(words) or f"architecture {settings.architecture!r}"


def _bytes(stack: Stack, study: Study, size: Callable[[Settings], int]) -> int:
    """Estimate what one stack leaves in the results folder, in bytes."""
    facts, n, members = stack.settings.facts, train_size(stack.settings), len(stack.trials)
    parameters = sum(size(trial.arm.settings) for trial in stack.trials)
    images = {"train": n, "val": facts.train - n, "test": facts.test}
    rows = 300 + 2 * 60 * len(budget_of(stack).eval_steps) + 2 * 30 * len(facts.classes) ** 2
    predictions = 3 * sum(images[split] for split in study.about.keep_predictions)
    weights = {"all": 4 * parameters, "best": 4 * parameters / members, "none": 0.0}
    # Rows are there twice: in the parts, which are the truth, and in the CSVs made from them.
    kept = weights[study.about.keep_weights] + state_bytes([stack], study)
    return int(members * (1.3 * rows + predictions) + kept)


def flops_per_second() -> float:
    """Measure FLOP/s of one core on a large float32 product, in about 20 ms."""
    import time

    import numpy as np
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(0).random((512, 512), np.float32)
    with threadpool_limits(1):
        a @ a
        fastest = math.inf  # the others waited for another process
        for _ in range(8):
            start = time.perf_counter()
            a @ a
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * 512**3 / fastest
