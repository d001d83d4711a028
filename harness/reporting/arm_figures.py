"""Figures of arms: accuracies, confusion matrices and learning curves, with their captions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots, stats
from harness.data import cache
from harness.errors import MachineError, UsageError
from harness.plots import Panel
from harness.reporting import arm_charts
from harness.reporting.data import rank
from harness.reporting.model import Figure, slug
from harness.text import between, count, joined, percent, points, significant, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.reporting.data import ReportData

ARMS = "Ordered by validation accuracy; test is shown beside and orders nothing."
CONFUSION = (
    "Test samples by true class (rows) and predicted class (columns), summed over the arm's finished "
    "seeds. Colours span the mistakes only, up to the most frequent one; right answers are grey, empty "
    "cells are 0. The arms were picked on validation."
)
CURVES = (
    "Accuracy over all, then each kind of loss on its own scale (logarithmic where it spans more than a"
    " factor of 5). Solid val, dashed train; thick the mean, thin each seed, averaged over all other "
    "choices. Only trials that finished; guessing before the first epoch may lie below the accuracy "
    "axis."
)
ARM_CURVES = (
    "Train against val for single arms, loss below accuracy; thick the mean, thin each seed. Where val "
    "turns away from train, the arm overfits."
)


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw what the design and the finished trials allow, the most important figure first."""
    ranking = rank(reading)
    for dataset in reading.datasets:
        ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].notna()]
        if not ranked.empty:
            yield _arms(reading, dataset, ranked)
            yield from _confusion(reading, dataset, _unbroken(ranked))
    for dataset in reading.datasets:
        yield from _curves(reading, dataset, ranking[ranking["dataset"].eq(dataset)])


def _arms(reading: ReportData, dataset: str, ranked: pd.DataFrame) -> Figure:
    shown = _unbroken(ranked)
    done = stats.finished(reading.of(dataset), "val_accuracy")
    caption = f"{ARMS} {intervals(shown['n'])}"
    if len(shown) < len(ranked):
        left = count(len(ranked) - len(shown), "arm")
        caption += f" Not shown: {left} with a diverged or failed seed; see the table."
    values = pd.DataFrame({"label": done["label"], "value": done["val_accuracy"]})
    title = f"Arms on {dataset} by validation accuracy"
    figure = plots.arms_figure(shown, values)
    return Figure(f"arms-{slug(dataset)}", title, caption, figure, chart=arm_charts.arms(shown, done))


def _confusion(reading: ReportData, dataset: str, ranked: pd.DataFrame) -> Iterator[Figure]:
    ends = {"best: ": ranked.iloc[0], "worst: ": ranked.iloc[-1]} if len(ranked) > 1 else {"": ranked.iloc[0]}
    matrices = {
        f"{which}{row['label']}\ntest {percent(row['shown_mean'], 2)}, sum over {count(row['ok'], 'seed')}":
        arm_confusion(reading, dataset, row["label"])
        for which, row in ends.items()
    }  # fmt: skip
    if any(counts.to_numpy().sum() for counts in matrices.values()):
        figure = plots.confusion_figure(matrices, reading.classes(dataset))
        yield Figure(f"confusion-{slug(dataset)}", f"Confusion matrices on {dataset}", CONFUSION, figure)


def arm_confusion(reading: ReportData, dataset: str, label: str) -> pd.DataFrame:
    """Sum the test confusion counts of an arm over its finished seeds."""
    trials = reading.finished(dataset)
    trial_ids = list(trials.loc[trials["label"].eq(label), "trial_id"])
    return stats.confusion_matrix(reading.results.confusion, trial_ids, len(reading.classes(dataset)))


def _curves(reading: ReportData, dataset: str, ranking: pd.DataFrame) -> Iterator[Figure]:
    here = reading.of(dataset)
    if not here["status"].eq("ok").any():
        return
    axes = ["label"]
    if reading.design == "grid":
        axes = list(reading.spreads.loc[reading.spreads["dataset"].eq(dataset), "axis"]) or axes
    every = arm_charts.arm_curves(reading, dataset, ranking[ranking["rank"].notna()])
    drawable = [axis for axis in axes if here[axis].nunique() <= plots.MAX_LINES]
    for place, axis in enumerate(drawable):
        noun = "arm" if axis == "label" else axis
        panels = axis_panels(reading, here, axis)
        figure = plots.curves_figure(panels, axis)
        chart = every if axis == "label" else arm_charts.level_curves(panels, axis)
        name, title = f"curves-{slug(dataset)}-{slug(noun)}", f"Learning curves by {noun} on {dataset}"
        yield Figure(name, title, CURVES, figure, folded=place > 0, chart=chart)
    ranked = _unbroken(ranking[ranking["rank"].notna()])
    # Three arms fit side by side; with few of them, best and worst would be the same ones.
    ends = [ranked.head(3), ranked.tail(3)] if len(ranked) > 6 else [ranked.head(3)]
    panels = [panel for end in ends for panel in arm_panels(reading, here, list(end["label"]))]
    if panels:
        which = "the three best, then the three worst arms" if len(ends) > 1 else "the best arms"
        figure = plots.curves_figure(panels, "split", columns=len(ends[0]))
        title = f"Learning curves of {which} on {dataset}"
        caption = " ".join([ARM_CURVES, *gap(reading, dataset, str(ranked.iloc[0]["label"]))])
        chart = None if "label" in drawable else every  # which stands there already
        yield Figure(f"curves-{slug(dataset)}-arms", title, caption, figure, bool(drawable), chart)


def gap(reading: ReportData, dataset: str, label: str) -> Iterator[str]:
    """Compare an arm's val and train at the end, and say when its val loss was lowest."""
    trials = reading.finished(dataset)
    done = trials[trials["label"].eq(label)].dropna(subset=["val_loss"])
    if done.empty:
        return
    metrics = ("loss", "accuracy")
    gaps = done.assign(**{metric: done[f"val_{metric}"] - done[f"train_{metric}"] for metric in metrics})
    loss, accuracy = (
        stats.summarise(gaps, ["dataset"], metric, within=stats.difference_limits(metric)).iloc[0]
        for metric in metrics
    )
    signed = partial(significant, sign=True)
    train, val = (f"{done[f'{split}_loss'].mean():.3g}" for split in ("train", "val"))
    yield (
        f"At the end of {label} the train loss is {train} and the val loss {val}, a gap of "
        f"{signed(loss['mean'])}{_bracketed(loss, signed)}; val accuracy lies "
        f"{points(accuracy['mean'], sign=True)} points{_bracketed(accuracy, points)} from train's "
        f"{percent(done['train_accuracy'].mean())}."
    )
    curve = stats.mean_curves(reading.results.epochs, done, ["dataset"], "loss")
    val_curve = curve[curve["split"].eq("val")].groupby("epoch", as_index=False)["value"].mean()
    lowest, last = val_curve.loc[val_curve["value"].idxmin()], float(val_curve["epoch"].max())
    if lowest["epoch"] < last:
        epoch = f"{lowest['epoch']:.4g} of {last:.4g} epochs"
        yield f"Its val loss was lowest after {epoch}, at {lowest['value']:.3g}."
    else:
        yield "Its val loss was at its lowest at the end."


def _bracketed(row: pd.Series[Any], number: Callable[[float], str]) -> str:
    return f" ({span(row, number)})" if row["n"] > 1 else ""


def axis_panels(reading: ReportData, trials: pd.DataFrame, axis: str) -> list[Panel]:
    """Lay out accuracy by the levels of an axis, then a panel for each kind of loss."""
    panels = [Panel("accuracy", "accuracy", _table(reading, trials, axis, "accuracy"))]
    for objective, alike in trials[trials["status"].eq("ok")].groupby("objective", sort=False):
        panels.append(Panel(str(objective), "loss", _table(reading, alike, axis, "loss")))
    return panels


def arm_panels(reading: ReportData, trials: pd.DataFrame, labels: Sequence[str]) -> list[Panel]:
    """Lay out a row of accuracies, one arm in each panel, above a row of losses; coloured by `split`."""
    arms = [trials[trials["label"].eq(label)] for label in labels]
    above = [
        Panel(arm["label"].iloc[0], "accuracy", _table(reading, arm, "split", "accuracy")) for arm in arms
    ]
    below = [
        Panel("", f"loss ({arm['objective'].iloc[0]})", _table(reading, arm, "split", "loss")) for arm in arms
    ]
    return [*above, *below]


def _table(reading: ReportData, trials: pd.DataFrame, hue: str, metric: str) -> pd.DataFrame:
    by = [] if hue == "split" else [hue]
    return stats.mean_curves(reading.results.epochs, trials, by, metric)


def intervals(n: pd.Series[int]) -> str:
    """Say how to read points and bars, from the number of seeds behind each bar."""
    if n.max() < 2:
        return "Points are single seeds; with one seed there is no interval."
    seeds = between([str(n.min()), str(n.max())])
    return f"Points are single seeds, bars 95\u00a0% Student-t intervals over {seeds} seeds."


def _unbroken(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the arms whose seeds all survived, since survivors flatter; all arms if there is none."""
    unbroken = ranked[(ranked["diverged"] + ranked["failed"]).eq(0)]
    return ranked if unbroken.empty else unbroken


def draw_images(
    reading: ReportData, dataset: str, makers: Mapping[str, Callable[[], Figure]]
) -> tuple[list[Figure], list[str]]:
    """Draw the figures of a data set's images, and give a sentence for each reason why others are not shown.

    `makers`: a figure's subject -> a function that draws it, or raises a UsageError or MachineError. Nothing
    is drawn if the images would have to be downloaded.
    """
    if dataset in cache.PINS and any(state.status != "ok" for state in cache.verify(dataset)):
        absent = (
            f"the images of {dataset} are not in this machine's data cache; `harness data fetch {dataset}` "
            "brings them"
        )
        return [], [f"Not shown: {joined(list(makers))}. Reason: {absent}."]
    figures, left_out = [], dict[str, list[str]]()
    for subject, make in makers.items():
        try:
            figures.append(make())
        except (UsageError, MachineError) as error:
            left_out.setdefault(reading.reason(error), []).append(subject)
    return figures, [f"Not shown: {joined(subjects)}. Reason: {why}." for why, subjects in left_out.items()]
