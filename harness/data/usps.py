"""The text in which LIBSVM's page has USPS: a line an image, "label index:value ...", values -1 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

SIDE = 16
FIELDS = 1 + 2 * SIDE * SIDE
"""Numbers of a line: the label, then an index and a value for each pixel."""


def parse(text: bytes, name: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Parse the whole text.

    A pixel's value v becomes round((v + 1) / 2 * 255), so that -1, the ground, is 0 and 1, full ink, is
    255; the labels 1 to 10 become 0 to 9, the digits.

    Returns:
        Labels (N,) and pixels (N, 16, 16).

    Raises:
        UsageError: a line has other fields, indices, labels or values; the message calls the text `name`.
    """
    allowed = "allowed: lines of a label 1 to 10 and 1:value to 256:value, each value -1 to 1; fetch it again"
    try:
        numbers = np.array(text.replace(b":", b" ").split(), dtype=np.float64)
    except ValueError as error:
        raise UsageError(f"{name}: {str(error)[:80]}; {allowed}") from error
    if not numbers.size or numbers.size % FIELDS:
        raise UsageError(f"{name}: got {numbers.size:,} numbers, {FIELDS} make an image; {allowed}")
    table = numbers.reshape(-1, FIELDS)
    labels, indices, values = table[:, 0], table[:, 1::2], table[:, 2::2]
    if not (indices == np.arange(1, SIDE * SIDE + 1)).all():
        raise UsageError(f"{name}: the pixels' indices are not 1 to 256 in each line; {allowed}")
    if not (np.isin(labels, range(1, 11)).all() and (np.abs(values) <= 1).all()):
        raise UsageError(f"{name}: got a label or a value out of range; {allowed}")
    pixels = ((values + 1) / 2 * 255).round().astype(np.uint8)
    return labels.astype(np.int64) - 1, pixels.reshape(-1, SIDE, SIDE)
