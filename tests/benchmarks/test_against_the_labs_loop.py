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

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from harness.axes.datasets import datasets

ROUNDS = 3
OVERRIDES = ["dataset=mnist", "batch_size=32", "seeds=1", "epochs=1"]
TRIALS = 60
OPTIMIZERS: list[Any] = [
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=1e-3),
]


def mnist() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Train, val and test in memory."""
    images = datasets["mnist"].load()
    x = torch.from_numpy(images.train_images.reshape(-1, 784)).float() / 255
    y = torch.from_numpy(images.train_labels)
    test = torch.from_numpy(images.test_images.reshape(-1, 784)).float() / 255
    labels = torch.from_numpy(images.test_labels)
    return (
        TensorDataset(x[:54000], y[:54000]),
        TensorDataset(x[54000:], y[54000:]),
        TensorDataset(test, labels),
    )


def evaluate(model: nn.Module, data: TensorDataset) -> tuple[float, float]:
    """Loss and accuracy, as the labs compute them."""
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in DataLoader(data, batch_size=512):
            z = model(x)
            loss += nn.functional.cross_entropy(z, y, reduction="sum").item()
            right += int((z.argmax(1) == y).sum())
    return loss / len(data), right / len(data)


def labs_loop(splits: tuple[TensorDataset, TensorDataset, TensorDataset], optimizer: Any) -> float:
    """One trial as the labs write it; gives its test accuracy."""
    train, val, test = splits
    model = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    step = optimizer(model.parameters())
    evaluate(model, train), evaluate(model, val)
    for x, y in DataLoader(train, batch_size=32, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
    evaluate(model, train), evaluate(model, val)
    return evaluate(model, test)[1]


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
    splits, folder = mnist(), tmp_path / "results"
    ratios, accuracies = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        accuracies += [labs_loop(splits, optimizer) for optimizer in OPTIMIZERS]
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
