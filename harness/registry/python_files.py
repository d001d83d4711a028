"""Python files of a third party's: their text, the files and packages that they import. Nothing is run here.

A file is remembered as it was when it was first asked for, which is when it was loaded: the code in memory is
that text's, whatever the file says later. `forget` makes room for what a file says now.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
import tomllib
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType

PACKAGE_ROOT = Path(__file__).parents[1]
INSTALLED = {"site-packages", "dist-packages"}
DISTRIBUTION = "ablation-harness"
ALWAYS = {"torch", "numpy"}
"""Packages that the harness surely depends on: they are asked for most, and the list of all takes a while."""


@dataclass(frozen=True, eq=False)
class PythonFile:
    """A Python file as it was when it was loaded."""

    path: Path
    content: bytes = field(repr=False)

    @functools.cached_property
    def digest(self) -> str:
        """Give the SHA-256 of its bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def label(self) -> str:
        """Give its name, the same on every machine."""
        package = f"{self.path.parent.name}/" if self.path.stem == "__init__" else ""
        return f"{package}{self.path.name}"

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Give its syntax; of a file that is not Python, an empty one."""
        try:
            return ast.parse(self.content)
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    @functools.cached_property
    def code(self) -> CodeType | None:
        """Give its code as Python compiles it; None of a file that is not Python."""
        try:
            compiled: CodeType = compile(self.content, str(self.path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
        return compiled

    @functools.cached_property
    def bindings(self) -> Mapping[str, ast.AST | None]:
        """Map a name ("NAME", "Class.NAME") to the one statement or value that binds it; None of several."""
        bindings: dict[str, ast.AST | None] = {}
        for name, node in _bound(self.tree.body, ""):
            bindings[name] = None if name in bindings else node
        return bindings

    @functools.cached_property
    def functions(self) -> Mapping[tuple[str, int], list[ast.arguments]]:
        """Map (name, first line) to the parameters of the functions that begin there."""
        functions: dict[tuple[str, int], list[ast.arguments]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                functions.setdefault((node.name, first), []).append(node.args)
            elif isinstance(node, ast.Lambda):
                functions.setdefault(("<lambda>", node.lineno), []).append(node.args)
        return functions


def _bound(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield the names that statements bind, at the top of a file or of a class."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _bound(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield prefix + (alias.asname or alias.name.partition(".")[0]), node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and (name := _target(node)):
            yield prefix + name, node.value
        else:  # other statements may bind names in a branch, in a loop, or several at once
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
                    yield prefix + part.id, None
                elif isinstance(part, ast.FunctionDef | ast.ClassDef):
                    yield prefix + part.name, None


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    """Return the one name that an assignment binds, or ""."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


_known: dict[Path, PythonFile] = {}


def known(path: Path) -> PythonFile | None:
    """Give a file as it was when it was loaded; None where there is none that can be read."""
    try:
        path = path.resolve()
        if path not in _known:
            _known[path] = PythonFile(path, path.read_bytes())
    except (OSError, ValueError):
        return None
    return _known[path]


def remember(path: Path, content: bytes) -> PythonFile:
    """Note what a file says that is loaded now."""
    path = path.resolve()
    if path not in _known or _known[path].content != content:
        _known[path] = PythonFile(path, content)
    return _known[path]


def changed(files: Iterable[PythonFile]) -> list[PythonFile]:
    """Give the files that say something else by now, or are gone."""
    return [file for file in files if _now(file.path) != file.content]


def _now(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def forget(files: Iterable[PythonFile]) -> None:
    """Forget files, so that they are read again when they are next needed."""
    for file in files:
        _known.pop(file.path, None)


@dataclass
class Reach:
    """Code reaches these by its imports: files of its own, installed packages, compiled modules."""

    files: dict[Path, PythonFile] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    compiled: set[str] = field(default_factory=set)
    tops: Collection[str] = ()
    """Installed packages whose files are read: the component's own one."""

    def add_file(self, file: PythonFile, module: str = "") -> None:
        """Give a file, and all that it imports, at its top or inside its functions."""
        if file.path in self.files:
            return
        self.files[file.path] = file
        for name in _imports(file, module):
            self.add_module(name)

    def add_module(self, name: str) -> None:
        """Give a module by its full name; one that is not there reaches nothing."""
        for part in _and_parents(name):
            spec = spec_of(part)
            if spec is None:
                return
            self.add_spec(part, spec)

    def add_spec(self, name: str, spec: ModuleSpec) -> None:
        """Give a module by what Python found of it."""
        origin = Path(spec.origin).resolve() if spec.has_location and spec.origin else None
        if origin is None or covered(origin):
            return
        top = name.partition(".")[0]
        if installed(origin) and top not in self.tops:
            self.packages.add(top)
        elif origin.name.endswith(tuple(EXTENSION_SUFFIXES)):
            self.compiled.add(f"{name} ({origin.name})")
        elif file := known(origin):
            self.add_file(file, name)


def reached(file: PythonFile, module: str) -> list[PythonFile]:
    """Give a file, and those beside it that it imports, directly or not."""
    reach = Reach(tops={module.partition(".")[0]})
    reach.add_file(file, module)
    return list(reach.files.values())


def dependents(files: Iterable[PythonFile], imported: Iterable[PythonFile]) -> list[PythonFile]:
    """Return those files that are among `imported`, or import one of them, directly or not."""
    paths = {file.path for file in imported}
    return [file for file in files if paths & {other.path for other in reached(file, _module_name(file))}]


def _module_name(file: PythonFile) -> str:
    """Give the name under which a file was imported; empty if it was not."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(file.path):
            return name
    return ""


def _imports(file: PythonFile, module: str) -> Iterator[str]:
    """Give the modules that a file imports; `a.b` of `from a import b`, too, which may be one."""
    package = module if file.path.stem == "__init__" else module.rpartition(".")[0]
    for node in _run_statements(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _run_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Give all nodes but those that only annotations need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _run_statements(ast.Module(child.orelse, []))
        else:
            yield child
            yield from _run_statements(child)


def _and_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)) if all(parts))


def spec_of(name: str) -> ModuleSpec | None:
    """Say where a module is, without importing it or its packages; None where Python finds none."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__spec__", None)
    parent, _, _ = name.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(name)
        above = spec_of(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, list(above.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None


def installed(path: Path) -> bool:
    """Tell whether a package installer put a file there."""
    return not INSTALLED.isdisjoint(path.parts)


@functools.cache
def _standard() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})


def ours(path: Path) -> bool:
    """Tell whether a file is the harness's; plugins of the studies that it ships are not part of it."""
    return path.is_relative_to(PACKAGE_ROOT) and not path.is_relative_to(PACKAGE_ROOT / "ablations")


def covered(path: Path) -> bool:
    """Tell whether a file is the harness's own or Python's, whose versions stand in the provenance."""
    if ours(path):
        return True
    return not installed(path) and any(path.is_relative_to(folder) for folder in _standard())


def line_of(error: BaseException) -> str:
    """Say in which line of a person's file or cell an error was raised; empty where in none."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    theirs = [(path, line) for path, line in frames if not covered(path) and not installed(path)]
    if not theirs:
        return ""
    path, line = theirs[-1]
    return f", line {line} of {path.name}" if path.is_file() else f", line {line} of a notebook's cell"


def versions(packages: Iterable[str]) -> list[str]:
    """List the distributions of packages that the harness does not need: "name==version", in order."""
    if not (wanted := {name for name in packages if name not in ALWAYS}):
        return []
    there, ours, names = _distributions(tuple(sys.path)), _dependencies(), set()
    for package in wanted:
        for name in there.get(package, [package]):
            if _canonical(name) not in ours:
                names.add(f"{_canonical(name)}=={_version(name)}")
    return sorted(names)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.lru_cache(maxsize=4)
def _distributions(_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Map a top-level package to its distributions, on this `sys.path`."""
    return importlib.metadata.packages_distributions()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _dependencies() -> frozenset[str]:
    """Give the harness and the distributions that it needs, their own needs included."""
    names: set[str] = set()
    waiting = [DISTRIBUTION]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            needs = (text for text in _requirements(name) if "extra" not in text.partition(";")[2])
            waiting += [_canonical(word[0]) for text in needs if (word := re.match(r"[A-Za-z0-9._-]+", text))]
    return frozenset(names)


def _requirements(name: str) -> list[str]:
    """Say what a distribution needs; of a harness that is not installed, its pyproject does."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        pass
    project = PACKAGE_ROOT.parent / "pyproject.toml"
    if name != DISTRIBUTION or not project.is_file():
        return []
    return list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
