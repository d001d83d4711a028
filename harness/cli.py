"""The `harness` command. Imports nothing heavy until it is needed: help and errors answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness import notes, places, signals
from harness.data_commands import data
from harness.errors import MachineError, UsageError, did_you_mean, in_words

if TYPE_CHECKING:
    from harness.study import Study

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
    """Run the command; say what went wrong in words, without a traceback."""
    with signals.stopping() as came:
        code = _code(came)
    sys.exit(code)


def _code(came: Sequence[int]) -> Any:
    """Run the command, and give its exit code; `came`: the signals that have stopped it."""
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
    except BaseException as error:  # noqa: BLE001 (the last net: what nobody has foreseen becomes words, too)
        if not _is_of_output(error):
            _unforeseen(error)
        return signals.code(came, 1)
    return code


def _returned() -> Any:
    """Give the command's exit code, also where it has ended by sys.exit."""
    try:
        return harness.main(standalone_mode=False) or 0
    except SystemExit as end:
        return end.code


def _is_of_output(error: BaseException) -> bool:
    """Whether an error is that the screen cannot be written to; says so, unless its reader has gone."""
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
    """Write to stderr, if it can be written."""
    with suppress(OSError):
        click.echo(words, err=True)


def _unforeseen(error: BaseException) -> None:
    """Say what went wrong where nobody foresaw it; HARNESS_TRACEBACK=1 shows where in the harness it did."""
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


def _run_plugins(_: click.Context, __: click.Parameter, files: Sequence[Path]) -> None:
    """Run the plugin files that a person vouches for."""
    from harness import plugins

    for file in files:
        plugins.load_file(file)


_plugin_option = click.option(
    "--plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    expose_value=False,
    callback=_run_plugins,
    help="A plugin file to run, which you trust. One that the study.toml of a results folder names is run by "
    "no command without this, or your yes. Repeatable.",
)


def _study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--workers", type=click.IntRange(min=1),
                     help="Worker processes; by default one a core or GPU."),
        click.option("--engine", type=click.Choice(["stacked", "loop", "numpy"]), default="stacked",
                     show_default=True,
                     help="What trains: stacks, a plain PyTorch loop, or NumPy with derivatives by hand."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                     show_default=True, help="auto takes the GPUs there are, else the CPU."),
        click.option("--results", type=click.Path(path_type=Path),
                     help="Results folder; results/<study>/ by default."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="A baseline value (lr=0.05), an axis (activation=relu,tanh), or a key of a table "
                     "(search.suggestions=64). Repeatable."),
        _plugin_option,
        click.argument("study"),
    ):  # fmt: skip
        command = option(command)
    return command


@harness.command("list")
@click.argument("axis", required=False)
def list_(axis: str | None) -> None:
    """Show what can vary, and what can be measured: every registered component, one line each."""
    from harness import plugins

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
    told = [f"{name}={'by classes' if s.default is None else s.default}" for name, s in settings.items()]
    return f"  ({', '.join(told)})" if told else ""


@harness.command()
@_study_options
def plan(study: str, overrides: Sequence[str], results: Path | None, workers: int | None, **how: Any) -> None:
    """Say what a study comes to, without training: arms, trials, what is skipped and why, time and bytes."""
    from harness import display
    from harness.plan import cores, make, shortages

    loaded, processes = _load(study, overrides), workers or cores()
    if loaded.search is not None:
        from harness.searching import checks, screen

        checks.check(loaded)
        screen.plan(loaded, how["engine"], processes)
        return
    folder = results or Path("results") / loaded.name
    kept: dict[str, Any] = {}
    if (folder / "plan.json").is_file():
        from harness import documents, run_folder

        known = run_folder.check_compatible(folder, loaded, {})
        kept = {"known": documents.stacks_of(known), "done": run_folder.finished(folder)}
    device = "cuda" if how["device"] == "cuda" else "cpu"
    planned = make(loaded, how["engine"], device=device, processes=processes, **kept)
    if kept:
        run_folder.check_trials(folder, planned, known)
    if kept and loaded.metrics:
        from harness.provenance import metric_notes
        from harness.results import read_trials

        notes = metric_notes(folder, planned, read_trials(folder))
        planned = replace(planned, warnings=[*planned.warnings, *notes])
    done = kept.get("done", {})
    left = [stack for stack in planned.stacks if any(trial.trial_id not in done for trial in stack.trials)]
    short = shortages(left, loaded, 0 if device == "cuda" else processes, folder)
    display.plan(replace(planned, warnings=[*planned.warnings, *short]), processes, done)
    if loaded.tune:
        tries = make(loaded.in_phase("tuning"), how["engine"], device=device, processes=processes)
        display.tuning_plan(planned, tries, processes)


def _load(study: str, overrides: Sequence[str]) -> Study:
    from harness.study import load

    return load(study, overrides)


@harness.command()
@_study_options
@click.option(
    "--checkpoint-every",
    metavar="HOW OFTEN",
    default="60 seconds",
    show_default=True,
    help="How often a long stack is kept, to go on from: 'N seconds', 'N minutes', 'N epochs', or never.",
)
@click.option(
    "--retrain",
    is_flag=True,
    help="Train all trials anew, although they are finished: for a change that their ids do not tell. The "
    "old results stay until the new ones of their stack are written; a run that is stopped goes on without "
    "--retrain.",
)
@click.option("--report/--no-report", default=False, help="Draw the report when the trials are trained.")
@click.option("--live/--no-live", default=False, help="Draw the loss curve while training, into live.html.")
def run(
    study: str, overrides: Sequence[str], results: Path | None, report: bool, live: bool, **how: Any
) -> None:
    """Train what is missing of a study. Running it again goes on from where it stopped.

    A study with [tune] has three parts: as it stands; tuning/, where every arm tries settings and the test
    set stays closed; and tuned/, every arm at what it chose by val (chosen.csv).
    """
    from harness.plan import check as check_plan

    loaded = _load(study, overrides)
    _check_design(loaded, "run")
    check_plan(loaded)  # before pandas and torch are imported: errors answer at once
    from harness import display, training

    folder = results or Path("results") / loaded.name
    shown: training.Display = display.progress
    if live:
        from harness.live import beside

        click.echo(f"live curve: {folder / 'live.html'} (open it in a browser)", err=True)
        shown = beside(folder, shown)
    try:
        summary = training.train(loaded, folder, display=shown, **how)
    except KeyboardInterrupt:
        again = "The same command without --retrain" if how["retrain"] else "The same command"
        words = f"interrupted: what is finished is kept in {folder}. {again} goes on from there."
        _say(f"\n{words}")
        raise
    display.summary(summary)
    if not report and (folder / "report.html").is_file():
        click.echo(f"note: its report.html is of before this run; `harness report {folder}` draws it anew")
    if report:
        _report(folder)
    elif live:
        _unread()
    if summary.statuses.get("failed"):
        sys.exit(1)


@harness.command()
@_study_options
@click.option("--report/--no-report", default=False, help="Draw the report when the winner is confirmed.")
def search(study: str, overrides: Sequence[str], results: Path | None, report: bool, **how: Any) -> None:
    """Search a study's [space] with Optuna; suggestions train as stacks. Again, it goes on where it stopped.

    The winner and the baseline are then trained with fresh seeds, and test is opened for them (confirmed/).
    """
    loaded = _load(study, overrides)
    _check_design(loaded, "search")
    from harness import display
    from harness.searching import screen
    from harness.searching.search import search as searched

    folder = results or Path("results") / loaded.name
    try:
        found = searched(loaded, folder, display=screen.progress, confirm=display.progress, **how)
    except KeyboardInterrupt:
        words = f"interrupted: finished batches are kept in {folder}. The same command goes on from there."
        _say(f"\n{words}")
        raise
    screen.found(found, loaded)
    if report:
        _report(folder)
    if found.failed:
        sys.exit(1)


def _check_design(study: Study, command: str) -> None:
    """Raise UsageError where a command is not the one for a study's design."""
    design = study.about.design
    if (design == "search") != (command == "search"):
        other = "search" if design == "search" else "run"
        raise UsageError(
            f"{study.name} is a study of design {design!r}: use `harness {other}`, not `harness {command}`"
        )


def _report(folder: Path, out: Path | None = None) -> None:
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"{folder} is no results folder: it has no trials.csv. Results are in results/<study>/"
        )
    places.check_file(out or folder / "report.html")
    from harness.report import write

    click.echo("drawing the report ...", err=True)
    click.echo(f"report: {write(folder, out)}")
    _unread()


def _unread() -> None:
    """Say what stands in figures for names that no font of this machine has the letters of."""
    from harness.plots import fonts

    if fonts.note():
        notes.warn(fonts.note())


@harness.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The page; RESULTS/report.html by default.")
def report(results: Path, out: Path | None) -> None:
    """Draw a results folder's figures and its report.html."""
    _report(results, out)


@harness.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--metric",
    type=click.Choice(["test_accuracy", "val_accuracy"]),
    default="test_accuracy",
    show_default=True,
    help="What is compared.",
)
@click.option(
    "--margin",
    type=float,
    default=0.002,
    show_default=True,
    help="Differences within it are the same; a share: 0.002 are 0.2 points.",
)
@click.option(
    "--alpha",
    type=float,
    default=0.05,
    show_default=True,
    help="The error rate of all verdicts together (Holm).",
)
@click.option(
    "--fail-on",
    type=click.Choice(["worse"]),
    help="A gate: exit code 1 where B is worse by more than the margin, 2 where none can tell.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder that gets differences.csv and differences.tex."
)
def compare_(a: Path, b: Path, fail_on: str | None, out: Path | None, **asked: Any) -> None:
    """Compare two results folders: B minus A, trial by trial of equal settings and seed, arm by arm.

    A is what was, B what is: two commits, two machines, or one setting changed.
    """
    from harness import comparison, display

    if out is not None:
        comparison.check_out(out)
    found = comparison.compare(a, b, **asked)
    display.comparison(found)
    for path in comparison.write(found, out) if out else ():
        click.echo(f"written: {path}")
    if fail_on:
        code = display.gate(found, comparison.gate(found))
        sys.exit(code)


@harness.command("show")
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("kinds", nargs=-1, metavar="[predictions|probabilities|failures]...")
@click.option("--trial", help="Its trial_id; or best: by val accuracy, of each data set.  [default: best]")
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    show_default=True,
    help="The split; those that the study's keep_predictions names are there.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    help="How many images: 18 predictions, 6 probabilities, 10 failures a class by default.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which random images.")
@click.option(
    "--sample",
    metavar="INDEX,...",
    default="",
    help="These images, by index or file name, as predictions and probabilities.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("figures"),
    show_default=True,
    help="The folder that gets the figures.",
)
@_plugin_option
def show_model(results: Path, kinds: Sequence[str], out: Path, sample: str, **asked: Any) -> None:
    """Draw what a trained model says of single images: of the best by validation, or --trial, or --where.

    predictions: random images with label and prediction. probabilities: images beside a bar a class.
    failures: misclassified images, a row a class. By default all three. Writes PNG and SVG.
    """
    from harness import display, gallery, models, selection
    from harness.results import read

    places.check_folder(out)
    for kind in kinds:
        if kind not in gallery.KINDS:
            raise UsageError(f"unknown kind {kind!r}: {did_you_mean(kind, gallery.KINDS)}")
    found = read(results)
    which, conditions = asked.pop("trial"), asked.pop("where")
    if which == "best" or (which is None and not conditions):
        found, conditions = selection.confirmed_winner(found, conditions)
        chosen = [row for _, row in selection.best(found, conditions).iterrows()]
    else:
        chosen = [selection.choose(found, which, conditions)]
    samples = tuple(filter(None, (name.strip() for name in sample.split(","))))
    if samples and kinds and set(kinds) == {"failures"}:
        raise UsageError("--sample chooses for predictions and probabilities; failures are all there are")
    drawn = cast("Sequence[gallery.Kind]", kinds) or gallery.KINDS
    wanted = gallery.PredictionRequest(drawn, samples=samples, **asked)
    for row in chosen:
        display.trial(found, row)
        for kind, png in gallery.draw(found, row, wanted, out, models.probabilities):
            click.echo(f"{kind} of {wanted.split}")
            click.echo(f"  written: {png} and .svg")
    _unread()


@harness.command()
@click.argument("trial", required=False)
@click.option(
    "--results", type=click.Path(path_type=Path), help="Its results folder; looked for in results/ by id."
)
@click.option("--where", metavar="CONDITIONS", help="Choose by settings instead: loss=ql,seed=0.")
@click.option("--out", type=click.Path(path_type=Path), help="A new folder; exported/<trial_id> by default.")
@_plugin_option
def export(trial: str | None, results: Path | None, where: str | None, out: Path | None) -> None:
    """Write a trained trial for PyTorch: its weights, and the settings to rebuild it.

    TRIAL is a trial_id, or "best" (by val accuracy; with --where, of those that meet the conditions; of a
    search, its confirmed winner).
    """
    from harness import results as storage
    from harness import selection

    places.check_folder(out or Path("exported"))
    if trial is None and where is None:
        raise UsageError('which trial? Name a trial_id, "best", or choose with --where loss=ql,seed=0')
    found = storage.read(results or storage.folder_with(trial))
    if trial == "best":
        found, where = selection.confirmed_winner(found, where)
    from harness import models

    row = selection.choose(found, trial, where)
    done = models.export(found, row, out or Path("exported") / str(row["trial_id"]))
    same = "as trials.csv has it" if done.right == done.stored else f"trials.csv has {done.stored:,}"
    click.echo(f"{done.folder}: model.safetensors, model.pt, trial.json")
    click.echo(f"loaded again, it gets {done.right:,} of {done.images:,} test images right, {same}")
    click.echo(f"harness.load_model({str(done.folder)!r}) gives the network as a torch.nn.Module")


harness.add_command(data)
