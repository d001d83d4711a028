"""Runs: resumed, interrupted, killed, grown, shrunk, two at once; by the real command where it matters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from harness import results
from harness.errors import MachineError, UsageError
from harness.registry import PACKAGE_ROOT
from harness.study.reading import load
from harness.study.study import Study
from harness.system import files, resources
from harness.training import options, runs

Stop = Callable[[], None]
TABLES = ("trials", "epochs", "confusion")
PROC = Path("/proc")
needs_proc = pytest.mark.skipif(not (PROC / "self/stat").exists(), reason="reads processes from /proc")
LONG: dict[str, Any] = {
    "study": {"name": "long", "seeds": 3, "resample_split": True},  # which keeps seeds apart
    "baseline": {"dataset": "digits", "epochs": 6, "hidden": [16], "loss": "mse"},
    "axes": {"activation": ["relu", "tanh"], "optimizer": ["sgd", "adam"], "batch_size": [16, 32]},
}
"""A study of 6 stacks, each of which trains for a good part of a second."""


def comparable(folder: Path, drop: Sequence[str] = ("group_seconds",)) -> dict[str, str]:
    """The three CSVs as text, apart from timing."""
    frames = {name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in TABLES}
    frames["trials"] = frames["trials"].drop(columns=list(drop))
    return {name: frame.to_csv(index=False) for name, frame in frames.items()}


def csv_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


def statuses(folder: Path) -> dict[str, int]:
    return results.count_statuses(results.read(folder).trials)


def write_study(path: Path, tables: Mapping[str, Any]) -> Path:
    path.write_bytes(tomli_w.dumps(tables).encode())
    return path


HEARS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("harness", run_name="__main__", alter_sys=True)
"""
"""The command's program: tests that run in the background inherit that Ctrl-C is ignored, which it must not.

Between fork and exec (preexec_fn) no Python may run: the tests' process has threads, and may wait for ever.
"""


def command(study: Path, folder: Path, *, hears_ctrl_c: bool = False) -> list[str]:
    program = ["-c", HEARS_CTRL_C] if hears_ctrl_c else ["-m", "harness"]
    return [
        sys.executable, *program, "run", str(study), "--results", str(folder),
        "--workers", "2", "--device", "cpu",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}


def processes_of(session: int) -> dict[int, str]:
    """Living processes of a session, and their command lines."""
    found = {}
    for path in PROC.glob("[0-9]*"):
        try:
            state, _, _, sid = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile
            continue
        if int(sid) == session and state not in "ZX":
            found[int(path.name)] = line
    return found


def workers_of(session: int) -> list[int]:
    """Living workers of a command: forked ones have its command line."""
    living = processes_of(session)
    return [
        pid
        for pid, line in living.items()
        if pid != session and ("spawn_main" in line or line == living.get(session))
    ]


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain until {what}"
        time.sleep(0.02)


def parts(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "parts").glob("*.zip"))


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "long.toml", LONG)


@pytest.fixture(scope="module")
def uninterrupted(long_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    runs.train(load(long_study), folder, device="cpu", workers=1)
    return folder


@pytest.fixture
def running(long_study: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The real command in a session of its own, caught when its first part has appeared."""
    folder = tmp_path / "results"
    process = subprocess.Popen(
        command(long_study, folder, hears_ctrl_c=True), env=environment(), cwd=tmp_path, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until("a part appears", lambda: parts(folder) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process, folder
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


# -------------------------------------------------------------------------------------------- kill and resume


@needs_proc
def test_kill_9_leaves_no_worker_and_the_next_run_finishes_the_same_folder(
    running: tuple[subprocess.Popen[str], Path], long_study: Path, uninterrupted: Path
) -> None:
    process, folder = running
    assert len(workers_of(process.pid)) == 2
    process.kill()
    process.wait()
    wait_until("the workers notice", lambda: not processes_of(process.pid), 20)
    before = {path: path.read_bytes() for path in (folder / "parts").glob("*.zip")}
    assert 0 < len(before) < len(parts(uninterrupted))
    killed = results.read(folder).trials
    assert list(killed["trial_id"]) == list(results.read(uninterrupted).trials["trial_id"])
    assert set(killed["status"].fillna("")) == {"ok", ""}

    again = subprocess.run(
        command(long_study, folder), env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert comparable(folder) == comparable(uninterrupted)
    assert parts(folder) == parts(uninterrupted)
    assert {path: path.read_bytes() for path in before} == before


@needs_proc
def test_a_killed_worker_costs_nothing_but_its_stack_in_flight(
    running: tuple[subprocess.Popen[str], Path], uninterrupted: Path
) -> None:
    process, folder = running
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    # What was in flight, two stacks at most, is tried again, whole: no number changes.
    assert comparable(folder) == comparable(uninterrupted)
    assert parts(folder) == parts(uninterrupted)


@needs_proc
def test_ctrl_c_keeps_finished_trials_and_says_how_to_continue(
    running: tuple[subprocess.Popen[str], Path], long_study: Path, uninterrupted: Path
) -> None:
    process, folder = running
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and its workers
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert str(folder) in stderr.strip().splitlines()[-1]
    assert "goes on" in stderr.strip().splitlines()[-1]
    wait_until("the workers end", lambda: not processes_of(process.pid), 20)
    kept = pd.read_csv(folder / "trials.csv")
    assert len(kept) == len(pd.read_csv(uninterrupted / "trials.csv"))
    assert (kept["status"] == "ok").sum() == 4 * len(parts(folder))
    assert set(kept.loc[kept["status"].isna(), "reason"]) == {"not trained yet"}

    runs.train(load(long_study), folder, device="cpu", workers=1)
    assert comparable(folder) == comparable(uninterrupted)


@needs_proc
def test_ctrl_c_while_workers_start_shows_no_traceback(long_study: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(long_study, tmp_path / "results", hears_ctrl_c=True), env=environment(), text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until("workers start", lambda: workers_of(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    # A KeyboardInterrupt that was raised within exec of a text (a dataclass in the making), and caught, still
    # ends CPython by the signal; to a shell, both are 130.
    assert process.returncode in {130, -signal.SIGINT}, stderr
    assert "Traceback" not in stderr
    assert "goes on" in stderr


@needs_proc
def test_a_second_run_into_the_folder_stops_at_once_and_harms_nothing(
    running: tuple[subprocess.Popen[str], Path], long_study: Path, uninterrupted: Path
) -> None:
    first, folder = running
    os.killpg(first.pid, signal.SIGSTOP)  # so that it is not over before the second has begun
    second = subprocess.run(
        command(long_study, folder), env=environment(), capture_output=True, text=True, check=False
    )
    os.killpg(first.pid, signal.SIGCONT)
    assert second.returncode == 2
    assert second.stderr.startswith(f"error: another run is writing into {folder}")
    assert "Traceback" not in second.stderr
    _, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    assert comparable(folder) == comparable(uninterrupted)


class Killed(BaseException):
    """Stands for the end of the process."""


def write_and_die(monkeypatch: pytest.MonkeyPatch, after: int) -> list[Path]:
    """Let `after` files be written; the next leaves a broken temporary file, and nothing is written since."""
    written: list[Path] = []
    whole = files.write

    def write(path: Path, content: bytes) -> None:
        if len(written) == after:
            if path.parent.is_dir() and not list(path.parent.glob(".tmp-*")):
                (path.parent / ".tmp-broken").write_bytes(content[: len(content) // 2])
            raise Killed
        whole(path, content)
        written.append(path)

    monkeypatch.setattr(files, "write", write)
    return written


def test_the_next_run_recovers_from_death_at_any_write(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of({"activation": ["relu", "tanh"]}, epochs=1)
    runs.train(study, tmp_path / "whole", device="cpu", workers=1)
    expected = comparable(tmp_path / "whole")
    for after in range(100):
        folder = tmp_path / f"killed-{after}"
        with monkeypatch.context() as patch:
            written = write_and_die(patch, after)
            try:
                runs.train(study, folder, device="cpu", workers=1)
                break  # nothing is left to be killed in
            except Killed:
                assert len(written) == after
        if (folder / "trials.csv").exists():
            assert len(results.read(folder).trials) == 4
        runs.train(study, folder, device="cpu", workers=1)
        assert comparable(folder) == expected, f"killed after {written}"
        assert not list(folder.rglob(".tmp-*"))
    assert after > 10


def test_a_finished_folder_that_grows_can_be_read_at_any_moment(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results"
    runs.train(study_of(epochs=1), folder, device="cpu", workers=1)
    shutil.copytree(folder, tmp_path / "finished")
    for after in range(100):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "finished", folder)
        with monkeypatch.context() as patch:
            write_and_die(patch, after)
            try:
                runs.train(study_of(epochs=1, study={"seeds": 3}), folder, device="cpu", workers=1)
                break
            except Killed:
                read = results.read(folder).trials
                assert (read["status"] == "ok").sum() >= 2, f"after {after} writes"
    assert after > 5


# ------------------------------------------------------------------------------------------- running it again


def test_running_again_trains_nothing_and_changes_no_byte(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    study = study_of({"lr": [0.1, 0.2]}, loss="ql", head="softmax")
    assert runs.train(study, tmp_path, device="cpu", workers=1).trained == 4
    before = csv_bytes(tmp_path)
    kept = {path.name for path in tmp_path.rglob("*")}
    summary = runs.train(study, tmp_path, device="cpu", workers=1)
    assert summary.trained == 0
    assert summary.statuses == {"ok": 4}
    assert csv_bytes(tmp_path) == before
    assert {path.name for path in tmp_path.rglob("*")} == kept


GROWTH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"seeds": 2}, {"lr": [0.1, 0.2]}),
    ({"seeds": 3}, {"lr": [0.1, 0.2]}),
    ({"seeds": 3}, {"lr": [0.1, 0.2, 0.3]}),
    ({"seeds": [2, 0]}, {"lr": [0.3, 0.1]}),
    ({"seeds": 1}, {"lr": [0.4, 0.1]}),
    ({"seeds": 3}, {"lr": [0.1, 0.2, 0.3, 0.4]}),
]


def test_a_changed_study_trains_only_its_new_trials(study_of: Callable[..., Study], tmp_path: Path) -> None:
    known: dict[str, tuple[str, ...]] = {}
    for head, axes in GROWTH:
        study = study_of(axes, study=head, epochs=1)
        summary = runs.train(study, tmp_path, device="cpu", workers=1)
        trials = pd.read_csv(tmp_path / "trials.csv", dtype=str, keep_default_na=False)
        rows = {row["trial_id"]: tuple(row) for _, row in trials.iterrows()}
        assert summary.trained == len(rows.keys() - known.keys()), axes
        seeds = head["seeds"] if isinstance(head["seeds"], list) else range(head["seeds"])
        assert len(rows) == len(trials) == len(seeds) * len(axes["lr"])
        for trial_id in rows.keys() & known.keys():
            assert rows[trial_id] == known[trial_id]
        for name in ("epochs", "confusion"):
            assert set(pd.read_csv(tmp_path / f"{name}.csv")["trial_id"]) == set(rows)
        known |= rows


def test_a_study_that_changed_before_it_was_finished_trains_the_rest_of_its_stacks(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        write_and_die(patch, 6)
        with pytest.raises(Killed):
            runs.train(study_of({"lr": [0.1, 0.2]}), tmp_path, device="cpu", workers=1)
    summary = runs.train(study_of({"lr": [0.2, 0.3]}), tmp_path, device="cpu", workers=1)
    assert summary.statuses == {"ok": 4}


@pytest.mark.usefixtures("a_stack_a_seed")
def test_a_resumed_run_keeps_its_stacks_whatever_the_workers_and_the_engine(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    study = study_of({"lr": [0.1, 0.2]}, epochs=1)
    runs.train(study, tmp_path, device="cpu", workers=1)
    before = comparable(tmp_path)
    for path in sorted((tmp_path / "parts").glob("*.zip"))[1:]:
        path.unlink()
    summary = runs.train(study, tmp_path, device="cpu", workers=4, engine="loop")
    assert summary.trained == 2
    assert comparable(tmp_path) == before


# --------------------------------------------------------------------------------------------------- failures

TOUCHY = """
from pathlib import Path
import torch
from harness.axes.losses import losses

@losses.register("touchy", takes="logits")
def touchy(z, target):
    '''Cross-entropy that fails in training while there is a file called broken.'''
    if z.shape[-1] == 10 and Path(__file__).with_name("broken").exists():
        raise ValueError("it is\\nbroken")
    return torch.logsumexp(z, -1) - (target * z).sum(-1)
"""


@pytest.mark.usefixtures("registries")
def test_a_component_that_raises_fails_its_stack_alone_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "touchy.py").write_text(TOUCHY)
    (tmp_path / "broken").touch()
    tables: dict[str, Any] = {
        "study": {"name": "touchy", "seeds": 2, "plugins": ["touchy.py"]},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
        "axes": {"batch_size": [32, 64]},
    }
    # All losses would share a stack, and its fate: those of ce are trained before.
    folder = tmp_path / "results"
    runs.train(load(write_study(tmp_path / "ce.toml", tables)), folder, device="cpu", workers=1)
    tables["axes"]["loss"] = ["ce", "touchy"]
    study = load(write_study(tmp_path / "both.toml", tables))
    summary = runs.train(study, folder, device="cpu", workers=1)
    assert summary.statuses == {"ok": 4, "failed": 4}
    assert summary.trained == 0
    assert "ValueError: it is broken" in summary.failures[0]
    trials = results.read(folder).trials
    failed = trials[trials["status"] == "failed"]
    assert set(failed["reason"]) == {"ValueError: it is broken, in loss 'touchy' (touchy.py:6)"}
    assert set(failed["loss"]) == {"touchy"}
    assert failed[["test_accuracy", "train_loss", "steps_done"]].isna().all().all()

    assert runs.train(study, folder, device="cpu", workers=1).statuses == {"ok": 4, "failed": 4}
    (tmp_path / "broken").unlink()
    summary = runs.train(study, folder, device="cpu", workers=1)
    assert (summary.trained, summary.statuses) == (4, {"ok": 8})
    assert set(results.read(folder).trials["reason"]) == {""}


def test_a_study_whose_every_trial_diverges_is_done(study_of: Callable[..., Study], tmp_path: Path) -> None:
    study = study_of(
        {"head": ["identity", "softmax"]}, lr=1e30, loss="mse", preprocessing="raw", hidden=[8, 8]
    )
    summary = runs.train(study, tmp_path, device="cpu", workers=1)
    trials = results.read(tmp_path).trials
    assert summary.statuses.get("diverged"), trials["train_loss"]
    assert "failed" not in summary.statuses
    diverged = trials[trials["status"] == "diverged"]
    assert (diverged["diverged_step"] >= 1).all()
    assert (diverged["steps_done"] == diverged["diverged_step"]).all()
    assert diverged[["train_loss", "val_accuracy", "test_accuracy"]].isna().all().all()
    epochs = results.read(tmp_path).epochs
    for trial_id, step in zip(diverged["trial_id"], diverged["diverged_step"], strict=True):
        assert (epochs.loc[epochs["trial_id"] == trial_id, "step"] < step).all()


def test_a_full_disk_in_the_middle_is_reported_and_recovered_from(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(epochs=1, study={"seeds": 3})
    runs.train(study_of(epochs=1, study={"seeds": 1}), tmp_path, device="cpu", workers=1)
    before = csv_bytes(tmp_path)
    part = next((tmp_path / "parts").glob("*.zip"))
    content = part.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            MachineError, match=r"No space left on device.*free some space.*same command again"
        ):
            runs.train(study, tmp_path, device="cpu", workers=1)
    assert csv_bytes(tmp_path) == before
    assert part.read_bytes() == content
    assert not list(tmp_path.rglob(".tmp-*"))
    assert runs.train(study, tmp_path, device="cpu", workers=1).trained == 2


# ------------------------------------------------------------------------------------------------ small print


def test_a_run_gives_frames(study_of: Callable[..., Study], tmp_path: Path) -> None:
    import harness

    run = harness.run(study_of(epochs=1), tmp_path / "results", device="cpu", workers=1)
    assert list(run.trials["status"]) == ["ok", "ok"]
    assert run.study["study"]["name"] == "small"
    assert run.folder == tmp_path / "results"


def test_an_impossible_split_is_refused_before_training(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    study = study_of({"val_fraction": [0.1, 0.0001]}, epochs=1)
    with pytest.raises(UsageError, match=r"val_fraction = 0\.0001 of 1437 images"):
        runs.train(study, tmp_path / "results", device="cpu", workers=1)
    assert not (tmp_path / "results").exists()


def test_a_missing_device_is_a_machine_error(study_of: Callable[..., Study], tmp_path: Path) -> None:
    import torch

    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(MachineError, match=f"device {missing!r}: PyTorch .* finds none here"):
        runs.train(study_of(), tmp_path / "results", device=missing)
    assert not list(tmp_path.rglob("trials.csv"))


def test_workers_are_as_many_as_memory_affords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "proc/meminfo"
    memory.parent.mkdir()
    monkeypatch.setattr(resources, "ROOT", tmp_path)
    for kilobytes, workers in ((100, 1), (2_000_000, 2), (64_000_000, 8)):
        # Free memory is little where the system has used it for files; what counts is what it can give.
        memory.write_text(f"MemTotal: 64000000 kB\nMemFree: 100 kB\nMemAvailable: {kilobytes} kB\n")
        assert options.affordable(8, []) == workers
    memory.unlink()
    assert options.affordable(8, []) == 8


def test_torch_is_not_asked_for_a_gpu_where_no_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(options, "GPU_FILES", ("no such*",))
    assert options.RunOptions(device="auto").devices() == ["cpu"]
    assert options.RunOptions(device="cuda").devices() == ["cuda:0", "cuda:1"]
    monkeypatch.setattr(options, "GPU_FILES", ("nul*",))  # as if /dev/null were a GPU's
    assert options.RunOptions(device="auto").devices() == ["cuda:0", "cuda:1"]
