"""Checks of a person's own metric."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.axes.metrics import metrics
from harness.check import metric
from harness.errors import UsageError

Array = NDArray[Any]


@pytest.mark.parametrize("name", [entry.name for entry in metrics])
def test_registered_metrics_are_right_as_themselves(name: str) -> None:
    assert metric(name, name)


def in_a_loop(p: Any, y: Any) -> float:
    right = 0
    for row, label in zip(p, y, strict=True):
        right += int(np.argmax(row) == label)
    return right / len(y)


@pytest.mark.parametrize(
    ("fn", "how"),
    [
        (lambda p, y: (p.argmax(1) == y).float().mean(), "whole-number labels, in PyTorch"),
        (lambda p, y: (p.argmax(1) == y).float().mean().item(), "whole-number labels, in PyTorch"),
        (lambda p, y: np.mean(np.argmax(p, axis=1) == y), "whole-number labels, in NumPy"),
        (
            lambda p, t: p.argmax(1) == t.argmax(1),
            "the values of 28 samples in 3 batches, with one-hot labels",
        ),
        (lambda predicted, y: np.mean(predicted == y), "predicted classes and labels"),
        (in_a_loop, "the means of 28 samples"),
    ],
)
def test_right_accuracies_pass(fn: Any, how: str) -> None:
    result = metric(fn)
    assert result, result
    assert how in result.compared[0]


@pytest.mark.parametrize(
    ("fn", "like", "words"),
    [
        (
            lambda p, y: (p.argmax(1) == y).sum(),
            "accuracy",
            r"counts the right ones: divide by B.*it gives 5; accuracy",
        ),
        (lambda p, y: 100 * np.mean(p.argmax(1) == y), "accuracy", r"in percent"),
        (lambda p, y: np.mean(p.argmax(1) != y), "accuracy", r"the share of wrong ones"),
        (lambda p, y: np.sum(p.argmax(1) == y) / p.shape[1], "accuracy", r"divided by C.*instead of B"),
        (lambda y, p: np.mean(p.argmax(1) == y), "accuracy", r"labels and predictions are swapped"),
        (lambda p, y: np.mean(p.argmax(0) == y), "accuracy", r"the argmax is over dimension 0, the samples"),
        (lambda p, t: ((p - t) ** 2).mean(-1), "brier", r"it is 1/C times what it should be.*for sample"),
        (lambda p, t: p * t, "true_probability", r"returns shape \(12, 10\) for a batch of 12"),
        (lambda _p, _t: None, "accuracy", r"gives None: is its `return` missing"),
        (lambda p, _t: p.missing, "accuracy", r"raises AttributeError"),
        (
            lambda p, t: p[:, 0] * t[:, 0],
            "brier",
            r"the values differ\. Of 12 samples in 10 classes, with one-hot",
        ),
    ],
)
def test_a_mistake_gets_its_sentence(fn: Any, like: str, words: str) -> None:
    result = metric(fn, like)
    assert re.search(words, "; ".join(result.problems)), result


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        metric(in_a_loop, "acuracy")
    with pytest.raises(UsageError, match="fn = 3: not a function"):
        metric(3)  # type: ignore[arg-type]
