"""Which figures a results folder allows, with the words that say how to read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from harness import plots, stats
from harness.plots import Panel
from harness.report.declared import EXPLORATORY
from harness.report.reading import Reading, comparisons, rank
from harness.report.words import gap
from harness.text import count, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

DIFFERENCES = (
    "Change in val accuracy from {}, paired by seed: the same start, batches and split. At the right, "
    "the mean change in points. Each interval stands by itself; among many, some miss 0 by chance."
)
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


@dataclass(frozen=True)
class Drawn:
    """A figure with its words. `folded`: the page shows it only when asked."""

    name: str
    title: str
    caption: str
    figure: Figure
    folded: bool = False


def draw(reading: Reading) -> Iterator[Drawn]:
    """Draw what the design and the finished trials allow, the most telling figure first."""
    ranking = rank(reading)
    yield from _differences(reading)
    for dataset in reading.datasets:
        ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].notna()]
        if not ranked.empty:
            yield _arms(reading, dataset, ranked)
            yield from _confusion(reading, dataset, _whole(ranked))
    for dataset in reading.datasets:
        yield from _curves(reading, dataset, ranking[ranking["dataset"].eq(dataset)])


def _differences(reading: Reading) -> Iterator[Drawn]:
    for comparison in comparisons(reading):
        if comparison.contrasts.empty:
            continue
        told = DIFFERENCES.format(comparison.reference)
        caption = f"{EXPLORATORY} {told} {intervals(comparison.contrasts['n'])}"
        xlabel = f"val accuracy minus that of {comparison.reference} (points)"
        figure = plots.differences_figure(comparison.contrasts, comparison.seeds, xlabel)
        yield Drawn(f"differences-{comparison.name}", comparison.title, caption, figure)


def _arms(reading: Reading, dataset: str, ranked: pd.DataFrame) -> Drawn:
    shown = _whole(ranked)
    done = stats.finished(reading.trials[reading.trials["dataset"].eq(dataset)], "val_accuracy")
    caption = f"{ARMS} {intervals(shown['n'])}"
    if len(shown) < len(ranked):
        left = count(len(ranked) - len(shown), "arm")
        caption += f" Not shown: {left} with a diverged or failed seed; see the table."
    values = pd.DataFrame({"label": done["label"], "value": done["val_accuracy"]})
    title = f"Arms on {dataset} by validation accuracy"
    return Drawn(f"arms-{slug(dataset)}", title, caption, plots.arms_figure(shown, values))


def _confusion(reading: Reading, dataset: str, ranked: pd.DataFrame) -> Iterator[Drawn]:
    ends = {"best: ": ranked.iloc[0], "worst: ": ranked.iloc[-1]} if len(ranked) > 1 else {"": ranked.iloc[0]}
    matrices = {
        f"{which}{row['label']}\ntest {percent(row['shown_mean'], 2)}, sum over {count(row['ok'], 'seed')}":
        arm_confusion(reading, dataset, row["label"])
        for which, row in ends.items()
    }  # fmt: skip
    if any(counts.to_numpy().sum() for counts in matrices.values()):
        figure = plots.confusion_figure(matrices, reading.classes(dataset))
        yield Drawn(f"confusion-{slug(dataset)}", f"What is taken for what on {dataset}", CONFUSION, figure)


def arm_confusion(reading: Reading, dataset: str, label: str) -> pd.DataFrame:
    """Test confusion counts of an arm, summed over its finished seeds."""
    trials = reading.trials
    chosen = trials["dataset"].eq(dataset) & trials["label"].eq(label) & trials["status"].eq("ok")
    classes = len(reading.classes(dataset))
    return stats.confusion_matrix(reading.results.confusion, list(trials.loc[chosen, "trial_id"]), classes)


def _curves(reading: Reading, dataset: str, ranking: pd.DataFrame) -> Iterator[Drawn]:
    here = reading.trials[reading.trials["dataset"].eq(dataset)]
    if not here["status"].eq("ok").any():
        return
    axes = ["label"]
    if reading.design == "grid":
        axes = list(stats.axis_spreads(here, reading.axes)["axis"]) or axes
    drawable = [axis for axis in axes if here[axis].nunique() <= plots.MAX_LINES]
    for place, axis in enumerate(drawable):
        of = "arm" if axis == "label" else axis
        figure = plots.curves_figure(axis_panels(reading, here, axis), axis)
        name = f"curves-{slug(dataset)}-{slug(of)}"
        yield Drawn(name, f"Learning curves by {of} on {dataset}", CURVES, figure, folded=place > 0)
    ranked = _whole(ranking[ranking["rank"].notna()])
    # Three arms fit side by side; with few of them, best and worst would be the same ones.
    ends = [ranked.head(3), ranked.tail(3)] if len(ranked) > 6 else [ranked.head(3)]
    panels = [panel for end in ends for panel in arm_panels(reading, here, list(end["label"]))]
    if panels:
        which = "the three best, then the three worst arms" if len(ends) > 1 else "the best arms"
        figure = plots.curves_figure(panels, "split", columns=len(ends[0]))
        title = f"Learning curves of {which} on {dataset}"
        caption = " ".join([ARM_CURVES, *gap(reading, dataset, str(ranked.iloc[0]["label"]))])
        yield Drawn(f"curves-{slug(dataset)}-arms", title, caption, figure, folded=bool(drawable))


def axis_panels(reading: Reading, trials: pd.DataFrame, axis: str) -> list[Panel]:
    """Accuracy by the levels of an axis, then a panel for each kind of loss."""
    panels = [Panel("accuracy", "accuracy", _table(reading, trials, axis, "accuracy"))]
    for objective, alike in trials[trials["status"].eq("ok")].groupby("objective", sort=False):
        panels.append(Panel(str(objective), "loss", _table(reading, alike, axis, "loss")))
    return panels


def arm_panels(reading: Reading, trials: pd.DataFrame, labels: Sequence[str]) -> list[Panel]:
    """A row of accuracies, an arm a panel, and below it a row of losses; coloured by `split`."""
    arms = [trials[trials["label"].eq(label)] for label in labels]
    above = [
        Panel(arm["label"].iloc[0], "accuracy", _table(reading, arm, "split", "accuracy")) for arm in arms
    ]
    below = [
        Panel("", f"loss ({arm['objective'].iloc[0]})", _table(reading, arm, "split", "loss")) for arm in arms
    ]
    return [*above, *below]


def _table(reading: Reading, trials: pd.DataFrame, hue: str, metric: str) -> pd.DataFrame:
    by = [] if hue == "split" else [hue]
    return stats.mean_curves(reading.results.epochs, trials, by, metric)


def intervals(n: pd.Series[int]) -> str:
    """How to read points and bars, given how many seeds each bar rests on."""
    if n.max() < 2:
        return "Points are single seeds; with one seed there is no interval."
    seeds = str(n.max()) if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"Points are single seeds, bars 95\u00a0% Student-t intervals over {seeds} seeds."


def _whole(ranked: pd.DataFrame) -> pd.DataFrame:
    """Arms without a diverged or failed seed, since survivors flatter; all of them, if there is none."""
    whole = ranked[(ranked["diverged"] + ranked["failed"]).eq(0)]
    return ranked if whole.empty else whole


def slug(name: str) -> str:
    """A name fit for a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"
