"""Notes to a person beside a command's output: one logger, shown on stderr until a program decides otherwise.

In a notebook, `logging.getLogger("harness").setLevel("WARNING")` hides progress, "ERROR" hides notes, too;
a program that gives the logger handlers of its own before it imports the harness gets the records there.
"""

from __future__ import annotations

import functools
import logging
import sys
from contextlib import suppress

logger = logging.getLogger("harness")


class _Stderr(logging.Handler):
    """Writes each record as one plain line to stderr as it is now; a closed or full one stops nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        with suppress(OSError, ValueError):
            if record.levelno >= logging.WARNING:
                text = f"note: {text}"
                text = f"\x1b[33m{text}\x1b[0m" if sys.stderr.isatty() else text
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


if not logger.handlers:
    logger.addHandler(_Stderr())
    logger.propagate = False  # or a program with a log of its own would show every line twice
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)


def tell(text: str) -> None:
    """Tell how far something is, as a plain line."""
    logger.info("%s", text)


def warn(text: str) -> None:
    """Tell what a person should know, as a line that begins with "note: "."""
    logger.warning("%s", text)


@functools.cache
def warn_once(text: str) -> None:
    """Tell what would otherwise be repeated for every stack: once in a process."""
    warn(text)
