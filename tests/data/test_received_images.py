"""Images that another machine sent: kept by their digest, and checked where they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import received_images
from harness.data.datasets import Dataset, Facts, datasets, digest
from harness.data.images import Images
from harness.errors import MachineError

Sent = dict[str, Any]


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    yield
    received_images.forget()


@pytest.fixture
def sent() -> Sent:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 4), np.uint8)
    labels = np.arange(6) % 2
    return {
        "train_images": pixels[:4],
        "train_labels": labels[:4],
        "test_images": pixels[4:],
        "test_labels": labels[4:],
    }


def unreadable() -> Images:
    raise FileNotFoundError("this machine has no such file")


def of(sent: Sent) -> Dataset:
    """A data set whose facts another process found, and whose files are not here."""
    dataset = Dataset("squares", unreadable, ("dark", "light"))
    dataset.take(Facts((4, 4), ("dark", "light"), 4, 2, 255, digest(Images(**sent))))
    return dataset


def test_a_data_set_loads_what_was_sent_and_reads_no_file(sent: Sent) -> None:
    dataset = of(sent)
    received_images.take(dataset.facts.digest, lambda: sent)
    assert np.array_equal(dataset.load().train_images, sent["train_images"])


def test_what_was_sent_once_is_found_by_a_later_process(sent: Sent, tmp_path: Path) -> None:
    dataset = of(sent)
    assert not received_images.find(dataset.facts.digest)
    received_images.take(dataset.facts.digest, lambda: sent)
    received_images.forget()  # as a new process
    assert received_images.find(dataset.facts.digest)
    assert np.array_equal(dataset.load().test_labels, sent["test_labels"])
    received_images.forget()
    kept = next(path for path in (tmp_path / "arrays").iterdir() if not path.name.startswith("."))
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert not received_images.find(dataset.facts.digest), "damaged ones are sent again"


def test_other_images_than_the_digest_says_are_refused(sent: Sent) -> None:
    dataset = of(sent)
    received_images.take(dataset.facts.digest, lambda: {**sent, "test_labels": 1 - sent["test_labels"]})
    with pytest.raises(Exception, match="is not the one it was"):
        dataset.load()


def test_sent_images_take_the_place_of_a_published_sets_files(sent: Sent) -> None:
    known = datasets["fashion_mnist"].facts.digest
    received_images.take(known, lambda: sent)
    with pytest.raises(MachineError, match="'fashion_mnist' is not the one it was"):
        datasets["fashion_mnist"].load()
