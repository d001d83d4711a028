"""Compilation: which trials train in compiled code from end to end, and why others do not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from harness.axes.augmentations import NONE
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings, once_an_arm
from harness.lowering import builds, checks, compiler, components
from harness.lowering.lowered import looking_once
from harness.lowering.refusals import BRANCHES, NotLoweredError
from harness.planning import networks
from harness.planning.stack import Stack

DEEPEST = 30
"""Hidden layers of a compiled network, at most."""
WIDE = 128
"""Units of a layer beyond which it is a wide one, whose speed is measured on its own."""

KIND = (
    "dataset", "architecture", "norm", "skip", "augmentation", "activation", "head", "loss", "match",
    "optimizer",
)  # fmt: skip
"""Settings that decide, beside hidden layers and an optimizer's switches, what is compiled of a trial."""
T = TypeVar("T")

_slow_when_wide: set[builds.Bits] = set()
"""The builds of which this process knows, by the kernels' self-test: PyTorch is faster in wide layers."""


def note_wide(*, faster: bool) -> None:
    """Take note whether compiled code of the build in use is faster than PyTorch in wide layers."""
    (_slow_when_wide.discard if faster else _slow_when_wide.add)(builds.bits())


def kind(settings: Settings) -> tuple[Hashable, ...]:
    """Name all that decides of a study's trial whether it is compiled, and what of it."""
    given, optimizer = settings.as_dict(), optimizers[settings.optimizer]
    rule = optimizer.switches(given), optimizer.zeros(given)
    return (*settings.values_of(KIND), str(given.get("hidden")), *rule)


def once_a_kind(
    function: Callable[[Settings], T], kind_of: Callable[[Settings], tuple[Hashable, ...]] = kind
) -> Callable[[Settings], T]:
    """Make a function that computes a value once of arms that compiled code does not tell apart.

    They are arms of one study, whose components stay as they are meanwhile; `kind_of` is `kind`.
    """
    known: dict[tuple[Hashable, ...], T] = {}

    def find(settings: Settings) -> T:
        key = kind_of(settings)
        if key not in known:
            known[key] = function(settings)
        return known[key]

    return find


def distinct(arms: Iterable[Settings]) -> list[Settings]:
    """List the first one each of arms that compiled code does not tell apart."""
    first: dict[tuple[Hashable, ...], Settings] = {}
    for settings in {id(settings): settings for settings in arms}.values():
        first.setdefault(kind(settings), settings)
    return list(first.values())


def why_not(settings: Settings, metrics: Sequence[str] = ()) -> str:
    """Say why a trial does not train in compiled code on this machine's CPU; empty where it does.

    Nothing is compiled for this: of components that are new here, a check may yet find something.
    """
    if compiler.switched_off():
        return f"compiled code is switched off by {compiler.SWITCH}"
    if reason := unfit_shape(settings):
        return reason
    try:
        parts = components.of_trial(settings, metrics)
    except NotLoweredError as error:
        return str(error)
    return next(filter(None, map(checks.known, parts)), "")


def unfit_shape(settings: Settings) -> str:
    """Say why a network, or what changes its images, is not for compiled code; empty where it is."""
    if settings.architecture != "mlp":
        return f"architecture {settings.architecture!r} trains in PyTorch"
    if not settings.plain_mlp:
        return f"{not_plain(settings)} trains in PyTorch"
    if settings.augmentation != NONE:
        return f"augmentation {settings.augmentation!r} trains in PyTorch"
    hidden = settings.hidden
    if max(hidden, default=0) > WIDE and builds.bits() in _slow_when_wide:
        return (
            f"hidden = {hidden}: by the kernels' self-test, PyTorch is faster on this machine in layers of "
            f"more than {WIDE} units"
        )
    if len(hidden) > DEEPEST:
        return f"hidden has {len(hidden)} layers; more than {DEEPEST} train in PyTorch"
    return ""


def not_plain(settings: Settings) -> str:
    """Say what an mlp has beside its layers, activations and dropout."""
    return f"norm = {settings.norm!r}" if settings.norm != "none" else "skip = true"


@looking_once()
def why_alone(settings: Settings) -> str:
    """Say why a trial must not share a stack with others; empty where it may.

    A third party's component that branches on a tensor's values would branch on those of all members.
    """
    for origin in components.origins(settings):
        try:
            if origin.third_party:
                components.lower(origin)
        except NotLoweredError as error:
            if BRANCHES in str(error):
                return f"{origin.place} branches on values, which in a stack are those of all its members"
    return ""


def reasons(stacks: Iterable[Stack], device: str, metrics: Sequence[str]) -> list[str]:
    """Say, once each, what of stacks trains in PyTorch and how, or why not in compiled code on a CPU."""
    stacked = [trial.arm.settings for stack in stacks if stack.engine == "stacked" for trial in stack.trials]
    plain = once_an_arm(lambda settings: settings.plain_mlp)
    every = list({id(settings): settings for settings in stacked if plain(settings)}.values())
    ways = networks.ways(settings for settings in stacked if not plain(settings))
    if device != "cpu":
        return ways
    if every and compiler.switched_off():
        return [f"compiled code is switched off by {compiler.SWITCH}: PyTorch computes what it would", *ways]
    every = distinct(every)
    shapes = [reason for settings in every if (reason := unfit_shape(settings))]
    fitting = [settings for settings in every if not unfit_shape(settings)]
    return list(dict.fromkeys([*ways, *shapes, *components.reasons(fitting, metrics)]))
