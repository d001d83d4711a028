"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from harness import stats

ROOMS = [room.name for room in pkgutil.iter_modules(stats.__path__)]


@pytest.mark.parametrize("room", ROOMS)
def test_examples_in_docstrings_hold(room: str) -> None:
    # `stats.verdicts` is the function: the module of that name is found by its path.
    failed, _ = doctest.testmod(importlib.import_module(f"harness.stats.{room}"))
    assert failed == 0
