"""Stacks: trials that train together, how large one may be, and how many bytes it takes."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.planning import networks, parameters
from harness.study.trials import Trial

Engine: TypeAlias = str
"""Name of an engine: "stacked", "loop", "numpy", or of a person's own network (`own_networks.NAME`)."""
STACK_BYTES = 64 * 32 * 784 * 4
"""Bytes of layer one's weights in a stack, at most (64 members of 784-32-..).

Wide enough to hide the dispatch of the small operations, small enough for weights, gradients and state to
stay in cache: docs/decisions/stack-composition.md.
"""
STACK_BYTES_CUDA = 4 * 2**30
"""Bytes of a stack on a GPU, at most: some thousand members of 784-32-32-10.

Starting a graph of a dozen kernels stops to count after some hundred members. Not measured; a GPU that has
less memory trains a stack in halves.
"""
NAME_DIGITS = 12
"""Hexadecimal digits of a stack's name, as of a trial's: of 80,000 names of eight, two are likely one."""
MEMORY_BYTES = 2**30
"""Bytes of a stack on a CPU, at most: weights, gradients, an optimizer's states, and what is in flight."""


@dataclass(frozen=True)
class Stack:
    """Trials that train together. `group` names the stack, and the part that it is written to."""

    group: str
    engine: Engine
    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, engine: Engine, trials: Sequence[Trial]) -> Stack:
        """Make a stack of trials, named by its engine and their ids."""
        text = " ".join([engine, *(trial.trial_id for trial in trials)])
        return cls("g" + hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS], engine, tuple(trials))

    @property
    def settings(self) -> Settings:
        """The settings of the first trial; those of data and batches are all trials'."""
        return self.trials[0].arm.settings

    def halves(self) -> list[Stack]:
        """Cut the stack in two; members that share a component stay side by side."""
        middle = len(self.trials) // 2
        return [Stack.of(self.engine, part) for part in (self.trials[:middle], self.trials[middle:])]


def budget_of(stack: Stack) -> Budget:
    """Give the steps and the evaluations of a stack's training."""
    return Budget.of(stack.settings, train_size(stack.settings))


def widths_of(settings: Settings) -> list[int]:
    """List the widths of an mlp: inputs, hidden units of each layer, classes."""
    facts = settings.facts
    return [math.prod(facts.shape), *settings.hidden, len(facts.classes)]


def parameters_of(settings: Settings) -> int:
    """Count the trainable parameters of a network; of a plain mlp without building it.

    Raises:
        ComponentError: the architecture is a person's own, and builds none.
    """
    if not settings.plain_mlp:
        return parameters.of_settings(settings)
    return _mlp_parameters(*widths_of(settings))


@functools.lru_cache(maxsize=2**12)
def _mlp_parameters(*widths: int) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))


def widest(trial: Trial, device: str) -> int:
    """Count how many trials of this shape one stack holds, at most."""
    settings = trial.arm.settings
    if not settings.plain_mlp:
        return networks.widest(settings)
    if device.startswith("cuda"):
        return max(1, STACK_BYTES_CUDA // _member_bytes_cuda(settings))
    layer_one = 4 * math.prod(widths_of(settings)[:2])
    return max(1, min(STACK_BYTES // layer_one, MEMORY_BYTES // member_bytes(settings)))


def member_bytes(settings: Settings) -> int:
    """Estimate the bytes of one member of a stack: four times its weights, and activations both ways.

    With dropout also its masks, and what they leave of the activations.
    """
    copies = 6 if settings.dropout else 4
    in_flight = settings.batch_size * sum(widths_of(settings)[1:])
    return 4 * (4 * parameters_of(settings) + copies * in_flight)


def _member_bytes_cuda(settings: Settings) -> int:
    """Estimate the bytes of one member on a GPU: also a batch of its own, and each step's learning rate."""
    batch = 4 * settings.batch_size * widths_of(settings)[0]
    return member_bytes(settings) + batch + 8 * Budget.of(settings, train_size(settings)).steps


def stack_bytes(stack: Stack, of_member: Callable[[Settings], int] | None = None) -> int:
    """Estimate the bytes that a stack holds in memory beside its data; of the numpy engine, its weights.

    `of_member` is `any_member_bytes`, where many stacks share what it found.
    """
    arms = [trial.arm.settings for trial in stack.trials]
    if stack.engine == "numpy" and not stack.settings.plain_mlp:
        return 16 * sum(map(parameters_of, arms))
    return sum(map(of_member or any_member_bytes, arms))


def any_member_bytes(settings: Settings) -> int:
    """Estimate the bytes of one member of a stack, whatever its network is."""
    return member_bytes(settings) if settings.plain_mlp else networks.member_bytes(settings)
