"""Results folders of searches, written from known functions: what the figures must show is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

SPACE: dict[str, Any] = {
    "lr": {"low": 1e-3, "high": 1.0, "log": True},
    "optimizer": ["sgd", "momentum"],
    "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": ["momentum"]}},
    "hidden": {"depth": {"low": 1, "high": 3}, "width": {"low": 8, "high": 64, "log": True}},
}
SEARCH: dict[str, Any] = {
    "sampler": "random", "pruner": {"name": "median"}, "suggestions": 40, "batch": 8, "seeds": [2000],
    "objective": ["val_accuracy"], "direction": ["maximize"], "diverged": "fail", "seed": 0,
}  # fmt: skip


def suggestions(count: int = 40, seed: int = 0) -> pd.DataFrame:
    """Accuracy falls with the distance of lr from 0.1 alone; every tenth fails, another is pruned."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    lr = 10 ** rng.uniform(-3, 0, count)
    optimizer = rng.choice(["sgd", "momentum"], count)
    state = np.where(number % 10 == 9, "failed", np.where(number % 10 == 7, "pruned", "complete"))
    value = 0.98 - 0.2 * np.abs(np.log10(lr) + 1)
    return pd.DataFrame(
        {
            "number": number,
            "arm": [f"suggestion {n}" for n in number],
            "batch": number // 8,
            "state": state,
            "reason": np.where(state == "failed", "the loss was nan", ""),
            "evaluations": np.where(state == "complete", 4, 2),
            "seconds": 1.5 * (number // 8 + 1),
            "val_accuracy": np.where(state == "failed", np.nan, value),
            "lr": lr,
            "optimizer": optimizer,
            "momentum": np.where(optimizer == "momentum", rng.uniform(0.5, 0.9, count), np.nan),
            "hidden.depth": rng.integers(1, 4, count),
            "hidden.width.1": rng.integers(8, 65, count),
        }
    )


def write(folder: Path, table: pd.DataFrame, **search: Any) -> Path:
    """Write a search's results folder, without a confirmation."""
    trials = pd.DataFrame(
        {
            "trial_id": [f"t{n:03d}" for n in table["number"]], "arm": table["arm"], "dataset": "digits",
            "head": "identity", "loss": "ce", "optimizer": table["optimizer"], "lr": table["lr"],
            "seed": 2000, "status": table["state"].map({"complete": "ok"}).fillna(table["state"]),
            "reason": table["reason"], "diverged_step": "", "val_accuracy": table["val_accuracy"],
            "test_accuracy": "",
        }
    )  # fmt: skip
    epochs = [
        (trial, epoch, 10 * epoch, "val", 1.0, value - 0.1 * (last - epoch))
        for trial, last, value in zip(
            trials["trial_id"], table["evaluations"], table["val_accuracy"], strict=True
        )
        if not math.isnan(value)
        for epoch in range(last + 1)
    ]
    columns = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
    _write(folder, trials, pd.DataFrame(epochs, columns=columns))
    table.to_csv(folder / "suggestions.csv", index=False)
    study = {"study": {"name": "known", "design": "search", "phase": "search", "seeds": [0, 1, 2]}}
    (folder / "study.toml").write_text(tomli_w.dumps({**study, "search": SEARCH | search, "space": SPACE}))
    return folder


def confirm(folder: Path, lr: float, optimizer: str, val: float) -> None:
    """Write the confirmation of a winner: three fresh seeds, 10 points better than the baseline on test."""
    noise = [-0.01, 0.0, 0.01]
    rows = [
        {
            "trial_id": f"c{arm}{seed}", "arm": arm, "dataset": "digits", "head": "identity", "loss": "ce",
            "optimizer": optimizer if arm == "winner" else "sgd", "lr": lr if arm == "winner" else 0.5,
            "seed": seed, "status": "ok", "reason": "", "diverged_step": "",
            "val_accuracy": mean + noise[seed], "test_accuracy": mean - 0.02 + noise[(seed + k) % 3] / 10,
        }
        for k, (arm, mean) in enumerate((("baseline", val - 0.1), ("winner", val)))
        for seed in range(3)
    ]  # fmt: skip
    columns = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
    _write(folder / "confirmed", pd.DataFrame(rows), pd.DataFrame(columns=columns))
    study = {"name": "known", "design": "search", "phase": "confirmed", "seeds": [0, 1, 2]}
    contrasts = {"declared": True, "pairs": [["winner", "baseline"]], "levels": []}
    text = tomli_w.dumps({"study": study, "contrasts": contrasts})
    (folder / "confirmed" / "study.toml").write_text(text)


def make_finalists(folder: Path, values: dict[str, list[float]], status: str = "ok") -> None:
    """Write finalists/: a trial a value, with seeds from 3000 on; the last one has the status."""
    rows = [
        {
            "trial_id": f"f{place}{k}", "arm": arm, "dataset": "digits", "head": "identity", "loss": "ce",
            "seed": 3000 + k, "status": "ok", "reason": "", "diverged_step": "", "val_accuracy": value,
            "test_accuracy": "",
        }
        for place, (arm, given) in enumerate(values.items())
        for k, value in enumerate(given)
    ]  # fmt: skip
    rows[-1]["status"] = status
    columns = ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
    _write(folder / "finalists", pd.DataFrame(rows), pd.DataFrame(columns=columns))
    study = {"name": "known", "design": "search", "phase": "finalists", "seeds": [0, 1, 2]}
    (folder / "finalists" / "study.toml").write_text(tomli_w.dumps({"study": study}))


def _write(folder: Path, trials: pd.DataFrame, epochs: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_csv(folder / "trials.csv", index=False)
    epochs.to_csv(folder / "epochs.csv", index=False)
    confusion = pd.DataFrame(columns=["trial_id", "split", "label", "prediction", "count"])
    confusion.to_csv(folder / "confusion.csv", index=False)
