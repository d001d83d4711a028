"""A results folder as large as a report must bear: 10,000 trials, 1,000,000 rows of epochs, nothing trained.

    python tests/benchmarks/large_folder.py FOLDER
    /usr/bin/time -v harness report FOLDER      # seconds, and "Maximum resident set size"

The plan is a real study's on digits and so is the schema of every file; only the outcomes are drawn from a
formula, and the page's numbers mean nothing.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from harness.data import samples
from harness.data.datasets import datasets
from harness.planning import plan
from harness.planning.stack import Stack
from harness.results import documents, run_folder
from harness.settings.schema import EPOCHS, OUTCOME
from harness.study.reading import parse
from harness.system import files

SEEDS, EVALUATIONS = 5, 50
AXES: dict[str, Any] = {
    "lr": [0.01, 0.03, 0.1, 0.3, 1.0],
    "activation": ["sigmoid", "tanh", "relu", "gelu", "silu"],
    "optimizer": ["sgd", "momentum", "adam", "rmsprop"],
    "batch_size": [8, 16, 32, 64],
    "output": [
        {"name": "logits + CE", "head": "identity", "loss": "ce"},
        {"name": "softmax + MSE", "head": "softmax", "loss": "mse"},
        {"name": "softmax + QL", "head": "softmax", "loss": "ql"},
        {"name": "softmax + CCQL", "head": "softmax", "loss": "ccql"},
        {"name": "sigmoid + MSE", "head": "sigmoid", "loss": "mse"},
    ],
}


def write(folder: Path, seeds: int = SEEDS, evaluations: int = EVALUATIONS) -> None:
    """Write the folder: 2,000 arms of `seeds` trials, `evaluations` of train and val each."""
    study = parse(
        {
            "study": {"name": "large", "seeds": seeds, "hypothesis": "None: nothing was trained."},
            "baseline": {"dataset": "digits", "epochs": evaluations - 1, "hidden": [16]},
            "axes": AXES,
        }
    )
    made = plan.make(study)
    folder.mkdir(parents=True, exist_ok=True)
    rows = run_folder.planned_rows(made)
    planned = pd.DataFrame(rows.rows, columns=rows.columns, dtype=str)
    rng = np.random.default_rng(0)
    accuracy = _accuracies(planned, rng)
    diverged = rng.random(len(planned)) < np.where(planned["lr"].eq("1"), 0.02, 0.0)
    group = {trial.trial_id: stack.group for stack in made.stacks for trial in stack.trials}
    labels = samples.prepare(made.trials[0].arm.settings)["test"].y.astype(np.int64)
    said = _said(accuracy, labels, rng)
    _trials(planned, accuracy, diverged, said == labels, group).to_csv(folder / "trials.csv", index=False)
    finished = planned["trial_id"][~diverged].to_numpy()
    everyone = planned["trial_id"].to_numpy()  # one that diverged has a curve too
    _epochs(everyone, accuracy, evaluations, rng).to_csv(folder / "epochs.csv", index=False)
    _confusion(finished, said[~diverged], labels).to_csv(folder / "confusion.csv", index=False)
    places = {trial_id: place for place, trial_id in enumerate(planned["trial_id"])}
    for stack in made.stacks:
        at = [places[trial.trial_id] for trial in stack.trials]
        _predictions(folder / "predictions" / f"{stack.group}.npz", stack, said[at], labels, rng)
    _facts(folder, made)


def _accuracies(planned: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    """An effect a level, one a pair of levels, one a seed, and noise; all in 0.5..0.99."""
    total = np.zeros(len(planned))
    axes = ["lr", "activation", "optimizer", "batch_size", "output"]
    for place, axis in enumerate(axes):
        codes = planned[axis].factorize()[0]
        total += rng.normal(0, 0.03, codes.max() + 1)[codes]
        for other in axes[place + 1 :]:
            pair = (planned[axis] + planned[other]).factorize()[0]
            total += rng.normal(0, 0.01, pair.max() + 1)[pair]
    total += rng.normal(0, 0.003, 1 + planned["seed"].astype(int).max())[planned["seed"].astype(int)]
    total += rng.normal(0, 0.004, len(total))
    return np.clip(0.88 + total, 0.5, 0.99)


def _said(
    accuracy: NDArray[np.float64], labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Predicted classes (trials, n): right with each trial's accuracy, harder images wrong more often."""
    hard = np.sort(rng.random(len(labels)))[None] * 0.7 + 0.3 * rng.random((len(accuracy), len(labels)))
    wrong = hard > accuracy[:, None]
    return np.where(wrong, (labels + rng.integers(1, 10, wrong.shape)) % 10, labels)


def _trials(
    planned: pd.DataFrame, accuracy: NDArray[np.float64], diverged: NDArray[np.bool_],
    right: NDArray[np.bool_], group: dict[str, str],
) -> pd.DataFrame:  # fmt: skip
    table = planned.reindex(columns=[*planned.loc[:, :"seed"].columns, *OUTCOME]).astype(object)
    table["status"] = np.where(diverged, "diverged", "ok")
    table["reason"] = np.where(diverged, "the train loss was nan", "")
    table["diverged_step"] = np.where(diverged, 100.0, np.nan)
    values = {"train": accuracy + 0.01, "val": accuracy, "test": right.mean(1)}
    for split, share in values.items():
        table[f"{split}_accuracy"] = np.where(diverged, np.nan, share.round(7))
        table[f"{split}_loss"] = np.where(diverged, np.nan, (2.3 * (1 - share)).round(7))
    table["parameters"], table["engine"], table["device"] = 1210, "stacked", "cpu"
    table["group"] = table["trial_id"].map(group)
    return table


def _epochs(
    trial_ids: NDArray[Any], accuracy: NDArray[np.float64], evaluations: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows by trial, epoch, split, as the harness writes them; curves that rise to each trial's accuracy."""
    epoch = np.arange(evaluations)
    rise = (1 - np.exp(-epoch / 8))[None, :, None]
    end = (accuracy[:, None, None] + np.array([0.01, 0.0])) - 0.1
    share = 0.1 + rise * end + rng.normal(0, 0.002, (len(accuracy), evaluations, 2))
    rows = pd.DataFrame({"trial_id": np.repeat(trial_ids, evaluations * 2)})
    rows["epoch"] = np.tile(np.repeat(epoch, 2), len(accuracy))
    rows["step"] = rows["epoch"] * 41
    rows["split"] = np.tile(["train", "val"], len(accuracy) * evaluations)
    rows["loss"], rows["accuracy"] = (2.4 * (1 - share)).ravel().round(7), share.ravel().round(7)
    return rows[EPOCHS]


def _confusion(trial_ids: NDArray[Any], said: NDArray[np.int64], labels: NDArray[np.int64]) -> pd.DataFrame:
    cells = np.stack([np.bincount(labels * 10 + row, minlength=100) for row in said])
    trial, cell = np.nonzero(cells)
    return pd.DataFrame(
        {
            "trial_id": trial_ids[trial],
            "split": "test",
            "label": cell // 10,
            "prediction": cell % 10,
            "count": cells[trial, cell],
        }
    )


def _predictions(
    path: Path, stack: Stack, said: NDArray[np.int64], labels: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    buffer = io.BytesIO()
    sure = np.where(said == labels, rng.beta(12, 1, said.shape), rng.beta(3, 2, said.shape))
    np.savez_compressed(
        buffer,
        trial_id=[trial.trial_id for trial in stack.trials],
        test_label=labels.astype(np.uint8),
        test_index=np.arange(len(labels)),
        test_predicted=said.astype(np.uint8),
        test_confidence=sure.astype(np.float16),
    )
    files.write(path, buffer.getvalue())


def _facts(folder: Path, made: plan.Plan) -> None:
    facts = datasets["digits"].facts
    stacks = [
        {"group": s.group, "engine": s.engine, "trials": [t.trial_id for t in s.trials]} for s in made.stacks
    ]
    content = {"schema": documents.SCHEMA, "study": made.study.name, "data": {"digits": facts.digest}}
    files.write(folder / "plan.json", json.dumps({**content, "stacks": stacks}).encode())
    files.write(folder / "study.toml", tomli_w.dumps(made.study.tables(folder)).encode())
    about = {"digits": {"digest": facts.digest, "classes": list(facts.classes)}}
    files.write(folder / "provenance.json", json.dumps({"data": about}).encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
