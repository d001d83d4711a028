"""Checkpoints: the state of long stacks during training, on disk, so that a killed run can be resumed.

    <folder>/checkpoints/<group>-<first trial_id>.safetensors

A file belongs to one share of a stack, nearly always the whole stack. It holds the arrays of an engine's
state, and everything else as JSON in its metadata, so that nothing is ever unpickled; its SHA-256 covers
both. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from harness import notes
from harness.axes.metrics import metrics
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.datasets import Dataset
from harness.engines.states import State, array_of
from harness.errors import MachineError, UsageError
from harness.planning.stack import Stack
from harness.results.origins import FORMAT, Origin
from harness.study.trials import Arm, Trial
from harness.system import files, locks, signals

EVERY = "60 seconds"
FOLDER = "checkpoints"
ADVICE = "Run with the version and options that made it, or delete it: its stack then trains from its start."
UNREADABLE = (*files.DAMAGE, SafetensorError, AttributeError)


@dataclass(frozen=True)
class Cadence:
    """The interval between checkpoints: in seconds or, if not 0, in epochs."""

    seconds: float = math.inf
    epochs: int = 0

    @property
    def never(self) -> bool:
        """True where no checkpoint is wanted."""
        return self.seconds == math.inf and not self.epochs

    @classmethod
    def of(cls, text: str) -> Cadence:
        """Read "60 seconds" (or "60s"), "2 minutes" (or "2 min"), "5 epochs" or "never".

        Raises:
            UsageError: the text has another form.
        """
        if text == "never":
            return cls()
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|seconds?|min|minutes?|epochs?)", str(text))
        if match and float(match[1]) > 0:
            if not match[2].startswith("epoch"):
                return cls(seconds=float(match[1]) * (60 if match[2].startswith("min") else 1))
            if match[1].isdigit():
                return cls(epochs=int(match[1]))
        raise UsageError(
            f"--checkpoint-every {text!r}: allowed are seconds ('60 seconds', '60s'), minutes ('2 min'), "
            "whole epochs ('5 epochs'), and 'never'"
        )


@dataclass(frozen=True)
class CheckpointHeader:
    """The trials of a checkpoint, and the seconds of their training so far, over all runs together.

    `metrics` are those of their curve: name -> digest of the defining file, "" for the harness's own.
    `members` are the trials' arms, settings and seeds; `parents` the trials that they went on from, if any;
    `library` is what computed them, in a state that is kept.
    """

    group: str
    trials: list[str]
    seconds: float
    metrics: dict[str, str] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    library: str = ""

    @classmethod
    def of(cls, group: str, trials: Sequence[Trial], seconds: float, tracked: Sequence[str]) -> Self:
        """Describe trials in training."""
        members = [{"arm": t.arm.name, "settings": dict(t.arm.settings), "seed": t.seed} for t in trials]
        return cls(group, [trial.trial_id for trial in trials], seconds, digests(tracked), members)

    def made_of(self, study_datasets: Mapping[str, Dataset]) -> list[Trial]:
        """Rebuild the trials, on data sets that a study declares or that are registered."""
        made = []
        for trial_id, member in zip(self.trials, self.members, strict=True):
            settings = Settings(member["settings"], study_datasets.get(member["settings"]["dataset"]))
            made.append(Trial(trial_id, Arm(member["arm"], settings), member["seed"]))
        return made

    def check(self, path: Path, metrics: Mapping[str, str]) -> None:
        """Refuse to resume with other metrics: columns would be ragged, or mix two definitions.

        Raises:
            UsageError: this run tracks other metrics, or another file defines one of them now.
        """
        if self.metrics != metrics:
            there, here = _listed(self.metrics), _listed(metrics)
            raise UsageError(f"{path} was made with other metrics: {there} there, {here} here. {ADVICE}")


def _listed(metrics: Mapping[str, str]) -> str:
    names = (f"{name} (file {digest[:8]})" if digest else name for name, digest in sorted(metrics.items()))
    return ", ".join(names) or "none"


def digests(tracked: Sequence[str]) -> dict[str, str]:
    """Map each metric to the digest of its defining file, as a header holds it."""
    return {name: metrics.entry(name).source_digest for name in tracked}


class DamagedError(Exception):
    """A checkpoint is truncated, or a byte of it has changed."""


def write(path: Path, origin: Origin, header: CheckpointHeader, step: int, values: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all; `values` are those of a State, perhaps tensors for arrays.

    Raises:
        MachineError: the disk is full, or cannot be written.
        TypeError, SafetensorError: neither an array nor JSON can hold a value.
    """
    arrays: dict[str, NDArray[Any]] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        plain = array_of(value)
        if isinstance(plain, np.ndarray):
            arrays[name] = np.asarray(plain, order="C")
        else:
            others[name] = plain
    about = {name: json.dumps(asdict(part)) for name, part in (("origin", origin), ("header", header))}
    about["state"] = json.dumps({"step": step, "values": others})
    about["sha256"] = digest(arrays, about)
    files.write(path, files.steady(safetensors.numpy.save(arrays, about)))


def read(path: Path, here: Origin) -> tuple[CheckpointHeader, State]:
    """Read a checkpoint, every byte checked.

    Raises:
        DamagedError: it is truncated or has changed.
        UsageError: another version or device wrote it.
    """
    contents = _contents(path)
    if unlike := contents[0].unlike(here):
        raise UsageError(f"{path} was made by another version or device: {unlike}. {ADVICE}")
    return _parsed(*contents[1:])


def opened(path: Path) -> tuple[Origin, CheckpointHeader, State]:
    """Read a checkpoint of this format to look at, whatever version and device made it, every byte checked.

    Raises:
        DamagedError: it is truncated or has changed, or is of another format.
    """
    origin, about, arrays = _contents(path)
    if origin.format != FORMAT:
        raise DamagedError(f"its format is {origin.format}; this version reads {FORMAT}")
    return origin, *_parsed(about, arrays)


def _parsed(about: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> tuple[CheckpointHeader, State]:
    """Parse a checkpoint's header and state."""
    try:
        state = json.loads(about["state"])
        step, values = int(state["step"]), {**arrays, **state["values"]}
        return CheckpointHeader(**json.loads(about["header"])), State(step, values)
    except UNREADABLE as error:
        raise DamagedError(f"it cannot be read: {error!r}") from error


def _contents(path: Path) -> tuple[Origin, dict[str, str], dict[str, NDArray[Any]]]:
    """Read a checkpoint's origin, metadata and arrays; another format is not checked further."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        origin = Origin.parse(about["origin"])
        if origin.format == FORMAT and about["sha256"] != digest(arrays, about):
            raise DamagedError("its content does not match its SHA-256")
    except UNREADABLE as error:
        raise DamagedError(f"it cannot be read: {error}") from error
    return origin, about, arrays


def digest(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> str:
    """Compute the SHA-256 of everything else in a checkpoint."""
    digest = hashlib.sha256()
    for name, text in sorted(about.items()):
        if name != "sha256":
            digest.update(json.dumps([name, text]).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class BeginningState(Protocol):
    """The state that trials begin from in place of their start: one that was kept of a shorter training."""

    @property
    def path(self) -> Path:
        """The file that holds it."""

    def at(self, path: Path) -> Self:
        """Return the same state in a copy of its file, at another path."""

    def unlike(self, here: Origin) -> str:
        """Say what another kind of machine would compute otherwise from there; "" where that is allowed."""

    def of(self, share: Sequence[Trial]) -> tuple[CheckpointHeader, State] | None:
        """Return the state of a share's trials, with their parents in its header; None: they start anew."""


class ShareCheckpoint:
    """The checkpoint of a stack's share, written while an engine trains it (`states.Checkpoints`)."""

    def __init__(
        self,
        folder: Path,
        stack: Stack,
        share: Sequence[Trial],
        device: str,
        every: Cadence,
        tracked: Sequence[str] = (),
    ) -> None:
        self.group, self.share = stack.group, share
        self.trials = [trial.trial_id for trial in share]
        self.path = folder / FOLDER / f"{stack.group}-{self.trials[0]}.safetensors"
        self.source: BeginningState | None = None
        self.parents: list[str] = []
        self.here, self.every, self.metrics = Origin.here(stack, device, tracked), every, digests(tracked)
        self.begun = self.kept = time.monotonic()
        self.step, self.earlier, self.warned = 0, 0.0, False

    @property
    def seconds(self) -> float:
        """Seconds that the share has been trained, including earlier runs up to its checkpoint."""
        return self.earlier + time.monotonic() - self.begun

    def load(self) -> State | None:
        """Read the state to resume from, or that of the share's source; None if there is none.

        Raises:
            UsageError: another version or device wrote it, or a run that tracks other metrics.
        """
        found = self._own() or (self.source.of(self.share) if self.source else None)
        if found is None:
            return None
        header, state = found
        self.step, self.earlier, self.parents = state.step, header.seconds, header.parents
        return state

    def _own(self) -> tuple[CheckpointHeader, State] | None:
        """Read the share's checkpoint; None if there is none, or it is damaged."""
        if not self.path.exists():
            return None
        try:
            header, state = read(self.path, self.here)
        except DamagedError as error:
            notes.warn(_set_aside(self.path, error))
            return None
        header.check(self.path, self.metrics)
        # Others: a checkpoint of the whole stack, or of another division.
        return (header, state) if header.trials == self.trials else None

    def due(self, step: int, budget: Budget) -> bool:
        """Tell whether the interval since the last checkpoint is over, or the process must end."""
        if step >= budget.steps:
            return False
        if signals.asked():
            return True
        if self.every.epochs:
            period = self.every.epochs * budget.steps_per_epoch
            return step // period > self.step // period
        return time.monotonic() - self.kept >= self.every.seconds

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the state after this step over the last one; a process that must end does so then.

        Training continues if a checkpoint cannot be written; one note says so.
        """
        try:
            header = CheckpointHeader.of(self.group, self.share, self.seconds, tuple(self.metrics))
            header = replace(header, parents=self.parents)
            locks.check_there(self.path.parent.parent)
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
        if signals.asked():
            signals.end()


def prepare(
    folder: Path, todo: Sequence[Stack], device: str, tracked: Sequence[str], finished: Collection[str],
    *, elsewhere: bool = False,
) -> list[str]:  # fmt: skip
    """Remove a folder's finished checkpoints and set damaged ones aside, before anything is trained.

    Checkpoints of other unfinished trials stay: a run with their settings resumes from them. Of those that
    are resumed `elsewhere`, on the nodes of a cluster, only a node can say whether it has the same kernels.

    Returns:
        Notes: how many stacks resume, which checkpoints were damaged, how many stay for another run.

    Raises:
        UsageError: another version or device wrote some, or a run with other metrics; nothing was changed.
    """
    stacks, here = {stack.group: stack for stack in todo}, digests(tracked)
    damaged, refused, resumed, others = {}, [], 0, 0
    for path in paths(folder):
        stack = stacks.get(path.name.partition("-")[0])
        if stack is None:
            others += not _is_finished(path, finished)
            continue
        try:
            origin = Origin.here(stack, device, tracked)
            header, _ = read(path, origin.on_kernels_of(opened(path)[0]) if elsewhere else origin)
            header.check(path, here)
            resumed += header.trials == [trial.trial_id for trial in stack.trials]
        except DamagedError as error:
            damaged[path] = error
        except UsageError as error:
            refused.append(str(error).removesuffix(ADVICE))
    if refused:
        raise UsageError("\n".join(refused) + f"\n{ADVICE}")
    prune(folder, finished)
    remarks = [_set_aside(path, error) for path, error in damaged.items()]
    if resumed:
        remarks.insert(0, f"{resumed} {'stack goes' if resumed == 1 else 'stacks go'} on from a checkpoint")
    if others:
        stay = "checkpoint of other settings stays" if others == 1 else "checkpoints of other settings stay"
        remarks.append(f"{others} {stay}: a run with those settings goes on from there")
    return remarks


def drop_unlike(folder: Path, stack: Stack, device: str, tracked: Sequence[str]) -> list[str]:
    """Remove a stack's checkpoints that another kind of machine made; say why it trains from its start."""
    here, remarks = Origin.here(stack, device, tracked), []
    for path in paths(folder, stack.group):
        try:
            unlike = opened(path)[0].unlike(here)
        except DamagedError:
            continue
        if unlike:
            path.unlink()
            remarks.append(
                f"stack {stack.group} trains from its start: its checkpoint is of another kind "
                f"of machine ({unlike})"
            )
    return remarks


def _is_finished(path: Path, finished: Collection[str]) -> bool:
    """Tell whether all trials of a checkpoint are finished; False if it cannot be read."""
    try:
        origin, about, _ = _contents(path)
        return origin.format == FORMAT and set(json.loads(about["header"])["trials"]) <= set(finished)
    except (DamagedError, *UNREADABLE):
        return False


def remove(folder: Path, group: str) -> None:
    """Remove a stack's checkpoints, damaged ones too, once its part is written."""
    for path in (*paths(folder, group), *paths(folder, group, ".damaged")):
        path.unlink()


def resume_hint(folder: Path, group: str) -> str:
    """Say how a stack that failed during training can be resumed; empty if it has no checkpoint."""
    names = " and ".join(f"{FOLDER}/{path.name}" for path in paths(folder, group))
    return f" (run again, it goes on from its checkpoint; or starts over without {names})" if names else ""


def prune(folder: Path, finished: Collection[str]) -> None:
    """Remove the checkpoints of trials that are all finished, and the folder if that empties it.

    A damaged checkpoint is identified by the trial id in its file name.
    """
    for path in paths(folder):
        if _is_finished(path, finished):
            path.unlink()
    for path in paths(folder, suffix=".damaged"):
        if path.stem.partition("-")[2] in finished:
            path.unlink()
    with contextlib.suppress(OSError):
        (folder / FOLDER).rmdir()


def paths(folder: Path, group: str = "*", suffix: str = ".safetensors") -> list[Path]:
    """List a folder's checkpoints, or those of one stack."""
    return sorted((folder / FOLDER).glob(f"{group}-*{suffix}"))


def _set_aside(path: Path, error: DamagedError) -> str:
    """Rename a damaged checkpoint, and say so."""
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    return (
        f"checkpoint {path} is damaged ({error}) and was set aside as {aside.name} until its stack, which "
        "trains from its start, is done"
    )
