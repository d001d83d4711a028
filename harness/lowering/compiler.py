"""Compilation: a C text becomes a shared object in the cache, once on a machine, and is loaded from there.

Without a C compiler, with one that fails or hangs, and where the cache cannot be written, this is an
UnavailableError, in words; PyTorch then computes what the compiled code would. HARNESS_KERNELS=off does the
same, and HARNESS_KERNELS=on has compiled code used without a test.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.data import cache
from harness.lowering import builds
from harness.lowering.builds import Build
from harness.system import locks, machine

SWITCH = "HARNESS_KERNELS"
"""The environment variable that says whether compiled code is used."""
OFF = {"off", "0", "no"}
"""Its values that disable it."""
ON = {"on", "1", "yes"}
"""Its values that enable it without a test."""
HEADERS = Path(__file__).with_name("headers")
TIMEOUT = 120.0
"""Seconds for a compiler."""
PATIENCE = 600.0
"""Seconds in which a compiler that took too long is not asked the same again, by any process."""
FENV_BYTES = 256
"""At least the size of fenv_t of any C library (32 in glibc on x86-64)."""
REALS = {"float32": ("float", 4), "float64": ("double", 8)}


class UnavailableError(Exception):
    """There is no compiled code here; the message says why."""


@dataclass(frozen=True)
class _Request:
    """A text to be compiled, for messages called `name`."""

    text: str
    real: str
    name: str
    includes: tuple[Path, ...]
    build: Build

    @property
    def flags(self) -> tuple[str, ...]:
        real, size = REALS[self.real]
        folders = (f"-I{folder}" for folder in (*self.includes, HEADERS))
        return (*self.build.flags, f"-DREAL={real}", f"-DREAL_BYTES={size}", *folders)


def switched_off() -> bool:
    """Tell whether a person wants no compiled code."""
    return os.environ.get(SWITCH, "").lower() in OFF


def missing() -> bool:
    """Tell whether nothing can be compiled here: it is switched off, or no compiler is installed."""
    try:
        return switched_off() or not _installed(_command())
    except UnavailableError:
        return True


def trusted() -> bool:
    """Tell whether a person wants compiled code without a test."""
    return os.environ.get(SWITCH, "").lower() in ON


def folder() -> Path:
    """Return the folder of compiled code, below the cache's."""
    return cache.cache_root() / "kernels"


def library(
    text: str, real: str, name: str, includes: Sequence[Path] = (), build: Build | None = None
) -> ctypes.CDLL:
    """Compile a C text, or find it compiled, and load it.

    Args:
        text: the C text; it may include what lies in `headers/` and in `includes`.
        real: "float32" or "float64", which REAL and REAL_BYTES stand for.
        name: the text's name in messages and, so that a person finds it, in the cache.
        includes: folders of headers of its own.
        build: the compiler's options; those of the build in use if not given.

    Raises:
        UnavailableError: it is switched off, or cannot be compiled, stored or loaded here.
    """
    return _library(text, real, name, includes, build)[1]


def compiled(
    text: str, real: str, name: str, includes: Sequence[Path] = (), build: Build | None = None
) -> Path:
    """Compile as `library`; return the shared object's path, whose stem decides the bits it computes."""
    return _library(text, real, name, includes, build)[0]


def there(text: str, real: str, name: str) -> Path | None:
    """Return the path of a text's shared object if it is compiled already; None where it is not."""
    if switched_off():
        return None
    try:
        found = _loaded(folder(), _stem(_Request(text, real, name, (), builds.current()), _command()))
    except UnavailableError:
        return None
    return found[0] if found else None


def _library(
    text: str, real: str, name: str, includes: Sequence[Path], build: Build | None
) -> tuple[Path, ctypes.CDLL]:
    if switched_off():
        raise UnavailableError(f"switched off by {SWITCH}")
    request = _Request(text, real, name, tuple(includes), build or builds.current())
    found = _find(request, _command(), folder())
    if isinstance(found, str):
        raise UnavailableError(found)
    return found


def lanes(build: Build | None = None) -> int:
    """Return how many numbers a vector of compiled code holds: 16, 8 or 4, as a register of float32 does."""
    found = library('#include "lanes.h"\nint lanes(void) { return LANES; }', "float32", "lanes", (), build)
    return int(found.lanes())


def forget() -> None:
    """Search for compiled code again at its next use, because something has changed."""
    _find.cache_clear()


@functools.cache  # failures, too: to find one out may take a compiler a minute
def _find(request: _Request, command: tuple[str, ...], place: Path) -> tuple[Path, ctypes.CDLL] | str:
    """Return the shared object and its path, or why there is none."""
    try:
        stem = _stem(request, command)
        return _loaded(place, stem) or _made(request, command, place / stem)
    except UnavailableError as error:
        return str(error)


def _command() -> tuple[str, ...]:
    """Return the C compiler, with arguments of its own, perhaps."""
    try:
        return tuple(shlex.split(os.environ.get("CC") or "cc"))
    except ValueError as error:
        raise UnavailableError(f"CC = {os.environ['CC']!r} is not a command: {error}") from error


def _installed(command: tuple[str, ...]) -> bool:
    return bool(command) and shutil.which(command[0]) is not None


def _stem(request: _Request, command: tuple[str, ...]) -> str:
    """Return the beginning of the shared object's name: a digest of all that decides its content."""
    headers = (path for folder in (HEADERS, *request.includes) for path in sorted(folder.glob("*.h")))
    parts = [*(path.name.encode() + b"\n" + path.read_bytes() for path in headers), request.text.encode()]
    processor = machine.processor()  # -march=native depends on it, and machines may share a cache
    parts += map(str.encode, (*request.build.flags, request.real, processor, *command, _version(command)))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    name = re.sub(r"\W+", "_", request.name.removesuffix(".c"), flags=re.ASCII).strip("_")[:60]
    return f"{name}-{request.real}-{digest.hexdigest()[:16]}"


def _version(command: tuple[str, ...]) -> str:
    """Tell a compiler from its next version, by the files of its command, without running it."""
    found = [shutil.which(command[0]) or command[0], *command[1:]] if command else []
    states = []
    for word in found:
        with suppress(OSError, ValueError):
            state = Path(word).stat()
            states.append(f"{state.st_size} {state.st_mtime_ns}")
    return " ".join(states)


def _loaded(place: Path, stem: str) -> tuple[Path, ctypes.CDLL] | None:
    """Load a shared object that is there and whole; None if there is none.

    Its name ends in a digest of its bytes: to load one that is cut would end the process.
    """
    for path in sorted(place.glob(f"{stem}-*.so")):
        with suppress(OSError):
            if path.stem == f"{stem}-{_digest(path.read_bytes())}":
                return path, _opened(path)
    return None


def _opened(path: Path) -> ctypes.CDLL:
    """Load a shared object; what it does to this thread's arithmetic is undone.

    GCC lets one that is linked with -ffast-math treat subnormal numbers as zero from then on.
    """
    system, before = ctypes.CDLL(None), ctypes.create_string_buffer(FENV_BYTES)
    known = hasattr(system, "fegetenv") and system.fegetenv(before) == 0
    try:
        return ctypes.CDLL(str(path))
    finally:
        if known:
            system.fesetenv(before)


def _made(request: _Request, command: tuple[str, ...], target: Path) -> tuple[Path, ctypes.CDLL]:
    """Compile a text, store the shared object and load it."""
    if not _installed(command):
        raise UnavailableError(f"no C compiler ({' '.join(command[:1])}) is installed")
    slow = target.with_suffix(".slow")
    _check_patience(slow)
    place = target.parent
    draft = place / f"{locks.prefix()}{secrets.token_hex(8)}"  # for `sweep`, should this process be killed
    try:
        place.mkdir(parents=True, exist_ok=True)
        locks.sweep(place, time.time(), held=False)
        draft.touch()  # a folder that is read-only answers here, in plain words
        try:
            _run([*command, *request.flags, "-o", str(draft)], request, slow)
            if not draft.stat().st_size:
                raise UnavailableError(f"{command[0]} writes nothing for {request.name}")
            path = target.with_name(f"{target.name}-{_digest(_flushed(draft))}.so")
            draft.replace(path)  # at once: other processes compile at the same time
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"{place} cannot be written: {error.strerror}") from error
    try:
        return path, _opened(path)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise UnavailableError(
            f"{request.name}, compiled, cannot be loaded: {error}. Delete {place}"
        ) from error


def _flushed(path: Path) -> bytes:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return file.read()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_patience(slow: Path) -> None:
    """Raise UnavailableError for what a compiler took too long for a short while ago, here or elsewhere."""
    with suppress(OSError):
        if time.time() - slow.stat().st_mtime < PATIENCE:
            raise UnavailableError(slow.read_text(encoding="utf-8", errors="replace"))


def _run(command: Sequence[str], request: _Request, slow: Path) -> None:
    """Run a compiler on a text; raise UnavailableError where it fails, or takes too long."""
    text = f"#line 1 {json.dumps(request.name)}\n{request.text}"
    try:
        process = subprocess.Popen(
            [*command, "-x", "c", "-", "-lm"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        _, complaints = process.communicate(text, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        _end(process)
        why = f"{command[0]} took more than {TIMEOUT:g} s on {request.name}"
        with suppress(OSError):
            slow.write_text(f"{why}, and is asked again after {PATIENCE / 60:g} min", encoding="utf-8")
        raise UnavailableError(why) from error
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        first = " ".join(complaints.strip().splitlines()[:1])
        raise UnavailableError(f"{command[0]} fails on {request.name}: {first}")


def _end(process: subprocess.Popen[str]) -> None:
    """End a compiler, with the processes that it has started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own
        else:
            process.kill()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()
