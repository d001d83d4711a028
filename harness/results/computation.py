"""Kernels and hosts of trials, in words: which arithmetic computed them, and on which machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from harness.engines import bits
from harness.results.columns import FINISHED
from harness.text import count, listed

if TYPE_CHECKING:
    import pandas as pd

Computed: TypeAlias = Mapping[tuple[str, str], int]
"""Kernels and host -> the number of trials; empty texts where a folder does not say."""
FEW = 3
"""Pairs of kernels and host that a sentence names of one side."""


def computed(trials: pd.DataFrame, side: str = "", *, components: bool = False) -> Computed:
    """Count the finished trials of each kernels and host.

    Args:
        trials: rows of trials.csv, also those of an older version without the columns.
        side: what stands behind the names of the columns, such as "_a".
        components: whether kernels of one build with other components count as others, as they are for the
            same trial; the arms of a contrast differ in components anyway.
    """
    done = trials[trials[f"status{side}"].isin(FINISHED)]
    kernels, hosts = (_cells(done, f"{name}{side}") for name in ("kernels", "host"))
    counts: dict[tuple[str, str], int] = {}
    for kernel, host in zip(kernels, hosts, strict=True):
        key = (kernel if components else bits.without_components(kernel), host)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _cells(trials: pd.DataFrame, name: str) -> list[str]:
    """List the texts of a column; empty where there is none, or a cell is missing."""
    if name not in trials:
        return [""] * len(trials)
    return [str(value) for value in trials[name].astype(object).fillna("")]


def without_components(side: Computed) -> Computed:
    """Count trials of kernels that differ in their components alone together."""
    counts: dict[tuple[str, str], int] = {}
    for (kernels, host), n in side.items():
        key = (bits.without_components(kernels), host)
        counts[key] = counts.get(key, 0) + n
    return counts


def differ(sides: Iterable[Computed]) -> bool:
    """Tell whether not all trials of several sides have the same kernels and host."""
    return len({key for side in sides for key in side}) > 1


def words(side: Computed) -> str:
    """Write what computed the trials of a side, such as "kernels c-0123456789 on host lab3 (40 trials)"."""
    most = sorted(side.items(), key=lambda item: -item[1])
    return listed([f"{_words(*key)} ({count(n, 'trial')})" for key, n in most], FEW) or "no finished trial"


def _words(kernels: str, host: str) -> str:
    return f"kernels {kernels or 'unknown'}" + (f" on host {host}" if host else "")


def consequence(sides: Iterable[Computed]) -> str:
    """Say what it means that sides have other kernels or hosts; other kernels need not have other bits."""
    kernels = {name for side in sides for name, _ in side}
    if kernels == {""}:
        return "it is unknown whether float bits are the same on them"
    if len(kernels) == 1:
        alone = not min(kernels).startswith("torch")
        limit = "as far as can be known" if alone else "if as many trials trained together (group_size)"
        return f"the kernels are the same, and so are float bits, {limit}"
    return "float bits may differ between them, in the last digits; paired seeds still pair"
