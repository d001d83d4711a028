from __future__ import annotations

import numpy as np
import pytest

from harness.data import cifar, usps
from harness.errors import UsageError


def line(label: int, values: np.ndarray) -> str:
    return f"{label} " + " ".join(f"{i}:{value}" for i, value in enumerate(values, 1)) + "\n"


def test_values_become_pixels_and_labels_begin_at_0() -> None:
    values = np.full(256, -1.0)
    values[[0, 17, 255]] = 1, 0, -0.5
    labels, pixels = usps.parse((line(10, values) + line(1, -values)).encode(), "text")
    assert labels.tolist() == [9, 0]
    assert pixels.shape == (2, 16, 16)
    assert pixels[0].sum() == 255 + 128 + 64  # (0 + 1) / 2 * 255 = 127.5, to even; 63.75
    assert (pixels[0, 0, 0], pixels[0, 1, 1], pixels[0, 15, 15]) == (255, 128, 64)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "got 0 numbers"),
        ("hello", "could not convert"),
        (line(3, np.zeros(255)), "got 511 numbers"),
        (line(3, np.zeros(256)).replace("7:0", "8:0", 1), "the pixels' indices are not 1 to 256"),
        (line(11, np.zeros(256)), "got a label or a value out of range"),
        (line(1, np.full(256, 1.5)), "got a label or a value out of range"),
        (line(1, np.full(256, np.nan)), "got a label or a value out of range"),
    ],
)
def test_other_text_is_refused(text: str, fault: str) -> None:
    with pytest.raises(UsageError, match=f"text: {fault}.*; allowed: lines of a label 1 to 10"):
        usps.parse(text.encode(), "text")


def test_a_cifar_record_is_labels_then_three_planes() -> None:
    planes = np.arange(3 * 1024).reshape(3, 32, 32) % 251
    record = bytes([4, 77]) + planes.astype(np.uint8).tobytes()
    labels, pixels = cifar.parse(record * 2, "train.bin", labels=2)
    assert labels.tolist() == [[4, 77], [4, 77]]
    assert np.array_equal(pixels[1], planes.transpose(1, 2, 0))


@pytest.mark.parametrize("size", [0, 1, 3072, 3074])
def test_a_cifar_batch_is_whole_records(size: int) -> None:
    with pytest.raises(UsageError, match=rf"b\.bin: got {size:,} bytes; allowed: whole records of 3,073"):
        cifar.parse(bytes(size), "b.bin")
