"""Notes to a person: on stderr by default, through a logger that a program can silence or redirect."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from harness import notes


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    level = notes.logger.level
    yield
    notes.logger.setLevel(level)


def tell_and_warn() -> None:
    notes.tell("reading scans: 100 % done")
    notes.warn("trial 7 was left out")


def test_notes_are_shown_on_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    tell_and_warn()
    assert capsys.readouterr() == ("", "reading scans: 100 % done\nnote: trial 7 was left out\n")


@pytest.mark.parametrize(("level", "shown"), [("WARNING", "note: trial 7 was left out\n"), ("ERROR", "")])
def test_a_notebook_can_silence_notes(capsys: pytest.CaptureFixture[str], level: str, shown: str) -> None:
    logging.getLogger("harness").setLevel(level)
    tell_and_warn()
    assert capsys.readouterr().err == shown


def test_repeated_notes_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        notes.warn_once("this engine rounds otherwise")
    assert capsys.readouterr().err == "note: this engine rounds otherwise\n"


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    tell_and_warn()


def test_a_terminal_shows_notes_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    tell_and_warn()
    assert terminal.getvalue() == ("reading scans: 100 % done\n\x1b[33mnote: trial 7 was left out\x1b[0m\n")
