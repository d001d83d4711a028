"""The registry of data sets, under the name by which plugins import it: `harness.data.datasets`."""

from harness.data.datasets import DIGITS, Dataset, Facts, datasets
from harness.data.images import Images

__all__ = ["DIGITS", "Dataset", "Facts", "Images", "datasets"]
