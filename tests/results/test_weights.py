"""Kept weights read back give, in NumPy, the probabilities that the engine saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import results
from harness.axes.activations import activations
from harness.errors import MachineError, UsageError
from harness.exporting import models
from harness.results import parts, predictions, weights
from harness.results.weights import Weights


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("head", ["identity", "sigmoid", "softmax", "log_softmax"])
def test_probabilities_equal_the_engines(kept_results: Path, head: str, split: Any) -> None:
    found = results.read(kept_results)
    trials = found.trials[found.trials["head"].eq(head) & found.trials["lr"].eq(0.1)]
    for _, trial in trials.iterrows():
        given = weights.probabilities(weights.read(weights.file_of(found, trial["trial_id"])), split)
        assert given.sum(1) == pytest.approx(np.ones(len(given)), abs=1e-5)
        table = predictions.table(found, trial, split)
        np.testing.assert_array_equal(given.argmax(1), table["predicted"])
        assert given.max(1) == pytest.approx(table["confidence"].to_numpy(), abs=1e-3)
        np.testing.assert_allclose(given, models.probabilities(found, trial, split), atol=1e-5)


def test_weights_that_cannot_be_read_are_named(kept_results: Path, tmp_path: Path) -> None:
    source = next((kept_results / "weights").iterdir())
    whole = source.read_bytes()
    for content in (whole[:100], b"", b"{}"):
        (tmp_path / source.name).write_bytes(content)
        with pytest.raises(MachineError, match=f"{source.name} cannot be read"):
            weights.read(tmp_path / source.name)


def test_a_component_without_a_formula_is_named(kept_results: Path) -> None:
    kept = weights.read(next((kept_results / "weights").iterdir()))
    settings = kept.trial.arm.settings | {"activation": "no such one"}
    trial = kept.trial
    with pytest.raises(UsageError):
        weights.probabilities(
            Weights(type(trial)(trial.trial_id, type(trial.arm)("", settings), 0), kept.named), "test"
        )
    assert "no such one" not in activations


def test_every_nan_is_the_same() -> None:
    """A processor of x86-64 makes it negative, one of AArch64 positive."""
    made = np.array([1, 2, 3], np.float32)
    made.view(np.uint32)[:2] = 0xFFC00000, 0x7FC00123
    assert parts._one_nan(made).view(np.uint32).tolist() == [0x7FC00000, 0x7FC00000, 0x40400000]
