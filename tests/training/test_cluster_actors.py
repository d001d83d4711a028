"""Actors, without Ray: what they send is what a local run writes, and checkpoints come and go as bytes."""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import notes
from harness.errors import MachineError, UsageError
from harness.planning.plan import draw
from harness.results import brought, checkpoints, part_files
from harness.results.origins import Origin
from harness.study.study import Study
from harness.system import signals
from harness.training import folder_runs
from harness.training.cluster import actors
from harness.training.cluster.actors import Answer, StackActor
from harness.training.options import RunOptions
from harness.training.tasks import StackTask

StudyOf = Callable[..., Study]


@pytest.fixture
def actor() -> Iterator[StackActor]:
    before = list(notes.logger.handlers)
    made = StackActor()
    yield made
    made.leave(0.0)
    notes.logger.handlers[:] = before


def task_of(study: Study, folder: Path, **options: Any) -> StackTask:
    """The only stack of a study, to be trained into a folder."""
    planned, _ = folder_runs.plan_run(
        draw(study, "stacked"), folder, RunOptions(workers=1, device="cpu", **options)
    )
    (folder / "parts").mkdir(parents=True)
    return planned.tasks[0]


def result_of(answer: Answer) -> Any:
    return pickle.loads(answer.result)  # noqa: S301 (this test's own)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("predictions", "weights")
        for path in (folder / name).glob("*")
    }


def test_what_an_actor_sends_is_what_a_local_run_writes(
    actor: StackActor, study_of: StudyOf, tmp_path: Path
) -> None:
    keeps = {"keep_predictions": ["val"], "keep_weights": "all", "keep_state": "all"}
    study = study_of({"lr": [0.1, 0.3]}, study=keeps)
    here, there = task_of(study, tmp_path / "here"), task_of(study, tmp_path / "there")
    here.run()
    answer = actor.train(1, pickle.dumps(there), there.files())
    assert not contents(there.folder), "an actor writes nothing into the results folder"
    result = there.accept(result_of(answer), answer.files)
    assert result.statuses == {"ok": 4}
    assert contents(there.folder) == contents(here.folder)
    assert {name.partition("/")[0] for name in contents(there.folder)} == {"predictions", "weights"}
    states = [sorted(path.name for path in (task.folder / "states").glob("*")) for task in (here, there)]
    assert states[0] == states[1] != []
    one, other = (part_files.read(task.folder / f"parts/{task.stack.group}.zip") for task in (here, there))
    assert one is not None
    assert other is not None
    assert (one.epochs, one.confusion, one.files) == (other.epochs, other.confusion, other.files)


def test_a_stack_that_fails_sends_its_reason(
    actor: StackActor, study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(study_of({"lr": [0.1]}), tmp_path)
    monkeypatch.setattr(StackTask, "train", lambda *_: 1 / 0)
    answer = actor.train(1, pickle.dumps(task), {})
    result = task.accept(result_of(answer), answer.files)
    assert "ZeroDivisionError" in result.failure
    part = part_files.read(tmp_path / f"parts/{task.stack.group}.zip")
    assert part is not None
    assert set(part.table("trials")["status"]) == {"failed"}


def test_a_fault_of_the_machine_is_an_answer(
    actor: StackActor, study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MachineError("the disk is full")

    task = task_of(study_of({"lr": [0.1]}), tmp_path)
    monkeypatch.setattr(brought, "write", full)
    assert str(actor.train(1, pickle.dumps(task), {}).error) == "the disk is full"


def test_a_look_brings_what_is_new_and_only_that(study_of: StudyOf, tmp_path: Path) -> None:
    task = task_of(study_of({"lr": [0.1]}), tmp_path)
    attempt = actors._Attempt(7, tmp_path, task)
    assert attempt.look().files == {}
    attempt.shared.curves[:, 0] = 0.5
    attempt.shared.trained[0] = 1.25
    path = tmp_path / checkpoints.FOLDER / f"{task.stack.group}-{task.stack.trials[0].trial_id}.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"a state")
    look = attempt.look()
    assert (look.attempt, look.trained, list(look.columns)) == (7, 1.25, [0])
    assert look.curves is not None
    assert np.all(look.curves == 0.5)
    assert look.files == {f"checkpoints/{path.name}": b"a state"}
    again = attempt.look()
    assert (list(again.columns), again.files) == ([], {})


def checkpoint_of(study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StackTask:
    """A stack of which a folder has a checkpoint after the first epoch."""
    task = task_of(study, folder, checkpoint_every="1 epochs")

    class StoppedError(BaseException):
        """The end of a training that was ended from outside."""

    save = checkpoints.ShareCheckpoint.save

    def save_and_stop(self: Any, *arguments: Any) -> None:
        save(self, *arguments)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ShareCheckpoint, "save", save_and_stop)
        task.run()
    (folder / f"parts/{task.stack.group}.zip").unlink()
    assert checkpoints.paths(folder, task.stack.group)
    return task


def test_an_actor_goes_on_from_the_drivers_checkpoint(
    actor: StackActor, study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of({"lr": [0.1, 0.3]}, study={"keep_weights": "all"}, epochs=3)
    task, whole = checkpoint_of(study, tmp_path / "a", monkeypatch), task_of(study, tmp_path / "b")
    whole.run()
    loaded: list[int] = []
    load = checkpoints.ShareCheckpoint.load

    def load_and_note(self: Any) -> Any:
        state = load(self)
        loaded.append(state.step if state else 0)
        return state

    monkeypatch.setattr(checkpoints.ShareCheckpoint, "load", load_and_note)
    answer = actor.train(1, pickle.dumps(task), task.files())
    task.accept(result_of(answer), answer.files)
    assert loaded[0] > 0
    assert contents(task.folder) == contents(whole.folder)
    assert not checkpoints.paths(task.folder), "the driver's checkpoint is removed with the stack's end"


def test_a_checkpoint_of_another_kind_of_machine_is_not_gone_on_from(
    actor: StackActor, study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of({"lr": [0.1, 0.3]}, study={"keep_weights": "all"}, epochs=3)
    task, whole = checkpoint_of(study, tmp_path / "a", monkeypatch), task_of(study, tmp_path / "b")
    whole.run()
    files, here = task.files(), Origin.here

    def other(*arguments: Any) -> Origin:
        from dataclasses import replace

        return replace(here(*arguments), kernels="another processor's")

    with monkeypatch.context() as patch:
        patch.setattr(Origin, "here", other)
        answer = actor.train(1, pickle.dumps(task), files)
    (told,) = (text for level, text in answer.told if level == logging.WARNING)
    assert told.startswith(
        f"stack {task.stack.group} trains from its start: its checkpoint is of another kind"
    )
    assert told.endswith("there, another processor's here)")
    task.accept(result_of(answer), answer.files)
    assert contents(task.folder) == contents(whole.folder)


def test_the_driver_leaves_it_to_nodes_whether_they_go_on_from_a_checkpoint(
    study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of({"lr": [0.1, 0.3]}, epochs=3)
    task, here = checkpoint_of(study, tmp_path, monkeypatch), Origin.here

    def other(*arguments: Any) -> Origin:
        from dataclasses import replace

        return replace(here(*arguments), kernels="another processor's")

    monkeypatch.setattr(Origin, "here", other)
    with pytest.raises(UsageError, match="another processor's"):
        checkpoints.prepare(tmp_path, [task.stack], "cpu", (), ())
    remarks = checkpoints.prepare(tmp_path, [task.stack], "cpu", (), (), elsewhere=True)
    assert remarks == ["1 stack goes on from a checkpoint"]


def test_only_files_of_a_results_folder_are_written(tmp_path: Path) -> None:
    for name in ("../escaped.zip", "parts/../../a.zip", "trials.csv", "parts/a.py", "/a.zip"):
        with pytest.raises(MachineError, match="none of a results folder's"):
            brought.write(tmp_path, {"parts/a.zip": b"", name: b""})
    assert not list(tmp_path.rglob("*.*"))


def test_an_actor_that_is_to_leave_saves_what_it_trains(
    actor: StackActor, study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    task = task_of(study_of({"lr": [0.1]}, epochs=100_000), tmp_path / "out")
    answers: list[Answer] = []
    training = threading.Thread(target=lambda: answers.append(actor.train(7, pickle.dumps(task), {})))
    training.start()
    try:
        while not actor.look().trained:
            assert training.is_alive(), answers
            time.sleep(0.01)
        actor.leave(60.0)
    finally:
        signals._request.came.set()  # ends it anyway
        training.join()
        signals._request.came.clear()
    look = answers[0].look
    assert look.attempt == 7
    task.keep(look.files)
    assert len(checkpoints.paths(task.folder, task.stack.group)) == 1
    assert not list(tmp_path.glob(f"{actors.PREFIX}*")), "its folder is gone"


class SlowShipment:
    """Stands for a study's components, which take a while to load."""

    begun, goes_on = threading.Event(), threading.Event()

    def open(self, folder: Path) -> str:
        """Wait, write a file, and refuse."""
        self.begun.set()
        assert self.goes_on.wait(30.0)
        (folder / "plugin.py").write_text("")
        return "refused"


def test_an_actor_that_is_asked_to_leave_while_it_joins_leaves_no_folder(
    actor: StackActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    joining = threading.Thread(target=lambda: actor.join(pickle.dumps(SlowShipment())))
    joining.start()
    assert SlowShipment.begun.wait(30.0)
    leaving = threading.Thread(target=lambda: actor.leave(30.0))
    leaving.start()
    leaving.join(0.2)
    waited = leaving.is_alive()
    SlowShipment.goes_on.set()
    joining.join()
    leaving.join()
    assert waited
    assert not list(tmp_path.iterdir())


def test_an_actor_that_was_asked_to_leave_does_not_join(
    actor: StackActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    actor.leave(0.0)
    with pytest.raises(MachineError, match="is over"):
        actor.join(pickle.dumps(SlowShipment()))
    assert not list(tmp_path.iterdir())


def test_the_folder_of_an_actor_that_was_killed_is_removed_by_the_next_one(
    actor: StackActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, new, alive = tmp_path / f"{actors.PREFIX}killed", tmp_path / f"{actors.PREFIX}new", actor._home()
    for folder in (killed, new):
        folder.mkdir()
    for folder in (killed, alive):
        os.utime(folder, (time.time() - 2 * actors.NEW,) * 2)
    actors._sweep()
    assert {path.name for path in tmp_path.iterdir()} == {new.name, alive.name}
