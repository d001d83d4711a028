"""The server of the live page: this machine's own browser alone, GET alone, and a folder's report alone.

It listens on 127.0.0.1. A page of another site cannot read from it: it answers requests only that name it as
their host (against DNS rebinding), and allows no other origin.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from harness.errors import MachineError, UsageError
from harness.reporting.live.page import page
from harness.reporting.live.state import LiveState

HOST = "127.0.0.1"  # and no other: what is shown here asks for no password
PATIENCE = 30.0  # seconds that a connection may say nothing
MOST_BYTES = 64 * 2**20  # of a file that is served
FILES = re.compile(r"/(report\.html|(?:figures|tables)/[^/\\\0.][^/\\\0]*)")
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".png": "image/png",
    ".svg": "image/svg+xml", ".tex": "text/plain; charset=utf-8",
}  # fmt: skip
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
CLOSED = {"Content-Security-Policy": "default-src 'none'"}
LIVE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "sandbox allow-scripts allow-modals allow-downloads allow-popups"
)
"""Of a folder's files, which anybody may have made: their scripts run apart, and reach nothing here."""


class WatchServer(ThreadingHTTPServer):
    """Serves the live page of one results folder; `server_port` is the port it got."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows another program could take the port over
    request_queue_size = 16
    is_closed = False

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.state = folder, LiveState(folder)
        self.nonce = secrets.token_urlsafe(16)
        self.page = page(self.nonce).encode()
        super().__init__((HOST, port), _Handler)
        names = [f"{name}:{self.server_port}" for name in (HOST, "localhost")]
        self.hosts = {*names, *((HOST, "localhost") if self.server_port == 80 else ())}

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/"

    def server_close(self) -> None:
        """Listen no longer, and answer nothing."""
        self.is_closed = True
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that a browser has closed."""


def bound(folder: Path, port: int) -> WatchServer:
    """Return a server that listens; UsageError where the port is another program's."""
    try:
        return WatchServer(folder, port)
    except (OSError, OverflowError) as error:
        advice = "choose another with --port, or let the system choose with --port 0"
        raise UsageError(f"port {port} of {HOST} cannot be had ({_why(error)}): {advice}") from error


def _why(error: Exception) -> str:
    import errno

    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "it is in use, perhaps by another `harness watch`"
    return str(getattr(error, "strerror", None) or error)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request after the other of a connection."""

    server: WatchServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "harness", ""
    timeout = PATIENCE

    def parse_request(self) -> bool:
        """Read a request; answer what is not allowed, and return False."""
        if not super().parse_request():
            return False
        if self.server.is_closed:  # on a connection that a browser had opened before
            self.close_connection = True
            return False
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, f"This server is {self.server.address}")
        elif self.command not in {"GET", "HEAD"}:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Allowed: GET, HEAD", {"Allow": "GET, HEAD"})
        else:
            return True
        return False

    def do_GET(self) -> None:
        """Answer with the page, the state, or a file of the report."""
        path = unquote(urlsplit(self.path).path, errors="replace")
        if path == "/":
            policy = LIVE_POLICY.format(nonce=self.server.nonce)
            self._answer(self.server.page, "text/html; charset=utf-8", {"Content-Security-Policy": policy})
        elif path == "/state":
            self._state()
        elif FILES.fullmatch(path):
            self._file(path[1:])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "Not here")

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self.do_GET()

    def _state(self) -> None:
        content, tag = self.server.state.content()
        if self.headers.get("If-None-Match") == f'"{tag}"':
            self._send(HTTPStatus.NOT_MODIFIED, {"ETag": f'"{tag}"'})
            return
        self._answer(content, "application/json", {**CLOSED, "ETag": f'"{tag}"'})

    def _file(self, name: str) -> None:
        try:
            content = _content(self.server.folder, name)
        except (OSError, ValueError, MachineError):
            self._refuse(HTTPStatus.NOT_FOUND, "Not here")
            return
        kind = TYPES[Path(name).suffix]
        self._answer(content, kind, {"Content-Security-Policy": FILE_POLICY})

    def _refuse(self, status: HTTPStatus, words: str, more: Mapping[str, str] | None = None) -> None:
        """Answer with a sentence; what a refused request carries is not read, so the connection ends."""
        self.close_connection = True
        headers = {**CLOSED, **(more or {})}
        self._answer(f"{words}\n".encode(), "text/plain; charset=utf-8", headers, status)

    def _answer(
        self, content: bytes, kind: str, more: Mapping[str, str], status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self._send(status, {"Content-Type": kind, "Content-Length": str(len(content)), **more})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that cannot be read, without repeating any of it."""
        del message, explain
        self.command = getattr(self, "command", None) or "GET"
        self.request_version = "HTTP/1.1"
        self._refuse(HTTPStatus(code), "This request cannot be answered")

    def log_message(self, *_: Any) -> None:
        """Write no line for each request."""


def _content(folder: Path, name: str) -> bytes:
    """Read an ordinary file of the report; no link is followed.

    Raises:
        OSError, ValueError: it is not there, is no ordinary file of a known kind, or lies elsewhere.
    """
    root = folder.resolve(strict=True)
    path = root / name
    if path.resolve(strict=True) != path or path.suffix not in TYPES:
        raise ValueError("a link, or not a file of a report")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise ValueError("not an ordinary file, or a huge one")
        return file.read(MOST_BYTES)
