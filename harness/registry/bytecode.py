"""Bytecode as text: what a function does, without where it stands, its comments and its docstring."""

from __future__ import annotations

import dis
import functools
import hashlib
import itertools
from dataclasses import dataclass
from types import CodeType
from typing import Any

READERS = {
    "open", "eval", "exec", "__import__", "import_module", "globals", "getenv", "environ", "read_text",
    "read_bytes", "fromfile", "loadtxt", "genfromtxt", "memmap", "read_csv", "read_parquet", "read_image",
}  # fmt: skip
"""Names by which code takes something from outside of itself."""
LOADERS = {"np", "numpy", "torch", "json", "pickle", "joblib", "tomllib", "yaml"}
"""Modules whose `load` does."""
FILLS = {"append", "add", "update", "setdefault", "extend", "insert", "pop", "popitem", "clear", "remove"}
"""Methods by which a container is changed."""


@dataclass(frozen=True)
class CodeSummary:
    """A code object, those inside it included.

    `text` says what it does. `names` are the globals that it reads, `attributes` the attributes, `kept` the
    attributes and `stored` the globals that it sets, `imports` the modules that it imports; `fills` says that
    it changes a container, `reads` by which names it takes something from outside.
    """

    text: str
    names: tuple[str, ...]
    attributes: frozenset[str]
    stored: frozenset[str]
    kept: frozenset[str]
    imports: tuple[str, ...]
    fills: bool
    reads: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def summary(code: CodeType) -> CodeSummary:
    """Say what there is to know of a code object."""
    names: dict[str, None] = {}
    used: dict[str, set[str]] = {}
    imports: dict[str, None] = {}
    fills = False
    for inner in _nested(code):
        for step in dis.get_instructions(inner):
            used.setdefault(step.opname, set()).add(str(step.argval))
            if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
                names[step.argval] = None
            elif step.opname == "IMPORT_NAME":
                imports[step.argval] = None
            fills = fills or step.opname in {"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"}
    attributes = frozenset().union(
        *(used.get(name, ()) for name in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"))
    )
    reads = sorted((attributes | set(names)) & READERS)
    reads += [f"{module}.load" for module in sorted(LOADERS & set(names)) if "load" in attributes]
    return CodeSummary(
        hashlib.sha256(_text(code).encode()).hexdigest(),
        tuple(names),
        attributes,
        frozenset(used.get("STORE_GLOBAL", ())),
        frozenset(used.get("STORE_ATTR", ())),
        tuple(imports),
        fills or not FILLS.isdisjoint(attributes),
        tuple(reads),
    )


def _nested(code: CodeType) -> list[CodeType]:
    inner = [_nested(const) for const in code.co_consts if isinstance(const, CodeType)]
    return [code, *itertools.chain.from_iterable(inner)]


def _text(code: CodeType) -> str:
    """Give instructions with their names and constants; a docstring is a constant that none uses."""
    parameters = code.co_argcount + code.co_kwonlyargcount
    steps = [f"{step.opname} {constant(step.argval)}" for step in dis.get_instructions(code)]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0x2F)
    return repr([counts, code.co_varnames[:parameters], steps, code.co_exceptiontable])


def constant(value: Any) -> str:
    """Give a constant as text, the same in every process: sets in order, 1 other than 1.0 and True."""
    if isinstance(value, CodeType):
        return f"code({_text(value)})"
    kind = type(value).__name__
    if isinstance(value, tuple | list):
        return f"{kind} [{', '.join(map(constant, value))}]"
    if isinstance(value, frozenset | set):
        return f"{kind} {{{', '.join(sorted(map(constant, value)))}}}"
    if isinstance(value, dict):
        return f"{kind} {{{', '.join(f'{constant(k)}: {constant(v)}' for k, v in value.items())}}}"
    return f"{kind} {value!r}"
