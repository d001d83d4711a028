"""The token of clusters that this process starts, in a file that its owner alone can read.

Since 2.59 Ray starts a cluster of its own with a token, and would write that for all users of the machine.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's environment variables: whether there is a token ("token", "disabled"), itself, and its file."""


def ensure() -> None:
    """Write a token where Ray looks for one, unless there is one, or a person wants none.

    Where it cannot be written, Ray says so.
    """
    if os.environ.get(MODE, "token").lower() != "token" or TOKEN in os.environ or TOKEN_PATH in os.environ:
        return
    with suppress(OSError, RuntimeError):  # a home that cannot be written, or none
        path = Path.home() / ".ray" / "auth_token"
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".auth_token-{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            os.link(draft, path)  # whole, or not at all; another process's stays
        finally:
            draft.unlink(missing_ok=True)
