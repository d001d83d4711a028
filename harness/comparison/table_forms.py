"""From a table of any tool to observations: long, wide, Optuna, Weights & Biases, told by its columns."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.comparison.judge_options import JudgeOptions
from harness.comparison.observations import LeftOut, Observations, Roles, long_observations
from harness.comparison.table_files import ReadTable
from harness.errors import UsageError, did_you_mean, few
from harness.text import joined

ARM = ("arm", "model", "model_name", "method", "algorithm", "algo", "variant", "config", "condition",
       "treatment", "approach", "system", "architecture", "arch", "optimizer", "name")  # fmt: skip
SEED = ("seed", "random_seed", "rng_seed", "random_state", "fold", "replicate", "repetition", "repeat", "rep",
        "doc_id", "sample", "sample_id", "question_id", "example_id", "run")  # fmt: skip
METRIC = ("test_accuracy", "test_acc", "accuracy", "acc", "val_accuracy", "val_acc", "top1", "f1", "score",
          "correct", "value", "test_loss", "loss", "val_loss")  # fmt: skip
BLOCK = ("dataset", "data_set", "task", "benchmark", "block")
"""Names of columns, the likeliest first, that are taken for an arm, a seed, a metric or a block."""
FINISHED = {"state": ("finished",), "status": ("ok", "finished", "complete", "completed", "success", "done")}
RUN_NAME = re.compile(r"(?P<arm>.+?)(?:[-_ ./]*seed[-_ =:]*|[-_ ./]+s)(?P<seed>\d+)", re.IGNORECASE)
"""Name of a run that says its arm and its seed: "relu-seed0", "wide_s3"."""
GROUPED = re.compile(r"(?:Group|[\w./]+): .+")


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
    if any(f"{name}__MIN" in names and f"{name}__MAX" in names for name in names):
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
        column = _column(table, name, "--where")
        labels = table.texts(column)
        kept = labels.eq(value.strip())
        if not kept.any():
            known = list(labels[labels.ne("")].unique()[:200])
            raise UsageError(f"--where {words}: no row has it; {did_you_mean(value, known)}"[:1000])
        notes.append(f"only rows of {column} = {value.strip()}: {int(kept.sum()):,} of {len(table):,}")
        table = table.only(kept)
    return table, notes


def _column(table: ReadTable, name: str, option: str) -> str:
    """Find a column by its name, with or without the prefix that Optuna gives it."""
    for prefix in ("params_", "user_attrs_", "system_attrs_", "values_", "value_"):
        if name not in table.cells and f"{prefix}{name}" in table.cells:
            return f"{prefix}{name}"
    return table.require(name, option)


def _columns(table: ReadTable, names: str, option: str) -> list[str]:
    if names in table.cells:
        return [names]
    return [_column(table, name.strip(), option) for name in names.split(",") if name.strip()]


def _guessed(table: ReadTable, names: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """Find the likeliest column by its name; "/", "." and "-" count as "_"."""
    plain = {re.sub(r"[\s/.-]+", "_", column.lower()): column for column in reversed(table.columns)}
    found = (plain[name] for name in names if name in plain and plain[name] not in taken)
    return next(found, None)


def _looks_wide(table: ReadTable, options: JudgeOptions) -> bool:
    """Tell whether a table without an arm or metric is seeds by arms: numbers in all other columns."""
    seed = options.seed or _guessed(table, SEED)
    if options.arm or options.metric or seed is None or _guessed(table, ARM) or _guessed(table, METRIC):
        return False
    block = _guessed(table, BLOCK)
    others = [name for name in table.columns if name not in {seed, block, options.block}]
    return len(others) > 1 and all(_numeric(table, name) for name in others)


def _numeric(table: ReadTable, column: str) -> bool:
    try:
        numbers, _ = table.numbers(column)
    except UsageError:
        return False
    return bool(numbers.notna().any())


def long(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read a row a run; columns that are not named are guessed by their names."""
    left_out: list[LeftOut] = []
    notes: list[str] = []
    table, options, form = _of_metric_rows(table, options)
    arm = _columns(table, options.arm, "--arm") if options.arm else _the(table, ARM, "arm", "model")
    seed = _seed(table, options)
    metric = _metric(table, options, [*arm, seed], notes)
    if not options.where:
        table, left_out = finished_only(table, [*arm, seed, metric])
    block = _block(table, options, [*arm, seed, metric])
    roles = Roles(arm, seed, metric, block, not options.unpaired)
    return long_observations(table, roles, form, left_out, notes)


def _seed(table: ReadTable, options: JudgeOptions) -> str:
    """Find the column of seeds; none where runs are not paired."""
    if options.unpaired:
        return ""
    return _column(table, options.seed, "--seed") if options.seed else _the(table, SEED, "seed", "seed")[0]


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
    found = _guessed(table, names)
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
        return _column(table, options.metric, "--metric")
    found = [name for name in METRIC if _guessed(table, [name], taken)]
    if found:
        first, *others = [str(_guessed(table, [name], taken)) for name in found]
        if others:
            notes.append(f"judged is {first}; also there: {few(others)} (--metric)")
        return first
    numeric = [name for name in table.columns if name not in taken and _numeric(table, name)]
    if len(numeric) == 1:
        return numeric[0]
    raise UsageError(
        f"{table.name}: which column is judged? Type --metric COLUMN. Columns of numbers: "
        f"{few(numeric) or 'none'}"
    )


def _block(table: ReadTable, options: JudgeOptions, taken: Sequence[str]) -> list[str]:
    if options.block:
        return _columns(table, options.block, "--block")
    found = _guessed(table, BLOCK, taken)
    return [found] if found and table.texts(found).ne("").all() else []


def finished_only(
    table: ReadTable, taken: Sequence[str] = (), column: str | None = None
) -> tuple[ReadTable, list[LeftOut]]:
    """Leave out runs whose state, in a column of that name, says that they did not finish."""
    column = column or _guessed(table, tuple(FINISHED), taken)
    if column is None:
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
    found = options.seed or _guessed(table, SEED)
    if found is None:
        raise UsageError(
            f"{table.name}: a wide table needs a column of seeds; type --seed COLUMN. Columns: "
            f"{few(table.columns)}"
        )
    seed = _column(table, found, "--seed")
    block = _block(table, options, [seed])
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


def optuna_trials(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read Optuna's `Study.trials_dataframe()`: complete trials; a param is the arm, another the seed."""
    states = table.texts("state")
    kept = states.eq("COMPLETE")
    left = [
        LeftOut(int(number), f"state is {state}" + _pruned(str(state)), table.at(states.eq(str(state))))
        for state, number in states[~kept].value_counts().items()
    ]
    if not kept.any():
        raise UsageError(f"{table.name}: no trial is COMPLETE ({joined([part.reason for part in left])})")
    table = table.only(kept)
    seed = options.seed or next((n for n in ("user_attrs_seed", "params_seed") if n in table.cells), None)
    if seed is None and not options.unpaired:
        raise UsageError(
            f"{table.name}: an Optuna trial has a seed only if the objective notes it: "
            'trial.set_user_attr("seed", seed), or suggests it. Type --seed COLUMN. Columns: '
            f"{few(table.columns)}"
        )
    seed = _column(table, seed, "--seed") if seed else ""
    values = [name for name in table.columns if re.fullmatch(r"values?(_.+)?", name)]
    metric = _column(table, options.metric, "--metric") if options.metric else values[0]
    arm = _columns(table, options.arm, "--arm") if options.arm else _varied(table, seed)
    block = _columns(table, options.block, "--block") if options.block else []
    arm = [name for name in arm if name not in block]
    notes = (
        [f"judged is {metric}; also there: {few(values[1:])} (--metric)"]
        if values[1:] and not options.metric
        else []
    )
    roles = Roles(arm, seed, metric, block, not options.unpaired)
    return long_observations(table, roles, "Optuna's trials_dataframe", left, notes)


def _pruned(state: str) -> str:
    return " (its value is the last one reported, not a result)" if state == "PRUNED" else ""


def _varied(table: ReadTable, seed: str) -> list[str]:
    params = [
        name
        for name in table.columns
        if name.startswith("params_") and name != seed and name != "params_seed"
    ]
    varied = [name for name in params if len(table.texts(name).unique()) > 1]
    if not varied:
        raise UsageError(
            f"{table.name}: no param was varied, so there is one arm. Type --arm COLUMN. Columns: "
            f"{few(table.columns)}"
        )
    combinations = table.cells[varied].astype(str).drop_duplicates()
    if len(varied) > 1 and len(combinations) == len(table):
        raise UsageError(
            f"{table.name}: each of the {len(table):,} trials has params of its own, so no arm has two "
            f"seeds. Type --arm {varied[0].removeprefix('params_')}, or another of: {few(varied)}"
        )
    return varied


def wandb_runs(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read the runs table of Weights & Biases, exported as CSV: config and summary columns, finished runs."""
    left: list[LeftOut] = []
    if not any(words.lower().startswith("state=") for words in options.where):
        table, left = finished_only(table, column="State")
    if options.arm is None:
        candidates = [name for name in ARM if name != "name"]
        found = _guessed(table, candidates)
        if found is None:
            raise UsageError(
                f"{table.name}: a Weights & Biases table of runs; which config column names the arm? Type "
                f"--arm COLUMN. Columns: {few(_config(table))}"
            )
        options = replace(options, arm=found)
    seen = long(table, replace(options, where=("State=",)))
    return replace(seen, form="Weights & Biases, table of runs", left_out=(*left, *seen.left_out))


def _config(table: ReadTable) -> list[str]:
    own = {"Name", "ID", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "Agent", "Updated",
           "End Time", "Hostname", "GPU Count", "GPU Type", "Commit", "GitHub"}  # fmt: skip
    return [name for name in table.columns if name not in own]


def wandb_history(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read a chart of Weights & Biases, exported as CSV: a curve a run, of which the last step counts."""
    curves = [n for n in table.columns if f"{n}__MIN" in table.cells and f"{n}__MAX" in table.cells]
    curves = [name for name in curves if not name.endswith(" - _step")]
    split = {name: name.rpartition(" - ")[::2] for name in curves}
    metric = options.metric or split[curves[0]][1]
    runs = {run: name for name, (run, measure) in split.items() if measure == metric}
    if not runs:
        measures = {measure for _, measure in split.values()}
        raise UsageError(f"--metric {metric}: no such curve; {did_you_mean(metric, measures)}")
    named = {run: RUN_NAME.fullmatch(run) for run in runs}
    unnamed = [run for run, match in named.items() if match is None]
    if unnamed:
        averaged = all(GROUPED.fullmatch(run) for run in runs)
        raise UsageError(
            f"{table.name}: a Weights & Biases chart whose "
            + (
                f"curves are groups ({few(unnamed)}): their runs are averaged already. Switch grouping off "
                if averaged
                else f'runs do not say arm and seed ({few(unnamed)}); "relu-seed0" does. Rename the runs '
            )
            + "and export again, or export the table of runs, which has the config columns"
        )
    rows, picked = [], []
    for run, name in runs.items():
        match = named[run]
        value, line = _at_step(table, name, options.step)
        if match is not None:
            rows.append({"arm": match["arm"].rstrip("-_ ./"), "seed": match["seed"], metric: value})
            picked.append(line)
    cells = pd.DataFrame(rows, dtype=object)
    small = replace(table, cells=cells, lines=np.asarray(picked))
    when = f"step {options.step:g}" if options.step is not None else "the last step of each run"
    seen = long_observations(small, Roles(["arm"], "seed", metric), "Weights & Biases, a chart's curves")
    words = {**seen.words, "arm": "names of runs", "seed": "names of runs", "metric": f"{metric} at {when}"}
    ends = sorted(set(picked))
    uneven = f"runs end at different steps, in lines {ends[0]} to {ends[-1]} (--step judges all at one)"
    notes = [uneven] if options.step is None and len(ends) > 1 else []
    return replace(seen, words=words, notes=(*seen.notes, *notes))


def _at_step(table: ReadTable, column: str, step: float | None) -> tuple[object, int]:
    """Return the last value of a curve, or that at a step, and its line; nothing where it has none."""
    filled = table.texts(column).ne("")
    if step is not None:
        filled &= table.numbers(table.columns[0])[0].eq(step)
    places = np.flatnonzero(filled)
    if not len(places):
        return "", int(table.lines[0])
    return table.cells[column].iloc[places[-1]], int(table.lines[places[-1]])
