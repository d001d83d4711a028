"""Constraints of a search: points that break one are known before training, and never trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from harness.data.samples import train_size
from harness.errors import UsageError
from harness.planning.parameters import size_of
from harness.searching import checks, loop, samplers, storages
from harness.searching.ask_tell import AskTell, Suggestion, SuggestionResult
from harness.searching.costs import Costs, training_flops
from harness.study.reading import parse
from harness.study.space import Floats, Ints, Parameter
from harness.study.study import Study
from harness.study.trials import settings_of

SPACE: dict[str, Any] = {
    "lr": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden": {"depth": {"low": 1, "high": 2}, "width": {"low": 4, "high": 256, "log": True}},
    "activation": ["relu", "tanh"],
}


def study(constraints: dict[str, float], space: dict[str, Any] | None = None, **search: Any) -> Study:
    return parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 2},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 1, "batch_size": 200},
            "search": {"suggestions": 12, "batch": 4, "constraints": constraints, **search},
            "space": space or SPACE,
        }
    )


def asked(given: Study, before: list[optuna.trial.FrozenTrial] | None = None) -> AskTell:
    assert given.search is not None
    ask_tell = AskTell(given.search, given.space, 1, given.datasets)
    ask_tell.restore(before or [])
    return ask_tell


def batch_of(ask_tell: AskTell, count: int = 4) -> tuple[list[Suggestion], list[optuna.trial.FrozenTrial]]:
    """Ask for a batch and tell that the larger learning rate is the better."""
    batch = ask_tell.ask(count, lambda _: 1, {})
    results = [
        SuggestionResult(optuna.trial.TrialState.COMPLETE, [float(one.drawn["lr"])], {}) for one in batch
    ]
    return batch, ask_tell.tell(batch, results, 1.0)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "optuna", "gp", "cmaes"])
def test_no_suggestion_breaks_a_constraint(sampler: str) -> None:
    given = study({"parameters": 1500, "flops": 4000}, sampler=sampler)
    ask_tell = asked(given)
    trials = [trial for _ in range(3) for trial in batch_of(ask_tell)[1]]
    sizes = [size_of(settings_of(given, given.space.settings(trial.params))) for trial in trials]
    assert max(size.parameters for size in sizes) <= 1500
    assert max(size.flops or 0 for size in sizes) <= 4000
    assert [trial.user_attrs["costs"]["parameters"] for trial in trials] == [s.parameters for s in sizes]
    refused = [entry for trial in trials for entry in trial.user_attrs.get("refused", [])]
    assert refused  # most of the space is too large
    assert all(entry["costs"]["parameters"] > 1500 or entry["costs"]["flops"] > 4000 for entry in refused)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "optuna", "cmaes", "nsga2"])
def test_a_restored_search_asks_for_the_same(sampler: str) -> None:
    several: dict[str, Any] = {"objective": ["val_accuracy", "parameters"]} if sampler == "nsga2" else {}
    given = study({"parameters": 1500}, sampler=sampler, **several)

    def told(ask_tell: AskTell) -> tuple[list[Any], list[optuna.trial.FrozenTrial]]:
        batch = ask_tell.ask(4, lambda _: 1, {})
        count = 2 if several else 1
        values = [[float(one.drawn["lr"]), 1.0][:count] for one in batch]
        results = [SuggestionResult(optuna.trial.TrialState.COMPLETE, value, {}) for value in values]
        return [one.drawn for one in batch], ask_tell.tell(batch, results, 1.0)

    whole = asked(given)
    stored: list[optuna.trial.FrozenTrial] = []
    for _ in range(4):
        again = asked(given, [*stored])
        expected, frozen = told(whole)
        assert told(again)[0] == expected
        stored += frozen
    assert any(trial.user_attrs.get("refused") for trial in stored)


def test_tpe_learns_where_a_constraint_is_broken() -> None:
    """Against draws that learn nothing, fewer points are refused, and fewer and fewer."""
    space = {"lr": SPACE["lr"], "hidden": {"depth": [1, 2, 3], "width": {"low": 4, "high": 1000}}}
    refused = {}
    for sampler in ("tpe", "random"):
        ask_tell = asked(study({"parameters": 20_000}, space, sampler=sampler))
        trials = [trial for _ in range(8) for trial in batch_of(ask_tell, 8)[1]]
        refused[sampler] = [len(trial.user_attrs.get("refused", [])) for trial in trials]
    assert sum(refused["tpe"][32:]) < sum(refused["random"][32:]) / 2


def test_points_that_are_left_keep_constraints_that_few_keep() -> None:
    """Of floats and wide ranges, what keeps the bound is found at the ends of the ranges."""
    space = {"lr": SPACE["lr"], "hidden": {"depth": [3, 4], "width": {"low": 1, "high": 100_000}}}
    ask_tell = asked(study({"parameters": 200}, space, sampler="random"))
    assert len(ask_tell.ask(3, lambda _: 1, {})) == 3


def test_numbers_near_an_end() -> None:
    rng = np.random.default_rng(0)
    whole = [samplers.near_an_end(Parameter("n", Ints(2, 1000)), rng) for _ in range(400)]
    assert 60 < whole.count(2) < 140
    assert 60 < whole.count(1000) < 140
    floats = [samplers.near_an_end(Parameter("x", Floats(0.5, 2.0, log=True)), rng) for _ in range(100)]
    assert all(0.5 <= value <= 2.0 for value in floats)
    assert min(floats) == pytest.approx(0.5)


def test_a_finite_space_gives_all_points_that_keep_the_constraints() -> None:
    space = {"hidden": [[4], [8], [100], [8, 8]], "activation": ["relu", "tanh"]}
    given = study({"parameters": 1000}, space, suggestions=6, sampler="random")
    checks.check(given)
    batch = asked(given).ask(20, lambda _: 1, {})
    drawn = {(str(one.drawn["hidden"]), one.drawn["activation"]) for one in batch}
    assert len(batch) == len(drawn) == 6
    assert not any(hidden == "100" for hidden, _ in drawn)
    with pytest.raises(UsageError, match="holds 6 different settings that keep"):
        checks.check(study({"parameters": 1000}, space, suggestions=7))


@pytest.mark.parametrize(
    ("constraints", "told"),
    [
        (
            {"parameters": 300},
            r"keeps parameters = 300; .* 2,000 points drawn from it has parameters = 310\.",
        ),
        (
            {"parameters": 400, "flops": 10},
            r"the smallest of 2,000 points drawn from it each by itself has parameters = 310, flops = 592\.",
        ),
        ({"training_flops": 1e3}, r"training_flops = 1,000; .*Raise the bound"),
    ],
)
def test_constraints_that_nothing_keeps_are_told_with_the_smallest_found(
    constraints: dict[str, float], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        checks.check(study(constraints))


def test_all_points_of_a_small_space_are_looked_at() -> None:
    with pytest.raises(UsageError, match=r"the smallest of all points has parameters = 310\."):
        checks.check(study({"parameters": 309}, {"hidden": [[4], [8]], "lr": [0.1, 0.2]}, suggestions=2))
    checks.check(study({"parameters": 310}, {"hidden": [[4], [8]], "lr": [0.1, 0.2]}, suggestions=2))


def test_training_flops_of_a_convolutional_network_are_three_forward_passes() -> None:
    given = parse(
        {
            "study": {"name": "s", "seeds": 1},
            "baseline": {
                "dataset": "digits", "architecture": "cnn", "channels": [4], "epochs": 2, "batch_size": 64,
            },
        }
    )  # fmt: skip
    settings = settings_of(given)
    flops = size_of(settings).flops
    assert flops is not None
    assert training_flops(settings) == pytest.approx(3 * flops * 2 * train_size(settings), rel=1e-6)


def test_costs_of_a_network() -> None:
    given = study({"parameters": 1000})
    assert given.search is not None
    costs = Costs(given.search)
    settings = settings_of(given, {"hidden": [16]})
    assert costs.of("parameters", settings) == 65 * 16 + 17 * 10
    assert costs.of("flops", settings) == 2 * (64 * 16 + 16 * 10)
    assert costs.excess({"parameters": 2000.0}) == {"parameters": pytest.approx(np.log(2))}
    assert costs.kept({"parameters": 1000.0})
    assert not costs.kept({"parameters": 1001.0})


def test_a_search_trains_what_keeps_its_constraints_alone(tmp_path: Path) -> None:
    given = study({"parameters": 1500}, suggestions=8)
    loop.search(given, tmp_path / "s", workers=1)
    rows = pd.read_csv(tmp_path / "s" / "trials.csv")
    assert len(rows) == 8
    assert rows["parameters"].max() <= 1500
    table = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    assert list(table.columns[8:11]) == ["refused", "val_accuracy", "parameters"]
    assert table["parameters"].tolist() == rows["parameters"].tolist()
    assert table["refused"].sum() > 0
    described = json.loads((tmp_path / "s" / "datapackage.json").read_text())
    fields = next(r for r in described["resources"] if r["name"] == "suggestions")["schema"]["fields"]
    assert {"refused", "parameters"} <= {field["name"] for field in fields}
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s/optuna.db").trials
    assert table["refused"].tolist() == [len(trial.user_attrs.get("refused", [])) for trial in stored]


def test_a_killed_search_with_constraints_goes_on_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = study({"parameters": 1500}, suggestions=8)
    loop.search(given, tmp_path / "whole", workers=1)
    add, calls = storages.Storage.add, []

    def dying(self: storages.Storage, trials: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        add(self, trials)

    monkeypatch.setattr(storages.Storage, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        loop.search(given, tmp_path / "killed", workers=1)
    monkeypatch.setattr(storages.Storage, "add", add)
    loop.search(given, tmp_path / "killed", workers=1)
    one, other = (
        pd.read_csv(tmp_path / name / "suggestions.csv").drop(columns="seconds")
        for name in ("whole", "killed")
    )
    pd.testing.assert_frame_equal(one, other)


def test_another_bound_is_another_search(tmp_path: Path) -> None:
    loop.search(study({"parameters": 1500}, suggestions=4), tmp_path / "s", workers=1)
    with pytest.raises(UsageError, match=r"constraints: there .*1500.*, here .*1600"):
        loop.search(study({"parameters": 1600}, suggestions=8), tmp_path / "s", workers=1)


def test_all_bounds_and_targets_that_are_wrong_are_told_at_once() -> None:
    with pytest.raises(UsageError) as told:
        study({"paramters": 5, "flops": -1}, sampler="tpee", until={"val_acuracy": 0.9})
    for words in ("did you mean 'parameters'", "for flops a number above 0", "'tpee'", "'val_acuracy'"):
        assert words in str(told.value)
