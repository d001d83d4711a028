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
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from harness import files, notes, results
from harness.axes.metrics import metrics
from harness.batches import Budget
from harness.engines import kernels
from harness.engines.states import State
from harness.errors import MachineError, UsageError
from harness.stacks import Stack
from harness.trials import SEMANTICS, Trial

FORMAT = 3
"""The version of the files, and of what the engines' states consist of: raise it when either changes."""
EVERY = "60 seconds"
FOLDER = "checkpoints"
ADVICE = "Run this with what made it, or delete it: its stack then trains from its start."
LIBRARIES = {"stacked": ("torch", "numpy"), "loop": ("torch", "numpy"), "numpy": ("numpy",)}
UNREADABLE = (*files.DAMAGE, SafetensorError, AttributeError)


@dataclass(frozen=True)
class Cadence:
    """How often a stack is kept: every so many seconds or, if not 0, every so many epochs."""

    seconds: float = math.inf
    epochs: int = 0

    @classmethod
    def of(cls, text: str) -> Cadence:
        """Read "60 seconds" (or "60s"), "2 minutes" (or "2 min"), "5 epochs" or "never".

        Raises:
            UsageError: it is none of these.
        """
        if text == "never":
            return cls()
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|seconds?|min|minutes?|epochs?)", text)
        if found and float(found[1]) > 0:
            if not found[2].startswith("epoch"):
                return cls(seconds=float(found[1]) * (60 if found[2].startswith("min") else 1))
            if found[1].isdigit():
                return cls(epochs=int(found[1]))
        raise UsageError(
            f"--checkpoint-every {text!r}: allowed are seconds ('60 seconds', '60s'), minutes ('2 min'), "
            "whole epochs ('5 epochs'), and 'never'"
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
    kernels: str

    @classmethod
    def here(cls, engine: str, device: str) -> Origin:
        """What a stack is trained by in this run; float32, as in all runs."""
        kind = "cpu" if engine == "numpy" else device.partition(":")[0]
        own = kernels.identity() if engine == "stacked" and kind == "cpu" else ""
        return cls(FORMAT, SEMANTICS, _libraries(engine), engine, kind, "float32", own or "PyTorch")

    @classmethod
    def parse(cls, text: str) -> Origin:
        """From JSON; beside its number, another format may not say everything: None."""
        told = json.loads(text)
        return cls(told["format"], *(told.get(one.name) for one in fields(cls)[1:]))

    def unlike(self, here: Origin) -> str:
        """What differs, in words; empty where nothing does."""
        pairs = ((name, value, getattr(here, name)) for name, value in asdict(self).items())
        return "; ".join(f"{name} {there} there, {ours} here" for name, there, ours in pairs if there != ours)


@dataclass(frozen=True)
class Header:
    """Whose a checkpoint is, and the time they had been trained for by then, all sittings together.

    `metrics` are those that their curve holds: name -> digest of what defined it, "" for the harness's own.
    """

    group: str
    trials: list[str]
    seconds: float
    metrics: dict[str, str] = field(default_factory=dict)

    def check(self, path: Path, metrics: Mapping[str, str]) -> None:
        """Refuse to go on with another curve: its columns would be ragged, or of two meanings.

        Raises:
            UsageError: this run tracks other metrics, or another file defines one of them now.
        """
        if self.metrics != metrics:
            there, here = _listed(self.metrics), _listed(metrics)
            raise UsageError(f"{path} was made with other metrics: {there} there, {here} here. {ADVICE}")


def _listed(metrics: Mapping[str, str]) -> str:
    told = (f"{name} (file {digest[:8]})" if digest else name for name, digest in sorted(metrics.items()))
    return ", ".join(told) or "none"


def digests(tracked: Sequence[str]) -> dict[str, str]:
    """What defines each of the metrics, as a header has it."""
    return {name: metrics.entry(name).source_digest for name in tracked}


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
    results.write(path, files.steady(safetensors.numpy.save(arrays, about)))


def read(path: Path, here: Origin) -> tuple[Header, State]:
    """Read a checkpoint, every byte checked.

    Raises:
        DamagedError: it is not what was written.
        UsageError: another version or device wrote it.
    """
    origin, about, arrays = _contents(path)
    if unlike := origin.unlike(here):
        raise UsageError(f"{path} was made by another version or device: {unlike}. {ADVICE}")
    try:
        state = json.loads(about["state"])
        step, values = int(state["step"]), {**arrays, **state["values"]}
        return Header(**json.loads(about["header"])), State(step, values)
    except UNREADABLE as error:
        raise DamagedError(f"it cannot be read: {error!r}") from error


def _contents(path: Path) -> tuple[Origin, dict[str, str], dict[str, NDArray[Any]]]:
    """What made a checkpoint, its metadata and its arrays; of another format, nothing more is checked."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        origin = Origin.parse(about["origin"])
        if origin.format == FORMAT and about["sha256"] != _digest(arrays, about):
            raise DamagedError("its content does not fit its SHA-256")
    except UNREADABLE as error:
        raise DamagedError(f"it cannot be read: {error}") from error
    return origin, about, arrays


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
        self,
        folder: Path,
        stack: Stack,
        share: Sequence[Trial],
        device: str,
        every: Cadence,
        tracked: Sequence[str] = (),
    ) -> None:
        self.group, self.trials = stack.group, [trial.trial_id for trial in share]
        self.path = folder / FOLDER / f"{stack.group}-{self.trials[0]}.safetensors"
        self.here, self.every, self.metrics = Origin.here(stack.engine, device), every, digests(tracked)
        self.begun = self.kept = time.monotonic()
        self.step, self.earlier, self.warned = 0, 0.0, False

    @property
    def seconds(self) -> float:
        """How long the share has been trained, earlier sittings up to its checkpoint included."""
        return self.earlier + time.monotonic() - self.begun

    def load(self) -> State | None:
        """The state to go on from; None where there is none, or it is damaged.

        Raises:
            UsageError: another version or device wrote it, or a run that tracks other metrics.
        """
        if not self.path.exists():
            return None
        try:
            header, state = read(self.path, self.here)
        except DamagedError as error:
            notes.warn(_set_aside(self.path, error))
            return None
        header.check(self.path, self.metrics)
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
            header = Header(self.group, self.trials, self.seconds, self.metrics)
            results.check_there(self.path.parent.parent)
            write(self.path, self.here, header, step, values)
        except (MachineError, MemoryError, SafetensorError, TypeError, ValueError) as error:
            if not self.warned:
                reason = error.__cause__ or error
                notes.warn(
                    f"a checkpoint of stack {self.group} could not be written ({reason}). Its training "
                    "goes on; if it is stopped, it will go on from an earlier one or from its start."
                )
            self.warned = True
        self.step, self.kept = step, time.monotonic()


# ----------------------------------------------------------------------------------- all files of a folder


def settle(
    folder: Path, todo: Sequence[Stack], device: str, tracked: Sequence[str], finished: Collection[str]
) -> list[str]:
    """Put a folder's checkpoints in order before anything is trained.

    Those of trials that are all finished are removed; damaged ones are set aside. One that this run does not
    train, but that is not finished either, stays as it is: a run with its settings goes on from it.

    Args:
        folder: a results folder that this run holds.
        todo: the stacks to be trained.
        device: what they are trained on.
        tracked: the names of the metrics that this run tracks.
        finished: the ids of the trials that need not be trained again.

    Returns:
        What a person should know: how many stacks go on, what was damaged, what stays for another run.

    Raises:
        UsageError: another version or device wrote some, or a run that tracks other metrics. Then nothing was
            removed, nothing set aside.
    """
    stacks, here = {stack.group: stack for stack in todo}, digests(tracked)
    damaged, strange, going, others = {}, [], 0, 0
    for path in _paths(folder):
        stack = stacks.get(path.name.partition("-")[0])
        if stack is None:
            others += not _is_finished(path, finished)
            continue
        try:
            header, _ = read(path, Origin.here(stack.engine, device))
            header.check(path, here)
            going += header.trials == [trial.trial_id for trial in stack.trials]
        except DamagedError as error:
            damaged[path] = error
        except UsageError as error:
            strange.append(str(error).removesuffix(ADVICE))
    if strange:
        raise UsageError("\n".join(strange) + f"\n{ADVICE}")
    tidy(folder, finished)
    told = [_set_aside(path, error) for path, error in damaged.items()]
    if going:
        told.insert(0, f"{going} {'stack goes' if going == 1 else 'stacks go'} on from a checkpoint")
    if others:
        stay = "checkpoint of other settings stays" if others == 1 else "checkpoints of other settings stay"
        told.append(f"{others} {stay}: a run with those settings goes on from there")
    return told


def _is_finished(path: Path, finished: Collection[str]) -> bool:
    """Whether all trials of a checkpoint are; of one that cannot be read, nobody knows."""
    try:
        origin, about, _ = _contents(path)
        return origin.format == FORMAT and set(json.loads(about["header"])["trials"]) <= set(finished)
    except (DamagedError, *UNREADABLE):
        return False


def remove(folder: Path, group: str) -> None:
    """Remove a stack's checkpoints, damaged ones too: its part is written."""
    for path in (*_paths(folder, group), *_paths(folder, group, ".damaged")):
        path.unlink()


def hint(folder: Path, group: str) -> str:
    """What can be done about a stack that failed in the middle, in words; empty where it kept nothing."""
    names = " and ".join(f"{FOLDER}/{path.name}" for path in _paths(folder, group))
    return f" (run again, it goes on from its checkpoint; or starts over without {names})" if names else ""


def tidy(folder: Path, finished: Collection[str]) -> None:
    """Remove the checkpoints of trials that are all finished, and the folder if it is empty then.

    Of a damaged one that was set aside, the first trial's id in its name is all there is to go by.
    """
    for path in _paths(folder):
        if _is_finished(path, finished):
            path.unlink()
    for path in _paths(folder, suffix=".damaged"):
        if path.stem.partition("-")[2] in finished:
            path.unlink()
    with contextlib.suppress(OSError):
        (folder / FOLDER).rmdir()


def _paths(folder: Path, group: str = "*", suffix: str = ".safetensors") -> list[Path]:
    return sorted((folder / FOLDER).glob(f"{group}-*{suffix}"))


def _set_aside(path: Path, error: DamagedError) -> str:
    """Keep a damaged checkpoint under another name; gives the words for it."""
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    words = f"set aside as {aside.name} until its stack, which trains from its start, is done"
    return f"checkpoint {path} is damaged ({error}) and was {words}"
