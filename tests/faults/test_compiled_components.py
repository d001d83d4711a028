"""Whatever is wrong with a component or a compiler is told once, in words, and all trials train."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import results
from harness.registry import PACKAGE_ROOT

OWN = Path(__file__).parents[1] / "lowering" / "own.py"
MAIN = "import sys\nfrom harness.cli.main import main\nfrom harness.lowering import compiler\n"


def trained(folder: Path, activations: list[str], before: str = "", **environment: str) -> tuple[str, Any]:
    """Run a study of some activations; all that it says, and its stacks as lists of activations."""
    shutil.copy(OWN, folder)
    (folder / "small.toml").write_text(
        '[study]\nname = "small"\nseeds = 2\nplugins = ["own.py"]\n'
        '[baseline]\ndataset = "digits"\nepochs = 1\nhidden = [8]\n'
        f"[axes]\nactivation = {json.dumps(activations)}\n"
    )
    command = ["run", "small.toml", "--results", "out", "--workers", "1"]
    code = f"{MAIN}{before}\nsys.argv[1:] = {command}\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = results.read(folder / "out").trials
    assert trials["status"].eq("ok").all()
    stacks = json.loads((folder / "out" / "plan.json").read_text())["stacks"]
    groups = [trials[trials["trial_id"].isin(stack["trials"])]["activation"] for stack in stacks]
    return " ".join((done.stdout + done.stderr).split()), sorted(sorted(set(group)) for group in groups)


def test_components_that_are_not_compiled_train_by_themselves(tmp_path: Path) -> None:
    told, stacks = trained(tmp_path, ["relu", "own_mish", "own_size", "own_branch"])
    branch = (
        "activation 'own_branch' (own.py:45) is not compiled: aten._local_scalar_dense: Python branches on "
    )
    size = (
        "activation 'own_size' (own.py:51) is not compiled: its compiled form differs from its function: at x"
    )
    assert branch not in told  # it trains alone, in the loop engine
    assert told.count(size) == 1, told
    assert told.count("; it trains in PyTorch") == 1
    assert "own_mish' (" not in told
    assert stacks == [["own_branch"], ["own_branch"], ["own_mish", "relu"], ["own_size"]]


def test_a_compiler_that_hangs(tmp_path: Path) -> None:
    compiler = tmp_path / "compiler.py"
    compiler.write_text("import time\ntime.sleep(600)\n")
    told, _ = trained(
        tmp_path, ["relu", "own_mish"], "compiler.TIMEOUT = 1",
        CC=f"{sys.executable} {compiler}", HARNESS_DATA=str(tmp_path / "cache"),
    )  # fmt: skip
    assert told.count("took more than 1 s on kernels.c: PyTorch computes what the kernels would") == 1


@pytest.mark.slow(reason="compiles and tests the kernels in an empty cache")
def test_a_compiler_that_makes_wrong_code_of_one_component(tmp_path: Path) -> None:
    compiler = tmp_path / "compiler.py"
    compiler.write_text(
        "import subprocess, sys\n"
        "text = sys.stdin.read()\n"
        'if \'"name": "gelu"\' in text:\n'
        "    text = text.replace('INLINE vector forward(vector x)\\n{', "
        "'INLINE vector forward(vector x)\\n{ x += (REAL)0.001;')\n"
        "sys.exit(subprocess.run(['cc', *sys.argv[1:]], input=text, text=True, check=False).returncode)\n"
    )
    told, stacks = trained(
        tmp_path, ["relu", "gelu", "own_mish"],
        CC=f"{sys.executable} {compiler}", HARNESS_DATA=str(tmp_path / "cache"),
    )  # fmt: skip
    assert told.count("activation 'gelu' is not compiled: its compiled form differs from its function: ") == 1
    assert stacks == [["gelu"], ["own_mish", "relu"]]
