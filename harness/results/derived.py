"""Tables that are made of trials.csv: scores, a row a measured number, and stacks, a row a stack.

trials.csv is wide, a row a trial, and says of each trial what belongs to its stack. A plot by split, a
database and a sum of seconds want it otherwise. Both tables are text, with the digits of trials.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from harness.results.csv_rows import TextTable, number
from harness.settings.schema import MEASURES, SCORES, SPLITS, STACKS


def scores(trials: TextTable) -> TextTable:
    """Make a row a number that was measured of a trial's final weights: trial_id, split, metric, value.

    A cell that is empty in trials.csv, as of a trial that diverged or of a split without images, has no row.
    A trial that several arms share has its rows once.
    """
    at = {name: place for place, name in enumerate(trials.columns)}
    # In trials.csv the splits of a tracked metric stand side by side; here the metrics of a split do.
    metrics = tracked(trials.columns)
    measured = [(split, metric, at[f"{split}_{metric}"]) for split in SPLITS for metric in metrics]
    rows = [
        [row[at["trial_id"]], split, metric, row[place]]
        for row in _distinct(trials)
        for split, metric, place in measured
        if row[place]
    ]
    return TextTable(list(SCORES), rows)


def tracked(columns: Iterable[str]) -> list[str]:
    """List the metrics that trials.csv has of all splits, loss and accuracy first.

    >>> tracked(["val_fraction", "train_loss", "val_loss", "test_loss", "train_nll", "val_nll", "test_nll"])
    ['loss', 'nll']
    """
    there = dict.fromkeys(columns)
    named = [*MEASURES, *(column.removeprefix("train_") for column in there if column.startswith("train_"))]
    return [name for name in dict.fromkeys(named) if all(f"{split}_{name}" in there for split in SPLITS)]


def _distinct(trials: TextTable) -> list[list[str]]:
    """List the rows, one a trial: arms that chose the same settings share a trial."""
    place = trials.columns.index("trial_id")
    first: dict[str, list[str]] = {}
    for row in trials.rows:
        first.setdefault(row[place], row)
    return list(first.values())


def stacks(trials: TextTable) -> TextTable:
    """Make a row a stack, in the order of its first trial: what its trials share, and how many they are."""
    groups: dict[str, list[list[str]]] = {}
    if "group" in trials:
        place = trials.columns.index("group")
        for row in _distinct(trials):
            if row[place]:
                groups.setdefault(row[place], []).append(row)
    rows = [_stack(group, TextTable(trials.columns, members)) for group, members in groups.items()]
    return TextTable(list(STACKS), rows)


def _stack(group: str, members: TextTable) -> list[str]:
    """Make the row of a stack of its trials' rows."""
    from harness.engines.bits import without_components  # whose imports a reader of results does not need

    # A stack that was too large for the memory trained in shares, one after the other.
    shares = dict.fromkeys(
        (size, seconds)
        for size, seconds in zip(_cells(members, "group_size"), _cells(members, "group_seconds"), strict=True)
        if size and seconds
    )
    sizes, seconds = [_whole(size) for size, _ in shares], [float(took) for _, took in shares]
    cells = {
        "group": group,
        "trials": str(len(members)),
        "arms": str(len(set(_cells(members, "arm")))),
        "seeds": str(len(set(_cells(members, "seed")))),
        "group_size": str(max(sizes)) if sizes else "",
        "group_seconds": number(round(sum(seconds), 3)) if seconds else "",
        "parameters": _total(_cells(members, "parameters")),
        "steps_done": str(max(map(_whole, filter(None, _cells(members, "steps_done"))), default="")),
        "kernels": _shared(map(without_components, _cells(members, "kernels"))),
    }
    return [cells[name] if name in cells else _shared(_cells(members, name)) for name in STACKS]


def _cells(table: TextTable, column: str) -> list[str]:
    """List the cells of a column; empty ones where an older version wrote none."""
    return table[column] if column in table else [""] * len(table)


def _total(cells: Iterable[str]) -> str:
    """Add whole numbers; empty if one is missing, as of a trial that failed."""
    listed = list(cells)
    return str(sum(map(_whole, listed))) if all(listed) else ""


def _whole(cell: str) -> int:
    """Read a whole number, which pandas may have written as a float."""
    return int(float(cell))


def _shared(cells: Iterable[str]) -> str:
    """Give the cell that all rows share; empty if they differ."""
    distinct = set(cells)
    return distinct.pop() if len(distinct) == 1 else ""


DERIVED: Mapping[str, Callable[[TextTable], TextTable]] = {"scores": scores, "stacks": stacks}
"""Tables that are made of trials.csv, each a CSV beside it: name -> the function that makes it."""
