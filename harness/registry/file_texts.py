"""Values that a third party's file states, without running it: literals, defaults, code."""

from __future__ import annotations

import ast
import functools
import types
from typing import Any

from harness.registry import bytecode
from harness.registry.python_files import PythonFile


@functools.lru_cache(maxsize=256)
def codes(file: PythonFile) -> frozenset[str]:
    """Say what the functions of a file's text do."""
    assert file.code is not None  # noqa: S101 (the one caller has looked)
    waiting, texts = [file.code], set()
    while waiting:
        code = waiting.pop()
        texts.add(bytecode.summary(code).text)
        waiting += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return frozenset(texts)


def says(node: ast.AST, value: Any) -> bool:
    """Tell whether an expression is a literal of this value."""
    if not isinstance(node, ast.expr):
        return False
    try:
        literal = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return bytecode.constant(literal) == bytecode.constant(value)


def written_defaults(function: types.FunctionType, file: PythonFile) -> dict[str, ast.expr]:
    """Map a parameter to its default in the file's text; empty where several functions begin on one line."""
    candidates = file.functions.get((function.__code__.co_name, function.__code__.co_firstlineno), [])
    if len(candidates) != 1:
        return {}
    (arguments,) = candidates
    positional = [*arguments.posonlyargs, *arguments.args]
    given = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(given, arguments.defaults, strict=True)]
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    pairs += [(argument, default) for argument, default in keyword_only if default]
    return {argument.arg: default for argument, default in pairs}
