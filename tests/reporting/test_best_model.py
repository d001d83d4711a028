"""The report's look at the best model: drawn where all is at hand, left out in words where it is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from harness import reporting, results
from harness.data import cache
from harness.data.cache import FileState
from harness.gallery import predicted_images
from harness.reporting import best_model
from harness.reporting.model import Section
from harness.results import selection
from harness.study.reading import parse
from harness.training import runs

NAMES = [f"model-digits-{what}" for what in ("random", "probabilities", "failures", "hardest")]


@pytest.fixture
def copied(kept_results: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept_results, tmp_path / "kept")


def looked(folder: Path) -> Section:
    (look,) = best_model.sections(reporting.read(folder))
    return look


def test_the_best_trial_by_validation_is_drawn(kept_results: Path) -> None:
    look = looked(kept_results)
    assert [figure.name for figure in look.figures] == NAMES
    assert [figure.folded for figure in look.figures] == [False, False, True, False]
    (trial_id,) = selection.best(results.read(kept_results))["trial_id"]
    assert look.words[0].startswith("The best trial by validation: ")
    assert trial_id in look.words[0]
    assert "1,210 trainable parameters" in look.words[0]
    assert len(look.words) == 1


def test_the_page_shows_it_in_a_section_of_its_own(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.reporting.page.draw", lambda _: iter(()))
    page = reporting.write(copied).read_text(encoding="utf-8")
    section = page.partition('<h3 id="model-digits">')[2].partition('<details class="part"')[0]
    assert section.count('src="data:image') == 4
    assert "Not shown" not in section
    for name in NAMES:
        assert (copied / "figures" / f"{name}.png").stat().st_size < 300_000
    assert page.count("<summary>Mistakes on") == section.count("<summary>Mistakes on") == 1


def test_without_weights_only_the_bars_are_left_out(copied: Path) -> None:
    shutil.rmtree(copied / "weights")
    look = looked(copied)
    assert [figure.name for figure in look.figures] == [name for name in NAMES if "probabilities" not in name]
    assert look.words[1].startswith(
        "Not shown: class probabilities. Reason: the weights of this model were not kept."
    )


def test_missing_predictions_are_reported_once_without_paths(copied: Path) -> None:
    shutil.rmtree(copied / "predictions")
    look = looked(copied)
    assert not look.figures
    assert len(look.words) == 2
    assert "holds no predictions" in look.words[1]


def test_a_damaged_file_leaves_the_page_whole(copied: Path) -> None:
    for path in (copied / "predictions").iterdir():
        path.write_bytes(b"damaged")
    look = looked(copied)
    assert not look.figures
    assert "is damaged" in look.words[1]
    assert str(copied) not in " ".join(look.words)


def test_images_that_are_not_in_the_cache_are_never_fetched(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PINS", {**cache.PINS, "digits": {}})
    monkeypatch.setattr(cache, "verify", lambda _: [FileState(Path("x"), "missing", "", "")])
    monkeypatch.setattr(predicted_images, "load", lambda _: pytest.fail("loaded"))
    look = looked(copied)
    assert not look.figures
    assert "the images of digits are not in this machine's data cache" in look.words[1]


def test_no_model_is_best_without_validation(kept_results: Path) -> None:
    found = results.read(kept_results)
    reading = reporting.prepare(found)
    without = reading.trials.assign(val_accuracy=float("nan"))
    (look,) = best_model.sections(type(reading)(found, reading.axes, without))
    assert look.words == ["Without a validation accuracy no model is the best, so none is shown."]
    assert not look.figures


@pytest.fixture(scope="module")
def lean_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a real study that keeps the best trial's weights, and predictions of train."""
    folder = tmp_path_factory.mktemp("results") / "lean"
    study = {"name": "lean", "seeds": 3, "keep_predictions": ["train", "test"]}
    baseline = {"dataset": "digits", "epochs": 1, "hidden": [8]}
    runs.train(parse({"study": study, "baseline": baseline, "axes": {"lr": [0.1, 0.2]}}), folder, workers=1)
    return folder


def test_the_one_model_whose_weights_are_kept_is_the_one_shown(lean_results: Path) -> None:
    (kept,) = (path.stem for path in (lean_results / "weights").glob("*.safetensors"))
    look = looked(lean_results)
    assert kept in look.words[0]
    assert len(look.words) == 1
    assert "model-digits-probabilities" in [figure.name for figure in look.figures]


def test_a_good_trial_of_a_worse_arm_is_the_best(lean_results: Path) -> None:
    reading = reporting.read(lean_results)
    scores = [0.9, 0.9, 0.9, 0.95, 0.1, 0.1]  # by arm, then seed: the second arm is the worse one
    trials = reading.trials.sort_values(["lr", "seed"]).assign(val_accuracy=scores)
    (look,) = best_model.sections(replace(reading, trials=trials))
    assert trials["trial_id"].iloc[3] in look.words[0]


def test_mistakes_on_train_are_drawn_where_they_were_kept(lean_results: Path) -> None:
    drawn = {figure.name: figure for figure in looked(lean_results).figures}
    train, test = drawn["model-digits-failures-train"], drawn["model-digits-failures"]
    assert train.folded
    assert train.title == "Mistakes on digits, train"
    assert train.caption.startswith("The train images that the model gets wrong")
    for split, figure in (("train", train.figure), ("test", test.figure)):
        told = " ".join(text.get_text() for text in figure.findobj(Text))
        assert f"digits, {split}, by" in told


def test_the_only_finished_trial_is_shown_without_validation(lean_results: Path) -> None:
    reading = reporting.read(lean_results)
    alone = reading.trials.head(1).assign(val_accuracy=float("nan"))
    (look,) = best_model.sections(replace(reading, trials=alone))
    assert look.words[0].startswith("The only finished trial: ")
    assert "val " not in look.words[0]
