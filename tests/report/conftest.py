"""A really trained study whose report has everything: lr as an axis, metrics, weights, diverged trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import report, training
from harness.report import Reading
from harness.study import parse

SWEEP: dict[str, Any] = {
    "study": {"name": "sweep", "seeds": 2, "keep_weights": "best", "metrics": ["brier"]},
    "baseline": {"dataset": "digits", "epochs": 3, "hidden": [16], "lr": 0.3},
    "axes": {
        "lr": [0.03, 0.3, 1e25],
        "activation": ["relu", "tanh"],
        "output": [
            {"name": "logits + CE", "head": "identity", "loss": "ce"},
            {"name": "softmax + QL", "head": "softmax", "loss": "ql"},
            {"name": "logits + QL", "head": "identity", "loss": "ql"},
        ],
    },
}


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "sweep"
    training.train(parse(SWEEP), folder, workers=1)
    return folder


@pytest.fixture
def sweep(sweep_folder: Path) -> Reading:
    return report.read(sweep_folder)
