"""Data sets of publishers, fetched from servers of this machine: real digits in each of their formats."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.cli import main
from harness.data import cache, described_sets, download, emnist, found_digests, idx
from harness.data.datasets import Dataset, Facts, datasets, digest
from harness.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

TRAIN, TEST = slice(0, 50), slice(50, 70)


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = datasets["digits"].load()
    return images.train_images[:70], images.train_labels[:70]


Parts = dict[str, bytes]


def idx_gz(array: NDArray[Any]) -> bytes:
    return gzip.compress(idx.pack(array), mtime=0)


def zipped(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def kmnist(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Parts:
    return {
        f"{name}-{kind}-ubyte.gz": idx_gz(array[part])
        for name, part in (("train", TRAIN), ("t10k", TEST))
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels.astype(np.uint8)))
    }


def emnist_letters(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Parts:
    lying = np.ascontiguousarray(pixels.transpose(0, 2, 1))
    members = {
        f"gzip/emnist-letters-{name}-{kind}-ubyte.gz": idx_gz(array[part])
        for name, part in (("train", TRAIN), ("test", TEST))
        for kind, array in (("images-idx3", lying), ("labels-idx1", (labels + 1).astype(np.uint8)))
    }
    return {"gzip.zip": zipped({"gzip/emnist-balanced-mapping.txt": b"0 48\n", **members})}


def qmnist(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Parts:
    table = np.full((len(labels), 8), 77, np.int32)
    table[:, 0] = labels
    return {
        f"qmnist-{name}-{kind}.gz": idx_gz(array[part])
        for name, part in (("train", TRAIN), ("test", TEST))
        for kind, array in (("images-idx3-ubyte", pixels), ("labels-idx2-int", table))
    }


def in_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Digits as 32 x 32 images, another value in each channel."""
    large = pixels.repeat(4, axis=1).repeat(4, axis=2)
    return np.stack([large, large + 20, large + 40], axis=-1)


def cifar10(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Parts:
    def batch(part: slice) -> bytes:
        rows = [
            bytes([label]) + image.transpose(2, 0, 1).tobytes()
            for image, label in zip(in_colour(pixels)[part], labels[part].tolist(), strict=True)
        ]
        return b"".join(rows)

    parts = {f"data_batch_{n + 1}": slice(10 * n, 10 * n + 10) for n in range(5)}
    members = {
        f"cifar-10-batches-bin/{name}.bin": batch(part)
        for name, part in {"test_batch": slice(50, 60), **parts}.items()
    }
    return {"cifar-10-binary.tar.gz": tarred({"cifar-10-batches-bin/readme.html": b"<p>", **members})}


def usps(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Parts:
    def text(part: slice) -> bytes:
        large = pixels[part].repeat(2, axis=1).repeat(2, axis=2).reshape(-1, 256) / 8 - 1
        lines = [
            f"{label + 1} " + " ".join(f"{place}:{value:g}" for place, value in enumerate(image, 1)) + " \n"
            for image, label in zip(large, labels[part].tolist(), strict=True)
        ]
        return "".join(lines).encode()

    return {"usps.bz2": bz2.compress(text(TRAIN)), "usps.t.bz2": bz2.compress(text(TEST))}


WRITERS = {f.__name__: f for f in (kmnist, emnist_letters, qmnist, cifar10, usps)}


class Mirror:
    """A web server with a folder of files, and faults."""

    def __init__(self, files: Parts, cut: int = 0, ranges: bool = True) -> None:
        self.files, self.cut, self.ranges = files, cut, ranges
        self.asked: list[tuple[str, str | None]] = []
        self.base = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.strip("/"), handler.headers.get("Range")
        self.asked.append((name, wanted))
        if name not in self.files:
            handler.send_error(404)
            return
        content = self.files[name]
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if begin and begin >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.end_headers()
        rest = content[begin:]
        handler.wfile.write(rest[: self.cut] if self.cut else rest)


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        mirror.base = f"http://127.0.0.1:{listening.server_port}/"
        yield mirror
        listening.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, root: Path) -> Callable[..., None]:  # noqa: ARG001 (its cache)
    """Pin a data set's files, and name its mirrors."""

    def published(name: str, files: Parts, *mirrors: Mirror) -> None:
        kind = "md5" if name == "usps" else "sha256"
        pins = {file: f"{kind}:{hashlib.new(kind, data).hexdigest()}" for file, data in files.items()}
        monkeypatch.setattr(cache, "PINS", {**cache.PINS, name: pins})
        monkeypatch.setattr(download, "PUBLISHERS", {name: [mirror.base for mirror in mirrors]})
        monkeypatch.setattr(described_sets, "CIFAR_BATCH", 10 * 3073)

    return published


# What comes


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_fetched_set_has_the_images_and_labels_that_its_files_have(
    name: str, digits: Any, publish: Callable[..., None], root: Path
) -> None:
    pixels, labels = digits
    files = WRITERS[name](pixels, labels)
    with serving(Mirror(files)) as mirror:
        publish(name, files, mirror)
        images = described_sets.SETS[name].read()
        described_sets.SETS[name].read()
    assert sorted(mirror.asked) == sorted((file, None) for file in files)  # and not twice
    ends = 60 if name == "cifar10" else 70
    expected = {"cifar10": in_colour(pixels)}.get(name, pixels)
    if name == "usps":  # digits have pixels 0 to 16, of which 8 is the middle
        expected = (pixels.repeat(2, axis=1).repeat(2, axis=2) / 16 * 255).round().astype(np.uint8)
    assert np.array_equal(images.train_images, expected[:50])
    assert np.array_equal(images.test_images, expected[50:ends])
    assert images.train_labels.tolist() == labels[:50].tolist()
    assert images.test_labels.tolist() == labels[50:ends].tolist()
    assert {array.dtype.name for array in (images.train_labels, images.test_labels)} == {"int64"}
    assert {p.name for p in (root / name).iterdir()} == {".lock", *files}
    assert all((root / name / file).read_bytes() == data for file, data in files.items())


def test_names_may_be_spelled_as_their_publishers_do(
    digits: Any, publish: Callable[..., None], root: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = emnist_letters(*digits)
    with serving(Mirror(files)) as mirror:
        publish("emnist_letters", files, mirror)
        for spelled in ("emnist-letters", "emnist_letters"):
            monkeypatch.setattr("sys.argv", ["harness", "data", "fetch", spelled])
            with pytest.raises(SystemExit) as end:
                main.main()
            assert end.value.code == 0
            assert capsys.readouterr().out == f"emnist_letters: {root / 'emnist_letters'}\n"
    assert cache.fetched() == ["mnist", "fashion_mnist", "emnist_letters"]


# Faults of mirrors


def fetched(root: Path, files: Parts) -> bool:
    """Whether the files, and nothing besides, are in the cache."""
    there = {path.name: path.read_bytes() for path in root.iterdir() if path.name != ".lock"}
    return there == files


@pytest.mark.parametrize("fault", ["dead", "404", "wrong bytes"])
def test_a_second_mirror_is_asked_where_the_first_fails(
    fault: str, digits: Any, publish: Callable[..., None], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = usps(*digits)
    wrong = {"404": {}, "dead": files, "wrong bytes": {file: data[::-1] for file, data in files.items()}}
    with serving(Mirror(wrong[fault])) as first, serving(Mirror(files)) as second:
        publish("usps", files, first, second)
        if fault == "dead":
            first.base = "http://127.0.0.1:9/"  # nothing listens on the discard port
            publish("usps", files, first, second)
        download.download("usps")
    assert fetched(root / "usps", files)
    assert len(second.asked) == 2
    said = {"dead": "Connection refused", "404": "404", "wrong bytes": "usps.bz2: damaged: MD5 expected "}
    assert said[fault] in capsys.readouterr().err


def test_a_download_that_was_cut_is_continued(publish: Callable[..., None], root: Path) -> None:
    files = {"gzip.zip": hashlib.shake_128(b"x").digest(300_000)}
    with serving(Mirror(files, cut=200_000)) as mirror:
        publish("emnist_letters", files, mirror)
        with pytest.raises(MachineError, match=r"no source has gzip\.zip"):
            download.download("emnist_letters")
        part = (root / "emnist_letters/.part-gzip.zip").read_bytes()
        assert 100_000 < len(part) <= 200_000
        assert files["gzip.zip"].startswith(part)
        mirror.cut = 0
        download.download("emnist_letters")
    assert mirror.asked == [("gzip.zip", None), ("gzip.zip", f"bytes={len(part)}-")]
    assert fetched(root / "emnist_letters", files)


def test_a_server_that_cannot_continue_sends_all_of_it(
    digits: Any, publish: Callable[..., None], root: Path
) -> None:
    files = emnist_letters(*digits)
    with serving(Mirror(files, ranges=False)) as mirror:
        publish("emnist_letters", files, mirror)
        (root / "emnist_letters").mkdir(parents=True)
        (root / "emnist_letters/.part-gzip.zip").write_bytes(files["gzip.zip"][:1000])
        download.download("emnist_letters")
    assert mirror.asked == [("gzip.zip", "bytes=1000-")]
    assert fetched(root / "emnist_letters", files)


@pytest.mark.parametrize("begun", ["other", "longer"])
def test_a_part_of_other_bytes_is_given_up_for_a_fresh_download(
    begun: str, digits: Any, publish: Callable[..., None], root: Path
) -> None:
    files = emnist_letters(*digits)
    part = b"other" * 100 if begun == "other" else files["gzip.zip"] + b"more"
    with serving(Mirror(files)) as mirror:
        publish("emnist_letters", files, mirror)
        (root / "emnist_letters").mkdir(parents=True)
        (root / "emnist_letters/.part-gzip.zip").write_bytes(part)
        download.download("emnist_letters")
    assert mirror.asked == [("gzip.zip", f"bytes={len(part)}-"), ("gzip.zip", None)]
    assert fetched(root / "emnist_letters", files)


def test_a_part_that_is_whole_already_is_used(digits: Any, publish: Callable[..., None], root: Path) -> None:
    files = emnist_letters(*digits)
    with serving(Mirror(files)) as mirror:
        publish("emnist_letters", files, mirror)
        (root / "emnist_letters").mkdir(parents=True)
        (root / "emnist_letters/.part-gzip.zip").write_bytes(files["gzip.zip"])
        download.download("emnist_letters")
    assert len(mirror.asked) == 1
    assert fetched(root / "emnist_letters", files)


def test_a_file_of_too_many_bytes_is_not_begun(
    digits: Any, publish: Callable[..., None], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = emnist_letters(*digits)
    monkeypatch.setattr(cache, "LARGEST_PACKED", 500)
    with serving(Mirror(files)) as mirror:
        publish("emnist_letters", files, mirror)
        with pytest.raises(MachineError, match="it would send over 500 bytes"):
            download.download("emnist_letters")
    assert fetched(root / "emnist_letters", {})


def test_where_no_mirror_answers_one_error_names_the_files_and_their_place(
    digits: Any, publish: Callable[..., None], root: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files = kmnist(*digits)
    dead = Mirror({})
    dead.base = "http://127.0.0.1:9/"
    publish("kmnist", files, dead)
    monkeypatch.setattr("sys.argv", ["harness", "data", "fetch", "kmnist"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    for part in (*files, str(root / "kmnist"), "Connection refused", "put the files (as published) in"):
        assert part in said


def test_what_cannot_be_had_keeps_no_other_set_from_coming(
    digits: Any, publish: Callable[..., None], root: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files = usps(*digits)
    with serving(Mirror(files)) as mirror:
        publish("usps", files, mirror)
        monkeypatch.setattr(
            download, "PUBLISHERS", {"usps": [mirror.base], "kmnist": ["http://127.0.0.1:9/"]}
        )
        monkeypatch.setattr("sys.argv", ["harness", "data", "fetch", "kmnist", "usps"])
        with pytest.raises(SystemExit) as end:
            main.main()
    assert end.value.code == 1
    said = capsys.readouterr()
    assert said.out == f"usps: {root / 'usps'}\n"
    assert "error: kmnist: no source has " in said.err
    assert fetched(root / "usps", files)


def test_files_put_there_by_hand_are_verified_and_used(
    digits: Any, publish: Callable[..., None], root: Path
) -> None:
    files = kmnist(*digits)
    with serving(Mirror(files)) as mirror:
        publish("kmnist", files, mirror)
        (root / "kmnist").mkdir(parents=True)
        for file, data in files.items():
            (root / "kmnist" / file).write_bytes(data if file[:4] == "t10k" else data[:-1])
        download.download("kmnist")
    # The damaged ones were set aside, and only they were asked for.
    assert {file for file, _ in mirror.asked} == {file for file in files if file[:5] == "train"}
    assert {p.name for p in (root / "kmnist").glob("*.damaged")} == {f"{f}.damaged" for f, _ in mirror.asked}


# Digests that are found


def a_set(root: Path, *, train: int = 50, recipe: str = "a") -> tuple[Dataset, list[int]]:  # noqa: ARG001
    """A data set of which all but the digest is known, and how often it was read."""
    reads: list[int] = []

    def read() -> Any:
        reads.append(1)
        images = datasets["digits"].load()
        return type(images)(
            images.train_images[:50], images.train_labels[:50],
            images.test_images[:20], images.test_labels[:20],
        )  # fmt: skip

    known = Facts((8, 8), tuple("0123456789"), train, 20, 16, "")
    return Dataset("found", read, known=known, recipe=lambda: recipe), reads


def test_a_digest_is_found_by_the_first_load_and_kept_for_other_processes(root: Path) -> None:
    first, reads = a_set(root)
    found = first.facts.digest
    assert found == digest(first.load())
    assert len(reads) == 2
    second, reads = a_set(root)
    assert second.facts.digest == found
    assert not reads
    assert second.facts.train == 50
    # Another recipe finds its own.
    third, reads = a_set(root, recipe="b")
    assert third.facts.digest == found
    assert reads


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"[]", b'{"of": "a", "digest": 7}', b'{"of": "a", "digest": "x"}']
)
def test_a_kept_digest_that_is_damaged_is_found_anew(root: Path, kept: bytes) -> None:
    (root / "found").mkdir(parents=True)
    (root / "found" / found_digests.FILE).write_bytes(kept)
    dataset, reads = a_set(root)
    assert len(dataset.facts.digest) == 64
    assert reads


def test_images_that_are_not_those_of_the_kept_digest_are_refused(root: Path) -> None:
    found_digests.keep("found", "a", "0" * 64)
    dataset, _ = a_set(root)
    assert dataset.facts.digest == "0" * 64
    with pytest.raises(MachineError, match="is not the one it was"):
        dataset.load()


def test_images_that_are_not_as_described_are_refused(root: Path) -> None:
    dataset, _ = a_set(root, train=51)
    with pytest.raises(MachineError, match=r"not as described: .* \(\(8, 8\), 50, 20\), expected .* 51"):
        dataset.load()
    assert not (root / "found").exists()


# Formats


def test_qmnists_table_has_eight_columns() -> None:
    table = np.array([[3, 1, 2, 3, 4, 5, 0, 0], [9, 1, 2, 3, 4, 5, 0, 0]], np.int32)
    assert emnist.column(table, "table").tolist() == [3, 9]
    with pytest.raises(
        UsageError, match=r"table: got int32 of shape \(2, 7\); allowed: QMNIST's label table"
    ):
        emnist.column(table[:, :7], "table")


@pytest.mark.parametrize("name", sorted(described_sets.SETS))
def test_docstrings_of_described_sets_name_source_and_licence(name: str) -> None:
    words = described_sets.SETS[name].read.__doc__ or ""
    assert "Source: " in words
    assert "Licence: " in words


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_each_published_set_is_as_described(name: str) -> None:
    facts = datasets[name].facts
    assert len(facts.digest) == 64
    assert digest(datasets[name].load()) == facts.digest
