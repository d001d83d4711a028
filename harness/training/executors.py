"""Executors: tasks run in this process, or in local worker processes, one a core or one a GPU."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from harness import notes
from harness.axes import plugins
from harness.axes.own_networks import PREFIX, is_own
from harness.axes.own_networks import load as load_network
from harness.engines import WITHOUT_TORCH, engine
from harness.errors import MachineError, UsageError, in_words
from harness.lowering import builds
from harness.study.trials import Trial, components_of, is_still
from harness.system import signals, spawning
from harness.training.progress import SharedProgress
from harness.training.tasks import Result, Task

FORKING = getattr(multiprocessing.context, "ForkContext", ())  # not on Windows
MOST_TRIES = 3  # of a task whose worker process dies
DIED = "its worker process died (killed, or out of memory)"
ENDING = signals.GRACE + 2  # seconds for workers to end when told to, and for a pool's thread to notice
STOPPING = [getattr(signal, name) for name in signals.NAMES if hasattr(signal, name)]
NO_PROCESS = (OSError, NotImplementedError, ImportError)
"""Exceptions of starting a process: too few open files or processes allowed, no semaphores (no /dev/shm)."""

Take: TypeAlias = "Callable[[], Task[Result] | None]"
"""Gives the next task to run; None while there is none."""


class Executor(Protocol):
    """Trains tasks: on this machine (`Workers`), or on a cluster (`harness.training.cluster.executor`).

    `count` are as many as train at once, `idle` the seconds for which they had nothing to do while others
    trained, summed over them.
    """

    idle: float

    @property
    def count(self) -> int:
        """As many as train at once."""

    def start(self, engines: Collection[str], *, early: bool = False) -> None:
        """Start what trains, while the caller prepares its tasks (`early`)."""

    def limit(self, count: int) -> None:
        """Have at most so many train from now on."""

    def close(self) -> None:
        """End what trains, whatever it does."""

    def run(self, tasks: Sequence[Task[Result]]) -> Generator[Result]:
        """Run tasks, the first ones first; yields their results as they are done, in any order."""

    def serve(
        self, take: Take[Result], devices: Sequence[str], meanwhile: Callable[[], bool] = lambda: False,
        *, ahead: bool = False,
    ) -> Generator[Result]:  # fmt: skip
        """Run the tasks that `take` gives; see `Workers.serve`."""

    def facts(self) -> Mapping[str, Any]:
        """Return what provenance.json says of it beside this machine, by name."""


class Workers:
    """Worker processes, one thread each; or none, and this process runs the tasks: simplest to debug.

    Of tasks in flight when a worker dies (killed, out of memory) each is tried again by itself, so that it
    takes no other along, MOST_TRIES times in all. `modules` are those that a worker must import to know the
    components; with None, if it cannot, or with one process, this process runs the tasks. `idle` are the
    seconds for which workers had nothing to do while others trained, summed over them.
    """

    def __init__(
        self, count: int, modules: Sequence[str] | None, shared: SharedProgress | None = None
    ) -> None:
        self.count = 1 if modules is None else count
        self.modules, self.shared = modules or (), shared
        self._pool: ProcessPoolExecutor | None = None
        self._engines: Collection[str] = ()
        self._devices: Sequence[str] = ()
        self._size = 0
        self.idle = 0.0

    def start(self, engines: Collection[str], *, early: bool = False) -> None:
        """Start the workers, whose imports take seconds, while the caller prepares their tasks (`early`).

        Workers that are forked import nothing, and share what the caller has prepared: they wait for the
        second call, which comes before the caller starts a thread. Where the machine starts no process, a
        warning says so, and this process runs the tasks.
        """
        self._engines = sorted(engines)
        if self.count <= 1 or self._pool is not None or (early and spawning.can_fork()):
            return
        try:
            self._started(self.count)
        except NO_PROCESS as error:
            self.close()
            self.count = 1
            notes.warn(
                f"trains in this process, on one core: no worker process can be started ({in_words(error)}). "
                "Allow more open files or processes (ulimit -n, ulimit -u), or mount /dev/shm, for more"
            )

    def limit(self, count: int) -> None:
        """Have at most so many workers from now on; tasks that are in flight come to their end."""
        self.count = min(self.count, count)

    def close(self) -> None:
        """End the workers, whatever they do."""
        if self._pool is not None:
            stop(self._pool)
            self._pool = None

    def facts(self) -> Mapping[str, Any]:
        """Return nothing: workers are of this machine."""
        return {}

    def run(self, tasks: Sequence[Task[Result]]) -> Generator[Result]:
        """Run tasks, the first ones first; yields their results as they are done, in any order."""
        waiting = deque(tasks)
        self.start({task.stack.engine for task in tasks})
        devices = list(dict.fromkeys(task.device for task in tasks))
        yield from self.serve(lambda: waiting.popleft() if waiting else None, devices)

    def serve(
        self, take: Take[Result], devices: Sequence[str], meanwhile: Callable[[], bool] = lambda: False,
        *, ahead: bool = False,
    ) -> Generator[Result]:  # fmt: skip
        """Run the tasks that `take` gives, until it gives none, none is in flight and nothing is left to do.

        Each runs on the one of the `devices` that trains the fewest. `take` is asked whenever a worker is
        free, so that whoever consumes the results may decide by them what comes next. `meanwhile` does one
        thing that has to be done beside the training, and returns whether there was one. With `ahead` each
        worker has its next task before it is done with the last one.
        """
        if self.count <= 1 and self._pool is None:
            while True:
                while meanwhile():
                    pass
                task = take()
                if task is None:
                    return
                yield run_task(task, self.shared)
                if signals.asked():
                    signals.end()
        self._devices = devices
        waiting: deque[Task[Result]] = deque()
        while (died := (yield from self._run_until_death(waiting, take, meanwhile, ahead=ahead))) is not None:
            for suspect in died:
                yield from self._run_alone(suspect)
                self.close()

    def _run_alone(self, task: Task[Result]) -> Generator[Result]:
        """Run a task whose worker has died once, by itself."""
        for deaths in range(1, MOST_TRIES):
            alone = deque([task.retry(deaths)])
            if (yield from self._run_until_death(alone, lambda: None, lambda: False, most=1)) is None:
                return
        yield task.died(f"{DIED} {MOST_TRIES} times")

    def _run_until_death(
        self, waiting: deque[Task[Result]], take: Take[Result], meanwhile: Callable[[], bool],
        *, most: int | None = None, ahead: bool = False,
    ) -> Generator[Result, None, list[Task[Result]] | None]:  # fmt: skip
        """Run the tasks that wait, then those taken; returns those in flight at a worker's death, or None."""
        in_flight: dict[Future[Result], Task[Result]] = {}
        try:
            while True:
                self._fill(in_flight, waiting, take, most, ahead=ahead)
                done = [future for future in in_flight if future.done()]
                if not done and meanwhile():
                    continue
                if not in_flight:
                    return None
                for future in done or self._first_done(in_flight):
                    result = future.result()
                    del in_flight[future]
                    yield result
        except BrokenProcessPool:
            results = [future.result() for future in in_flight if future.exception() is None]
            suspects = [task for future, task in in_flight.items() if future.exception() is not None]
            self.close()
            yield from results
            return suspects if in_flight else [waiting.popleft()]

    def _fill(
        self, in_flight: dict[Future[Result], Task[Result]], waiting: deque[Task[Result]],
        take: Take[Result], most: int | None, *, ahead: bool,
    ) -> None:  # fmt: skip
        """Submit tasks until each worker has one, or, `ahead`, one more."""
        count = self.count if most is None else most
        # A pool with more processes than are allowed by now would train what is submitted ahead at once.
        allowed = 2 * count if ahead and count == self._size else count
        while len(in_flight) < allowed:
            task = waiting[0] if waiting else take()
            if task is None:
                return
            if not waiting:
                waiting.append(task)
            task = replace(task, device=idlest(self._devices, in_flight.values()))
            in_flight[self._submit(task, count, idle=not in_flight)] = task
            waiting.popleft()

    def _first_done(self, in_flight: dict[Future[Result], Task[Result]]) -> set[Future[Result]]:
        """Wait for the first results; counts the seconds of workers that have nothing to do meanwhile."""
        start, free = time.perf_counter(), max(0, self.count - len(in_flight))
        done = wait(in_flight, return_when=FIRST_COMPLETED).done
        self.idle += free * (time.perf_counter() - start)
        return done

    def _submit(self, task: Task[Result], count: int, *, idle: bool) -> Future[Result]:
        """Submit a task; if the pool is `idle`, to a new one where a worker has died since."""
        try:
            try:
                return submit(self._started(count), run_task, task)
            except BrokenProcessPool:
                if not idle:
                    raise
                self.close()
                return submit(self._started(count), run_task, task)
        except NO_PROCESS as error:
            raise MachineError(
                f"no worker process can be started ({in_words(error)}). What is finished is safe; the same "
                "command goes on from here, with --workers 1 in one process"
            ) from error

    def _started(self, count: int) -> ProcessPoolExecutor:
        if self._pool is None:
            if spawning.can_fork():
                quick = [name for name in self._engines if name in WITHOUT_TORCH or is_own(name)]
                _import_engines(quick)
            self._pool, self._size = pool(count, self.shared, self.modules), count
            warm(self._pool, count, self._engines)
        return self._pool


def idlest(devices: Sequence[str], in_flight: Iterable[Task[Any]]) -> str:
    """Return the device that trains the fewest stacks; of several GPUs, a free one."""
    busy = [task.device for task in in_flight]
    return min(devices, key=busy.count)


def pool(workers: int, shared: SharedProgress | None, modules: Sequence[str]) -> ProcessPoolExecutor:
    """Make a pool whose workers know third-party components, and notice a dead parent."""
    if spawning.can_fork():
        fork = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(workers, fork, initializer=_start_forked, initargs=(shared,))
    return ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(shared, modules, notes.logger.level, builds.bits()),
    )


def warm(pool: ProcessPoolExecutor, workers: int, engines: Collection[str]) -> None:
    """Start a pool's workers, and have them import what trains; import errors surface when they train."""
    with suppress(BrokenProcessPool):  # the first may be dead before the last is started
        for _ in range(workers):
            submit(pool, _import_engines, engines)


def submit(pool: ProcessPoolExecutor, *call: Any) -> Future[Any]:
    """Submit a call; a worker started for it never hears of Ctrl-C, which is the parent's to handle."""
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        return pool.submit(*call)
    forks = isinstance(pool._mp_context, FORKING)
    late = STOPPING if forks else []  # a forked worker has the parent's handlers until it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *late])  # a child inherits the mask
    try:
        return pool.submit(*call)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop(pool: ProcessPoolExecutor) -> None:
    """End a pool's workers, and its thread; what workers had not written they had not finished.

    Those whose stack has checkpoints write one first (`signals.saving`).
    """
    running = list((pool._processes or {}).values())
    thread: threading.Thread | None = getattr(pool, "_executor_manager_thread", None)  # none before a start
    answers = getattr(pool, "_result_queue", None)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    last = time.monotonic() + ENDING
    try:
        for process in running:  # no part may land once the run is over
            process.join(max(0.0, last - time.monotonic()))
    finally:  # also when Ctrl-C comes again
        for process in running:
            if process.is_alive():  # a component's own handler of signals, perhaps
                process.kill()
                process.join()
    if thread is not None and answers is not None:
        # The thread also waits for the workers: nobody else learns that a worker has ended before the thread
        # says so, and it would wait for the rest of an answer that a worker was ended in.
        answers._writer.close()
        thread.join(ENDING)


_shared: SharedProgress | None = None
_refusal: str | None = None
"""Reason why this worker could not load the components ("" if it could); None in the parent process."""
_sources = plugins.sources()
"""Sources of this worker's components at the time they were loaded."""


def _start_worker(
    shared: SharedProgress | None, modules: Sequence[str], level: int, bits: builds.Bits
) -> None:
    _begin(shared)
    become_worker(modules, level, bits)


def become_worker(modules: Sequence[str], level: int, bits: builds.Bits) -> str:
    """Load the components of a study in a process that trains for another one, and inherit its settings.

    Returns why they cannot be loaded, "" if they are. It is also told when there is something to train:
    an error would end a pool.
    """
    builds.inherit(bits)
    notes.logger.setLevel(level)  # as the parent is silenced, or not
    global _refusal  # noqa: PLW0603 (a spawned worker has no other place for what it inherits)
    try:
        _load(modules)
        _refusal = ""
    except BaseException as error:  # noqa: BLE001 (as above)
        _refusal = str(error) if isinstance(error, UsageError) else in_words(error)
    return _refusal


def _start_forked(shared: SharedProgress | None) -> None:
    """Start a worker that has its parent's components, notes and data."""
    _begin(shared)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    gc.freeze()  # a collection would write to pages that are shared with the parent


def _begin(shared: SharedProgress | None) -> None:
    global _shared  # noqa: PLW0603 (a worker has no other place for what it inherits)
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signals.end_when_told()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker, which a killed parent cannot stop, so that it leaves the folder alone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(modules: Sequence[str]) -> None:
    plugins.load_installed()
    for module in modules:
        if is_own(module):
            load_network(Path(module.removeprefix(PREFIX)), quiet=True)
        elif module.endswith(".py"):
            plugins.load_file(Path(module), quiet=True)
        else:
            importlib.import_module(module)


def _import_engines(engines: Sequence[str]) -> None:
    importlib.import_module("harness.results.parts")
    for name in engines:
        engine(name)


def run_task(task: Task[Result], shared: SharedProgress | None = None) -> Result:
    """Run a task in this process; in a worker, with the parent's shared progress."""
    check_components(task.stack.trials)
    return task.run(_shared if shared is None else shared)


def check_components(trials: Sequence[Trial]) -> None:
    """Raise MachineError where this worker process has other components than the trials' ids say."""
    if _refusal is None:  # the process that drew the trials
        return
    again = "start it again; --workers 1 trains in the process that has read the study"
    if _refusal:
        why = f"a worker process cannot load the study's components: {_refusal}"
        raise MachineError(f"{why}; fix it, and {again}")
    for trial in {id(trial.arm): trial for trial in trials}.values():
        if is_still(trial, _sources):
            continue
        names = ", ".join(f"{axis} {entry.name!r} ({entry.where})" for axis, entry in components_of([trial]))
        raise MachineError(
            f"a worker process has another {names or trial.arm.settings.dataset} than the study was "
            "planned with: its file changed while the study was running, or it reads a value that was set "
            f"after it was loaded, or that differs from process to process. To go on, {again}"
        )
