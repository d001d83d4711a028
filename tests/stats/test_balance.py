"""The balanced part of a grid with holes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness import stats


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=4, max_side=5)))
def test_the_balanced_part_has_no_hole(finished: np.ndarray) -> None:
    kept = stats.whole_block(finished)
    block = finished[np.ix_(*kept)]
    assert block.all()
    assert (block.size > 0) == finished.any()


@given(st.integers(0, 5), st.integers(0, 2), st.integers(0, 3))
def test_one_hole_costs_the_smallest_share(lr: int, width: int, seed: int) -> None:
    finished = np.ones((6, 3, 4), dtype=bool)
    finished[lr, width, seed] = False
    kept = stats.whole_block(finished)
    assert [len(places) for places in kept] == [5, 3, 4]
    assert lr not in kept[0]


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_cells_that_are_left_have_every_seed_that_is_left(finished: np.ndarray) -> None:
    cells, seeds = stats.whole_cells(finished)
    assert finished[np.ix_(cells, seeds)].all()
    assert (len(cells) * len(seeds) > 0) == finished.any()


def test_a_hole_costs_its_cell_and_an_empty_seed_itself() -> None:
    finished = np.ones((4, 5), dtype=bool)
    finished[2, 1] = False
    assert [kept.tolist() for kept in stats.whole_cells(finished)] == [[0, 1, 3], [0, 1, 2, 3, 4]]
    finished[:3, 4] = False
    assert [kept.tolist() for kept in stats.whole_cells(finished)] == [[0, 1, 3], [0, 1, 2, 3]]


def test_holes_in_every_cell_leave_something() -> None:
    crossed = np.array([[False, True, True], [True, False, True]])
    assert [kept.tolist() for kept in stats.whole_cells(crossed)] == [[1], [0, 2]]


def test_nothing_finished_leaves_nothing() -> None:
    assert [len(kept) for kept in stats.whole_block(np.zeros((3, 2), dtype=bool))] == [0, 0]
    assert [len(kept) for kept in stats.whole_block(np.zeros((0, 2), dtype=bool))] == [0, 0]
