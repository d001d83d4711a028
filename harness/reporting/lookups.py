"""Look-ups behind `harness.figures` and `harness.tables`: trained trials, counts of predictions, curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import stats
from harness.data.samples import SPLITS, Split
from harness.errors import UsageError, did_you_mean, few, quoted
from harness.exporting import hidden_layers, models
from harness.gallery import predicted_images, prediction_pages
from harness.gallery.predicted_images import ModelPredictions, Pictures
from harness.plots import Panel
from harness.reporting import own_arrays
from harness.reporting.own_arrays import Counts
from harness.results import Results, TrainedTrial, predictions, read, selection
from harness.results.trained import trained
from harness.results.trained_on import dataset_of
from harness.text import count, percent
from harness.training.live import short_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.exporting.hidden_layers import FirstWeights


MOST_IMAGES, UNITS, MOST_UNITS = 1_000_000, 64, 256
"""Images that a network is shown to look at its layers, at most; units whose weights are drawn."""


def opened(results: Any) -> Results:
    """Return results as they are, or read their folder.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(results, Results):
        return results
    if isinstance(results, str | Path):
        return read(results)
    raise UsageError(
        f"{type(results).__name__} is no trained trial: allowed are harness.read(FOLDER), the folder, or "
        "one of its trials, results.trial(..)"
    )


def checked_split(split: str) -> Split:
    """Return a split; raise UsageError where there is none of this name."""
    if split not in SPLITS:
        raise UsageError(f"split = {split!r}: {did_you_mean(str(split), SPLITS)}")
    return split


# ---------------------------------------------------------------------------------------------- confusion


def counts_of_arm(results: Any, split: str, where: str, combine: str) -> Counts:
    """Combine the confusion counts of an arm's seeds: those that `where` leaves, or of the best trial's arm.

    Raises:
        UsageError: several arms are left, none has finished, or there is no such way to combine.
    """
    if combine not in {"sum", "mean"}:
        raise UsageError(f"combine = {combine!r}: {did_you_mean(str(combine), ['sum', 'mean'])}")
    folder = opened(results)
    left = selection.where(folder.trials, where)
    done = left[left["status"].eq("ok")]
    if not where:
        best = selection.choose(folder, "best")
        done = done[done["arm"].eq(best["arm"]) & done["dataset"].eq(best["dataset"])]
    arms = list(dict.fromkeys(zip(done["dataset"], done["arm"], strict=True)))
    if len(arms) != 1:
        rows = done.drop_duplicates(["dataset", "arm"])
        listed = few([arm_of(row) for _, row in rows.iterrows()]) or "no finished trial"
        raise UsageError(f"the seeds of one arm are combined; where={where!r} leaves {listed}")
    dataset, arm = arms[0]
    tables = [count_trial(folder, row, split).table for _, row in done.iterrows()]
    total = sum(tables[1:], tables[0])
    total = total / len(tables) if combine == "mean" else total
    classes = dataset_of(folder, dataset).facts.classes
    right = np.trace(total.to_numpy()) / max(float(total.to_numpy().sum()), 1)
    of_arm = f"{_without(dataset, arm)}, {dataset} {split}: {combine} over {count(len(tables), 'seed')}"
    title = f"{of_arm}, {percent(right, 2)} right"
    return Counts(total, classes, title)


def arm_of(row: pd.Series[Any]) -> str:
    """Write conditions that the seeds of a trial's arm meet, and no other trials."""
    return f"arm={json.dumps(row['arm'], ensure_ascii=False)},dataset={row['dataset']}"


def count_trial(results: Results, row: pd.Series[Any], split: str) -> Counts:
    """Count a trial's predictions on a split: from confusion.csv; of train, from the kept predictions.

    Raises:
        UsageError: the predictions of train were not kept.
    """
    name = checked_split(split)
    classes = dataset_of(results, str(row["dataset"])).facts.classes
    if name == "train":
        kept = predictions.table(results, row, name)
        table = own_arrays.counted(kept["label"].to_numpy(), kept["predicted"].to_numpy(), classes).table
    else:
        table = stats.confusion_matrix(results.confusion, [row["trial_id"]], len(classes), name)
    total = int(table.to_numpy().sum())
    if not total:
        raise UsageError(f"trial {row['trial_id']} has no predictions of {split}")
    right = np.trace(table.to_numpy()) / total
    title = f"{named(row)}, {row['dataset']} {split}: {percent(right, 2)} of {total:,} right"
    return Counts(table, classes, title)


def confusion_of(
    trial: Any, split: str, where: str, combine: str | None, arrays: tuple[Any, Any, Sequence[object] | None]
) -> Counts:
    """Count as `figures.confusion` asks: own arrays, one trial, or an arm's seeds combined.

    Raises:
        UsageError: neither a trial nor both arrays are given, or see the functions above.
    """
    labels, predicted, classes = arrays
    if trial is None:
        if labels is None or predicted is None:
            raise UsageError("confusion takes a trained trial, or labels= and predictions=, both")
        return own_arrays.counted(labels, predicted, classes)
    if labels is not None or predicted is not None or classes is not None:
        raise UsageError("confusion takes a trained trial, or labels=, predictions= and classes=, not both")
    if isinstance(trial, TrainedTrial) and combine is not None:
        return counts_of_arm(trial.results, checked_split(split), arm_of(trial.row), combine)
    if not isinstance(trial, TrainedTrial) and (combine is not None or where):
        return counts_of_arm(trial, checked_split(split), where, combine or "sum")
    found = trained(trial)
    return count_trial(found.results, found.row, split)


# ------------------------------------------------------------------------------------------------- curves


def curves_of(trial: Any, quantity: str, where: str, most: int) -> list[Panel]:
    """Collect learning curves: of one trial; of results, of their arms, a panel a data set and kind of loss.

    Raises:
        UsageError: nothing has finished, or epochs.csv has no such quantity.
    """
    results, trials = _with_curves(trial, quantity, where)
    shown_as = selection.shown_arms(results.trials)
    panels = []
    kinds = ["dataset", "loss"] if quantity == "loss" else ["dataset"]
    for key, rows in trials.groupby(kinds, sort=False):
        arms, words = _shown(rows, most)
        names = short_names([shown_as[arm] for arm in arms])
        table = stats.mean_curves(results.epochs, rows[rows["arm"].isin(arms)], ["arm"], quantity)
        table = table.assign(arm=table["arm"].map(shown_as).map(names)).dropna(subset=["value"])
        if len(arms) == 1:
            seeds = f"seed {rows['seed'].iloc[0]}" if len(rows) == 1 else count(len(rows), "seed")
            words = f", {_without(key[0], shown_as[arms[0]])}, {seeds}"
        ylabel = f"loss ({key[1]})" if quantity == "loss" else quantity
        panels.append(Panel(f"{key[0]}{words}", ylabel, table))
    return panels


def _without(dataset: object, arm: object) -> str:
    """Name an arm beside its data set, which the name may begin with."""
    return str(arm).replace(f"dataset={dataset}, ", "")


def curve_table(trial: Any, quantity: str, where: str) -> pd.DataFrame:
    """Tabulate learning curves: dataset, loss, arm, seed, split, epoch, value."""
    results, trials = _with_curves(trial, quantity, where)
    kinds = trials[["trial_id", "dataset", "loss", "arm", "seed"]]
    values = results.epochs[["trial_id", "split", "epoch"]].assign(value=results.epochs[quantity])
    return kinds.merge(values, on="trial_id").drop(columns="trial_id")


def _with_curves(trial: Any, quantity: str, where: str) -> tuple[Results, pd.DataFrame]:
    results = trial.results if isinstance(trial, TrainedTrial) else opened(trial)
    trials = selection.where(results.trials, where)
    if isinstance(trial, TrainedTrial):
        trials = trials[trials["trial_id"].eq(trial.row["trial_id"])]
    known = [name for name in results.epochs.columns if name not in {"trial_id", "step", "epoch", "split"}]
    if quantity not in known:
        raise UsageError(f"quantity = {quantity!r}: {did_you_mean(str(quantity), known)}")
    done = trials[trials["status"].eq("ok")]
    if done.empty:
        raise UsageError(f"{results.folder}: no finished trial is meant, and only those have learning curves")
    return results, done


def _shown(trials: pd.DataFrame, most: int) -> tuple[list[str], str]:
    """Return the arms to draw, the best ones by val accuracy of very many, and words about that."""
    arms = list(dict.fromkeys(trials["arm"]))
    if len(arms) <= most:
        return arms, ""
    means = trials.groupby("arm")["val_accuracy"].mean().sort_values(ascending=False, kind="stable")
    return list(means.index[:most]), f", the {most} best of {len(arms)} arms by val accuracy"


# ------------------------------------------------------------------------------------ images, predictions


def predictions_of(trial: Any, split: str, where: str) -> ModelPredictions:
    """Read the predictions of a trained trial on a split, with the images; the best one of results by val."""
    found = trained(trial, where)
    return predicted_images.see(found.results, found.row, checked_split(split))


def sampled(model: ModelPredictions, samples: Any, most: int, seed: int | None) -> tuple[pd.DataFrame, str]:
    """Choose rows of predictions: of these samples, or so many at random; and words on the choice."""
    if samples is not None:
        return predicted_images.chosen(model, spelled(samples)), ""
    return prediction_pages.at_random(model, most, seed)


def spelled(samples: Any) -> list[str]:
    """Spell out samples as names or numbers: 3, [3, 17], "3,17", or "img_00003.npy".

    Raises:
        UsageError: there are none.
    """
    given = samples.tolist() if hasattr(samples, "tolist") else samples  # an array or a tensor
    listed = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    if words := [word for sample in listed if (word := str(sample).strip())]:
        return words
    raise UsageError(f"samples = {quoted(samples)}: no image; allowed: 3, [3, 17], or names of files")


def with_names(model: ModelPredictions, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the images' names to rows of predictions."""
    table = rows.reset_index(drop=True)
    table.insert(1, "name", [model.pictures.names[i] for i in table["index"]])
    return table


def mistakes(model: ModelPredictions, per_class: int | None) -> pd.DataFrame:
    """Select the surest mistakes of each true class."""
    labels = range(len(model.pictures.facts.classes))
    return pd.concat([predictions.mistakes(model.table, label, per_class) for label in labels])


def hardest_of(
    results: Any, dataset: str | None, split: str, where: str
) -> tuple[Pictures, pd.DataFrame, Split]:
    """Rank the images that most trained trials get wrong; the images, the ranking and the split."""
    folder, name = opened(results), checked_split(split)
    voting = replace(folder, trials=selection.where(folder.trials, where))
    known = list(dict.fromkeys(map(str, voting.trials["dataset"])))
    if dataset is None and len(known) > 1:
        raise UsageError(f"{folder.folder} has trials on {' and '.join(known)}: say dataset={known[0]!r}")
    dataset = dataset or known[0]
    if dataset not in known:
        raise UsageError(
            f"{folder.folder} has no trial on a data set {dataset!r}: {did_you_mean(dataset, known)}"
        )
    table = predicted_images.hardest(voting, dataset, name)
    return predicted_images.originals(folder, dataset, name), table, name


# ------------------------------------------------------------------------------------------ probabilities


def probabilities_of(
    trial: Any, split: str, where: str, samples: Any, most: int | None, *, everything: bool = False
) -> tuple[ModelPredictions, pd.DataFrame, NDArray[np.floating[Any]]]:
    """Compute a trained trial's class probabilities of some samples: telling ones, or all."""
    found = trained(trial, where)
    model = predictions_of(found, split, "")
    if samples is not None:
        rows = predicted_images.chosen(model, spelled(samples))
    elif everything and most is None:
        rows = model.table
    else:
        rows = prediction_pages.telling(model, most or prediction_pages.COUNTS["probabilities"])
    return model, rows, models.probabilities(found.results, found.row, model.split)[rows.index]


# -------------------------------------------------------------------------------------------- hidden layers


def activations_of(trial: Any, split: str, where: str, images: int) -> tuple[pd.DataFrame, str]:
    """Measure a trained trial's activations by depth, as `hidden_layers` does; with a title."""
    found = trained(trial, where)
    model = models.restore(found.results, found.row)
    table = hidden_layers.activation_statistics(model, checked_split(split), images)
    shown = f"first {count(table.attrs['images'], 'image')} of {split}"
    return table, f"{named(found.row)}, {found.row['dataset']}: activations, {shown}"


def first_weights_of(trial: Any, where: str, most: int | None) -> tuple[FirstWeights, str]:
    """Give the first layer's weights of a trained trial, those of its first units, with a title."""
    found = trained(trial, where)
    first = hidden_layers.first_weights(models.restore(found.results, found.row))
    shown = replace(first, weights=first.weights[:most])
    many = f"{len(shown.weights)} of " if len(shown.weights) < len(first.weights) else ""
    what = f"weights of the first layer, {many}{count(len(first.weights), 'unit')}"
    return shown, f"{named(found.row)}, {found.row['dataset']}: {what}"


def named(row: pd.Series[Any]) -> str:
    """Name a trial by its id, its arm and its seed."""
    return f"{row['trial_id']} ({_without(row['dataset'], row['arm'])}, seed {row['seed']})"


def weight_table(first: FirstWeights) -> pd.DataFrame:
    """Tabulate weights (units, C, h, w), a row a weight: unit, channel, row, column, weight."""
    places = np.indices(first.weights.shape).reshape(4, -1)
    named_places = dict(zip(("unit", "channel", "row", "column"), places, strict=True))
    return pd.DataFrame({**named_places, "weight": first.weights.ravel()})
