"""Running a study: plan it, prepare its folder, train its stacks, consolidate the results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from harness import notes, results
from harness.axes import own_networks, plugins
from harness.axes.metrics import metrics
from harness.engines.compiled import engine as compiled
from harness.errors import MachineError, UsageError
from harness.lowering import builds
from harness.lowering.builds import Bits
from harness.planning.cost import longest_first
from harness.planning.plan import Known, Plan, arrange, draw, keep, share, shortages
from harness.planning.shards import Shard
from harness.planning.stack import Engine, Stack, budget_of
from harness.results import (
    Results,
    checkpoints,
    columns,
    documents,
    kept_states,
    part_files,
    parts,
    run_folder,
    tables,
)  # fmt: skip
from harness.results.checkpoints import EVERY
from harness.results.csv_rows import TextTable
from harness.results.provenance import Provenance, metric_notes
from harness.settings.schema import TUNED, TUNING
from harness.study.study import Study
from harness.study.trials import components_of
from harness.system import locks, spawning
from harness.training import displays, going_on, looks, starts, tuning
from harness.training.bit_checks import check_bits, check_earlier, compile_portable
from harness.training.cluster import connection
from harness.training.cluster.choosing import workers_for
from harness.training.executors import Executor
from harness.training.options import RunKeywords, RunOptions, affordable
from harness.training.progress import Display, Progress, SharedProgress
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


def run(  # noqa: PLR0913 (a person's keywords; RunOptions from here on)
    study: Study, folder: Path | str | None = None, *, live: bool = False,
    engine: Engine | Path | type = "stacked",
    device: str = "auto", workers: int | None = None, checkpoint_every: str = EVERY, retrain: bool = False,
    display: Display | None = None, bits: Bits = "native", verbose: bool = False, cluster: str = "",
    shard: str = "",
) -> Results:  # fmt: skip
    """Train what is missing of a study, and read the results.

    Args:
        study: a validated study, of `harness.parse` or `harness.load`.
        folder: the results folder; if not given results/<study>/, or that of the shard beside it.
        live: draw the loss curve while trials are trained: in a notebook's cell, and into the folder's
            live.png and live.html.
        engine: stacked, loop or numpy; or a network of your own in NumPy: a file "my_network.py", or a class
            with `__init__(weights, settings)`, `parameters`, `forward(x)` and `gradients(x, target)`.
        device: auto, cpu, cuda or mps.
        workers: worker processes; one a core or GPU if not given.
        checkpoint_every: such as "60 seconds", "5 epochs" or "never".
        retrain: train all trials anew, although they are finished.
        display: a context manager made from a Progress; in a notebook, a progress bar if not given.
        verbose: write a line for each evaluation: its epoch, losses and accuracies; of up to 20 trials.
        bits: "native", or "portable": rows that are the same to the last bit on every x86-64 and AArch64
            processor; what cannot give them is refused before anything is trained.
        cluster: a Ray cluster that trains in place of this machine's processes: "auto", "local:4",
            "HOST:PORT" or "ray://HOST:PORT".
        shard: "3/16": train the third of sixteen shares of the trials alone, the same on every machine;
            `harness merge` joins their folders.

    Returns:
        The results, as `harness.read(folder)` gives them: `.trials` has a row a trial, `.epochs` a row an
        evaluation, and `.trial()` is the best one. Of a study with [tune] they are those of the arms as they
        stand; `harness.read` of `folder`/tuned gives those of the tuned arms.

    Raises:
        UsageError: the study, the folder or an option is not valid.
        MachineError: the results cannot be written, or the data cannot be had.

    Example:
        >>> results = harness.run(study)  # doctest: +SKIP
        >>> results.trials.groupby("lr").val_accuracy.mean()  # doctest: +SKIP
    """
    share = Shard.of(shard) if shard else None
    folder, display = folder_of(study, folder, share), displays.chosen(display, verbose=verbose)
    if live:
        from harness.training.live import live_display

        display = live_display(folder, display)
    name = own_networks.named(engine)
    options = RunOptions(name, device, workers, checkpoint_every, retrain, display, bits, cluster, shard)
    train(study, folder, **vars(options))
    return results.read(folder)


def folder_of(study: Study, folder: Path | str | None, shard: Shard | None = None) -> Path:
    """Return the results folder of a study or its shard: the given one, or the default."""
    if folder:
        return Path(folder)
    name = Study.checked(study).name
    return Path("results") / (f"{name}{shard.suffix}" if shard else name)


def train(study: Study, folder: Path | str | None = None, **keywords: Unpack[RunKeywords]) -> RunSummary:
    """Train what is missing of a study; the arguments are `run`'s."""
    spawning.check_main()
    if study.search is not None and study.about.phase == "fixed":
        raise UsageError(
            f"{study.name} is a search: use `harness search`, or harness.search(study) in Python, not run"
        )
    options = RunOptions(**keywords)
    return train_phases(draw(study, options.engine), folder_of(study, folder, options.share), options)


def train_phases(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train what is missing of a study whose trials are drawn.

    A study with a [tune] table is trained in three phases (`harness.training.tuning`), each into a folder.
    """
    with builds.using(options.bits):
        return _train_phases(drawn, folder, options)


def _train_phases(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train as `train_phases`, in the build that is in use."""
    study, drawn = drawn.study, share(drawn, options.share)
    looks.looks_of(drawn)  # says what cannot be looked at, before the folder is touched
    check_bits(drawn, options)
    if study.tune is not None and study.about.phase == "fixed":
        check_bits(draw(study.in_phase("tuning"), options.engine), options)
    check_folder(folder, drawn, options)  # before the folder is touched
    with locks.locked(folder), connection.connected(options.cluster):
        for old in (folder, folder / TUNING, folder / TUNED) if options.retrain else ():
            part_files.mark_old(old)
        first = _train_stages(drawn, folder, options)
        if study.tune is None or study.about.phase != "fixed":
            return first
        tries, tuned = _tune(study.in_phase("tuning"), folder / TUNING, options), folder / TUNED
        if tries.statuses.get("failed"):  # a choice among those that happened not to fail would be unfair
            why = f"{tries.statuses['failed']} of the trials to tune by failed, so no arm has chosen"
            return replace(_together([first, tries]), unchosen=why)
        last = _train_phase(study.in_phase("tuned", tuning.choose(drawn, folder)), tuned, options)
    return replace(_together([first, tries, last]), tuned=tuned)


def _tune(study: Study, folder: Path, options: RunOptions) -> RunSummary:
    """Train what arms try, in its own folder; with halving in rounds, each with what the one before left."""
    count = tuning.rounds(study)
    if count == 1:
        return _train_phase(study, folder, options)
    drawn = share(draw(study, options.engine), options.share)
    check_folder(folder, drawn, options)
    trained: list[RunSummary] = []
    with locks.locked(folder):
        if (folder / "plan.json").is_file() and not (folder / "trials.csv").is_file():
            tables.consolidate(folder, part_files.read_all(folder).sound)  # which rounds choose by
        for number in range(count):
            planned = tuning.in_round(drawn, folder, number)
            needless = {*planned.skipped, *run_folder.finished(folder)}
            left = any(trial.trial_id not in needless for trial in planned.trials)
            if left or number == count - 1:  # a finished round's plan would lack the stacks of later ones
                trained.append(_train(planned, folder, options))
                if trained[-1].statuses.get("failed"):
                    break
    return replace(_together(trained), statuses=trained[-1].statuses)


def _train_stages(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train a plan, in a folder that is held: up to each look at the study, if it has any, and to its end."""
    stages: list[RunSummary] = []
    for stage in looks.stages(drawn, folder):
        stages.append(_train(stage, folder, options))
        if stages[-1].statuses.get("failed"):  # a look at those that happened not to fail would be unfair
            break
    return replace(_together(stages), statuses=stages[-1].statuses)


def _train_phase(study: Study, folder: Path, options: RunOptions) -> RunSummary:
    """Train what is missing of a phase, in its own folder, which is held for that."""
    drawn = share(draw(study, options.engine), options.share)
    check_folder(folder, drawn, options)
    with locks.locked(folder):
        return _train(drawn, folder, options)


def check_folder(folder: Path, drawn: Plan, options: RunOptions) -> dict[str, Any]:
    """Return the plan that an earlier run left in a folder, {} if none did; UsageError where they differ."""
    _ = options.cadence
    known = run_folder.check_compatible(folder, drawn.study, _digests(drawn))
    run_folder.check_shard(folder, drawn, known)
    run_folder.check_trials(folder, drawn.whole or drawn, known)
    return known


def _digests(plan: Plan) -> dict[str, str]:
    return {name: dataset.facts.digest for name, dataset in plan.datasets.items()}


def _together(phases: Sequence[RunSummary]) -> RunSummary:
    """Combine the summaries of several phases, in the first one's folder."""
    statuses: Counter[str] = Counter()
    for phase in phases:
        statuses.update(phase.statuses)
    return RunSummary(
        phases[0].folder,
        statuses,
        sum(phase.trained for phase in phases),
        sum(phase.seconds for phase in phases),
        [failure for phase in phases for failure in phase.failures],
        notes=list(dict.fromkeys(note for phase in phases for note in phase.notes)),
    )


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


def _train(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train what is missing of a plan, in a folder that is held."""
    start = time.monotonic()
    components = [entry for _, entry in components_of(drawn.trials)]
    plugins.check_unchanged(components)
    planned, earlier = _plan(drawn, folder, options)
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
            folder, planned.plan, planned.devices, planned.processes, here=not options.cluster
        )
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


def _plan(drawn: Plan, folder: Path, options: RunOptions) -> tuple[PlannedRun, part_files.Parts]:
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
    cadence, root = options.cadence, folder.resolve()
    tasks = [
        StackTask(
            stack,
            devices[i % len(devices)],
            drawn.study,
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
