"""The commands of a study: `harness plan`, `harness run` and `harness search`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from harness import notes
from harness.cli import json_output, planned_seeds
from harness.cli.json_output import json_option
from harness.cli.show import note_missing_letters, plugin_option
from harness.errors import InterruptedRun, UsageError
from harness.system import output_folder

if TYPE_CHECKING:
    from harness.comparison.pilots import Pilot
    from harness.planning.plan import Plan
    from harness.planning.shards import Shard
    from harness.study.study import Study
    from harness.training.options import MachineKeywords, RunKeywords, RunOptions
    from harness.training.progress import Display


UNSHARED = (
    "Its suggestions follow from each other's results, so it has no shares that machines could train apart. "
    "Search on one machine, or on a cluster (--cluster)"
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a study, and the options of the machine that trains it."""
    for option in (
        click.option("--workers", type=click.IntRange(min=1),
                     help="Worker processes; by default one a core or GPU."),
        click.option("--engine", default="stacked", show_default=True, metavar="stacked|loop|numpy|FILE.py",
                     help="What trains: stacks, a plain PyTorch loop, NumPy with derivatives by hand, or a "
                     "network of your own in NumPy: a file, which is run."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                     show_default=True, help="auto takes the GPUs there are, else the CPU."),
        click.option("--bits", type=click.Choice(["native", "portable"]), default="native", show_default=True,
                     help="native: as fast as this processor allows. portable: numbers that are the same to "
                     "the last bit on every x86-64 and AArch64 processor, slower."),
        click.option("--results", type=click.Path(path_type=Path),
                     help="Results folder; results/<study>/ by default."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="A baseline value (lr=0.05), an axis (activation=relu,tanh), or a key of a table "
                     "(search.suggestions=64). Repeatable."),
        plugin_option,
        click.argument("study"),
    ):  # fmt: skip
        command = option(command)
    return command


cluster_option = click.option(
    "--cluster", default="", metavar="auto|local:CORES|HOST:PORT|ray://HOST:PORT",
    help="A Ray cluster that trains in place of this machine's processes: an actor a core or GPU of a node.",
)  # fmt: skip


until_option = click.option(
    "--until", "goals", multiple=True, metavar="OBJECTIVE=LEVEL",
    help="Of a search: ask for no more suggestions once a complete one reaches this, as val_accuracy=0.9. "
    "Repeatable.",
)  # fmt: skip


def _checked_shard(_context: click.Context, _option: click.Parameter, given: str | None) -> str:
    """Refuse what names no shard, also an empty text; without the option it is "", all trials."""
    from harness.planning.shards import Shard

    if given is not None:
        Shard.of(given)
    return given or ""


def shard_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one of a study's shares of trials."""
    option = click.option(
        "--shard", metavar="NUMBER/COUNT", callback=_checked_shard,
        help="One of so many even shares of the trials, such as 3/16: the same on every machine. Its results "
        "folder is results/<study>-shard-3-of-16/; `harness merge` joins them.",
    )  # fmt: skip
    return option(command)


@click.command()
@study_options
@shard_option
@until_option
@planned_seeds.power_options
@json_option
def plan(  # noqa: PLR0913 (options of a command)
    study: str, overrides: Sequence[str], results: Path | None, as_json: bool, shard: str,
    goals: Sequence[str], power: float | None, pilot: Path | None, **options: Unpack[MachineKeywords],
) -> None:  # fmt: skip
    """Show the plan of a study without training: arms, trials, skipped ones and why, time and bytes."""
    from harness.lowering import builds
    from harness.planning.shards import Shard

    share = Shard.of(shard) if shard else None
    with builds.using(options["bits"]):
        loaded = _load(study, [*overrides, *_goal(goals)])
        if loaded.search is not None and share is not None:
            raise UsageError(f"--shard {shard}: {loaded.name} is a search. {UNSHARED}")
        folder = results or Path("results") / f"{loaded.name}{share.suffix if share else ''}"
        asked = planned_seeds.asked(loaded, folder, pilot, power, shard)
        if loaded.search is not None:
            _plan_search(loaded, folder, options, as_json=as_json)
        else:
            from harness.training.options import RunOptions

            _plan(loaded, folder, RunOptions(**options, shard=shard), as_json=as_json, power=asked)


def _plan_search(study: Study, folder: Path, options: MachineKeywords, *, as_json: bool) -> None:
    from harness.planning.plan import draw
    from harness.searching import checks
    from harness.system.resources import cores
    from harness.training.bit_checks import check_bits
    from harness.training.options import RunOptions

    asked = RunOptions(**options)
    engine, processes = asked.engine, options["workers"] or cores()
    checks.check_engine(engine)
    checks.check(study, folder)
    check_bits(draw(checks.every_component(study), engine), asked)
    if as_json:
        from harness.cli import search_answers

        json_output.show("plan", **search_answers.plan(study, engine, folder, processes))
        return
    from harness.cli import search_output

    device = "cuda" if asked.device == "cuda" else "cpu"
    search_output.show_plan(study, folder, engine, processes, device)


def _plan(
    study: Study, folder: Path, asked: RunOptions, *, as_json: bool, power: tuple[Pilot, float] | None
) -> None:  # fmt: skip
    from harness.cli import answers, output
    from harness.planning import compilation
    from harness.planning.plan import arrange, draw, share
    from harness.planning.shortages import shortages
    from harness.settings.schema import TUNING
    from harness.system.resources import cores
    from harness.training import tuning
    from harness.training.bit_checks import check_bits

    processes = asked.workers or cores()
    device = "cuda" if asked.device == "cuda" else "cpu"
    planned, done = _arranged(study, folder, asked, device)
    left = [stack for stack in planned.stacks if any(trial.trial_id not in done for trial in stack.trials)]
    short = shortages(left, study, 0 if device == "cuda" else processes, folder)
    slow = compilation.reasons(left, device, study.metrics)
    planned = replace(planned, warnings=[*planned.warnings, *short])
    tries = None
    if study.tune:
        tries = tuning.expected(share(draw(study.in_phase("tuning"), asked.engine), asked.share))
        tries = arrange(tries, asked.engine, (), device, processes, ())
        check_bits(tries, asked, folder / TUNING)
    seeds = None if power is None else planned_seeds.of_plan(planned, power, asked)
    if as_json:
        answer = answers.plan(planned, folder, processes, done, slow, tries)
        needed = None if seeds is None else planned_seeds.answer(seeds)
        json_output.show("plan", **answer, power=needed)
        return
    output.show_plan(planned, processes, done, slow)
    if tries is not None:
        output.show_tuning_plan(planned, tries, processes)
    if seeds is not None:
        planned_seeds.show(seeds)


def _arranged(study: Study, folder: Path, asked: RunOptions, device: str) -> tuple[Plan, dict[str, str]]:
    """Put a study's trials into stacks, as the folder's earlier plan has them; give what is finished, too."""
    from harness.planning.plan import arrange, draw, keep, share
    from harness.results import documents, run_folder
    from harness.system.resources import cores
    from harness.training import going_on, looks
    from harness.training.bit_checks import check_bits

    known: dict[str, Any] = {}
    done: dict[str, str] = {}
    if (folder / "plan.json").is_file():
        known = run_folder.check_compatible(folder, study, {})
        done = run_folder.finished(folder)
    planned = keep(share(draw(study, asked.engine), asked.share), done)
    kept = documents.stacks_of(known) if known else []
    if known:
        run_folder.check_shard(folder, planned, known)
        run_folder.check_trials(folder, planned.whole or planned, known)
    if looks.looks_of(planned) and done:
        planned = looks.without_needless(planned, folder)
    longer = going_on.find(planned, asked.engine, kept, done, folder, device)
    stacks, processes = [*kept, *longer.stacks], asked.workers or cores()
    planned = arrange(planned, asked.engine, stacks, device, processes, done)
    planned = replace(planned, warnings=[*planned.warnings, *longer.remarks])
    check_bits(planned, asked, folder)
    if known and study.metrics and (folder / "trials.csv").is_file():  # not yet, where a run was killed
        from harness.results import read_trials
        from harness.results.provenance import metric_notes

        told = metric_notes(folder, planned, read_trials(folder))
        planned = replace(planned, warnings=[*planned.warnings, *told])
    return planned, done


def _load(study: str, overrides: Sequence[str]) -> Study:
    from harness.study.reading import load

    return load(study, overrides)


@click.command()
@study_options
@cluster_option
@click.option(
    "--checkpoint-every", metavar="HOW OFTEN", default="60 seconds", show_default=True,
    help="How often a long stack is kept, to go on from: 'N seconds', 'N minutes', 'N epochs', or never.",
)  # fmt: skip
@click.option(
    "--retrain",
    is_flag=True,
    help="Train all trials anew, although they are finished: after a change that trial ids do not record. "
    "The old results stay until the new ones of their stack are written; a run that is stopped goes on "
    "without --retrain.",
)
@shard_option
@click.option("--report/--no-report", default=False, help="Draw the report when the trials are trained.")
@click.option("--live/--no-live", default=False, help="Draw the loss curve while training, into live.html.")
@click.option(
    "--verbose", is_flag=True, help="Write a line for each evaluation: losses and accuracies by epoch."
)
@json_option
def run(  # noqa: PLR0913 (options of a command)
    study: str, overrides: Sequence[str], results: Path | None, report: bool, live: bool, verbose: bool,
    as_json: bool, **options: Unpack[RunKeywords],
) -> None:  # fmt: skip
    """Train what is missing of a study. Running it again goes on from where it stopped.

    `harness watch` shows it in a browser meanwhile.

    A study with [tune] has three parts: as it stands; tuning/, where every arm tries settings and the test
    set stays closed; and tuned/, every arm at what it chose by val (chosen.csv).
    """
    _keep_one_thread()
    from harness.planning.plan import draw
    from harness.planning.shards import Shard

    share = Shard.of(options["shard"]) if options["shard"] else None
    loaded = _load(study, overrides)
    _check_design(loaded, "run", shard=options["shard"])
    drawn = draw(loaded, options["engine"])  # before pandas and torch are imported: errors answer at once
    from harness.cli import output
    from harness.training import displays, runs
    from harness.training.options import RunOptions

    folder = runs.folder_of(loaded, results, share)
    shown: Display = displays.show_progress
    if verbose:
        shown = displays.told_by_evaluation(shown)
    if live:
        from harness.training.live import live_display

        click.echo(f"live curve: {folder / 'live.html'} (open it in a browser)", err=True)
        shown = live_display(folder, shown)
    options["display"] = shown
    try:
        summary = runs.train_phases(drawn, folder, RunOptions(**options))
    except KeyboardInterrupt:
        again = "The same command without --retrain" if options["retrain"] else "The same command"
        words = f"interrupted: what is finished is kept in {folder}. {again} goes on from there."
        raise InterruptedRun(words) from None
    older = f"report.html is older than this run; `harness report {folder}` updates it"
    older = older if not report and (folder / "report.html").is_file() else ""
    if not as_json:
        output.show_summary(summary)
        _say_what_is_next(older, folder, drawn, share, report=report)
    elif older:
        notes.warn(older)
    page = draw_report(folder) if report else None
    if live and not report:
        note_missing_letters()
    if as_json:
        from harness.cli import answers

        said = answers.headline(folder)
        json_output.show("run", study=loaded.name, headline=said, **answers.run(summary), report=page)
    if summary.statuses.get("failed"):
        sys.exit(1)


def _say_what_is_next(older: str, folder: Path, drawn: Plan, share: Shard | None, *, report: bool) -> None:
    """Say where the verdicts are (making them takes longer than ten small trials), and the other shards."""
    if older:
        click.echo(f"note: {older}")
    elif not report and len(drawn.arms) > 1:
        click.echo(f"verdicts: harness report {shlex.quote(str(folder))}, or this command with --json")
    if share is not None:
        whole = shlex.quote(str(folder.parent / drawn.study.name))
        click.echo(f"{share}: `harness merge` joins it with the others, such as into --out {whole}")


@click.command()
@study_options
@cluster_option
@until_option
@click.option("--report/--no-report", default=False, help="Draw the report when the winner is confirmed.")
@click.option("--shard", hidden=True)
@json_option
def search(  # noqa: PLR0913 (options of a command)
    study: str, overrides: Sequence[str], results: Path | None, goals: Sequence[str], report: bool,
    as_json: bool, shard: str | None, **options: Unpack[MachineKeywords],
) -> None:  # fmt: skip
    """Search a study's [space] with Optuna; suggestions train as stacks. Again, it goes on where it stopped.

    `harness watch` shows it in a browser meanwhile.

    Its best suggestions are then trained anew, and the winner is picked by val (finalists/). Winner and
    baseline are trained with fresh seeds, and test is opened for them alone (confirmed/).
    """
    _keep_one_thread()
    if shard is not None:
        raise UsageError(f"--shard {shard}: this is a search. {UNSHARED}")
    loaded = _load(study, [*overrides, *_goal(goals)])
    _check_design(loaded, "search")
    from harness.cli import search_output
    from harness.searching import displays as search_displays
    from harness.searching.loop import search as searched
    from harness.training import displays

    folder = results or Path("results") / loaded.name
    try:
        result = searched(
            loaded, folder, display=search_displays.show_progress, confirm=displays.show_progress, **options
        )
    except KeyboardInterrupt:
        words = f"interrupted: finished batches are kept in {folder}. The same command goes on from there."
        raise InterruptedRun(words) from None
    if not as_json:
        search_output.show_results(result, loaded)
    page = draw_report(folder) if report else None
    if as_json:
        from harness.cli import search_answers

        found = search_answers.results(result, loaded)
        json_output.show("search", study=loaded.name, **found, report=page)
    if result.failed:
        sys.exit(1)


def _goal(goals: Sequence[str]) -> list[str]:
    """Turn the levels of `--until` into the change of the study that they mean."""
    for goal in goals:
        if not all(part.strip() for part in goal.partition("=")):
            raise UsageError(f"--until {goal!r}: allowed: OBJECTIVE=LEVEL, such as val_accuracy=0.9")
    return [f"search.until={{ {', '.join(goals)} }}"] if goals else []


def _keep_one_thread() -> None:
    """Have NumPy start no threads of its own: workers compute in one each, and can be forked."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _check_design(study: Study, command: str, shard: str = "") -> None:
    design = study.about.design
    if design == "search" and shard:
        raise UsageError(f"--shard {shard}: {study.name} is a search. {UNSHARED}")
    if (design == "search") != (command == "search"):
        other = "search" if design == "search" else "run"
        raise UsageError(
            f"{study.name} is a study of design {design!r}: use `harness {other}`, not `harness {command}`"
        )


def draw_report(folder: Path, out: Path | None = None) -> Path:
    """Draw a results folder's report, say where it is, and return that."""
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"{folder} is not a results folder: it has no trials.csv. Results are in results/<study>/"
        )
    output_folder.check_file(out or folder / "report.html")
    from harness.reporting import write

    click.echo("drawing the report ...", err=True)
    page = write(folder, out)
    click.echo(f"report: {page}")
    note_missing_letters()
    return page
