"""The verdicts of a family of contrasts in sentences, each hedged by its numbers, with every doubt."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.reporting import computation
from harness.reporting.contrasts import UNIT, arm, contrast, untrained
from harness.settings.schema import CONFIRMED
from harness.stats.verdicts import DIFFERENT, UNDECIDED
from harness.text import (
    as_word,
    between,
    capitalised,
    count,
    interval,
    joined,
    listed,
    p_value,
    percent,
    points,
    spaced,
    span,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.data import ReportData
    from harness.study.contrasts import Contrasts

    Row = Mapping[Any, Any]

FEW = 3  # contrasts of a data set that get a sentence each
NAMED = 4  # learning rates that are named
ALL = 30  # contrasts of one verdict, or without trials, that are named; more are easier to read in a table
SPENDING = {
    "obrien-fleming": "Early looks ask for much stronger evidence than the last one (O'Brien and Fleming).",
    "pocock": "All looks ask for about the same evidence (Pocock).",
}
"""How alpha is spent over the looks at a study, in a sentence."""
SHARED = (
    "Each seed has a split of its own, so seeds share val images: tests, intervals and numbers of seeds are "
    "those of Nadeau and Bengio (2003), wider than if they shared none."
)


def answers(reading: ReportData, judged: Verdicts, *, tuned: bool = False) -> list[list[str]]:
    """Describe the verdicts: a paragraph for each data set, then one on the family; none if nothing finished.

    `tuned`: the verdicts are those of tuned arms.
    """
    if not reading.trials["status"].eq("ok").any():
        return []
    if judged.table.empty:
        return [[nothing_judged(reading), *judged.doubts]]
    paragraphs = [list(_dataset(reading, judged, dataset, tuned=tuned)) for dataset in judged.datasets]
    return [*paragraphs, list(_family(reading, judged, tuned=tuned))]


def nothing_judged(reading: ReportData) -> str:
    """Say why there is no verdict."""
    arms = reading.trials.drop_duplicates("label").shape[0]
    return (
        "There is only one arm, so there is nothing to compare."
        if arms == 1
        else "No contrast can be judged."
    )


def _dataset(reading: ReportData, judged: Verdicts, dataset: str, *, tuned: bool) -> Iterator[str]:
    rows = judged.table[judged.table["dataset"].eq(dataset)].to_dict("records")
    where = f"Tuned, on {dataset}" if tuned else f"On {dataset}"
    if not any(row["n"] for row in rows):
        ended = stats.outcomes(reading.of(dataset), ["dataset"]).iloc[0]
        yield (
            f"{where} nothing can be compared: no {judged.unit} finished both sides of any of "
            f"{count(len(rows), 'contrast')} ({ended['ok']} of {count(ended['planned'], 'trial')} finished)."
        )
        return
    if len(rows) <= FEW:
        first, *rest = [sentence(row, judged.family, alone=judged.is_single) for row in rows]
        yield f"{where} {first}"
        yield from rest
    else:
        yield f"{where}, {len(rows)} contrasts: {counts(rows, judged.family)}."
        describe = _across if any(row["within"] for row in rows) else _groups
        yield from describe(rows, judged.family)
    yield from _power(rows, alone=judged.is_single)
    yield from _lost(reading, rows, judged.family)
    if not tuned:  # of the split, so it is said once
        yield from _own_error(reading, judged.family.metric, dataset)


def sentence(row: Row, family: Contrasts, *, seeds: bool = True, alone: bool = False) -> str:
    """Write one contrast's verdict as a sentence that may follow "On mnist".

    `seeds`: with the seeds that would resolve differences of the margin, if it is undecided. `alone`: it is
    the only one of its family, so that its p is not corrected.
    """
    first, second = arm(row), row["reference"]
    within = f" ({row['within']})" if row["within"] else ""
    by = f"{points(row['difference'], sign=True)} points of {spaced(family.metric)}"
    unit = unit_of(row)
    if row["n"] == 0:
        return f"{first} cannot be compared with {second}{within}: no {unit} finished both."
    if row["n"] == 1:
        return f"{first} against {second}{within}: {by} in the only {unit}, so there is no verdict."
    p = f"{'' if alone else 'corrected '}p {p_value(row['p_holm'])}"
    if row["verdict"] in DIFFERENT:
        size = f"{points(abs(row['difference']))} points of {spaced(family.metric)}"
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        sure = f"{interval({**row, 'low': low, 'high': high})}, {p}"
        less = ", which is within the margin" if row["within_margin"] else ""
        return f"{first} is {row['verdict']} than {second}{within} by {size}{less} ({sure})."
    if row["verdict"] == stats.IDENTICAL:
        return (
            f"{first} and {second} have the same {spaced(family.metric)} in all {row['n']} {unit}s{within}."
        )
    if row["verdict"] == "same within margin":
        inside = f"within {margin_words(family)}{within}"
        return f"{first} and {second} are the same {inside}: {by} ({interval(row)})."
    seen = f"{by} ({interval(row)}, {p})"
    more = f"; {_more([row], family, alone=alone)}" if seeds else ""
    return f"{first} cannot be distinguished from {second}{within}: {seen}{more}."


def unit_of(row: Row) -> str:
    """Name what a row of `Verdicts.table` counts: a seed, or a block of seeds that chose by itself."""
    return str(row.get(UNIT, "seed"))


def margin_words(family: Contrasts) -> str:
    """Write the margin within which arms count as the same."""
    return f"\u00b1{size_words(family)}"


def size_words(family: Contrasts) -> str:
    """Write a difference as large as the margin."""
    return f"{100 * family.margin:g} point{'' if family.margin == 0.01 else 's'}"


def _phrases(family: Contrasts) -> dict[str, str]:
    return {
        "better": "better",
        "worse": "worse",
        stats.IDENTICAL: "the same in all seeds",
        "same within margin": f"the same within {margin_words(family)}",
        UNDECIDED: "undecided",
        "one seed": "with one seed and so without a verdict",
        "no data": "without data",
    }


def counts(rows: Sequence[Row], family: Contrasts) -> str:
    """Count the verdicts of rows of `Verdicts.table`, in words."""
    numbers = Counter(row["verdict"] for row in rows)
    return joined([f"{numbers[name]} {phrase}" for name, phrase in _phrases(family).items() if numbers[name]])


def _across(rows: Sequence[Row], family: Contrasts) -> Iterator[str]:
    """Write a sentence for each contrast: its verdicts over the combinations of the other axes."""
    contrasts: dict[str, list[Row]] = {}
    for row in rows:
        contrasts.setdefault(contrast(row), []).append(row)
    within = " and ".join(dict.fromkeys(name for levels in family.levels for name in levels.within))
    for place, (name, cells) in enumerate(contrasts.items()):
        parts = []
        for verdict, phrase in _phrases(family).items():
            group = [row for row in cells if row["verdict"] == verdict]
            if group:
                parts.append(f"{phrase} in {len(group)}{_range(group)}")
        axes = f" of {within}" if place == 0 else ""
        yield f"{name}, in {count(len(cells), 'combination')}{axes}: {', '.join(parts)}."
    undecided = [row for row in rows if row["verdict"] == UNDECIDED]
    if undecided:
        yield f"{capitalised(_more(undecided, family))}."


def _range(rows: Sequence[Row]) -> str:
    values = sorted(row["difference"] for row in rows if row["n"])
    if not values:
        return ""
    return f" ({between([points(value, sign=True) for value in values])} points)"


def _groups(rows: Sequence[Row], family: Contrasts) -> Iterator[str]:
    """List the contrasts of each verdict by name, the largest differences first."""
    for verdict, phrase in _phrases(family).items():
        group = [row for row in rows if row["verdict"] == verdict]
        group.sort(key=lambda row: -abs(row["difference"]) if row["n"] else 0.0)
        if group:
            more = " (in the table)" if len(group) > ALL else ""
            yield f"{capitalised(phrase)}: {listed([_short(row) for row in group], ALL)}{more}."
        if verdict == UNDECIDED and group:
            yield f"{capitalised(_more(group, family))}."


def _short(row: Row) -> str:
    if not row["n"]:
        return _name(row)
    inside = ", ".join(filter(None, (span(row), inside_margin(row))))
    return f"{_name(row)} {points(row['difference'], sign=True)} points ({inside})"


def inside_margin(row: Row) -> str:
    """Say that a difference is there and within the margin; empty if not."""
    return "within the margin" if row["verdict"] in DIFFERENT and row["within_margin"] else ""


def _name(row: Row) -> str:
    return contrast(row) + (f" ({row['within']})" if row["within"] else "")


def power_words(*, alone: bool) -> str:
    """Write the power that seeds are reckoned for; `alone`: of the only contrast, so without a correction."""
    return "80\u00a0% power" if alone else "80\u00a0% power at the corrected level"


def _more(rows: Sequence[Row], family: Contrasts, *, alone: bool = False) -> str:
    """Say how many more seeds would decide the contrasts that these seeds cannot tell."""
    known = [row["more_seeds"] for row in rows if not math.isnan(row["more_seeds"])]
    more = sorted(seeds for seeds in known if seeds > 0)
    size, unit = size_words(family), unit_of(rows[0])
    if not known:
        return f"the number of {unit}s that would decide it cannot be estimated"
    if not more:
        smaller = "the difference is" if len(known) == 1 else "these differences are"
        enough = f"there are enough {unit}s to detect {size} ({power_words(alone=alone)})"
        return f"{enough}, so {smaller} probably smaller, but this is not shown"
    ends = between([f"{seeds:,.0f}" for seeds in more])
    noun = unit if ends == "1" else f"{unit}s"
    some = f" in {len(more)} of them" if len(more) < len(rows) else ""
    power = power_words(alone=alone)
    return f"about {ends} more {noun} would resolve differences of {size}{some} ({power})"


def _power(rows: Sequence[Row], *, alone: bool) -> Iterator[str]:
    known = [row for row in rows if math.isfinite(row["detectable"])]
    unit = unit_of(rows[0])
    if not known:
        several = any(row["n"] > 1 for row in rows)
        yield (
            f"The differences do not vary with the {unit}, so the size of a difference that would be missed "
            "cannot be estimated."
            if several
            else f"With a single {unit} no difference can be distinguished from chance."
        )
        return
    seeds = between([str(n) for n in sorted(row["n"] for row in known)])
    sizes = between([points(size) for size in sorted(row["detectable"] for row in known)])
    depends = ", depending on the contrast," if " to " in sizes else ""
    level = "" if alone else ", at the corrected level"
    yield (
        f"With {seeds} {unit}s and this spread, differences smaller than {sizes} points{depends} would be "
        f"missed more often than one time in five{level}."
    )


def _lost(reading: ReportData, rows: Sequence[Row], family: Contrasts) -> Iterator[str]:
    """Name the contrasts that lack trials: failed or diverged ones, and those not trained yet."""
    fewer = [row for row in rows if 0 < row["n"] < row["planned"]]
    counted = [(row, untrained(reading, family, row)) for row in fewer]
    unit = unit_of(rows[0])
    broken = [
        f"{_name(row)} on {row['n']} of {row['planned']}"
        for row, waiting in counted
        if row["n"] + waiting < row["planned"]
    ]
    if broken:
        yield f"Some planned {unit}s did not finish, and survivors may flatter: {listed(broken, ALL)}."
    early = [
        f"{_name(row)} lacks {waiting} of {count(row['planned'], unit)}"
        for row, waiting in counted
        if waiting
    ]
    if early:
        yield f"Some planned {unit}s are not trained yet, so this may change: {listed(early, ALL)}."
    holed = [row for row in rows if row["n"] and row["left_out"]]
    if holed:
        worst = max(holed, key=lambda row: row["left_out"] / (row["left_out"] + row["cells"]))
        yield (
            f"{count(len(holed), 'contrast')} left out combinations that one side did not finish, at most "
            f"{worst['left_out']} of {worst['left_out'] + worst['cells']} ({_name(worst)})."
        )


def _own_error(reading: ReportData, metric: str, dataset: str) -> Iterator[str]:
    """Give the standard error of a finite split, which seeds do not cover (sqrt(p (1 - p) / N))."""
    split, _, measure = metric.partition("_")
    done = stats.finished(reading.of(dataset), metric)
    size = images_of(reading, split, list(done["trial_id"]), dataset)
    if measure != "accuracy" or not size:
        return
    share = float(done[metric].median())
    error = math.sqrt(share * (1 - share) / size)
    yield (
        f"The limited size of the {split} set, {size:,} images, adds a standard error of {points(error)} "
        f"points at {percent(share)}, which more seeds do not reduce."
    )


def images_of(reading: ReportData, split: str, trial_ids: Sequence[str], dataset: str) -> int:
    """Count the images of a split, by the confusion counts of a finished trial, else by provenance."""
    confusion = reading.results.confusion
    here = confusion[confusion["split"].eq(split) & confusion["trial_id"].isin(trial_ids[:1])]
    facts = reading.results.provenance.get("data", {}).get(dataset, {})
    return int(here["count"].sum()) or int(facts.get(split, 0) if isinstance(facts, dict) else 0)


def _family(reading: ReportData, judged: Verdicts, *, tuned: bool) -> Iterator[str]:
    family = judged.family
    contrasts = f"{count(len(judged.table), 'contrast')} of {spaced(family.metric)}"
    if tuned:
        whose = f"The same contrasts of tuned arms are a second family of {contrasts}"
    elif family.declared and family.changed_after:
        trained = count(family.changed_after, "trial")
        whose = f"The study declared, after {trained} had been trained and could be read, {contrasts}"
    elif reading.study.phase == CONFIRMED:
        whose = f"A search judges {contrasts}: its winner against its baseline"
    elif family.declared:
        whose = f"The study declared {contrasts}"
    else:
        names = "The study file names no pairs or levels to contrast"
        whose = f"{names}, so its design's default family is judged: {contrasts}"
    where = " over all data sets" if len(judged.datasets) > 1 else ""
    alpha = f"{100 * family.alpha:g}\u00a0%"
    corrected = f"corrected {'by itself' if tuned else 'together'} (Holm, {alpha})"
    if judged.is_single:
        spent = " over all looks" if judged.look else ""
        corrected = f"at {alpha}{spent} without a correction, since it is the only one of its family"
    yield f"{whose}{where}, {corrected}; \u201cthe same\u201d is shown within {margin_words(family)} (TOST)."
    yield from _looked_at(judged)
    yield from judged.doubts
    yield question(reading, tuned=tuned)
    yield from computation.sentence(reading, judged)
    yield from computation.kinds(judged)
    if judged.seeds is not None and judged.seeds["overlap"].any():
        yield SHARED


def _looked_at(judged: Verdicts) -> Iterator[str]:
    """Say which look at a study is told, and that its numbers hold at all looks together."""
    family = judged.family
    if judged.look:
        looks = joined([str(look) for look in family.looks])
        yield (
            f"The study is looked at after {looks} seeds, until all contrasts are decided, and this is the "
            f"look at {judged.look}. {SPENDING[family.spending]} Its p values and intervals are repeated: "
            "they hold at all looks together. What is exploratory takes all trained seeds as if nobody had "
            "looked, so that its intervals do not pay for the looks."
        )
    if family.changed_after and not family.declared:
        trained = count(family.changed_after, "trial")
        yield f"Its looks or its contrasts were changed after {trained} had been trained and could be read."


def question(reading: ReportData, *, tuned: bool) -> str:
    """State the question that the verdicts answer: that of fixed settings, or of tuned ones."""
    if (tuned or reading.study.phase == "tuned") and reading.study.blocks:
        return _question_of_blocks(reading)
    if tuned or reading.study.phase == "tuned":
        seeds = len(reading.study.tuning_seeds)
        rests = f"on {count(seeds, 'tuning seed')}" if seeds else "on tuning seeds of its own"
        return (
            "They compare each arm at the settings chosen for it on val, with fresh seeds. The choice itself "
            f"rests {rests}. These intervals do not cover that another choice was possible, so a small "
            "difference may come from the choices."
        )
    if reading.study.phase == "confirmed":
        return (
            "They compare the winner of a search with the baseline at the settings that the study gives it, "
            "with seeds that chose neither. The winner was searched for and the baseline was not: the "
            "difference is what the search gained, not the effect of any one choice."
        )
    if "lr" in reading.axes:
        return "The learning rate is one of the varied choices; it was not tuned for each arm."
    rates: list[float] = list(reading.trials["lr"].dropna().unique()) if "lr" in reading.trials else []
    at = f" (lr {', '.join(map(as_word, sorted(rates)))})" if 0 < len(rates) <= NAMED else ""
    return (
        f"They compare arms at the settings given{at}, without tuning: part of any difference may come from "
        "learning rates."
    )


def _question_of_blocks(reading: ReportData) -> str:
    """State the question of arms whose settings each block of seeds chose by itself."""
    blocks = reading.study.blocks
    tuning = count(len(reading.study.tuning_seeds) // blocks, "tuning seed")
    fresh = count(reading.trials["seed"].nunique() // blocks, "fresh seed")
    return (
        f"They compare arms as they are after tuning, not at one choice: each of {blocks} blocks of seeds "
        f"chose an arm's settings on val by {tuning} of its own and trained them with {fresh}. A block is "
        "what is counted, by the mean of its seeds, so these intervals cover that another choice was "
        "possible."
    )
