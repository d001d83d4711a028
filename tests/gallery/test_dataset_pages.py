"""A look at data: the right images under the right names, and words that the counts bear out."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from harness.data.datasets import Facts, datasets
from harness.data.samples import SPLITS
from harness.errors import MachineError, UsageError
from harness.exporting import image_files
from harness.gallery import dataset_pages, views
from harness.gallery.image_choice import ImageChoice
from harness.gallery.views import View
from harness.study.reading import parse
from harness.study.study import Study

DIGITS = datasets["digits"].load()


def class_figure(view: View, label: int, split: str, count: int, seed: int) -> Figure:
    """Random images of a class, each under its name."""
    return dataset_pages.chosen_figure(ImageChoice(split, label, count=count, seed=seed).of(view), "name")


@pytest.fixture
def digits(study_of: Callable[..., Study]) -> View:
    (settings,) = views.divisions(study_of()).values()
    return views.view(settings)


def toy(train: list[int], val: list[int], test: list[int], names: tuple[str, ...]) -> View:
    """A data set with so many images of each class, each image full of its label."""
    labels = {
        split: np.repeat(np.arange(len(names)), counts)
        for split, counts in zip(SPLITS, (train, val, test), strict=True)
    }
    pixels = {
        split: np.broadcast_to(of[:, None, None], (len(of), 2, 3)).astype(np.uint8)
        for split, of in labels.items()
    }
    indices = {split: [f"index {i}" for i in range(len(of))] for split, of in labels.items()}
    facts = Facts((2, 3), names, sum(train) + sum(val), sum(test), 255, "")
    numbers = {split: np.arange(len(of)) for split, of in labels.items()}
    return View("toy", facts, pixels, labels, indices, numbers)


def shown_tiles(figure: Figure) -> list[tuple[str, NDArray[np.uint8]]]:
    """Each image of a figure, and what is written above it."""
    return [(ax.get_title(), np.asarray(picture(ax).get_array())) for ax in figure.axes if ax.images]


def picture(ax: Axes) -> AxesImage:
    (image,) = ax.images
    return image


def index(title: str) -> int:
    return int(title.removeprefix("index "))


def test_a_view_has_every_image_once_under_its_own_index(digits: View) -> None:
    found = sorted(index(name) for split in ("train", "val") for name in digits.names[split])
    assert found == list(range(len(DIGITS.train_labels)))
    for split in SPLITS:
        images, labels = (
            (DIGITS.test_images, DIGITS.test_labels)
            if split == "test"
            else (DIGITS.train_images, DIGITS.train_labels)
        )
        at = [index(name) for name in digits.names[split]]
        np.testing.assert_array_equal(digits.pixels[split], images[at])
        np.testing.assert_array_equal(digits.labels[split], labels[at])
        np.testing.assert_array_equal(digits.counts(split), np.bincount(labels[at], minlength=10))


@pytest.mark.parametrize("split", SPLITS)
def test_images_of_a_class_are_of_it_in_the_split_and_named_in_a_5_by_2_grid(
    split: Any, digits: View
) -> None:
    figure = class_figure(digits, 7, split, 10, 0)
    original = DIGITS.test_images if split == "test" else DIGITS.train_images
    labels = DIGITS.test_labels if split == "test" else DIGITS.train_labels
    images = shown_tiles(figure)
    assert len({title for title, _ in images}) == 10
    for title, image in images:
        assert title in digits.names[split]
        assert labels[index(title)] == 7
        np.testing.assert_array_equal(image, original[index(title)])
    gridspec = figure.axes[0].get_subplotspec()
    assert gridspec is not None
    assert (gridspec.get_gridspec().ncols, gridspec.get_gridspec().nrows) == (5, 2)
    assert picture(figure.axes[0]).get_clim() == (0, 16)


def test_a_seed_draws_the_same_images_again_and_another_one_others(digits: View) -> None:
    titles = [[t for t, _ in shown_tiles(class_figure(digits, 3, "train", 10, seed))] for seed in (0, 0, 1)]
    assert titles[0] == titles[1] != titles[2]


def test_fewer_images_than_asked_for_are_all_shown() -> None:
    few = toy([9, 3], [1, 0], [2, 2], ("a", "b"))
    figure = class_figure(few, 1, "train", 10, 0)
    assert len(shown_tiles(figure)) == 3
    assert "all 3 images" in figure.get_suptitle()
    with pytest.raises(UsageError, match="no image of b in toy, val; choose another label or split"):
        class_figure(few, 1, "val", 10, 0)


def test_the_grid_shows_evenly_spaced_train_images_with_labels(digits: View) -> None:
    figure = dataset_pages.grid_figure(digits)
    images, total = shown_tiles(figure), len(digits.labels["train"])
    assert len(images) == 18
    places = [
        next(i for i in range(total) if (digits.pixels["train"][i] == image).all()) for _, image in images
    ]
    assert places[0] == 0
    assert places[-1] == total - 1
    assert set(np.diff(places)) <= {(total - 1) // 17, (total - 1) // 17 + 1}
    assert [title for title, _ in images] == [f"Label: {digits.labels['train'][i]}" for i in places]


def test_the_row_has_one_image_a_class_under_its_name(digits: View) -> None:
    for label, (title, image) in enumerate(shown_tiles(dataset_pages.row_figure(digits, 0))):
        assert title == str(label)
        of_class = digits.pixels["train"][digits.labels["train"] == label]
        assert (of_class == image).all(axis=(1, 2)).any()
    assert len(shown_tiles(dataset_pages.row_figure(digits, 0))) == 10


def test_the_row_of_many_classes_says_how_many_it_shows() -> None:
    many = toy([1] * 60, [1] * 60, [1] * 60, tuple(f"kind {i}" for i in range(60)))
    figure = dataset_pages.row_figure(many, 0)
    assert len(shown_tiles(figure)) == 50
    assert "of 50 classes" in figure.get_suptitle()


def test_label_counts_are_bars_side_by_side(digits: View) -> None:
    figure = dataset_pages.counts_figure(digits)
    assert [ax.get_title() for ax in figure.axes] == [
        "train: 1,293 images",
        "val: 144 images",
        "test: 360 images",
    ]
    for ax, split in zip(figure.axes, SPLITS, strict=True):
        widths = [patch.get_width() for patch in ax.patches]  # type: ignore[attr-defined]
        assert widths == digits.counts(split).tolist()
        assert [text.get_text() for text in ax.texts] == [str(n) for n in digits.counts(split)]
    assert "label counts" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("train", "val", "test", "words"),
    [
        ([6, 6], [1, 1], [2, 2], "train is balanced: 6 images of each class. val is balanced: 1 image of"),
        ([100, 104], [1, 1], [2, 2], "train is balanced: 100 images of cat to 104 of dog, 1.04 times"),
        ([100, 140], [1, 1], [2, 2], "train is nearly balanced: 100 images of cat to 140 of dog, 1.40 times"),
        ([6, 2], [1, 1], [2, 2], "train is unbalanced: 2 images of dog to 6 of cat, 3.00 times as many."),
        ([6, 2], [3, 2], [2, 2], "val is balanced: 2 images of dog to 3 of cat"),
        ([6, 2], [0, 0], [2, 2], "No val images."),
        ([6, 2], [1, 1], [0, 5], "test is unbalanced: no image of cat, 5 of dog."),
        (
            [6, 2],
            [1, 1],
            [1, 3],
            "guessing cat would be right on 25.0\u00a0% of test (equal shares: 50.0\u00a0%)",
        ),
        ([6, 2], [3, 1], [1, 3], "val has train's shares. test has train's shares to within 50.00 points"),
    ],
)
def test_the_word_on_balance_is_what_the_counts_say(
    train: list[int], val: list[int], test: list[int], words: str
) -> None:
    assert words in dataset_pages.balance(toy(train, val, test, ("cat", "dog")))


def test_names_are_shown_as_they_are_and_long_ones_cut_in_the_middle() -> None:
    strange = toy([1, 1], [1, 1], [1, 1], ("$x^2_$", "a name that is far too long for one image"))
    titles = [title for title, _ in shown_tiles(dataset_pages.row_figure(strange, 0))]
    assert titles == ["$x^2_$", "a name tha\u2026one image"]
    figure = dataset_pages.counts_figure(strange)
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(strange.facts.classes)


def test_a_class_is_named_by_name_or_by_number() -> None:
    few = toy([1, 1, 1], [1, 1, 1], [1, 1, 1], ("3", "0", "dog"))
    assert [views.label_of(few, given) for given in ("3", "0", "dog", "2", "1")] == [0, 1, 2, 2, 1]
    with pytest.raises(UsageError, match="'dgo': toy has no such class: did you mean 'dog'"):
        views.label_of(few, "dgo")
    with pytest.raises(UsageError, match="no such class"):
        views.label_of(few, "7")


def test_a_study_divides_its_data_sets_each_way_once(study_of: Callable[..., Study]) -> None:
    axes = {"val_split": ["stratified", "balanced"], "lr": [0.1, 0.2]}
    found = views.divisions(study_of(axes))
    assert list(found) == ["digits-stratified", "digits-balanced"]
    counts = {name: views.view(settings).counts("val") for name, settings in found.items()}
    assert np.ptp(counts["digits-balanced"]) == 1
    assert list(views.divisions(study_of(), "mnist")) == ["mnist"]


def test_file_names_stand_above_images_where_there_are_some(tmp_path: Path) -> None:
    tables = tomllib.loads(image_files.export(datasets["digits"], "npy", tmp_path))
    study = parse({"study": {"name": "own"}, "baseline": {"dataset": "digits_npy"}, **tables})
    (settings,) = views.divisions(study).values()
    figure = class_figure(views.view(settings), 4, "val", 5, 0)
    for title, image in shown_tiles(figure):
        np.testing.assert_array_equal(image, np.load(tmp_path / "train_imgs" / title))
    assert len(shown_tiles(figure)) == 5


def test_figures_are_written_and_an_unwritable_folder_is_reported(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    asked = dataset_pages.ImageRequest(("counts", "row", "grid"), ImageChoice("test", "7", count=3, seed=0))
    written = [png for _, png in dataset_pages.draw(study_of(), asked, tmp_path / "figures")]
    names = ["digits-counts", "digits-row", "digits-grid", "digits-test-label-7-seed-0"]
    assert [png.name for png in written] == [f"{name}.png" for name in names]
    for png in written:
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "<svg" in png.with_suffix(".svg").read_text(encoding="utf-8")
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="--out"):
        list(dataset_pages.draw(study_of(), asked, tmp_path / "file"))
