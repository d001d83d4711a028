"""`harness judge`: verdicts on any table of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.json_output import json_option, show
from harness.errors import UsageError
from harness.system import output_folder

if TYPE_CHECKING:
    from harness.comparison.judging.judge import Judgement


def _margin(_context: click.Context, _option: click.Parameter, given: str | None) -> Any:
    """Read --margin: a number, or none."""
    if given is None or given.lower() == "none":
        return None if given is None else "none"
    try:
        return float(given)
    except ValueError:
        raise UsageError(
            f"--margin {given}: allowed is a number, in the metric's own unit (0.002 of a share, 0.2 of "
            "percent), or none"
        ) from None


ONE_SEED = "one seed"  # the verdict on a table of which nothing can be told: exit code 2, gate or not


@click.command("judge")
@click.argument("table", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--arm", metavar="COLUMN", help="What is compared; several columns with commas: combinations.")
@click.option("--seed", metavar="COLUMN", help="What pairs the runs of two arms.")
@click.option("--metric", metavar="COLUMN", help="What is judged.")
@click.option("--block", metavar="COLUMN", help="A verdict for each of its values: a data set, a task.")
@click.option(
    "--reference", metavar="ARM", help="What all arms are compared with; else baseline, or the first."
)
@click.option("--all-pairs", is_flag=True, help="Compare every two arms.")
@click.option(
    "--unpaired", is_flag=True, help="Runs share no seeds: Welch's t test, which needs more of them."
)
@click.option("--wide", is_flag=True, help="The table has a column an arm.")
@click.option(
    "--arms", metavar="COLUMNS", help='Columns that are arms, names or patterns: "relu,gelu", "acc_*".'
)
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, help="Read such rows only. Repeatable.")
@click.option(
    "--higher-is-better/--lower-is-better", default=None, help="By default the metric's name tells."
)
@click.option(
    "--margin", callback=_margin, metavar="NUMBER|none",
    help="Differences within it are the same; in the metric's unit. Of accuracies 0.2 points, else none.",
)  # fmt: skip
@click.option(
    "--alpha", type=float, help="The error rate of all verdicts together (Holm); 0.05 by default."
)  # fmt: skip
@click.option("--step", type=float, help="Of a chart's curves: this step; by default each run's last.")
@click.option(
    "--decimal", type=click.Choice([",", "."]), help="The decimal mark, where the numbers leave it open."
)
@click.option(
    "--fail-on",
    type=click.Choice(["worse"]),
    help="Exit code 1 where an arm is worse, 2 if it cannot be told.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A page (name.html), or a folder that gets judgement.html."
)
@json_option
def judge_(
    table: tuple[Path, ...], fail_on: str | None, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Judge any table of runs: is an arm better than its reference, worse, the same, or can it not be told?

    TABLE is a CSV with a row a run (arm, seed, metric), or with a column an arm; an export of Optuna or
    Weights & Biases; a results folder; or several samples_*.jsonl of lm-eval, a file a model. What was
    understood of it is said first.
    """
    page = _page(out) if out is not None else None
    from harness.comparison.judging import judge as judging

    source: Any = table[0] if len(table) == 1 else table
    judgement = judging.judge(source, **options)
    written = []
    if page is not None:
        from harness.reporting import judged_page

        written = judged_page.write(judgement, page, ", ".join(path.name for path in table))
    if as_json:
        from harness.comparison.judging import text as judged_text

        show("judge", **judged_text.content(judgement), written=written)
    else:
        _show(judgement)
        for path in written:
            click.echo(f"written: {path}")
        _show_verdict(judgement, fail_on)
    if judgement.verdict == ONE_SEED:
        click.echo(
            "cannot tell: one seed gives no verdict. Add runs with other seeds, five or more", err=True
        )
    if fail_on or judgement.verdict == ONE_SEED:
        sys.exit(judgement.exit_code)


def _page(out: Path) -> Path:
    """Return the page to write, or raise UsageError if it cannot be."""
    if out.suffix.lower() in {".html", ".htm"}:
        output_folder.check_file(out)
        return out
    output_folder.check_folder(out)
    return out / "judgement.html"


def _show(judgement: Judgement) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness import notes
    from harness.comparison.judging import text as judged_text

    click.echo(judged_text.read_as(judgement))
    for note in judgement.notes:
        notes.warn(note)
    rows = judgement.contrasts.to_dict("records")
    click.echo(judged_text.legend(judgement))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, words in judged_text.headings(judgement).items():
        if words:
            shown.add_column(
                heading, overflow="fold", min_width=12 if heading == "verdict" else min(len(heading), 8)
            )
        else:
            shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows[: judged_text.MOST_ROWS]:
        shown.add_row(*(Text(cell) for cell in judged_text.cells(judgement, row)))
    Console().print(shown)
    if len(rows) > judged_text.MOST_ROWS:
        click.echo(f"  and {len(rows) - judged_text.MOST_ROWS:,} more contrasts (--out or --json has all)")
    for line in (*judged_text.left_out(judgement), *judged_text.sentences(judgement)):
        click.echo(line)
    if len(rows) > 1:
        click.secho(judged_text.headline(judgement), bold=True)


def _show_verdict(judgement: Judgement, fail_on: str | None) -> None:
    """Show the verdict of the only contrast, or the gate's; of several, no word is the answer of all."""
    from harness.comparison.judging import text as judged_text

    if fail_on:
        click.secho(f"for --fail-on {fail_on}: {judged_text.gate(judgement)}", bold=True)
    elif len(judgement.contrasts) == 1:
        click.secho(f"verdict: {judgement.verdict}", bold=True)
