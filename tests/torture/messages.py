"""The messages that the sources can give, as patterns, so that a campaign can say which nobody was told.

An approximation: a message is a text or f-string of some length in a `raise` of UsageError or ValueError, in
what is appended to a list of problems, or in a `yield`; what it holds in braces is left open.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

SHORTEST = 12  # characters of a piece of text by which a message is known
RAISED = {"UsageError", "ValueError", "MachineError"}
LISTS = {"problems", "told", "self"}
FIRST = ("study/reading", "searching/checks", "searching/samplers")
"""The modules that check a study; what the first imports checks with it."""
BESIDE = ("data/download",)
"""Modules among them that fetch, and check no study."""


def sources() -> list[Path]:
    """The checkers' source files: the modules above, and whatever loading a study file imports."""
    import harness

    package = Path(harness.__file__).parent
    found: dict[str, Path] = {}
    waiting = [*FIRST]
    while waiting:
        name = waiting.pop(0)
        path = (
            package / f"{name}.py" if (package / f"{name}.py").is_file() else package / name / "__init__.py"
        )
        if name not in found and name not in BESIDE and path.is_file():
            found[name] = path
            waiting += _imported(path) if name not in FIRST[1:] else []
    return list(found.values())


def _imported(path: Path) -> Iterator[str]:
    """The harness's modules that a file imports at its top."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "harness":
            inner = (node.module or "").partition(".")[2].replace(".", "/")
            yield inner or "."
            yield from (f"{inner}/{alias.name}".lstrip("/") for alias in node.names)


@functools.cache
def templates() -> Mapping[str, re.Pattern[str]]:
    """Message -> the pattern that it makes; "{}" stands for what is filled in."""
    found: dict[str, re.Pattern[str]] = {}
    for path in sources():
        for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
            pieces = [piece for piece in text.split("{}") if piece.strip()]
            if pieces and max(map(len, pieces)) >= SHORTEST:
                pattern = ".{0,4000}?".join(re.escape(piece) for piece in pieces)
                found[f"{path.stem}: {text}"] = re.compile(pattern, re.DOTALL)
    return found


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            if getattr(node.exc.func, "id", "") in RAISED:
                yield from _strings(node.exc.args)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "append":
                yield from _strings(node.args)
        elif isinstance(node, ast.AugAssign | ast.Yield | ast.Return) and node.value is not None:
            yield from _strings([node.value])


def _strings(nodes: list[ast.expr]) -> Iterator[str]:
    """The texts that stand for a message: itself, an f-string, or those of a list."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
            text = "".join(parts)
            if " " in text:
                yield text
        elif isinstance(node, ast.List | ast.Tuple):
            yield from _strings(node.elts)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp):
            yield from _strings([node.elt])
        elif isinstance(node, ast.IfExp):
            yield from _strings([node.body, node.orelse])


_known: set[str] = set()


def reached(words: str) -> list[str]:
    """The messages in what was said that this process has not met before."""
    fresh = [name for name, pattern in templates().items() if name not in _known and pattern.search(words)]
    _known.update(fresh)
    return fresh
