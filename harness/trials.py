"""Trials: the arms a study means, their settings in canonical form, and who a trial is."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from harness import plugins
from harness.axes.architectures import architectures
from harness.axes.datasets import datasets
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.checking import Settings
from harness.errors import UsageError
from harness.registry import Entry
from harness.settings import BESIDE, CORE, OF_ARM
from harness.spaces import points, words
from harness.study import Study
from harness.text import as_text

SEMANTICS = 1
"""The version of what training means. Part of every trial_id: raise it when results change."""
SORTED = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class Arm:
    """One combination of settings, seeds aside: defaults resolved, no setting without effect.

    `labels` holds the value's name of each linked axis; `tried`, while a study tunes, what it tries; `given`,
    once it is tuned, its settings before that.
    """

    name: str
    settings: Settings
    labels: Mapping[str, str] = field(default_factory=dict)
    tried: Settings = field(default_factory=dict)
    given: Settings = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """An arm with one seed."""

    trial_id: str
    arm: Arm
    seed: int


def arms(study: Study) -> Iterator[Arm]:
    """The arms a study means, in its order, duplicates included.

    While it tunes, there is one for each setting that an arm tries; once it is tuned, each has what it chose.
    """
    for name, given, values in _designed(study):
        labels = dict.fromkeys(study.linked_axes, "baseline") | {a: v for a, v in values if a != "steps"}
        if study.about.phase == "tuning" and study.tune:
            for point in points(study.space_of(values), study.tune.budget or 0):
                tried = f"{name}, {words(point)}"
                yield Arm(tried, resolve(given | point), labels | {OF_ARM: name}, point)
        elif study.about.phase in {"search", "confirmed"}:
            for arm, chosen in study.chosen.items():
                yield Arm(arm, resolve(given | chosen))
        elif study.about.phase == "tuned":
            own = resolve(given | study.chosen.get(name, {}))
            yield Arm(name, own, labels, given=resolve(given))
        else:
            yield Arm(name, resolve(given), labels)


Designed: TypeAlias = "tuple[str, Settings, list[tuple[str, str]]]"
"""An arm's name, its settings as given, and its linked values: (axis, name)."""


def _designed(study: Study) -> Iterator[Designed]:
    if study.about.design == "ladder":
        settings, climbed = dict(study.baseline), []
        yield "baseline", dict(settings), []
        for step in study.steps:
            settings |= {key: value for key, value in step.items() if key not in BESIDE}
            climbed.append(("steps", str(step["name"])))
            yield step["name"], dict(settings), list(climbed)
    elif study.about.design == "one-factor":
        yield "baseline", dict(study.baseline), []
        for axis, values in study.axes.items():
            for value in values:
                yield _combine(study, [(axis, value)])
    else:
        choices = [[(axis, value) for value in values] for axis, values in study.axes.items()]
        for combination in itertools.product(*choices):
            yield _combine(study, combination)


def _combine(study: Study, combination: Sequence[tuple[str, Any]]) -> Designed:
    settings, parts, linked = dict(study.baseline), [], []
    for axis, value in combination:
        if isinstance(value, Mapping):
            settings |= {key: v for key, v in value.items() if key not in BESIDE}
            linked.append((axis, str(value["name"])))
            parts.append(value["name"])
        else:
            settings[axis] = value
            parts.append(f"{axis}={as_text(value)}")
    return ", ".join(parts) or "baseline", settings, linked


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
        if chosen["architecture"] == "mlp":
            del chosen["dropout"]
    return chosen


def trials(study: Study) -> tuple[list[Trial], dict[str, list[str]]]:
    """The trials of a study, and per arm name the names of later arms that mean the same.

    An arm and its duplicates are one arm: it is trained once. Arms that chose the same settings stay what
    they were: each has its trials, which then are the same ones, trained once.

    Raises:
        UsageError: two arms that mean different things have the same name.
    """
    study.declare()
    identified: dict[str, str] = {}
    names: set[str] = set()
    merged: dict[str, list[str]] = {}
    result, sources = [], plugins.sources()
    for arm in arms(study):
        identity = identity_of(arm.settings, sources)
        meant = identity_of(arm.given, sources) if arm.given else identity
        if meant in identified:
            merged.setdefault(identified[meant], []).append(arm.name)
            continue
        if arm.name in names:
            raise UsageError(
                f"two different arms are both called {arm.name!r}: rename a linked value or a step"
            )
        names.add(arm.name)
        identified[meant] = arm.name
        result += [trial(study, arm, seed, identity, sources) for seed in study.seeds]
    if study.about.phase != "tuned" and len({one.trial_id for one in result}) < len(result):
        raise AssertionError("two different trials share a trial_id; please report this")
    return result, merged


def tries_problems(study: Study) -> list[str]:
    """What is wrong with what arms would tune: every arm tries its lr, and as many settings as the others."""
    told: list[str] = []
    tries: dict[str, set[str]] = {}
    sources = plugins.sources()
    for arm in arms(study.in_phase("tuning")):
        name = arm.labels[OF_ARM]
        tries.setdefault(name, set()).add(identity_of(arm.settings, sources))
        if "lr" not in arm.tried:
            told.append(f"arm {name!r} tunes no lr; give it a space, or all of them in [tune.space]")
        told += [
            f"arm {name!r} has no {key} to tune; give a space with {key} to those that have it"
            for key in arm.tried
            if key not in arm.settings
        ]
        if arm.settings["val_fraction"] == 0:
            told.append(f"arm {name!r} has val_fraction = 0, so no validation split to choose by")
    counts = {name: len(identities) for name, identities in tries.items()}
    if not told and len(set(counts.values())) > 1:
        few, many = (end(counts, key=counts.__getitem__) for end in (min, max))
        told.append(
            f"arm {few!r} would try {counts[few]} settings and arm {many!r} {counts[many]}; every arm gets "
            "the same budget"
        )
    return list(dict.fromkeys(told))


Sources: TypeAlias = "Callable[[str, str], str]"
"""(axis, name) -> the digest of all that decides a third party's component; `plugins.sources`."""


def trial(study: Study, arm: Arm, seed: int, identity: str = "", sources: Sources | None = None) -> Trial:
    """An arm with one seed; with `resample_split` its split goes with the seed, too.

    `identity` and `sources`, where they are known already, are the arm's and its components'.
    """
    if study.about.resample_split and "split_seed" in arm.settings:
        arm, identity = replace(arm, settings=arm.settings | {"split_seed": seed}), ""
    return Trial(_trial_id(identity or identity_of(arm.settings, sources), seed), arm, seed)


def _trial_id(identity: str, seed: int) -> str:
    # A letter first: no reader of a CSV may take an id for a number.
    return "t" + hashlib.sha256(f"{identity}|{seed}".encode()).hexdigest()[:12]


def is_still(one: Trial, sources: Sources) -> bool:
    """Tell whether this process would train what a trial's id says: the same components and data."""
    return _trial_id(identity_of(one.arm.settings, sources), one.seed) == one.trial_id


def components_of(everything: Iterable[Trial]) -> list[tuple[str, Entry[Any]]]:
    """Give (axis, component) of the third-party components that trials have, each once."""
    arms = {id(one.arm): one.arm.settings for one in everything}.values()
    named = {
        (axis, str(settings[axis])): registry
        for axis, registry in plugins.registries().items()
        for settings in arms
        if axis in settings
    }
    entries = [(axis, registry.entry(name)) for (axis, name), registry in named.items()]
    return [(axis, entry) for axis, entry in entries if entry.third_party]


def identity_of(settings: Settings, sources: Sources | None = None) -> str:
    """Everything but the seed that decides an arm's results, as text.

    Not: the study's name, engine, device, time. The mismatch setting `match` counts only where it matters.
    """
    sources = sources or plugins.sources()
    counted = dict(settings)
    later = ["label_noise", "label_smoothing", *(["dropout"] if counted["architecture"] == "mlp" else [])]
    for name in later:  # without them, the ids of before there were these settings
        if not counted.get(name):
            counted.pop(name, None)
    if losses[str(settings["loss"])].form(heads[str(settings["head"])].kind) is not None:
        counted.pop("match")
    digests = [sources(axis, str(settings[axis])) for axis in plugins.registries() if axis in settings]
    dataset = datasets[str(settings["dataset"])]
    if dataset.known is None:  # a person's own: what a full pixel is says how pixels are scaled
        counted["pixel_max"] = dataset.facts.pixel_max
    content = [SEMANTICS, dataset.facts.digest, [d for d in digests if d], counted]
    return SORTED.encode(content)
