"""The data sets and their splits as PyTorch Dataset and DataLoader, for any training loop.

Example:
    >>> from harness.exporting.loaders import dataset, loader, split_dataset
    >>> dataset("digits")[1436][0].shape, len(dataset("digits", "test"))
    ((8, 8), 360)
    >>> train = split_dataset("digits", "train")
    >>> len(train), train.shape, train[0][0].shape
    (1293, (8, 8), torch.Size([64]))
    >>> x, y = next(iter(loader("digits", "val", preprocessing="signed", batch_size=32)))
    >>> x.shape, y.shape
    (torch.Size([32, 64]), torch.Size([32]))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from harness import notes
from harness.axes.augmentations import NONE
from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.datasets import Dataset, datasets
from harness.data.preprocessing import count_arguments
from harness.data.samples import DATA_SETTINGS, LABEL_SETTINGS, SPLITS, Data, Split, prepare
from harness.data.torch_dataset import Part, RawDataset, SplitDataset, collate, raw
from harness.engines.augmentation import AugmentedTrain
from harness.engines.base import batch_indices
from harness.engines.outcome import EVALUATION_BATCH
from harness.errors import UsageError, did_you_mean
from harness.exporting.untrained import checked_seed, data_settings, untrained
from harness.planning.plan import Plan
from harness.results import Results, TrainedTrial
from harness.settings import Value
from harness.settings.schema import STREAM_SEEDS
from harness.study.checker import allowed
from harness.study.starts import OF_A_START
from harness.study.study import Study
from harness.study.trials import Arm, Trial, resolve
from harness.text import count

Source: TypeAlias = "str | Dataset | Study | Plan | Trial | TrainedTrial | Results | Path"
"""A registered data set's name; a study's own, `study.dataset("mine")`; or what has settings of data."""
Collate: TypeAlias = Callable[[list[tuple[Tensor, Tensor]]], Any]


def dataset(dataset: Source, split: Part = "all") -> RawDataset:
    """Return a data set as it came: raw images (H, W) or (H, W, C) and int labels, indexable as a list.

    It works with torch's Subset and DataLoader. In "all" the train images come first, then the test images;
    `split_dataset(name, split).index` are numbers in this list, also of test.

    Args:
        dataset: a registered data set, such as "mnist"; a study's own, `study.dataset("mine")`; or a study or
            a trial, whose data set is meant.
        split: "all", "train" or "test", as the data set came; a study's val is a share of train.

    Returns:
        A Dataset of (image, label), with `.images` (N, H, W) or (N, H, W, C), `.labels` (N,), `.classes`,
        `.names` of files. A slice, a list or array of numbers, or of truth values gives a smaller one.

    Raises:
        UsageError: the data set or the split is unknown.
        MachineError: its bytes cannot be had.

    Example:
        >>> image, label = harness.dataset("digits")[15]
        >>> image.shape, image.dtype, label
        ((8, 8), dtype('uint8'), 5)
        >>> images = harness.dataset("digits", "test")
        >>> len(images[images.labels == 7])
        36
    """
    if isinstance(dataset, str):
        dataset = datasets[_registered(dataset)]
    return raw(dataset if isinstance(dataset, Dataset) else data_settings(dataset).data, split)


def split_dataset(dataset: Source, split: Split = "train", **settings: Any) -> SplitDataset:
    """Return a split of a data set as a Dataset, divided and preprocessed by a study's settings.

    Args:
        dataset: a registered name; a study's own, `study.dataset("mine")`; or a study or a trial, whose
            settings of data are meant.
        split: train, val or test.
        settings: as in a study file: preprocessing, val_fraction, val_split, split_seed, label_noise,
            label_noise_seed, each with the study's default. preprocessing may also be a function of your
            own, like the registered ones: of images (N, H, W), or (N, C, H, W) of colour, in floats alone, or
            of them and PixelStatistics (`.mean`, `.sd` of train, `.max`). It gives (N, D) or (N, H, W), which
            are flattened, or (N, C, H, W), which stay as they are.

    Returns:
        A Dataset of (pixels, label), with all of them in `.x` and `.y`, and the images' numbers in `.index`.

    Raises:
        UsageError: the data set, split or setting is unknown, or a value is not allowed; a function raises or
            gives other than finite numbers for each image.

    Example:
        >>> harness.split_dataset("digits", "val", preprocessing=lambda images: images / 16).x.shape
        torch.Size([144, 64])
    """
    resolved, apply = _data_settings(dataset, settings)
    return _split(resolved, split, apply)


def _split(resolved: Settings, split: Split, apply: Callable[..., Any] | None) -> SplitDataset:
    if split not in SPLITS:
        if str(split) == "all":
            raise UsageError("split = 'all': all images, raw, are harness.dataset(name)")
        raise UsageError(f"split = {split!r}: {did_you_mean(str(split), SPLITS)}")
    shapes: list[tuple[int, ...]] = []
    if apply is not None:
        apply = _noting(apply, shapes)
    facts, data = resolved.facts, prepare(resolved, apply=apply)
    item = shapes[0] if shapes and len(shapes[0]) > 2 else ()
    first = facts.train if split == "test" else 0
    return SplitDataset(data[split], facts.shape, facts.classes, first, item, data.shape)


def _noting(apply: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Callable[..., Any]:
    """Wrap a preprocessing anew, so that its results are kept for no later one, and note an image's shape."""

    def noted(result: Any) -> Any:
        shapes.append(np.shape(result)[1:])
        return result

    def of_images(images: Any) -> Any:
        return noted(apply(images))

    def of_both(images: Any, statistics: Any) -> Any:
        return noted(apply(images, statistics))

    noting = of_images if count_arguments(apply) == 1 else of_both
    noting.__name__ = getattr(apply, "__name__", type(apply).__name__)  # errors tell it
    return noting


def _data_settings(dataset: Source, settings: dict[str, Any]) -> tuple[Settings, Callable[..., Any] | None]:
    """Resolve the settings of data, and give the preprocessing that is a function of a person's own."""
    given = dict(settings)
    apply = given.pop("preprocessing") if callable(given.get("preprocessing")) else None
    checked = {name: _checked(name, value) for name, value in given.items()}
    if isinstance(dataset, str):
        return resolve({"dataset": _registered(dataset), **checked}), apply
    if isinstance(dataset, Dataset):
        return resolve({"dataset": dataset.name, **checked}, {dataset.name: dataset}), apply
    base = data_settings(dataset)
    own = {base.dataset: base.study_dataset} if base.study_dataset else {}
    start = {name: base[name] for name in OF_A_START if name in base}
    return resolve({**base, **checked}, own) | start, apply


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
    return allowed(name, value)


class AugmentedSplit(SplitDataset):
    """The train split of a trial that augments it: by (step, place), pixels (D,) and a target (classes,).

    A single place gives the image as it is, and its label.
    """

    def __init__(self, images: SplitDataset, trial: Trial, data: Data) -> None:
        vars(self).update(vars(images))
        self._batches, self._seed = AugmentedTrain(trial.arm.settings, data), trial.step_seed

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
        """Give the images of a step's batch, augmented together."""
        steps, places = zip(*keys, strict=True)
        x, target = self._batches.batch(self._seed, steps[0], np.array(places))
        item = self.x.shape[1:]
        return list(zip(torch.from_numpy(x).view(-1, *item), torch.from_numpy(target), strict=True))


class TrialBatches:
    """The batches of one epoch after the other, as lists of places in a split, as a DataLoader asks for them.

    Args:
        trial: its seed and settings decide the order.
        n: the images of the split.
        limited: end the last epoch where the trial's steps end; epochs beyond it are whole.
        drop_last: leave out a short last batch.
        numbered: give (step, place) in place of a place; steps count from 1.
    """

    def __init__(
        self, trial: Trial, n: int, *, limited: bool, drop_last: bool, numbered: bool = False
    ) -> None:
        settings = trial.arm.settings
        self.numbered = numbered
        self.trial, self.limited, self.drop_last = trial, limited, drop_last
        self.budget = Budget.of(settings, n) if limited else Budget(n, settings.batch_size, 0, ())
        # A trial that continues another begins after that one's last step.
        self.first = self.epoch = self.budget.first // self.budget.steps_per_epoch if limited else 0

    @property
    def beyond(self) -> bool:
        """True where the trial's steps are over before this epoch."""
        return self.limited and self.epoch >= self.budget.epochs

    def _steps(self) -> tuple[int, int]:
        """Return the steps before this epoch, and at its end."""
        per_epoch = self.budget.steps_per_epoch
        start, end = max(self.epoch * per_epoch, self.budget.first), (self.epoch + 1) * per_epoch
        return start, min(end, self.budget.steps) if self.limited and not self.beyond else end

    def __len__(self) -> int:
        return sum(1 for _ in self) if self.drop_last else self._steps()[1] - self._steps()[0]

    def __iter__(self) -> Iterator[list[Any]]:
        start, end = self._steps()
        if start == end:  # a split without images
            return
        batches = batch_indices(self.trial, replace(self.budget, steps=end), start)
        for step, index in enumerate(batches, start + 1):
            if not self.drop_last or len(index) == self.budget.batch_size:
                places = index.tolist()
                yield [(step, place) for place in places] if self.numbered else places


class TrialLoader(DataLoader[tuple[Tensor, Tensor]]):
    """A DataLoader that gives a trial's batches epoch by epoch: each `for` that ends is an epoch.

    A `for` that was broken off, or `next(iter(loader))`, takes nothing away: the epoch begins again.
    """

    def __init__(
        self, images: SplitDataset, batches: TrialBatches, collate_fn: Collate, num_workers: int
    ) -> None:
        self.batches, self._told = batches, False
        super().__init__(
            images, batch_sampler=batches, collate_fn=_Collating(collate_fn), num_workers=num_workers,
            generator=torch.Generator().manual_seed(batches.trial.seed),
        )  # fmt: skip

    @property
    def epoch(self) -> int:
        """The epoch that the next `for` gives, from 0."""
        return self.batches.epoch

    @property
    def epochs(self) -> int:
        """The epochs that the trial trains for, the last of which its steps may cut short.

        Raises:
            UsageError: this is no trial's train split in its own batches.
        """
        if not self.batches.limited:
            raise UsageError("epochs: only a trial's own batches have an end, those of harness.loader(trial)")
        return self.batches.budget.epochs - self.batches.first

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `for` gives, from 0."""
        self.batches.epoch = epoch

    def __iter__(self) -> Any:
        return self._one_epoch(self.epoch)

    def _one_epoch(self, epoch: int) -> Iterator[Any]:
        if self.batches.beyond and not self._told:
            self._told = True
            notes.warn(
                f"the trial's {count(self.epochs, 'epoch')} are over: these batches are of epochs beyond it; "
                "set_epoch(0) goes back to its first"
            )
        yield from super().__iter__()
        self.set_epoch(epoch + 1)

    def __repr__(self) -> str:
        budget = self.batches.budget
        name, sampling = self.batches.trial.arm.settings.dataset, self.batches.trial.arm.settings.sampling
        of = f" of {self.epochs}" if self.batches.limited else ""
        given = f"{self.epoch - self.batches.first}{of} epochs given"
        return (
            f"TrialLoader of {name}: {budget.n:,} images in batches of {budget.batch_size}, "
            f"{sampling}; {given}"
        )


@dataclass(frozen=True)
class _Collating:
    """A person's collate function, which must give something; it can be sent to workers."""

    function: Collate

    def __call__(self, samples: list[tuple[Tensor, Tensor]]) -> Any:
        batch = self.function(samples)
        if batch is None:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise UsageError(
                f"collate_fn {name} gives None for {count(len(samples), 'sample')}: is its `return` missing?"
            )
        return batch


def _check_own(collate_fn: object, num_workers: object) -> None:
    """Raise UsageError where a collate function or a number of workers is none."""
    if collate_fn is not None and not callable(collate_fn):
        raise UsageError(
            f"collate_fn = {collate_fn!r:.80}: allowed: a function of a list of samples, (pixels, label) each"
        )
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
        raise UsageError(f"num_workers = {num_workers!r:.80}: allowed: a whole number from 0 on")


def loader(  # noqa: PLR0913 (a person's keywords)
    dataset: Source,
    split: Split = "train",
    *,
    batch_size: int | None = None,
    seed: int | None = None,
    sampling: str | None = None,
    drop_last: bool = False,
    collate_fn: Collate | None = collate,
    num_workers: int = 0,
    **settings: Any,
) -> TrialLoader:
    """Return a DataLoader over a split: batches of pixels (B, D) and labels (B,); the last may be smaller.

    Of a trial, the train split comes in the trial's own batches, epoch by epoch: each `for` is the next one.
    Where the trial augments its images, they come augmented, and in place of labels there are targets
    (B, classes), which `harness.loss(trial)` and torch's CrossEntropyLoss take as well; with a batch_size or
    sampling that you give, they come as they are.
    Val and test, and the train split of a name without a seed, come in order.

    Args:
        dataset: as for `harness.split_dataset`; a study of one arm, or a trial, gives its batches, too.
        split: as for `harness.split_dataset`.
        batch_size: images a batch; a trial's own for train, 2000 for its val and test; 32 of a name.
        seed: of the order or the draws; those of a trial of this seed. Of a name None keeps the order.
        sampling: "shuffle", "sequential" or "replacement", as in a study file.
        drop_last: leave out a last batch that is smaller.
        collate_fn: makes a batch from a list of samples (pixels (D,), label), in your own way: whatever it
            gives, the loader gives. None is torch's own.
        num_workers: processes that load, as torch's; 0 loads in this one, which is fastest here.
        settings: as for `harness.split_dataset`.

    Raises:
        UsageError: an argument is unknown or not allowed; or as `harness.split_dataset`.

    Example:
        >>> train = harness.loader(trial)  # doctest: +SKIP
        >>> x, y = next(iter(harness.loader("digits", batch_size=200, sampling="replacement", seed=0)))
        >>> x.shape, y.shape
        (torch.Size([200, 64]), torch.Size([200]))
    """
    _check_own(collate_fn, num_workers)
    changes = {"batch_size": batch_size, "sampling": sampling}
    chosen = {name: allowed(name, value) for name, value in changes.items() if value is not None}
    named = isinstance(dataset, str | Dataset)
    given = dataset if isinstance(dataset, str | Dataset) else untrained(dataset)
    base, apply = _data_settings(given, settings)
    if seed is not None:  # of every stream
        own = {name: value for name, value in base.items() if name not in STREAM_SEEDS}
        base = Settings(own, base.study_dataset)
    order = "shuffle" if seed is not None else "sequential"
    usual: dict[str, Value] = {"batch_size": 32, "sampling": order} if named else {}
    if not named and split != "train":
        usual = {"batch_size": EVALUATION_BATCH, "sampling": "sequential"}
    seed = checked_seed(seed if seed is not None else given.seed if isinstance(given, Trial) else 0)
    trial = Trial("", Arm("", base | usual | chosen), seed)
    images = _split(trial.arm.settings, split, apply)
    limited = not named and split == "train" and not chosen
    augments = limited and trial.arm.settings.augmentation != NONE
    if augments:
        images = AugmentedSplit(images, trial, prepare(trial.arm.settings, apply=apply))
    batches = TrialBatches(trial, len(images), limited=limited, drop_last=drop_last, numbered=augments)
    make = default_collate if collate_fn is None else collate_fn
    return TrialLoader(images, batches, make, num_workers)
