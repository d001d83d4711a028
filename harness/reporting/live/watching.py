"""`harness.watch`: the live page of a results folder, served to this machine's browser."""

from __future__ import annotations

import html
import threading
from os import PathLike
from pathlib import Path
from types import TracebackType

from harness.reporting.live import server as watch_server
from harness.reporting.live import state as live_state


class Watch:
    """A live page that is being served, from a thread, until it is closed.

    Attributes:
        address: where the page is, such as "http://127.0.0.1:8321/".
    """

    def __init__(self, server: watch_server.WatchServer) -> None:
        self._server, self.address = server, server.address
        self._thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Watch {str(self._server.folder)!r}: {self.address}"

    def _repr_html_(self) -> str:
        """Show a link in a notebook."""
        address, folder = html.escape(self.address), html.escape(str(self._server.folder))
        return f'<a href="{address}" target="_blank" rel="noreferrer">{address}</a> watches {folder}'

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self) -> None:
        """Serve until the program is interrupted (Ctrl-C), or the page is closed from elsewhere."""
        while self._thread.is_alive():
            self._thread.join(3600)

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def watch(folder: PathLike[str] | str, port: int = 8321) -> Watch:
    """Serve a live page of a run or search that trains into a folder, on 127.0.0.1 alone.

    The page shows how far it is and when it will end, the arms and their curves so far, and failures as they
    happen; of a run that is over, its tables. It writes nothing.

    Args:
        folder: a results folder, in which a run may be going on in another process.
        port: the port of the page; 0 takes a free one.

    Returns:
        The page that is being served: its `address`; `wait()`, which returns when it is interrupted; and
        `close()`, also at the end of a `with`.

    Raises:
        UsageError: it is not a results folder, or the port is another program's.

    Example:
        >>> with harness.watch("results/choices") as page:  # doctest: +SKIP
        ...     print(page.address)
        ...     page.wait()
    """
    folder = Path(folder)
    live_state.check(folder)
    return Watch(watch_server.bound(folder, port))
