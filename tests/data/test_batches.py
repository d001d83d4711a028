from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.arm_settings import Settings
from harness.data.batches import Budget, epoch_order

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
sizes = st.tuples(st.integers(1, 300), st.integers(1, 70)).map(lambda pair: (pair[0] + pair[1], pair[1]))


def budget(n: int, batch_size: int, eval_every: str = "1 epoch", **length: Any) -> Budget:
    return Budget.of(Settings({"batch_size": batch_size, "eval_every": eval_every, **length}), n)


@steady
@given(size=sizes, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_a_shuffled_epoch_sees_every_image_once(size: tuple[int, int], seed: int, epoch: int) -> None:
    order = epoch_order(seed, epoch, budget(*size, epochs=1), "shuffle")
    assert sorted(order.tolist()) == list(range(size[0]))


@steady
@given(size=sizes, epoch=st.integers(0, 9))
def test_a_sequential_epoch_is_the_original_order(size: tuple[int, int], epoch: int) -> None:
    assert epoch_order(0, epoch, budget(*size, epochs=1), "sequential").tolist() == list(range(size[0]))


@steady
@given(size=sizes, seed=st.integers(0, 99))
def test_with_replacement_every_batch_is_full(size: tuple[int, int], seed: int) -> None:
    n, batch_size = size
    order = epoch_order(seed, 0, budget(n, batch_size, epochs=1), "replacement")
    assert len(order) == math.ceil(n / batch_size) * batch_size
    assert order.min() >= 0
    assert order.max() < n


def test_with_replacement_draws_evenly_and_repeats() -> None:
    order = epoch_order(1, 0, budget(10, 10, epochs=1), "replacement")
    assert len(set(order.tolist())) < 10
    many = np.concatenate([epoch_order(1, e, budget(10, 1000, steps=1), "replacement") for e in range(20)])
    counts = np.bincount(many, minlength=10)
    assert counts.sum() == 20_000
    assert np.abs(counts - 2000).max() < 5 * (2000 * 0.9) ** 0.5


# Pinned: a change changes every trial's results, and must raise trials.SEMANTICS.
@pytest.mark.parametrize(
    ("epoch", "sampling", "expected"),
    [
        (0, "shuffle", [7, 3, 0, 5, 1, 6, 9, 2, 8, 4]),
        (1, "shuffle", [5, 6, 7, 4, 0, 2, 3, 1, 9, 8]),
        (0, "replacement", [4, 9, 9, 4, 1, 6, 4, 6, 7, 2, 8, 8]),
    ],
)
def test_first_orders(epoch: int, sampling: str, expected: list[int]) -> None:
    assert epoch_order(0, epoch, budget(10, 4, epochs=2), sampling).tolist() == expected


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_epochs_and_seeds_differ_and_repeat(sampling: str) -> None:
    shape = budget(200, 10, epochs=3)
    orders = {(s, e): epoch_order(s, e, shape, sampling).tolist() for s in range(3) for e in range(3)}
    assert len({tuple(order) for order in orders.values()}) == 9
    assert epoch_order(2, 1, shape, sampling).tolist() == orders[2, 1]


def test_arms_of_one_batch_size_see_the_same_batches_whatever_their_length() -> None:
    short, long = budget(50, 8, epochs=1), budget(50, 8, steps=99, eval_every="3 steps")
    assert (epoch_order(4, 0, short, "shuffle") == epoch_order(4, 0, long, "shuffle")).all()


@steady
@given(size=sizes, epochs=st.integers(1, 12))
def test_a_budget_in_epochs_gives_steps_and_evaluations(size: tuple[int, int], epochs: int) -> None:
    n, batch_size = size
    shape = budget(n, batch_size, epochs=epochs)
    assert shape.steps_per_epoch == math.ceil(n / batch_size)
    assert shape.steps == epochs * shape.steps_per_epoch
    assert shape.epochs == epochs
    assert shape.eval_steps == tuple(e * shape.steps_per_epoch for e in range(epochs + 1))
    assert [shape.epoch_of(step) for step in shape.eval_steps] == list(range(epochs + 1))


@steady
@given(size=sizes, steps=st.integers(1, 400), every=st.integers(1, 50))
def test_a_budget_in_steps_gives_epochs_and_evaluations(
    size: tuple[int, int], steps: int, every: int
) -> None:
    n, batch_size = size
    shape = budget(n, batch_size, steps=steps, eval_every=f"{every} steps")
    assert shape.steps == steps
    assert (shape.epochs - 1) * shape.steps_per_epoch < steps <= shape.epochs * shape.steps_per_epoch
    assert shape.eval_steps[0] == 0
    assert shape.eval_steps[-1] == steps
    assert all(0 < b - a <= every for a, b in zip(shape.eval_steps, shape.eval_steps[1:], strict=False))
    assert all(step % every == 0 for step in shape.eval_steps[:-1])


def test_worked_budgets() -> None:
    assert budget(1293, 32, epochs=2) == Budget(1293, 32, 82, (0, 41, 82))
    assert budget(1293, 32, "2 epochs", epochs=5) == Budget(1293, 32, 205, (0, 82, 164, 205))
    assert budget(100, 30, "3 steps", steps=7) == Budget(100, 30, 7, (0, 3, 6, 7))
    assert budget(100, 30, "1 epoch", steps=6).epochs == 2
    assert budget(100, 100, epochs=1).steps == 1
