"""Without kernels everything trains in PyTorch, and the run says why."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import results
from harness.engines import kernels
from harness.lowering import builds
from harness.lowering.compiler import UnavailableError
from harness.registry import PACKAGE_ROOT

find: Any = functools.partial(kernels._find.__wrapped__, "float32", builds.DEFAULT)


def compiler_that(folder: Path, does: str) -> Path:
    """A compiler in Python, which writes what it likes into `out`."""
    path = folder / "compiler.py"
    path.write_text(f"import sys\nout = sys.argv[sys.argv.index('-o') + 1]\n{does}\n")
    return path


def test_a_failing_compiler_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = tmp_path / "tried"
    fails = compiler_that(tmp_path, f"open({str(tried)!r}, 'a').write('x')\nsys.exit('no space left')")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setenv("CC", f"{sys.executable} {fails}")
    kernels._find.cache_clear()
    try:
        assert "fails on kernels.c: no space left" in kernels.why_not()
        with pytest.raises(UnavailableError, match="no space left"):
            kernels.library("float32")
        assert not kernels.identity()
        assert tried.read_text() == "x"
    finally:
        kernels._find.cache_clear()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"HARNESS_KERNELS": "off"}, "switched off by HARNESS_KERNELS"),
        ({"CC": "no-such-compiler"}, "no C compiler (no-such-compiler) is installed"),
        ({"CC": "false"}, "fails on kernels.c"),
    ],
)
def test_a_run_without_kernels_says_so_and_trains(changed: dict[str, str], why: str, tmp_path: Path) -> None:
    study = tmp_path / "small.toml"
    study.write_text(
        '[study]\nname = "small"\nseeds = 2\n'
        '[baseline]\ndataset = "digits"\nepochs = 2\n[axes]\nlr = [0.1, 0.2]\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(study), "--results", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent), **changed},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert why in " ".join((done.stdout + done.stderr).split())
    assert "PyTorch computes what the kernels would" in " ".join((done.stdout + done.stderr).split())
    assert why in (tmp_path / "out" / "provenance.json").read_text()
    assert results.read(tmp_path / "out").trials["status"].eq("ok").all()


def test_an_unwritable_kernel_cache_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels").write_text("a file where the folder should be")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setenv("CC", "true")
    assert "cannot be written" in find().missing


def test_a_damaged_kernel_in_the_cache_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    writes = compiler_that(tmp_path, "open(out, 'w').write('no library')")
    monkeypatch.setenv("CC", f"{sys.executable} {writes}")
    assert "cannot be loaded" in find().missing
    assert f"Delete {tmp_path / 'kernels'}" in find().missing
