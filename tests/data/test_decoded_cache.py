"""Small image files as one array, and the cache that keeps it until a file changes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.data import decoded_cache
from harness.data.datasets import datasets

DIGITS = datasets["digits"].load().train_images[:12]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Twelve real digits as PNG, not in the order of their names, where everything is kept at once."""
    monkeypatch.setattr(decoded_cache, "SLOW", -1.0)
    monkeypatch.setattr(decoded_cache, "SETTLED", -60.0)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{(7 * i) % 12:02d}.png" for i in range(12)]
    for path, image in zip(paths, DIGITS, strict=True):
        Image.fromarray(image).save(path)
    return paths


def read(files: list[Path]) -> NDArray[np.uint8]:
    problems: list[str] = []
    images = decoded_cache.pixels(files, "png", "test", problems)
    assert not problems
    return images


def no_more(path: Path) -> NDArray[np.uint8]:
    raise AssertionError(f"{path} is decoded again")


def cached_files(files: list[Path]) -> list[Path]:
    return list((files[0].parents[1] / "cache" / "folders").iterdir())


def test_images_come_in_the_order_asked_for(files: list[Path]) -> None:
    np.testing.assert_array_equal(read(files), DIGITS)
    np.testing.assert_array_equal(read(files[::-1]), DIGITS[::-1])


def test_slow_folders_are_decoded_once(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read(files)
    monkeypatch.setitem(decoded_cache.DECODERS, "png", no_more)
    np.testing.assert_array_equal(read(files), DIGITS)
    np.testing.assert_array_equal(read(files[::-1]), DIGITS[::-1])
    assert len(cached_files(files)) == 1


def test_a_changed_file_is_noticed_despite_its_old_size_and_mtime(files: list[Path]) -> None:
    read(files)
    before, size = files[3].stat(), files[3].stat().st_size
    other = files[5].read_bytes()
    # What follows a PNG's last chunk is not read.
    files[3].write_bytes(other + b"\0" * (size - len(other)) if len(other) <= size else other)
    os.utime(files[3], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files[3].stat().st_mtime_ns == before.st_mtime_ns
    np.testing.assert_array_equal(read(files)[3], DIGITS[5])


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:0], lambda b: b[:-9] + b"x" * 9])
def test_a_damaged_cache_is_decoded_anew(files: list[Path], damage: Callable[[bytes], bytes]) -> None:
    read(files)
    (path,) = cached_files(files)
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(read(files), DIGITS)


def test_pixels_changed_within_the_cache_are_not_believed(files: list[Path]) -> None:
    read(files)
    (path,) = cached_files(files)
    content = path.read_bytes()
    pixels = DIGITS[files.index(min(files))].tobytes()
    assert content.count(pixels) == 1
    path.write_bytes(content.replace(pixels, pixels[::-1]))
    np.testing.assert_array_equal(read(files), DIGITS)


def test_the_oldest_folders_leave_the_cache(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_cache, "MOST_KEPT", 2)
    copies = []
    for i in range(3):
        folder = files[0].parents[1] / f"copy {i}"
        folder.mkdir()
        copies.append([folder / path.name for path in files])
        for path, copy in zip(files, copies[i], strict=True):
            copy.write_bytes(path.read_bytes())
        read(copies[i])
        for path in cached_files(files):  # so that the order of writing is the order of times
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    assert len(cached_files(files)) == 2
    monkeypatch.setitem(decoded_cache.DECODERS, "png", no_more)
    np.testing.assert_array_equal(read(copies[2]), DIGITS)
    with pytest.raises(AssertionError, match="copy 0"):
        read(copies[0])


def test_quick_recent_or_faulty_folders_are_not_cached(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_cache, "SETTLED", 60.0)
    read(files)
    monkeypatch.setattr(decoded_cache, "SETTLED", -60.0)
    monkeypatch.setattr(decoded_cache, "SLOW", 60.0)
    read(files)
    monkeypatch.setattr(decoded_cache, "SLOW", -1.0)
    files[0].write_bytes(b"")
    problems: list[str] = []
    decoded_cache.pixels(files, "png", "test", problems)
    assert len(problems) == 1
    assert not (files[0].parents[1] / "cache").exists()


def test_an_unwritable_cache_only_costs_time(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (files[0].parents[1] / "cache").write_text("a file where the folder would be")
    np.testing.assert_array_equal(read(files), DIGITS)
    assert "cannot be kept" in capsys.readouterr().err


def test_a_vanished_file_is_reported(files: list[Path]) -> None:
    files[4].unlink()
    problems: list[str] = []
    decoded_cache.pixels(files, "png", "test", problems)
    assert [str(files[4]) in problem for problem in problems] == [True]


def test_long_work_shows_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> Iterator[int]:
        yield 0
        time.sleep(0.2)
        yield 1

    monkeypatch.setattr(decoded_cache, "SLOW", 0.05)
    assert list(decoded_cache.counted(work(), 2, "reading scans")) == [0, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"reading scans: 1/2 images  [\d,.]+ images/s  ETA 0:00", line)
    monkeypatch.setattr(decoded_cache, "SLOW", 60.0)
    assert len(list(decoded_cache.counted(range(5), 5, "reading scans"))) == 5
    assert not capsys.readouterr().err
