"""One writer at a time: locks that the system lets go, and temporary files that say whose they are.

Folders may be shared by machines, whose processes do not see each other, whose clocks differ, and whose file
systems may have no locks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MachineError

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = ".tmp-"
LEFT = 86_400.0  # seconds: another machine's file half written is nobody's any more
OWNED = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]{{8}})-(\d+)-\w+")
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


def hold(path: Path, advice: str, timeout: float = 0) -> BaseFileLock:
    """Take the lock that is this file; gives the lock, which has `release`.

    Args:
        path: the file; its folder is there.
        advice: what to do where the file system has no locks.
        timeout: seconds to wait for who holds it.

    Raises:
        filelock.Timeout: another process holds it.
        MachineError: the file system has no locks, so that nobody would know of another writer.
        OSError: the file cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    lock: BaseFileLock = FileLock(path, timeout=timeout)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a lock of another kind is taken, which a kill would leave
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


def _without_locks(path: Path, advice: str) -> MachineError:
    return MachineError(
        f"{path.parent} is on a file system without locks (flock): two processes could write there and not "
        f"know of each other. {advice}, or mount it with locks (NFS without nolock, Lustre with flock)"
    )


def prefix() -> str:
    """What the name of a temporary file of this process begins with."""
    return f"{PREFIX}{_machine()}-{os.getpid()}-"


def sweep(folder: Path, now: float, *, held: bool) -> None:
    """Remove temporary files under a folder that nobody writes any more; what cannot be removed stays.

    Args:
        folder: where to look, subfolders too; folders of such a name are left alone.
        now: the time by the clock that dates the folder's files, which may be a file server's.
        held: whether this process holds the folder's lock: then a file of an older version is nobody's.
    """
    with suppress(OSError):
        for path in folder.rglob(f"{PREFIX}*"):
            with suppress(OSError):
                if (path.is_symlink() or path.is_file()) and _is_left(path, now, held=held):
                    path.unlink()


def time_of(path: Path) -> float:
    """The time by the clock that dates files beside this one, which is touched for it."""
    path.touch()
    return path.stat().st_mtime


def _is_left(path: Path, now: float, *, held: bool) -> bool:
    """Whether surely nobody writes a temporary file: its process has ended, or it is a day old."""
    owner = OWNED.fullmatch(path.name)
    if owner is None and held:
        return True
    if owner is not None and owner[1] == _machine() and not _runs(int(owner[2])):
        return True
    return path.lstat().st_mtime < now - LEFT


def _runs(process: int) -> bool:
    """Whether there is such a process on this machine; on Windows nobody can ask without ending it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
