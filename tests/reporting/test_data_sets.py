"""The report's section on the data: drawn as the trials divide them, left out in words where it cannot be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import reporting
from harness.data import cache
from harness.data.cache import FileState
from harness.gallery import predicted_images
from harness.reporting import ReportData, data_sets
from harness.reporting.model import Section

NAMES = [f"data-digits-{what}" for what in ("counts", "row", "grid")]


@pytest.fixture(scope="module")
def reading(kept_results: Path) -> ReportData:
    return reporting.read(kept_results)


def looked(reading: ReportData) -> Section:
    (look,) = data_sets.sections(reading)
    return look


def test_each_data_set_has_counts_a_row_and_a_grid_all_folded(reading: ReportData) -> None:
    look = looked(reading)
    assert [figure.name for figure in look.figures] == NAMES
    assert all(figure.folded for figure in look.figures)
    assert look.words == ["Split with val_fraction 0.1, val_split stratified, split_seed 0."]
    assert "Always guessing class" in look.figures[0].caption
    assert look.figures[1].title == "One image of each class of digits"
    assert look.figures[2].title == "3 x 6 training images of digits"


def test_the_page_has_them_before_the_provenance(
    kept_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reporting.page.draw", lambda _: iter(()))
    monkeypatch.setattr("harness.reporting.best_model.sections", lambda _: iter(()))
    page = reporting.write(kept_results, tmp_path / "report.html").read_text(encoding="utf-8")
    section = page.partition('<details class="part" id="data"')[2].partition('<details class="part"')[0]
    assert section.count('src="data:image') == section.count('<details class="more">') == 3
    assert 'href="#data"' in page
    for name in NAMES[1:]:
        files = [tmp_path / "figures" / f"{name}.{kind}" for kind in ("png", "svg")]
        assert min(path.stat().st_size for path in files) < 150_000


def test_a_split_resampled_by_seed_is_the_first_trials(reading: ReportData) -> None:
    seeds = reading.trials["seed"].astype(float) + 3
    resampled = replace(reading, trials=reading.trials.assign(split_seed=seeds))
    assert [way["split_seed"] for way in data_sets.divisions(resampled, "digits")] == [3, 4]
    assert looked(resampled).words[0] == (
        "Split with val_fraction 0.1, val_split stratified, split_seed 3. "
        "The study splits it in 2 ways; the figures show that of its first trial."
    )


def test_without_validation_its_split_is_not_mentioned(reading: ReportData) -> None:
    none = reading.trials.assign(val_fraction=0.0, val_split=None, split_seed=float("nan"))
    look = looked(replace(reading, trials=none))
    assert look.words == ["Split with val_fraction 0."]
    assert "No val images." in look.figures[0].caption


def test_images_that_are_not_in_the_cache_are_never_fetched(
    reading: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PINS", {**cache.PINS, "digits": {}})
    monkeypatch.setattr(cache, "verify", lambda _: [FileState(Path("x"), "missing", "", "")])
    monkeypatch.setattr(predicted_images, "load", lambda _: pytest.fail("loaded"))
    look = looked(reading)
    assert not look.figures
    assert look.words[1].startswith(
        "Not shown: label counts, one image of each class and a grid of training images. "
        "Reason: the images of digits"
    )


def test_other_data_than_the_folder_was_trained_on_are_not_shown(kept_results: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept_results, tmp_path / "other")
    path = folder / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**plan, "data": {"digits": "0" * 64}}), encoding="utf-8")
    look = looked(reporting.read(folder))
    assert not look.figures
    assert "digits is not the data that the results folder was trained on" in look.words[1]
    assert str(folder) not in " ".join(look.words)
