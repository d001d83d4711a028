"""Components of ablations/published: each keeps its contract, and is what its source says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from published_rows import STUDIES
from sklearn.preprocessing import StandardScaler

import harness
from harness.axes import plugins
from harness.data import splits
from harness.data.datasets import datasets
from harness.data.preprocessing import PixelStatistics, preprocessings


def plugin(name: str) -> ModuleType:
    """Run a plugin of ablations/published, and give its module."""
    path = STUDIES / name
    plugins.load_file(path, quiet=True)
    return sys.modules[plugins.module_of(path)]


COMPONENTS = [
    ("nielsen.py", "loss", "binary_ce"), ("lecun.py", "loss", "signed_ql"),
    ("lecun.py", "head", "scaled_tanh"), ("lecun.py", "activation", "scaled_tanh"),
    ("lecun.py", "preprocessing", "lecun_pixels"),
    ("zalando.py", "preprocessing", "standardize_each_pixel"), ("rapela.py", "head", "normalised_sigmoid"),
    ("rapela.py", "schedule", "inverse_time"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "axis", "name"), COMPONENTS)
def test_a_component_keeps_its_contract(file: str, axis: str, name: str) -> None:
    plugin(file)
    assert harness.check.component(axis, name)


@pytest.mark.parametrize("classes", [2, 10])
def test_binary_cross_entropy_is_pytorchs_sum_over_classes(classes: int) -> None:
    import torch

    loss = plugin("nielsen.py").binary_ce
    z = torch.randn(50, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 20
    target = torch.nn.functional.one_hot(torch.arange(50) % classes, classes).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z, target, reduction="none").sum(-1)
    torch.testing.assert_close(loss(z, target), expected)


def test_pixels_are_standardized_as_scikit_learn_does() -> None:
    plugin("zalando.py")
    images = datasets["digits"].load().train_images
    train, others = images[:1000], images[1000:1100].astype(np.float64)
    found = preprocessings["standardize_each_pixel"].apply(others.copy(), PixelStatistics(16, train))
    scaler = StandardScaler().fit(train.reshape(1000, -1).astype(np.float64))
    np.testing.assert_allclose(
        found.reshape(100, -1), scaler.transform(others.reshape(100, -1)), rtol=1e-10, atol=1e-12
    )


def test_ink_and_background_are_lecuns() -> None:
    plugin("lecun.py")
    x = np.array([[[0.0, 16.0, 8.0]]])
    found = preprocessings["lecun_pixels"].apply(x, PixelStatistics(16, np.zeros((1, 1, 3), np.uint8)))
    np.testing.assert_allclose(found, [[[-0.1, 1.175, 0.5375]]])


@pytest.mark.parametrize("size", [("WHOLE", 70_000), ("PART", 60_000)])
def test_val_is_the_test_file(size: tuple[str, int]) -> None:
    module = plugin("val_is_test.py")
    usual = module.usual(getattr(module, size[0]))
    assert splits.size(size[1], usual["val_fraction"]) == 10_000
    digits = datasets["digits"].load()
    images = module.with_test_as_val("digits", 1000)
    fraction = 360 / 1360
    train, val = splits.split(images.train_labels, fraction, usual["val_split"], np.random.default_rng(0))
    for held, pixels, labels in (
        (train, digits.train_images[:1000], digits.train_labels[:1000]),
        (val, digits.test_images, digits.test_labels),
    ):
        assert np.array_equal(images.train_images[held], pixels)
        assert np.array_equal(images.train_labels[held], labels)
    assert np.array_equal(images.test_images, digits.test_images)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The function of Goldberger's data set, on digits in place of MNIST."""
    module = plugin("goldberger.py")
    monkeypatch.setattr(module, "datasets", {"mnist": SimpleNamespace(load=datasets["digits"].load)})
    read: Callable[[], Any] = module.mnist_46_percent_permuted
    return read


def test_46_percent_of_each_class_have_the_label_of_the_permutation(noisy: Callable[[], Any]) -> None:
    clean, images, again = datasets["digits"].load(), noisy(), noisy()
    exchanged = plugin("goldberger.py").EXCHANGED
    assert sorted(exchanged) == list(range(10))
    for digit in range(10):
        labels = images.train_labels[clean.train_labels == digit]
        assert set(labels.tolist()) == {digit, int(exchanged[digit])}
        assert np.mean(labels != digit) == pytest.approx(0.46, abs=0.5 / len(labels) + 1e-12)
    assert np.array_equal(images.train_labels, again.train_labels)
    assert np.array_equal(images.test_labels, clean.test_labels)
    assert np.array_equal(images.train_images, clean.train_images)
