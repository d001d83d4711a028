"""Figures of a grid: main effects, the share of variance of each term, the largest interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import plots, stats
from harness.reporting.arm_figures import intervals
from harness.reporting.contrasts import EXPLORATORY
from harness.reporting.model import Figure, slug
from harness.text import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from harness.reporting.data import ReportData

VAL = "val_accuracy"
EFFECTS = (
    "The distance of each level from the mean of all levels of its axis, averaged over all other choices: "
    "the further apart, the more the choice matters. At the right, the level's mean val accuracy."
)


VARIANCE = (
    "The share of the variance of val accuracy between trials that each choice, each two choices together "
    "and the seed account for. Classical ANOVA with the seed as block, which is exact on a full balanced "
    "grid; the rest is interactions of three or more choices, and noise. p: an F test against that rest, "
    "uncorrected for the number of terms; it ranks terms, while single levels are judged seed by seed."
)
INTERACTION = (
    "Mean val accuracy of each combination, averaged over the other choices and seeds; below it, and as "
    "colour, the points by which it lies above (blue) or below (red) the sum of the two choices' own "
    "effects. Together this is {} of the variance on {}. Exploratory.{}"
)
MOST_TERMS = 16  # bars a data set
MOST_INTERACTIONS = 3  # heatmaps a data set
SMALLEST = 0.005  # share of variance from which an interaction is drawn at all


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw the figures of a grid; none for other designs."""
    if reading.design == "grid":
        yield from _effects(reading)
        yield from _terms(reading)


def _effects(reading: ReportData) -> Iterator[Figure]:
    effects = stats.main_effects(reading.trials, reading.axes)
    if not effects.empty:
        left = _left_out(stats.effect_cells(reading.trials, reading.axes))
        caption = " ".join([EXPLORATORY, EFFECTS, intervals(effects["n"]), *left])
        seeds = stats.seed_effects(reading.trials, reading.axes)
        yield Figure("effects", "Main effects", caption, plots.effects_figure(effects, seeds))


def _left_out(cells: pd.DataFrame) -> Iterator[str]:
    rows = cells.to_dict("records")
    for row in rows:
        if row["empty_levels"]:
            levels = ", ".join(row["empty_levels"])
            yield f"No finished trial for {row['axis']} {levels} on {row['dataset']}."
    left = [
        f"{row['left_out']} of {row['cells'] + row['left_out']} ({row['axis']} on {row['dataset']})"
        for row in rows
        if row["left_out"]
    ]
    if left:
        yield (
            "Levels are compared over the combinations of the other choices that every level finished with "
            f"every seed; left out: {', '.join(left)}."
        )


# ----------------------------------------------------------------------------------------- shares of variance


def _terms(reading: ReportData) -> Iterator[Figure]:
    if not reading.axes or not reading.trials["val_accuracy"].notna().any():
        return
    table = stats.anova(reading.trials, reading.axes, VAL)
    if table.empty or not table["share"].notna().any():
        return
    shown, folded = _ranked(table)
    left = _holes(stats.anova_cells(reading.trials, reading.axes, VAL))
    caption = " ".join([EXPLORATORY, VARIANCE, *folded, *left])
    yield Figure("variance", "Share of variance", caption, plots.variance_figure(shown))
    yield from _interactions(reading, table)


def _ranked(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Sort terms by share, seed and rest last; leave out the smallest of many interactions, and say so."""
    kind = table["term"].map(lambda term: term if term in {"seed", "rest"} else "axis")
    kind = kind.mask(table["term"].str.contains(":"), "interaction")
    words = table["term"].str.replace(":", " \u00d7 ").replace({"rest": "rest: more together, and noise"})
    last = kind.map({"axis": 0, "interaction": 0, "seed": 1, "rest": 2})
    place = table["dataset"].map({name: i for i, name in enumerate(dict.fromkeys(table["dataset"]))})
    table = table.assign(kind=kind, term=words, _last=last, _place=place, _size=-table["share"].fillna(0))
    table = table.sort_values(["_place", "_last", "_size"], kind="stable")
    rank = table.groupby(["dataset", "_last"], sort=False).cumcount()
    small = table["kind"].eq("interaction") & rank.ge(MOST_TERMS)
    left_out = [
        f"Not shown on {dataset}: {len(rows)} interactions with {percent(rows['share'].sum())} together."
        for dataset, rows in table[small].groupby("dataset", sort=False)
    ]
    return table[~small].reset_index(drop=True), left_out


def _holes(cells: pd.DataFrame) -> Iterator[str]:
    for row in cells.to_dict("records"):
        if row["left_out"]:
            levels = f", and with them {', '.join(row['left_out_levels'])}" if row["left_out_levels"] else ""
            yield (
                f"On {row['dataset']} it rests on {row['cells']} combinations with {row['seeds']} seeds; "
                f"{row['left_out']} planned trials are left out{levels}, since it needs a grid without holes."
            )


def _interactions(reading: ReportData, table: pd.DataFrame) -> Iterator[Figure]:
    pairs = table[table["term"].str.count(":").eq(1) & table["share"].ge(SMALLEST)]
    for dataset, terms in pairs.groupby("dataset", sort=False):
        trials = reading.of(str(dataset))
        largest = terms.sort_values("share", ascending=False, kind="stable")
        for place, row in enumerate(largest.head(MOST_INTERACTIONS).to_dict("records")):
            first, second = row["term"].split(":")
            more = len(largest) - MOST_INTERACTIONS
            other = f" {more} smaller ones are not drawn." if more > 0 and place == 0 else ""
            caption = EXPLORATORY + " " + INTERACTION.format(percent(row["share"]), dataset, other)
            title = f"{first} and {second} on {dataset}"
            figure = plots.interaction_figure(_cells(trials, first, second, reading.axes, title))
            yield Figure(
                f"interaction-{slug(str(dataset))}-{slug(first)}-{slug(second)}",
                f"Interaction of {first} and {second} on {dataset}", caption, figure, folded=place > 0,
            )  # fmt: skip


def _cells(trials: pd.DataFrame, first: str, second: str, axes: Sequence[str], title: str) -> plots.Cells:
    """Return means and deviations of two axes' combinations, the axis with more levels as rows."""
    if trials[first].nunique() < trials[second].nunique():
        first, second = second, first
    table = stats.interaction(trials, first, second, VAL, axes)
    rows, columns = (list(dict.fromkeys(trials[axis])) for axis in (first, second))
    mean, effect = (
        table.pivot_table(index=first, columns=second, values=value, sort=False, dropna=False)
        .reindex(index=rows, columns=columns)
        for value in ("mean", "effect")
    )  # fmt: skip
    return plots.Cells(title, first, second, mean, effect)
