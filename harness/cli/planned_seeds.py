"""The seeds that a study's contrasts need, on the screen and as JSON: `harness plan --power`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import notes
from harness.cli import answers
from harness.errors import UsageError
from harness.text import count, duration, points, spaced

if TYPE_CHECKING:
    from harness.comparison.pilots import Pilot
    from harness.comparison.planned_seeds import PlannedSeeds
    from harness.planning.plan import Plan
    from harness.study.study import Study
    from harness.training.options import RunOptions

Row = Mapping[Any, Any]
SHOWN = 20
"""Rows of the table on the screen, those that need most; the JSON has all."""


def power_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a difference to plan seeds for, and the pilot."""
    for option in (
        click.option("--power", type=float, metavar="POINTS",
                     help="Also tell how many seeds find a difference of so many points of accuracy, with "
                     "80 % power, and what they take: by a pilot's spread over seeds."),
        click.option("--pilot", type=click.Path(path_type=Path), metavar="FOLDER",
                     help="The pilot: a results folder of the study, or of `harness noise`. By default the "
                     "study's own."),
    ):  # fmt: skip
        command = option(command)
    return command


def asked(
    study: Study, folder: Path, named: Path | None, power: float | None, shard: str
) -> tuple[Pilot, float] | None:
    """Find the pilot of a study whose seeds are to be planned, and the difference; None if they are not.

    Raises:
        UsageError: there is no pilot, or seeds cannot be planned.
    """
    if power is None:
        if named is not None:
            raise UsageError(f"--pilot {named}: allowed beside --power POINTS, which takes its spread")
        return None
    from harness.comparison import pilots, planned_seeds

    planned_seeds.check(study, power / 100, shard)
    return pilots.find(study, folder, named), power / 100


def of_plan(planned: Plan, asked: tuple[Pilot, float], options: RunOptions) -> PlannedSeeds:
    """Plan the seeds that `asked` gave a pilot and a difference of."""
    from harness.comparison import planned_seeds

    pilot, difference = asked
    return planned_seeds.of_plan(planned, difference, pilot, options)


def answer(planned: PlannedSeeds) -> dict[str, Any]:
    """Return what `harness plan --json` says of the seeds."""
    for words in planned.notes:
        notes.warn(words)
    facts = ("difference", "power", "metric", "alpha", "level")
    most = None if math.isnan(planned.seeds) else int(planned.seeds)
    return {
        **{name: getattr(planned, name) for name in facts},
        "pilot": planned.pilot, "kind": planned.kind, "contrasts": answers.rows(planned.contrasts),
        "seeds": most, "seconds": planned.seconds,
    }  # fmt: skip


def show(planned: PlannedSeeds) -> None:
    """Show which contrast needs how many seeds, and what the whole study then takes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = planned.contrasts.sort_values("seeds", ascending=False, kind="stable", na_position="first")
    each = "each " if len(rows) > 1 else ""
    click.echo(
        f"seeds that find a difference of {points(planned.difference)} points of {spaced(planned.metric)} "
        f"with {100 * planned.power:.0f} % power: {count(len(rows), 'contrast')}, {each}tested at "
        f"{planned.level:.2g}; spread from {planned.pilot}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("contrast", overflow="fold", min_width=16)
    for column in ("SD, points", "seeds", "both sides take"):
        table.add_column(column, justify="right")
    several = rows["dataset"].nunique() > 1
    for row in rows.head(SHOWN).to_dict("records"):
        table.add_row(*map(Text, _cells(row, several=several)))
    Console().print(table)
    if len(rows) > SHOWN:
        click.echo(f"  and {count(len(rows) - SHOWN, 'contrast')} that need fewer (--json has all)")
    click.echo("in brackets: with the ends of the 95 % interval of the SD")
    click.echo(_in_all(planned))
    for words in planned.notes:
        notes.warn(words)


def _cells(row: Row, *, several: bool) -> tuple[str, str, str, str]:
    """Return the cells of a contrast; of several data sets, with its own."""
    name = f"{row['axis']} {row['arm']}".strip() + f" against {row['reference']}"
    where = [str(row["dataset"])] if several else []
    name = ", ".join([*where, name, *([str(row["within"])] if row["within"] else [])])
    if math.isnan(row["sd"]):
        return name, "-", "-", "-"
    sd = f"{points(row['sd'])} [{points(row['sd_low'])}, {points(row['sd_high'])}]"
    seeds = f"{_number(row['seeds'])} [{_number(row['seeds_low'])}, {_number(row['seeds_high'])}]"
    taken = "-" if math.isnan(row["seconds"]) else duration(row["seconds"])
    return name, sd, seeds, taken


def _number(seeds: float) -> str:
    from harness.stats.power_analysis import MOST_SEEDS

    return f"> {MOST_SEEDS:,}" if math.isnan(seeds) else f"{seeds:,.0f}"


def _in_all(planned: PlannedSeeds) -> str:
    """Say what the whole study needs, and what the seeds that it has find."""
    table = planned.contrasts
    found = table["detectable"].max()
    has = int(table["planned"].iloc[0])
    now = f"its {count(has, 'seed')} find {points(found)} points" if not math.isnan(found) else ""
    if math.isnan(planned.seeds):
        return f"all contrasts: not known; {now}" if now else "all contrasts: not known"
    seeds = int(planned.seeds)
    enough = "no more are needed" if seeds <= has else f"{_set(planned.overrides)} for them"
    said = "; ".join(filter(None, (now, enough)))
    taken = f"about {duration(planned.seconds)} for the whole study"
    return f"all contrasts: {count(seeds, 'seed')}, {taken}; {said}"


def _set(overrides: Sequence[str]) -> str:
    verb = "plans" if len(overrides) == 1 else "plan"
    return f"{' '.join(f'--set {override}' for override in overrides)} {verb}"
