"""`harness cluster check`: what it says of nodes, for all of which it waits together, not one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import cluster as command
from harness.errors import UsageError
from harness.training.cluster import connection, survey
from harness.training.cluster.actors import Joined
from harness.training.cluster.connection import ClusterNode


class GetTimeoutError(Exception):
    """Stands for Ray's."""


class ActorError(Exception):
    """Stands for ray.exceptions.RayError."""


def node(name: str, cores: int = 1) -> ClusterNode:
    return ClusterNode(name, name, "", cores, 0, 0)


def surveyed(
    monkeypatch: pytest.MonkeyPatch, nodes: Sequence[ClusterNode], answers: Mapping[str, Any]
) -> tuple[list[survey.Surveyed], list[float]]:
    """Survey simulated nodes: a node answers with a Joined, an error, or, with None, never."""
    clock, waited = [0.0], list[float]()

    def get(name: str, timeout: float) -> Any:
        waited.append(timeout)
        answer = answers[name]
        if answer is None:
            clock[0] += timeout
            raise GetTimeoutError
        if isinstance(answer, Exception):
            raise answer
        return answer

    errors = SimpleNamespace(GetTimeoutError=GetTimeoutError, RayError=ActorError)
    ray = SimpleNamespace(get=get, exceptions=errors)
    cluster = SimpleNamespace(ray=ray, nodes=lambda: nodes)
    checks = SimpleNamespace(facts={}, survey=lambda found: {one.node_id: "" for one in found})
    monkeypatch.setattr(survey, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(connection, "connected", lambda _: nullcontext())
    monkeypatch.setattr(connection, "current", lambda: cluster)
    monkeypatch.setattr(survey, "NodeChecks", lambda _: checks)
    monkeypatch.setattr(survey, "Joining", lambda *_: None)
    monkeypatch.setattr(survey, "third_party_modules", lambda _: [])
    monkeypatch.setattr(survey, "_ask", lambda _, one, __: (None, one.node_id))
    drawn: Any = object()
    return survey.survey("simulated:1", drawn), waited


def test_nodes_are_told_apart_and_each_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "a": Joined(lacking=["mnist"]),
        "b": Joined("has another loss 'own'"),
        "c": ActorError("died\nmore"),
    }
    found, _ = surveyed(monkeypatch, [node(name) for name in "abc"], answers)
    assert [one.refusal for one in found] == [
        "", "has another loss 'own'", "cannot load the study's components: died",
    ]  # fmt: skip
    said = command.lines(found, "simulated:1", with_study=True)
    assert said[0] == "simulated:1: 3 nodes, 3 cores, 0 GPUs"
    assert said[1].endswith("1 core; would train the study; is sent the images of mnist")
    survey.check_some(found, "simulated:1")


def test_nodes_that_hang_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {**dict.fromkeys("abcd"), "e": Joined()}
    found, waited = surveyed(monkeypatch, [node(name) for name in "abcde"], answers)
    assert sum(waited[:4]) == survey.ANSWER
    assert all("has not loaded the study's components" in one.refusal for one in found[:4])
    assert not found[4].refusal


def test_a_head_without_cores_would_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"head": Joined(), "x": Joined("has another loss 'own'")}
    found, _ = surveyed(monkeypatch, [node("head", 0), node("x")], answers)
    assert command.lines(found, "s", with_study=True)[1].endswith("0 cores; has nothing to train on")
    with pytest.raises(UsageError, match="no node of s would train"):
        survey.check_some(found, "s")
