"""From a table of any tool to observations: its form, told by its columns, and its reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.comparison.judging.long_tables import (
    ARM,
    BLOCK,
    METRIC,
    SEED,
    column_of,
    guessed,
    is_numeric,
    long,
    wide,
)
from harness.comparison.judging.observations import Observations
from harness.comparison.judging.options import JudgeOptions
from harness.comparison.judging.table_files import ReadTable
from harness.comparison.judging.tool_tables import curves_of, optuna_trials, wandb_history, wandb_runs
from harness.errors import UsageError, did_you_mean


def observations(table: ReadTable, options: JudgeOptions) -> Observations:
    """Understand a table.

    Raises:
        UsageError: a column is not there or cannot be guessed, a cell is wrong, or runs are doubled.
    """
    table, notes = _selected(table, options)
    read = recognise(table, options)
    seen = read(table, options)
    return replace(seen, notes=(*seen.notes, *notes))


def recognise(table: ReadTable, options: JudgeOptions) -> Callable[[ReadTable, JudgeOptions], Observations]:
    """Return the reader of the table's form, told by its columns."""
    names = set(table.columns)
    if options.wide or options.arms:
        return wide
    if {"number", "state"} <= names and any(name.startswith(("params_", "datetime_")) for name in names):
        return optuna_trials
    if curves_of(table):
        return wandb_history
    if {"Name", "State", "Created"} <= names or {"Name", "State", "Runtime"} <= names:
        return wandb_runs
    return wide if _looks_wide(table, options) else long


def _selected(table: ReadTable, options: JudgeOptions) -> tuple[ReadTable, list[str]]:
    """Keep the rows that --where asks for."""
    notes = []
    for words in options.where:
        name, sign, value = words.partition("=")
        if not sign:
            raise UsageError(f"--where {words}: allowed is COLUMN=VALUE")
        column = column_of(table, name, "--where")
        labels = table.texts(column)
        kept = labels.eq(value.strip())
        if not kept.any():
            known = list(labels[labels.ne("")].unique()[:200])
            raise UsageError(f"--where {words}: no row has it; {did_you_mean(value, known)}"[:1000])
        notes.append(f"only rows of {column} = {value.strip()}: {int(kept.sum()):,} of {len(table):,}")
        table = table.only(kept)
    return table, notes


def _looks_wide(table: ReadTable, options: JudgeOptions) -> bool:
    """Tell whether a table without an arm or metric is seeds by arms: numbers in all other columns."""
    seed = options.seed or guessed(table, SEED)
    if options.arm or options.metric or seed is None or guessed(table, ARM) or guessed(table, METRIC):
        return False
    block = guessed(table, BLOCK)
    others = [name for name in table.columns if name not in {seed, block, options.block}]
    return len(others) > 1 and all(is_numeric(table, name) for name in others)
