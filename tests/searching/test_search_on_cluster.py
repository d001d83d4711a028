"""Searches on a cluster come to what they come to on one machine: in simulated time, with faults of nodes."""

from __future__ import annotations

import importlib.util
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from search_processes import start, stop_after
from simulated_cluster import ActorDiedError, Clock, Fate, SimulatedConnection, SimulatedJoining, SimulatedRay
from simulated_workers import observed
from test_scheduling import SYNCHRONOUS, read, study

from harness import results
from harness.planning.plan import make
from harness.planning.stack import budget_of
from harness.searching import joining as stack_joining
from harness.searching import loop, rounds, scheduling
from harness.searching.ask_tell import AskTell
from harness.searching.rounds import StageTask
from harness.searching.scheduling import StageSchedule
from harness.searching.search_result import SearchResult
from harness.study.reading import parse
from harness.study.study import Study
from harness.training.cluster import connection, executor, joining
from harness.training.options import RunOptions
from harness.training.tasks import Task

ADDRESS = "simulated:1"
STUDY = """
study = { name = "s", design = "search", seeds = 2 }
baseline = { dataset = "digits", hidden = [8], epochs = 3, batch_size = 64 }
search = { suggestions = 12, batch = 4, pruner = "hyperband", finalists = 2 }
space = { lr = { low = 1e-3, high = 1.0, log = true }, activation = ["relu", "tanh"] }
"""
MADE_BY = ["host", "group", "group_size", "group_seconds", "device"]


class _NoEngine:
    def select(self, state: Any, *_: Any) -> Any:
        return state

    def join(self, states: Any, *_: Any) -> Any:
        return states[0]


def connect(monkeypatch: pytest.MonkeyPatch, nodes: str, fate: Fate, cores: int = 1) -> SimulatedRay:
    """Be connected to a simulated cluster of nodes, each named by a letter."""
    ray = SimulatedRay(Clock(), nodes, fate, cores)
    monkeypatch.setattr(executor, "time", ray.clock)
    monkeypatch.setattr(joining, "Joining", lambda *_: SimulatedJoining())
    monkeypatch.setattr(connection, "_connections", [SimulatedConnection(ADDRESS, ray)])
    return ray


def only_observe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stages train nothing, as those of `observed`."""
    for module in (rounds, stack_joining):
        monkeypatch.setattr(module, "engine", lambda _: _NoEngine())


def search(given: Study, folder: Path, cluster: str = ADDRESS) -> SearchResult:
    """Search, and confirm nothing."""
    return loop.evaluated(given, folder, RunOptions(device="cpu", cluster=cluster), AskTell, None)


class Faults:
    """A cluster whose stages take times that a seed draws, and of whose nodes some die.

    Every fifth attempt's process dies, and node "x" dies for good under its third; a node "z" comes then.
    """

    ray: SimulatedRay

    def __init__(self, seed: int) -> None:
        self.rng, self.attempts, self.ended = np.random.default_rng(seed), 0, Counter[str]()

    def __call__(self, node: str, task: Any) -> tuple[float, Any]:
        self.attempts += 1
        seconds = float(self.rng.exponential(10.0))
        if node == "x" and self.attempts >= 3:
            self.ray.alive |= {"x": False, "z": True}
            return seconds, ActorDiedError("its node has died")
        if self.attempts % 5 == 0:
            return seconds, ActorDiedError("its process was killed")
        self.ended[node] += 1
        return seconds, observed(task)


@pytest.mark.parametrize("kind", SYNCHRONOUS)
def test_nodes_that_die_and_come_change_no_suggestion(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study(**SYNCHRONOUS[kind])
    only_observe(monkeypatch)
    connect(monkeypatch, "a", lambda _, task: (1.0, observed(task)))
    search(given, tmp_path / "undisturbed")
    for seed in range(2):
        faults = Faults(seed)
        faults.ray = connect(monkeypatch, "xy", faults)
        search(given, tmp_path / str(seed))
        assert faults.attempts > sum(faults.ended.values()), "something died"
        assert set(faults.ended) == {*"xyz"} - ({"x"} if "x" not in faults.ended else set())
    first = read(tmp_path / "undisturbed")
    assert len(first) == 18
    for seed in range(2):
        pd.testing.assert_frame_equal(read(tmp_path / str(seed)), first)


def test_a_stack_goes_on_with_the_kind_of_processor_that_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only_observe(monkeypatch)
    trained_on: dict[str, set[str]] = {}

    def train(node: str, task: Any) -> tuple[float, Any]:
        for trial in task.stack.trials:
            trained_on.setdefault(trial.trial_id, set()).add(node)
        return float(len(trained_on)), observed(task)

    ray = connect(monkeypatch, "xy", train)
    ray.kinds = {"x": "one processor", "y": "another"}
    monkeypatch.setattr(stack_joining, "joined", lambda results, _: list(results))
    search(study(pruner="hyperband"), tmp_path)
    assert {len(nodes) for nodes in trained_on.values()} == {1}
    assert set.union(*trained_on.values()) == {"x", "y"}
    assert "nodes of 2 kinds of processor train this search" in caplog.text


@pytest.mark.parametrize("pruner", ["asha", "async-hyperband"])
def test_an_asynchronous_search_trains_every_suggestion_once(
    pruner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_observe(monkeypatch)
    faults = Faults(0)
    faults.ray = connect(monkeypatch, "xy", faults)
    search(study(pruner=pruner), tmp_path)
    assert read(tmp_path)["number"].tolist() == list(range(18))
    assert not results.read(tmp_path).trials.duplicated("trial_id").any()


def test_a_whole_search_on_a_cluster_equals_one_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 2},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 3, "batch_size": 64},
            "search": {"suggestions": 8, "batch": 4, "pruner": "hyperband", "finalists": 2},
            "space": {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "activation": ["relu", "tanh"]},
        }
    )
    here = loop.search(given, tmp_path / "here", workers=1, device="cpu")

    def train(node: str, task: Task[Any]) -> tuple[float, Any]:
        monkeypatch.setenv("HARNESS_HOST", f"lab-{node}")
        return 3.0 if node == "x" else 5.0, task.run()

    connect(monkeypatch, "xy", train).looks = False
    there = loop.search(given, tmp_path / "there", device="cpu", cluster=ADDRESS)
    assert here.winner == there.winner
    pd.testing.assert_frame_equal(read(tmp_path / "there"), read(tmp_path / "here"))
    for phase in (".", "finalists", "confirmed"):
        folders = (tmp_path / place / phase for place in ("here", "there"))
        own, other = (results.read(folder).trials.drop(columns=MADE_BY) for folder in folders)
        pd.testing.assert_frame_equal(own, other)
        hosts = results.read(tmp_path / "there" / phase).trials["host"].str.split("/").explode()
        assert set(hosts) <= {"lab-x", "lab-y"}
        said = json.loads((tmp_path / "there" / phase / "provenance.json").read_text())["cluster"]
        assert (said["address"], said["ray"]) == (ADDRESS, "0")
        assert set(hosts) <= {node["host"] for node in said["nodes"]}


def test_a_row_names_every_host_and_build_that_computed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = parse(
        {
            "study": {"name": "s", "seeds": 2},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 2, "batch_size": 64},
        }
    )
    stack = make(given).stacks[0]
    monkeypatch.setenv("HARNESS_HOST", "lab-x")
    budget = budget_of(stack)
    first = StageTask(stack, "cpu", given, until=budget.eval_steps[1]).run()
    assert first.outcome is not None
    assert first.outcome.hosts == ["lab-x", "lab-x"]
    assert first.stage.state is None, "the state that a stage began with does not come back with it"
    monkeypatch.setenv("HARNESS_HOST", "lab-y")
    kernels = [name.replace("-", "-f", 1) for name in first.outcome.kernels]
    task = StageTask(
        stack, "cpu", given, budget.steps, first.state, first.seconds, kernels, first.outcome.hosts
    )
    second = task.run()
    assert second.outcome is not None
    assert second.outcome.hosts == ["lab-x/lab-y"] * 2
    assert all("/" in name for name in second.outcome.kernels)
    assert task.only([1]).hosts == ["lab-x"]


def test_busy_counts_the_workers_that_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(scheduling, "time", clock)
    given: Any = study(pruner="hyperband")
    none: Any = None
    schedule = StageSchedule(given, none, none, none, [], ["cpu"], 2)
    clock.now += 10.0  # two workers
    schedule.count_workers(6)
    clock.now += 5.0  # six
    schedule.trained = 25.0
    schedule.stop()
    assert schedule.busy == pytest.approx(25.0 / (2 * 10 + 6 * 5))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is an extra")
def test_a_search_on_ray_whose_driver_is_killed_comes_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDY)
    cluster = ("--cluster", "local:2")
    here = start(tmp_path, ("--workers", "1", "--results", "here"))
    _, told = here.communicate()
    assert here.returncode == 0, told
    killed = start(tmp_path, cluster)
    folder = tmp_path / "results" / "s"
    stop_after(killed, signal.SIGKILL, lambda: any((folder / "parts").glob("*.zip")))
    killed.communicate()
    again = start(tmp_path, cluster)
    _, told = again.communicate()
    assert again.returncode == 0, told
    pd.testing.assert_frame_equal(read(folder), read(tmp_path / "here"))
    for phase in (".", "finalists", "confirmed"):
        own, other = (results.read(place / phase).trials for place in (tmp_path / "here", folder))
        pd.testing.assert_frame_equal(own.drop(columns=MADE_BY), other.drop(columns=MADE_BY))
