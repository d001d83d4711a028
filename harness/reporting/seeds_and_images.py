"""The family of contrasts again, with intervals for other seeds and other test images at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import stats
from harness.errors import UsageError
from harness.reporting.model import Cell, Column, Section, Table, difference_cell, rows_of
from harness.reporting.verdict_text import images_of
from harness.reporting.verdict_views import contrast_cell
from harness.results import predictions
from harness.results.families import KEY, sides
from harness.text import between, count, points, spaced, whole_percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from harness.data.samples import Split
    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence

    Row = Mapping[Any, Any]

TITLE = "Seeds and test images together"
NAME = "seeds-and-images"
MOST = 40_000_000
"""Numbers, contrasts times seeds times images, that are held of a data set at once."""
MOST_TRIALS = 2_000
"""Trials of a data set whose predictions are read: more would take a report many seconds."""
ROUNDING = 1e-5
"""A mean over images may be so far from the difference of the accuracies in trials.csv."""
EXACT, BOUND = "predictions", "bound"
COLUMNS = [
    *KEY, "n", "images", "difference", "error_seeds", "error_images", "error", "df", "low", "high", "from",
]  # fmt: skip
NOTE = (
    "Differences in {metric}, in points, under each a 95\u00a0% interval for other seeds and other {split} "
    "images of the same kind at once. All seeds are judged by the same images; the intervals of the verdicts "
    "speak of other seeds on these images alone. The model is that of two crossed random effects, seeds and "
    "images: the variance is what seeds spread, plus what the images spread by the paired predictions of "
    "both arms, less what both have in them; degrees of freedom as Hillis (2007). Each interval stands by "
    "itself. Where predictions of single images are not kept, it is a bound from error rates, and too wide."
)


def section(evidence: Evidence) -> Section:
    """Give each contrast an interval over seeds and images; empty where images differ by seed."""
    judged, reading = evidence.main, evidence.main_reading
    split, _, measure = judged.family.metric.partition("_")
    overlapping = judged.seeds is not None and judged.seeds["overlap"].any()
    if judged.seeds is None or measure != "accuracy" or overlapping:
        return Section(NAME, TITLE)
    doubts: list[str] = []
    both = table(reading, judged, doubts)
    if both.empty:
        return Section(NAME, TITLE)
    columns = [
        Column("data set", "dataset"),
        Column("contrast", contrast_cell, show="long"),
        Column(f"{judged.unit}s", "n", numeric=True, show="wide"),
        Column("difference", difference_cell, numeric=True),
        Column(f"error of {judged.unit}s", _error("error_seeds"), numeric=True, show="wide"),
        Column("of images", _error("error_images"), numeric=True, show="wide"),
        Column("of both", _error("error"), numeric=True, show="wide"),
        Column("images from", "from", show="wide"),
    ]
    note = NOTE.format(metric=spaced(judged.family.metric), split=split)
    rows = rows_of(columns, both.to_dict("records"))
    words = [" ".join([*_words(both, judged), *doubts])]
    return Section(NAME, TITLE, words, [Table(NAME, TITLE, note, columns, rows, both, searched=True)])


def table(reading: ReportData, judged: Verdicts, doubts: list[str]) -> pd.DataFrame:
    """Return COLUMNS, a row for each contrast of at least two seeds on a data set whose images are counted.

    `doubts` gets a sentence for each data set whose predictions cannot be read; its rows are bounds.
    """
    split = judged.family.metric.partition("_")[0]
    rows: list[dict[str, Any]] = []
    for dataset in judged.datasets:
        here = judged.table[judged.table["dataset"].eq(dataset) & judged.table["n"].gt(1)]
        images = images_of(reading, split, list(reading.finished(dataset)["trial_id"]), dataset)
        if here.empty or not images:
            continue
        contrasts = here.to_dict("records")
        try:
            counted = right_differences(reading, judged, dataset, contrasts)
        except UsageError as error:
            counted = {}
            doubts.append(f"On {dataset} images are bounded: {reading.reason(error)}.")
        rows += [_row(row, judged, counted.get(place), images) for place, row in enumerate(contrasts)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(row: Row, judged: Verdicts, x: NDArray[np.float32] | None, images: int) -> dict[str, Any]:
    """Make the row of a contrast, exact if its images are known and give the difference that was judged."""
    ends = stats.difference_limits(judged.family.metric)
    exact = x is not None and abs(float(x.mean(dtype=float)) - row["difference"]) < ROUNDING
    if x is not None and exact:
        found = stats.crossed_interval(x, within=ends)
    else:
        seeds = seeds_of(judged, row)
        errors = 2 - float(seeds["value"].mean()) - float(seeds["reference_value"].mean())
        differences = stats.block_means(seeds, KEY, ["difference"])["difference"].to_numpy(dtype=float)
        found = stats.bounded_interval(differences, errors, images, within=ends)
    told = found.rename(columns={"seeds": "n"}).to_dict("records")[0]
    numbers = {str(name): value for name, value in told.items()}
    return {**{name: row[name] for name in KEY}, **numbers, "from": EXACT if exact else BOUND}


def seeds_of(judged: Verdicts, row: Row) -> pd.DataFrame:
    """Select the seeds that a contrast was judged by, in order: `Verdicts.seeds`, those with a difference."""
    if judged.seeds is None:
        return pd.DataFrame(columns=["seed", "value", "reference_value", "difference"])
    mine = judged.seeds["difference"].notna()
    for name in KEY:
        mine &= judged.seeds[name].eq(row[name])
    return judged.seeds[mine]


def right_differences(
    reading: ReportData, judged: Verdicts, dataset: str, contrasts: Sequence[Row]
) -> dict[int, NDArray[np.float32]]:
    """Subtract what the reference gets right from what the arm gets right, image by image.

    Args:
        reading: the trials that were judged.
        judged: their verdicts.
        dataset: the data set of the contrasts.
        contrasts: rows of `Verdicts.table`.

    Returns:
        The place of a contrast -> (seeds, images), each a mean over the cells of the contrast. Where blocks
        of seeds chose, a row is a block. A contrast has none where it cannot be told which cells were
        averaged.

    Raises:
        UsageError: predictions of the split were not kept, or are missing or damaged; trials were judged by
            different images; or there are too many numbers.
    """
    split: Any = judged.family.metric.partition("_")[0]
    weights, seeds = _weights(reading, judged, dataset, contrasts)
    if len(weights) > MOST_TRIALS:
        raise UsageError(
            f"{len(weights):,} trials are too many to read the predictions of, {MOST_TRIALS:,} at most"
        )
    found: dict[int, NDArray[np.float32]] = {}
    index: NDArray[np.int64] | None = None
    for stack in _stacks(reading, dataset, split, weights):
        if index is None:
            index = stack.index
            if sum(seeds.values()) * len(index) > MOST:
                raise UsageError("there are too many contrasts, seeds and images to count them one by one")
            found = {place: np.zeros((n, len(index)), np.float32) for place, n in seeds.items()}
        if not np.array_equal(index, stack.index):
            raise UsageError("trials were judged by different images")
        right = np.equal(stack.predicted, stack.label)
        for k, trial_id in enumerate(stack.trial_ids):
            for place, seed, weight in weights.get(trial_id, []):
                found[place][seed] += np.float32(weight) * right[k]
    return found


def _stacks(
    reading: ReportData, dataset: str, split: Split, wanted: Mapping[str, object]
) -> Iterator[predictions.Predictions]:
    """Yield the predictions of the stacks that have a wanted trial."""
    trials = reading.finished(dataset)
    for group in dict.fromkeys(trials.loc[trials["trial_id"].isin(wanted), "group"].astype(str)):
        yield predictions.read(predictions.file_of(reading.results, group), split)


def _weights(
    reading: ReportData, judged: Verdicts, dataset: str, contrasts: Sequence[Row]
) -> tuple[dict[str, list[tuple[int, int, float]]], dict[int, int]]:
    """Say which trial counts in which contrast's seed, and how much; and how many seeds a contrast has."""
    weights: dict[str, list[tuple[int, int, float]]] = {}
    seeds: dict[int, int] = {}
    if "group" not in reading.trials:
        raise UsageError("trials.csv does not say which stack a trial was in")
    for place, row in enumerate(contrasts):
        mine = seeds_of(judged, row)
        units, names = pd.factorize(mine[stats.BLOCK if stats.BLOCK in mine else "seed"])
        order = dict(zip(mine["seed"], units, strict=True))
        pair = _averaged(reading, judged, dataset, row, list(order))
        for side, sign in zip(pair, (1, -1), strict=False):
            seeds[place] = len(names)
            for trial_id, seed in zip(side["trial_id"], side["seed"], strict=True):
                unit = int(order[seed])
                share = sign / row["cells"] / int((units == unit).sum())
                weights.setdefault(str(trial_id), []).append((place, unit, share))
    return weights, seeds


def _averaged(
    reading: ReportData, judged: Verdicts, dataset: str, row: Row, seeds: Sequence[object]
) -> list[pd.DataFrame]:
    """Select the trials of arm and reference in the cells that both have with all seeds.

    Nothing is selected where these are not as many cells as were averaged.
    """
    within = next((levels.within for levels in judged.family.levels if levels.axis == row["axis"]), [])
    others = [axis for axis in reading.axes if row["axis"] and axis not in {row["axis"], *within}]
    pair = [side[side["seed"].isin(seeds)] for side in sides(reading.finished(dataset), judged.family, row)]
    cells = [list(map(tuple, side[others].astype(str).to_numpy().tolist())) for side in pair]
    counted = [Counter(side) for side in cells]
    whole = {cell for cell, n in counted[0].items() if n == len(seeds) == counted[1][cell]}
    if len(whole) != row["cells"]:
        return []
    return [side[[cell in whole for cell in mine]] for side, mine in zip(pair, cells, strict=True)]


def _words(both: pd.DataFrame, judged: Verdicts) -> Iterator[str]:
    """Say how many verdicts would not stand for other images, and how large their part is."""
    joined = both.merge(judged.table[[*KEY, "low", "high"]], on=KEY, suffixes=("", "_seeds"))
    apart = joined["low_seeds"].gt(0) | joined["high_seeds"].lt(0)
    open_now = joined["low"].le(0) & joined["high"].ge(0)
    several, lost = int(apart.sum()), int((apart & open_now).sum())
    yield (
        f"{several} of {count(len(joined), 'interval')} over {judged.unit}s "
        f"{'excludes' if several == 1 else 'exclude'} 0; "
        f"{lost} of them {'has' if lost == 1 else 'have'} 0 in the interval over {judged.unit}s and images."
    )
    share = (joined["error_images"] ** 2 / joined["error"] ** 2).where(joined["from"].eq(EXACT)).dropna()
    if len(share):
        low, high = whole_percent(share.min()), whole_percent(share.max())
        yield (
            f"Of the variance of a difference, the limited {judged.family.metric.partition('_')[0]} set has "
            f"{between([low, high])}."
        )


def _error(name: str) -> Any:
    return lambda row: Cell("" if pd.isna(row[name]) else points(row[name]), key=row[name])
