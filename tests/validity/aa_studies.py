"""The harness tests itself: A/A studies, in which nothing differs, by the thousand. `nox -s validity`.

Two sources. Trained: 140,000 small trainings (aa.toml, sequential.toml), each seed in one study only, so that
studies are independent. Resampled: studies drawn again and again from a few hundred seeds of a network that
people use (pool.toml, or `--pool FOLDER`); these share seeds, so their rates are that pool's.

Training goes through ordinary results folders: what was killed goes on where it stopped.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import aa_draws
import aa_figure
import aa_rates
import aa_words
import click
import numpy as np
import pandas as pd
import validity_commands
from validity_commands import SETTINGS, results_option, seeds_option, studies_option, workers_option

import harness
from harness import stats
from harness.errors import UsageError
from harness.results import Results
from harness.training import displays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aa_rates import Check
    from numpy.typing import NDArray

HERE = Path(__file__).parent
VAL = "val_accuracy"
CE, QL, MSE = "logits + CE", "softmax + QL, lr", "softmax + MSE, 5 lr"
SIZES = (5, 10, 20)
SCALE = 5  # QL is C/2 times MSE, and digits have 10 classes
LOOKED_AT = 4  # times as many seeds for studies that are looked at: each takes 40
LEAST_POOL = 50
ROUNDING = 1e-9  # accuracies that are the same on paper differ by less


@click.command(context_settings=SETTINGS)
@results_option
@seeds_option(100, 20_000, "Seeds of the trained source; a study of 5 takes 10 of them.")
@studies_option("Studies drawn from the pool for each rate; with five arms, a quarter as many.")
@click.option(
    "--pool",
    type=click.Path(path_type=Path),
    help="A results folder of your own to draw from: its arm with the most seeds.",
)
@workers_option
def validity(results: Path, seeds: int, studies: int, pool: Path | None, workers: int | None) -> None:
    """Measure how often the harness finds what is not there, and misses what is."""
    named = harness.read(pool) if pool else None
    if named:
        pool_of(named)  # what is wrong with it is told before anything is trained
    aa = trained("aa", results, workers, [f"seeds={seeds}"])
    again = trained("sequential", results, workers, [f"seeds={LOOKED_AT * seeds}"])
    drawn_from = named or trained("pool", results, workers)
    click.echo("judging A/A studies ...", err=True)
    columns = values_of(aa)
    equality = same_training(aa.trials)
    checks = [
        *of_training(columns),
        *of_looks(again),
        *of_pool(*pool_of(drawn_from), studies, np.random.default_rng(0)),
    ]
    rates = aa_rates.table(checks)
    p_values = aa_draws.judged(aa_draws.disjoint([columns[CE]] * 2, SIZES[0]), margin=1.0)
    p_values = p_values[["dataset", "n", "difference", "sd", "low", "high", "p"]]
    studies_table = p_values.rename(columns={"dataset": "study"})
    aa_figure.save(results, rates, p_values["p"].to_numpy())
    tables = {"rates": rates, "equality": equality, "studies": studies_table}
    lines = list(aa_words.told(rates, equality))
    validity_commands.show(results, tables, "summary.txt", lines, [aa, again, drawn_from])


def trained(name: str, results: Path, workers: int | None, overrides: list[str] | None = None) -> Results:
    """The results of a study beside this file, trained as far as they are missing."""
    study = harness.load(str(HERE / f"{name}.toml"), overrides or [])
    return harness.run(study, results / name, workers=workers, display=displays.show_progress)


def values_of(aa: Results) -> dict[str, NDArray[np.float64]]:
    """Each arm's test accuracies, (N,), over the seeds that all arms finished, in the order of seeds."""
    done = stats.finished(aa.trials, aa_draws.METRIC)
    wide = done.pivot_table(index="seed", columns="output", values=aa_draws.METRIC)[[CE, QL, MSE]].dropna()
    return {str(arm): wide[arm].to_numpy() for arm in wide.columns}


def pool_of(found: Results) -> tuple[str, NDArray[np.float64]]:
    """The arm of a results folder that has the most finished seeds, in words, and its test accuracies (N,).

    Raises:
        UsageError: no arm has enough seeds, or all its seeds gave the same.
    """
    done = stats.finished(found.trials, aa_draws.METRIC)
    if done.empty:
        raise UsageError(f"{found.folder} has no finished trial. Finish it, or name another folder.")
    seeds = done.groupby(["dataset", "arm"], sort=False)[aa_draws.METRIC].apply(np.array)
    dataset, arm = max(seeds.index, key=lambda key: len(seeds[key]))
    values: NDArray[np.float64] = seeds[dataset, arm]
    if len(values) < LEAST_POOL or not np.ptp(values) > 0:
        raise UsageError(
            f"{found.folder}: its arm with the most seeds, {arm!r} on {dataset}, has {len(values)} and "
            f"{len(set(values))} different accuracies. A pool needs {LEAST_POOL} seeds or more, that differ: "
            "train it with --set seeds=400, or name another folder."
        )
    return f"resampled: {found.study['study']['name']} ({dataset})", values


def same_training(trials: pd.DataFrame) -> pd.DataFrame:
    """MSE at 5 lr against QL at lr, seed by seed: the same training but for float rounding.

    Returns:
        One row: pairs, apart (pairs whose test accuracy differs), accuracy (the largest difference), loss
        (the largest relative difference of QL from 5 times MSE, on test), ok. ok: the loss agrees to 1e-3 and
        less than 1 % of the pairs have an image that falls on the other side.
    """
    done = stats.finished(trials, aa_draws.METRIC).set_index("seed")
    ql, mse = (done[done["output"].eq(arm)] for arm in (QL, MSE))
    accuracy = (ql["test_accuracy"] - mse["test_accuracy"]).dropna().abs()
    loss = (SCALE * mse["test_loss"] / ql["test_loss"] - 1).dropna().abs()
    apart = int((accuracy > ROUNDING).sum())
    row = {"pairs": len(accuracy), "apart": apart, "accuracy": accuracy.max(), "loss": loss.max()}
    return pd.DataFrame([{**row, "ok": bool(loss.max() < 1e-3 and apart < 0.01 * len(accuracy))}])


def of_training(columns: Mapping[str, NDArray[np.float64]]) -> list[Check]:
    """What the trained source says; `columns` as from `values_of`."""
    ce, ql, mse = (columns[arm] for arm in (CE, QL, MSE))
    checks: list[Check] = []
    for n in SIZES:
        sd = math.sqrt(2) * float(ce.std(ddof=1))
        one_arm = aa_draws.disjoint([ce, ce], n)
        checks += aa_rates.same_arms("trained: CE twice", one_arm, sd)
        checks += aa_rates.power_curve("trained: CE twice", one_arm, sd)
        sd = math.sqrt(2) * float(ql.std(ddof=1))
        checks += aa_rates.same_arms("trained: MSE 5 lr, QL lr", aa_draws.disjoint([ql, mse], n), sd)
        checks.append(aa_rates.same_seeds("trained: MSE 5 lr, QL lr", aa_draws.paired([ql, mse], n), sd))
        apart = aa_draws.paired([ql, ce], n)
        checks.append(aa_rates.arms_apart("trained: CE, QL, paired", apart, float((ce - ql).mean())))
    families = aa_draws.disjoint([ce] * aa_rates.FAMILY, SIZES[0])
    return [*checks, aa_rates.family_wise("trained: CE five times", families, math.sqrt(2) * float(ce.std()))]


def of_looks(found: Results) -> list[Check]:
    """What the studies say that are looked at until they are told, by val, each with seeds of its own."""
    done = stats.finished(found.trials, VAL).sort_values("seed")
    values = done[VAL].to_numpy(dtype=float)
    sd = math.sqrt(2) * float(values.std(ddof=1))
    source = "trained: one arm, by val"
    checks = aa_rates.looked_at(source, aa_draws.disjoint([values, values], SIZES[-1]), sd)
    return [*checks, aa_rates.twins(source, aa_draws.paired([values, values], SIZES[-1]))]


def of_pool(source: str, pool: NDArray[np.float64], studies: int, rng: np.random.Generator) -> list[Check]:
    """What studies say that are drawn from a pool `(N,)`; sizes that it is too small for are left out."""
    sd = math.sqrt(2) * float(pool.std(ddof=1))
    families = math.ceil(studies / 4)  # a call of `verdicts` each
    checks: list[Check] = []
    for n in SIZES:
        if 2 * n <= len(pool):
            drawn = aa_draws.resampled(pool, 2, n, studies, rng)
            checks += aa_rates.same_arms(source, drawn, sd)
            checks += aa_rates.power_curve(source, drawn, sd)
            checks.append(aa_rates.bootstrap_coverage(source, drawn, rng))
        if n == SIZES[-1] <= len(pool) // 2:
            checks += aa_rates.looked_at(source, drawn, sd)
        if aa_rates.FAMILY * n <= len(pool):
            drawn = aa_draws.resampled(pool, aa_rates.FAMILY, n, families, rng)
            checks.append(aa_rates.family_wise(source, drawn, sd))
    return checks


if __name__ == "__main__":
    validity_commands.main(validity)
