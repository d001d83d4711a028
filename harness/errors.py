"""The kinds of failure that a person meets, and the words of their messages."""

from __future__ import annotations

import difflib
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

LONGEST = 200  # characters of a value that a message repeats
MOST_LISTED = 5  # names in one sentence


class ShownPlainly:
    """A mixin of exceptions whose message is all that a person needs: a notebook shows it below its lines."""

    __traceback__: TracebackType | None

    def _render_traceback_(self) -> list[str]:
        """Give IPython what it shows in place of a traceback: calls inside of the harness explain nothing."""
        own = [
            f"line {frame.lineno}: {frame.line}"
            for frame in traceback.extract_tb(self.__traceback__)
            if not _of_a_library(Path(frame.filename))
        ]
        return [*own, f"{type(self).__name__}: {self}"]


class PlainError(ShownPlainly, Exception):
    """An error whose message is all that a person needs."""


class InterruptedRun(ShownPlainly, KeyboardInterrupt):
    """A person's interrupt of a run in a notebook: a KeyboardInterrupt with words on what is kept."""


def _of_a_library(file: Path) -> bool:
    """Tell whether a file is the harness's own, Python's or an installed package's."""
    folders = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return bool(installed) or any(file.is_relative_to(folder) for folder in folders)


class UsageError(PlainError):
    """A request cannot be met as it is: a study file, an option, a folder. Exit code 2."""

    exit_code = 2


class ComponentError(UsageError):
    """A component raises, or breaks its contract.

    Before a training this is wrong usage; while a stack trains it is that stack's failure alone.
    """


class MachineError(PlainError):
    """The request was sound and the machine could not do it: no network, a full disk. Exit code 1."""

    exit_code = 1


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """Suggest the closest allowed name and list them all.

    >>> did_you_mean("relo", ["relu", "tanh"])
    "did you mean 'relu'? Allowed: relu, tanh"
    >>> did_you_mean("sine", ["relu", "tanh"])
    'allowed: relu, tanh'
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(str(given)[:LONGEST], names, n=1)
    listed = ", ".join(names)
    return f"did you mean {close[0]!r}? Allowed: {listed}" if close else f"allowed: {listed}"


def few(names: Sequence[str], count: int | None = None) -> str:
    """List the first names and count the others, of `count` in all.

    >>> few("abcdefg"), few("ab")
    ('a, b, c, d, e and 2 more', 'a, b')
    """
    more = (len(names) if count is None else count) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def quoted(value: object, spell: Callable[[object], str] = repr, most: int = LONGEST) -> str:
    """Spell out a value in a message, a long one by its two ends.

    >>> quoted("sgd"), len(quoted([0] * 1000))
    ("'sgd'", 203)
    """
    try:
        text = spell(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "(a whole number of more than 4,300 digits)"
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def in_words(error: BaseException) -> str:
    r"""Put an exception on one line.

    >>> in_words(ValueError("no\nnumber")), in_words(SystemExit(3))
    ('ValueError: no number', 'sys.exit(3)')
    """
    name = type(error).__name__
    try:
        if isinstance(error, SystemExit):
            return f"sys.exit({'' if error.code is None else error.code!r})"
        return f"{name}: {error}".replace("\n", " ")[:500].removesuffix(": ")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 (a third party's exception, whose message raises)
        return name
