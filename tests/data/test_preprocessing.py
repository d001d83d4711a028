from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import component
from harness.data.preprocessing import PixelStatistics, preprocessings

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
every = pytest.mark.parametrize("name", [entry.name for entry in preprocessings])
PIXELS = PixelStatistics(max=16, train=np.array([2, 6], np.uint8))  # mean 4, sd 2
# Of the pixels 0, 4, 8 and 16, where a full one is 16.
EXPECTED = {
    "unit": [0, 0.25, 0.5, 1],
    "signed": [-1, -0.5, 0, 1],
    "invert": [1, 0.75, 0.5, 0],
    "raw": [0, 4, 8, 16],
    "standardize": [-2, 0, 2, 6],
}


@every
def test_contract(name: str) -> None:
    assert component("preprocessing", name)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_worked_values(name: str, dtype: Any) -> None:
    x = np.array([[[0, 4], [8, 16]]]).astype(dtype)
    assert preprocessings[name].apply(x, PIXELS).ravel().tolist() == EXPECTED[name]


@every
@steady
@given(pixels=st.lists(st.integers(0, 255), min_size=1, max_size=9), full=st.integers(1, 255))
def test_shape_and_finiteness(name: str, pixels: list[int], full: int) -> None:
    x = np.array(pixels, np.float64).reshape(1, -1, 1)
    before = x.copy()
    y = preprocessings[name].apply(x, PixelStatistics(full, np.array([*pixels, 0, 255], np.uint8)))
    assert y.shape[0] == 1
    assert np.isfinite(y).all()
    assert (x == before).all(), "the pixels it was given are not its own to change"


@given(pixels=st.lists(st.integers(0, 255), min_size=1, max_size=50))
@steady
def test_statistics_are_exact_but_for_their_last_rounding(pixels: list[int]) -> None:
    """From whole sums, so that they depend on no order and no processor."""
    statistics = PixelStatistics(255.0, np.array(pixels, np.uint8).reshape(1, 1, -1))
    mean = Fraction(sum(pixels), len(pixels))
    variance = sum((value - mean) ** 2 for value in pixels) / len(pixels)
    assert statistics.mean == float(mean)
    assert statistics.sd == math.sqrt(float(variance))
