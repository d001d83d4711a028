from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import reporting
from harness.data.datasets import datasets
from harness.data.label_noise import flip
from harness.data.samples import Data, prepare
from harness.study.study import Study
from harness.study.trials import resolve
from harness.training import runs

LABELS = datasets["digits"].load().train_labels


def digits(**settings: object) -> Data:
    return prepare(resolve({"dataset": "digits", **settings}))  # type: ignore[dict-item]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.99])
def test_the_given_share_of_labels_becomes_wrong(share: float) -> None:
    noisy = flip(LABELS, share, 10, np.random.default_rng(3))
    assert (noisy != LABELS).sum() == round(share * len(LABELS))
    assert set(noisy) <= set(range(10))


def test_every_other_class_is_as_likely() -> None:
    noisy = flip(np.zeros(90_000, np.int64), 0.999999, 10, np.random.default_rng(0))
    counts = np.bincount(noisy, minlength=10)[1:]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 26.1  # chi squared, 8 degrees of freedom: p = 0.001


def test_more_noise_flips_the_same_labels_and_more() -> None:
    few, many = (flip(LABELS, share, 10, np.random.default_rng(5)) for share in (0.1, 0.4))
    wrong = few != LABELS
    assert (many[wrong] == few[wrong]).all()


def test_only_the_train_split_is_noisy() -> None:
    clean, noisy = digits(), digits(label_noise=0.4)
    assert (noisy.train.y != clean.train.y).mean() == pytest.approx(0.4, abs=1e-3)
    for split in ("val", "test"):
        np.testing.assert_array_equal(noisy[split].y, clean[split].y)
    np.testing.assert_array_equal(noisy.train.x, clean.train.x)


def test_the_noise_has_its_own_seed() -> None:
    first, same, other = (digits(label_noise=0.2, label_noise_seed=seed).train.y for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    moved = digits(label_noise=0.2, split_seed=1)
    assert (moved.train.index != digits(label_noise=0.2).train.index).any()


@pytest.mark.parametrize(("share", "told"), [(0.0, False), (0.25, True)])
def test_a_report_states_the_label_noise(
    study_of: Callable[..., Study], tmp_path: Path, share: float, told: bool
) -> None:
    runs.train(study_of(label_noise=share), tmp_path / "x", workers=1)
    page = reporting.write(tmp_path / "x").read_text(encoding="utf-8")
    assert ("label_noise 0.25, as a share" in page) == told
