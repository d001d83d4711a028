"""A storage's password is nowhere: not in messages, not in what is written, whatever form its URL has."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli import main
from harness.system.database_urls import shown

SECRET = ("Xq7", "Zk9")  # a password is both, with something between them or nothing
FORMS = {
    "postgresql://ann:Xq7Zk9@db/trials": "postgresql://ann:***@db/trials",
    "postgresql+psycopg://ann:Xq7Zk9@db:5432/trials": "postgresql+psycopg://ann:***@db:5432/trials",
    "POSTGRESQL://ann:Xq7Zk9@db/trials": "POSTGRESQL://ann:***@db/trials",
    "postgresql://:Xq7Zk9@db/trials": "postgresql://:***@db/trials",
    "postgresql://ann:Xq7%40Zk9@db/trials": "postgresql://ann:***@db/trials",
    "postgresql://ann%40server:Xq7Zk9@db/trials": "postgresql://ann%40server:***@db/trials",
    "postgresql://ann:Xq7Zk9@[::1]:5432/trials": "postgresql://ann:***@[::1]:5432/trials",
    "postgresql://ann:Xq7Zk9@/trials": "postgresql://ann:***@/trials",
    "postgresql://ann:Xq7/Zk9@db/trials": "postgresql://ann:***@db/trials",
    "postgresql://ann:Xq7:Zk9@db/trials": "postgresql://ann:***@db/trials",
    "postgresql://ann:Xq7#Zk9@db/trials": "postgresql://ann:***@db/trials",
    "postgresql://db/trials?user=ann&password=Xq7Zk9": "postgresql://db/trials?***",
    "postgresql://db/trials?PASSWORD=Xq7Zk9": "postgresql://db/trials?***",
    "postgresql://db/trials?sslmode=require&sslpassword=Xq7Zk9": "postgresql://db/trials?sslmode=require&***",
    "postgresql://db/trials?timeout=9&Xq7Zk9": "postgresql://db/trials?timeout=9&***",
    "mysql+pymysql://ann@db/trials?passwd=Xq7Zk9": "mysql+pymysql://ann@db/trials?***",
    "mssql+pyodbc:///?odbc_connect=UID%3Dann%3BPWD%3DXq7Zk9": "mssql+pyodbc:///?***",
    "sqlite+pysqlcipher://:Xq7Zk9@/trials.db": "sqlite+pysqlcipher://:***@/trials.db",
    "sqlite:///trials.db?key=Xq7Zk9": "sqlite:///trials.db?***",
    "postgresql://ann:Xq7@Zk9@db/trials": "(a URL)",
    "postgresql://ann:Xq7?Zk9@db/trials": "(a URL)",
    "postgresql://ann:Xq7 Zk9@db/trials": "(a URL)",
    "postgresql://an/n:Xq7Zk9@db/trials": "(a URL)",
    "postgresql://ann:Xq7Zk9@a:1,b:2/trials": "(a URL)",
    "postgresql://ann:Xq7Zk9@db:port/trials": "(a URL)",
    "postgresql://ann:Xq7Zk9": "(a URL)",
    "postgresql://db:5432/trials?password=Xq7@Zk9": "(a URL)",
    "postgresql://db?password=Xq7@Zk9": "(a URL)",
    "postgresql-x://ann:Xq7Zk9@db/trials": "(a URL)",
    "mssql+pyodbc://db/trials;PWD=Xq7Zk9": "(a URL)",
    " postgresql://ann:Xq7Zk9@db/trials": "(a URL)",
    "postgresql:ann:Xq7Zk9@db": "(a URL)",
    "host=db user=ann password=Xq7Zk9": "(a URL)",
    # and what hides nothing is left as it is:
    "postgresql://ann@db/trials": "postgresql://ann@db/trials",
    "postgresql://ann@/trials?host=/var/run/postgresql": "postgresql://ann@/trials?host=/var/run/postgresql",
    "sqlite:////home/a@b/My x.db?timeout=20": "sqlite:////home/a@b/My x.db?timeout=20",
    "journal": "journal",
}
STUDY: dict[str, Any] = {
    "study": {"name": "s", "seeds": 1},
    "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1},
}
SEARCH = """
[study]
name = "s"
design = "search"
[baseline]
dataset = "digits"
hidden = [4]
epochs = 1
[search]
suggestions = 1
[space]
lr = { low = 0.01, high = 1.0 }
"""


def hidden(text: str) -> bool:
    """Whether nothing of the password is in a text."""
    return not any(part in text for part in SECRET)


Command = Callable[..., tuple[object, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: gives its exit code, and what it said in one line."""
    (tmp_path / "s.toml").write_text(SEARCH)

    def call(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capsys.readouterr()
        return ended.value.code, " ".join((captured.out + captured.err).split())

    return call


@pytest.mark.parametrize(("url", "expected"), FORMS.items())
def test_a_url_is_shown_without_its_password(url: str, expected: str) -> None:
    assert shown(url) == expected
    assert hidden(expected)


def test_the_command_line_is_kept_without_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [f"search.storage={url}" for url in FORMS] + [f"--storage={url}" for url in FORMS if "://" in url]
    given += [
        "search={storage='postgresql://ann:Xq7Zk9@db/trials'}",
        "--dsn=host=db password=Xq7Zk9",
        "lr=0.1",
    ]
    monkeypatch.setattr(sys, "argv", ["/bin/harness", "search", *given])
    harness.run(harness.parse(STUDY), tmp_path / "s", workers=1)
    (run,) = json.loads((tmp_path / "s" / "provenance.json").read_text())["runs"]
    assert hidden(run["command"])
    assert run["command"].startswith("harness search search.storage=postgresql://ann:***@db/trials ")
    words = shlex.split(run["command"])  # as a shell would read it again
    last = ["search={storage='postgresql://ann:***@db/trials'}", "--dsn=host=db password=***", "lr=0.1"]
    assert words[-3:] == last


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        (
            "postgresql+psycopg://ann:Xq7Zk9@127.0.0.1:1/trials",
            1,
            "ann:***@127.0.0.1:1/trials cannot be used",
        ),
        (
            "postgresql+psycopg://127.0.0.1:1/trials?password=Xq7Zk9",
            1,
            "127.0.0.1:1/trials?*** cannot be used",
        ),
        (
            "postgresql+psycopg://ann:secret@127.0.0.1:Xq7Zk9/trials",
            2,
            "(a URL)' is not a database URL: ValueError",
        ),
        ("nosuch://ann:Xq7Zk9@db/trials", 2, "nosuch://ann:***@db/trials' is not a database URL"),
        ("postgresql:ann:Xq7Zk9@db", 2, "search.storage = '(a URL)': allowed: sqlite, journal"),
        ("sqlite+x://ann:Xq7Zk9@/:memory:", 2, "is not a database URL"),
    ],
)
def test_neither_messages_nor_files_contain_a_password(
    tmp_path: Path, command: Command, url: str, code: int, words: str
) -> None:
    folder = tmp_path / "results"
    exit_code, told = command(
        "search", tmp_path / "s.toml", "--set", f"search.storage={url}", "--results", folder
    )
    assert exit_code == code, told
    assert words in told
    assert hidden(told)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert all(hidden(path.read_bytes().decode(errors="replace")) for path in written)


def test_contradictory_overrides_are_reported_without_a_password(tmp_path: Path, command: Command) -> None:
    one = "search.storage=postgresql://ann:Xq7Zk9@db/trials"
    exit_code, told = command("plan", tmp_path / "s.toml", "--set", one, "--set", one + "2")
    assert exit_code == 2
    assert hidden(told)
    assert "given twice, as 'postgresql://ann:***@db/trials' and" in told


def test_the_storage_shown_in_a_results_folder_is_not_a_usable_url(tmp_path: Path, command: Command) -> None:
    given = ["--set", "search.storage=(a URL)", "--results", tmp_path / "results"]
    exit_code, told = command("search", tmp_path / "s.toml", *given)
    assert exit_code == 2
    assert "whose password was not written down" in told
