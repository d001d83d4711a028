"""Long and wide tables: a row a run, or a column an arm; columns that nobody named are guessed by name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.comparison.judging.observations import LeftOut, Observations, Roles, long_observations
from harness.comparison.judging.options import JudgeOptions
from harness.comparison.judging.table_files import ReadTable
from harness.errors import UsageError, did_you_mean, few

ARM = ("arm", "model", "model_name", "method", "algorithm", "algo", "variant", "config", "condition",
       "treatment", "approach", "system", "architecture", "arch", "optimizer", "name")  # fmt: skip
SEED = ("seed", "random_seed", "rng_seed", "random_state", "fold", "replicate", "repetition", "repeat", "rep",
        "doc_id", "sample", "sample_id", "question_id", "example_id", "run")  # fmt: skip
METRIC = ("test_accuracy", "test_acc", "accuracy", "acc", "val_accuracy", "val_acc", "top1", "f1", "score",
          "correct", "value", "test_loss", "loss", "val_loss")  # fmt: skip
BLOCK = ("dataset", "data_set", "task", "benchmark", "block")
"""Names of columns, the likeliest first, that are taken for an arm, a seed, a metric or a block."""
FINISHED = {"state": ("finished",), "status": ("ok", "finished", "complete", "completed", "success", "done")}


def long(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read a row a run; columns that are not named are guessed by their names."""
    notes: list[str] = []
    table, options, form = _of_metric_rows(table, options)
    arm = columns_of(table, options.arm, "--arm") if options.arm else _the(table, ARM, "arm", "model")
    seed = _seed(table, options)
    metric = _metric(table, options, [*arm, seed], notes)
    table, left_out = finished_only(table, options, [*arm, seed, metric])
    block = block_of(table, options, [*arm, seed, metric])
    roles = Roles(arm, seed, metric, block, not options.unpaired)
    return long_observations(table, roles, form, left_out, notes)


def _seed(table: ReadTable, options: JudgeOptions) -> str:
    """Find the column of seeds; none where runs are not paired."""
    if options.unpaired:
        return ""
    return column_of(table, options.seed, "--seed") if options.seed else _the(table, SEED, "seed", "seed")[0]


def _of_metric_rows(table: ReadTable, options: JudgeOptions) -> tuple[ReadTable, JudgeOptions, str]:
    """Keep the rows of one metric where a table has a row a metric: columns "metric" and "value"."""
    if not {"metric", "value"} <= set(table.columns) or options.metric in set(table.columns):
        return table, options, "long"
    names = table.texts("metric")
    wanted = options.metric or (names.iloc[0] if len(names.unique()) == 1 else None)
    if wanted is None or not names.eq(wanted).any():
        said = did_you_mean(wanted or "", set(names))
        raise UsageError(f"--metric {wanted or 'is missing'}: the column 'metric' has no such rows; {said}")
    kept = table.only(names.eq(wanted))
    cells = kept.cells.drop(columns="metric").rename(columns={"value": wanted})
    return replace(kept, cells=cells), replace(options, metric=wanted), "long, a row a metric"


def _the(table: ReadTable, names: Sequence[str], role: str, example: str) -> list[str]:
    found = guessed(table, names)
    if found is None:
        article = "an" if role == "arm" else "a"
        why = {
            "seed": " Runs are paired by seed: without one there is nothing to pair. Runs that share nothing "
            "are judged with --unpaired, which needs more of them.",
            "arm": " A table with a column an arm is read with --wide.",
        }[role]
        raise UsageError(
            f"{table.name}: no column is named like {article} {role}; type --{role} COLUMN, for instance "
            f"--{role} {example}. Columns: {few(table.columns)}.{why}"
        )
    return [found]


def _metric(table: ReadTable, options: JudgeOptions, taken: Sequence[str], notes: list[str]) -> str:
    if options.metric:
        return column_of(table, options.metric, "--metric")
    found = [name for name in METRIC if guessed(table, [name], taken)]
    if found:
        first, *others = [str(guessed(table, [name], taken)) for name in found]
        if others:
            notes.append(f"judged is {first}; also there: {few(others)} (--metric)")
        return first
    numeric = [name for name in table.columns if name not in taken and is_numeric(table, name)]
    if len(numeric) == 1:
        return numeric[0]
    raise UsageError(
        f"{table.name}: which column is judged? Type --metric COLUMN. Columns of numbers: "
        f"{few(numeric) or 'none'}"
    )


def block_of(table: ReadTable, options: JudgeOptions, taken: Sequence[str]) -> list[str]:
    """Find the columns of blocks; none if none is named, or named like one and filled."""
    if options.block:
        return columns_of(table, options.block, "--block")
    found = guessed(table, BLOCK, taken)
    return [found] if found and table.texts(found).ne("").all() else []


def finished_only(
    table: ReadTable, options: JudgeOptions, taken: Sequence[str] = ()
) -> tuple[ReadTable, list[LeftOut]]:
    """Leave out runs whose state, in a column of that name, says that they did not finish.

    A person who chose states by --where gets what was asked for. `taken`: columns of other meaning.
    """
    column = guessed(table, tuple(FINISHED), taken)
    chosen = {words.partition("=")[0].strip().lower() for words in options.where}
    if column is None or column.lower() in chosen:
        return table, []
    states = table.texts(column)
    good = states.str.lower().isin([word for words in FINISHED.values() for word in words])
    if good.all() or not good.any():
        return table, []
    bad = states[~good]
    left = [
        LeftOut(int(number), f"{column} is {state or 'empty'}", table.at(states.eq(str(state))))
        for state, number in bad.value_counts().items()
    ]
    return table.only(good), left


def wide(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read a column an arm: each cell is a run."""
    found = options.seed or guessed(table, SEED)
    if found is None:
        raise UsageError(
            f"{table.name}: a wide table needs a column of seeds; type --seed COLUMN. Columns: "
            f"{few(table.columns)}"
        )
    seed = column_of(table, found, "--seed")
    block = block_of(table, options, [seed])
    Roles([], seed, "", block).check_distinct()
    names = [name for name in table.columns if name not in {seed, *block}]
    arms = _matching(names, options.arms) if options.arms else _all_numeric(table, names)
    keys = [seed, *block]
    parts, lines = [], []
    for arm in arms:
        parts.append(table.cells[keys].assign(arm=arm, value=table.cells[arm]))
        lines.append(table.lines)
    metric = options.metric if options.metric and options.metric not in names else "value"
    cells = pd.concat(parts, ignore_index=True).rename(columns={"value": metric})
    melted = replace(table, cells=cells, lines=np.concatenate(lines))
    left = [name for name in names if name not in arms]
    notes = [f"not taken for arms: {few(left)}"] if left else []
    seen = long_observations(melted, Roles(["arm"], seed, metric, block), "wide, a column an arm", (), notes)
    return replace(seen, words={**seen.words, "arm": "columns", "metric": metric})


def _matching(names: Sequence[str], patterns: str) -> list[str]:
    chosen: dict[str, None] = {}
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        found = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise UsageError(f"--arms {pattern}: no such column; {did_you_mean(pattern, names)}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _all_numeric(table: ReadTable, names: Sequence[str]) -> list[str]:
    wrong = []
    for name in names:
        try:
            table.numbers(name)
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError(f'{wrong[0]}. Or name the columns of arms: --arms "{",".join(names[:2])}"')
    return list(names)


def column_of(table: ReadTable, name: str, option: str) -> str:
    """Find a column by its name, with or without the prefix that Optuna gives it."""
    for prefix in ("params_", "user_attrs_", "system_attrs_", "values_", "value_"):
        if name not in table.cells and f"{prefix}{name}" in table.cells:
            return f"{prefix}{name}"
    return table.require(name, option)


def columns_of(table: ReadTable, names: str, option: str) -> list[str]:
    """Find columns by their names, joined by commas; a name that has commas itself is one."""
    if names in table.cells:
        return [names]
    return [column_of(table, name.strip(), option) for name in names.split(",") if name.strip()]


def guessed(table: ReadTable, names: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """Find the likeliest column by its name; "/", "." and "-" count as "_"."""
    plain = {re.sub(r"[\s/.-]+", "_", column.lower()): column for column in reversed(table.columns)}
    found = (plain[name] for name in names if name in plain and plain[name] not in taken)
    return next(found, None)


def is_numeric(table: ReadTable, column: str) -> bool:
    """Tell whether a column holds numbers, and no text."""
    try:
        numbers, _ = table.numbers(column)
    except UsageError:
        return False
    return bool(numbers.notna().any())
