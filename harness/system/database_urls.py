"""Database URLs for a person's eyes: without passwords, wherever in a URL they may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

HIDDEN = "(a URL)"
"""Text shown for a URL that cannot be parsed with certainty."""
MASK = "***"
HARMLESS = frozenset(
    {
        "application_name", "cache", "channel_binding", "charset", "client_encoding", "connect_timeout",
        "driver", "gssencmode", "host", "keepalives", "mode", "port", "service", "sslmode", "sslrootcert",
        "target_session_attrs", "timeout", "unix_socket", "uri",
    }
)  # fmt: skip
"""Keys of a URL's query that may be shown; any other may hold a secret."""
AMBIGUOUS = frozenset("?&=#;:/")
"""Letters that in a user's name, host or database mean that a password was parsed as one of them."""
SCHEME = re.compile(r"[\w+.\-]*://")
SAFE = re.compile(rf"({'|'.join(sorted(HARMLESS))})=[\w./,%+\-]*")
STORAGE = re.compile(r"(.*\bstorage\s*=\s*)([^\s'\"{\[].*)", re.DOTALL)
ASSIGNED = re.compile(r"(?i)((?:passw\w*|pwd)\s*=\s*)('[^']*'|\"[^\"]*\"|\S+)")


def shown(url: str) -> str:
    """Return a storage's URL without its passwords, or "(a URL)" if they cannot be told from the rest.

    >>> shown("postgresql+psycopg://ann:secret@db/trials?sslmode=require")
    'postgresql+psycopg://ann:***@db/trials?sslmode=require'
    >>> shown("postgresql://ann:sec@ret@db/trials")
    '(a URL)'
    """
    if re.fullmatch(r"[\w./\\\-]*", url):  # "sqlite", "journal", or another word
        return url
    parsed = _parsed(url)
    if parsed is None:
        return HIDDEN
    pieces = url.partition("?")[2].split("&") if "?" in url else []
    known = {piece.partition("=")[0] for piece in pieces if SAFE.fullmatch(piece)}
    query = {key: value for key, value in parsed.query.items() if key in known}
    left_out = not all(SAFE.fullmatch(piece) for piece in pieces)
    if parsed.password is None and not left_out:
        return url
    text = parsed.set(query=query).render_as_string(hide_password=True)
    return text + (("&" if query else "?") + MASK if left_out else "")


def place(where: str) -> str:
    """Describe an open storage by its URL without passwords, or its file's path."""
    return shown(where) if "://" in where else where


def _parsed(url: str) -> URL | None:
    """Take a URL apart with SQLAlchemy; None where a password may have been read as something else."""
    from sqlalchemy.engine import make_url

    try:
        parsed = make_url(url)
    except Exception:  # noqa: BLE001 (whatever is wrong with it, nothing of it is shown)
        return None
    if not url.isprintable():
        return None
    if parsed.get_backend_name() == "sqlite" and parsed.username is None and parsed.host is None:
        return parsed  # a file, whose name may hold anything
    user, password = parsed.username or "", str(parsed.password or "")
    host, database = (parsed.host or "").replace(":", ""), (parsed.database or "").replace("/", "")
    astray = url.count("@") > 1 or "@" in database or "?" in password or re.search(r"\s", url)
    return None if astray or AMBIGUOUS.intersection(user + host + database) else parsed


def without_passwords(text: str) -> str:
    """Remove the passwords of URLs from an argument of a command line, or another text.

    >>> without_passwords("search.storage=postgresql://ann:secret@db/trials")
    'search.storage=postgresql://ann:***@db/trials'
    """
    if given := STORAGE.fullmatch(text):
        return given[1] + shown(given[2])
    match = SCHEME.search(text)
    if match is None:
        return ASSIGNED.sub(r"\1" + MASK, text)
    head, url, rest = text[: match.start()], text[match.start() :], ""
    if head[-1:] in {"'", '"'} and head[-1] in url:
        end = url.index(head[-1])
        url, rest = url[:end], url[end:]
    return ASSIGNED.sub(r"\1" + MASK, head) + shown(url) + (without_passwords(rest) if rest else "")


def said(error: BaseException, url: str) -> str:
    """Give an error's words without what a URL keeps secret; its kind alone where that cannot be told."""
    text = " ".join(str(error).split())
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return type(error).__name__ if place(url) == HIDDEN else text


def _secrets(url: str) -> Iterator[str]:
    """Return the URL and those parts of it that a driver's message must not show."""
    parsed = _parsed(url) if "://" in url else None
    if parsed is None or shown(url) == url:
        return
    hidden = [value for key, value in parsed.query.items() if key not in HARMLESS]
    values = [item for value in hidden for item in ([value] if isinstance(value, str) else value)]
    for secret in filter(None, [url, str(parsed.password or ""), *values]):
        yield from (secret, quote(secret), quote_plus(secret))
