"""A lowered component: its C text, and the registered functions that it comes from."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.axes import plugins
from harness.axes.losses import Form
from harness.lowering.refusals import NotLoweredError
from harness.registry import Entry
from harness.settings import Value

AXES: Mapping[str, tuple[str, ...]] = {
    "activation": ("activation",), "output": ("head", "loss"), "metric": ("head", "metric"),
    "optimizer": ("optimizer",),
}  # fmt: skip
"""Kind of a lowered component -> the axes that its functions are registered in."""


_catalogue = functools.cache(plugins.catalogue)
_looked: ContextVar[dict[tuple[str, str], str] | None] = ContextVar("_looked", default=None)
"""Digests of components that this thread has looked at; None where it looks anew each time."""


@contextmanager
def looking_once() -> Iterator[None]:
    """Look at each component once in what is done inside: the digest of a third party's takes milliseconds.

    Nothing inside may change a component. It is a decorator, too.
    """
    token = _looked.set({}) if _looked.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _looked.reset(token)


def _digest(axis: str, name: str) -> str:
    """Digest a component as it is now, or was when it was looked at; "" of the harness's own."""
    looked = _looked.get()
    if looked is None or (axis, name) not in looked:
        digest = _catalogue()[axis].entry(name).code_digest
        if looked is None:
            return digest
        looked[axis, name] = digest
    return looked[axis, name]


@dataclass(frozen=True)
class ComponentOrigin:
    """The registered functions that become one C text, and what is fixed in it.

    Args:
        kind: a key of AXES.
        names: the functions' names in their registries, in the order of AXES.
        classes: of an output or a metric.
        first_form: whether a loss's first form is applied, whatever the head's output is.
        switches: an optimizer's settings that are not numbers.
        zeros: an optimizer's settings that are exactly 0: what they multiply is left out.
    """

    kind: str
    names: tuple[str, ...]
    classes: int = 0
    first_form: bool = False
    switches: tuple[tuple[str, Value], ...] = ()
    zeros: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry[Any], ...]:
        """Give the registry's entries."""
        registries = _catalogue()
        return tuple(
            registries[axis].entry(name) for axis, name in zip(AXES[self.kind], self.names, strict=True)
        )

    @property
    def components(self) -> tuple[Any, ...]:
        """Give the registered components themselves."""
        return tuple(entry.component for entry in self.entries)

    @property
    def third_party(self) -> bool:
        """Tell whether one of them is not the harness's own."""
        return any(entry.third_party for entry in self.entries)

    @property
    def digests(self) -> tuple[str, ...]:
        """Give the digests of its components; "" of the harness's own."""
        return tuple(map(_digest, AXES[self.kind], self.names))

    @property
    def form(self) -> Form:
        """Give an output's form of the loss."""
        head, loss = self.components
        form: Form | None = loss.form(head.kind, "ignore" if self.first_form else "kind")
        if form is None:
            raise NotLoweredError(f"loss {loss.name!r} has no form for {head.kind}, the head's output")
        return form

    @property
    def name(self) -> str:
        """Give a name that is unique and can be read."""
        on = [
            name if value is True else f"{name}={value}"
            for name, value in self.switches
            if value is not False
        ]
        parts = [
            f"{self.kind} {'+'.join(self.names)}",
            f" of {self.classes} classes" if self.classes else "",
            ", the loss's first form" if self.first_form else "",
            f" {' '.join(on)}" if on else "",
            f" without {', '.join(self.zeros)}" if self.zeros else "",
        ]
        return "".join(parts)

    @property
    def place(self) -> str:
        """Name the components as messages do: "head 'softmax' with loss 'mine' (own.py:4)"."""
        return " with ".join(
            f"{axis} {entry.name!r}" + (f" ({entry.where})" if entry.third_party else "")
            for axis, entry in zip(AXES[self.kind], self.entries, strict=True)
        )

    def packed(self) -> str:
        """Return it as JSON, the same in every process."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def unpacked(cls, text: str) -> ComponentOrigin:
        """Make it of JSON."""
        values = json.loads(text)
        for name in ("names", "zeros"):
            values[name] = tuple(values[name])
        values["switches"] = tuple((name, value) for name, value in values["switches"])
        return cls(**values)


@dataclass(frozen=True)
class Lowered:
    """A component as C.

    `facts` are what its text says of itself: `settings` and, of an optimizer, `states` and `scalars`.
    """

    origin: ComponentOrigin
    text: str = field(repr=False)

    @property
    def kind(self) -> str:
        """Give its kind: activation, output, metric or optimizer."""
        return self.origin.kind

    @property
    def name(self) -> str:
        """Give a name that is unique and can be read."""
        return self.origin.name

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """Give the facts in the text's first line."""
        return facts_of(self.text)

    @property
    def settings(self) -> tuple[str, ...]:
        """Name the settings that its functions are given, in order ("betas.1": of a pair the second)."""
        return tuple(self.facts.get("settings", ()))

    @property
    def states(self) -> tuple[str, ...]:
        """Name an optimizer's states, in their order."""
        return tuple(self.facts.get("states", ()))

    @property
    def scalars(self) -> int:
        """Count the numbers that an optimizer's `scalars` writes."""
        return int(self.facts.get("scalars", 0))

    def values(self, settings: Mapping[str, Any]) -> list[float]:
        """Give the numbers of its `settings` in a trial's settings."""
        return [number(settings, name) for name in self.settings]


def number(settings: Mapping[str, Any], name: str) -> float:
    """Give a setting, or one of a pair ("betas.1")."""
    name, _, place = name.partition(".")
    value = settings[name]
    return float(value[int(place)] if place else value)


def facts_of(text: str) -> Mapping[str, Any]:
    """Read the JSON in the comment that a text begins with; raise ValueError if there is none."""
    line = text.partition("\n")[0]
    facts = json.loads(line[line.find("{") : line.rfind("}") + 1])
    if not isinstance(facts, dict):
        raise ValueError("the text does not begin with facts")  # noqa: TRY004 (a damaged file, not a wrong call)
    return facts


@functools.cache
def surroundings() -> str:
    """Digest what else decides texts and verdicts: torch, this room, and the harness's own components."""
    folder = Path(__file__).parent
    paths = [*sorted(folder.glob("*.py")), *sorted((folder.parent / "axes").glob("*.py"))]
    parts = [metadata.version("torch").encode(), *(path.read_bytes() for path in paths)]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
