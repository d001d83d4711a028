"""The splits of a data set as PyTorch Dataset and DataLoader, for any training loop.

Example:
    >>> from harness.exporting.loaders import loader, split_dataset
    >>> train = split_dataset("digits", "train")
    >>> len(train), train.shape, train[0][0].shape
    (1293, (8, 8), torch.Size([64]))
    >>> x, y = next(iter(loader("digits", "val", preprocessing="signed", batch_size=32)))
    >>> x.shape, y.shape
    (torch.Size([32, 64]), torch.Size([32]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from harness.data.datasets import Dataset, datasets
from harness.data.samples import DATA_SETTINGS, LABEL_SETTINGS, SPLITS, Split, prepare
from harness.data.torch_dataset import SplitDataset, collate
from harness.errors import UsageError, did_you_mean
from harness.settings import CORE, Value
from harness.study.trials import resolve


def split_dataset(dataset: str | Dataset, split: Split, **settings: Any) -> SplitDataset:
    """Make a split of a data set, divided and preprocessed by a study's settings.

    Args:
        dataset: a registered name; or a study's own, `study.dataset("mine")`.
        split: train, val or test.
        settings: as in a study file: preprocessing, val_fraction, val_split, split_seed, label_noise,
            label_noise_seed, each with the study's default. preprocessing may also be a function of your
            own, like the registered ones: (images (N, H, W) in floats, PixelStatistics) -> (N, ..).

    Raises:
        UsageError: the data set, split or setting is unknown, or a value is not allowed.
    """
    if split not in SPLITS:
        raise UsageError(f"split = {split!r}: {did_you_mean(str(split), SPLITS)}")
    apply = settings.pop("preprocessing") if callable(settings.get("preprocessing")) else None
    checked = {name: _checked(name, value) for name, value in settings.items()}
    if isinstance(dataset, str):
        resolved = resolve({"dataset": _registered(dataset), **checked})
    else:
        resolved = resolve({"dataset": dataset.name, **checked}, {dataset.name: dataset})
    data = prepare(resolved, apply=apply)
    return SplitDataset(data[split], resolved.facts.shape, resolved.facts.classes)


def _registered(name: str) -> str:
    """Return the name of a registered data set; raise UsageError for another one."""
    if name not in datasets:
        known = did_you_mean(name, [entry.name for entry in datasets])
        raise UsageError(
            f"unknown dataset {name!r}: {known}. One that a study declares belongs to the study: "
            f"give study.dataset({name!r})"
        )
    return name


def _checked(name: str, value: object) -> Value:
    known = (*DATA_SETTINGS[1:], *LABEL_SETTINGS)
    if name not in known:
        raise UsageError(f"{name} = {value!r}: not a setting of the data; {did_you_mean(name, known)}")
    try:
        return CORE[name].check(value)
    except ValueError as error:
        raise UsageError(f"{name} = {value!r}: allowed: {error}") from error


def loader(
    dataset: str | Dataset,
    split: Split,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    collate_fn: Callable[[Sequence[tuple[Tensor, Tensor]]], Any] = collate,
    **settings: Any,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Make a DataLoader over a split: batches of pixels (B, D) and labels (B,); the last may be smaller.

    Args:
        dataset: as for `split_dataset`.
        split: as for `split_dataset`.
        batch_size: images a batch.
        seed: of the generator that shuffles each epoch; None keeps the order of the data set.
        collate_fn: makes a batch from samples (pixels (D,), label).
        settings: as for `split_dataset`.
    """
    images = split_dataset(dataset, split, **settings)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(
        images, batch_size, shuffle=seed is not None, collate_fn=collate_fn, generator=generator
    )
