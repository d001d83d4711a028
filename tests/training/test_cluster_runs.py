"""Runs on a cluster: one on real actors of Ray's, and every way in which none can be had, in words."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import MachineError, UsageError
from harness.study.study import Study
from harness.system import signals
from harness.training import runs
from harness.training.cluster import actors, connection, internals, tokens

INSTALLED = importlib.util.find_spec("ray") is not None
PATIENCE = 300.0  # seconds for a run that takes ten, on a machine that is busy
MADE_BY = {"group", "group_size", "group_seconds", "host"}
STUDY = """
[study]
name = "small"
seeds = 2
keep_weights = "all"
[baseline]
dataset = "digits"
epochs = 2
hidden = [8]
[axes]
activation = ["relu", "tanh"]
"""


def command(study: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "harness", "run", str(study), "--results", str(folder), "--device", "cpu"]
    process = subprocess.Popen(
        [*line, *options], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as late:
        os.killpg(process.pid, signal.SIGKILL)  # what Ray has started, too
        said = (late.stderr or b"").decode(errors="replace")
        pytest.fail(f"{options}: not done within {PATIENCE:.0f} s; said: {said}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [
            {key: cell for key, cell in row.items() if key not in MADE_BY} for row in csv.DictReader(file)
        ]


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder with a short name: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="h-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.skipif(not INSTALLED, reason="Ray is an extra")
def test_a_run_on_rays_actors_is_that_of_one_process(
    tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "small.toml"
    study.write_text(STUDY, encoding="utf-8")
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    monkeypatch.setenv("TMPDIR", str(short))
    for folder, options in ((here, ["--workers", "1"]), (there, ["--cluster", "local:2"])):
        done = command(study, folder, *options)
        assert done.returncode == 0, done.stderr
    left = [path for name in ("ray/session_2*", f"{actors.PREFIX}*") for path in short.glob(name)]
    assert left == [], "a run leaves nothing in temporary folders"
    for name in ("trials", "epochs", "confusion"):
        assert rows(there / f"{name}.csv") == rows(here / f"{name}.csv")
    weights = [
        {path.name: path.read_bytes() for path in (folder / "weights").iterdir()} for folder in (here, there)
    ]
    assert weights[0] == weights[1]
    assert len(weights[0]) == 4


@pytest.mark.parametrize(
    "address", ["nowhere", "local:", "local:0", "host:", "host:70000", "ray://host", "http://a:1"]
)
def test_an_address_of_another_form_is_refused(
    study_of: Callable[..., Study], tmp_path: Path, address: str
) -> None:
    with pytest.raises(UsageError, match=r"--cluster .*(allowed|Allowed)"):
        runs.train(study_of(), tmp_path / "out", cluster=address)
    assert not list((tmp_path / "out").glob("*.csv"))


def test_without_ray_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"needs Ray.*No module named 'ray'.*pip install .ray\[client\]"):
        connection.imported()


@pytest.mark.skipif(not INSTALLED, reason="Ray is an extra")
def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(MachineError, match=r"127.0.0.1:9.*refused.*nothing was trained"):  # noqa: SIM117
        with connection.connected("127.0.0.1:9"):
            pass


@pytest.mark.parametrize(("system", "name"), [("win32", "Windows"), ("darwin", "macOS")])
def test_several_nodes_are_refused_where_ray_has_none(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    for address in ("auto", "10.0.0.1:6379"):
        with pytest.raises(UsageError, match=f"no clusters of several nodes on {name}.*--shard"):
            connection.check_form(address)
    for address in ("local", "local:4", "ray://10.0.0.1:10001"):
        connection.check_form(address)


class StandIn:
    """Stands for Ray's module: `init` and `shutdown` do what a test says."""

    def __init__(self, init: Callable[[], Any], shutdown: Callable[[], Any]) -> None:
        self._init, self._shut_down = init, shutdown
        self._private = SimpleNamespace()
        self.exceptions = SimpleNamespace(AuthenticationError=PermissionError)

    def is_initialized(self) -> bool:
        return False

    def init(self, *_: Any, **__: Any) -> None:
        self._init()

    def shutdown(self, *, wait_for_processes: bool = False) -> None:  # noqa: ARG002 (Ray's signature)
        self._shut_down()


def nothing() -> None:
    pass


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(init: Callable[[], Any] = nothing, shutdown: Callable[[], Any] = nothing) -> None:
        monkeypatch.setattr(connection, "imported", lambda: StandIn(init, shutdown))
        monkeypatch.setattr(tokens, "ensure", nothing)

    return install


def test_sigterm_while_ray_starts_is_the_commands_own(stand_in: Callable[..., None]) -> None:
    def starts() -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ray does
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5.0)

    stand_in(starts)
    with signals.stopping() as came:
        with pytest.raises(KeyboardInterrupt), connection.connected("local:2"):
            pass
        assert came == [signal.SIGTERM]


class HalfStarted:
    """A node as Ray builds it, which ends in the middle; `ended` counts its processes that were ended."""

    ended = 0

    def begin(self, error: BaseException) -> None:
        raise error

    def kill_all_processes(self, **_: bool) -> None:
        HalfStarted.ended += 1


@pytest.mark.parametrize(
    "error", [RuntimeError("The current node timed out during startup."), KeyboardInterrupt()]
)
def test_what_ray_had_started_is_ended_where_its_start_ends(
    stand_in: Callable[..., None], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def starts() -> None:
        tries.append(1)
        if len(tries) == 1:
            HalfStarted().begin(error)

    monkeypatch.setattr(HalfStarted, "ended", 0)
    stand_in(starts)
    late = isinstance(error, RuntimeError)
    with nullcontext() if late else pytest.raises(KeyboardInterrupt), connection.connected("local:2"):
        pass
    assert HalfStarted.ended == 1
    assert len(tries) == 1 + late, "a start that was late is tried again"


def test_a_cluster_that_does_not_start_here_is_told_as_that(stand_in: Callable[..., None]) -> None:
    tries: list[int] = []

    def starts() -> None:
        tries.append(1)
        raise RuntimeError("The current node timed out during startup.")

    stand_in(starts)
    with (
        pytest.raises(
            MachineError, match=r"local:2: Ray does not start on this machine: .*timed out"
        ) as told,
        connection.connected("local:2"),
    ):
        pass
    assert "address" not in str(told.value)
    assert len(tries) == connection.STARTS


@pytest.mark.parametrize(
    ("address", "own"),
    [("local", True), ("local:2", True), ("localhost:6379", False), ("local-1.lab:6379", False)],
)
def test_a_host_whose_name_begins_with_local_is_joined(
    address: str, own: bool, stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(StandIn, "init", lambda _, given, **__: asked.append(given))
    monkeypatch.setattr(connection, "_check_reachable", lambda _: None)
    stand_in()
    with connection.connected(address):
        assert connection.current().own is own
    assert asked == ["local" if own else address]


def test_a_cluster_that_hangs_is_left_within_seconds(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(connection, "LEFT_WITHIN", 0.05)
    stand_in(shutdown=lambda: goes_on.wait(60.0))
    with connection.connected("local:2"):
        pass
    assert not goes_on.is_set()
    assert "does not answer" in caplog.text
    goes_on.set()


@pytest.mark.skipif(not INSTALLED, reason="Ray is an extra")
def test_ray_has_what_the_connection_changes_of_it() -> None:
    ray: Any = importlib.import_module("ray")
    assert callable(ray._private.worker.listen_error_messages)
    before = ray._private.worker.listen_error_messages
    with internals.quiet(ray), internals.loopback(ray):
        assert ray._private.worker.listen_error_messages is not before
        assert ray._private.ray_constants.ENABLE_RAY_CLUSTER is False
    assert ray._private.worker.listen_error_messages is before
