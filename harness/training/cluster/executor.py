"""An executor on a Ray cluster: one actor a core or GPU of every node, kept for the run.

Each actor trains a task at a time, and gives its results to this process as bytes. A task is in flight once
at a time, and only the answer of the attempt in flight is taken: what a node that was given up sends later is
not heard.
"""

from __future__ import annotations

import itertools
import pickle
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from harness import notes
from harness.errors import MachineError, PlainError, UsageError
from harness.text import count
from harness.training.cluster import connection, leaving
from harness.training.cluster.actors import Answer, Joined, StackActor, TaskProgress
from harness.training.cluster.connection import ClusterNode, Connection
from harness.training.cluster.dealing import Dealing, StageDealing
from harness.training.cluster.joining import Joining
from harness.training.cluster.participants import Participants
from harness.training.cluster.retries import Retries, TriedTask
from harness.training.executors import MOST_TRIES, Take
from harness.training.progress import SharedProgress
from harness.training.tasks import Result, Task

LOOKS = "looks"
"""Concurrency group of an actor's second thread, which tells how far the first one is."""
NODES_EVERY, LOOK_EVERY = 2.0, 1.0  # seconds between looks for nodes, and at what is in training
WAIT = 0.5  # seconds to wait for an answer before something else is looked at
JOINED_WITHIN = 600.0  # seconds in which the first actor must have joined (the kernels are compiled then)
TOLD_AFTER = 60.0  # seconds without an actor after which a person is told
SILENT = 300.0  # seconds without an answer after which an actor is given up: stopped, or out of reach


@dataclass
class _NodeActor:
    """An actor of this run: joining, free (no work), or training its work."""

    node: ClusterNode
    handle: Any
    answer: Any = None
    """Reference of what it was asked last: to join, or to train."""
    joined: bool = False
    kind: str = ""
    work: TriedTask | None = None
    number: int = 0
    look: Any = None
    looked: float = 0.0
    heard: float = field(default_factory=time.monotonic)

    @property
    def free(self) -> bool:
        """True if it can be given a task."""
        return self.joined and self.work is None


class RayWorkers:
    """Actors on the nodes of the cluster that this process is connected to (`executors.Executor`).

    `count` are as many as train at once. Nodes that come later are used, those that die are done without. A
    task whose actor dies is tried MOST_TRIES times in all, as in local workers; one whose node dies is tried
    elsewhere, and that counts nothing.
    """

    def __init__(
        self, workers: int | None, device: str, joining: Joining, shared: SharedProgress | None = None
    ) -> None:
        self._connection: Connection = connection.current()
        self._ray = self._connection.ray
        self._device, self._most, self._shared = device, workers, shared
        self._joining = joining
        self._actors: list[_NodeActor] = []
        self._refused: dict[str, str] = {}
        self._retries = Retries()
        self._dealing: Dealing | StageDealing = Dealing(())
        self._alive = {node.node_id: node for node in self._connection.nodes()}
        self._lost_idle: Counter[str] = Counter()
        actor = {"concurrency_groups": {LOOKS: 1}, "max_restarts": 0, "max_task_retries": 0}
        needs = {"num_cpus": 1} if device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        self._actor_class = self._ray.remote(**actor, **needs)(StackActor)
        self._numbers = itertools.count(1)
        self._listed = 0.0
        self._without = time.monotonic()
        self._told = False
        self._participants = Participants()
        self.idle = 0.0

    @property
    def count(self) -> int:
        """The actors that train at once."""
        places = sum(connection.offered(node, self._device) for node in self._taking_part())
        return min(places, self._most or places)

    def start(self, engines: Collection[str], *, early: bool = False) -> None:  # noqa: ARG002 (a protocol's)
        """Start the actors, whose imports take seconds, while the caller prepares their tasks."""
        with self._losses_told():
            self._find_nodes()

    def limit(self, most: int) -> None:
        """Have at most so many actors train from now on."""
        self._most = min(most, self._most or most)

    def close(self) -> None:
        """End the actors, whatever they do; what is in training sends its checkpoints before."""
        actors, self._actors = self._actors, []
        try:
            with suppress(self._ray.exceptions.RayError, ConnectionError, PlainError):
                leaving.leave(self._ray, actors, LOOKS, self._take_last)
        finally:
            for actor in actors:
                self._kill(actor)

    def _take_last(self, work: TriedTask, answer: Answer) -> None:
        """Write what a task in training was at when its actor was asked to leave."""
        if answer.result:
            self._result(work, answer)
        elif answer.error is None:
            self._keep(work.task, answer.look)

    def facts(self) -> Mapping[str, Any]:
        """Return the cluster, and the nodes of it that have trained."""
        address, version = self._connection.address, self._ray.__version__
        return {"cluster": self._participants.facts(address, version, self._refused)}

    def run(self, tasks: Sequence[Task[Result]]) -> Generator[Result]:
        """Run tasks, the first ones first; yields their results as they are done, in any order."""
        yield from self._serve(Dealing(tasks), lambda: False)

    def serve(
        self, take: Take[Result], devices: Sequence[str],  # noqa: ARG002 (a protocol's)
        meanwhile: Callable[[], bool] = lambda: False, *, ahead: bool = False,  # noqa: ARG002
    ) -> Generator[Result]:  # fmt: skip
        """Run the tasks that `take` gives, as `executors.Workers.serve`."""
        yield from self._serve(StageDealing(take), meanwhile)

    @contextmanager
    def _losses_told(self) -> Iterator[None]:
        """Tell in words that the connection is lost; raises MachineError."""
        try:
            yield
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise MachineError(
                f"the connection to {self._connection.address} is lost: {connection.first_line(error)}. What "
                "is finished is safe; the same command goes on from here once the cluster is there again"
            ) from error

    def _serve(self, dealing: Dealing | StageDealing, meanwhile: Callable[[], bool]) -> Generator[Any]:
        self._dealing = dealing
        self._without = time.monotonic()
        with self._losses_told():
            while True:
                self._find_nodes()
                self._fill()
                arrived = self._arrived(0.0)
                if not arrived and meanwhile():
                    continue
                if not (arrived or self._in_flight() or self._retries):
                    return
                for actor in arrived or self._arrived(WAIT):
                    yield from self._answered(actor)
                yield from self._retries.given_up(self._alive)
                self._look()

    def _taking_part(self) -> list[ClusterNode]:
        return [node for name, node in self._alive.items() if name not in self._refused]

    def _in_flight(self) -> list[_NodeActor]:
        return [actor for actor in self._actors if actor.work is not None]

    def _fill(self) -> None:
        """Give free actors their next task; without any, one task waits for them."""
        free = [actor for actor in self._actors if actor.free]
        room = max(0, self.count - len(self._in_flight()))
        for actor in free[:room]:
            if (work := self._next(actor)) is not None:
                self._send(actor, work)
        if not self._retries.waiting and not self._in_flight() and (task := self._dealing.any()):
            self._retries.waiting.append(TriedTask(task))

    def _next(self, actor: _NodeActor) -> TriedTask | None:
        """Take what is tried again, else the next task that suits the actor's kind."""
        workers = Counter(other.kind for other in self._actors if other.joined)
        for work in self._retries.waiting:
            if self._dealing.prefers(work.task, actor.kind, workers):
                self._retries.waiting.remove(work)
                return work
        task = self._dealing.take(actor.kind, workers)
        return None if task is None else TriedTask(task)

    def _send(self, actor: _NodeActor, work: TriedTask) -> None:
        task = work.attempt()
        actor.number, actor.work = next(self._numbers), work
        actor.heard = actor.looked = time.monotonic()
        actor.answer = actor.handle.train.remote(actor.number, pickle.dumps(task), task.files())

    def _arrived(self, timeout: float) -> list[_NodeActor]:
        """Wait for answers; returns the actors that have answered, or died."""
        asked = {actor.answer: actor for actor in self._actors if actor.answer is not None}
        if not asked:
            time.sleep(min(timeout, 0.1))
            return []
        start = time.perf_counter()
        free = sum(actor.free for actor in self._actors)
        done, _ = self._ray.wait(list(asked), num_returns=1, timeout=timeout)
        self.idle += free * (time.perf_counter() - start)
        if done and timeout == 0.0:
            done, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0.0)
        return [asked[reference] for reference in done]

    def _answered(self, actor: _NodeActor) -> Iterator[Any]:
        """Take what an actor answered; yields the result of its task, if that is over."""
        reference, actor.answer = actor.answer, None
        if reference is None:  # its node was given up a moment ago, for what another actor answered
            return
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            self._faulty(actor, connection.last_line(error))
            return
        except self._ray.exceptions.RayError as error:
            self._lost(actor, error)
            return
        actor.heard = time.monotonic()
        if isinstance(answer, Joined):
            self._welcomed(actor, answer)
            return
        self._participants.note(actor.node, answer.host, answer.processor, answer.cpu_seconds)
        for level, text in answer.told:
            notes.logger.log(level, "%s", text)
        if answer.error is not None:
            self._faulty(actor, str(answer.error), machine=isinstance(answer.error, MachineError))
            return
        work, actor.work, actor.look = actor.work, None, None
        assert work is not None  # noqa: S101 (an actor that trains has one)
        self._show(work.task, answer.look)
        yield self._result(work, answer)

    def _result(self, work: TriedTask, answer: Answer) -> Any:
        """Take a task's result, and write the files that it made."""
        result = pickle.loads(answer.result)  # noqa: S301 (the driver's own actors)
        return work.task.accept(result, answer.files)

    def _welcomed(self, actor: _NodeActor, answer: Joined) -> None:
        """Take an actor's answer to the question whether it can train the study; send what it lacks."""
        if answer.refusal:
            self._refuse(actor.node, answer.refusal)
        elif answer.lacking:
            actor.answer = self._joining.send(actor.handle, answer)
        else:
            actor.joined = True
            actor.kind = answer.kind if self._device == "cpu" else actor.node.gpu
            self._retries.proven(actor.node)

    def _faulty(self, actor: _NodeActor, why: str, *, machine: bool = True) -> None:
        """Do without the node of an actor that cannot do its work for a reason that is no stack's own."""
        self._refuse(actor.node, why, MachineError if machine else UsageError)

    def _refuse(self, node: ClusterNode, why: str, kind: type[PlainError] = UsageError) -> None:
        """Do without a node that cannot train the study; what was in training there is tried elsewhere.

        Raises:
            PlainError: of this kind, where no other node is left.
        """
        if node.node_id not in self._refused:
            self._refused[node.node_id] = f"{node} {why}"
            notes.warn(f"{node} does not take part: {why}")
        for actor in [actor for actor in self._actors if actor.node.node_id == node.node_id]:
            work = actor.work
            self._drop(actor)
            if work is not None:
                self._retries.moved(work)
        others = self._taking_part()
        if not any(connection.offered(other, self._device) for other in others):
            raise kind(
                f"no node of {self._connection.address} can train the study: "
                f"{'; '.join(self._refused.values())}"
            )

    def _lost(self, actor: _NodeActor, error: Exception) -> None:
        """Do without an actor that has died, or cannot be reached; its work is tried again."""
        work, node = actor.work, actor.node
        self._drop(actor)
        if work is None:
            self._lost_idle[node.node_id] += not actor.joined
            if self._lost_idle[node.node_id] >= MOST_TRIES:
                why = f"its actors end before they train: {connection.last_line(error)}"
                self._refuse(node, why, MachineError)
            return
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            self._retries.moved(work)
            return
        self._retries.died(work, node)
        self._listed = 0.0  # look for nodes at once: one that is alive gets another actor, which proves it

    def _drop(self, actor: _NodeActor) -> None:
        self._kill(actor)
        with suppress(ValueError):
            self._actors.remove(actor)
        actor.work = actor.answer = actor.look = None

    def _kill(self, actor: _NodeActor) -> None:
        with suppress(Exception):  # it may be dead, and its node too
            self._ray.kill(actor.handle, no_restart=True)

    def _look(self) -> None:
        """Look how far the tasks in training are; actors that do not answer for long are given up."""
        now = time.monotonic()
        for actor in self._in_flight():
            if actor.look is not None:
                done, _ = self._ray.wait([actor.look], timeout=0.0)
                if done:
                    self._seen(actor)
            elif now - actor.looked >= LOOK_EVERY:
                actor.look = actor.handle.look.options(concurrency_group=LOOKS).remote()
                actor.looked = now
            if now - actor.heard > SILENT and actor.work is not None:
                notes.warn(f"{actor.node} has not answered for {SILENT:.0f} s; its stack is tried elsewhere")
                work = actor.work
                self._drop(actor)
                self._retries.moved(work)

    def _seen(self, actor: _NodeActor) -> None:
        """Take a look at a task: its progress, and its checkpoints, which are written here."""
        reference, actor.look = actor.look, None
        try:
            look: TaskProgress = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return  # its answer will tell
        actor.heard = time.monotonic()
        if look.attempt != actor.number or actor.work is None:
            return
        self._keep(actor.work.task, look)
        self._show(actor.work.task, look)

    def _show(self, task: Task[Any], look: TaskProgress) -> None:
        """Show how far a task is to those who watch this run."""
        place = getattr(task, "place", None)
        if self._shared is None or place is None:
            return
        self._shared.trained[place] = look.trained
        if look.curves is not None:
            rows = slice(self._shared.first[place], self._shared.first[place + 1])
            self._shared.curves[rows, list(look.columns)] = look.curves

    def _keep(self, task: Task[Any], look: TaskProgress) -> None:
        """Write the checkpoints of a task in training, which goes on if they cannot be written."""
        try:
            task.keep(look.files)
        except MachineError as error:
            notes.warn_once(f"{error}. Training goes on; if it is stopped, it will go on from earlier states")

    def _find_nodes(self) -> None:
        """Find the nodes that are alive, and give each as many actors as it has cores or GPUs.

        Raises:
            MachineError: for long no actor has been there.
        """
        now = time.monotonic()
        if now - self._listed >= NODES_EVERY:
            self._listed = now
            self._alive = {node.node_id: node for node in self._connection.nodes()}
            for node in self._alive.values():
                if node.node_id not in self._refused and self._fits(node):
                    self._fill_node(node)
        if any(actor.joined for actor in self._actors):
            self._without = now
        elif now - self._without > TOLD_AFTER and not self._told:
            self._told = True
            notes.warn(f"no actor has joined within {TOLD_AFTER:.0f} s: {self._offer()}. It waits for one")
        elif now - self._without > JOINED_WITHIN:
            raise MachineError(self._nobody())

    def _fits(self, node: ClusterNode) -> bool:
        """Tell whether a node has what the driver has; False while it has not said so."""
        why = self._joining.why_not(node)
        if why:
            self._refuse(node, why)
        return why == ""

    def _fill_node(self, node: ClusterNode) -> None:
        there = sum(actor.node.node_id == node.node_id for actor in self._actors)
        free = connection.offered(node, self._device) - there
        for _ in range(free if self._most is None else min(free, self._most - len(self._actors))):
            handle = self._on(node)
            actor = _NodeActor(node, handle)
            actor.answer = self._joining.ask(handle)
            self._actors.append(actor)

    def _on(self, node: ClusterNode) -> Any:
        """Make an actor on a node, which nothing restarts."""
        return self._actor_class.options(scheduling_strategy=self._connection.on(node)).remote()

    def _nobody(self) -> str:
        return (
            f"no actor has joined within {JOINED_WITHIN:.0f} s: {self._offer()}. What is finished is safe; "
            "the same command goes on from here"
        )

    def _offer(self) -> str:
        cores = count(sum(connection.offered(node, self._device) for node in self._alive.values()), "core")
        return (
            f"{self._connection.address} has {count(len(self._alive), 'node')} with {cores}, and gives none "
            "yet. Perhaps others use them (`ray status`)"
        )
