"""The page of a search: what was found is what the tables hold, what cannot be told is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna._hypervolume import compute_hypervolume
from searches import confirm, suggestions, write

from harness import reporting
from harness.errors import UsageError
from harness.reporting.first_screen import headline
from harness.reporting.model import Section
from harness.reporting.search import confirmation, constraints, importance, pareto, pruning
from harness.reporting.search import data as search_data
from harness.reporting.search import figures as search_figures
from harness.reporting.search import page as search_page
from harness.reporting.search import tables as search_tables
from harness.reporting.search.data import SearchData
from harness.searching.loop import search as train
from harness.study.reading import parse


def read(folder: Path) -> SearchData:
    return search_data.read(reporting.read(folder))


def words_of(section: Section | None) -> str:
    assert section is not None
    return " ".join(section.words).replace("\u00a0", " ")


@pytest.fixture
def known_search(tmp_path: Path) -> SearchData:
    return read(write(tmp_path / "known", suggestions()))


def test_the_best_is_the_best_complete_one_and_every_outcome_is_counted(known_search: SearchData) -> None:
    table = suggestions()
    complete = table[table["state"].eq("complete")]
    assert known_search.best is not None
    assert known_search.best["number"] == complete.nlargest(1, "val_accuracy")["number"].item()
    answer = " ".join(search_page.answers(known_search)[-1])
    assert answer.startswith("40 suggestions: 32 complete, 4 pruned, 4 failed.")
    assert "the loss was nan (4)" in answer
    outcomes = search_tables.outcomes(known_search).data
    assert outcomes is not None
    assert outcomes["suggestions"].sum() == 40
    assert list(outcomes["state"]) == ["complete", "pruned", "failed"]


def test_a_search_of_failures_alone_says_nothing_of_a_winner(tmp_path: Path) -> None:
    table = suggestions(5).assign(state="failed", reason="the loss was nan", val_accuracy=np.nan)
    found = read(write(tmp_path / "known", table))
    assert found.chosen is None
    assert confirmation.section(found) is None
    assert {one.name for one in search_page.sections(found)}.isdisjoint({"confirmation"})
    screen = headline.of_search(found)
    assert [label for label, _ in screen.sureness] == ["Missing"]
    assert screen.answers == [search_page.NOTHING]


def test_a_diverged_suggestion_that_counts_as_a_declared_value_is_never_the_best(tmp_path: Path) -> None:
    table = suggestions()
    table.loc[0, "val_accuracy"] = 0.999
    table.loc[0, "reason"] = "seed 2000 diverged"
    found = read(write(tmp_path, table, diverged=0.999))
    assert found.best is not None
    assert found.best["number"] != 0


@pytest.mark.parametrize(("value", "edge"), [(0.001, "low"), (0.00118, "low"), (0.1, ""), (0.9, "high")])
def test_the_edge_of_a_log_range_is_of_its_logarithm(
    known_search: SearchData, value: float, edge: str
) -> None:
    table = search_tables.best(known_search, known_search.suggestions.assign(lr=value).iloc[0]).data
    assert table is not None
    assert table.set_index("parameter").loc["lr", "edge"] == edge


def test_the_winner_is_compared_with_its_own_number_in_the_search(known_search: SearchData) -> None:
    best = known_search.best
    assert best is not None
    folder = known_search.reading.results.folder
    confirm(folder, best["lr"], best["optimizer"], float(best["value"]) - 0.03)
    again = read(folder)
    assert search_data.confirmed_number(again) == best["number"]
    words = " ".join(confirmation.flattered(again))
    assert "3.0 points worse" in words
    assert "the highest of 32 such numbers" in words
    verdict = " ".join(search_page.answers(again)[1])
    assert "winner is better than baseline by 10.0 points of test accuracy" in verdict.replace("\u00a0", " ")
    judged = " ".join(" ".join(paragraph) for paragraph in confirmation.answers(again)).replace("\u00a0", " ")
    assert "A search judges 1 contrast of test accuracy: its winner against its baseline" in judged


def test_without_the_finalists_the_winner_is_the_one_that_test_was_opened_for(
    known_search: SearchData,
) -> None:
    """As of a folder that is kept without its finalists: the best by val need not be the winner."""
    folder, complete = known_search.reading.results.folder, known_search.complete
    second = complete.nlargest(2, "val_accuracy").iloc[1]
    confirm(folder, second["lr"], second["optimizer"], float(second["value"]))
    (folder / "winners.csv").write_text(f"number,suggestions\n{second['number']},40\n")
    again = read(folder)
    assert again.chosen is not None
    assert again.chosen["number"] == second["number"]
    words = " ".join(confirmation.flattered(again))
    assert "has since become the best" not in words
    first = " ".join(search_page.answers(again)[0])
    assert first.startswith(f"The winner: {second['arm']}, picked of the search's best 3")
    for opened in (f"{second['number']},32", "3000,40", "x,y", ""):  # the search went on, or nobody knows
        (folder / "winners.csv").write_text(f"number,suggestions\n{opened}\n")
        best = read(folder).chosen
        assert best is not None
        assert best["number"] == complete.nlargest(1, "val_accuracy")["number"].item()


def test_a_list_that_not_every_suggestion_draws_is_empty_for_the_others_and_the_page_is_drawn(
    tmp_path: Path,
) -> None:
    """As hidden layers are of dense readouts alone: its cells are text, and empty elsewhere."""
    study = parse(
        {
            "study": {"name": "lists", "design": "search", "seeds": 2},
            "search": {"suggestions": 6, "batch": 6, "sampler": "random", "finalists": 1},
            "baseline": {"dataset": "digits", "architecture": "cnn", "channels": [2], "steps": 5},
            "space": {"readout": ["global", "dense"], "hidden": [[], [4]], "lr": {"low": 0.01, "high": 0.1}},
        }
    )
    train(study, tmp_path / "s", workers=1)
    found = read(tmp_path / "s").suggestions
    assert set(found["readout"]) == {"global", "dense"}
    assert found["hidden"].isna().tolist() == found["readout"].eq("global").tolist()
    assert set(found["hidden"].dropna()) <= {"[]", "[4]"}
    assert "hidden" in reporting.write(tmp_path / "s").read_text(encoding="utf-8")


def test_a_confirmation_of_another_winner_says_so(known_search: SearchData) -> None:
    folder, other = known_search.reading.results.folder, suggestions().iloc[0]
    confirm(folder, other["lr"], other["optimizer"], 0.9)
    assert "Suggestion 0 was confirmed" in " ".join(confirmation.flattered(read(folder)))
    confirm(folder, 0.123, "sgd", 0.9)
    assert "no suggestion of this search" in " ".join(confirmation.flattered(read(folder)))


def test_a_confirmation_that_cannot_be_read_is_said_and_the_rest_reported(
    known_search: SearchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reporting.data_sets.sections", lambda _: iter(()))  # this folder has none
    folder = known_search.reading.results.folder
    confirm(folder, 0.1, "sgd", 0.9)
    (folder / "confirmed" / "trials.csv").write_text("broken\n1,2\n", encoding="utf-8")
    written = reporting.write(folder).read_text(encoding="utf-8")
    assert "The folder confirmed/ cannot be read" in written


def test_without_a_confirmation_the_page_says_that_the_number_is_the_best_of_many(
    known_search: SearchData,
) -> None:
    section = confirmation.section(known_search)
    assert section is not None
    assert "not confirmed yet" in words_of(section)
    assert not section.tables


def test_history_counts_complete_ones_as_the_best_so_far(known_search: SearchData) -> None:
    table, last = search_page.history(known_search), 0.0
    for row in table.to_dict("records"):
        last = max(last, row["value"]) if row["state"] == "complete" else last
        assert row["so_far"] == last


def test_the_expected_best_is_drawn_of_random_search_alone(tmp_path: Path) -> None:
    found = read(write(tmp_path / "random", suggestions()))
    curve = search_page.budget(found).set_index("budget")
    assert curve["expected"].dropna().is_monotonic_increasing
    best = found.suggestions["value"].max()
    assert curve.loc[40, "expected"] == pytest.approx(best)
    assert curve.loc[:4, "expected"].isna().all()  # four failed: a search of four may have found nothing
    section = search_page._budget(found)
    assert section is not None
    assert len(section.figures) == 1
    assert "begins at 5" in words_of(section)
    for sampler in ("tpe", "qmc"):
        left_out = search_page._budget(read(write(tmp_path / sampler, suggestions(), sampler=sampler)))
        assert left_out is not None
        assert not left_out.figures
        assert "independent draws" in words_of(left_out)


def test_the_expected_best_is_not_drawn_where_another_sampler_asked_before(tmp_path: Path) -> None:
    for first, said in (
        ("random", None), ("tpe", "of the sampler tpe depends"),
        ("TPESampler, HyperbandPruner", "of an Optuna study outside (TPESampler, HyperbandPruner) depends"),
    ):  # fmt: skip
        table = suggestions().assign(sampler=[first] * 10 + ["random"] * 30)
        section = search_page._budget(read(write(tmp_path / first, table)))
        assert section is not None
        assert bool(section.figures) == (said is None)
        assert said is None or said in words_of(section).replace(" and the sampler random", "")


def test_a_page_says_who_asked_and_pruned_in_all_runs_of_its_folder(tmp_path: Path) -> None:
    table = suggestions().assign(sampler=["tpe"] * 10 + ["random"] * 30)
    told = search_page.facts(read(write(tmp_path, table, pruner={"name": "none"})))
    assert "by the sampler tpe and the sampler random; one seed each." in told
    assert "pruned" not in told, "four were pruned, by the pruner of an earlier run"
    whole = table.assign(state=table["state"].replace("pruned", "complete"))
    told = search_page.facts(read(write(tmp_path / "whole", whole, pruner={"name": "none"})))
    assert "the sampler random, nothing was pruned; one seed each." in told


def test_a_minimized_objective_has_a_falling_best(tmp_path: Path) -> None:
    table = suggestions()
    table = table.rename(columns={"val_accuracy": "val_loss"})
    table["val_accuracy"] = 0.5
    folder = write(tmp_path, table, objective=["val_loss"], direction=["minimize"])
    found = read(folder)
    assert found.best is not None
    complete = found.suggestions[found.suggestions["state"].eq("complete")]
    assert found.best["value"] == complete["val_loss"].min()
    assert search_page.history(found)["so_far"].dropna().is_monotonic_decreasing
    curve = search_page.budget(found).dropna()
    assert curve["expected"].is_monotonic_decreasing
    assert (curve["low"] <= curve["high"]).all()


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forests take their time."""
    monkeypatch.setattr(importance, "RESAMPLES", {importance.PED_ANOVA: 20, importance.FANOVA: 3})
    monkeypatch.setattr(importance, "FORESTS", 3)
    monkeypatch.setattr(importance, "TREES", 8)


@pytest.mark.usefixtures("_few_resamples")
def test_importance_finds_the_one_parameter_that_matters(tmp_path: Path) -> None:
    found = read(write(tmp_path, suggestions(60)))
    table = importance.judge(found)
    assert set(table["evaluator"]) == {"PED-ANOVA", "fANOVA"}
    for _, each in table.groupby("evaluator"):
        assert each.nlargest(1, "importance")["parameter"].item() == "lr"
        assert each["importance"].sum() == pytest.approx(1)
        assert (each["low"] <= each["high"]).all() or each["low"].isna().any()
    forest = table[table["evaluator"].eq("fANOVA")].set_index("parameter")
    assert pd.isna(forest["importance"]["momentum"])  # which only some suggestions have
    assert forest["seed_low"]["lr"] <= forest["importance"]["lr"] <= forest["seed_high"]["lr"]
    words = words_of(search_figures.mattered(found, table))
    assert "fANOVA does not judge momentum" in words
    assert "12 suggestions pruned or failed" in words
    assert search_figures._pair(found, table) is not None
    pd.testing.assert_frame_equal(table, importance.judge(found))


def test_few_complete_suggestions_have_no_importance_and_a_note(tmp_path: Path) -> None:
    found = read(write(tmp_path, suggestions(35)))
    table = importance.judge(found)
    assert table.empty
    assert "29 complete suggestions, and of fewer than 30" in words_of(search_figures.mattered(found, table))
    section = search_figures.section(found, table)
    assert "No contour" in words_of(section)


def test_rungs_are_where_the_curves_of_pruned_suggestions_end(known_search: SearchData) -> None:
    curves = pruning.learning_curves(known_search)
    assert set(curves.loc[curves["pruned"], "number"]) == {7, 17, 27, 37}
    assert curves.loc[curves["pruned"], "epoch"].max() == 2
    assert curves["epoch"].min() == 1
    best = curves.loc[~curves["pruned"], "number"].unique()
    assert list(best) == list(known_search.complete.nlargest(5, "value")["number"])
    assert words_of(pruning.section(known_search)) == "4 suggestions pruned: 4 at epoch 2."


def test_two_objectives_have_a_front_as_figure_and_table(tmp_path: Path) -> None:
    table = suggestions()
    table.insert(
        8, "parameters", np.where(table["state"].eq("complete"), 100 * table["hidden.width.1"], np.nan)
    )
    ways = {"objective": ["parameters", "val_accuracy"], "direction": ["minimize", "maximize"]}
    found = read(write(tmp_path, table, sampler="nsga2", **ways))
    assert found.objective.name == "val_accuracy"
    section = pareto.section(found)
    assert section is not None
    (front,) = section.tables
    assert front.data is not None
    for row in front.data.to_dict("records"):
        better = found.complete["val_accuracy"].gt(row["val_accuracy"])
        assert not (better & found.complete["parameters"].le(row["parameters"])).any()
    assert pareto.section(read(write(tmp_path / "one", suggestions()))) is None


def test_a_latency_has_its_unit_on_the_axis_and_beside_each_number(tmp_path: Path) -> None:
    table = suggestions()
    table.insert(8, "latency", np.where(table["state"].eq("complete"), 20.5, np.nan))
    ways = {"objective": ["latency", "val_accuracy"], "direction": ["minimize", "maximize"]}
    section = pareto.section(read(write(tmp_path, table, sampler="nsga2", **ways)))
    assert section is not None
    front = section.figures[0]
    assert front.figure.axes[0].get_xlabel() == "latency, \u00b5s"
    assert front.chart is not None
    assert front.chart.x.label == "latency, \u00b5s"
    assert "latency 20.5 \u00b5s (the worst)" in words_of(section)
    (shown,) = section.tables
    assert [row[1].text for row in shown.rows] == ["20.5\u00a0\u00b5s"] * len(shown.rows)


def test_the_hypervolume_is_of_the_complete_suggestions_and_its_reference_is_told(tmp_path: Path) -> None:
    table = suggestions()
    complete = table["state"].eq("complete")
    table.insert(8, "parameters", np.where(complete, 100 * table["hidden.width.1"], np.nan))
    ways = {"objective": ["parameters", "val_accuracy"], "direction": ["minimize", "maximize"]}
    found = read(write(tmp_path / "worst", table, sampler="nsga2", **ways))
    worst = [table.loc[complete, "val_accuracy"].min(), table.loc[complete, "parameters"].max()]
    assert pareto.reference(found) == worst
    areas = pareto.hypervolume(found)
    assert len(areas) == len(table)
    assert areas["hypervolume"].is_monotonic_increasing
    points = table.loc[complete, ["val_accuracy", "parameters"]].to_numpy() * [-1, 1]
    expected = compute_hypervolume(points, np.array([-worst[0], worst[1]]))
    assert areas["hypervolume"].iloc[-1] == pytest.approx(expected)
    words = words_of(pareto.section(found))
    assert f"parameters {worst[1]:,.0f} (the worst)" in words
    assert "Another search has another worst value" in words


def test_the_bound_of_a_cost_is_its_reference(tmp_path: Path) -> None:
    table = suggestions()
    table.insert(7, "refused", 2)
    table.insert(9, "parameters", 100 * table["hidden.width.1"])
    found = read(
        write(tmp_path, table, sampler="tpe", objective=["val_accuracy", "parameters"],
              direction=["maximize", "minimize"], constraints={"parameters": 6400.0})
    )  # fmt: skip
    assert pareto.reference(found)[1] == 6400
    assert "parameters 6,400 (its bound)" in words_of(pareto.section(found))


def test_what_constraints_refused_is_counted(tmp_path: Path) -> None:
    table = suggestions()
    table.insert(7, "refused", [3] + 19 * [1] + 20 * [0])
    table.insert(9, "parameters", 100 * table["hidden.width.1"])
    found = read(write(tmp_path / "some", table, constraints={"parameters": 6400.0}))
    assert found.parameters[0].name == "lr"
    words = words_of(constraints.section(found))
    assert "Of 62 points that were drawn 22 broke a constraint (35.5 %)" in words
    assert "22 of them came before the first half of the suggestions, 0 before the others" in words
    assert "22 more points that the sampler drew did not" in " ".join(search_page.answers(found)[-1])
    section = constraints.section(found)
    assert section is not None
    assert section.tables[0].data is not None
    row = section.tables[0].data.iloc[0]
    assert row["largest"] == table["parameters"].max()
    assert found.best is not None
    assert row["best"] == found.best["parameters"]
    assert constraints.section(read(write(tmp_path / "none", suggestions()))) is None


def test_the_page_of_a_search_without_results_says_so(tmp_path: Path) -> None:
    for name, table in (("none", suggestions().iloc[:0]), ("failed", suggestions().iloc[9:10])):
        found = read(write(tmp_path / name, table))
        answer = " ".join(search_page.answers(found)[0])
        assert "nothing to conclude" in answer
        assert f"{len(table)} of 40 suggestions have ended so far" in answer
        assert search_page.sections(found)[0].name == "searched"


def test_a_damaged_table_of_suggestions_is_reported_with_advice(tmp_path: Path) -> None:
    folder = write(tmp_path, suggestions())
    suggestions().drop(columns="state").to_csv(folder / "suggestions.csv", index=False)
    with pytest.raises(UsageError, match=r"suggestions\.csv cannot be read: .*state.*Run the search again"):
        read(folder)


STUDY = {
    "study": {"name": "real", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "hidden": [8], "eval_every": "1 epoch", "epochs": 2},
    "search": {"sampler": "random", "pruner": "halving", "suggestions": 14, "batch": 7},
    "space": {
        "lr": {"low": 0.01, "high": 1.0, "log": True},
        "activation": ["relu", "tanh"],
        "hidden": {"depth": {"low": 1, "high": 2}, "width": {"low": 4, "high": 16}},
    },
}


@pytest.mark.usefixtures("_few_resamples")
def test_a_trained_search_has_a_page(tmp_path: Path) -> None:
    train(parse(STUDY), tmp_path, device="cpu", workers=1)
    page = reporting.write(tmp_path)
    text = page.read_text(encoding="utf-8")
    ids = re.findall(r'<details class="part" id="([\w-]+)"', text)
    assert ids[:5] == ["full", "searched", "confirmation", "finalists", "history"]
    assert not {"figures", "calibration", "flips"} & set(ids)
    assert "Test is evaluated once for each trial" not in text
    assert "The test split was closed for the whole search" in text
    tables = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {
        "space.csv",
        "space.tex",
        "best.csv",
        "suggestions.csv",
        "verdicts.csv",
        "finalists.csv",
    } <= tables
    anew = reporting.write(tmp_path / "finalists").read_text(encoding="utf-8")
    assert "Finalists of a search" in anew
    assert "one is picked, on the page of their search" in anew
    confirmed = reporting.write(tmp_path / "confirmed").read_text(encoding="utf-8")
    assert "Confirmation of a search" in confirmed
    assert "The winner was searched for and the baseline was not" in confirmed


def ranked_astray(count: int, seed: int) -> bool:
    """Whether PED-ANOVA puts another than lr first, which alone matters, of so many random suggestions."""
    rng = np.random.default_rng([seed, count])
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True),
        "dropout": optuna.distributions.FloatDistribution(0, 0.5),
        "width": optuna.distributions.IntDistribution(8, 64, log=True),
        "activation": optuna.distributions.CategoricalDistribution(["relu", "tanh"]),
        "epochs": optuna.distributions.IntDistribution(1, 3),
    }
    trials = []
    for _ in range(count):
        power = rng.uniform(-3, 0)
        drawn = {
            "lr": float(10**power), "dropout": float(rng.uniform(0, 0.5)), "width": int(rng.integers(8, 65)),
            "activation": str(rng.choice(["relu", "tanh"])), "epochs": int(rng.integers(1, 4)),
        }  # fmt: skip
        value = 0.98 - 0.2 * abs(power + 1) + 0.01 * rng.normal()
        trials.append(optuna.create_trial(params=drawn, distributions=distributions, value=value))
    found = importance._importances(importance.PED_ANOVA, trials, True, 0)
    return max(found, key=lambda name: found[name]) != "lr"


@pytest.mark.slow
def test_importance_needs_as_many_suggestions_as_documented() -> None:
    astray = {n: sum(ranked_astray(n, seed) for seed in range(50)) for n in (10, importance.FEWEST)}
    assert astray[10] > 10  # a fifth of the searches: too few to tell
    assert astray[importance.FEWEST] <= 3
