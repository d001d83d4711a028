"""Run a study: its phases and looks, each into its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from harness import results
from harness.axes import own_networks
from harness.errors import UsageError
from harness.lowering import builds
from harness.lowering.builds import Bits
from harness.planning.plan import Plan, draw, share
from harness.planning.shards import Shard
from harness.planning.stack import Engine
from harness.results import Results, part_files, run_folder
from harness.results.checkpoints import EVERY
from harness.settings.schema import TUNED, TUNING
from harness.study.study import Study
from harness.system import locks, spawning
from harness.training import displays, looks, tuning
from harness.training.bit_checks import check_bits
from harness.training.cluster import connection
from harness.training.folder_runs import RunSummary, check_folder, train_plan
from harness.training.options import RunKeywords, RunOptions
from harness.training.progress import Display


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
        if (folder / "plan.json").is_file() and results.readable_trials(folder) is None:
            run_folder.check_parts(folder)
            run_folder.describe(folder, drawn)  # makes the tables, which rounds choose by, from the parts
        for number in range(count):
            planned = tuning.in_round(drawn, folder, number)
            needless = {*planned.skipped, *run_folder.finished(folder)}
            left = any(trial.trial_id not in needless for trial in planned.trials)
            if left or number == count - 1:  # a finished round's plan would lack the stacks of later ones
                trained.append(train_plan(planned, folder, options))
                if trained[-1].statuses.get("failed"):
                    break
    return replace(_together(trained), statuses=trained[-1].statuses)


def _train_stages(drawn: Plan, folder: Path, options: RunOptions) -> RunSummary:
    """Train a plan, in a folder that is held: up to each look at the study, if it has any, and to its end."""
    stages: list[RunSummary] = []
    for stage in looks.stages(drawn, folder):
        stages.append(train_plan(stage, folder, options))
        if stages[-1].statuses.get("failed"):  # a look at those that happened not to fail would be unfair
            break
    return replace(_together(stages), statuses=stages[-1].statuses)


def _train_phase(study: Study, folder: Path, options: RunOptions) -> RunSummary:
    """Train what is missing of a phase, in its own folder, which is held for that."""
    drawn = share(draw(study, options.engine), options.share)
    check_folder(folder, drawn, options)
    with locks.locked(folder):
        return train_plan(drawn, folder, options)


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
