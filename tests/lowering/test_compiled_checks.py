"""Compiled components are held against their own functions; what is wrong, crashes or hangs is not used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compilers import Compiler, compiled_by, forget, fresh

from harness.axes import plugins
from harness.errors import MachineError
from harness.lowering import checks, compiler, components
from harness.lowering.lowered import ComponentOrigin, Lowered
from harness.study.trials import resolve

__all__ = ["compiled_by", "fresh"]
OWN = Path(__file__).with_name("own.py")
pytestmark = pytest.mark.usefixtures("fresh")
ACTIVATION = "INLINE vector forward(vector x)\n{"
BACKWARD = "INLINE vector backward(vector grad, vector x, vector y)\n{"
OUTPUT = "const vector hit = all_of(keep + spread)"
JUDGED = "*loss += lost[u];"
MEASURED = "*sum += value[u];"
STEP = "INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)\n{"
TILES = "grad[g] += x.value[p]"


def load_own() -> None:
    plugins.load_file(OWN, quiet=True)


def every() -> list[Lowered]:
    """One component of each kind."""
    return [
        components.activation("gelu"),
        components.output("softmax", "ccql", "kind", 10),
        components.metric("identity", "brier", 10),
        components.optimizer("adam", {"amsgrad": True}),
    ]


def test_components_of_every_kind_are_right() -> None:
    load_own()
    own = [
        components.activation("own_mish"),
        components.output("identity", "own_hinge", "kind", 10),
        components.output("softmax", "own_power", "kind", 3),
        components.metric("softmax", "own_margin", 10),
        components.optimizer("own_lion", {}),
    ]
    assert checks.examined([*every(), *own]) == [""] * 9


@pytest.mark.slow(reason="compiles and checks all that is shipped")
def test_all_that_is_shipped_is_right() -> None:
    from harness.lowering import shipping

    shipped = [components.lower(origin) for origin in shipping.origins()]
    assert dict(zip(shipped, checks.verdicts(shipped), strict=True)) == dict.fromkeys(shipped, "")


def test_many_classes_are_right() -> None:
    outputs = [components.output("identity", "ce", "kind", classes) for classes in (2, 100)]
    assert checks.examined([*outputs, components.metric("softmax", "top3", 100)]) == ["", "", ""]


@pytest.mark.parametrize(
    ("place", "becomes", "make", "complaint"),
    [
        (ACTIVATION, f"{ACTIVATION} x *= (REAL)1.00001;", "activation", "it gives"),
        (ACTIVATION, f"{ACTIVATION} x += (REAL)1e-6;", "activation", "it gives"),
        (BACKWARD, f"{BACKWARD} grad *= (REAL)1.00001;", "activation", "it has the gradient"),
        (OUTPUT, f"spread *= (REAL)1.001; {OUTPUT}", "output", "the loss of a batch is"),
        ("total += ", "total += (REAL)0.00001 + ", "output", "the loss of a batch is"),
        ("* scale, (vector)", "* scale * (REAL)1.00001, (vector)", "output", "it has the gradient"),
        (JUDGED, f"*loss += (REAL)0.00001; {JUDGED}", "output", "evaluated losses sum to"),
        ("*hits += ", "*hits += 1 + ", "output", "hits"),
        ("sure[i + u] = ", "sure[i + u] = (REAL)0.001 + ", "output", "the probability of"),
        ("*hits += ", "first_as_last; *hits += ", "output", "the largest output"),
        (MEASURED, "*sum += (REAL)0.00001 + value[u];", "metric", "its values sum to"),
        (STEP, f"{STEP} g *= (REAL)1.0001;", "optimizer", "at step 2 a parameter becomes"),
        ("to[0] = ", "to[0] = 1e-5 + ", "optimizer", "a parameter becomes"),
    ],
)  # fmt: skip
def test_wrong_code_is_found(
    place: str, becomes: str, make: str, complaint: str, compiled_by: Compiler
) -> None:
    """The compiler changes the text, as one that has a fault would."""
    lowered = next(lowered for lowered in every() if lowered.kind == make)
    assert place in lowered.text
    becomes = becomes.replace("first_as_last", "if (best) { best[i + u] = 0; continue; }")
    compiled_by(f"compile(sys.stdin.read().replace({place!r}, {becomes!r}))")
    (verdict,) = checks.examined([lowered])
    assert verdict.startswith("its compiled form differs from its function: ")
    assert complaint in verdict


def test_wrong_code_of_tiles_is_found(compiled_by: Compiler, tmp_path: Path) -> None:
    """A fault that only steps of pixels have: their text is in a header."""
    header = (compiler.HEADERS / "optimizer.h").read_text()
    assert TILES in header
    (tmp_path / "optimizer.h").write_text(header.replace(TILES, f"{TILES} * (REAL)1.001"))
    line = '#include "{}optimizer.h"'
    compiled_by(f"compile(sys.stdin.read().replace({line.format('')!r}, {line.format(f'{tmp_path}/')!r}))")
    (verdict,) = checks.examined([components.optimizer("sgd", {}, frozenset({"weight_decay"}))])
    assert "at step 1 a parameter becomes" in verdict


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("*(volatile int *)0 = 1;", "its compiled form ends its process by signal 11"),
        ("__builtin_trap();", "its compiled form ends its process by signal "),
        ("exit(3);", "its compiled form ends with exit status 3"),
        ("for (volatile int i = 0;;) i++;", "its compiled form takes more than 3 s"),
        ("y[n] = 0;", "it writes outside of its arrays"),
        ("((REAL *)x)[-1] = 0;", "it writes outside of its arrays"),
    ],
)
def test_code_that_crashes_or_hangs_does_so_alone(
    fault: str, complaint: str, compiled_by: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "void activate(const REAL *restrict x, REAL *restrict y, int64_t n)\n{"
    gelu = components.activation("gelu")
    assert place in gelu.text
    compiled_by(f"compile('#include <stdlib.h>\\n' + sys.stdin.read().replace({place!r}, {place + fault!r}))")
    monkeypatch.setattr(checks, "TIMEOUT", 3.0)
    _, *rest = every()
    before, wrong, after = checks.examined([rest[1], gelu, rest[0]])
    assert complaint in wrong
    assert not before
    assert not after


def test_what_a_function_does_unseen_is_found() -> None:
    """It branches on the number of samples, or is another one when it is called again."""
    load_own()
    (size,) = checks.examined([components.activation("own_size")])
    assert size == "its compiled form differs from its function: at x = -30 it gives -30, its function -60"
    text = components.activation("own_mish").text
    (noise,) = checks.examined([Lowered(ComponentOrigin("activation", ("own_python_noise",)), text)])
    assert "its compiled form differs from its function" in noise


def test_a_function_that_raises_is_told() -> None:
    load_own()
    text = components.activation("own_mish").text
    origin = ComponentOrigin("activation", ("own_raises",))

    def raises(_: torch.Tensor) -> torch.Tensor:
        raise ValueError("only float32 here")

    from harness.axes.activations import activations

    activations.register("own_raises")(raises)
    assert checks.examined([Lowered(origin, text)]) == [
        "its function cannot be called for a comparison: ValueError: only float32 here"
    ]


def test_a_comparison_leaves_the_process_s_random_numbers_alone() -> None:
    load_own()
    text = components.activation("own_mish").text
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert checks.examined([Lowered(ComponentOrigin("activation", ("own_noise",)), text)]) != [""]
    assert torch.equal(torch.get_rng_state(), before)


# --------------------------------------------------------------------------------------------- verdicts, kept


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of components in the order in which they are checked."""
    names: list[str] = []
    for name in ("examined", "_examined_elsewhere"):
        examine: Callable[..., Any] = getattr(checks, name)

        def noted(group: list[Lowered], examine: Callable[..., Any] = examine) -> Any:
            names.extend(lowered.name for lowered in group)
            return examine(group)

        monkeypatch.setattr(checks, name, noted)
    return names


def test_a_verdict_is_kept(fresh: Path, asked: list[str]) -> None:
    load_own()
    pair = [components.activation("relu"), components.activation("own_size")]
    assert checks.known(pair[1]) == ""
    for _ in range(2):
        first, second = checks.verdicts(pair)
        assert not first
        assert "differs" in second
        assert checks.known(pair[1]) == second
        forget()
        assert checks.known(pair[1]) == second  # read from the cache
        forget()
    assert asked == [lowered.name for lowered in pair]
    (kept,) = fresh.glob("activation_own_size*.verdict")
    for content in ("", "righ", "wrong"):  # damaged
        kept.write_text(content)
        assert "differs" in checks.verdict(pair[1])
        forget()
    assert asked == [pair[0].name, *[pair[1].name] * 4]


def test_a_verdict_is_of_this_torch_and_this_function(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_own()
    slope = components.activation("own_slope")
    assert not checks.verdict(slope)
    monkeypatch.setattr(sys.modules[plugins.module_of(OWN)], "SLOPE", 0.5)
    assert "its compiled form differs from its function" in checks.verdict(slope)
    assert not checks.verdict(components.activation("own_slope"))
    assert len(asked) == 3
    monkeypatch.setattr(checks, "surroundings", lambda: "another torch")
    forget()
    checks.verdict(slope)
    assert len(asked) == 4


def test_a_verdict_without_a_cache(fresh: Path) -> None:
    relu = components.activation("relu")
    fresh.parent.mkdir()
    fresh.write_text("a file where the folder should be")
    assert checks.verdict(relu) == f"{fresh} cannot be written: File exists"


def test_verdicts_that_cannot_be_kept_are_found_again(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_own()
    mish = components.activation("own_mish")

    def full(path: Path, _: bytes) -> None:
        raise MachineError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("harness.lowering.checks.files.write", full)
    for _ in range(2):
        assert checks.verdict(mish) == ""
        forget()
    assert asked == ["activation own_mish"] * 2


def test_trusted_code_is_not_checked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "on")
    assert checks.verdict(components.activation("relu")) == ""
    monkeypatch.setenv("HARNESS_KERNELS", "off")
    assert checks.verdict(components.activation("relu")) == "switched off by HARNESS_KERNELS"
    assert not asked


def test_a_self_test_that_cannot_run_is_told_and_not_kept(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert checks.verdict(components.activation("relu")).startswith("no process can be started to check")
    assert not list(fresh.glob("*.verdict"))
    forget()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    why = "the self-test of compiled components ends with exit status 1"
    assert checks.verdict(components.activation("relu")) == why
    assert not list(fresh.glob("*.verdict"))


def test_reasons_name_a_bad_verdict_once_it_is_known(compiled_by: Compiler) -> None:
    compiled_by("sys.exit('no space left')")
    arm = resolve({"dataset": "digits", "activation": "tanh"})
    assert components.reasons([arm]) == []
    components.prepare(components.of_trial(arm))
    told = components.reasons([arm, arm])
    assert len(told) == 3
    assert told[0].startswith("activation 'tanh' is not compiled: ")
    assert told[0].endswith("fails on activation tanh: no space left; it trains in PyTorch")


def test_a_parent_of_the_harness_s_own_components_does_without_torch(fresh: Path) -> None:
    code = """
import sys
from harness.lowering import checks, components
from harness.study.trials import resolve
trial = components.of_trial(resolve({"dataset": "digits", "optimizer": "sgd"}))
assert [checks.verdict(lowered) for lowered in trial] == ["", "", ""]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=components.SHIPPED.parents[2])
    assert len(list(fresh.glob("*.verdict"))) == 3


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ("ends its process by signal 9", False),
        ("takes more than 60 s", False),
        ("ends its process by signal 11", True),
    ],
)
def test_a_complaint_that_may_be_the_machine_s_is_not_kept(
    how: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have killed it, or the machine was busy: the next run asks again."""
    complaint = f"its compiled form {how}"
    monkeypatch.setattr(checks, "_examined_elsewhere", lambda _: [complaint])
    path = tmp_path / "relu.verdict"
    assert checks._check([(components.activation("relu"), path)]) == [complaint]
    assert path.exists() is kept
