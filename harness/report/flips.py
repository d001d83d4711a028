"""The contrast with most in it, image by image: what one arm gets right that the other gets wrong.

Both arms are compared over the seeds that both finished, on the same test images. Exploratory: one contrast
was picked for its size, on val.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from harness import pictures, plots, predictions, stats
from harness.errors import UsageError
from harness.looks import short
from harness.plots import GREY, STYLE
from harness.report.at_hand import look
from harness.report.figures import Drawn, arm_confusion, slug
from harness.report.pairs import largest
from harness.report.section import Section
from harness.report.tables import Cell, Column, Table
from harness.sheets import Tile, sheet
from harness.text import count, p_value, points

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from harness.pictures import Pictures
    from harness.report.pairs import Pair
    from harness.report.reading import Reading

SHOWN = 18  # images of a gallery
RED = "#c00000"
MARK = "Exploratory: one contrast picked for its size, to be looked at."
TABLE = (
    "Test images that one of the two arms gets right and the other wrong, seed by seed, and the exact p of "
    "McNemar's test of that seed's two models, uncorrected. All seeds see the same test images, so their p "
    "are not independent and are not pooled."
)
GALLERY = (
    "{} Test images that {} gets right and {} wrong, those first that do so in the most seeds. Above each: "
    "its label, what the one that is wrong says most often (red), and in how many of {} seeds."
)
MATRIX = (
    "{} Test samples by true class (rows) and predicted class (columns) of {}, summed over its finished "
    "seeds; then what became of each count against {}, over the seeds that both finished. Blue is better: "
    "more on the framed diagonal, or fewer mistakes off it; red is worse. Colours span the mistakes; empty "
    "cells are 0."
)


@dataclass(frozen=True)
class Flips:
    """What two arms said of the same n test images with the same S seeds.

    `said` and `said_before` (S, n) are classes, by the arm and by its reference; `label` (n,), `index` (n,)
    as in `Predictions`; `trials` are the arm's, a row a seed.
    """

    pair: Pair
    trials: pd.DataFrame
    index: NDArray[np.int64]
    label: NDArray[np.int64]
    said: NDArray[np.int64]
    said_before: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """What the arm gets right, (S, n)."""
        return np.equal(self.said, self.label)

    @property
    def right_before(self) -> NDArray[np.bool_]:
        """What the reference gets right, (S, n)."""
        return np.equal(self.said_before, self.label)


def section(reading: Reading) -> Section | None:
    """The section on the largest contrast of each data set; None where there is no contrast at all."""
    words, drawn, rows = list[str](), list[Drawn](), list[list[Cell]]()
    for dataset in reading.datasets:
        pair = largest(reading, dataset)
        if pair is None:
            continue
        words.append(f"{MARK} {pair.why}")
        try:
            flips = compare(reading, pair)
        except UsageError as error:
            words.append(f"Not compared image by image: {_local(reading, error)}.")
        else:
            words.append(_told(flips))
            rows += _rows(flips)
            makers = {
                "images that it gets right": partial(_gallery, reading, flips, gained=True),
                "images that it gets wrong": partial(_gallery, reading, flips, gained=False),
            }
            looked = look(reading, dataset, [], makers)
            words += looked.words
            drawn += looked.drawn
        drawn += _confusion(reading, pair)
    if not words:
        return None
    return Section("flips", "The largest contrast, image by image", words, _table(rows), drawn)


def compare(reading: Reading, pair: Pair) -> Flips:
    """Read what two arms said of the test images, over the seeds that both finished.

    Raises:
        UsageError: no seed finished both, or predictions of test are not kept, missing or damaged.
    """
    first, second = _common(reading, pair)
    if first.empty:
        raise UsageError(f"no seed finished both {pair.arm} and {pair.reference}")
    if not any((reading.results.folder / "predictions").glob("*.npz")):
        raise UsageError("this results folder holds no predictions")
    said = [predictions.table(reading.results, trial, "test") for _, trial in first.iterrows()]
    before = [predictions.table(reading.results, trial, "test") for _, trial in second.iterrows()]
    index, label = (said[0][name].to_numpy() for name in ("index", "label"))
    if any(not np.array_equal(index, table["index"]) for table in (*said, *before)):
        raise UsageError("the two arms were not tested on the same images")
    stacked = (np.stack([table["predicted"].to_numpy() for table in tables]) for tables in (said, before))
    return Flips(pair, first, index, label, *stacked)


def _common(reading: Reading, pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished trials of the two arms whose seed both have, in the same order."""
    trials = reading.trials[reading.trials["dataset"].eq(pair.dataset) & reading.trials["status"].eq("ok")]
    arms = [trials[trials["label"].eq(label)] for label in (pair.arm, pair.reference)]
    both = set(arms[0]["seed"]) & set(arms[1]["seed"])
    first, second = (arm[arm["seed"].isin(both)].sort_values("seed", kind="stable") for arm in arms)
    return first, second


def _local(reading: Reading, error: Exception) -> str:
    """An error without where the folder lies, since a page is passed on."""
    folder = str(reading.results.folder)
    return str(error).replace(f"{folder}/", "").replace(folder, "the results folder").rstrip(".")


# -------------------------------------------------------------------------------------- words and the table


def _told(flips: Flips) -> str:
    """The mean over seeds, the interval over images, and how many seeds McNemar's test tells apart."""
    tests = stats.mcnemar(flips.right, flips.right_before)
    interval = stats.sample_bootstrap(flips.right, flips.right_before, np.random.default_rng(0)).iloc[0]
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
        f"{reference} gets wrong, and {tests['c'].mean():,.1f} wrong that it gets right (over "
        f"{count(seeds, 'seed')}): {by} points of test accuracy, {ends}, "
        "which says how far a test set of this size can be trusted, not what "
        f"other seeds would give. McNemar's exact test: {verdict}."
    )


def _rows(flips: Flips) -> Iterator[list[Cell]]:
    tests = stats.mcnemar(flips.right, flips.right_before)
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


# ------------------------------------------------------------------------------------------------ the figures


def _gallery(reading: Reading, flips: Flips, *, gained: bool) -> Drawn:
    of = pictures.see(reading.results, flips.trials.iloc[0]).pictures
    right, before = flips.right, flips.right_before
    hits = (right & ~before if gained else ~right & before).sum(0)
    net = hits - (~right & before if gained else right & ~before).sum(0)
    order = np.lexsort((np.arange(len(hits)), -hits, -net))
    shown = [at for at in order[:SHOWN] if hits[at]]
    names = (flips.pair.arm, flips.pair.reference)
    better, worse = names if gained else names[::-1]
    if not shown:
        raise UsageError(f"there is no image that {better} gets right and {worse} wrong")
    said, wrong = (flips.said_before, ~before & right) if gained else (flips.said, ~right & before)
    figure = _sheet(of, flips, shown, said, wrong, f"{of.dataset}, test: {better} is right, {worse} is wrong")
    which = "gains" if gained else "losses"
    title = f"What {better} gets right that {worse} gets wrong on {of.dataset}"
    caption = GALLERY.format(MARK, better, worse, len(right))
    return Drawn(f"flips-{slug(of.dataset)}-{which}", title, caption, figure, folded=not gained)


@mpl.rc_context(STYLE)
def _sheet(
    of: Pictures,
    flips: Flips,
    shown: list[Any],
    said: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    title: str,
) -> Figure:
    tiles = []
    for at in shown:
        mistakes = said[wrong[:, at], at]
        usual = of.class_name(int(np.bincount(mistakes).argmax()), 12)
        lines = [
            (short(of.names[int(flips.index[at])]), GREY),
            (f"label {of.class_name(int(flips.label[at]), 14)}", "black"),
            (f"taken for {usual}", RED),
            (f"{len(mistakes)} of {count(len(said), 'seed')}", "black"),
        ]
        tiles.append(Tile(of.pixels[int(flips.index[at])], lines))
    return sheet(tiles, min(6, max(len(tiles), 3)), title, of.facts.pixel_max)


def _confusion(reading: Reading, pair: Pair) -> Iterator[Drawn]:
    """The arm's confusion matrix, and what became of the reference's; a ladder has them rung by rung."""
    classes = reading.classes(pair.dataset)
    trials = reading.trials[reading.trials["dataset"].eq(pair.dataset)]
    each = stats.confusion_differences(
        reading.results.confusion, trials, (pair.arm, pair.reference), len(classes), "label"
    )
    seeds = each.index.unique("seed").size
    if reading.design == "ladder" or not seeds:
        return
    counts = arm_confusion(reading, pair.dataset, pair.arm)
    own = int((trials["label"].eq(pair.arm) & trials["status"].eq("ok")).sum())
    change = each.groupby(level="true").sum()
    figure = plots.confusion_figure(
        {f"{short(pair.arm, 50)}\nsum over {count(own, 'seed')}": counts}, classes,
        {f"minus {short(pair.reference, 44)}\nsum over {count(seeds, 'seed')}": change},
    )  # fmt: skip
    title = f"What the largest contrast changes in what is taken for what on {pair.dataset}"
    caption = MATRIX.format(MARK, pair.arm, pair.reference)
    yield Drawn(f"confusion-{slug(pair.dataset)}-contrast", title, caption, figure)
