"""Observations that can be judged: one number for each block, arm and seed, and how they were understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from harness import stats
from harness.comparison.judging.table_files import ReadTable
from harness.errors import UsageError, few, quoted
from harness.text import count

MOST_TOLD_APART = 3
OF_BLOCKS = (
    "blocks of seeds chose the settings of arms: n and more_seeds count blocks, by the mean of their seeds"
)
"""The note on arms of which each block of seeds (the column `stats.BLOCK`) chose the settings by itself."""
OF_BLOCK = "seed block"
"""The unit of such arms."""
TAKEN_FOR_MISSING = (
    ". pandas.read_csv takes names such as None, NA and null for missing, unless keep_default_na=False"
)


@dataclass(frozen=True)
class LeftOut:
    """Rows that were not judged, and the reason in words."""

    rows: int
    reason: str
    where: str = ""


@dataclass(frozen=True)
class Observations:
    """The rows of a table as they were understood.

    Attributes:
        rows: block, arm, seed (texts), value (NaN where there is none); a row a run. Of tuned arms of the
            harness also `stats.BLOCK`, where blocks of seeds chose.
        form: the form that the table was recognised as.
        words: what each of "arm", "seed", "metric" and "block" was taken from.
        unit: "seed", `OF_BLOCK`, "run" of unpaired arms, or "sample" where a row is one sample's right or
            wrong.
        left_out: rows that were not judged.
        notes: other remarks, in words.
    """

    rows: pd.DataFrame
    form: str
    words: Mapping[str, str]
    unit: str = "seed"
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """The metric's name, which tells its scale and direction."""
        return self.words["metric"].split(" at ")[0]


@dataclass(frozen=True)
class Roles:
    """The columns that a long table's arm, seed, metric and block are in.

    `paired`: a seed pairs runs, so that an arm has one run of it; `seed` may be empty where it does not.
    """

    arm: Sequence[str]
    seed: str
    metric: str
    block: Sequence[str] = ()
    paired: bool = True

    def check_distinct(self) -> None:
        """Raise UsageError if a column has two parts to play."""
        parts = [("--arm", name) for name in self.arm] + [("--block", name) for name in self.block]
        parts += [("--seed", self.seed), ("--metric", self.metric)]
        taken: dict[str, str] = {}
        for option, name in parts:
            if name and name in taken:
                raise UsageError(
                    f"{taken[name]} {name} and {option} {name}: a column can be one of them; name another"
                )
            taken[name] = option


def long_observations(
    table: ReadTable, roles: Roles, form: str, left_out: Sequence[LeftOut] = (), notes: Sequence[str] = ()
) -> Observations:
    """Take a row a run; raise UsageError on a missing arm or seed, doubled runs, or text for a number."""
    roles.check_distinct()
    arms, blocks = _label(table, roles.arm, "arm"), _label(table, roles.block, "block")
    arms = _without_block(arms, blocks, roles)
    numbered = pd.Series(table.lines.astype(str), index=table.cells.index)
    seeds = _filled(table, roles.seed, "seed") if roles.paired else numbered
    values, how = table.numbers(roles.metric)
    rows = pd.DataFrame({"block": blocks, "arm": arms, "seed": seeds, "value": values})
    if roles.paired:
        _check_single(table, rows, roles)
    unit = "seed" if roles.paired else "run"
    chose = roles.paired and roles.seed != stats.BLOCK and stats.BLOCK in table.columns
    if chose and (chosen_by := table.texts(stats.BLOCK)).ne("").all():
        rows[stats.BLOCK], notes, unit = chosen_by, [*notes, OF_BLOCKS], OF_BLOCK
    lost = list(left_out)
    infinite = np.isinf(rows["value"].to_numpy())
    for cases, reason in (
        (rows["value"].isna().to_numpy(), f"no {roles.metric}"),
        (infinite, f"{roles.metric} is not finite"),
    ):
        if cases.any():
            lost.append(LeftOut(int(cases.sum()), reason, table.at(cases)))
    rows["value"] = rows["value"].mask(infinite)
    words = {
        "arm": ", ".join(roles.arm), "seed": roles.seed, "metric": roles.metric,
        "block": ", ".join(roles.block),
    }  # fmt: skip
    return Observations(
        rows.reset_index(drop=True), form, words, unit, left_out=tuple(lost),
        notes=(*table.notes, *notes, *how),
    )  # fmt: skip


def _label(table: ReadTable, columns: Sequence[str], role: str) -> pd.Series[str]:
    """Name each row's arm or block: a column's text, or "optimizer=adam, lr=0.1" of several."""
    if not columns:
        return pd.Series("", index=table.cells.index)
    if len(columns) == 1:
        return _filled(table, columns[0], role)
    parts = [f"{name}=" + _filled(table, name, role) for name in columns]
    label = parts[0]
    for part in parts[1:]:
        label = label + ", " + part
    return label


def _without_block(arms: pd.Series[str], blocks: pd.Series[str], roles: Roles) -> pd.Series[str]:
    """Take the block out of arms that are named with it: "dataset=mnist, relu" is relu on every data set."""
    if len(roles.block) != 1 or f"{roles.block[0]}=" not in arms.iloc[0]:
        return arms
    pairs = zip(arms.str.split(", "), f"{roles.block[0]}=" + blocks, strict=True)
    kept = [[part for part in parts if part != block] for parts, block in pairs]
    lengths = arms.str.count(", ") + 1
    if not all(kept) or any(len(parts) == length for parts, length in zip(kept, lengths, strict=True)):
        return arms
    return pd.Series([", ".join(parts) for parts in kept], index=arms.index, dtype=object)


def _filled(table: ReadTable, column: str, role: str) -> pd.Series[str]:
    texts = table.texts(column)
    empty = texts.eq("")
    if empty.any():
        rows, article = count(int(empty.sum()), "row"), "an" if role == "arm" else "a"
        cause = TAKEN_FOR_MISSING if table.place == "row" else ""
        raise UsageError(
            f"{table.name}: {rows} without {article} {role} ({column} is empty in {table.at(empty)}). Fill "
            f"them in, or leave them out, for instance with --where COLUMN=VALUE{cause}"
        )
    return texts


def _check_single(table: ReadTable, rows: pd.DataFrame, roles: Roles) -> None:
    """Raise UsageError if a seed has several rows of an arm within a block."""
    key = ["block", "arm", "seed"]
    doubled = rows.duplicated(key, keep=False)
    if not doubled.any():
        return
    groups = rows[doubled].groupby(key, sort=False)
    (block, arm, seed), first = next(iter(groups))
    here = rows.index.isin(first.index)
    where = f"{roles.seed} {seed} of {arm}" + (f" in {block}" if block else "")
    message = f"{table.name}: {where} has {len(first)} rows ({table.at(here)})"
    others = len(groups) - 1
    message += f", and {others:,} more {'has' if others == 1 else 'have'} several. " if others else ". "
    _cannot(message + _remedy(table.only(doubled), rows[doubled], roles))


def _cannot(message: str) -> NoReturn:
    raise UsageError(message)


def _remedy(table: ReadTable, rows: pd.DataFrame, roles: Roles) -> str:
    """Say which columns tell doubled rows apart, and what to type."""
    if table.cells.duplicated(keep=False).all():
        return "They are equal: was the file written twice? Allowed: one row for each seed of an arm"
    apart = list(_telling(table, rows, roles))[:MOST_TOLD_APART]
    if not apart:
        return "Allowed: one row for each seed of an arm; take the others out"
    name = apart[0]
    value = table.texts(name).iloc[0]
    several = f" (or {few([repr(other) for other in apart[1:]])})" if apart[1:] else ""
    return (
        f"{name!r}{several} tells them apart. Allowed: one row for each seed of an arm within a block; type "
        f"--block {_shell(name)} for a verdict on each, --where {_shell(f'{name}={value}')} for one, or "
        f"--arm {_shell(','.join([*roles.arm, name]))} for arms of both"
    )


def _shell(text: str) -> str:
    """Quote words for a shell, if they need it."""
    plain = all(sign.isalnum() or sign in "_-./=:," for sign in text)
    return text if plain else quoted(text)


def _telling(table: ReadTable, rows: pd.DataFrame, roles: Roles) -> Iterator[str]:
    """Yield columns that make doubled rows single, the one of the fewest values first; no measurements."""
    used = {*roles.arm, roles.seed, roles.metric, *roles.block}
    found: list[tuple[int, str]] = []
    for name in table.columns:
        if name in used or _measured(table.cells[name]):
            continue
        labels: pd.Series[Any] = table.texts(name)
        if not rows.assign(_other=labels.to_numpy()).duplicated(["block", "arm", "seed", "_other"]).any():
            found.append((labels.nunique(), name))
    yield from (name for _, name in sorted(found, key=lambda pair: pair[0]))


def _measured(column: pd.Series[Any]) -> bool:
    """Tell whether a column holds measurements: numbers that are not whole, most of them different."""
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    fractions = len(numbers) > 0.5 * len(column) and (numbers % 1).ne(0).mean() > 0.5
    return bool(fractions and len(numbers.unique()) > 0.5 * len(numbers))
