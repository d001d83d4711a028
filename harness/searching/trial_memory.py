"""Optuna's storage in memory, which can show a study as it was at another moment."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class TrialMemory(InMemoryStorage):
    """Optuna's storage in memory, some of whose trials can be shown as they were before."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Mapping[int, FrozenTrial] = {}

    @contextmanager
    def showing(self, trials: Mapping[int, FrozenTrial]) -> Iterator[None]:
        """Show these trials, by number, in place of what is stored.

        What samplers note about the study meanwhile is forgotten: a search that goes on after a kill could
        not know it.
        """
        self._shown = trials
        try:
            yield
        finally:
            self._shown = {}
            for study in self._studies.values():
                study.system_attrs = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study, in the order of their numbers."""
        if not self._shown or states == (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        for number, trial in self._shown.items():
            trials[number] = trial
        kept = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(kept) if deepcopy else kept
