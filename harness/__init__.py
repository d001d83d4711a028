"""Ablation studies of small image classifiers that train as stacks and can be believed.

>>> import harness
>>> study = harness.load("choices", ["seeds=2"])
>>> results = harness.run(study)  # doctest: +SKIP
>>> results.trials.groupby("activation").val_accuracy.mean()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.comparison import compare as compare
    from harness.models import load_model as load_model
    from harness.results import Results as Results
    from harness.results import read as read
    from harness.searching.search import search as search
    from harness.study import load as load
    from harness.study import parse as parse
    from harness.torch_data import loader as loader
    from harness.torch_data import split_dataset as split_dataset
    from harness.training import run as run

_HOMES = {
    "Results": "results", "read": "results", "run": "training", "load": "study", "parse": "study",
    "search": "searching.search",
    "compare": "comparison", "load_model": "models", "loader": "torch_data", "split_dataset": "torch_data",
}  # fmt: skip
__all__ = [
    "Results",
    "compare",
    "load",
    "load_model",
    "loader",
    "parse",
    "read",
    "run",
    "search",
    "split_dataset",
]


def __getattr__(name: str) -> Any:
    # On demand, so that `harness --help` imports neither pandas nor torch.
    if name in _HOMES:
        return getattr(importlib.import_module(f"harness.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
