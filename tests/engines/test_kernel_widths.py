"""Compiled code agrees with PyTorch at every width of vectors; a machine on which it loses does without."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_compiled import (
    FITTING,
    METRICS,
    assert_as_pytorch,
    assert_same,
    rule_settings,
    train,
    trial,
)

from harness.axes.activations import activations
from harness.data import cache
from harness.engines import kernels
from harness.engines.compiled import components
from harness.lowering import checks
from harness.lowering import compiler as compilers

COMPILER = Path(__file__).with_name("compiler_for.py")
CPU = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
LEVELS = {"x86-64-v4": ("avx512f", 16), "x86-64-v3": ("avx2", 8), "x86-64-v2": ("sse4_2", 4)}
QUICK = (
    "x86-64-v3 -O1"  # a third of the time, of the same code: the widest there is has -O3 in all other tests
)

pytestmark = [
    pytest.mark.skipif(bool(kernels.why_not()), reason=f"no kernels: {kernels.why_not()}"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the widths of x86-64"),
]


def forget() -> None:
    """Look for compiled code again, because the compiler is another."""
    kernels.forget()
    checks.forget()
    components.addresses.cache_clear()


SLOW = pytest.mark.slow(reason="compiles every component as it is shipped for another processor")
WIDTHS = [
    pytest.param(QUICK, id="x86-64-v3"),
    pytest.param("x86-64-v3", id="x86-64-v3, -O3", marks=SLOW),
    pytest.param("x86-64-v2", id="x86-64-v2", marks=SLOW),
]


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The width of vectors of a processor that all code is compiled for."""
    instruction, lanes = LEVELS[request.param.split()[0]]
    if instruction not in CPU:
        pytest.skip(f"this processor has no {instruction}")
    monkeypatch.setenv("CC", f"{sys.executable} {COMPILER} {request.param}")
    monkeypatch.setenv("HARNESS_KERNELS", "on")
    forget()
    yield lanes
    monkeypatch.undo()
    forget()


def test_the_native_width_is_that_of_the_processor() -> None:
    widest = next(lanes for name, lanes in LEVELS.values() if name in CPU)
    assert kernels.lanes("float32") == compilers.lanes() == widest


def test_components_at_every_width(width: int) -> None:
    """Layers that fill vectors and that do not, batches that do not, two seeds, smoothed labels, dropout.

    Of the heads and losses it is a third: each is compiled for this.
    """
    assert kernels.lanes("float64") == compilers.lanes() == width
    assert kernels.MOST_LANES % width == 0
    shared = {"batch_size": 20, "steps": 40}
    members = [
        trial(k % 2, activation=activation.name, hidden=[24, 9, 33], dropout=0.1 * (k % 3), **shared)
        for k, activation in enumerate(activations)
    ]
    members += [
        trial(k % 2, head=head, loss=loss, lr=0.02, label_smoothing=0.1 * (k % 2), **shared)
        for k, (head, loss) in enumerate(FITTING[::3])
    ]
    rules = {one["optimizer"]: one for one in rule_settings()}
    members += [trial(k % 2, hidden=[16], **shared, **one) for k, one in enumerate(rules.values())]
    assert_as_pytorch(members, 1e-9)
    # Each metric has a text a head: here those of two heads.
    measured = [trial(head=head, hidden=[16], **shared) for head in ("identity", "softmax")]
    assert_as_pytorch(measured, 1e-9, METRICS)


def test_float32_at_every_width_is_float64_but_for_rounding(width: int) -> None:
    assert kernels.lanes("float32") == width
    members = [
        trial(activation=activation.name, lr=0.01, steps=40, preprocessing="standardize")
        for activation in activations
    ]
    assert_same(train(members, np.float32), train(members), 2e-4)


# ----------------------------------------------------------------------------------- the self-test's verdict


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, for which the kernels are copied, not compiled."""
    stem = kernels.identity().rpartition("-")[0]  # behind it are the forms
    real = next((cache.cache_root() / "kernels").glob(f"{stem}*.so"))
    copy = tmp_path / "copy.py"
    copy.write_text(f"import shutil, sys\nshutil.copy({str(real)!r}, sys.argv[sys.argv.index('-o') + 1])\n")
    monkeypatch.setenv("CC", f"{sys.executable} {copy}")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_KERNELS", raising=False)
    kernels.forget()
    yield tmp_path
    kernels.forget()


@pytest.mark.parametrize("verdict", ["", "the kernels take 3.0 times as long as PyTorch"])
def test_the_self_tests_verdict_is_stored_and_followed(
    verdict: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    told = json.dumps(vars(kernels.Measured(verdict)))

    def self_test() -> str:
        asked.append(verdict)
        return told

    monkeypatch.setattr(kernels, "_self_test", self_test)
    for _ in range(2):
        assert kernels.why_not().startswith(verdict)
        assert bool(kernels.identity()) is not bool(verdict)
        kernels.forget()
    assert len(asked) == 1
    assert [path.read_text() for path in copied.glob("kernels/kernels-*.json")] == [told]
    monkeypatch.setenv("HARNESS_KERNELS", "on")
    kernels.forget()
    assert not kernels.why_not()


@pytest.mark.usefixtures("copied")
def test_equal_machines_compute_with_the_forms_that_one_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measuring(*cells: str) -> None:
        told = {"complaint": "", "wide": True, "dense": True, "forms": [[32, cell] for cell in cells]}
        monkeypatch.setattr(kernels, "_self_test", lambda: json.dumps(told))
        for path in cache.cache_root().glob("kernels/kernels-*.json"):
            path.unlink()
        kernels.forget()

    monkeypatch.setattr(kernels, "_preferred", {})
    measuring("0" * 20)
    driver, theirs = kernels.identity(), kernels.measurements()
    measuring("0" * 10 + "3" * 10)
    assert kernels.identity() != driver
    kernels.forget()
    kernels.prefer(theirs)
    assert (kernels.identity(), kernels.measurements()) == (driver, theirs)
    kernels.forget()
    kernels.prefer({"kernels of another processor": kernels.Measured(forms=((32, "1" * 20),))})
    assert kernels.identity() == driver


@pytest.mark.parametrize("damaged", ["", "{", '"forms": [[1e999, "0"]]'])
def test_a_damaged_verdict_is_measured_anew(
    damaged: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"complaint": "", "wide": True, "dense": True, "forms": [[1, "0"]]}
    monkeypatch.setattr(kernels, "_self_test", lambda: json.dumps(told))
    assert not kernels.why_not()
    [path] = copied.glob("kernels/*.json")
    path.write_text(json.dumps(told).replace('"forms": [[1, "0"]]', damaged))
    kernels.forget()
    assert kernels.measured().forms == ((1, "0"),)
    assert path.read_text() == json.dumps(told)


def test_without_links_a_verdict_is_kept(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    told = {"complaint": "", "wide": True, "dense": True, "forms": []}
    monkeypatch.setattr(kernels, "_self_test", lambda: json.dumps(told))
    monkeypatch.setattr(Path, "hardlink_to", refused)
    assert not kernels.why_not()
    assert [path.read_text() for path in copied.glob("kernels/*.json")] == [json.dumps(told)]


@pytest.mark.slow(reason="compiles the kernels, and times them in a process of their own")
@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ("", ""),
        ("-O0", "as long as PyTorch on this machine"),
        ("-D__builtin_sqrtf=__builtin_cosf", "they train to other losses"),
    ],
)
def test_kernels_that_are_slow_or_wrong_are_not_used(
    options: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "compiler.py"
    compiler.write_text(
        "import subprocess, sys\n"
        f"sys.exit(subprocess.run(['cc', *sys.argv[1:], *{options.split()!r}], check=False).returncode)\n"
    )
    monkeypatch.setenv("CC", f"{sys.executable} {compiler}")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_KERNELS", raising=False)
    kernels.forget()
    try:
        assert bool(kernels.why_not()) is bool(verdict)
        assert verdict in kernels.why_not()
    finally:
        kernels.forget()
