"""Whatever a person's function gives, a check answers that it is wrong, and raises nothing."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness import check
from harness.check import CheckResult


def endless(*given: Any) -> Any:
    return endless(*given)


def warns(x: Any, *_more: Any) -> Any:
    warnings.warn("look", stacklevel=1)
    return x * 3


RESULTS: dict[str, Callable[..., Any]] = {
    "text": lambda *_: "x",
    "ragged": lambda *_: [[1.0], [2.0, 3.0]],
    "tuple": lambda *_: (1.0, 2),
    "complex": lambda *_: np.zeros(12, complex),
    "objects": lambda *_: np.array([None] * 12),
    "nan": lambda x, *_: np.full(np.shape(x)[:1], np.nan),
    "inf": lambda x, *_: np.full(np.shape(x), np.inf),
    "empty": lambda *_: np.zeros(0),
    "half precision": lambda x, *_: torch.zeros(np.shape(x)[:1], dtype=torch.float16),
    "bfloat16": lambda x, *_: torch.zeros(tuple(np.shape(x)), dtype=torch.bfloat16),
    "one number": lambda *_: 3.0,
    "division": lambda *_: 1 / 0,
    "generator": lambda *_: (i for i in range(3)),
    "module": lambda *_: torch.nn.ReLU(),
    "no argument": lambda: 3,
    "keyword": lambda *, z: z,
    "other shape": lambda *_: np.zeros((5, 5, 5)),
    "leaves": lambda *_: sys.exit(2),
    "sparse": lambda *_: torch.zeros(12, 10).to_sparse(),
    "no data": lambda *_: torch.zeros(12, device="meta"),
    "in place": lambda x, *_: x.__iadd__(1),
    "endless": endless,
    "warns": warns,
    "huge": lambda *_: 10**400,
}
CHECKS: dict[str, Callable[[Any], CheckResult]] = {
    "loss": check.loss,
    "mean": lambda fn: check.loss(fn, "ql", takes="log_probabilities", reduction="mean"),
    "gradient of a loss": lambda fn: check.loss("ce", gradient=fn),
    "activation": lambda fn: check.activation(fn, "gelu"),
    "derivative": lambda fn: check.activation("tanh", backward=fn),
    "head": check.head,
    "metric": check.metric,
    "optimizer": lambda fn: check.optimizer(lambda p, g, lr: p.__isub__(lr * fn(g)), "sgd"),
    "forward": lambda fn: check.gradient(fn, lambda x: np.full(x.shape, 7.0)),
    "backward": lambda fn: check.gradient(lambda a, b: a @ b, fn, shape=[(2, 3), (3, 2)]),
    "network": lambda fn: check.network(fn, [np.ones((64, 10))], dataset="digits"),
    "loss of a network": lambda fn: check.network(
        lambda p, x, _y: (fn(x), p), [np.ones((64, 10))], dataset="digits"
    ),
    "gradients of a network": lambda fn: check.network(
        lambda p, x, _y: (float((x @ p[0]).sum()), [fn(p[0])]), [np.ones((64, 10))], dataset="digits"
    ),
}


@pytest.mark.parametrize("kind", CHECKS)
def test_a_wrong_result_is_a_problem(kind: str) -> None:
    for name, fn in RESULTS.items():
        result = CHECKS[kind](fn)
        assert not result, name
        assert all(result.problems), name
        assert repr(result).startswith("wrong: ")
