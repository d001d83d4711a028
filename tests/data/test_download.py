"""Faults are real ones: servers that hang up, disks that refuse, processes that are killed."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.data import cache, download
from harness.data.download import Source, Unavailable
from harness.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# Small stand-ins for the IDX files; incompressible, so that a cut .gz is cut in its data.
FILES = {f"file-{n}": hashlib.shake_128(bytes([n])).digest(50_000) for n in range(4)}
PINS = {file: hashlib.sha256(data).hexdigest() for file, data in FILES.items()}


def fetch(root: Path, *places: Source) -> Path:
    return download.download("toy", root=root, sources=places, pins=PINS)


def states(root: Path) -> list[str]:
    return [state.status for state in cache.verify("toy", root=root, pins=PINS)]


def shelf(folder: Path, files: Mapping[str, bytes] = FILES) -> Source:
    """A folder with the files, as a source."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return download.local_folder(folder)


def assert_whole(folder: Path, *besides: str) -> None:
    """Every file is right, and no temporary file is left."""
    assert {path.name for path in folder.iterdir()} - {".lock", *besides} == set(FILES)
    assert all((folder / file).read_bytes() == data for file, data in FILES.items())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# The cache


def test_cached_files_need_no_source_and_print_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf(root / "toy")
    assert fetch(root) == root / "toy"
    assert capsys.readouterr() == ("", "")


def test_harness_data_sets_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert cache.cache_root() == tmp_path
    assert [state.path for state in cache.verify("mnist")] == [
        tmp_path / "mnist" / f for f in cache.PINS["mnist"]
    ]
    monkeypatch.delenv("HARNESS_DATA")
    assert cache.cache_root().name == "ablation-harness"


@pytest.mark.parametrize("ask", [download.download, cache.verify])
def test_an_unknown_name_is_a_usage_error(ask: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        ask("mnits")


def test_check_tells_ok_missing_and_damaged(root: Path) -> None:
    shelf(root / "toy", FILES | {"file-1": b"short"})
    (root / "toy/file-3").unlink()
    found = cache.verify("toy", root=root, pins=PINS)
    assert [state.status for state in found] == ["ok", "damaged", "ok", "missing"]
    assert str(found[1]).endswith(f"expected {PINS['file-1']}, got {hashlib.sha256(b'short').hexdigest()}")


def test_a_flipped_byte_is_reported_and_repaired(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shelf(tmp_path / "good")
    with (fetch(root, source) / "file-2").open("r+b") as stream:
        stream.seek(30_000)
        byte = stream.read(1)[0]
        stream.seek(30_000)
        stream.write(bytes([byte ^ 1]))
    assert states(root) == ["ok", "ok", "damaged", "ok"]
    assert_whole(fetch(root, source), "file-2.damaged")
    said = capsys.readouterr().err
    assert f"file-2: damaged: expected {PINS['file-2']}, got " in said
    assert "set aside as file-2.damaged" in said


def test_a_damaged_file_without_a_replacement_is_not_returned(root: Path) -> None:
    shelf(root / "toy", FILES | {"file-0": b"wrong"})
    with pytest.raises(MachineError, match="no source has file-0"):
        fetch(root)
    assert states(root) == ["missing", "ok", "ok", "ok"]


# Local sources


def test_files_put_by_hand_may_be_gzipped(root: Path) -> None:
    (root / "toy").mkdir(parents=True)
    for file, data in FILES.items():
        (root / "toy" / f"{file}.gz").write_bytes(gzip.compress(data))
    folder = fetch(root, download.local_folder(root / "toy"))
    assert_whole(folder, *(f"{file}.gz" for file in FILES))


def test_a_file_that_comes_twice_counts_once(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shelf(tmp_path / "both")
    (tmp_path / "both/file-0.gz").write_bytes(b"\x1f\x8b garbage")
    assert_whole(fetch(root, source))
    assert "file-0" not in capsys.readouterr().err


@pytest.mark.parametrize("data", [gzip.compress(FILES["file-0"])[:-200], b"\x1f\x8b garbage", b""])
def test_a_cut_or_wrong_gz_is_passed_over(root: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/file-0.gz").write_bytes(data)
    assert_whole(fetch(root, download.local_folder(tmp_path / "bad"), shelf(tmp_path / "good")))
    with pytest.raises(MachineError, match=r"file-0: (file-0\.gz cannot be read|damaged: SHA-256 expected)"):
        fetch(tmp_path / "other", download.local_folder(tmp_path / "bad"))


def test_unpacking_stops_beyond_the_largest_known_size(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LARGEST", cache.CHUNK)
    source = shelf(tmp_path / "bomb", FILES | {"file-0": gzip.compress(bytes(9 * cache.CHUNK))})
    with pytest.raises(MachineError, match=r"file-0: damaged: it unpacks to over 1,048,576 bytes"):
        fetch(root, source)
    assert states(root)[0] == "missing"


def test_a_later_source_is_asked_only_for_what_is_left(root: Path, tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        asked.append(wanted)
        return shelf(tmp_path / "rest").bring(wanted, scratch)

    some = {file: FILES[file] for file in ("file-0", "file-2")}
    assert_whole(fetch(root, shelf(tmp_path / "some", some), Source("rest", bring)))
    assert asked == [["file-1", "file-3"]]


def test_without_any_source_the_error_lists_attempts_and_advice(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.socket() as closed:  # bound and not listening: refuses every connection
        closed.bind(("127.0.0.1", 0))
        places = [
            download.local_folder(tmp_path / "nowhere"),
            download.mirror(f"http://127.0.0.1:{closed.getsockname()[1]}/"),
            download.npm_package("some-data", "1.0.0"),
            download.debian_package("some-data"),
        ]
        with pytest.raises(MachineError) as caught:
            fetch(root, *places)
    words = str(caught.value)
    for reason in ("no such folder", "Connection refused", "npm is not on", "apt-get is not on"):
        assert reason in words
    assert "ConnectionPool" not in words  # the first error of the chain, not what libraries wrap it in
    assert str(root / "toy") in words
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"toy: 4 of 4 files not in the cache ({root / 'toy'}); trying ")
    assert all(any(f"trying {place.title} ..." in line for line in said) for place in places)


# Mirrors


@contextmanager
def server(
    answer: Callable[[http.server.BaseHTTPRequestHandler, str], None],
) -> Iterator[tuple[Source, list[str]]]:
    """A real mirror on this machine, and the list of files it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.strip("/"))
            answer(self, asked[-1].removesuffix(".gz"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield download.mirror(f"http://127.0.0.1:{listening.server_port}/"), asked
        listening.shutdown()
        thread.join()


def send(handler: http.server.BaseHTTPRequestHandler, body: bytes, promised: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(promised or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_a_mirror_serves_gz_files(root: Path) -> None:
    with server(lambda handler, file: send(handler, gzip.compress(FILES[file]))) as (mirror, asked):
        assert_whole(fetch(root, mirror))
    assert asked == [f"{file}.gz" for file in FILES]


def test_a_download_cut_in_the_middle_leaves_nothing_and_ends_with_the_host(
    root: Path, tmp_path: Path
) -> None:
    def cut(handler: http.server.BaseHTTPRequestHandler, file: str) -> None:
        body = gzip.compress(FILES[file])
        send(handler, body if file == "file-0" else body[:20_000], promised=len(body))

    with server(cut) as (mirror, asked):
        with pytest.raises(MachineError, match="no source has file-1, file-2, file-3") as caught:
            fetch(root, mirror)
        assert asked == ["file-0.gz", "file-1.gz"]
        assert "20000 bytes read" in str(caught.value)
        assert {path.name for path in (root / "toy").iterdir()} == {".lock", "file-0"}
        assert_whole(fetch(root, mirror, shelf(tmp_path / "good")))


def test_a_missing_file_and_a_web_page_in_its_place_are_reported(root: Path) -> None:
    with server(lambda handler, _: handler.send_error(404)) as (mirror, asked):
        with pytest.raises(MachineError, match="404"):
            fetch(root, mirror)
        assert len(asked) == 1
    page = b"<html>Log in first</html>"
    with server(lambda handler, _: send(handler, page)) as (mirror, asked):
        with pytest.raises(MachineError, match=rf"file-3: damaged: SHA-256 expected {PINS['file-3'][:16]}"):
            fetch(root, mirror)
        assert len(asked) == 4
    assert states(root) == ["missing"] * 4


# Package managers: real archives, brought by stand-ins for the clients


def client(folder: Path, name: str, code: str) -> None:
    """Put a command on the PATH's front folder that runs Python code in place of a client."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\nimport pathlib, shutil, sys\n{textwrap.dedent(code)}")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


def tarball(path: Path, members: Sequence[tuple[str, bytes, str]]) -> None:
    """Write a .tgz of (name, data, link target): whatever a hostile hand may put there."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data, link in members:
            member = tarfile.TarInfo(name)
            member.size = 0 if link else len(data)
            member.type, member.linkname = (tarfile.SYMTYPE if link else tarfile.REGTYPE), link
            tar.addfile(member, io.BytesIO(data))


def test_an_npm_tarball_cannot_escape(root: Path, tmp_path: Path, bin_folder: Path) -> None:
    tarball(
        tmp_path / "hostile.tgz",
        [
            ("../../../../escaped", b"!", ""),
            (str(tmp_path / "escaped"), b"!", ""),
            ("package/data/file-0", b"", str(tmp_path / "escaped")),
            ("../../../../file-0", FILES["file-0"], ""),
            *((f"package/data/{file}", FILES[file], "") for file in ("file-1", "file-2", "file-3")),
        ],
    )
    client(bin_folder, "npm", f"shutil.copy({str(tmp_path / 'hostile.tgz')!r}, 'some-data-1.0.0.tgz')")
    before = {path for path in tmp_path.rglob("*") if root not in path.parents} | {root}
    assert_whole(fetch(root, download.npm_package("some-data", "1.0.0")))
    assert {path for path in tmp_path.rglob("*") if root not in path.parents} == before


@pytest.mark.parametrize("size", [0, 300, 60_000])
def test_a_cut_tarball_is_passed_over(root: Path, tmp_path: Path, bin_folder: Path, size: int) -> None:
    tarball(tmp_path / "whole.tgz", [(file, data, "") for file, data in FILES.items()])
    (tmp_path / "cut.tgz").write_bytes((tmp_path / "whole.tgz").read_bytes()[:size])
    client(bin_folder, "npm", f"shutil.copy({str(tmp_path / 'cut.tgz')!r}, '.')")
    assert_whole(fetch(root, download.npm_package("some-data", "1.0.0"), shelf(tmp_path / "good")))
    with pytest.raises(MachineError, match="the archive cannot be read"):
        fetch(tmp_path / "other", download.npm_package("some-data", "1.0.0"))


def test_messages_of_clients_are_passed_on(root: Path, bin_folder: Path) -> None:
    client(bin_folder, "npm", "sys.exit('npm warn old\\nnpm error code E404\\nnpm error no such package')")
    with pytest.raises(MachineError, match="npm pack failed: npm error code E404; npm error no such package"):
        fetch(root, download.npm_package("some-data", "1.0.0"))
    client(bin_folder, "npm", "pass")
    with pytest.raises(MachineError, match=r"expected one .* from the client, got 0"):
        fetch(root, download.npm_package("some-data", "1.0.0"))


def test_a_client_that_hangs_is_ended(
    root: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "CLIENT_TIMEOUT", 0.5)
    monkeypatch.setattr(download, "CLIENT_WORD", 0.2)
    client(bin_folder, "npm", "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(MachineError, match=r"npm pack took over 0\.5 s"):
        fetch(root, download.npm_package("some-data", "1.0.0"))
    assert time.monotonic() - started < 20
    assert "npm pack: still at work after " in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a real .deb, which needs dpkg-deb")
def test_a_debian_package_comes_by_private_lists_when_the_machine_has_none(
    root: Path, tmp_path: Path, bin_folder: Path
) -> None:
    (tmp_path / "deb/DEBIAN").mkdir(parents=True)
    control = (
        "Package: some-data\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: toy\n"
    )
    (tmp_path / "deb/DEBIAN/control").write_text(control)
    (tmp_path / "deb/usr/share").mkdir(parents=True)
    for file, data in FILES.items():
        (tmp_path / f"deb/usr/share/{file}.gz").write_bytes(gzip.compress(data))
    build = [
        "dpkg-deb",
        "--build",
        "--root-owner-group",
        str(tmp_path / "deb"),
        str(tmp_path / "some-data.deb"),
    ]
    subprocess.run(build, check=True, capture_output=True)
    log = tmp_path / "log"
    client(
        bin_folder,
        "apt-get",
        f"""
        options = dict(word.split("=", 1) for word in sys.argv if "=" in word)
        lists = [pathlib.Path(options[key]) for key in options if key == "Dir::State::lists"]
        with open({str(log)!r}, "a") as stream:
            print(sys.argv[1], bool(lists), file=stream)
        if sys.argv[1] == "update":
            (lists[0] / "partial" / "made").touch()
        elif not lists or not (lists[0] / "partial" / "made").exists():
            sys.exit("E: Unable to locate package some-data")
        else:
            shutil.copy({str(tmp_path / "some-data.deb")!r}, "some-data_1_all.deb")
        """,
    )
    assert_whole(fetch(root, download.debian_package("some-data")))
    assert log.read_text().splitlines() == ["download False", "update True", "download True"]


# Processes and disks

PROCESS = """
import resource, sys, time
from pathlib import Path
from harness.data import download
from harness.errors import MachineError
root, good, log, pause, limit = sys.argv[1:]
pins = {pins!r}

def bring(wanted, scratch):
    for file, path in download.local_folder(Path(good)).bring(wanted, scratch):
        with open(log, "a") as stream:
            print(file, file=stream)
        (scratch / file).write_bytes(path.read_bytes())
        time.sleep(float(pause))
        yield file, scratch / file

if limit != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    download.download("toy", root=Path(root), sources=[download.Source("slow", bring)], pins=pins)
except MachineError as error:
    sys.exit(str(error))
"""


def process(tmp_path: Path, root: Path, pause: float, limit: int = 0) -> subprocess.Popen[str]:
    """A process of its own that fetches from a slow source, `pause` seconds a file."""
    shelf(tmp_path / "good")
    code = PROCESS.replace("{pins!r}", repr(PINS))
    arguments = [str(root), str(tmp_path / "good"), str(tmp_path / "log"), str(pause), str(limit)]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)


def test_two_processes_fetch_once(root: Path, tmp_path: Path) -> None:
    both = [process(tmp_path, root, 0.3) for _ in range(2)]
    said = [one.communicate(timeout=60)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert_whole(root / "toy")
    assert (tmp_path / "log").read_text().split() == list(FILES)
    assert sum("another process is downloading it" in words for words in said) == 1


def test_a_killed_fetch_leaves_whole_files_and_is_continued(root: Path, tmp_path: Path) -> None:
    with process(tmp_path, root, 30) as slow:
        wait_for(lambda: (tmp_path / "log").exists() and list((root / "toy").glob(".fetch-*/file-0")))
        slow.send_signal(signal.SIGKILL)
    assert list((root / "toy").glob(".fetch-*"))
    assert states(root) == ["missing"] * 4
    assert_whole(fetch(root, shelf(tmp_path / "good")))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_full_disk_is_a_machine_error_and_leaves_no_partial_file(root: Path, tmp_path: Path) -> None:
    # A file size limit refuses a write in the middle of a file, as a full disk does, without needing one.
    with process(tmp_path, root, 0, limit=20_000) as limited:
        said = limited.communicate(timeout=60)[1]
    assert limited.returncode == 1
    assert f"the data cache {root / 'toy'} cannot be written: File too large. Free some space" in said
    assert "Traceback" not in said
    assert [path.name for path in (root / "toy").iterdir()] == [".lock"]


def test_an_uncreatable_cache_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file-0 is missing.*cannot be written: .*set HARNESS_DATA"):
        fetch(tmp_path / "file" / "cache", shelf(tmp_path / "good"))


def test_an_unreadable_cached_file_is_a_machine_error(root: Path) -> None:
    (root / "toy/file-0").mkdir(parents=True)
    with pytest.raises(MachineError, match="file-0 cannot be read"):
        fetch(root)


def test_files_of_a_source_that_fails_halfway_are_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        yield next(shelf(tmp_path / "good").bring(wanted, scratch))
        raise Unavailable("closed on Sundays")

    with pytest.raises(MachineError, match="no source has file-1, file-2, file-3"):
        fetch(root, Source("shop", bring))
    assert states(root) == ["ok", "missing", "missing", "missing"]
    said = capsys.readouterr().err
    assert "toy: 1 of 4 files verified, from shop" in said
    assert "toy: shop: closed on Sundays" in said


# The real thing


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(cache.PINS))
def test_each_data_set_can_be_had_from_scratch(root: Path, name: str) -> None:
    folder = download.download(name, root=root)
    assert {state.status for state in cache.verify(name, root=root)} == {"ok"}
    assert not list(folder.glob(".fetch-*"))
