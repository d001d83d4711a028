"""What came out, in sentences that numbers back: each with its interval, each doubt said."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.report.reading import Comparison, Reading, comparisons, rank
from harness.text import count, hundredths, interval, p_value, percent, points, significant, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd


ALPHA = 0.05  # of a single test that no family corrects


def answers(reading: Reading) -> list[list[str]]:
    """Say what came out: a paragraph a data set, its sentences in order of weight, every doubt among them."""
    status = reading.trials["status"]
    if not status.eq("ok").any():
        ended = {state: int(status.eq(state).sum()) for state in stats.OUTCOMES}
        ended["not trained yet"] = len(status) - sum(ended.values())
        told = ", ".join(f"{n} {state}" for state, n in ended.items() if n)
        return [["No trial has finished, so there is nothing to conclude.", f"Planned trials: {told}."]]
    ranking = rank(reading)
    return [
        [
            *_choices(reading, dataset),
            *_best(ranking[ranking["dataset"].eq(dataset)], dataset),
            *_best_gap(reading, ranking[ranking["dataset"].eq(dataset)], dataset),
            *_interplay(reading, ranking, dataset),
        ]
        for dataset in reading.datasets
    ]


def _choices(reading: Reading, dataset: str) -> Iterator[str]:
    """What mattered on one data set, by design."""
    if reading.trials["val_accuracy"].notna().sum() == 0:
        yield (
            f"On {dataset} there is no validation accuracy (val_fraction = 0), so no arm is ranked or called "
            "the best: nothing is chosen on test."
        )
    elif reading.design == "grid":
        trials = reading.trials[reading.trials["dataset"].eq(dataset)]
        yield from _share_words(trials, reading.axes, dataset)
        yield from _spread_words(stats.axis_spreads(trials, reading.axes), dataset)
    else:
        for comparison in comparisons(reading):
            yield from _contrast_words(comparison, dataset)


def _share_words(trials: pd.DataFrame, axes: Sequence[str], dataset: str) -> Iterator[str]:
    """How much of the variance each choice explains, by ANOVA, and over what part of the grid."""
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
    told = [f"the {row['term']} {percent(row['share'])}" for _, row in others]
    pairs = float(shares[shares.index.str.contains(":", regex=False)].sum())
    told += [f"interactions of two choices {percent(pairs)} together"] if others else []
    told += [f"the seed {percent(shares['seed'])}"] if "seed" in shares else []
    told.append(f"all else {percent(shares['rest'])}")
    yield f"Beside it {', '.join(told)}."
    left = stats.anova_cells(trials, axes, "val_accuracy").iloc[0]
    if left["left_out"]:
        what = f" (all with {', '.join(left['left_out_levels'])})" if left["left_out_levels"] else ""
        of = f"{left['left_out']} of {len(trials)} trials{what}"
        yield f"These shares leave out {of}, for a grid without holes."


def _spread_words(spreads: pd.DataFrame, dataset: str) -> Iterator[str]:
    here = spreads[spreads["dataset"].eq(dataset)].to_dict("records")
    if not here:
        return
    first, rest = here[0], here[1:]
    told = ", not beyond what seeds do" if first["low"] <= 0 else ""
    yield (
        f"The levels spread widest along the {first['axis']}{told}: averaged over everything else, val "
        f"accuracy goes from {percent(first['worst_mean'])} ({first['worst']}) to "
        f"{percent(first['best_mean'])} ({first['best']}), {points(first['spread'])} points "
        f"({interval(first)}); both ends were picked by these numbers."
    )
    if rest:
        others = [f"the {row['axis']} ({points(row['spread'])} points, {span(row)})" for row in rest]
        yield f"Then {'comes' if len(rest) == 1 else 'come'} {', '.join(others)}."
    close = [f"the {row['axis']}" for row in rest if row["high"] >= first["low"]]
    if close:
        yield f"The order of the {first['axis']} and {' and '.join(close)} is open: their intervals overlap."


def _contrast_words(comparison: Comparison, dataset: str) -> Iterator[str]:
    here = comparison.contrasts[comparison.contrasts["dataset"].eq(dataset)]
    if here.empty:
        yield f"On {dataset} no arm finished a seed that {comparison.reference} finished too."
        return
    row = here.iloc[int(here["difference"].abs().to_numpy().argmax())]
    told = row["low"] > 0 or row["high"] < 0
    yield (
        f"Exploratory: on {dataset} the largest change from {comparison.reference} is {row['label']}: "
        f"{points(row['difference'], sign=True)} points of val accuracy ({interval(row)})."
    )
    if row["n"] > 1 and not told and not math.isnan(row["low"]):
        yield "Its interval contains 0: with these seeds it cannot be told from no change."
    elif told and len(here) > 1:
        clear = int(((here["low"] > 0) | (here["high"] < 0)).sum())
        yield (
            f"Of {count(len(here), 'such difference')}, {clear} with an interval that excludes 0 (each by "
            "itself, uncorrected)."
        )


def _best(ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    ranked = ranking[ranking["rank"].notna()]
    if ranked.empty:
        if not ranking["ok"].any():  # else they have no validation accuracy, as was said
            yield f"On {dataset} no trial has finished."
        return
    best = ranked.iloc[0]
    among = f"The best of {len(ranked)} arms by validation" if len(ranked) > 1 else "The one arm"
    test = percent(best["shown_mean"], 2) if best["shown_n"] else "not evaluated"
    spoiled = int(ranking["diverged"].sum())
    yield (
        f"{among}: {best['label']}, val {percent(best['mean'], 2)} ({interval(best, hundredths)}), "
        f"test {test}."
        + (f" {count(spoiled, 'trial')} of {ranking['planned'].sum()} diverged." if spoiled else "")
    )


def _interplay(reading: Reading, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    """Warn where the best arm of a grid is not made of the levels that are best on average."""
    ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].eq(1)]
    if reading.design != "grid" or ranked.empty:
        return
    trials = reading.trials[reading.trials["dataset"].eq(dataset)]
    arm = trials[trials["label"].eq(ranked["label"].iloc[0])].iloc[0]
    spreads = stats.axis_spreads(trials, reading.axes).to_dict("records")
    other = [row for row in spreads if arm[row["axis"]] != row["best"]]
    if other:
        its = " and its ".join(f"{row['axis']} is {arm[row['axis']]}" for row in other)
        best = " and ".join(row["best"] for row in other) + (" does" if len(other) == 1 else " do")
        yield f"Its {its}, though {best} best on average: what a choice does may depend on the others."


def _best_gap(reading: Reading, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    ranked = ranking[ranking["rank"].notna()]
    if not ranked.empty:
        yield from gap(reading, dataset, str(ranked.iloc[0]["label"]))


def gap(reading: Reading, dataset: str, label: str) -> Iterator[str]:
    """How far an arm's val lies behind its train at the end, and when its val loss was lowest."""
    trials = reading.trials
    here = trials["dataset"].eq(dataset) & trials["label"].eq(label) & trials["status"].eq("ok")
    done = trials[here].dropna(subset=["val_loss"])
    if done.empty:
        return
    loss, accuracy = (
        stats.summarise(
            done.assign(gap=done[f"val_{what}"] - done[f"train_{what}"]),
            ["dataset"],
            "gap",
            within=stats.difference_limits(what),
        ).iloc[0]
        for what in ("loss", "accuracy")
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
    """Write an interval in brackets; empty for one seed."""
    return f" ({span(row, number)})" if row["n"] > 1 else ""
