"""A cluster in simulated time: nodes, actors and answers as Ray gives them, without processes."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.training.cluster import connection, executor, retries
from harness.training.cluster.actors import Answer, Joined, TaskProgress
from harness.training.cluster.connection import ClusterNode, Connection
from harness.training.cluster.joining import Joining


class RayError(Exception):
    """Stands for ray.exceptions.RayError."""


class RayTaskError(RayError):
    """An exception in an actor."""


class ActorDiedError(RayError):
    """The actor's process or node has died."""


class ActorUnavailableError(RayError):
    """The actor cannot be reached."""


@dataclass
class Clock:
    """The time, which passes only where somebody waits."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(eq=False)
class Reference:
    """An answer that comes at a time."""

    at: float
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class SimulatedTask:
    """A task by its name; `accepted` counts the results that the driver has taken."""

    name: str
    seconds: float = 10.0
    tries: int = 0
    kept: tuple[str, ...] = ()
    accepted: Counter[str] = field(default_factory=Counter, compare=False)

    def retry(self, deaths: int) -> SimulatedTask:
        return replace(self, tries=deaths)

    def files(self) -> dict[str, bytes]:
        return {}

    def accept(self, result: Any, made: Mapping[str, bytes]) -> Any:  # noqa: ARG002 (a task's signature)
        self.accepted[self.name] += 1
        return result

    def keep(self, made: Mapping[str, bytes]) -> None:
        self.accepted["checkpoints"] += len(made)

    def died(self, message: str) -> str:
        return f"{self.name}: {message}"


Fate = Callable[[str, Any], "tuple[float, Any]"]
"""Decides, of a node's name and a task, after how many seconds what answer or error comes."""


class SimulatedRay:
    """The part of Ray that the executor uses; `fate` decides how each attempt ends."""

    __version__ = "0"

    def __init__(self, clock: Clock, nodes: Sequence[str], fate: Fate, cores: int = 1) -> None:
        self.clock, self.fate, self.cores = clock, fate, cores
        self.alive = dict.fromkeys(nodes, True)
        self.joins: Counter[str] = Counter()
        self.refusals: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.killed: list[str] = []
        self.attempts: list[tuple[str, str]] = []
        self.left: list[str] = []
        self.looks = self.saves = True
        self.without_cores: set[str] = set()
        self.exceptions = SimpleNamespace(
            RayError=RayError, RayTaskError=RayTaskError, ActorUnavailableError=ActorUnavailableError
        )

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "NodeManagerHostname": name, "NodeManagerAddress": "", "Alive": alive,
             "Resources": {} if name in self.without_cores else {"CPU": float(self.cores)}}
            for name, alive in self.alive.items()
        ]  # fmt: skip

    def remote(self, **_: Any) -> Callable[[type], Any]:
        return lambda _cls: SimpleNamespace(options=self._options)

    def _options(self, *, scheduling_strategy: str) -> Any:
        return SimpleNamespace(remote=lambda: SimulatedActor(self, scheduling_strategy))

    def kill(self, actor: SimulatedActor, *, no_restart: bool) -> None:
        assert no_restart
        self.killed.append(actor.node)

    def wait(
        self, references: Sequence[Reference], *, num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Reference], list[Reference]]:
        end = self.clock.now + timeout
        first = min(reference.at for reference in references)
        self.clock.now = max(self.clock.now, min(first, end))
        done = [reference for reference in references if reference.at <= self.clock.now][:num_returns]
        return done, [reference for reference in references if reference not in done]

    def get(self, reference: Reference) -> Any:
        assert reference.at <= self.clock.now, "an answer is read before it is there"
        if reference.error is not None:
            raise reference.error
        return reference.value


class SimulatedActor:
    """An actor on a node."""

    def __init__(self, ray: SimulatedRay, node: str) -> None:
        self.ray, self.node, self.number = ray, node, 0
        self.join = SimpleNamespace(remote=self._join)
        self.train = SimpleNamespace(remote=self._train)
        self.look = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._look))
        self.leave = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._leave))
        self._trains = Reference(0.0)

    def _join(self, *_: Any) -> Reference:
        self.ray.joins[self.node] += 1
        fate = self.ray.refusals.get(self.node, "")
        return _ending(
            self.ray.clock.now + 1,
            fate if isinstance(fate, Exception) else Joined(fate, (), self.ray.kinds.get(self.node, "")),
        )

    def _train(self, number: int, packed: bytes, _: Mapping[str, bytes]) -> Reference:
        task = pickle.loads(packed)  # noqa: S301 (the executor's)
        self.number = number
        self.ray.attempts.append((self.node, getattr(task, "name", "")))
        seconds, end = self.ray.fate(self.node, task)
        value = end if isinstance(end, Exception | Answer) else Answer(pickle.dumps(end))
        self._trains = _ending(self.ray.clock.now + seconds, value)
        return self._trains

    def _look(self) -> Reference:
        late = 0.0 if self.ray.looks else 1e9
        return Reference(self.ray.clock.now + late, TaskProgress(self.number, 0.5, files={"a": b""}))

    def _leave(self, seconds: float) -> Reference:
        self.ray.left.append(self.node)
        now = self.ray.clock.now
        if self._trains.at > now + 1.0 and self.ray.saves:
            self._trains.at = now + min(1.0, seconds)
            self._trains.value = Answer(look=TaskProgress(self.number, 0.7, files={"last": b""}))
        return Reference(now + 1.0)


class SimulatedJoining:
    """All nodes have what the driver has, and lack no images."""

    def why_not(self, _: ClusterNode) -> str:
        return ""

    def ask(self, actor: SimulatedActor) -> Reference:
        return actor._join()

    def send(self, *_: Any) -> Reference:
        raise AssertionError("nothing is lacking")


def _ending(at: float, value: Any) -> Reference:
    return Reference(at, error=value) if isinstance(value, Exception) else Reference(at, value)


class SimulatedConnection(Connection):
    """A connection to a simulated cluster."""

    def on(self, node: ClusterNode) -> Any:
        return node.node_id


def workers(
    monkeypatch: pytest.MonkeyPatch, nodes: Sequence[str], fate: Fate, *, most: int | None = None
) -> tuple[executor.RayWorkers, SimulatedRay]:
    """Make an executor on a simulated cluster, and that."""
    clock = Clock()
    ray = SimulatedRay(clock, nodes, fate)
    monkeypatch.setattr(executor, "time", clock)
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(connection, "_connections", [SimulatedConnection("simulated:1", ray)])
    return executor.RayWorkers(most, "cpu", cast("Joining", SimulatedJoining())), ray
