"""What the kernels and PyTorch take for the same, on one core: `python tests/benchmarks/kernel_costs.py`.

Whole steps, in microseconds of processor time a member and step, on MNIST's batches: the least of five times
256 steps. Beside them the least that they could take on this core (`roofline`): with each weight read once a
batch, and with each read once for every pixel that is not zero. Then evaluations, in nanoseconds a member and
image, beside forward passes of the roofline and of the kernels, and their share of a run of three epochs. At
last the three products of a wide layer, and their share of the core's arithmetic.
`--avx2` compiles for AVX2 and holds PyTorch to it; `--kernels` leaves PyTorch out.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import roofline
import torch
from roofline import Batches, Rates

from harness.data.batches import Budget
from harness.data.samples import Data, prepare
from harness.engines import kernels
from harness.engines.base import LOOK_EVERY
from harness.engines.compiled.memory import address, function_address, zeros
from harness.engines.compiled.training import CompiledTraining
from harness.engines.driver import Training
from harness.engines.stacked.engine import StackTraining
from harness.engines.stacked.network import StackedNetwork
from harness.engines.stacked.optimizer import stack_optimizers
from harness.lowering import compiler, components
from harness.study.trials import Arm, Trial, resolve

MEMBERS = 32
STEPS, ROUNDS = 256, 5
SHAPES = ((32, 32), (64,))
OPTIMIZERS, SIZES = ("sgd", "adam"), (16, 32, 128)
CLASSES, EPOCHS = 10, 3
NOTHING = """#include "component.h"
void judge(const REAL *z, const int_of_real *label, int64_t b, int64_t count, const double *settings,
           double *loss, int64_t *hits, int64_t *best, REAL *sure) {}
"""
WIDE, WIDE_BATCH = 512, 128
PRODUCTS = """#include "component.h"
#include "images.h"
#include "layers.h"
/* forward, the gradient of the weights (o, i), and the gradient at the inputs, of y (i, b) and z (o, b) */
void wide_product(int64_t which, const REAL *w, REAL *y, REAL *turned_y, REAL *z, REAL *grad, int64_t i,
                  int64_t o, int64_t b)
{
    if (which == 0) multiply(&(product_of){w, y, 0, i, 1, b, i, b, z, b}, o);
    if (which == 1) multiply(&(product_of){z, turned_y, 0, b, 1, i, b, i, grad, i}, o);
    if (which == 2) multiply(&(product_of){w, z, 0, 1, i, b, o, b, y, b}, i);
}
"""
COMPILER = Path(__file__).parents[1] / "engines" / "compiler_for.py"
AVX2 = {
    "CC": f"{sys.executable} {COMPILER} x86-64-v3",
    "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
}  # fmt: skip


def members(optimizer: str, batch_size: int, hidden: Sequence[int]) -> tuple[list[Trial], Data]:
    """Members of one optimizer, and what they train on."""
    settings = resolve({
        "dataset": "mnist", "batch_size": batch_size, "optimizer": optimizer, "hidden": list(hidden),
        "epochs": 1,
    })  # fmt: skip
    return [Trial(f"t{k}", Arm(str(k), settings), 0) for k in range(MEMBERS)], prepare(settings)


def in_kernels(trials: list[Trial], data: Data) -> CompiledTraining:
    """The members as the kernels train them."""
    lowered = [components.of_trial(trial.arm.settings, ()) for trial in trials]
    return CompiledTraining(trials, lowered, data, ())


def in_pytorch(trials: list[Trial], data: Data) -> Training:
    """The members as PyTorch trains them."""
    cpu, budget = torch.device("cpu"), Budget.of(trials[0].arm.settings, len(data.train.y))
    stack = StackedNetwork(trials, data, stack_optimizers(trials, budget, cpu), cpu, torch.float32)
    return StackTraining(stack, data, budget, ())


def whole_steps(training: Training) -> float:
    """Seconds of processor time a member and step."""
    best, step = float("inf"), 0
    for _ in range(ROUNDS):
        if step + STEPS > training.budget.steps:
            step = 0  # an epoch is a run; states move on
        start = time.process_time()
        for first in range(step, step + STEPS, LOOK_EVERY):
            training.take_steps(first, min(first + LOOK_EVERY, step + STEPS))
        best = min(best, time.process_time() - start)
        step += STEPS
    return best / STEPS / MEMBERS


def evaluation(training: Training) -> float:
    """Seconds of processor time a member and image of train."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        training.evaluate("train", keep=False)
        best = min(best, time.process_time() - start)
    return best / len(training.data.train.y) / MEMBERS


def forward_alone(training: CompiledTraining) -> float:
    """Seconds of processor time a member and image of train, of an evaluation that judges nothing."""
    nothing = function_address(compiler.library(NOTHING, "float32", "no judgement"), "judge")
    parts = [part for group in training.groups for part in group.parts.array]
    before = [part.judge for part in parts]
    for part in parts:
        part.judge = nothing
    try:
        return evaluation(training)
    finally:
        for part, judge in zip(parts, before, strict=True):
            part.judge = judge


def share(least: float, taken: float, unit: float) -> str:
    """The least, and its share of what was taken."""
    return f"{unit * least:8.1f} {100 * least / taken:4.0f} %"


def compare(rates: Rates, hidden: Sequence[int], optimizer: str, size: int, peers: bool) -> str:
    """One row: what PyTorch and the kernels take, and the kernels' share of the roofline."""
    trials, data = members(optimizer, size, hidden)
    widths, batches = (*hidden, CLASSES), Batches.of(data.train.x, size)
    with kernels.without_subnormals():
        training = in_kernels(trials, data)
        ours, judged, passed = whole_steps(training), evaluation(training), forward_alone(training)
    told = f"784-{'-'.join(map(str, hidden))}-10 {optimizer:5} {size:4} {1e6 * ours:8.1f}"
    theirs = whole_steps(in_pytorch(trials, data)) if peers else float("nan")
    told += f" {1e6 * theirs:8.1f} {theirs / ours:5.1f} "
    for once in (True, False):
        told += f" {share(roofline.step_seconds(rates, batches, widths, optimizer, once), ours, 1e6)}"
    train, others = len(data.train.y), len(data.val.y)
    judgements = judged * ((EPOCHS + 1) * (train + others) + len(data.test.y))
    steps = ours * EPOCHS * training.budget.steps_per_epoch
    forward = roofline.forward_seconds(rates, batches, widths)
    told += f"  {1e9 * judged:6.0f} {share(forward / size, judged, 1e9)}"
    return f"{told} {judged / passed:5.2f} {100 * judgements / (judgements + steps):5.0f} %"


def wide_products(rates: Rates) -> Iterator[str]:
    """Each product of a wide layer: microseconds, GFLOP/s, and its share of the core's."""
    library = compiler.library(PRODUCTS, "float32", "wide products", (kernels.SOURCE.parent,))
    n, b = WIDE, WIDE_BATCH
    shapes = ((n, n), (n, b), (b, n), (n, b), (n, n))
    rng = np.random.default_rng(0)
    arrays = [zeros(shape, np.float32) for shape in shapes]
    for array in arrays:
        array[:] = rng.random(array.shape, np.float32) / n
    at = [ctypes.c_void_p(address(array)) for array in arrays]
    sizes = [ctypes.c_int64(size) for size in (n, n, b)]
    for which, name in enumerate(("forward", "gradient of weights", "gradient of inputs")):
        best = float("inf")
        for _ in range(200):
            start = time.process_time_ns()
            library.wide_product(ctypes.c_int64(which), *at, *sizes)
            best = min(best, (time.process_time_ns() - start) / 1e9)
        reached = n * n * b / best
        share = 100 * reached / rates.multiply_adds
        yield f"{name}: {1e6 * best:.0f} us, {2e-9 * reached:.0f} GFLOP/s, {share:.0f} %"


def main() -> None:
    """Print the table; with --avx2 in a process of its own, whose environment says so from the start."""
    options = sys.argv[1:]
    if "--avx2" in options:
        command = [sys.executable, __file__, *(option for option in options if option != "--avx2")]
        sys.exit(subprocess.run(command, check=False, env=os.environ | AVX2).returncode)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rates = roofline.measure()
    print(rates)
    print(f"vectors of {kernels.lanes(np.dtype('float32'))}; us a step: kernels, PyTorch, ratio;", end=" ")
    print("at least, share; with a read a pixel, share;", end=" ")
    print("ns an evaluated image, at least, share, ratio to the kernels' forward pass, share of a run")
    with torch.no_grad():
        for hidden in SHAPES:
            for optimizer in OPTIMIZERS:
                for size in SIZES:
                    print(compare(rates, hidden, optimizer, size, "--kernels" not in options), flush=True)
    print(f"{WIDE} x {WIDE} at batch {WIDE_BATCH}: {'; '.join(wide_products(rates))}")


if __name__ == "__main__":
    main()
