"""Images on pages: contact sheets of data sets, and of a model's predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.lazy import public_names

if TYPE_CHECKING:
    from harness.gallery.dataset_pages import View as View
    from harness.gallery.dataset_pages import view as view
    from harness.gallery.predicted_images import ModelPredictions as ModelPredictions
    from harness.gallery.predicted_images import hardest as hardest

_HOMES = {
    "View": "dataset_pages",
    "view": "dataset_pages",
    "ModelPredictions": "predicted_images",
    "hardest": "predicted_images",
}
__all__ = ["ModelPredictions", "View", "hardest", "view"]
__getattr__ = public_names(__name__, _HOMES)
