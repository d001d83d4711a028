"""Learning curves averaged within a seed."""

from __future__ import annotations

import pandas as pd
import pytest
from factorials import factorial, undo

from harness import stats


def test_mean_curves_average_finished_trials_within_a_seed() -> None:
    trials = undo(factorial(), "diverged", arm="tanh, adam")
    epochs = pd.DataFrame(
        [
            {"trial_id": row["trial_id"], "epoch": epoch, "split": "val", "accuracy": 0.1 + epoch * place}
            for place, row in enumerate(trials.to_dict("records"))
            for epoch in (0, 1)
        ]
    )
    curves = stats.mean_curves(epochs, trials, ["dataset", "optimizer"]).set_index(
        ["dataset", "optimizer", "epoch", "seed"]
    )
    assert curves.loc[("mnist", "adam", 1, 0), "trials"] == 2, "sigmoid and relu; tanh diverged"
    # With adam and seed 0, sigmoid is the fourth row of the grid and relu the sixteenth.
    assert curves.loc[("mnist", "adam", 1, 0), "value"] == pytest.approx(0.1 + (3 + 15) / 2)


def test_an_axis_may_have_the_name_of_the_metric() -> None:
    trials = pd.DataFrame(
        {"trial_id": ["a", "b"], "status": ["ok", "ok"], "seed": [0, 0], "loss": ["ce", "mse"]}
    )
    epochs = pd.DataFrame(
        {"trial_id": ["a", "b"], "epoch": [1.0, 1.0], "split": ["val", "val"], "loss": [0.25, 0.5]}
    )
    curves = stats.mean_curves(epochs, trials, ["loss"], "loss")
    assert curves[["loss", "value"]].to_dict("list") == {"loss": ["ce", "mse"], "value": [0.25, 0.5]}
