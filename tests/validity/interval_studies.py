"""Measure the intervals beside the verdicts on really trained trials. `nox -s validity -- intervals`.

Simultaneous intervals and the equivalence of pairs are measured on seeds of pool.toml; verdicts over data
sets on two_sets.toml; seeds and images at once on predictions of crossed.toml; resampled splits on sets of
letters that are drawn anew for each study, so that studies share no image.

Training goes through ordinary results folders: what was killed goes on where it stopped.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aa_draws
import aa_rates
import aa_studies
import aa_words
import click
import interval_rates
import numpy as np
import pandas as pd
import validity_commands
from validity_commands import SETTINGS, results_option, studies_option, workers_option

import harness
from harness import stats
from harness.results import Results, predictions
from harness.training import displays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aa_rates import Check
    from numpy.typing import NDArray

SIZES = (5, 10, 20)
IMAGES = 400  # of a study of seeds and images: few of 10,000, so that these may stand for all there are
SPLIT_SEEDS = 10
VAL_FRACTION = 0.2
OUTPUTS = ("CE", "MSE")
MOST_POOLS = 10_000


@click.command(context_settings=SETTINGS)
@results_option
@studies_option("Studies drawn for each rate; half as many where a study is judged by itself.")
@click.option(
    "--pools",
    type=click.IntRange(10, MOST_POOLS),
    default=2000,
    show_default=True,
    help="Sets of letters, each a study of resampled splits.",
)
@workers_option
def intervals(results: Path, studies: int, pools: int, workers: int | None) -> None:
    """Measure how often the intervals beside the verdicts hold what they should."""
    pool = aa_studies.trained("pool", results, workers)
    sets = aa_studies.trained("two_sets", results, workers)
    crossed = aa_studies.trained("crossed", results, workers)
    split = harness.run(
        harness.parse(splits_study(pools)),
        results / "splits",
        workers=workers,
        display=displays.show_progress,
    )
    click.echo("judging ...", err=True)
    rng = np.random.default_rng(0)
    checks = [
        *of_pool(*aa_studies.pool_of(pool), studies, rng),
        *of_sets(sets, math.ceil(studies / 2), rng),
        *of_predictions(crossed, studies, rng),
        *of_splits(split),
    ]
    rates = aa_rates.table(checks, interval_rates.INSIDE)
    sources = [pool, sets, crossed, split]
    validity_commands.show(results, {"intervals": rates}, "intervals.txt", list(told(rates)), sources)


def splits_study(pools: int) -> dict[str, Any]:
    """The tables of a study in which each data set is drawn anew and each seed has a split of its own.

    Its networks are linear, so that hardly anything of a difference is the start's.
    """
    fonts = ["DejaVuSans", "DejaVuSerif"]
    letters = {
        "generate": "glyphs", "classes": "ABCD", "per_class": 100, "test_per_class": 4, "size": 8,
        "fonts": fonts, "test_fonts": fonts,
    }  # fmt: skip
    return {
        "study": {
            "name": "splits", "seeds": SPLIT_SEEDS, "resample_split": True,
            "hypothesis": "Seeds that resample the split of one set of images say less than others.",
            "keep_predictions": [], "keep_weights": "none",
        },
        "baseline": {
            "val_fraction": VAL_FRACTION, "hidden": [], "optimizer": "sgd", "lr": 0.5, "batch_size": 32,
            "steps": 300, "eval_every": "300 steps",
        },
        "axes": {
            "dataset": [f"letters{k}" for k in range(pools)],
            "output": [{"name": name, "head": "identity", "loss": name.lower()} for name in OUTPUTS],
        },
        "contrasts": {"metric": "val_accuracy"},
        "datasets": {f"letters{k}": {**letters, "seed": k} for k in range(pools)},
    }  # fmt: skip


def of_pool(
    source: str, pool: NDArray[np.float64], studies: int, rng: np.random.Generator
) -> Iterator[Check]:
    """Simultaneous intervals and equivalence, of studies drawn from a pool of seeds (N,)."""
    sd, half = math.sqrt(2) * float(pool.std(ddof=1)), math.ceil(studies / 2)
    for n in SIZES:
        if aa_rates.FAMILY * n <= len(pool):
            drawn = aa_draws.resampled(pool, aa_rates.FAMILY, n, half, rng)
            yield interval_rates.together(interval_rates.TOGETHER, source, drawn)
            yield interval_rates.together(interval_rates.RAGGED, source, interval_rates.ragged(drawn))
            yield interval_rates.by_themselves(source, drawn)
            yield from interval_rates.same_of_three(source, drawn[:, :3], sd)


def of_sets(found: Results, studies: int, rng: np.random.Generator) -> Iterator[Check]:
    """Verdicts over data sets, of studies drawn from seeds that finished on all of them."""
    done = stats.finished(found.trials, aa_draws.METRIC)
    wide = done.pivot_table(index="dataset", columns="seed", values=aa_draws.METRIC, sort=False).dropna(
        axis=1
    )
    source = f"resampled: {' and '.join(map(str, wide.index))}"
    for n in SIZES:
        if 2 * n <= wide.shape[1]:
            yield from interval_rates.over_sets(source, wide.to_numpy(), n, studies, rng)


def of_predictions(found: Results, studies: int, rng: np.random.Generator) -> Iterator[Check]:
    """Seeds and images at once, of studies drawn from the predictions of two arms."""
    right = right_of(found)
    first, second = right
    differences = right[second].astype(np.int8) - right[first].astype(np.int8)
    error = 2 - float(right[first].mean()) - float(right[second].mean())
    images = min(IMAGES, differences.shape[1])
    for n in SIZES:
        if n <= len(differences):
            source = f"resampled: {second}, {first}"
            yield from interval_rates.crossed(source, differences, error, (n, images), studies, rng)


def right_of(found: Results) -> dict[str, NDArray[np.bool_]]:
    """What each arm gets right of the test images, (seeds, images), over the seeds that all arms finished."""
    done = stats.finished(found.trials, aa_draws.METRIC)
    by_trial: dict[str, NDArray[np.bool_]] = {}
    for stack in predictions.stacks(found, str(done["dataset"].iloc[0]), "test"):
        by_trial |= dict(zip(stack.trial_ids, ~stack.wrong, strict=True))
    arms = done.groupby(done["arm"].astype(str), sort=False)
    ids = {str(arm): trials.set_index("seed")["trial_id"] for arm, trials in arms}
    seeds = sorted(set.intersection(*(set(one.index) for one in ids.values())))
    return {arm: np.stack([by_trial[trial] for trial in one.loc[seeds]]) for arm, one in ids.items()}


def of_splits(found: Results) -> Iterator[Check]:
    """Resampled splits, a study a data set; of each, its first seeds."""
    pair = pd.DataFrame({"arm": [OUTPUTS[1]], "reference": [OUTPUTS[0]]})
    table = stats.paired_differences(found.trials, pair, "val_accuracy", arm="output")
    wide = table.pivot_table(index="dataset", columns="seed", values="difference", sort=False)
    differences = wide.dropna().to_numpy()
    for n in (SPLIT_SEEDS // 2, SPLIT_SEEDS):
        overlap = VAL_FRACTION / (1 - VAL_FRACTION)
        yield from interval_rates.splits("trained: letters, by val", differences[:, :n], overlap)


def told(rates: pd.DataFrame) -> Iterator[str]:
    """The table as lines to print."""
    yield from aa_words.answers(rates, interval_rates.ASKED)
    yield from aa_words.closing(rates)


if __name__ == "__main__":
    validity_commands.main(intervals)
