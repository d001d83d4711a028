"""Trials: the arms of a study, their settings in canonical form, and what identifies a trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from harness.axes import plugins
from harness.axes.architectures import UNIFORM_FAN_IN, architectures
from harness.axes.augmentations import NONE as NO_AUGMENTATION
from harness.axes.augmentations import augmentations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, datasets, refresh
from harness.errors import UsageError
from harness.registry import Entry
from harness.rng import StepSeeds, StreamSeed
from harness.settings import CORE, Value
from harness.settings.schema import FIXED_SEED, OF_ARM, STREAM_SEEDS
from harness.study import seed_axes, seed_blocks
from harness.study.checker import GivenSettings
from harness.study.seed_axes import NONE
from harness.study.study import Study

SEMANTICS = 2
"""The version of what training means. Part of every trial_id: raise it when results change."""
NETWORKS = 1
"""The version of how networks other than mlps start and train. Part of their trials' ids."""
BUDGET = ("epochs", "steps", "eval_every")
"""Settings that decide how long a trial trains and when it is evaluated, and nothing else."""
SORTED = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True, slots=True)
class Arm:
    """One combination of settings, seeds aside: defaults resolved, no setting without effect.

    `labels` holds the value's name of each linked axis; `tried`, while a study tunes, the settings that the
    arm tries; `before`, once it is tuned, its settings before that; `block`, the block of seeds that chose
    them, from 1 on; 0: all seeds.
    """

    name: str
    settings: Settings
    labels: Mapping[str, str] = field(default_factory=dict)
    tried: GivenSettings = field(default_factory=dict)
    before: Settings | None = None
    block: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """An arm with one seed."""

    trial_id: str
    arm: Arm
    seed: int

    @property
    def start_seed(self) -> int:
        """The seed of its initial weights."""
        return int(self.arm.settings.get("start_seed", self.seed))

    @property
    def dropout_seed(self) -> int:
        """The seed of what dropout leaves out, and of all else that a network draws while it trains."""
        return int(self.arm.settings.get("dropout_seed", self.seed))

    @property
    def step_seed(self) -> StreamSeed:
        """The seed of what is drawn at its steps, or the seeds; trials of one see the same batches.

        What its settings switch off has no seed of its own.
        """
        settings = self.arm.settings
        given = settings.values_of(STREAM_SEEDS[1:])
        if given == (None, None, None):
            return self.seed
        order, dropout, augmentation = (self.seed if own is None else int(own) for own in given)
        if settings.get("dropout") == 0:
            dropout = order
        if settings.augmentation == NO_AUGMENTATION:
            augmentation = order
        return order if order == dropout == augmentation else StepSeeds(order, dropout, augmentation)

    def __repr__(self) -> str:
        return f"Trial({self.trial_id}: {self.arm.name}, seed {self.seed})"


def arms(study: Study) -> Iterator[Arm]:
    """Give the arms of a study in its phase, in its order, duplicates included."""
    labels: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}  # many arms have the same ones
    for variant in study.phase.variants(study):
        named = labels.setdefault(tuple(variant.labels.items()), variant.labels)
        before = None if variant.before is None else resolve(variant.before, study.datasets)
        settings = resolve(variant.settings, study.datasets)
        if study.start is not None:
            settings |= study.start.settings()
        yield Arm(variant.name, settings, named, variant.tried, before, variant.block)


def settings_of(study: Study, given: Mapping[str, Value] | None = None) -> Settings:
    """Resolve a study's baseline, with some settings in place of its own."""
    return resolve({**study.baseline, **(given or {})}, study.datasets)


def resolve(given: Mapping[str, Value], study_datasets: Mapping[str, Dataset] | None = None) -> Settings:
    """Bring checked settings into canonical form: fill in defaults, leave out what does not apply."""
    chosen: dict[str, Any] = {name: given.get(name, setting.default) for name, setting in CORE.items()}
    if given.get("steps") is not None:
        chosen.pop("epochs")
    else:
        chosen.pop("steps")
    dataset = (study_datasets or {}).get(chosen["dataset"])
    usual = _usual(chosen["dataset"], dataset).items()
    chosen |= {name: value for name, value in usual if given.get(name) is None}
    if chosen["val_fraction"] == 0:
        del chosen["val_split"], chosen["split_seed"]
    elif chosen["val_split"] == "last":  # nothing is drawn
        del chosen["split_seed"]
    if chosen["label_noise"] == 0:
        del chosen["label_noise_seed"]
    loss = losses[chosen["loss"]]
    declared = {
        **{n: s.default for n, s in architectures[chosen["architecture"]].settings.items()},
        **{n: loss.default_of(n, _classes(chosen["dataset"], dataset)) for n in loss.settings},
        **{n: s.default for n, s in optimizers[chosen["optimizer"]].settings.items()},
        **{n: s.default for n, s in schedules[chosen["schedule"]].settings.items()},
        **{n: s.default for n, s in augmentations[chosen["augmentation"]].settings.items()},
    }
    chosen |= {name: given.get(name, default) for name, default in declared.items()}
    architecture = architectures[chosen["architecture"]]
    chosen = architecture.canonical(chosen)
    for name in architecture.without_effect(chosen):
        chosen.pop(name, None)
    for name in list(_idle_seeds(chosen)):
        chosen.pop(name, None)
    return Settings(chosen, dataset)


def _idle_seeds(chosen: Mapping[str, Any]) -> Iterator[str]:
    """List the seeds of streams that are not given, or of which an arm draws nothing."""
    yield from (name for name in STREAM_SEEDS if chosen[name] is None)
    if chosen["sampling"] == "sequential":
        yield "order_seed"
    entry = architectures.entry(chosen["architecture"])
    if chosen.get("dropout", 1 if entry.third_party else 0) == 0:  # a person's own may have any layer
        yield "dropout_seed"
    if chosen["augmentation"] == NO_AUGMENTATION:
        yield "augmentation_seed"


def _usual(name: str, study_dataset: Dataset | None) -> Mapping[str, Value]:
    """Give the settings that a data set has where none are given, in place of the usual defaults."""
    if study_dataset is None and name not in datasets:
        return {}
    return (study_dataset or datasets[name]).usual


def _classes(name: str, study_dataset: Dataset | None) -> int:
    """Count the classes of a data set, which may have to be read for that."""
    return len((study_dataset or datasets[name]).facts.classes)


def trials(study: Study) -> tuple[list[Trial], dict[str, list[str]]]:
    """Give the trials of a study, and for an arm's name the names of later arms that mean the same.

    An arm and its duplicates are one arm: it is trained once. Arms that chose the same settings stay two
    arms, with the same trials, which are trained once. An arm for which blocks of seeds choose is there once
    a block, under one name, with the seeds of the block.

    Raises:
        UsageError: two arms that mean different things have the same name.
    """
    refresh()
    identified: dict[bytes, str] = {}
    names: set[str] = set()
    merged: dict[str, list[str]] = {}
    result, sources = [], plugins.sources()
    seeds = {block: study.seeds_of(block) for block in {0, *study.blocks}}
    for arm in arms(study):
        identity = identity_of(arm.settings, sources)
        before = identity_of(arm.before, sources) if arm.before else identity
        meant = _digest(seed_blocks.named(before, arm.block))
        if meant in identified:
            of_source = arm.labels.get(FIXED_SEED, NONE) != NONE  # which draws nothing here
            if arm.block <= 1 and not of_source:  # once an arm, whose blocks have one name
                merged.setdefault(identified[meant], []).append(arm.name)
            continue
        named = seed_blocks.named(arm.name, arm.block)
        if named in names:
            raise UsageError(
                f"two different arms are both called {arm.name!r}: rename a linked value or a step"
            )
        names.add(named)
        identified[meant] = arm.name
        result += [trial_of(study, arm, seed, identity, sources) for seed in seeds[arm.block]]
    fixed = [str(value["name"]) for value in study.axes.get(FIXED_SEED, [])]
    if idle := list(seed_axes.idle(fixed, {trial.arm.labels[FIXED_SEED] for trial in result if fixed})):
        raise UsageError("; ".join(idle))
    if study.about.phase != "tuned" and len({trial.trial_id for trial in result}) < len(result):
        raise AssertionError("two different trials share a trial_id; please report this")
    return result, merged


def tries_problems(study: Study) -> list[str]:
    """Say what is wrong with the spaces of arms: each tries its lr, and as many settings as the others."""
    problems: list[str] = []
    tries: dict[str, set[str]] = {}
    sources = plugins.sources()
    for arm in arms(study.in_phase("tuning")):
        name = arm.labels[OF_ARM]
        tries.setdefault(name, set()).add(identity_of(arm.settings, sources))
        if "lr" not in arm.tried:
            problems.append(f"arm {name!r} tunes no lr; give it a space, or all of them in [tune.space]")
        problems += [
            f"arm {name!r} has no {key} to tune; give a space with {key} to those that have it"
            for key in arm.tried
            if key not in arm.settings
        ]
        if arm.settings.val_fraction == 0:
            problems.append(f"arm {name!r} has val_fraction = 0, so no validation split to choose by")
    counts = {name: len(identities) for name, identities in tries.items()}
    if not problems and len(set(counts.values())) > 1:
        few, many = (end(counts, key=counts.__getitem__) for end in (min, max))
        problems.append(
            f"arm {few!r} would try {counts[few]} settings and arm {many!r} {counts[many]}; every arm gets "
            "the same budget"
        )
    return list(dict.fromkeys(problems))


Sources: TypeAlias = "Callable[[str, str], str]"
"""A function (axis, name) -> digest of all that decides a third party's component; `plugins.sources`."""


def trial_of(study: Study, arm: Arm, seed: int, identity: str = "", sources: Sources | None = None) -> Trial:
    """Make the trial of an arm and a seed; with `resample_split` its split goes with the seed, too.

    `identity` and `sources`, where they are known already, are the arm's and its components'.
    """
    if study.about.resample_split and "split_seed" in arm.settings:
        arm, identity = replace(arm, settings=arm.settings | {"split_seed": seed}), ""
    return Trial(_trial_id(identity or identity_of(arm.settings, sources), seed), arm, seed)


def lone_trial(settings: Settings, seed: int) -> Trial:
    """Make the trial of some settings and a seed, outside of any study; its id is the same as in one."""
    return Trial(_trial_id(identity_of(settings), seed), Arm("settings", settings), seed)


def _digest(identity: str) -> bytes:
    """Shorten what identifies an arm: of very many arms it would take most of a plan's memory."""
    return hashlib.sha256(identity.encode()).digest()


def _trial_id(identity: str, seed: int) -> str:
    # A letter first, so that no reader of a CSV takes an id for a number.
    return "t" + hashlib.sha256(f"{identity}|{seed}".encode()).hexdigest()[:12]


def other_budget(trial: Trial, budget: Mapping[str, Value], sources: Sources | None = None) -> str:
    """Identify the trial that differs from this one in its budget alone: its settings of BUDGET."""
    settings = trial.arm.settings
    others = {name: value for name, value in settings.items() if name not in BUDGET}
    identity = identity_of(Settings({**others, **budget}, settings.study_dataset), sources)
    return _trial_id(identity, trial.seed)


def is_still(trial: Trial, sources: Sources) -> bool:
    """Tell whether this process would train what a trial's id says: the same components and data."""
    return _trial_id(identity_of(trial.arm.settings, sources), trial.seed) == trial.trial_id


def arms_of(trials: Iterable[Trial]) -> list[Arm]:
    """List the arms of trials, which share them, each once."""
    return list({id(trial.arm): trial.arm for trial in trials}.values())


def settings_of_arms(trials: Iterable[Trial]) -> list[Settings]:
    """List the settings of the arms of trials, each once."""
    return [arm.settings for arm in arms_of(trials)]


def components_of(trials: Iterable[Trial]) -> list[tuple[str, Entry[Any]]]:
    """Give (axis, component) of the third-party components that trials have, each once."""
    return [(axis, entry) for axis, entry in plugins.chosen_by(settings_of_arms(trials)) if entry.third_party]


def identity_of(settings: Settings, sources: Sources | None = None) -> str:
    """Write down everything but the seed that decides an arm's results.

    Left out are the study's name, engine, device and time, and `match` where head and loss fit anyway.
    """
    sources = sources or plugins.sources()
    counted = settings.as_dict()
    later: dict[str, Value] = {"label_noise": 0.0, "label_smoothing": 0.0, "augmentation": NO_AUGMENTATION}
    if settings.architecture == "mlp":
        later |= {"dropout": 0.0, "norm": "none", "skip": False, "initial_weights": UNIFORM_FAN_IN}
    for name, default in later.items():  # left out at their default, so that older ids stay the same
        if counted.get(name) == default:
            del counted[name]
    if losses[settings.loss].form(heads[settings.head].kind) is not None:
        counted.pop("match")
    axes = [axis for axis in plugins.registries() if axis != "dataset" or not settings.study_dataset]
    chosen = zip(axes, settings.values_of(axes), strict=True)
    digests = [sources(axis, str(name)) for axis, name in chosen if name is not None]
    if settings.data.known is None:  # a person's own: the value of a full pixel says how pixels are scaled
        counted["pixel_max"] = settings.facts.pixel_max
    content = [SEMANTICS, settings.facts.digest, [digest for digest in digests if digest], counted]
    if settings.architecture != "mlp":
        content.append({"networks": NETWORKS})
    return SORTED.encode(content)
