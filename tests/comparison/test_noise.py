"""The noise floor of a baseline on digits, really trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

import harness
from harness import results
from harness.comparison.tries import noise_text
from harness.comparison.tries.noise import COMPARED_SEEDS
from harness.errors import UsageError
from harness.study.study import Study


def test_a_noise_floor_is_what_its_trials_say(study_of: Callable[..., Study], tmp_path: Path) -> None:
    folder = tmp_path / "tries"
    found = harness.noise(study_of(), seeds=6, folder=folder, workers=1)
    trials = results.read_trials(folder)
    values = trials["val_accuracy"].to_numpy()
    row = found.baselines.iloc[0]
    assert trials["test_accuracy"].isna().all()
    assert (row["n"], row["diverged"], row["val_images"]) == (6, 0, 144)
    assert row["mean"] == pytest.approx(values.mean())
    assert row["sd"] == pytest.approx(values.std(ddof=1))
    low, high = (row["sd"] * math.sqrt(5 / scipy_stats.chi2.ppf(p, 5)) for p in (0.975, 0.025))
    assert (row["sd_low"], row["sd_high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["sampling_sd"] == pytest.approx(math.sqrt(values.mean() * (1 - values.mean()) / 144))
    assert found.detectable["seeds"].tolist() == list(COMPARED_SEEDS)
    for one in found.detectable.to_dict("records"):
        effect = one["difference"] / (math.sqrt(2) * row["sd"])
        assert TTestPower().power(effect, one["seeds"], 0.05) == pytest.approx(0.8, abs=1e-6)
        assert one["seconds"] == pytest.approx(2 * one["seeds"] * row["seconds_a_trial"])
    said = "\n".join(noise_text.lines(found))
    assert f"SD over 6 seeds: {100 * row['sd']:.2f} points" in said
    assert "at worst" in said
    assert harness.noise(study_of(), seeds=6, folder=folder).trained.trials == 0


def test_each_of_several_data_sets_has_its_noise(study_of: Callable[..., Study], tmp_path: Path) -> None:
    study = study_of(axes={"dataset": ["digits", "digits_writers"], "lr": [0.1, 0.3]})
    found = harness.noise(study, seeds=2, folder=tmp_path / "tries", workers=1)
    assert found.baselines["dataset"].tolist() == ["digits", "digits_writers"]
    assert len(results.read_trials(tmp_path / "tries")) == 4
    assert np.isfinite(found.baselines["sd"]).all()
    following = noise_text.following(found, "s", ["lr=0.3"])
    assert following == "harness try s --set KEY=VALUE --base lr=0.3 --base dataset=digits"


@pytest.mark.parametrize(
    ("seeds", "metric", "message"),
    [(1, "val_accuracy", "one seed shows no spread"), (3, "test_accuracy", "test stays closed")],
)
def test_what_shows_no_noise_is_refused(
    seeds: int, metric: str, message: str, study_of: Callable[..., Study], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        harness.noise(study_of(), seeds=seeds, metric=metric, folder=tmp_path / "tries")
    assert not (tmp_path / "tries").exists()


def test_a_baseline_that_diverges_has_no_noise(study_of: Callable[..., Study], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="diverges with 2 of 2 seeds on digits"):
        harness.noise(study_of(lr=1e25), seeds=2, folder=tmp_path / "tries", workers=1)
    with pytest.raises(UsageError, match="is a search"):
        harness.noise(harness.load("search"))
