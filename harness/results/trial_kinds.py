"""Kinds of processor: which trials were made on one kind, by the columns kernels, host and device.

A kind is a build of the arithmetic on a model of processor: what is of one kind has the same float bits, as
far as can be known, and seconds that compare. trials.csv does not name it, but tells it: two machines with
kernels of one name are of one kind, since the name holds the processor (`engines.bits`), and so are two
trials of one device of one machine, unless its library changed between them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.engines import bits

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

READ = ["kernels", "host", "device"]
"""Columns that tell a trial's kind."""
COLUMNS = ["arithmetic", "library", "build", "place"]
"""Columns of `of_trials`."""
DIGEST = re.compile(r"-[0-9a-f]{8,10}$")


def of_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Give what tells the kind of each trial, on the index of `trials`.

    `trials` may lack columns of READ, as those of older versions do; what is missing is "".

    Returns:
        arithmetic (kernels without components), library (such as c or torch), build (its version; of the
        harness's own kernels the whole name) and place (a number: of one device of one machine, and of all
        that have kernels of one name with it).
    """
    cells = pd.DataFrame({name: _texts(trials, name) for name in READ}, index=trials.index)
    arithmetic = cells["kernels"].map(bits.without_components)
    names = {name: _library(name) for name in arithmetic.unique()}
    libraries, builds = (arithmetic.map({name: pair[i] for name, pair in names.items()}) for i in (0, 1))
    table = pd.DataFrame({"arithmetic": arithmetic, "library": libraries, "build": builds})
    table["place"] = _places(cells.assign(arithmetic=arithmetic))
    return table[COLUMNS]


def _texts(trials: pd.DataFrame, name: str) -> list[str]:
    if name not in trials:
        return [""] * len(trials)
    return [str(value) for value in trials[name].astype(object).fillna("")]


def _library(arithmetic: str) -> tuple[str, str]:
    """Tell the library and its build from the name of arithmetic.

    >>> _library("torch-2.13.0-01234567"), _library("c-0123456789"), _library("")
    (('torch', 'torch-2.13.0'), ('c', 'c-0123456789'), ('', ''))
    """
    library = "numpy" if "numpy-" in arithmetic else arithmetic.partition("-")[0]
    own = library in {"c", "portable"}  # the digest is that of the build, and of nothing else
    return library, arithmetic if own else DIGEST.sub("", arithmetic)


def _places(cells: pd.DataFrame) -> NDArray[np.int64]:
    """Number the places: devices of machines, joined where they have native kernels of one name."""
    keys = list(zip(cells["host"], cells["device"], strict=True))
    root: dict[Hashable, Hashable] = {}

    def find(node: Hashable) -> Hashable:
        while root.setdefault(node, node) != node:
            node = root[node]
        return node

    for key, name in dict.fromkeys(zip(keys, cells["arithmetic"], strict=True)):
        first = find(key)
        if name and bits.kind(name) == "native":
            root[find(name)] = first
    ends = {key: find(key) for key in dict.fromkeys(keys)}
    numbers = {end: i for i, end in enumerate(dict.fromkeys(ends.values()))}
    return np.array([numbers[ends[key]] for key in keys], np.int64)


def all_alike(kinds: pd.DataFrame) -> bool:
    """Tell whether all trials of a table of `of_trials` are of one kind."""
    arithmetic, libraries, builds, places = (set(kinds[name]) for name in COLUMNS)
    if len(kinds) < 2 or (len(arithmetic) == 1 and "" not in arithmetic):
        return True
    return len(places) == 1 and len(builds) == len(libraries)


def alike(ours: pd.DataFrame, theirs: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell row by row whether two trials are of one kind; both are rows of one table of `of_trials`."""
    a, b = ({name: side[name].to_numpy() for name in COLUMNS} for side in (ours, theirs))
    same = (a["arithmetic"] == b["arithmetic"]) & (a["arithmetic"] != "")
    other_build = (a["library"] == b["library"]) & (a["build"] != b["build"])
    return np.asarray(same | ((a["place"] == b["place"]) & ~other_build), bool)
