"""A registry: component name -> component, with where it was defined and "did you mean"."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.errors import UsageError, did_you_mean

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
HOUSE = Path(__file__).parent


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered component and what there is to know of it without running it.

    `source_digest` is empty for the harness's own components (the version of the training semantics
    stands for them); for a third party's it is the SHA-256 of the file that defines it, and part of
    every `trial_id` that uses it. `declared` marks what a study file declares, for that study alone.
    """

    name: str
    component: T
    summary: str
    where: str
    source_digest: str = ""
    module: str = ""
    declared: bool = False


class Registry(Generic[T]):
    """The components of one axis, by name.

    Args:
        axis: the setting that chooses among them, in the singular ("activation").
        make: builds the component from (name, function, **facts); usually its dataclass.

    Example:
        >>> shades = Registry("shade", lambda name, function: function)
        >>> @shades.register("dark")
        ... def dark(x):
        ...     '''Half of it.'''
        ...     return x / 2
        >>> shades["dark"](4), shades.entry("dark").summary
        (2.0, 'Half of it.')
    """

    def __init__(self, axis: str, make: Callable[..., T]) -> None:
        self.axis = axis
        self._make = make
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, **facts: Any) -> Callable[[F], F]:
        """Register the decorated function under `name`; the function itself comes back unchanged.

        Raises:
            UsageError: the name is taken, or the component does not know one of the facts.
        """

        def decorate(function: F) -> F:
            where, digest = _origin(function)
            if name in self._entries:
                raise UsageError(
                    f"{self.axis} {name!r} is defined twice: in {self._entries[name].where} and in {where}. "
                    "Rename one of them."
                )
            try:
                component = self._make(name, function, **facts)
            except TypeError as error:
                raise UsageError(f"{self.axis} {name!r} ({where}) cannot be registered: {error}") from error
            summary = (inspect.getdoc(function) or "").split("\n", maxsplit=1)[0]
            self._entries[name] = Entry(name, component, summary, where, digest, function.__module__)
            return function

        return decorate

    def declare(self, components: Mapping[str, T], where: str) -> None:
        """Put in what a study file declares, in place of what the study before it declared.

        Raises:
            UsageError: a name is a registered component's.
        """
        for entry in [entry for entry in self if entry.declared]:
            del self._entries[entry.name]
        for name, component in components.items():
            if name in self._entries:
                raise UsageError(
                    f"{self.axis} {name!r} is declared in {where} and defined in "
                    f"{self._entries[name].where}. Rename the declared one."
                )
            self._entries[name] = Entry(name, component, f"Declared in {where}.", where, declared=True)

    def entry(self, name: str) -> Entry[T]:
        """The entry called `name`.

        Raises:
            UsageError: there is none; says what is close and what there is.
        """
        if name not in self._entries:
            raise UsageError(f"unknown {self.axis} {name!r}: {did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __getitem__(self, name: str) -> T:
        return self.entry(name).component

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def remove(self, name: str) -> None:
        """Take a component out again (a notebook that redefines one; tests)."""
        del self._entries[self.entry(name).name]


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Where a function is defined ("file.py:12"), and a third party's file digest."""
    code = inspect.unwrap(function).__code__
    path = Path(code.co_filename)
    if path.is_relative_to(HOUSE):
        return f"harness/{path.relative_to(HOUSE).as_posix()}:{code.co_firstlineno}", ""
    # A notebook cell has no file: its compiled code stands in for the source.
    source = path.read_bytes() if path.is_file() else code.co_code + repr(code.co_consts).encode()
    return f"{path.name}:{code.co_firstlineno}", hashlib.sha256(source).hexdigest()
