"""A plan's components that are a person's own, and what is wrong with them, before anything is trained.

The harness's own are not called here: a plan of them needs no torch.
"""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.axes import plugins
from harness.axes.architectures import MLPS, Shape, architectures, smallest_map
from harness.axes.augmentations import augmentations, augmented_batch
from harness.axes.schedules import Clock, factors, schedules
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.images import planes
from harness.data.preprocessing import PixelStatistics, applied, preprocessings
from harness.data.samples import shape_of, train_size
from harness.errors import ComponentError
from harness.registry import place
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

OF_CLASSES = ("head", "loss")
"""Axes whose components may be for a number of classes."""
CHECKED_ALONE = ("activation", "head", "loss", "optimizer")
"""Axes whose components are checked without a study's settings."""
PIXELS = 12  # images that a preprocessing is tried on


def problems(arms: Iterable[Settings]) -> list[str]:
    """Say how third-party components of arms break their contracts, a sentence each, with its place."""
    distinct = list({id(arm): arm for arm in arms}.values())
    sentences: list[str] = []
    chosen = {(axis, entry.name): entry for axis, entry in plugins.chosen_by(distinct)}
    for (axis, name), entry in chosen.items():
        if entry.third_party:
            users = [arm for arm in distinct if arm.get(axis) == name]
            sentences += [f"{entry.where}: {fault}" for fault in faults(axis, name, entry.component, users)]
    return [*dict.fromkeys([*misfits(distinct), *sentences])]


def misfits(arms: Iterable[Settings]) -> list[str]:
    """Say why networks of the harness's own cannot be built for arms' images, a sentence each."""
    distinct = {id(arm): arm for arm in arms}.values()
    own = [arm for arm in distinct if not architectures.entry(arm.architecture).third_party]
    return list(dict.fromkeys(filter(None, map(_misfit, own))))


def _misfit(arm: Settings) -> str:
    """Say why an arm's network cannot be built; empty where it can."""
    component = architectures[arm.architecture]
    if (
        component.name in MLPS
        and arm.norm != "batch"
        and not preprocessings.entry(arm.preprocessing).third_party
    ):
        return ""
    shape = shape_of(arm)
    if component.name not in MLPS:  # these are of any rows
        problem = component.problem(shape, arm, rows=shape[:2] == (1, 1) and shape != arm.facts.image_shape)
        if problem:
            return f"architecture {component.name!r} on {arm.dataset}: {problem}"
    if arm.norm == "batch" and _normalises_one_value(arm, shape) and (lone := _lone_image(arm)):
        return f"architecture {component.name!r}, norm 'batch': a batch of one image has no spread. {lone}"
    return ""


def _normalises_one_value(arm: Settings, shape: Shape) -> bool:
    """Tell whether a norm of a built-in network sees a single value a channel of one image."""
    if arm.hidden and (arm.architecture == "mlp" or arm.get("readout") == "dense"):
        return True
    return arm.architecture not in MLPS and smallest_map(arm.architecture, shape, arm) == 1


def raised_in(error: BaseException) -> str:
    """Say in which third party's component an exception was raised, such as ", in loss 'mine' (own.py:4)".

    Empty where it was raised in none.
    """
    frames = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    places = {place(code.co_filename, code.co_firstlineno) for code in frames}
    for axis, registry in plugins.catalogue().items():
        for entry in registry:
            if entry.third_party and entry.where in places:
                return f", in {axis} {entry.name!r} ({entry.where})"
    return ""


def faults(axis: str, name: str, component: Any, arms: Sequence[Settings]) -> Iterator[str]:
    """Say what is wrong with a component, by the settings of the arms that use it."""
    if axis in CHECKED_ALONE:
        from harness.axes import contracts

        smooth = {"smooth": any(arm.get("label_smoothing") for arm in arms)} if axis == "loss" else {}
        fault = contracts.fault(axis, name, component, **smooth)
        if axis in OF_CLASSES and " raises " in fault:  # it may have a weight for each class of this study
            counts = sorted({len(arm.facts.classes) for arm in arms})
            with_these = [_fault_of(count, axis, name, component, **smooth) for count in counts]
            fault = fault if any(with_these) else ""
        yield from [fault] if fault else []
        return
    check = {
        "preprocessing": _preprocessing, "schedule": _schedule, "architecture": _architecture,
        "augmentation": _augmentation,
    }.get(axis)  # fmt: skip
    reported: set[str] = set()
    for arm in arms if check is not None else ():
        key = _key(axis, component, arm)
        if key in reported or check is None:
            continue
        reported.add(key)
        try:
            check(name, arm)
        except ComponentError as error:
            yield str(error)
            return


def _fault_of(classes: int, axis: str, name: str, component: Any, **how: Any) -> str:
    """Say what is wrong with a component for so many classes; empty where nothing is."""
    from harness.axes import contracts
    from harness.axes.probes import of_classes

    with of_classes(classes):
        return contracts.fault(axis, name, component, **how)


def _key(axis: str, component: Any, arm: Settings) -> str:
    """Return the part of an arm's settings that this kind of component is given."""
    names = [*getattr(component, "settings", ()), "dataset"]
    names += ["epochs", "steps", "batch_size", "val_fraction"] if axis == "schedule" else []
    names += ["activation"] if axis == "architecture" else []
    return str([arm.get(name) for name in names])


def _schedule(name: str, arm: Settings) -> None:
    schedule, budget = schedules[name], Budget.of(arm, train_size(arm))
    settings = {setting: arm[setting] for setting in schedule.settings}
    factors(schedule, Clock.of(budget.steps, budget.steps_per_epoch), settings)


def _preprocessing(name: str, arm: Settings) -> None:
    """Raise ComponentError where one gives no pixels, or an image others than with other images beside it."""
    facts, apply = arm.facts, preprocessings[name].apply
    rng = np.random.default_rng(0)  # all pixel values are equally likely, and no two images alike
    images = planes(rng.integers(0, int(facts.pixel_max) + 1, (PIXELS, *facts.shape)))
    images = images.astype(np.uint8 if facts.pixel_max <= 255 else np.uint16)
    pixels = PixelStatistics(facts.pixel_max, images)
    together, half = (
        applied(name, apply, x.astype(np.float32), pixels) for x in (images, images[: PIXELS // 2])
    )
    what = f"preprocessing {name!r}"
    if together.shape[1:] != half.shape[1:] or not np.allclose(together[: PIXELS // 2], half, 1e-5, 1e-6):
        raise ComponentError(
            f"{what}: the pixels of one image change with the images beside it, or at each call; what it may "
            "know of all images is in its second argument (.mean, .sd and .max of train, and .train itself)"
        )


def _augmentation(name: str, arm: Settings) -> None:
    """Raise ComponentError where one gives no such batch, or another one of the same generator's draws."""
    facts, component, what = arm.facts, augmentations[name], f"augmentation {name!r}"
    rng, classes = np.random.default_rng(0), len(facts.classes)
    apply = functools.partial(component.apply, **{setting: arm[setting] for setting in component.settings})
    for count in (PIXELS, 1):  # the last batch of a pass may be short
        x = rng.integers(0, int(facts.pixel_max) + 1, (count, *facts.image_shape)).astype(np.float32)
        target = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, count)]
        batches = [
            augmented_batch(what, apply, x.copy(), target.copy(), np.random.default_rng(1)) for _ in range(2)
        ]
        if not all(map(np.array_equal, *batches)):
            raise ComponentError(
                f"{what} gives another batch at each call: all that is random must come from its third "
                "argument, a numpy.random.Generator, and nothing be kept between calls"
            )


def _architecture(name: str, arm: Settings) -> None:
    """Raise ComponentError where a network cannot be built, or gives no logits, or has nothing to learn."""
    from harness.axes import network_probes
    from harness.axes.probes import call, noise

    shape, classes = shape_of(arm), len(arm.facts.classes)
    what, component = f"architecture {name!r}", architectures[name]
    net = call(what, component.network, shape, classes, _activation(arm), arm)
    if not isinstance(net, torch.nn.Module):
        raise ComponentError(f"{what} gives {type(net).__name__}; allowed: a torch.nn.Module")
    x = noise(4, math.prod(shape)).float()
    x = x.view(4, *shape) if component.takes_images else x
    network_probes.check(what, net, x, classes)
    if remedy := _lone_image(arm):
        network_probes.check_lone_image(what, net, x[:1], remedy)


def _lone_image(arm: Settings) -> str:
    """Say how to train without a batch of one image; empty where there is none."""
    size, batch = train_size(arm), arm.batch_size
    budget = Budget.of(arm, size)
    whole_pass = arm.sampling != "replacement" and budget.steps >= budget.steps_per_epoch
    if batch > 1 and not (size % batch == 1 and whole_pass):
        return ""
    return f"Another batch_size than {batch}, for {size:,} training images; or another val_fraction"


def _activation(arm: Settings) -> Any:
    from harness.axes.activations import activations

    forward = activations[str(arm.get("activation", "identity"))].forward

    class Applied(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    return Applied
