"""Confirming: the best suggestions train anew, the winner is picked among them, and test is opened for it.

Three blocks of seeds keep choice and judgement apart: those of the search choose the finalists, the
finalists' the winner, and the study's, with which alone test is opened, judge the winner. Each block trains
into a folder of its own, and a phase that was stopped goes on from what it had finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.trial import FrozenTrial

from harness.errors import MachineError
from harness.planning.plan import draw
from harness.results import finalists, run_folder
from harness.searching import suggestions
from harness.searching.ask_tell import arm_of, drawn_of
from harness.settings.schema import BASELINE, CONFIRMED, FINALISTS, WINNER
from harness.study.study import Study
from harness.training import folder_runs, runs
from harness.training.options import RunOptions


@dataclass(frozen=True)
class Confirmation:
    """The winner of a search by its number, and the trainings that chose and confirmed it.

    `finalists` is None where there was one to confirm; `undecided` says why no winner was picked of several.
    """

    winner: int | None = None
    finalists: folder_runs.RunSummary | None = None
    confirmed: folder_runs.RunSummary | None = None
    undecided: str = ""


def confirm(folder: Path, trials: Sequence[FrozenTrial], study: Study, options: RunOptions) -> Confirmation:
    """Pick the winner of a search among its finalists, and confirm it against the baseline.

    Nothing is confirmed where no suggestion is complete, or where the winner is undecided.
    """
    search = study.search
    assert search is not None  # noqa: S101 (a search has ended)
    numbers = suggestions.ranked(trials, search)[: search.finalists]
    if len(numbers) < 2:
        return _confirmed(Confirmation(next(iter(numbers), None)), folder, trials, study, options)
    chosen = {arm_of(number): study.space.settings(drawn_of(trials[number])) for number in numbers}
    drawn = draw(study.in_phase("finalists", chosen), options.engine)
    trained = runs.train_phases(drawn, folder / FINALISTS, options)
    found = finalists.read(folder, suggestions.read(folder), search)
    if found is None:
        raise MachineError(f"{folder / FINALISTS} is gone. Run the same command again")
    picked = Confirmation(found.picked, trained, None, found.undecided)
    return _confirmed(picked, folder, trials, study, options)


def _confirmed(
    chosen: Confirmation, folder: Path, trials: Sequence[FrozenTrial], study: Study, options: RunOptions
) -> Confirmation:
    """Train the winner and the baseline with the study's seeds, which chose nothing, and open test."""
    number = chosen.winner
    if number is None:
        return chosen
    place = folder / CONFIRMED
    settings = study.space.settings(drawn_of(trials[number]))
    suggestions.note_winner(folder, number, len(trials), lambda: _opened(trials, study, place))
    confirmed = study.in_phase("confirmed", {BASELINE: {}, WINNER: settings})
    declared = {"declared": True, "pairs": [[WINNER, BASELINE]], "levels": []}
    confirmed = replace(confirmed, contrasts=study.contrasts.model_copy(update=declared))
    return replace(chosen, confirmed=runs.train_phases(draw(confirmed, options.engine), place, options))


def _opened(trials: Sequence[FrozenTrial], study: Study, folder: Path) -> list[int]:
    """Return the numbers of the suggestions whose settings were trained to confirm them."""
    finished = run_folder.finished(folder).keys()
    opened = []
    for number, trial in enumerate(trials):
        settings = study.space.settings(drawn_of(trial))
        planned = draw(study.in_phase("confirmed", {WINNER: settings}))
        if finished & {trial.trial_id for trial in planned.trials if trial.arm.name == WINNER}:
            opened.append(number)
    return opened
