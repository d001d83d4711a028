"""Views: a data set as its files come, or as a study divides it, with what a person may call it.

    seen("mnist")                          # train of 60,000 and test of 10,000, as they come
    seen("mnist", val_fraction=0.1)        # train, val and test, as a study with this setting has them
    seen(harness.load("choices"), dataset="mnist")

An image has one number: its place in the files of train (also where a study puts it into val) or of test.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.axes import plugins
from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, Facts, datasets
from harness.data.images import SHAPES, Images, as_pictures
from harness.data.samples import DATA_SETTINGS, SPLITS, Split, divide, load
from harness.errors import UsageError, did_you_mean, few, in_words
from harness.planning.plan import Plan
from harness.results import Results, TrainedTrial
from harness.results.trained_on import dataset_of
from harness.study.checker import allowed
from harness.study.reading import find, parse
from harness.study.reading import load as load_study
from harness.study.study import Study
from harness.study.trials import Trial, arms, resolve, settings_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.images import RawPixels

DIVIDING = tuple(name for name in DATA_SETTINGS if name != "preprocessing")
"""Settings that decide which images there are and their division."""


@dataclass(frozen=True)
class View:
    """A data set: its facts, and the images, labels, names and numbers of each split that it has.

    `divided` says whether val was taken out of train; if not, there is no split of that name.
    """

    name: str
    facts: Facts
    pixels: Mapping[Split, RawPixels]
    labels: Mapping[Split, NDArray[np.int64]]
    names: Mapping[Split, Sequence[str]]
    numbers: Mapping[Split, NDArray[np.int64]]
    divided: bool = True

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have images, in the order train, val, test."""
        return tuple(split for split in SPLITS if len(self.labels.get(split, ())))

    def counts(self, split: Split) -> NDArray[np.int64]:
        """Count the images of each class in a split, (C,)."""
        return np.bincount(self.labels[split], minlength=len(self.facts.classes))

    def title(self, split: Split) -> str:
        """Name a split in a sentence: "mnist, train"; own images have no splits, and one name."""
        return f"{self.name}, {split}" if "test" in self.labels else self.name

    def class_name(self, label: int) -> str:
        """Name a class in a sentence: "class 7", "Bag"."""
        name = self.facts.classes[label]
        return f"class {name}" if name.isdigit() else name


def view(settings: Settings) -> View:
    """Load the data set that these settings name, divided as they say."""
    return _view(settings.data, load(settings.data), divide(settings))


def as_given(dataset: Dataset) -> View:
    """Load a data set as its files come: train and test, and no val."""
    images = load(dataset)
    places: dict[Split, NDArray[np.int64]] = {
        "train": np.arange(len(images.train_labels)), "test": np.arange(len(images.test_labels))
    }  # fmt: skip
    return _view(dataset, images, places)


def _view(dataset: Dataset, images: Images, index: Mapping[Split, NDArray[np.int64]]) -> View:
    train = images.train_images, images.train_labels, images.train_names
    test = images.test_images, images.test_labels, images.test_names
    pixels: dict[Split, RawPixels] = {}
    labels: dict[Split, NDArray[np.int64]] = {}
    names: dict[Split, Sequence[str]] = {}
    for split, places in index.items():
        of_images, of_labels, of_names = test if split == "test" else train
        whole = len(places) == len(of_labels)  # in their order: nothing is copied
        pixels[split] = of_images if whole else of_images[places]
        labels[split] = of_labels if whole else of_labels[places]
        names[split] = [of_names[i] if of_names else f"index {i}" for i in places]
    return View(dataset.name, dataset.facts, pixels, labels, names, index, "val" in index)


def divisions(study: Study, dataset: str | None = None) -> dict[str, Settings]:
    """Collect the ways in which a study divides its data sets, or one of them: file name -> settings."""
    chosen = [arm.settings for arm in arms(study) if dataset in {None, arm.settings.dataset}]
    if not chosen and dataset is not None:
        chosen = [settings_of(study, {"dataset": dataset})]
    distinct: list[Settings] = []
    for settings in chosen:
        told = {key: settings[key] for key in DIVIDING if key in settings}
        division = Settings(told, settings.study_dataset)
        if division not in distinct:
            distinct.append(division)
    varied = [key for key in DIVIDING[1:] if len({str(division.get(key)) for division in distinct}) > 1]
    return {"-".join([str(d["dataset"]), *(str(d[k]) for k in varied if k in d)]): d for d in distinct}


def named(what: str, overrides: Sequence[str] = ()) -> tuple[str | None, Study]:
    """Find what a person names: a registered data set (and a study that divides it), or a study (and None).

    Raises:
        UsageError: it is neither.
    """
    plugins.load_installed()
    if what in datasets:
        return what, parse({"study": {"name": "show"}, "baseline": {"dataset": what}}, overrides)
    try:
        path = find(what)
    except UsageError as error:
        names = [entry.name for entry in datasets]
        raise UsageError(f"{error}. It is not a data set either: {did_you_mean(what, names)}") from None
    return None, load_study(path, overrides)


def seen(what: Any, split: str | None = None, **settings: Any) -> View:
    """Give the view of what a person names: as its files come, or divided.

    Args:
        what: a data set's name, which comes as it is unless `settings` or the split "val" divide it; a study,
            its name or its plan; a trial, or results, of which the best is meant; a data set of a study
            (`study.dataset("mine")`); or a person's own: an object with images (N, H, W) or (N, H, W, C) and
            labels (N,), or with items (image (H, W), (H, W, C) or (C, H, W), label), as a torch Dataset or
            Subset has them; perhaps with classes and names.
        split: the split that will be asked for.
        settings: as in a study's [baseline]: val_fraction=0.1, val_split="balanced",
            split_seed=1; of a study with several data sets, also dataset="mnist".

    Raises:
        UsageError: there is no such thing, or a study divides several data sets or one in several ways.
        MachineError: the images cannot be had.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"split = {split!r}: {did_you_mean(str(split), SPLITS)}")
    if isinstance(what, View):
        return what
    if isinstance(what, str):
        name, study = named(what)
        if name is not None and not settings and split != "val":
            return as_given(datasets[name])
        return view(_only(study, {"dataset": name, **settings} if name else settings))
    if isinstance(what, Study | Plan):
        return view(_only(what if isinstance(what, Study) else what.study, settings))
    return _object(what, split, settings)


def _object(what: Any, split: str | None, settings: Mapping[str, Any]) -> View:
    """Give the view of a data set, of a trial, or of a person's own object with images and labels."""
    if isinstance(what, Dataset):
        if not settings and split != "val":
            return as_given(what)
        return view(resolve({**_checked(settings), "dataset": what.name}, {what.name: what}))
    if isinstance(what, Trial):
        return view(what.arm.settings | _checked(settings))
    what = what.trial() if isinstance(what, Results) else what
    if isinstance(what, TrainedTrial):
        name, trained_on = str(what.row["dataset"]), what.settings
        given = {**{key: trained_on[key] for key in DIVIDING if key in trained_on}, **_checked(settings)}
        return view(resolve(given, {name: dataset_of(what.results, name)}))
    if settings:
        raise UsageError(f"{', '.join(settings)}: a study divides registered data sets, not own images")
    if hasattr(what, "images") and hasattr(what, "labels"):
        labels = np.asarray(what.labels)
        return _own(what, np.asarray(what.images), labels, _numbers(what, len(labels), "index"))
    if hasattr(what, "__len__") and hasattr(what, "__getitem__"):
        pixels, labels = _items(what)
        return _own(what, pixels, labels, _numbers(what, len(labels), "index", "indices"))
    raise UsageError(
        f"{type(what).__name__} is no data set: allowed are a data set's name, a study, a trial, or an "
        "object with images (N, H, W) or (N, H, W, C) and labels (N,), or with items (image, label)"
    )


def _numbers(what: Any, n: int, *names: str) -> NDArray[Any]:
    """Give the numbers of a person's own images, by the first of these attributes; a list's is a method."""
    given = (getattr(what, name, None) for name in names)
    return np.asarray(next((one for one in given if one is not None and not callable(one)), range(n)))


def _items(what: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Collect the items of a person's own Dataset, or a Subset: images (N, H, W[, C]), labels (N,)."""
    try:
        images, labels = zip(*(what[i] for i in range(len(what))), strict=True)
        pixels = np.stack([np.asarray(image) for image in images])
        label = np.array([operator.index(label) for label in labels])
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the items of {type(what).__name__} are no pairs (image, label), all of one shape: "
            f"{in_words(error)}"
        ) from error
    height_and_width = tuple(getattr(what, "shape", ()))
    shape = getattr(what, "image_shape", (1, *height_and_width))
    if pixels.ndim == 2 and len(shape) == 3 and pixels.shape[1] == math.prod(shape):
        pixels = np.moveaxis(pixels.reshape(-1, *shape), 1, -1)  # a split as a network sees it
    elif pixels.ndim == 4 and pixels.shape[1] == 1:  # one channel, as convolutions take it
        pixels = pixels[:, 0]
    return pixels, label


def _own(what: Any, pixels: NDArray[Any], labels: NDArray[Any], index: NDArray[Any]) -> View:
    pixels = as_pictures(pixels)
    if pixels.ndim not in {3, 4} or labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise UsageError(
            f"images {pixels.dtype} of shape {pixels.shape}, labels {labels.dtype} of shape {labels.shape}: "
            f"allowed are images {SHAPES}, and a whole number an image, (N,)"
        )
    highest = int(labels.max(initial=0))
    classes = tuple(map(str, getattr(what, "classes", ()) or range(highest + 1)))
    if labels.min(initial=0) < 0 or highest >= len(classes):
        raise UsageError(
            f"labels {labels.min()}..{highest}: allowed is 0..{len(classes) - 1}, for {len(classes)} classes"
        )
    name = str(getattr(what, "name", "") or "own images")
    pixels = pixels - min(pixels.min(initial=0), 0)  # standardised ones are around 0
    top = datasets[name].facts.pixel_max if name in datasets else _full(pixels)
    facts = Facts(pixels.shape[1:], classes, len(labels), 0, top, "")
    names = list(map(str, getattr(what, "names", ()) or (f"index {i}" for i in index)))
    return View(
        name, facts, {"train": pixels}, {"train": labels.astype(np.int64)}, {"train": names},
        {"train": index}, divided=False,
    )  # fmt: skip


def _full(pixels: NDArray[Any]) -> float:
    """Return the value of a full pixel of own images."""
    highest = float(pixels.max(initial=1))
    return 255.0 if pixels.dtype == np.uint8 and highest > 16 else highest


def _only(study: Study, settings: Mapping[str, Any]) -> Settings:
    """Return the one division of a study that settings leave.

    Raises:
        UsageError: a setting is unknown, or several divisions are left.
    """
    name = settings.get("dataset")
    if name is not None:
        study.dataset(str(name))
    changed = _checked({key: value for key, value in settings.items() if key != "dataset"})
    found = [settings_of(study, {**division, **changed}) for division in divisions(study, name).values()]
    if len({str([division.get(key) for key in DIVIDING]) for division in found}) > 1:
        names = list(divisions(study, name))
        raise UsageError(
            f"study {study.name} divides its data in {len(names)} ways ({few(names)}): say which one, such "
            f"as dataset={found[0].dataset!r}, val_fraction=.. or val_split=.."
        )
    return found[0]


def _checked(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check settings of the data as a study file's; raise UsageError for others."""
    checked = {}
    for name, value in settings.items():
        if name not in DIVIDING:
            raise UsageError(
                f"{name} = {value!r}: not an argument of this function and not a setting of the data; "
                f"{did_you_mean(name, DIVIDING)}"
            )
        checked[name] = allowed(name, value)
    return checked


def label_of(view: View, given: str | int) -> int:
    """Find the label of a class by its name, or else by its number.

    Raises:
        UsageError: there is no such class.
    """
    classes, text = view.facts.classes, str(given)
    if text in classes:
        return classes.index(text)
    if text.isascii() and text.isdigit() and int(text) < len(classes):
        return int(text)
    raise UsageError(f"label {text!r}: {view.name} has no such class: {did_you_mean(text, classes)}")


def label_counts(view: View, split: Split | None = None) -> pd.DataFrame:
    """Tabulate the images of each class: split, label, class, images, share (of the split's images)."""
    return pd.concat(list(_counted(view, split)), ignore_index=True)


def _counted(view: View, split: Split | None) -> Iterator[pd.DataFrame]:
    for name in [split] if split else view.splits:
        counts = view.counts(existing(view, name))
        columns = {"label": range(len(counts)), "class": view.facts.classes, "images": counts}
        yield pd.DataFrame({"split": name, **columns, "share": counts / max(counts.sum(), 1)})


def existing(view: View, split: str) -> Split:
    """Return a split that a view has images of.

    Raises:
        UsageError: it has none.
    """
    if split in view.splits:
        return split
    why = "has no images" if split in SPLITS else did_you_mean(split, SPLITS)
    raise UsageError(f"{view.name}: split {split!r} {why}; there are {', '.join(view.splits)}")
