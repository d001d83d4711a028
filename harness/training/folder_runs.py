"""Train a plan into its results folder: put it into tasks, prepare the folder, train, consolidate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import notes
from harness.axes import own_networks, plugins
from harness.axes.metrics import metrics
from harness.engines.compiled import engine as compiled
from harness.errors import MachineError, UsageError
from harness.planning.cost import longest_first
from harness.planning.plan import Known, Plan, arrange, keep
from harness.planning.shortages import shortages
from harness.planning.stack import Engine, Stack, budget_of
from harness.results import (
    checkpoints,
    columns,
    documents,
    kept_states,
    part_files,
    parts,
    run_folder,
    tables,
)  # fmt: skip
from harness.results.csv_rows import TextTable
from harness.results.provenance import Provenance, metric_notes
from harness.study.trials import components_of
from harness.system import locks, spawning
from harness.training import going_on, starts
from harness.training.bit_checks import check_earlier, compile_portable
from harness.training.cluster.choosing import workers_for
from harness.training.executors import Executor
from harness.training.options import RunOptions, affordable
from harness.training.progress import Progress, SharedProgress
from harness.training.tasks import StackTask
from harness.training.watched import watched

AGAIN = "What is finished is safe in parts/; the same command rebuilds the tables from it"


@dataclass(frozen=True)
class RunSummary:
    """The summary of a run: how many planned trials have each status now, and how long it took.

    `tuned` is the folder of the tuned phase, where there was one; `unchosen` says why nothing was chosen,
    though the study tunes; `notes` say what engines did otherwise than expected, each once.
    """

    folder: Path
    statuses: Mapping[str, int]
    trained: int
    seconds: float
    failures: Sequence[str]
    tuned: Path | None = None
    unchosen: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class PlannedRun:
    """A run that is about to train: `tasks` are its missing stacks, `known` an earlier run's plan.

    `finished` has the status of the trials that need not be trained again; `processes` train at once, on
    other machines if it trains `elsewhere`.
    """

    folder: Path
    plan: Plan
    engine: Engine
    known: Mapping[str, Any]
    finished: Mapping[str, str]
    devices: Sequence[str]
    processes: int
    tasks: Sequence[StackTask]
    shared: SharedProgress
    remarks: Sequence[str] = ()
    elsewhere: bool = False

    @property
    def stacks(self) -> list[Stack]:
        """The stacks to train, the longest first."""
        return [task.stack for task in self.tasks]


def check_folder(folder: Path, drawn: Plan, options: RunOptions) -> dict[str, Any]:
    """Return the plan that an earlier run left in a folder, {} if none did; UsageError where they differ."""
    _ = options.cadence
    known = run_folder.check_compatible(folder, drawn.study, _digests(drawn))
    run_folder.check_shard(folder, drawn, known)
    run_folder.check_trials(folder, drawn.whole or drawn, known)
    return known


def _digests(plan: Plan) -> dict[str, str]:
    return {name: dataset.facts.digest for name, dataset in plan.datasets.items()}


def train_plan(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train what is missing of a plan, in a folder that is held."""
    start = time.monotonic()
    components = [entry for _, entry in components_of(drawn.trials)]
    plugins.check_unchanged(components)
    planned, earlier = plan_run(drawn, folder, options)
    modules = third_party_modules(planned.plan, options.engine)
    with closing(
        workers_for(
            options, planned.processes, planned.devices[0], modules, planned.shared, drawn=planned.plan
        )
    ) as workers:
        engines = {stack.engine for stack in planned.stacks}
        workers.start(engines, early=True)
        remarks, trials = _prepare(planned, earlier)
        del earlier  # the tables of all that is finished, as text
        provenance = Provenance(
            folder, planned.plan, planned.devices, planned.processes, here=not options.cluster,
            idle=not planned.stacks,
        )  # fmt: skip
        remarks += _remarks(planned, trials)
        del trials  # of very many trials, the table takes as much memory as the plan
        title = drawn.study.phase.title
        total = sum(len(stack.trials) for stack in planned.stacks)
        progress = Progress(total, planned.shared, planned.stacks, [*planned.plan.warnings, *remarks], title)
        workers.start(engines)
        try:
            with (
                put_in_order(folder, lambda: _consolidate(folder, provenance, progress, workers.facts())),
                (options.display or nullcontext)(progress),
                watched(folder, progress),
                closing(workers),  # before the folder is consolidated: no part may land after that
            ):
                _execute(planned, workers, progress)
        except MachineError:
            plugins.check_unchanged(components)  # where a file has changed, that is the reason to tell
            raise
    trained, seconds = progress.done - progress.failed, time.monotonic() - start
    engine_notes = list(progress.engine_notes)
    return RunSummary(folder, progress.statuses, trained, seconds, progress.failures, notes=engine_notes)


def plan_run(drawn: Plan, folder: Path, options: RunOptions) -> tuple[PlannedRun, part_files.Parts]:
    """Put the trials into stacks, and the missing ones into tasks; returns the parts of earlier runs, too."""
    known = check_folder(folder, drawn, options)
    devices = options.devices()
    run_folder.check_parts(folder)
    earlier = part_files.read_all(folder)
    finished = run_folder.finished(folder, earlier, set_aside=True)
    drawn = keep(drawn, finished)
    check_earlier(folder, drawn, finished, options, earlier)
    count = options.processes(devices)
    if options.engine == "stacked" and devices[0] == "cpu":  # what fails its check is stacked by itself
        needless = {*finished, *drawn.skipped}
        missing = [trial for trial in drawn.trials if trial.trial_id not in needless]
        if options.bits == "portable":
            compile_portable(drawn, missing)
        else:
            compiled.compile_new(missing, drawn.study.metrics)
    kept = _kept_stacks(folder, known, options.engine)
    start = starts.source(drawn, folder)
    longer = going_on.find(drawn, options.engine, kept, finished, folder, devices[0])
    plan = arrange(drawn, options.engine, [*kept, *longer.stacks], devices[0], count, finished)
    # Longest first, so that no core idles at the end beside one that has just begun a long stack.
    todo = longest_first(run_folder.unfinished(plan, finished))
    cadence, root, study = options.cadence, folder.resolve(), drawn.study.bare()
    tasks = [
        StackTask(
            stack,
            devices[i % len(devices)],
            study,
            root,
            place=i,
            checkpoint_every=cadence,
            source=longer.sources.get(stack.group, start),
        )
        for i, stack in enumerate(todo)
    ]
    evaluations = max((len(budget_of(stack).eval_steps) for stack in todo), default=1)
    shared = SharedProgress([len(stack.trials) for stack in todo], evaluations)
    if not options.cluster:
        count = spawning.possible(affordable(min(count, len(todo)), todo))
        count = _heard(count, shared)
    planned = PlannedRun(
        folder, plan, options.engine, known, finished, devices, count, tasks, shared, longer.remarks,
        elsewhere=bool(options.cluster),
    )  # fmt: skip
    return planned, earlier


def _kept_stacks(folder: Path, known: Mapping[str, Any], engine: Engine) -> list[Known]:
    """List the stacks of an earlier plan, without those that another engine is asked to train anew."""
    old = part_files.to_renew(folder)
    same = {engine, "loop"} if engine == "stacked" else {engine}  # what cannot be stacked goes to the loop
    return [stack for stack in documents.stacks_of(known) if stack[0] not in old or stack[1] in same]


def _heard(count: int, shared: SharedProgress) -> int:
    """Return `count`; or one, with a warning, where workers could not write into the shared progress."""
    if count > 1 and shared.missing:
        notes.warn(
            f"trains in this process, on one core: no memory can be shared with workers ({shared.missing}). "
            "Free or enlarge /dev/shm, or allow more open files (ulimit -n), for more"
        )
        return 1
    return count


def _prepare(planned: PlannedRun, earlier: part_files.Parts) -> tuple[list[str], TextTable]:
    """Load the data, and write the plan into the folder; return remarks on checkpoints, and the trials."""
    for dataset in planned.plan.datasets.values():
        dataset.load()
    tracked = planned.plan.study.metrics
    remarks = checkpoints.prepare(
        planned.folder, planned.stacks, planned.devices[0], tracked, planned.finished,
        elsewhere=planned.elsewhere,
    )  # fmt: skip
    groups = [stack.group for stack in planned.stacks]
    digests = {**planned.known.get("data", {}), **_digests(planned.plan)}
    trials = run_folder.write_plan(planned.folder, planned.plan, digests, groups, earlier)
    return remarks, trials


def _execute(planned: PlannedRun, workers: Executor, progress: Progress) -> None:
    """Train the tasks; a stack that failed without leaving a part gets one."""
    folder = planned.folder
    for result in workers.run(planned.tasks):
        progress.note(result.stack, result.failure, result.notes)
        if result.failure and not result.statuses:
            parts.write_failure(folder, result.stack, result.failure)
        part_files.remember(folder, result.stack.group)
        if not result.failure:
            part_files.renewed(folder, result.stack.group)


def _consolidate(folder: Path, provenance: Provenance, progress: Progress, facts: Mapping[str, Any]) -> None:
    """Put a folder in order when a run is over, also one that was stopped; `facts` are for its provenance."""
    stored = part_files.read_all(folder)
    if (folder / checkpoints.FOLDER).exists() or (folder / kept_states.FOLDER).exists():
        finished = run_folder.finished(folder, stored)
        checkpoints.prune(folder, finished)
        kept_states.prune(folder, finished)
    sound = part_files.retire(folder, stored.sound, documents.plan(folder))
    progress.statuses = columns.count(tables.consolidate(folder, sound)["status"])
    provenance.finish(progress.done - progress.failed, facts)


@contextmanager
def put_in_order(folder: Path, finish: Callable[[], None]) -> Iterator[None]:
    """Finish a folder after the block; an error of the block is raised, whatever `finish` raises."""
    try:
        yield
    except BaseException as first:
        try:
            finish()
        except (OSError, MachineError, UsageError) as error:
            if isinstance(first, Exception):
                locks.check_there(folder)
            notes.warn(f"{folder} is not put in order: {error}")
        raise
    try:
        finish()
    except (OSError, UsageError) as error:
        locks.check_there(folder)
        raise MachineError(f"{folder} is not put in order: {error}. {AGAIN}") from error


def _remarks(planned: PlannedRun, trials: TextTable) -> list[str]:
    plan, folder, stacks = planned.plan, planned.folder, planned.stacks
    on_cpu = planned.devices[0] == "cpu"
    return [
        *planned.remarks,
        *run_folder.dropped_notes(plan, planned.known, planned.finished),
        *shortages(stacks, plan.study, planned.processes if on_cpu else 0, folder),
        *metric_notes(folder, plan, trials),
        *(plan.one_by_one if stacks else ()),
        *_compilation_remarks(planned),
        *_old_remarks(folder, stacks),
        *([] if stacks else _engine_remarks(trials, planned.engine)),
    ]


def _compilation_remarks(planned: PlannedRun) -> list[str]:
    """Compile what the stacks need, before a worker does; say what trains in PyTorch instead, and why."""
    stacks = [task.stack for task in planned.tasks if task.device == "cpu"]
    return compiled.prepare(stacks, planned.plan.study.metrics)


def _old_remarks(folder: Path, stacks: Sequence[Stack]) -> list[str]:
    """Say how much is trained although it was finished, or was being so when a run was stopped."""
    old = part_files.to_renew(folder)
    count = sum(len(stack.trials) for stack in stacks if stack.group in old)
    if not count:
        return []
    return [f"{count} finished trials are trained anew; their results stay until the new ones are written"]


def _engine_remarks(trials: TextTable, engine: Engine) -> list[str]:
    """Say where another engine than the one asked for has trained what is finished."""
    others = " and ".join(sorted(set(trials["engine"]) - {engine, ""}))
    if not others:
        return []
    done = f"the {engine} engine trains nothing: all trials are finished, by the {others} engine"
    return [f"{done}. For a second opinion, train into another folder (--results)"]


def third_party_modules(plan: Plan, engine: Engine = "stacked") -> list[str] | None:
    """Return the modules that define a plan's components; None if no worker can import one (a notebook's).

    A plugin is named by its file, also one that the study does not name, but the command or a script does. A
    person's own network is the engine's: its file behind `own_networks.PREFIX`.
    """
    file = own_networks.find(engine).file if own_networks.is_own(engine) else Path()
    if file is None:
        return None
    named = [(plan.study.path or Path()).parent / name for name in plan.study.about.plugins]
    modules = [str(path.resolve()) for path in named]
    chosen = [entry for _, entry in components_of(plan.trials)]
    for entry in [*chosen, *(metrics.entry(name) for name in plan.study.metrics)]:
        if not entry.third_party:
            continue
        if entry.module == "__main__":
            return None
        of_a_plugin = entry.module.startswith(plugins.FILE)
        modules.append(str(plugins.file_of(entry.module)) if of_a_plugin else entry.module)
    if own_networks.is_own(engine):
        modules.append(f"{own_networks.PREFIX}{file}")
    return list(dict.fromkeys(modules))
