"""Exports of images with channels and of 16 bits, as Pillow and NumPy read them and as they are read back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import colour_digits
import numpy as np
import pytest
from PIL import Image

from harness.data.datasets import Dataset
from harness.errors import UsageError
from harness.exporting import image_files
from harness.study.reading import parse

TINTED, DEEP = colour_digits.data_set("tinted"), colour_digits.deep("deep")
DEEP_GREY = colour_digits.data_set("deep_grey", lambda x: x.astype(np.uint16) * 4095 + 1, 65535)
TWO = colour_digits.data_set("two", colour_digits.in_two_channels, 16)
PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.mark.parametrize(
    ("dataset", "form"),
    [
        *[(TINTED, form) for form in image_files.FORMATS],
        *[(DEEP_GREY, form) for form in ("png", "npy")],
        (DEEP, "npy"),
        *[(TWO, form) for form in ("npy", "idx")],
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_an_export_is_read_back_unchanged(dataset: Dataset, form: Any, tmp_path: Path) -> None:
    table = image_files.export(dataset, form, tmp_path / "out")
    (copy,) = parse({"study": {"name": "own"}, **tomllib.loads(table)}).datasets.values()
    images, original = copy.load(), dataset.load()
    for part in PARTS:
        got, wanted = getattr(images, part), getattr(original, part)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    assert (copy.facts.digest, copy.facts.pixel_max) == (dataset.facts.digest, dataset.facts.pixel_max)
    assert (copy.facts.shape, copy.facts.classes) == (dataset.facts.shape, dataset.facts.classes)


@pytest.mark.parametrize(("dataset", "mode"), [(TINTED, "RGB"), (DEEP_GREY, "I;16")], ids=["8 bits", "16"])
def test_pillow_reads_the_pixels_of_an_exported_png(dataset: Dataset, mode: str, tmp_path: Path) -> None:
    image_files.export(dataset, "png", tmp_path)
    images = dataset.load()
    for i in (0, 700, 1436):
        with Image.open(tmp_path / "train" / f"{images.train_labels[i]}_{i:06d}.png") as picture:
            assert picture.mode == mode
            np.testing.assert_array_equal(np.asarray(picture), images.train_images[i])


def test_an_idx_file_of_colours_has_four_axes(tmp_path: Path) -> None:
    image_files.export(TINTED, "idx", tmp_path)
    content = (tmp_path / "t10k-images-idx4-ubyte").read_bytes()
    assert content[:4] == bytes([0, 0, 8, 4])
    assert np.frombuffer(content[4:20], ">u4").tolist() == [360, 8, 8, 3]
    assert content[20:] == TINTED.load().test_images.tobytes()


@pytest.mark.parametrize(
    ("dataset", "form", "why"),
    [
        (DEEP, "png", "deep: its images are 8 x 8 pixels in 3 channels in uint16, and PNG files keep grey"),
        (TWO, "png", "two: its images are 8 x 8 pixels in 2 channels in uint8, and PNG files keep grey"),
        (DEEP, "idx", r"IDX files have no unsigned numbers of 16 bits\. Choose npy"),
        (DEEP_GREY, "idx.gz", "in uint16, and IDX files have no"),
    ],
)
def test_what_a_format_cannot_keep_is_refused_before_anything_is_written(
    dataset: Dataset, form: Any, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=why):
        image_files.export(dataset, form, tmp_path / "out")
    assert not (tmp_path / "out").exists()
