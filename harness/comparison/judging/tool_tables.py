"""Tables as Optuna and Weights & Biases export them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.comparison.judging.long_tables import ARM, column_of, columns_of, finished_only, guessed, long
from harness.comparison.judging.observations import LeftOut, Observations, Roles, long_observations
from harness.comparison.judging.options import JudgeOptions
from harness.comparison.judging.table_files import ReadTable
from harness.errors import UsageError, did_you_mean, few
from harness.text import joined

RUN_NAME = re.compile(r"(?P<arm>.+?)(?:[-_ ./]*seed[-_ =:]*|[-_ ./]+s)(?P<seed>\d+)", re.IGNORECASE)
"""Name of a run that says its arm and its seed: "relu-seed0", "wide_s3"."""
GROUPED = re.compile(r"(?:Group|[\w./]+): .+")


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
    seed = column_of(table, seed, "--seed") if seed else ""
    values = [name for name in table.columns if re.fullmatch(r"values?(_.+)?", name)]
    metric = column_of(table, options.metric, "--metric") if options.metric else values[0]
    arm = columns_of(table, options.arm, "--arm") if options.arm else _varied(table, seed)
    block = columns_of(table, options.block, "--block") if options.block else []
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
    table, left = finished_only(table, options)
    if options.arm is None:
        candidates = [name for name in ARM if name != "name"]
        found = guessed(table, candidates)
        if found is None:
            raise UsageError(
                f"{table.name}: a Weights & Biases table of runs; which config column names the arm? Type "
                f"--arm COLUMN. Columns: {few(_config(table))}"
            )
        options = replace(options, arm=found)
    seen = long(table, options)
    return replace(seen, form="Weights & Biases, table of runs", left_out=(*left, *seen.left_out))


def _config(table: ReadTable) -> list[str]:
    own = {"Name", "ID", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "Agent", "Updated",
           "End Time", "Hostname", "GPU Count", "GPU Type", "Commit", "GitHub"}  # fmt: skip
    return [name for name in table.columns if name not in own]


def wandb_history(table: ReadTable, options: JudgeOptions) -> Observations:
    """Read a chart of Weights & Biases, exported as CSV: a curve a run, of which the last step counts."""
    curves = curves_of(table)
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


def curves_of(table: ReadTable) -> list[str]:
    """Find the curves of a chart, "run - metric"; none if a column is neither one nor the steps."""
    ends = ("__MIN", "__MAX")
    found = [name for name in table.columns[1:] if " - " in name and not name.endswith((*ends, " - _step"))]
    known = {*found, *(name + end for name in found for end in ends)}
    others = [name for name in table.columns[1:] if name not in known and " - _step" not in name]
    return found if not others else []


def _at_step(table: ReadTable, column: str, step: float | None) -> tuple[object, int]:
    """Return the last value of a curve, or that at a step, and its line; nothing where it has none."""
    filled = table.texts(column).ne("")
    if step is not None:
        filled &= table.numbers(table.columns[0])[0].eq(step)
    places = np.flatnonzero(filled)
    if not len(places):
        return "", int(table.lines[0])
    return table.cells[column].iloc[places[-1]], int(table.lines[places[-1]])
