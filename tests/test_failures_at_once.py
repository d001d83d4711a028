"""Failures are named when they come, so that tests which are stopped from outside have shown them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def test_a_failure_is_named_before_the_end(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text("def test_bad():\n    assert [] == ['what was wrong']\n")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider",
         "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    at_once, end, _ = done.stdout.partition("= FAILURES =")
    assert end
    assert "test_bad.py::test_bad (call): " in at_once
    assert "assert [] == ['what was wrong']" in at_once
