"""Exports: a trial as a PyTorch module, splits as DataLoaders, data sets as image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.exporting.loaders import loader as loader
    from harness.exporting.loaders import split_dataset as split_dataset
    from harness.exporting.models import Exported as Exported
    from harness.exporting.models import export as export
    from harness.exporting.models import load_model as load_model
    from harness.exporting.opened import Checkpoint as Checkpoint
    from harness.exporting.opened import open_checkpoint as open_checkpoint

_HOMES = {
    **dict.fromkeys(("Exported", "export", "load_model"), "models"),
    **dict.fromkeys(("loader", "split_dataset"), "loaders"),
    **dict.fromkeys(("Checkpoint", "open_checkpoint"), "opened"),
}
__all__ = ["Checkpoint", "Exported", "export", "load_model", "loader", "open_checkpoint", "split_dataset"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
