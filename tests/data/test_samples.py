from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import pixel_source
from harness.data import samples as samples_module
from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.images import Images
from harness.data.preprocessing import preprocessings
from harness.data.samples import Data, prepare, train_size
from harness.settings import CORE


def digits(dtype: Any = np.float64, **settings: Any) -> Data:
    core = {name: setting.default for name, setting in CORE.items() if setting.default is not None}
    return prepare(Settings({**core, "dataset": "digits", **settings}), dtype)


@pytest.fixture
def images() -> Images:
    return datasets["digits"].load()


def flat(pixels: Any) -> Any:
    return pixels.reshape(len(pixels), -1).astype(np.float64)


EXPECTED = {
    "unit": lambda x: x / 16,
    "signed": lambda x: x / 8 - 1,
    "invert": lambda x: 1 - x / 16,
    "raw": lambda x: x,
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_pixels_of_real_digits(name: str, split: Any, images: Images) -> None:
    samples = digits(preprocessing=name)[split]
    raw = images.test_images if split == "test" else images.train_images
    np.testing.assert_allclose(samples.x, EXPECTED[name](flat(raw[samples.index])), rtol=1e-15)


def test_ranges_on_real_digits() -> None:
    def extent(name: str) -> tuple[float, float]:
        x = digits(preprocessing=name).train.x
        return float(x.min()), float(x.max())

    assert extent("unit") == (0, 1)
    assert extent("signed") == (-1, 1)
    assert extent("invert") == (0, 1)
    assert extent("raw") == (0, 16)


@pytest.mark.parametrize("val_fraction", [0.0, 0.1, 0.5])
def test_standardize_has_mean_0_and_sd_1_on_train_alone(val_fraction: float, images: Images) -> None:
    data = digits(preprocessing="standardize", val_fraction=val_fraction)
    assert data.train.x.mean() == pytest.approx(0, abs=1e-12)
    assert data.train.x.std() == pytest.approx(1, abs=1e-12)
    raw = flat(images.train_images[data.train.index])
    np.testing.assert_allclose(data.test.x, (flat(images.test_images) - raw.mean()) / raw.std(), rtol=1e-12)
    if val_fraction:
        assert abs(data.val.x.mean()) > 1e-6


@pytest.mark.parametrize("val_split", ["stratified", "balanced", "random", "blocks"])
def test_indices_lead_back_to_the_original_images(val_split: str, images: Images) -> None:
    data = digits(val_split=val_split, val_fraction=0.2)
    assert sorted([*data.train.index, *data.val.index]) == list(range(1437))
    assert data.test.index.tolist() == list(range(360))
    for samples in (data.train, data.val):
        assert (samples.y == images.train_labels[samples.index]).all()
        assert (samples.x * 16 == flat(images.train_images[samples.index])).all()
    assert (data.test.y == images.test_labels).all()


# Pinned: a change changes every trial's results, and must raise trials.SEMANTICS.
def test_first_validation_images() -> None:
    assert digits().val.index[:8].tolist() == [1, 9, 19, 22, 38, 45, 54, 67]


def test_the_split_has_its_own_seed() -> None:
    assert (digits(split_seed=0).val.index == digits().val.index).all()
    assert not np.array_equal(digits(split_seed=1).val.index, digits().val.index)


def test_validation_may_be_empty() -> None:
    data = digits(val_fraction=0.0)
    assert data.val.x.shape == (0, 64)
    assert len(data.val.y) == len(data.val.index) == 0
    assert data.train.index.tolist() == list(range(1437))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [entry.name for entry in preprocessings])
def test_shapes_and_types(name: str, dtype: Any) -> None:
    data = digits(dtype, preprocessing=name)
    assert data.train.x.shape == (1293, 64)
    assert data.val.x.shape == (144, 64)
    assert data.test.x.shape == (360, 64)
    assert data.inputs == 64
    assert data.classes == tuple("0123456789")
    for samples in (data.train, data.val, data.test):
        assert samples.x.dtype == dtype
        assert samples.y.dtype == np.int64
        assert samples.x.flags.c_contiguous


@pytest.mark.parametrize("val_fraction", [0.0, 0.1, 0.25, 0.5, 1 / 3])
def test_train_size_is_known_without_loading(val_fraction: float) -> None:
    data = digits(val_fraction=val_fraction)
    assert train_size(Settings({"dataset": "digits", "val_fraction": val_fraction})) == len(data.train.y)


@pytest.fixture
def redefined() -> Iterator[str]:
    yield "redefined"
    if "redefined" in datasets:
        datasets.remove("redefined")


def test_a_data_set_that_a_notebook_redefines_is_read_anew(redefined: str) -> None:
    def two_images(pixel: int) -> Any:
        def read() -> Images:
            """Two images."""
            x, y = np.full((2, 2, 2), pixel, np.uint8), np.array([0, 1])
            return Images(x, y, x, y)

        return read

    for pixel in (10, 20):
        datasets.register(redefined, classes=("a", "b"))(two_images(pixel))
        data = digits(dataset=redefined, val_fraction=0.0, preprocessing="raw")
        assert (data.train.x == pixel).all()
        datasets.remove(redefined)


@pytest.mark.parametrize("name", ["unit", "standardize"])
def test_pixels_are_the_same_in_chunks_and_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digits(np.float32, preprocessing=name).train.x
    monkeypatch.setattr(pixel_source, "CHUNK", 100)
    samples_module._prepare.cache_clear()
    data = digits(np.float32, preprocessing=name)
    for samples in (data.train, data.val, data.test):
        chunks = list(samples.chunks())
        assert [len(chunk) for chunk in chunks[:-1]] == [100] * (len(chunks) - 1)
        assert "x" not in vars(samples)
        assert (samples.width, samples.dtype) == (64, np.dtype(np.float32))
        np.testing.assert_array_equal(np.concatenate(chunks), samples.x)
        np.testing.assert_array_equal(np.concatenate(list(samples.chunks())), samples.x)
    np.testing.assert_array_equal(data.train.x, whole)
    samples_module._prepare.cache_clear()


def test_keys_of_pixels_differ_where_pixels_do() -> None:
    settings: list[dict[str, Any]] = [
        {}, {"preprocessing": "invert"}, {"val_fraction": 0.2}, {"split_seed": 1}, {"val_split": "random"},
    ]  # fmt: skip
    data = [digits(dtype, **setting) for setting in settings for dtype in (np.float32, np.float64)]
    keys = {d[split].key for d in data for split in samples_module.SPLITS}
    assert len(keys) == 3 * len(data)
    assert digits(label_noise=0.5).train.key == digits().train.key  # which decides labels alone
    core: dict[str, Any] = {name: setting.default for name, setting in CORE.items()}
    own = prepare(Settings({**core, "dataset": "digits"}), apply=np.sqrt)
    assert own.train.key == ""
    assert dataclasses.replace(own.train, pixels=own.train.x).key == ""
    changed = dataclasses.replace(digits().train, pixels=1 - digits().train.x)
    assert changed.key == ""


def test_large_pixels_are_shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    counts = [0]

    def make() -> dict[str, Any]:
        counts[0] += 1
        return {"sum": data.train.x.sum(0)}

    data = digits()
    for _ in range(2):
        data.train.shared("sums", make)
    assert counts == [2]
    monkeypatch.setattr(samples_module, "SMALL", 0)
    for _ in range(2):
        np.testing.assert_array_equal(data.train.shared("sums", make)["sum"], data.train.x.sum(0))
    assert counts == [3]


def test_pixels_of_a_preprocessing_that_nobody_sees_change_are_not_shared(tmp_path: Path) -> None:
    """It reads a file, whose content is in no digest."""
    scale = tmp_path / "scale"
    scale.write_text("2")

    def own_scaled(x: Any) -> Any:
        with open(scale) as file:  # noqa: PTH123 (as a person writes it)
            return x * float(file.read())

    preprocessings.register("own_scaled")(own_scaled)
    preprocessings.register("own_doubled")(lambda x: 2 * x)
    assert digits(preprocessing="own_scaled").train.key == ""
    assert digits(preprocessing="own_doubled").train.key
