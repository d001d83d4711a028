"""The default study's trials at batch 32, by `harness run` and by the loop that the labs write by hand.

Both do the same work, side by side and in turn: the study's 60 trials of one seed on MNIST, for one epoch,
with train and val evaluated before and after it and test at the end. The loop trains them one by one, as
the labs do; since its trials take the same time whatever the activation and loss, it is timed on one of each
optimizer. The harness's figure is its whole run in a process of its own, with start-up, data and files.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import labs_loop
import pytest
import torch
from labs_loop import Lab
from torch import nn

ROUNDS = 3
OVERRIDES = ["dataset=mnist", "batch_size=32", "seeds=1", "epochs=1"]
TRIALS = 60
OPTIMIZERS: list[Any] = [
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=1e-3),
]


def network() -> nn.Module:
    """784-32-32-10."""
    return nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))


LABS = [Lab(network, nn.functional.cross_entropy, optimizer, 32) for optimizer in OPTIMIZERS]


def harness_run(folder: Path) -> None:
    """All trials, by the command a person types."""
    shutil.rmtree(folder, ignore_errors=True)
    sets = [part for override in OVERRIDES for part in ("--set", override)]
    command = [sys.executable, "-m", "harness", "run", "choices", *sets, "--results", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def test_default_study_at_batch_32(
    benchmark: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    splits, folder = labs_loop.in_memory(), tmp_path / "results"
    ratios, accuracies = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        accuracies += [labs_loop.train(splits, lab) for lab in LABS]
        per_trial = (time.perf_counter() - start) / len(OPTIMIZERS)
        start = time.perf_counter()
        harness_run(folder)
        ratios.append(per_trial / ((time.perf_counter() - start) / TRIALS))
    benchmark.extra_info["ratios"] = ratios
    benchmark.pedantic(harness_run, args=(folder,), rounds=1)

    import pandas as pd

    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == TRIALS
    same = trials[(trials["activation"] == "relu") & (trials["output"] == "softmax + CE")]
    assert abs(same["test_accuracy"].mean() - statistics.mean(accuracies)) < 0.02  # the same work was done
    with capsys.disabled():
        print(
            f"\nharness run against the labs' loop, per trial: {statistics.median(ratios):.1f} times faster "
            f"(median of {ROUNDS}; {min(ratios):.1f} to {max(ratios):.1f}); test accuracy of relu + CE "
            f"{same['test_accuracy'].mean():.4f} and {statistics.mean(accuracies):.4f}"
        )
