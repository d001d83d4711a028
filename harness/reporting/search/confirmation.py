"""A search's winner and the baseline, trained again with fresh seeds, and the optimism of the search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting import verdict_text, verdict_views
from harness.reporting.arm_tables import arms
from harness.reporting.model import Section
from harness.reporting.search.data import confirmed_number
from harness.reporting.search.tables import value_words
from harness.settings.schema import CONFIRMED, WINNER
from harness.text import hundredths, interval, points, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.reporting.search.data import SearchData
    from harness.study.searches import Objective

NOT_YET = (
    "The winner is not confirmed yet: its number above is the best of many, on the images it was chosen by. "
    "When the search is over, it trains winner and baseline again with fresh seeds and opens test once."
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
        return [[NOT_YET, *search.doubts]]
    paragraphs = verdict_text.answers(search.confirmed, judged)
    if not paragraphs:
        return [["Winner and baseline are being trained with fresh seeds; no trial has finished yet."]]
    return [*paragraphs, list(flattered(search))]


def section(search: SearchData) -> Section:
    """Show the verdict on test, the two arms, and the winner's objective before and after."""
    judged = search.judged
    title = "The winner against the baseline, with fresh seeds"
    if search.confirmed is None or judged is None:
        return Section("confirmation", title, [NOT_YET, *search.doubts], opened=True)
    tables = [] if judged.table.empty else [verdict_views.table(judged)]
    tables.append(replace(arms(search.confirmed), name="confirmed", title=COMPARED))
    drawn = list(verdict_views.draw(judged))
    words = [" ".join(flattered(search)), PAGE.format(CONFIRMED)]
    return Section("confirmation", title, words, tables, drawn, opened=True)


def flattered(search: SearchData) -> Sequence[str]:
    """Compare the winner's objective in the search, a maximum, with that of fresh seeds."""
    number, best = confirmed_number(search), search.best
    if number is None or best is None:
        strange = f"The settings of {CONFIRMED}/ match no suggestion of this search."
        return [strange, "Run the search again to confirm its best."]
    sentences = []
    if number != best["number"]:
        sentences = [
            f"Suggestion {number} was confirmed; {best['arm']} has since become the best and is not.",
            "Run the search again.",
        ]
    fresh = _fresh(search)
    if fresh is None:
        return sentences
    value = float(search.suggestions["value"][search.suggestions["number"].eq(number)].iloc[0])
    return [*sentences, *_compared(search, value, fresh, number)]


def _fresh(search: SearchData) -> pd.Series[Any] | None:
    """Summarise the winner's objective over the fresh seeds: a row of `stats.summarise`; None without any."""
    if search.confirmed is None or search.objective.name not in search.confirmed.trials:
        return None
    trials = search.confirmed.trials
    done = stats.finished(trials[trials["arm"].eq(WINNER)], search.objective.name)
    return None if done.empty else stats.summarise(done, ["dataset"], search.objective.name).iloc[0]


def _compared(search: SearchData, value: float, fresh: pd.Series[Any], number: int) -> list[str]:
    objective, many = search.objective, len(search.complete)
    seeds = "one seed" if search.seeds == 1 else f"a mean of {search.seeds} seeds"
    extreme = "highest" if objective.maximize else "lowest"
    mean = float(fresh["mean"])
    worse = value - mean if objective.maximize else mean - value
    spread = interval(fresh, hundredths if objective.is_accuracy else lambda number: f"{number:.4g}")
    name = spaced(objective.name)
    out = (
        f"In the search suggestion {number} had {name} {value_words(objective, value)} ({seeds} each, the "
        f"{extreme} of {many} such numbers); with fresh seeds its mean is {value_words(objective, mean)} "
        f"({spread}), {_size(objective, worse)} {'worse' if worse >= 0 else 'better'}"
    )
    if worse <= 0:
        return [f"{out}.", "Here the choice of the best was not too optimistic."]
    return [f"{out}.", f"The {extreme} of many noisy numbers is too optimistic; believe the fresh one."]


def _size(objective: Objective, difference: float) -> str:
    return f"{points(abs(difference))} points" if objective.is_accuracy else f"{abs(difference):.3g}"
