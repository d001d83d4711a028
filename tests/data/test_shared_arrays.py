"""Arrays that all processes of a machine map: the same values everywhere, whatever the cache is like."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from harness.data import shared_arrays as module
from harness.data.shared_arrays import Arrays, shared_arrays


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Makes arrays, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Arrays:
        self.count += 1
        return {
            "row": np.arange(5, dtype=np.int64),
            "value": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
            "none": np.empty((0, 3), np.int16),
        }


def check(arrays: Arrays) -> None:
    for name, array in Maker()().items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert not arrays[name].flags.writeable
    assert list(arrays) == ["row", "value", "none"]


def kept(root: Path) -> list[Path]:
    return sorted(path for path in (root / "arrays").iterdir() if not path.name.startswith("."))


def test_arrays_are_made_once_and_then_mapped(root: Path) -> None:
    make = Maker()
    check(shared_arrays("a", make))
    check(shared_arrays("a", make))
    assert make.count == 1
    assert shared_arrays("a", make)["value"].ctypes.data % module.ALIGNED == 0
    check(shared_arrays("b", make))
    assert make.count == 2
    assert len(kept(root)) == 2


@pytest.mark.parametrize("place", [0, 20, -1, None])
def test_a_damaged_file_is_made_anew(root: Path, place: int | None) -> None:
    make = Maker()
    shared_arrays("a", make)
    (path,) = kept(root)
    content = bytearray(path.read_bytes())
    if place is None:
        content = content[:100]
    else:
        content[place] ^= 255
    path.unlink()
    path.write_bytes(content)
    check(shared_arrays("a", make))
    check(shared_arrays("a", make))
    assert make.count == 2


def test_without_a_cache_the_arrays_are_the_processs_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    root.mkdir()
    (root / "arrays").write_text("a file where the folder would be")
    check(shared_arrays("a", make))
    (root / "arrays").unlink()
    monkeypatch.setattr(module, "MOST_BYTES", 50)  # too large to be kept
    check(shared_arrays("a", make))
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 30)
    monkeypatch.setattr(module, "SPARE", 1 << 60)  # a full disk
    check(shared_arrays("a", make))
    assert make.count == 3
    assert not kept(root)


def test_files_that_nobody_uses_make_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    mapped = shared_arrays("0", make)
    (first,) = kept(root)
    shared_arrays("1", make)
    monkeypatch.setattr(module, "MOST_BYTES", sum(path.stat().st_size for path in kept(root)))
    for count in (3, 4):
        check(shared_arrays("2", make))  # no room: both are in use
        assert make.count == count
    assert len(kept(root)) == 2
    long_ago = first.stat().st_mtime - 2 * module.UNUSED
    os.utime(first, (long_ago, long_ago))
    for _ in range(2):
        check(shared_arrays("2", make))
    assert make.count == 5
    assert first not in kept(root)
    assert len(kept(root)) == 2
    check(mapped)  # whose file is gone


def _make_slowly(times: Path) -> Arrays:
    with times.open("a") as file:
        file.write("made\n")
    return Maker()()


def _share(times: Path) -> None:
    check(shared_arrays("a", lambda: _make_slowly(times)))


def test_processes_make_arrays_once(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_share, args=(tmp_path / "times",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "times").read_text() == "made\n"
    assert len(kept(root)) == 1
