"""Checkpoints: long stacks in the middle of their training, on disk, so that a killed run goes on from there.

    <folder>/checkpoints/<group>-<first trial_id>.safetensors

A file is of one share of a stack, which is nearly always all of it: the arrays of an engine's state, and all
else as JSON in the file's metadata, so that nothing is ever unpickled. Its SHA-256 covers both. Nothing here
imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from harness import results
from harness.batches import Budget
from harness.engines.states import State
from harness.errors import MachineError, UsageError
from harness.plan import Stack
from harness.trials import SEMANTICS, Trial

FORMAT = 1
"""The version of the files, and of what the engines' states consist of: raise it when either changes."""
EVERY = "60 seconds"
FOLDER = "checkpoints"
ADVICE = "Run this with what made it, or delete it: its stack then trains from its start."
LIBRARIES = {"stacked": ("torch", "numpy"), "loop": ("torch", "numpy"), "numpy": ("numpy",)}
UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Cadence:
    """How often a stack is kept: every so many seconds or, if not 0, every so many epochs."""

    seconds: float = math.inf
    epochs: int = 0

    @classmethod
    def of(cls, text: str) -> Cadence:
        """Read "60 seconds", "5 epochs" or "never".

        Raises:
            UsageError: it is none of these.
        """
        if text == "never":
            return cls()
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *(seconds?|epochs?)", text)
        if found and float(found[1]) > 0:
            if found[2].startswith("second"):
                return cls(seconds=float(found[1]))
            if found[1].isdigit():
                return cls(epochs=int(found[1]))
        raise UsageError(
            f"--checkpoint-every {text!r}: allowed are seconds ('60 seconds'), whole epochs ('5 epochs'), "
            "and 'never'"
        )


@functools.cache
def _libraries(engine: str) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES[engine])


@dataclass(frozen=True)
class Origin:
    """What made a checkpoint. Where all of it is the same, training goes on to the very bits."""

    format: int
    semantics: int
    libraries: str
    engine: str
    device: str
    dtype: str

    @classmethod
    def here(cls, engine: str, device: str) -> Origin:
        """What a stack is trained by in this run; float32, as in all runs."""
        kind = "cpu" if engine == "numpy" else device.partition(":")[0]
        return cls(FORMAT, SEMANTICS, _libraries(engine), engine, kind, "float32")

    @classmethod
    def parse(cls, text: str) -> Origin:
        """From JSON; beside its number, another format may not say everything: None."""
        told = json.loads(text)
        return cls(told["format"], *(told.get(field.name) for field in fields(cls)[1:]))

    def unlike(self, here: Origin) -> str:
        """What differs, in words; empty where nothing does."""
        pairs = ((name, value, getattr(here, name)) for name, value in asdict(self).items())
        return "; ".join(f"{name} {there} there, {ours} here" for name, there, ours in pairs if there != ours)


@dataclass(frozen=True)
class Header:
    """Whose a checkpoint is, and the time they had been trained for by then, all sittings together."""

    group: str
    trials: list[str]
    seconds: float


class DamagedError(Exception):
    """A checkpoint is cut, or a byte of it is not what was written."""


# ------------------------------------------------------------------------------------------- one file


def write(path: Path, origin: Origin, header: Header, step: int, values: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: the file.
        origin: what trains here.
        header: whose it is.
        step: the steps taken.
        values: a State's; tensors in place of arrays will do.

    Raises:
        MachineError: the disk is full, or cannot be written.
        TypeError, SafetensorError: a value is nothing that arrays and JSON can hold.
    """
    arrays: dict[str, NDArray[Any]] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        if isinstance(plain, np.ndarray):
            arrays[name] = np.asarray(plain, order="C")
        else:
            others[name] = plain
    about = {name: json.dumps(asdict(part)) for name, part in (("origin", origin), ("header", header))}
    about["state"] = json.dumps({"step": step, "values": others})
    about["sha256"] = _digest(arrays, about)
    results.write(path, safetensors.numpy.save(arrays, about))


def read(path: Path, here: Origin) -> tuple[Header, State]:
    """Read a checkpoint, every byte checked.

    Raises:
        DamagedError: it is not what was written.
        UsageError: another version or device wrote it.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        origin = Origin.parse(about["origin"])
        if origin.format == FORMAT and about["sha256"] != _digest(arrays, about):
            raise DamagedError("its content does not fit its SHA-256")
    except UNREADABLE as error:
        raise DamagedError(f"it cannot be read: {error}") from error
    if unlike := origin.unlike(here):
        raise UsageError(f"{path} was made by another version or device: {unlike}. {ADVICE}")
    state = json.loads(about["state"])
    return Header(**json.loads(about["header"])), State(state["step"], {**arrays, **state["values"]})


def _digest(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> str:
    """The SHA-256 of everything in a checkpoint but this."""
    digest = hashlib.sha256()
    for name, text in sorted(about.items()):
        if name != "sha256":
            digest.update(json.dumps([name, text]).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# ---------------------------------------------------------------------------------- a share in training


class ShareCheckpoint:
    """The checkpoint of a stack's share: keeps its state while an engine trains it (`states.Checkpoints`)."""

    def __init__(
        self, folder: Path, stack: Stack, share: Sequence[Trial], device: str, every: Cadence
    ) -> None:
        self.group, self.trials = stack.group, [trial.trial_id for trial in share]
        self.path = folder / FOLDER / f"{stack.group}-{self.trials[0]}.safetensors"
        self.here, self.every = Origin.here(stack.engine, device), every
        self.begun = self.kept = time.monotonic()
        self.step, self.earlier, self.warned = 0, 0.0, False

    @property
    def seconds(self) -> float:
        """How long the share has been trained, earlier sittings up to its checkpoint included."""
        return self.earlier + time.monotonic() - self.begun

    def load(self) -> State | None:
        """The state to go on from; None where there is none, or it is damaged.

        Raises:
            UsageError: another version or device wrote it.
        """
        if not self.path.exists():
            return None
        try:
            header, state = read(self.path, self.here)
        except DamagedError as error:
            print(f"note: {_set_aside(self.path, error)}", file=sys.stderr, flush=True)
            return None
        if header.trials != self.trials:  # of the whole stack, or of another way to share it
            return None
        self.step, self.earlier = state.step, header.seconds
        return state

    def due(self, step: int, budget: Budget) -> bool:
        """Whether so many seconds or epochs have gone by since the last checkpoint, or the start."""
        if step >= budget.steps:
            return False
        if self.every.epochs:
            period = self.every.epochs * budget.steps_per_epoch
            return step // period > self.step // period
        return time.monotonic() - self.kept >= self.every.seconds

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the state after this step in place of the one before.

        A checkpoint is a convenience: where it cannot be written, that is said once, and training goes on.
        """
        try:
            write(self.path, self.here, Header(self.group, self.trials, self.seconds), step, values)
        except (MachineError, MemoryError, SafetensorError, TypeError, ValueError) as error:
            if not self.warned:
                reason = error.__cause__ if isinstance(error, MachineError) else error
                print(
                    f"note: a checkpoint of stack {self.group} could not be written ({reason}). Its training "
                    "goes on; if it is stopped, it will go on from an earlier one or from its start.",
                    file=sys.stderr,
                    flush=True,
                )
            self.warned = True
        self.step, self.kept = step, time.monotonic()


# ----------------------------------------------------------------------------------- all files of a folder


def settle(folder: Path, todo: Sequence[Stack], device: str) -> list[str]:
    """Put a folder's checkpoints in order before anything is trained.

    Those of stacks that are not to be trained (any more) are removed; damaged ones are set aside.

    Args:
        folder: a results folder that this run holds.
        todo: the stacks to be trained.
        device: what they are trained on.

    Returns:
        What a person should know: how many stacks go on, what was damaged.

    Raises:
        UsageError: another version or device wrote some. Then nothing was removed, nothing set aside.
    """
    stacks = {stack.group: stack for stack in todo}
    leftover, damaged, strange, going = [], {}, [], 0
    for path in _paths(folder):
        stack = stacks.get(path.name.partition("-")[0])
        if stack is None:
            leftover.append(path)
            continue
        try:
            header, _ = read(path, Origin.here(stack.engine, device))
            going += header.trials == [trial.trial_id for trial in stack.trials]
        except DamagedError as error:
            damaged[path] = error
        except UsageError as error:
            strange.append(str(error).removesuffix(ADVICE))
    if strange:
        raise UsageError("\n".join(strange) + f"\n{ADVICE}")
    for path in leftover:
        path.unlink()
    told = [_set_aside(path, error) for path, error in damaged.items()]
    plural = "stack goes" if going == 1 else "stacks go"
    return [f"{going} {plural} on from a checkpoint", *told] if going else told


def remove(folder: Path, group: str) -> None:
    """Remove a stack's checkpoints: its part is written."""
    for path in _paths(folder, group):
        path.unlink()


def hint(folder: Path, group: str) -> str:
    """What can be done about a stack that failed in the middle, in words; empty where it kept nothing."""
    names = " and ".join(f"{FOLDER}/{path.name}" for path in _paths(folder, group))
    return f" (run again, it goes on from its checkpoint; or starts over without {names})" if names else ""


def tidy(folder: Path) -> None:
    """Remove the folder of the checkpoints, if it is empty."""
    with contextlib.suppress(OSError):
        (folder / FOLDER).rmdir()


def _paths(folder: Path, group: str = "*") -> list[Path]:
    return sorted((folder / FOLDER).glob(f"{group}-*.safetensors"))


def _set_aside(path: Path, error: DamagedError) -> str:
    """Keep a damaged checkpoint under another name; gives the words for it."""
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    words = f"set aside as {aside.name}; its stack trains from its start"
    return f"checkpoint {path} is damaged ({error}) and was {words}"
