"""Compare methods over time, the best network so far at every second: `nox -s anytime`.

\b
    nox -s anytime                # 15 minutes a cell, 5 repeats, all methods; again: it goes on
    nox -s anytime -- --short     # a small space, 4 minutes a cell
    nox -s anytime -- --methods harness,optuna --repeats 2
    nox -s anytime -- --page      # the page anew, from the tables

A cell is one method in one repeat, on two cores. Finished cells are kept in OUT, so that the same command
goes on where it stopped. Then the incumbents are trained anew with fresh seeds, and the page is written.
tests/benchmarks/anytime/README.md is the protocol of a cell, docs/anytime.md the page of the comparison.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import cell_process
import click
import confirming
import environments
import numpy as np
import page
from campaign import Campaign, about
from environments import Method
from problem import PROBLEMS, WORKERS
from worktrees import ROOT, commit_of

from harness import study
from harness.data.samples import TRAINED_ON, prepare
from harness.errors import MachineError, UsageError
from harness.study.trials import settings_of
from harness.system import machine, signals
from harness.text import duration

MINUTES = {"full": 15.0, "short": 4.0}
EARLY = 1.0
"""Seconds before its deadline from which on a cell has used its time."""


def images(folder: Path) -> str:
    """Write the harness's train and val images as arrays that all methods map; test stays closed."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"study": {"name": "anytime_images"}, "baseline": {"dataset": "fashion_mnist"}}
    data = prepare(settings_of(study.parse(tables)))
    for split in TRAINED_ON:
        for part in "xy":
            np.save(folder / f"{split}_{part}.npy", getattr(data[split], part))
    return str(folder.resolve())


def use_cores(count: int) -> None:
    """Keep this process, and all that it starts, on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def run(campaign: Campaign) -> list[str]:
    """Run the cells that are left; a failed one is told, and left for the next call.

    Returns:
        What failed, in words.
    """
    left, failed = campaign.left(), []
    for i, (repeat, method) in enumerate(left):
        togo = duration(60 * campaign.minutes * (len(left) - i))
        click.echo(f"cell {i + 1} of {len(left)}: {method.title}, repeat {repeat}; at most {togo} to go")
        shutil.rmtree(campaign.work / f"{method.name}-{repeat}", ignore_errors=True)
        (campaign.work / f"{method.name}-{repeat}").mkdir(parents=True)
        load = os.getloadavg()[0]
        cell = campaign.cell(method, repeat, time.monotonic())
        ended = cell_process.run(cell, method)
        if ended.status and ended.wall < cell.seconds - EARLY:
            after = f"exit code {ended.status} after {ended.wall:.0f} s"
            words = f"{method.name}, repeat {repeat}: {after}: {ended.words}"
            failed.append(words)
            click.echo(f"failed: {words}", err=True)
            continue
        version = f"{commit_of(ROOT)} {environments.digest(method)}"
        row = campaign.keep(cell, about(ended, method, load, machine.model(), version))
        click.echo(f"  {row['configurations']} configurations, {row['epochs']} epochs; {_reached(row)}")
        tidy(cell.folder)
    return failed


def _reached(row: dict[str, object]) -> str:
    return f"best val {row['best_val_accuracy']:.4f}, incumbent's {row['val_accuracy']:.4f}"


def tidy(folder: Path) -> None:
    """Remove what a finished cell no longer needs: checkpoints and a tool's own files, but not its log."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix not in {".jsonl", ".json", ".txt"}:
            path.unlink()


def confirm(campaign: Campaign, seeds: int) -> None:
    """Train the incumbents that are not confirmed yet with fresh seeds."""
    waiting = list(campaign.unconfirmed())
    for i, row in enumerate(waiting):
        name = f"{row['method']}-{row['repeat']}"
        click.echo(f"confirming {i + 1} of {len(waiting)}: {name}, {seeds} fresh seeds")
        folder = campaign.work / "confirmed" / name
        campaign.keep_confirmed(confirming.confirm(campaign.problem, row, seeds, folder))


def warm_up(method: Method, campaign: Campaign) -> None:
    """Let the harness compile and try its kernels on this machine, as an installation would."""
    import own_cell

    if method.name in own_cell.METHODS:
        shutil.rmtree(campaign.work / "warm_up", ignore_errors=True)
        own_cell.warm_up(campaign.problem, campaign.work / "warm_up")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, help=__doc__
)
@click.option("--short", is_flag=True, help="Widths to 128, 9 epochs, few methods, 4 minutes.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="A cell.  [default: 15; short: 4]")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--methods", "names", default="", metavar="A,B", help="Some of those in docs/anytime.md.  [default: all]"
)
@click.option(
    "--seeds", type=click.IntRange(0), default=5, show_default=True, help="Of a confirmation; 0: none."
)
@click.option("--page", "only_page", is_flag=True, help="Only write the page anew.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Of tables.  [default: results/reference/anytime/..]"
)
@click.option("--work", type=click.Path(path_type=Path), default=Path("results/anytime"), show_default=True)
def main(
    short: bool, minutes: float | None, repeats: int, names: str, seeds: int, only_page: bool,
    out: Path | None, work: Path,
) -> None:  # fmt: skip
    """Run a campaign."""
    problem = PROBLEMS["short" if short else "full"]
    minutes = minutes or MINUTES[problem.name]
    name = f"{problem.name}-{minutes:g}"
    out = out or Path("results/reference/anytime") / name
    try:
        methods = environments.chosen([part for part in names.split(",") if part], short)
        failed: list[str] = []
        with signals.stopping() as came:  # so that a cell's processes are ended
            if not only_page:
                use_cores(WORKERS)
                methods = environments.prepared(methods, work / "environments", click.echo)
                pictures = images(work / "images")
                campaign = Campaign(problem, minutes, repeats, methods, out, work / name, pictures)
                for method in methods:
                    warm_up(method, campaign)
                failed = run(campaign)
                if seeds:
                    confirm(campaign, seeds)
    except (UsageError, MachineError) as error:
        click.echo(error, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo(f"interrupted: finished cells are kept in {out}. The same command goes on.", err=True)
        sys.exit(signals.code(came, 130))
    written = page.write(out, {method.name: method.title for method in environments.known().values()})
    nothing = f"no page: {out} has no repeat that all methods finished and in which one evaluated anything"
    click.echo(f"page: {written}" if written else nothing)
    if failed:
        click.echo("not finished; the same command tries again:\n  " + "\n  ".join(failed), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
