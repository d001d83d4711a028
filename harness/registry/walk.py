"""The walk over a component and all values that decide what it computes, as text that is hashed."""

from __future__ import annotations

import ast
import builtins
import collections
import datetime as dt
import decimal
import fractions
import functools
import operator
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from harness.registry import bytecode, file_texts, objects, python_files
from harness.registry.python_files import PythonFile, Reach

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice)
SAID = (
    re.Pattern, decimal.Decimal, fractions.Fraction, dt.date, dt.time, dt.timedelta, operator.itemgetter,
    operator.attrgetter, operator.methodcaller,
)  # fmt: skip
"""Types whose `repr` says all there is."""
PLACES = {"__file__", "__name__", "__spec__", "__path__", "__cached__"}
"""Globals that say where a file lies, which is another place on another machine."""
SILENT = {"logging", "warnings"}
"""Modules of Python's whose objects decide nothing."""


class Walk:
    """One walk over a component: the values it has met, what it reaches, and what it could not look into."""

    def __init__(self, top: str) -> None:
        self.reach = Reach(tops={top})
        self.unseen: dict[str, None] = {}
        self._met: dict[int, int] = {}
        self._alive: list[object] = []  # so that no id is taken twice

    def component(self, function: Callable[..., Any], file: PythonFile | None) -> str:
        """Give a component: of one that its file's text defines, what the text does not tell."""
        if isinstance(function, types.FunctionType) and file is not None and self._file_of(function) is file:
            return self.rest(function, file)
        if isinstance(function, type) and file is not None and self._home_of(function) is file:
            return self.rest_of_class(function, file)
        return self.text(function, "the component")

    def facts(self, facts: Mapping[str, Any], file: PythonFile | None) -> Iterator[str]:
        """Say what a component was registered with: its text tells all but what functions among it read."""
        for name, value in sorted(facts.items()):
            if file is None:
                yield f"{name}: {self.text(value, name)}"
            elif isinstance(value, types.FunctionType) and self._file_of(value) is file:
                yield self.rest(value, file)
            elif not self._plain(value):
                yield f"{name}: {self.text(value, name)}"

    @staticmethod
    def _plain(value: object) -> bool:
        if isinstance(value, tuple | list):
            return all(map(Walk._plain, value))
        return isinstance(value, PLAIN)

    # ---------------------------------------------------------------------------------- functions

    def _file_of(self, function: types.FunctionType) -> PythonFile | None:
        """Give the file that defines a function; None of a notebook's, or where its text is another one's."""
        path = Path(function.__code__.co_filename)
        if not path.is_absolute() and "__file__" in function.__globals__:
            path = Path(str(function.__globals__["__file__"])).with_name(path.name)
        file = python_files.known(path)
        if file is None or file.code is None:
            return None
        return file if bytecode.summary(function.__code__).text in file_texts.codes(file) else None

    def rest(self, function: types.FunctionType, file: PythonFile | None) -> str:
        """Say what decides a function beside its code: its values; empty where its file tells all."""
        if self._again(function):
            return ""
        code = function.__code__
        summary = bytecode.summary(code)
        self._note(function, summary)
        for module in summary.imports if file is None else ():
            self.reach.add_module(module)
        parts = {
            **self._defaults(function, file),
            **{
                f"closure {name}": self.text(cell.cell_contents, name)
                for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
                if objects.is_full(cell)
            },
            **{f"global {name}": text for name, text in self._globals(function, summary, file)},
            **{
                f"attribute {name}": self.text(value, name)
                for name, value in vars(function).items()
                if not name.startswith("_")
            },
        }
        return _joined(parts)

    def _defaults(self, function: types.FunctionType, file: PythonFile | None) -> dict[str, str]:
        """Give values that parameters have by default, but for those that the file's text says."""
        code, texts = function.__code__, {}
        positional = code.co_varnames[: code.co_argcount]
        given = function.__defaults__ or ()
        values = {**dict(zip(positional[len(positional) - len(given) :], given, strict=True))}
        values |= function.__kwdefaults__ or {}
        written = file_texts.written_defaults(function, file) if file else {}
        for name, value in values.items():
            if name not in written or not file_texts.says(written[name], value):
                texts[f"default {name}"] = self.text(value, name)
        return texts

    def _globals(
        self, function: types.FunctionType, summary: bytecode.CodeSummary, file: PythonFile | None
    ) -> Iterator[tuple[str, str]]:
        """Give the globals that a function reads, but for those that are what the file's text says."""
        space = function.__globals__
        for name in summary.names:
            if name in PLACES:
                continue
            if name not in space:
                if not hasattr(builtins, name):
                    yield name, "not there"
                continue
            value = space[name]
            if name in summary.stored or (summary.fills and isinstance(value, dict | list | set)):
                self.unseen[f"{name}, which {function.__name__} changes itself"] = None
                continue
            yield name, self.bound(name, value, file)
            if isinstance(value, types.ModuleType):
                yield from self._attributes(name, value, summary)

    def bound(self, name: str, value: Any, file: PythonFile | None) -> str:
        """Give a value under a name: what a file's text does not tell of it."""
        node = file.bindings.get(name) if file else None
        if node is None or file is None:
            return self.text(value, name)
        if isinstance(node, ast.FunctionDef) and isinstance(value, types.FunctionType):
            same = value.__qualname__ == name and self._file_of(value) is file
            return self.rest(value, file) if same else self.text(value, name)
        if isinstance(node, ast.ClassDef) and isinstance(value, type):
            same = value.__qualname__ == name and self._home_of(value) is file
            return self.rest_of_class(value, file) if same else self.text(value, name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self._imported(name, value, node)
        return "" if file_texts.says(node, value) or _is_place(node, value) else self.text(value, name)

    def _imported(self, name: str, value: Any, node: ast.Import | ast.ImportFrom) -> str:
        """Give a value that a file imports: empty if it is still the module's."""
        for alias in node.names:
            if (alias.asname or alias.name.partition(".")[0]) != name:
                continue
            if isinstance(node, ast.Import):
                module_name = alias.name if alias.asname else name
                return "" if sys.modules.get(module_name) is value else self.text(value, name)
            module = sys.modules.get(node.module or "")
            if module is None or node.level or vars(module).get(alias.name, self) is not value:
                break
            origin = getattr(module, "__file__", None)
            home = python_files.known(Path(origin).resolve()) if origin and self._own(module) else None
            return self.bound(alias.name, value, home) if home else ""
        return self.text(value, name)

    def _own(self, module: types.ModuleType) -> bool:
        """Tell whether a module is a person's: not the harness's or Python's, of no installed package."""
        spec = getattr(module, "__spec__", None)
        if spec is None or not spec.has_location or not spec.origin:
            return False
        path = Path(spec.origin).resolve()
        top = module.__name__.partition(".")[0]
        return not python_files.covered(path) and (not python_files.installed(path) or top in self.reach.tops)

    def _attributes(
        self, name: str, module: types.ModuleType, summary: bytecode.CodeSummary
    ) -> Iterator[tuple[str, str]]:
        """Say what a function may read of a module of its owner's: what its text does not tell."""
        origin = getattr(module, "__file__", None)
        if not self._own(module) or not origin:
            return
        file = python_files.known(Path(origin).resolve())
        for attribute in sorted(summary.attributes & set(vars(module))):
            yield f"{name}.{attribute}", self.bound(attribute, vars(module)[attribute], file)

    def _note(self, function: types.FunctionType, summary: bytecode.CodeSummary) -> None:
        for name in summary.reads:
            if name.partition(".")[0] not in summary.names or name not in function.__globals__:
                self.unseen[f"what {function.__name__} reads by {name}"] = None

    # ------------------------------------------------------------------------------------ classes

    def _home_of(self, kind: type) -> PythonFile | None:
        """Give the file that defines a class of its owner's."""
        module = sys.modules.get(kind.__module__)
        origin = getattr(module, "__file__", None)
        if module is None or not origin or not self._own(module):
            return None
        return python_files.known(Path(origin).resolve())

    def rest_of_class(self, kind: type, file: PythonFile) -> str:
        """Say what decides a class beside its file's text."""
        if self._again(kind):
            return ""
        parts = {f"base {i}": self._rest_of_base(base) for i, base in enumerate(kind.__bases__)}
        for name, value in sorted(objects.members(kind).items()):
            plain = objects.plain_function(value)
            node = file.bindings.get(f"{kind.__qualname__}.{name}")
            if plain is not None:
                same = self._file_of(plain) is not None
                parts[name] = self.rest(plain, file) if same else self.text(plain, name)
            elif not (node is not None and file_texts.says(node, value)):
                parts[name] = self.text(value, f"{kind.__name__}.{name}")
        return _joined({f"{kind.__name__}.{name}": text for name, text in parts.items()})

    def _rest_of_base(self, base: type) -> str:
        """Say what decides a base class beside the text that names it."""
        file = self._home_of(base)
        if file is None:
            self.reach.add_module(base.__module__)
            return ""
        self.reach.add_file(file, base.__module__)
        return self.rest_of_class(base, file)

    def _class(self, kind: type, where: str) -> str:
        """Give a class, whole: by name where it is the harness's, Python's or a package's."""
        name = f"{kind.__module__}.{kind.__qualname__}"
        if kind.__module__ == "__main__" and self._home_of(kind) is None:
            parts = {f"base {i}": self.text(base, where) for i, base in enumerate(kind.__bases__)}
            for member, value in sorted(objects.members(kind).items()):
                parts[member] = self.text(objects.plain_function(value) or value, f"{kind.__name__}.{member}")
            return f"class {kind.__qualname__} ({_joined(parts)})"
        file = self._home_of(kind)
        if file is None:
            self.reach.add_module(kind.__module__)
            return f"class {name}"
        self.reach.add_file(file, kind.__module__)
        return f"class {file.label} {kind.__qualname__} ({self.rest_of_class(kind, file)})"

    # ------------------------------------------------------------------------------------- values

    def _again(self, value: object) -> bool:
        """Tell whether a value was met before; else it is from now on."""
        if id(value) in self._met:
            return True
        self._met[id(value)] = len(self._met)
        self._alive.append(value)
        return False

    def text(self, value: Any, where: str) -> str:
        """Give a value, whole, as text; `where` is what a person calls its place."""
        if isinstance(value, PLAIN):
            return bytecode.constant(value)
        if isinstance(value, Enum):
            return f"{self._class(type(value), where)}.{value.name}"
        if isinstance(value, PurePath):
            return f"path {value}"
        if id(value) in self._met and not isinstance(value, type | types.ModuleType):
            return f"number {self._met[id(value)]}"
        for kinds, how in self._ways():
            if isinstance(value, kinds):
                return how(value, where)
        if (cached := getattr(type(value), "__name__", "")) == "_lru_cache_wrapper":
            return f"{cached} {self.text(value.__wrapped__, where)}"
        if (name := objects.compiled_name(value)) is not None:
            self.reach.add_module(name.split(".")[0])
            return f"compiled {name}"
        return objects.array(value) or self._instance(value, where)

    def _ways(self) -> Sequence[tuple[Any, Callable[[Any, str], str]]]:
        return (
            (type, self._class),
            (types.ModuleType, self._module),
            (types.FunctionType, self._function),
            (
                types.MethodType,
                lambda v, w: f"method {self.text(v.__func__, w)} of {self.text(v.__self__, w)}",
            ),
            (functools.partial, self._partial),
            (Mapping, self._mapping),
            (list | tuple, self._sequence),
            (set | frozenset, lambda v, w: f"{{{', '.join(sorted(self.text(one, w) for one in v))}}}"),
            (collections.deque, lambda v, w: f"deque {self.text(list(v), w)}"),
            (types.SimpleNamespace, lambda v, w: f"namespace {self.text(vars(v), w)}"),
            (SAID, lambda v, _: repr(v)),
            (property, lambda v, w: self._sequence((v.fget, v.fset), w)),
            (staticmethod | classmethod, lambda v, w: f"{type(v).__name__} {self.text(v.__func__, w)}"),
            (types.CodeType, lambda v, _: bytecode.summary(v).text),
        )

    def _sequence(self, values: Sequence[Any], where: str) -> str:
        self._again(values)
        kind = type(values)
        name = "" if kind in {list, tuple} else self._class(kind, where)
        return f"{kind.__name__}{name} [{', '.join(self.text(value, where) for value in values)}]"

    def _mapping(self, values: Mapping[Any, Any], where: str) -> str:
        if isinstance(values, types.MappingProxyType | dict):
            self._again(values)
            items = ((self.text(k, where), self.text(v, f"{where}[{k!r}]")) for k, v in list(values.items()))
            return f"{type(values).__name__} {{{', '.join(f'{key}: {value}' for key, value in items)}}}"
        return self._instance(values, where)

    def _module(self, module: types.ModuleType, _: str) -> str:
        self.reach.add_module(module.__name__)
        path = self._own(module) and module.__file__  # a plugin's name in this process says where it lies
        return f"module {Path(path).name if path else module.__name__}"

    def _partial(self, value: functools.partial[Any], where: str) -> str:
        given = [value.args, dict(sorted(value.keywords.items()))]
        return f"partial {self.text(value.func, where)} {self.text(given, where)}"

    def _function(self, function: types.FunctionType, where: str) -> str:
        """Give a function, whole: by name where it is the harness's, Python's or a package's."""
        if original := vars(function).get("_torchdynamo_orig_callable"):
            return f"torch.compile {self.text(original, where)}"
        path = Path(function.__code__.co_filename)
        module = str(function.__globals__.get("__name__", ""))  # `__module__` may be what wraps() copied
        if path.is_file():
            apart = python_files.installed(path) and module.partition(".")[0] not in self.reach.tops
            if apart or python_files.covered(path):
                self.reach.add_module(module)
                closure = [cell.cell_contents for cell in function.__closure__ or () if objects.is_full(cell)]
                inner = f" {self.text(closure, where)}" if closure else ""
                return f"function {module}.{function.__code__.co_qualname}{inner}"
        file = self._file_of(function)
        if file is None:
            return f"function {bytecode.summary(function.__code__).text} ({self.rest(function, None)})"
        self.reach.add_file(file, module)
        return f"function {file.label} {function.__code__.co_qualname} ({self.rest(function, file)})"

    def _instance(self, value: Any, where: str) -> str:
        """Give an object by its class and its state; of one that keeps it in C, what there is to say."""
        kind = type(value)
        if script := getattr(value, "_torchdynamo_inline", None):
            return f"script {self.text(script, where)}"
        path = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
        text = self._class(kind, where)
        self._again(value)
        if path and python_files.ours(Path(path)):
            if not is_dataclass(value):
                if any(getattr(field, "third_party", False) for field in _listed(value)):
                    self.unseen[f"other components that are taken from {where}"] = None
                return text
            state = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        elif kind.__module__ in SILENT:
            return text
        elif objects.keeps_in_c(kind) or (path and python_files.covered(Path(path))):
            self.unseen[f"{where} ({kind.__name__})"] = None
            return text
        else:
            state = objects.state_of(value)
            for name in self._changed_by(kind) & set(state):
                self.unseen[f"{where}.{name}, which {kind.__name__} changes itself"] = None
                del state[name]
        return f"{text} {_joined({k: self.text(v, f'{where}.{k}') for k, v in sorted(state.items())})}"

    def _changed_by(self, kind: type) -> set[str]:
        """Give the attributes that a class of its owner's sets when it is called."""
        names: set[str] = set()
        for base in kind.__mro__:
            if self._home_of(base) is None and base.__module__ != "__main__":
                continue
            for name, member in objects.members(base).items():
                plain = objects.plain_function(member)
                if plain is not None and name not in {"__init__", "__new__", "__post_init__", "__setstate__"}:
                    names |= bytecode.summary(plain.__code__).kept
        return names


def _listed(value: object) -> list[object]:
    """Give the entries of a registry; nothing of anything else."""
    return list(value) if type(value).__name__ == "Registry" and isinstance(value, Iterable) else []


def _joined(parts: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in parts.items() if text)


def _is_place(node: ast.AST, value: object) -> bool:
    """Tell whether a value is a path made of the place of its own file, such as Path(__file__).parent."""
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return isinstance(value, str | PurePath) and not PLACES.isdisjoint(names)
