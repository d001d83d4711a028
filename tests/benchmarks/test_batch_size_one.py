"""Lab 5's first rung (batch size 1, 54,000 steps): five seeds by `harness run`, two by the labs' loop.

In turn, twice: a whole run of the command in a process of its own, against two trials of the loop one after
the other, each with the same evaluations.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import labs_loop
import pandas as pd
import pytest
import torch
from labs_loop import Lab
from torch import Tensor, nn

ROUNDS = 2
SEEDS, IN_THE_LOOP = 5, 2
STUDY = """
[study]
name = "rung0"
seeds = 5
[baseline]
activation = "sigmoid"
head = "sigmoid"
loss = "mse"
optimizer = "sgd"
lr = 0.1
batch_size = 1
epochs = 1
"""


def network() -> nn.Module:
    """784-32-32-10 with sigmoid units and a sigmoid output."""
    layers = [
        nn.Linear(784, 32),
        nn.Sigmoid(),
        nn.Linear(32, 32),
        nn.Sigmoid(),
        nn.Linear(32, 10),
        nn.Sigmoid(),
    ]
    return nn.Sequential(*layers)


def squared_error(f: Tensor, y: Tensor) -> Tensor:
    """MSE against one-hot targets."""
    return nn.functional.mse_loss(f, nn.functional.one_hot(y, 10).float())


RUNG = Lab(network, squared_error, lambda p: torch.optim.SGD(p, lr=0.1), 1)


def harness_run(study: Path, folder: Path) -> None:
    """Five seeds, by the command a person types."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "harness", "run", str(study), "--results", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def test_rung_0_over_five_seeds(benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits, folder, study = labs_loop.in_memory(), tmp_path / "results", tmp_path / "rung0.toml"
    study.write_text(STUDY)
    ours, loops, accuracies = [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        accuracies += [labs_loop.train(splits, RUNG) for _ in range(IN_THE_LOOP)]
        loops.append(time.perf_counter() - start)
        start = time.perf_counter()
        harness_run(study, folder)
        ours.append(time.perf_counter() - start)
    benchmark.extra_info["seconds"] = {"harness": ours, "loop": loops}
    benchmark.pedantic(harness_run, args=(study, folder), rounds=1)
    reached = pd.read_csv(folder / "trials.csv")["test_accuracy"]
    assert len(reached) == SEEDS
    assert (
        abs(reached.mean() - sum(accuracies) / len(accuracies)) < 0.1
    )  # the same work; seeds spread by 0.05
    with capsys.disabled():
        print(
            f"\nlab 5, rung 0: {SEEDS} seeds by harness run in {min(ours):.0f} to {max(ours):.0f} s, "
            f"{IN_THE_LOOP} by the labs' loop in {min(loops):.0f} to {max(loops):.0f} s; test accuracy "
            f"{reached.mean():.3f} and {sum(accuracies) / len(accuracies):.3f}"
        )
