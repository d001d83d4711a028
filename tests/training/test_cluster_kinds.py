"""Nodes of several kinds of processor in one run: both arms of a seed are trained on one kind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from simulated_cluster import ActorDiedError, Fate, SimulatedRay, SimulatedTask, workers

from harness.notes import logger
from harness.planning.stack import Stack
from harness.system import machine
from harness.training.cluster import dealing
from harness.training.cluster.connection import ClusterNode, Connection
from harness.training.cluster.executor import RayWorkers

KINDS = {"a1": "old", "a2": "old", "b1": "new", "b2": "new"}


@dataclass(frozen=True)
class StackedTask(SimulatedTask):
    """A task with a stack of an arm and a seed."""

    stack: Any = field(default=None, compare=False)


def tasks(arms: int, seeds: int) -> list[Any]:
    settings = SimpleNamespace(dataset="mnist")
    made = []
    for seed, arm in itertools.product(range(seeds), range(arms)):
        name = f"{seed}-{arm}"
        trial = SimpleNamespace(seed=seed, arm=SimpleNamespace(settings=settings))
        made.append(StackedTask(name, stack=Stack(name, "stacked", cast(Any, (trial,)))))
    return made


@pytest.fixture(autouse=True)
def _even_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "stack_seconds", lambda _: 10.0)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level("WARNING"):
        yield caplog


def crew_of(
    monkeypatch: pytest.MonkeyPatch, fate: Fate, kinds: Mapping[str, str] = KINDS
) -> tuple[RayWorkers, SimulatedRay]:
    crew, ray = workers(monkeypatch, list(kinds), fate)
    ray.kinds = dict(kinds)
    return crew, ray


def where(ray: SimulatedRay) -> dict[str, set[str]]:
    """Map each seed to the kinds that trained it."""
    kinds: dict[str, set[str]] = {}
    for node, name in ray.attempts:
        kinds.setdefault(name.partition("-")[0], set()).add(ray.kinds[node])
    return kinds


def test_a_seed_is_trained_on_one_kind_and_seeds_are_dealt_evenly(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    crew, ray = crew_of(monkeypatch, lambda _, task: (task.seconds, task.name))
    todo = tasks(4, 8)
    assert sorted(crew.run(todo)) == sorted(task.name for task in todo)
    seeds = where(ray)
    assert all(len(kinds) == 1 for kinds in seeds.values())
    assert sorted(sum(kinds == {kind} for kinds in seeds.values()) for kind in ("old", "new")) == [4, 4]
    assert "nodes of 2 kinds of processor train" in told.text
    assert "both arms of a seed are made on one kind" in told.text


def test_nodes_of_one_kind_take_the_first_tasks_first(monkeypatch: pytest.MonkeyPatch, told: Any) -> None:
    crew, ray = crew_of(monkeypatch, lambda _, task: (task.seconds, task.name), dict.fromkeys(KINDS, "old"))
    todo = tasks(3, 3)
    assert len(list(crew.run(todo))) == 9
    assert [name for _, name in ray.attempts] == [task.name for task in todo]
    assert "kinds of processor" not in told.text


def test_a_faster_kind_takes_over_whole_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = crew_of(
        monkeypatch, lambda node, task: (task.seconds / (8 if node[0] == "b" else 1), task.name)
    )
    assert len(list(crew.run(tasks(4, 12)))) == 48
    seeds = where(ray)
    assert all(len(kinds) == 1 for kinds in seeds.values())
    assert sum(kinds == {"new"} for kinds in seeds.values()) > 6


def test_what_a_kind_had_begun_is_trained_elsewhere_once_all_its_nodes_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fate(node: str, task: SimulatedTask) -> tuple[float, Any]:
        if KINDS[node] == "old" and sum(name == node for name, _ in ray.attempts) == 2:
            ray.alive[node] = False
            return 3, ActorDiedError("its node is gone")
        return task.seconds, task.name

    crew, ray = crew_of(monkeypatch, fate)
    todo = tasks(3, 6)
    assert sorted(crew.run(todo)) == sorted(task.name for task in todo)


def test_a_stack_that_is_tried_again_stays_on_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    died: set[str] = set()

    def fate(_: str, task: SimulatedTask) -> tuple[float, Any]:
        if task.name.endswith("-1") and task.name not in died:
            died.add(task.name)
            return 3, ActorDiedError("its process was killed")
        return task.seconds, task.name

    crew, ray = crew_of(monkeypatch, fate)
    assert len(list(crew.run(tasks(3, 6)))) == 18
    assert len(died) == 6
    assert all(len(kinds) == 1 for kinds in where(ray).values())


def test_a_kind_has_the_model_and_what_else_decides_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "model", lambda: "Model T")
    monkeypatch.setattr(machine, "processor", lambda: "flags: a b")
    named = machine.kind.__wrapped__()
    monkeypatch.setattr(machine, "processor", lambda: "flags: a b c")
    other = machine.kind.__wrapped__()
    assert named.startswith("Model T (")
    assert other.startswith("Model T (")
    assert named != other


def test_nodes_without_a_gpu_take_no_part_beside_others_and_that_is_said(told: Any) -> None:
    entry = {"NodeID": "x", "Alive": True, "Resources": {"CPU": 4.0}}
    gpu = {"NodeID": "y", "Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0, "accelerator_type:H200": 1.0}}
    ray = SimpleNamespace(nodes=lambda: [entry, gpu])
    assert Connection("here:1", ray).devices("auto") == ["cuda:0"]
    assert "1 of 2 nodes have none and take no part" in told.text
    assert "two kinds of float bits" in told.text
    assert [ClusterNode.of(one).gpu for one in (entry, gpu)] == ["", "H200"]
