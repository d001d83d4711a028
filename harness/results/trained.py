"""Trained trials: chosen from a results folder, with their settings, and found again in the study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.axes import plugins
from harness.axes.architectures import architectures
from harness.errors import MachineError, UsageError
from harness.results import Results, TrainedTrial, read, run_folder, selection, weights
from harness.results.trained_on import study_dataset
from harness.settings import Value
from harness.settings.schema import NAMED_ONLY, OF_ARM, SEED_BLOCK
from harness.study.checker import known_settings
from harness.study.reading import load as load_study
from harness.study.study import Study
from harness.study.trials import Trial, is_still, trials
from harness.text import NOT_APPLICABLE, as_word


def choose(results: Results, trial_id: str | None = "best", where: str | None = None) -> TrainedTrial:
    """Choose a trained trial, as `Results.trial` does; without an id, the only one that `where` leaves."""
    if trial_id == "best":
        results, where = selection.confirmed_winner(results, where or None)
    return TrainedTrial(results, selection.choose(results, trial_id, where))


def trained(given: object, where: str = "") -> TrainedTrial:
    """Give the trained trial that a person means.

    Args:
        given: a TrainedTrial; or results, read, or their folder: then the best by val accuracy.
        where: conditions that the best one meets.

    Raises:
        UsageError: it is none of them, or `Results.trial` finds no such trial.
    """
    if isinstance(given, TrainedTrial):
        return given
    if isinstance(given, str | Path):
        given = read(given)
    if isinstance(given, Results):
        return choose(given, where=where)
    hint = "; an untrained trial is trained by harness.run(study)" if isinstance(given, Trial | Study) else ""
    raise UsageError(
        f"got {type(given).__name__}; allowed: a trained trial (results.trial()), results "
        f"(harness.read(folder)) or their folder{hint}"
    )


def settings_of(trial: TrainedTrial) -> dict[str, Value]:
    """Give a trained trial's settings by name, those that apply to it, with their types."""
    known, given = known_settings(), {}
    columns = map(str, trial.results.trials.loc[:, "dataset":"seed"].columns)
    for name in columns:
        text = as_word(trial.row[name])
        labels = {"seed", OF_ARM, SEED_BLOCK, *_linked(trial.results.study)}
        if text != NOT_APPLICABLE and name not in labels:
            value = _value(trial.row[name])
            given[name] = known[name].check(value) if name in known else value
    own = str(given.get("architecture"))
    defaults = {
        name: setting.default
        for name, setting in (architectures[own].settings if own in architectures else {}).items()
        if name in NAMED_ONLY and setting.default is not None
    }
    return {**defaults, **given}


def _linked(study: Mapping[str, Any]) -> list[str]:
    """Name the axes whose values set several settings under a name."""
    axes = study.get("axes", {})
    return [axis for axis, values in axes.items() if any(isinstance(value, Mapping) for value in values)]


def _value(cell: Any) -> Any:
    """Give the value of a cell of trials.csv: a number, a truth value, a list or a text."""
    if not isinstance(cell, str):
        number = cell.item() if hasattr(cell, "item") else cell
        return int(number) if isinstance(number, float) and number.is_integer() else number
    try:
        return json.loads(cell) if cell.startswith("[") or cell in {"true", "false"} else cell
    except ValueError:
        return cell


def planned(trial: TrainedTrial) -> Trial:
    """Give the trial that was trained, with its settings and seed, to begin anew or to rebuild its network.

    Raises:
        UsageError: its folder's study does not contain it any more, or its data or plugins changed.
    """
    path = weights.file_of(trial.results, trial.trial_id)
    vouched = vouched_for(trial.results, path, trial.row) if path.is_file() else None
    if vouched is not None:
        return vouched
    study, _ = study_of(trial.results)
    return find(trials(study)[0], trial.trial_id, trial.results)


def vouched_for(results: Results, path: Path, row: Any) -> Trial | None:
    """Read the trial of a file of weights; None unless its id agrees and all its components are known here.

    Then neither the folder's study is needed, nor a plugin that the study names for other trials.
    """
    try:
        kept = weights.read(path, study_dataset(results, str(row["dataset"]))).trial
        trial = replace(kept, arm=replace(kept.arm, name=str(row["arm"])))
        same = trial.trial_id == row["trial_id"] and is_still(trial, plugins.sources())
    except (UsageError, MachineError, KeyError, TypeError):
        return None  # the study may declare its component or data set; damage is reported later
    return trial if same else None


def study_of(results: Results) -> tuple[Study, dict[str, Any]]:
    """Load the study of a results folder, and its plan.

    Raises:
        UsageError: the study cannot be read, or the data are not those that were trained on.
    """
    study = load_study(results.folder / "study.toml")
    digests = {name: study.dataset(name).facts.digest for name in results.trials["dataset"].unique()}
    return study, run_folder.check_compatible(results.folder, study, digests)


def find(planned_trials: Any, trial_id: str, results: Results) -> Trial:
    """Find a trial among those of a folder's study by its id; raise UsageError if it is not there."""
    for trial in planned_trials:
        if trial.trial_id == trial_id:
            found: Trial = trial
            return found
    raise UsageError(
        f"trial {trial_id} is not in the study in {results.folder} any more: a plugin's source or the "
        "version of the harness has changed since it was trained. Use the version it was trained with."
    )
