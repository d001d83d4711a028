"""Shared progress: a stack writes in its own places, and an abandoned try leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import results
from harness.data.samples import Split
from harness.engines.outcome import Evaluation, Outcome
from harness.planning.stack import Engine
from harness.study.study import Study
from harness.training import runs as training
from harness.training.progress import ACCURACY, LOSS, Progress, ProgressWriter, SharedProgress

Make = Callable[..., Study]


def evaluation_of(loss: list[float], accuracy: list[float]) -> Evaluation:
    none = np.empty((len(loss), 0))
    return Evaluation(np.array(loss), np.array(accuracy), none.astype(np.int64), none)


def outcome_of(trials: int) -> Outcome:
    return Outcome(
        np.zeros(trials, np.int64), parameters=np.ones(trials, np.int64), epochs_done=1, steps_done=8
    )


def look(outcome: Outcome, step: int, split: Split, loss: list[float]) -> None:
    outcome.observe(step / 8, step, split, evaluation_of(loss, [loss[0] / 10] * len(loss)), last=False)


def test_a_writer_writes_only_in_its_place() -> None:
    shared = SharedProgress([1, 7, 2], 2)
    writer = ProgressWriter(shared, 1, 3, 4)
    writer(0.25, outcome_of(4))
    assert list(shared.trained) == [0, 4, 0]
    writer(1.0, outcome_of(4))
    assert list(shared.trained) == [0, 7, 0]
    ProgressWriter(None, 1, 3, 4)(0.5, outcome_of(4))
    assert np.isnan(shared.curves).all()


def test_observations_are_in_the_rows_of_their_trials() -> None:
    shared, outcome = SharedProgress([1, 3], 3), outcome_of(2)
    writer = ProgressWriter(shared, 1, 1, 2)
    look(outcome, 0, "train", [2.0, 2.5])
    writer(0.1, outcome)
    look(outcome, 0, "val", [3.0, 3.5])
    look(outcome, 5, "train", [1.0, np.inf])
    look(outcome, 5, "val", [1.5, np.nan])
    writer(0.6, outcome)
    assert np.isnan(shared.curves[:2]).all()
    np.testing.assert_array_equal(shared.curves[2:, :, 0, LOSS], [[2, 1, np.nan], [2.5, np.inf, np.nan]])
    np.testing.assert_array_equal(shared.curves[2:, :, 1, LOSS], [[3, 1.5, np.nan], [3.5, np.nan, np.nan]])
    np.testing.assert_allclose(shared.curves[2:, 0, 0, ACCURACY], 0.2, rtol=1e-6)
    assert list(shared.in_training()) == [2, 3]
    latest = shared.latest(shared.in_training())
    np.testing.assert_array_equal(latest[:, :, LOSS], [[1, 1.5], [np.inf, np.nan]])
    writer(1.0, outcome)
    assert not len(shared.in_training())


def test_a_second_try_starts_from_nothing() -> None:
    shared, outcome = SharedProgress([2], 2), outcome_of(2)
    look(outcome, 0, "train", [2.0, 2.0])
    look(outcome, 8, "train", [1.0, 1.0])
    ProgressWriter(shared, 0, 0, 2)(1.0, outcome)
    ProgressWriter(shared, 0, 0, 1)
    assert np.isnan(shared.curves[0]).all()
    assert not np.isnan(shared.curves[1, :, 0]).any()
    shared.clear(0)
    assert np.isnan(shared.curves).all()


@pytest.mark.parametrize("engine", ["stacked", "numpy"])
def test_a_run_leaves_its_curves_in_the_shared_progress(
    study_of: Make, tmp_path: Path, engine: Engine
) -> None:
    runs: list[Progress] = []

    def listen(progress: Progress) -> Any:
        runs.append(progress)
        return contextlib.nullcontext()

    study = study_of({"batch_size": [32, 64]}, eval_every="20 steps", study={"seeds": 1})
    training.train(study, tmp_path, device="cpu", workers=1, engine=engine, display=listen)
    ((progress,), epochs) = runs, results.read(tmp_path).epochs
    assert progress.shared.shape == (2, 6, 2, 2)
    assert not progress.shared.in_training().any()
    for row, stack in enumerate(progress.stacks):
        (trial,) = stack.trials
        for i, split in enumerate(("train", "val")):
            rows = epochs[epochs["trial_id"].eq(trial.trial_id) & epochs["split"].eq(split)]
            got = progress.shared.curves[row, :, i]
            np.testing.assert_allclose(got[: len(rows)], rows[["loss", "accuracy"]], rtol=1e-6)
            assert np.isnan(got[len(rows) :]).all()
