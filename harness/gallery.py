"""A look at models: what a trained model says of single images, and which images most models get wrong.

    found = harness.read("results/choices")
    seen = pictures.see(found, selection.choose(found, conditions="loss=ce,lr=0.1,seed=0"), "test")
    gallery.failures_figure(seen)

Figures are plain matplotlib Figures, without global state. Predictions are those that the results folder
kept; images come from the data set, in the order of which every prediction has its place.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd

from harness import csv_rows, predictions, results, selection
from harness.data import Split
from harness.errors import MachineError
from harness.looks import short
from harness.pictures import Pictures, Seen, chosen, hardest, originals, see
from harness.plots import COLORS, GREY, STYLE, save
from harness.results import Results
from harness.sheets import LINE, Tile, page, place, sheet, write
from harness.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Kind = Literal["predictions", "probabilities", "failures"]
KINDS: tuple[Kind, ...] = ("predictions", "probabilities", "failures")
Probabilities = Callable[[Results, "pd.Series[Any]", Split], "NDArray[np.floating[Any]]"]
"""(a results folder, a trial's row, a split) -> class probabilities (n, C), in the split's order."""
RED, TRUE = "#c00000", COLORS[2]
MOST_ROWS = 20  # classes with mistakes that one figure shows
MOST_BARS = 12  # classes with a bar of their own
LONGEST_WORDS = 60  # characters of conditions in the name of a file
COUNTS: dict[str, int] = {"predictions": 18, "probabilities": 6, "failures": 10}


# -------------------------------------------------------------------------------------------------- figures


@mpl.rc_context(STYLE)
def predictions_figure(seen: Seen, rows: pd.DataFrame, how: str = "") -> Figure:
    """Images under their name, label and prediction with its probability; a wrong one in red.

    Args:
        seen: what a model says of a split.
        rows: rows of `seen.table`.
        how: how they were chosen, for the title.
    """
    tiles = [_predicted(seen, row) for row in rows.to_dict("records")]
    wrong = int(rows["wrong"].sum())
    title = f"{seen.title}: {len(rows)} images{how}, {wrong} predicted wrongly (red)"
    return sheet(tiles, min(6, max(len(rows), 3)), title, seen.pictures.facts.pixel_max)


def _predicted(seen: Seen, row: Any) -> Tile:
    at, pictures = int(row["index"]), seen.pictures
    said = f"predicted {pictures.class_name(row['predicted'], 11)}, {_sure(row['confidence'])}"
    return Tile(
        pictures.pixels[at],
        [
            (short(pictures.names[at]), GREY),
            (f"label {pictures.class_name(row['label'], 14)}", "black"),
            (said, RED if row["wrong"] else "black"),
        ],
    )


def _sure(confidence: float) -> str:
    return percent(confidence, 0) if math.isfinite(confidence) else "no probability"


@mpl.rc_context(STYLE)
def failures_figure(seen: Seen, each: int = COUNTS["failures"]) -> Figure:
    """A row a true class: its misclassified images, the surest mistake first, the predicted class in red.

    A class with fewer mistakes shows what there is. Of more than 20 classes, the 20 with most mistakes.
    """
    facts, table = seen.pictures.facts, seen.table
    wrong = table.loc[table["wrong"], "label"].value_counts().reindex(range(len(facts.classes)), fill_value=0)
    shown = sorted(wrong.sort_values(ascending=False, kind="stable").index[:MOST_ROWS])
    brief = max(map(len, facts.classes)) <= 4
    side, gap, left = 0.82, 0.14, 0.8 + 0.075 * min(max(map(len, facts.classes)), 14)
    high = side + LINE * (1 if brief else 2) + 0.13
    heights = [high if wrong[label] else 0.45 for label in shown]
    width = max(left + (side + gap) * min(each, int(wrong.max())), 8)
    figure, ax, y = page(width, sum(heights), _failures_title(seen, len(shown), each))
    for label, height in zip(shown, heights, strict=True):
        total = int(table["label"].eq(label).sum())
        words = f"{seen.pictures.class_name(label, 14)}\n{wrong[label]:,} of {total:,}"
        write(ax, 0.1, y + height / 2, words, va="center")
        rows = predictions.mistakes(table, label, each).to_dict("records")
        for k, row in enumerate(rows):
            place(ax, _mistake(seen, row, brief), left + (side + gap) * k, y, side, facts.pixel_max)
        if not rows:
            words = "no mistake" if total else "no image"
            write(ax, left, y + height / 2, words, color=GREY, va="center")
        y += height
    return figure


def _failures_title(seen: Seen, shown: int, each: int) -> str:
    total, wrong = len(seen.table), int(seen.table["wrong"].sum())
    classes = len(seen.pictures.facts.classes)
    which = "each true class" if shown == classes else f"the {shown} of {classes} classes with most"
    share = percent(wrong / total, 2) if total else "none"
    return (
        f"{seen.title}: {wrong:,} mistakes of {total:,} ({share}). A row a true class, at most "
        f"{each} mistakes of {which}, the surest first; above each the predicted class and its probability"
    )


def _mistake(seen: Seen, row: Any, brief: bool) -> Tile:
    name, sure = seen.pictures.class_name(row["predicted"], 12), _sure(row["confidence"])
    said = [f"{name}   {sure}"] if brief else [name, sure]
    return Tile(seen.pictures.pixels[int(row["index"])], [(words, RED) for words in said])


@mpl.rc_context(STYLE)
def probabilities_figure(seen: Seen, rows: pd.DataFrame, probabilities: NDArray[np.floating[Any]]) -> Figure:
    """Images, each beside a bar plot of its class probabilities; true class green, a wrong prediction red.

    Args:
        seen: what a model says of a split.
        rows: rows of `seen.table`.
        probabilities: of these rows, (len(rows), C), each adding to one.
    """
    classes = min(len(seen.pictures.facts.classes), MOST_BARS)
    name = 0.075 * min(max(map(len, seen.pictures.facts.classes)), 16) + 0.3
    bars, gap = 2.2, 0.35
    wide, high = 1.75 + name + bars + gap, max(0.17 * classes + 0.3, 1.95)
    columns = min(2, len(rows))
    title = f"{seen.title}: class probabilities. Green: the label; red: a wrong prediction"
    figure, ax, top = page(wide * columns, high * math.ceil(len(rows) / columns), title)
    for i, (row, given) in enumerate(zip(rows.to_dict("records"), probabilities, strict=True)):
        x, y = wide * (i % columns), top + high * (i // columns)
        # What was kept is rounded; beside the bars stands their own number.
        sure = {**row, "confidence": float(given[int(row["predicted"])])}
        place(ax, _predicted(seen, sure), x + 0.25, y, 1.3, seen.pictures.facts.pixel_max)
        width, height = figure.get_size_inches()
        tall = 0.17 * classes
        box = ((x + 1.75 + name) / width, 1 - (y + 0.08 + tall) / height, bars / width, tall / height)
        _bars(figure.add_axes(box), seen.pictures, row, given)
    return figure


def _bars(ax: Axes, pictures: Pictures, row: Any, given: NDArray[np.floating[Any]]) -> None:
    label, predicted = int(row["label"]), int(row["predicted"])
    shown = np.arange(len(given))
    if len(given) > MOST_BARS:  # the likeliest ones and the label; the others are one bar
        order = [label, *(c for c in np.argsort(-given, kind="stable") if c != label)]
        shown = np.sort(order[: MOST_BARS - 1])
    values = [float(given[c]) for c in shown]
    names = [pictures.class_name(int(c), 16) for c in shown]
    colors = [TRUE if c == label else RED if c == predicted else COLORS[0] for c in shown]
    if len(shown) < len(given):
        values.append(float(given.sum() - sum(values)))
        names.append(f"{len(given) - len(shown)} others")
        colors.append(COLORS[0])
    y = np.arange(len(values))
    ax.barh(y, values, color=colors, height=0.75)
    ax.set_yticks(y, names, fontsize=8)
    for c, tick in enumerate(ax.get_yticklabels()):
        told = colors[c] in {RED, TRUE}
        tick.set(parse_math=False, color=colors[c] if told else "black", weight="bold" if told else "normal")
    ax.set(xlim=(0, 1), ylim=(len(values) - 0.5, -0.5), xticks=[0, 0.5, 1])
    ax.set_xticklabels(["0", "50\u00a0%", "100\u00a0%"], fontsize=7)
    ax.tick_params(pad=1)
    ax.grid(visible=False, axis="y")
    for at, value in enumerate(values):
        if value >= 0.005 or colors[at] == TRUE:
            inside = value > 0.8
            ax.text(
                value - 0.02 if inside else value + 0.02, at, percent(value, 0), fontsize=7, va="center",
                ha="right" if inside else "left", color="white" if inside else "black",
            )  # fmt: skip


@mpl.rc_context(STYLE)
def hardest_figure(
    of: Pictures, table: pd.DataFrame, split: Split, count: int = 18, conditions: str = ""
) -> Figure:
    """Images at the head of `hardest`: name, label, most common prediction, share of wrong trials."""
    tiles = [_hard(of, row) for row in table.head(count).to_dict("records")]
    trials = int(table["trials"].max()) if len(table) else 0
    models = f"{trials:,} trained models" if trials != 1 else "1 trained model"
    models += f" ({conditions})" if conditions else ""
    title = (
        f"{of.dataset}, {split}: what most of {models} get wrong, or are least sure of. Above each: label, "
        "most common prediction, share of models that are wrong"
    )
    return sheet(tiles, min(6, max(len(tiles), 3)), title, of.facts.pixel_max)


def _hard(of: Pictures, row: Any) -> Tile:
    label, said = of.class_name(row["label"], 12), of.class_name(row["prediction"], 12)
    wrong = row["prediction"] != row["label"]
    lines = [
        (short(of.names[int(row["index"])]), GREY),
        (f"label {label}", "black"),
        (f"mostly {said}", RED if wrong else "black"),
        (f"{percent(row['wrong_share'], 0)} wrong", "black"),
    ]
    return Tile(of.pixels[int(row["index"])], lines)


# -------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Asked:
    """What to draw of a model: which kinds, of which split, how many images (None: each kind's own number).

    `samples` are names or indices of images that `predictions` and `probabilities` show, in place of some
    drawn at random with `seed`, or of telling ones.
    """

    kinds: Sequence[Kind] = KINDS
    split: Split = "test"
    count: int | None = None
    seed: int = 0
    samples: Sequence[str] = ()


def draw(
    found: Results, trial: pd.Series[Any], asked: Asked, folder: Path, probabilities: Probabilities
) -> Iterator[tuple[str, Path]]:
    """Draw what a finished trial says of single images into a folder: the kind, and the PNG beside its SVG.

    Raises:
        UsageError: the split was not kept, a sample is not in it, or the trial has nothing to show.
        MachineError: the folder cannot be written, or the data cannot be had.
    """
    seen = see(found, trial, asked.split)
    rows = chosen(seen, asked.samples)  # told before anything is computed
    stem = f"{seen.pictures.dataset}-{seen.trial_id}-{asked.split}"
    for kind in KINDS:
        if kind in asked.kinds:
            figure = _figure(kind, seen, rows, asked, lambda: probabilities(found, trial, asked.split))
            yield kind, _saved(figure, folder, f"{stem}-{kind}")


def _figure(
    kind: Kind, seen: Seen, rows: pd.DataFrame, asked: Asked, compute: Callable[[], NDArray[np.floating[Any]]]
) -> Figure:
    count = asked.count or COUNTS[kind]
    if kind == "failures":
        return failures_figure(seen, count)
    how = ""
    if kind == "predictions" and rows.empty:
        drawn = np.random.default_rng(asked.seed).permutation(len(seen.table))[:count]
        rows, how = seen.table.iloc[np.sort(drawn)], f" at random (seed {asked.seed})"
    if kind == "predictions":
        return predictions_figure(seen, rows, how)
    rows = rows if len(rows) else predictions.telling(seen.table, max(count // 3, 1)).head(count)
    return probabilities_figure(seen, rows, compute()[rows.index])


def draw_hardest(
    found: Results, split: Split, count: int, folder: Path, dataset: str, conditions: str = ""
) -> Iterator[tuple[str, Path]]:
    """Draw the images that most trained models get wrong; all of them, in this order, into a CSV beside.

    With `conditions`, as `selection.where` has them, only the models that meet them have a vote.

    Raises:
        UsageError: nothing has finished on the data set, the split was not kept, or a condition is wrong.
        MachineError: the folder cannot be written, or the data cannot be had.
    """
    voting = replace(found, trials=selection.where(found.trials, conditions))
    table = hardest(voting, dataset, split)
    stem = f"{dataset}-{split}-hardest{_file_words(conditions)}"
    figure = hardest_figure(originals(found, dataset, split), table, split, count, conditions)
    among = f" of those with {conditions}" if conditions else ""
    words = f"{dataset}: the images of {split} that most models{among} get wrong"
    yield words, _saved(figure, folder, stem)
    path = folder / f"{stem}.csv"
    results.write(path, csv_rows.written(table, "%.6g").encode())
    yield f"{dataset}: all {len(table):,} images of {split}, in this order", path


def _file_words(conditions: str) -> str:
    """Conditions as the end of a file's name, other ones for other conditions."""
    if not conditions:
        return ""
    plain = re.sub(r"[^\w.=-]+", "-", conditions)[:LONGEST_WORDS]
    return f"-{plain}-{hashlib.sha256(conditions.encode()).hexdigest()[:6]}"


def _saved(figure: Figure, folder: Path, stem: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return save(figure, folder / stem)[0]
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
