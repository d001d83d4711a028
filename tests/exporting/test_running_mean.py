"""Running means, weighted by the samples that they are of."""

from __future__ import annotations

import copy
import doctest
import math
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.errors import UsageError
from harness.exporting.running_mean import RunningMean


def test_its_example_is_true() -> None:
    (example,) = (
        test for test in doctest.DocTestFinder(recurse=False).find(RunningMean, globs={"harness": harness})
    )
    runner = doctest.DocTestRunner()
    runner.run(example)
    assert (runner.failures, runner.tries) == (0, 5)


def test_a_short_last_batch_counts_by_its_samples() -> None:
    values = np.random.default_rng(0).random(45)
    mean = RunningMean()
    for batch in (values[:32], values[32:]):
        mean.update(loss=batch.mean(), n=len(batch))
    assert mean.loss == pytest.approx(values.mean(), abs=1e-15)
    assert mean.loss != pytest.approx((values[:32].mean() + values[32:].mean()) / 2, abs=1e-4)
    assert mean["loss"] == mean.loss
    assert mean.total("loss") == pytest.approx(values.sum())
    assert mean.n == 45


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)],
)
def test_numbers_of_every_kind_are_taken(value: Any) -> None:
    mean = RunningMean()
    mean.update(loss=value, right=True, n=3)
    assert (mean.loss, mean.right) == (0.5, 1.0)


def test_a_value_for_each_sample_needs_no_n() -> None:
    mean = RunningMean()
    mean.update(loss=torch.tensor([0.25, 0.75], requires_grad=True), accuracy=torch.tensor([True, False]))
    mean.update(loss=np.array([2.0]), accuracy=[True], n=1)
    assert (mean.loss, mean.n) == (1.0, 3)
    assert mean.accuracy == 2 / 3


def test_sums_are_in_double_precision() -> None:
    mean = RunningMean()
    mean.update(loss=torch.full((3_000_000,), 0.1))
    assert mean.loss == pytest.approx(np.float32(0.1), rel=1e-12)  # in float32 it is off by 1e-4


def test_it_reads_as_a_line() -> None:
    mean = RunningMean()
    assert repr(mean) == "no samples yet"
    mean.update(loss=0.3, val_accuracy=0.912, n=1293)
    assert repr(mean) == "loss 0.3, val_accuracy 91.2 %, of 1,293"
    assert {"loss", "val_accuracy", "update"} <= set(dir(mean))


def test_reset_forgets_values_names_and_samples() -> None:
    mean = RunningMean()
    mean.update(loss=5.0, n=2)
    mean.reset()
    mean.update(accuracy=0.5, n=4)
    assert repr(mean) == "accuracy 50.0 %, of 4"


def test_an_empty_batch_changes_nothing() -> None:
    mean = RunningMean()
    mean.update(loss=math.nan, n=0)
    mean.update(loss=1.0, n=2)
    mean.update(loss=torch.empty(0))
    assert (mean.loss, mean.n) == (1.0, 2)


def test_nan_is_told_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("harness.notes.warn", told.append)
    mean = RunningMean()
    for loss in (1.0, math.nan, math.nan, 2.0):
        mean.update(loss=loss, n=10)
    assert math.isnan(mean.loss)
    (note,) = told
    assert "nan in the batch after 10 samples" in note


def test_it_is_copied() -> None:
    mean = RunningMean()
    mean.update(loss=0.5, n=2)
    twin = copy.deepcopy(mean)
    twin.update(loss=1.5, n=2)
    assert (mean.loss, twin.loss) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": 1.0}, "n is missing: how many samples is loss the mean of"),
        ({"loss": np.ones(3), "accuracy": 1.0}, "n is missing: how many samples is accuracy the mean of"),
        ({"loss": 1.0, "n": -1}, "n = -1"),
        ({"loss": 1.0, "n": 1.5}, "n = 1.5"),
        ({"loss": 1.0, "n": True}, "n = True"),
        ({"n": 3}, "no value is given"),
        ({"loss": "much", "n": 3}, "a number, or one a sample"),
        ({"loss": np.ones((3, 2)), "n": 3}, r"shape \(3, 2\)"),
        ({"loss": np.ones(3), "n": 4}, "3 values and n is 4"),
        ({"loss": None, "n": 4}, "loss = None: is the `return` of a function missing"),
        ({"total": 1.0, "n": 4}, "total = ..: a name of the running mean's own; allowed: another, my_total"),
        ({"_sums": 1.0, "n": 4}, "_sums = ..: a name of"),
    ],
)
def test_what_is_no_value_of_a_batch_is_refused_and_changes_nothing(
    given: dict[str, Any], message: str
) -> None:
    mean = RunningMean()
    with pytest.raises(UsageError, match=message):
        mean.update(**given)
    assert repr(mean) == "no samples yet"


def test_other_names_are_refused() -> None:
    mean = RunningMean()
    mean.update(loss=1.0, n=1)
    with pytest.raises(UsageError, match="got accuracy, before loss"):
        mean.update(accuracy=1.0, n=1)
    with pytest.raises(UsageError, match="no mean of 'los'; there are: loss"):
        mean.total("los")
    with pytest.raises(AttributeError, match="no mean of 'accuracy'; there are: loss"):
        _ = mean.accuracy
    with pytest.raises(UsageError, match="comes first"):
        RunningMean().total("loss")
