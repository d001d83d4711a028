"""Seed axes: `seed.start = 8` under [axes] varies one source of a trial's randomness alone.

In a grid such axes are not combined with each other: they become the values of one linked axis, `fixed_seed`,
of which each gives one source a seed for all trials of an arm. With "start 3" every trial has
the initial weights of seed 3, and all else of its own seed. Over seeds, the arms of a source are a table of
two ways, from which `stats.seed_variance` reads the variance of that source.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import did_you_mean, quoted
from harness.settings import DEFAULTS, Seeds, listed_seeds, shortened
from harness.settings.schema import FIXED_SEED, STREAM_SEEDS

PREFIX = "seed."
NONE = "none"
"""The value of the linked axis in arms whose trials draw everything by their own seed."""
ALL = "all"
SOURCES: Mapping[str, Sequence[str]] = {
    "start": ("start_seed",), "order": ("order_seed",), "split": ("split_seed",),
    "dropout": ("dropout_seed",), "augmentation": ("augmentation_seed",),
    "label_noise": ("label_noise_seed",), ALL: STREAM_SEEDS,
}  # fmt: skip
"""A source of randomness -> the settings that give it a seed."""
OFF = {
    "order": "sampling is 'sequential'", "split": "val_fraction is 0, or val_split 'last'",
    "dropout": "dropout is off", "augmentation": "augmentation is off", "label_noise": "label_noise is off",
}  # fmt: skip
"""Sources that some arms draw nothing of -> why not."""
FEWEST = 2
"""Seeds of a source, at least, that a variance can be computed from."""


def flattened(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Give axes with the table of `seed.start = ..`, which TOML makes of such a key, as dotted names.

    >>> flattened({"seed": {"start": 8}, "lr": [0.1]})
    {'lr': [0.1], 'seed.start': 8}
    """
    inner = axes.get("seed")
    if not isinstance(inner, Mapping):
        return dict(axes)
    others = {axis: values for axis, values in axes.items() if axis != "seed"}
    return others | {f"{PREFIX}{source}": values for source, values in inner.items()}


def expanded(
    axes: Mapping[str, Any], baseline: Mapping[str, Any], design: object, problems: list[str]
) -> dict[str, Any]:
    """Replace the seed axes among raw axes by their linked axis; what is wrong is told to `problems`."""
    given = {axis: values for axis, values in axes.items() if axis.startswith(PREFIX)}
    others = {axis: values for axis, values in axes.items() if not axis.startswith(PREFIX)}
    if not given:
        return others
    if FIXED_SEED in others:
        problems.append(
            f"axes.{FIXED_SEED}: the name of the axis that {', '.join(given)} become; give it another"
        )
        return others
    if design not in (None, "grid"):
        problems.append(
            f"axes.{next(iter(given))}: only for design = 'grid', in which each source is varied alone, too"
        )
        return others
    values: list[dict[str, Any]] = [{"name": NONE}]
    for axis, seeds in given.items():
        source = axis.removeprefix(PREFIX)
        if source not in SOURCES:
            problems.append(f"axes.{axis}: unknown source of randomness; {did_you_mean(source, SOURCES)}")
            continue
        own = baseline.get(SOURCES[source][0], DEFAULTS[SOURCES[source][0]])  # of the arm with none fixed
        values += [
            {"name": f"{source} {seed}", **dict.fromkeys(SOURCES[source], seed)}
            for seed in _seeds(axis, seeds, problems)
            if seed != own
        ]
    return {**others, FIXED_SEED: values}


def _seeds(axis: str, given: object, problems: list[str]) -> list[int]:
    """Read the seeds of a source: a list, or a count, which `--set` gives as a list of one."""
    alone = axis == PREFIX + ALL
    counted = given[0] if isinstance(given, list) and len(given) == 1 and not alone else given
    try:
        seeds: list[int] = _adapter().validate_python(listed_seeds(counted, f"axes.{axis}"))
    except ValidationError as error:
        words = shortened(error.errors()[0]["msg"])
    except ValueError as error:
        words = str(error)
    else:
        if alone or len(seeds) >= FEWEST:
            return seeds
        words = f"at least {FEWEST} seeds, as one has no variance"
    problems.append(f"axes.{axis} = {quoted(given)}: allowed: {words}")
    return []


@functools.cache
def _adapter() -> TypeAdapter[list[int]]:
    return TypeAdapter(Seeds, config=ConfigDict(strict=True))


def problems(
    axes: Mapping[str, Sequence[Any]], baseline: Mapping[str, Any], *, resamples: bool, tunes: bool
) -> Iterator[str]:
    """Yield what seed axes cannot vary in a study of these axes, each validated by itself.

    `resamples`: the split goes with a trial's seed; `tunes`: arms are tuned.
    """
    values = [value for value in axes.get(FIXED_SEED, []) if isinstance(value, Mapping)]
    names = [str(value["name"]) for value in values if value["name"] != NONE]
    sources = {name.rpartition(" ")[0] for name in names}
    if other := next((name for name in names if name.rpartition(" ")[0] not in SOURCES), ""):
        yield (
            f"axes.{FIXED_SEED}: {other!r} is no source of randomness and its seed, as seed axes have here; "
            "give your axis another name"
        )
    for source in sorted(sources & {*SOURCES}):
        streams = [key for key in SOURCES[source] if key in STREAM_SEEDS]
        if given := next((key for key in streams if key in baseline), ""):
            yield (
                f"axes.{PREFIX}{source} and baseline.{given}: arms without a fixed seed, which the others "
                "are held against, draw by the trial's own; take one of them out"
            )
    if ALL in sources and resamples:
        yield (
            f"axes.{PREFIX}{ALL} and study.resample_split = true: the split would go with a trial's seed; "
            "take one of them out"
        )
    if values and tunes:
        yield (
            f"axes.{FIXED_SEED} and [tune]: each arm would choose its own settings, and arms would differ in "
            "more than a seed; give the settings under [baseline]"
        )


def idle(names: Iterable[str], drawn: Collection[str]) -> Iterator[str]:
    """Yield the seed axes that change nothing in any arm.

    `names`: the values of the linked axis; `drawn`: those of them with a trained arm.
    """
    sources = dict.fromkeys(name.rpartition(" ")[0] for name in names if name != NONE)
    for source in sources:
        if not any(name.rpartition(" ")[0] == source for name in drawn):
            yield (
                f"axes.{PREFIX}{source}: {OFF.get(source, 'it is off')} in every arm, so that this seed "
                "draws nothing; switch it on, or take the axis out"
            )
