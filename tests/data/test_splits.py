from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.splits import HOWS, split
from harness.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def labelled(draw: st.DrawFn) -> NDArray[Any]:
    """Labels (N,) in an order of their own, each class with at least 10 images."""
    counts = draw(st.lists(st.integers(10, 60), min_size=2, max_size=6))
    return stream(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(len(counts)), counts))


@given(labelled(), st.floats(0.03, 0.15), st.sampled_from(HOWS), st.integers(0, 5))
def test_every_image_is_in_one_part_and_the_size_is_exact(
    labels: NDArray[Any], fraction: float, how: str, seed: int
) -> None:
    train, val = split(labels, fraction, how, stream(seed), range(0, len(labels), 7))
    assert len(val) == round(fraction * len(labels))
    assert sorted([*train, *val]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()


@given(labelled(), st.floats(0.03, 0.5))
def test_stratified_is_within_one_image_of_train_shares(labels: NDArray[Any], fraction: float) -> None:
    train, val = split(labels, fraction, "stratified", stream())
    counts = np.bincount(labels)
    ideal = counts * (len(val) / len(labels))
    assert np.abs(np.bincount(labels[val], minlength=len(counts)) - ideal).max() < 1
    assert np.bincount(labels[train], minlength=len(counts)).min() > 0


@given(labelled(), st.floats(0.03, 0.15))
def test_balanced_takes_as_many_of_each_class(labels: NDArray[Any], fraction: float) -> None:
    val = split(labels, fraction, "balanced", stream())[1]
    assert np.ptp(np.bincount(labels[val], minlength=len(np.unique(labels)))) <= 1


@given(st.sampled_from([how for how in HOWS if how != "last"]), st.integers(0, 1000))
def test_only_the_random_stream_decides_a_split(how: str, seed: int) -> None:
    labels = np.arange(400) % 4
    blocks = range(0, 400, 4)
    first, again = (split(labels, 0.25, how, stream(seed), blocks)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, split(labels, 0.25, how, stream(seed + 1), blocks)[1])


@given(st.floats(0.05, 0.9), st.integers(0, 50))
def test_blocks_are_held_out_whole_but_for_one(fraction: float, seed: int) -> None:
    blocks = [0, 13, 30, 41, 60, 71]
    train, val = split(np.zeros(90), fraction, "blocks", stream(seed), blocks)
    of_train, of_val = (set(np.searchsorted(blocks, part, side="right")) for part in (train, val))
    assert len(of_train & of_val) <= 1
    assert {*of_train, *of_val} == {1, 2, 3, 4, 5, 6}


def test_blocks_are_refused_where_none_are_known() -> None:
    with pytest.raises(UsageError, match=r"val_split = 'blocks' is for data sets .* such as digits"):
        split(np.zeros(90), 0.1, "blocks", stream())


def test_the_last_images_are_held_out_as_they_came() -> None:
    labels = np.arange(50) % 5
    train, val = split(labels, 0.3, "last", stream())
    assert (train.tolist(), val.tolist()) == (list(range(35)), list(range(35, 50)))
    assert len(split(labels, 0.0, "last", stream())[1]) == 0


def test_last_is_refused_where_a_class_would_have_no_image_left() -> None:
    with pytest.raises(
        UsageError, match=r"the last 10 of 40 images leaves none to train on of class 3; .*'strat"
    ):
        split(np.repeat([0, 1, 2, 3], 10), 0.25, "last", stream())


def test_largest_remainders_by_hand() -> None:
    # Quotas of 5 among 7:2:1 are 3.5, 1.0, 0.5: the tie over the last image goes to the lower class.
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    assert np.bincount(labels[split(labels, 0.05, "stratified", stream())[1]], minlength=3).tolist() == [
        4,
        1,
        0,
    ]


def test_random_does_not_fix_the_shares() -> None:
    labels = np.arange(100) % 2
    shares = {int(labels[split(labels, 0.2, "random", stream(seed))[1]].sum()) for seed in range(20)}
    assert len(shares) > 3


def test_each_image_of_a_class_is_as_likely() -> None:
    labels = np.arange(20) % 2
    taken = np.zeros(20)
    for seed in range(2000):
        taken[split(labels, 0.2, "stratified", stream(seed))[1]] += 1
    # Binomial(2000, 0.2): standard deviation 18; five of them.
    assert np.abs(taken - 400).max() < 90


def test_splits_of_mnist_have_their_known_sizes() -> None:
    labels = stream().integers(0, 10, 60_000)
    for how in HOWS:
        assert [len(part) for part in split(labels, 0.1, how, stream(), [0, 31_000])] == [54_000, 6_000]


@pytest.mark.parametrize("how", HOWS)
def test_fraction_zero_holds_out_nothing(how: str) -> None:
    train, val = split(np.arange(10) % 2, 0, how, stream())
    assert train.tolist() == list(range(10))
    assert val.shape == (0,)
    assert val.dtype == train.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "fraction", "how", "words"),
    [
        ([0, 1] * 10, 1.0, "random", "out of range"),
        ([0, 1] * 10, -0.1, "random", "out of range"),
        ([0, 1] * 10, float("nan"), "random", "out of range"),
        ([0, 1] * 10, 0.01, "random", "0 for validation and 20 to train on"),
        ([0, 1] * 10, 0.99, "random", "20 for validation and 0 to train on"),
        ([0, 1] * 10, 0.1, "stratifed", "did you mean 'stratified'"),
        ([0] * 18 + [1] * 2, 0.2, "balanced", "2 images of class 1 .* it has 2"),
        ([0] * 9 + [1], 0.5, "balanced", "class 1 .* it has 1"),
        ([0] * 9 + [1], 0.9, "stratified", "class 1 .* it has 1"),
    ],
)
def test_impossible_splits_are_refused(labels: list[int], fraction: float, how: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        split(np.array(labels), fraction, how, stream())
