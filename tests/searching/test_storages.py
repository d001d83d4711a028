"""Finished trials go into every storage and come out of it the same, whatever happens in between."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from postgres_server import PASSWORD, Postgres

from harness.errors import MachineError, UsageError
from harness.searching import storages
from harness.searching.storages import Storage
from harness.system.database_urls import shown

TESTS = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
ABOUT = {"space.lr": {"low": 1e-4, "high": 1.0, "log": True}, "sampler": "tpe", "seeds": [2000, 2001]}
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "epochs": IntDistribution(3, 9, step=2),
    "optimizer": CategoricalDistribution(["sgd", "adam"]),
    "momentum": FloatDistribution(0.5, 0.99),
}


@dataclass(frozen=True)
class Place:
    """Where a test's storage lies, and its study's name, which no other test has."""

    where: str
    folder: Path
    name: str = "small"

    def open(self, directions: tuple[str, ...] = ("maximize",), **about: Any) -> Storage:
        return storages.open_storage(self.where, self.folder, self.name, directions, {**ABOUT, **about})


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        return Place(server.url("postgres"), tmp_path, tmp_path.name)
    return Place(request.param, tmp_path / "results" / "small")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna tries an addition five times, and waits up to two seconds between; and so do locks."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setattr(storages, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(storages, "STALE_SECONDS", 3)  # the least that Optuna takes without a warning


def trial(lr: float = 0.1, state: TrialState = TrialState.COMPLETE, **fields: Any) -> FrozenTrial:
    params = {"lr": lr, "epochs": 5, "optimizer": "sgd", "momentum": 0.9} | fields.pop("params", {})
    params = {key: value for key, value in params.items() if value is not None}
    fields.setdefault("values", None if state == TrialState.FAIL else [lr])
    return create_trial(
        state=state, params=params, distributions={key: SPACE[key] for key in params},
        intermediate_values={0: lr / 2, 4: lr}, **fields,
    )  # fmt: skip


def fields(one: FrozenTrial, *, times: bool) -> tuple[Any, ...]:
    return (
        one.state, one.values, one.params, one.distributions, one.user_attrs, one.system_attrs,
        one.intermediate_values, (one.datetime_start, one.datetime_complete) if times else None,
    )  # fmt: skip


def equal_trials(there: list[FrozenTrial], given: list[FrozenTrial], *, times: bool = True) -> bool:
    numbers = [one.number for one in there] == list(range(len(given)))
    return numbers and [fields(one, times=times) for one in there] == [
        fields(one, times=times) for one in given
    ]


def every_kind() -> list[FrozenTrial]:
    return [
        trial(0.3, user_attrs={"arm": "suggestion 0", "test": None, "nested": {"a": [1, 2.5]}}),
        trial(0.01, TrialState.PRUNED),
        trial(0.2, TrialState.FAIL, user_attrs={"reason": "diverged at step 12, ä"}),
        trial(0.1 + 0.2, params={"optimizer": "adam", "momentum": None}),
        trial(0.5, system_attrs={"nsga2:generation": 3}),
    ]


# ------------------------------------------------------------------------------------------------ round trips


def test_stored_trials_are_read_back_unchanged(place: Place) -> None:
    given = every_kind()
    with closing(place.open()) as storage:
        assert storage.trials() == []
        storage.add(given[:2])
        storage.add(given[2:])
        assert equal_trials(storage.trials(), given)
    with closing(place.open()) as storage:
        assert equal_trials(storage.trials(), given)


def test_several_objectives_and_non_finite_values_are_stored(place: Place) -> None:
    given = [trial(values=[0.9, 12_000.0]), trial(values=[float("inf"), 1.0])]
    with closing(place.open(directions=("maximize", "minimize"))) as storage:
        storage.add(given)
    with closing(place.open(directions=("maximize", "minimize"))) as storage:
        assert equal_trials(storage.trials(), given)


def test_a_resumed_search_goes_on_with_the_next_number(place: Place) -> None:
    for first in (0, 3):
        with closing(place.open()) as storage:
            storage.add([trial(0.1 + (first + i) / 100) for i in range(3)])
    with closing(place.open()) as storage:
        assert [one.number for one in storage.trials()] == list(range(6))
        assert [one.params["lr"] for one in storage.trials()] == [0.1 + i / 100 for i in range(6)]


# ------------------------------------------------------------------------------------- one search, one writer


def test_another_search_is_refused_with_its_differences(place: Place) -> None:
    place.open().close()
    with pytest.raises(UsageError, match="is there already") as told:
        place.open(directions=("minimize",), sampler="random", seeds=None)
    message = str(told.value)
    assert 'sampler: there "tpe", here "random"' in message
    assert "seeds: there [2000, 2001], here null" in message
    assert 'directions: there ["maximize"], here ["minimize"]' in message
    assert "space.lr" not in message
    assert "--results" in message
    place.open().close()  # and nothing of the other one was written down
    replace(place, name=place.name + "2").open(sampler="random").close()  # another name is another study


def test_entries_are_completed_only_while_there_are_no_trials(place: Place) -> None:
    storages.open_storage(place.where, place.folder, place.name, ["maximize"], {"sampler": "tpe"}).close()
    with closing(place.open()) as storage:  # as after a kill between two entries
        storage.add([trial()])
    with pytest.raises(UsageError, match='pruner: there nothing, here "none"'):
        place.open(pruner="none")
    with pytest.raises(UsageError, match=r'sampler: there "tpe", here nothing'):
        storages.open_storage(place.where, place.folder, place.name, ["maximize"], {})


def other_study(place: Place, storage: Storage) -> optuna.Study:
    """The same study as another program opens it."""
    if place.where == "journal":
        backend = optuna.storages.journal.JournalFileBackend(storage.url)
        return optuna.load_study(study_name=place.name, storage=optuna.storages.JournalStorage(backend))
    # NullPool: nothing stays open.
    rdb = optuna.storages.RDBStorage(storage.url, {"poolclass": sqlalchemy.pool.NullPool})
    return optuna.load_study(study_name=place.name, storage=rdb)


def test_a_running_trial_in_a_storage_is_refused(place: Place) -> None:
    with closing(place.open()) as storage:
        storage.add([trial()])
        other_study(place, storage).ask()
        with pytest.raises(UsageError, match=r"trial 1 of study .* is RUNNING"):
            storage.trials()
    with pytest.raises(UsageError, match="only writer"):
        place.open()


def test_a_second_writer_is_noticed(place: Place) -> None:
    with closing(place.open()) as storage:
        storage.add([trial()])
        other_study(place, storage).add_trial(trial())
        with pytest.raises(MachineError, match="holds 2 trials, and this search knows of 1"):
            storage.add([trial()])
    with closing(place.open()) as storage:
        assert len(storage.trials()) == 2  # it was refused before anything was added


def test_a_study_deleted_meanwhile_is_reported(place: Place) -> None:
    with closing(place.open()) as storage:
        storage.add([trial()])
        study = other_study(place, storage)
        optuna.delete_study(study_name=place.name, storage=study._storage)
        with pytest.raises(MachineError, match="deleted it"):
            storage.add([trial()])


def test_a_trial_with_a_wrong_number_is_an_internal_error(place: Place) -> None:
    one = trial()
    one.number = 1
    with closing(place.open()) as storage:
        with pytest.raises(ValueError, match=r"trial 1 .* cannot be number 0"):
            storage.add([one])
        with pytest.raises(ValueError, match="RUNNING"):
            storage.add([create_trial(state=TrialState.RUNNING)])
        assert storage.trials() == []


# ---------------------------------------------------------------------------------------------------- kill -9

ADD_UNTIL_KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from test_storages import Place, trial
storage = Place({where!r}, Path({folder!r}), {name!r}).open()
print("ready", flush=True)
for i in range(200):
    storage.add([trial(0.1 + i / 1000)])
    print(i, flush=True)
print("all of them were added")
"""


@pytest.mark.usefixtures("at_once")
def test_a_killed_search_leaves_whole_trials(place: Place) -> None:
    after = 7
    code = ADD_UNTIL_KILLED.format(tests=TESTS, where=place.where, folder=str(place.folder), name=place.name)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == f"{after}\n":
                break
        process.kill()
        last = [after, *map(int, process.stdout)][-1]
    assert process.returncode == -signal.SIGKILL
    with closing(place.open()) as storage:
        there = storage.trials()
        # The last one may have been kept and not yet been told.
        assert last + 1 <= len(there) <= last + 2
        assert equal_trials(there, [trial(0.1 + i / 1000) for i in range(len(there))], times=False)
        storage.add([trial()])
        assert [one.number for one in storage.trials()] == list(range(len(there) + 1))


@pytest.mark.parametrize("left", [1, 20, -1])
def test_a_torn_last_line_of_a_journal_is_cut(tmp_path: Path, left: int) -> None:
    place = Place("journal", tmp_path)
    with closing(place.open()) as storage:
        storage.add([trial(0.1), trial(0.2)])
    path = tmp_path / "optuna.journal"
    whole, torn = path.read_bytes().splitlines(keepends=True)[:-1], path.read_bytes().splitlines()[-1]
    path.write_bytes(b"".join(whole) + torn[:left])
    with closing(place.open()) as storage:
        assert len(storage.trials()) == 1
        storage.add([trial(0.3)])
    with closing(place.open()) as storage:
        assert [one.value for one in storage.trials()] == [0.1, 0.3]


def test_a_journal_goes_on_after_a_write_that_failed_half_way(tmp_path: Path) -> None:
    with closing(Place("journal", tmp_path).open()) as storage:
        storage.add([trial(0.1)])
        with (tmp_path / "optuna.journal").open("ab") as file:
            file.write(b'{"op_code":4,"wor')
        storage.add([trial(0.2)])
    with closing(Place("journal", tmp_path).open()) as storage:
        assert [one.value for one in storage.trials()] == [0.1, 0.2]


@pytest.mark.usefixtures("at_once")
def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path: Path) -> None:
    place = Place("journal", tmp_path)
    place.open().close()
    (tmp_path / "optuna.journal.lock").touch()
    with closing(place.open()) as storage:
        storage.add([trial()])
        assert len(storage.trials()) == 1
    assert not (tmp_path / "optuna.journal.lock").exists()


# -------------------------------------------------------------------------------------- what the machine says

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, how: str) -> Iterator[None]:
    """A second process that holds a lock on a SQLite file."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_database_is_waited_for_and_then_reported(tmp_path: Path, how: str) -> None:
    place, path = Place("sqlite", tmp_path), tmp_path / "optuna.db"
    with closing(place.open()) as storage:
        storage.add([trial(0.1)])
        with held(path, how), pytest.raises(MachineError, match="is locked by another program") as told:
            storage.add([trial(0.2)])
        assert "What is finished is safe" in str(told.value)
        assert "run the same command again" in str(told.value)
        storage.add([trial(0.3)])
        assert [one.value for one in storage.trials()] == [0.1, 0.3]
    with held(path, "EXCLUSIVE"), pytest.raises(MachineError, match="is locked"):
        place.open()


def test_a_lock_that_is_let_go_in_time_is_no_failure(tmp_path: Path) -> None:
    with closing(Place("sqlite", tmp_path).open()) as storage:
        with held(tmp_path / "optuna.db", "EXCLUSIVE"):
            adding = threading.Thread(target=storage.add, args=([trial()],))
            adding.start()
            adding.join(0.3)
            assert adding.is_alive()
        adding.join()
        assert len(storage.trials()) == 1


@pytest.mark.usefixtures("at_once")
def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    place = Place("sqlite", tmp_path)
    place.open().close()
    pages = (tmp_path / "optuna.db").stat().st_size // 4096 + 1

    def confine(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", confine)
    try:
        with closing(place.open()) as storage:
            with pytest.raises(MachineError, match="disk is full") as told:
                storage.add([trial(0.1 + i / 1000) for i in range(40)])
            assert "free some space" in str(told.value)
            kept = storage.trials()
    finally:
        sqlalchemy.event.remove(sqlalchemy.pool.Pool, "connect", confine)
    with closing(place.open()) as storage:
        assert 0 < len(kept) < 40
        storage.add([trial(0.1 + i / 1000) for i in range(len(kept), 40)])
        assert equal_trials(storage.trials(), [trial(0.1 + i / 1000) for i in range(40)], times=False)


ADD_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
sys.path[:0] = {tests!r}
from harness.errors import MachineError
from test_storages import Place, trial
storage = Place("journal", Path({folder!r})).open()
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    storage.add([trial(0.1 + i / 1000) for i in range(200)])
except MachineError as error:
    print(error)
    print(len(storage.trials()))
"""


def test_an_unwritable_journal_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    code = ADD_ON_A_SMALL_DISK.format(tests=TESTS, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, kept = done.stdout.splitlines()
    assert "optuna.journal cannot be written: File too large. What is finished is safe" in message
    assert (tmp_path / "optuna.journal").stat().st_size == 10_000  # in the middle of a line
    with closing(Place("journal", tmp_path).open()) as storage:
        assert len(storage.trials()) == int(kept) > 0
        storage.add([trial(0.5)])
        assert storage.trials()[-1].value == 0.5


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("where", ["sqlite", "journal"])
def test_an_unwritable_folder_is_reported(tmp_path: Path, where: str) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MachineError, match="cannot be written"):
            Place(where, tmp_path / "small").open()
        with pytest.raises(MachineError, match="cannot be written"):
            Place(where, tmp_path).open()
    finally:
        tmp_path.chmod(0o700)


# ---------------------------------------------------------------------------------------- what is wrong there


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sqlitee", "Allowed: sqlite, journal, or an SQLAlchemy URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("foo://host/db", "not a database URL"),
        ("postgresql+psycopg://u:secret@host:port/db", "not a database URL"),
        ("mysql+nosuch://u:secret@host/db", "not a database URL"),
    ],
)
def test_a_malformed_storage_setting_is_refused(tmp_path: Path, where: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        Place(where, tmp_path).open()
    assert "secret" not in str(told.value)


def test_a_driver_that_is_missing_is_named_as_pip_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r'pip install "psycopg\[binary\]"'):
        Place("postgresql+psycopg://u:secret@localhost/db", tmp_path).open()


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason='the driver is not installed (pip install "psycopg[binary]")')
    with socket.socket() as bound:  # bound and not listening: refused
        bound.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://ann:secret@127.0.0.1:{bound.getsockname()[1]}/trials"
        with pytest.raises(MachineError, match="refused") as told:
            Place(url, tmp_path).open()
    assert "secret" not in str(told.value)
    assert "ann:***@127.0.0.1" in str(told.value)


def test_files_other_than_storages_are_reported_and_left_alone(tmp_path: Path) -> None:
    for where, name in storages.FILES.items():
        for content in (b"no storage of any kind\n" * 100, b"nor this"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UsageError, match="move it away"):
                Place(where, tmp_path).open()
            assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("line", [b"{}", b"[4]", b"\0" * 40, b'{"op_code":4,', b'{"op_code":77}', b"\xff"])
@pytest.mark.parametrize("at", [3, -1])
def test_a_damaged_journal_is_reported_and_left_alone(tmp_path: Path, line: bytes, at: int) -> None:
    place, path = Place("journal", tmp_path), tmp_path / "optuna.journal"
    with closing(place.open()) as storage:
        storage.add([trial(0.1), trial(0.2)])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[at] = line + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(UsageError, match="damaged"):
        place.open()
    assert path.read_bytes() == b"".join(lines)


def test_a_damaged_database_is_reported(tmp_path: Path) -> None:
    place, path = Place("sqlite", tmp_path), tmp_path / "optuna.db"
    with closing(place.open()) as storage:
        storage.add([trial()])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match="damaged"):
        place.open()


def test_a_database_of_a_newer_optuna_is_reported(tmp_path: Path) -> None:
    Place("sqlite", tmp_path).open().close()
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(UsageError, match="another version of Optuna"):
        Place("sqlite", tmp_path).open()


# ------------------------------------------------------------------------------------------------- the server


@pytest.mark.parametrize("wrong", [{"password": "no"}, {"user": "nobody"}, {"database": "nowhere"}])
def test_refusals_of_a_server_are_reported_in_its_words(
    postgres: Postgres, tmp_path: Path, wrong: dict[str, str]
) -> None:
    with pytest.raises(MachineError, match=r"FATAL: (password authentication failed|database)"):
        Place(postgres.url(**{"database": "postgres", **wrong}), tmp_path).open()


@pytest.mark.usefixtures("at_once")
def test_a_dead_server_is_reported_and_a_restarted_one_continues(postgres: Postgres, tmp_path: Path) -> None:
    place = Place(postgres.url("postgres"), tmp_path, tmp_path.name)
    with closing(place.open()) as storage:
        storage.add([trial(0.1)])
        postgres.stop("immediate")
        try:
            with pytest.raises(MachineError, match="What is finished is safe") as told:
                storage.add([trial(0.2)])
        finally:
            postgres.start()
        assert PASSWORD not in str(told.value)
        storage.add([trial(0.3)])
    with closing(place.open()) as storage:
        assert [one.value for one in storage.trials()] == [0.1, 0.3]


# ---------------------------------------------------------------------------------------------- what is shown


def test_storage_urls_are_accepted_by_optuna(place: Place) -> None:
    with closing(place.open()) as storage:
        storage.add([trial()])
        assert len(other_study(place, storage).trials) == 1
        assert (storage.url == storage.shown) == ("://" not in place.where)
        assert PASSWORD.replace(" ", "%20") not in storage.shown


@pytest.mark.parametrize("name", ["a b", "50% #1?", "{SCHEMA_VERSION}", "ä"])
def test_folders_may_have_any_name(tmp_path: Path, name: str) -> None:
    for where, file in storages.FILES.items():
        with closing(Place(where, tmp_path / name).open()) as storage:
            storage.add([trial()])
        assert (tmp_path / name / file).is_file()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann@db/trials", "postgresql://ann@db/trials"),
        ("postgresql://ann:p@ss:w/rd@db:5432/trials", "(a URL)"),
        (
            "mysql+pymysql://db/trials?user=ann&password=secret&x=1",
            "mysql+pymysql://db/trials?***",
        ),
        ("sqlite:///results/a@b:c/optuna.db", "sqlite:///results/a@b:c/optuna.db"),
    ],
)
def test_passwords_are_not_shown(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_optuna_says_nothing_and_keeps_its_settings(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    with closing(place.open()) as storage:
        storage.add([trial()])
    assert optuna.logging.get_verbosity() == before
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_importing_storages_imports_neither_optuna_nor_sqlalchemy() -> None:
    code = "import sys, harness.searching.storages; sys.exit(bool({'optuna', 'sqlalchemy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
