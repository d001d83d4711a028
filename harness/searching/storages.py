"""Where a search's finished trials are kept: an Optuna study in SQLite, in a journal file, or on a server.

The coordinator of a search is the only writer, and writes finished trials only, each by one `add_trial`: one
transaction, or one line of the journal. So a killed search leaves whole trials, numbered from 0, none of them
running, and whatever reads Optuna's storages may look on while the search goes on.

A UsageError is what is wrong with the setting or with what lies there: a URL that is none, a driver that is
not installed, a file that is no storage, a study of another search. A MachineError is what the machine or a
server says: no connection, a wrong password, a lock, a full disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MachineError, UsageError
from harness.searches import IN_MEMORY
from harness.searching import failures, journals
from harness.searching.silence import silenced
from harness.urls import HIDDEN, MASK, place, shown

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

FILES = {"sqlite": "optuna.db", "journal": "optuna.journal"}
ABOUT = "harness."  # in front of the user attributes that say what is searched
LOCK_SECONDS = 10
"""How long one try waits for a SQLite file that is locked; Optuna tries five times to add a trial."""
STALE_SECONDS = 5
"""After which a journal's lock counts as a killed writer's; no write takes so long."""
CONNECT_SECONDS = 10
"""How long a server may take to answer, where its driver is one of those that are told so."""
CONNECT_TIMEOUTS = ("psycopg", "psycopg2", "pymysql", "mysqldb")


class Storage:
    """A search's study in its storage.

    Attributes:
        url: what `optuna-dashboard` is given, password and all.
        shown: the same for a person's eyes: passwords are `***`.
    """

    def __init__(
        self, study: optuna.Study, url: str, mend: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self.url = url
        self.shown = place(url)
        self.close = close
        self._study = study
        self._mend = mend
        self._known = 0
        with _in_words(self.url):
            self._known = len(self._finished(study.get_trials(deepcopy=False)))

    def trials(self) -> list[FrozenTrial]:
        """Every trial, by number, from 0 without a gap.

        Raises:
            UsageError: one is not finished, so another program works on this study.
            MachineError: the storage cannot be read.
        """
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

        Args:
            trials: each numbered with its place in the storage, or -1, as `optuna.trial.create_trial` does.

        Raises:
            MachineError: another program has added trials, or the storage cannot be written.
            ValueError: a trial has another number, or is not finished.
        """
        with _in_words(self.url):
            self._check_alone()
            for trial in trials:
                if trial.number not in {-1, self._known} or not trial.state.is_finished():
                    raise ValueError(
                        f"trial {trial.number} ({trial.state.name}) cannot be number {self._known}"
                    )
                self._mend()
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


def open(  # noqa: A001
    where: str, folder: Path, name: str, directions: Sequence[str], about: Mapping[str, Any]
) -> Storage:
    """Open a search's storage, made where there is none, and read it.

    Args:
        where: "sqlite", "journal", or an SQLAlchemy URL.
        folder: the results folder, where the first two keep their file.
        name: of the Optuna study.
        directions: "maximize" or "minimize", one an objective.
        about: what is searched, entry by entry, as JSON; kept in the study's user attributes.

    Raises:
        UsageError: no such storage, no driver for it, no storage in its file, or the study of that name is of
            another search or has trials in flight.
        MachineError: it cannot be reached, read or written.
    """
    if where in FILES:
        with _in_words(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
    if where == "journal":
        storage, url, mend, close = _journal(folder / FILES["journal"])
    else:
        storage, url, mend, close = _database(_url(where, folder))
    try:
        with _in_words(url):
            study = _study(storage, name, directions)
            _check_same(study, place(url), {**about, "directions": list(directions)})
        return Storage(study, url, mend, close)
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
            f"[search] storage = {shown(where)!r} is no storage. Allowed: sqlite, journal, or an SQLAlchemy "
            "URL such as postgresql+psycopg://user@host/database"
        )
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(folder / FILES["sqlite"])).render_as_string()


_Opened = tuple["optuna.storages.BaseStorage", str, Callable[[], None], Callable[[], None]]


def _database(url: str) -> _Opened:
    """An RDBStorage, its URL, and what mends and closes it."""
    import optuna
    from sqlalchemy.engine import make_url

    with _in_words(url):
        try:
            parsed = make_url(url)
        except ValueError as error:  # a port that is no number
            raise failures.no_url(error, url) from error
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
    """A JournalStorage, its file, and what mends and closes it."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    file = str(path.absolute())
    lock = JournalFileOpenLock(file, grace_period=STALE_SECONDS)

    def mend() -> None:
        journals.free(path)
        journals.cut_torn_line(path, lock)

    with _in_words(str(path)):
        journals.free(path)
        if path.exists():
            journals.check(path)
            mend()
        try:
            storage = JournalStorage(JournalFileBackend(file, lock))
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            # Optuna replays the lines, and checks none of them.
            raise journals.damaged(path, "what it says cannot be replayed") from error
    return storage, str(path), mend, lambda: None


def _study(storage: optuna.storages.BaseStorage, name: str, directions: Sequence[str]) -> optuna.Study:
    import optuna
    from optuna.study import StudyDirection

    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        members = [StudyDirection[direction.upper()] for direction in directions]
        return optuna.create_study(storage=storage, study_name=name, directions=members)


def _check_same(study: optuna.Study, where: str, about: Mapping[str, Any]) -> None:
    """Write down what is searched in a study without trials; in one with trials it must be the same."""
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
    """Turn what Optuna, SQLAlchemy and the system raise into words about a URL or path, without passwords."""
    try:
        with silenced():
            yield
    except (UsageError, MachineError):
        raise
    except Exception as error:
        told = failures.in_words(error, url)
        if told is None:
            raise
        raise told from error
