"""The token of clusters that this process starts, in a file that its owner alone can read.

Since 2.59 Ray starts a cluster of its own with a token, and would write that for all users of the machine.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's environment variables: whether there is a token ("token", "disabled"), itself, and its file."""


def use() -> None:
    """Have Ray show a token where there is one, unless a person has decided about it.

    Ray reads RAY_AUTH_MODE when it is imported; at an explicit address it takes no token without that.
    """
    if MODE in os.environ or not (TOKEN in os.environ or TOKEN_PATH in os.environ or _usual_file().exists()):
        return
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        with suppress(Exception):  # another version's
            sys.modules["ray"]._raylet.Config.initialize("")


def _usual_file() -> Path:
    try:
        return Path.home() / ".ray" / "auth_token"
    except RuntimeError:  # no home
        return Path("auth_token")


def ensure() -> None:
    """Write a token where Ray looks for one, unless there is one, or a person wants none.

    Where it cannot be written, Ray says so.
    """
    if os.environ.get(MODE, "token").lower() != "token" or TOKEN in os.environ or TOKEN_PATH in os.environ:
        return
    path = _usual_file()
    if path.exists():
        return
    with suppress(OSError):  # a home that cannot be written
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".auth_token-{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            os.link(draft, path)  # whole, or not at all; another process's stays
        finally:
            draft.unlink(missing_ok=True)
