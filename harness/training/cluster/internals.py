"""What a connection needs of Ray that it has no option for: it stands alone here, as it may change with Ray.

Where another version of Ray lacks a name, nothing is done.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def loopback(ray: Any) -> Iterator[None]:
    """Have a cluster that is started in the block listen on 127.0.0.1 alone.

    Ray 2.60 replaces that address where it is asked for by one that others reach, but where it takes this
    system for one without clusters of several nodes.
    """
    with _having(getattr(ray._private, "ray_constants", None), "ENABLE_RAY_CLUSTER", value=False):
        yield


@contextmanager
def quiet(ray: Any) -> Iterator[None]:
    """Have a connection that is made in the block print nothing of its own about nodes and processes.

    Ray 2.60 prints each death of a node in a thread, whatever it was told about logs; the run says it too.
    """
    worker = getattr(ray._private, "worker", None)
    with _having(worker, "listen_error_messages", value=lambda *_: None):
        yield


@contextmanager
def _having(module: Any, name: str, *, value: object) -> Iterator[None]:
    """Give a name of a module of Ray's another value in the block, if it has that name."""
    before = getattr(module, name, None)
    if before is None:
        yield
        return
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def logs(ray: Any) -> Path | None:
    """Return where Ray keeps the sockets and logs of a cluster that this process has started."""
    with suppress(Exception):  # another version's
        return Path(ray._private.worker.global_worker.node.get_session_dir_path())
    return None


def end_started(error: BaseException) -> None:
    """End the processes that Ray had started when it failed: by itself it ends them with this process."""
    trace = error.__traceback__
    while trace is not None:
        node: Any = trace.tb_frame.f_locals.get("self")
        if hasattr(node, "kill_all_processes"):
            with suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        trace = trace.tb_next


@contextmanager
def stderr_collected() -> Iterator[Callable[[], str]]:
    """Collect what Ray's C++ writes to the screen within the block; gives a function that reads it."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        screen = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: _content(file)
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
