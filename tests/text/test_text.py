"""Numbers in words: the examples of each function's docstring hold."""

from __future__ import annotations

import doctest

import pytest

from harness import text


def test_examples_in_docstrings_hold() -> None:
    result = doctest.testmod(text)
    assert result.attempted >= 10
    assert result.failed == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (90, "1.5 min"), (6000, "1.7 h"), (3e5, "3 days"), (7e7, "2 years")],
)
def test_a_duration_has_its_natural_unit(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "word"),
    [(None, "not applicable"), (float("nan"), "not applicable"), ("", "not applicable"), (16.0, "16"),
     (True, "true"), ([64, 32], "[64, 32]"), (0.001, "0.001")],
)  # fmt: skip
def test_settings_are_put_into_words(value: object, word: str) -> None:
    assert text.as_word(value) == word


def test_one_seed_has_no_interval_and_says_so() -> None:
    assert text.interval({"n": 1, "low": float("nan"), "high": float("nan")}) == "one seed, so no interval"
    same = {"n": 3, "low": float("nan"), "high": float("nan")}
    assert text.interval(same) == "the same in all 3 seeds, so no interval"
