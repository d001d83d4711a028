"""`--json`: one JSON object on the standard output, and nothing else there; all words go to stderr.

From the option on, whatever prints (a table, a plugin, a worker, a C library) prints on stderr: the object
alone has the standard output. Notes that are told meanwhile stand in the object, too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import click

from harness.notes import logger
from harness.text.json_values import plain

SCHEMA = 1
"""The version of all objects: fields may be added to it; removing one, or another meaning, would raise it."""
FLAG = "--json"


class _Answer(logging.Handler):
    """The object of the command that runs: where it goes, whether it has gone, and the notes told so far."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.asked = self.given = False
        self._notes: dict[str, None] = {}
        self._screen: IO[str] | None = None
        self._stand_in: IO[str] | None = None
        self._kept: int | None = None

    def forget(self) -> None:
        """Forget the notes and the object of an earlier command of this process."""
        self.end()
        self.given, self._notes = False, {}

    def begin(self) -> None:
        """Keep the standard output for the object; what else prints goes to stderr from here on."""
        self.forget()
        self.asked = True
        logger.addHandler(self)
        self._screen, self._kept = sys.stdout, None
        with suppress(OSError, ValueError, AttributeError):  # a test's or a notebook's has no descriptor
            sys.stdout.flush()
            if sys.stdout.fileno() == 1:
                self._kept = os.dup(1)
                _turn_to_stderr()
        self._stand_in = sys.stdout = sys.stderr

    def end(self) -> None:
        """Give the standard output back, unless that is done: click closes no context of wrong usage."""
        logger.removeHandler(self)
        if self._kept is not None:
            os.dup2(self._kept, 1)
            os.close(self._kept)
            self._kept = None
        if self.asked and sys.stdout is self._stand_in and self._screen is not None:
            sys.stdout = self._screen
        self.asked = False

    def emit(self, record: logging.LogRecord) -> None:
        self._notes[record.getMessage()] = None

    def give(self, command: str, content: Mapping[str, Any]) -> None:
        """Write the one object of a command."""
        self.given = True
        told = [*plain(content.get("notes", [])), *self._notes]
        row = {"command": command, "schema": SCHEMA, **plain(content), "notes": list(dict.fromkeys(told))}
        text = json.dumps(row, allow_nan=False) + "\n"  # ASCII: no terminal and no locale can spoil it
        if self._kept is None:
            click.echo(text, file=self._screen if self.asked else None, nl=False)
            return
        left = memoryview(text.encode())
        while left:
            left = left[os.write(self._kept, left) :]


def _turn_to_stderr() -> None:
    """Have descriptor 1, which worker processes and C write to, go to stderr; nowhere if that is closed."""
    try:
        os.dup2(2, 1)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != 1:
            os.dup2(nowhere, 1)
            os.close(nowhere)


_answer = _Answer()


def _asked(context: click.Context, _: click.Parameter, value: bool) -> bool:
    if value and not context.resilient_parsing:
        _answer.begin()
        context.call_on_close(_answer.end)
    return value


# Eager: a plugin file that another option runs may print.
json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    FLAG, "as_json", is_flag=True, is_eager=True, callback=_asked,
    help="One JSON object in place of words: docs/programs.md, `harness guide`.",
)  # fmt: skip


def anew(arguments: Sequence[str]) -> bool:
    """Forget an earlier command of this process; tell whether arguments, however wrong, ask for JSON."""
    _answer.forget()
    return FLAG in arguments[: arguments.index("--") if "--" in arguments else None]


def show(command: str, **content: object) -> None:
    """Write the one JSON object of a command: "command", "schema", then what it found, and "notes".

    Of what it found, "notes" are told beside those that were told to a person meanwhile.
    """
    _answer.give(command, content)


def show_error(command: str, message: str, exit_code: int) -> None:
    """Write an error as a command's one JSON object; nothing if its object has been written."""
    _answer.end()
    if not _answer.given:
        show(command, error={"message": message, "exit_code": exit_code})
