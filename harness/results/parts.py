"""Results of a stack, turned into the tables and files of a results folder."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from harness.data.samples import SPLITS, Data, Split, prepare
from harness.engines.outcome import Floats, Outcome, Point
from harness.planning.parameters import size_of
from harness.planning.stack import Stack, budget_of
from harness.results import checksums, columns, csv_rows, part_files
from harness.results.csv_rows import CONFUSION, TextTable, number
from harness.settings.schema import EPOCHS, PARENT, outcome_columns
from harness.study.trials import Trial
from harness.system import files, locks, machine


@dataclass(frozen=True)
class ShareOutcome:
    """Trials of a stack that trained together: the whole stack, or a share where memory was short.

    `reasons` maps the trial_ids of pruned trials to why they were stopped early; `parents` are the trials
    that these went on from, if they did. `library` is what computed them.
    """

    trials: Sequence[Trial]
    outcome: Outcome
    seconds: float
    device: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    parents: Sequence[str] = ()
    library: str = ""


def write(
    folder: Path,
    stack: Stack,
    data: Data,
    shares: Sequence[ShareOutcome],
    keep: Sequence[str],
    keep_weights: str,
) -> dict[str, int]:
    """Write a stack's predictions and weights, and last its part, which makes its trials count as trained.

    `keep` are the splits whose predictions are kept. Returns status -> count of trials.
    """
    locks.check_there(folder)
    written = _write_predictions(folder, stack, data, shares, keep)
    for share in shares:
        written |= _write_weights(folder, share, keep_weights)
    tables = {
        "trials": csv_rows.stacked([_trials(stack, share) for share in shares]),
        "epochs": csv_rows.stacked([_epochs(share) for share in shares]),
        "confusion": csv_rows.stacked([_confusion(share, data) for share in shares]),
    }
    part_files.write(folder, stack.group, tables, written)
    return columns.count(tables["trials"]["status"])


def write_batch(
    folder: Path,
    name: str,
    shares: Sequence[tuple[Stack, ShareOutcome]],
    failed: Mapping[str, tuple[Stack, str]],
) -> None:
    """Write the results of a batch of suggestions as one part, so that the batch counts as a whole.

    `failed` maps each trial that could not be trained to its stack and the message.
    """
    failures = [_failure(stack, [trial_id], message) for trial_id, (stack, message) in failed.items()]
    trials = [*(_trials(stack, share) for stack, share in shares), *failures]
    confusion = [_confusion(s, prepare(s.trials[0].arm.settings)) for _, s in shares if s.outcome.final]
    tables = {
        "trials": csv_rows.stacked(trials, columns.of_part("trials")),
        "epochs": csv_rows.stacked([_epochs(share) for _, share in shares], EPOCHS),
        "confusion": csv_rows.stacked(confusion, CONFUSION),
    }
    part_files.write(folder, name, tables)


def write_failure(folder: Path, stack: Stack, message: str) -> None:
    """Write that a stack's trials failed, and why; the next run tries them again.

    If they had finished before, and were to be trained anew, the earlier part is kept as .replaced.
    """
    part_files.set_aside_finished(folder, stack.group)
    trials = _failure(stack, [trial.trial_id for trial in stack.trials], message)
    empty = {name: TextTable(columns.of_part(name)) for name in ("epochs", "confusion")}
    part_files.write(folder, stack.group, {"trials": trials.only(columns.of_part("trials")), **empty})


def _failure(stack: Stack, trial_ids: Sequence[str], message: str) -> TextTable:
    rows = [[trial_id, "failed", message, stack.group, machine.host()] for trial_id in trial_ids]
    return TextTable(["trial_id", "status", "reason", "group", "host"], rows)


def _trials(stack: Stack, share: ShareOutcome) -> TextTable:
    outcome, budget = share.outcome, budget_of(stack)
    names = ["trial_id", *outcome_columns(_tracked(share)), *([PARENT] if share.parents else [])]
    measured = _measured(share)
    table = TextTable(list(dict.fromkeys([*names, *measured])))
    arms = {trial.arm.name: trial.arm.settings for trial in share.trials}
    flops = {name: size_of(settings).flops for name, settings in arms.items()}
    for k, trial in enumerate(share.trials):
        diverged = int(outcome.diverged_step[k])
        pruned = share.reasons.get(trial.trial_id, "")
        step = diverged or outcome.steps_done
        cells = {
            "trial_id": trial.trial_id,
            "status": "diverged" if diverged else "pruned" if trial.trial_id in share.reasons else "ok",
            "reason": f"the loss was not finite at step {diverged}" if diverged else pruned,
            "diverged_step": str(diverged or ""),
            "parameters": str(int(outcome.parameters[k])),
            "flops": str(flops[trial.arm.name] or ""),
            "epochs_done": number(budget.epoch_of(step)),
            "steps_done": str(step),
            "engine": stack.engine,
            "device": share.device,
            "group": stack.group,
            "group_size": str(len(share.trials)),
            "group_seconds": number(round(share.seconds, 3)),
            "kernels": outcome.kernels[k] if outcome.kernels else "",
            "host": outcome.hosts[k] if outcome.hosts else machine.host(),
        }
        if share.parents:
            cells[PARENT] = share.parents[k]
        if not diverged:  # a diverged network's last numbers mean nothing: its cells stay empty
            cells |= {name: number(values[k]) for name, values in measured.items()}
        table.rows.append([cells.get(name, "") for name in table.columns])
    return table


def _measured(share: ShareOutcome) -> dict[str, Floats]:
    """Return what was measured of a share's trials at the end, by its column of trials.csv: (K,) each."""
    last: dict[Split, Point] = {point.split: point for point in share.outcome.curve}  # if stopped early
    columns_of: dict[str, Floats] = {}
    for split, point in (share.outcome.final or last).items():
        columns_of |= {f"{split}_loss": point.loss, f"{split}_accuracy": point.accuracy}
        columns_of |= {f"{split}_{name}": values for name, values in point.metrics.items()}
    return columns_of


def _tracked(share: ShareOutcome) -> Sequence[str]:
    """List the tracked metrics of a share."""
    return list(share.outcome.curve[-1].metrics) if share.outcome.curve else []


def _epochs(share: ShareOutcome) -> TextTable:
    """Make a row a trial, evaluation and split, up to the step at which the trial diverged."""
    tracked, curve = _tracked(share), share.outcome.curve
    table = TextTable([*EPOCHS, *tracked])
    cells = [
        [number(point.epoch), str(point.step), point.split] for point in curve
    ]  # the same for all trials
    values = [
        np.stack([point.loss, point.accuracy, *(point.metrics[name] for name in tracked)], 1).tolist()
        for point in curve
    ]
    for k, (trial, diverged) in enumerate(zip(share.trials, share.outcome.diverged_step, strict=True)):
        table.rows += [
            [trial.trial_id, *cells[i], *map(number, values[i][k])]
            for i, point in enumerate(curve)
            if not diverged or point.step < diverged
        ]
    return table


def _confusion(share: ShareOutcome, data: Data) -> TextTable:
    """Make a row a trial, split and occurring pair of label and prediction, for val and test."""
    classes, final = len(data.classes), share.outcome.final
    table = TextTable(list(CONFUSION))
    for split in (split for split in ("val", "test") if split in final):
        cells = data[split].y * classes + final[split].predicted
        for k in np.flatnonzero(share.outcome.diverged_step == 0).tolist():
            counts = np.bincount(cells[k], minlength=classes * classes)
            at = np.flatnonzero(counts)
            labels, predicted = divmod(at, classes)
            numbers = np.stack([labels, predicted, counts[at]], 1).tolist()
            table.rows += [[share.trials[k].trial_id, split, *map(str, row)] for row in numbers]
    return table


def _write_predictions(
    folder: Path, stack: Stack, data: Data, shares: Sequence[ShareOutcome], keep: Sequence[str]
) -> dict[str, str]:
    """Write one .npz: trial_id (K,); per kept split label, index (n,), predicted, confidence (K, n).

    Diverged networks are left out. Returns the file's name and SHA-256, if there is one.
    """
    sound = [(share, np.flatnonzero(share.outcome.diverged_step == 0)) for share in shares]
    sound = [(share, members) for share, members in sound if len(members)]
    final = sound[0][0].outcome.final if sound else {}
    kept = [split for split in SPLITS if split in keep and split in final]
    if not kept:
        return {}
    ids = [share.trials[int(k)].trial_id for share, members in sound for k in members]
    arrays: dict[str, NDArray[Any]] = {"trial_id": np.array(ids)}
    small = np.uint8 if len(data.classes) <= 2**8 else np.uint16
    for split in kept:
        points = [(share.outcome.final[split], members) for share, members in sound]
        arrays[f"{split}_label"] = data[split].y.astype(small)
        arrays[f"{split}_index"] = data[split].index.astype(np.uint32)
        arrays[f"{split}_predicted"] = np.concatenate([p.predicted[m] for p, m in points]).astype(small)
        sure = np.concatenate([p.confidence[m] for p, m in points]).astype(np.float16)
        arrays[f"{split}_confidence"] = _one_nan(sure)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return _written(folder, f"predictions/{stack.group}.npz", buffer.getvalue())


def _written(folder: Path, name: str, content: bytes) -> dict[str, str]:
    """Write a file of a results folder; return its name and SHA-256."""
    files.write(folder / name, content)
    return {name: checksums.digest(content)}


def _one_nan(array: Floats) -> Floats:
    """Return an array in C order whose NaNs are all one: their sign and payload depend on the processor."""
    array = np.asarray(array, order="C")
    missing = np.isnan(array)
    return np.where(missing, array.dtype.type(np.nan), array) if missing.any() else array


def _write_weights(folder: Path, share: ShareOutcome, keep: str) -> dict[str, str]:
    """Write final weights, with the settings that rebuild the network, of all trials or the best by val.

    Returns the files' names and SHA-256.
    """
    sound = np.flatnonzero(share.outcome.diverged_step == 0)
    if keep == "none" or not len(sound) or (keep == "best" and "val" not in share.outcome.final):
        return {}
    if keep == "best":
        accuracy = share.outcome.final["val"].accuracy[sound]
        sound = sound[[int(accuracy.argmax())]]
    written: dict[str, str] = {}
    for k in sound:
        if not share.outcome.weights[k]:  # of a person's own network that no settings describe
            continue
        trial = share.trials[int(k)]
        settings = json.dumps(dict(trial.arm.settings))
        about = {"trial_id": trial.trial_id, "settings": settings, "seed": str(trial.seed)}
        named = {name: _one_nan(array) for name, array in share.outcome.weights[k].items()}
        content = files.steady(safetensors.numpy.save(named, about))
        written |= _written(folder, f"weights/{trial.trial_id}.safetensors", content)
    return written
