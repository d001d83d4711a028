"""How often intervals of `stats.seed_variance` hold the truth: studies cut from really trained trials.

The pool is every start with every order of the batches (variance.toml). A study is some starts and some
orders of it, drawn without replacement; the truth is what the whole pool says. Studies share trials, so that
the rates are that pool's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aa_rates
import aa_studies
import aa_words
import click
import numpy as np
import validity_commands
from validity_commands import SETTINGS, results_option, studies_option, workers_option

from harness import stats
from harness.stats.seed_variance import MeanSquares

if TYPE_CHECKING:
    import pandas as pd
    from aa_rates import Check
    from numpy.typing import NDArray

SHAPES = ((8, 10), (5, 20), (10, 10))
"""Starts and orders of a study."""
ASKED = {aa_rates.COVERAGE: "Intervals that hold what the whole pool says, of starts x orders: 95 %"}
QUANTITIES = ("deviation alone", "deviation where all vary", "share", "share, first order")


def table_of(trials: pd.DataFrame) -> NDArray[np.float64]:
    """Lay out the test accuracies of a pool, starts down, orders across; incomplete starts are left out."""
    done = stats.finished(trials, "test_accuracy")
    wide = done.pivot_table(index="start_seed", columns="seed", values="test_accuracy").dropna()
    return wide.to_numpy(dtype=float)


def intervals(squares: MeanSquares) -> list[tuple[float, float]]:
    """Give the interval of each of QUANTITIES; of a deviation, in squares."""
    share, first = squares.column_share(0.95), squares.transposed.column_share(0.95)
    return [
        squares.alone_interval(0.95), squares.all_interval(0.95), (1 - share[2], 1 - share[1]), first[1:],
    ]  # fmt: skip


def truths(pool: NDArray[np.float64]) -> list[float]:
    """Give each of QUANTITIES of the whole pool."""
    squares = MeanSquares.of(pool)
    return [
        squares.alone, squares.all, 1 - squares.column_share(0.95)[0],
        squares.transposed.column_share(0.95)[0],
    ]  # fmt: skip


def coverage(pool: NDArray[np.float64], studies: int, rng: np.random.Generator) -> list[Check]:
    """Cut studies from a pool (starts, orders); count the intervals that hold the pool's own numbers."""
    true = truths(pool)
    checks = []
    for m, n in SHAPES:
        held = np.zeros((studies, len(true)), dtype=bool)
        for study in range(studies):
            rows, columns = (
                rng.choice(size, k, replace=False) for size, k in zip(pool.shape, (m, n), strict=True)
            )
            ends = intervals(MeanSquares.of(pool[np.ix_(rows, columns)]))
            held[study] = [low <= truth <= high for (low, high), truth in zip(ends, true, strict=True)]
        checks += [
            aa_rates.counted(aa_rates.COVERAGE, f"{name}, {m} x {n}", n, held[:, k], *aa_rates.AROUND_95)
            for k, name in enumerate(QUANTITIES)
        ]
    return checks


@click.command(context_settings=SETTINGS)
@results_option
@studies_option("Studies of each shape that are cut from the pool.")
@workers_option
def measure(results: Path, studies: int, workers: int | None) -> None:
    """Measure how often intervals of the variance by source hold the truth."""
    found = aa_studies.trained("variance", results, workers)
    rates = aa_rates.table(coverage(table_of(found.trials), studies, np.random.default_rng(0)))
    lines = [*aa_words.answers(rates, ASKED), *aa_words.closing(rates)]
    validity_commands.show(results, {"variance-rates": rates}, "variance-rates.txt", lines, [found])


if __name__ == "__main__":
    validity_commands.main(measure)
