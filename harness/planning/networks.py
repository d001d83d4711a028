"""Networks other than plain mlps in a plan: the way in which they train together, and their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.check.network_stacking import how
from harness.data.arm_settings import Settings
from harness.planning import parameters

STACK_MEMBERS = 32
"""Networks of a stack, at most: more of them hide no more dispatch."""
STACK_BYTES = 2**29
"""Bytes of a stack of networks, at most: weights, gradients, an optimizer's states, and what is in flight."""
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
    """Estimate the bytes of one member: four times its weights, and twice what it keeps of its images."""
    in_flight = 2 * settings.batch_size * how(settings).sizes.all
    return 4 * (4 * parameters.of_settings(settings) + in_flight)


def ways(arms: Iterable[Settings]) -> list[str]:
    """Say in which way the networks of stacked trials train together, and why in no better one."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for settings in arms:
        if not settings.plain_mlp:
            stacking = how(settings)
            counted[settings.architecture, stacking.way, stacking.reason] += 1
    return [
        f"{many} trials of architecture {name!r} train in PyTorch, in stacks {WAYS[way]}"
        + (f", not layer by layer: {reason}" if reason else "")
        for (name, way, reason), many in counted.items()
        if way in WAYS
    ]
