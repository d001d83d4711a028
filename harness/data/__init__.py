"""From bytes to batches: data sets are downloaded or read, checked, split and preprocessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.data.arm_settings import Settings as Settings
    from harness.data.datasets import Dataset as Dataset
    from harness.data.images import Images as Images
    from harness.data.samples import Samples as Samples
    from harness.data.samples import prepare as prepare
    from harness.data.torch_dataset import SplitDataset as SplitDataset

_HOMES = {
    "Dataset": "datasets", "Images": "images", "Samples": "samples", "Settings": "arm_settings",
    "SplitDataset": "torch_dataset", "prepare": "samples",
}  # fmt: skip
__all__ = ["Dataset", "Images", "Samples", "Settings", "SplitDataset", "prepare"]
__getattr__, __dir__ = public_names(__name__, _HOMES)
