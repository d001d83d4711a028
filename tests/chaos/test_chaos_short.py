"""The campaign's short form: a small study on a real cluster of four nodes, some of which are struck."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import records

TESTS = Path(__file__).parents[1]
SEVERAL_NODES = sys.platform == "linux" and importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(not SEVERAL_NODES, reason="Ray has several nodes on Linux alone, and is an extra")
def test_a_study_keeps_its_rows_while_nodes_and_driver_are_killed(tmp_path: Path) -> None:
    only = ("node killed", "driver killed", "worker suspended")
    chosen = [word for kind in only for word in ("--only", kind)]
    command = [sys.executable, "-m", "chaos", "--short", "--out", str(tmp_path), *chosen]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    struck = records.read(tmp_path / "faults.csv")
    assert struck, done.stdout + done.stderr
    assert {record.kind for record in struck} <= set(only)
    assert {record.ended for record in struck} == {"finished"}
    assert not any(record.lost or record.doubled or record.different for record in struck)
