"""PyTorch's products by MKL and by oneDNN, and stacks with and without the choice, on one core.

`python tests/benchmarks/matrix_products.py` prints the GF/s of each class of products and the error against
float64, then the processor seconds of whole trainings without kernels, by turns: the least of six, and the
range of the rounds' ratios. Images are made up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.data.samples import Data, Samples
from harness.engines import stack_engine
from harness.engines.stacked import products
from harness.lowering.compiler import SWITCH
from harness.study.trials import Arm, Trial, resolve

ROUNDS = 6
CLASSES = 10
CELLS: list[tuple[int, list[int], int, str, int, int, float]] = [
    (784, [512, 512], 128, "sgd", 8, 30, 0.2),
    (784, [512, 512], 128, "adam", 8, 30, 0.2),
    (3072, [64], 32, "sgd", 16, 60, 1.0),
    (3072, [64], 32, "adam", 16, 60, 1.0),
    (784, [256], 64, "adam", 8, 60, 0.2),
    (784, [32, 32], 32, "sgd", 16, 150, 0.2),
]
"""Inputs, hidden, batch, optimizer, members, steps, density."""


def seconds(call: Callable[[], Any]) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def classes() -> None:
    """Print the rates of both libraries in each class of products."""
    chosen = products.choice()
    for name in products.CLASSES:
        product, exact = products._example(*name.split(", ", 1))
        other = partial(products._by_onednn, product)
        flops = 2 * float(np.prod(products.SHAPES[name.split(", ", 1)[1]]))
        told = []
        for library, call in (("MKL", product), ("oneDNN", other)):
            error = products._error(call(), exact)
            taken = min(seconds(call) for _ in range(32))
            told.append(f"{library} {flops / taken / 1e9:.0f} GF/s (error {error:.0e})")
        print(f"{name}: {', '.join(told)}; {'oneDNN' if chosen.get(name) else 'MKL'} is chosen")


def images(count: int, inputs: int, seed: int, density: float) -> Samples:
    """Make up images (count, inputs), of which a pixel reveals the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.random((count, inputs)) * (rng.random((count, inputs)) < density)
    x[np.arange(count), y] = 1
    return Samples(x.astype(np.float32), y, np.arange(count))


def training(
    inputs: int, hidden: list[int], batch: int, optimizer: str, members: int, steps: int, density: float
) -> None:
    """Print the processor seconds of a stack's training without and with the choice."""
    train, val, test = (images(n, inputs, seed, density) for seed, n in enumerate((4096, 256, 256)))
    data = Data(train, val, test, tuple(map(str, range(CLASSES))))
    settings = resolve({
        "dataset": "digits", "optimizer": optimizer, "steps": steps, "eval_every": f"{steps} steps",
        "hidden": hidden, "batch_size": batch, "lr": 0.001,
    })  # fmt: skip
    trials = [Trial(f"t{k}", Arm(str(k), settings | {"lr": 0.001 * (1 + k / 10)}), 0) for k in range(members)]
    measured, chosen = products.choice, products.choice()
    taken: dict[str, list[float]] = {"MKL": [], "chosen": []}
    losses = {}
    for _ in range(ROUNDS):
        for name, choice in (("MKL", {}), ("chosen", chosen)):
            products.choice = lambda choice=choice: choice  # type: ignore[assignment]
            start = time.process_time()
            outcome = stack_engine.train(trials, data)
            taken[name].append(time.process_time() - start)
            losses[name] = outcome.final["val"].loss
    products.choice = measured
    before, after = min(taken["MKL"]), min(taken["chosen"])
    ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
    off = float(np.abs(losses["chosen"] / losses["MKL"] - 1).max())
    shape = "-".join(map(str, [inputs, *hidden, CLASSES]))
    print(
        f"{shape}, batch {batch}, {optimizer}, {members} members: MKL {before:.2f} s, "
        f"chosen {after:.2f} s, {before / after:.2f} times ({min(ratios):.2f} to "
        f"{max(ratios):.2f}); losses differ by {off:.0e}",
        flush=True,
    )


if __name__ == "__main__":
    os.environ[SWITCH] = "off"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    classes()
    for cell in CELLS:
        training(*cell)
