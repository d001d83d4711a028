"""Comparison of two results folders, arm by arm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from scipy import special

from harness import stats
from harness.comparison.folders import ComparedFolder, folder_notes, provenance, same_data
from harness.comparison.matching import SIDES, Matched, match
from harness.errors import UsageError, did_you_mean
from harness.results import Results, columns, families, trial_kinds
from harness.settings.schema import METRICS
from harness.stats.verdicts import EQUAL
from harness.text import listed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Metric = Literal["test_accuracy", "val_accuracy"]
MARGIN, ALPHA = 0.002, 0.05
BROKEN = ("diverged", "failed")
SHARED_IMAGES = (
    "each seed has a split of its own, so seeds share val images; the intervals and tests here take seeds "
    "for independent, and find too much. Compare by test_accuracy"
)
SEED, BLOCK = "seed", "seed block"
"""What n counts: seeds, or blocks of seeds, which chose the settings of arms (`[tune] blocks`)."""
OF_BLOCKS = (
    "blocks of seeds chose the settings of arms: n counts blocks, and differences are means of their seeds"
)


@dataclass(frozen=True)
class Comparison:
    """Two results folders, compared: tables, and notes to read before trusting them.

    Attributes:
        a: the old folder, or its results, read.
        b: the new folder, or its results, read.
        metric: the compared metric, a share in 0..1.
        margin: the largest difference that does not matter, a share.
        alpha: the error rate of all verdicts together.
        matched: the trials of both, side by side; `identical`: all their numbers agree to the last digit;
            `same_kind`: both finished, on one kind of processor.
        arms: a row an arm and data set that both have: dataset, arm, trials (matched), identical, changed (ok
            in both, with other numbers), lost (ok in A, diverged or failed in B), mended (the reverse),
            waiting (ok in A, without an outcome in B), same_kind (ok in both, on one kind of processor), a
            and b (means over the seeds that both finished),
            the columns of `stats.verdicts` for b - a; p_below, p_below_holm and regressed: whether b - a is
            significantly below -margin.
        pooled: dataset, arms, left_out (arms without all seeds), n, difference, low, high: the mean over the
            arms, first within a seed.
        provenance: what, a, b: differences in version, device and engine.
        set_aside: in words, the data sets that are in both and whose images differ: not compared.
        notes: other notes, in words.
        unit: what n counts, `SEED` or `BLOCK`.
    """

    a: Path
    b: Path
    metric: Metric
    margin: float
    alpha: float
    matched: Matched
    arms: pd.DataFrame
    pooled: pd.DataFrame
    provenance: pd.DataFrame
    set_aside: tuple[str, ...]
    notes: tuple[str, ...]
    unit: str = SEED

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial of either folder: its identity, its folders, its outcome in each."""
        return self.matched.trials


def compare(
    a: Results | Path | str, b: Results | Path | str, *, metric: Metric = "test_accuracy",
    margin: float = MARGIN, alpha: float = ALPHA,
) -> Comparison:  # fmt: skip
    """Compare two results folders arm by arm: B minus A, paired by seed.

    Args:
        a: the old folder, or its results, read.
        b: the new folder, or its results, read.
        metric: test_accuracy or val_accuracy.
        margin: the largest difference that does not matter, a share in 0..1.
        alpha: the error rate of all verdicts together (Holm over all arms compared).

    Raises:
        UsageError: a folder is not a results folder, is damaged, or of another schema; or the folders have no
            trial in common.

    Example:
        >>> harness.compare("results/old", "results/new").arms  # doctest: +SKIP
    """
    _check(metric, margin, alpha)
    folders = [Path(a), Path(b)]
    (first, first_twins), (second, second_twins) = (
        ComparedFolder.read(folder).without_twins() for folder in folders
    )
    notes = [*folder_notes(first, second), *first.notes(), *second.notes(), *first_twins, *second_twins]
    if metric == "val_accuracy" and any(
        families.resamples_split(side.results.study) for side in (first, second)
    ):
        notes.append(SHARED_IMAGES)
    matched_a, matched_b, other_data = same_data(first, second)
    matched = match(matched_a.results, matched_b.results)
    _require_common(matched, (first, second), metric)
    trials = matched.trials
    trials = trials.assign(identical=identical(trials), same_kind=same_kind(trials))
    matched = replace(matched, trials=trials)
    paired = differences(matched.trials, metric)
    if blocks := seed_blocks(first.results.trials, second.results.trials):
        paired = paired.assign(**{stats.BLOCK: paired["seed"].map(blocks)})
        notes.append(OF_BLOCKS)
    arms = arm_verdicts(matched.trials, paired, margin, alpha)
    return Comparison(
        folders[0], folders[1], metric, margin, alpha, matched, arms,
        pooled(paired), provenance(first.results, second.results),
        tuple(other_data), (*notes, *_version_notes(matched)), BLOCK if blocks else SEED,
    )  # fmt: skip


def seed_blocks(*sides: pd.DataFrame) -> dict[int, int]:
    """Map the seeds of trials to blocks that share no choice in any folder; {} where no blocks chose.

    Seeds that one folder puts into a block, and seeds that the other does, depend on each other.
    """
    chosen = [trials for trials in sides if stats.BLOCK in trials]
    if not chosen:
        return {}
    blocks = {int(seed): int(seed) for trials in sides for seed in trials["seed"]}
    for trials in chosen:
        for _, seeds in trials.groupby(stats.BLOCK, sort=False)["seed"]:
            joined = {blocks[int(seed)] for seed in seeds}
            blocks = {seed: min(joined) if own in joined else own for seed, own in blocks.items()}
    return blocks


def _check(metric: str, margin: float, alpha: float) -> None:
    if metric not in get_args(Metric):
        raise UsageError(f"--metric {metric!r}: {did_you_mean(metric, get_args(Metric))}")
    if not 0 < margin < 1:
        raise UsageError(
            f"--margin {margin}: allowed are shares between 0 and 1; 0.2 points are a margin of 0.002"
        )
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}: allowed is an error rate between 0 and 1, such as 0.05")


def _require_common(matched: Matched, sides: tuple[ComparedFolder, ComparedFolder], metric: str) -> None:
    """Raise UsageError if no trial is in both folders, or one has no value of the metric at all."""
    both = matched.trials[matched.trials["inside"].eq("both")]
    if both.empty:
        trials = [side.results.trials for side in sides]
        seeds = [listed([str(seed) for seed in sorted(set(table["seed"]))], 5) for table in trials]
        arms = [listed(list(dict.fromkeys(table["arm"].astype(str))), 5) for table in trials]
        raise UsageError(
            "the folders have no trial in common, neither by settings and seed nor by arm and seed. "
            f"A has the seeds {seeds[0]} and the arms {arms[0]}. B has the seeds {seeds[1]} and the arms "
            f"{arms[1]}. "
            "Run one study's file for both, with the same seeds."
        )
    for name, side in zip(SIDES, sides, strict=True):
        done = both[both[f"status_{name}"].eq("ok")]
        if len(done) and done[f"{metric}_{name}"].isna().all():
            other = "val_accuracy" if metric == "test_accuracy" else "test_accuracy"
            raise UsageError(
                f"{side.results.folder} has no {metric} for its {len(done)} finished trials. "
                f"Compare --metric {other}."
            )


def _version_notes(matched: Matched) -> list[str]:
    """Say that trials of the same settings have other ids, as another version of the training gives them."""
    if matched.by != "settings" or len(matched.differing) or len(matched.assumed):
        return []
    both = matched.trials[matched.trials["inside"].eq("both")]
    changed = int(both["trial_id_a"].ne(both["trial_id_b"]).sum())
    if not changed:
        return []
    note = (
        f"{changed} of {len(both)} matched trials have another trial_id: the version of the training, or the "
        "source of a third party's component, has changed"
    )
    return [note]


def identical(trials: pd.DataFrame) -> pd.Series[bool]:
    """Mark trials that finished on both sides with the same numbers, or diverged at the same step."""
    same = trials["inside"].eq("both") & trials["status_a"].isin(columns.FINISHED)
    for name in ("status", "diverged_step", *METRICS):
        one, other = trials[f"{name}_a"], trials[f"{name}_b"]
        same &= one.eq(other) | (one.isna() & other.isna())
    return same


def same_kind(trials: pd.DataFrame) -> pd.Series[bool]:
    """Mark trials that finished on both sides, on one kind of processor."""
    done = trials[trials["inside"].eq("both") & _finished(trials, "a") & _finished(trials, "b")]
    sides = [
        done[[f"{name}_{side}" for name in trial_kinds.READ]].set_axis(trial_kinds.READ, axis=1)
        for side in SIDES
    ]
    made = trial_kinds.of_trials(pd.concat(sides, ignore_index=True))
    alike = trial_kinds.alike(made.iloc[: len(done)], made.iloc[len(done) :])
    return pd.Series(alike, index=done.index).reindex(trials.index, fill_value=False)


def _finished(trials: pd.DataFrame, side: str) -> pd.Series[bool]:
    return trials[f"status_{side}"].isin(columns.FINISHED)


def differences(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Tabulate trials that both finished: dataset, arm, seed, value (B), reference_value (A), difference."""
    done = trials["status_a"].eq("ok") & trials["status_b"].eq("ok")
    table = trials[done].rename(columns={f"{metric}_b": "value", f"{metric}_a": "reference_value"})
    table = table.dropna(subset=["value", "reference_value"])
    table = table.assign(difference=table["value"] - table["reference_value"], reference="A")
    return table[["dataset", "arm", "reference", "seed", "value", "reference_value", "difference"]]


def arm_verdicts(
    trials: pd.DataFrame, differences: pd.DataFrame, margin: float, alpha: float
) -> pd.DataFrame:
    """Judge every arm that both folders have: the table `Comparison.arms`."""
    by = ["dataset", "arm"]
    both = trials[trials["inside"].eq("both")]
    ok = [both[f"status_{side}"].eq("ok") for side in SIDES]
    broken = [both[f"status_{side}"].isin(BROKEN) for side in SIDES]
    ended = both["status_b"].isin(("ok", *BROKEN))
    counted = both.assign(
        trials=1, changed=ok[0] & ok[1] & ~both["identical"], lost=ok[0] & broken[1],
        mended=broken[0] & ok[1], waiting=ok[0] & ~ended, same_kind=both["same_kind"] & ok[0] & ok[1],
    )  # fmt: skip
    counted_columns = ["trials", "identical", "changed", "lost", "mended", "waiting", "same_kind"]
    counts = counted.groupby(by, sort=False)[counted_columns].sum().astype(int).reset_index()
    means = differences.groupby(by, sort=False)[["reference_value", "value"]].mean().reset_index()
    means = means.rename(columns={"reference_value": "a", "value": "b"})
    verdicts = stats.verdicts(differences, tuple(by), margin=margin, alpha=alpha, within=(-1.0, 1.0))
    arms = counts.merge(means, on=by, how="left").merge(verdicts, on=by, how="left")
    arms["n"] = arms["n"].fillna(0).astype(int)
    arms["verdict"] = arms["verdict"].fillna("no data")
    arms["within_margin"] = arms["within_margin"].eq(True)
    below = p_below(arms["difference"], arms["sd"], arms["n"], margin)
    corrected = stats.holm(below)
    return arms.assign(p_below=below, p_below_holm=corrected, regressed=corrected <= alpha)


def p_below(difference: ArrayLike, sd: ArrayLike, n: ArrayLike, margin: float) -> NDArray[np.float64]:
    """Test paired differences one-sided against "not below -margin": Student's t, n - 1 degrees of freedom.

    Differences that are all equal leave nothing to estimate a spread from: there, as in `stats.verdicts`, a
    sign test takes its place, 1 / 2^n below -margin and else 1. NaN with n < 2.
    """
    mean, sd, n = (np.asarray(values, dtype=float) for values in (difference, sd, n))
    df = np.where(n > 1, n - 1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = special.stdtr(df, (mean + margin) / (sd / np.sqrt(n)))
    equal = np.where(mean + margin < -EQUAL, 0.5**n, 1.0)
    return np.where((n > 1) & (sd <= EQUAL), equal, p)


def pooled(differences: pd.DataFrame) -> pd.DataFrame:
    """Average over the arms of each data set, within a seed first; only arms with all its seeds count."""
    rows = []
    for dataset, table in differences.groupby("dataset", sort=False):
        seeds = table["seed"].nunique()
        complete = table.groupby("arm")["seed"].transform("size").eq(seeds)
        unit = [stats.BLOCK, "seed"] if stats.BLOCK in table else ["seed"]
        within = table[complete].groupby(unit, as_index=False)["difference"].mean().assign(dataset=dataset)
        summary = stats.summarise(within, ["dataset"], "difference", within=(-1.0, 1.0))
        summary = summary.rename(columns={"mean": "difference"})
        arms = table.loc[complete, "arm"].nunique()
        rows.append(summary.assign(arms=arms, left_out=table["arm"].nunique() - arms))
    header = ["dataset", "arms", "left_out", "n", "difference", "sd", "low", "high"]
    return pd.concat(rows, ignore_index=True)[header] if rows else pd.DataFrame(columns=header)
