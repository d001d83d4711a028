"""The report's look at the best model: drawn where all is at hand, left out in words where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import pictures, report, results, selection, sources
from harness.report import models
from harness.sources import FileState

NAMES = [f"model-digits-{what}" for what in ("random", "probabilities", "failures", "hardest")]


@pytest.fixture
def copied(kept_results: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept_results, tmp_path / "kept")


def looked(folder: Path) -> models.Look:
    (look,) = models.looks(report.read(folder))
    return look


def test_the_best_arms_best_seed_is_drawn(kept_results: Path) -> None:
    look = looked(kept_results)
    assert [figure.name for figure in look.drawn] == NAMES
    assert [figure.folded for figure in look.drawn] == [False, False, True, False]
    (best,) = selection.best(results.read(kept_results))["trial_id"]
    assert best in look.words[0]
    assert "1,210 trainable parameters" in look.words[0]
    assert len(look.words) == 1


def test_the_page_shows_it_in_a_section_of_its_own(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw", lambda _: iter(()))
    page = report.write(copied).read_text(encoding="utf-8")
    section = page.partition('<h2 id="model-digits">')[2].partition("<h2")[0]
    assert section.count("data:image") == 4
    assert "Not shown" not in section
    for name in NAMES:
        assert (copied / "figures" / f"{name}.png").stat().st_size < 300_000
    assert page.partition('<h2 id="figures">')[2].partition("<h2")[0].count("What it gets wrong") == 0


def test_without_weights_only_the_bars_are_left_out(copied: Path) -> None:
    shutil.rmtree(copied / "weights")
    look = looked(copied)
    assert [figure.name for figure in look.drawn] == [name for name in NAMES if "probabilities" not in name]
    assert look.words[1].startswith(
        "Not shown, class probabilities: the weights of this model were not kept."
    )


def test_without_predictions_it_is_said_once_and_without_paths(copied: Path) -> None:
    shutil.rmtree(copied / "predictions")
    look = looked(copied)
    assert not look.drawn
    assert len(look.words) == 2
    assert "holds no predictions" in look.words[1]


def test_a_damaged_file_leaves_the_page_whole(copied: Path) -> None:
    for path in (copied / "predictions").iterdir():
        path.write_bytes(b"damaged")
    look = looked(copied)
    assert not look.drawn
    assert "is damaged" in look.words[1]
    assert str(copied) not in " ".join(look.words)


def test_images_that_are_not_in_the_cache_are_never_fetched(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PINS", {**sources.PINS, "digits": {}})
    monkeypatch.setattr(sources, "check", lambda _: [FileState(Path("x"), "missing", "", "")])
    monkeypatch.setattr(pictures, "load", lambda _: pytest.fail("loaded"))
    look = looked(copied)
    assert not look.drawn
    assert "the images of digits are not in this machine's data cache" in look.words[1]


def test_without_validation_no_model_is_the_best(kept_results: Path) -> None:
    found = results.read(kept_results)
    reading = report.prepare(found)
    without = reading.trials.assign(val_accuracy=float("nan"))
    (look,) = models.looks(type(reading)(found, reading.axes, without))
    assert look.words == ["Without a validation accuracy no model is the best, so none is shown."]
    assert not look.drawn
