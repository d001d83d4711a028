"""Augmentations: right values, worked by hand or against another library, on tiny and on real images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from harness.axes.augmentations import augmentations, mixed, rotated, shifted
from harness.check import component
from harness.data.datasets import datasets
from harness.settings import Setting


def images(count: int = 6, dtype: Any = np.float64) -> Any:
    """Real images (B, 1, 8, 8), 0..16."""
    return datasets["digits"].load().train_images[:count, None].astype(dtype)


def target(count: int = 6, dtype: Any = np.float64) -> Any:
    return np.eye(3, dtype=dtype)[np.arange(count) % 3]


def augment(name: str, x: Any, t: Any, seed: int = 0, **settings: Any) -> Any:
    return augmentations[name].apply(x.copy(), t.copy(), np.random.default_rng(seed), **settings)


EVERY = pytest.mark.parametrize("name", [entry.name for entry in augmentations])


def test_a_shift_moves_rows_and_columns_and_fills_with_empty_pixels() -> None:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    one = np.array([1])
    assert shifted(x, one, 0 * one)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert shifted(x, -one, one)[0, 0].tolist() == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]
    assert shifted(x, 0 * one, -2 * one)[0, 0].tolist() == [[3, 0, 0], [6, 0, 0], [9, 0, 0]]
    assert not shifted(x, 7 * one, one).any()
    both = np.concatenate([x, 10 * x]).repeat(2, axis=1)  # each image by itself, its channels together
    got = shifted(both, np.array([1, 0]), np.array([0, 1]))
    assert got[0, 1].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert got[1, 0].tolist() == [[0, 10, 20], [0, 40, 50], [0, 70, 80]]


def test_shifts_are_whole_pixels_up_to_the_setting_and_all_equally_likely() -> None:
    x = np.zeros((5000, 1, 9, 9))
    x[:, :, 4, 4] = 1
    moved, _ = augment("shift", x, target(5000), shift_pixels=2)
    counts = moved.sum((0, 1))
    assert counts[2:7, 2:7].sum() == 5000
    assert counts[2:7, 2:7].min() > 5000 / 25 - 60
    assert counts[2:7, 2:7].max() < 5000 / 25 + 60


def test_a_flip_mirrors_left_to_right_with_its_probability() -> None:
    x = images(400)
    flipped, t = augment("flip", x, target(400), flip_probability=0.25)
    mirrored = (flipped == x[..., ::-1]).all((1, 2, 3))
    assert ((flipped == x).all((1, 2, 3)) | mirrored).all()
    assert 70 <= mirrored.sum() <= 130
    assert (t == target(400)).all()
    always, _ = augment("flip", x, target(400), flip_probability=1.0)
    assert (always == x[..., ::-1]).all()


def test_a_quarter_turn_is_exact_and_counterclockwise() -> None:
    x = images(3)
    turned = rotated(x, np.array([90.0, 180.0, 0.0]))
    for got, turns, image in zip(turned, (1, 2, 0), x, strict=True):
        np.testing.assert_allclose(got[0], np.rot90(image[0], turns), atol=1e-12)
    assert (turned[2] == x[2]).all()


@pytest.mark.parametrize("degrees", [-31.0, 7.0, 45.0])
@pytest.mark.parametrize("shape", [(8, 8), (5, 8)])
def test_a_turn_interpolates_as_scipy_does(degrees: float, shape: tuple[int, int]) -> None:
    x = images(4)[:, :, : shape[0], : shape[1]]
    expected = ndimage.rotate(
        np.pad(x, ((0, 0), (0, 0), (9, 9), (9, 9))), degrees, (2, 3), reshape=False, order=1
    )
    expected = expected[:, :, 9:-9, 9:-9]
    np.testing.assert_allclose(rotated(x, np.full(4, degrees)), expected, atol=1e-9)
    np.testing.assert_allclose(rotated(x.astype(np.float32), np.full(4, degrees)), expected, atol=1e-4)


def test_turns_are_of_each_image_by_itself_within_the_setting() -> None:
    x = images(6)
    angles = (2 * np.random.default_rng(3).random(6) - 1) * 25
    got, _ = augment("rotate", x, target(), seed=3, rotate_degrees=25.0)
    for image, angle, turned in zip(x, angles, got, strict=True):
        np.testing.assert_allclose(turned, rotated(image[None], np.array([angle]))[0], atol=1e-12)
    assert len({round(float(angle), 6) for angle in angles}) == 6


def test_erasing_empties_one_rectangle_of_the_share_that_is_asked_for() -> None:
    x = np.ones((2000, 2, 20, 30))
    got, _ = augment("erase", x, target(2000), erase_probability=0.5, erase_share=[0.1, 0.3])
    empty = got[:, 0] == 0
    assert (got[:, 1] == got[:, 0]).all()  # all channels of a pixel
    erased = empty.any((1, 2))
    assert 900 <= erased.sum() <= 1100
    rows, columns = empty[erased].any(2), empty[erased].any(1)
    assert (empty[erased] == rows[:, :, None] & columns[:, None, :]).all()  # a rectangle ..
    for side in (rows, columns):
        assert (
            np.abs(np.diff(np.pad(side, ((0, 0), (1, 1))).astype(int))).sum(1) == 2
        ).all()  # .. in one piece
    share = empty[erased].mean((1, 2))
    assert 0.08 < share.min() < 0.11  # sides are whole pixels
    assert 0.29 < share.max() < 0.33
    assert abs(share.mean() - 0.2) < 0.01
    ratio = rows.sum(1) / columns.sum(1)
    assert ratio.max() < 3.8
    assert ratio.min() > 1 / 3.8
    assert empty[:, 0, 0].any()
    assert empty[:, -1, -1].any()


def test_an_image_that_no_rectangle_fits_into_stays_as_it_is() -> None:
    """Nine tenths of 4 x 100 pixels, as nearly square as they must be, are more than 4 pixels high."""
    x = np.ones((50, 1, 4, 100))
    got, _ = augment("erase", x, target(50), erase_probability=1.0, erase_share=[0.9, 0.95])
    assert (got == 1).all()


def test_pixel_dropout_is_that_of_torch_on_grey_inputs_and_takes_whole_pixels_of_colour() -> None:
    x = np.random.default_rng(1).random((500, 3, 8, 8)) + 0.5
    got, t = augment("pixel_dropout", x, target(500), pixel_dropout_share=0.2)
    left_out = got == 0
    assert (left_out == left_out[:, :1]).all()
    np.testing.assert_allclose(got[~left_out], x[~left_out] / 0.8)
    assert abs(left_out.mean() - 0.2) < 0.01
    assert abs(left_out[:, 0].mean(0) - 0.2).max() < 0.08  # each pixel by itself
    assert (t == target(500)).all()
    more, _ = augment("pixel_dropout", x, target(500), pixel_dropout_share=0.5)
    assert (more == 0)[left_out].all()  # a larger share leaves out these, and others


def test_mixup_mixes_images_and_targets_by_one_weight_as_the_formula_says() -> None:
    x, t = images(), target()
    rng = np.random.default_rng(5)
    other, weight = rng.permutation(6), rng.beta(0.4, 0.4)
    mixed_x, mixed_t = augment("mixup", x, t, seed=5, mixup_alpha=0.4)
    for i in range(6):
        np.testing.assert_allclose(mixed_x[i], weight * x[i] + (1 - weight) * x[other[i]], rtol=1e-12)
        np.testing.assert_allclose(mixed_t[i], weight * t[i] + (1 - weight) * t[other[i]], rtol=1e-12)
    np.testing.assert_allclose(mixed_t.sum(1), 1)
    assert 0 < weight < 1
    assert (other != np.arange(6)).any()
    assert mixed(t, np.arange(6), 0.3).tolist() == t.tolist()


@pytest.mark.parametrize("alpha", [0.001, 1000.0])
def test_the_ends_of_mixup_are_finite(alpha: float) -> None:
    for seed in range(20):
        assert np.isfinite(augment("mixup", images(), target(), seed, mixup_alpha=alpha)[0]).all()


@EVERY
def test_contract(name: str) -> None:
    assert component("augmentation", name)


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_types_stay_and_draws_are_the_generators(name: str, dtype: Any) -> None:
    x, t = images(dtype=dtype).repeat(3, axis=1), target(dtype=dtype)
    first, again, other = (augment(name, x, t, seed) for seed in (1, 1, 2))
    assert first[0].shape == x.shape
    assert first[0].dtype == first[1].dtype == dtype
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any() or name == "none"


@EVERY
def test_a_batch_of_one_image_can_be_augmented(name: str) -> None:
    x, t = augment(name, images(1), target(1))
    assert x.shape == (1, 1, 8, 8)
    assert t.shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("shift", {"shift_pixels": 1}, {"shift_pixels": 3}),
        ("rotate", {"rotate_degrees": 5.0}, {"rotate_degrees": 30.0}),
    ],
)
def test_another_strength_scales_the_same_draws(name: str, weak: Any, strong: Any) -> None:
    """A dot right of the centre goes up or down on the same images."""
    x = np.zeros((200, 1, 17, 17))
    x[:, :, 8, 12] = 1
    up = []
    for settings in (weak, strong):
        moved, _ = augment(name, x, target(200), **settings)
        up.append(np.sign(np.einsum("bchw,h->b", moved, np.arange(17.0) - 8)))
    assert not (up[0] * up[1] < 0).any()
    assert (up[0] * up[1] > 0).sum() > 60


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("shift_pixels", 0, "greater than or equal to 1"), ("shift_pixels", 1.5, "integer"),
        ("flip_probability", 0.0, "greater than 0"), ("rotate_degrees", 181.0, "less than or equal to 180"),
        ("erase_share", [0.4, 0.1], "the smaller one first"), ("erase_share", [0.1], "at least 2"),
        ("erase_share", [0.0, 0.0], "the smaller one first"), ("mixup_alpha", 0.0, "0.001"),
    ],
)  # fmt: skip
def test_values_that_augment_nothing_are_refused(name: str, value: Any, allowed: str) -> None:
    default = next(
        entry.component.settings[name].default for entry in augmentations if name in entry.component.settings
    )
    with pytest.raises(ValueError, match=allowed):
        Setting(name, default).check(value)
