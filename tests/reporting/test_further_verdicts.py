"""The sections beside the verdicts: over data sets, seeds and images, resampled splits, the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from families import arms, grid, without
from scipy import stats as scipy_stats

import harness
from harness import reporting, stats
from harness.comparison import comparing
from harness.comparison.judging import judge as judged_tables
from harness.comparison.judging import results_folder
from harness.reporting import (
    ReportData,
    across_data_sets,
    contrasts,
    equivalence_matrix,
    evidence,
    resampled_splits,
    seeds_and_images,
    verdict_text,
    verdict_views,
)
from harness.results import families, predictions
from harness.study.contrasts import Contrasts
from harness.training import runs

EFFECTS: dict[str, dict[Any, float]] = {"activation": {"relu": 0.0, "tanh": -0.02, "gelu": 0.0}}
RESAMPLED = {"study": {"design": "grid", "resample_split": True}}


def with_splits(reading: ReportData, fraction: float = 0.1, how: str = "stratified") -> ReportData:
    """The same reading with the columns of its split."""
    found = reading.results
    trials = found.trials.assign(val_fraction=fraction, val_split=how)
    return reporting.prepare(replace(found, trials=trials))


def judged_by(metric: str, study: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tables of a study whose family is judged by a metric."""
    levels = [{"axis": "activation", "reference": "relu"}]
    return {**(study or {}), "contrasts": {"metric": metric, "levels": levels}}


# ------------------------------------------------------------------------------------ simultaneous intervals


def test_the_table_of_verdicts_has_intervals_that_hold_together() -> None:
    reading = grid(EFFECTS)
    judged = contrasts.judge(reading, contrasts.read_family(reading))
    ends = stats.simultaneous_intervals(judged.table, judged.family.alpha)
    npt.assert_allclose(judged.table[["low_all", "high_all"]], ends)
    assert (judged.table["low_all"] < judged.table["low"]).all()
    table = verdict_views.table(judged)
    assert "all together" in [column.name for column in table.columns]
    assert "Bonferroni" in table.note


def test_a_single_contrast_has_no_column_of_them() -> None:
    reading = arms({"baseline": 0.0, "b": 0.1})
    table = verdict_views.table(contrasts.judge(reading, contrasts.read_family(reading)))
    assert "all together" not in [column.name for column in table.columns]


# --------------------------------------------------------------------------------------------- over data sets


def test_contrasts_over_two_data_sets_say_of_which_they_are() -> None:
    section = across_data_sets.section(evidence.gather(grid(EFFECTS, datasets=("one", "two"))))
    (table,) = section.tables
    assert table.data is not None
    assert table.data.set_index("arm")["verdict"].to_dict() == {
        "tanh": "worse on every one",
        "gelu": "same within margin on every one",
    }
    assert section.words == [
        "Over one and two, of 2 contrasts: 1 worse on every one and 1 same within margin on every one."
    ]
    assert "nothing here speaks of a further one" in table.note


def test_one_data_set_has_no_such_section() -> None:
    assert not across_data_sets.section(evidence.gather(grid(EFFECTS))).tables


def test_a_seed_that_diverged_on_one_data_set_counts_on_none() -> None:
    reading = without(grid(EFFECTS, datasets=("one", "two")), dataset="two", activation="gelu", seed=[0, 1])
    table = across_data_sets.table(evidence.gather(reading).fixed).set_index("arm")
    assert table["n"].to_dict() == {"tanh": 6, "gelu": 4}


# ----------------------------------------------------------------------------------- the same within a margin


def test_every_level_is_held_against_every_other() -> None:
    section = equivalence_matrix.section(evidence.gather(grid(EFFECTS)))
    (table,) = section.tables
    assert [column.name for column in table.columns] == ["activation", "relu", "tanh", "gelu"]
    words = [[cell.text for cell in row] for row in table.rows]
    assert words == [
        ["relu", "\u2013", "not shown", "same"],
        ["tanh", "not shown", "\u2013", "not shown"],
        ["gelu", "same", "not shown", "\u2013"],
    ]
    assert section.words[0].startswith("1 of 3 pairs is shown to be the same within \u00b10.2 points")
    assert table.data is not None
    pairs = table.data.set_index(["arm", "reference"])
    assert pairs["at_most"].gt(pairs["difference"].abs()).all()
    assert float(pairs["at_most"].loc[("tanh", "relu")]) < 0.022


def test_levels_that_are_all_the_same_are_said_to_be() -> None:
    alike = {"activation": {"relu": 0.0, "tanh": 0.0, "gelu": 0.0}}
    section = equivalence_matrix.section(evidence.gather(grid(alike)))
    assert "All 3 levels of activation on digits are shown to be the same" in section.words[0]


def test_a_margin_of_one_point_is_written_as_one() -> None:
    alike = {"activation": {"relu": 0.0, "tanh": 0.0, "gelu": 0.0}}
    study = {"contrasts": {"margin": 0.01, "levels": [{"axis": "activation", "reference": "relu"}]}}
    section = equivalence_matrix.section(evidence.gather(grid(alike, study=study)))
    assert "3 of 3 pairs are shown to be the same within \u00b11 point, and" in section.words[0]
    assert "within \u00b11 point of each other (each pair" in section.words[0]
    assert "within \u00b11 point of each other (two one-sided" in section.tables[0].note


def test_arms_of_another_design_are_compared_too_and_a_single_arm_is_not() -> None:
    section = equivalence_matrix.section(evidence.gather(arms({"baseline": 0.0, "b": 0.0, "c": 0.1})))
    (table,) = section.tables
    assert [column.name for column in table.columns] == ["arm", "baseline", "b", "c"]
    assert table.rows[0][2].text == "same"
    assert not equivalence_matrix.section(evidence.gather(arms({"baseline": 0.0}))).tables


def test_too_many_levels_are_left_out() -> None:
    many = {"width": {f"w{k}": 0.001 * k for k in range(equivalence_matrix.MOST + 1)}}
    assert not equivalence_matrix.section(evidence.gather(grid(many, seeds=2))).tables


# ------------------------------------------------------------------------------------------- seeds and images


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a real study with predictions of test."""
    folder = tmp_path_factory.mktemp("kept") / "x"
    tables = {
        "study": {"name": "x", "seeds": 3, "keep_weights": "none"},
        "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8]},
        "axes": {"activation": ["relu", "tanh"], "batch_size": [16, 64]},
    }
    runs.train(harness.parse(tables), folder, workers=1)
    return folder


def test_images_are_counted_from_the_predictions_of_each_trial(kept: Path) -> None:
    found = evidence.gather(reporting.read(kept))
    doubts: list[str] = []
    table = seeds_and_images.table(found.main_reading, found.main, doubts)
    assert not doubts
    assert table["from"].tolist() == ["predictions"] * 2
    row = table[table["axis"].eq("activation")].iloc[0]
    trials = found.reading.results.trials
    by_arm = []
    for level in (row["arm"], row["reference"]):
        of_seeds = []
        for seed in range(3):
            mine = trials[trials["activation"].eq(level) & trials["seed"].eq(seed)]
            right = [
                ~predictions.table(found.reading.results, one, "test")["wrong"] for _, one in mine.iterrows()
            ]
            of_seeds.append(np.mean(right, axis=0))
        by_arm.append(np.stack(of_seeds))
    expected = stats.crossed_interval(by_arm[0] - by_arm[1]).iloc[0]
    assert row["difference"] == pytest.approx(expected["difference"])
    for name in ("error_seeds", "error_images", "low", "high"):
        assert row[name] == pytest.approx(expected[name], rel=1e-4)
    assert (row["n"], row["images"]) == (3, 360)


def test_blocks_that_chose_by_themselves_are_counted_under_their_name(tmp_path: Path) -> None:
    tables = {
        "study": {"name": "blocks", "seeds": 4, "keep_weights": "none"},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "axes": {"activation": ["relu", "tanh"]},
        "tune": {"seeds": 2, "blocks": 2, "space": {"lr": [0.05, 0.3]}},
    }
    runs.train(harness.parse(tables), tmp_path / "x", device="cpu", workers=1)
    section = seeds_and_images.section(evidence.gather(reporting.read(tmp_path / "x")))
    assert re.match(
        r"[0-9] of 1 interval over blocks exclude[s]? 0; .* over blocks and images\. ", section.words[0]
    )
    assert re.search(r"the limited test set has [0-9]+\u00a0%\.$", section.words[0]), "one contrast: no range"
    (table,) = section.tables
    assert [column.name for column in table.columns][2:5] == ["blocks", "difference", "error of blocks"]
    assert table.data is not None
    assert table.data["n"].tolist() == [2]


def test_without_predictions_images_are_bounded_and_it_is_said() -> None:
    section = seeds_and_images.section(evidence.gather(grid(EFFECTS)))
    (table,) = section.tables
    assert [column.name for column in table.columns][2] == "seeds"
    assert table.data is not None
    assert set(table.data["from"]) == {"bound"}
    assert "images are bounded" in section.words[0]
    row = table.data.iloc[0]
    errors = 0.2 + 0.2 - EFFECTS["activation"][row["arm"]]
    assert row["error_images"] == pytest.approx(((errors - row["difference"] ** 2) / 10_000) ** 0.5, rel=0.01)


# ------------------------------------------------------------------------------------------- resampled splits


def test_verdicts_by_val_take_the_corrected_test_where_splits_are_resampled() -> None:
    plain = with_splits(grid(EFFECTS, study=judged_by("val_accuracy")))
    shared = with_splits(grid(EFFECTS, study=judged_by("val_accuracy", RESAMPLED)))
    one, other = (evidence.gather(reading).fixed for reading in (plain, shared))
    wider = (other.table["high"] - other.table["low"]) / (one.table["high"] - one.table["low"])
    npt.assert_allclose(wider, np.sqrt(1 + 6 * 0.1 / 0.9))
    assert other.table["p"].iloc[0] > one.table["p"].iloc[0]
    told = " ".join(sentence for part in verdict_text.answers(shared, other) for sentence in part)
    assert "Nadeau and Bengio" in told
    assert "Nadeau" not in " ".join(s for part in verdict_text.answers(plain, one) for s in part)
    section = resampled_splits.section(evidence.gather(shared))
    (table,) = section.tables
    assert table.data is not None
    npt.assert_allclose(table.data["high_t"] - table.data["low_t"], one.table["high"] - one.table["low"])
    npt.assert_allclose(table.data["overlap"], 1 / 9)


def test_blocks_of_seeds_that_share_images_are_covered_as_seeds_are() -> None:
    """What all seeds share is a part of a seed's variance, and a larger part of a block's mean."""
    studies, blocks, size, fraction = 500, 6, 4, 0.2
    rng = np.random.default_rng(0)
    own = rng.normal(size=(studies, blocks * size))
    shared = rng.normal(0, np.sqrt(fraction / (1 - fraction)), (studies, 1))
    study, seed = (index.ravel() for index in np.indices(own.shape))
    rows = pd.DataFrame({
        "dataset": "digits", "axis": "", "within": "", "arm": study, "reference": "r", "seed": seed,
        stats.BLOCK: seed // size + 1, "difference": (own + shared).ravel(),
    })  # fmt: skip
    trials = pd.DataFrame({"dataset": ["digits"], "val_fraction": [fraction]})
    family = Contrasts(metric="val_accuracy")
    judged = families.verdicts(families.shared_images(rows, trials, family, RESAMPLED), family)
    alone = judged["sd"] * np.sqrt(1 / blocks + size * fraction / (1 - fraction))
    npt.assert_allclose(judged["p"], 2 * scipy_stats.t.sf(judged["difference"].abs() / alone, blocks - 1))
    assert 0.92 < judged["p"].gt(0.05).mean() < 0.98


def test_verdicts_by_test_stay_as_they_are_and_val_stands_beside_them() -> None:
    shared = with_splits(grid(EFFECTS, study=RESAMPLED))
    found = evidence.gather(shared)
    plain = evidence.gather(with_splits(grid(EFFECTS))).fixed
    pd.testing.assert_frame_equal(found.fixed.table, plain.table)
    section = resampled_splits.section(found)
    (table,) = section.tables
    assert section.words == [resampled_splits.BY_TEST]
    assert resampled_splits.EXPLORATORY in table.note


def test_seeds_and_images_are_not_joined_where_seeds_have_images_of_their_own() -> None:
    shared = with_splits(grid(EFFECTS, study=judged_by("val_accuracy", RESAMPLED)))
    assert not seeds_and_images.section(evidence.gather(shared)).tables


@pytest.mark.parametrize(("fraction", "how"), [(0.0, ""), (0.1, "last")])
def test_a_split_that_nothing_draws_is_one(fraction: float, how: str) -> None:
    reading = with_splits(grid(EFFECTS, study=RESAMPLED), fraction, how)
    section = resampled_splits.section(evidence.gather(reading))
    assert section.words == [resampled_splits.NOTHING]
    assert not section.tables


def test_one_split_for_all_has_no_such_section() -> None:
    section = resampled_splits.section(evidence.gather(with_splits(grid(EFFECTS))))
    assert not section.words
    assert not section.tables


def test_judge_gives_the_intervals_of_the_report_and_compare_says_what_it_lacks(tmp_path: Path) -> None:
    study = harness.parse({
        "study": {"name": "x", "seeds": 4, "resample_split": True},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "axes": {"lr": [0.05, 0.5]},
        "contrasts": {"metric": "val_accuracy"},
    })  # fmt: skip
    runs.train(study, tmp_path / "x", device="cpu", workers=1)
    found = judged_tables.judge(tmp_path / "x")
    reported = evidence.gather(reporting.read(tmp_path / "x")).fixed.table
    npt.assert_allclose(found.contrasts[["low", "high", "p"]], reported[["low", "high", "p"]])
    assert results_folder.SHARED in found.notes
    again = shutil.copytree(tmp_path / "x", tmp_path / "y")
    assert comparing.SHARED_IMAGES in harness.compare(tmp_path / "x", again, metric="val_accuracy").notes
    assert comparing.SHARED_IMAGES not in harness.compare(tmp_path / "x", again).notes
