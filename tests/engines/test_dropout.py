from __future__ import annotations

import numpy as np
import pytest

from harness.engines.base import uniforms


# Pinned: whoever changes these changes the results of trials with dropout, and must raise trials.SEMANTICS.
def test_the_first_random_values_are_pinned() -> None:
    u = uniforms(0, 0, 1, 3, 2)
    assert u.dtype == np.float32
    assert u.tolist() == [
        [0.2713713049888611, 0.050330400466918945],
        [0.7122861742973328, 0.20376431941986084],
        [0.13781142234802246, 0.8448551297187805],
    ]


def test_a_narrower_layer_gets_the_first_rows_of_a_wider_one() -> None:
    assert np.array_equal(uniforms(3, 1, 7, 5, 16), uniforms(3, 1, 7, 40, 16)[:5])


def test_seeds_layers_and_steps_have_draws_of_their_own() -> None:
    places = [(seed, layer, step) for seed in (0, 1) for layer in (0, 1) for step in (1, 2)]
    assert len({uniforms(*place, 4, 4).tobytes() for place in places}) == len(places)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_kept_share_is_the_requested_one(p: float) -> None:
    kept = np.stack([uniforms(0, 0, step, 64, 32) >= p for step in range(1, 51)])
    error = (p * (1 - p) / kept.size) ** 0.5
    assert kept.mean() == pytest.approx(1 - p, abs=4 * error)
    assert kept.mean((0, 1)) == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 3200) ** 0.5)
