"""Samples of lm-eval (EleutherAI's Language Model Evaluation Harness): a file a model, paired by doc_id.

`lm_eval --log_samples --output_path OUT` writes OUT/<model>/samples_<task>_<date>.jsonl: a line a document
and filter, with doc_id, doc_hash, filter and each metric by its name (version 0.4.13,
lm_eval/evaluator.py and loggers/evaluation_tracker.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.comparison.judging.observations import Observations, Roles, long_observations
from harness.comparison.judging.options import JudgeOptions
from harness.comparison.judging.table_files import ReadTable
from harness.errors import UsageError, did_you_mean, few
from harness.text import count

SUFFIXES = (".jsonl", ".ndjson")
NAME = re.compile(r"samples_(?P<task>.+?)_\d{4}-\d\d-\d\dT[\d.+-]+")
METRICS = ("acc", "exact_match", "acc_norm", "em", "correct", "f1", "score")
"""Metrics of a sample, the likeliest first."""
KEPT = ("doc_id", "filter", "doc_hash")


@dataclass(frozen=True)
class SampleFile:
    """A file of samples: its path, and the model and the task that its name says."""

    path: Path
    model: str
    task: str


def observations(paths: Sequence[Path], options: JudgeOptions) -> Observations:
    """Read files of samples, or folders of them; an arm is a model, a block a task (and a filter).

    Raises:
        UsageError: there are none, a line is not JSON, a metric is not there, or documents differ.
    """
    files = list(_found(paths))
    tables = [_samples(file, options) for file in files]
    cells = pd.concat([cells for cells, _ in tables], ignore_index=True)
    lines = np.concatenate([lines for _, lines in tables])
    table = ReadTable(cells, lines, "line", "the samples")
    for words in options.where:
        name, _, value = words.partition("=")
        if name != "filter" or not table.texts("filter").eq(value).any():
            raise UsageError(
                f"--where {words}: of samples, allowed is filter=NAME; "
                f"{did_you_mean(value, set(table.texts('filter')))}"
            )
        table = table.only(table.texts("filter").eq(value))
    metric = options.metric or _metric(table)
    filters = table.texts("filter").groupby(table.texts("task")).nunique().max() > 1
    block = ["task", "filter"] if filters else ["task"]
    _check_documents(table)
    seen = long_observations(
        table, Roles(["model"], "doc_id", metric, block), "samples of lm-eval, a file a model"
    )
    rows = seen.rows
    if filters:
        rows = rows.assign(block=rows["block"].str.replace(r"task=(.*), filter=", r"\1, ", regex=True))
    return replace(seen, rows=rows, words={**seen.words, "arm": "file or folder"}, unit="sample")


def is_records(path: Path) -> bool:
    """Tell whether a .jsonl holds a run a line, not lm-eval's samples: its first line has no doc_id."""
    _, first = next(_lines(path), (0, ""))
    return first.startswith("{") and '"doc_id"' not in first


def records(path: Path) -> pd.DataFrame:
    """Read a .jsonl with a run a line.

    Raises:
        UsageError: a line is not a JSON object.
    """
    return pd.DataFrame([_parsed(path, number, line) for number, line in _lines(path)], dtype=object)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1, one at a time: samples hold whole documents.

    A line ends with a line feed; documents may hold what Unicode calls other ends of lines.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {reason}. Name files of samples, in UTF-8") from error


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}, line {number} is not JSON ({error}): the file may be cut off. Repair the line, or "
            "take it out"
        ) from error
    if not isinstance(record, dict):
        raise UsageError(f"{path}, line {number} is no JSON object; allowed: an object a line")
    return record


def _found(paths: Sequence[Path]) -> Iterator[SampleFile]:
    """Find files of samples, and tell models by the folder of each, or by its name."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise UsageError(
                f"{path} is a folder without samples_*.jsonl, and no results folder (it has no trials.csv). "
                "Name a CSV, a results folder, or the files"
            )
        files += inside
    tasks = [match["task"] if (match := NAME.fullmatch(file.stem)) else "" for file in files]
    folders = [file.absolute().parent.name for file in files]
    by_folder = len(set(folders)) > 1 and all(tasks)
    models = folders if by_folder else [_model(file, task) for file, task in zip(files, tasks, strict=True)]
    doubled = [model for model in dict.fromkeys(models) if _repeated(model, models, tasks)]
    if doubled:
        raise UsageError(
            f"several files of {few(doubled)} for one task: keep the file of one evaluation of each model, "
            "or give them names of their own"
        )
    for file, model, task in zip(files, models, tasks, strict=True):
        yield SampleFile(file, model, task)


def _model(file: Path, task: str) -> str:
    return file.absolute().parent.name if task and file.stem.startswith("samples_") else file.stem


def _repeated(model: str, models: Sequence[str], tasks: Sequence[str]) -> bool:
    mine = [task for name, task in zip(models, tasks, strict=True) if name == model]
    return len(set(mine)) < len(mine)


def _samples(file: SampleFile, options: JudgeOptions) -> tuple[pd.DataFrame, Any]:
    rows: list[dict[str, Any]] = []
    lines = []
    for number, line in _lines(file.path):
        rows.append(_kept(file, number, line, options.metric))
        lines.append(number)
    if not rows:
        raise UsageError(
            f"{file.path} is empty; allowed: a line a sample, as lm_eval --log_samples writes it"
        )
    cells = pd.DataFrame(rows).assign(model=file.model, task=file.task)
    return cells.assign(filter=cells["filter"].fillna("none")), np.asarray(lines)


def _kept(file: SampleFile, number: int, line: str, metric: str | None) -> dict[str, Any]:
    """Keep of a sample its document, its filter and its metrics."""
    sample = _parsed(file.path, number, line)
    if "doc_id" not in sample:
        raise UsageError(
            f"{file.path}, line {number} has no doc_id; allowed: samples of lm_eval --log_samples"
        )
    names = list(sample.get("metrics") or [name for name in METRICS if name in sample])
    if metric is not None and metric not in sample:
        raise UsageError(
            f"--metric {metric}: {file.path}, line {number} has none; {did_you_mean(metric, names)}"
        )
    kept = {name: sample.get(name) for name in KEPT}
    return {
        **kept,
        **{name: _number(sample[name]) for name in {*names, *filter(None, [metric])} if name in sample},
    }


def _number(value: Any) -> Any:
    """Return a metric of a sample: a number; lists (of perplexities, say) are no single number."""
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | float | None) else str(value)


def _metric(table: ReadTable) -> str:
    names = [name for name in table.columns if name not in {*KEPT, "model", "task"}]
    found = next((name for name in METRICS if name in names), None) or (names[0] if len(names) == 1 else None)
    if found is None:
        raise UsageError(
            f"which metric is judged? Type --metric NAME. The samples have: {few(names) or 'none'}"
        )
    return found


def _check_documents(table: ReadTable) -> None:
    """Raise UsageError if a doc_id stands for other documents in another file."""
    if table.cells["doc_hash"].isna().all():
        return
    hashes = table.cells.groupby(["task", "doc_id"], sort=False)["doc_hash"].nunique()
    other = hashes[hashes > 1]
    if len(other):
        raise UsageError(
            f"the files are of different documents: {count(len(other), 'doc_id')} (first "
            f"{other.index[0][1]}) with another doc_hash in each. Evaluate both models on the same version "
            "of the task, with the same --limit or --samples"
        )
