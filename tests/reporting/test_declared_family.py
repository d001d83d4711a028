"""The family of contrasts: what a study declared, what its design means, and what cannot be judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from families import NOISE, arms, grid, without

from harness import reporting, stats
from harness.errors import UsageError
from harness.reporting import ReportData, contrasts
from harness.study.contrasts import Contrasts, Levels

EFFECTS: dict[str, dict[Any, float]] = {
    "activation": {"tanh": 0.0, "relu": 0.02, "gelu": 0.02},
    "batch_size": {32: 0.0, 128: -0.05},
}


def declaring(**contrasts: Any) -> dict[str, Any]:
    return {"contrasts": {"metric": "test_accuracy", "margin": 0.005, "alpha": 0.05, **contrasts}}


def judge_family(reading: ReportData) -> contrasts.Verdicts:
    return contrasts.judge(reading, contrasts.read_family(reading))


def verdicts(reading: ReportData) -> dict[tuple[str, str], str]:
    table = judge_family(reading).table
    return {(row["arm"], row["reference"]): row["verdict"] for row in table.to_dict("records")}


# -------------------------------------------------------------------------------------------- the families


def test_a_grid_without_contrasts_compares_levels_with_the_baselines() -> None:
    family = contrasts.read_family(grid(EFFECTS))
    assert not family.declared
    assert family.levels == [
        Levels(axis="activation", reference="relu"),
        Levels(axis="batch_size", reference="32"),
    ]
    said = contrasts.read_family(grid(EFFECTS, study={"baseline": {"activation": "gelu", "batch_size": 128}}))
    assert [levels.reference for levels in said.levels] == ["gelu", "128"]


def test_levels_are_compared_with_the_first_if_the_baseline_has_none() -> None:
    family = contrasts.read_family(grid({"output": {"softmax + CE": 0.0, "softmax + QL": 0.1}}))
    assert family.levels == [Levels(axis="output", reference="softmax + CE")]


def test_one_factor_compares_with_the_baseline_and_a_ladder_with_the_previous_step() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1, "second": 0.1})
    assert contrasts.read_family(reading).pairs == [["first", "baseline"], ["second", "baseline"]]
    steps = [{"name": "first", "lr": 0.1}, {"name": "second", "lr": 0.1}]
    study = {"study": {"design": "ladder"}, "steps": steps}
    family = contrasts.read_family(arms({"baseline": 0.0, "first": 0.1, "second": 0.1}, study=study))
    assert family.pairs == [["first", "baseline"], ["second", "first"]]


def test_a_declared_family_is_taken_as_it_stands() -> None:
    levels = [{"axis": "activation", "reference": "tanh", "within": ["batch_size"]}]
    family = contrasts.read_family(
        grid(EFFECTS, study=declaring(pairs=[["a", "b"]], levels=levels, alpha=0.01))
    )
    assert family == Contrasts(
        metric="test_accuracy",
        margin=0.005,
        alpha=0.01,
        pairs=[["a", "b"]],
        levels=[Levels(axis="activation", reference="tanh", within=["batch_size"])],
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": "wide"},
        {"margin": 0},
        {"alpha": 5},
        {"pairs": [["a"]]},
        {"levels": [{"axis": "a"}]},
        {"metric": "test_f1"},
        {"levels": 3},
    ],
)
def test_unreadable_contrasts_are_a_usage_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"study.toml.*\[contrasts\] cannot be read.*allowed.*Restore"):
        contrasts.read_family(grid(EFFECTS, study=declaring(**wrong)))


# -------------------------------------------------------------------------------------------- the verdicts


def test_levels_are_judged_over_all_other_cells_with_the_numbers_of_stats() -> None:
    reading = grid(EFFECTS, study=declaring(levels=[{"axis": "activation", "reference": "relu"}]))
    table = judge_family(reading).table.set_index("arm")
    assert table["verdict"].to_dict() == {"tanh": "worse", "gelu": "same within margin"}
    assert table.loc["tanh", "difference"] == pytest.approx(-0.02, abs=0.001)
    assert (table["cells"].tolist(), table["planned"].tolist()) == ([2, 2], [6, 6])
    differences = stats.level_differences(reading.trials, "activation", "relu", axes=reading.axes)
    again = stats.verdicts(differences, margin=0.005).set_index("arm")
    assert table["p_holm"].to_dict() == pytest.approx(again["p_holm"].to_dict())


def test_within_judges_each_combination_by_itself() -> None:
    levels = [{"axis": "activation", "reference": "relu", "within": ["batch_size"]}]
    table = judge_family(grid(EFFECTS, study=declaring(levels=levels))).table
    assert table["within"].unique().tolist() == ["batch_size 32", "batch_size 128"]
    assert len(table) == 4
    assert list(contrasts.headings(table))[:1] == ["digits: activation, batch_size 32"]


def test_all_data_sets_and_contrasts_are_corrected_together() -> None:
    one = judge_family(grid(EFFECTS)).table
    two = judge_family(grid(EFFECTS, datasets=("digits", "other"))).table
    assert two["dataset"].tolist() == ["digits"] * 3 + ["other"] * 3
    assert two["p_holm"].max() <= 1
    smallest = int(one["p"].argmin())
    assert one["p_holm"][smallest] == pytest.approx(3 * one["p"][smallest])
    assert two["p_holm"].min() == pytest.approx(6 * two["p"].min())


def test_pairs_are_judged_by_seed() -> None:
    reading = arms({"baseline": 0.0, "better": 0.05, "same": 0.0})
    assert verdicts(reading) == {("better", "baseline"): "better", ("same", "baseline"): "same within margin"}


def test_arms_that_do_the_same_in_every_seed_are_the_same() -> None:
    reading = arms({"baseline": 0.0, "copy": 0.0})
    trials = reading.results.trials.assign(test_accuracy=0.5)
    reading = reporting.prepare(replace(reading.results, trials=trials))
    (row,) = judge_family(reading).table.to_dict("records")
    assert (row["verdict"], row["difference"]) == ("same within margin", 0)


# ----------------------------------------------------------------------------------------- what is in the way


def test_one_seed_gives_a_difference_and_no_verdict() -> None:
    table = judge_family(arms({"baseline": 0.0, "first": 0.1}, seeds=1)).table
    assert table["verdict"].tolist() == ["one seed"]
    assert table["difference"][0] == pytest.approx(0.1 + NOISE[3] - NOISE[0])
    assert table[["low", "high", "p", "p_holm", "detectable"]].isna().all(axis=None)


def test_an_arm_whose_trials_all_diverged_stays_in_the_family_without_data() -> None:
    reading = without(arms({"baseline": 0.0, "first": 0.1, "gone": 0.2}), arm="gone")
    table = judge_family(reading).table.set_index("arm")
    assert table["verdict"].to_dict() == {"first": "better", "gone": "no data"}
    assert (table.loc["gone", "n"], table.loc["gone", "planned"]) == (0, 6)


def test_cells_that_a_level_did_not_finish_are_left_out_and_counted() -> None:
    reading = without(grid(EFFECTS), activation="tanh", batch_size=128)
    table = judge_family(reading).table.set_index("arm")
    assert (table.loc["tanh", "cells"], table.loc["tanh", "left_out"]) == (1, 1)
    assert (table.loc["gelu", "cells"], table.loc["gelu", "left_out"]) == (2, 0)


def test_an_arm_that_is_not_in_trials_csv_is_named() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1}, study=declaring(pairs=[["frist", "baseline"]]))
    found = judge_family(reading)
    assert found.table.empty
    assert found.doubts == ["frist against baseline cannot be judged: trials.csv has no arm 'frist'."]


def test_levels_that_are_not_in_trials_csv_are_named() -> None:
    levels = [{"axis": "head", "reference": "softmax"}, {"axis": "depth", "reference": "2"}]
    found = judge_family(grid(EFFECTS, study=declaring(levels=levels)))
    assert found.table.empty
    assert found.doubts == [
        "The levels of head cannot be judged: no trial has the reference level 'softmax'.",
        "The levels of depth cannot be judged: trials.csv has no column depth.",
    ]


def test_arms_of_different_data_sets_are_not_compared() -> None:
    reading = arms({"baseline": 0.0, "elsewhere": 0.1})
    trials = reading.results.trials
    moved = trials.assign(dataset=trials["dataset"].mask(trials["arm"].eq("elsewhere"), "other"))
    found = judge_family(reporting.prepare(replace(reading.results, trials=moved)))
    assert found.table.empty
    assert found.doubts == ["elsewhere against baseline cannot be judged: they share no data set and seed."]


def test_a_metric_without_a_column_is_named() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1})
    reading = replace(reading, trials=reading.trials.drop(columns="test_accuracy"))
    doubt = "trials.csv has no column test_accuracy, so no contrast of it can be judged."
    assert judge_family(reading).doubts == [doubt]


def test_a_single_arm_has_no_family() -> None:
    assert judge_family(arms({"baseline": 0.0})).table.empty


def test_a_trained_grid_is_judged(digits_results: Path) -> None:
    found = judge_family(reporting.read(digits_results))
    assert set(found.table["axis"]) == {"activation", "optimizer", "output"}
    told = found.table.set_index("arm")
    assert told.loc["softmax + NLL", "verdict"] == "no data", "its trials were skipped"
    assert told["n"].drop("softmax + NLL").eq(3).all()
    assert set(told["verdict"]) <= set(stats.VERDICTS)
