"""The `harness` command. Imports nothing heavy until it is needed: help and errors answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import click

from harness.cli.data import data
from harness.cli.going_on import continue_
from harness.cli.show import export, note_missing_letters, plugin_option, show, show_component
from harness.cli.trying import noise_, try_
from harness.errors import MachineError, UsageError, did_you_mean, in_words
from harness.system import output_folder, signals

if TYPE_CHECKING:
    from harness.study.study import Study
    from harness.training.options import MachineKeywords, RunKeywords
    from harness.training.progress import Display

INTERRUPTED = 130  # the shell's own code for Ctrl-C
WRITERS = {__name__, "click.utils", "rich.console"}  # the modules that write to the screen


class _Commands(click.Group):
    """A group whose unknown commands get a "did you mean"."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            ctx.fail(f"unknown command {args[0]!r}: {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="ablation-harness")
def harness() -> None:
    """Ablation studies of small image classifiers: plan them, train them as stacks, report what matters."""


def main() -> None:
    """Run the command; report errors in words, without a traceback."""
    with signals.stopping() as came:
        code = _code(came)
    sys.exit(code)


def _code(came: Sequence[int]) -> Any:
    """Run the command and return its exit code; `came`: the signals that stopped it."""
    try:
        code = _returned()
        sys.stdout.flush()  # here its failure has words
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return 2
    except (UsageError, MachineError) as error:
        _say(f"error: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return signals.code(came, INTERRUPTED)
    except BaseException as error:  # noqa: BLE001 (the last net: unforeseen errors become words, too)
        if not _is_of_output(error):
            _unforeseen(error)
        return signals.code(came, 1)
    return code


def _returned() -> Any:
    """Return the command's exit code, also if it ended by sys.exit."""
    try:
        return harness.main(standalone_mode=False) or 0
    except SystemExit as end:
        return end.code


def _is_of_output(error: BaseException) -> bool:
    """Return whether the error is a failure to write to the screen; report it unless the reader has gone."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if not isinstance(error, OSError) or last is None or last.tb_frame.f_globals["__name__"] not in WRITERS:
        return False
    if not isinstance(error, BrokenPipeError):
        _say(
            f"error: the output cannot be written: {error.strerror or error}. Files that were written before "
            "are whole; after a training, the same command shows its results without training again"
        )
    with suppress(OSError, ValueError):  # or the interpreter would try once more, at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _say(words: str) -> None:
    with suppress(OSError):
        click.echo(words, err=True)


def _unforeseen(error: BaseException) -> None:
    """Report an unforeseen error; HARNESS_TRACEBACK=1 shows its traceback."""
    if os.environ.get("HARNESS_TRACEBACK"):
        raise error
    if isinstance(error, MemoryError):
        _say("error: there is not memory enough for this. End what else runs, or ask for less")
        return
    if isinstance(error, OSError):
        _say(f"error: the machine could not do it: {error}")
        return
    _say(
        f"error: {in_words(error)}. This is a fault of the harness. Please report it with what "
        "the same command says after HARNESS_TRACEBACK=1 in its environment."
    )


def _study_options(command: Callable[..., Any]) -> Callable[..., Any]:
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


@harness.command("list")
@click.argument("axis", required=False)
def list_(axis: str | None) -> None:
    """List every registered component of every axis and all metrics, one line each."""
    from harness.axes import plugins

    plugins.load_installed()
    registries = plugins.catalogue()
    if axis is not None and axis not in registries:
        raise UsageError(f"unknown axis {axis!r}: {did_you_mean(axis, registries)}")
    for name, registry in registries.items():
        if axis in {None, name}:
            click.secho(name, bold=True)
            for entry in registry:
                origin = f"  [{entry.where}]" if entry.third_party else ""
                click.echo(f"  {entry.name:<16} {entry.summary}{_settings(entry.component)}{origin}")


def _settings(component: object) -> str:
    settings = getattr(component, "settings", {})
    defaults = [f"{name}={'by classes' if s.default is None else s.default}" for name, s in settings.items()]
    return f"  ({', '.join(defaults)})" if defaults else ""


@harness.command()
@_study_options
def plan(
    study: str, overrides: Sequence[str], results: Path | None, **options: Unpack[MachineKeywords]
) -> None:
    """Show the plan of a study without training: arms, trials, skipped ones and why, time and bytes."""
    from harness.lowering import builds

    with builds.using(options["bits"]):
        _plan(study, overrides, results, options)


def _plan(study: str, overrides: Sequence[str], results: Path | None, options: MachineKeywords) -> None:
    from harness.cli import output
    from harness.planning import compilation
    from harness.planning.plan import arrange, draw, make, shortages
    from harness.results import documents, run_folder
    from harness.settings.schema import TUNING
    from harness.system.resources import cores
    from harness.training import going_on
    from harness.training.bit_checks import check_bits
    from harness.training.options import RunOptions

    loaded, asked = _load(study, overrides), RunOptions(**options)
    engine = asked.engine
    processes = options["workers"] or cores()
    if loaded.search is not None:
        from harness.cli import search_output
        from harness.searching import checks

        checks.check_engine(engine)
        checks.check(loaded)
        check_bits(draw(checks.every_component(loaded), engine), asked)
        search_output.show_plan(loaded, engine, processes)
        return
    folder = results or Path("results") / loaded.name
    kept: dict[str, Any] = {}
    if (folder / "plan.json").is_file():
        known = run_folder.check_compatible(folder, loaded, {})
        kept = {"known": documents.stacks_of(known), "done": run_folder.finished(folder)}
    device = "cuda" if options["device"] == "cuda" else "cpu"
    planned = draw(loaded, engine)
    if kept:
        run_folder.check_trials(folder, planned, known)
    longer = going_on.find(planned, engine, kept.get("known", []), kept.get("done", {}), folder, device)
    stacks = [*kept.get("known", []), *longer.stacks]
    planned = arrange(planned, engine, stacks, device, processes, kept.get("done", {}))
    planned = replace(planned, warnings=[*planned.warnings, *longer.remarks])
    check_bits(planned, asked, folder)
    if kept and loaded.metrics:
        from harness.results import read_trials
        from harness.results.provenance import metric_notes

        notes = metric_notes(folder, planned, read_trials(folder))
        planned = replace(planned, warnings=[*planned.warnings, *notes])
    done = kept.get("done", {})
    left = [stack for stack in planned.stacks if any(trial.trial_id not in done for trial in stack.trials)]
    short = shortages(left, loaded, 0 if device == "cuda" else processes, folder)
    slow = compilation.reasons(left, device, loaded.metrics)
    output.show_plan(replace(planned, warnings=[*planned.warnings, *short]), processes, done, slow)
    if loaded.tune:
        tries = make(loaded.in_phase("tuning"), engine, device=device, processes=processes)
        check_bits(tries, asked, folder / TUNING)
        output.show_tuning_plan(planned, tries, processes)


def _load(study: str, overrides: Sequence[str]) -> Study:
    from harness.study.study import load

    return load(study, overrides)


@harness.command()
@_study_options
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
@click.option("--report/--no-report", default=False, help="Draw the report when the trials are trained.")
@click.option("--live/--no-live", default=False, help="Draw the loss curve while training, into live.html.")
@click.option(
    "--verbose", is_flag=True, help="Write a line for each evaluation: losses and accuracies by epoch."
)
def run(
    study: str, overrides: Sequence[str], results: Path | None, report: bool, live: bool, verbose: bool,
    **options: Unpack[RunKeywords],
) -> None:  # fmt: skip
    """Train what is missing of a study. Running it again goes on from where it stopped.

    A study with [tune] has three parts: as it stands; tuning/, where every arm tries settings and the test
    set stays closed; and tuned/, every arm at what it chose by val (chosen.csv).
    """
    _keep_one_thread()
    from harness.planning.plan import draw

    loaded = _load(study, overrides)
    _check_design(loaded, "run")
    drawn = draw(loaded, options["engine"])  # before pandas and torch are imported: errors answer at once
    from harness.cli import output
    from harness.training import displays, runs
    from harness.training.options import RunOptions

    folder = results or Path("results") / loaded.name
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
        _say(f"\n{words}")
        raise
    output.show_summary(summary)
    if not report and (folder / "report.html").is_file():
        click.echo(f"note: report.html is older than this run; `harness report {folder}` updates it")
    if report:
        _report(folder)
    elif live:
        note_missing_letters()
    if summary.statuses.get("failed"):
        sys.exit(1)


@harness.command()
@_study_options
@click.option("--report/--no-report", default=False, help="Draw the report when the winner is confirmed.")
def search(
    study: str, overrides: Sequence[str], results: Path | None, report: bool,
    **options: Unpack[MachineKeywords],
) -> None:  # fmt: skip
    """Search a study's [space] with Optuna; suggestions train as stacks. Again, it goes on where it stopped.

    The winner and the baseline are then trained with fresh seeds, and test is opened for them (confirmed/).
    """
    _keep_one_thread()
    loaded = _load(study, overrides)
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
        _say(f"\n{words}")
        raise
    search_output.show_results(result, loaded)
    if report:
        _report(folder)
    if result.failed:
        sys.exit(1)


def _keep_one_thread() -> None:
    """Have NumPy start no threads of its own: workers compute in one each, and can be forked."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _check_design(study: Study, command: str) -> None:
    design = study.about.design
    if (design == "search") != (command == "search"):
        other = "search" if design == "search" else "run"
        raise UsageError(
            f"{study.name} is a study of design {design!r}: use `harness {other}`, not `harness {command}`"
        )


def _report(folder: Path, out: Path | None = None) -> None:
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"{folder} is not a results folder: it has no trials.csv. Results are in results/<study>/"
        )
    output_folder.check_file(out or folder / "report.html")
    from harness.reporting import write

    click.echo("drawing the report ...", err=True)
    click.echo(f"report: {write(folder, out)}")
    note_missing_letters()


@harness.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The page; RESULTS/report.html by default.")
def report(results: Path, out: Path | None) -> None:
    """Draw a results folder's figures and its report.html."""
    _report(results, out)


class _CompareOptions(TypedDict):
    metric: Literal["test_accuracy", "val_accuracy"]
    margin: float
    alpha: float


@harness.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--metric", type=click.Choice(["test_accuracy", "val_accuracy"]), default="test_accuracy",
    show_default=True, help="What is compared.",
)  # fmt: skip
@click.option(
    "--margin", type=float, default=0.002, show_default=True,
    help="Differences within it are the same; a share: 0.002 are 0.2 points.",
)  # fmt: skip
@click.option(
    "--alpha", type=float, default=0.05, show_default=True,
    help="The error rate of all verdicts together (Holm).",
)  # fmt: skip
@click.option(
    "--fail-on",
    type=click.Choice(["worse"]),
    help="A gate: exit code 1 where B is worse by more than the margin, 2 if it cannot be decided.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder that gets differences.csv and differences.tex."
)
def compare_(
    a: Path, b: Path, fail_on: str | None, out: Path | None, **options: Unpack[_CompareOptions]
) -> None:
    """Compare two results folders: B minus A, trial by trial of equal settings and seed, arm by arm.

    A is the old run, B the new one: two commits, two machines, or one changed setting.
    """
    from harness import comparison
    from harness.cli import output

    if out is not None:
        output_folder.check_folder(out)
    result = comparison.compare(a, b, **options)
    output.show_comparison(result)
    for path in comparison.write(result, out) if out else ():
        click.echo(f"written: {path}")
    if fail_on:
        sys.exit(output.show_gate(result, comparison.gate(result)))


for command in (data, show, show_component, export, continue_, noise_, try_):
    harness.add_command(command)
