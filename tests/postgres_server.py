"""A real PostgreSQL server for the tests, from the system's package."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "open sesame"  # noqa: S105
ROOTS = ("/usr/lib/postgresql", "/usr/local", "/opt/homebrew")


@dataclass(frozen=True)
class Postgres:
    """A server of this test session's own, on a Unix socket; `folder` holds its data, log and socket."""

    binaries: Path
    folder: Path
    owner: dict[str, Any]

    def url(self, database: str, *, user: str = "harness", password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://{user}:{password.replace(' ', '%20')}@/{database}?host={self.folder}"

    def command(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / name, *arguments, "-D", self.folder / "data"],
            check=True, capture_output=True, cwd=self.folder, **self.owner,
        )  # fmt: skip

    def start(self) -> None:
        options = f"-F -c listen_addresses='' -k {self.folder}"
        self.command("pg_ctl", "-s", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.command("pg_ctl", "-s", "-w", "-m", mode, "stop")


def _binaries() -> Path | None:
    found = [path.parent for root in ROOTS for path in Path(root).glob("**/bin/initdb")]
    on_path = shutil.which("initdb")
    return max(found) if found else Path(on_path).parent if on_path else None


def _owner() -> dict[str, Any]:
    """Whom the server runs as: never root, which it refuses."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def serving() -> Iterator[Postgres]:
    """A running server; the test is skipped where it or its driver is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip('the driver is not installed (pip install "psycopg[binary]")')
    # Not under pytest's own folder, which nobody but its user may enter.
    folder, owner = Path(tempfile.mkdtemp(prefix="harness-pg-")), _owner()
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        server = Postgres(binaries, folder, owner)
        secret = folder / "secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        server.command("initdb", "-N", "-U", "harness", "-A", "scram-sha-256", f"--pwfile={secret}")
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)
