"""Exports: a trial's parts in a person's own hands, as a PyTorch module, DataLoaders, image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.exporting.continuing import continue_training as continue_training
    from harness.exporting.loaders import dataset as dataset
    from harness.exporting.loaders import loader as loader
    from harness.exporting.loaders import split_dataset as split_dataset
    from harness.exporting.models import Exported as Exported
    from harness.exporting.models import export as export
    from harness.exporting.models import load_model as load_model
    from harness.exporting.opened import Checkpoint as Checkpoint
    from harness.exporting.opened import open_checkpoint as open_checkpoint
    from harness.exporting.parts import count_parameters as count_parameters
    from harness.exporting.parts import loss as loss
    from harness.exporting.parts import model as model
    from harness.exporting.parts import module_of as module_of
    from harness.exporting.parts import optimizer as optimizer
    from harness.exporting.parts import scheduler as scheduler
    from harness.exporting.running_mean import RunningMean as RunningMean

_HOMES = {
    **dict.fromkeys(("Exported", "export", "load_model"), "models"),
    **dict.fromkeys(("dataset", "loader", "split_dataset"), "loaders"),
    "continue_training": "continuing",
    **dict.fromkeys(("Checkpoint", "open_checkpoint"), "opened"),
    **dict.fromkeys(("count_parameters", "loss", "model", "module_of", "optimizer", "scheduler"), "parts"),
    "RunningMean": "running_mean",
}
__all__ = [
    "Checkpoint", "Exported", "RunningMean", "continue_training", "count_parameters", "dataset", "export",
    "load_model", "loader", "loss", "model", "module_of", "open_checkpoint", "optimizer", "scheduler",
    "split_dataset",
]  # fmt: skip
__getattr__, __dir__ = public_names(__name__, _HOMES)
