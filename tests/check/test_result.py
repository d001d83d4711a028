"""A check's result, and the package's public names."""

from __future__ import annotations

import subprocess
import sys

import harness
from harness.check import CheckResult


def test_a_result_is_true_where_nothing_is_wrong() -> None:
    right = CheckResult("mine as ce", (), ("12 samples", "torch's"), ("a note",))
    assert right
    assert repr(right) == "right: mine as ce\n  compared: 12 samples; torch's\n  note: a note"
    wrong = CheckResult("mine as ce", ("one <b>", "two " * 40))
    assert not wrong
    lines = repr(wrong).splitlines()
    assert lines[:2] == ["wrong: mine as ce (2 problems)", "  1. one <b>"]
    assert max(map(len, lines)) <= 110


def test_a_notebook_shows_the_same_with_markup_escaped() -> None:
    shown = CheckResult("mine", ("one <b>",), ("12 samples",), ("a note",))._repr_html_()
    assert "one &lt;b&gt;" in shown
    assert "wrong: mine (1 problem)" in shown
    assert "compared: 12 samples" in shown
    assert "note: a note" in shown


def test_only_the_public_functions_are_completed() -> None:
    names = [
        "CheckResult",
        "activation",
        "component",
        "gradient",
        "head",
        "layer",
        "loss",
        "metric",
        "network",
    ]
    names.append("optimizer")
    assert dir(harness.check) == names
    assert sorted(harness.check.__all__) == names
    for name in names:
        made = getattr(harness.check, name)
        assert callable(made), name
        assert made.__doc__
        if name != "CheckResult":
            assert all(f"{part}:\n" in made.__doc__ for part in ("Args", "Returns", "Raises", "Example"))


def test_the_package_imports_no_torch_by_itself() -> None:
    code = "import sys, harness; harness.check; harness.check.gradient; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
