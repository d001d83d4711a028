"""Results of a stack, turned into the tables and files of a results folder."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy
from numpy.typing import NDArray

from harness import results
from harness.data.samples import SPLITS, Data, Split, prepare
from harness.engines.outcome import Floats, Outcome, Point
from harness.planning.stack import Stack, budget_of
from harness.results import checksums, columns, part_files
from harness.results.csv_rows import CONFUSION
from harness.settings.schema import OUTCOME, outcome_columns
from harness.study.trials import Trial
from harness.system import files, locks


@dataclass(frozen=True)
class ShareOutcome:
    """Trials of a stack that trained together: the whole stack, or a share where memory was short.

    `reasons` maps the trial_ids of pruned trials to why they were stopped early.
    """

    trials: Sequence[Trial]
    outcome: Outcome
    seconds: float
    device: str
    reasons: Mapping[str, str] = field(default_factory=dict)


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
        "trials": pd.concat([_trials(stack, share) for share in shares]),
        "epochs": pd.concat([_epochs(share) for share in shares]),
        "confusion": pd.concat([_confusion(share, data) for share in shares]),
    }
    part_files.write(folder, stack.group, tables, written)
    return results.count_statuses(tables["trials"])


def write_batch(
    folder: Path,
    name: str,
    shares: Sequence[tuple[Stack, ShareOutcome]],
    failed: Mapping[str, tuple[Stack, str]],
) -> None:
    """Write the results of a batch of suggestions as one part, so that the batch counts as a whole.

    `failed` maps each trial that could not be trained to its stack and the message.
    """
    rows = [_failure(stack, trial_id, message) for trial_id, (stack, message) in failed.items()]
    frames = {
        "trials": [_trials(stack, share) for stack, share in shares],
        "epochs": [_epochs(share) for _, share in shares],
        "confusion": [_confusion(s, prepare(s.trials[0].arm.settings)) for _, s in shares if s.outcome.final],
    }
    if rows:
        frames["trials"].append(pd.DataFrame(rows))
    # Empty columns beside others would turn their numbers into objects, which are written unrounded.
    tables = {
        name: pd.concat(stacked) if stacked else columns.empty_table(name) for name, stacked in frames.items()
    }
    every = dict.fromkeys(["trial_id", *OUTCOME, *tables["trials"].columns])
    tables["trials"] = tables["trials"].reindex(columns=list(every))
    part_files.write(folder, name, tables)


def write_failure(folder: Path, stack: Stack, message: str) -> None:
    """Write that a stack's trials failed, and why; the next run tries them again.

    If they had finished before, and were to be trained anew, the earlier part is kept as .replaced.
    """
    before = folder / "parts" / f"{stack.group}.zip"
    part = part_files.read(before)
    if part is not None and part.table("trials")["status"].isin(columns.FINISHED).any():
        before.replace(before.with_suffix(".replaced"))
    rows = [_failure(stack, trial.trial_id, message) for trial in stack.trials]
    trials = pd.DataFrame(rows, columns=["trial_id", *OUTCOME])
    empty = {name: columns.empty_table(name) for name in ("epochs", "confusion")}
    part_files.write(folder, stack.group, {"trials": trials, **empty})


def _failure(stack: Stack, trial_id: str, message: str) -> dict[str, str]:
    return {"trial_id": trial_id, "status": "failed", "reason": message, "group": stack.group}


def _trials(stack: Stack, share: ShareOutcome) -> pd.DataFrame:
    outcome, k = share.outcome, len(share.trials)
    diverged = outcome.diverged_step > 0
    pruned = np.array([trial.trial_id in share.reasons for trial in share.trials]) & ~diverged
    budget = budget_of(stack)
    steps = np.where(diverged, outcome.diverged_step, outcome.steps_done)
    reasons = [
        f"the loss was not finite at step {step}" if step else share.reasons.get(trial.trial_id, "")
        for step, trial in zip(outcome.diverged_step, share.trials, strict=True)
    ]
    table = pd.DataFrame(
        {
            "trial_id": [trial.trial_id for trial in share.trials],
            "status": np.where(diverged, "diverged", np.where(pruned, "pruned", "ok")),
            "reason": reasons,
            "diverged_step": [str(s) if s else "" for s in outcome.diverged_step],
            "parameters": outcome.parameters,
            "epochs_done": [f"{budget.epoch_of(step):.7g}" for step in steps],
            "steps_done": steps,
            "engine": stack.engine,
            "device": share.device,
            "group": stack.group,
            "group_size": k,
            "group_seconds": round(share.seconds, 3),
        },
        columns=["trial_id", *outcome_columns(_tracked(share))],
    )
    last: dict[Split, Point] = {point.split: point for point in outcome.curve}  # of trials stopped early
    for split, point in (outcome.final or last).items():
        # A diverged network's last numbers mean nothing: its cells stay empty.
        table[f"{split}_loss"] = np.where(diverged, np.nan, point.loss)
        table[f"{split}_accuracy"] = np.where(diverged, np.nan, point.accuracy)
        for name, values in point.metrics.items():
            table[f"{split}_{name}"] = np.where(diverged, np.nan, values)
    return table


def _tracked(share: ShareOutcome) -> Sequence[str]:
    """List the tracked metrics of a share."""
    return list(share.outcome.curve[-1].metrics) if share.outcome.curve else []


def _epochs(share: ShareOutcome) -> pd.DataFrame:
    """Make a row a trial, evaluation and split, up to the step at which the trial diverged."""
    curve, diverged = share.outcome.curve, share.outcome.diverged_step
    step = np.array([point.step for point in curve], np.int64)
    member, at = np.nonzero((diverged == 0)[:, None] | (step < diverged[:, None]))

    def column(values: Sequence[Floats]) -> NDArray[np.float64]:
        """Make one value a row from values (K,) a point."""
        return np.array(values, np.float64).reshape(len(curve), len(diverged))[at, member]

    return pd.DataFrame(
        {
            "trial_id": _text([trial.trial_id for trial in share.trials])[member],
            "epoch": _text([f"{point.epoch:.7g}" for point in curve])[at],
            "step": step[at],
            "split": _text([point.split for point in curve])[at],
            "loss": column([point.loss for point in curve]),
            "accuracy": column([point.accuracy for point in curve]),
            **{name: column([point.metrics[name] for point in curve]) for name in _tracked(share)},
        }
    )


def _confusion(share: ShareOutcome, data: Data) -> pd.DataFrame:
    """Make a row a trial, split and occurring pair of label and prediction, for val and test."""
    classes, final = len(data.classes), share.outcome.final
    cells_of: dict[str, list[NDArray[Any]]] = {name: [] for name in CONFUSION}
    for split in (split for split in ("val", "test") if split in final):
        cells = data[split].y * classes + final[split].predicted
        for k in np.flatnonzero(share.outcome.diverged_step == 0).tolist():
            counts = np.bincount(cells[k], minlength=classes * classes)
            at = np.flatnonzero(counts)
            key = _text([share.trials[k].trial_id, split]).repeat(len(at)).reshape(2, -1)
            for name, values in zip(CONFUSION, (*key, *divmod(at, classes), counts[at]), strict=True):
                cells_of[name].append(values)
    if not cells_of["trial_id"]:
        return columns.empty_table("confusion")
    return pd.DataFrame({name: np.concatenate(values) for name, values in cells_of.items()})


def _text(values: Sequence[str]) -> NDArray[np.object_]:
    """Make an array of texts, which an index array can repeat."""
    return np.array(values, object)


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
        arrays[f"{split}_confidence"] = np.concatenate([p.confidence[m] for p, m in points]).astype(
            np.float16
        )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return _written(folder, f"predictions/{stack.group}.npz", buffer.getvalue())


def _written(folder: Path, name: str, content: bytes) -> dict[str, str]:
    """Write a file of a results folder; return its name and SHA-256."""
    files.write(folder / name, content)
    return {name: checksums.digest(content)}


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
        trial = share.trials[int(k)]
        settings = json.dumps(dict(trial.arm.settings))
        about = {"trial_id": trial.trial_id, "settings": settings, "seed": str(trial.seed)}
        named = {name: np.asarray(array, order="C") for name, array in share.outcome.weights[k].items()}
        content = files.steady(safetensors.numpy.save(named, about))
        written |= _written(folder, f"weights/{trial.trial_id}.safetensors", content)
    return written
