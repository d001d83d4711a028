"""Starts: the state of another trial, from which the trials of a study begin (its table [start])."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from harness.engines.states import State
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.results import checkpoints
from harness.results.checkpoints import CheckpointHeader, DamagedError
from harness.results.origins import Origin
from harness.study.starts import FILE, Start
from harness.study.trials import Trial

AGAIN = "Call harness.continue_training with the same trial and settings again, which writes it anew"


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a state is made of, whenever and wherever it was written."""
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in values.items() if name not in arrays}
    return checkpoints.digest(arrays, {"values": json.dumps(others, sort_keys=True)})


@dataclass(frozen=True)
class StartSource:
    """The start of a study's trials, in its results folder (`checkpoints.BeginningState`)."""

    path: Path
    start: Start

    def at(self, path: Path) -> Self:
        """Return the same source in a copy of its file."""
        return replace(self, path=path)

    def unlike(self, _: Origin) -> str:
        """Return "": the study's trials are trained from this state on any machine."""
        return ""

    def of(self, share: Sequence[Trial]) -> tuple[CheckpointHeader, State]:
        """Return the state that each of the trials begins with, as `checkpoints.BeginningState.of`.

        Raises:
            UsageError: it is missing, damaged or another one.
        """
        try:
            _, header, state = checkpoints.opened(self.path)
        except DamagedError as error:
            raise UsageError(f"{self.path} is damaged or missing: {error}. {AGAIN}") from error
        if digest(state.values) != self.start.digest:
            raise UsageError(f"{self.path} is not the state that the study's [start] names. {AGAIN}")
        ids = [trial.trial_id for trial in share]
        parents = [self.start.parent] * len(ids)
        return CheckpointHeader(header.group, ids, 0.0, parents=parents), State(self.start.step, state.values)


def source(drawn: Plan, folder: Path) -> StartSource | None:
    """Return the source of a study that continues a trial; None for any other.

    Raises:
        UsageError: the folder does not have the state.
    """
    if drawn.study.start is None:
        return None
    path = folder.resolve() / FILE
    if not path.is_file():
        raise UsageError(
            f"{drawn.study.name} continues trial {drawn.study.start.parent}, and {path} is missing. {AGAIN}"
        )
    return StartSource(path, drawn.study.start)
