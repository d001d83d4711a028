"""Archives that a hostile hand may have made."""

from __future__ import annotations

import bz2
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from harness.data import archives
from harness.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def tar(path: Path, members: Sequence[tuple[str, bytes, str]]) -> Path:
    """Write a .tar.gz of (name, data, link target)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data, link in members:
            member = tarfile.TarInfo(name)
            member.size = 0 if link else len(data)
            member.type, member.linkname = (tarfile.SYMTYPE if link else tarfile.REGTYPE), link
            archive.addfile(member, io.BytesIO(data))
    return path


def test_only_named_members_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tar(
        tmp_path / "in/a.tar.gz",
        [
            ("../../escaped", b"!", ""),
            (str(tmp_path / "escaped"), b"!", ""),
            ("x/one", b"1", ""),
            ("two", b"22", ""),
        ],
    )
    assert archives.of_tar(path, {"x/one": 1, "two": 2}) == {"x/one": b"1", "two": b"22"}
    assert {p.name for p in tmp_path.rglob("*")} == {"in", "a.tar.gz"}


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("one", b"123", "")], "its one is no file of 2 bytes, once"),
        ([("one", b"", "/etc/passwd")], "its one is no file of 2 bytes, once"),
        ([("one", b"12", ""), ("one", b"34", "")], "its one is no file of 2 bytes, once"),
        ([("../one", b"12", "")], "the archive lacks one"),
        ([], "the archive lacks one"),
    ],
)
def test_a_tar_with_other_members_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes, str]], fault: str
) -> None:
    path = tar(tmp_path / "a.tar.gz", members)
    with pytest.raises(MachineError, match=rf"a\.tar\.gz: {fault}\. Remove the file and fetch it again"):
        archives.of_tar(path, {"one": 2})


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_cut_archive_is_refused(tmp_path: Path, size: int) -> None:
    whole = tar(tmp_path / "a.tar.gz", [("one", bytes(range(256)) * 9, "")]).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[:size])
    with pytest.raises(MachineError, match=r"the archive (cannot be read|lacks)"):
        archives.of_tar(tmp_path / "a.tar.gz", {"one": 2304})
    (tmp_path / "a.zip").write_bytes(b"PK\3\4"[:size])
    with pytest.raises(MachineError, match="the archive cannot be read"):
        archives.of_zip(tmp_path / "a.zip", ["one"], 10)
    (tmp_path / "a.bz2").write_bytes(bz2.compress(bytes(range(256)))[: size or 5])
    with pytest.raises(MachineError, match="it cannot be read"):
        archives.of_bz2(tmp_path / "a.bz2", 1000)


def test_a_zip_member_that_is_large_or_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../one", "!")
        archive.writestr("one", bytes(10_000))
    assert archives.of_zip(tmp_path / "a.zip", ["one"], 10_000) == {"one": bytes(10_000)}
    with pytest.raises(MachineError, match="its one is no file of at most 9,999 bytes, once"):
        archives.of_zip(tmp_path / "a.zip", ["one"], 9_999)
    with pytest.raises(MachineError, match="the archive lacks two"):
        archives.of_zip(tmp_path / "a.zip", ["one", "two"], 10_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("one", "again")
    with pytest.raises(MachineError, match="once"):
        archives.of_zip(tmp_path / "a.zip", ["one"], 10_000)


def test_a_bz2_file_unpacks_to_no_more_than_it_may(tmp_path: Path) -> None:
    (tmp_path / "a.bz2").write_bytes(bz2.compress(bytes(5_000)))
    assert archives.of_bz2(tmp_path / "a.bz2", 5_000) == bytes(5_000)
    with pytest.raises(MachineError, match="it unpacks to over 4,999 bytes"):
        archives.of_bz2(tmp_path / "a.bz2", 4_999)
