from __future__ import annotations

import gzip
import io
import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.data import idx
from harness.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CODES = {np.dtype(name).newbyteorder("="): code for code, name in idx.DTYPES.items()}
ARRAYS = st.sampled_from(sorted(CODES, key=str)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def packed(array: NDArray[Any]) -> bytes:
    """The array as an IDX file, written from the format's description."""
    header = bytes([0, 0, CODES[array.dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def parse(data: bytes, name: str) -> NDArray[Any]:
    """The array of an IDX file that has this content."""
    return idx.parse(io.BytesIO(data), len(data), name)


LABELS = packed(np.arange(12, dtype=np.uint8).reshape(3, 4))


@given(ARRAYS, st.booleans())
def test_packed_arrays_are_read_back(array: NDArray[Any], zipped: bool) -> None:
    data = gzip.compress(packed(array)) if zipped else packed(array)
    got = parse(data, "f")
    np.testing.assert_array_equal(got, array, strict=True)
    assert got.flags.writeable


def test_bytes_are_big_endian() -> None:
    assert parse(bytes([0, 0, 0x0B, 1, 0, 0, 0, 1, 1, 2]), "f").tolist() == [258]


@given(st.integers(0, len(LABELS) - 1))
def test_a_cut_file_is_named_wherever_it_is_cut(length: int) -> None:
    with pytest.raises(UsageError, match=r"^my-labels: "):
        parse(LABELS[:length], "my-labels")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG", "starts with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file"),
        (LABELS[:7], "cut within its header: 7 bytes of 12"),
        (LABELS[:-1], "cut: shape (3, 4) of uint8 makes 24 bytes, got 23"),
        (LABELS + b"\0", "longer than its header says"),
        (gzip.compress(LABELS, mtime=0)[:-9], "damaged or cut gzip"),
        (b"\x1f\x8bno gzip at all", "damaged or cut gzip"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "cut: shape (4294967295, 4294967295, 4294967295)"),
    ],
)
def test_faulty_files_are_reported(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"^f: .*{re.escape(words)}"):
        parse(data, "f")


def test_read_takes_raw_and_gz(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(LABELS)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(LABELS, mtime=0))
    for name in ("raw", "packed.gz"):
        assert idx.read(tmp_path / name).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("name", [".", "nothing-here"])
def test_an_unreadable_path_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / name}: cannot be read as IDX")):
        idx.read(tmp_path / name)
