"""The `harness` command. Imports nothing heavy until it is needed: help and errors answer at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import MachineError, UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.run import Summary
    from harness.study import Study

INTERRUPTED = 130  # the shell's own code for Ctrl-C
MOST_SHOWN = 5  # rows of a table's head, failures listed: the report has them all


class _Commands(click.Group):
    """A group whose unknown commands get a "did you mean"."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 (click's own type)
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            ctx.fail(f"unknown command {args[0]!r}: {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ablation-harness")
def harness() -> None:
    """Ablation studies of small image classifiers: plan them, train them as stacks, report what matters."""


def main() -> None:
    """Run the command; say what went wrong in words, without a traceback."""
    try:
        sys.exit(harness.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (UsageError, MachineError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)


def _study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--workers", type=click.IntRange(min=1), help="Worker processes; one a core or GPU by default."),
        click.option("--engine", type=click.Choice(["stacked", "loop"]), default="stacked", show_default=True,
                     help="What trains the trials that can be stacked."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                     show_default=True, help="auto takes the GPUs there are, else the CPU."),
        click.option("--results", type=click.Path(path_type=Path), help="Results folder; results/<study>/ by default."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="Set a baseline value (lr=0.05) or replace an axis (activation=relu,tanh). Repeatable."),
        click.argument("study"),
    ):  # fmt: skip
        command = option(command)
    return command


@harness.command("list")
@click.argument("axis", required=False)
def list_(axis: str | None) -> None:
    """Show what can vary: every registered component, one line each."""
    from harness import plugins

    plugins.load_installed()
    registries = plugins.registries()
    if axis is not None and axis not in registries:
        raise UsageError(f"unknown axis {axis!r}: {did_you_mean(axis, registries)}")
    for name, registry in registries.items():
        if axis in {None, name}:
            click.secho(name, bold=True)
            for entry in registry:
                origin = f"  [{entry.where}]" if entry.source_digest else ""
                click.echo(f"  {entry.name:<14} {entry.summary}{_settings(entry.component)}{origin}")


def _settings(component: object) -> str:
    settings = getattr(component, "settings", {})
    told = [f"{name}={'by classes' if s.default is None else s.default}" for name, s in settings.items()]
    return f"  ({', '.join(told)})" if told else ""


@harness.command()
@_study_options
def plan(study: str, overrides: Sequence[str], results: Path | None, device: str, engine: Any, workers: int | None) -> None:  # noqa: ANN401
    """Say what a study comes to, without training: arms, trials, what is skipped and why, time and bytes."""
    from harness.plan import cores, make

    loaded = _load(study, overrides)
    processes = workers or cores()
    kind = "cuda" if device == "cuda" else "cpu"
    _print_plan(make(loaded, engine, device=kind, processes=processes), processes)


def _load(study: str, overrides: Sequence[str]) -> Study:
    from harness.study import load

    loaded = load(study, overrides)
    for plugin in loaded.head.plugins:
        click.echo(f"running the study's plugin {plugin}", err=True)
    return loaded


def _print_plan(plan: Plan, processes: int) -> None:
    from harness.plan import cost

    study = plan.study
    click.secho(f"{study.name}: {study.head.design}", bold=True)
    if study.head.hypothesis:
        click.echo(study.head.hypothesis)
    trained = len(plan.trials) - len(plan.skipped)
    click.echo(f"{len(plan.arms)} arms x {len(study.head.seeds)} seeds = {len(plan.trials)} trials, {trained} to train")
    for name, others in plan.merged.items():
        click.echo(f"  trained once: {', '.join(others)} mean the same as {name}")
    _print_skipped(plan)
    for reason, count in plan.routed.items():
        click.echo(f"  {count} trials train one by one in the loop engine: {reason}")
    sizes = [len(stack.trials) for stack in plan.stacks]
    if sizes:
        click.echo(f"{len(sizes)} stacks of {min(sizes)} to {max(sizes)} trials")
    told = cost(plan, processes)
    click.echo(f"about {_duration(told.seconds)} on {processes} CPU cores, {told.bytes / 1e6:.1f} MB on disk (estimates)")
    for warning in plan.warnings:
        click.secho(f"note: {warning}", fg="yellow", err=True)


def _print_skipped(plan: Plan) -> None:
    counts: dict[str, int] = {}
    for reason in plan.skipped.values():
        counts[reason] = counts.get(reason, 0) + 1
    for reason, count in counts.items():
        click.echo(f"  {count} trials skipped: {reason}")


def _duration(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 (a minute and a half)
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


@harness.command()
@_study_options
@click.option("--report/--no-report", default=False, help="Draw the report when the trials are trained.")
def run(study: str, overrides: Sequence[str], results: Path | None, device: str, engine: Any, workers: int | None,  # noqa: ANN401
        report: bool) -> None:  # fmt: skip
    """Train what is missing of a study. Running it again goes on from where it stopped."""
    loaded = _load(study, overrides)  # before pandas and torch are imported: errors answer at once
    from harness.run import folder_of

    folder = folder_of(loaded, results)
    summary = _train(loaded, folder, device, engine, workers)
    _print_summary(summary)
    if report:
        _report(folder)
    if summary.statuses.get("failed"):
        sys.exit(1)


def _train(study: Study, folder: Path, device: str, engine: Any, workers: int | None) -> Summary:  # noqa: ANN401
    from harness import run as running
    from harness.progress import shown

    try:
        return running.train(study, folder, engine=engine, device=device, workers=workers, display=shown)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted: what is finished is kept in {folder}. The same command goes on from there.", err=True)
        raise


def _print_summary(summary: Summary) -> None:
    counts = ", ".join(f"{count} {status or 'not trained yet'}" for status, count in summary.statuses.items())
    rate = f", {summary.trained / summary.seconds:.1f} trials/s" if summary.trained else ""
    _print_arms(summary.folder)
    click.echo(f"{summary.trained} trials trained in {_duration(summary.seconds)}{rate}; in all: {counts}")
    for failure in summary.failures[:MOST_SHOWN]:
        click.secho(f"failed: {failure}", fg="red", err=True)
    click.echo(f"results: {summary.folder}/trials.csv, epochs.csv, confusion.csv")


def _print_arms(folder: Path) -> None:
    """A table of the arms: all of a few, else the best and the last of each data set."""
    from rich.console import Console
    from rich.table import Table

    from harness import results, stats

    ranked = stats.rank_arms(results.read(folder).trials)
    for dataset, arms in ranked.groupby("dataset", sort=False):
        table = Table(title=f"{dataset}: arms by val accuracy, mean over seeds [95 % interval]", title_justify="left")
        for column in ("rank", "arm", "val accuracy", "test accuracy"):
            table.add_column(column, justify="left" if column == "arm" else "right")
        few = len(arms) <= 2 * MOST_SHOWN
        for part in [arms] if few else [arms.head(MOST_SHOWN), arms.tail(1)]:
            for row in part.itertuples():
                rank = f"{row.rank:.0f}" if row.rank == row.rank else ""  # noqa: PLR0124 (NaN: no rank)
                value = f"{row.mean:.4f} [{row.low:.4f}, {row.high:.4f}]" if row.n else "no finished trial"
                arm = str(row.arm).replace(f"dataset={dataset}, ", "")
                table.add_row(rank, arm, value, f"{row.shown_mean:.4f}" if row.shown_n else "")
        Console().print(table)


def _report(folder: Path) -> None:
    if not (folder / "trials.csv").is_file():
        raise UsageError(f"{folder} is no results folder: it has no trials.csv. Results are in results/<study>/")
    from harness.report import write

    click.echo("drawing the report ...", err=True)
    click.echo(f"report: {write(folder)}")


@harness.command()
@click.argument("results", type=click.Path(path_type=Path))
def report(results: Path) -> None:
    """Draw a results folder's figures and its report.html."""
    _report(results)


@harness.group()
def data() -> None:
    """Fetch, check and look at data sets."""


@data.command()
@click.argument("names", nargs=-1)
def fetch(names: Sequence[str]) -> None:
    """Bring data sets into the cache, verified: NAMES, or all."""
    from harness import sources

    for name in names or sources.PINS:
        click.echo(f"{name}: {sources.fetch(name)}")


@data.command()
@click.argument("names", nargs=-1)
def check(names: Sequence[str]) -> None:
    """Check the cache's files byte for byte: NAMES, or all. Exit code 1 if one is missing or damaged."""
    from harness import sources

    states = [state for name in names or sources.PINS for state in sources.check(name)]
    for state in states:
        click.echo(str(state))
    if any(state.status != "ok" for state in states):
        sys.exit(1)
