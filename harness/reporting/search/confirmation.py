"""A search's winner and the baseline, trained again with fresh seeds, and the optimism of the search."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.reporting import verdict_text, verdict_views
from harness.reporting.arm_tables import arms
from harness.reporting.model import Section
from harness.reporting.search.data import confirmed_number
from harness.reporting.search.tables import value_words
from harness.results import finalists
from harness.settings.schema import CONFIRMED
from harness.text import hundredths, interval, ordinal, points, significant, spaced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.reporting.search.data import SearchData
    from harness.study.searches import Objective

NOT_YET = (
    "The winner is not confirmed yet: its number above is the best of many, on the images it was chosen by. "
    "When the search is over, it trains winner and baseline again with fresh seeds and opens test once."
)
NOT_BY_ITSELF = (
    "The winner is not confirmed: its number above is the best of many, on the images it was chosen by. "
    "`harness search STUDY --results` with this folder trains winner and baseline again with fresh seeds "
    "and opens test once."
)
PAGE = (
    "Both arms with the seeds of the study, which had no part in the choice; test was opened for these "
    "trials alone. `harness report` of the folder {}/ draws their curves and mistakes."
)
COMPARED = "Both arms"


def answers(search: SearchData) -> list[list[str]]:
    """State the result of the confirmation in paragraphs, or that the winner is not confirmed yet."""
    judged = search.judged
    if search.confirmed is None or judged is None:
        return [[_not_yet(search), *search.doubts]]
    paragraphs = verdict_text.answers(search.confirmed, judged)
    if not paragraphs:
        return [["Winner and baseline are being trained with fresh seeds; no trial has finished yet."]]
    return [*paragraphs, list(flattered(search))]


def _not_yet(search: SearchData) -> str:
    """Say that nothing is confirmed yet; what an Optuna study outside asked for, nobody confirms unasked."""
    return NOT_BY_ITSELF if search.settings.own else NOT_YET


def section(search: SearchData) -> Section | None:
    """Show the verdict on test, the two arms, and the winner's objective; None without a winner."""
    judged = search.judged
    title = "The winner against the baseline, with fresh seeds"
    if search.confirmed is None and search.chosen is None and not search.doubts:
        return None
    if search.confirmed is None or judged is None:
        not_yet = [] if search.chosen is None else [_not_yet(search)]
        return Section("confirmation", title, [*not_yet, *search.doubts], opened=True)
    tables = [] if judged.table.empty else [verdict_views.table(judged), *verdict_views.alike_table(judged)]
    tables.append(replace(arms(search.confirmed), name="confirmed", title=COMPARED))
    drawn = list(verdict_views.draw(judged))
    words = [" ".join(flattered(search)), PAGE.format(CONFIRMED)]
    return Section("confirmation", title, words, tables, drawn, opened=True)


def flattered(search: SearchData) -> Sequence[str]:
    """Compare the winner's objective in the search, a maximum, with that of fresh seeds."""
    number, best = confirmed_number(search), search.chosen
    if number is None or best is None:
        strange = f"The settings of {CONFIRMED}/ match no suggestion of this search."
        return [strange, "Run the search again to confirm its best."]
    sentences = []
    if number != best["number"]:
        sentences = [
            f"Suggestion {number} was confirmed; {best['arm']} has since become the best and is not.",
            "Run the search again.",
        ]
    fresh = _fresh(search, number)
    return sentences if fresh.empty else [*sentences, *_compared(search, fresh.iloc[0].to_dict(), number)]


def _fresh(search: SearchData, number: int) -> pd.DataFrame:
    """Compare the winner's objective in the search with the fresh seeds; an empty table without any."""
    if search.confirmed is None:
        return pd.DataFrame()
    return finalists.optimism(number, search.confirmed.trials, search.suggestions, search.settings)


def _compared(search: SearchData, row: Mapping[Any, Any], number: int) -> list[str]:
    objective = search.objective
    seeds = "one seed" if search.seeds == 1 else f"a mean of {search.seeds} seeds"
    ends = hundredths if objective.is_accuracy else significant
    spread = interval({"low": row["fresh_low"], "high": row["fresh_high"], "n": row["n"]}, ends)
    worse = row["optimism"]
    out = (
        f"In the search suggestion {number} had {spaced(objective.name)} "
        f"{value_words(objective, row['searched'])} ({seeds} each, the "
        f"{_place(search, row['searched'])} such numbers); with fresh seeds its mean is "
        f"{value_words(objective, row['fresh'])} ({spread}), "
        f"{_step(objective, worse)}"
    )
    if worse <= 0:
        return [f"{out}.", "Here the choice of the best was not too optimistic."]
    maybe = ", so perhaps not at all" if row["low"] <= 0 else ""
    size = "" if math.isnan(row["low"]) else (
        f": the search flattered it by that much ({_signed(objective, row['low'])} to "
        f"{_signed(objective, row['high'])}{maybe})")  # fmt: skip
    return [f"{out}{size}.", "The best of many noisy numbers is too optimistic; believe the fresh one."]


def _place(search: SearchData, value: float) -> str:
    """Say which of the complete suggestions' values this one is: "highest of 32", "2nd highest of 32"."""
    values, maximize = search.complete["value"], search.objective.maximize
    place = 1 + int((values.gt(value) if maximize else values.lt(value)).sum())
    extreme = "highest" if maximize else "lowest"
    return f"{extreme if place == 1 else f'{ordinal(place)} {extreme}'} of {len(values)}"


def _step(objective: Objective, worse: float) -> str:
    """Say how far a value is from the one of the search: "0.46 points worse", "the same"."""
    size = _size(objective, worse)
    return "the same" if size == _size(objective, 0.0) else f"{size} {'worse' if worse > 0 else 'better'}"


def _size(objective: Objective, difference: float) -> str:
    return f"{points(abs(difference))} points" if objective.is_accuracy else f"{abs(difference):.3g}"


def _signed(objective: Objective, difference: float) -> str:
    return points(difference) if objective.is_accuracy else significant(difference)
