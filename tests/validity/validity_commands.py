"""What the commands of `nox -s validity` share: their options, what they write and show, and how they end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aa_words
import click

from harness.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from click.decorators import FC

    from harness.results import Results

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Settings of every command's context."""
results_option = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results/validity"), show_default=True,
    help="Where trials, tables and figures go.",
)  # fmt: skip
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Worker processes; by default one a core or GPU."
)


def studies_option(words: str) -> Callable[[FC], FC]:
    """Make the option for how many studies are drawn for each rate."""
    least = click.IntRange(min=100)
    return click.option("--studies", type=least, default=4000, show_default=True, help=words)


def seeds_option(least: int, usual: int, words: str) -> Callable[[FC], FC]:
    """Make the option for how many seeds of a source are trained."""
    return click.option(
        "--seeds", type=click.IntRange(min=least), default=usual, show_default=True, help=words
    )


def show(
    folder: Path, tables: Mapping[str, pd.DataFrame], summary: str, lines: Sequence[str],
    sources: Sequence[Results],
) -> None:  # fmt: skip
    """Write what was measured, and show it; end with exit code 1 where a rate is out of bounds.

    Args:
        folder: where to.
        tables: the name of a CSV, without its ending -> its rows; those that have bounds have a column ok.
        summary: the name of the text.
        lines: of the text; below them stands where the trials were made.
        sources: of the trials.
    """
    aa_words.write(folder, tables, summary, lines, sources)
    click.echo("\n".join(lines))
    click.echo(f"in {folder}: {', '.join([*(f'{name}.csv' for name in tables), summary])}")
    if not all(table["ok"].all() for table in tables.values() if "ok" in table):
        sys.exit(1)


def main(command: click.Command) -> None:
    """Run a command; what was wrong, or that it was stopped, is said in words, with the exit code of it."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (UsageError, MachineError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what is trained is kept; the same command goes on from there.", err=True)
        sys.exit(130)
