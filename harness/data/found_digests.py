"""Digests of data sets that could not be known before their bytes were here: found once, then kept.

They stand beside the data in the cache, so that a plan needs no pixels. A digest holds for the files, or the
recipe, that it was found for: `of` says which.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path

from harness.data import cache
from harness.errors import MachineError
from harness.system import files

FILE = "digest.json"


def _path(name: str) -> Path:
    return cache.cache_root() / name / FILE


def of_pins(name: str) -> str:
    """Digest the published digests of a data set's files, and the version of what reads them."""
    return hashlib.sha256(repr((1, sorted(cache.pins_of(name).items()))).encode()).hexdigest()


def read(name: str, of: str) -> str:
    """Give the digest that was found for `of`, or "" where there is none."""
    try:
        kept = json.loads(_path(name).read_bytes())
        digest = kept["digest"] if kept["of"] == of else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else ""


def keep(name: str, of: str, digest: str) -> None:
    """Keep a digest for the next process; a cache that cannot be written costs only time."""
    with suppress(MachineError, OSError):
        _path(name).parent.mkdir(parents=True, exist_ok=True)
        files.write(_path(name), (json.dumps({"of": of, "digest": digest}, indent=1) + "\n").encode())
