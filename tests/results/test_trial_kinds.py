"""Kinds of processor, as trials.csv tells them: by names of kernels, by hosts and by devices."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.results import trial_kinds

Row = tuple[str, str, str]
C1, C2 = "c-0000000001+aaaaaa", "c-0000000002+aaaaaa"
TORCH1, TORCH2 = "torch-2.13.0-00000001", "torch-2.13.0-00000002"
P = "portable-0000000001+aaaaaa"
G = "torch-2.13.0-resident-00000003+aaaaaa"


def table(*rows: Row) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=trial_kinds.READ)


def pair(first: Row, second: Row, *others: Row) -> bool:
    """Whether the first two of these trials are of one kind; the others stand in the same table."""
    made = trial_kinds.of_trials(table(first, second, *others))
    (told,) = trial_kinds.alike(made.iloc[:1], made.iloc[1:2])
    if not others:
        assert trial_kinds.all_alike(made) == told
    return bool(told)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((C1, "p", "cpu"), ("c-0000000001+bbbbbb", "q", "cpu"), True),  # one build on one model of processor
        ((C1, "p", "cpu"), (C2, "q", "cpu"), False),
        ((C1, "p", "cpu"), (C2, "p", "cpu"), False),  # another compiler since
        ((C1, "p", "cpu"), (TORCH1, "p", "cpu"), True),  # what compiles and what does not, on one machine
        ((C1, "p", "cpu"), (TORCH1, "q", "cpu"), False),
        ((TORCH1, "p", "cpu"), (TORCH2, "p", "cpu"), True),  # with and without kernels in layer one
        ((TORCH1, "p", "cpu"), (TORCH2, "q", "cpu"), False),
        ((TORCH1, "p", "cpu"), ("torch-2.14.0-00000009", "p", "cpu"), False),
        ((TORCH1, "p", "cpu"), (G, "p", "cuda:0"), False),  # GPU and CPU
        ((G, "p", "cuda:0"), (G, "q", "cuda:1"), True),  # GPUs of one model
        ((P, "p", "cpu"), (P, "q", "cpu"), True),
        ((P, "p", "cpu"), (TORCH1, "q", "cpu"), False),
        (("", "p", "cpu"), ("", "p", "cpu"), True),
        (("", "p", "cpu"), ("", "q", "cpu"), False),
        (("", "", ""), (C1, "p", "cpu"), False),
        (("", "", ""), ("", "", ""), True),  # of a folder that says nothing, nothing is said
    ],
)
def test_two_trials_are_of_one_kind_or_not(first: Row, second: Row, *, same: bool) -> None:
    assert pair(first, second) == pair(second, first) == same


def test_machines_are_of_one_kind_if_anything_was_computed_alike_on_them() -> None:
    assert pair((C1, "p", "cpu"), (TORCH1, "q", "cpu"), (C1, "q", "cpu"))
    assert pair((C1, "p", "cpu"), (TORCH1, "r", "cpu"), (C1, "q", "cpu"), (TORCH1, "q", "cpu"))
    assert not pair((TORCH1, "p", "cpu"), (TORCH2, "q", "cpu"), (P, "p", "cpu"), (P, "q", "cpu"))


def test_a_table_of_an_older_version_is_read() -> None:
    made = trial_kinds.of_trials(pd.DataFrame({"status": ["ok", "ok"]}))
    assert trial_kinds.all_alike(made)
    assert trial_kinds.all_alike(trial_kinds.of_trials(table()))
