"""The results of a grid or a one-factor study in sentences, each with its interval and its doubts."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.reporting.data import ReportData, against_baseline, rank
from harness.text import count, hundredths, interval, joined, p_value, percent, points, significant, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd


ALPHA = 0.05  # of a single test that no family corrects


def answers(reading: ReportData) -> list[list[str]]:
    """Describe the results: a paragraph for each data set, the most important sentence first."""
    status = reading.trials["status"]
    if not status.eq("ok").any():
        ended = {state: int(status.eq(state).sum()) for state in stats.OUTCOMES}
        ended["not trained yet"] = len(status) - sum(ended.values())
        states = ", ".join(f"{n} {state}" for state, n in ended.items() if n)
        return [["No trial has finished, so there is nothing to conclude.", f"Planned trials: {states}."]]
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


def _choices(reading: ReportData, dataset: str) -> Iterator[str]:
    """Describe the choices that matter on a data set, by design."""
    if reading.trials["val_accuracy"].notna().sum() == 0:
        yield (
            f"On {dataset} there is no validation accuracy (val_fraction = 0), so no arm is ranked or called "
            "the best: nothing is chosen on test."
        )
    elif reading.design == "grid":
        trials = reading.of(dataset)
        yield from _share_words(trials, reading.axes, dataset)
        yield from _spread_words(stats.axis_spreads(trials, reading.axes), dataset)
    else:
        comparison = against_baseline(reading)
        if comparison is not None:
            yield from _contrast_words(comparison.contrasts, dataset)


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
        yield "Its interval contains 0: with these seeds it cannot be told from no change."
    elif excludes_zero and len(here) > 1:
        yield (
            f"{clear.sum()} of {len(here)} such differences have an interval that excludes 0 (each by "
            "itself, uncorrected)."
        )


def _best(ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
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


def _interplay(reading: ReportData, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    """Warn if the best arm of a grid does not consist of the levels that are best on average."""
    ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].eq(1)]
    if reading.design != "grid" or ranked.empty:
        return
    trials = reading.of(dataset)
    arm = trials[trials["label"].eq(ranked["label"].iloc[0])].iloc[0]
    spreads = stats.axis_spreads(trials, reading.axes).to_dict("records")
    other = [row for row in spreads if arm[row["axis"]] != row["best"]]
    if other:
        its = " and its ".join(f"{row['axis']} is {arm[row['axis']]}" for row in other)
        best = " and ".join(row["best"] for row in other) + (" does" if len(other) == 1 else " do")
        yield f"Its {its}, though {best} best on average: the effect of a choice may depend on the others."


def _best_gap(reading: ReportData, ranking: pd.DataFrame, dataset: str) -> Iterator[str]:
    ranked = ranking[ranking["rank"].notna()]
    if not ranked.empty:
        yield from gap(reading, dataset, str(ranked.iloc[0]["label"]))


def gap(reading: ReportData, dataset: str, label: str) -> Iterator[str]:
    """Compare an arm's val and train at the end, and say when its val loss was lowest."""
    trials = reading.finished(dataset)
    done = trials[trials["label"].eq(label)].dropna(subset=["val_loss"])
    if done.empty:
        return
    loss, accuracy = (
        stats.summarise(
            done.assign(gap=done[f"val_{metric}"] - done[f"train_{metric}"]),
            ["dataset"],
            "gap",
            within=stats.difference_limits(metric),
        ).iloc[0]
        for metric in ("loss", "accuracy")
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
