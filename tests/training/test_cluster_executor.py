"""Faults of a cluster in simulated time: deaths of actors and nodes, nodes that come later, silence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from simulated_cluster import (
    ActorDiedError,
    ActorUnavailableError,
    RayError,
    RayTaskError,
    SimulatedTask,
    workers,
)

from harness.errors import MachineError, UsageError
from harness.system.signals import GRACE
from harness.training.cluster.actors import Answer
from harness.training.cluster.connection import ClusterNode, offered
from harness.training.executors import MOST_TRIES


def tasks(*names: str) -> list[Any]:
    accepted: Counter[str] = Counter()
    return [SimulatedTask(name, accepted=accepted) for name in names]


def test_every_task_is_trained_once_the_first_ones_first(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda _, task: (task.seconds, task.name))
    todo = tasks(*"abcdef")
    assert sorted(crew.run(todo)) == list("abcdef")
    assert todo[0].accepted == {**dict.fromkeys("abcdef", 1), "checkpoints": todo[0].accepted["checkpoints"]}
    assert [name for _, name in ray.attempts] == list("abcdef")
    assert ray.joins == {"x": 1, "y": 1}, "actors are kept for the run"


def test_a_task_whose_actor_dies_is_tried_three_times_and_then_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    def fate(_: str, task: SimulatedTask) -> tuple[float, Any]:
        if task.name == "killer":
            tries.append(task.tries)
            return 3, ActorDiedError("its process was killed")
        return task.seconds, task.name

    crew, _ = workers(monkeypatch, "xy", fate)
    todo = tasks("killer", *"abc")
    results = sorted(crew.run(todo))
    assert results[:3] == list("abc")
    assert "worker process died" in results[3]
    assert "3 times" in results[3]
    assert tries == [0, 1, 2]
    assert todo[0].accepted["killer"] == 0


def test_a_node_that_dies_under_a_task_counts_nothing_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"n{i}" for i in range(8)]

    def fate(node: str, task: SimulatedTask) -> tuple[float, Any]:
        if node != "n7":
            return 5, ActorDiedError(node)
        return task.seconds, (task.name, task.tries)

    crew, ray = workers(monkeypatch, names, fate)
    get = ray.get

    def dies(reference: Any) -> Any:
        if isinstance(reference.error, ActorDiedError):
            ray.alive[str(reference.error)] = False
        return get(reference)

    monkeypatch.setattr(ray, "get", dies)
    assert list(crew.run(tasks("a"))) == [("a", 0)]
    assert len(ray.attempts) > MOST_TRIES


def test_an_answer_that_comes_from_a_node_after_it_was_given_up_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, ray = workers(
        monkeypatch, "xy", lambda node, task: (1e4, "late") if node == "x" else (5, task.name)
    )
    ray.looks = False
    todo = tasks("a", "b")
    assert sorted(crew.run(todo)) == ["a", "b"]
    assert (todo[0].accepted["a"], todo[0].accepted["b"]) == (1, 1)
    assert ray.killed == ["x"], "the silent actor was ended"


def test_an_actor_that_cannot_be_reached_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [ActorUnavailableError("no answer"), "a"]
    crew, ray = workers(monkeypatch, "x", lambda *_: (1, ends.pop(0)))
    assert list(crew.run(tasks("a"))) == ["a"]
    assert ray.joins["x"] == 2


def test_a_node_that_comes_later_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "x", lambda node, task: (task.seconds, (node, task.name)))
    results = []
    for result in crew.run(tasks(*"abcdefgh")):
        results.append(result)
        ray.alive["late"] = True
    assert sorted(name for _, name in results) == list("abcdefgh")
    assert {node for node, _ in results} == {"x", "late"}


def test_a_refused_node_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda node, task: (task.seconds, node))
    ray.refusals["x"] = "has numpy 1, the driver numpy 2"
    assert set(crew.run(tasks(*"abc"))) == {"y"}
    assert crew.count == 1


def test_without_a_node_that_can_train_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda *_: (1, "never"))
    ray.refusals |= dict.fromkeys("xy", "has numpy 1, the driver numpy 2")
    with pytest.raises(UsageError, match=r"no node of simulated:1 can train.*x .*numpy 1.*; y "):
        list(crew.run(tasks("a")))
    assert not ray.attempts


def test_a_node_is_refused_once_though_all_its_actors_say_why_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda node, task: (task.seconds, node))
    ray.cores, ray.refusals["x"] = 4, "has another optimizer 'own'"
    listed = ray.nodes

    def late() -> list[Any]:  # meanwhile all of them have answered
        ray.clock.sleep(3.0)
        return listed()

    monkeypatch.setattr(ray, "nodes", late)
    assert set(crew.run(tasks(*"abc"))) == {"y"}


def test_a_head_without_cores_is_no_node_that_could_still_train(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, ["head", "x"], lambda *_: (1, "never"))
    ray.without_cores, ray.refusals["x"] = {"head"}, "has numpy 1, the driver numpy 2"
    with pytest.raises(UsageError, match=r"no node of simulated:1 can train.*x .*numpy 1"):
        list(crew.run(tasks("a")))
    assert ray.clock.now < 1100, "it is told at once"


def test_actors_that_die_before_they_train_are_a_fault_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, ray = workers(monkeypatch, "x", lambda *_: (1, "never"))
    ray.refusals["x"] = ActorDiedError("died at its start")
    with pytest.raises(MachineError, match="died at its start"):
        list(crew.run(tasks("a")))


def test_a_connection_that_is_lost_before_the_first_task_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, ray = workers(monkeypatch, "x", lambda *_: (1, "never"))

    def lost() -> list[Any]:
        raise ConnectionError("the client has gone")

    monkeypatch.setattr(ray, "nodes", lost)
    with pytest.raises(MachineError, match="connection to simulated:1 is lost: the client has gone"):
        crew.start(["stacked"], early=True)


def test_a_node_whose_machine_fails_is_done_without_and_its_task_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fate(node: str, task: SimulatedTask) -> tuple[float, Any]:
        return 5, Answer(error=MachineError("the disk is full")) if node == "x" else task.name

    crew, _ = workers(monkeypatch, "xy", fate)
    assert sorted(crew.run(tasks(*"abc"))) == list("abc")
    crew, _ = workers(monkeypatch, "x", fate)
    with pytest.raises(MachineError, match="the disk is full"):
        list(crew.run(tasks("a")))


def test_an_actor_that_cannot_even_start_has_its_node_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda node, _: (1, node))
    ray.refusals["x"] = RayTaskError("Traceback\n  ..\nModuleNotFoundError: No module named 'harness'")
    ray.refusals["y"] = ActorDiedError("died at its start")
    with pytest.raises(MachineError, match=r"No module named 'harness'; y .*died at its start"):
        list(crew.run(tasks("a")))
    assert ray.joins == {"x": 1, "y": MOST_TRIES}


def test_a_cluster_that_gives_no_actor_is_told_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "x", lambda *_: (1, "never"))

    def nothing(references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        ray.clock.sleep(1.0)
        return [], references

    monkeypatch.setattr(ray, "wait", nothing)
    with pytest.raises(MachineError, match=r"no actor has joined within \d+ s.* 1 node with 1 core"):
        list(crew.run(tasks("a")))


def test_a_lost_connection_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, ray = workers(monkeypatch, "x", lambda *_: (1, "never"))

    def lost() -> list[Any]:
        raise RayError("the GCS is gone\nmore")

    monkeypatch.setattr(ray, "nodes", lost)
    with pytest.raises(MachineError, match="connection to simulated:1 is lost: the GCS is gone"):
        list(crew.run(tasks("a")))


def test_at_most_as_many_train_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, _ = workers(monkeypatch, "wxyz", lambda node, task: (task.seconds, node), most=2)
    assert len(set(crew.run(tasks(*"abcdefgh")))) == 2


@pytest.mark.parametrize(("cores", "gigabytes", "actors"), [(4, 64, 4), (64, 9, 10), (4, 0, 4), (2, 0.1, 1)])
def test_a_node_gets_as_many_actors_as_its_memory_holds(cores: int, gigabytes: float, actors: int) -> None:
    resources = {"CPU": float(cores), "memory": gigabytes * 2**30}
    node = ClusterNode.of({"NodeID": "x", "Alive": True, "Resources": resources})
    assert offered(node, "cpu") == actors


@pytest.mark.parametrize("saves", [True, False])
def test_what_is_in_training_when_a_run_is_stopped_is_asked_for_its_last_checkpoint(
    monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    crew, ray = workers(monkeypatch, "xy", lambda _, task: (5 if task.name == "a" else 1e4, task.name))
    ray.saves = saves
    todo = tasks("a", "b")
    results = crew.run(todo)
    assert next(results) == "a"
    before, kept = ray.clock.now, todo[0].accepted["checkpoints"]
    crew.close()
    assert sorted(ray.left) == ["x", "y"]
    assert sorted(ray.killed) == ["x", "y"]
    assert todo[0].accepted["checkpoints"] == kept + saves
    assert ray.clock.now - before < 2 * GRACE


def test_a_stack_that_is_done_while_a_run_is_stopped_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, _ = workers(monkeypatch, "xy", lambda _, task: (5 if task.name == "a" else 5.8, task.name))
    todo = tasks("a", "b")
    assert next(crew.run(todo)) == "a"
    crew.close()
    assert todo[0].accepted["b"] == 1
