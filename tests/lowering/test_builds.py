"""Builds: native and portable bits are kept apart, in one process and in those that it starts."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from harness.errors import UsageError
from harness.lowering import builds, compiler
from harness.lowering.components import SHIPPED
from harness.lowering.expressions import BY_LIBM, BY_POLYNOMIAL, libm_calls


def test_the_build_in_use_is_that_of_the_run_in_progress() -> None:
    assert builds.current() == builds.DEFAULT
    with builds.using("portable"), builds.using("portable"):
        assert (builds.bits(), builds.current(), builds.portable()) == ("portable", builds.PORTABLE, True)
        assert compiler.lanes() == 8
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(builds.bits()))
        thread.start()
        thread.join()
        assert seen == ["portable"]
    assert not builds.portable()


def test_runs_of_other_bits_in_one_process_are_refused() -> None:
    refused = pytest.raises(UsageError, match="'native' is in progress")
    with builds.using("native"), refused, builds.using("portable"):
        raise AssertionError
    with builds.using("portable"):
        pass


@pytest.mark.parametrize("name", ["Portable", "", "float32"])
def test_names_of_no_bits(name: str) -> None:
    with pytest.raises(UsageError, match=r"[Aa]llowed: native, portable"):
        builds.named(name)


def test_a_process_is_told_its_bits() -> None:
    code = (
        "import sys; from harness.lowering import builds; builds.inherit(builds.named(sys.argv[1])); "
        "print(builds.bits(), builds.current().lanes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "portable"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["portable", "8"]


PRODUCT = """
#include <stdint.h>
int contracts(void)
{
    volatile float a = 1 + 0x1p-12f, b = 1 + 0x1p-12f, c = -1 - 0x1p-11f;
    const float product = a * b;
    return product + c != 0;
}
int reorders(void)
{
    volatile float x[16] = {0x1p24f, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -0x1p24f};
    float y[16], sum = 0;
    for (int i = 0; i < 16; i++) y[i] = x[i];
    for (int i = 0; i < 16; i++) sum += y[i];
    return sum != 0;
}
"""


@pytest.mark.parametrize("options", ["", "-Ofast", "-ffast-math -ffp-contract=fast"])
def test_a_portable_build_rounds_every_operation_whatever_the_compiler_is_told(
    options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"cc {options}".strip())
    compiler.forget()
    made = compiler.library(PRODUCT, "float32", "rounding", build=builds.PORTABLE)
    assert (made.contracts(), made.reorders()) == (0, 0)
    if "-ffast-math" in options:  # which changes sums elsewhere
        assert compiler.library(PRODUCT, "float32", "rounding", build=builds.DEFAULT).reorders()
    assert np.array([1e-39], np.float32) * np.float32(1) != 0  # as it was before a library was loaded


def test_calls_of_the_c_library_are_found() -> None:
    assert libm_calls("vector_exp(x) + vector_sqrt(x) * __builtin_sqrt(u) + whole_power(b, t)") == []
    for name in (*BY_LIBM, "pow"):
        assert libm_calls(f"const vector v1 = vector_{name}(v0);") == [name]
    for name in (*BY_LIBM, *BY_POLYNOMIAL, "pow"):
        assert libm_calls(f"const double v1 = {name}(v0);") == [name]


def test_no_component_that_is_shipped_calls_the_c_library() -> None:
    texts = sorted(SHIPPED.glob("*.c"))
    assert len(texts) > 80
    assert [path.name for path in texts if libm_calls(path.read_text())] == []
