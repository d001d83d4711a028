"""Trained on: the data sets of a results folder, found again as its study declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.study.reading import parse

if TYPE_CHECKING:
    from harness.data.datasets import Dataset
    from harness.results import Results


def study_dataset(results: Results, name: str) -> Dataset | None:
    """Give the data set of this name that a folder's study declares; None where it declares none.

    Nothing else of the study is looked at, and no plugin is run.

    Raises:
        UsageError: the declared folder is not there, or not as it should be.
    """
    declared = results.study.get("datasets", {})
    if name not in declared:
        return None
    try:
        study = parse({"study": {"name": "images"}, "datasets": declared}, path=results.folder / "study.toml")
    except UsageError as error:
        raise UsageError(f"the images of {name} are not at hand: {error}") from error
    return study.datasets[name]


def dataset_of(results: Results, name: str) -> Dataset:
    """Give a data set that a folder's trials were trained on: its study's own, or a registered one.

    Raises:
        UsageError: it is not at hand.
    """
    dataset = study_dataset(results, name)
    if dataset is None and name not in datasets:
        raise UsageError(
            f"the images of {name} are not at hand: a plugin registers it, which is not run for pictures"
        )
    return dataset or datasets[name]
