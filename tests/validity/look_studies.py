"""Measure studies that are looked at, on really trained trials. `nox -s validity -- looks`.

Trained: sequential.toml, each seed in one study only. Resampled: studies drawn from the seeds of pool.toml,
families of five arms, and studies whose seeds were planned by a pilot's spread.

Training goes through ordinary results folders: what was killed goes on where it stopped.
"""

from __future__ import annotations

import math
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
import validity_commands
from validity_commands import SETTINGS, results_option, seeds_option, studies_option, workers_option

from harness import stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aa_rates import Check
    from numpy.typing import NDArray

    from harness.results import Results

TAKEN = "Seeds until a difference is told (in SDs), mean; found by looks; found by 20 seeds at once"


@click.command(context_settings=SETTINGS)
@results_option
@seeds_option(400, 80_000, "Seeds of the trained source; a study takes 40 of them.")
@studies_option("Studies drawn from the pool for each rate; a quarter as many families.")
@workers_option
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
    tables = {"looks": rates, "looks_seeds": taken}
    validity_commands.show(results, tables, "looks.txt", lines, [one_arm, pool])


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
    yield from aa_words.answers(rates, look_rates.ASKED)
    yield TAKEN
    for row in taken.to_dict("records"):
        yield (
            f"  {row['spending']:<15} {row['shift']:4.2g} {row['seeds']:6.1f} {row['found']:7.1%} "
            f"{row['found_at_once']:7.1%}"
        )
    yield ""
    yield from aa_words.closing(rates)


if __name__ == "__main__":
    validity_commands.main(looks)
