"""Fixtures of the tests of measured rates."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the one number of a verdict that no rate is about, and that takes nearly all its time."""
    verdicts = importlib.import_module("harness.stats.verdicts")  # the name in stats is the function
    monkeypatch.setattr(verdicts, "seeds_needed", lambda margin, sd, alpha, **_: sd * margin * alpha)
