"""Rows of pixels of images with channels, and of 16 bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import colour_digits
import numpy as np
import pytest
from PIL import Image

from harness.data import preprocessing
from harness.data.arm_settings import Settings
from harness.data.datasets import Dataset, datasets
from harness.data.preprocessing import PixelStatistics, preprocessings
from harness.data.samples import SPLITS, Data, inputs_of, prepare, shape_of
from harness.errors import UsageError
from harness.planning import parameters, plan
from harness.settings import CORE
from harness.study.reading import parse
from harness.study.study import Study


def settings_of(dataset: Dataset, **settings: Any) -> Settings:
    core = {name: setting.default for name, setting in CORE.items() if setting.default is not None}
    return Settings({**core, "dataset": dataset.name, **settings}, dataset)


def prepared(dataset: Dataset, dtype: Any = np.float64, apply: Any = None, **settings: Any) -> Data:
    return prepare(settings_of(dataset, **settings), dtype, apply)


EXPECTED = {
    "unit": lambda x: x / 255,
    "signed": lambda x: 2 * x / 255 - 1,
    "invert": lambda x: 1 - x / 255,
    "raw": lambda x: x,
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("split", SPLITS)
def test_a_row_has_one_channel_after_the_other(name: str, split: Any) -> None:
    dataset = colour_digits.data_set("tinted")
    data = prepared(dataset, preprocessing=name)
    images, samples = dataset.load(), data[split]
    raw = images.test_images if split == "test" else images.train_images
    assert (data.shape, data.inputs, samples.x.shape[1]) == ((3, 8, 8), 192, 192)
    for place in (0, len(samples.y) - 1):
        bands = Image.fromarray(raw[samples.index[place]], "RGB").split()  # Pillow's red, green and blue
        wanted = [EXPECTED[name](np.asarray(band, np.float64)).ravel() for band in bands]
        np.testing.assert_allclose(samples.x[place], np.concatenate(wanted), rtol=1e-15)


def test_pixels_of_two_channels_are_those_of_two_digits() -> None:
    data = prepared(colour_digits.data_set("two", colour_digits.in_two_channels, 16))
    grey = datasets["digits"].load().train_images / 16
    index = data.train.index
    images = data.train.x.reshape(-1, *data.shape)
    np.testing.assert_array_equal(images[:, 0], grey[index])
    np.testing.assert_array_equal(images[:, 1], grey[(index + 1) % len(grey)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardize_has_a_mean_and_a_spread_of_each_channel(dtype: Any) -> None:
    data = prepared(colour_digits.data_set("tinted"), dtype, preprocessing="standardize")
    images = data.train.x.reshape(-1, 3, 64)
    assert images.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(images.mean((0, 2), dtype=np.float64), 0, atol=10 * eps)
    np.testing.assert_allclose(images.std((0, 2), dtype=np.float64), 1, rtol=10 * eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("split", SPLITS)
def test_a_channel_is_standardized_as_a_grey_data_set_of_it_alone(dtype: Any, split: Any) -> None:
    """To the bit."""
    together = prepared(colour_digits.data_set("tinted"), dtype, preprocessing="standardize")
    for channel in range(3):
        alone = colour_digits.data_set("one", lambda x, c=channel: colour_digits.tinted(x)[..., c])
        x = prepared(alone, dtype, preprocessing="standardize")[split].x
        np.testing.assert_array_equal(together[split].x.reshape(-1, 3, 64)[:, channel], x)


def test_a_channel_that_is_the_same_everywhere_becomes_0() -> None:
    def opaque(grey: Any) -> Any:
        pixels = colour_digits.tinted(grey)
        return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)

    x = prepared(colour_digits.data_set("opaque", opaque), preprocessing="standardize").train.x
    assert not x.reshape(-1, 4, 64)[:, 3].any()
    wanted = prepared(colour_digits.data_set("tinted"), preprocessing="standardize").train.x
    np.testing.assert_array_equal(x[:, :192], wanted)


@pytest.mark.parametrize("shape", [(60, 5, 3), (60, 2, 5, 3)])
def test_statistics_of_16_bits_are_exact(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "COUNTED", 7)  # the images are counted in several goes
    train = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    train.flat[0] = 65535
    found, exact = PixelStatistics(65535, train), train.astype(np.float64)
    assert found.mean == pytest.approx(exact.mean(), rel=1e-14)
    assert found.sd == pytest.approx(exact.std(), rel=1e-14)
    axes = (0, 2, 3) if train.ndim == 4 else (0, 1, 2)
    np.testing.assert_allclose(found.channel_means.ravel(), exact.mean(axes).ravel(), rtol=1e-14)
    np.testing.assert_allclose(found.channel_sds.ravel(), exact.std(axes).ravel(), rtol=1e-14)


def test_16_bits_are_16_bits_up_to_the_network() -> None:
    dataset = colour_digits.deep("deep")
    samples = prepared(dataset, preprocessing="unit").train
    raw = np.moveaxis(dataset.load().train_images, -1, 1)[samples.index].reshape(-1, 192)
    assert set(np.unique(raw % 257)) != {0}, "these are not 8 bits written as 16"
    np.testing.assert_array_equal(samples.x, raw / 65535)
    grey = colour_digits.data_set("grey", lambda x: x.astype(np.uint16) * 4095, 65520)
    np.testing.assert_array_equal(
        prepared(grey, np.float32, preprocessing="standardize").train.x.argsort(),
        prepared(datasets["digits"], np.float32, preprocessing="standardize").train.x.argsort(),
    )


def test_a_preprocessing_sees_channels_and_what_it_gives_is_images_again() -> None:
    seen: list[Any] = []

    def noted(x: Any, pixels: PixelStatistics) -> Any:
        seen.append((x.shape[1:], x.flags.c_contiguous, pixels.train.shape[1:], pixels.channel_means.shape))
        return x / pixels.max

    dataset = colour_digits.data_set("tinted")
    assert prepared(dataset, apply=noted).shape == (3, 8, 8)
    assert set(seen) == {((3, 8, 8), True, (3, 8, 8), (3, 1, 1))}
    grey = prepared(datasets["digits"], apply=noted)
    assert seen[-1] == ((8, 8), True, (8, 8), (1, 1, 1))
    assert grey.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("apply", "shape"),
    [
        (lambda x: x[:, :, 1:7, 2:6], (3, 6, 4)),
        (lambda x: x.mean(1), (1, 8, 8)),
        (lambda x: np.concatenate([x, x], 1), (6, 8, 8)),
        (lambda x: x.reshape(len(x), -1)[:, :10], (1, 1, 10)),
        (lambda x: x.reshape(len(x), -1) / 255, (3, 8, 8)),
        (lambda x: x[:, :2, ..., None], (1, 1, 128)),
    ],
    ids=["cropped", "grey", "more channels", "fewer values", "rows of all values", "five axes"],
)
def test_the_shape_after_an_own_preprocessing(apply: Any, shape: tuple[int, int, int]) -> None:
    dataset = colour_digits.data_set("tinted")
    preprocessings.register("own")(apply)
    settings = settings_of(dataset, preprocessing="own")
    data = prepare(settings)
    assert data.shape == shape_of(settings) == shape
    assert data.inputs == inputs_of(settings) == data.test.x.shape[1] == np.prod(shape)
    images = np.moveaxis(dataset.load().test_images, -1, 1).astype(np.float32)
    np.testing.assert_array_equal(data.test.x, apply(images).reshape(len(images), -1))


def test_shapes_are_known_before_anything_is_read() -> None:
    def never() -> Any:
        raise AssertionError("read")

    facts = colour_digits.data_set("tinted").facts
    unread = Dataset("unread", never, known=facts)
    settings = settings_of(unread)
    assert (shape_of(settings), inputs_of(settings)) == ((3, 8, 8), 192)


def test_shared_pixels_have_a_key_of_their_own_in_each_form() -> None:
    keys = [
        prepared(dataset).train.key
        for dataset in (
            datasets["digits"],
            colour_digits.data_set("tinted"),
            colour_digits.deep("deep"),
            dataclasses.replace(colour_digits.deep("deep"), pixel_max=65536),
        )
    ]
    assert len(set(keys)) == 4
    assert all(keys)


@pytest.mark.parametrize("full", [255, 65535])
def test_a_plan_tries_a_preprocessing_on_images_of_the_sets_shape_and_depth(full: int) -> None:
    colour_digits.register("own_colours", full)
    highest: list[float] = []

    @preprocessings.register("noting")
    def noting(x: Any, pixels: PixelStatistics) -> Any:
        """The brightest channel."""
        highest.append(float(x.max()))
        assert x.shape[1:] == (3, 8, 8)
        return x.max(1) / pixels.max

    @preprocessings.register("centred")
    def centred(x: Any) -> Any:
        """Wrong: it depends on the images beside."""
        return x - x.mean(0)

    def study(name: str) -> Study:
        return parse({"study": {"name": "s"}, "baseline": {"dataset": "own_colours", "preprocessing": name}})

    made = plan.make(study("noting"))
    assert parameters.of_settings(made.trials[0].arm.settings) == 65 * 32 + 33 * 32 + 33 * 10
    assert full / 2 < max(highest) <= full
    with pytest.raises(UsageError, match="'centred': the pixels of one image change with the images"):
        plan.make(study("centred"))
