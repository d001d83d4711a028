"""Storages: a search's finished trials, in an Optuna study in SQLite, in a journal file, or on a server.

The coordinator of a search is the only writer, and writes finished trials only, each by one `add_trial`: one
transaction, or one line of the journal. So a killed search leaves whole trials, numbered from 0, none of them
running, and whatever reads Optuna's storages may look on while the search goes on.

A UsageError is about the setting or about the files: a malformed URL, a driver that is not installed, a file
that is not a storage, a study of another search. A MachineError is what the machine or a server says: no
connection, a wrong password, a lock, a full disk.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MachineError, UsageError
from harness.searching import journals
from harness.study.searches import IN_MEMORY
from harness.system.database_urls import HIDDEN, MASK, place, said, shown

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

FILES = {"sqlite": "optuna.db", "journal": "optuna.journal"}
ABOUT = "harness."  # in front of the user attributes that say what is searched
LOCK_SECONDS = 10
"""Seconds that one attempt waits for a SQLite file that is locked; Optuna makes five to add a trial."""
STALE_SECONDS = 5
"""Seconds after which Optuna takes a journal's lock for a killed writer's; no write takes so long."""
CONNECT_SECONDS = 10
"""Seconds that a server may take to answer, for the drivers that take a limit."""
CONNECT_TIMEOUTS = ("psycopg", "psycopg2", "pymysql", "mysqldb")
PACKAGES = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Packages, as pip calls them, of database drivers whose module has another name."""
ON = "then run the same command again: it goes on from here"
SAFE = "What is finished is safe"


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only, and warn of no experimental feature, until the block is left."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


class Storage:
    """A search's study in its storage.

    Attributes:
        url: the URL for `optuna-dashboard`, password and all.
        shown: the same for a person's eyes: passwords are `***`.
    """

    def __init__(
        self, study: optuna.Study, url: str, repair: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self.url = url
        self.shown = place(url)
        self.close = close
        self._study = study
        self._repair = repair
        with _in_words(self.url):
            self._known = len(self._finished(study.get_trials(deepcopy=False)))

    def trials(self) -> list[FrozenTrial]:
        """Return every trial, by number, from 0 without a gap; UsageError if one is not finished."""
        with _in_words(self.url):
            return self._finished(self._study.get_trials())

    def _finished(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        for trial in trials:
            if not trial.state.is_finished():
                raise UsageError(
                    f"{self.shown}: trial {trial.number} of study {self._study.study_name!r} is "
                    f"{trial.state.name}: another program works on this study, and a search must be its only "
                    "writer. Give this search another [study] name or [search] storage, or delete the study."
                )
        return trials

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Add finished trials, in order; what was added before a failure stays, whole.

        Each is numbered with its place in the storage, or -1, as `optuna.trial.create_trial` does. If another
        program has added trials, that is a MachineError.
        """
        with _in_words(self.url):
            self._check_alone()
            for trial in trials:
                if trial.number not in {-1, self._known} or not trial.state.is_finished():
                    raise ValueError(
                        f"trial {trial.number} ({trial.state.name}) cannot be number {self._known}"
                    )
                self._repair()
                self._study.add_trial(trial)
                self._known += 1
            self._check_alone()

    def _check_alone(self) -> None:
        numbers = [trial.number for trial in self._study.get_trials(deepcopy=False)]
        if numbers != list(range(self._known)):
            raise MachineError(
                f"{self.shown}: study {self._study.study_name!r} holds {len(numbers)} trials, and this "
                f"search knows of {self._known}: another program adds to it, and a search must be its only "
                "writer. Stop the other, then give this search another [study] name or [search] storage."
            )


def open_storage(
    where: str, folder: Path, name: str, directions: Sequence[str], about: Mapping[str, Any]
) -> Storage:
    """Open a search's storage, made where there is none, and read it.

    Args:
        where: "sqlite", "journal", or an SQLAlchemy URL.
        folder: the results folder, where the first two keep their file.
        name: of the Optuna study.
        directions: "maximize" or "minimize", one an objective.
        about: the entries that define the search, as JSON; kept in the study's user attributes.
    """
    if where in FILES:
        with _in_words(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
    if where == "journal":
        storage, url, repair, close = _journal(folder / FILES["journal"])
    else:
        storage, url, repair, close = _database(_url(where, folder))
    try:
        with _in_words(url):
            study = _study(storage, name, directions)
            _check_same(study, place(url), {**about, "directions": list(directions)})
        return Storage(study, url, repair, close)
    except BaseException:
        close()
        raise


def _url(where: str, folder: Path) -> str:
    if where == HIDDEN or f":{MASK}@" in where or where.endswith(MASK):
        raise UsageError(
            f"[search] storage = {where!r} is a URL whose password was not written down. Use the study's own "
            "file, or give the URL again: --set search.storage=URL"
        )
    if "://" in where:
        if IN_MEMORY.match(where):
            raise UsageError(
                f"[search] storage = {shown(where)!r} is in memory and would keep nothing. Use sqlite (a "
                "file in the results folder) or name a file: sqlite:///path/to.db"
            )
        return where
    if where != "sqlite":
        raise UsageError(
            f"[search] storage = {shown(where)!r} is not a storage. Allowed: sqlite, journal, or an "
            "SQLAlchemy URL such as postgresql+psycopg://user@host/database"
        )
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(folder / FILES["sqlite"])).render_as_string()


_Opened = tuple["optuna.storages.BaseStorage", str, Callable[[], None], Callable[[], None]]


def _database(url: str) -> _Opened:
    """Open an RDBStorage; returns it, its URL, and functions that repair and close it."""
    import optuna
    from sqlalchemy.engine import make_url

    with _in_words(url):
        try:
            parsed = make_url(url)
        except ValueError as error:  # a port that is not a number
            raise _malformed(error, url) from error
        options: dict[str, Any] = {}
        if parsed.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": LOCK_SECONDS}
        else:
            options["pool_pre_ping"] = True  # hours may lie between two batches
            if parsed.get_driver_name() in CONNECT_TIMEOUTS and "connect_timeout" not in parsed.query:
                options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
        # Optuna formats a URL with its schema's version; braces are a person's.
        storage = optuna.storages.RDBStorage(url.replace("{", "{{").replace("}", "}}"), options)
    return storage, url, lambda: None, storage.engine.dispose


def _journal(path: Path) -> _Opened:
    """Open a JournalStorage; returns it, its file, and functions that repair and close it."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    file = str(path.absolute())
    lock = JournalFileOpenLock(file, grace_period=STALE_SECONDS)

    def repair() -> None:
        journals.free(path)
        journals.cut_torn_line(path, lock)

    with _in_words(str(path)):
        journals.free(path)
        if path.exists():
            journals.check(path)
            repair()
        try:
            storage = JournalStorage(JournalFileBackend(file, lock))
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            # Optuna replays the lines, and checks none of them.
            raise journals.damaged(path, "its records cannot be replayed") from error
    return storage, str(path), repair, lambda: None


def _study(storage: optuna.storages.BaseStorage, name: str, directions: Sequence[str]) -> optuna.Study:
    import optuna
    from optuna.study import StudyDirection

    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        members = [StudyDirection[direction.upper()] for direction in directions]
        return optuna.create_study(storage=storage, study_name=name, directions=members)


def _check_same(study: optuna.Study, where: str, about: Mapping[str, Any]) -> None:
    """Write down what is searched in a study without trials; raise UsageError if one with trials differs."""
    here = {ABOUT + key: json.loads(json.dumps(value)) for key, value in about.items()}
    there = {key: value for key, value in study.user_attrs.items() if key.startswith(ABOUT)}
    there[ABOUT + "directions"] = [direction.name.lower() for direction in study.directions]
    # Without trials, entries may be missing: it is new, or its writer was killed between two entries.
    missing = [] if study.get_trials(deepcopy=False) else [key for key in here if key not in there]
    keys = [*here, *(key for key in there if key not in here)]
    differ = [key for key in keys if key not in missing and _text(there, key) != _text(here, key)]
    if differ:
        lines = [
            f"  {key.removeprefix(ABOUT)}: there {_text(there, key)}, here {_text(here, key)}"
            for key in differ
        ]
        raise UsageError(
            "\n".join([f"{where}: study {study.study_name!r} is there already, of another search:", *lines])
            + "\nChoose another folder with --results, another [study] name or [search] storage, or move it "
            "away."
        )
    for key in missing:
        study.set_user_attr(key, here[key])


def _text(entries: Mapping[str, Any], key: str) -> str:
    return json.dumps(entries[key], sort_keys=True) if key in entries else "nothing"


@contextmanager
def _in_words(url: str) -> Iterator[None]:
    """Turn errors of Optuna, SQLAlchemy and the system into words about a URL or path, without passwords."""
    try:
        with quiet_optuna():
            yield
    except (UsageError, MachineError):
        raise
    except Exception as error:
        explained = _explained(error, url)
        if explained is None:
            raise
        raise explained from error


def _explained(error: Exception, url: str) -> UsageError | MachineError | None:
    """Return the error to raise in place of a storage's, without passwords; None if it is not a storage's."""
    import optuna
    from sqlalchemy.exc import ArgumentError, DBAPIError

    where = place(url)
    if isinstance(error, optuna.exceptions.StorageInternalError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    match error:
        case DBAPIError():
            return _of_driver(error.orig or error, url)
        case OSError():
            return _of_system(error, where)
        case ImportError():
            return _of_import(error, where)
        case ArgumentError():
            return _malformed(error, url)
        case RuntimeError(__context__=OSError() as cause):
            return _of_system(cause, where)  # a journal's lock, which says only that it is not held
        case RuntimeError() if "optuna" in str(error):
            return UsageError(
                f"{where} was made by another version of Optuna: {error} Or choose another [search] storage."
            )
        case KeyError():
            return MachineError(
                f"{where}: the study is gone: another program deleted it. Run the same command again."
            )
    return None


def _malformed(error: Exception, url: str) -> UsageError:
    return UsageError(
        f"[search] storage = {place(url)!r} is not a database URL: {said(error, url)}. Write it as "
        "postgresql+psycopg://user@host:5432/database, sqlite:///path/to.db, or use sqlite or journal."
    )


def _of_driver(error: BaseException, url: str) -> UsageError | MachineError:
    where, why = place(url), said(error, url).rstrip(".?")
    if not isinstance(error, sqlite3.Error):
        return MachineError(
            f"database {where} cannot be used: {why}. {SAFE}; start it, or fix the URL in [search] "
            f"storage, {ON}."
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds in detail
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return UsageError(
            f"{where} is damaged, or not an SQLite database: {why}. Bring back a copy, or move it away and "
            "run again: the search then starts anew."
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return MachineError(
            f"{where} is locked by another program, and stayed so: {why}. {SAFE}; close the program that "
            f"writes into it, {ON}."
        )
    return _unwritten(where, why, full=code == sqlite3.SQLITE_FULL)


def _of_system(error: OSError, where: str) -> MachineError:
    return _unwritten(where, error.strerror or str(error), full=error.errno in {errno.ENOSPC, errno.EDQUOT})


def _unwritten(where: str, why: str, *, full: bool) -> MachineError:
    advice = "free some space" if full else "check that its folder is there and can be written"
    return MachineError(f"{where} cannot be written: {why}. {SAFE}; {advice}, {ON}.")


def _of_import(error: ImportError, where: str) -> UsageError:
    missing = error if error.name else error.__cause__
    module = getattr(missing, "name", None) or "its driver"
    package = PACKAGES.get(module, module)
    return UsageError(
        f"[search] storage = {where!r} needs the package {package}, which is not installed. "
        f"Install it (pip install {package}), or use sqlite or journal."
    )
