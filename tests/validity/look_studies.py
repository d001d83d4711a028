"""Measure studies that are looked at, on really trained trials. `nox -s validity -- looks`.

Trained: sequential.toml, each seed in one study only. Resampled: studies drawn from the seeds of pool.toml,
families of five arms, and studies whose seeds were planned by a pilot's spread.

Training goes through ordinary results folders: what was killed goes on where it stopped.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aa_draws
import aa_rates
import aa_studies
import aa_words
import click
import look_rates
import numpy as np
import pandas as pd

from harness import stats
from harness.errors import MachineError, UsageError
from harness.system import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aa_rates import Check
    from numpy.typing import NDArray

    from harness.results import Results

TAKEN = "Seeds until a difference is told (in SDs), mean; found by looks; found by 20 seeds at once"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results/validity"),
    show_default=True,
    help="Where trials and tables go.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=400),
    default=80_000,
    show_default=True,
    help="Seeds of the trained source; a study takes 40 of them.",
)
@click.option(
    "--studies",
    type=click.IntRange(min=100),
    default=4000,
    show_default=True,
    help="Studies drawn from the pool for each rate; a quarter as many families.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; by default one a core or GPU.")
def looks(results: Path, seeds: int, studies: int, workers: int | None) -> None:
    """Measure how often studies that are looked at find what is not there."""
    one_arm = aa_studies.trained("sequential", results, workers, [f"seeds={seeds}"])
    pool = aa_studies.trained("pool", results, workers)
    click.echo("judging ...", err=True)
    source, values = aa_studies.pool_of(pool)
    rng = np.random.default_rng(0)
    checks = [*of_training(one_arm), *of_pool(source, values, studies, rng)]
    rates = aa_rates.table(checks, look_rates.INSIDE)
    drawn = aa_draws.resampled(values, 2, look_rates.LOOKS[-1], studies, rng)
    taken = pd.DataFrame(look_rates.seeds_taken(source, drawn, math.sqrt(2) * float(values.std(ddof=1))))
    lines = list(told(rates, taken))
    for name, table in {"looks": rates, "looks_seeds": taken}.items():
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        files.write(results / f"{name}.csv", text.encode())
    about = aa_words.environment((one_arm, pool))
    files.write(results / "looks.txt", "\n".join([*lines, "", *about, ""]).encode())
    click.echo("\n".join(lines))
    click.echo(f"tables: {results}/looks.csv, looks_seeds.csv, looks.txt")
    if not rates["ok"].all():
        sys.exit(1)


def of_training(found: Results) -> Iterator[Check]:
    """Studies of one arm under two names, by val, each with seeds of its own."""
    done = stats.finished(found.trials, aa_studies.VAL).sort_values("seed")
    values = done[aa_studies.VAL].to_numpy(dtype=float)
    studies = aa_draws.disjoint([values, values], look_rates.LOOKS[-1])
    sd = math.sqrt(2) * float(values.std(ddof=1))
    for spending in look_rates.SPENDINGS:
        yield from look_rates.looked_at("trained: one arm, by val", studies, sd, spending)


def of_pool(
    source: str, pool: NDArray[np.float64], studies: int, rng: np.random.Generator
) -> Iterator[Check]:
    """Studies drawn from a pool of seeds (N,), looked at, and planned by a pilot."""
    sd, n = math.sqrt(2) * float(pool.std(ddof=1)), look_rates.LOOKS[-1]
    pairs = aa_draws.resampled(pool, 2, n, studies, rng)
    arms = aa_draws.resampled(pool, aa_rates.FAMILY, n, math.ceil(studies / 4), rng)
    for spending in look_rates.SPENDINGS:
        yield from look_rates.looked_at(source, pairs, sd, spending)
        yield look_rates.families(source, arms, sd, spending)
    most = look_rates.MOST + max(look_rates.PILOTS)
    yield from look_rates.pilots(source, aa_draws.resampled(pool, 2, most, studies, rng), sd)


def told(rates: pd.DataFrame, taken: pd.DataFrame) -> Iterator[str]:
    """The tables as lines to print."""
    for question, heading in look_rates.ASKED.items():
        asked = rates[rates["question"].eq(question)]
        if len(asked):
            yield heading
            yield from map(aa_words.line, asked.to_dict("records"))
            yield ""
    yield TAKEN
    for row in taken.to_dict("records"):
        yield (
            f"  {row['spending']:<15} {row['shift']:4.2g} {row['seeds']:6.1f} {row['found']:7.1%} "
            f"{row['found_at_once']:7.1%}"
        )
    wrong = int((~rates["ok"]).sum())
    yield "\nIn brackets: exact 95 % intervals, each by itself; of so many, a few miss by chance."
    yield f"{wrong} out of bounds" if wrong else "All within bounds."


if __name__ == "__main__":
    try:
        looks.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (UsageError, MachineError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what is trained is kept; the same command goes on from there.", err=True)
        sys.exit(130)
