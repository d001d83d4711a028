"""Large plans: what an arm decides is looked at once, however many seeds it has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import answers
from harness.data.arm_settings import Settings, once_an_arm
from harness.lowering import components
from harness.planning import compilation, cost, grouping, stack
from harness.planning.plan import make
from harness.results import csv_rows, run_folder
from harness.results.csv_rows import TextTable
from harness.study.study import Study
from harness.study.trials import arms_of, resolve
from harness.text import as_text

Make = Callable[..., Study]
AXES: dict[str, Any] = {"lr": [0.1, 0.2, 0.3], "activation": ["relu", "tanh"], "optimizer": ["sgd", "adam"]}
ARMS = 12


def test_what_decides_a_stack_is_asked_once_an_arm(study_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            asked[name] += 1
            return function(*given, **named)

        return call

    for owner, name in (
        (components, "of_trial"), (grouping, "order"), (grouping, "widest"), (cost, "parameters_of"),
        (stack, "member_bytes"), (grouping, "_same_batches"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    looks = []
    for seeds in (2, 40):
        asked.clear()
        plan = make(study_of(AXES, study={"seeds": seeds}), processes=2)
        assert len(plan.trials) == ARMS * seeds
        cost.cost(plan.stacks, plan.study, 2, flops=lambda: 1e11)
        looks.append(dict(asked))
    assert looks[0] == looks[1]
    assert set(looks[0]) >= {"of_trial", "order", "widest", "parameters_of"}
    assert max(looks[0].values()) <= 3 * ARMS


def test_arms_are_of_one_kind_where_the_same_is_compiled_of_them() -> None:
    base: dict[str, Any] = {"dataset": "digits", "activation": "relu", "optimizer": "momentum"}
    same: list[dict[str, Any]] = [
        {},
        {"lr": 0.5},
        {"batch_size": 7},
        {"weight_decay": 0.0},
        {"epochs": 9},
        {"dropout": 0.5},
    ]
    other: list[dict[str, Any]] = [
        {"activation": "tanh"}, {"optimizer": "adam"}, {"hidden": [3]}, {"weight_decay": 0.1},
        {"loss": "ce", "head": "identity"}, {"norm": "batch"}, {"augmentation": "shift"},
    ]  # fmt: skip
    settings = [resolve({**base, **more}) for more in same + other]
    found = compilation.distinct([*settings, *settings])
    assert found[0] is settings[0]
    assert len(found) == 1 + len([one for one in settings[len(same) :] if one != settings[0]])
    assert len(found) > len(other) - 1
    asked: list[Settings] = []

    def why_not(one: Settings) -> str:
        asked.append(one)
        return compilation.why_not(one)

    once = compilation.once_a_kind(why_not)
    assert [once(one) for one in settings] == [compilation.why_not(one) for one in settings]
    assert asked == found


def test_an_arms_value_is_computed_once() -> None:
    one, other = Settings({"lr": 1.0}), Settings({"lr": 1.0})
    asked: list[int] = []

    def lr(settings: Settings) -> float:
        asked.append(id(settings))
        return settings.number("lr")

    value = once_an_arm(lr)
    assert [value(one), value(one), value(other)] == [1.0] * 3
    assert asked == [id(one), id(other)]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=40), st.integers(1, 5))
def test_a_stack_of_several_shapes_is_no_fuller_than_whole(widths: list[int], least: int) -> None:
    plan = make_arms(len(widths))
    width = dict(zip((trial.trial_id for trial in plan), widths, strict=True))
    pieces = grouping.cut(plan, lambda trial: width[trial.trial_id], least)
    shares = [sum(Fraction(1, width[trial.trial_id]) for trial in piece) for piece in pieces]
    assert sum(map(len, pieces)) == len(plan)
    assert len(pieces) == len(plan) or max(shares) <= 1
    assert len(pieces) >= min(len(plan), max(least, math.ceil(sum(shares))))


_ARMS: list[Any] = []


def make_arms(count: int) -> list[Any]:
    """Give so many trials of arms of one study."""
    if not _ARMS:
        from harness.study.reading import parse

        tables = {
            "study": {"name": "x", "seeds": 1},
            "baseline": {"dataset": "digits", "hidden": [4]},
            "axes": {"lr": [round(0.001 * i, 3) for i in range(1, 41)]},
        }
        _ARMS.extend(make(parse(tables)).trials)
    return _ARMS[:count]


def test_planned_rows_say_each_setting_of_each_trial(study_of: Make) -> None:
    linked = [{"name": "a", "lr": 0.5}, {"name": "b", "lr": 0.25, "batch_size": 16}]
    study = study_of({"hidden": [[4], [4, 4]], "skip": [False, True], "variant": linked}, study={"seeds": 3})
    plan = make(study)
    rows = run_folder.planned_rows(plan)
    assert rows["trial_id"] == [trial.trial_id for trial in plan.trials]
    for name in ("lr", "hidden", "skip", "epochs", "steps", "betas", "activation"):
        assert rows[name] == [as_text(trial.arm.settings.get(name)) for trial in plan.trials], name
    assert rows["variant"] == [trial.arm.labels["variant"] for trial in plan.trials]
    assert rows["seed"] == [str(trial.seed) for trial in plan.trials]


def test_a_table_written_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["1", "-2", "=1+1", "a,b", 'say "x"', "'=", "two\nlines", "", "+x", "@home"]
    rows = [[f"t{place}", cell, f"why\t{cell}"] for place, cell in enumerate(cells)]
    whole = TextTable(["trial_id", "arm", "reason"], rows)
    text = whole.written()
    for block in (1, 3, 10):
        monkeypatch.setattr(csv_rows, "AT_ONCE", block)
        assert whole.written() == text
    assert csv_rows.table(text)["arm"] == cells
    assert TextTable(["trial_id"]).written() == "trial_id\n"


def test_settings_know_what_they_hold() -> None:
    settings = resolve({"dataset": "digits", "epochs": 2})
    assert "epochs" in settings
    assert "steps" not in settings
    assert [settings.get("epochs"), settings.get("steps"), settings.get("steps", 3)] == [2, None, 3]
    copy = settings.as_dict()
    copy["epochs"] = 9
    assert dict(settings) == {**copy, "epochs": 2}


def test_a_plan_of_many_seeds_answers_as_one_of_few(study_of: Make, tmp_path: Path) -> None:
    few, many = (make(study_of(AXES, study={"seeds": seeds})) for seeds in (1, 9))
    told = [answers.plan(plan, tmp_path, 2, (), [], None) for plan in (few, many)]
    assert told[0]["arms"] == told[1]["arms"]
    assert len(arms_of(many.trials)) == len(many.arms) == ARMS


def named(number: int) -> Any:
    return SimpleNamespace(trial_id=f"t{number:012x}")


def test_no_two_of_many_stacks_have_one_name() -> None:
    stacks = [stack.Stack.of("stacked", [named(i)]) for i in range(300_000)]
    assert len({one.group for one in stacks}) == len(stacks)
