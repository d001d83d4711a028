"""[tune] blocks: how seeds are divided, what is refused, and which trials a block's choice makes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.planning import plan
from harness.settings.schema import SEED_BLOCK
from harness.study import seed_blocks
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import lone_trial, trials

CE, MSE = "CE", "MSE"


def study(seeds: Any = 4, /, overrides: list[str] | None = None, **tune: Any) -> Study:
    output = [{"name": CE, "head": "identity", "loss": "ce"}, {"name": MSE, "head": "softmax", "loss": "mse"}]
    tables = {
        "study": {"name": "blocks", "seeds": seeds},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
        "axes": {"output": output},
        "tune": {"seeds": 4, "blocks": 2, "space": {"lr": [0.01, 0.1, 1.0]}, **tune},
    }
    return parse(tables, overrides or [])


# ---------------------------------------- bad input, in words


@pytest.mark.parametrize(
    ("seeds", "tune", "message"),
    [
        (4, {"blocks": 1}, r"tune\.blocks = 1: one choice shows no spread, and an interval needs two blocks"),
        (4, {"blocks": 0}, r"tune\.blocks = 0: allowed"),
        (
            9,
            {"blocks": 2},
            r"which has 9; allowed: study\.seeds = 10, or blocks = 3 or 9",
        ),
        (3, {"blocks": 4, "seeds": 4}, r"which has 3; allowed: study\.seeds = 4, or blocks = 3"),
        (1, {"blocks": 2, "seeds": 2}, r"which has 1; allowed: study\.seeds = 2$"),
        (4, {"seeds": 3}, r"chooses by as many tuning seeds of its own, and tune\.seeds has 3 for all"),
        (4, {"seeds": 2, "halving": True}, r"no second round to go on to; allowed: tune\.seeds = 4 or more"),
        (4, {"seeds": [0, 7]}, r"tune\.seeds: \[0\] are seeds of the study too"),
    ],
)
def test_blocks_that_cannot_choose_are_refused(seeds: int, tune: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study(seeds, **tune)


def test_what_blocks_cannot_show_is_said_in_the_plan() -> None:
    (one, other) = plan.draw(study(2, seeds=2)).warnings
    assert one.startswith("tune.blocks = 2: a block of one seed. Intervals cover choice and seed together")
    assert "(seeds = 4)" in one
    assert other.startswith("tune.blocks = 2: each block chooses by one tuning seed")
    assert plan.draw(study()).warnings == []


# ---------------------------------------- trials


def test_seeds_are_divided_in_their_order() -> None:
    given = study([5, 3, 8, 1], seeds=[11, 10, 13, 12])
    assert [given.seeds_of(block) for block in (0, *given.blocks)] == [[5, 3, 8, 1], [5, 3], [8, 1]]
    tuning = given.in_phase("tuning")
    assert [tuning.seeds_of(block) for block in tuning.blocks] == [[11, 10], [13, 12]]
    assert study(blocks=None).blocks == [0]


def test_each_block_trains_what_it_chose_under_the_name_of_the_arm() -> None:
    chosen: dict[str, Any] = {
        "CE, block 1": {"lr": 0.1}, "CE, block 2": {"lr": 1.0}, "MSE, block 2": {"lr": 0.01},
    }  # fmt: skip
    tuned = study().in_phase("tuned", chosen)
    found, _ = trials(tuned)
    assert [(t.arm.name, t.arm.labels[SEED_BLOCK], t.seed) for t in found] == [
        (arm, block, seed) for arm in (CE, MSE) for block, seed in (("1", 0), ("1", 1), ("2", 2), ("2", 3))
    ]
    assert [t.arm.settings["lr"] for t in found[:4]] == [0.1, 0.1, 1.0, 1.0]
    assert [t.trial_id for t in found] == [lone_trial(t.arm.settings, t.seed).trial_id for t in found]
    drawn = plan.draw(tuned)
    assert set(drawn.skipped) == {t.trial_id for t in found[4:6]}
    assert set(drawn.skipped.values()) == {
        "none of the settings it tried finished with every tuning seed of block 1"
    }
    again = parse(tuned.tables(), [])
    assert [t.trial_id for t in trials(again)[0]] == [t.trial_id for t in found]


def test_arms_that_mean_the_same_are_merged_once() -> None:
    twice = [
        {"name": CE, "head": "identity", "loss": "ce"},
        {"name": "again", "head": "identity", "loss": "ce"},
    ]
    tables = {
        "study": {"name": "blocks", "seeds": 4},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
        "axes": {"output": twice},
        "tune": {"seeds": 2, "blocks": 2, "space": {"lr": [0.1, 1.0]}},
    }
    chosen: dict[str, Any] = {"CE, block 1": {"lr": 0.1}, "CE, block 2": {"lr": 0.1}}
    found, merged = trials(parse(tables).in_phase("tuned", chosen))
    assert [trial.seed for trial in found] == [0, 1, 2, 3]
    assert merged == {CE: ["again"]}


def test_tuning_trains_the_same_trials_with_blocks_and_without() -> None:
    one, other = (trials(given.in_phase("tuning"))[0] for given in (study(), study(blocks=None)))
    assert [trial.trial_id for trial in one] == [trial.trial_id for trial in other]


def test_a_study_without_blocks_is_written_as_ever() -> None:
    assert study(blocks=None).tables()["tune"] == {
        "seeds": [1000, 1001, 1002, 1003], "space": {"lr": [0.01, 0.1, 1.0]},
    }  # fmt: skip
    assert study(halving=True).tables()["tune"]["halving"] is True
    assert parse(study(halving=True).tables()).tune == study(halving=True).tune


def test_blocks_are_set_on_the_command_line() -> None:
    given = study(6, ["tune.blocks=3", "tune.seeds=6", "tune.halving=true"])
    assert given.blocks == [1, 2, 3]
    assert given.tune is not None
    assert given.tune.halving


# ---------------------------------------- halving


@pytest.mark.parametrize(
    ("settings", "seeds", "rounds"),
    [
        (6, 1, [(6, 1)]),
        (6, 2, [(6, 1), (3, 2)]),
        (6, 4, [(6, 1), (3, 2), (2, 4)]),
        (7, 5, [(7, 1), (4, 2), (2, 4), (2, 5)]),
        (2, 4, [(2, 1), (2, 2), (2, 4)]),
    ],
)
def test_each_round_goes_on_with_the_better_half_and_twice_the_seeds(
    settings: int, seeds: int, rounds: list[tuple[int, int]]
) -> None:
    assert seed_blocks.rounds(settings, seeds) == rounds
