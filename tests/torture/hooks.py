"""Every operation on files below watched folders, counted; at the n-th, a kill or an error of the disk.

Python's audit hooks see files opened, renamed, removed and made; what goes through an open file is seen by a
raw file of our own. What C libraries do with a file by themselves is not seen, but SQL statements are.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename": 2, "os.link": 2, "os.symlink": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1,
           "os.truncate": 1, "os.chmod": 1}  # fmt: skip
EVERYWHERE = ("/dev/", "/proc/", "/sys/")
"""Where nothing that is written lasts."""


@dataclass
class Watch:
    """Below `roots`, operations are counted; at operation `at`, `act` is called with its kind and path.

    `changes` counts those only that write; `written` are those, whichever are counted. `outside` gets what is
    written outside of `allowed`; `unpickled` what a pickle asked for by name.
    """

    roots: Sequence[str] = ()
    at: int = 0
    act: Callable[[str, str], None] | None = None
    changes: bool = False
    count: int = 0
    written: int = 0
    allowed: Sequence[str] = ()
    outside: list[str] = field(default_factory=list)
    unpickled: list[str] = field(default_factory=list)
    busy: bool = False


_watch = Watch()
_open = io.open


def watch(**what: Any) -> Watch:
    """Watch anew; gives what is seen from now on."""
    global _watch  # noqa: PLW0603 (an audit hook cannot be taken out, so what it sees is replaced)
    _watch = Watch(**what)
    return _watch


def now() -> Watch:
    """What is watched."""
    return _watch


def operation(kind: str, path: object, *, changes: bool) -> None:
    """One operation: counted, and struck if it is the n-th.

    Raises:
        OSError: what `act` raises.
    """
    seen = _watch
    if seen.busy or isinstance(path, int) or not (seen.roots or seen.allowed):
        return
    place = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""  # noqa: PTH100 (a pathlib path would be made for each file that is opened)
    if changes and seen.allowed and not place.startswith((*seen.allowed, *EVERYWHERE)):
        seen.outside.append(f"{kind} {place}")
    if seen.roots and place.startswith(tuple(seen.roots)) and (changes or not seen.changes):
        seen.count += 1
        seen.written += changes
        if seen.act is not None and seen.count >= seen.at:
            seen.act(kind, place)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and bool(flags & WRITING)
        operation("open to write" if writes else "open", path, changes=writes)
    elif event in CHANGES:
        operation(event, arguments[CHANGES[event] - 1], changes=True)
    elif event == "pickle.find_class" and _watch.allowed and not _watch.busy:
        _watch.unpickled.append(".".join(map(str, arguments)))


class _Raw(io.FileIO):
    """A raw file whose reads and writes are counted."""

    def write(self, data: Any) -> int:
        operation("write", self.name, changes=True)
        return super().write(data)

    def readinto(self, buffer: Any) -> int | None:
        operation("read", self.name, changes=False)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        operation("read", self.name, changes=False)
        return super().readall()


def _opened(
    file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, closefd: bool = True, opener: Any = None,
) -> Any:  # fmt: skip
    """The built-in open; files below the watched folders count what is read and written."""
    path = os.fspath(file) if isinstance(file, str | bytes | os.PathLike) else ""
    place = os.path.abspath(os.fsdecode(path)) if path else ""  # noqa: PTH100 (as above)
    if not place.startswith(tuple(_watch.roots)) or not _watch.roots or buffering == 0:
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    binary, plain = "b" in mode, mode.replace("t", "").replace("b", "")
    raw = _Raw(file, plain, closefd, opener)
    if "+" in plain:
        buffer: Any = io.BufferedRandom(raw)
    else:
        buffer = io.BufferedReader(raw) if plain == "r" else io.BufferedWriter(raw)
    return buffer if binary else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)


def _counted(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(descriptor: int, *rest: Any) -> Any:
        if _watch.roots and not _watch.busy:
            try:
                path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            except OSError:
                path = ""
            operation(kind, path, changes=True)
        return function(descriptor, *rest)

    return counted


def install() -> None:
    """Put the hooks in, for the life of this process and of those that it forks."""
    sys.addaudithook(_audit)
    builtins.open = _opened
    io.open = _opened
    os.fsync = _counted("fsync", os.fsync)
    os.write = _counted("os.write", os.write)
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name in ("before_cursor_execute", "commit"):
        event.listen(Engine, name, _statement)


def _statement(*_: Any) -> None:
    if _watch.roots:
        operation("SQL", _watch.roots[0], changes=False)


def kill(kind: str, path: str) -> None:  # noqa: ARG001 (an action's signature)
    """Die at once, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DiskError:
    """An action: the disk answers with an error; `lasting`, to all that follows as well."""

    number: int
    lasting: bool

    def __call__(self, kind: str, path: str) -> None:
        seen = now()
        if kind == "SQL" or (seen.count > seen.at and not self.lasting):
            return
        raise OSError(self.number, os.strerror(self.number), path)


def below(*folders: Path) -> tuple[str, ...]:
    """Folders as `roots` and `allowed` want them: absolute, so that no sibling begins like one."""
    return tuple(f"{folder.absolute()}" for folder in folders)
