"""Ablation studies of small image classifiers that train as stacks and can be believed.

>>> import harness
>>> study = harness.load("choices", ["seeds=2"])
>>> results = harness.run(study)  # doctest: +SKIP
>>> results.trials.groupby("activation").val_accuracy.mean()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness import check as check
    from harness.axes.activations import activations as activations
    from harness.axes.architectures import architectures as architectures
    from harness.axes.augmentations import augmentations as augmentations
    from harness.axes.heads import heads as heads
    from harness.axes.losses import losses as losses
    from harness.axes.metrics import metrics as metrics
    from harness.axes.optimizers import optimizers as optimizers
    from harness.axes.schedules import schedules as schedules
    from harness.comparison import compare as compare
    from harness.comparison import judge as judge
    from harness.comparison.planned_seeds import plan_seeds as plan_seeds
    from harness.comparison.tries.noise import noise as noise
    from harness.comparison.tries.trying import try_ as try_
    from harness.data.datasets import datasets as datasets
    from harness.data.preprocessing import preprocessings as preprocessings
    from harness.exporting.continuing import continue_training as continue_training
    from harness.exporting.loaders import dataset as dataset
    from harness.exporting.loaders import loader as loader
    from harness.exporting.loaders import split_dataset as split_dataset
    from harness.exporting.models import export as export
    from harness.exporting.models import load_model as load_model
    from harness.exporting.opened import open_checkpoint as open_checkpoint
    from harness.exporting.parts import count_parameters as count_parameters
    from harness.exporting.parts import loss as loss
    from harness.exporting.parts import model as model
    from harness.exporting.parts import module_of as module_of
    from harness.exporting.parts import optimizer as optimizer
    from harness.exporting.parts import scheduler as scheduler
    from harness.exporting.running_mean import RunningMean as RunningMean
    from harness.planning.plan import make as plan
    from harness.reporting import figures as figures
    from harness.reporting import tables as tables
    from harness.reporting.live.watching import watch as watch
    from harness.reporting.page import write as report
    from harness.results import Results as Results
    from harness.results import TrainedTrial as TrainedTrial
    from harness.results import read as read
    from harness.results.merging import merge as merge
    from harness.searching.loop import search as search
    from harness.searching.stacked_study import StackedStudy as StackedStudy
    from harness.study.reading import load as load
    from harness.study.reading import parse as parse
    from harness.training.runs import run as run

_HOMES = {
    **{axis: f"axes.{axis}" for axis in (
        "activations", "architectures", "augmentations", "heads", "losses", "metrics", "optimizers",
        "schedules",
    )},
    "check": "check:",
    "datasets": "data.datasets", "preprocessings": "data.preprocessing",
    "load": "study", "parse": "study", "plan": "planning.plan:make", "run": "training",
    "search": "searching", "StackedStudy": "searching",
    "Results": "results", "TrainedTrial": "results", "read": "results",
    "merge": "results.merging",
    "compare": "comparison", "judge": "comparison", "plan_seeds": "comparison.planned_seeds",
    "noise": "comparison.tries.noise",
    "try_": "comparison.tries.trying",
    "figures": "reporting.figures:", "tables": "reporting.tables:", "report": "reporting:write",
    "watch": "reporting.live.watching",
    **dict.fromkeys((
        "RunningMean", "continue_training", "count_parameters", "dataset", "export", "load_model",
        "loader", "loss", "model", "module_of", "open_checkpoint", "optimizer", "scheduler",
        "split_dataset",
    ), "exporting"),
}  # fmt: skip
__all__ = [
    "Results", "RunningMean", "StackedStudy", "TrainedTrial", "activations", "architectures",
    "augmentations", "check", "compare", "continue_training", "count_parameters", "dataset", "datasets",
    "export", "figures", "heads", "judge", "load", "load_model", "loader", "loss", "losses", "merge",
    "metrics", "model", "module_of", "noise", "open_checkpoint", "optimizer",
    "optimizers", "parse", "plan", "plan_seeds", "preprocessings", "read", "report", "run", "scheduler",
    "schedules", "search", "split_dataset", "tables", "try_", "watch",
]  # fmt: skip
# Public names are imported on demand, so that `harness --help` imports neither pandas nor torch.
__getattr__, __dir__ = public_names(__name__, _HOMES)
