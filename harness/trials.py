"""Trials: the arms a study means, their settings in canonical form, and who a trial is."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import plugins
from harness.axes.architectures import architectures
from harness.axes.datasets import datasets
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.errors import UsageError
from harness.settings import CORE, Value
from harness.study import Settings, Study

SEMANTICS = 1
"""The version of what training means. Part of every trial_id: raise it when results change."""


@dataclass(frozen=True)
class Arm:
    """One combination of settings, seeds aside: defaults resolved, no setting without effect.

    `labels` holds the value's name of each linked axis.
    """

    name: str
    settings: Settings
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """An arm with one seed."""

    trial_id: str
    arm: Arm
    seed: int


def arms(study: Study) -> Iterator[Arm]:
    """The arms a study means, in its order, duplicates included."""
    if study.about.design == "ladder":
        settings = dict(study.baseline)
        yield _arm("baseline", settings, {})
        for step in study.steps:
            settings |= {key: value for key, value in step.items() if key != "name"}
            yield _arm(step["name"], settings, {})
    elif study.about.design == "one-factor":
        yield _arm("baseline", study.baseline, dict.fromkeys(study.linked_axes, "baseline"))
        for axis, values in study.axes.items():
            for value in values:
                yield _combine(study, [(axis, value)])
    else:
        choices = [[(axis, value) for value in values] for axis, values in study.axes.items()]
        for combination in itertools.product(*choices):
            yield _combine(study, combination)


def _combine(study: Study, combination: Sequence[tuple[str, Any]]) -> Arm:
    settings, parts = dict(study.baseline), []
    labels = dict.fromkeys(study.linked_axes, "baseline")
    for axis, value in combination:
        if isinstance(value, Mapping):
            settings |= {key: v for key, v in value.items() if key != "name"}
            labels[axis] = value["name"]
            parts.append(value["name"])
        else:
            settings[axis] = value
            parts.append(f"{axis}={as_text(value)}")
    return _arm(", ".join(parts) or "baseline", settings, labels)


def as_text(value: Value | None) -> str:
    """A value as CSVs and names show it: empty for not applicable, lists as in TOML."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _arm(name: str, given: Settings, labels: Mapping[str, str]) -> Arm:
    return Arm(name, resolve(given), labels)


def resolve(given: Settings) -> Settings:
    """Settings in canonical form: defaults filled in, what does not apply left out."""
    chosen: dict[str, Any] = {name: given.get(name, setting.default) for name, setting in CORE.items()}
    if given.get("steps") is not None:
        chosen.pop("epochs")
    else:
        chosen.pop("steps")
    if chosen["val_fraction"] == 0:
        del chosen["val_split"], chosen["split_seed"]
    if chosen["label_noise"] == 0:
        del chosen["label_noise_seed"]
    loss = losses[chosen["loss"]]
    declared = {
        **{n: s.default for n, s in architectures[chosen["architecture"]].settings.items()},
        **{n: loss.default_of(n, len(datasets[chosen["dataset"]].facts.classes)) for n in loss.settings},
        **{n: s.default for n, s in optimizers[chosen["optimizer"]].settings.items()},
        **{n: s.default for n, s in schedules[chosen["schedule"]].settings.items()},
    }
    chosen |= {name: given.get(name, default) for name, default in declared.items()}
    if chosen.get("hidden") == []:
        del chosen["activation"]
    return chosen


def trials(study: Study) -> tuple[list[Trial], dict[str, list[str]]]:
    """The trials of a study, and per arm name the names of later arms that mean the same.

    An arm and its duplicates are one arm: it is trained once.

    Raises:
        UsageError: two arms that mean different things have the same name.
    """
    study.declare()
    identified: dict[str, str] = {}
    names: set[str] = set()
    merged: dict[str, list[str]] = {}
    result = []
    for arm in arms(study):
        identity = _identity(arm.settings)
        if identity in identified:
            merged.setdefault(identified[identity], []).append(arm.name)
            continue
        if arm.name in names:
            raise UsageError(
                f"two different arms are both called {arm.name!r}: rename a linked value or a step"
            )
        names.add(arm.name)
        identified[identity] = arm.name
        for seed in study.about.seeds:
            settings = arm.settings
            if study.about.resample_split and "split_seed" in settings:
                settings = settings | {"split_seed": seed}
                result.append(
                    Trial(_trial_id(_identity(settings), seed), replace(arm, settings=settings), seed)
                )
            else:
                result.append(Trial(_trial_id(identity, seed), arm, seed))
    if len({trial.trial_id for trial in result}) < len(result):
        raise AssertionError("two different trials share a trial_id; please report this")
    return result, merged


def _trial_id(identity: str, seed: int) -> str:
    # A letter first: no reader of a CSV may take an id for a number.
    return "t" + hashlib.sha256(f"{identity}|{seed}".encode()).hexdigest()[:12]


def _identity(settings: Settings) -> str:
    """Everything but the seed that decides an arm's results, as text.

    Not: the study's name, engine, device, time. The mismatch setting `match` counts only where it matters.
    """
    registries = plugins.registries()
    counted = dict(settings)
    if not counted["label_noise"]:  # without it, the ids of before there was this setting
        del counted["label_noise"]
    if losses[str(settings["loss"])].form(heads[str(settings["head"])].kind) is not None:
        counted.pop("match")
    digests = [
        registry.entry(str(settings[axis])).source_digest
        for axis, registry in registries.items()
        if axis in settings
    ]
    dataset = datasets[str(settings["dataset"])]
    if dataset.known is None:  # a person's own: what a full pixel is says how pixels are scaled
        counted["pixel_max"] = dataset.facts.pixel_max
    content = [SEMANTICS, dataset.facts.digest, [d for d in digests if d], counted]
    return json.dumps(content, sort_keys=True)
