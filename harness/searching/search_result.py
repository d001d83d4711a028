"""The result of a search: its suggestions, its winner, and the trainings that chose and confirmed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial

from harness.searching import suggestions
from harness.text import as_text
from harness.text.cards import card
from harness.training import folder_runs


@dataclass(frozen=True)
class SearchResult:
    """The result of a search: `trials` are Optuna's, one a suggestion, `winner` the number of the one picked.

    `asked` suggestions are of this run; `optuna_seconds` are Optuna's part of its `seconds`, `busy` the share
    of the workers' seconds for which they trained, from the first batch to the last. `reached` is the number
    of the first suggestion that reached `[search] until`. `finalists` are the trainings that the winner was
    picked by, None where the search's best is the winner; `undecided` says why none was picked.
    """

    folder: Path
    trials: Sequence[FrozenTrial] = field(repr=False)
    winner: int | None
    seconds: float
    optuna_seconds: float
    storage: str
    asked: int
    reached: int | None = None
    finalists: folder_runs.RunSummary | None = None
    undecided: str = ""
    confirmed: folder_runs.RunSummary | None = None
    busy: float = 0.0

    @property
    def suggestions(self) -> pd.DataFrame:
        """The table suggestions.csv."""
        return suggestions.read(self.folder)

    def __repr__(self) -> str:
        return f"SearchResult {str(self.folder)!r}: {', '.join(self._lines()[:2])}"

    def _repr_html_(self) -> str:
        """Show the search in a notebook: its suggestions, the winner, and the confirmation's folder."""
        return card(f"search in {self.folder}", self._lines())

    def _lines(self) -> list[str]:
        states = ", ".join(f"{n} {state}" for state, n in suggestions.counted(self.trials).items())
        lines = [f"{len(self.trials)} suggestions: {states}"]
        if self.winner is None:
            return [*lines, f"no winner yet{self.undecided and f': {self.undecided}'}"]
        best = self.trials[self.winner]
        reached = ", ".join(f"{value:.4g}" for value in best.values or ())  # noqa: PD011 (no frame's)
        given = ", ".join(f"{name} {as_text(value)}" for name, value in best.params.items())
        lines.append(f"winner: suggestion {self.winner}, by val: {reached}")
        return [*lines, given, *([f"confirmed in {self.confirmed.folder}"] if self.confirmed else [])]

    @property
    def failed(self) -> bool:
        """True if a trial could not be trained, here or in what followed; one that diverged was."""
        reasons = suggestions.failures(self.trials)
        return any(" failed: " in reason for reason in reasons) or any(
            trained and trained.statuses.get("failed") for trained in (self.finalists, self.confirmed)
        )
