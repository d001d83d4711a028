"""Measure the intervals beside the verdicts on really trained trials. `nox -s validity -- intervals`.

Simultaneous intervals and the equivalence of pairs are measured on seeds of pool.toml; verdicts over data
sets on two_sets.toml; seeds and images at once on predictions of crossed.toml; resampled splits on sets of
letters that are drawn anew for each study, so that studies share no image.

Training goes through ordinary results folders: what was killed goes on where it stopped.
"""

from __future__ import annotations

import math
import sys
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

import harness
from harness import stats
from harness.errors import MachineError, UsageError
from harness.results import Results, predictions
from harness.system import files
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


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results/validity"),
    show_default=True,
    help="Where trials and tables go.",
)
@click.option(
    "--studies",
    type=click.IntRange(min=100),
    default=4000,
    show_default=True,
    help="Studies drawn for each rate; half as many where a study is judged by itself.",
)
@click.option(
    "--pools",
    type=click.IntRange(10, MOST_POOLS),
    default=2000,
    show_default=True,
    help="Sets of letters, each a study of resampled splits.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; by default one a core or GPU.")
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
    lines = list(told(rates))
    text = rates.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files.write(results / "intervals.csv", text.encode())
    about = aa_words.environment((pool, sets, crossed, split))
    files.write(results / "intervals.txt", "\n".join([*lines, "", *about, ""]).encode())
    click.echo("\n".join(lines))
    click.echo(f"tables: {results}/intervals.csv, intervals.txt")
    if not rates["ok"].all():
        sys.exit(1)


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
    for question, heading in interval_rates.ASKED.items():
        asked = rates[rates["question"].eq(question)]
        if len(asked):
            yield heading
            yield from map(aa_words.line, asked.to_dict("records"))
            yield ""
    wrong = int((~rates["ok"]).sum())
    yield "In brackets: exact 95 % intervals, each by itself; of so many, a few miss by chance."
    yield f"{wrong} out of bounds" if wrong else "All within bounds."


if __name__ == "__main__":
    try:
        intervals.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (UsageError, MachineError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what is trained is kept; the same command goes on from there.", err=True)
        sys.exit(130)
