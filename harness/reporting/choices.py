"""The choices of a grid or of a one-factor study: sentences with their doubts, tables, figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness import plots, stats
from harness.reporting import comparison_charts
from harness.reporting.arm_figures import gap, intervals
from harness.reporting.contrasts import EXPLORATORY
from harness.reporting.data import ReportData, against_baseline, rank
from harness.reporting.model import Cell, Column, Figure, Table, difference_cell, rows_of, share_cell, slug
from harness.text import count, hundredths, interval, joined, p_value, percent, points, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

ALPHA = 0.05  # of a single test that no family corrects
VAL = "val_accuracy"
BASELINE = "Each arm against the baseline"
DIFFERENCES = (
    "Change in val accuracy from the baseline, paired by seed: the same start, batches and split. At the "
    "right, the mean change in points. Each interval stands by itself; among many, some miss 0 by chance."
)
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


def answers(reading: ReportData) -> list[list[str]]:
    """Describe the results: a paragraph for each data set, the most important sentence first."""
    status = reading.trials["status"]
    if not status.eq("ok").any():
        ended = {state: int(status.eq(state).sum()) for state in stats.OUTCOMES}
        ended["not trained yet"] = len(status) - sum(ended.values())
        states = ", ".join(f"{n} {state}" for state, n in ended.items() if n)
        return [["No trial has finished, so there is nothing to conclude.", f"Planned trials: {states}."]]
    ranking = rank(reading)
    here = {dataset: ranking[ranking["dataset"].eq(dataset)] for dataset in reading.datasets}
    return [
        [*_choices(reading, name), *_best(reading, table, name), *_interplay(reading, table, name)]
        for name, table in here.items()
    ]


def _choices(reading: ReportData, dataset: str) -> Iterator[str]:
    if reading.trials["val_accuracy"].notna().sum() == 0:
        yield (
            f"On {dataset} there is no validation accuracy (val_fraction = 0), so no arm is ranked or called "
            "the best: nothing is chosen on test."
        )
    elif reading.design == "grid":
        trials = reading.of(dataset)
        yield from _share_words(trials, reading.axes, dataset)
        yield from _spread_words(reading.spreads, dataset)
    else:
        comparison = against_baseline(reading)
        if comparison is not None:
            yield from _contrast_words(comparison[0], dataset)


def _share_words(trials: pd.DataFrame, axes: Sequence[str], dataset: str) -> Iterator[str]:
    """Give the share of variance that each choice explains, by ANOVA, and the part of the grid it covers."""
    table = stats.anova(trials, axes, "val_accuracy")
    terms = table.set_index("term")
    shares = terms["share"]
    mains = table[table["term"].isin(axes)].sort_values("share", ascending=False, kind="stable")
    if mains.empty or mains["share"].isna().any():
        return
    (_, first), *others = mains.iterrows()
    chance = "" if first["p"] <= ALPHA else ", no more than chance may give"
    df = f"{int(first['df'])}, {int(terms['df']['rest'])}"
    test = "" if math.isnan(first["F"]) else f" (F({df}) {first['F']:.3g}, p {p_value(first['p'])}{chance})"
    yield (
        f"Exploratory: on {dataset} the {first['term']} has the largest share of the variance of val "
        f"accuracy, {percent(first['share'])}{test}."
    )
    rest = [f"the {row['term']} {percent(row['share'])}" for _, row in others]
    pairs = float(shares[shares.index.str.contains(":", regex=False)].sum())
    rest += [f"interactions of two choices {percent(pairs)} together"] if others else []
    rest += [f"the seed {percent(shares['seed'])}"] if "seed" in shares else []
    rest.append(f"everything else {percent(shares['rest'])}")
    yield f"The other shares: {', '.join(rest)}."
    left = stats.anova_cells(trials, axes, "val_accuracy").iloc[0]
    if left["left_out"]:
        levels = f" (all with {', '.join(left['left_out_levels'])})" if left["left_out_levels"] else ""
        trials_left = f"{left['left_out']} of {len(trials)} trials{levels}"
        yield f"These shares leave out {trials_left}, since they need a grid without holes."


def _spread_words(spreads: pd.DataFrame, dataset: str) -> Iterator[str]:
    here = spreads[spreads["dataset"].eq(dataset)].to_dict("records")
    if not here:
        return
    first, rest = here[0], here[1:]
    doubt = ", though no more than seeds do" if first["low"] <= 0 else ""
    yield (
        f"The levels of the {first['axis']} are furthest apart{doubt}: averaged over everything else, val "
        f"accuracy goes from {percent(first['worst_mean'])} ({first['worst']}) to "
        f"{percent(first['best_mean'])} ({first['best']}), {points(first['spread'])} points "
        f"({interval(first)}); both levels were picked by these numbers."
    )
    if rest:
        others = [f"the {row['axis']} ({points(row['spread'])} points, {span(row)})" for row in rest]
        yield f"Next {'is' if len(rest) == 1 else 'are'} {', '.join(others)}."
    close = [f"the {row['axis']}" for row in rest if row["high"] >= first["low"]]
    if close:
        axes = joined([f"the {first['axis']}", *close])
        yield f"The order of {axes} is open: their intervals overlap."


def _contrast_words(contrasts: pd.DataFrame, dataset: str) -> Iterator[str]:
    here = contrasts[contrasts["dataset"].eq(dataset)]
    if here.empty:
        yield f"On {dataset} no arm finished a seed that the baseline finished too."
        return
    row = here.iloc[int(here["difference"].abs().to_numpy().argmax())]
    clear = (here["low"] > 0) | (here["high"] < 0)
    excludes_zero = row["low"] > 0 or row["high"] < 0
    yield (
        f"Exploratory: on {dataset} the largest change from the baseline is {row['label']}: "
        f"{points(row['difference'], sign=True)} points of val accuracy ({interval(row)})."
    )
    if row["n"] > 1 and not excludes_zero and not math.isnan(row["low"]):
        yield "Its interval contains 0: with these seeds it cannot be distinguished from no change."
    elif excludes_zero and len(here) > 1:
        yield (
            f"{clear.sum()} of {len(here)} such differences have an interval that excludes 0 (each by "
            "itself, uncorrected)."
        )


def _best(reading: ReportData, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    ranked = ranking[ranking["rank"].notna()]
    if ranked.empty:
        if not ranking["ok"].any():  # otherwise _choices said that there is no validation accuracy
            yield f"On {dataset} no trial has finished."
        return
    best = ranked.iloc[0]
    among = f"The best of {len(ranked)} arms by validation" if len(ranked) > 1 else "The only arm"
    test = percent(best["shown_mean"], 2) if best["shown_n"] else "not evaluated"
    spoiled = int(ranking["diverged"].sum())
    yield (
        f"{among}: {best['label']}, val {percent(best['mean'], 2)} ({interval(best, hundredths)}), "
        f"test {test}."
        + (f" {count(spoiled, 'trial')} of {ranking['planned'].sum()} diverged." if spoiled else "")
    )
    yield from gap(reading, dataset, str(best["label"]))


def _interplay(reading: ReportData, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    """Warn if the best arm of a grid does not consist of the levels that are best on average."""
    ranked = ranking[ranking["rank"].eq(1)]
    if reading.design != "grid" or ranked.empty:
        return
    trials = reading.of(dataset)
    arm = trials[trials["label"].eq(ranked["label"].iloc[0])].iloc[0]
    spreads = reading.spreads[reading.spreads["dataset"].eq(dataset)].to_dict("records")
    other = [row for row in spreads if arm[row["axis"]] != row["best"]]
    if other:
        its = " and its ".join(f"{row['axis']} is {arm[row['axis']]}" for row in other)
        best = " and ".join(row["best"] for row in other) + (" does" if len(other) == 1 else " do")
        yield f"Its {its}, though {best} best on average: the effect of a choice may depend on the others."


def tables(reading: ReportData) -> Iterator[Table]:
    """Make the tables that show which choice matters, by design."""
    spreads = reading.spreads
    if reading.design == "grid" and not spreads.empty:
        yield _spreads(spreads)
    comparison = against_baseline(reading)
    if comparison is not None:
        yield _contrasts(reading, comparison[0])


def _spreads(spreads: pd.DataFrame) -> Table:
    columns = [
        Column("data set", "dataset"),
        Column("choice", "axis"),
        Column("best", lambda row: Cell(row["best"], percent(row["best_mean"]))),
        Column("worst", lambda row: Cell(row["worst"], percent(row["worst_mean"]))),
        Column("spread (points)", lambda r: Cell(points(r["spread"]), span(r), r["spread"]), numeric=True),
        Column("share", lambda row: share_cell(row["share"]), numeric=True),
    ]
    note = (
        f"{EXPLORATORY} Mean val accuracy of the best and the worst level of each choice, over all other "
        "choices; under each spread its 95\u00a0% interval. The two levels were picked by the same numbers: "
        "a choice without any effect still shows a small spread. Share: the part of the variance between "
        "trials that the choice alone explains (eta squared); the rest is other choices, interactions, and "
        "seeds."
    )
    rows = rows_of(columns, spreads.to_dict("records"))
    return Table("choices", "Which choice matters", note, columns, rows)


def _contrasts(reading: ReportData, contrasts: pd.DataFrame) -> Table:
    pairs = contrasts[["arm", "reference"]].drop_duplicates()
    test = stats.contrasts(reading.trials, pairs, "test_accuracy", "label")
    by = ["dataset", "arm", "reference"]
    columns = [Column("data set", "dataset"), Column("arm", "label"), Column("against", "reference")]
    columns += [Column("val (points)", difference_cell, numeric=True)]
    columns += [Column("test (points)", lambda row: difference_cell(row, "{}_test"), numeric=True)]
    both = contrasts.merge(test, on=by, how="left", suffixes=("", "_test"))
    note = (
        f"{EXPLORATORY} Differences in accuracy, paired by seed, under each its 95\u00a0% interval; each "
        "interval stands by itself."
    )
    rows = rows_of(columns, both.to_dict("records"))
    return Table("baseline", BASELINE, note, columns, rows, searched=True)


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw effects and shares of variance of a grid, or the arms of other studies against the baseline."""
    if reading.design == "grid":
        yield from _effects(reading)
        yield from _terms(reading)
    elif reading.design != "ladder":
        yield from _differences(reading)


def _effects(reading: ReportData) -> Iterator[Figure]:
    effects = stats.main_effects(reading.trials, reading.axes)
    if not effects.empty:
        left = _left_out(stats.effect_cells(reading.trials, reading.axes))
        caption = " ".join([EXPLORATORY, EFFECTS, intervals(effects["n"]), *left])
        seeds = stats.seed_effects(reading.trials, reading.axes)
        figure = plots.effects_figure(effects, seeds)
        chart = comparison_charts.effects(effects, seeds)
        yield Figure("effects", "Main effects", caption, figure, chart=chart)


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


def _differences(reading: ReportData) -> Iterator[Figure]:
    comparison = against_baseline(reading)
    if comparison is not None and not comparison[0].empty:
        caption = f"{EXPLORATORY} {DIFFERENCES} {intervals(comparison[0]['n'])}"
        figure = plots.differences_figure(*comparison, "val accuracy minus that of the baseline (points)")
        yield Figure("differences-baseline", BASELINE, caption, figure)
