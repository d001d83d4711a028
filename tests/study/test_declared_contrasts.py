"""[contrasts]: the family a study declares, or its design's own; and what is wrong with one."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import reporting, results
from harness.errors import UsageError
from harness.planning import checks, plan
from harness.reporting import judgement
from harness.study.contrasts import Contrasts
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs

OUTPUT = [
    {"name": "CE", "head": "identity", "loss": "ce"},
    {"name": "QL", "head": "softmax", "loss": "ql"},
]


def study(compared: dict[str, Any] | None = None, **tables: Any) -> Study:
    base = {
        "study": {"name": "compared", "seeds": 2},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "axes": {"activation": ["tanh", "relu"], "output": OUTPUT},
    }
    return parse({**base, **tables, **({} if compared is None else {"contrasts": compared})})


def levels(found: Contrasts) -> list[tuple[str, str, list[str]]]:
    return [(level.axis, level.reference, level.within) for level in found.levels]


def test_a_grid_compares_each_level_with_the_baselines_or_the_first() -> None:
    found = plan.make(study(baseline={"dataset": "digits", "activation": "tanh"})).contrasts
    assert levels(found)[0] == ("activation", "tanh", [])
    found = plan.make(study()).contrasts  # relu is what a baseline has that does not say
    assert levels(found) == [("activation", "relu", []), ("output", "CE", [])]
    assert not found.declared
    assert (found.metric, found.margin, found.alpha) == ("test_accuracy", 0.002, 0.05)


def test_data_sets_are_not_compared_as_levels() -> None:
    found = plan.make(study(axes={"dataset": ["digits", "mnist"], "lr": [0.1, 0.2]})).contrasts
    assert levels(found) == [("lr", "0.1", [])]


def test_an_axis_with_one_value_has_nothing_to_compare() -> None:
    assert not plan.make(study(axes={"lr": [0.1]})).contrasts.levels


def test_one_factor_compares_each_arm_with_the_baseline() -> None:
    head = {"name": "x", "seeds": 1, "design": "one-factor"}
    found = plan.make(study(study=head, axes={"activation": ["relu", "tanh"], "lr": [0.2]})).contrasts
    # relu is the baseline's own: one arm, no contrast.
    assert found.pairs == [["activation=tanh", "baseline"], ["lr=0.2", "baseline"]]
    assert not found.levels


def test_a_ladder_compares_each_step_with_the_one_before() -> None:
    steps = [{"name": "adam", "optimizer": "adam"}, {"name": "wide", "hidden": [16]}]
    head = {"name": "x", "seeds": 1, "design": "ladder"}
    found = plan.make(study(study=head, axes={}, steps=steps)).contrasts
    assert found.pairs == [["adam", "baseline"], ["wide", "adam"]]


def test_declared_contrasts_are_kept() -> None:
    declared = {"margin": 0.01, "levels": [{"axis": "output", "reference": "QL", "within": ["activation"]}]}
    found = plan.make(study(declared)).contrasts
    assert found.declared
    assert levels(found) == [("output", "QL", ["activation"])]
    pairs = [["activation=relu, CE", "activation=tanh, QL"]]
    assert plan.make(study({"pairs": pairs})).contrasts.pairs == pairs


def test_a_results_folder_holds_its_contrasts(tmp_path: Path) -> None:
    runs.train(study(), tmp_path / "grid", workers=1)
    table = tomllib.loads((tmp_path / "grid" / "study.toml").read_text())["contrasts"]
    assert table["declared"] is False
    assert table["levels"][1] == {"axis": "output", "reference": "CE", "within": []}
    # Read again, it is still the design's own family, whatever --set does to the axes.
    again = parse(tomllib.loads((tmp_path / "grid" / "study.toml").read_text()), ["activation=relu"])
    assert levels(again.contrasts) == [("output", "CE", [])]
    assert results.read(tmp_path / "grid").study["contrasts"] == table


@pytest.mark.parametrize(
    ("compared", "message"),
    [
        ({"metric": "test_loss"}, "contrasts.metric = 'test_loss': allowed"),
        ({"margin": 0.0}, r"contrasts\.margin = 0\.0: allowed: .*greater than 0"),
        ({"alpha": 0.7}, r"contrasts\.alpha = 0\.7"),
        (
            {"levels": [{"axis": "outptu"}]},
            "no axis 'outptu' in this study; did you mean 'output'",
        ),
        ({"levels": [{"axis": "output", "reference": "CEE"}]}, "did you mean 'CE'"),
        ({"levels": [{"axis": "output", "within": ["output"]}]}, "cannot be compared within itself"),
        ({"levels": [{"axis": "dataset"}]}, "each data set is judged by itself"),
        ({"pairs": [["a"]]}, r"contrasts\.pairs\.0 = \['a'\]"),
        ({"margn": 0.1}, "unknown key; did you mean 'margin'"),
    ],
)
def test_invalid_contrasts_are_refused(compared: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study(compared)


def test_levels_need_a_grid() -> None:
    head = {"name": "x", "seeds": 1, "design": "one-factor"}
    with pytest.raises(UsageError, match="only for design = 'grid', this study's is 'one-factor'"):
        study({"levels": [{"axis": "lr"}]}, study=head, axes={"lr": [0.1, 0.2]})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (["activation=relu, CEE", "activation=tanh, CE"], "no arm 'activation=relu, CEE' .* did you mean"),
        (["activation=relu, CE"] * 2, "cannot be compared with itself"),
    ],
)
@pytest.mark.parametrize("check", [plan.make, checks.check])
def test_pairs_name_arms(pair: list[str], message: str, check: Callable[[Study], Any]) -> None:
    with pytest.raises(UsageError, match=message):
        check(study({"pairs": [pair]}))


def test_the_margin_can_be_set_on_the_command_line() -> None:
    tables = {"study": {"name": "x"}, "baseline": {"dataset": "digits"}}
    assert parse(tables, ["contrasts.margin=0.01"]).contrasts.margin == 0.01


def test_names_of_merged_arms_are_reported() -> None:
    again = {"output": [*OUTPUT, OUTPUT[0] | {"name": "CE again"}]}
    with pytest.raises(UsageError, match="'CE again' means the same as 'CE'; take that name"):
        checks.check(study({"pairs": [["QL", "CE again"]]}, axes=again))
    with pytest.raises(UsageError, match="reference 'CE again' of output means the same as another level"):
        checks.check(study({"levels": [{"axis": "output", "reference": "CE again"}]}, axes=again))


def test_malformed_contrasts_are_reported_also_with_set() -> None:
    tables = {"study": {"name": "x"}, "baseline": {"dataset": "digits"}, "contrasts": 3}
    with pytest.raises(UsageError, match="contrasts"):
        parse(tables, ["contrasts.margin=0.1"])


def test_a_family_changed_after_training_is_reported(tmp_path: Path) -> None:
    first = {"margin": 0.01, "levels": [{"axis": "output", "reference": "CE"}]}
    runs.train(study(first), tmp_path / "x", workers=1)
    assert results.read(tmp_path / "x").study["contrasts"]["changed_after"] == 0
    runs.train(study(first | {"margin": 0.2}), tmp_path / "x", workers=1)
    assert results.read(tmp_path / "x").study["contrasts"]["changed_after"] == 8
    told = " ".join(said for part in judgement(reporting.read(tmp_path / "x")).answers for said in part)
    assert "declared, after 8 trials had been trained and could be read, 1 contrast" in told
    runs.train(study(first | {"margin": 0.2}), tmp_path / "x", workers=1)
    assert results.read(tmp_path / "x").study["contrasts"]["changed_after"] == 8
