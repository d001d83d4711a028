"""Measure verdicts on tuned arms, old way and new, on really trained trials. `nox -s validity -- tuned`.

One pool is trained (tuned.toml): each setting that an arm may try with thousands of seeds, val and test.
Thousands of studies of tuned arms are cut from it; they share seeds, so their rates are that pool's.

Training goes through an ordinary results folder: what was killed goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aa_rates
import aa_studies
import aa_words
import click
import numpy as np
import tuned_draws
import tuned_rates
import validity_commands
from validity_commands import SETTINGS, results_option, seeds_option, studies_option, workers_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from aa_rates import Check
    from tuned_draws import Pool

SEEDS = 20
"""Seeds of a study."""
TUNING = (1, 2)
"""Seeds of a choice."""
ARMS = ("CE", "QL")


@click.command(context_settings=SETTINGS)
@results_option
@seeds_option(200, 4000, "Seeds of the pool; a study takes up to 120 of them.")
@studies_option("Studies drawn for each rate.")
@workers_option
def tuned(results: Path, seeds: int, studies: int, workers: int | None) -> None:
    """Measure how often tuned arms that are the same are found different, by how they were tuned."""
    found = aa_studies.trained("tuned", results, workers, [f"seeds={seeds}"])
    click.echo("judging ...", err=True)
    pools = {arm: tuned_draws.pool_of(found.trials, arm) for arm in ARMS}
    rates = aa_rates.table(of_pools(pools, studies, np.random.default_rng(0)), tuned_rates.INSIDE)
    lines = [*chances(pools), "", *told(rates)]
    validity_commands.show(results, {"tuned": rates}, "tuned.txt", lines, [found])


def of_pools(pools: Mapping[str, Pool], studies: int, rng: np.random.Generator) -> Iterator[Check]:
    """Yield what studies say that are drawn from the pools of two arms."""
    first, second = pools
    for tuning in TUNING:
        for design in tuned_rates.designs(SEEDS, tuning):
            for arm, pool in pools.items():
                yield from tuned_rates.same_arms(f"{arm} twice", pool, design, studies, rng)
            both = (pools[first], pools[second])
            yield tuned_rates.arms_apart(f"{second}, {first}", both, design, studies, rng)


def chances(pools: Mapping[str, Pool]) -> Iterator[str]:
    """Yield how good each setting is, and how often it is chosen."""
    rng = np.random.default_rng(0)
    for arm, pool in pools.items():
        yield f"{arm}, {len(pool.val):,} seeds: val and test accuracy (SD of test); how often chosen"
        shares = {tuning: tuned_draws.shares(pool, tuning, rng) for tuning in TUNING}
        for place in range(pool.val.shape[1]):
            accuracy = f"{pool.val[:, place].mean():6.1%} {pool.test[:, place].mean():6.1%}"
            often = ", ".join(f"{of[place]:.0%} with {tuning}" for tuning, of in shares.items())
            yield f"  setting {place + 1}: {accuracy} ({pool.test[:, place].std(ddof=1):.1%}); {often}"


def told(rates: pd.DataFrame) -> Iterator[str]:
    """Yield the table as lines to print."""
    yield from aa_words.answers(rates, tuned_rates.ASKED)
    yield from aa_words.closing(rates)


if __name__ == "__main__":
    validity_commands.main(tuned)
