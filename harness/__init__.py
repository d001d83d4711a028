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
    from harness.axes.activations import activations as activations
    from harness.axes.architectures import architectures as architectures
    from harness.axes.heads import heads as heads
    from harness.axes.losses import losses as losses
    from harness.axes.metrics import metrics as metrics
    from harness.axes.optimizers import optimizers as optimizers
    from harness.axes.schedules import schedules as schedules
    from harness.comparison import compare as compare
    from harness.data.datasets import datasets as datasets
    from harness.data.preprocessing import preprocessings as preprocessings
    from harness.exporting.loaders import loader as loader
    from harness.exporting.loaders import split_dataset as split_dataset
    from harness.exporting.models import load_model as load_model
    from harness.results import Results as Results
    from harness.results import read as read
    from harness.searching.loop import search as search
    from harness.study.study import load as load
    from harness.study.study import parse as parse
    from harness.training.runs import run as run

_HOMES = {
    "Results": "results", "compare": "comparison", "load": "study", "load_model": "models",
    "loader": "torch_data", "parse": "study", "read": "results", "run": "training",
    "search": "searching.search", "split_dataset": "torch_data",
    "activations": "axes.activations", "architectures": "axes.architectures", "datasets": "axes.datasets",
    "heads": "axes.heads", "losses": "axes.losses", "metrics": "axes.metrics",
    "optimizers": "axes.optimizers", "preprocessings": "axes.preprocessing", "schedules": "axes.schedules",
}  # fmt: skip
__all__ = [
    "Results",
    "activations",
    "architectures",
    "compare",
    "datasets",
    "heads",
    "load",
    "load_model",
    "loader",
    "losses",
    "metrics",
    "optimizers",
    "parse",
    "preprocessings",
    "read",
    "run",
    "schedules",
    "search",
    "split_dataset",
]


def __getattr__(name: str) -> Any:
    # On demand, so that `harness --help` imports neither pandas nor torch.
    if name in _HOMES:
        return getattr(importlib.import_module(f"harness.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
