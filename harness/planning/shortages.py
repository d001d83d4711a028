"""Disk and memory that a machine lacks for a plan, by estimate."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.data.arm_settings import Settings, once_an_arm
from harness.data.batches import extent
from harness.data.samples import train_size
from harness.planning.cost import disk_bytes
from harness.planning.stack import Stack, any_member_bytes, stack_bytes
from harness.study.study import Study
from harness.system import resources


def shortages(stacks: Sequence[Stack], study: Study, processes: int, folder: Path) -> list[str]:
    """Say where this machine has too little disk or memory to train stacks into a folder, by estimate.

    `processes` of them train at once in its memory; none where a GPU trains them.
    """
    notes = []
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    needed, free = disk_bytes(stacks, study), shutil.disk_usage(there).free
    if needed > free:
        notes.append(
            f"about {needed / 1e9:,.1f} GB on disk are needed, and {free / 1e9:,.1f} GB are free in {there}: "
            "evaluate less often (eval_every), keep less (keep_predictions, keep_weights, "
            "keep_state), or take another folder (--results)"
        )
    of_member = once_an_arm(any_member_bytes)
    largest = heapq.nlargest(processes, (_held(stack, of_member) for stack in stacks))
    held, memory = sum(largest), resources.memory()
    if held > memory:
        at_once = min(processes, len(stacks))
        notes.append(
            f"about {held / 1e9:,.1f} GB of memory are needed for {at_once} stacks at once, and this machine "
            f"has {memory / 1e9:,.1f} GB: lower hidden, batch_size, steps or --workers"
        )
    return notes


def _held(stack: Stack, of_member: Callable[[Settings], int]) -> int:
    """Estimate the bytes of a stack in memory beside its data, with the learning rate of every step."""
    settings = stack.settings
    return stack_bytes(stack, of_member) + 8 * extent(settings, train_size(settings))[0] * len(stack.trials)
