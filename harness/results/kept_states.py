"""Kept states: the states of engines after a stack's last step, from which its trials can be trained further.

    <folder>/states/<group>-<first trial_id>.safetensors

A file belongs to one share of a stack, as a checkpoint does, and is one in its format. A study keeps them
with keep_state = "all"; they are written before the part that makes their trials count as trained.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors

from harness import notes
from harness.planning.stack import Stack
from harness.results import checkpoints
from harness.results.checkpoints import UNREADABLE, CheckpointHeader
from harness.results.origins import FORMAT, Origin
from harness.results.parts import ShareOutcome
from harness.system import locks

FOLDER = "states"


@dataclass(frozen=True)
class KeptState:
    """A kept state, of which only the description has been read.

    `trials` are in the order of its arrays' rows.
    """

    path: Path
    origin: Origin
    header: CheckpointHeader
    step: int

    @property
    def trials(self) -> list[str]:
        """The ids of its trials."""
        return self.header.trials


def write(folder: Path, stack: Stack, shares: Sequence[ShareOutcome], tracked: Sequence[str]) -> None:
    """Write the states of a stack's shares, and remove those of an earlier training of it.

    Raises:
        MachineError: they cannot be written, or the folder is gone.
    """
    locks.check_there(folder)
    written = set()
    for share in shares:
        state = share.outcome.state
        if state is None:
            continue
        header = CheckpointHeader.of(stack.group, share.trials, share.seconds, tracked)
        header = replace(header, parents=list(share.parents), library=share.library)
        path = folder / FOLDER / f"{stack.group}-{header.trials[0]}.safetensors"
        alone = Stack(stack.group, stack.engine, tuple(share.trials))
        checkpoints.write(path, Origin.here(alone, share.device, tracked), header, state.step, state.values)
        written.add(path)
    for path in set((folder / FOLDER).glob(f"{stack.group}-*.safetensors")) - written:
        path.unlink()


def listed(folder: Path) -> list[KeptState]:
    """List a folder's kept states, without their arrays; a note names those that cannot be read."""
    kept = []
    for path in sorted((folder / FOLDER).glob("*.safetensors")):
        try:
            kept.append(described(path))
        except UNREADABLE as error:
            notes.warn(f"the state {path} is damaged ({error}): nothing goes on from it. It can be removed")
    return [state for state in kept if state.origin.format == FORMAT]


def described(path: Path) -> KeptState:
    """Read the description of a state; raises one of UNREADABLE if it cannot be read."""
    with safetensors.safe_open(path, framework="np") as file:
        about = file.metadata() or {}
    header = CheckpointHeader(**json.loads(about["header"]))
    return KeptState(path, Origin.parse(about["origin"]), header, int(json.loads(about["state"])["step"]))


def prune(folder: Path, finished: Collection[str]) -> None:
    """Remove the states of trials of which none is finished: a run that was killed has left them."""
    if not (folder / FOLDER).is_dir():
        return
    for path in (folder / FOLDER).glob("*.safetensors"):
        try:
            trials = described(path).trials
        except UNREADABLE:
            continue
        if set(finished).isdisjoint(trials):
            path.unlink()
