"""Measure verdicts on tuned arms, old way and new, on really trained trials. `nox -s validity -- tuned`.

One pool is trained (tuned.toml): each setting that an arm may try with thousands of seeds, val and test.
Thousands of studies of tuned arms are cut from it; they share seeds, so their rates are that pool's.

Training goes through an ordinary results folder: what was killed goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aa_rates
import aa_studies
import aa_words
import click
import numpy as np
import tuned_draws
import tuned_rates

from harness.errors import MachineError, UsageError
from harness.system import files

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
    type=click.IntRange(min=200),
    default=4000,
    show_default=True,
    help="Seeds of the pool; a study takes up to 120 of them.",
)
@click.option(
    "--studies",
    type=click.IntRange(min=100),
    default=4000,
    show_default=True,
    help="Studies drawn for each rate.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; by default one a core or GPU.")
def tuned(results: Path, seeds: int, studies: int, workers: int | None) -> None:
    """Measure how often tuned arms that are the same are found different, by how they were tuned."""
    found = aa_studies.trained("tuned", results, workers, [f"seeds={seeds}"])
    click.echo("judging ...", err=True)
    pools = {arm: tuned_draws.pool_of(found.trials, arm) for arm in ARMS}
    rates = aa_rates.table(of_pools(pools, studies, np.random.default_rng(0)), tuned_rates.INSIDE)
    lines = [*chances(pools), "", *told(rates)]
    text = rates.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files.write(results / "tuned.csv", text.encode())
    files.write(results / "tuned.txt", "\n".join([*lines, "", *aa_words.environment((found,)), ""]).encode())
    click.echo("\n".join(lines))
    click.echo(f"tables: {results}/tuned.csv, tuned.txt")
    if not rates["ok"].all():
        sys.exit(1)


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
    for question, heading in tuned_rates.ASKED.items():
        yield heading
        yield from map(aa_words.line, rates[rates["question"].eq(question)].to_dict("records"))
        yield ""
    wrong = int((~rates["ok"]).sum())
    yield "In brackets: exact 95 % intervals, each by itself; of so many, a few miss by chance."
    yield f"{wrong} out of bounds" if wrong else "All within bounds."


if __name__ == "__main__":
    try:
        tuned.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (UsageError, MachineError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what is trained is kept; the same command goes on from there.", err=True)
        sys.exit(130)
