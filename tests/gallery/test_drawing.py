"""Images in the colours that they have, as Pillow has them."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import colour_digits
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import harness
from harness.data.datasets import datasets
from harness.gallery import contact_sheet, dataset_pages, views
from harness.gallery.contact_sheet import Tile
from harness.gallery.drawing import draw_image, drawn_size, in_colours

GREY = datasets["digits"].load().train_images
COLOUR = colour_digits.tinted(GREY)
ZOOM = 10


def drawn(image: Any, pixel_max: float, **how: Any) -> Any:
    """Draw an image alone, and give the colours (H, W, 3) in the middle of its pixels on the page, 0..255."""
    height, width = image.shape[:2]
    figure = Figure((width * ZOOM / 100, height * ZOOM / 100), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    draw_image(ax, image, pixel_max, interpolation="nearest", aspect="auto", **how)
    ax.set_axis_off()
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    page = np.asarray(Image.open(written))
    return page[ZOOM // 2 :: ZOOM, ZOOM // 2 :: ZOOM, :3].astype(int)


def test_a_colour_image_on_a_page_is_the_picture_of_its_file() -> None:
    picture = Image.fromarray(COLOUR[3], "RGB")
    np.testing.assert_array_equal(drawn(COLOUR[3], 255), np.asarray(picture))
    turned = np.asarray(picture.point(lambda value: 255 - value))
    np.testing.assert_array_equal(drawn(COLOUR[3], 255, turned=True), turned)


def test_16_bits_are_drawn_by_their_upper_8() -> None:
    deep = colour_digits.tinted(GREY[:4], 65535)[3]
    np.testing.assert_allclose(drawn(deep, 65535), deep / 257, atol=1)
    grey = GREY[3].astype(np.uint16) * 4095
    np.testing.assert_array_equal(drawn(grey, 65520), drawn(GREY[3], 16))


def test_a_grey_image_has_equal_red_green_and_blue() -> None:
    page = drawn(GREY[3], 16)
    assert (page == page[..., :1]).all()
    np.testing.assert_allclose(page[..., 0], GREY[3] * 255.0 / 16, atol=1)
    np.testing.assert_allclose(drawn(GREY[3], 16, turned=True), 255 - page, atol=1)


def test_two_channels_are_red_and_green_and_a_fourth_is_not_seen() -> None:
    two = colour_digits.in_two_channels(GREY)[3]
    colours = in_colours(two, 16)
    np.testing.assert_array_equal(colours[..., 0], GREY[3] / 16)
    np.testing.assert_array_equal(colours[..., 1], GREY[4] / 16)
    assert not colours[..., 2].any()
    four = np.concatenate([COLOUR[3], np.full((8, 8, 1), 7, np.uint8)], -1)
    np.testing.assert_array_equal(in_colours(four, 255), COLOUR[3] / 255)


def shown(ax: Axes) -> Any:
    """The array that the one image of some Axes was given."""
    (image,) = ax.images
    return image.get_array()


def test_tiles_and_grids_keep_colours_and_the_shape_of_an_image() -> None:
    wide = np.concatenate([COLOUR[0], COLOUR[1]], axis=1)  # 8 x 16
    figure = contact_sheet.sheet([Tile(wide, [("two", "black")])], 3, "wide", 255)
    (ax,) = figure.axes
    np.testing.assert_array_equal(shown(ax), wide / 255)
    left, right, bottom, top = ax.images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)
    grid = dataset_pages.images_figure(COLOUR[:3], ["a", "b", "c"], 3, "three", 255)
    for ax, image in zip(grid.axes, COLOUR[:3], strict=True):
        np.testing.assert_array_equal(shown(ax), image / 255)


def test_figures_of_a_registered_colour_set() -> None:
    colour_digits.register()
    for place, ax in enumerate(harness.figures.images("tinted", number=[5, 6])):
        np.testing.assert_array_equal(shown(ax), COLOUR[5 + place] / 255)
    _, ax = harness.figures.images("tinted", number=[5, 6], ink="dark")
    np.testing.assert_array_equal(shown(ax), 1 - COLOUR[6] / 255)


def test_own_probabilities_stand_beside_colour_images() -> None:
    given = np.array([[0.75, 0.25], [0.5, 0.5]])
    for images in (COLOUR[:2], np.moveaxis(COLOUR[:2], -1, 1)):
        bars = harness.figures.probabilities(given, images=images)
        page = bars[0].figure.axes[0]
        for image, drawn_one in zip(COLOUR[:2], page.images, strict=True):
            np.testing.assert_array_equal(drawn_one.get_array(), image / COLOUR[:2].max())
    ax = harness.figures.probabilities(given[0], images=COLOUR[0])
    np.testing.assert_array_equal(ax.figure.axes[0].images[0].get_array(), COLOUR[0] / COLOUR[0].max())


class Items(list[Any]):
    """A person's own Dataset: a list of (image, label)."""


@pytest.mark.parametrize(
    "given",
    {
        "arrays": lambda: SimpleNamespace(images=COLOUR[:9], labels=np.arange(9)),
        "items": lambda: Items(zip(COLOUR[:9], range(9), strict=True)),
        "tensors": lambda: Items((torch.from_numpy(x).permute(2, 0, 1), i) for i, x in enumerate(COLOUR[:9])),
        "raw": lambda: harness.dataset("tinted")[:9],
    }.items(),
    ids=lambda given: given[0],
)
def test_own_colour_images_are_seen(given: Any) -> None:
    colour_digits.register()
    view = views.seen(given[1]())
    np.testing.assert_array_equal(view.pixels["train"], COLOUR[:9])
    assert view.facts.shape == (8, 8, 3)
    assert view.facts.pixel_max == 255


def test_a_split_as_a_network_sees_it_is_seen_in_colours() -> None:
    colour_digits.register()
    split = harness.split_dataset("tinted", "val")
    view = views.seen(split)
    np.testing.assert_allclose(view.pixels["train"], COLOUR[split.index] / np.float32(255), rtol=1e-6)


def test_an_image_of_one_line_is_drawn_as_a_curve() -> None:
    row = np.array([[0, 255, 51]], np.uint8)
    cases: tuple[tuple[dict[str, Any], list[int], list[float]], ...] = (
        ({}, [0, 1, 2], [0, 255, 51]),
        ({"extent": (4, 8, 3, 1)}, [4, 6, 8], [3, 1, 2.6]),
    )
    for how, x, y in cases:
        ax = Figure().add_subplot()
        draw_image(ax, row, 255, interpolation="none", **how)
        assert not ax.images
        assert np.allclose(ax.lines[0].get_xydata(), np.transpose([x, y]))
    np.testing.assert_allclose(drawn_size(row), (1.2, 3))
    assert drawn_size(GREY[0]) == (8, 8)
