"""Portable bits are the same on every processor: for others of x86-64 here, and for AArch64 under QEMU.

Every run is a process of its own, through the command that a person types.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import every_component
import numpy as np
import pytest
import sysroot
from every_component import differences

from harness.lowering import components
from harness.planning.plan import draw
from harness.study.reading import load

WRAPPER = sysroot.CHECKOUT / "tests" / "engines" / "compiler_for.py"
CPU = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
INSTRUCTIONS = {"x86-64-v4": "avx512f", "x86-64-v3": "avx2", "x86-64-v2": "sse4_2"}
LACKING = {"x86-64-v2": ("",), "x86-64-v3": ("AVX512", "X86_V4"), "x86-64-v4": ("AVX512_",)}
"""Beginnings of names of NumPy's loops that a processor of a level cannot run."""
PROCESSORS = ("cortex-a72", "neoverse-v1")
"""Processors of AArch64 to compile for: with NEON, and with SVE."""
SLOW = pytest.mark.slow(reason="compiles every component, for each of several processors")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study of every component."""
    return every_component.write(tmp_path_factory.mktemp("study"))


def trained(command: Sequence[str], study: Path, out: Path, environment: dict[str, str], bits: str) -> Path:
    """Train a study with a Python; return the results folder."""
    words = ("run", str(study), "--bits", bits, "--workers", "1", "--results", str(out))
    done = subprocess.run(
        [*command, "-m", "harness", *words],
        env={**environment, "OPENBLAS_NUM_THREADS": "1"}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def of_level(level: str, study: Path, out: Path, bits: str = "portable") -> Path:
    """Train as a processor of this level would, compiled by GCC."""
    if INSTRUCTIONS[level] not in CPU:
        pytest.skip(f"this processor has no {INSTRUCTIONS[level]}")
    loops = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    lacking = [name for name in loops if name.startswith(LACKING[level])]
    environment = {
        **os.environ,
        "PYTHONPATH": str(sysroot.CHECKOUT),
        "CC": f"{sys.executable} {WRAPPER} {level}",
        "HARNESS_KERNELS": "on",
        "NPY_DISABLE_CPU_FEATURES": " ".join(lacking),
    }
    return trained([sys.executable], study, out, environment, bits)


def own_level() -> str:
    """Return the highest level that this processor has; empty where it is none of x86-64."""
    return next((level for level, name in INSTRUCTIONS.items() if name in CPU), "")


@pytest.fixture(scope="module")
def here(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of this machine, at its own level."""
    folder = tmp_path_factory.mktemp("here") / "results"
    if not own_level():
        pytest.skip("the levels are those of x86-64")
    return of_level(own_level(), study, folder)


def another_level(level: str) -> str:
    """Return a level that can be compared with `here`; its own is skipped."""
    if level == own_level():
        pytest.skip(f"{level} is this processor's own level: it would be compared with itself")
    return level


def test_every_text_that_is_shipped_is_in_the_study(study: Path) -> None:
    loaded = load(str(study))
    arms = {id(trial.arm): trial.arm.settings for trial in draw(loaded).trials}.values()
    origins = {origin for settings in arms for origin in components.origins(settings, loaded.metrics)}
    assert {components.shipped(origin) for origin in origins} == set(components.SHIPPED.glob("*.c"))


def test_a_processors_own_level_is_not_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CPU", ["flags", "sse4_2", "avx2"])
    assert another_level("x86-64-v2") == "x86-64-v2"
    with pytest.raises(pytest.skip.Exception, match="x86-64-v3 is this processor's own level"):
        another_level("x86-64-v3")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with all programs that sysroot.py takes, of which each does nothing and succeeds."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in (*sysroot.COMMANDS, *sysroot.MAKERS):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="programs are shell scripts")
@pytest.mark.parametrize(
    ("apt", "words"),
    [
        ("", "no apt-get (install apt)"),
        (
            "echo 'E: Unable to locate package python3.11' >&2; exit 100\n",
            "exit code 100): E: Unable to locate",
        ),
    ],
)
def test_another_system_is_told_and_an_earlier_folder_stays(
    apt: str, words: str, programs: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "made" / "kept"
    kept.parent.mkdir()
    kept.touch()
    (programs / "apt-get").unlink()
    if apt:
        (programs / "apt-get").write_text(f"#!/bin/sh\n{apt}")
        (programs / "apt-get").chmod(0o755)
    done = subprocess.run(
        [sys.executable, sysroot.__file__, str(kept.parent)],
        env={**os.environ, "PATH": str(programs), "PYTHONPATH": str(sysroot.CHECKOUT)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Allowed is Debian 12" in done.stderr
    assert "Traceback" not in done.stderr
    assert kept.exists()


@SLOW
def test_every_component_is_trained(here: Path) -> None:
    rows = (here / "trials.csv").read_text().splitlines()
    statuses = [row.count(",ok,") for row in rows[1:]]
    assert len(statuses) > 90
    assert len(statuses) - sum(statuses) == 1  # the one that diverges
    assert len(list(here.rglob("*.safetensors"))) == sum(statuses)


@SLOW
@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86-64")
@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v2"])
def test_levels_of_x86_64(level: str, here: Path, study: Path, tmp_path: Path) -> None:
    assert differences(here, of_level(another_level(level), study, tmp_path / "results")) == []


@SLOW
@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86-64")
def test_native_bits_differ(here: Path, study: Path, tmp_path: Path) -> None:
    """What the other tests compare does differ where it may."""
    native = of_level("x86-64-v3", study, tmp_path / "results", "native")
    unlike = differences(here, native)
    assert any(name.startswith("epochs.csv") for name in unlike)
    assert len([name for name in unlike if name.startswith("weights/")]) > 90


@SLOW
@pytest.mark.skipif(not shutil.which("clang"), reason="Clang is not installed")
def test_clang(here: Path, study: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(sysroot.CHECKOUT), "HARNESS_KERNELS": "on", "CC": "clang"}
    there = trained([sys.executable], study, tmp_path / "results", environment, "portable")
    assert differences(here, there) == []


@SLOW
@pytest.mark.parametrize("processor", PROCESSORS)
def test_aarch64(processor: str, here: Path, study: Path, tmp_path: Path) -> None:
    folder = sysroot.default()
    if why := sysroot.missing(folder):
        pytest.skip(why)
    environment = sysroot.environment(folder, processor, folder / "cache")
    there = trained(sysroot.python(folder), study, tmp_path / "results", environment, "portable")
    assert differences(here, there) == []
