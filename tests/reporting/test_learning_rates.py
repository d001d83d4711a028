"""Accuracy against the learning rate: of a trained grid, of tuning's folders, of other designs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from harness import plots, reporting
from harness.reporting import ReportData, learning_rates


def arranged(reading: ReportData) -> pd.DataFrame:
    """The table that the one figure of a reading is drawn from, through the public door."""
    seen: list[pd.DataFrame] = []
    drawn = plots.rates_figure

    def record(table: pd.DataFrame, **how: Any) -> Figure:
        seen.append(table)
        return drawn(table, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "rates_figure", record)
        list(learning_rates.draw(reading))
    (table,) = seen
    return table


def test_a_point_is_the_mean_of_its_seeds_and_broken_settings_have_none(sweep: ReportData) -> None:
    table = arranged(sweep)
    assert set(table["panel"]) == {"activation relu", "activation tanh"}
    assert set(table["line"]) == {"logits + CE", "softmax + QL", "logits + QL"}
    trials = sweep.results.trials
    of = trials["activation"].eq("relu") & trials["output"].eq("logits + CE") & trials["lr"].eq(0.3)
    row = table.query("panel == 'activation relu' and line == 'logits + CE' and lr == 0.3").iloc[0]
    assert row["mean"] == pytest.approx(trials.loc[of, "val_accuracy"].mean())
    assert table["unfinished"].any()
    assert table.loc[table["unfinished"], "mean"].isna().all()


def test_the_best_lr_of_each_line_is_ringed_and_an_edge_is_reported(sweep: ReportData) -> None:
    table = arranged(sweep)
    for _, line in table.groupby(["panel", "line"]):
        best = line[line["chosen"]]
        assert len(best) == 1
        assert best["mean"].iloc[0] == line["mean"].max()
        assert best["edge"].iloc[0] == (best["lr"].iloc[0] in {0.03, 1e25})
    (drawn,) = learning_rates.draw(sweep)
    assert "each at its own lr" in drawn.caption


def test_a_study_that_does_not_vary_lr_has_no_such_figure(digits_results: Path) -> None:
    assert list(learning_rates.draw(reporting.read(digits_results))) == []


def one_factor(sweep: ReportData) -> ReportData:
    study = {**sweep.results.study, "study": {**sweep.results.study["study"], "design": "one-factor"}}
    return reporting.prepare(replace(sweep.results, study=study))


def test_one_factor_shows_only_arms_that_differ_in_lr(sweep: ReportData) -> None:
    table = arranged(one_factor(sweep))
    assert list(table["line"].unique()) == ["the baseline"]
    assert len(table) == 3


@pytest.fixture
def tuned(sweep_folder: Path, tmp_path: Path) -> Path:
    """A study of lr 0.3 whose arms were tuned over lr: as if, from the trials of the sweep."""
    folder = shutil.copytree(
        sweep_folder, tmp_path / "study", ignore=shutil.ignore_patterns("parts", "pred*", "checksums.json")
    )
    trials = pd.read_csv(folder / "trials.csv", dtype=str, keep_default_na=False)
    fixed = trials[trials["lr"].eq("0.3")]
    names = dict(zip(fixed["activation"] + fixed["output"], fixed["arm"], strict=True))
    tuning = trials.assign(of_arm=(trials["activation"] + trials["output"]).map(names))
    study = (folder / "study.toml").read_text().replace("lr = [\n    0.03,\n    0.3,\n    1e+25,\n]\n", "")
    (folder / "study.toml").write_text(f"{study}\n[tune]\nseeds = [1000, 1001]\n")
    fixed.to_csv(folder / "trials.csv", index=False)
    (folder / "tuning").mkdir()
    tuning.to_csv(folder / "tuning" / "trials.csv", index=False)
    shutil.copy(folder / "study.toml", folder / "tuning")
    for name in ("epochs.csv", "confusion.csv"):
        shutil.copy(sweep_folder / name, folder / "tuning" / name)
    chosen = pd.DataFrame(
        {"dataset": "digits", "arm": fixed["arm"].unique(), "lr": 0.03, "val_accuracy": 0.9}
    )
    chosen = chosen.assign(seeds=2, tried=3, unfinished=1, edge="lr is the lowest tried")
    chosen.loc[0, ["lr", "edge"]] = np.nan, ""
    chosen.to_csv(folder / "chosen.csv", index=False)
    return folder


def test_the_tuned_choice_is_ringed_even_if_it_is_not_the_best(tuned: Path) -> None:
    table = arranged(reporting.read(tuned))
    assert sorted(table["lr"].unique()) == [0.03, 0.3, 1e25]
    chosen = table[table["chosen"]]
    assert len(chosen) == 5, "of six arms, one had no finished setting"
    assert chosen["lr"].eq(0.03).all()
    assert chosen["edge"].all()
    (drawn,) = learning_rates.draw(reporting.read(tuned))
    assert "that tuning chose" in drawn.caption


def test_without_chosen_csv_nothing_is_ringed(tuned: Path) -> None:
    (tuned / "chosen.csv").unlink()
    assert not arranged(reporting.read(tuned))["chosen"].any()


def test_many_arms_are_averaged_over_cells_that_all_levels_finished(sweep: ReportData) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning_rates, "MOST_PANELS", 1)
        table = arranged(sweep)
        assert set(table["panel"]) == {"activation"}
        (drawn,) = learning_rates.draw(sweep)
    assert "Each line averages over" in drawn.caption


def test_the_bars_of_two_seeds_are_their_range_and_not_an_interval() -> None:
    trials = pd.DataFrame(
        {"panel": "", "line": "a", "lr": 0.1, "seed": [0, 1], "status": "ok", "val_accuracy": [0.90, 0.92]}
    )
    assert learning_rates.settings(trials)[["low", "mean", "high"]].to_numpy().tolist() == [
        [0.90, 0.91, 0.92]
    ]
    third = trials.iloc[:1].assign(seed=2, val_accuracy=0.91)
    three = learning_rates.settings(pd.concat([trials, third])).iloc[0]
    assert three["high"] - three["low"] == pytest.approx(2 * 4.302653 * 0.01 / 3**0.5)
