from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.axes.architectures import initial_layers
from harness.rng import PURPOSES, Purpose, StepSeeds, stream

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
everywhere = st.tuples(st.integers(0, 2**40), st.sampled_from(sorted(PURPOSES)), st.integers(0, 1000))


def test_purposes_keep_their_numbers() -> None:
    assert PURPOSES == {
        "weights": 0,
        "batches": 1,
        "split": 2,
        "label_noise": 3,
        "dropout": 4,
        "augmentation": 5,
    }


# Pinned: whoever changes these changes every trial's results, and must raise trials.SEMANTICS.
@pytest.mark.parametrize(
    ("purpose", "indices", "expected"),
    [
        ("weights", (), [0.9429375528828794, 0.3163371523854981, 0.7223425886498254]),
        ("batches", (0,), [0.9453165290142962, 0.41175942424912015, 0.6641401192445894]),
        ("batches", (1,), [0.5891776823904694, 0.8194674160635124, 0.6221764077569214]),
        ("split", (), [0.8382711479571602, 0.08372444856512495, 0.6176152913826177]),
    ],
)
def test_the_first_random_values_are_pinned(
    purpose: Purpose, indices: tuple[int, ...], expected: list[float]
) -> None:
    assert stream(0, purpose, *indices).random(3).tolist() == expected


def test_the_first_weights_are_pinned() -> None:
    first, last = initial_layers([4, 3, 2], stream(0, "weights"))
    row = [0.4429375528828794, -0.1836628476145019, 0.22234258864982537, -0.3743969145673067]
    assert first.weight[0].tolist() == row
    assert first.bias.tolist() == [0.4108652081547325, 0.4212915310688321, -0.3833561397679236]
    assert last.bias.tolist() == [0.1670695137221132, -0.029019663122390238]


@steady
@given(a=everywhere, b=everywhere)
def test_streams_are_equal_only_for_equal_keys(
    a: tuple[int, Purpose, int], b: tuple[int, Purpose, int]
) -> None:
    same = (stream(*a).random(4) == stream(*b).random(4)).all()
    assert same == (a == b)


def test_purposes_epochs_and_seeds_are_uncorrelated() -> None:
    places: list[tuple[int, Purpose, int]] = [
        (seed, purpose, epoch) for seed in range(3) for purpose in PURPOSES for epoch in range(2)
    ]
    draws = np.stack([stream(*place).standard_normal(20_000) for place in places])
    correlations = np.asarray(np.corrcoef(draws))
    off_diagonal = correlations[~np.eye(len(places), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / 20_000**0.5


def test_no_global_random_state_is_touched() -> None:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (looked at only)
    stream(3, "batches", 7).permutation(100)
    assert random.getstate() == before[0]
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in itertools.zip_longest(after, before[1]))
    assert torch.equal(torch.get_rng_state(), before[2])


def test_seeds_by_purpose_are_those_purposes_seeds() -> None:
    seeds = StepSeeds(batches=1, dropout=2, augmentation=3)
    named: dict[Purpose, int] = {"batches": 1, "dropout": 2, "augmentation": 3}
    for purpose, seed in named.items():
        assert stream(seeds, purpose, 4).random() == stream(seed, purpose, 4).random()


def test_a_zero_at_the_end_of_a_key_counts() -> None:
    """In a list it would not: default_rng([7, 0]) is default_rng(7)."""
    keys: list[tuple[int, ...]] = [(), (0,), (0, 0), (0, 0, 0, 0, 0)]
    draws = [np.random.default_rng(7).random(), *(stream(7, "weights", *key).random() for key in keys)]
    assert len(set(draws)) == len(draws)
