"""Locks that let one process write at a time, and temporary files whose names tell their owner.

The system releases a lock when its process dies. Folders may be shared by machines whose processes do not see
each other, whose clocks differ, and whose file systems may lack locks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MachineError, UsageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = ".tmp-"
ABANDONED = 86_400.0  # seconds after which another machine's half-written file has no owner any more
OWNED = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]{{8}})-(\d+)-\w+")
LOOK = 0.2  # seconds to wait for a lock that is free, but for somebody who looks whether it is
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


def hold(path: Path, advice: str, timeout: float = 0) -> BaseFileLock:
    """Lock a file, whose folder exists, and return the lock, which has `release`.

    Raises:
        filelock.Timeout: another process holds it, `timeout` seconds long.
        MachineError: the file system has no locks, so that another writer would go unnoticed; see `advice`.
        OSError: the file cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    lock: BaseFileLock = FileLock(path, timeout=timeout)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fallback to a lock that a kill would leave behind
            lock.acquire()
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        raise _without_locks(path, advice) from error
    if isinstance(lock, SoftFileLock):
        lock.release()
        raise _without_locks(path, advice)
    return lock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a results folder's lock, and sweep the folder; raise UsageError where another run holds it."""
    from filelock import Timeout

    lock_file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(lock_file, "Choose a local folder with --results", LOOK)
    except Timeout:
        raise UsageError(
            f"another run is writing into {folder}. Wait for it, or choose another folder with --results"
        ) from None
    except OSError as error:
        raise MachineError(
            f"results folder {folder} cannot be written: {error.strerror or error}. "
            "Choose another with --results, or fix its permissions."
        ) from error
    try:
        with suppress(OSError):
            sweep(folder, time_of(lock_file), held=True)
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool | None:
    """Tell whether a process holds a results folder's lock; None where the system does not say.

    For some microseconds the lock is shared with whoever asks, which is why `locked` waits for LOOK.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)  # which releases it
    return False


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Hold a results folder so that no run writes into it, as others who only read it may, too.

    Where the system or the file system has no such locks, or the folder cannot be written, nothing is held.

    Raises:
        UsageError: a run writes into it.
    """
    try:
        import fcntl

        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ImportError, OSError):  # Windows; nobody has ever written into it
        yield
        return
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"a run is writing into {folder}. Wait for it to end, then run the same command again"
                ) from None
        yield
    finally:
        os.close(descriptor)  # which releases it


def check_there(folder: Path) -> None:
    """Raise MachineError if a results folder vanished during a run, which must not start it anew."""
    if not folder.is_dir():
        raise MachineError(
            f"results folder {folder} is gone: it was deleted or renamed during the run. Finished trials are "
            "where it was moved to: move it back, and the same command goes on from there"
        )


def _without_locks(path: Path, advice: str) -> MachineError:
    return MachineError(
        f"{path.parent} is on a file system without locks (flock): two processes could write there and not "
        f"notice each other. {advice}, or mount it with locks (NFS without nolock, Lustre with flock)"
    )


def prefix() -> str:
    """Return the beginning of the name of this process's temporary files."""
    return f"{PREFIX}{_machine()}-{os.getpid()}-"


def sweep(folder: Path, now: float, *, held: bool) -> None:
    """Remove abandoned temporary files under a folder; those that cannot be removed stay.

    `now` is the time by the clock that dates the folder's files, which may be a file server's. Where this
    process holds the folder's lock, files of an older version are abandoned, too.
    """
    with suppress(OSError):
        for path in folder.rglob(f"{PREFIX}*"):
            with suppress(OSError):
                if (path.is_symlink() or path.is_file()) and _is_abandoned(path, now, held=held):
                    path.unlink()


def time_of(path: Path) -> float:
    """Touch a file and return the time by the clock that dates the files beside it."""
    path.touch()
    return path.stat().st_mtime


def _is_abandoned(path: Path, now: float, *, held: bool) -> bool:
    """Tell whether a temporary file has no writer: its process has ended, or it is a day old."""
    owner = OWNED.fullmatch(path.name)
    if owner is None and held:
        return True
    if owner is not None and owner[1] == _machine() and not _runs(int(owner[2])):
        return True
    return path.lstat().st_mtime < now - ABANDONED


def _runs(process: int) -> bool:
    """Tell whether a process of this machine runs; on Windows asking would end it, so True."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return True


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
