"""Figures of a data set: label counts of each split, images of a class, a grid and a row of samples.

A View is a data set as a study divides it; the `*_figure` functions draw it as a plain matplotlib Figure,
without global state. Pixels are shown as they are stored: 0 is black, pixel_max white.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.data.arm_settings import Settings
from harness.data.datasets import Facts
from harness.data.samples import DATA_SETTINGS, SPLITS, Split, divide, load
from harness.errors import UsageError, did_you_mean
from harness.gallery.contact_sheet import save_into
from harness.plots import COLORS, GREY, STYLE, TEST, VAL
from harness.study.study import Study
from harness.study.trials import arms, settings_of
from harness.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Kind = Literal["counts", "row", "grid"]
SHADES = {"train": COLORS[2], "val": VAL, "test": TEST}
GRID = (3, 6)  # rows and columns of the grid
ACROSS = 5  # images of one class in a row
MOST_ROWS = 5  # of one image a class, ten in a row
EVEN, NEARLY = 1.05, 1.5  # largest class / smallest class, up to which counts are called (nearly) balanced
SAME = 0.0005  # largest difference of shares that are called the same
LONGEST = 20  # characters above an image


@dataclass(frozen=True)
class View:
    """A data set, divided: its facts, and the images, labels and names of each split."""

    name: str
    facts: Facts
    pixels: Mapping[Split, NDArray[np.uint8]]
    labels: Mapping[Split, NDArray[np.int64]]
    names: Mapping[Split, Sequence[str]]

    def counts(self, split: Split) -> NDArray[np.int64]:
        """Count the images of each class in a split, (C,)."""
        return np.bincount(self.labels[split], minlength=len(self.facts.classes))


def view(settings: Settings) -> View:
    """Load the data set that these settings name, divided as they say."""
    images, index = load(settings.data), divide(settings)
    train_names = images.train_names or tuple(f"index {i}" for i in range(len(images.train_labels)))
    test_names = images.test_names or tuple(f"index {i}" for i in range(len(images.test_labels)))
    pixels: dict[Split, NDArray[np.uint8]] = {"test": images.test_images}
    labels: dict[Split, NDArray[np.int64]] = {"test": images.test_labels}
    names: dict[Split, Sequence[str]] = {"test": test_names}
    for split in ("train", "val"):
        pixels[split] = images.train_images[index[split]]
        labels[split] = images.train_labels[index[split]]
        names[split] = [train_names[i] for i in index[split]]
    return View(settings.dataset, settings.facts, pixels, labels, names)


def divisions(study: Study, dataset: str | None = None) -> dict[str, Settings]:
    """Collect the ways in which a study divides its data sets, or one of them: file name -> settings."""
    chosen = [arm.settings for arm in arms(study) if dataset in {None, arm.settings.dataset}]
    if not chosen and dataset is not None:
        chosen = [settings_of(study, {"dataset": dataset})]
    keys = [key for key in DATA_SETTINGS if key != "preprocessing"]
    distinct: list[Settings] = []
    for settings in chosen:
        division = Settings({key: settings[key] for key in keys if key in settings}, settings.study_dataset)
        if division not in distinct:
            distinct.append(division)
    varied = [key for key in keys[1:] if len({str(division.get(key)) for division in distinct}) > 1]
    return {"-".join([str(d["dataset"]), *(str(d[k]) for k in varied if k in d)]): d for d in distinct}


@mpl.rc_context(STYLE)
def counts_figure(view: View) -> Figure:
    """Draw label counts of train, val and test side by side, each on its own scale, and describe balance."""
    height = min(1.9 + 0.24 * len(view.facts.classes), 60)
    figure = Figure(figsize=(10.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, split in zip(figure.subplots(1, 3, sharey=True), SPLITS, strict=True):
        _bars(ax, view.counts(split), view.facts.classes, split)
    words = textwrap.fill(f"{view.name}: label counts. {balance(view)}", 125)
    figure.suptitle(words, x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def _bars(ax: Axes, counts: NDArray[np.int64], classes: Sequence[str], split: Split) -> None:
    table = pd.DataFrame({"class": classes, "images": counts})
    sns.barplot(table, x="images", y="class", orient="h", color=SHADES[split], width=0.75, ax=ax)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    # In a column of their own, where neither bars nor the dashed line reach.
    ax.set_xlim(0, 1.25 * max(int(counts.max()), 1))
    for y, count in enumerate(counts):
        ax.text(
            0.985, y, f"{count:,}", transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=8
        )
    ax.axvline(counts.mean(), color=GREY, lw=1, ls=(0, (3, 2)), zorder=3)
    ax.set(ylabel="", xlabel="images (dashed: equal shares)", title=f"{split}: {counts.sum():,} images")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.grid(visible=False, axis="y")


def balance(view: View) -> str:
    """Say whether the classes are balanced, and whether the splits have the same shares of each."""
    counts = {split: view.counts(split) for split in SPLITS}
    sentences = [_spread(view, split, counts[split]) for split in SPLITS]
    shares = {split: count / count.sum() for split, count in counts.items() if count.any()}
    most = int(counts["train"].argmax())
    guessed, equal = percent(float(shares["test"][most])), percent(1 / len(view.facts.classes))
    sentences.append(
        f"Always guessing {_class(view, most)} would be right on {guessed} of test (equal shares: {equal})."
    )
    for split in [split for split in shares if split != "train"]:
        gap = np.abs(shares[split] - shares["train"])
        same = f"{split} has train's shares"
        if gap.max() < SAME:
            sentences.append(f"{same}.")
        else:
            widest = _class(view, int(gap.argmax()))
            sentences.append(f"{same} to within {100 * gap.max():.2f} points (widest: {widest}).")
    return " ".join(sentences)


def _spread(view: View, split: Split, counts: NDArray[np.int64]) -> str:
    if not counts.any():
        return f"No {split} images."
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"{split} is balanced: {high:,} image{'s' if high > 1 else ''} of each class."
    fewest, most = _class(view, int(counts.argmin())), _class(view, int(counts.argmax()))
    if low == 0:
        return f"{split} is unbalanced: no image of {fewest}, {high:,} of {most}."
    even = high / low <= EVEN or high - low == 1  # a division cannot be more even
    word = "balanced" if even else "nearly balanced" if high / low <= NEARLY else "unbalanced"
    return (
        f"{split} is {word}: {low:,} images of {fewest} to {high:,} of {most}, "
        f"{high / low:.2f} times as many."
    )


def _class(view: View, label: int) -> str:
    name = view.facts.classes[label]
    return f"class {name}" if name.isdigit() else name


@mpl.rc_context(STYLE)
def images_figure(
    images: NDArray[np.uint8], titles: Sequence[str], columns: int, title: str, pixel_max: float = 255
) -> Figure:
    """Draw images (N, H, W) in rows of `columns`, each under its title."""
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1:]
    # Flat or narrow images keep their shape, within limits that leave room for titles.
    size = (1.45 * columns + 0.3, (1.45 * min(max(height / width, 0.3), 3) + 0.35) * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, words in zip(grid.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=pixel_max, interpolation="nearest")
        ax.set_title(words, fontsize=8.5, parse_math=False)
    wrapped = textwrap.fill(title, int(size[0] * 13))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def class_figure(view: View, label: int, split: Split, count: int, seed: int) -> Figure:
    """Draw random images of one class and split, five in a row, each under its file name or index.

    Raises:
        UsageError: the split has no image of the class.
    """
    members = np.flatnonzero(view.labels[split] == label)
    what = f"{_class(view, label)} in {view.name}, {split}"
    if not members.size:
        raise UsageError(f"there is no image of {what}; choose another --label or --split")
    drawn = np.sort(np.random.default_rng(seed).permutation(members)[:count])
    chosen = f"{len(drawn)} of {len(members):,} images at random (seed {seed})"
    if count >= len(members):
        chosen = f"all {len(members):,} images"
    titles = [short(view.names[split][i]) for i in drawn]
    return images_figure(
        view.pixels[split][drawn], titles, min(ACROSS, len(drawn)), f"{what}: {chosen}", view.facts.pixel_max
    )


def grid_figure(view: View) -> Figure:
    """Draw evenly spaced training images with their labels, in the order of the data set."""
    rows, columns = GRID
    total = len(view.labels["train"])
    spaced = np.unique(np.linspace(0, total - 1, rows * columns).round().astype(int))
    titles = [short(view.facts.classes[view.labels["train"][i]]) for i in spaced]
    title = f"{view.name}: {len(spaced)} of {total:,} training images, evenly spaced from first to last"
    return images_figure(view.pixels["train"][spaced], titles, columns, title, view.facts.pixel_max)


def row_figure(view: View, seed: int) -> Figure:
    """Draw one random training image of each class under its name, ten in a row."""
    rng, labels = np.random.default_rng(seed), view.labels["train"]
    shown = [label for label in range(len(view.facts.classes)) if (labels == label).any()][: 10 * MOST_ROWS]
    drawn = [int(rng.choice(np.flatnonzero(labels == label))) for label in shown]
    titles = [short(view.facts.classes[label]) for label in shown]
    many = "each class" if len(shown) == len(view.facts.classes) else f"{len(shown)} classes"
    title = f"{view.name}: one random training image of {many} (seed {seed})"
    return images_figure(
        view.pixels["train"][drawn], titles, min(10, len(shown)), title, view.facts.pixel_max
    )


def short(name: str, longest: int = LONGEST) -> str:
    """Shorten a name in the middle if it is longer than so many characters."""
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}\u2026{name[1 - longest // 2 :]}"


def label_of(view: View, given: str) -> int:
    """Find the label of a class by its name, or else by its number.

    Raises:
        UsageError: there is no such class.
    """
    classes = view.facts.classes
    if given in classes:
        return classes.index(given)
    if given.isascii() and given.isdigit() and int(given) < len(classes):
        return int(given)
    raise UsageError(f"--label {given!r}: {view.name} has no such class: {did_you_mean(given, classes)}")


@dataclass(frozen=True)
class ImageRequest:
    """The figures to draw of a data set: label counts, one image a class, a grid; and images of one class."""

    kinds: Sequence[Kind] = ("counts", "row")
    label: str | None = None
    split: Split = "train"
    count: int = 10
    seed: int = 0


def draw(
    study: Study, request: ImageRequest, folder: Path, dataset: str | None = None
) -> Iterator[tuple[str, Path]]:
    """Draw a study's data sets, or one of them, into a folder; yield a title and the PNG, beside its SVG.

    Raises:
        UsageError: a data set cannot be read, or has no such class.
        MachineError: the folder cannot be written.
    """
    for stem, settings in divisions(study, dataset).items():
        for name, words, figure in _figures(view(settings), request):
            yield words, save_into(figure, folder, f"{stem}-{name}")


def _figures(view: View, request: ImageRequest) -> Iterator[tuple[str, str, Figure]]:
    if "counts" in request.kinds:
        yield "counts", f"{view.name}: {balance(view)}", counts_figure(view)
    if "row" in request.kinds:
        yield "row", f"{view.name}: one image a class", row_figure(view, request.seed)
    if "grid" in request.kinds:
        yield "grid", f"{view.name}: evenly spaced training images", grid_figure(view)
    if request.label is not None:
        label = label_of(view, request.label)
        figure = class_figure(view, label, request.split, request.count, request.seed)
        words = f"{view.name}: images of {_class(view, label)} in {request.split}"
        yield f"{request.split}-label-{label}-seed-{request.seed}", words, figure
