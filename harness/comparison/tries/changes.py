"""A study's baseline, and the baseline with a change: two arms that may be compared by val, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.data.arm_settings import Settings
from harness.errors import UsageError, did_you_mean
from harness.settings import NON_SETTING_KEYS
from harness.study.about import About
from harness.study.checker import GivenSettings
from harness.study.contrasts import level_name, reference_level
from harness.study.overrides import DOTTED
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import identity_of, settings_of
from harness.text import as_text, listed

COMPARED_ON = ("dataset", "val_fraction", "val_split", "split_seed")
"""Settings that decide the images that arms are compared on."""
BUDGET = ("epochs", "steps", "batch_size", "hidden", "architecture")
"""Settings that change what a training costs."""


@dataclass(frozen=True)
class Change:
    """A change of a study's baseline.

    Attributes:
        study: the baseline as a study of one arm.
        words: the change as its settings are given, such as "lr=0.2".
        given: all settings of the changed arm that are given.
        settings: them with their defaults, in canonical form.
        differences: of each setting that differs, with the defaults that go along: before and after, as text.
    """

    study: Study
    words: str
    given: GivenSettings
    settings: Settings
    differences: Mapping[str, tuple[str, str]]

    @property
    def costs(self) -> list[str]:
        """The settings that differ and change what a training costs."""
        return [name for name in self.differences if name in BUDGET]


def asked(study: Study, changes: Sequence[str]) -> Change:
    """Return a change of a study's baseline; raise UsageError as `baseline` and `change` do."""
    return change(study, baseline(study), changes)


def baselines(study: Study) -> list[Study]:
    """Return a study's baseline as a study of one arm without axes; of several data sets, one each.

    In a grid the baseline has the level of each axis that the others are compared with: that of [baseline],
    else the setting's default, else the first.

    Raises:
        UsageError: the study is a search, or continues a trial.
    """
    study = Study.checked(study)
    if study.search is not None:
        raise UsageError(
            f"study {study.name!r} is a search, which tries settings by itself; allowed: one with a "
            "baseline. Write its [baseline] into a study file of its own, without [search] and [space]"
        )
    if study.start is not None:
        raise UsageError(
            f"{study.name} continues a trial ([start]); allowed: a study that trains from scratch"
        )
    grid = study.about.design == "grid"
    datasets = study.axes.get("dataset", []) if grid else []
    settings = {**study.baseline, **(_levels(study) if grid else {})}
    if not datasets:
        return [_alone(study, settings)]
    return [_alone(study, {**settings, "dataset": name}) for name in datasets]


def baseline(study: Study) -> Study:
    """Return a study's baseline as a study of one arm.

    Raises:
        UsageError: as `baselines`; or the study has several data sets.
    """
    alone = baselines(study)
    if len(alone) > 1:
        names = [str(one.baseline["dataset"]) for one in alone]
        raise UsageError(
            f"{study.name} has {len(names)} data sets ({', '.join(names)}), and a change is tried on one. "
            f"Choose: --base dataset={names[0]}"
        )
    return alone[0]


def _levels(study: Study) -> GivenSettings:
    """Give the settings of each axis's reference level, but for the data set."""
    settings: GivenSettings = {}
    for axis, values in study.axes.items():
        if axis == "dataset":
            continue
        names = [level_name(value) for value in values]
        value = values[names.index(reference_level(axis, names, study.baseline))]
        settings |= _settings(value) if isinstance(value, Mapping) else {axis: value}
    return settings


def _settings(level: Mapping[str, Any]) -> GivenSettings:
    return {key: value for key, value in level.items() if key not in NON_SETTING_KEYS}


def _alone(study: Study, settings: GivenSettings, changes: Sequence[str] = ()) -> Study:
    """Make a study of one arm, with the [study] table and the data sets of another."""
    tables = study.tables()
    about = tables["study"] | {"design": "grid", "phase": "fixed"}
    kept = {"study": about, "baseline": dict(settings)}
    if "datasets" in tables:
        kept["datasets"] = tables["datasets"]
    return parse(kept, changes, study.path)


def change(study: Study, alone: Study, changes: Sequence[str]) -> Change:
    """Apply changes to a baseline.

    Args:
        study: the study; its linked axes name settings: "output=softmax + CE".
        alone: its baseline, from `baseline`.
        changes: "key=value" texts, as `--set` takes them.

    Raises:
        UsageError: a change is none of one setting, changes nothing, or makes another comparison.
    """
    if isinstance(changes, str) or not changes:
        raise UsageError(
            f"changes = {changes!r}: allowed is a list of one or more, such as --set lr=0.2 (in Python: "
            'changes=["lr=0.2"])'
        )
    linked, texts = _linked(study, changes)
    _check_keys(texts)
    changed = _alone(alone, {**alone.baseline, **linked}, texts)
    if changed.axes:
        axis, values = next(iter(changed.axes.items()))
        raise UsageError(
            f"--set {axis} has {len(values)} values, {listed([as_text(one) for one in values], 5)}: a try "
            f"has one. Try one after the other, or compare all: harness run {study.name} --set {axis}=..,.."
        )
    before, after = settings_of(alone), settings_of(changed)
    differences = {
        name: (as_text(before.get(name)), as_text(after.get(name)))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }
    _check_comparable(differences)
    if identity_of(before) == identity_of(after):
        raise UsageError(f"{' '.join(changes)} changes nothing: {_already(before, changes)}")
    given = {key: value for key, value in changed.baseline.items() if alone.baseline.get(key) != value}
    words = ", ".join(f"{key}={as_text(value)}" for key, value in given.items())
    return Change(alone, words, dict(changed.baseline), after, differences)


def _linked(study: Study, changes: Sequence[str]) -> tuple[GivenSettings, list[str]]:
    """Split changes into the settings of linked values that they name, and all others."""
    settings: GivenSettings = {}
    texts = []
    for text in changes:
        key, _, name = (part.strip() for part in text.partition("="))
        if key not in study.linked_axes:
            texts.append(text)
            continue
        levels = {str(level["name"]): level for level in study.axes[key]}
        if name not in levels:
            raise UsageError(f"--set {key}: {did_you_mean(name, levels)}")
        settings |= _settings(levels[name])
    return settings, texts


def _check_keys(texts: Sequence[str]) -> None:
    """Raise UsageError where a change is one of the study, and not of a setting of its baseline."""
    for text in texts:
        key = text.partition("=")[0].strip().removeprefix("baseline.").removeprefix("study.")
        if key in About.model_fields:
            more = "; their number is --max-seeds" if key == "seeds" else ""
            raise UsageError(
                f"--set {key}: a try changes settings of the baseline, and {key} is the study's{more}. For "
                f"both arms: --base {text}"
            )
        if key.partition(".")[0] in DOTTED:
            raise UsageError(f"--set {key}: a try changes settings of the baseline; {key} is none of them")


def _check_comparable(differences: Mapping[str, tuple[str, str]]) -> None:
    for name in COMPARED_ON:
        if name in differences:
            before, after = differences[name]
            raise UsageError(
                f"--set {name}={after}: arms are compared on the same val images, and the baseline has "
                f"{name} = {before or 'none'}. For both arms: --base {name}={after}"
            )


def _already(settings: Settings, changes: Sequence[str]) -> str:
    """Say which values the baseline has already, or that the settings do not apply to it."""
    keys = [text.partition("=")[0].strip().removeprefix("baseline.") for text in changes]
    words = [
        f"{key} is {as_text(settings[key])} already" if key in settings else f"{key} does not apply here"
        for key in keys
    ]
    return ", ".join(words)


def in_words(change: Change) -> Iterator[str]:
    """Say what is changed, and which defaults go along with it."""
    before = change.study.baseline
    given = {key for key, value in change.given.items() if before.get(key) != value}
    for name in sorted(change.differences, key=lambda name: name not in given):
        old, new = (value or "none" for value in change.differences[name])
        yield f"{name}: {old} -> {new}" + ("" if name in given else ", a default that goes along")


def with_seeds(alone: Study, seeds: Sequence[int], arms: Mapping[str, GivenSettings]) -> Study:
    """Return the study of a baseline in its phase of tries, with these seeds and arms."""
    study = replace(alone, about=alone.about.model_copy(update={"seeds": list(seeds)}))
    return study.in_phase("tries", arms)
