"""What the numbers of a study say: intervals, main effects, rankings, paired contrasts. Pure functions.

Every function takes columns of `trials.csv`, `epochs.csv` or `confusion.csv` and gives a new DataFrame.
Two rules hold throughout.

Seeds are the unit of replication. Cells of a grid that share a seed share initial weights, batch order and
split, so they are not independent draws; a value is first averaged within its seed, and the interval is
Student's t over those seed-level numbers (Bouthillier et al. 2021, "Accounting for variance in machine
learning benchmarks"). One seed gives no interval: it is NaN.

Nothing is imputed. Only trials with status `ok` carry a value; diverged and failed ones are counted.

Accuracies are shares in 0..1 throughout. Selection and ranking read the validation split alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

CONFIDENCE = 0.95
SEED_EFFECTS = ["dataset", "axis", "level", "seed", "value", "effect"]
OUTCOMES = ["ok", "diverged", "failed", "skipped", "pruned"]


def summarise(
    values: pd.DataFrame, by: Sequence[str], value: str, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Mean and Student-t interval of `value` within each group, groups in order of appearance.

    Args:
        values: one row an independent observation (a seed); NaN in `value` is not an observation.
        by: columns that name a group.
        value: the column to summarise.
        confidence: coverage of the interval, in 0..1.

    Returns:
        `by`, n (observations), mean, sd (divisor n - 1), low, high. With n = 1 there is no sd and no interval
        (NaN), with n = 0 no mean either.

    >>> three = pd.DataFrame({"arm": ["a"] * 3, "x": [1.0, 2.0, 3.0]})
    >>> summarise(three, ["arm"], "x").round(3).to_dict("records")
    [{'arm': 'a', 'n': 3, 'mean': 2.0, 'sd': 1.0, 'low': -0.484, 'high': 4.484}]
    """
    grouped = values.groupby(list(by), sort=False, observed=True, dropna=False)[value]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    n = table["n"].to_numpy(dtype=float)
    critical = stats.t.ppf(0.5 + confidence / 2, np.where(n > 1, n - 1, np.nan))
    half = critical * table["sd"].to_numpy(dtype=float) / np.sqrt(np.maximum(n, 1))
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def finished(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows with status `ok` and a value of `metric`: the only ones that statistics may use."""
    return trials[trials["status"].eq("ok") & trials[metric].notna()]


def seed_effects(trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy") -> pd.DataFrame:
    """Average each level of each axis over all other cells of the grid, one number a seed.

    A cell is a combination of the other axes. Levels are compared over the cells that every level finished
    with every seed, so that a level never looks good because its hard cells diverged (`effect_cells`
    counts what this left out).

    Args:
        trials: dataset, `axes`, seed, status, `metric`; a full or holed factorial.
        axes: columns that were varied, `dataset` not among them: data sets are never pooled.
        metric: the column to average.

    Returns:
        dataset, axis, level, seed, value (mean over the cells), effect (value minus the mean of all levels
        with that seed).
    """
    rows = [
        _effects_of(block).assign(dataset=dataset, axis=axis)
        for dataset, axis, block, _ in _blocks(trials, axes, metric)
        if not block.empty
    ]
    return pd.concat(rows, ignore_index=True)[SEED_EFFECTS] if rows else pd.DataFrame(columns=SEED_EFFECTS)


def effect_cells(trials: pd.DataFrame, axes: Sequence[str], metric: str = "val_accuracy") -> pd.DataFrame:
    """Say what each axis was compared over.

    Args:
        trials: as for `seed_effects`.
        axes: as for `seed_effects`.
        metric: as for `seed_effects`.

    Returns:
        dataset, axis, cells (compared), left_out (planned, but unfinished at some level or seed),
        empty_levels (a tuple of the levels without any finished trial; they have no effect at all and do
        not take the other levels down with them).
    """
    rows = [
        {"dataset": dataset, "axis": axis, "cells": len(block), **told}
        for dataset, axis, block, told in _blocks(trials, axes, metric)
    ]
    return pd.DataFrame(rows, columns=["dataset", "axis", "cells", "left_out", "empty_levels"])


def main_effects(
    trials: pd.DataFrame,
    axes: Sequence[str],
    metric: str = "val_accuracy",
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Main effect of each level: its paired difference from the mean of all levels, with a t interval.

    Takes what `seed_effects` takes; `confidence` is the coverage of each interval. n is the number of
    seeds, not of trials: see the module's first rule. The difference is taken within a seed before it is
    summarised, which removes what the seed does to all levels alike.

    Returns:
        dataset, axis, level, mean (of the level), n, effect, low, high (of the effect); accuracy as shares
        in 0..1.
    """
    seeds = seed_effects(trials, axes, metric)
    by = ["dataset", "axis", "level"]
    effects = summarise(seeds, by, "effect", confidence).rename(columns={"mean": "effect"})
    means = summarise(seeds, by, "value", confidence)[[*by, "mean"]]
    return means.merge(effects.drop(columns="sd"), on=by, sort=False)


def axis_spreads(
    trials: pd.DataFrame,
    axes: Sequence[str],
    metric: str = "val_accuracy",
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """How much each choice mattered: its best against its worst level, paired by seed.

    Takes what `main_effects` takes. Both levels are picked by the means that are then compared, so a spread
    is never negative and an axis without any effect shows a small positive one: a size to rank axes by, not
    a test.

    Returns:
        dataset, axis, best, worst (levels), best_mean, worst_mean, n (seeds), spread, low, high, share,
        widest spread first. share is eta squared: the sum of squares between the axis' levels over the
        total of the same trials.
    """
    rows = []
    for dataset, axis, block, _ in _blocks(trials, axes, metric):
        seeds = _seed_means(block)
        if seeds.shape[1] < 2:
            continue
        means = seeds.mean()
        best, worst = str(means.idxmax()), str(means.idxmin())
        paired = (seeds[best] - seeds[worst]).rename("difference").to_frame().assign(axis=axis)
        interval = summarise(paired, ["axis"], "difference", confidence).iloc[0]
        names = {"dataset": dataset, "axis": axis, "best": best, "worst": worst}
        sizes = {"best_mean": means[best], "worst_mean": means[worst], "spread": interval["mean"]}
        rows.append(names | sizes | {k: interval[k] for k in ("n", "low", "high")} | {"share": _share(block)})
    columns = ["dataset", "axis", "best", "worst", "best_mean", "worst_mean"]
    table = pd.DataFrame(rows, columns=[*columns, "n", "spread", "low", "high", "share"])
    rank = table.groupby("dataset", sort=False).ngroup()
    return (
        table.assign(_rank=rank)
        .sort_values(["_rank", "spread"], ascending=[True, False], kind="stable")[table.columns]
        .reset_index(drop=True)
    )


def rank_arms(
    trials: pd.DataFrame, arm: str = "arm", metric: str = "val_accuracy", shown: str = "test_accuracy"
) -> pd.DataFrame:
    """Order the arms of each data set by validation accuracy, best first.

    Arms with a diverged or failed seed come after those without, because the mean of the survivors
    flatters them; arms without any value come last and have no rank.

    Args:
        trials: dataset, `arm`, seed, status, `metric`, `shown`.
        arm: the column that names an arm.
        metric: what orders.
        shown: what stands beside it and orders nothing.

    Returns:
        dataset, `arm`, rank (1 = best), planned (seeds), one count a status (ok, diverged, failed, skipped,
        pruned), n, mean, low, high (of `metric` over seeds), shown_n, shown_mean, shown_low, shown_high.
    """
    by = ["dataset", arm]
    done = trials.assign(**{c: trials[c].where(trials["status"].eq("ok")) for c in (metric, shown)})
    ranked = summarise(done, by, metric).drop(columns="sd")
    beside = summarise(done, by, shown).drop(columns="sd")
    beside = beside.rename(columns={c: f"shown_{c}" for c in ("n", "mean", "low", "high")})
    table = outcomes(trials, by).merge(ranked, on=by).merge(beside, on=by)
    table = table.assign(_empty=table["mean"].isna(), _broken=(table["diverged"] + table["failed"]) > 0)
    table = _ordered(table, {"_empty": True, "_broken": True, "mean": False})
    rank = (table.groupby("dataset", sort=False).cumcount() + 1).where(~table["_empty"])
    table.insert(len(by), "rank", rank)
    return table.drop(columns=["_empty", "_broken"])


def outcomes(trials: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Count what became of the trials.

    Args:
        trials: `by`, status.
        by: columns that name a group.

    Returns:
        `by`, planned (trials), ok, diverged, failed, skipped, pruned; what is missing to `planned` was not
        trained yet.
    """
    counts = {status: trials["status"].eq(status).astype(int) for status in OUTCOMES}
    grouped = trials.assign(planned=1, **counts).groupby(list(by), sort=False, observed=True, dropna=False)
    return grouped[["planned", *OUTCOMES]].sum().reset_index()


def paired_differences(
    trials: pd.DataFrame, pairs: pd.DataFrame, metric: str = "val_accuracy", arm: str = "arm"
) -> pd.DataFrame:
    """Subtract each reference arm from its arm, within a data set and a seed.

    Args:
        trials: dataset, `arm`, seed, status, `metric`.
        pairs: arm, reference: which to compare; all with a baseline, or each rung with the one before.
        metric: what to subtract.
        arm: the column of `trials` that names an arm.

    Returns:
        dataset, arm, reference, seed, value, reference_value, difference; only seeds that both finished.
    """
    done = finished(trials, metric)
    values = pd.DataFrame(
        {"dataset": done["dataset"], "arm": done[arm], "seed": done["seed"], "value": done[metric]}
    )
    reference = values.rename(columns={"arm": "reference", "value": "reference_value"})
    table = pairs[["arm", "reference"]].merge(values, on="arm", sort=False)
    table = table.merge(reference, on=["dataset", "reference", "seed"], sort=False)
    table["difference"] = table["value"] - table["reference_value"]
    return table[["dataset", "arm", "reference", "seed", "value", "reference_value", "difference"]]


def contrasts(
    trials: pd.DataFrame,
    pairs: pd.DataFrame,
    metric: str = "val_accuracy",
    arm: str = "arm",
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Paired contrast of each pair on each data set: Student's t on the differences within seeds.

    Args:
        trials: as for `paired_differences`.
        pairs: as for `paired_differences`.
        metric: as for `paired_differences`.
        arm: as for `paired_differences`.
        confidence: coverage of each interval by itself; not corrected for their number.

    Returns:
        dataset, arm, reference, n (seeds that both finished), difference, low, high, in the order of
        `pairs`. A pair without a common seed on a data set has no row.
    """
    differences = paired_differences(trials, pairs, metric, arm)
    table = summarise(differences, ["dataset", "arm", "reference"], "difference", confidence)
    return table.rename(columns={"mean": "difference"})[
        ["dataset", "arm", "reference", "n", "difference", "low", "high"]
    ]


def mean_curves(
    epochs: pd.DataFrame, trials: pd.DataFrame, by: Sequence[str], metric: str = "accuracy"
) -> pd.DataFrame:
    """Average the learning curves of finished trials to one curve a group, split and seed.

    Args:
        epochs: trial_id, epoch, split, `metric`.
        trials: trial_id, status, seed and `by`.
        by: columns that name a curve; losses of different kinds must be told apart here.
        metric: the column to average.

    Returns:
        `by`, split, epoch, seed, value, trials (averaged into the value).
    """
    ok = trials.loc[trials["status"].eq("ok"), list(dict.fromkeys(["trial_id", "seed", *by]))]
    joined = epochs[["trial_id", "epoch", "split", metric]].merge(ok, on="trial_id", sort=False)
    grouped = joined.groupby([*by, "split", "epoch", "seed"], sort=False, observed=True, dropna=False)[metric]
    return grouped.agg(value="mean", trials="count").reset_index()


def confusion_matrix(
    confusion: pd.DataFrame, trial_ids: Sequence[Hashable], classes: int, split: str = "test"
) -> pd.DataFrame:
    """Sum the confusion counts of some trials.

    Args:
        confusion: trial_id, split, label, prediction, count, with zero cells left out.
        trial_ids: the trials to sum over, usually the seeds of one arm.
        classes: how many there are; a class that never occurs keeps its row and column.
        split: `test` or `val`.

    Returns:
        Square table of ints, true labels as rows, predictions as columns.
    """
    chosen = confusion[confusion["trial_id"].isin(list(trial_ids)) & confusion["split"].eq(split)]
    counts = np.zeros((classes, classes), dtype=np.int64)
    cells = (chosen["label"].to_numpy(dtype=int), chosen["prediction"].to_numpy(dtype=int))
    np.add.at(counts, cells, chosen["count"].to_numpy(dtype=np.int64))
    names = range(classes)
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


def confusion_differences(
    confusion: pd.DataFrame, trials: pd.DataFrame, pair: tuple[str, str], classes: int, arm: str = "arm"
) -> pd.DataFrame:
    """Subtract a reference arm's test confusion counts from an arm's, within each seed.

    Args:
        confusion: as for `confusion_matrix`.
        trials: one data set's: trial_id, `arm`, seed, status.
        pair: the arm and its reference.
        classes: as for `confusion_matrix`.
        arm: the column of `trials` that names an arm.

    Returns:
        Signed counts (S * C, C), indexed by seed and true, predictions as columns; only seeds that both
        finished. Rows sum to 0. `.groupby(level="true").sum()` is the change over all seeds.
    """
    tested = confusion.loc[confusion["split"].eq("test"), "trial_id"].unique()
    done = trials[trials["status"].eq("ok") & trials["trial_id"].isin(tested)]
    first, second = (done[done[arm].eq(name)].set_index("seed")["trial_id"] for name in pair)
    seeds = first.index.intersection(second.index, sort=False)
    changes = [
        confusion_matrix(confusion, [first[seed]], classes)
        - confusion_matrix(confusion, [second[seed]], classes)
        for seed in seeds
    ]
    none = confusion_matrix(confusion, [], classes).iloc[:0]
    return pd.concat(changes or [none], keys=list(seeds) or [-1], names=["seed"])


def _blocks(
    trials: pd.DataFrame, axes: Sequence[str], metric: str
) -> Iterator[tuple[str, str, pd.DataFrame, dict[str, object]]]:
    """Yield (dataset, axis, block, told) for each axis that has several levels on a data set.

    block: cells x (level, seed), complete. told: left_out and empty_levels of `effect_cells`.
    """
    for dataset, planned in trials.groupby("dataset", sort=False):
        for axis in axes:
            if planned[axis].nunique(dropna=False) < 2:
                continue
            others = [other for other in axes if other != axis]
            by = planned.groupby(others, sort=False, dropna=False) if others else None
            cells = planned.assign(_cell=by.ngroup() if by is not None else 0)
            done = finished(cells, metric)
            wide = done.pivot_table(
                index="_cell", columns=[axis, "seed"], values=metric, observed=True, sort=False
            )
            # A seed or level that nothing finished must not empty the block: it is left out, and told.
            levels, seeds = done[axis].unique(), done["seed"].unique()
            full = pd.MultiIndex.from_product([levels, seeds], names=[axis, "seed"])
            block = wide.reindex(columns=full).dropna()
            empty = tuple(level for level in planned[axis].unique() if level not in set(levels))
            told = {"left_out": cells["_cell"].nunique() - len(block), "empty_levels": empty}
            yield str(dataset), axis, block, told


def _seed_means(block: pd.DataFrame) -> pd.DataFrame:
    """Mean over the cells of a block: seeds x levels, in order of appearance."""
    if block.empty:
        return pd.DataFrame()
    long = block.mean().rename_axis(["level", "seed"]).rename("value").reset_index()
    return long.pivot_table(index="seed", columns="level", values="value", sort=False, observed=True)


def _effects_of(block: pd.DataFrame) -> pd.DataFrame:
    """Long table (level, seed, value, effect) of one block."""
    means = _seed_means(block)
    effects = means.sub(means.mean(axis=1), axis=0)
    values = means.reset_index().melt(id_vars="seed", value_name="value")
    return values.assign(effect=effects.melt(value_name="effect")["effect"])


def _share(block: pd.DataFrame) -> float:
    """Eta squared of the levels in a complete block; NaN where nothing varies."""
    grand = block.to_numpy().mean()
    between = sum(
        group.size * (group.to_numpy().mean() - grand) ** 2
        for _, group in block.T.groupby(level=0, sort=False)
    )
    total = ((block.to_numpy() - grand) ** 2).sum()
    return float(between / total) if total > 0 else float("nan")


def _ordered(table: pd.DataFrame, keys: Mapping[str, bool]) -> pd.DataFrame:
    """Sort rows within each data set by `keys` (column -> ascending), data sets in order of appearance."""
    first = table.groupby("dataset", sort=False).ngroup()
    by, ascending = ["_first", *keys], [True, *keys.values()]
    ordered = table.assign(_first=first).sort_values(by, ascending=ascending, kind="stable")
    return ordered.drop(columns="_first").reset_index(drop=True)
