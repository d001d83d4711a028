"""Figures that need images: drawn where these are at hand, left out in words where they are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import cache
from harness.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.report.figures import Drawn
    from harness.report.reading import Reading


@dataclass(frozen=True)
class Look:
    """One data set's part of a section: what it is about, what is not shown and why, and its figures."""

    dataset: str
    words: Sequence[str]
    drawn: Sequence[Drawn]


def look(
    reading: Reading, dataset: str, words: Sequence[str], makers: Mapping[str, Callable[[], Drawn]]
) -> Look:
    """Draw what can be drawn of a data set; what cannot is said after `words`, once for each reason.

    Args:
        reading: the results folder.
        dataset: whose images the figures show; none is drawn where they would have to be fetched.
        words: what is said in any case.
        makers: what a figure shows, in words -> what draws it, or raises a UsageError or MachineError.
    """
    drawn, left, folder = [], dict[str, list[str]](), str(reading.results.folder)
    absent = _absent(dataset)
    if absent:
        return Look(dataset, [*words, f"Not shown, {', '.join(makers)}: {absent}."], [])
    for what, make in makers.items():
        try:
            drawn.append(make())
        except (UsageError, MachineError) as error:
            # A page is passed on: it says nothing of where the folder lies.
            why = str(error).replace(f"{folder}/", "").replace(folder, "the results folder")
            left.setdefault(why, []).append(what)
    told = [f"Not shown, {', '.join(what)}: {why.rstrip('.')}." for why, what in left.items()]
    return Look(dataset, [*words, *told], drawn)


def _absent(dataset: str) -> str:
    """In words, that a data set would have to be fetched, which a report never does; empty where not."""
    if dataset in cache.PINS and any(state.status != "ok" for state in cache.verify(dataset)):
        return (
            f"the images of {dataset} are not in this machine's data cache; `harness data fetch {dataset}` "
            "brings them"
        )
    return ""
