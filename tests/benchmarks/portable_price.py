"""The price of portable bits: processor seconds of the same stacks by turns, native and portable.

`python tests/benchmarks/portable_price.py` trains 784-32-32-10 on MNIST, one epoch at batch 32 with its
evaluations, in this process, so that neither start-up nor compilation is counted. `--set hidden=[128]` and
the like change the cell. With CC="python tests/engines/compiler_for.py x86-64-v3" it is that of a processor
with AVX2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from harness.data.samples import Data, prepare
from harness.engines import kernels, stack_engine
from harness.lowering.builds import BUILDS, Bits, using
from harness.study.trials import Arm, Trial, resolve


def stack(members: int, settings: dict[str, Any]) -> list[Trial]:
    """Return the members of a stack, which differ in their learning rate."""
    resolved = resolve(settings)
    rates = np.linspace(0.5, 1, members) * resolved.lr
    return [Trial(f"t{k}", Arm(str(k), resolved | {"lr": float(lr)}), 0) for k, lr in enumerate(rates)]


def seconds(trials: list[Trial], data: Data, bits: Bits) -> float:
    """Train; return processor seconds."""
    with using(bits), kernels.without_subnormals():
        start = time.process_time()
        stack_engine.train(trials, data)
        return time.process_time() - start


def main() -> None:
    """Print the median of each round's ratio, with the smallest and the largest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    given: dict[str, Any] = {"dataset": "mnist", "epochs": 1, "batch_size": 32, "hidden": [32, 32]}
    for pair in chosen.set:
        name, _, value = pair.partition("=")
        given[name] = json.loads(value) if value[:1] in "[0123456789" else value
    for optimizer in chosen.optimizers.split(","):
        trials = stack(chosen.members, {**given, "optimizer": optimizer})
        data = prepare(trials[0].arm.settings)
        taken: dict[Bits, list[float]] = {bits: [] for bits in BUILDS}
        for round_ in range(chosen.rounds + 1):
            order = list(taken) if round_ % 2 else list(taken)[::-1]
            for bits in order:
                taken[bits].append(seconds(trials, data, bits))
        native, portable = taken["native"][1:], taken["portable"][1:]  # the first round compiles
        ratios = sorted(b / a for a, b in zip(native, portable, strict=True))
        print(
            f"{optimizer} {given}: native {statistics.median(native):.2f} s, portable "
            f"{statistics.median(portable):.2f} s, ratio {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
