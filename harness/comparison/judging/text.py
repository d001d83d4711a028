"""A judgement in words: how it was read, its table, its sentences, what was left out; and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness.comparison.judging.judge import Judgement
from harness.comparison.judging.observations import OF_BLOCK
from harness.comparison.judging.results_folder import FORM
from harness.errors import few
from harness.stats.power_analysis import seeds_needed
from harness.stats.verdicts import DIFFERENT, IDENTICAL, UNDECIDED
from harness.text import count, joined, p_value_column

MOST_ROWS = 40
MOST_SENTENCES = 6
MOST_LEFT_OUT = 8
FAR = 2.0
"""From so many margins on, seeds are also told that would show the difference itself."""
Row = Mapping[Any, Any]


def read_as(judgement: Judgement) -> str:
    """Say what the table was understood as, in one line."""
    seen, scale = judgement.observations, judgement.scale
    rows, words = seen.rows, seen.words
    parts = [
        f"arm = {words['arm']} ({_arms(judgement):,})",
        _paired_by(judgement),
        f"metric = {words['metric']}, {'higher' if scale.higher_is_better else 'lower'} is better",
    ]
    if words["block"]:
        parts.insert(2, f"block = {words['block']} ({rows['block'].nunique():,})")
    if len(judgement.references) == 1:
        parts.append(f"reference = {judgement.references[0]}")
    else:
        parts.append("contrasts of its study" if seen.form == FORM else "every two arms compared")
    margin = "none" if scale.margin is None else scale.size(scale.margin)
    return f"read as: {seen.form}; {'; '.join([', '.join(parts[:-1]), parts[-1]])}; margin {margin}"


def _paired_by(judgement: Judgement) -> str:
    seen = judgement.observations
    if seen.unit == "run":
        return f"unpaired ({len(seen.rows):,} runs)"
    paired_by = "seed" if seen.unit == OF_BLOCK else seen.unit
    return f"{paired_by} = {seen.words['seed']} ({seen.rows['seed'].nunique():,})"


def number(judgement: Judgement, row: Row) -> str:
    """Write how many seeds a contrast rests on; of unpaired arms, the runs of both."""
    return f"{row['n']:,}" + (f" and {row['reference_n']:,}" if judgement.observations.unit == "run" else "")


def _arms(judgement: Judgement) -> int:
    """Count the arms: those of the contrasts, and the references."""
    return len({*judgement.contrasts["arm"], *judgement.contrasts["reference"]})


def legend(judgement: Judgement) -> str:
    """Say in which units a table of contrasts is."""
    mean = {"share": "mean in %, ", "percent": "mean in %, ", "plain": ""}[judgement.scale.kind]
    unit = f" in {judgement.scale.unit}" if judgement.scale.unit else ""
    return f"{mean}difference to the reference{unit} [95 % interval]"


def headings(judgement: Judgement) -> dict[str, bool]:
    """Name the columns of the table of contrasts; and whether each holds words, not numbers."""
    block = {judgement.observations.words["block"]: True} if _blocks(judgement) else {}
    who = "arm" if len(judgement.references) == 1 else "arm vs reference"
    p = "p" if _is_single(judgement) else "p (Holm)"
    numbers = (f"{judgement.observations.unit}s", "mean", "difference", p)
    return {**block, who: True, **dict.fromkeys(numbers, False), "verdict": True}


def _is_single(judgement: Judgement) -> bool:
    """Tell whether a contrast is the only one of its family: Holm's correction leaves it as it is."""
    return len(judgement.contrasts) == 1


def _blocks(judgement: Judgement) -> bool:
    """Tell whether contrasts are of several blocks, so that each has to name its own."""
    return judgement.contrasts["block"].nunique() > 1


def cells(judgement: Judgement, row: Row) -> list[str]:
    """Write the row of a contrast."""
    scale, several = judgement.scale, _blocks(judgement)
    who = str(row["arm"]) if len(judgement.references) == 1 else f"{row['arm']} vs {row['reference']}"
    low, high = (scale.difference(row[end]) for end in ("low", "high"))
    space = "\n" if several else " "  # a column more: the screen is narrow
    span = "" if math.isnan(row["low"]) else f"{space}[{low}, {high}]"
    return [
        *([str(row["block"])] if several else []), who, number(judgement, row), scale.value(row["mean"]),
        scale.difference(row["difference"]) + span, p_value_column(row["p_holm"]), verdict(judgement, row),
    ]  # fmt: skip


def verdict(judgement: Judgement, row: Row) -> str:
    """Write a verdict; a difference that is there and too small to matter is said to be so."""
    word = str(row["verdict"])
    if word in DIFFERENT and row["within_margin"]:
        return f"{word}, within the margin"
    if word == IDENTICAL and judgement.observations.unit == "sample":
        return "the same in all samples"
    return word


def headline(judgement: Judgement) -> str:
    """Say the verdict in a few words; of several contrasts, how many have which."""
    verdicts = judgement.contrasts["verdict"]
    if len(verdicts) == 1:
        row = judgement.contrasts.to_dict("records")[0]
        words = verdict(judgement, row)
        return f"{row['arm']} against {row['reference']}: {words}."
    counts = verdicts.value_counts(sort=False)
    return f"{len(verdicts):,} contrasts: {joined([f'{n:,} {word}' for word, n in counts.items()])}."


def gate(judgement: Judgement) -> str:
    """Say the verdict that `--fail-on worse` ends by, and the first contrasts that made it so."""
    word = judgement.verdict
    rows = judgement.contrasts.to_dict("records")
    if len(rows) == 1 or judgement.exit_code == 0:
        return word
    having = [
        str(row["arm"]) + (f" on {row['block']}" if row["block"] else "")
        for row in rows
        if row["verdict"] == word and not (word == "worse" and row["within_margin"])
    ]
    return f"{word} ({few(having)})" if having else word


def sentences(judgement: Judgement) -> Iterator[str]:
    """Say each verdict in a sentence; of many contrasts, what could have been seen."""
    rows = judgement.contrasts.to_dict("records")
    if len(rows) > MOST_SENTENCES:
        yield from _power(judgement, rows)
        return
    for row in rows:
        yield sentence(judgement, row)


def sentence(judgement: Judgement, row: Row) -> str:
    """Say one contrast's verdict with its numbers, and for an open one what more seeds would tell."""
    scale, unit = judgement.scale, judgement.observations.unit
    where = f"On {row['block']}, " if row["block"] else ""
    arm, reference, n = row["arm"], row["reference"], row["n"]
    by = f"{scale.difference(row['difference'])} {scale.unit}".strip()
    if not n:
        return f"{where}{arm} cannot be compared with {reference}: no {unit} has a value of both."
    if n == 1 or row["verdict"] == "one seed":
        return f"{where}{arm} against {reference}: {by} in the only {unit}, so there is no verdict."
    ends = f"{scale.difference(row['low'])} to {scale.difference(row['high'])}"
    span = f"95 % interval {ends} over {number(judgement, row)} {unit}s"
    sure = span if not math.isnan(row["low"]) else f"the same in all {n:,} {unit}s, so no interval"
    corrected = "" if _is_single(judgement) else "corrected "
    p = f"{corrected}p {p_value_column(row['p_holm'])}"
    word = row["verdict"]
    if word in DIFFERENT:
        less = ", which is within the margin" if row["within_margin"] else ""
        by = f"{scale.difference(abs(row['difference']), sign=False)} {scale.unit}".strip()
        return f"{where}{arm} is {word} than {reference} by {by}{less} ({sure}, {p})."
    if word == IDENTICAL:
        return f"{where}{arm} and {reference} are equal in all {n:,} {unit}s."
    if word == "same within margin":
        size = scale.size(scale.margin or 0)
        return f"{where}{arm} and {reference} are the same within \u00b1{size}: {by} ({sure})."
    open_ = f"{where}it cannot be told whether {arm} differs from {reference}"
    return f"{open_}: {by} ({sure}, {p}); {more(judgement, row)}."


def more(judgement: Judgement, row: Row) -> str:
    """Say what more seeds would tell of an open contrast."""
    scale, unit = judgement.scale, judgement.observations.unit
    if math.isnan(row["detectable"]):
        return f"{unit}s that all differ by the same show no spread to plan with"
    seen = f"{row['n']:,} {unit}s show differences from {scale.size(row['detectable'])} on (80 % power)"
    if scale.margin is None:
        return f"{seen}{_as_it_looks(judgement, row)}"
    size = scale.size(scale.margin)
    if math.isnan(row["more_seeds"]):
        words = f"{seen}; to show {size} takes more than 100,000 {unit}s"
    elif row["more_seeds"] == 0:
        return f"{seen}, so it is probably smaller than {size}, but this is not shown"
    else:
        words = f"{seen}; about {row['more_seeds']:,.0f} more would show {size}"
    return f"{words}{_as_it_looks(judgement, row)}"


def _as_it_looks(judgement: Judgement, row: Row) -> str:
    """Say how many more seeds would show the observed difference, where it is well beyond the margin."""
    size, margin = abs(row["difference"]), judgement.scale.margin or 0.0
    if judgement.observations.unit not in {"seed", OF_BLOCK} or size < FAR * margin:
        return ""
    hurdle = judgement.alpha / max(int(judgement.contrasts["p"].count()), 1)  # the most that Holm asks
    missing = float(seeds_needed(size, row["sd"], hurdle)) - row["n"]
    if not missing > 0:
        return ""
    return f"; if the difference is as large as it looks, about {missing:,.0f} more would show it"


def _power(judgement: Judgement, rows: list[dict[Any, Any]]) -> Iterator[str]:
    """Say of many contrasts what could be seen, and the seeds that the open ones need."""
    sizes = sorted(row["detectable"] for row in rows if not math.isnan(row["detectable"]))
    if not sizes:
        return
    scale, unit = judgement.scale, judgement.observations.unit
    span = " to ".join(dict.fromkeys(scale.size(size) for size in (sizes[0], sizes[-1])))
    yield f"With 80 % power, these {unit}s show differences from {span} on, corrected for all contrasts."
    needed = sorted(r["more_seeds"] for r in rows if r["verdict"] == UNDECIDED and r["more_seeds"] > 0)
    if needed and scale.margin is not None:
        span = " to ".join(dict.fromkeys(f"{number:,.0f}" for number in (needed[0], needed[-1])))
        size = scale.size(scale.margin)
        yield f"About {span} more {unit}s would show {size} in {len(needed):,} of the open ones."


def left_out(judgement: Judgement) -> list[str]:
    """List the runs that were not judged, and why."""
    parts = judgement.left_out
    lines = [
        f"left out: {count(part.rows, 'row')}, {part.reason}" + (f" ({part.where})" if part.where else "")
        for part in parts[:MOST_LEFT_OUT]
    ]
    more_parts = parts[MOST_LEFT_OUT:]
    if more_parts:
        rows = sum(part.rows for part in more_parts)
        lines.append(
            f"left out: {count(rows, 'row')} more, for {len(more_parts):,} more reasons (--json has all)"
        )
    return lines


def content(judgement: Judgement) -> dict[str, Any]:
    """Give a judgement as values of one JSON object."""
    return {
        "verdict": judgement.verdict, "read_as": judgement.read_as(),
        "contrasts": judgement.contrasts.to_dict("records"), "arms": judgement.arms.to_dict("records"),
        "left_out": [{"rows": p.rows, "reason": p.reason, "where": p.where} for p in judgement.left_out],
        "notes": list(judgement.notes),
    }  # fmt: skip
