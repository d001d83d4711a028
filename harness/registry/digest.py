"""Digests: all that decides what a third party's component computes, as one SHA-256.

That is the file which defines it, and what this text alone does not tell: the files beside it that it
imports, the versions of packages that the harness does not need, values captured by a closure, and globals
that are something else than the file's text says. A component without a file, a notebook's, is its bytecode
with the names it calls, its defaults, its closure and the globals it reads.

The same in every process, on every machine: no address, no path, no order of a set. What cannot be looked
into is told in `ComponentDigest.unseen`.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.registry import bytecode, objects, python_files
from harness.registry.python_files import PythonFile
from harness.registry.walk import Walk


@dataclass(frozen=True)
class ComponentDigest:
    """The digest of a component, the files that count in it, and in words what it could not look into."""

    digest: str
    unseen: tuple[str, ...] = ()
    files: tuple[PythonFile, ...] = ()


def digest_component(
    function: Callable[..., Any], facts: Mapping[str, Any], file: PythonFile | None, module: str
) -> ComponentDigest:
    """Digest a component, registered with some facts by a module, as it stands now.

    `file` is the one whose text defines or registers it, as it was when it was loaded; None of a notebook's.
    """
    walk = Walk(module.partition(".")[0])
    if file is not None:
        walk.reach.add_file(file, module)
    try:
        texts = [walk.component(function, file), *walk.facts(facts, file)]
    except RecursionError:
        texts = []
        walk.unseen["values nested too deeply to be looked into"] = None
    more = [text for text in texts if text]
    others = [other for other in walk.reach.files.values() if file is None or other.path != file.path]
    more += sorted(f"file {other.label} {other.digest}" for other in others)
    more += [f"package {version}" for version in python_files.versions(walk.reach.packages)]
    walk.unseen |= {f"{name}, which is compiled": None for name in sorted(walk.reach.compiled)}
    file_digests = [file.digest] if file else []
    digest = file_digests[0] if file_digests and not more else sha256("\n".join([*file_digests, *more]))
    return ComponentDigest(digest, tuple(walk.unseen), tuple(walk.reach.files.values()))


def sha256(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_code(functions: Iterable[object], module: str) -> str:
    """Digest the code of functions, and of those of their module's package that they read, as they are now.

    A file may define several functions by one name, under an `if`: its text does not tell which one it is.
    """
    top, texts, met = module.partition(".")[0], set(), set()
    waiting = list(functions)
    while waiting:
        function = inner_of(waiting.pop())
        code = getattr(function, "__code__", None)
        if not isinstance(code, types.CodeType):
            call = vars(type(function)).get("__call__")  # of an object that can be called
            waiting += [call] if isinstance(call, types.FunctionType) else []
        elif code not in met:
            met.add(code)
            summary, space = bytecode.summary(code), getattr(function, "__globals__", {})
            texts.add(summary.text)
            cells = [cell.cell_contents for cell in function.__closure__ or () if objects.is_full(cell)]
            read = [*(space[name] for name in summary.names if name in space), *cells]
            waiting += [value for value in read if callable(value) and _home(value) == top]
    return sha256("\n".join(sorted(texts)))


def _home(value: object) -> str:
    return str(getattr(value, "__module__", "") or "").partition(".")[0]


def code_of(function: object) -> types.CodeType | None:
    """Give the code of a function, whatever it is wrapped in; None of what has none, such as a C function."""
    code = getattr(inner_of(function), "__code__", None)
    return code if isinstance(code, types.CodeType) else None


def inner_of(function: object) -> Any:
    """Give the function inside what it is wrapped in."""
    inner: Any = function
    for _ in range(100):
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif isinstance(inner, types.MethodType):
            inner = inner.__func__
        elif "_torchdynamo_orig_callable" in getattr(inner, "__dict__", ()):
            inner = inner._torchdynamo_orig_callable
        elif callable(wrapped := getattr(inner, "__dict__", {}).get("__wrapped__")):
            inner = wrapped
        else:
            break
    return inner
