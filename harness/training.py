"""Running a study: plan -> executor -> results. What `harness run` does, for a notebook too."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import (
    checkpoints,
    executors,
    grants,
    lineage,
    notes,
    part_files,
    parts,
    plugins,
    results,
    spawning,
    tuning,
)
from harness.axes.metrics import metrics
from harness.board import Board
from harness.costs import stack_seconds
from harness.engines import kernels
from harness.errors import MachineError, UsageError
from harness.plan import Plan, arrange, cores, draw, shortages
from harness.provenance import Provenance, metric_notes
from harness.results import Results
from harness.schema import TUNED, TUNING
from harness.stacks import Engine, Stack, budget_of, stack_bytes
from harness.study import Study
from harness.trials import components_of

GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")  # NVIDIA's, Jetson's, WSL's and AMD's, in /dev
AGAIN = "What is finished is safe in parts/; the same command makes the rest anew from there"
WORKER_BYTES = 900 * 2**20  # torch itself, and two data sets as they came and in float32


@dataclass(frozen=True)
class Summary:
    """What a run did: how many planned trials have each status now, and how long it took."""

    folder: Path
    statuses: Mapping[str, int]
    trained: int
    seconds: float
    failures: Sequence[str]
    tuned: Path | None = None
    """The folder of the tuned phase, where there was one."""
    unchosen: str = ""
    """Why nothing was chosen, though the study tunes."""
    notes: Sequence[str] = ()
    """What engines did otherwise than expected, each once."""


@dataclass
class Progress:
    """How far a run is; a display reads it from its own thread.

    `title` says what is trained. `total` trials are to be trained now, in `stacks`, in the order of the
    board's places; `done` counts those whose stack is over, `failed` among them.
    """

    total: int
    board: Board
    stacks: Sequence[Stack]
    notes: Sequence[str] = ()
    title: str = "training"
    done: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    told: dict[str, None] = field(default_factory=dict)
    """What engines did otherwise than expected, each once."""

    def note(self, folder: Path, done: executors.Done) -> None:
        """A stack is done; one that failed without leaving a part gets one."""
        self.done += len(done.stack.trials)
        self.told |= dict.fromkeys(done.notes)
        if done.failure:
            self.failed += len(done.stack.trials)
            self.board.clear([stack.group for stack in self.stacks].index(done.stack.group))
            self.failures.append(
                f"{len(done.stack.trials)} trials of stack {done.stack.group}: {done.failure}"
            )
            if not done.statuses:
                parts.write_failure(folder, done.stack, done.failure)

    @property
    def trials(self) -> float:
        """Trials trained in this run, those in flight by the share of their steps."""
        return float(self.board.trained.sum())


def run(
    study: Study,
    folder: Path | str | None = None,
    *,
    engine: Engine = "stacked",
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every: str = checkpoints.EVERY,
    retrain: bool = False,
    display: Display | None = None,
    live: bool = False,
) -> Results:
    """Train what is missing of a study, and read the results.

    Args:
        study: a validated study (`harness.study.load`).
        folder: the results folder; results/<study>/ if not given.
        engine: what trains the trials: stacked, loop, or numpy.
        device: auto (a GPU if there is one), cpu, cuda, or mps.
        workers: worker processes; 1 trains in this process. One a core, or one a GPU, if not given.
        checkpoint_every: how often a stack is kept, to be gone on from after a kill: "60 seconds",
            "5 epochs", or "never".
        retrain: train all trials anew, although they are finished: where something has changed that their
            ids do not tell. The old results stay until the new ones of their stack are written. A run that
            is stopped goes on without it.
        display: a context manager made from a Progress, which changes while trials are trained.
        live: draw the loss curve while trials are trained: in a notebook's cell, and into the folder's
            live.png and live.html.

    A study with [tune] leaves its tuned arms in `folder`/tuned: `harness.results.read` reads them; what is
    given back are the arms as they stand.

    Raises:
        UsageError: the study or the folder is not what it should be.
        MachineError: the results cannot be written, or the data not be had.
    """
    folder = folder_of(study, folder)
    if live:
        from harness.live import beside

        display = beside(folder, display)
    train(
        study, folder, engine=engine, device=device, workers=workers,
        checkpoint_every=checkpoint_every, retrain=retrain, display=display,
    )  # fmt: skip
    return results.read(folder)


def folder_of(study: Study, folder: Path | str | None) -> Path:
    """Where a study's results go."""
    return Path(folder) if folder else Path("results") / study.name


def train(
    study: Study,
    folder: Path | str | None = None,
    *,
    engine: Engine = "stacked",
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every: str = checkpoints.EVERY,
    retrain: bool = False,
    display: Display | None = None,
) -> Summary:
    """Train what is missing of a study; the arguments are `run`'s.

    One with a [tune] table is trained in three phases (`harness.tuning`), each into a folder of its own.
    """
    spawning.check_main()
    if study.search is not None and study.about.phase == "fixed":
        raise UsageError(
            f"{study.name} is a search: use `harness search`, or harness.search(study) in Python, not run"
        )
    folder, how = folder_of(study, folder), _How(engine, device, workers, checkpoint_every, display)
    drawn = check(study, folder, engine, checkpoint_every)  # before the folder is touched
    with results.claimed(folder):
        for old in (folder, folder / TUNING, folder / TUNED) if retrain else ():
            results.mark_old(old)
        first = _train(drawn, folder, how)
        if study.tune is None or study.about.phase != "fixed":
            return first
        tries, tuned = _claimed(study.in_phase("tuning"), folder / TUNING, how), folder / TUNED
        if tries.statuses.get("failed"):  # a choice among what happened not to fail would be none
            why = f"{tries.statuses['failed']} of the trials to tune by failed, so no arm has chosen"
            return replace(_together([first, tries]), unchosen=why)
        last = _claimed(study.in_phase("tuned", tuning.choose(study, folder)), tuned, how)
    return replace(_together([first, tries, last]), tuned=tuned)


@dataclass(frozen=True)
class _How:
    """How a study is trained: `run`'s arguments, checked where they are used."""

    engine: Engine
    device: str
    workers: int | None
    checkpoint_every: str
    display: Display | None


def _claimed(study: Study, folder: Path, how: _How) -> Summary:
    """Train what is missing of a study, in one folder, which is held for that."""
    drawn = check(study, folder, how.engine, how.checkpoint_every)
    with results.claimed(folder):
        return _train(drawn, folder, how)


def check(
    study: Study, folder: Path, engine: Engine = "stacked", checkpoint_every: str = checkpoints.EVERY
) -> Plan:
    """Raise UsageError where the folder is another study's, or the data are others; gives what was drawn."""
    checkpoints.Cadence.of(checkpoint_every)
    drawn = draw(study, engine)
    lineage.check(folder, drawn, results.check_same(folder, study, _digests(drawn)))
    return drawn


def _digests(plan: Plan) -> dict[str, str]:
    return {name: dataset.facts.digest for name, dataset in plan.datasets.items()}


def _train(drawn: Plan, folder: Path, how: _How) -> Summary:
    """Train what is missing of a study, in a folder that is held."""
    start, study, digests = time.monotonic(), drawn.study, _digests(drawn)
    components = [entry for _, entry in components_of(drawn.trials)]
    plugins.check_unchanged(components)
    known = results.check_same(folder, study, digests)
    devices = choose_devices(how.device, how.engine)
    count = how.workers or (len(devices) if devices[0] != "cpu" else cores())
    results.check_parts(folder)
    finished = results.finished(folder, set_aside=True)
    plan = arrange(drawn, how.engine, results.stacks_of(known), devices[0], count, finished)
    todo = results.unfinished(plan, finished)
    count = spawning.possible(affordable(min(count, len(todo)), todo))
    works = _works(todo, folder, study, devices, checkpoints.Cadence.of(how.checkpoint_every))
    board = _board([work.stack for work in works])
    count = _heard(count, board)
    with executors.started(works, board, count, third_party_modules(plan)) as trained:
        for dataset in plan.datasets.values():
            dataset.load()
        notes = checkpoints.settle(folder, todo, devices[0], study.metrics, finished)
        again = [stack.group for stack in todo]
        results.begin(folder, plan, {**known.get("data", {}), **digests}, again)
        provenance = Provenance(folder, plan, devices, count)
        notes += lineage.notes(plan, known, finished)
        notes += shortages(todo, study, count if devices[0] == "cpu" else 0, folder)
        notes += [*metric_notes(folder, plan), *_kernel_notes(works), *_old_notes(folder, todo)]
        notes += [] if todo else _engine_notes(folder, how.engine)
        progress = _progress(works, board, [*plan.warnings, *notes], study)
        try:
            # Closed before the folder is consolidated: no part may land after that.
            end = put_in_order(folder, lambda: _finish(folder, provenance, progress))
            with end, (how.display or nullcontext)(progress), closing(trained):
                for done in trained:
                    progress.note(folder, done)
                    part_files.remember(folder, done.stack.group)
                    if not done.failure:
                        results.renewed(folder, done.stack.group)
        except MachineError:
            plugins.check_unchanged(components)  # where a file has changed, that is the reason to tell
            raise
    return _summary(folder, progress, time.monotonic() - start)


def _finish(folder: Path, provenance: Provenance, progress: Progress) -> None:
    """Put a folder in order when a run is over, also one that was stopped."""
    if (folder / checkpoints.FOLDER).exists():
        checkpoints.tidy(folder, results.finished(folder))
    results.consolidate(folder)
    provenance.finish(progress.done - progress.failed)


@contextmanager
def put_in_order(folder: Path, finish: Callable[[], None]) -> Iterator[None]:
    """Finish a folder after the block; where the block fails, that is what is told, whatever comes after.

    Raises:
        MachineError: the folder is gone, or cannot be read or written.
    """
    try:
        yield
    except BaseException as first:
        try:
            finish()
        except (OSError, MachineError, UsageError) as error:
            if isinstance(first, Exception):
                results.check_there(folder)
            notes.warn(f"{folder} is not put in order: {error}")
        raise
    try:
        finish()
    except (OSError, UsageError) as error:
        results.check_there(folder)
        raise MachineError(f"{folder} is not put in order: {error}. {AGAIN}") from error


def _engine_notes(folder: Path, engine: Engine) -> list[str]:
    """Say where another engine than the one asked for has trained what is finished."""
    engines = set(results.read_trials(folder)["engine"].dropna()) - {engine}
    if not engines:
        return []
    others = " and ".join(sorted(engines))
    done = f"the {engine} engine trains nothing: all trials are finished, by the {others} engine"
    return [f"{done}. For a second opinion, train into another folder (--results)"]


def _old_notes(folder: Path, todo: Sequence[Stack]) -> list[str]:
    """Say how much is trained although it was finished, or was being so when a run was stopped."""
    old = results.to_renew(folder)
    count = sum(len(stack.trials) for stack in todo if stack.group in old)
    if not count:
        return []
    return [f"{count} finished trials are trained anew; their results stay until the new ones are written"]


def _kernel_notes(works: Sequence[executors.Work]) -> list[str]:
    """Why the kernels are not used, where they would be."""
    missing = (
        kernels.why_not() if any(w.device == "cpu" and w.stack.engine == "stacked" for w in works) else ""
    )
    if not missing:
        return []
    return [f"{missing}: PyTorch computes what the kernels would"]


def _together(done: Sequence[Summary]) -> Summary:
    """What several phases did, as one: of the first one's folder."""
    statuses: dict[str, int] = {}
    for status, count in (item for summary in done for item in summary.statuses.items()):
        statuses[status] = statuses.get(status, 0) + count
    failures = [failure for summary in done for failure in summary.failures]
    trained, seconds = (sum(getattr(one, what) for one in done) for what in ("trained", "seconds"))
    notes = list(dict.fromkeys(note for summary in done for note in summary.notes))
    return Summary(done[0].folder, statuses, trained, seconds, failures, notes=notes)


def _summary(folder: Path, progress: Progress, seconds: float) -> Summary:
    statuses = results.count_statuses(results.read_trials(folder))
    trained = progress.done - progress.failed
    return Summary(folder, statuses, trained, seconds, progress.failures, notes=list(progress.told))


def _board(stacks: Sequence[Stack]) -> Board:
    evaluations = max((len(budget_of(stack).eval_steps) for stack in stacks), default=1)
    return Board([len(stack.trials) for stack in stacks], evaluations)


def _heard(count: int, board: Board) -> int:
    """As many workers as wanted, or one, which is this process, where the board has no others: it warns."""
    if count > 1 and board.missing:
        notes.warn(
            f"trains in this process, on one core: no memory can be shared with workers ({board.missing}). "
            "Free or enlarge /dev/shm, or allow more open files (ulimit -n), for more"
        )
        return 1
    return count


def _progress(works: Sequence[executors.Work], board: Board, notes: Sequence[str], study: Study) -> Progress:
    stacks = [work.stack for work in works]
    total = sum(len(stack.trials) for stack in stacks)
    return Progress(total, board, stacks, notes, study.phase.title)


def choose_devices(device: str, engine: Engine = "stacked") -> list[str]:
    """The devices to train on: all GPUs for cuda, one name otherwise.

    Raises:
        UsageError: the engine does not compute there.
        MachineError: the machine has no such device.
    """
    if engine == "numpy" and device not in {"auto", "cpu"}:
        raise UsageError(
            f"--device {device}: the numpy engine computes on the CPU. Use --device auto or cpu."
        )
    if device == "cpu" or engine == "numpy" or (device == "auto" and not _may_have_gpu()):
        return ["cpu"]
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if device == "auto":
        return gpus or ["cpu"]
    if device == "cuda" and gpus:
        return gpus
    if device == "mps" and torch.backends.mps.is_available():
        return ["mps"]
    raise MachineError(
        f"--device {device}: PyTorch {torch.__version__} finds none here. Use --device auto or cpu."
    )


def _may_have_gpu() -> bool:
    """False where there is surely no GPU for torch: to ask torch itself costs its import, a second or two."""
    return sys.platform != "linux" or any(next(Path("/dev").glob(name), None) for name in GPU_FILES)


def _works(
    todo: Sequence[Stack],
    folder: Path,
    study: Study,
    devices: Sequence[str],
    cadence: checkpoints.Cadence,
) -> list[executors.Work]:
    # Longest first, so that no core idles at the end beside one that has just begun a long stack.
    ordered = sorted(todo, key=stack_seconds, reverse=True)
    return [
        executors.Work(
            stack,
            folder.resolve(),
            devices[i % len(devices)],
            study.about.keep_predictions,
            study.about.keep_weights,
            place=i,
            metrics=study.metrics,
            sealed=study.sealed,
            checkpoint_every=cadence,
        )
        for i, stack in enumerate(ordered)
    ]


def affordable(count: int, todo: Sequence[Stack]) -> int:
    """As many workers as memory allows, each with the largest of the stacks."""
    left = grants.memory_left()
    if left is None:
        return count
    largest = max((stack_bytes(stack) for stack in todo), default=0)
    return max(1, min(count, left // (WORKER_BYTES + largest)))


def third_party_modules(plan: Plan) -> list[str] | None:
    """What a worker must import to know the plan's components; None where it cannot (a notebook's cells)."""
    modules = [str((plan.study.path or Path()).parent / name) for name in plan.study.about.plugins]
    chosen = [entry for _, entry in components_of(plan.trials)]
    for entry in [*chosen, *(metrics.entry(name) for name in plan.study.metrics)]:
        if not entry.third_party or entry.module.startswith(plugins.FILE):
            continue
        if entry.module == "__main__":
            return None
        modules.append(entry.module)
    return modules


Display = Callable[[Progress], AbstractContextManager[Any]]
