"""A search's winner trained again with fresh seeds beside the baseline, and what its pick had flattered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.report import declared, verdict_views, verdicts
from harness.report.model import Section
from harness.report.search_tables import value_words
from harness.report.searched import CONFIRMED, confirmed_number
from harness.report.tables import arms
from harness.text import hundredths, interval, points, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.declared import Judged
    from harness.report.searched import Objective, Searched

NOT_YET = (
    "The winner is not confirmed yet: its number above is the best of many, on the images it was chosen by. "
    "When the search is over, it trains winner and baseline again with fresh seeds and opens test once."
)
PAGE = (
    "Both arms with the seeds of the study, none of which chose anything; test was opened for these trials "
    "alone. `harness report` of the folder {}/ draws their curves and mistakes."
)
COMPARED = "Both arms"


def answers(searched: Searched) -> list[list[str]]:
    """What the confirmation came to, as paragraphs of sentences; that there is none, where there is none."""
    judged = judge(searched)
    if searched.confirmed is None or judged is None:
        return [[NOT_YET, *searched.doubts]]
    told = verdicts.answers(searched.confirmed, judged)
    if not told:
        return [["Winner and baseline are being trained with fresh seeds; no trial has finished yet."]]
    return [*told, list(flattered(searched))]


def judge(searched: Searched) -> Judged | None:
    """The verdicts on winner and baseline; None where there is no confirmation."""
    found = searched.confirmed
    return None if found is None else declared.judge(found, declared.family(found))


def section(searched: Searched) -> Section:
    """The verdict on test, the two arms, and the winner's number in the search beside its fresh one."""
    judged = judge(searched)
    title = "The winner against the baseline, with fresh seeds"
    if searched.confirmed is None or judged is None:
        return Section("confirmation", title, [NOT_YET, *searched.doubts])
    tables = [] if judged.table.empty else [verdict_views.table(judged)]
    tables.append(replace(arms(searched.confirmed), name="confirmed", title=COMPARED))
    drawn = list(verdict_views.draw(judged))
    words = [" ".join(flattered(searched)), PAGE.format(CONFIRMED)]
    return Section("confirmation", title, words, tables, drawn)


def flattered(searched: Searched) -> Sequence[str]:
    """Compare the winner's objective in the search, a maximum, with that of fresh seeds."""
    number, best = confirmed_number(searched), searched.best
    if number is None or best is None:
        strange = f"The settings of {CONFIRMED}/ are those of no suggestion of this search as it stands now."
        return [strange, "Run the search again to confirm its best."]
    told = []
    if number != best["number"]:
        told = [
            f"Suggestion {number} was confirmed; {best['arm']} has since become the best and is not.",
            "Run the search again.",
        ]
    fresh = _fresh(searched)
    if fresh is None:
        return told
    return [*told, *_compared(searched, _value(searched, number), fresh, number)]


def _value(searched: Searched, number: int) -> float:
    found = searched.suggestions
    return float(found.loc[found["number"].eq(number), "value"].iloc[0])


def _fresh(searched: Searched) -> pd.Series[Any] | None:
    """The winner's objective over the fresh seeds, as a row of `stats.summarise`; None if there is none."""
    if searched.confirmed is None or searched.objective.name not in searched.confirmed.trials:
        return None
    trials = searched.confirmed.trials
    done = stats.finished(trials[trials["arm"].eq("winner")], searched.objective.name)
    return None if done.empty else stats.summarise(done, ["dataset"], searched.objective.name).iloc[0]


def _compared(searched: Searched, found: float, fresh: pd.Series[Any], number: int) -> list[str]:
    objective, many = searched.objective, len(searched.complete)
    seeds = "one seed" if searched.seeds == 1 else f"a mean of {searched.seeds} seeds"
    extreme = "highest" if objective.maximize else "lowest"
    mean = float(fresh["mean"])
    worse = found - mean if objective.maximize else mean - found
    told = interval(fresh, hundredths if objective.share else lambda value: f"{value:.4g}")
    name = spaced(objective.name)
    out = (
        f"In the search suggestion {number} had {name} {value_words(objective, found)} ({seeds} each, the "
        f"{extreme} of {many} such numbers); with fresh seeds its mean is {value_words(objective, mean)} "
        f"({told}), {_size(objective, worse)} {'worse' if worse >= 0 else 'better'}"
    )
    if worse <= 0:
        return [f"{out}.", "Here the pick did not flatter it."]
    return [f"{out}.", f"The {extreme} of many noisy numbers flatters its winner; believe the fresh one."]


def _size(objective: Objective, difference: float) -> str:
    return f"{points(abs(difference))} points" if objective.share else f"{abs(difference):.3g}"
