"""The largest contrast, image by image: which pair it is, and that its counts are the predictions' own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import reporting, stats
from harness.reporting import ReportData, flips
from harness.results import predictions


@pytest.fixture
def slower(sweep: ReportData) -> ReportData:
    """The sweep without the lr at which everything diverges."""
    return reporting.where(sweep, "lr=0.3")


def with_contrasts(reading: ReportData, **told: object) -> ReportData:
    return replace(
        reading, results=replace(reading.results, study={**reading.results.study, "contrasts": told})
    )


def test_the_pair_is_the_contrast_of_the_family_with_the_largest_difference_on_val(
    slower: ReportData,
) -> None:
    pair = flips.largest(slower, "digits")
    assert pair is not None
    axes = list(slower.axes)
    means = {
        (axis, str(level)): float(values.mean())
        for axis, reference in (("activation", "relu"), ("output", "logits + CE"))
        for level, values in stats.level_differences(
            slower.trials, axis, reference, (), axes, "val_accuracy"
        ).groupby("arm")["difference"]
    }
    (axis, level), _ = max(means.items(), key=lambda item: abs(item[1]))
    assert f"{axis} {level} against" in pair.why
    assert "design's default family" in pair.why
    assert level in pair.arm
    assert pair.reference == flips.reference_arm(slower, "digits")


def test_only_a_declared_family_is_considered(slower: ReportData) -> None:
    levels = [{"axis": "activation", "reference": "tanh", "within": ["output"]}]
    declared = with_contrasts(slower, declared=True, pairs=[], levels=levels)
    pair = flips.largest(declared, "digits")
    assert pair is not None
    assert "declared contrasts" in pair.why
    assert "relu" in pair.arm
    assert "tanh" in pair.reference


def test_a_pair_without_a_common_seed_is_passed_over(sweep: ReportData) -> None:
    pair = flips.largest(sweep, "digits")
    assert pair is not None
    assert not flips.compare(sweep, pair).trials.empty


def test_counts_are_those_of_the_predictions_of_each_seed(slower: ReportData) -> None:
    pair = flips.largest(slower, "digits")
    assert pair is not None
    section = flips.section(slower)
    assert section is not None
    (table,) = section.tables
    trials = slower.trials
    for row in table.rows:
        right = []
        for label in (pair.arm, pair.reference):
            of = trials["label"].eq(label) & trials["seed"].eq(int(row[2].text))
            right.append(~predictions.table(slower.results, trials[of].iloc[0], "test")["wrong"])
        assert int(row[3].text) == (right[0] & ~right[1]).sum()
        assert int(row[4].text) == (right[1] & ~right[0]).sum()
    assert [row[2].text for row in table.rows] == ["0", "1"]
    assert "not pooled" in table.note


def test_galleries_and_matrices_are_marked_exploratory(slower: ReportData) -> None:
    section = flips.section(slower)
    assert section is not None
    names = [figure.name for figure in section.figures]
    assert names == ["flips-digits-gains", "flips-digits-losses", "confusion-digits-contrast"]
    assert all(figure.caption.startswith("Exploratory") for figure in section.figures)
    assert any("by a bootstrap over the images" in words for words in section.words)


def test_without_predictions_the_matrices_are_left(slower: ReportData, tmp_path: Path) -> None:
    section = flips.section(replace(slower, results=replace(slower.results, folder=tmp_path)))
    assert section is not None
    assert [figure.name for figure in section.figures] == ["confusion-digits-contrast"]
    assert any("holds no predictions" in words for words in section.words)
    assert not any(str(tmp_path) in words for words in section.words)


def test_a_study_of_one_arm_has_no_such_section(slower: ReportData) -> None:
    one = reporting.where(reporting.where(slower, "activation=relu"), "output=logits + CE")
    assert flips.section(one) is None


def test_an_image_both_get_right_is_in_no_gallery(slower: ReportData) -> None:
    pair = flips.largest(slower, "digits")
    assert pair is not None
    found = flips.compare(slower, pair)
    assert found.predicted.shape == found.reference.shape == (2, 360)
    assert np.array_equal(found.right, found.predicted == found.label)
