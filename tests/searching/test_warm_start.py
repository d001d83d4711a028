"""Warm start: a search knows the suggestions of an earlier one, and counts none of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from harness import reporting
from harness.cli import search_answers, search_output
from harness.errors import UsageError
from harness.reporting.search import data as search_data
from harness.reporting.search import page as search_page
from harness.searching import checks, loop, warm_start
from harness.searching.ask_tell import AskTell
from harness.study.reading import parse
from harness.study.space_inverse import drawn_from
from harness.study.study import Study
from harness.study.trials import settings_of

WIDTHS = {"depth": {"low": 1, "high": 2}, "width": {"low": 4, "high": 16}}
SPACE: dict[str, Any] = {
    "lr": {"low": 1e-2, "high": 1.0, "log": True},
    "hidden": WIDTHS,
    "activation": ["relu", "tanh"],
}


def study(space: dict[str, Any] | None = None, metrics: list[str] | None = None, **search: Any) -> Study:
    baseline = {"dataset": "digits", "hidden": [8], "epochs": 1, "batch_size": 200}
    return parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 1, "metrics": metrics or []},
            "baseline": baseline | search.pop("baseline", {}),
            "search": {"suggestions": 6, "batch": 3, "finalists": 1, **search},
            "space": space or SPACE,
        }
    )


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search of twelve suggestions."""
    folder = tmp_path_factory.mktemp("earlier") / "s"
    loop.search(study(suggestions=12, batch=6, sampler="random"), folder, workers=1)
    return folder


def known(given: Study) -> warm_start.KnownSuggestions:
    checks.check(given)
    return warm_start.earlier(given)


def test_all_suggestions_of_the_same_space_are_known(earlier: Path) -> None:
    found = known(study(warm_start=str(earlier)))
    table = pd.read_csv(earlier / "suggestions.csv")
    assert found.complete == len(found.suggestions) == 12
    assert found.words == f"all 12 complete suggestions of {earlier}"
    for one, row in zip(found.suggestions, table.to_dict("records"), strict=True):
        assert one.number == row["number"]
        assert list(one.values) == [row["val_accuracy"]]
        assert one.drawn["lr"] == pytest.approx(row["lr"], rel=1e-9)
        assert one.drawn["activation"] == row["activation"]
        assert one.drawn["hidden.width.1"] == row["hidden.width.1"]
        assert ("hidden.width.2" in one.drawn) == (row["hidden.depth"] == 2)


@pytest.mark.parametrize(
    ("space", "fits"),
    [
        (SPACE | {"lr": {"low": 1e-4, "high": 3.0, "log": True}, "dropout": [0.0, 0.3]}, lambda _: True),
        (SPACE | {"lr": {"low": 0.1, "high": 1.0}}, lambda row: row["lr"] >= 0.1),
        (
            SPACE | {"hidden": {"depth": [2, 3], "width": {"low": 2, "high": 32, "log": True}}},
            lambda row: row["hidden.depth"] == 2,
        ),
        ({"lr": SPACE["lr"], "hidden": WIDTHS}, lambda row: row["activation"] == "relu"),
    ],
)
def test_of_a_wider_or_a_narrower_space_those_that_fit_are_known(
    earlier: Path, space: dict[str, Any], fits: Any
) -> None:
    given = study(space, warm_start=str(earlier))
    found = known(given)
    rows = pd.read_csv(earlier / "suggestions.csv").to_dict("records")
    assert [one.number for one in found.suggestions] == [row["number"] for row in rows if fits(row)]
    for one in found.suggestions:
        row = rows[one.number]
        settings = settings_of(given, given.space.settings(one.drawn))
        assert settings["activation"] == row["activation"]
        assert settings["lr"] == pytest.approx(row["lr"], rel=1e-9)


def test_what_breaks_a_constraint_is_not_known(earlier: Path) -> None:
    found = known(study(warm_start=str(earlier), constraints={"parameters": 800}))
    sizes = pd.read_csv(earlier / "trials.csv").set_index("arm")["parameters"]
    table = pd.read_csv(earlier / "suggestions.csv")
    expected = [row["number"] for row in table.to_dict("records") if sizes[row["arm"]] <= 800]
    assert 0 < len(expected) < 12
    assert [one.number for one in found.suggestions] == expected


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objective": "val_loss"}, "it searched for val_accuracy, and this search for val_loss"),
        ({"baseline": {"epochs": 2}}, r"suggestion \d+ has epochs 1 \(here 2\)"),
        ({"baseline": {"val_fraction": 0.2}}, r"has val_fraction 0.1 \(here 0.2\)"),
        ({"space": SPACE | {"lr": {"low": 2.0, "high": 3.0}}}, r"lies outside of the ranges and lists"),
        ({"constraints": {"parameters": 320}}, r"none of its 12 .* breaks a constraint"),
        ({"sampler": "random"}, "the sampler random learns nothing from an earlier search; allowed: tpe"),
        ({"sampler": "cmaes", "space": SPACE | {"lr": {"low": 0.1, "high": 1.0}}},
         "and the sampler cmaes needs 10"),
    ],
)  # fmt: skip
def test_an_earlier_search_that_does_not_fit_is_told_before_training(
    earlier: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    given = study(warm_start=str(earlier), **change)
    with pytest.raises(UsageError, match=told):
        loop.search(given, tmp_path / "s", workers=1)
    assert not list(tmp_path.rglob("*.csv"))
    assert not list(tmp_path.rglob("plan.json"))


def test_a_folder_that_is_no_search_is_told(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder; allowed"):
        known(study(warm_start=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match=r"it has no suggestions\.csv"):
        known(study(warm_start=str(earlier / "confirmed")))
    shutil.copytree(earlier, tmp_path / "other")
    plan = json.loads((tmp_path / "other" / "plan.json").read_text())
    plan["data"] = {"digits": "f" * 64}
    (tmp_path / "other" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError, match="other data: digest ffffffffffff there"):
        known(study(warm_start=str(tmp_path / "other")))


def test_trials_of_another_semantics_are_not_known(earlier: Path, tmp_path: Path) -> None:
    shutil.copytree(earlier, tmp_path / "old")
    trials = pd.read_csv(tmp_path / "old" / "trials.csv", dtype=str, keep_default_na=False)
    trials["trial_id"] = [f"told{i}" for i in range(len(trials))]
    trials.to_csv(tmp_path / "old" / "trials.csv", index=False)
    with pytest.raises(UsageError, match=r"version of training \(semantics\) have changed"):
        known(study(warm_start=str(tmp_path / "old")))


def test_a_warm_started_search_counts_only_its_own(earlier: Path, tmp_path: Path) -> None:
    result = loop.search(study(warm_start=str(earlier)), tmp_path / "s", workers=1)
    table = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    assert len(table) == len(result.trials) == 6
    assert table["number"].tolist() == list(range(6))
    assert len(pd.read_csv(tmp_path / "s" / "trials.csv")) == 6
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s/optuna.db").trials
    assert len(stored) == 6
    assert result.winner is not None
    assert table["val_accuracy"].max() == table["val_accuracy"][result.winner]
    cold = loop.search(study(), tmp_path / "cold", workers=1)
    assert [t.params for t in cold.trials] != [t.params for t in result.trials]
    page = search_page.sections(search_data.read(reporting.read(tmp_path / "s")))
    words = " ".join(next(section for section in page if section.name == "searched").words)
    best = pd.read_csv(earlier / "suggestions.csv")["val_accuracy"].max()
    assert f"the sampler knew all 12 complete suggestions of {earlier}" in words
    assert f"{100 * best:.2f}" in words


def test_a_search_that_goes_on_knows_the_same_without_the_earlier_folder(
    earlier: Path, tmp_path: Path
) -> None:
    shutil.copytree(earlier, tmp_path / "there")
    where = str(tmp_path / "there")
    loop.search(study(warm_start=where), tmp_path / "whole", workers=1)
    loop.search(study(warm_start=where, suggestions=3), tmp_path / "s", workers=1)
    shutil.rmtree(tmp_path / "there")
    loop.search(study(warm_start=where), tmp_path / "s", workers=1)
    one, other = (
        pd.read_csv(tmp_path / name / "suggestions.csv").drop(columns="seconds") for name in ("whole", "s")
    )
    pd.testing.assert_frame_equal(one, other)
    with pytest.raises(UsageError, match=r"was begun with search.warm_start"):
        loop.search(study(warm_start=str(earlier)), tmp_path / "s", workers=1)
    with pytest.raises(UsageError, match=r"warm start: there .*, here nothing"):
        loop.search(study(), tmp_path / "s", workers=1)


@pytest.mark.parametrize("sampler", ["tpe", "optuna", "gp", "cmaes", "nsga2"])
def test_a_sampler_that_knows_the_best_corner_looks_there(sampler: str) -> None:
    """Known: the larger both numbers, the better; a sampler that knows nothing begins anywhere."""
    several: dict[str, Any] = {"objective": ["val_accuracy", "parameters"]} if sampler == "nsga2" else {}
    space = {"lr": {"low": 1e-3, "high": 1.0}, "dropout": {"low": 0.0, "high": 0.9}}
    given = study(space, sampler=sampler, batch=16, **several)
    assert given.search is not None
    rng = optuna.samplers.RandomSampler(seed=0)._rng.rng
    points: list[dict[str, str | int | float]] = [
        {"lr": float(a), "dropout": 0.9 * float(b)} for a, b in rng.random((60, 2))
    ]
    values = [[float(p["lr"]) + float(p["dropout"]), 10.0][: 2 if several else 1] for p in points]
    means = []
    for told in (list(zip(points, values, strict=True)), []):
        ask_tell = AskTell(given.search, given.space, 1, given.datasets)
        ask_tell.learn(told)
        ask_tell.restore([])
        batch = ask_tell.ask(16, lambda _: 1, {})[: 1 if sampler == "gp" else 16]  # gp explores then
        reached = [float(one.drawn["lr"]) + float(one.drawn["dropout"]) for one in batch]
        means.append(sum(reached) / len(reached))
    assert means[0] > 1.15
    assert means[0] > means[1] + 0.15


def test_what_settings_would_have_drawn() -> None:
    space = {
        "optimizer": ["sgd", "momentum"],
        "momentum": {"low": 0.5, "high": 0.9},
        "epochs": {"low": 1, "high": 9, "step": 2},
        "output": [
            {"name": "CE", "head": "identity", "loss": "ce"},
            {"name": "MSE", "head": "softmax", "loss": "mse"},
        ],
        "hidden": {"depth": [1, 2], "width": [4, 8], "same": True},
    }
    given = study(space)

    def drawn(**settings: Any) -> Any:
        return drawn_from(given.space, settings_of(given, settings))

    mse = {"head": "softmax", "loss": "mse"}
    assert drawn(optimizer="momentum", momentum=0.75, epochs=5, hidden=[8, 8], **mse) == {
        "optimizer": "momentum", "momentum": 0.75, "epochs": 5, "output": "MSE", "hidden.depth": "2",
        "hidden.width": "8",
    }  # fmt: skip
    assert "momentum" not in drawn(optimizer="sgd", epochs=1, hidden=[4])
    assert drawn(optimizer="sgd", epochs=2, hidden=[4]) is None
    assert drawn(optimizer="momentum", momentum=0.95, epochs=1, hidden=[4]) is None
    assert drawn(optimizer="adam", epochs=1, hidden=[4]) is None
    assert drawn(optimizer="sgd", epochs=1, hidden=[5]) is None
    assert drawn(optimizer="sgd", epochs=1, hidden=[4, 4, 4]) is None


def test_a_damaged_copy_is_told_before_training(earlier: Path, tmp_path: Path) -> None:
    loop.search(study(warm_start=str(earlier), suggestions=3), tmp_path / "s", workers=1)
    for content in ("{", '{"folder": "x"}', '{"folder": "x", "complete": 1, "suggestions": [1]}'):
        (tmp_path / "s" / "known.json").write_text(content)
        with pytest.raises(UsageError, match=r"known\.json cannot be read .*Bring back a copy"):
            loop.search(study(warm_start=str(earlier)), tmp_path / "s", workers=1)


def test_a_warm_start_that_another_search_refuses_leaves_its_folder_as_it_was(
    earlier: Path, tmp_path: Path
) -> None:
    loop.search(study(suggestions=3), tmp_path / "s", workers=1)
    with pytest.raises(UsageError, match="warm start: there nothing"):
        loop.search(study(suggestions=6, warm_start=str(earlier)), tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "known.json").exists()


def test_what_a_warm_start_misses_is_told_with_the_rest_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = study(warm_start="nowhere", sampler="random", constraints={"parameters": 1})
    with pytest.raises(UsageError) as told:
        loop.search(wrong, tmp_path / "s", workers=1)
    for words in ("the sampler random", "nothing in [space] keeps", "search.warm_start = 'nowhere'"):
        assert words in str(told.value)
    assert not (tmp_path / "s").exists()


def test_a_search_that_was_begun_is_planned_without_the_earlier_folder(
    earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, begun = tmp_path / "earlier", tmp_path / "s"
    shutil.copytree(earlier, copy)
    given = study(warm_start=str(copy), suggestions=3)
    warm_start.keep(begun, warm_start.earlier(given))
    shutil.rmtree(copy)
    checks.check(given, begun)
    search_output.show_plan(given, begun, "stacked", 1)
    assert "the sampler knows all 12 complete suggestions" in capsys.readouterr().out
    assert search_answers.plan(given, "stacked", begun, 1)["search"]["known"]["suggestions"] == 12
