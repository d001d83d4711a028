"""The self-test of the kernels: that they are right on this machine, and at least as fast as PyTorch.

`python -m harness.engines.self_test BITS` prints why they should not be used, or nothing. It trains a small
stack on made-up images with and without them by turns, for about a second each. Kernels of portable bits have
to be right, and may be slow.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import torch

from harness.data.samples import Data, Samples
from harness.engines import kernels, stack_engine
from harness.engines.outcome import Floats
from harness.lowering import builds
from harness.lowering.compiler import SWITCH
from harness.study.trials import Arm, Trial, resolve

MEMBERS, STEPS, ROUNDS = 12, 100, 4
INPUTS, CLASSES, DENSITY = 784, 10, 0.2
"""Pixels, classes and the share of pixels that are not zero, as in MNIST."""
DIFFERENT = 0.01
"""Difference of losses beyond rounding: in float32, they agree to about 1e-5 after 100 steps."""


def images(count: int, seed: int) -> Samples:
    """Make up images (count, INPUTS), of which a few pixels reveal the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = (rng.random((count, INPUTS)) * (rng.random((count, INPUTS)) < DENSITY)).astype(np.float32)
    x[np.arange(count), y] = 1.0
    return Samples(x, y, np.arange(count))


def stack(optimizer: str) -> list[Trial]:
    """Return the members of a stack, which differ in their learning rate."""
    settings = resolve(
        {"dataset": "digits", "optimizer": optimizer, "steps": STEPS, "eval_every": f"{STEPS} steps"}
    )
    rates = np.linspace(0.5, 1, MEMBERS) * settings.lr
    return [Trial(f"t{k}", Arm(str(k), settings | {"lr": float(lr)}), 0) for k, lr in enumerate(rates)]


def timed(trials: list[Trial], data: Data, *, switch: str) -> tuple[float, Floats]:
    """Train with the kernels on or off; return processor seconds and the members' val losses."""
    os.environ[SWITCH] = switch
    kernels.forget()
    kernels.why_not()  # compiles them, outside the measured time
    start = time.process_time()
    with builds.using("native" if switch == "off" else builds.bits()):  # PyTorch has no others
        outcome = stack_engine.train(trials, data)
    return time.process_time() - start, outcome.final["val"].loss


def complaint() -> str:
    """Return why the kernels should not be used here; empty where they should."""
    data = Data(images(2_048, 0), images(256, 1), images(256, 2), tuple(map(str, range(CLASSES))))
    least = {"on": 0.0, "off": 0.0}
    for optimizer in ("sgd", "adam"):
        trials = stack(optimizer)
        seconds: dict[str, list[float]] = {"on": [], "off": []}
        losses: dict[str, Floats] = {}
        for switch in ("on", "off") * ROUNDS:
            taken, losses[switch] = timed(trials, data, switch=switch)
            seconds[switch].append(taken)
        if not np.allclose(losses["on"], losses["off"], rtol=DIFFERENT, atol=DIFFERENT):
            return f"the kernels fail their self-test: {optimizer} trains to other losses than in PyTorch"
        for switch in least:
            least[switch] += min(seconds[switch])
    if least["on"] > least["off"] and not builds.portable():
        slower = least["on"] / least["off"]
        return f"the kernels take {slower:.1f} times as long as PyTorch on this machine, by their self-test"
    return ""


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    builds.inherit(builds.named(sys.argv[1]))
    print(complaint())
