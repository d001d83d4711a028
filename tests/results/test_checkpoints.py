"""Checkpoints on disk: whole or said to be damaged, of this version or refused, gone when done with."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.numpy
import tomli_w
import torch

from harness import results
from harness.axes.metrics import metrics
from harness.cli import main, studies
from harness.data.batches import Budget
from harness.engines import kernels
from harness.engines.compiled.training import CompiledTraining
from harness.engines.resident import nvrtc
from harness.engines.stacked import network as stacks
from harness.engines.stacked import products
from harness.engines.states import State
from harness.errors import MachineError, UsageError
from harness.lowering import compiler
from harness.planning import plan
from harness.registry import PACKAGE_ROOT
from harness.registry.digest import ComponentDigest
from harness.results import checkpoints, run_folder
from harness.results.checkpoints import Cadence, CheckpointHeader, DamagedError, ShareCheckpoint
from harness.results.origins import Origin
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.system import files
from harness.training import executors, folder_runs, progress, runs
from harness.training.tasks import StackTask

Make = Callable[..., Study]
TABLES = ("trials", "epochs", "confusion")
SMALL: dict[str, Any] = {
    "study": {"name": "small", "seeds": 2, "resample_split": True},  # a stack a seed
    "baseline": {"dataset": "digits", "epochs": 4, "hidden": [8]},
    "axes": {"optimizer": ["sgd", "adam"]},
}
"""Two stacks of two trials, 4 epochs of 41 steps each."""
STACK = plan.make(parse(SMALL)).stacks[0]
HERE = Origin.here(STACK, "cpu")
HEADER = CheckpointHeader("g1", ["t1", "t2"], 12.5, {"top3": "", "theirs": "ab12"})
VALUES: dict[str, Any] = {
    "first": np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "count": np.array(3, np.int64),
    "none": np.zeros((0, 4)),
    "state": np.arange(5, dtype=np.uint8),
    "splits": ["train", "val"],
    "small": 5e-324,
    "not": math.nan,
}


def comparable(folder: Path) -> dict[str, str]:
    """The three CSVs as text, apart from timing."""
    frames = {name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in TABLES}
    frames["trials"] = frames["trials"].drop(columns="group_seconds")
    return {name: frame.to_csv(index=False) for name, frame in frames.items()}


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoint_files(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.safetensors"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "g1-t1.safetensors"
    checkpoints.write(path, HERE, HEADER, 7, VALUES)
    return path


# --------------------------------------------------------------------------------------------------- one file


def test_a_state_is_read_back_unchanged(path: Path) -> None:
    header, state = checkpoints.read(path, HERE)
    values = state.under("")
    assert header == HEADER
    assert (state.step, values.keys()) == (7, VALUES.keys())
    for name, value in VALUES.items():
        back = values[name]
        if isinstance(value, np.ndarray):
            assert (back.dtype, back.shape) == (value.dtype, value.shape)
            assert back.tobytes() == value.tobytes()
            assert back.flags.writeable
        elif name == "not":
            assert math.isnan(back)
        else:
            assert back == value


def test_tensors_are_kept_as_arrays(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2, 3, requires_grad=True).mT, "b": torch.tensor(2)}
    checkpoints.write(tmp_path / "x", HERE, HEADER, 1, tensors)
    values = checkpoints.read(tmp_path / "x", HERE)[1].under("")
    assert values["a"].tolist() == [[1, 1]] * 3
    assert values["b"].shape == ()


def test_safetensors_and_json_are_all_it_takes_to_open_one(path: Path) -> None:
    """No pickle: the file is a length, a JSON header and the tensors' bytes, and nothing else."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = header.pop("__metadata__")
    arrays = safetensors.numpy.load(content)
    assert arrays.keys() == header.keys() == {n for n, v in VALUES.items() if isinstance(v, np.ndarray)}
    assert len(content) == 8 + length + sum(array.nbytes for array in arrays.values())
    told = {name: json.loads(text) for name, text in about.items() if name != "sha256"}
    assert told["state"]["step"] == 7
    assert told["header"] == dataclasses.asdict(HEADER)
    assert told["origin"]["libraries"] == f"torch {torch.__version__}, numpy {np.__version__}"


def test_every_byte_that_flips_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        # A digit of the format may flip as well: then the file is of a format not known here.
        with pytest.raises((DamagedError, UsageError)) as caught:
            checkpoints.read(path, HERE)
        assert caught.type is DamagedError or "format 2 there, 3 here" in str(caught.value)


@pytest.mark.parametrize("size", [0, 5, 8, 100, -1])
def test_a_file_that_is_cut_or_grown_is_noticed(path: Path, size: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(DamagedError):
        checkpoints.read(path, HERE)
    path.write_bytes(content + b"\0")
    with pytest.raises(DamagedError):
        checkpoints.read(path, HERE)


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(safetensors.numpy.save({"a": np.ones(2)}))
    with pytest.raises(DamagedError, match="cannot be read"):
        checkpoints.read(tmp_path / "x", HERE)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Origin)])
def test_another_origin_is_refused_and_named(path: Path, field: str) -> None:
    changed: dict[str, Any] = {field: 99}
    other = dataclasses.replace(HERE, **changed)
    before = getattr(HERE, field)
    with pytest.raises(UsageError) as caught:
        checkpoints.read(path, other)
    assert str(path) in str(caught.value)
    assert f"{field} {before} there, 99 here" in str(caught.value)
    assert "delete it" in str(caught.value)


def test_an_origin_contains_what_decides_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "identity", lambda: "0123")
    resident = "PyTorch, resident kernel 0123"
    assert Origin.here(STACK, "cuda:1") == dataclasses.replace(HERE, device="cuda", kernels=resident)
    loop = dataclasses.replace(STACK, engine="loop")
    assert Origin.here(loop, "cuda:1").kernels == "PyTorch"
    monkeypatch.setenv(compiler.SWITCH, "off")
    assert Origin.here(STACK, "cuda:1").kernels == "PyTorch, CUDA graphs"
    own = Origin.here(dataclasses.replace(STACK, engine="numpy"), "cuda:1")
    assert (own.device, own.libraries) == ("cpu", f"numpy {np.__version__}")


def test_pytorch_refuses_a_checkpoint_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "why_not", lambda *_: "there is no compiler")
    monkeypatch.setattr(kernels, "identity", lambda *_: "")
    monkeypatch.setattr(products, "identity", lambda: "MKL")
    here = Origin.here(STACK, "cpu")
    assert HERE.unlike(here) == f"kernels {HERE.kernels} there, PyTorch, products by MKL here"
    monkeypatch.setattr(products, "identity", lambda: "oneDNN")
    assert here.unlike(Origin.here(STACK, "cpu")).endswith("products by oneDNN here")


# ---------------------------------------------------------------------------------------------------- cadence


@pytest.mark.parametrize(
    ("text", "cadence"),
    [("60 seconds", Cadence(60)), ("1 second", Cadence(1)), ("0.5 seconds", Cadence(0.5)),
     ("60s", Cadence(60)), ("60 s", Cadence(60)), ("2 min", Cadence(120)), ("1 minute", Cadence(60)),
     ("5 epochs", Cadence(epochs=5)), ("1 epoch", Cadence(epochs=1)), ("never", Cadence())],
)  # fmt: skip
def test_a_cadence_is_read_from_text(text: str, cadence: Cadence) -> None:
    assert Cadence.of(text) == cadence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "0 seconds",
        "-1 seconds",
        "0 epochs",
        "1.5 epochs",
        "5 hours",
        "always",
        "1e3 seconds",
        "5 e",
    ],
)
def test_a_bad_cadence_is_refused_before_any_work(
    text: str,
    study_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tmp_path / "s.toml"
    study.write_bytes(tomli_w.dumps({"study": {"name": "s"}, "baseline": {"dataset": "digits"}}).encode())
    monkeypatch.setattr(
        sys,
        "argv",
        ["harness", "run", str(study), "--results", str(tmp_path / "r"), "--checkpoint-every", text],
    )
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert all(
        word in error for word in ("--checkpoint-every", repr(text), "60 seconds", "5 epochs", "never")
    )
    with pytest.raises(UsageError, match="--checkpoint-every"):
        runs.run(study_of(), tmp_path / "r", checkpoint_every=text)
    assert not (tmp_path / "r").exists()


def test_the_command_and_the_function_have_one_default() -> None:
    (option,) = (param for param in studies.run.params if param.name == "checkpoint_every")
    assert option.default == checkpoints.EVERY


def share_of(study: Study, folder: Path, every: str, count: int | None = None) -> ShareCheckpoint:
    (stack,) = plan.make(study).stacks
    return ShareCheckpoint(folder, stack, stack.trials[:count], "cpu", Cadence.of(every))


def test_a_checkpoint_is_due_by_seconds_since_the_last(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, budget = 100.0, Budget(10, 5, 40, (0, 40))
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one = share_of(study_of(study={"seeds": 1}), tmp_path, "60 seconds")
    assert not one.due(1, budget)
    now = 160.0
    assert one.due(2, budget)
    assert not one.due(40, budget)  # the last step: what is finished needs no going on
    one.save(2, VALUES)
    now = 219.0
    assert not one.due(3, budget)
    now = 220.0
    assert one.due(4, budget)
    assert one.seconds == 120


def test_a_checkpoint_is_due_by_epochs_of_the_trial(study_of: Make, tmp_path: Path) -> None:
    one, budget = share_of(study_of(study={"seeds": 1}), tmp_path, "2 epochs"), Budget(10, 5, 40, (0, 40))
    due = []
    for step in range(1, 41):
        if step != 12 and one.due(step, budget):  # nobody asks at 12: the next to ask gets it
            due.append(step)
            one.save(step, VALUES)
    assert due == [4, 8, 13, 16, 20, 24, 28, 32, 36]
    assert not share_of(study_of(study={"seeds": 1}), tmp_path, "never").due(4, budget)


# ------------------------------------------------------------------------------ whole runs, cut in the middle


class Killed(KeyboardInterrupt):
    """Stands for the end of the process: no fault of a component, which would fail its stack alone."""


@contextmanager
def dies_after(saves: int) -> Iterator[None]:
    """A process that dies when it has written so many checkpoints."""
    uninterrupted, count = ShareCheckpoint.save, itertools.count(1)

    def save(self: ShareCheckpoint, step: int, values: Mapping[str, Any]) -> None:
        uninterrupted(self, step, values)
        if next(count) == saves:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShareCheckpoint, "save", save)
        try:
            yield
        except Killed:
            return
    pytest.fail("nothing died")


@contextmanager
def counted() -> Iterator[list[int]]:
    """The steps that stacks take meanwhile."""
    steps: list[int] = []
    one, many = stacks.StackedNetwork.step, CompiledTraining._run

    def step(self: stacks.StackedNetwork, t: int, *arguments: Any) -> Any:
        steps.append(t)
        return one(self, t, *arguments)

    def run(self: CompiledTraining, t: int, train: Any, index: Any, *arguments: Any) -> None:
        steps.extend(range(t, t + len(index)))
        many(self, t, train, index, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks.StackedNetwork, "step", step)
        patch.setattr(CompiledTraining, "_run", run)
        yield steps


def train(
    study: Study, folder: Path, every: str = "1 epoch", **how: Any
) -> tuple[folder_runs.RunSummary, list[str]]:
    """Train in this process; gives what was noted on the screen too, but for doubts about the study."""
    notes: list[str] = []
    doubts = plan.make(study).warnings

    @contextmanager
    def display(progress: progress.Progress) -> Iterator[None]:
        notes.extend(note for note in progress.notes if note not in doubts)
        yield

    options = {"device": "cpu", "workers": 1, "checkpoint_every": every, "display": display, **how}
    return runs.train(study, folder, **options), notes


@pytest.fixture(scope="module")
def study() -> Study:
    """Two stacks of two trials, 4 epochs of 41 steps each."""
    return parse(SMALL)


@pytest.fixture(scope="module")
def uninterrupted(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole")
    train(study, folder, "never")
    return comparable(folder)


@pytest.fixture(scope="module")
def cut_once(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut")
    with dies_after(5):
        train(study, folder)
    (path,) = checkpoint_files(folder)
    (_, second) = plan.make(study).stacks
    assert path.name == f"{second.group}-{second.trials[0].trial_id}.safetensors"
    return folder


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A folder whose run died after two epochs of its second stack."""
    return Path(shutil.copytree(cut_once, tmp_path / "cut"))


def test_a_run_resumes_in_the_middle_of_a_stack_and_cleans_up(
    study: Study, cut: Path, uninterrupted: dict[str, str]
) -> None:
    with counted() as steps:
        summary, notes = train(study, cut)
    assert steps == list(range(2 * 41 + 1, 4 * 41 + 1))
    assert notes == ["1 stack goes on from a checkpoint"]
    assert summary.statuses == {"ok": 4}
    assert comparable(cut) == uninterrupted
    assert not (cut / "checkpoints").exists()


def test_a_run_that_saves_no_checkpoints_resumes_from_one(
    study: Study, cut: Path, uninterrupted: dict[str, str]
) -> None:
    with counted() as steps:
        train(study, cut, "never")
    assert steps[0] == 2 * 41 + 1
    assert comparable(cut) == uninterrupted


def test_a_run_may_be_killed_repeatedly(study: Study, uninterrupted: dict[str, str], tmp_path: Path) -> None:
    with counted() as steps:
        for _ in range(6):  # of 3 checkpoints a stack
            with dies_after(1):
                train(study, tmp_path / "cut")
        train(study, tmp_path / "cut")
    assert len(steps) == 2 * 4 * 41  # no step is taken twice
    assert comparable(tmp_path / "cut") == uninterrupted


@pytest.mark.parametrize("engine", ["loop", "numpy"])
def test_the_other_engines_resume_too(engine: str, study_of: Make, tmp_path: Path) -> None:
    study = study_of({"optimizer": ["sgd", "adam"]}, study={"seeds": 1}, batch_size=128)
    train(study, tmp_path / "whole", engine=engine)
    with dies_after(2):
        train(study, tmp_path / "cut", engine=engine)
    _, notes = train(study, tmp_path / "cut", engine=engine)
    assert notes == ["1 stack goes on from a checkpoint"]
    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")


def test_the_time_before_a_kill_counts(study: Study, cut: Path) -> None:
    (path,) = checkpoint_files(cut)
    header, state = checkpoints.read(path, HERE)
    assert header.seconds > 0
    longer = dataclasses.replace(header, seconds=1000.0)
    checkpoints.write(path, HERE, longer, state.step, state.values)
    train(study, cut)
    seconds = results.read(cut).trials.groupby("group")["group_seconds"].first()
    assert sorted(seconds > 1000) == [False, True]


def test_a_short_stack_writes_no_checkpoint(study: Study, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write", lambda *_: pytest.fail("a checkpoint was written"))
        runs.train(study, tmp_path, device="cpu", workers=1)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_set_aside_with_a_note(
    study: Study, cut: Path, uninterrupted: dict[str, str], damage: str
) -> None:
    (path,) = checkpoint_files(cut)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-1])
    with counted() as steps:
        _, notes = train(study, cut)
    assert steps[0] == 1
    (note,) = notes
    assert str(path) in note
    assert "damaged" in note
    assert "from its start" in note
    assert comparable(cut) == uninterrupted
    assert path.with_suffix(".damaged").name in note
    assert not (cut / "checkpoints").exists()  # its stack is done


def test_a_checkpoint_damaged_during_the_run_is_reported_too(
    study: Study, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = checkpoint_files(cut)
    path.write_bytes(b"short")
    (_, stack) = plan.make(study).stacks
    assert executors.run_task(StackTask(stack, "cpu", study, cut)).statuses == {"ok": 2}
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["format", "semantics", "libraries", "device"])
def test_a_checkpoint_of_another_version_stops_the_run_and_harms_nothing(
    study: Study, cut: Path, uninterrupted: dict[str, str], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = checkpoint_files(cut)
    leftover = path.with_name("g00000000-t0.safetensors")
    leftover.write_bytes(path.read_bytes())
    before = contents_of(cut)
    theirs: Any = {"libraries": "torch 1.0, numpy 1.0", "device": "cuda"}.get(other, 99)
    with monkeypatch.context() as patch:
        patch.setattr(Origin, "here", lambda *_: dataclasses.replace(HERE, **{other: theirs}))
        patch.setattr(executors, "run_task", lambda *_: pytest.fail("something was trained"))
        with pytest.raises(UsageError) as caught:
            train(study, cut)
    assert contents_of(cut) == before
    words = str(caught.value)
    for part in (str(path), f"{other} {getattr(HERE, other)} there, {theirs} here", "delete it"):
        assert part in words
    train(study, cut)
    assert comparable(cut) == uninterrupted


def test_only_leftovers_of_finished_trials_are_removed(study: Study, cut: Path) -> None:
    (path,) = checkpoint_files(cut)
    header, state = checkpoints.read(path, HERE)
    (first, _), finished = plan.make(study).stacks, run_folder.finished(cut)
    done, other = path.with_name(f"{first.group}-t0.safetensors"), path.with_name("g00000000-t0.safetensors")
    for place, trials in ((done, list(finished)), (other, [*finished, "t0"])):
        checkpoints.write(place, HERE, dataclasses.replace(header, trials=trials), state.step, state.values)
    damaged = path.with_name(f"{first.group}-{first.trials[0].trial_id}.damaged")
    damaged.write_bytes(b"short")
    before = other.read_bytes()
    notes = checkpoints.prepare(cut, run_folder.unfinished(plan.make(study), finished), "cpu", [], finished)
    assert notes[0] == "1 stack goes on from a checkpoint"
    assert "1 checkpoint of other settings stays" in notes[1]
    assert checkpoint_files(cut) == sorted([path, other])
    assert other.read_bytes() == before
    assert not damaged.exists()


@pytest.mark.parametrize("narrower", ["epochs", "seeds"])
def test_a_narrower_run_leaves_the_checkpoints_of_the_wider_one(
    study: Study, cut: Path, uninterrupted: dict[str, str], narrower: str, study_of: Make
) -> None:
    (path,) = checkpoint_files(cut)
    before, axes = path.read_bytes(), {"optimizer": ["sgd", "adam"]}
    about = {"seeds": 1 if narrower == "seeds" else 2, "resample_split": True}
    _, notes = train(study_of(axes, epochs=1 if narrower == "epochs" else 4, study=about), cut, "never")
    assert notes[0] == "1 checkpoint of other settings stays: a run with those settings goes on from there"
    assert len(notes) == 1 + (narrower == "epochs")  # whose trials share none with the finished ones
    assert path.read_bytes() == before
    with counted() as steps:
        train(study, cut)
    assert steps == list(range(2 * 41 + 1, 4 * 41 + 1))
    assert comparable(cut) == uninterrupted
    assert not (cut / "checkpoints").exists()


@pytest.mark.parametrize(("there", "here"), [([], ["top3"]), (["top3"], []), (["top3"], ["brier"])])
def test_other_metrics_are_refused_before_training(
    there: list[str], here: list[str], study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (study_of(study={"seeds": 1, "metrics": tracked}) for tracked in (there, here))
    train(first, tmp_path / "whole")
    with dies_after(1):
        train(first, tmp_path / "cut")
    (path,) = checkpoint_files(tmp_path / "cut")
    before = contents_of(tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(executors, "run_task", lambda *_: pytest.fail("something was trained"))
        with pytest.raises(UsageError) as caught:
            train(second, tmp_path / "cut")
    lists = [", ".join(tracked) or "none" for tracked in (there, here)]
    for part in (str(path), f"{lists[0]} there, {lists[1]} here", "delete it"):
        assert part in str(caught.value)
    assert contents_of(tmp_path / "cut") == before
    train(first, tmp_path / "cut")
    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")


def test_a_metric_whose_file_has_changed_is_another_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = CheckpointHeader("g", ["t"], 1.0, {"pp": "a" * 64})
    with pytest.raises(UsageError, match=r"pp \(file aaaaaaaa\) there, pp \(file bbbbbbbb\) here"):
        one.check(tmp_path, {"pp": "b" * 64})
    entry = dataclasses.replace(metrics.entry("top3"), take_digest=lambda: ComponentDigest("b" * 64))
    monkeypatch.setattr(metrics, "entry", lambda _: entry)
    assert checkpoints.digests(["pp"]) == {"pp": "b" * 64}


def test_a_stack_that_failed_keeps_its_checkpoint_and_says_so(
    study: Study, cut: Path, uninterrupted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = checkpoint_files(cut)
    with monkeypatch.context() as patch:
        patch.setattr(stacks.StackedNetwork, "step", lambda *_: 1 / 0)
        patch.setattr(CompiledTraining, "_run", lambda *_: 1 / 0)
        summary, _ = train(study, cut)
    assert summary.statuses == {"ok": 2, "failed": 2}
    assert f"starts over without checkpoints/{path.name}" in summary.failures[0]
    assert checkpoint_files(cut) == [path]
    train(study, cut)
    assert comparable(cut) == uninterrupted


# ---------------------------------------------------------------------------- what cannot be written; shares


def test_a_full_disk_is_reported_once_and_training_continues(
    study: Study, uninterrupted: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write = files.write

    def full(path: Path, content: bytes) -> None:
        if path.parent.name == "checkpoints":
            raise MachineError("no room") from OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(files, "write", full)
    train(study, tmp_path / "full")
    assert comparable(tmp_path / "full") == uninterrupted
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 2  # once a stack
    assert all(stack.group in said for stack in plan.make(study).stacks)


def test_a_state_that_cannot_be_saved_is_reported_and_training_continues(
    study_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = share_of(study_of(study={"seeds": 1}), tmp_path, "1 epoch")
    for value in (object(), np.array([object()]), torch.ones(2, dtype=torch.bfloat16)):
        one.warned = False
        one.save(3, {"odd": value})
        assert "could not be written" in capsys.readouterr().err
    one.save(4, {"odd": object()})
    assert capsys.readouterr().err == ""
    assert not checkpoint_files(tmp_path)


def test_a_checkpoint_is_of_its_share_alone(study_of: Make, tmp_path: Path) -> None:
    study = study_of({"lr": [0.1, 0.2, 0.3]}, study={"seeds": 1})
    all_of_it, half = share_of(study, tmp_path, "1 epoch"), share_of(study, tmp_path, "1 epoch", 2)
    assert all_of_it.path == half.path
    all_of_it.save(5, VALUES)
    assert half.load() is None
    state = share_of(study, tmp_path, "1 epoch").load()
    assert isinstance(state, State)
    assert state.step == 5
    assert checkpoints.prepare(tmp_path, plan.make(study).stacks, "cpu", [], []) == [
        "1 stack goes on from a checkpoint"
    ]
    half.save(6, VALUES)
    assert (
        checkpoints.prepare(tmp_path, plan.make(study).stacks, "cpu", [], []) == []
    )  # kept, for halves to come
    assert checkpoint_files(tmp_path) == [half.path]


# ------------------------------------------------------------------------------------------- the real command


def command(study: Path, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "harness", "run", str(study), "--results", str(folder), "--workers", "1",
        "--device", "cpu", "--checkpoint-every", "0.1 seconds",
    ]  # fmt: skip


def test_kill_9_in_the_middle_of_long_stacks_and_the_next_run_ends_in_the_same_folder(tmp_path: Path) -> None:
    tables = {
        "study": {"name": "long", "seeds": 2, "resample_split": True},  # a stack a seed
        "baseline": {"dataset": "digits", "epochs": 800, "hidden": [16]},
        "axes": {"optimizer": ["momentum", "adam"]},
    }
    path, folder = tmp_path / "long.toml", tmp_path / "killed"
    path.write_bytes(tomli_w.dumps(tables).encode())
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    process = subprocess.Popen(
        command(path, folder), env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 120
    while not checkpoint_files(folder) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    _, error = process.communicate()
    assert checkpoint_files(folder), error
    assert len(list((folder / "parts").glob("*.zip"))) < 2

    again = subprocess.run(
        command(path, folder), env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "on from a checkpoint" in again.stderr
    assert not (folder / "checkpoints").exists()
    runs.train(load(path), tmp_path / "whole", device="cpu", workers=1)
    assert comparable(folder) == comparable(tmp_path / "whole")
