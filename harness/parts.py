"""Parts: what one stack gave, as the tables and files of a results folder."""

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

from harness import checksums, files, results
from harness.csv_rows import CONFUSION
from harness.data import SPLITS, Data, Split, prepare
from harness.engines.outcome import Floats, Outcome, Point
from harness.schema import OUTCOME, outcome_columns
from harness.stacks import Stack
from harness.trials import Trial


@dataclass(frozen=True)
class ShareOutcome:
    """Trials of a stack that trained together: all of it, or a share where memory was short.

    `reasons` says of trials that were stopped early why, by trial_id: they are pruned.
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
    """Write a stack's predictions, weights, and last its part, which is what counts.

    Gives status -> count.
    """
    results.check_there(folder)
    written = _write_predictions(folder, stack, data, shares, keep)
    for share in shares:
        written |= _write_weights(folder, share, keep_weights)
    tables = {
        "trials": pd.concat([_trials(stack, share) for share in shares]),
        "epochs": pd.concat([_epochs(share) for share in shares]),
        "confusion": pd.concat([_confusion(share, data) for share in shares]),
    }
    results.write_part(folder, stack.group, tables, written)
    return results.count_statuses(tables["trials"])


def write_batch(
    folder: Path,
    name: str,
    shares: Sequence[tuple[Stack, ShareOutcome]],
    failed: Mapping[str, tuple[Stack, str]],
) -> None:
    """Write what the stacks of a batch of suggestions gave, as one part: all of it counts, or nothing.

    Args:
        folder: the results folder.
        name: of the part.
        shares: members of stacks that ended together.
        failed: trial_id -> its stack, and the message, of trials that could not be trained.
    """
    rows = [
        {"trial_id": trial_id, "status": "failed", "reason": message, "group": stack.group}
        for trial_id, (stack, message) in failed.items()
    ]
    frames = {
        "trials": [_trials(stack, share) for stack, share in shares],
        "epochs": [_epochs(share) for _, share in shares],
        "confusion": [
            _confusion(share, prepare(share.trials[0].arm.settings))
            for _, share in shares
            if share.outcome.final
        ],
    }
    if rows:
        frames["trials"].append(pd.DataFrame(rows))
    # Columns of nothing beside others would make their numbers objects, which are written unrounded.
    tables = {name: pd.concat(some) if some else results.empty(name) for name, some in frames.items()}
    every = dict.fromkeys(["trial_id", *OUTCOME, *tables["trials"].columns])
    tables["trials"] = tables["trials"].reindex(columns=list(every))
    results.write_part(folder, name, tables)


def write_failure(folder: Path, stack: Stack, message: str) -> None:
    """Write that a stack's trials failed, and why; they are tried again on the next run.

    Where they had finished before, and were to be trained anew, that part stays beside it (.replaced).
    """
    before = folder / "parts" / f"{stack.group}.zip"
    part = results.read_part(before)
    if part is not None and part["trials"]["status"].isin(results.FINISHED).any():
        before.replace(before.with_suffix(".replaced"))
    rows = [
        {"trial_id": t.trial_id, "status": "failed", "reason": message, "group": stack.group}
        for t in stack.trials
    ]
    trials = pd.DataFrame(rows, columns=["trial_id", *OUTCOME])
    empty = {name: results.empty(name) for name in ("epochs", "confusion")}
    results.write_part(folder, stack.group, {"trials": trials, **empty})


def _trials(stack: Stack, share: ShareOutcome) -> pd.DataFrame:
    outcome, k = share.outcome, len(share.trials)
    diverged = outcome.diverged_step > 0
    pruned = np.array([trial.trial_id in share.reasons for trial in share.trials]) & ~diverged
    steps_per_epoch = outcome.steps_done / outcome.epochs_done
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
            "epochs_done": [f"{step / steps_per_epoch:.7g}" for step in steps],
            "steps_done": steps,
            "engine": stack.engine,
            "device": share.device,
            "group": stack.group,
            "group_size": k,
            "group_seconds": round(share.seconds, 3),
        },
        columns=["trial_id", *outcome_columns(_tracked(share))],
    )
    for split, seen in (outcome.final or _last_seen(outcome)).items():
        # A diverged network's last numbers mean nothing: its cells stay empty.
        table[f"{split}_loss"] = np.where(diverged, np.nan, seen.loss)
        table[f"{split}_accuracy"] = np.where(diverged, np.nan, seen.accuracy)
        for name, values in seen.metrics.items():
            table[f"{split}_{name}"] = np.where(diverged, np.nan, values)
    return table


def _last_seen(outcome: Outcome) -> dict[Split, Point]:
    """What was seen last of trials that were stopped early: of their weights as they are."""
    return {point.split: point for point in outcome.curve}


def _tracked(share: ShareOutcome) -> Sequence[str]:
    """The metrics that were measured."""
    return list(share.outcome.curve[-1].metrics) if share.outcome.curve else []


def _epochs(share: ShareOutcome) -> pd.DataFrame:
    """A row a trial, evaluation and split, up to where the trial diverged."""
    curve, diverged = share.outcome.curve, share.outcome.diverged_step
    step = np.array([point.step for point in curve], np.int64)
    member, at = np.nonzero((diverged == 0)[:, None] | (step < diverged[:, None]))

    def seen(values: Sequence[Floats]) -> NDArray[np.float64]:
        """One value a row, of a value (K,) a point."""
        return np.array(values, np.float64).reshape(len(curve), len(diverged))[at, member]

    return pd.DataFrame(
        {
            "trial_id": _text([trial.trial_id for trial in share.trials])[member],
            "epoch": _text([f"{point.epoch:.7g}" for point in curve])[at],
            "step": step[at],
            "split": _text([point.split for point in curve])[at],
            "loss": seen([point.loss for point in curve]),
            "accuracy": seen([point.accuracy for point in curve]),
            **{name: seen([point.metrics[name] for point in curve]) for name in _tracked(share)},
        }
    )


def _confusion(share: ShareOutcome, data: Data) -> pd.DataFrame:
    """A row a trial, split and pair of label and prediction that there was, of val and test."""
    classes, final = len(data.classes), share.outcome.final
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in CONFUSION}
    for split in (split for split in ("val", "test") if split in final):
        cells = data[split].y * classes + final[split].predicted
        for k in np.flatnonzero(share.outcome.diverged_step == 0).tolist():
            counts = np.bincount(cells[k], minlength=classes * classes)
            at = np.flatnonzero(counts)
            whose = _text([share.trials[k].trial_id, split]).repeat(len(at)).reshape(2, -1)
            for name, values in zip(CONFUSION, (*whose, *divmod(at, classes), counts[at]), strict=True):
                columns[name].append(values)
    if not columns["trial_id"]:
        return results.empty("confusion")
    return pd.DataFrame({name: np.concatenate(values) for name, values in columns.items()})


def _text(values: Sequence[str]) -> NDArray[np.object_]:
    """Texts as an array, of which an index takes as many as are wanted."""
    return np.array(values, object)


def _write_predictions(
    folder: Path, stack: Stack, data: Data, shares: Sequence[ShareOutcome], keep: Sequence[str]
) -> dict[str, str]:
    """One .npz a stack: trial_id (K,); of each kept split label, index (n,), predicted, confidence (K, n).

    A diverged network predicts nothing. Gives the file's name and SHA-256, if there is one.
    """
    sound = [(share, np.flatnonzero(share.outcome.diverged_step == 0)) for share in shares]
    sound = [(share, members) for share, members in sound if len(members)]
    seen_at_the_end = sound[0][0].outcome.final if sound else {}
    kept = [split for split in SPLITS if split in keep and split in seen_at_the_end]
    if not kept or not sound:
        return {}
    ids = [share.trials[int(k)].trial_id for share, members in sound for k in members]
    arrays: dict[str, NDArray[Any]] = {"trial_id": np.array(ids)}
    small = np.uint8 if len(data.classes) <= 2**8 else np.uint16
    for split in kept:
        seen = [(share.outcome.final[split], members) for share, members in sound]
        arrays[f"{split}_label"] = data[split].y.astype(small)
        arrays[f"{split}_index"] = data[split].index.astype(np.uint32)
        arrays[f"{split}_predicted"] = np.concatenate([s.predicted[m] for s, m in seen]).astype(small)
        arrays[f"{split}_confidence"] = np.concatenate([s.confidence[m] for s, m in seen]).astype(np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return _written(folder, f"predictions/{stack.group}.npz", buffer.getvalue())


def _written(folder: Path, name: str, content: bytes) -> dict[str, str]:
    """Write a file of a results folder; gives its name and its SHA-256."""
    results.write(folder / name, content)
    return {name: checksums.digest(content)}


def _write_weights(folder: Path, share: ShareOutcome, keep: str) -> dict[str, str]:
    """Final weights with the settings that rebuild the network: of all, or of the share's best by val.

    Gives the files' names and SHA-256.
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
        about = {
            "trial_id": trial.trial_id,
            "settings": json.dumps(dict(trial.arm.settings)),
            "seed": str(trial.seed),
        }
        named = {name: np.asarray(array, order="C") for name, array in share.outcome.weights[k].items()}
        content = files.steady(safetensors.numpy.save(named, about))
        written |= _written(folder, f"weights/{trial.trial_id}.safetensors", content)
    return written
