"""Inside the best network of each data set: the activity of its layers by depth, and its first filters."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots
from harness.axes.architectures import architectures
from harness.errors import UsageError
from harness.exporting import hidden_layers, models
from harness.reporting.arm_figures import draw_images
from harness.reporting.lookups import UNITS
from harness.reporting.model import Cell, Column, Figure, Section, Table, rows_of, share_cell, slug
from harness.results import selection, weights
from harness.text import count, percent, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.exporting.models import Model
    from harness.reporting.data import ReportData

NOT_KEPT = 'the weights of this model were not kept. With keep_weights = "all" under [study] they are.'
ACTIVITY = (
    "From the kept weights, on {}, a layer a row, the first on top. A unit (a neuron, or a channel of a "
    "convolution) is dead if its activation has no slope on any of these images: no gradient reaches its "
    "weights. A value is saturated where the activation's slope is at most a tenth of its steepest; those of "
    "ReLU are its zeros."
)
FILTERS = (
    "The {} of the first layer, from the kept weights of {}. {} All are on one scale, symmetric about 0."
)
READ_AS = {
    1: "Red weights answer to bright pixels, blue ones to dark pixels, white ones to none.",
    3: "Colours are those that a filter answers to; grey is a weight of 0.",
}
MIXED = "Each is the mean over its {} channels; red is positive, blue negative."


def sections(reading: ReportData) -> Iterator[Section]:
    """Look into the best trial by validation of each data set, and of its convolutional arms."""
    parts = []
    for dataset in reading.datasets:
        with suppress(UsageError):  # without a validation accuracy no model is the best
            best = _best(reading, reading.finished(dataset))
            parts.append(_section(reading, dataset, best))
    if parts:
        yield Section("inside", "Inside the networks", parts=parts)


def _best(reading: ReportData, trials: pd.DataFrame) -> pd.Series[Any]:
    if trials.empty:
        raise UsageError("nothing has finished")
    row: pd.Series[Any] = selection.best(replace(reading.results, trials=trials)).iloc[0]
    return row


def _section(reading: ReportData, dataset: str, best: pd.Series[Any]) -> Section:
    tables: list[Table] = []
    makers: dict[str, Callable[[], Figure]] = {
        "the activity of the layers": partial(_activity, reading, best, tables)
    }
    trials = reading.finished(dataset)
    with suppress(UsageError, KeyError):  # tables of another tool may have no architectures
        seeing = _best(reading, trials[trials["architecture"].map(_takes_images)])
        makers["the first filters"] = partial(_filters, reading, seeing)
    figures, words = draw_images(reading, dataset, makers)
    return Section(f"inside-{slug(dataset)}", f"The best model on {dataset}", words, tables, figures)


def _takes_images(name: str) -> bool:
    return name in architectures and architectures[name].takes_images


def _restored(reading: ReportData, trial: pd.Series[Any]) -> Model:
    if not weights.file_of(reading.results, str(trial["trial_id"])).is_file():
        raise UsageError(NOT_KEPT)
    return models.restore(reading.results, trial)


def _activity(reading: ReportData, trial: pd.Series[Any], tables: list[Table]) -> Figure:
    """Draw the activity of a trial's layers, and add its table."""
    measured = hidden_layers.activation_statistics(_restored(reading, trial))
    dataset, arm = str(trial["dataset"]), str(trial["label"])
    name, title = f"activations-{slug(dataset)}", f"Activations by depth: {arm}, seed {trial['seed']}"
    note = ACTIVITY.format(f"the first {count(measured.attrs['images'], 'image')} of val")
    known = {"dataset": dataset, "trial_id": trial["trial_id"], "arm": arm, "seed": trial["seed"]}
    data = pd.concat([pd.DataFrame([known] * len(measured)), measured], axis=1)
    rows = rows_of(COLUMNS, [row for _, row in measured.iterrows()])
    tables.append(Table(name, f"{title}, in numbers", note, COLUMNS, rows, data))
    return Figure(name, title, _in_words(measured), plots.activations_figure(measured))


def _in_words(measured: pd.DataFrame) -> str:
    """Name the layers with the most dead units and saturated values."""
    parts = []
    for column, what in (("dead", "dead units"), ("saturated", "saturated values")):
        most = measured.iloc[int(measured[column].to_numpy().argmax())]
        share = percent(float(most[column]))
        where = f"in layer {most['depth']}"
        parts.append(f"most {what}: {share} {where}" if most[column] else f"no {what} in any layer")
    return f"{parts[0][0].upper()}{'; '.join(parts)[1:]}. Means and standard deviations are at the right."


def _number(name: str) -> Callable[[Any], Cell]:
    return lambda row: Cell(significant(float(row[name])), key=float(row[name]))


COLUMNS = [
    Column("depth", "depth", numeric=True),
    Column("layer", "layer", show="long"),
    Column("activation", "activation", show="wide"),
    Column("units", "units", numeric=True, show="wide"),
    Column("dead units", lambda row: share_cell(float(row["dead"])), numeric=True),
    Column("saturated", lambda row: share_cell(float(row["saturated"])), numeric=True),
    Column("mean", _number("mean"), numeric=True, show="wide"),
    Column("sd", _number("sd"), numeric=True, show="wide"),
]


def _filters(reading: ReportData, trial: pd.Series[Any]) -> Figure:
    first = hidden_layers.first_weights(_restored(reading, trial))
    shown = first.weights[:UNITS]
    many = (
        f"first {len(shown)} of {len(first.weights)}" if len(first.weights) > len(shown) else str(len(shown))
    )
    noun = "filters" if first.convolution else "units' weights"
    reads = READ_AS.get(shown.shape[1], MIXED.format(shown.shape[1]))
    of_trial = f"{trial['label']}, seed {trial['seed']}"
    caption = FILTERS.format(f"{many} {noun}", of_trial, reads)
    name = f"filters-{slug(str(trial['dataset']))}"
    return Figure(name, f"First-layer filters on {trial['dataset']}", caption, plots.filters_figure(shown))
