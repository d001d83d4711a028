"""Peculiarities of MNIST's relatives in IDX files: EMNIST's images lie, and QMNIST's labels are a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

QMNIST_COLUMNS = 8
"""Columns of QMNIST's label table: class, series, writer, digit of the writer, NIST's class, and others."""


def upright(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn EMNIST's images (N, H, W) upright: its files have rows and columns of every image exchanged."""
    return np.ascontiguousarray(pixels.transpose(0, 2, 1))


def column(table: NDArray[np.int32], name: str) -> NDArray[np.int64]:
    """Take the classes (N,) out of QMNIST's label table (N, 8), whose first column they are.

    Source: the QMNIST repository's README, "Using the QMNIST extended labels".

    Raises:
        UsageError: the table has another shape; the message calls it `name`.
    """
    if table.ndim != 2 or table.shape[1] != QMNIST_COLUMNS or table.dtype.kind not in "iu":
        raise UsageError(
            f"{name}: got {table.dtype} of shape {table.shape}; allowed: QMNIST's label table, whole numbers "
            f"of shape (N, {QMNIST_COLUMNS}), its first column the classes"
        )
    return table[:, 0].astype(np.int64)
