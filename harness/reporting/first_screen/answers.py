"""The answer of a page in a few sentences, by design: which choice matters, the verdicts, the best arm."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.reporting import ladder, seed_sources, tuned
from harness.reporting.contrasts import contrast
from harness.reporting.data import rank
from harness.reporting.ladder_steps import ladders
from harness.reporting.search import confirmation, constraints, finalists
from harness.reporting.search import page as search_page
from harness.reporting.verdict_text import counts, nothing_judged, sentence
from harness.settings.schema import CONFIRMED, FINALISTS
from harness.stats.verdicts import DIFFERENT, UNDECIDED
from harness.text import capitalised, count, joined, listed, percent, points, spaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence
    from harness.reporting.search.data import SearchData

    Row = Mapping[Any, Any]

FEW = 2  # contrasts that get a sentence each
FAR = 5  # margins from 0: to count the seeds that would resolve a margin is then beside the point
NAMED = 3  # undecided contrasts that are named
DATASETS = 2  # data sets that a sentence tells apart
NOTHING = "No trial has finished, so there is nothing to conclude."


def of_study(evidence: Evidence) -> Iterator[str]:
    """Answer a study's question, the most important sentence first."""
    reading = evidence.reading
    if not reading.trials["status"].eq("ok").any():
        yield NOTHING
        return
    if reading.design == "ladder":
        yield from islice(_climbs(reading), DATASETS)
        yield from _verdicts(evidence.main, tuned=evidence.tuned_verdicts is not None)
        return
    yield from islice(seed_sources.in_short(reading), DATASETS)
    mattered = list(_matters(reading)) if evidence.asks_what_matters else []
    yield from mattered
    if reading.study.phase == FINALISTS:
        yield "They are compared, and one is picked, on the page of their search."
        yield from _best(reading)
        return
    if evidence.main.table.empty:
        told = [] if seed_sources.varied(reading) else [nothing_judged(reading)]
    else:
        told = list(_verdicts(evidence.main, tuned=evidence.tuned_verdicts is not None))
    # Where choices are ranked above, the largest contrast is mostly one of them.
    yield from told[:1] if mattered and len(evidence.main.table) > FEW else told
    yield from _changed(evidence)
    yield from _best(reading)


def _matters(reading: ReportData) -> Iterator[str]:
    """Name the choice with the largest share of the variance of val accuracy on each data set."""
    if not reading.trials["val_accuracy"].notna().any():
        return
    spreads = reading.spreads
    if spreads.empty or spreads["share"].isna().all():
        return
    tables = [table for _, table in spreads.groupby("dataset", sort=False)]
    firsts = [table.sort_values("share", ascending=False, kind="stable").iloc[0] for table in tables]
    more = f"; {len(firsts) - DATASETS} more data sets below" if len(firsts) > DATASETS else ""
    shares = [
        f"{percent(row['share'])}{' of the variance of val accuracy' if place == 0 else ''}"
        for place, row in enumerate(firsts[:DATASETS])
    ]
    first = firsts[0]
    if len(firsts) == 1:
        apart = f"{first['best']} lies {points(first['spread'])} points above {first['worst']}"
        told = f"What matters most (exploratory) is the {first['axis']}: {shares[0]} ({apart})"
    elif len({row["axis"] for row in firsts}) == 1:
        where = [f"{share} on {row['dataset']}" for share, row in zip(shares, firsts, strict=False)]
        told = f"What matters most (exploratory) is the {first['axis']}: {', '.join(where)}{more}"
    else:
        where = [
            f"on {row['dataset']} the {row['axis']} ({share})"
            for share, row in zip(shares, firsts, strict=False)
        ]
        told = f"What matters most (exploratory): {', '.join(where)}{more}"
    yield f"{told}{_doubt(tables, firsts)}."


def _doubt(tables: Sequence[pd.DataFrame], firsts: Sequence[pd.Series[Any]]) -> str:
    """Say where a first choice is no more than chance, or where another one may come before it."""
    if any(row["n"] < 2 for row in firsts):
        return "; with one seed this may be chance"
    if any(row["low"] <= 0 for row in firsts):
        return "; it is no more than seeds may do"
    rivals = {
        str(other["axis"])
        for table, row in zip(tables, firsts, strict=True)
        for other in table.to_dict("records")
        if other["axis"] != row["axis"] and other["high"] >= row["low"]
    }
    return f"; {joined(sorted(rivals))} may matter as much: intervals overlap" if rivals else ""


def _verdicts(judged: Verdicts, *, tuned: bool) -> Iterator[str]:
    """Tell a small family contrast by contrast, a larger one by its counts and its largest difference."""
    rows: Sequence[Row] = judged.table.to_dict("records")
    if not rows:
        yield "No contrast can be judged."
        return
    several = len(judged.datasets) > 1
    if len(rows) <= FEW:
        for row in rows:
            near = abs(row["difference"]) <= FAR * judged.family.margin
            said = sentence(row, judged.family, seeds=near, alone=len(judged.table) == 1)
            yield f"{'Tuned, on' if tuned else 'On'} {row['dataset']} {said}"
        return
    crossed = any(row["within"] for row in rows)
    parts = [_decided(rows, word, name=not crossed, several=several) for word in DIFFERENT]
    other = [row for row in rows if row["verdict"] not in (*DIFFERENT, UNDECIDED)]
    parts += [counts(other, judged.family)] if other else []
    left = [row for row in rows if row["verdict"] == UNDECIDED]
    parts += [_undecided(left, judged, name=not crossed)] if left else []
    of = "Tuned, " if tuned else ""
    yield f"{of}{len(rows)} contrasts of {spaced(judged.family.metric)}: {'; '.join(filter(None, parts))}."
    if crossed:
        yield from _across(rows)


def _decided(rows: Sequence[Row], verdict: str, *, name: bool, several: bool) -> str:
    """Count the contrasts of a verdict, and name the one with the largest difference."""
    group = [row for row in rows if row["verdict"] == verdict]
    if not group or not name:
        return f"{len(group)} {verdict}" if group else ""
    top = max(group, key=lambda row: abs(row["difference"]))
    where = f" on {top['dataset']}" if several else ""
    most = ", most of all " if len(group) > 1 else ": "
    size = f"{points(top['difference'], sign=True)} points"
    return f"{len(group)} {verdict}{most}{contrast(top)}{where}, {size}"


def _undecided(left: Sequence[Row], judged: Verdicts, *, name: bool) -> str:
    """Count the undecided contrasts and name them, with their data sets where these differ."""
    if not name:
        return f"{len(left)} undecided"
    names = list(dict.fromkeys(_name(row, left, judged) for row in left))
    everywhere = set(names) == {contrast(row) for row in left} and len(judged.datasets) > 1
    sets = "both" if len(judged.datasets) == 2 else f"all {len(judged.datasets)}"
    where = f", alike on {sets} data sets" if everywhere else ""
    return f"{len(left)} undecided{where}: {listed(names, NAMED)}"


def _across(rows: Sequence[Row]) -> Iterator[str]:
    """Name the contrasts that are most often better, and most often worse, over all combinations."""
    verdicts: dict[str, list[str]] = {}
    for row in rows:
        verdicts.setdefault(contrast(row), []).append(row["verdict"])
    parts = []
    for word, other in (("better", "worse"), ("worse", "better")):
        top = max(verdicts, key=lambda name: verdicts[name].count(word) - verdicts[name].count(other))
        seen = verdicts[top]
        if seen.count(word):
            parts.append(
                f"most often {word}: {top} ({seen.count(word)} of {count(len(seen), 'combination')})"
            )
    if parts:
        yield f"{capitalised('; '.join(parts))}."


def _name(row: Row, rows: Sequence[Row], judged: Verdicts) -> str:
    """Name a contrast, with its data sets unless all of them have this verdict."""
    datasets = list(dict.fromkeys(other["dataset"] for other in rows if contrast(other) == contrast(row)))
    return contrast(row) if len(datasets) == len(judged.datasets) else f"{contrast(row)}, {joined(datasets)}"


def _changed(evidence: Evidence) -> Iterator[str]:
    judged = evidence.tuned_verdicts
    if judged is None:
        return
    table = tuned.both(evidence.fixed, judged)
    known = table[table["n_fixed"].gt(1) & table["n_tuned"].gt(1)]
    if len(known):
        changed = int(known["verdict_fixed"].ne(known["verdict_tuned"]).sum())
        yield f"Tuning changes the verdict of {changed} of {count(len(known), 'contrast')}."


def _best(reading: ReportData) -> Iterator[str]:
    """Name the best arm by validation on each data set."""
    ranking = rank(reading)
    best = ranking[ranking["rank"].eq(1)].to_dict("records")
    if reading.study.phase == CONFIRMED or not best or len(ranking) <= 2 * len(reading.datasets):
        return
    told = []
    for row in best[:DATASETS]:
        test = f"test {percent(row['shown_mean'])}" if row["shown_n"] else f"val {percent(row['mean'])}"
        where = f"on {row['dataset']}, " if len(reading.datasets) > 1 else ""
        told.append(f"{row['label']} ({where}{test})")
    more = f"; {len(best) - DATASETS} more below" if len(best) > DATASETS else ""
    yield f"Best arm by validation: {'; '.join(told)}{more}."


def _climbs(reading: ReportData) -> Iterator[str]:
    for one in ladders(reading):
        if one.splits:
            yield ladder.whole(one)


def of_search(search: SearchData) -> Iterator[str]:
    """Answer a search's question: the winner, its confirmation, and how much the search flattered it."""
    best, judged = search.chosen, search.judged
    if best is None:
        yield from constraints.untrained(search) or [search_page.NOTHING]
        return
    yield from finalists.leading(search, best)
    if judged is None:
        yield "It is not confirmed: that number is the best of many, on the images it was chosen by."
        return
    if judged.table.empty or not judged.table["n"].gt(0).any():
        yield "Winner and baseline are being trained with fresh seeds; no pair has finished yet."
        return
    yield from islice(_verdicts(judged, tuned=False), 1)
    yield from islice(confirmation.flattered(search), 1)
