"""Images with channels and of 16 bits: their forms, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import colour_digits
import numpy as np
import pytest

from harness.data.datasets import Dataset, datasets, digest
from harness.data.images import Images, channels_come_first, channels_first, planes, size_in_words, tidied
from harness.errors import UsageError

LABELS = np.array([0, 1])


def images_of(pixels: Any) -> Images:
    """Two images as train and as test."""
    return Images(pixels, LABELS, pixels, LABELS)


def loaded(pixels: Any, pixel_max: float = 255) -> Images:
    return Dataset("two", lambda: images_of(pixels), ("a", "b"), pixel_max).load()


def test_planes_are_the_channels_one_after_the_other() -> None:
    pixels = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    assert planes(pixels).shape == (2, 2, 3, 4)
    for channel in range(2):
        np.testing.assert_array_equal(planes(pixels)[:, channel], pixels[..., channel])
    assert planes(pixels[..., 0]) is not None
    assert planes(pixels[..., 0]).shape == (2, 3, 4)


def test_an_images_shape_and_its_words() -> None:
    assert channels_first((8, 6)) == (1, 8, 6)
    assert channels_first((8, 6, 3)) == (3, 8, 6)
    assert size_in_words((8, 6)) == "8 x 6 pixels"
    assert size_in_words((8, 6, 3)) == "8 x 6 pixels in 3 channels"


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ((9, 3, 32, 32), True), ((9, 1, 28, 28), True), ((9, 3, 32, 10), True),
        ((9, 32, 32, 3), False), ((9, 28, 28, 1), False), ((9, 3, 3, 10), False), ((9, 1, 128, 6), False),
        ((9, 28, 28), False),
    ],
)  # fmt: skip
def test_channels_in_front_are_told_from_many_channels_behind(shape: tuple[int, ...], first: bool) -> None:
    assert channels_come_first(shape) is first


def test_one_channel_is_grey() -> None:
    grey = datasets["digits"].load()
    one = dataclasses.replace(
        grey, train_images=grey.train_images[..., None], test_images=grey.test_images[..., None]
    )
    read = Dataset("one", lambda: one, colour_digits.NAMES, 16)
    assert read.facts.shape == (8, 8)
    assert read.facts.digest == datasets["digits"].facts.digest
    np.testing.assert_array_equal(read.load().train_images, grey.train_images)
    assert tidied(grey) is grey


def test_a_digest_tells_types_shapes_and_channels_apart() -> None:
    bytes_of_colour = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    forms = [
        bytes_of_colour,
        bytes_of_colour.reshape(2, 4, 12),
        bytes_of_colour[..., ::-1],
        bytes_of_colour.astype(np.uint16),
        bytes_of_colour.reshape(2, 4, 12).view(np.uint16),
    ]
    assert len({digest(images_of(pixels)) for pixels in forms}) == len(forms)


def test_a_digest_of_16_bits_is_of_little_endian_numbers_with_their_type() -> None:
    pixels = np.array([[[0, 256]], [[65535, 1]]], ">u2")
    assert loaded(pixels, 65535).train_images.dtype == np.uint16
    part = b"(2, 1, 2)" + b"uint16" + bytes([0, 0, 0, 1, 255, 255, 1, 0]) + LABELS.astype("<i8").tobytes()
    wanted = hashlib.sha256(part + part).hexdigest()
    assert digest(images_of(pixels)) == digest(images_of(pixels.astype("<u2"))) == wanted
    assert Dataset("two", lambda: images_of(pixels), ("a", "b"), 65535).facts.digest == wanted


@pytest.mark.parametrize(
    ("pixels", "pixel_max", "words"),
    {
        "channels first": (
            np.zeros((2, 3, 8, 8), np.uint8),
            255,
            r"behind: images = np\.moveaxis\(images, 1, -1\)",
        ),
        "floats": (np.zeros((2, 8, 8, 3)), 255, r"\(images \* 255\)\.round\(\)\.astype\(np\.uint8\) if"),
        "signed": (np.zeros((2, 8, 8, 3), np.int64), 255, r"images\.astype\(np\.uint8\) if its values are 0"),
        "32 bits": (np.zeros((2, 8, 8), np.uint32), 255, r"got uint32 .*; allowed is uint8 or uint16"),
        "five axes": (np.zeros((2, 2, 2, 2, 2), np.uint8), 255, r"give one array of shape \(N, height"),
        "no channel": (np.zeros((2, 8, 8, 0), np.uint8), 255, "at least one image"),
        "16 bits": (
            np.full((2, 8, 8), 256, np.uint16),
            255,
            "a pixel of 256; pixel_max is 255: .*65535 of uint16",
        ),
    }.values(),
)
def test_other_images_are_refused_with_a_remedy(pixels: Any, pixel_max: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        loaded(pixels, pixel_max)


def test_the_remedy_for_channels_in_front_gives_images_that_are_read() -> None:
    grey = datasets["digits"].load().train_images[:2]
    wrong = np.moveaxis(colour_digits.tinted(grey), -1, 1)
    images = np.moveaxis(wrong, 1, -1)
    np.testing.assert_array_equal(loaded(images).train_images, colour_digits.tinted(grey))


def test_facts_of_a_colour_set() -> None:
    facts = colour_digits.data_set("tinted").facts
    assert (facts.shape, facts.image_shape) == ((8, 8, 3), (3, 8, 8))
    assert colour_digits.deep("deep").facts.pixel_max == 65535
    assert colour_digits.data_set("two", colour_digits.in_two_channels, 16).facts.image_shape == (2, 8, 8)


def test_equal_colour_images_are_said() -> None:
    images = np.zeros((2, 2, 2, 3), np.uint8)
    assert Dataset("black", lambda: images_of(images), ("a", "b")).facts.warnings == (
        "all 2 images of train are the same, every pixel 0: nothing can be learnt from them",
        "all 2 images of test are the same, every pixel 0: nothing can be learnt from them",
    )
