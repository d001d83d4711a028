"""Calibration in the report: the numbers are those of the kept predictions, and what is missing is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import reporting, stats
from harness.reporting import ReportData, calibration
from harness.reporting.model import Section
from harness.results import predictions, selection, weights
from harness.stats.calibrations import BINS
from harness.study.study import Study
from harness.training import runs


def make_section(reading: ReportData) -> Section:
    section = calibration.section(reading)
    assert section is not None
    return section


def test_every_trial_has_the_table_and_the_ece_that_stats_gives_it(sweep: ReportData) -> None:
    tallied = calibration.reliability(sweep, "digits")
    done = sweep.trials[sweep.trials["status"].eq("ok")]
    assert list(tallied["trial_id"].unique()) != []
    assert set(tallied["trial_id"]) == set(done["trial_id"])
    eces = calibration.eces(tallied)
    for _, trial in done.iterrows():
        said = predictions.table(sweep.results, trial, "test")
        whole = stats.calibration(said["confidence"], ~said["wrong"], BINS)
        ours = tallied[tallied["trial_id"].eq(trial["trial_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours[list(whole)], whole, check_dtype=False, rtol=1e-6)
        assert eces[trial["trial_id"]] == pytest.approx(stats.ece(said["confidence"], ~said["wrong"]))


def test_the_table_has_a_row_an_arm_in_the_order_of_validation(sweep: ReportData) -> None:
    (table,) = make_section(sweep).tables
    names = [column.name for column in table.columns]
    assert names == ["arm", "probabilities", "test accuracy", "test ECE (points)", "test Brier"]
    ranking = reporting.rank(sweep)
    finished = ranking[ranking["shown_n"].gt(0)]
    assert [row[0].text for row in table.rows] == list(finished["label"])
    assert {row[1].text for row in table.rows} == {"softmax of logits", "as the head gives them"}
    first = sweep.trials[sweep.trials["label"].eq(table.rows[0][0].text)]
    assert float(table.rows[0][4].sort) == pytest.approx(first["test_brier"].mean())


def test_scores_that_were_not_tracked_come_from_the_kept_weights(sweep: ReportData) -> None:
    words = " ".join(make_section(sweep).words)
    trial = selection.best(sweep.results).iloc[0]
    p = weights.probabilities(weights.read(weights.file_of(sweep.results, trial["trial_id"])), "test")
    label = predictions.table(sweep.results, trial, "test")["label"].to_numpy()
    nll = -np.log(p[np.arange(len(label)), label].astype(float)).mean()
    assert f"NLL {nll:.4g} nats" in words
    assert f"Brier score {trial['test_brier']:.4g}" in words
    assert 'metrics = ["nll", "brier"]' in words


def test_without_weights_the_page_says_how_to_get_the_scores(sweep: ReportData, tmp_path: Path) -> None:
    folder = shutil.copytree(sweep.results.folder, tmp_path / "copy")
    shutil.rmtree(folder / "weights")
    words = " ".join(make_section(replace(sweep, results=replace(sweep.results, folder=folder))).words)
    assert " nats, " not in words
    assert 'metrics = ["nll", "brier"]' in words


def test_missing_predictions_are_reported_and_nothing_is_drawn(sweep: ReportData, tmp_path: Path) -> None:
    section = make_section(replace(sweep, results=replace(sweep.results, folder=tmp_path)))
    assert not section.figures
    assert not section.tables
    assert "Not measured on digits: this results folder holds no predictions" in " ".join(section.words)
    assert str(tmp_path) not in " ".join(section.words)


def test_only_the_first_of_many_arms_are_shown_with_a_note(
    sweep: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_ROWS", 2)
    (table,) = make_section(sweep).tables
    assert len(table.rows) == 2
    assert "the first 2 are shown" in table.note


def test_there_is_no_section_if_nothing_finished(sweep: ReportData) -> None:
    assert calibration.section(replace(sweep, trials=sweep.trials.assign(status="diverged"))) is None


def test_label_smoothing_makes_the_page_say_the_direction(
    sweep: ReportData, study_of: Callable[..., Study], tmp_path: Path
) -> None:
    assert "label_smoothing" not in " ".join(make_section(sweep).words)
    study = study_of({"label_smoothing": [0.0, 0.4]}, study={"seeds": 2}, hidden=[32], lr=0.5, epochs=12)
    runs.train(study, tmp_path / "smooth", workers=1, device="cpu")
    reading = reporting.read(tmp_path / "smooth")
    words = " ".join(make_section(reading).words)
    for share, sign in ((0.0, "above (over"), (0.4, "below (under")):
        gaps = []
        smoothed = reading.trials["label_smoothing"].astype(float)
        for _, trial in reading.trials[smoothed.eq(share)].iterrows():
            said = predictions.table(reading.results, trial, "test")
            gaps.append(float(said["confidence"].mean() - (~said["wrong"]).mean()))
        expected = f"{100 * abs(np.mean(gaps)):.1f} points {sign}confident) at label_smoothing = {share:g}"
        assert expected in words, words
