"""The largest contrast, image by image: the images that only one of its two arms gets right.

Both arms are compared over the seeds that both finished, on the same test images. Exploratory: one contrast
was picked for its size, on validation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd

from harness import plots, stats
from harness.errors import UsageError
from harness.gallery import predicted_images
from harness.gallery.contact_sheet import Tile, sheet
from harness.gallery.image_choice import short
from harness.plots import GREY, STYLE
from harness.reporting.arm_figures import arm_confusion, draw_images
from harness.reporting.contrasts import read_family, reference_levels
from harness.reporting.model import Cell, Column, Figure, Section, Table, slug
from harness.results import predictions
from harness.text import as_word, count, p_value, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from harness.gallery.predicted_images import Pictures
    from harness.reporting.data import ReportData
    from harness.study.contrasts import Contrasts, Levels

SHOWN = 18  # images of a gallery
RED = "#c00000"
MARK = "Exploratory: one contrast was picked for its size."
VAL = "val_accuracy"
Candidate: TypeAlias = tuple[float, str, str, str]
"""Mean difference, label of the arm, label of its reference, and the comparison in words."""
TABLE = (
    "Test images that one of the two arms gets right and the other gets wrong, seed by seed, and the exact "
    "p value of McNemar's test on that seed's two models, uncorrected. All seeds share the test images, so "
    "their p values are not independent and are not pooled."
)
GALLERY = (
    "{} Test images that {} gets right and {} gets wrong, sorted by the number of seeds in which this "
    "happens. Above each image: its label, the most frequent wrong class (red), and the number of seeds, of "
    "{}."
)
MATRIX = (
    "{} Test samples by true class (rows) and predicted class (columns) of {}, summed over its finished "
    "seeds; then the change of each count from {}, over the seeds that both finished. Blue is better: "
    "more on the framed diagonal, or fewer mistakes off it; red is worse. Colours span the mistakes; empty "
    "cells are 0."
)


@dataclass(frozen=True)
class Flips:
    """The predictions of two arms for the same n test images with the same S seeds."""

    pair: Pair  # the arms
    trials: pd.DataFrame  # the arm's, a row a seed
    index: NDArray[np.int64]  # (n,) as in `Predictions`
    label: NDArray[np.int64]  # (n,) as in `Predictions`
    predicted: NDArray[np.int64]  # (S, n) classes, by the arm
    reference: NDArray[np.int64]  # (S, n) classes, by its reference

    @property
    def right(self) -> NDArray[np.bool_]:
        """The images that the arm gets right, (S, n)."""
        return np.equal(self.predicted, self.label)

    @property
    def reference_right(self) -> NDArray[np.bool_]:
        """The images that the reference gets right, (S, n)."""
        return np.equal(self.reference, self.label)


def section(reading: ReportData) -> Section | None:
    """Report on the largest contrast of each data set; None if there is no contrast at all."""
    words, figures, rows = list[str](), list[Figure](), list[list[Cell]]()
    for dataset in reading.datasets:
        pair = largest(reading, dataset)
        if pair is None:
            continue
        words.append(f"{MARK} {pair.why}")
        try:
            flips = compare(reading, pair)
        except UsageError as error:
            words.append(f"Not compared image by image: {reading.reason(error)}.")
        else:
            words.append(_summary(flips))
            rows += _rows(flips)
            makers = {
                "images that it gets right": partial(_gallery, reading, flips, gained=True),
                "images that it gets wrong": partial(_gallery, reading, flips, gained=False),
            }
            drawn, left_out = draw_images(reading, dataset, makers)
            words += left_out
            figures += drawn
        figures += _confusion(reading, pair)
    if not words:
        return None
    return Section("flips", "The largest contrast, image by image", words, _table(rows), figures)


def compare(reading: ReportData, pair: Pair) -> Flips:
    """Read what two arms said of the test images, over the seeds that both finished.

    Raises:
        UsageError: no seed finished both, or predictions of test are not kept, missing or damaged.
    """
    first, second = _common(reading, pair)
    if first.empty:
        raise UsageError(f"no seed finished both {pair.arm} and {pair.reference}")
    reading.require_predictions()
    tables = [
        [predictions.table(reading.results, trial, "test") for _, trial in trials.iterrows()]
        for trials in (first, second)
    ]
    index, label = (tables[0][0][name].to_numpy() for name in ("index", "label"))
    if any(not np.array_equal(index, table["index"]) for arm in tables for table in arm):
        raise UsageError("the two arms were not tested on the same images")
    predicted = (np.stack([table["predicted"].to_numpy() for table in arm]) for arm in tables)
    return Flips(pair, first, index, label, *predicted)


def _common(reading: ReportData, pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = reading.finished(pair.dataset)
    arms = [trials[trials["label"].eq(label)] for label in (pair.arm, pair.reference)]
    seeds = set(arms[0]["seed"]) & set(arms[1]["seed"])
    first, second = (arm[arm["seed"].isin(seeds)].sort_values("seed", kind="stable") for arm in arms)
    return first, second


@dataclass(frozen=True)
class Pair:
    """Two arms of one data set that are compared."""

    dataset: str  # its name
    arm: str  # a label
    reference: str  # the label of the arm that it is compared with
    why: str  # the reason for this pair, a sentence


def reference_arm(reading: ReportData, dataset: str) -> str:
    """Return the label of the arm that others are compared with on a data set; empty without trials."""
    here = reading.of(dataset)
    if reading.design == "grid":
        here = _cell(here, reference_levels(reading, read_family(reading)))
    return str(here["label"].iloc[0]) if len(here) else ""


def largest(reading: ReportData, dataset: str) -> Pair | None:
    """Pick the contrast of the study's family with the largest mean difference in val accuracy, either way.

    It is picked on validation, as is everything in a report. A contrast of levels is a mean over many arms,
    and two of these stand for it: those with the reference levels of the other axes.

    Returns:
        The pair; None if no contrast has a seed that both arms finished.
    """
    family = read_family(reading)
    candidates = [candidate for candidate in _candidates(reading, dataset, family) if pd.notna(candidate[0])]
    if not candidates:
        return None
    difference, arm, reference, comparison = max(candidates, key=lambda candidate: abs(candidate[0]))
    kind = "declared contrasts" if family.declared else "contrasts of the design's default family"
    why = (
        f"Of the {len(candidates)} {kind} on {dataset}, the one with the largest difference in val accuracy "
        f"({points(difference, sign=True)} points): {comparison}."
    )
    return Pair(dataset, arm, reference, why)


def _candidates(reading: ReportData, dataset: str, family: Contrasts) -> Iterator[Candidate]:
    trials = reading.of(dataset)
    pairs = pd.DataFrame(family.pairs, columns=["arm", "reference"])
    labels = trials.drop_duplicates("arm").set_index("arm")["label"]
    for row in stats.contrasts(trials, pairs, VAL).to_dict("records"):
        arm, reference = labels[row["arm"]], labels[row["reference"]]
        yield row["difference"], str(arm), str(reference), f"{arm} against {reference}"
    if reading.design == "grid":
        for levels in family.levels:
            if levels.axis in reading.axes:
                yield from _levels(reading, trials, family, levels)


def _levels(
    reading: ReportData, trials: pd.DataFrame, family: Contrasts, levels: Levels
) -> Iterator[Candidate]:
    axis, references = levels.axis, reference_levels(reading, family)
    reference = as_word(levels.reference)
    within = [name for name in levels.within if name in reading.axes]
    differences = stats.level_differences(trials, axis, reference, within, list(reading.axes), VAL)
    means = differences.groupby([*within, "arm"], sort=False)["difference"].mean().reset_index()
    for row in means.to_dict("records"):
        inside = {name: str(row[name]) for name in within}
        others = {k: v for k, v in (references | inside).items() if k != axis}
        cells = [_cell(trials, others | {axis: level}) for level in (str(row["arm"]), reference)]
        seeds = [set(stats.finished(cell, VAL)["seed"]) for cell in cells]
        if seeds[0] & seeds[1]:
            first, second = (str(cell["label"].iloc[0]) for cell in cells)
            where = "".join(f", {name} {level}" for name, level in inside.items())
            rest = ", ".join(f"{name} {level}" for name, level in others.items() if name not in inside)
            comparison = f"{axis} {row['arm']} against {reference}{where}"
            comparison += f", a mean over the other choices; shown here with {rest}" if rest else ""
            yield row["difference"], first, second, comparison


def _cell(trials: pd.DataFrame, levels: Mapping[str, str]) -> pd.DataFrame:
    for axis, level in levels.items():
        trials = trials[trials[axis].eq(level)]
    return trials


def _summary(flips: Flips) -> str:
    """Give the mean over seeds, the interval over images, and the seeds with a clear McNemar's test."""
    tests = stats.mcnemar(flips.right, flips.reference_right)
    interval = stats.sample_bootstrap(flips.right, flips.reference_right, np.random.default_rng(0)).iloc[0]
    seeds, arm, reference = len(tests), flips.pair.arm, flips.pair.reference
    clear = int(tests["p"].le(0.05).sum())
    alone = f"p {p_value(tests['p'].iloc[0])}"
    verdict = f"p \u2264 0.05 in {clear} of {seeds} seeds" if seeds > 1 else alone
    by = points(float(interval["difference"]), sign=True)
    low, high = points(float(interval["low"])), points(float(interval["high"]))
    ends = f"95\u00a0% interval {low} to {high} by a bootstrap over the images"
    if math.isnan(interval["low"]):
        ends = "the same on every image, so no interval over the images"
    return (
        f"Of {flips.right.shape[1]:,} test images, {arm} gets {tests['b'].mean():,.1f} right that "
        f"{reference} gets wrong, and {tests['c'].mean():,.1f} wrong that {reference} gets right (mean over "
        f"{count(seeds, 'seed')}): {by} points of test accuracy, {ends}. "
        "The interval covers the limited size of the test set, not "
        f"other seeds. McNemar's exact test: {verdict}."
    )


def _rows(flips: Flips) -> Iterator[list[Cell]]:
    tests = stats.mcnemar(flips.right, flips.reference_right)
    for seed, test in zip(flips.trials["seed"], tests.to_dict("records"), strict=True):
        difference = (test["b"] - test["c"]) / test["samples"]
        yield [
            Cell(flips.pair.dataset),
            Cell(flips.pair.arm, f"against {flips.pair.reference}"),
            Cell(str(seed), key=float(seed)),
            Cell(f"{test['b']:,}", key=test["b"]),
            Cell(f"{test['c']:,}", key=test["c"]),
            Cell(points(difference, sign=True), key=difference),
            Cell(p_value(test["p"]), key=test["p"]),
        ]


def _table(rows: list[list[Cell]]) -> list[Table]:
    if not rows:
        return []
    columns = [Column("data set"), Column("arm", show="wide"), Column("seed", numeric=True)]
    columns += [Column("only it is right", numeric=True), Column("only the reference is", numeric=True)]
    columns += [Column("difference (points)", numeric=True), Column("p (McNemar)", numeric=True)]
    return [Table("mcnemar", "McNemar's test, seed by seed", TABLE, columns, rows)]


def _gallery(reading: ReportData, flips: Flips, *, gained: bool) -> Figure:
    images = predicted_images.see(reading.results, flips.trials.iloc[0]).pictures
    right, before = flips.right, flips.reference_right
    better_only, worse_only = (right & ~before, ~right & before)[:: 1 if gained else -1]
    hits = better_only.sum(0)
    net = hits - worse_only.sum(0)
    order = np.lexsort((np.arange(len(hits)), -hits, -net))
    shown = [place for place in order[:SHOWN] if hits[place]]
    names = (flips.pair.arm, flips.pair.reference)
    better, worse = names if gained else names[::-1]
    if not shown:
        raise UsageError(f"there is no image that {better} gets right and {worse} wrong")
    predicted = flips.reference if gained else flips.predicted
    tiles = [_tile(images, flips, place, predicted[better_only[:, place], place]) for place in shown]
    title = f"{images.dataset}, test: {better} is right, {worse} is wrong"
    with mpl.rc_context(STYLE):
        figure = sheet(tiles, min(6, max(len(tiles), 3)), title, images.facts.pixel_max)
    name = f"flips-{slug(images.dataset)}-{'gains' if gained else 'losses'}"
    title = f"Images of {images.dataset} that {better} gets right and {worse} gets wrong"
    return Figure(name, title, GALLERY.format(MARK, better, worse, len(right)), figure, folded=not gained)


def _tile(images: Pictures, flips: Flips, place: int, mistakes: NDArray[np.int64]) -> Tile:
    """Show an image with its label and its most frequent mistake, over the seeds that make one."""
    index = int(flips.index[place])
    lines = [
        (short(images.names[index]), GREY),
        (f"label {images.class_name(int(flips.label[place]), 14)}", "black"),
        (f"taken for {images.class_name(int(np.bincount(mistakes).argmax()), 12)}", RED),
        (f"{len(mistakes)} of {count(len(flips.predicted), 'seed')}", "black"),
    ]
    return Tile(images.pixels[index], lines)


def _confusion(reading: ReportData, pair: Pair) -> Iterator[Figure]:
    """Draw the arm's confusion matrix and its change from the reference's; a ladder has one for each step."""
    classes = reading.classes(pair.dataset)
    trials = reading.of(pair.dataset)
    changes = stats.confusion_differences(
        reading.results.confusion, trials, (pair.arm, pair.reference), len(classes), "label"
    )
    seeds = changes.index.unique("seed").size
    if reading.design == "ladder" or not seeds:
        return
    counts = arm_confusion(reading, pair.dataset, pair.arm)
    finished = int(reading.finished(pair.dataset)["label"].eq(pair.arm).sum())
    change = changes.groupby(level="true").sum()
    figure = plots.confusion_figure(
        {f"{short(pair.arm, 50)}\nsum over {count(finished, 'seed')}": counts}, classes,
        {f"minus {short(pair.reference, 44)}\nsum over {count(seeds, 'seed')}": change},
    )  # fmt: skip
    title = f"Confusion matrix of the largest contrast on {pair.dataset}"
    caption = MATRIX.format(MARK, pair.arm, pair.reference)
    yield Figure(f"confusion-{slug(pair.dataset)}-contrast", title, caption, figure)
