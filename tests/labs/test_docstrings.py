"""A person finds each public function by tab completion, and learns from its docstring how it is called."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import harness

ROOMS = {"harness": harness, "figures": harness.figures, "tables": harness.tables, "check": harness.check}
FUNCTIONS = {
    f"{room}.{name}": function
    for room, module in ROOMS.items()
    for name in module.__all__
    if inspect.isfunction(function := getattr(module, name))
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_documented_with_an_example(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert text.splitlines()[0].endswith((".", ":", "?")), text[:200]
    assert "Example" in text
    assert "Args:" in text or name.startswith("tables.")  # whose arguments are those of the figures


def examples(function: Callable[..., Any]) -> list[doctest.DocTest]:
    names = {**vars(inspect.getmodule(function) or harness), "harness": harness, "np": np}
    finder = doctest.DocTestFinder(recurse=False)
    return [test for test in finder.find(inspect.unwrap(function), globs=names) if test.examples]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_of_a_public_function_are_true(name: str) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    for test in examples(FUNCTIONS[name]):
        runner.run(test)
    assert runner.failures == 0, f"{runner.failures} examples of {name} give something else"
