"""Cores and memory that the system grants this process, by its container or its job.

Linux alone sets such limits, by control groups, of version 2 (docs.kernel.org/admin-guide/cgroup-v2.html) or
1 (docs.kernel.org/admin-guide/cgroup-v1/). Slurm, Docker and Kubernetes set them, and a group is also held by
the limits of those above it. Nothing here raises: where nothing is said, nothing is limited.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
UNLIMITED = 1 << 60
"""Bytes that no machine has: version 1 writes about 2^63 where there is no limit."""
WORKER_BYTES = 900 * 2**20
"""Bytes of a process that trains: torch itself, and two data sets as they came and in float32."""


def cores(root: Path | None = None) -> int:
    """Count the cores that this process may keep busy; a broken share of a core counts as one.

    Under `root`, or `ROOT`, are proc/ and sys/.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _groups("cpu", root or ROOT) if (share := _share(folder)) is not None]
    return max(1, min([there, *map(math.ceil, shares)]))


def memory_limit(root: Path | None = None) -> int | None:
    """Give the bytes of memory that this process and its neighbours in the group may have; None: no limit."""
    limits = [limit for folder in _groups("memory", root or ROOT) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def memory_left(root: Path | None = None) -> int | None:
    """Give the bytes of memory that can be had now; None where the system does not say.

    Of the machine as of each group: file pages that the kernel would give back count as free.
    """
    left = [_available(root or ROOT)]
    for folder in _groups("memory", root or ROOT):
        limit = _limit(folder)
        if limit is not None:
            left.append(max(0, limit - _used(folder)))
    return min((count for count in left if count is not None), default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """List the folders of this process's groups under a controller, innermost first.

    A container that sees its own group as the root of sys/fs/cgroup may be told the host's path for it, so
    folders that are not there are passed over, and the root is asked in any case.
    """
    for mount, path in _memberships(controller, root):
        inside = PurePosixPath(path.lstrip("/"))
        if ".." not in inside.parts:  # of another namespace: cannot be reached from here
            for group in (inside, *inside.parents):
                if group.parts and (mount / group).is_dir():
                    yield mount / group
        if mount.is_dir():
            yield mount


def _memberships(controller: str, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folder of a controller's groups and this process's group, for both versions."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not names:
            yield (mounted / "unified" if (mounted / "unified").is_dir() else mounted), path
        elif controller in names.split(","):
            yield next((p for n in (names, controller) if (p := mounted / n).is_dir()), mounted / names), path


def _share(folder: Path) -> float | None:
    """Read the CPU time that a group may use, in cores; None if it is not limited."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = (_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    used, every = _number(quota), _number(period)
    return used / every if used and every else None  # "max", and -1 in version 1


def _limit(folder: Path) -> int | None:
    """Read the bytes that a group may hold; None if it is not limited."""
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limits = [_number(_text(folder / name)) for name in names]
    return min((limit for limit in limits if limit is not None and limit < UNLIMITED), default=None)


def _used(folder: Path) -> int:
    """Read the bytes that a group holds, without inactive file pages."""
    counts = (_number(_text(folder / name)) for name in ("memory.current", "memory.usage_in_bytes"))
    used = next((count for count in counts if count is not None), 0)
    pairs = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    stat = {name: _number(size) or 0 for name, _, size in pairs}
    # Version 1 also has the same without the groups below, whose use counts here.
    return max(0, used - stat.get("total_inactive_file", stat.get("inactive_file", 0)))


def _available(root: Path) -> int | None:
    """Read the bytes that the machine has available, its file cache included."""
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, size = line.partition(":")
        if name == "MemAvailable":
            kilobytes = _number(size.removesuffix("kB"))
            return None if kilobytes is None else kilobytes * 2**10
    return None


def _text(path: Path) -> str:
    """Read a small file's text, or ""."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """Parse a plain count; None for anything else, such as "max" and "-1"."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(2**64)) else None


@functools.cache
def memory() -> int:
    """Return the bytes of memory that this machine, container or job may use.

    If the system does not say, this is more than any machine has.
    """
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 1 << 62
    return min(total, memory_limit() or total)


def too_large(size: int) -> str:
    """Say why so many bytes are not read; empty if memory holds them."""
    if size <= memory():
        return ""
    return f"{size / 1e9:,.1f} GB, and this machine has {memory() / 1e9:,.1f} GB of memory"
