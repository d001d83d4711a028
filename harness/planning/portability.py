"""Portability: which trials give the same bits on every processor, and why others cannot.

Portable are numbers that only the harness's own C decides, compiled so that every operation is rounded by
itself in one order (`lowering/builds.py`), and NumPy's products, sums, quotients and roots, which every
processor rounds alike. What a C library computes is not: libraries differ in the last bit of an exponential.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.axes.architectures import NORMAL
from harness.axes.schedules import schedules
from harness.data.arm_settings import Settings
from harness.data.preprocessing import preprocessings
from harness.errors import UsageError
from harness.lowering import compiler, components
from harness.lowering.expressions import libm_calls
from harness.lowering.lowered import ComponentOrigin, looking_once
from harness.lowering.refusals import NotLoweredError
from harness.planning import compilation
from harness.registry import Entry
from harness.study.trials import Trial

MOST_TOLD = 6
"""Reasons that an error lists."""
ADVICE = "Take --bits native, or components and shapes that are portable"


@looking_once()
def check(trials: Iterable[Trial], metrics: Sequence[str] = ()) -> None:
    """Raise UsageError where trials cannot give the same bits on every processor; nothing is compiled for it.

    It is asked while the portable build is in use.
    """
    arms = {id(trial.arm): trial.arm.settings for trial in trials}.values()
    if compiler.switched_off():
        raise UsageError(
            f"--bits portable: compiled code is switched off by {compiler.SWITCH}, and PyTorch's bits depend "
            f"on the processor. Allowed: {compiler.SWITCH} not set, or on; or --bits native"
        )
    reasons = list(dict.fromkeys(reason for settings in arms for reason in problems(settings, metrics)))
    lines = [f"  - {reason}" for reason in reasons[:MOST_TOLD]]
    if len(reasons) > MOST_TOLD:
        lines.append(f"  - and {len(reasons) - MOST_TOLD} more")
    if lines:
        raise UsageError("\n".join(["--bits portable: nothing was run", *lines, ADVICE]))


def problems(settings: Settings, metrics: Sequence[str] = ()) -> Iterator[str]:
    """Yield why a trial's bits depend on the processor or on a C library."""
    if reason := compilation.unfit_shape(settings):
        yield reason
        return
    if settings.initial_weights in NORMAL:
        yield (
            f"initial_weights = {settings.initial_weights!r} draws normal numbers by the C library's exp "
            "and log, whose last bits differ from library to library"
        )
    yield from _unseen("schedule", schedules.entry(settings.schedule))
    yield from _unseen("preprocessing", preprocessings.entry(settings.preprocessing))
    for origin in components.origins(settings, metrics):
        if reason := _of_component(origin):
            yield f"{origin.place} {reason}"


def _unseen(axis: str, entry: Entry[Any]) -> Iterator[str]:
    """Yield why a function that is not compiled is not portable, unless it is the harness's own."""
    if entry.third_party:
        yield (
            f"{axis} {entry.name!r} ({entry.where}) is a function of its own: whether its bits depend on the "
            "processor cannot be seen"
        )


def _of_component(origin: ComponentOrigin) -> str:
    """Say why a component's bits depend on a C library or on PyTorch; empty where they do not."""
    try:
        calls = libm_calls(components.lower(origin).text)
    except NotLoweredError as error:
        return f"is not compiled: {error}"
    if not calls:
        return ""
    return f"calls the C library's {', '.join(calls)}, whose last bits differ from library to library"
