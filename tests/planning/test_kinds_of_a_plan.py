"""Stacks dealt over kinds of processor: whole seeds on one kind, evenly, unless that takes too long."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.planning.kinds import PATIENCE, Deal, deal
from harness.planning.stack import Stack


def stack_of(group: str, *seeds: int, dataset: str = "mnist") -> Stack:
    settings = SimpleNamespace(dataset=dataset)
    trials = [SimpleNamespace(seed=seed, arm=SimpleNamespace(settings=settings)) for seed in seeds]
    return Stack(group, "stacked", cast(Any, tuple(trials)))


def arms_by_seeds(arms: int, seeds: int, dataset: str = "mnist") -> list[Stack]:
    """Make a stack of each arm and seed, arm by arm."""
    return [
        stack_of(f"{dataset}-{arm}-{seed}", seed, dataset=dataset)
        for arm, seed in itertools.product(range(arms), range(seeds))
    ]


def kinds_of_seeds(dealt: Deal) -> dict[tuple[str, int], set[str]]:
    kinds: dict[tuple[str, int], set[str]] = {}
    for group, kind in dealt.places.items():
        for trial in dealt.stacks[group].trials:
            kinds.setdefault((trial.arm.settings.dataset, trial.seed), set()).add(kind)
    return kinds


def test_both_arms_of_a_seed_go_to_one_kind_and_seeds_are_dealt_evenly() -> None:
    stacks = arms_by_seeds(3, 10)
    dealt = deal(stacks, [1.0] * 30, {"old": 4, "new": 4})
    where = kinds_of_seeds(dealt)
    assert all(len(kinds) == 1 for kinds in where.values())
    assert sorted(sum(kinds == {name} for kinds in where.values()) for name in ("old", "new")) == [5, 5]
    assert dealt.parted == []
    (words,) = dealt.words()
    assert "2 kinds of processor train: new and old" in words
    assert "both arms of a seed are made on one kind" in words


def test_a_kind_with_more_workers_gets_more_seeds() -> None:
    where = kinds_of_seeds(deal(arms_by_seeds(2, 10), [1.0] * 20, {"old": 1, "new": 4}))
    assert sum(kinds == {"new"} for kinds in where.values()) == 8


def test_a_deal_does_not_depend_on_the_order_of_stacks_and_kinds() -> None:
    stacks = arms_by_seeds(3, 7)
    seconds = [1.0 + i % 4 for i in range(21)]
    first = deal(stacks, seconds, {"a": 2, "b": 3})
    turned = deal(stacks[::-1], seconds[::-1], {"b": 3, "a": 2})
    assert first.places == turned.places


def test_stacks_of_several_seeds_hold_their_seeds_together() -> None:
    stacks = [stack_of("one", 0, 1), stack_of("two", 1, 2), stack_of("three", 3), stack_of("four", 3)]
    dealt = deal(stacks, [1.0] * 4, {"a": 1, "b": 1})
    assert dealt.places["one"] == dealt.places["two"]
    assert dealt.places["three"] == dealt.places["four"] != dealt.places["one"]
    apart = deal([stack_of("one", 0), stack_of("two", 0, dataset="digits")], [1.0, 1.0], {"a": 1, "b": 1})
    assert apart.places["one"] != apart.places["two"]
    assert apart.parted == []


def test_seeds_that_cannot_be_dealt_evenly_are_parted_and_that_is_said() -> None:
    dealt = deal([stack_of(f"arm{i}", 0, 1, 2) for i in range(4)], [1.0] * 4, {"a": 1, "b": 1})
    assert sorted(dealt.places.values()) == ["a", "a", "b", "b"]
    assert [len(block) for block in dealt.parted] == [4]
    (words,) = dealt.words()
    assert "Arms of one seed are made on several kinds" in words
    assert "3 seeds on mnist in 4 stacks" in words


def test_a_run_takes_at_most_half_as_long_again_to_keep_seeds_whole() -> None:
    dealt = deal(arms_by_seeds(2, 3), [1.0] * 6, {"a": 1, "b": 1})  # 4 and 2 instead of 3 and 3
    assert dealt.parted == []
    assert sorted(dealt.places.values()).count("a") in {2, 4}


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 50)), min_size=1, max_size=30),
       st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), min_size=1))  # fmt: skip
def test_every_stack_has_a_place_and_no_run_takes_much_longer(
    drawn: list[tuple[int, float]], workers: dict[str, int]
) -> None:
    stacks = [stack_of(f"g{i}", seed) for i, (seed, _) in enumerate(drawn)]
    seconds = [cost for _, cost in drawn]
    dealt = deal(stacks, seconds, workers)
    assert set(dealt.places) == {stack.group for stack in stacks}
    assert set(dealt.places.values()) <= set(workers)
    loads = {kind: sum(c for s, c in zip(stacks, seconds, strict=True) if dealt.places[s.group] == kind)
             for kind in workers}  # fmt: skip
    end = max(load / workers[kind] for kind, load in loads.items())
    # Graham's bound of a schedule stack by stack, and the patience of one by blocks.
    assert end <= PATIENCE * (sum(seconds) / sum(workers.values()) + max(seconds)) + 1e-9
    parted = {group for block in dealt.parted for group in block}
    whole = [s for s in stacks if s.group not in parted]
    for seed in range(6):
        assert len({dealt.places[s.group] for s in whole if s.trials[0].seed == seed}) <= 1


def test_no_worker_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind of processor has a worker"):
        deal(arms_by_seeds(1, 1), [1.0], {"a": 0})


# --------------------------------------------------------------------------- which stack a free worker takes


def run_to_the_end(dealt: Deal, speeds: dict[str, float], workers: dict[str, int]) -> dict[str, str]:
    """Train by a clock of its own; returns the kind that each stack was trained on."""
    waiting, made = list(dealt.places), dict[str, str]()
    free = [(0.0, kind, number) for kind, many in workers.items() for number in range(many)]
    while waiting:
        free.sort()
        now, kind, number = free.pop(0)
        group = dealt.choose(waiting, kind, workers)
        if group is None:  # it looks again a little later
            free.append((now + 0.1, kind, number))
            continue
        waiting.remove(group)
        made[group] = kind
        free.append((now + dealt.seconds[group] / speeds[kind], kind, number))
    return made


def test_workers_take_the_stacks_of_their_kind() -> None:
    dealt = deal(arms_by_seeds(3, 8), [1.0] * 24, {"a": 2, "b": 2})
    planned = dict(dealt.places)
    assert run_to_the_end(dealt, {"a": 1.0, "b": 1.0}, {"a": 2, "b": 2}) == planned


def test_a_faster_kind_takes_over_whole_seeds_that_nobody_has_begun() -> None:
    dealt = deal(arms_by_seeds(3, 12), [1.0] * 36, {"a": 2, "b": 2})
    before = sum(kind == "a" for kind in dealt.places.values())
    made = run_to_the_end(dealt, {"a": 4.0, "b": 1.0}, {"a": 2, "b": 2})
    assert sum(kind == "a" for kind in made.values()) > before
    assert all(len(kinds) == 1 for kinds in kinds_of_seeds(dealt).values())
    assert made == dealt.places


def test_stacks_of_a_kind_that_has_left_are_taken_by_the_others() -> None:
    dealt = deal(arms_by_seeds(2, 4), [1.0] * 8, {"a": 1, "b": 1})
    waiting = list(dealt.places)
    taken = []
    while (group := dealt.choose(waiting, "a", {"a": 1})) is not None:
        waiting.remove(group)
        taken.append(group)
    assert not waiting
    assert set(dealt.places.values()) == {"a"}
