"""Which figures a results folder allows, with the words that say how to read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from harness import plots, stats
from harness.plots import Panel, percent
from harness.report.reading import Reading, comparisons, rank


@dataclass(frozen=True)
class Drawn:
    """A figure with its words. `folded`: the page shows it only when asked."""

    name: str
    title: str
    caption: str
    figure: Figure
    folded: bool = False


def figures(reading: Reading) -> Iterator[Drawn]:
    """Draw what the design and the finished trials allow, the most telling figure first."""
    ranking = rank(reading)
    if reading.design == "grid":
        yield from _effects(reading)
    yield from _differences(reading)
    for dataset in reading.datasets:
        ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].notna()]
        if not ranked.empty:
            yield _arms(reading, dataset, ranked)
            yield from _confusion(reading, dataset, ranked)
    for dataset in reading.datasets:
        yield from _curves(reading, dataset, ranking[ranking["dataset"].eq(dataset)])


def _effects(reading: Reading) -> Iterator[Drawn]:
    effects = stats.main_effects(reading.trials, reading.axes)
    if effects.empty:
        return
    cells = stats.effect_cells(reading.trials, reading.axes)
    caption = (
        "How far each level lies from the mean of all levels of its axis, averaged over all other choices; further apart "
        "means the choice matters more. At the right the level's mean val accuracy. " + _intervals(effects["n"])
    )
    yield Drawn(
        "effects", "Main effects", " ".join([caption, *_left_out(cells)]),
        plots.effects_figure(effects, stats.seed_effects(reading.trials, reading.axes)),
    )  # fmt: skip


def _left_out(cells: pd.DataFrame) -> Iterator[str]:
    for row in cells.to_dict("records"):
        where = f"{row['axis']} on {row['dataset']}"
        if row["empty_levels"]:
            yield f"No finished trial for {where}: {', '.join(row['empty_levels'])}."
        if row["left_out"]:
            yield (
                f"{where}: {row['left_out']} of {row['cells'] + row['left_out']} cells are left out, because not every "
                "level finished them with every seed."
            )


def _differences(reading: Reading) -> Iterator[Drawn]:
    for comparison in comparisons(reading):
        if comparison.contrasts.empty:
            continue
        caption = (
            f"Change in val accuracy from {comparison.reference}, paired by seed: the same start, batches and split. "
            f"{_intervals(comparison.contrasts['n'])} Each interval stands by itself; among many, some miss 0 by chance."
        )
        drawn = plots.differences_figure(
            comparison.contrasts, comparison.seeds, f"val accuracy minus that of {comparison.reference} (points)"
        )
        yield Drawn(f"differences-{comparison.name}", comparison.title, caption, drawn)


def _arms(reading: Reading, dataset: str, ranked: pd.DataFrame) -> Drawn:
    whole = ranked[(ranked["diverged"] + ranked["failed"]).eq(0)]
    shown = whole if not whole.empty else ranked
    done = stats.finished(reading.trials[reading.trials["dataset"].eq(dataset)], "val_accuracy")
    caption = f"Ordered by validation accuracy; test is shown beside and orders nothing. {_intervals(shown['n'])}"
    if len(shown) < len(ranked):
        caption += f" {len(ranked) - len(shown)} arms with a diverged or failed seed are in the table only."
    values = pd.DataFrame({"label": done["label"], "value": done["val_accuracy"]})
    title = f"Best and worst arms on {dataset}" if len(shown) > 1 else f"The arm on {dataset}"
    return Drawn(f"arms-{_slug(dataset)}", title, caption, plots.arms_figure(shown, values))


def _confusion(reading: Reading, dataset: str, ranked: pd.DataFrame) -> Iterator[Drawn]:
    done = reading.trials[reading.trials["dataset"].eq(dataset) & reading.trials["status"].eq("ok")]
    chosen = {"best": ranked.iloc[0], "worst": ranked.iloc[-1]} if len(ranked) > 1 else {"": ranked.iloc[0]}
    classes, matrices = reading.classes(dataset), {}
    for which, row in chosen.items():
        ids = list(done.loc[done["label"].eq(row["label"]), "trial_id"])
        counts = stats.confusion_matrix(reading.results.confusion, ids, len(classes))
        title = f"{which}: {row['label']}".removeprefix(": ")
        matrices[f"{title}\ntest {percent(row['shown_mean'], 2)}, sum over {_seeds(len(ids))}"] = counts
    if any(counts.to_numpy().sum() for counts in matrices.values()):
        caption = (
            "Test samples by true class (rows) and predicted class (columns), summed over the arm's finished seeds. "
            "Colours span the mistakes only, up to the most frequent one; right answers are grey, empty cells are 0. "
            "The arms were picked on validation."
        )
        title = f"What is taken for what on {dataset}"
        yield Drawn(f"confusion-{_slug(dataset)}", title, caption, plots.confusion_figure(matrices, classes))


def _curves(reading: Reading, dataset: str, ranking: pd.DataFrame) -> Iterator[Drawn]:
    here = reading.trials[reading.trials["dataset"].eq(dataset)]
    if not here["status"].eq("ok").any():
        return
    spreads = stats.axis_spreads(here, reading.axes) if reading.design == "grid" else pd.DataFrame({"axis": []})
    axes = list(spreads["axis"]) or (["label"] if here["label"].nunique() <= plots.MAX_LINES else [])
    for place, axis in enumerate(axes):
        if here[axis].nunique() > plots.MAX_LINES:
            continue
        panels = [_panel(reading, here, axis, "accuracy", "accuracy")]
        for objective, trials in here.groupby("objective", sort=False):
            panels.append(_panel(reading, trials, axis, str(objective), "loss"))
        of = "arm" if axis == "label" else axis
        caption = (
            "Accuracy over all, then each kind of loss on its own scale (logarithmic where it spans more than a factor of "
            "5). Solid val, dashed train; thick the mean, thin each seed, averaged over all other choices. "
            "Only trials that finished."
        )
        figure = plots.curves_figure(panels, axis)
        title = f"Learning curves by {of} on {dataset}"
        yield Drawn(f"curves-{_slug(dataset)}-{_slug(of)}", title, caption, figure, folded=place > 0)
    yield from _arm_curves(reading, here, ranking[ranking["rank"].notna()], dataset)


def _arm_curves(reading: Reading, here: pd.DataFrame, ranked: pd.DataFrame, dataset: str) -> Iterator[Drawn]:
    """Single arms, train against val: the three best and, of more than six, the three worst."""
    ends = [ranked.head(3), ranked.tail(3)] if len(ranked) > 6 else [ranked.head(3)]
    panels = []
    for end in ends:
        trials = [here[here["label"].eq(label)] for label in end["label"]]
        panels += [_panel(reading, arm, "split", arm["label"].iloc[0], "accuracy") for arm in trials]
        panels += [_panel(reading, arm, "split", "", "loss") for arm in trials]
    if panels:
        which = "the best and the worst arms" if len(ends) > 1 else "the best arms"
        caption = (
            "Train against val for single arms, accuracy above loss, three arms side by side"
            + (": the best, then the worst" if len(ends) > 1 else "")
            + ". Thick the mean, thin each seed. A val curve that turns away from train shows overfitting."
        )
        figure = plots.curves_figure(panels, "split", columns=min(3, len(ends[0])))
        name = f"curves-{_slug(dataset)}-best-and-worst"
        yield Drawn(name, f"Learning curves of {which} on {dataset}", caption, figure, folded=len(ranked) > 1)


def _panel(reading: Reading, trials: pd.DataFrame, hue: str, title: str, metric: str) -> Panel:
    by = [] if hue == "split" else [hue]
    table = stats.mean_curves(reading.results.epochs, trials, by, metric)
    objective = ", ".join(dict.fromkeys(trials["objective"]))
    return Panel(title, "accuracy" if metric == "accuracy" else f"{objective} loss", table)


def _intervals(n: pd.Series[int]) -> str:
    """How to read points and bars, given how many seeds each bar rests on."""
    if n.max() < 2:
        return "Points are single seeds; with one seed there is no interval."
    count = str(n.max()) if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"Points are single seeds, bars 95\u00a0% Student-t intervals over {count} seeds."


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _slug(name: str) -> str:
    """A name fit for a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"
