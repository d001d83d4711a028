"""Processes and the limits of a machine: what is granted, workers, locks, signals, output."""

from __future__ import annotations

import concurrent.futures.process
import errno
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.heap import Heap
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import harness
from harness.cli import main as cli
from harness.cli.main import harness as command
from harness.errors import MachineError
from harness.planning import grouping, plan
from harness.planning.stack import Stack
from harness.searching.rounds import StageTask
from harness.study.study import Study
from harness.system import resources, signals
from harness.training import executors, options, progress, runs

Make = Callable[..., Study]
GB = 2**30
STUDY = """[study]
name = "small"
seeds = 2
[baseline]
dataset = "digits"
hidden = [8]
epochs = 1
"""


# ------------------------------------------------------------------------ what a container or a job grants


def tree(root: Path, files: Mapping[str, object]) -> Path:
    """Write a root folder's proc/ and sys/, file by file; a number is written as a line."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


MACHINE = {"proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB"}
V2 = "sys/fs/cgroup"
SELF: dict[str, object] = {"proc/self/cgroup": "0::/"}
LIMITS: dict[str, tuple[dict[str, object], int, int | None, int]] = {
    # name: files, cores of 8, limit of memory, memory left
    "no groups": ({}, 8, None, 32 * GB),
    "v2, container": (
        {"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "200000 100000", f"{V2}/memory.max": 8 * GB,
         f"{V2}/memory.current": 5 * GB, f"{V2}/memory.stat": f"anon 1\ninactive_file {2 * GB}"},
        2, 8 * GB, 5 * GB,
    ),
    "v2, the group above has less": (
        {"proc/self/cgroup": "0::/job/step", f"{V2}/job/step/cpu.max": "max 100000",
         f"{V2}/job/step/memory.max": "max", f"{V2}/job/cpu.max": "150000 50000",
         f"{V2}/job/memory.max": 4 * GB, f"{V2}/job/memory.current": GB},
        3, 4 * GB, 3 * GB,
    ),
    "v2, a share of a core": (SELF | {f"{V2}/cpu.max": "50000 100000"}, 1, None, 32 * GB),
    "v2, two and a half cores": (SELF | {f"{V2}/cpu.max": "250000 100000"}, 3, None, 32 * GB),
    "v2, the host's path": (
        {"proc/self/cgroup": "0::/../../kubepods/pod1", f"{V2}/cpu.max": "100000 100000"}, 1, None, 32 * GB
    ),
    "v1": (
        {"proc/self/cgroup": "4:memory:/slurm/job_1\n3:cpu,cpuacct:/slurm/job_1",
         f"{V2}/cpu,cpuacct/slurm/job_1/cpu.cfs_quota_us": 400000,
         f"{V2}/cpu,cpuacct/slurm/job_1/cpu.cfs_period_us": 100000,
         f"{V2}/memory/slurm/job_1/memory.limit_in_bytes": 6 * GB,
         f"{V2}/memory/slurm/job_1/memory.usage_in_bytes": 4 * GB,
         f"{V2}/memory/slurm/job_1/memory.stat": f"inactive_file {GB}\ntotal_inactive_file {GB}"},
        4, 6 * GB, 3 * GB,
    ),
    "v1, the host's path, no limit of memory": (
        {"proc/self/cgroup": "4:memory:/docker/ab12\n3:cpu:/docker/ab12",
         f"{V2}/cpu/cpu.cfs_quota_us": 100000,
         f"{V2}/cpu/cpu.cfs_period_us": 100000, f"{V2}/memory/memory.limit_in_bytes": 2**63 - 4096,
         f"{V2}/memory/memory.usage_in_bytes": GB},
        1, None, 32 * GB,
    ),
    "v1, no quota": (
        {"proc/self/cgroup": "3:cpu:/", f"{V2}/cpu/cpu.cfs_quota_us": -1,
         f"{V2}/cpu/cpu.cfs_period_us": 100000},
        8, None, 32 * GB,
    ),
    "full": (
        {"proc/self/cgroup": "0::/", f"{V2}/memory.max": GB, f"{V2}/memory.current": 2 * GB}, 8, GB, 0
    ),
    "nonsense": (
        {"proc/self/cgroup": "nonsense", f"{V2}/cpu.max": "many", f"{V2}/memory.max": "9" * 5000},
        8, None, 32 * GB,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_cores_and_memory_are_those_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files, cores, limit, left = LIMITS[name]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    root = tree(tmp_path, MACHINE | files)
    assert resources.cores(root) == cores
    assert resources.memory_limit(root) == limit
    assert resources.memory_left(root) == left


def test_plan_and_run_take_as_many_workers_as_are_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    files = {"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "300000 100000", f"{V2}/memory.max": 4 * GB}
    monkeypatch.setattr(resources, "ROOT", tree(tmp_path / "root", MACHINE | files))
    (tmp_path / "small.toml").write_text(STUDY)
    done = CliRunner().invoke(
        command, ["plan", str(tmp_path / "small.toml"), "--results", str(tmp_path / "r")]
    )
    assert "on 3 cores" in done.output
    assert options.affordable(64, []) == 4  # of 0.9 GB each
    resources.memory.cache_clear()
    assert resources.memory() <= 4 * GB
    resources.memory.cache_clear()


# ------------------------------------------------------------------- workers that cannot be had, or are ended


def no_process(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def no_semaphore(*_: object, **__: object) -> None:
    raise NotImplementedError("This Python build lacks multiprocessing.synchronize")


@pytest.mark.parametrize(
    ("place", "fault", "words"),
    [
        ("multiprocessing.process.BaseProcess.start", no_process, "Too many open files.*ulimit -n"),
        ("concurrent.futures.ProcessPoolExecutor.__init__", no_semaphore, "lacks.*mount /dev/shm"),
        ("multiprocessing.heap.Arena.__init__", no_process, "Too many open files.*enlarge /dev/shm"),
    ],
)
def test_this_process_trains_if_no_worker_starts(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, place: str, fault: Any,
    words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("multiprocessing.heap.BufferWrapper._heap", Heap())  # without room left
    monkeypatch.setattr(grouping, "GATHERED", 0)
    monkeypatch.setattr(place, fault)
    summary = runs.train(study_of(epochs=1), tmp_path, device="cpu", workers=2)
    assert re.search(f"note: trains in this process, on one core: .*{words}", capsys.readouterr().err)
    assert summary.statuses == {"ok": 2}
    assert not multiprocessing.active_children()


def test_this_process_searches_if_no_worker_starts(
    study_of: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(epochs=1, study={"seeds": 1})
    (stack,) = plan.make(study).stacks
    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", no_process)
    with closing(executors.Workers(2, [])) as workers:
        results = list(workers.run([StageTask(stack, "cpu", study)]))
    words = r"note: trains in this process, on one core: .*Too many open files"
    assert re.search(words, capsys.readouterr().err)
    assert [result.failure for result in results] == [""]


def test_a_pool_that_is_stopped_leaves_no_process_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's own thread waits for the workers too, and may hear first that they ended, and say so late."""
    thread = concurrent.futures.process._ExecutorManagerThread
    slow = thread.join_executor_internals

    def late(self: Any) -> None:
        time.sleep(0.3)
        slow(self)

    monkeypatch.setattr(thread, "join_executor_internals", late)
    before = set(threading.enumerate())
    pool = executors.pool(1, None, [])
    executors.submit(pool, int)
    executors.stop(pool)
    assert set(threading.enumerate()) == before
    assert not multiprocessing.active_children()


# ------------------------------------------------------------------------------ folders and disks that go


@contextmanager
def after_a_stack(act: Callable[[], object], progress: progress.Progress) -> Iterator[None]:
    """Do something once the first stack of a run is done."""
    note = progress.note

    def noted(stack: Stack, failure: str = "", engine_notes: Sequence[str] = ()) -> None:
        note(stack, failure, engine_notes)
        if not acted:
            acted.append(act())

    acted: list[object] = []
    progress.note = noted  # type: ignore[method-assign]
    yield


@pytest.mark.usefixtures("a_stack_a_seed")
def test_a_folder_renamed_during_a_run_is_reported_and_loses_nothing(study_of: Make, tmp_path: Path) -> None:
    study, folder, moved = study_of(epochs=1), tmp_path / "results", tmp_path / "moved"
    display = partial(after_a_stack, lambda: folder.rename(moved))
    with pytest.raises(MachineError, match=r"results is gone: it was deleted or renamed"):
        runs.train(study, folder, device="cpu", workers=1, display=display)
    assert not folder.exists()  # it was not begun anew with what came later
    moved.rename(folder)  # as the message says
    assert runs.train(study, folder, device="cpu", workers=1).trained == 1


@pytest.mark.usefixtures("a_stack_a_seed")
def test_an_error_in_the_clean_up_does_not_hide_the_first_one(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unwritable() -> None:
        monkeypatch.setattr(Path, "unlink", no_disk)
        monkeypatch.setattr(Path, "replace", no_disk)

    study, display = study_of(epochs=1), partial(after_a_stack, unwritable)
    with pytest.raises(MachineError, match=r"predictions/g\w+\.npz cannot be written: Input/output error"):
        runs.train(study, tmp_path, device="cpu", workers=1, display=display)
    assert "is not put in order" in capsys.readouterr().err
    monkeypatch.undo()
    assert runs.train(study, tmp_path, device="cpu", workers=1).statuses == {"ok": 2}


def no_disk(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


# ----------------------------------------------------------------------------------- signals and the screen


@pytest.fixture
def run_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `harness ARGUMENTS` in this process and a folder of its own that has small.toml; its exit code."""
    (tmp_path / "small.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)

    def main(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code

    return main


RUN = ("run", "small.toml", "--device", "cpu", "--workers", "1")


@pytest.mark.usefixtures("a_stack_a_seed")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_run_as_ctrl_c_does(
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    again = partial(after_a_stack, partial(os.kill, os.getpid(), number))
    monkeypatch.setattr("harness.training.displays.show_progress", again)
    try:
        assert run_main(*RUN) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        last == "interrupted: what is finished is kept in results/small. The same command goes on from there."
    )
    assert len(harness_results("results/small", "ok")) == 1


def harness_results(folder: str, status: str) -> Any:
    rows = harness.read(folder).trials
    return rows[rows["status"] == status]


def test_a_signal_that_is_ignored_stays_ignored(run_main: Callable[..., Any]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals.stopping() as came:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not came
        assert run_main("list", "head") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux alone has a full device")
@pytest.mark.parametrize("arguments", [RUN, ("list",), ("plan", "small.toml")])
def test_output_into_a_full_device_is_reported_and_results_stay(
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
) -> None:
    monkeypatch.setattr("harness.training.displays.show_progress", nullcontext)
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        monkeypatch.setattr("sys.stdout", full)
        assert run_main(*arguments) == 1
    assert "error: the output cannot be written: No space left on device" in capsys.readouterr().err
    if arguments is RUN:
        assert len(harness_results("results/small", "ok")) == 2


def test_a_closed_pipe_is_not_an_error(
    run_main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    gone = os.fdopen(write, "w")
    monkeypatch.setattr("sys.stdout", gone)
    assert run_main("list") == 1
    monkeypatch.undo()
    assert capsys.readouterr().err == ""
    with suppress(BrokenPipeError):
        gone.close()


# ------------------------------------------------------------------- two studies of one name, one folder


def kept_weights(folder: Path) -> set[str]:
    """The trials whose weights are there."""
    return {path.stem for path in (folder / "weights").iterdir()}


def test_a_study_that_shares_no_trial_with_its_folder_is_refused(
    run_main: Callable[..., Any], capsys: Any
) -> None:
    folder = Path("results/small")
    assert run_main(*RUN) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    Path("small.toml").write_text(
        STUDY.replace("[8]", "[4]") + 'lr = 0.3\n[axes]\nactivation = ["relu", "tanh"]\n'
    )
    capsys.readouterr()
    for arguments in (RUN, ("plan", "small.toml"), (*RUN, "--retrain")):
        assert run_main(*arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith(
            "error: results/small holds 2 finished trials of another study called 'small', "
            "none of this one's: axes.activation is not given there, ['relu', 'tanh'] here; "
            "baseline.hidden is [8] there, [4] here; baseline.lr is not given there, 0.3 here. "
        )
    assert {path: path.read_bytes() for path in before} == before
    assert run_main(*RUN, "--results", "results/other") == 0  # as the message says
    text = Path("small.toml").read_text()
    Path("small.toml").write_text(text.replace('"small"', '"another"'))
    assert run_main(*RUN) == 0
    assert len(harness_results("results/another", "ok")) == 4


def test_trials_that_leave_a_study_keep_their_weights_and_are_counted(
    run_main: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, note = Path("results/small"), "2 finished trials of an earlier run are not in this study any more"
    before: set[str] = set()
    axes = (("0.1, 0.2", False), ("0.1, 0.2, 0.3", False), ("0.1, 0.05", True), ("0.1, 0.05", False))
    for axis, said in axes:
        Path("small.toml").write_text(STUDY.replace("= 2", "= 1") + f"[axes]\nlr = [{axis}]\n")
        assert run_main(*RUN) == 0
        assert (note in capsys.readouterr().err) is said
        assert before <= kept_weights(folder) or not said
        before = kept_weights(folder)
    # That of lr = 0.3 was the best, and is not in the study any more.
    (best,) = before - set(harness_results("results/small", "ok")["trial_id"])
    Path("small.toml").write_text(STUDY.replace("= 2", "= 1") + "[axes]\nlr = [0.1, 0.2, 0.3]\n")
    assert run_main(*RUN) == 0
    assert "0 trials trained" in capsys.readouterr().out
    assert best in set(harness_results("results/small", "ok")["trial_id"])
    assert run_main(*RUN, "--set", "epochs=2") == 0  # the same study at another setting, none of it shared
    assert "3 finished trials of an earlier run" in capsys.readouterr().err
    assert best in kept_weights(folder)


def test_a_study_with_a_changed_component_continues_in_its_folder(run_main: Callable[..., Any]) -> None:
    Path("small.toml").write_text(
        STUDY.replace("seeds = 2", 'seeds = 1\nplugins = ["mine.py"]') + 'activation = "mine"\n'
    )
    for body, trained in (("x.relu()", 1), ("x.tanh()", 1)):
        Path("mine.py").write_text(
            "from harness.axes.activations import activations\n\n\n"
            f'@activations.register("mine")\ndef mine(x):\n    """Mine."""\n    return {body}\n'
        )
        assert run_main(*RUN) == 0
        assert len(list(Path("results/small/parts").glob("*.zip"))) >= trained


# --------------------------------------------------------------------------------------- places to write to


@pytest.mark.parametrize(
    "arguments",
    [("show", "results", "--out"), ("export", "best", "--results", "results", "--out"),
     ("compare", "results", "results", "--out"), ("data", "show", "digits", "--out"),
     ("data", "export", "digits", "png"), ("report", "results", "--out")],
    ids=lambda arguments: "-".join(arguments[:2]),
)  # fmt: skip
def test_an_unwritable_place_is_reported_before_any_work(
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("there was work before the place was looked at")

    for work in (
        "harness.results.read",
        "harness.reporting.write",
        "harness.gallery.dataset_pages.draw",
        "harness.exporting.image_files.export",
    ):
        monkeypatch.setattr(work, worked)
    monkeypatch.setattr("harness.comparison.compare", worked)
    Path("results").mkdir()
    Path("results/trials.csv").touch()
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    cases = {"file/below/it": "file is not a folder", "dangling/x/y": "dangling is not a folder"}
    if arguments[0] == "report":
        cases |= {
            "/dev/null": "it is not an ordinary file; name a file",
            "results": "it is a folder; name a file",
        }
    else:
        cases |= {
            "/dev/null": "not a folder|is a file",
            "file": "is (a file|not a folder)",
            "n" * 300 + "/x": "too long",
        }
    for place, words in cases.items():
        assert run_main(*arguments, place) == 2
        assert re.search(words, capsys.readouterr().err), place
    monkeypatch.setattr("os.access", lambda _, mode: not mode & os.W_OK)
    assert run_main(*arguments, "new") == 2
    assert "you cannot write into" in capsys.readouterr().err


# ------------------------------------------------------------------------ files between processes and hosts


@pytest.mark.parametrize("number", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_refused(
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: str,
) -> None:
    def flock(*_: object) -> None:
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr("fcntl.flock", flock)
    assert run_main(*RUN) == 1
    assert re.search(
        r"error: \S*results/small is on a file system without locks \(flock\): .* Choose a local folder with "
        "--results, or mount it with locks",
        capsys.readouterr().err,
    )
    assert not Path("results/small/plan.json").exists()
    assert run_main("data", "export", "digits", "npy", "exported") == 1
    assert "Choose a local folder, or" in capsys.readouterr().err


def test_temporary_files_of_live_writers_stay(
    run_main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer may be on another machine, which neither its process's number nor the clock tells about."""
    drafts: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        drafts.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    assert run_main(*RUN) == 0
    machine, process, token = drafts[0].removeprefix(".tmp-").split("-")
    assert process == str(os.getpid())
    dead = 2**22 + 1  # no system numbers its processes so high
    folder = Path("results/small/weights")
    files = {
        f".tmp-{machine}-{process}-{token}x": True,  # this process's
        f".tmp-{machine}-{dead}-{token}": False,
        f".tmp-00000000-{dead}-{token}": True,  # another machine's
        f".tmp-00000000-{dead}-old": False,
        ".tmp-3f786850e387550f": False,  # an older version's
    }
    for name in files:
        (folder / name).write_text("half")
    two_days = time.time() - 2 * 86_400
    os.utime(folder / f".tmp-00000000-{dead}-old", (two_days, two_days))
    assert run_main(*RUN) == 0
    assert {name: (folder / name).exists() for name in files} == files


@pytest.mark.usefixtures("a_stack_a_seed")
def test_a_part_whose_name_shows_late_is_not_missing(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing of a shared folder may be seconds old; a file in it that is asked for by name is there."""
    glob = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: [] if self.name == "parts" else glob(self, pattern)
    )
    summary = runs.train(study_of(epochs=1), tmp_path / "small", device="cpu", workers=1)
    assert summary.statuses == {"ok": 2}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "there is not memory enough for this"),
        (OSError(5, "Input/output error"), "the machine could not do it: [Errno 5] Input/output error"),
        (RuntimeError("nobody foresaw it"), "RuntimeError: nobody foresaw it. This is a fault of the"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_unforeseen_error_is_reported_in_a_sentence(
    error: Exception,
    words: str,
    run_main: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.delenv("HARNESS_TRACEBACK", raising=False)
    monkeypatch.setattr("harness.axes.plugins.load_installed", failing)
    assert run_main("list") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {words}")
    assert "Traceback" not in told
