"""The mean curves of arms for the live page: of finished trials from the folder, of others from the run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.reporting.charts import Axis, Chart, Series
from harness.results.csv_rows import TextTable
from harness.results.progress_file import WatchedArm

MOST_POINTS = 60  # of a curve
MOST_LINES = 10  # of a chart, in as many colours: the best arms by val
MOST_TEXT = 60 * 2**20  # bytes of epochs.csv that are read for the live page
COLUMNS = ("trial_id", "dataset", "arm", "loss", "group")
NUMBERS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")

ArmKey = tuple[str, str]
"""An arm by its data set and its name."""


@dataclass
class MeanCurve:
    """The mean curves of an arm, `loss` its kind of loss: `sums[number][epoch]` is the sum and the count."""

    loss: str = ""
    sums: dict[str, dict[float, tuple[float, int]]] = field(default_factory=dict)

    def add(self, number: str, epoch: float, value: float, count: int = 1) -> None:
        """Add so many trials with this mean; a number that is not finite is left out."""
        if count and math.isfinite(value):
            total, before = self.sums.setdefault(number, {}).get(epoch, (0.0, 0))
            self.sums[number][epoch] = total + value * count, before + count

    def points(self, number: str) -> list[tuple[float, float]]:
        """List (epoch, mean), thinned."""
        means = sorted((epoch, total / count) for epoch, (total, count) in self.sums.get(number, {}).items())
        if len(means) <= MOST_POINTS:
            return means
        places = {round(i * (len(means) - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)}
        return [means[place] for place in sorted(places)]

    def last(self, number: str) -> float:
        """Return the last mean; NaN without any."""
        return next(reversed([mean for _, mean in self.points(number)]), math.nan)


def of_folder(trials: TextTable, epochs: str, without: Collection[str]) -> dict[ArmKey, MeanCurve]:
    """Return the arms' mean curves of the trials in epochs.csv, but those of stacks that train now."""
    curves: dict[ArmKey, MeanCurve] = {}
    arms: dict[str, list[ArmKey]] = {}
    for trial_id, dataset, arm, loss, group in trials.only(COLUMNS).rows:
        curves.setdefault((dataset, arm), MeanCurve(loss))
        if group not in without or not group:
            arms.setdefault(trial_id, []).append((dataset, arm))
    if len(epochs) > MOST_TEXT:
        return curves
    header, *rows = (line.split(",") for line in epochs.splitlines())
    at, trial, split = header.index("epoch"), header.index("trial_id"), header.index("split")
    places = [(name, header.index(name)) for name in ("accuracy", "loss")]
    for row in rows:
        for key in arms.get(row[trial], ()):
            epoch = float(row[at])
            for name, place in places:
                if row[place]:
                    curves[key].add(f"{row[split]}_{name}", epoch, float(row[place]))
    return curves


def joined(folder: Mapping[ArmKey, MeanCurve], training: Iterable[WatchedArm]) -> dict[ArmKey, MeanCurve]:
    """Join the curves of finished trials with those of a run's.

    A run tells some evaluations only. Where it does, others are left out up to its last: a line through means
    over now these, now those seeds would jump.
    """
    curves = dict(folder)
    for arm in training:
        key, earlier = (arm.dataset, arm.arm), folder.get((arm.dataset, arm.arm), MeanCurve())
        now = curves[key] = MeanCurve(arm.loss)
        last = max((epoch for epoch in arm.epochs if epoch is not None), default=-math.inf)
        told = set(arm.epochs)
        for number in NUMBERS:
            for epoch, mean, count in zip(arm.epochs, getattr(arm, number), arm.seeds, strict=False):
                if epoch is not None and mean is not None:
                    now.add(number, epoch, mean, count)
            for epoch, (total, count) in earlier.sums.get(number, {}).items():
                if epoch in told or epoch > last:
                    now.add(number, epoch, total / count, count)
    return curves


def charts(
    curves: Mapping[ArmKey, MeanCurve], shown: Mapping[str, str], order: Sequence[ArmKey]
) -> Iterator[tuple[str, Chart]]:
    """Yield a chart of accuracy a data set, and one of each kind of loss, with a title.

    `shown` maps arms to their names on the page; `order` lists the best arms first.
    """
    split = "val" if any("val_accuracy" in curve.sums for curve in curves.values()) else "train"
    datasets = dict.fromkeys(dataset for dataset, _ in order)
    for dataset in datasets:
        on = f" on {dataset}" if len(datasets) > 1 else ""
        arms = [key for key in order if key[0] == dataset and key in curves and curves[key].sums]
        kinds = dict.fromkeys(curves[key].loss for key in arms)
        yield from _chart(f"{split} accuracy{on}", f"{split}_accuracy", arms, curves, shown)
        for kind in kinds:
            of_kind = [key for key in arms if curves[key].loss == kind]
            name = f"{split} loss ({kind}){on}" if kind else f"{split} loss{on}"
            yield from _chart(name, f"{split}_loss", of_kind, curves, shown)


def _chart(
    title: str, number: str, arms: Sequence[ArmKey], curves: Mapping[ArmKey, MeanCurve],
    shown: Mapping[str, str],
) -> Iterator[tuple[str, Chart]]:  # fmt: skip
    lines = [(key, points) for key in arms if (points := curves[key].points(number))]
    if not lines:
        return
    more = f", {MOST_LINES} best of {len(lines)} arms" if len(lines) > MOST_LINES else ""
    is_loss = number.endswith("loss")
    low = None if is_loss else min(points[len(points) // 4][1] for _, points in lines[:MOST_LINES])
    axis = Axis(title.partition(" on ")[0], log=is_loss, percent=not is_loss, low=low)
    series = [
        Series(
            shown.get(key[1], key[1]).replace(f"dataset={key[0]}, ", ""),
            [x for x, _ in points],
            [y for _, y in points],
        )
        for key, points in lines[:MOST_LINES]
    ]
    named = f"{title[0].upper()}{title[1:]} by epoch, mean over seeds so far{more}"
    yield named, Chart("lines", Axis("epoch"), axis, series)
