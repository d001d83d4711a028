from __future__ import annotations

import numpy as np
import pytest

from harness.data import mnist1d
from harness.data.datasets import datasets, digest


def test_the_registered_set_has_the_counts_of_the_paper() -> None:
    images = datasets["mnist1d"].load()  # which compares its SHA-256
    assert (images.train_images.shape, images.test_images.shape) == ((4000, 1, 40), (1000, 1, 40))
    assert np.bincount(images.train_labels).tolist() == [400] * 10
    assert np.bincount(images.test_labels).tolist() == [100] * 10
    assert (np.bincount(images.train_labels[:100]) > 0).all()  # mixed
    # No value is cut off, and neighbours are alike: within a curve, and within smooth noise.
    assert 0 < images.train_images.min() < images.train_images.max() < 255
    values = images.train_images[:, 0].astype(float)
    assert np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1] > 0.7


def test_a_seed_fixes_every_byte() -> None:
    assert digest(mnist1d.draw(3)) == digest(mnist1d.draw(3)) != digest(mnist1d.draw(4))


def test_a_curve_without_distortions_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SCALE", 0.0), ("MOVE", 0), ("CORRELATED", 0.0), ("SHEAR", 0.0), ("NOISE", 0.0)):
        monkeypatch.setattr(mnist1d, name, value)
    monkeypatch.setattr(mnist1d, "PADDING", (28, 28))
    row = mnist1d._row(mnist1d.CURVES[4], np.random.default_rng(0))  # 12 + 28 places: those of the row
    assert np.allclose(row, [*mnist1d.CURVES[4], *[0] * 28], atol=1e-12)


def test_lines_do_not_divide_it_and_neighbours_do() -> None:
    """As in the paper, where a linear network has 32 % right: a curve is anywhere in its row."""
    images = mnist1d.draw()
    train, test = (part[:, 0] / 51 - 2.5 for part in (images.train_images, images.test_images))
    with_bias = [np.hstack([part, np.ones((len(part), 1))]) for part in (train, test)]
    weights = np.linalg.lstsq(with_bias[0], np.eye(10)[images.train_labels], rcond=None)[0]
    linear = (with_bias[1] @ weights).argmax(axis=1)
    distances = (train**2).sum(axis=1) - 2 * test @ train.T
    nearest = images.train_labels[distances.argmin(axis=1)]
    assert 0.2 < (linear == images.test_labels).mean() < 0.4
    assert 0.5 < (nearest == images.test_labels).mean() < 0.8
