"""`harness noise` and `harness try`: a study's noise floor, and a change of its baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click
from click.core import ParameterSource

from harness.cli.json_output import json_option, show
from harness.cli.show import PLUGINS, plugin_option
from harness.errors import InterruptedRun

if TYPE_CHECKING:
    from harness.comparison.tries.trying import JudgingKeywords, Try, Trying
    from harness.study.study import Study
    from harness.training.options import MachineKeywords
    from harness.training.progress import Progress

    class _TryOptions(JudgingKeywords, MachineKeywords):
        pass


OF_RUN = ("plugin", "engine", "device", "bits", "workers", "cluster")
OF_NOISE = (*OF_RUN, "results", "metric")
OF_TRY = (*OF_NOISE, "margin", "alpha", "family", "budget")
"""Options, as they were typed, that the next command needs: a run; a try after noise, or after a try."""
QUIET = 3.0
"""Seconds of training that show no progress: a line a look is enough."""


def _machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option("--workers", type=click.IntRange(min=1),
                     help="Worker processes; by default one a core or GPU."),
        click.option("--engine", default="stacked", show_default=True, metavar="stacked|loop|numpy|FILE.py",
                     help="As of `harness run`."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                     show_default=True, help="auto takes the GPUs there are, else the CPU."),
        click.option("--bits", type=click.Choice(["native", "portable"]), default="native", show_default=True,
                     help="As of `harness run`."),
        click.option("--cluster", default="", metavar="auto|local:CORES|HOST:PORT|ray://HOST:PORT",
                     help="As of `harness run`."),
        click.option("--results", type=click.Path(path_type=Path),
                     help="The folder of tries; results/<study>/tries by default."),
        click.option("--metric", default="val_accuracy", show_default=True,
                     help="val_accuracy, val_loss, or a tracked metric of val; test stays closed."),
        plugin_option,
        click.argument("study"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("noise")
@_machine_options
@click.option("--seeds", type=int, default=10, show_default=True, help="Seeds to train the baseline with.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="A change of the study, as of `harness run`. Repeatable.")  # fmt: skip
def noise_(
    study: str, seeds: int, overrides: Sequence[str], results: Path | None, metric: str, as_json: bool,
    **machine: Unpack[MachineKeywords],
) -> None:  # fmt: skip
    """Measure how much a study's baseline varies over seeds, and which differences show above that."""
    loaded = _load(study, overrides)
    from harness.comparison.tries import noise_text
    from harness.comparison.tries.noise import noise

    with _interrupted(results, loaded.name):
        measured = noise(loaded, seeds=seeds, metric=metric, folder=results, display=_display, **machine)
    if as_json:
        show(
            "noise", study=measured.study, metric=measured.metric, baselines=measured.baselines,
            detectable=measured.detectable, alpha=0.05, power=0.8, trials_trained=measured.trained.trials,
            seconds=measured.trained.seconds, folder=measured.folder,
        )  # fmt: skip
        return
    for line in noise_text.lines(measured):
        click.echo(line)
    click.echo(f"next: {noise_text.following(measured, study, overrides, _typed(OF_NOISE))}")
    click.echo(f"trials are kept in {measured.folder}")


@click.command("try")
@_machine_options
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="The change, such as lr=0.2. Repeat it for settings that belong together.")  # fmt: skip
@click.option("--base", "overrides", multiple=True, metavar="KEY=VALUE",
              help="A change of the study, for both arms, such as dataset=digits. Repeatable.")  # fmt: skip
@click.option(
    "--max-seeds", type=int, default=20, show_default=True, help="Seeds of each arm at most, 3 to 80."
)
@click.option(
    "--budget", metavar="TIME", help="Train no longer than, such as '5 minutes'; read between looks."
)
@click.option("--margin", type=float,
              help="Differences within it are the same; a share: 0.002 are 0.2 points. By default the "
              "study's, else 0.002.")  # fmt: skip
@click.option(
    "--alpha",
    type=float,
    help="The error rate of this try, over all looks. By default the study's, else 0.05.",
)
@click.option("--family", type=int, default=1, show_default=True,
              help="How many tries are planned: each gets its part of alpha (Bonferroni).")  # fmt: skip
def try_(
    study: str, changes: Sequence[str], overrides: Sequence[str], results: Path | None, as_json: bool,
    **options: Unpack[_TryOptions],
) -> None:  # fmt: skip
    """Tell whether a changed baseline is better, worse or the same, adding seeds until that is told.

    By val; test stays closed. Exit code 0: better, or the same; 1: worse; 2: cannot tell, or wrong usage.
    """
    loaded = _load(study, overrides)
    from harness.comparison.tries import changes as try_changes

    try_changes.asked(loaded, changes)  # before pandas and SciPy are imported: errors answer at once
    from harness.comparison.tries import trying

    prepared = trying.prepared(loaded, changes, folder=results, display=_display, **options)
    with _interrupted(results, loaded.name):
        tried = _tried(prepared, as_json=as_json)
    if as_json:
        _show_json(tried, study, [*changes], [*overrides])
    else:
        _show_words(tried, study, [*changes], [*overrides])
    sys.exit(tried.exit_code)


def _tried(prepared: Trying, *, as_json: bool) -> Try:
    """Run a try, with a line a look where words are wanted."""
    from harness.comparison.tries import text as try_text

    if not as_json:
        for line in try_text.asked(prepared.asked, prepared.rules):
            click.echo(line)
        prepared.tell = lambda look: click.echo(try_text.line(look, prepared.rules))
    return prepared.run()


def _show_words(tried: Try, study: str, changes: Sequence[str], overrides: Sequence[str]) -> None:
    from harness.comparison.tries import text as try_text

    for failure in tried.trained.failures:
        click.echo(f"failed: {failure}", err=True)
    click.secho(try_text.verdict(tried), bold=True)
    for line in try_text.sureness(tried):
        click.echo(f"  {line}")
    click.echo(f"  {try_text.cost(tried)}; kept in {tried.folder}")
    click.echo(_following(tried, study, changes, overrides))


def _following(tried: Try, study: str, changes: Sequence[str], overrides: Sequence[str]) -> str:
    from harness.comparison.tries import text as try_text

    typed = _typed(OF_TRY if tried.verdict == "cannot tell" else OF_RUN)
    return try_text.following(tried, study, changes, overrides, typed)


def _typed(names: Sequence[str]) -> list[str]:
    """Return those options of the command that were typed, to be typed again."""
    context = click.get_current_context()
    values = {**context.params, "plugin": context.meta.get(PLUGINS, ())}
    words = []
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            given = values[name] if name == "plugin" else [values[name]]
            words += [word for value in given for word in (f"--{name}", str(value))]
    return words


def _show_json(tried: Try, study: str, changes: Sequence[str], overrides: Sequence[str]) -> None:
    from dataclasses import asdict

    from harness.comparison.tries import text as try_text

    rules = tried.rules
    last = {name: value for name, value in asdict(tried.last).items() if name != "verdict"}
    differences = {name: {"before": old, "after": new} for name, (old, new) in tried.differences.items()}
    show(
        "try", verdict=tried.verdict, exit_code=tried.exit_code, study=tried.study, change=tried.change,
        differences=differences, **last, why=tried.why, metric=rules.metric,
        margin=rules.margin, alpha=rules.alpha, family=rules.family, max_seeds=rules.max_seeds,
        looks=[asdict(look) for look in tried.looks], try_number=tried.counts.number,
        tries=tried.counts.tries, tries_in_folder=tried.counts.all_tries,
        false_better_at_most=tried.false_better,
        trials_trained=tried.trained.trials, seconds=tried.trained.seconds,
        failures=tried.trained.failures, folder=tried.folder, values=tried.values,
        in_words=try_text.verdict(tried),
        next=_following(tried, study, changes, overrides),
    )  # fmt: skip


def _load(study: str, overrides: Sequence[str]) -> Study:
    from harness.study.reading import load

    return load(study, overrides)


@contextmanager
def _interrupted(results: Path | None, study: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        place = results or Path("results") / study / "tries"
        words = f"interrupted: what is finished is kept in {place}. The same command goes on from there."
        raise InterruptedRun(words) from None


def _display(progress: Progress) -> AbstractContextManager[None]:
    """Show notes, each once, and the progress of what takes long."""
    from harness import notes
    from harness.training.displays import show_progress

    return show_progress(progress, notes.warn_once, QUIET)
