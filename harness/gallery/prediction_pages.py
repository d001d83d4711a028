"""Figures of a trained model's predictions on single images, and of the images most models get wrong.

    results = harness.read("results/choices")
    trial = selection.choose(results, conditions="loss=ce,lr=0.1,seed=0")
    model = predicted_images.see(results, trial, "test")
    prediction_pages.failures_figure(model)

Figures are plain matplotlib Figures, without global state. Predictions come from the results folder, images
from the data set; a prediction refers to an image by its index.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from harness.data.samples import Split
from harness.gallery.contact_sheet import LINE, Tile, page, place, save_into, sheet, write
from harness.gallery.image_choice import chosen_seed, short
from harness.gallery.predicted_images import ModelPredictions, Pictures, chosen, hardest, originals, see
from harness.plots import COLORS, GREY, new_figure, styled
from harness.results import Results, csv_rows, predictions, selection
from harness.system import files
from harness.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Kind = Literal["predictions", "probabilities", "failures"]
KINDS: tuple[Kind, ...] = ("predictions", "probabilities", "failures")
Probabilities = Callable[[Results, "pd.Series[Any]", Split], "NDArray[np.floating[Any]]"]
"""Function (results folder, trial's row, split) -> class probabilities (n, C), in the split's order."""
RED, TRUE = "#c00000", COLORS[2]
MOST_ROWS = 20  # classes that one figure of mistakes shows
MOST_BARS = 12  # classes with a bar of their own
LONGEST_CONDITIONS = 60  # characters of conditions in a file name
COUNTS: dict[str, int] = {"predictions": 18, "probabilities": 6, "failures": 10}


@styled
def predictions_figure(model: ModelPredictions, rows: pd.DataFrame, how: str = "") -> Figure:
    """Draw images under their name, label and prediction with its probability; wrong ones in red.

    Args:
        model: a model's predictions on a split.
        rows: rows of `model.table`.
        how: how they were chosen, for the title.
    """
    tiles = [_predicted(model.pictures, row) for row in rows.to_dict("records")]
    wrong = int(rows["wrong"].sum())
    title = f"{model.title}: {len(rows)} images{how}, {wrong} predicted wrongly (red)"
    return sheet(tiles, min(6, max(len(rows), 3)), title, model.pictures.facts.pixel_max)


def _predicted(pictures: Pictures, row: Any) -> Tile:
    at = int(row["index"])
    lines = [(short(pictures.names[at]), GREY)]
    if row["label"] >= 0:
        lines.append((f"label {pictures.class_name(row['label'], 14)}", "black"))
    prediction = f"predicted {pictures.class_name(row['predicted'], 11)}, {_sure(row['confidence'])}"
    return Tile(pictures.pixels[at], [*lines, (prediction, RED if row["wrong"] else "black")])


def _sure(confidence: float) -> str:
    return percent(confidence, 0) if math.isfinite(confidence) else "no probability"


@styled
def failures_figure(model: ModelPredictions, per_class: int = COUNTS["failures"]) -> Figure:
    """Draw a row a true class: its misclassified images, the surest mistake first, predictions in red.

    A class with fewer mistakes shows what there is. Of more than 20 classes, the 20 with most mistakes.
    """
    facts, table = model.pictures.facts, model.table
    wrong = table.loc[table["wrong"], "label"].value_counts().reindex(range(len(facts.classes)), fill_value=0)
    shown = sorted(wrong.sort_values(ascending=False, kind="stable").index[:MOST_ROWS])
    brief = max(map(len, facts.classes)) <= 4
    side, gap, left = 0.82, 0.14, 0.8 + 0.075 * min(max(map(len, facts.classes)), 14)
    high = side + LINE * (1 if brief else 2) + 0.13
    heights = [high if wrong[label] else 0.45 for label in shown]
    width = max(left + (side + gap) * min(per_class, int(wrong.max())), 8)
    figure, ax, y = page(width, sum(heights), _failures_title(model, len(shown), per_class))
    for label, height in zip(shown, heights, strict=True):
        total = int(table["label"].eq(label).sum())
        words = f"{model.pictures.class_name(label, 14)}\n{wrong[label]:,} of {total:,}"
        write(ax, 0.1, y + height / 2, words, va="center")
        rows = predictions.mistakes(table, label, per_class).to_dict("records")
        for k, row in enumerate(rows):
            place(ax, _mistake(model, row, brief), left + (side + gap) * k, y, side, facts.pixel_max)
        if not rows:
            words = "no mistake" if total else "no image"
            write(ax, left, y + height / 2, words, color=GREY, va="center")
        y += height
    return figure


def _failures_title(model: ModelPredictions, shown: int, per_class: int) -> str:
    total, wrong = len(model.table), int(model.table["wrong"].sum())
    classes = len(model.pictures.facts.classes)
    which = "each true class" if shown == classes else f"the {shown} of {classes} classes with most"
    share = percent(wrong / total, 2) if total else "none"
    return (
        f"{model.title}: {wrong:,} mistakes of {total:,} ({share}). A row a true class, at most "
        f"{per_class} mistakes of {which}, the surest first; above each the predicted class and its "
        "probability"
    )


def _mistake(model: ModelPredictions, row: Any, brief: bool) -> Tile:
    name, sure = model.pictures.class_name(row["predicted"], 12), _sure(row["confidence"])
    prediction = [f"{name}   {sure}"] if brief else [name, sure]
    return Tile(model.pictures.pixels[int(row["index"])], [(words, RED) for words in prediction])


def probabilities_figure(
    model: ModelPredictions, rows: pd.DataFrame, probabilities: NDArray[np.floating[Any]]
) -> Figure:
    """Draw images beside bars of their class probabilities: true class green, a wrong prediction red.

    Args:
        model: a model's predictions on a split.
        rows: rows of `model.table`.
        probabilities: of these rows, (len(rows), C), each adding to one.
    """
    title = f"{model.title}: class probabilities. Green: the label; red: a wrong prediction"
    return own_figure(model.pictures, rows, probabilities, title)


@styled
def own_figure(
    pictures: Pictures, rows: pd.DataFrame, probabilities: NDArray[np.floating[Any]],
    title: str = "class probabilities. Green: the label; red: a wrong prediction",
) -> Figure:  # fmt: skip
    """Draw images beside bars of their class probabilities; the arguments are as of `probabilities_figure`.

    A label of -1 is not known.
    """
    classes = min(len(pictures.facts.classes), MOST_BARS)
    name = 0.075 * min(max(map(len, pictures.facts.classes)), 16) + 0.3
    bars, gap = 2.2, 0.35
    wide, high = 1.75 + name + bars + gap, max(0.17 * classes + 0.5, 1.95)
    columns = min(2, len(rows))
    figure, ax, top = page(wide * columns, high * math.ceil(len(rows) / columns), title)
    for i, (row, given) in enumerate(zip(rows.to_dict("records"), probabilities, strict=True)):
        x, y = wide * (i % columns), top + high * (i // columns)
        # The stored confidence is rounded; the caption has the number of the bar.
        sure = {**row, "confidence": float(given[int(row["predicted"])])}
        place(ax, _predicted(pictures, sure), x + 0.25, y, 1.3, pictures.facts.pixel_max)
        width, height = figure.get_size_inches()
        tall = 0.17 * classes
        box = ((x + 1.75 + name) / width, 1 - (y + 0.08 + tall) / height, bars / width, tall / height)
        bars_panel(figure.add_axes(box), pictures, row, given)
    return figure


@styled
def bars_figure(pictures: Pictures, rows: pd.DataFrame, probabilities: NDArray[np.floating[Any]]) -> Figure:
    """Draw bars of class probabilities alone, a panel a sample, as `own_figure`."""
    columns = min(3, len(rows))
    lines, high = math.ceil(len(rows) / columns), 0.17 * min(len(pictures.facts.classes), MOST_BARS) + 0.8
    figure = new_figure((max(3.2 * columns, 4.5), high * lines), "constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    panels = list(grid.flat)
    for ax, row, given in zip(panels, rows.to_dict("records"), probabilities, strict=False):
        bars_panel(ax, pictures, row, given)
        ax.set_title(pictures.names[int(row["index"])], fontsize=9)
    for ax in panels[len(rows) :]:
        ax.remove()
    return figure


def bars_panel(ax: Axes, pictures: Pictures, row: Any, given: NDArray[np.floating[Any]]) -> None:
    """Draw a sample's class probabilities (C,) as bars, its label green, a wrong prediction red."""
    label, predicted = int(row["label"]), int(row["predicted"])
    shown = np.arange(len(given))
    if len(given) > MOST_BARS:  # the likeliest ones and the label; the others are one bar
        likely = [c for c in np.argsort(-given, kind="stable") if c != label]
        order = [label, *likely] if label >= 0 else likely
        shown = np.sort(order[: MOST_BARS - 1])
    values = [float(given[c]) for c in shown]
    names = [pictures.class_name(int(c), 16) for c in shown]
    wrong = RED if label >= 0 else COLORS[0]
    colors = [TRUE if c == label else wrong if c == predicted else COLORS[0] for c in shown]
    if len(shown) < len(given):
        values.append(float(given.sum() - sum(values)))
        names.append(f"{len(given) - len(shown)} others")
        colors.append(COLORS[0])
    y = np.arange(len(values))
    ax.barh(y, values, color=colors, height=0.75)
    ax.set_yticks(y, names, fontsize=8)
    for c, tick in enumerate(ax.get_yticklabels()):
        marked = colors[c] in {RED, TRUE}
        tick.set(
            parse_math=False, color=colors[c] if marked else "black", weight="bold" if marked else "normal"
        )
    ax.set(xlim=(0, 1), ylim=(len(values) - 0.5, -0.5), xticks=[0, 0.5, 1])
    ax.set_xticklabels(["0", "50\u00a0%", "100\u00a0%"], fontsize=7)
    ax.set_xlabel("probability", fontsize=7, labelpad=1)
    ax.tick_params(pad=1)
    ax.grid(visible=False, axis="y")
    for at, value in enumerate(values):
        if value >= 0.005 or colors[at] == TRUE:
            inside = value > 0.8
            ax.text(
                value - 0.02 if inside else value + 0.02, at, percent(value, 0), fontsize=7, va="center",
                ha="right" if inside else "left", color="white" if inside else "black",
            )  # fmt: skip


@styled
def hardest_figure(
    images: Pictures, table: pd.DataFrame, split: Split, count: int = 18, conditions: str = ""
) -> Figure:
    """Draw the first images of `hardest`: name, label, most common prediction, share of wrong trials."""
    tiles = [_hard(images, row) for row in table.head(count).to_dict("records")]
    trials = int(table["trials"].max()) if len(table) else 0
    models = f"{trials:,} trained models" if trials != 1 else "1 trained model"
    models += f" ({conditions})" if conditions else ""
    title = (
        f"{images.dataset}, {split}: what most of {models} get wrong, or are least sure of. Above each: "
        "label, most common prediction, share of models that are wrong"
    )
    return sheet(tiles, min(6, max(len(tiles), 3)), title, images.facts.pixel_max)


def _hard(images: Pictures, row: Any) -> Tile:
    label, prediction = images.class_name(row["label"], 12), images.class_name(row["prediction"], 12)
    wrong = row["prediction"] != row["label"]
    lines = [
        (short(images.names[int(row["index"])]), GREY),
        (f"label {label}", "black"),
        (f"mostly {prediction}", RED if wrong else "black"),
        (f"{percent(row['wrong_share'], 0)} wrong", "black"),
    ]
    return Tile(images.pixels[int(row["index"])], lines)


@dataclass(frozen=True)
class PredictionRequest:
    """The figures to draw of a model: kinds, split, number of images (None: each kind's default).

    `samples` are names or indices of images that `predictions` and `probabilities` show, in place of some
    random ones (by `seed`), or of telling ones.
    """

    kinds: Sequence[Kind] = KINDS
    split: Split = "test"
    count: int | None = None
    seed: int = 0
    samples: Sequence[str] = ()


def draw(
    results: Results, trial: pd.Series[Any], request: PredictionRequest, folder: Path,
    probabilities: Probabilities,
) -> Iterator[tuple[str, Path]]:  # fmt: skip
    """Draw a finished trial's predictions into a folder; yield the kind, and the PNG beside its SVG.

    Raises:
        UsageError: the split was not kept, a sample is not in it, or the trial has nothing to show.
        MachineError: the folder cannot be written, or the data cannot be loaded.
    """
    model = see(results, trial, request.split)
    rows = chosen(model, request.samples)  # errors come before any computation
    stem = f"{model.pictures.dataset}-{model.trial_id}-{request.split}"
    for kind in KINDS:
        if kind in request.kinds:
            figure = _figure(kind, model, rows, request, lambda: probabilities(results, trial, request.split))
            yield kind, save_into(figure, folder, f"{stem}-{kind}")


def _figure(
    kind: Kind, model: ModelPredictions, rows: pd.DataFrame, request: PredictionRequest,
    compute: Callable[[], NDArray[np.floating[Any]]],
) -> Figure:  # fmt: skip
    count = request.count or COUNTS[kind]
    if kind == "failures":
        return failures_figure(model, count)
    if kind == "predictions":
        rows, how = (rows, "") if len(rows) else at_random(model, count, request.seed)
        return predictions_figure(model, rows, how)
    rows = rows if len(rows) else telling(model, count)
    return probabilities_figure(model, rows, compute()[rows.index])


def at_random(model: ModelPredictions, count: int, seed: int | None) -> tuple[pd.DataFrame, str]:
    """Draw rows of predictions at random, in the split's order; and words that say by which seed."""
    seed = chosen_seed(seed)
    drawn = np.random.default_rng(seed).permutation(len(model.table))[:count]
    return model.table.iloc[np.sort(drawn)], f" at random (seed {seed})"


def telling(model: ModelPredictions, count: int) -> pd.DataFrame:
    """Choose rows that characterise a model: right and sure, right and unsure, wrong and sure."""
    return predictions.telling(model.table, max(count // 3, 1)).head(count)


def draw_hardest(
    results: Results, split: Split, count: int, folder: Path, dataset: str, conditions: str = ""
) -> Iterator[tuple[str, Path]]:
    """Draw the images that most trained models get wrong, and rank all images in a CSV.

    With `conditions`, as for `selection.where`, only the models that meet them count.

    Raises:
        UsageError: no trial has finished on the data set, the split was not kept, or a condition is wrong.
        MachineError: the folder cannot be written, or the data cannot be loaded.
    """
    voting = replace(results, trials=selection.where(results.trials, conditions))
    table = hardest(voting, dataset, split)
    stem = f"{dataset}-{split}-hardest{_file_words(conditions)}"
    figure = hardest_figure(originals(results, dataset, split), table, split, count, conditions)
    among = f" of those with {conditions}" if conditions else ""
    words = f"{dataset}: the images of {split} that most models{among} get wrong"
    yield words, save_into(figure, folder, stem)
    path = folder / f"{stem}.csv"
    files.write(path, csv_rows.written(table, "%.6g").encode())
    yield f"{dataset}: all {len(table):,} images of {split}, in this order", path


def _file_words(conditions: str) -> str:
    if not conditions:
        return ""
    plain = re.sub(r"[^\w.=-]+", "-", conditions)[:LONGEST_CONDITIONS]
    return f"-{plain}-{hashlib.sha256(conditions.encode()).hexdigest()[:6]}"
