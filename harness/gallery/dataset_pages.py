"""Figures of a data set: label counts of each split, chosen images, a grid and a row of samples.

A View is a data set as its files come or as a study divides it; the `*_figure` functions draw it. Pixels are
shown as they are stored: 0 is black, pixel_max white; `ink` turns them over.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from harness.data.samples import Split
from harness.errors import UsageError, did_you_mean
from harness.gallery.contact_sheet import save_into
from harness.gallery.drawing import draw_image
from harness.gallery.image_choice import Chosen, ImageChoice, captions, spaced, whole
from harness.gallery.views import View, divisions, existing, view
from harness.plots import COLORS, GREY, TEST, VAL, new_figure, styled
from harness.study.study import Study
from harness.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.data.images import RawPixels

Kind = Literal["counts", "row", "grid"]
Ink = Literal["auto", "light", "dark"]
"""As the pixels are stored; light on dark; or dark on light."""
SHADES = {"train": COLORS[2], "val": VAL, "test": TEST}
GRID = (3, 6)  # rows and columns of the grid
ACROSS, MOST_COLUMNS = 5, 30  # images in a row, where there are as many: by default, and at most
MOST_ROWS = 5  # of one image a class, ten in a row
EVEN, NEARLY = 1.05, 1.5  # largest class / smallest class, up to which counts are called (nearly) balanced
SAME = 0.0005  # largest difference of shares that are called the same


@styled
def counts_figure(view: View, splits: Sequence[Split] = ()) -> Figure:
    """Draw label counts of some splits (all by default) side by side, each on its own scale, and balance."""
    shown = splits or view.splits
    height = min(1.9 + 0.24 * len(view.facts.classes), 60)
    figure = new_figure((max(3.5 * len(shown), 5), height), "constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, split in zip(panels, shown, strict=True):
        counts_panel(ax, view, split)
        if ax is not panels[0]:
            ax.set_ylabel("")
    balanced = balance(view) if len(shown) > 1 else spread(view, shown[0])
    words = textwrap.fill(f"{view.name}: label counts. {balanced}", int(12.5 * figure.get_figwidth()))
    figure.suptitle(words, x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def counts_panel(ax: Axes, view: View, split: Split) -> None:
    """Draw the label counts of a split as bars, with a dashed line at equal shares."""
    counts = view.counts(split)
    table = pd.DataFrame({"class": view.facts.classes, "images": counts})
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
    ax.set(ylabel="class", xlabel="images (dashed: equal shares)", title=f"{split}: {counts.sum():,} images")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.grid(visible=False, axis="y")


def balance(view: View) -> str:
    """Say whether the classes are balanced, and whether the splits have the same shares of each."""
    planned: tuple[Split, ...] = ("train", "val", "test") if view.divided else view.splits
    sentences = [spread(view, split) for split in planned]
    counts = {split: view.counts(split) for split in view.splits}
    shares = {split: count / count.sum() for split, count in counts.items()}
    if {"train", "test"} <= set(shares):
        most = int(counts["train"].argmax())
        guessed, equal = percent(float(shares["test"][most])), percent(1 / len(view.facts.classes))
        always = f"Always guessing {view.class_name(most)} would be right on {guessed} of test"
        sentences.append(f"{always} (equal shares: {equal}).")
    for split in [split for split in shares if split != "train"]:
        gap = np.abs(shares[split] - shares["train"])
        same = f"{split} has train's shares"
        if gap.max() < SAME:
            sentences.append(f"{same}.")
        else:
            widest = view.class_name(int(gap.argmax()))
            sentences.append(f"{same} to within {100 * gap.max():.2f} points (widest: {widest}).")
    return " ".join(sentences)


def spread(view: View, split: Split) -> str:
    """Say whether the classes of a split are balanced."""
    counts = view.counts(split)
    if not counts.any():
        return f"No {split} images."
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"{split} is balanced: {high:,} image{'s' if high > 1 else ''} of each class."
    fewest, most = view.class_name(int(counts.argmin())), view.class_name(int(counts.argmax()))
    if low == 0:
        return f"{split} is unbalanced: no image of {fewest}, {high:,} of {most}."
    even = high / low <= EVEN or high - low == 1  # a division cannot be more even
    word = "balanced" if even else "nearly balanced" if high / low <= NEARLY else "unbalanced"
    return (
        f"{split} is {word}: {low:,} images of {fewest} to {high:,} of {most}, "
        f"{high / low:.2f} times as many."
    )


@styled
def images_figure(
    images: RawPixels, titles: Sequence[str], columns: int, title: str, pixel_max: float = 255,
    *, turned: bool = False,
) -> Figure:  # fmt: skip
    """Draw images (N, H, W) or (N, H, W, C) in rows, each under its title; `turned` over, 0 is white."""
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1:3]
    # Flat or narrow images keep their shape, within limits that leave room for titles.
    above = 0.2 + 0.15 * max((words.count("\n") + 1 for words in titles), default=1)
    across = 1.45 * max(columns, 2 if len(title) > 40 else 1) + 0.3
    size = (across, (1.45 * min(max(height / width, 0.3), 3) + above) * rows + 0.5)
    figure = new_figure(size, "constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, words in zip(grid.flat, images, titles, strict=False):
        image_panel(ax, image, words, pixel_max, turned=turned)
    wrapped = textwrap.fill(title, int(size[0] * 13))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def image_panel(ax: Axes, image: RawPixels, words: str, pixel_max: float, *, turned: bool) -> None:
    """Draw one image under its title."""
    ax.set_axis_off()
    draw_image(ax, image, pixel_max, turned=turned, interpolation="nearest")
    ax.set_title(words, fontsize=8.5, parse_math=False)


def is_turned(view: View, ink: str) -> bool:
    """Return whether `ink` wants a data set's images turned over: most of a picture is not ink.

    Raises:
        UsageError: there is no such ink.
    """
    if ink not in get_args(Ink):
        raise UsageError(f"ink = {ink!r}: {did_you_mean(str(ink), get_args(Ink))}")
    some = next(iter(view.pixels.values()))[:500]
    stored = "light" if np.median(some) < view.facts.pixel_max / 2 else "dark"
    return ink not in {"auto", stored}


def chosen_figure(
    chosen: Chosen, wanted: str = "both", ink: str = "auto", columns: int | None = None
) -> Figure:
    """Draw chosen images, five in a row by default, each under its caption.

    Raises:
        UsageError: there is no such caption or ink.
    """
    view, places = chosen.view, chosen.places
    titles = captions(view, chosen.split, places, wanted)
    across = min(ACROSS if columns is None else whole("columns", columns, MOST_COLUMNS), len(places))
    images, turned = view.pixels[chosen.split][places], is_turned(view, ink)
    return images_figure(images, titles, across, chosen.words, view.facts.pixel_max, turned=turned)


def grid_figure(view: View, split: str = "train", wanted: str = "Label: 5", ink: str = "auto") -> Figure:
    """Draw evenly spaced images of a split with their labels, in the order of the data set."""
    return chosen_figure(spaced(view, split, GRID[0] * GRID[1]), wanted, ink, GRID[1])


def row_figure(view: View, seed: int, ink: str = "auto") -> Figure:
    """Draw one random training image of each class under its name, ten in a row."""
    rng, labels = np.random.default_rng(seed), view.labels["train"]
    shown = [label for label in range(len(view.facts.classes)) if (labels == label).any()][: 10 * MOST_ROWS]
    drawn = np.array([rng.choice(np.flatnonzero(labels == label)) for label in shown])
    many = "each class" if len(shown) == len(view.facts.classes) else f"{len(shown)} classes"
    words = f"{view.name}: one random training image of {many} (seed {seed})"
    return chosen_figure(Chosen(view, "train", drawn, words, seed), "label", ink, 10)


@dataclass(frozen=True)
class ImageRequest:
    """The figures to draw of a data set: label counts, one image a class, a grid; and chosen images.

    `captions` and `ink` are as for `chosen_figure`; None takes each figure's own. `split` is the grid's.
    """

    kinds: Sequence[Kind] = ("counts", "row")
    choice: ImageChoice | None = None
    captions: str | None = None
    ink: str = "auto"
    seed: int = 0
    split: str = "train"


def draw(
    study: Study, request: ImageRequest, folder: Path, dataset: str | None = None
) -> Iterator[tuple[str, Path]]:
    """Draw a study's data sets, or one of them, into a folder; yield a title and the PNG, beside its SVG.

    Raises:
        UsageError: a data set cannot be read, or has no such image or class.
        MachineError: the folder cannot be written.
    """
    for stem, settings in divisions(study, dataset).items():
        yield from draw_view(view(settings), request, folder, stem)


def draw_view(view: View, request: ImageRequest, folder: Path, stem: str) -> Iterator[tuple[str, Path]]:
    """Draw one view as `draw` does, into files whose names begin with `stem`."""
    for name, words, figure in list(_figures(view, request)):  # errors come before a file is written
        yield words, save_into(figure, folder, f"{stem}-{name}")


def _figures(view: View, request: ImageRequest) -> Iterator[tuple[str, str, Figure]]:
    if "counts" in request.kinds:
        yield "counts", f"{view.name}: {balance(view)}", counts_figure(view)
    if "row" in request.kinds:
        yield "row", f"{view.name}: one image a class", row_figure(view, request.seed, request.ink)
    if "grid" in request.kinds:
        figure = grid_figure(view, request.split, request.captions or "Label: 5", request.ink)
        of_split = "" if request.split == "train" else f"-{request.split}"
        yield f"grid{of_split}", f"{view.title(existing(view, request.split))}: evenly spaced images", figure
    if request.choice is not None:
        chosen = request.choice.of(view)
        wanted = request.captions or ("name" if request.choice.label is not None else "both")
        yield _stem(request.choice, chosen), chosen.words, chosen_figure(chosen, wanted, request.ink)


def _stem(choice: ImageChoice, chosen: Chosen) -> str:
    """Name the file of chosen images."""
    of_class = "" if choice.label is None else f"-label-{chosen.view.labels[chosen.split][chosen.places[0]]}"
    if choice.number is not None:
        numbers = chosen.view.numbers[chosen.split][chosen.places]
        several = f"s-{numbers[0]}-to-{numbers[-1]}" if len(numbers) > 1 else f"-{numbers[0]}"
        return f"{chosen.split}-image{several}"
    if choice.first is not None:
        return f"{chosen.split}{of_class}-first-{len(chosen.places)}"
    return f"{chosen.split}{of_class}" + ("" if chosen.seed is None else f"-seed-{chosen.seed}")
