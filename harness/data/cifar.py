"""The binary batches of CIFAR-10 and CIFAR-100: records of labels and 32 x 32 pixels in colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

SIDE = 32
PLANES = (3, SIDE, SIDE)
"""Red, green and blue, each row by row, as a record has them."""


def parse(content: bytes, name: str, labels: int = 1) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Parse a batch whose records have so many labels: 1 in CIFAR-10; 2, coarse and fine, in CIFAR-100.

    Source: Krizhevsky, the CIFAR page (cs.toronto.edu/~kriz/cifar.html), "Binary version".

    >>> numbers, pixels = parse(bytes([7]) + bytes(range(256)) * 12, "batch")
    >>> numbers.tolist(), pixels.shape, pixels[0, 0, 1].tolist()
    ([[7]], (1, 32, 32, 3), [1, 1, 1])

    Returns:
        Labels (N, `labels`), and pixels (N, 32, 32, 3), red first.

    Raises:
        UsageError: the bytes are no whole number of records; the message calls them `name`.
    """
    record = labels + int(np.prod(PLANES))
    if not content or len(content) % record:
        what = "1 byte for the label" if labels == 1 else f"{labels} bytes for the labels"
        raise UsageError(
            f"{name}: got {len(content):,} bytes; allowed: whole records of {record:,} bytes, at least one: "
            f"{what} and 3 x 32 x 32 for the pixels; fetch or copy it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    pixels = records[:, labels:].reshape(-1, *PLANES).transpose(0, 2, 3, 1)
    return records[:, :labels].astype(np.int64), np.ascontiguousarray(pixels)
