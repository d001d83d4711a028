"""Networks other than plain mlps in a plan: how they train together, their seconds and bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.axes.augmentations import NONE
from harness.check.network_stacking import how
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import train_size
from harness.lowering import compiler
from harness.planning import parameters
from harness.text import count

STACK_MEMBERS = 32
"""Networks of a stack, at most: more of them hide no more dispatch."""
STACK_BYTES = 2**29
"""Bytes of a stack of networks, at most: weights, gradients, an optimizer's states, and what is in flight."""
STEP_SECONDS = (100e-6, 140e-6)
"""Python and dispatch of a stack's step: of the step, and of each layer; measured with 1 to 30 of these."""
LONE_STEP_SECONDS = (250e-6, 100e-6)
"""The same of a trial in the loop engine."""
VALUE_SECONDS = 6e-9
"""Of a value that a step keeps of an image: elementwise operations, pooling and norms, forward and back."""
EVALUATED_VALUE_SECONDS = 4e-9
"""The same of an evaluation."""
IMAGE_STEP_SECONDS = (100e-6, 60e-6)
"""The same as STEP_SECONDS where C kernels compute convolutions and what is behind each (`_in_kernels`)."""
IMAGE_VALUE_SECONDS = 0.3e-9
"""The same as VALUE_SECONDS there: activations other than ReLU, additions of skip connections."""
COMPILED_SHARE = 0.8
"""Seconds of what is computed in C, to those of a stack's products of as many operations in PyTorch."""
WEIGHTS_USED = 2
"""How many times an image uses a weight, in the mean, from which on a network is one of convolutions."""
BY_HAND = 12
"""How many times as long as a large product of as many operations a network takes in the numpy engine."""
AUGMENTED_SECONDS, AUGMENTED_PIXEL_SECONDS = 100e-6, 5e-9
"""Of a step's augmentation, for each seed, and more of it for each pixel."""
WAYS = {"layers": "layer by layer", "mapped": "by torch.func"}


def why_alone(settings: Settings) -> str:
    """Say why a network cannot be stacked; empty where it can."""
    if settings.plain_mlp:
        return ""
    stacking = how(settings)
    return f"architecture {settings.architecture!r}: {stacking.reason}" if stacking.way == "loop" else ""


def widest(settings: Settings) -> int:
    """Count how many networks of these settings one stack holds, at most."""
    if how(settings).way == "loop":
        return 1
    return max(1, min(STACK_MEMBERS, STACK_BYTES // member_bytes(settings)))


def member_bytes(settings: Settings) -> int:
    """Estimate the bytes of one member: four times its weights, thrice what it keeps of its images."""
    in_flight = 3 * settings.batch_size * how(settings).sizes.all
    return 4 * (4 * parameters.of_settings(settings) + in_flight)


def stack_seconds(engine: str, arms: Sequence[Settings], rate: float) -> float:
    """Estimate the seconds of networks that train together, on a core that reaches so many FLOP/s.

    A training step computes its products three times, forward and for both gradients. What else it does to
    an image, it does to each value that is kept: that and its arithmetic give the time of an image. Layers
    give the time of a step in which no image counts.
    """
    settings, n = arms[0], train_size(arms[0])
    budget = Budget.of(settings, n)
    evaluated = len(budget.eval_steps) * settings.facts.train + settings.facts.test
    trained = budget.steps * budget.batch_size
    counted = [parameters.size_of(arm) for arm in arms]
    products = sum(size.flops or 2 * size.parameters for size in counted) / rate
    if engine == "numpy":  # which may run where PyTorch is not
        return BY_HAND * products * (3 * trained + evaluated)
    kept = sum(how(arm).sizes.all for arm in arms)
    layers = how(settings).sizes.tensors
    if engine == "stacked" and _in_kernels(settings):
        images = 3 * trained + evaluated
        first, of_layer = IMAGE_STEP_SECONDS
        arithmetic = COMPILED_SHARE * products * images + kept * IMAGE_VALUE_SECONDS * (trained + evaluated)
        return arithmetic + budget.steps * (first + of_layer * layers)
    seconds = products * (3 * trained + evaluated)
    seconds += kept * (VALUE_SECONDS * trained + EVALUATED_VALUE_SECONDS * evaluated)
    first, of_layer = STEP_SECONDS if engine == "stacked" else LONE_STEP_SECONDS
    return seconds + budget.steps * (first + of_layer * layers)


def _in_kernels(settings: Settings) -> bool:
    """Tell whether most of a stack's step is in the C kernels for images (`engines/modules/image_kernels`).

    Layer norms, and layers that only torch.func computes for all members, are not.
    """
    size = parameters.size_of(settings)
    convolutions = (size.flops or 0) > WEIGHTS_USED * 2 * size.parameters
    ours = how(settings).way == "layers" and settings.norm != "layer"
    return convolutions and ours and not compiler.missing()


def augmentation_seconds(settings: Settings) -> float:
    """Estimate the seconds that a step's augmentation takes for each seed."""
    if settings.augmentation == NONE:
        return 0.0
    return AUGMENTED_SECONDS + AUGMENTED_PIXEL_SECONDS * settings.batch_size * math.prod(settings.facts.shape)


def ways(arms: Iterable[Settings]) -> list[str]:
    """Say in which way networks other than plain mlps train together, and why in no better one."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for settings in arms:
        stacking = how(settings)
        counted[settings.architecture, stacking.way, stacking.reason] += 1
    return [
        f"{count(many, 'trial')} of architecture {name!r} {'trains' if many == 1 else 'train'} in PyTorch, "
        f"in stacks {WAYS[way]}" + (f", not layer by layer: {reason}" if reason else "")
        for (name, way, reason), many in counted.items()
        if way in WAYS
    ]
