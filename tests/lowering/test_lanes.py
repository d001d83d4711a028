"""Elementary functions of vectors: how exact they are, and what they do with inf, NaN and subnormals."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from calling import Array, at, n, shared_object

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "exp": (torch.exp, 1.5),
    "expm1": (torch.expm1, 1.5),
    "log": (torch.log, 1.5),
    "log1p": (torch.log1p, 1.5),
    "tanh": (torch.tanh, 1.5),
    "erf": (torch.erf, 1.5),
    "sigmoid": (torch.sigmoid, 2.1),
    "sqrt": (torch.sqrt, 0.5),
}
"""Each with its error at most, in units in the last place."""
TEXT = '#include "component.h"\n' + "".join(
    f"""void each_{name}(const REAL *x, REAL *y, int64_t n)
    {{ for (int64_t i = 0; i < n; i += LANES) *(vector *)(y + i) = vector_{name}(*(const vector *)(x + i)); }}
    """
    for name in (*FUNCTIONS, "abs", "sign", "relu")
)
X86 = platform.machine().lower() in {"x86_64", "amd64"}
OTHER_MACHINES = [("-march=x86-64-v3",), ("-march=x86-64-v2",)] if X86 else []
BUILDS = [(), ("-DLANES=4",), ("-ffp-contract=off",), *OTHER_MACHINES]
EDGES = np.array(
    [
        0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1.1754944e-38, -1.1754944e-38, np.inf, -np.inf, np.nan, 1.0,
        -1.0, 3.4028235e38, -3.4028235e38, 88.72284, 88.7229, -87.33655, -87.4, -103.97, -104.0, 16.0, 1e-8,
    ],
    np.float32,
)  # fmt: skip


def computed(name: str, x: Array, flags: tuple[str, ...] = (), dtype: str = "float32") -> Array:
    y = np.empty_like(x)
    getattr(ctypes.CDLL(str(shared_object(TEXT, dtype, *flags))), f"each_{name}")(at(x), at(y), n(x.size))
    return y


def sample() -> Array:
    """Draw floats of every size: near 0, ordinary, and all that there are."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 2**15, dtype=np.uint32).view(np.float32)
    ordinary = [rng.normal(0, scale, 2**15) for scale in (0.01, 1.0, 30.0)]
    with np.errstate(invalid="ignore"):  # NaNs among the bits
        return np.concatenate([bits, *ordinary, rng.uniform(0.5, 2, 2**15), np.resize(EDGES, 32)]).astype(
            np.float32
        )


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_precision_is_within_units_in_the_last_place(name: str, flags: tuple[str, ...]) -> None:
    function, most = FUNCTIONS[name]
    x = sample()
    with np.errstate(all="ignore"):
        exact = function(torch.from_numpy(x).double()).numpy()
        rounded = exact.astype(np.float32)
        got = computed(name, x, flags)
        limit = ~np.isfinite(rounded)
        np.testing.assert_array_equal(got[limit], rounded[limit])
        unit = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - exact)[~limit] / unit[~limit]
    each_rounded = "-ffp-contract=off" in flags or "-march=x86-64-v2" in flags  # products as well as sums
    assert error.max() <= most + 0.1 * each_rounded, x[~limit][error.argmax()]


@pytest.mark.parametrize("name", [*FUNCTIONS, "abs", "sign", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_are_torchs(name: str, dtype: str) -> None:
    function = FUNCTIONS[name][0] if name in FUNCTIONS else getattr(torch, name)
    x = np.resize(EDGES.astype(dtype), 48)
    with np.errstate(all="ignore"):
        expected = function(torch.from_numpy(x).double()).numpy().astype(dtype)
    np.testing.assert_allclose(computed(name, x, dtype=dtype), expected, rtol=3e-7, atol=3e-45)


def test_the_sign_of_zero_is_kept() -> None:
    x = np.resize(np.array([0.0, -0.0], np.float32), 16)
    for name in ("expm1", "log1p", "tanh", "erf", "relu"):
        assert np.signbit(computed(name, x)).tolist() == np.signbit(x).tolist(), name
    assert not np.signbit(computed("abs", x)).any()
