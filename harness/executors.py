"""Where stacks run: here, or in local worker processes, one a core or one a GPU."""

from __future__ import annotations

import concurrent.futures
import importlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from harness import checkpoints, notes, plugins, process_state
from harness.board import Board, Ticker
from harness.errors import ComponentError, MachineError, UsageError, in_words
from harness.planned_components import raised_in
from harness.stacks import Stack
from harness.trials import Trial, components_of, is_still

MOST_TRIES = 3  # of a stack whose worker process dies
ENDING = 10.0  # seconds for a worker to end when it is told to, and for a pool's thread to have noticed
NO_PROCESS = (OSError, NotImplementedError, ImportError)
"""What starting a process raises: few open files or processes allowed, or no semaphores (no /dev/shm)."""


class NoWorkerError(MachineError):
    """No worker process can be started, at a moment when this process should not train in its place."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(
            f"no worker process can be started ({in_words(reason)}). What is finished is safe; the same "
            "command goes on from here, with --workers 1 in one process"
        )


@dataclass(frozen=True)
class Work:
    """One stack to train, and all that a worker process needs to know for it."""

    stack: Stack
    folder: Path
    device: str
    keep_predictions: Sequence[str]
    keep_weights: str
    place: int = 0
    metrics: Sequence[str] = ()
    shares: int = 1
    sealed: bool = False
    checkpoint_every: checkpoints.Cadence = field(default_factory=checkpoints.Cadence)


@dataclass(frozen=True)
class Done:
    """A stack that was trained: how many trials of each status; or the message of its failure.

    `notes` say what its engine did otherwise than expected.
    """

    stack: Stack
    statuses: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    notes: Sequence[str] = ()


def inline(works: Sequence[Work], board: Board) -> Generator[Done]:
    """Train in this process, one stack after the other: simplest to follow, and to debug."""
    for work in works:
        yield train(work, board)


@contextmanager
def started(
    works: Sequence[Work], board: Board, workers: int, modules: Sequence[str] | None
) -> Iterator[Generator[Done]]:
    """Have workers begin with their imports, which take seconds, while the block readies what they will need.

    Gives the stacks as they are done, which nothing trains before the first is asked for. At the block's end
    the workers are ended, whatever happened in it.

    Args:
        works: what to train.
        board: where to tell how far it is.
        workers: processes; of one, this one, and none is started.
        modules: what a worker must import to know the components; None where it cannot, and this one trains.
    """
    if workers <= 1 or modules is None:
        yield inline(works, board)
        return
    crew = _crew(works, board, workers, modules)
    if crew is None:
        yield inline(works, board)
        return
    try:
        yield processes(works, board, workers, modules, crew)
    finally:
        stop(crew)


def _crew(
    works: Sequence[Work], board: Board, workers: int, modules: Sequence[str]
) -> concurrent.futures.ProcessPoolExecutor | None:
    """Give workers at their imports; None, and a warning, where the machine starts none."""
    crew = None
    try:
        crew = pool(workers, board, modules)
        warm(crew, workers, {work.stack.engine for work in works})
    except BaseException as error:
        if crew is not None:
            stop(crew)
        if not isinstance(error, NO_PROCESS):
            raise
        warn_alone(error)
        return None
    return crew


def warn_alone(error: BaseException) -> None:
    """Warn that this process trains, because no worker can be started."""
    notes.warn(
        f"trains in this process, on one core: no worker process can be started ({in_words(error)}). Allow "
        "more open files or processes (ulimit -n, ulimit -u), or mount /dev/shm, for more"
    )


def warm(crew: concurrent.futures.ProcessPoolExecutor, workers: int, engines: Collection[str]) -> None:
    """Start workers, and have them import what trains; one that cannot will say so when it is to train."""
    with suppress(BrokenProcessPool):  # the first may be dead before the last is started
        for _ in range(workers):
            submit(crew, _import_engines, sorted(engines))


def _import_engines(engines: Sequence[str]) -> None:
    for name in ("harness.parts", *(f"harness.engines.{engine}" for engine in engines)):
        importlib.import_module(name)


def submit(crew: concurrent.futures.ProcessPoolExecutor, *call: Any) -> concurrent.futures.Future[Any]:
    """Submit a call; a worker started for it never hears of Ctrl-C, which is the parent's to handle."""
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        return crew.submit(*call)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a child inherits what is blocked
    try:
        return crew.submit(*call)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def processes(
    works: Sequence[Work],
    board: Board,
    workers: int,
    modules: Sequence[str],
    crew: concurrent.futures.ProcessPoolExecutor,
) -> Generator[Done]:
    """Train in worker processes, one thread each; yields stacks as they are done, in any order.

    A worker that dies (killed, out of memory) takes no other's work along: what was in flight is tried again,
    each stack by itself, first whole, so that a stray kill changes no number, then in halves.
    """
    waiting = deque(works)
    while waiting:
        in_flight = yield from _until_a_death(waiting, crew, workers)
        for work in in_flight:
            yield from _again(work, board, modules)
        if waiting:
            crew = _pool_again(min(workers, len(waiting)), board, modules)


def _again(work: Work, board: Board, modules: Sequence[str]) -> Iterator[Done]:
    """Try a stack, whose worker has died once, by itself: whole, then in halves."""
    for attempt in range(2, MOST_TRIES + 1):
        smaller = replace(work, shares=2 ** (attempt - 2))
        if not (yield from _until_a_death(deque([smaller]), _pool_again(1, board, modules), 1)):
            return
    message = f"its worker process died (killed, or out of memory) {MOST_TRIES} times"
    yield Done(work.stack, failure=message)


def _pool_again(workers: int, board: Board, modules: Sequence[str]) -> concurrent.futures.ProcessPoolExecutor:
    """Give a pool in place of one that a worker's death has ended; raises NoWorkerError."""
    try:
        return pool(workers, board, modules)
    except NO_PROCESS as error:
        raise NoWorkerError(error) from error


def _until_a_death(
    waiting: deque[Work], crew: concurrent.futures.ProcessPoolExecutor, workers: int
) -> Generator[Done, None, list[Work]]:
    """Train what is waiting, a stack a worker at a time; gives back what was in flight when a worker died.

    The crew is ended, whichever way.
    """
    flying: dict[concurrent.futures.Future[Done], Work] = {}
    devices = list(dict.fromkeys(work.device for work in waiting))
    try:
        while waiting or flying:
            while waiting and len(flying) < workers:
                work = replace(waiting[0], device=idlest(devices, flying.values()))
                flying[_submitted(crew, work)] = work
                waiting.popleft()
            finished, _ = concurrent.futures.wait(flying, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                done = future.result()
                del flying[future]
                yield done
    except BrokenProcessPool:
        yield from (future.result() for future in flying if future.exception() is None)
        return [work for future, work in flying.items() if future.exception() is not None]
    finally:
        stop(crew)
    return []


def _submitted(crew: concurrent.futures.ProcessPoolExecutor, work: Work) -> concurrent.futures.Future[Done]:
    """Have a stack trained; raises NoWorkerError."""
    try:
        return submit(crew, train, work)
    except NO_PROCESS as error:
        raise NoWorkerError(error) from error


def idlest(devices: Sequence[str], flying: Iterable[Work]) -> str:
    """The device that trains the fewest stacks; of several GPUs, a free one, whichever was done first."""
    busy = [work.device for work in flying]
    return min(devices, key=busy.count)


def pool(workers: int, board: Board | None, modules: Sequence[str]) -> concurrent.futures.ProcessPoolExecutor:
    """Worker processes that know third-party components, write on the board, and notice a dead parent."""
    # spawn: a forked child would inherit torch's threads in an unknown state.
    return concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(board, modules)
    )


def stop(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    """End the workers now, and the pool's thread; what they had not written they had not finished."""
    running = list((pool._processes or {}).values())
    thread: threading.Thread | None = getattr(pool, "_executor_manager_thread", None)  # none before a start
    answers = getattr(pool, "_result_queue", None)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    for process in running:  # no part may land once the run is over
        process.join(ENDING)
        if process.is_alive():  # a component's own handler of signals, perhaps
            process.kill()
            process.join()
    if thread is not None and answers is not None:
        # It too waits for the workers: whom it has asked after first, nobody else learns to have ended before
        # it says so. And of an answer that a worker was ended in, it would wait for the rest.
        answers._writer.close()
        thread.join(ENDING)


_board: Board | None = None
_refusal: str | None = None
"""In a worker process: why it could not load the components; empty where it could."""
_sources = plugins.sources()
"""In a worker process: what its components were when they were loaded."""


def _start_worker(board: Board | None, modules: Sequence[str]) -> None:
    global _board, _refusal  # noqa: PLW0603 (a spawned worker has no other place for what it inherits)
    _board = board
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        _load(modules)
        _refusal = ""
    except BaseException as error:  # noqa: BLE001 (told when there is something to train: this would end the pool)
        _refusal = str(error) if isinstance(error, UsageError) else in_words(error)


def _load(modules: Sequence[str]) -> None:
    plugins.load_installed()
    for module in modules:
        if module.endswith(".py"):
            plugins.load_file(Path(module), quiet=True)
        else:
            importlib.import_module(module)


def check_components(trials: Sequence[Trial]) -> None:
    """Raise MachineError where this worker process has other components than the trials' ids say."""
    if _refusal is None:  # the process that drew the trials
        return
    again = "start it again; --workers 1 trains in the process that has read the study"
    if _refusal:
        raise MachineError(
            f"a worker process cannot load the study's components: {_refusal}; mend it, and {again}"
        )
    for trial in {id(trial.arm): trial for trial in trials}.values():
        if is_still(trial, _sources):
            continue
        names = ", ".join(f"{axis} {one.name!r} ({one.where})" for axis, one in components_of([trial]))
        raise MachineError(
            f"a worker process has another {names or trial.arm.settings.dataset} than the study was "
            "planned with: its file changed while the study was running, or it reads a value that was set "
            f"after it was loaded, or that differs from process to process. To go on, {again}"
        )


def _die_with_parent() -> None:
    """A killed parent cannot stop its workers; they notice, and leave the folder alone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def quiet_arithmetic(engine: str) -> Iterator[None]:
    """One thread, no subnormal numbers, which a dying network would slow its whole stack with, and no TF32.

    New tensors are float32 and have gradients, whatever a notebook has set. All is put back, because the
    process may be a notebook's. NumPy has no switch for subnormal numbers; where it is the engine, torch is
    not imported.
    """
    if engine == "numpy":
        with threadpool_limits(1, user_api="blas"):
            yield
        return
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("highest")  # float32 is float32, on every device
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have a stack fail whose components change how the process computes: its numbers cannot be believed."""
    with process_state.kept() as changed:
        yield
    if changed:
        raise ComponentError(f"a component changed settings of the whole process: {', '.join(changed)}")


def train(work: Work, board: Board | None = None) -> Done:
    """Train one stack and write its part. A fault of the stack is an answer, not an exception.

    Raises:
        MachineError: the results cannot be written.
    """
    from harness import parts
    from harness.data import prepare

    board = _board if board is None else board
    check_components(work.stack.trials)
    try:
        data = prepare(work.stack.trials[0].arm.settings)
        with quiet_arithmetic(work.stack.engine), undisturbed():
            shares = _train_in_shares(work, data, board)
        statuses = parts.write(
            work.folder, work.stack, data, shares, work.keep_predictions, work.keep_weights
        )
    except ComponentError as error:
        return _failed(work, str(error).replace("\n", " "))
    except (MachineError, KeyboardInterrupt):
        raise
    except UsageError as error:
        where = raised_in(error)
        if not where:
            raise
        return _failed(work, f"{error}{where}")
    except BaseException as error:  # noqa: BLE001 (whatever a component does wrong, others go on)
        return _failed(work, in_words(error) + raised_in(error))
    checkpoints.remove(work.folder, work.stack.group)
    return Done(work.stack, statuses, notes=[note for share in shares for note in share.outcome.notes])


def _failed(work: Work, message: str) -> Done:
    """Write down that a stack failed, and why."""
    from harness import parts

    message += checkpoints.hint(work.folder, work.stack.group)
    parts.write_failure(work.folder, work.stack, message)
    return Done(work.stack, {"failed": len(work.stack.trials)}, message)


def _train_in_shares(work: Work, data: Any, board: Board | None) -> list[Any]:
    """Train a stack whole; where memory runs out, in halves of halves."""
    from harness.engines.outcome import Watch
    from harness.parts import Trained

    engine = importlib.import_module(f"harness.engines.{work.stack.engine}")
    trials, count = work.stack.trials, min(work.shares, len(work.stack.trials))
    ends = [round(i * len(trials) / count) for i in range(count + 1)]
    todo = [trials[a:b] for a, b in itertools.pairwise(ends)]
    shares: list[Trained] = []
    while todo:
        share = todo.pop(0)
        kept = checkpoints.ShareCheckpoint(
            work.folder, work.stack, share, work.device, work.checkpoint_every, work.metrics
        )
        ticker = Ticker(board, work.place, sum(len(s.trials) for s in shares), len(share))
        watch = Watch(ticker, work.metrics, kept, work.sealed)
        try:
            outcome = engine.train(share, data, work.device, watch=watch)
        except (MemoryError, RuntimeError) as error:
            if len(share) == 1 or not _out_of_memory(error):
                raise
            todo = [share[: len(share) // 2], share[len(share) // 2 :], *todo]
            continue
        ticker(1.0, outcome)
        shares.append(Trained(share, outcome, kept.seconds, work.device))
    return shares


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "memory" in str(error).lower()
