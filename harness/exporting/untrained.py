"""Untrained trials: of a study of one arm, of settings, or the start of a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from harness.axes import plugins
from harness.axes.planned_components import problems as component_problems
from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, refresh
from harness.data.samples import DATA_SETTINGS, LABEL_SETTINGS
from harness.errors import UsageError, few
from harness.planning.plan import Plan
from harness.results import Results, TrainedTrial
from harness.results.trained import planned, trained
from harness.settings import Seed, shortened
from harness.study.checker import Checker, known_settings
from harness.study.reading import load as load_study
from harness.study.starts import OF_A_START
from harness.study.study import Study
from harness.study.trials import Trial, lone_trial, resolve, trials

Given: TypeAlias = "Study | Plan | Trial | TrainedTrial | Results | Mapping[str, Any] | Path | str | None"
"""Ways to say which trial is meant; the last ones are the name or file of a study, or a results folder."""


def untrained(given: Given = None, settings: Mapping[str, Any] | None = None) -> Trial:
    """Give the trial that a person means, before its first step.

    Args:
        given: a study of one arm (then its first seed), or its name or file; a trial of
            `harness.plan(study).trials`; a trained trial, results or their folder (then their best);
            or settings as a dict.
        settings: settings, and perhaps a seed, in place of those of `given`.

    Raises:
        UsageError: a study has several arms, or a setting or its value is wrong.
    """
    changes = dict(settings or {})
    if given is None or isinstance(given, Mapping):
        return _of_settings({**(given or {}), **changes})
    trial = _found(given)
    if not changes:
        return trial
    base = {name: value for name, value in trial.arm.settings.items() if name not in OF_A_START}
    for budget, other in (("steps", "epochs"), ("epochs", "steps")):
        if budget in changes:
            base.pop(other, None)
    dataset = trial.arm.settings.study_dataset
    own = {dataset.name: dataset} if dataset is not None else {}
    return _of_settings({**base, "seed": trial.seed, **changes}, own)


def _found(given: Study | Plan | Trial | TrainedTrial | Results | Path | str) -> Trial:
    """Give the one trial of what is not settings."""
    if isinstance(given, Trial):
        return given
    if isinstance(given, str | Path) and not (Path(given) / "trials.csv").is_file():
        given = load_study(given)
    if isinstance(given, TrainedTrial | Results | str | Path):
        return planned(trained(given))
    if isinstance(given, Study | Plan):
        return _only(trials(given)[0] if isinstance(given, Study) else given.trials, given)
    raise UsageError(
        f"got {type(given).__name__}; allowed: a study, a trial of harness.plan(study).trials, a trained "
        "trial (results.trial()), or settings, such as dataset='mnist', hidden=[32], seed=0"
    )


def _only(those: Sequence[Trial], given: Study | Plan) -> Trial:
    """Give the first trial of a study of one arm."""
    arms = list(dict.fromkeys(trial.arm.name for trial in those))
    if len(arms) == 1:
        return those[0]
    name = given.name if isinstance(given, Study) else given.study.name
    raise UsageError(
        f"{name} has {len(arms)} arms ({few(arms)}), and one trial is needed. Take one of its "
        f"{len(those)} trials, harness.plan(study).trials[i], or settings"
    )


def _of_settings(given: Mapping[str, Any], own: Mapping[str, Dataset] | None = None) -> Trial:
    """Check settings and a seed, and make a trial of them."""
    plugins.load_installed()
    refresh()
    chosen, own = dict(given), dict(own or {})
    seed = checked_seed(chosen.pop("seed", 0))
    if isinstance(dataset := chosen.get("dataset"), Dataset):
        own[dataset.name], chosen["dataset"] = dataset, dataset.name
    checker = Checker(known_settings(), [], own)
    checked = {name: checker.value(name, name, value) for name, value in chosen.items()}
    if chosen.get("epochs") is not None and chosen.get("steps") is not None:
        checker.problems.append("epochs and steps are both set: a budget is one or the other")
    if checker.problems:
        raise UsageError("; ".join(checker.problems))
    settings = resolve(checked, own)
    if faults := component_problems([settings]):
        raise UsageError("; ".join(faults))
    return lone_trial(settings, seed)


def checked_seed(seed: object) -> int:
    """Return a seed; raise UsageError if it is none."""
    try:
        checked: int = TypeAdapter(Seed).validate_python(seed)
    except ValidationError as error:
        raise UsageError(f"seed = {seed!r}: allowed: {shortened(error.errors()[0]['msg'])}") from None
    return checked


def data_settings(given: Study | Plan | Trial | TrainedTrial | Results | Path | str) -> Settings:
    """Give the settings that decide the data of a trial, or of all arms of a study.

    Raises:
        UsageError: the arms of a study differ in them; or as `untrained`.
    """
    if not isinstance(given, Study | Plan):
        return _found(given).arm.settings
    everything = trials(given)[0] if isinstance(given, Study) else given.trials
    names = (*DATA_SETTINGS, *LABEL_SETTINGS)
    distinct = {str([trial.arm.settings.get(name) for name in names]): trial for trial in everything}
    if len(distinct) == 1:
        return everything[0].arm.settings
    first, second, *_ = (trial.arm.settings for trial in distinct.values())
    differ = ", ".join(name for name in names if first.get(name) != second.get(name))
    raise UsageError(
        f"the arms do not all see the same data: they differ in {differ}. Take one trial, "
        "harness.plan(study).trials[i]"
    )
