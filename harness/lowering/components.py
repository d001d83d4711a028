"""Components by name, as C: shipped with the harness, or traced from their own functions and kept.

The harness's own are found in `shipped/`, without torch. A third party's, and one of the harness's own for
another number of classes, is traced in this process, and its text, or the reason why there is none, is kept
in the cache: worker processes find it there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings
from harness.errors import LONGEST, MachineError, in_words
from harness.lowering import checks, compiler
from harness.lowering.lowered import ComponentOrigin, Lowered, facts_of, looking_once, surroundings
from harness.lowering.refusals import NotLoweredError
from harness.settings import Value
from harness.system import files, process_state
from harness.system.lazy import torch

SHIPPED = Path(__file__).with_name("shipped")
CLASSES = 10
"""Classes of the outputs and metrics that are shipped."""


@dataclass(frozen=True)
class TrialComponents:
    """All that a trial's steps and evaluations need."""

    activation: Lowered
    output: Lowered
    metrics: tuple[Lowered, ...]
    optimizer: Lowered

    def __iter__(self) -> Iterator[Lowered]:
        yield from (self.activation, self.output, *self.metrics, self.optimizer)


def activation(name: str) -> Lowered:
    """Lower an activation; raise NotLoweredError where it cannot be."""
    return lower(ComponentOrigin("activation", (name,)))


def output(head: str, loss: str, match: str, classes: int) -> Lowered:
    """Lower a head with the form of a loss that fits it, or with match "ignore", the loss's first."""
    return lower(_output(head, loss, match, classes))


def metric(head: str, metric: str, classes: int) -> Lowered:
    """Lower a metric of the probabilities that a head's output stands for."""
    return lower(ComponentOrigin("metric", (head, metric), classes))


def optimizer(name: str, switches: Mapping[str, Value], zeros: frozenset[str] = frozenset()) -> Lowered:
    """Lower an optimizer with its settings that are not numbers, and without those that are exactly 0."""
    return lower(
        ComponentOrigin(
            "optimizer", (name,), switches=tuple(sorted(switches.items())), zeros=tuple(sorted(zeros))
        )
    )


def of_trial(settings: Settings, metrics: Sequence[str] = ()) -> TrialComponents:
    """Lower all components of a trial; raise NotLoweredError where one of them cannot be."""
    first, second, *rest, last = map(lower, origins(settings, metrics))
    return TrialComponents(first, second, tuple(rest), last)


def origins(settings: Settings, metrics: Sequence[str] = ()) -> list[ComponentOrigin]:
    """Name what a trial needs: its activation, output, metrics and optimizer."""
    classes = len(settings.facts.classes)
    return [
        ComponentOrigin("activation", (settings.activation,)),
        _output(settings.head, settings.loss, settings.match, classes),
        *(ComponentOrigin("metric", (settings.head, name), classes) for name in metrics),
        _optimizer(settings),
    ]


def _output(head: str, loss: str, match: str, classes: int) -> ComponentOrigin:
    component = losses[loss]
    applied, fitting = component.form(heads[head].kind, match), component.forms.get(heads[head].kind)
    return ComponentOrigin("output", (head, loss), classes, first_form=applied != fitting)


def _optimizer(settings: Settings) -> ComponentOrigin:
    optimizer = optimizers[settings.optimizer]
    names = [name for name in optimizer.settings if isinstance(settings[name], (bool, str))]
    switches, zeros = {name: settings[name] for name in names}, optimizer.zeros(settings)
    return ComponentOrigin(
        "optimizer",
        (settings.optimizer,),
        switches=tuple(sorted(switches.items())),
        zeros=tuple(sorted(zeros)),
    )


@looking_once()
def reasons(settings: Iterable[Settings], metrics: Sequence[str] = ()) -> list[str]:
    """Say, once each, which components of trials are not compiled, and why.

    Nothing is compiled for this: what a compiler or a check finds is told once it is known (`prepare`).
    """
    wanted = dict.fromkeys(origin for arm in settings for origin in origins(arm, metrics))
    sentences = []
    for origin in wanted:
        try:
            complaint = checks.known(lower(origin))
        except NotLoweredError as error:
            complaint = str(error)
        if complaint:
            sentences.append(f"{origin.place} is not compiled: {complaint}; it trains in PyTorch")
    return sentences


def prepare(components: Iterable[Lowered]) -> None:
    """Compile and check components, so that worker processes find them in the cache, and verdicts on them."""
    checks.verdicts(list(components))


def lower(origin: ComponentOrigin) -> Lowered:
    """Give a component's text: shipped, kept in this process, in the cache, or traced now."""
    found = _found(origin, origin.digests)
    if isinstance(found, str):
        raise NotLoweredError(found)
    return found


@functools.cache
def _found(origin: ComponentOrigin, digests: tuple[str, ...]) -> Lowered | str:
    """Return a lowered component, or why there is none, for components of these digests."""
    if not any(digests):
        with suppress(OSError):
            return Lowered(origin, shipped(origin).read_text(encoding="utf-8"))
    if unseen := _unseen(origin):
        return f"it may change unnoticed, by {unseen}"
    kept = _kept(origin, digests)
    made = _read(kept)
    if made is None:
        made = _traced(origin)
        if _now(origin) != digests:
            return "it keeps state: it is another one after it was called"
        if unseen := _unseen(origin):  # by now: what an object counts is known once it was called
            return f"it may change unnoticed, by {unseen}"
        if made[1] and sys.modules.get("torch", ...) is None:  # this process may not import it, for now
            raise NotLoweredError(made[1])  # and nothing is known of the component, so nothing is kept
        _write(kept, made)
    text, refusal = made
    return refusal or Lowered(origin, text)


def _unseen(origin: ComponentOrigin) -> str:
    """Say what a component depends on that its digest does not tell; empty if nothing."""
    parts = [part for entry in origin.entries if entry.take_digest for part in entry.take_digest().unseen]
    return next(iter(parts), "")


def _now(origin: ComponentOrigin) -> tuple[str, ...]:
    return tuple(entry.code_digest for entry in origin.entries)


def shipped(origin: ComponentOrigin) -> Path:
    """Return the path that the text of one of the harness's own has, if it is shipped."""
    on = [
        name if value is True else f"{name}={value}" for name, value in origin.switches if value is not False
    ]
    words = [origin.kind, *origin.names, *on, *(f"no_{name}" for name in origin.zeros)]
    fits = origin.classes in {0, CLASSES} and not origin.first_form
    return SHIPPED / f"{'-'.join(words)}.c" if fits else SHIPPED / "none"


def forget() -> None:
    """Look for texts again at their next use."""
    _found.cache_clear()


# ----------------------------------------------------------------------------------- texts kept in the cache


def _kept(origin: ComponentOrigin, digests: Sequence[str]) -> Path:
    """Return the path in the cache of a text, or of a reason why there is none."""
    parts = [origin.packed(), *digests, surroundings()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return compiler.folder() / "texts" / f"{key}.json"


def _read(path: Path) -> tuple[str, str] | None:
    """Read a text and a reason, one of them empty; None where the file is missing or damaged."""
    with suppress(*files.DAMAGE, MachineError):
        table = files.json_table(path)
        text, refusal = str(table["text"]), str(table["refusal"])
        if table["digest"] == _digest(text, refusal) and bool(text) is not bool(refusal):
            return text, refusal
    return None


def _write(path: Path, made: tuple[str, str]) -> None:
    """Keep a text, or a reason; where the cache cannot be written it is traced again by every process."""
    text, refusal = made
    table = {"digest": _digest(text, refusal), "text": text, "refusal": refusal}
    with suppress(MachineError):
        files.write(path, json.dumps(table).encode())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------- tracing


def _traced(origin: ComponentOrigin) -> tuple[str, str]:
    """Trace a component's functions; return its text and "", or "" and why it has none."""
    try:
        with process_state.kept() as changed, torch.random.fork_rng(devices=[]):
            text = text_of(origin)
        facts_of(text)
    except NotLoweredError as error:
        return "", str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (a third party's function, and torch's tracer, may raise anything)
        return "", f"it cannot be traced: {in_words(error)[:LONGEST]}"
    if changed:  # compiled it would not, and would train where it has to fail
        return "", f"it changes settings of the whole process: {', '.join(changed)}"
    return text, ""


def text_of(origin: ComponentOrigin) -> str:
    """Emit the text of a component; torch is imported for it."""
    from harness.lowering import templates

    first, *rest = origin.components
    if origin.kind == "activation":
        return templates.activation(first)
    if origin.kind == "output":
        return templates.output(first, origin.form, origin.classes, list(rest[0].settings))
    if origin.kind == "metric":
        return templates.metric(first, rest[0], origin.classes)
    switches = {name: value for name, value in origin.switches if isinstance(value, (bool, str))}
    return templates.optimizer(first, switches, origin.zeros)
