"""The verdicts' part of a report, made ready: the declared family, and the tuned one where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report import declared, tuned, verdict_views, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.figures import Drawn
    from harness.report.reading import Reading
    from harness.report.tables import Missing, Table


OUTSIDE = (
    "What is in no family of contrasts is exploratory: the sentences below, and all figures and tables but "
    "those of the verdicts."
)


@dataclass(frozen=True)
class Judgement:
    """What a report says and shows of its families of contrasts.

    Attributes:
        answers: paragraphs of sentences.
        tables: verdicts, and where arms were tuned what they chose.
        drawn: forest plots.
        missing: trials of the tuned comparison without a result.
        tuned: whether the study has a tuned comparison that can be shown.
    """

    answers: Sequence[Sequence[str]]
    tables: Sequence[Table]
    drawn: Sequence[Drawn]
    missing: Sequence[Missing]
    tuned: bool


def judgement(reading: Reading) -> Judgement:
    """Judge the family of a results folder, fixed and tuned, and say and draw what came of it."""
    fixed = declared.judge(reading, declared.read_family(reading))
    answers = verdicts.answers(reading, fixed)
    tables = [] if fixed.table.empty else [verdict_views.table(fixed)]
    drawn, missing = list(verdict_views.draw(fixed)), []
    again = tuned.read(reading, fixed)
    if again is not None:
        answers += tuned.tell(fixed, again)
        tables += tuned.tables(fixed, again)
        missing = list(tuned.unfinished(again))
        if again.judged is not None:
            drawn = list(tuned.draw(fixed, again.judged))
    if answers and tables:
        answers[-1] = [*answers[-1], OUTSIDE]
    return Judgement(answers, tables, drawn, missing, tuned=again is not None and not again.strange)
