"""What goes wrong with a storage, in words: what Optuna, SQLAlchemy, drivers and the system raise."""

from __future__ import annotations

import errno
import sqlite3

from harness.errors import MachineError, UsageError
from harness.urls import place, said

AGAIN = "then run the same command again: it goes on from here"
SAFE = "What is finished is safe"
PACKAGES = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Module of a database driver -> what pip calls it, where that is another name."""


def in_words(error: Exception, url: str) -> UsageError | MachineError | None:
    """Say what a storage's error means.

    Args:
        error: what was raised.
        url: the storage's; no password of it is said.

    Returns:
        The error to raise in its place; None where the error is no storage's.
    """
    import optuna
    from sqlalchemy.exc import ArgumentError, DBAPIError

    where = place(url)
    if isinstance(error, optuna.exceptions.StorageInternalError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, DBAPIError):
        return _of_driver(error.orig or error, url)
    if isinstance(error, OSError):
        return _of_system(error, where)
    if isinstance(error, ImportError):
        return _of_import(error, where)
    if isinstance(error, ArgumentError):
        return no_url(error, url)
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return _of_system(error.__context__, where)  # a journal's lock, which says only that it is not held
    if isinstance(error, RuntimeError) and "optuna" in str(error):
        return UsageError(
            f"{where} was made by another version of Optuna: {error} Or choose another [search] storage."
        )
    if isinstance(error, KeyError):
        return MachineError(
            f"{where}: the study is gone: another program deleted it. Run the same command again."
        )
    return None


def no_url(error: Exception, url: str) -> UsageError:
    """Say that a URL cannot be read."""
    return UsageError(
        f"[search] storage = {place(url)!r} is no database URL: {said(error, url)}. Write it as "
        "postgresql+psycopg://user@host:5432/database, sqlite:///path/to.db, or use sqlite or journal."
    )


def _of_driver(error: BaseException, url: str) -> UsageError | MachineError:
    where, why = place(url), said(error, url).rstrip(".?")
    if not isinstance(error, sqlite3.Error):
        return MachineError(
            f"database {where} cannot be used: {why}. {SAFE}; start it, or mend the URL in [search] "
            f"storage, {AGAIN}."
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds in detail
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return UsageError(
            f"{where} is damaged, or no SQLite database: {why}. Bring back a copy, or move it away and run "
            "again: the search then starts anew."
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return MachineError(
            f"{where} is locked by another program, and stayed so: {why}. {SAFE}; close what writes into "
            f"it, {AGAIN}."
        )
    return _unwritten(where, why, full=code == sqlite3.SQLITE_FULL)


def _of_system(error: OSError, where: str) -> MachineError:
    return _unwritten(where, error.strerror or str(error), full=error.errno in {errno.ENOSPC, errno.EDQUOT})


def _unwritten(where: str, why: str, *, full: bool) -> MachineError:
    advice = "free some space" if full else "check that its folder is there and can be written"
    return MachineError(f"{where} cannot be written: {why}. {SAFE}; {advice}, {AGAIN}.")


def _of_import(error: ImportError, where: str) -> UsageError:
    missing = error if error.name else error.__cause__
    module = getattr(missing, "name", None) or "its driver"
    package = PACKAGES.get(module, module)
    return UsageError(
        f"[search] storage = {where!r} needs the package {package}, which is not installed. "
        f"Install it (pip install {package}), or use sqlite or journal."
    )
