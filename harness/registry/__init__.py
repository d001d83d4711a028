"""A registry: component name -> component, with where it was defined and "did you mean"."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from harness.errors import ComponentError, UsageError, did_you_mean
from harness.registry import digest, python_files
from harness.registry.digest import ComponentDigest

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
PLUGIN = "harness_plugin_"
"""Prefix of the names of plugin files' modules."""
NOTEBOOK = "__main__"
PACKAGE_ROOT = python_files.PACKAGE_ROOT


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered component and what there is to know of it without running it.

    `take_digest` digests a third party's component as it stands now (`harness.registry.digest`), and
    `take_code` its functions alone; the harness's own have none, because the version of the training
    semantics stands for them. `module` is the one that registers it, `spec` how that was found when it was
    loaded.
    """

    name: str
    component: T
    summary: str
    where: str
    take_digest: Callable[[], ComponentDigest] | None = None
    module: str = ""
    spec: ModuleSpec | None = None
    take_code: Callable[[], str] | None = None

    @property
    def third_party(self) -> bool:
        """Tell whether it is not the harness's own."""
        return self.take_digest is not None

    @property
    def source_digest(self) -> str:
        """Give the SHA-256 of all that decides it now, for its trials' ids; empty for the harness's own."""
        return self.take_digest().digest if self.take_digest else ""

    @property
    def code_digest(self) -> str:
        """Give a digest of its functions as they are, of which a file may have several by one name."""
        return f"{self.source_digest} {self.take_code()}" if self.take_code else self.source_digest


def _callables(values: Iterable[object]) -> Iterator[object]:
    """Yield the functions among facts, those in tables and in dataclasses, too."""
    for value in values:
        if callable(value):
            yield value
        elif isinstance(value, Mapping):
            yield from _callables(value.values())
        elif dataclasses.is_dataclass(value):
            yield from _callables(vars(value).values())


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

        A notebook's cell that is run again, or a module that is loaded again, replaces what it registered.

        Raises:
            UsageError: the name is taken, or the component does not know one of the facts.
        """
        _check_name(self.axis, name)

        def decorate(function: F) -> F:
            entry = self._entry(name, function, facts, sys._getframe(1))
            before = self._entries.get(name)
            if before is not None and not _replaces(entry, before):
                raise UsageError(
                    f"{self.axis} {name!r} is defined twice: in {before.where} and in {entry.where}. "
                    "Rename one of them."
                )
            self._entries[name] = entry
            return function

        return decorate

    def _entry(self, name: str, function: Any, facts: Mapping[str, Any], caller: FrameType) -> Entry[T]:
        where = _place(function, caller)
        if problem := _unfit(function):
            raise UsageError(f"{self.axis} {name!r} ({where}) cannot be registered: {problem}")
        try:
            component = self._make(name, _callable(function), **facts)
            getattr(component, "settings", None)  # of a function whose parameters cannot be read
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.axis} {name!r} ({where}) cannot be registered: {error}") from error
        summary = _summary(function)
        if python_files.ours(Path(caller.f_code.co_filename)):
            return Entry(name, component, summary, where, module=caller.f_globals["__name__"])
        module = _module(function, caller)
        file = _file(function, caller)
        spec = getattr(sys.modules.get(module), "__spec__", None)
        take_digest = functools.partial(digest.digest_component, function, facts, file, module)
        functions = [function, *_callables(facts.values())]
        take_code = functools.partial(digest.digest_code, functions, module)
        return Entry(name, component, summary, where, take_digest, module, spec, take_code)

    def entry(self, name: str) -> Entry[T]:
        """Return the entry called `name`; a UsageError says what is close and what there is."""
        if name not in self._entries:
            raise UsageError(f"unknown {self.axis} {name!r}: {did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __repr__(self) -> str:
        return f"{self.axis}: {', '.join(self._entries)}"

    def __getitem__(self, name: str) -> T:
        return self.entry(name).component

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def remove(self, name: str) -> None:
        """Take a third party's component out again; the harness's own are what other studies depend on."""
        entry = self.entry(name)
        if not entry.third_party:
            caller = sys._getframe(1)
            where = place(caller.f_code.co_filename, caller.f_lineno)
            raise ComponentError(
                f"{where} takes {self.axis} {name!r} out, which is "
                "the harness's own; allowed: what was registered besides. Register yours under another name"
            )
        del self._entries[name]

    def remove_of(self, module: str) -> None:
        """Take out again all that a module registered."""
        for entry in [entry for entry in self if entry.module == module]:
            del self._entries[entry.name]


def _check_name(axis: str, name: object) -> None:
    """Raise UsageError where a component is given in place of its name."""
    if not isinstance(name, str):
        shown = type(name).__name__ if not hasattr(name, "__name__") else name.__name__
        raise UsageError(
            f"register({shown}): a component is registered under a name. Write "
            f'@register("{shown.lower()}") above a function, or register("{shown.lower()}")(...) for the '
            f"{axis} that is there already."
        )


def _replaces(entry: Entry[Any], before: Entry[Any]) -> bool:
    """Tell whether a component is an earlier one's next version: its cell or its module was run again."""
    if not before.third_party or entry.module != before.module:
        return False
    return entry.module == NOTEBOOK or entry.spec is not before.spec


def _unfit(function: Any) -> str:
    """Say why something cannot be a component, in words; empty where it can."""
    if not callable(function):
        return f"got {type(function).__name__}; allowed is a function, or what can be called like one"
    if not _is_module(function):
        return ""
    trained = [name for name, value in function.named_parameters() if value.requires_grad]
    if trained:
        return (
            f"{type(function).__name__} has parameters ({', '.join(trained)}), which no optimizer would "
            "train there. Make it part of an architecture, or fix them: requires_grad_(False)"
        )
    return ""


def _is_module(function: object) -> bool:
    """Tell whether something is an instance of torch.nn.Module, which is not imported for that."""
    kinds = ((kind.__module__, kind.__name__) for kind in type(function).__mro__)
    return ("torch.nn.modules.module", "Module") in kinds


def _callable(function: Any) -> Any:
    """Give a component as engines call it: a network that took in a module would train it as its own."""
    if not _is_module(function):
        return function

    def apply(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    apply.__name__ = type(function).__name__
    return apply


def _summary(function: Any) -> str:
    described = function.func if isinstance(function, functools.partial) else function
    lines = (inspect.getdoc(described) or "").strip().splitlines()
    return lines[0] if lines else ""


def _place(function: object, caller: FrameType) -> str:
    """Say where a component is defined ("file.py:12"), or registered, where it has no code of its own."""
    code = digest.code_of(function)
    name, line = caller.f_code.co_filename, caller.f_lineno
    if code is not None and (python_files.ours(Path(name)) or not _packaged(Path(code.co_filename), caller)):
        name, line = code.co_filename, code.co_firstlineno
    return place(name, line)


def place(file: str, line: int) -> str:
    """Name a line of code as messages do ("file.py:12"), and a notebook's cell in words."""
    path = Path(file)
    if python_files.ours(path):
        return f"harness/{path.relative_to(PACKAGE_ROOT).as_posix()}:{line}"
    return f"{path.name}:{line}" if path.is_file() else f"a notebook's cell, line {line}"


def _module(function: object, caller: FrameType) -> str:
    """Name the module that a worker process must import for a component to be there."""
    names = [str(caller.f_globals.get("__name__", "")), str(getattr(function, "__module__", None) or "")]
    if NOTEBOOK in names:
        return NOTEBOOK
    return next((name for name in names if name.startswith(PLUGIN)), names[0])


def _file(function: object, caller: FrameType) -> python_files.PythonFile | None:
    """Give the file that defines a component, else the one that registers it; None of a notebook's."""
    code = digest.code_of(function)
    for name in (code.co_filename if code else "", caller.f_code.co_filename):
        path = Path(name).resolve()
        if name and path.is_file() and not python_files.covered(path) and not _packaged(path, caller):
            return python_files.remember(path, path.read_bytes())
    return None


def _packaged(path: Path, caller: FrameType) -> bool:
    """Tell whether a file is of an installed package that is not the one that registers."""
    top = str(caller.f_globals.get("__name__", "")).partition(".")[0]
    if top.startswith(PLUGIN):  # wherever a study lies, the harness's own ones in site-packages
        return False
    return python_files.installed(path) and top not in path.parts and path.stem != top
