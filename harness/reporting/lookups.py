"""Look-ups behind `harness.figures` and `harness.tables`: trained trials, counts of predictions, curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from harness import stats
from harness.data.datasets import Facts
from harness.data.samples import SPLITS, Split
from harness.errors import UsageError, did_you_mean, few
from harness.exporting import models
from harness.gallery import predicted_images, prediction_pages
from harness.gallery.predicted_images import ModelPredictions, Pictures
from harness.plots import Panel
from harness.results import Results, predictions, read, selection
from harness.results.trained_on import dataset_of
from harness.text import count, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-3
"""Probabilities add to one to within this."""


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
        f"{type(results).__name__} is no trained trial: allowed are harness.read(FOLDER), its folder, or one "
        "of its trials, results.trial(..)"
    )


def trained(trial: Any, where: str = "") -> tuple[Results, pd.Series[Any]]:
    """Return a trained trial's results and row: the trial itself, or the best one of results by val.

    Raises:
        UsageError: there is none, or several are meant.
    """
    if hasattr(trial, "row") and hasattr(trial, "results"):
        return trial.results, trial.row
    results, conditions = selection.confirmed_winner(opened(trial), where or None)
    return results, selection.choose(results, "best", conditions)


def checked_split(split: str) -> Split:
    """Return a split; raise UsageError where there is none of this name."""
    if split not in SPLITS:
        raise UsageError(f"split = {split!r}: {did_you_mean(str(split), SPLITS)}")
    return cast("Split", split)


# ---------------------------------------------------------------------------------------------- confusion


@dataclass(frozen=True)
class Counts:
    """A confusion matrix: true labels as rows, predictions as columns; its classes, and its title in words."""

    table: pd.DataFrame
    classes: Sequence[str]
    title: str


def array_of(values: Any) -> NDArray[Any]:
    """Return a person's numbers as an array, also those of a tensor that autograd follows."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def counted(labels: Any, predicted: Any, classes: Sequence[object] | None = None) -> Counts:
    """Count pairs of labels and predictions of a person's own.

    Raises:
        UsageError: they are not whole numbers, one a sample, or are beyond the classes.
    """
    pairs = {"labels": array_of(labels), "predictions": array_of(predicted)}
    for name, array in pairs.items():
        hint = ": of outputs (n, C), the predictions are outputs.argmax(1)" if array.ndim == 2 else ""
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise UsageError(
                f"{name}: got {array.dtype} of shape {array.shape}; allowed are whole numbers from 0 on, one a "
                f"sample, of shape (n,){hint}"
            )
    true, said = pairs.values()
    if len(true) != len(said):
        raise UsageError(f"{len(true):,} labels and {len(said):,} predictions: allowed are as many of both")
    highest = int(max(true.max(initial=0), said.max(initial=0)))
    names = tuple(map(str, range(highest + 1))) if classes is None else tuple(map(str, classes))
    for name, array in pairs.items():
        if len(array) and (array.min() < 0 or array.max() >= len(names)):
            raise UsageError(
                f"{name} {array.min()}..{array.max()}: allowed is 0..{len(names) - 1}, for {len(names)} classes"
            )
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (true.astype(int), said.astype(int)), 1)
    right = np.trace(matrix) / max(len(true), 1)
    return Counts(_square(matrix), names, f"{len(true):,} samples, {percent(right, 2)} right")


def _square(matrix: NDArray[Any]) -> pd.DataFrame:
    places = range(len(matrix))
    true, said = pd.Index(places, name="true"), pd.Index(places, name="predicted")
    return pd.DataFrame(matrix, index=true, columns=said)


def counts_of_arm(results: Any, split: str, where: str, combine: str) -> Counts:
    """Combine the confusion counts of an arm's seeds: those that conditions leave, or of the best trial's arm.

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
        listed = few([f'arm="{arm}",dataset={dataset}' for dataset, arm in arms]) or "no finished trial"
        raise UsageError(f"the seeds of one arm are combined; where={where!r} leaves {listed}")
    dataset, arm = arms[0]
    tables = [count_trial(folder, row, split).table for _, row in done.iterrows()]
    total = sum(tables[1:], tables[0])
    total = total / len(tables) if combine == "mean" else total
    classes = dataset_of(folder, dataset).facts.classes
    right = np.trace(total.to_numpy()) / max(float(total.to_numpy().sum()), 1)
    title = f"{arm}, {dataset} {split}: {combine} over {count(len(tables), 'seed')}, {percent(right, 2)} right"
    return Counts(total, classes, title)


def count_trial(results: Results, row: pd.Series[Any], split: str) -> Counts:
    """Count a trial's predictions on a split: from confusion.csv; of train, from the kept predictions.

    Raises:
        UsageError: the predictions of train were not kept.
    """
    name = checked_split(split)
    classes = dataset_of(results, str(row["dataset"])).facts.classes
    if name == "train":
        kept = predictions.table(results, row, name)
        table = counted(kept["label"].to_numpy(), kept["predicted"].to_numpy(), classes).table
    else:
        table = stats.confusion_matrix(results.confusion, [row["trial_id"]], len(classes), name)
    total = int(table.to_numpy().sum())
    if not total:
        raise UsageError(f"trial {row['trial_id']} has no predictions of {split}")
    right = np.trace(table.to_numpy()) / total
    of_trial = f"{row['trial_id']} ({row['arm']}, seed {row['seed']})"
    return Counts(table, classes, f"{of_trial}, {row['dataset']} {split}: {percent(right, 2)} of {total:,} right")


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
        return counted(labels, predicted, classes)
    if labels is not None or predicted is not None or classes is not None:
        raise UsageError("confusion takes a trained trial, or labels=, predictions= and classes=, not both")
    if combine is not None or (where and not hasattr(trial, "row")):
        of = trial.results if hasattr(trial, "row") else trial
        arm = f'arm="{trial.row["arm"]}",dataset={trial.row["dataset"]}' if hasattr(trial, "row") else where
        return counts_of_arm(of, checked_split(split), arm, combine or "sum")
    return count_trial(*trained(trial), split)


# ------------------------------------------------------------------------------------------------- curves


def curves_of(trial: Any, quantity: str, where: str, most: int) -> list[Panel]:
    """Collect learning curves: of one trial; of results, of their arms, a panel a data set and kind of loss.

    Raises:
        UsageError: nothing has finished, or epochs.csv has no such quantity.
    """
    results, trials = _with_curves(trial, quantity, where)
    shown_as = selection.shown_arms(results.trials)
    panels = []
    for key, rows in trials.groupby(["dataset", "loss"] if quantity == "loss" else ["dataset"], sort=False):
        arms, words = _shown(rows, most)
        table = stats.mean_curves(results.epochs, rows[rows["arm"].isin(arms)], ["arm"], quantity)
        table = table.assign(arm=table["arm"].map(shown_as)).dropna(subset=["value"])
        if hasattr(trial, "row"):
            words = f", {shown_as[arms[0]]}, seed {rows['seed'].iloc[0]}"
        elif len(arms) == 1:
            words = f", {shown_as[arms[0]]}, {count(rows['seed'].nunique(), 'seed')}"
        ylabel = f"loss ({key[1]})" if quantity == "loss" else quantity
        panels.append(Panel(f"{key[0]}{words}", ylabel, table))
    return panels


def curve_table(trial: Any, quantity: str, where: str) -> pd.DataFrame:
    """Tabulate learning curves: dataset, loss, arm, seed, split, epoch, value."""
    results, trials = _with_curves(trial, quantity, where)
    kinds = trials[["trial_id", "dataset", "loss", "arm", "seed"]]
    values = results.epochs[["trial_id", "split", "epoch"]].assign(value=results.epochs[quantity])
    return kinds.merge(values, on="trial_id").drop(columns="trial_id")


def _with_curves(trial: Any, quantity: str, where: str) -> tuple[Results, pd.DataFrame]:
    single = hasattr(trial, "row")
    results = trial.results if single else opened(trial)
    trials = selection.where(results.trials, where)
    if single:
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


def seen(trial: Any, split: str, where: str) -> ModelPredictions:
    """Read the predictions of a trained trial on a split, with the images; see `trained`."""
    results, row = trained(trial, where)
    return predicted_images.see(results, row, checked_split(split))


def sampled(
    model: ModelPredictions, samples: Any, most: int, seed: int | None
) -> tuple[pd.DataFrame, str]:
    """Choose rows of predictions: of these samples, or so many at random; and words on the choice."""
    if samples is not None:
        return predicted_images.chosen(model, spelled(samples)), ""
    return prediction_pages.at_random(model, most, seed)


def spelled(samples: Any) -> list[str]:
    """Spell out samples as names or numbers: 3, [3, 17], "3,17", or "img_00003.npy"."""
    if isinstance(samples, str):
        return [word for word in map(str.strip, samples.split(",")) if word]
    return [str(sample) for sample in (samples if isinstance(samples, Iterable) else [samples])]


def with_names(model: ModelPredictions, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the images' names to rows of predictions."""
    table = rows.reset_index(drop=True)
    table.insert(1, "name", [model.pictures.names[i] for i in table["index"]])
    return table


def mistakes(model: ModelPredictions, per_class: int) -> pd.DataFrame:
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
    results, row = trained(trial, where)
    model = predicted_images.see(results, row, checked_split(split))
    if samples is not None:
        rows = predicted_images.chosen(model, spelled(samples))
    elif everything and most is None:
        rows = model.table
    else:
        rows = prediction_pages.telling(model, most or prediction_pages.COUNTS["probabilities"])
    return model, rows, models.probabilities(results, row, model.split)[rows.index]


@dataclass(frozen=True)
class OwnProbabilities:
    """Probabilities (n, C) of a person's own, with their images if there are some, and a table as of a trial."""

    pictures: Pictures
    table: pd.DataFrame
    values: NDArray[np.float64]


def own_probabilities(
    values: Any, classes: Sequence[object] | None, images: Any, labels: Any, most: int | None
) -> OwnProbabilities:
    """Check a person's own probabilities, and the images and labels that belong to them.

    Raises:
        UsageError: they are no probabilities, or do not fit each other.
    """
    given = checked_probabilities(values, classes)
    names = tuple(map(str, range(given.shape[1]) if classes is None else classes))
    pixels = np.zeros((len(given), 1, 1), np.uint8) if images is None else array_of(images)
    pixels = pixels[None] if pixels.ndim == 2 and len(given) == 1 else pixels
    if pixels.ndim != 3 or len(pixels) != len(given):
        raise UsageError(
            f"images of shape {pixels.shape} and {len(given)} rows of probabilities: allowed are images "
            f"({len(given)}, height, width)"
        )
    predicted = given.argmax(1)
    true = predicted if labels is None else np.atleast_1d(array_of(labels))
    counted(true, predicted, names)
    numbers = range(len(given))
    facts = Facts(pixels.shape[1:], names, 0, len(given), float(pixels.max(initial=1)), "")
    pictures = Pictures("own probabilities", facts, pixels, true, [f"row {i}" for i in numbers])
    columns = {"index": numbers, "label": true if labels is not None else -1, "predicted": predicted}
    table = pd.DataFrame({**columns, "confidence": given.max(1), "wrong": true != predicted})
    shown = len(given) if most is None else most
    return OwnProbabilities(pictures, table.head(shown), given[:shown])


def checked_probabilities(values: Any, classes: Sequence[object] | None = None) -> NDArray[np.float64]:
    """Check probabilities that a person made; return them as (n, C), one sample's (C,) as (1, C).

    Raises:
        UsageError: they are no probabilities, or not as many as the classes.
    """
    array = array_of(values)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise UsageError(
            f"probabilities: got {array.dtype} of shape {array.shape}; allowed is (n, C), a row a sample, or (C,)"
        )
    if classes is not None and len(classes) != array.shape[1]:
        swapped = ": is it (C, n), transposed?" if array.shape[0] == len(classes) else ""
        raise UsageError(
            f"probabilities of {array.shape[1]} classes, and {len(classes)} names of classes{swapped}"
        )
    given = array.astype(np.float64)
    sums = given.sum(1)
    for wrong, why in (
        (~np.isfinite(given).all(1), "has numbers that are not finite"),
        (given.min(1) < -ROUNDING, "has negative numbers: are they logits? Their softmax are probabilities"),
        (abs(sums - 1) > ROUNDING, "adds to {:.4g}, not to 1: is the softmax over the other dimension?"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UsageError(f"row {row} of the probabilities {why.format(sums[row])}")
    return given


def is_array(given: Any) -> bool:
    """Return whether an object is numbers, and no trained trial or results folder."""
    return hasattr(given, "__array__") or (isinstance(given, list | tuple) and len(given) > 0)
