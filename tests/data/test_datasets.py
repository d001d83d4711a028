from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.data import cache
from harness.data.datasets import Dataset, datasets, digest
from harness.data.images import Images
from harness.errors import MachineError, UsageError
from harness.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUILT_IN = ("mnist", "fashion_mnist", "digits", "digits_writers")
# Images a class: MNIST's are in its paper's tables, Fashion-MNIST is balanced, digits as UCI counts them.
TRAIN_COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion_mnist": [6000] * 10,
    "digits": [143, 146, 142, 146, 144, 145, 144, 143, 141, 143],
    "digits_writers": [127, 130, 127, 131, 129, 130, 129, 128, 127, 129],
}


def load(name: str) -> Images:
    """The images from this machine, never from a network."""
    if name in cache.PINS and any(state.status != "ok" for state in cache.verify(name)):
        pytest.skip(
            f"{name} is not in the cache {cache.cache_root()}; `harness data fetch {name}` puts it there"
        )
    return datasets[name].load()


def toy() -> Images:
    """Three train and two test images of two classes."""
    rng = np.random.default_rng(0)
    return Images(
        rng.integers(0, 9, (3, 4, 5), dtype=np.uint8),
        np.array([0, 1, 0]),
        rng.integers(0, 9, (2, 4, 5), dtype=np.uint8),
        np.array([1, 1]),
    )


def altered(**parts: Any) -> Images:
    return dataclasses.replace(toy(), **parts)


@pytest.fixture
def shelf() -> Registry[Dataset]:
    """A registry of the test's own, so that the harness's stays as it is."""
    return Registry("dataset", Dataset)


@pytest.mark.parametrize("name", BUILT_IN)
def test_loaded_images_match_their_facts(name: str) -> None:
    images, facts = load(name), datasets[name].facts
    assert images.train_images.shape == (facts.train, *facts.shape)
    assert images.test_images.shape == (facts.test, *facts.shape)
    assert digest(images) == facts.digest
    assert images.train_images.max() == images.test_images.max() == facts.pixel_max
    assert np.bincount(images.train_labels).tolist() == TRAIN_COUNTS[name]
    assert len(facts.classes) == 10


def test_known_samples_keep_their_places() -> None:
    # The first labels as every tutorial prints them; a sneaker stands no taller than an ankle boot.
    assert load("mnist").train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    fashion = load("fashion_mnist")
    assert datasets["fashion_mnist"].facts.classes[fashion.train_labels[0]] == "Ankle boot"
    assert fashion.test_labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_each_form_of_digits_begins_with_0_to_9_three_times() -> None:
    digits, writers = load("digits"), load("digits_writers")
    text = "".join(map(str, [*digits.train_labels, *digits.test_labels]))
    for name in ("digits", "digits_writers"):
        blocks = datasets[name].blocks
        starts = [text[first : first + 30].lstrip("0")[:29] for first in blocks]  # the eighth has no first 0
        assert starts == ["12345678901234567890123456789"] * len(blocks)
        lengths = np.diff([*blocks, datasets["digits_writers"].facts.train if name != "digits" else 1545])
        assert (lengths >= 122).all()
        assert (lengths <= 130).all()
    whole = np.concatenate([digits.train_images, digits.test_images])
    np.testing.assert_array_equal(np.concatenate([writers.train_images, writers.test_images]), whole)


def test_a_data_set_has_own_defaults_of_its_division_alone(shelf: Registry[Dataset]) -> None:
    with pytest.raises(UsageError, match="usual has lr; allowed: val_split and val_fraction"):
        shelf.register("x", classes=("a", "b"), usual={"lr": 1.0})(toy)
    shelf.register("x", classes=("a", "b"), usual={"val_fraction": 0.3})(toy)
    assert shelf["x"].usual == {"val_fraction": 0.3}


def test_digits_are_scikit_learns_in_their_order() -> None:
    from sklearn.datasets import load_digits

    images, bunch = load("digits"), load_digits()
    np.testing.assert_array_equal([*images.train_images, *images.test_images], bunch.images)
    np.testing.assert_array_equal([*images.train_labels, *images.test_labels], bunch.target)


def test_facts_need_no_numpy_and_loading_mnist_no_torch() -> None:
    facts = "from harness.data.datasets import datasets as d; "
    facts += "[d[name].facts for name in ('mnist', 'digits', 'glyphs')]; import sys; "
    report = "print([m for m in ('numpy', 'torch', 'pandas', 'sklearn') if m in sys.modules])"
    assert run(facts + report) == "[]"
    load("mnist")
    assert run(facts + "d['mnist'].load(); " + report) == "['numpy']"


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("name", BUILT_IN)
def test_docstrings_name_source_and_licence(name: str) -> None:
    words = datasets[name].read.__doc__ or ""
    assert "Source: " in words
    assert "Licence: " in words


def test_a_data_set_of_a_third_party_is_one_decorated_function(shelf: Registry[Dataset]) -> None:
    calls = []

    @shelf.register("toy", classes=("a", "b"), pixel_max=255)
    def read() -> Images:
        calls.append(1)
        return toy()

    assert not calls
    facts = shelf["toy"].facts
    assert (facts.shape, facts.classes, facts.train, facts.test) == ((4, 5), ("a", "b"), 3, 2)
    assert facts.digest == digest(toy())
    assert shelf["toy"].facts is facts
    assert len(calls) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda i: dataclasses.replace(i, train_images=i.train_images ^ np.eye(4, 5, dtype=np.uint8)),
        lambda i: dataclasses.replace(i, train_images=i.train_images[::-1]),
        lambda i: dataclasses.replace(i, train_labels=i.train_labels[[1, 0, 2]]),
        lambda i: dataclasses.replace(i, test_labels=np.array([1, 0])),
        lambda i: dataclasses.replace(i, test_images=i.test_images[:, ::-1]),
        lambda i: dataclasses.replace(
            i, train_images=i.train_images.reshape(3, 5, 4), test_images=i.test_images.reshape(2, 5, 4)
        ),
        lambda i: Images(i.test_images, i.test_labels, i.train_images, i.train_labels),
    ],
)
def test_the_digest_changes_with_every_change(change: Callable[[Images], Images]) -> None:
    assert digest(change(toy())) != digest(toy())


def test_the_digest_ignores_the_memory_layout() -> None:
    fortran = altered(train_images=np.asfortranarray(toy().train_images))
    assert digest(fortran) == digest(toy())


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((toy().train_images, toy().train_labels), "'toy': its function returned tuple"),
        (altered(train_labels=[0, 1, 0]), "'toy', train_labels: got list"),
        (altered(train_images=np.zeros((3, 4, 5))), "'toy', train_images: got float64"),
        (altered(train_images=np.zeros((3, 3, 4, 5), np.uint8)), r"images = np\.moveaxis\(images, 1, -1\)"),
        (altered(train_images=np.zeros((3, 4, 5, 3), np.uint8)), r"train images are \(4, 5, 3\), test .*one"),
        (altered(train_images=np.zeros((3, 4, 5, 3))), r"images = \(images \* 255\)\.round\(\)\.astype"),
        (altered(test_images=np.zeros((0, 4, 5), np.uint8)), "'toy', test_images: .* at least one"),
        (
            altered(test_labels=np.array([1, 1, 0])),
            r"'toy', test_labels: .* allowed is int64 of shape \(2,\)",
        ),
        (altered(train_labels=np.array([0, 1, 0], np.uint8)), "'toy', train_labels: got uint8"),
        (altered(train_labels=np.array([0, 1, 2])), r"got 0\.\.2; allowed is 0\.\.1"),
        (altered(test_labels=np.array([-1, 0])), r"got -1\.\.0"),
        (altered(test_images=np.full((2, 4, 5), 17, np.uint8)), "a pixel of 17; pixel_max is 16"),
        (altered(test_images=np.zeros((2, 5, 4), np.uint8)), "allowed is one shape"),
        (altered(train_labels=np.array([0, 0, 0])), "'toy': no train image of class 1"),
    ],
)
def test_invalid_images_are_refused(shelf: Registry[Dataset], images: Images, words: str) -> None:
    shelf.register("toy", classes=("a", "b"), pixel_max=16)(lambda: images)
    with pytest.raises(UsageError, match=words):
        _ = shelf["toy"].facts


def test_images_that_change_between_loads_are_refused(shelf: Registry[Dataset]) -> None:
    given = iter([toy(), toy(), altered(test_labels=np.array([0, 1]))])
    shelf.register("toy", classes=("a", "b"), pixel_max=16)(lambda: next(given))
    shelf["toy"].load()
    shelf["toy"].load()
    with pytest.raises(UsageError, match="'toy' is not the one it was"):
        shelf["toy"].load()


def test_bytes_other_than_the_known_ones_are_the_machines_fault(shelf: Registry[Dataset]) -> None:
    shelf.register("digits", known=datasets["digits"].facts)(lambda: flipped(load("digits")))
    with pytest.raises(MachineError, match="'digits' is not the one it was"):
        shelf["digits"].load()


def flipped(images: Images) -> Images:
    pixels = images.test_images.copy()
    pixels[100, 4, 4] ^= 1
    return dataclasses.replace(images, test_images=pixels)


def test_a_data_set_must_name_its_classes(shelf: Registry[Dataset]) -> None:
    with pytest.raises(UsageError, match=r"classes=.* is missing"):
        shelf.register("toy", pixel_max=16)(toy)


def test_digits_come_from_the_cache_and_else_from_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    first = load("digits")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # an import raises
    kept = load("digits")
    assert digest(kept) == digest(first) == datasets["digits"].facts.digest
    file = tmp_path / "digits" / "images-idx3-ubyte"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\7")  # another pixel, and the file is still whole
    with pytest.raises(UsageError, match="sklearn"):
        load("digits")
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert digest(load("digits")) == digest(first)
    assert file.read_bytes() == content
    monkeypatch.setenv("HARNESS_DATA", str(file))  # no folder
    assert digest(load("digits")) == digest(first)
