"""A kind of damage: how its cases are made ready and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture.oracle import Case


@dataclass(frozen=True)
class Kind:
    """One kind of damage.

    Args:
        name: what it is called, with --only and in the ledger.
        title: what a case is, in words.
        target: how many cases a long run has; `short` how many one of the fast tests has.
        prepare: what all cases share, given an empty folder and whether few cases follow, for which less is
            enough; run once, before processes are forked.
        run: one case, by its seed: it is given an empty folder and what was prepared.
        recipe: a case's input in words, for one that kills or hangs its process.
        chunk: how many cases one forked process runs, one after the other.
        patience: seconds after which a case counts as hanging.
    """

    name: str
    title: str
    target: int
    short: int
    prepare: Callable[[Path, bool], Any]
    run: Callable[[int, Path, Any], Case]
    recipe: Callable[[int, Any], str] = lambda _seed, _prepared: ""
    chunk: int = 50
    patience: float = 60.0
