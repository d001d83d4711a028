"""Doubts about a plan: what in a study has no effect, or probably another one than was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.axes import plugins
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings
from harness.planning import targets
from harness.study import seed_blocks
from harness.study.study import Study
from harness.study.trials import Trial, arms_of, components_of, settings_of_arms
from harness.text import as_text, count

DIGITS = 15  # that a float keeps; further ones are of no decimal number that a person wrote
COUPLED = frozenset(("adam", "rmsprop", "adagrad"))
"""Optimizers that add a weight decay to the gradients, which they divide by their size."""
STRONG_DECAY = 1e-2
"""The weight decay that adamw has by default, and that is copied from it."""


def warnings(study: Study, everything: Sequence[Trial]) -> list[str]:
    """Say what in the study has no effect, or probably another one than was meant."""
    distinct = settings_of_arms(everything)
    used = set().union(*distinct)
    told = [
        f"{name} is set in [baseline] and applies to no arm (no arm uses the component it belongs to)"
        for name in study.baseline
        if name not in used and name not in {"epochs", "steps"}
    ]
    told += [
        f"{axis} is an axis, and no two arms differ in it: beside the other settings it changes nothing "
        "(`harness list AXIS` says what a setting does)"
        for axis in _idle(study, distinct)
    ]
    told += _coupled_decay(study, distinct)
    lr = study.baseline.get("lr")
    inherited = {settings.optimizer for settings in distinct if settings["lr"] == lr}
    for name in sorted(inherited) if "lr" not in study.axes else []:
        default = optimizers[name].settings["lr"].default
        if isinstance(lr, float) and isinstance(default, (int, float)) and lr >= 10 * default > 0:
            told.append(
                f"lr = {lr:g} also applies to {name}, {lr / default:.0f} times its default of {default:g}"
            )
    arms = {settings.dataset: settings for settings in distinct}
    for name in sorted(arms):
        facts = arms[name].facts
        told += [f"data set {name!r}: {sentence}" for sentence in (*facts.said, *facts.warnings)]
    if study.tune is not None and study.about.phase == "fixed":
        told += seed_blocks.doubts(study.tune.blocks, study.seeds, study.tune.seeds)
    several = (targets.warnings, resampled, _looks_at_nothing, _unpaired, _unrounded, unseen)
    return [*told, *(sentence for say in several for sentence in say(study, everything))]


def _coupled_decay(study: Study, arms: Sequence[Settings]) -> list[str]:
    """Say where an adaptive optimizer has a weight decay that is meant for adamw. What is tuned chooses."""
    if study.about.phase != "fixed":
        return []
    given = {
        (settings.optimizer, value)
        for settings in arms
        if settings.optimizer in COUPLED
        and isinstance(value := settings.get("weight_decay"), (int, float))
        and value >= STRONG_DECAY
    }
    return [
        f"weight_decay = {value:g} of {name} is an L2 penalty, which {name} divides like every gradient: it "
        "takes far more accuracy than the same in adamw, where weight decay shrinks the weights by itself"
        for name, value in sorted(given)
    ]


def _idle(study: Study, arms: Sequence[Settings]) -> Iterator[str]:
    """Name the axes of several values in which no arms differ: skip, where no layer keeps its shape."""
    for axis in [axis for axis in study.axes if axis not in study.linked_axes and len(study.axes[axis]) > 1]:
        values = (as_text(settings.get(axis)) for settings in arms)
        first = next(values, None)
        if first is not None and all(value == first for value in values):
            yield axis


def resampled(study: Study, everything: Sequence[Trial]) -> list[str]:
    """Say what verdicts of a study mean whose seeds each have a split of their own; nothing for one split."""
    if not study.about.resample_split or study.sealed:
        return []
    drawn = [settings for settings in settings_of_arms(everything) if "split_seed" in settings]
    if not drawn:
        told = (
            "study.resample_split = true changes nothing: no arm draws a split (val_fraction = 0, or "
            "val_split = 'last'), so all seeds have the same one. Take it out, or draw val images"
        )
    elif study.contrasts.metric != "val_accuracy":
        told = (
            "study.resample_split = true: verdicts on test are for other seeds and splits of the same train "
            "images, judged by the same test images. Val, which each seed draws anew, speaks of other "
            "images, too: contrasts.metric = 'val_accuracy', or that section of the report"
        )
    else:
        part, seeds = max(float(settings.val_fraction) for settings in drawn), len(study.seeds)
        alone = seeds / (1 + seeds * part / (1 - part))
        told = (
            "study.resample_split = true and contrasts.metric = 'val_accuracy': seeds share images, so their "
            "differences are not independent. Verdicts take Nadeau and Bengio's correction, and "
            f"{count(seeds, 'seed')} tell as much as {alone:.1f} that share none"
        )
    return [told]


def _looks_at_nothing(study: Study, everything: Sequence[Trial]) -> list[str]:
    """Say that a study of one arm is looked at in vain."""
    if not study.contrasts.looks or len(settings_of_arms(everything)) > 1:
        return []
    return ["contrasts.looks: there is one arm, so no contrast that a look could tell; all seeds are trained"]


def _unpaired(study: Study, everything: Sequence[Trial]) -> Iterator[str]:
    """Name the levels of a grid that nothing is compared with: no arm has the reference, all else the same.

    Such is an optimizer with momentum beside an axis of momenta, where the reference has none.
    """
    if study.about.phase != "fixed":
        return
    varied = [axis for axis, values in study.axes.items() if len(values) > 1]
    arms = [
        {axis: arm.labels.get(axis) or as_text(arm.settings.get(axis)) for axis in varied}
        for arm in arms_of(everything)
    ]
    for level in (level for level in study.contrasts.levels if level.axis in varied):
        axis, beside = level.axis, dict[tuple[str, ...], set[str]]()
        for own in arms:
            others = tuple(value for name, value in own.items() if name != axis)
            beside.setdefault(others, set()).add(own[axis])
        compared = set().union(*(found for found in beside.values() if level.reference in found))
        there = dict.fromkeys(own[axis] for own in arms if own[axis])
        if alone := [name for name in there if name not in compared]:
            yield (
                f"{axis} = {', '.join(alone)}: no contrast, for no arm of {axis} = {level.reference} is the "
                "same otherwise: a setting of another axis applies beside one of them alone. To compare "
                "them, write the arms out as linked settings"
            )


def _unrounded(study: Study, everything: Sequence[Trial]) -> list[str]:
    """Say which numbers of a study that Python made have more digits than are meant: np.logspace's, say.

    The last digit of what is computed may depend on the processor, and with it a trial's id.
    """
    if study.path is not None or study.about.phase != "fixed":
        return []
    given = {(name, value) for settings in settings_of_arms(everything) for name, value in settings.items()
             if isinstance(value, float) and value != float(f"{value:.{DIGITS}g}")}  # fmt: skip
    if not given:
        return []
    name, value = min(given)
    more = f", and {len(given) - 1} more numbers like it" if len(given) > 1 else ""
    depends = "the last digits of a computed number (np.logspace) depend on the processor"
    return [f"{name} = {value!r}{more}: {depends}, and trials' ids with them. Round: float(f'{{x:.6g}}')"]


def unseen(study: Study, everything: Sequence[Trial]) -> list[str]:
    """Say what decides trials' numbers without being part of their ids, because it cannot be read."""
    anew = "search into a new folder: --results" if study.search else "train all anew: harness run --retrain"
    tracked = [("metric", metrics.entry(name)) for name in study.metrics]
    return plugins.unseen([*components_of(everything), *tracked], f"Where it did, {anew}")
