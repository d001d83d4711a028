"""What the kernels and PyTorch take for the same, on one core: `python tests/benchmarks/kernel_costs.py`.

First whole steps, in processor time, the least of five times 256 steps, beside the least that they could take
on this core (`roofline`): with each weight read once a batch, and with each read once for every pixel that is
not zero. Then layer one of 784-32-..., the least of 200 calls. Microseconds a member and step, on MNIST's
batches. `--avx2` compiles for AVX2 and holds PyTorch to it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import roofline
import torch

from harness.data.batches import Budget, epoch_order
from harness.data.samples import Data, prepare
from harness.engines import kernels
from harness.engines.stacked.network import StackedNetwork
from harness.engines.stacked.optimizer import stack_optimizers
from harness.engines.stacked.sparse import Sparse, compressed
from harness.engines.stacked.steps import Feed, eager
from harness.lowering.compiler import SWITCH
from harness.study.trials import Arm, Trial, resolve

MEMBERS, CALLS = 32, 200
STEPS, ROUNDS = 256, 5
SHAPES = ((32, 32), (64,))
CLASSES = 10
COMPILER = Path(__file__).parents[1] / "engines" / "compiler_for.py"
AVX2 = {
    "CC": f"{sys.executable} {COMPILER} x86-64-v3",
    "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
}  # fmt: skip


def least(call: Callable[[], object]) -> float:
    """Microseconds of the fastest of many calls."""
    best = float("inf")
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def stack_of(
    optimizer: str, batch_size: int, hidden: Sequence[int] = SHAPES[0]
) -> tuple[StackedNetwork, Data]:
    """Members of one optimizer, and what they train on."""
    settings = resolve({
        "dataset": "mnist", "batch_size": batch_size, "optimizer": optimizer, "hidden": list(hidden),
        "epochs": 1,
    })  # fmt: skip
    trials = [Trial(f"t{k}", Arm(str(k), settings), 0) for k in range(MEMBERS)]
    data = prepare(settings)
    cpu = torch.device("cpu")
    optimizers = stack_optimizers(trials, Budget.of(settings, len(data.train.y)), cpu)
    return StackedNetwork(trials, data, optimizers, cpu, torch.float32), data


def whole_steps(optimizer: str, batch_size: int, hidden: Sequence[int], *, switch: str) -> float:
    """Microseconds of processor time a member and step, with the kernels on or off."""
    os.environ[SWITCH] = switch
    kernels.forget()
    stack, data = stack_of(optimizer, batch_size, hidden)
    budget = Budget.of(stack.trials[0].arm.settings, len(data.train.y))
    orders = np.stack([epoch_order(0, 0, budget, "shuffle")])
    best = float("inf")
    for _ in range(ROUNDS):
        feed = Feed.of(stack, data, stack.first.images(data.train), budget)
        steps = eager(stack, feed)
        steps.begin(orders, 0)
        start, taken = time.process_time(), 0
        while taken < STEPS:
            taken += steps.advance(taken, taken - taken % feed.kept + feed.kept)
        best = min(best, (time.process_time() - start) / taken)
    return best * 1e6 / MEMBERS


def compare_steps() -> None:
    """Print what whole steps take in PyTorch and in the kernels, and the kernels' share of the roofline."""
    rates, x = roofline.measure(), prepare(resolve({"dataset": "mnist", "epochs": 1})).train.x
    print(rates)
    print(f"whole steps, vectors of {kernels.lanes('float32')}: PyTorch, kernels, ratio;", end=" ")
    print("at least, share; at least with a read a pixel, share")
    for hidden in SHAPES:
        for optimizer in ("sgd", "adam"):
            for size in (16, 32, 128):
                batches = roofline.Batches.of(x, size)
                theirs, ours = (whole_steps(optimizer, size, hidden, switch=which) for which in ("off", "on"))
                told = f"784-{'-'.join(map(str, hidden))}-10 {optimizer:5} {size:5}"
                print(f"{told} {theirs:8.1f} {ours:8.1f} {theirs / ours:6.1f}", end="")
                for once in (True, False):
                    least = 1e6 * roofline.step_seconds(rates, batches, (*hidden, CLASSES), optimizer, once)
                    print(f" {least:8.1f} {100 * least / ours:4.0f} %", end="")
                print(flush=True)


def in_kernels(optimizer: str, size: int) -> tuple[float, float, float]:
    """Of a batch of this size: the product, the optimizer's step, and the turning of the batch."""
    stack, data = stack_of(optimizer, size)
    images = compressed(data.train)
    first, grad = stack.first, torch.randn(MEMBERS, 32, size) * 1e-6
    assert isinstance(first, Sparse)
    batch = images.at(torch.randperm(images.size)[None, :size])
    first.update(1, batch, [grad])  # so that states are there, and the update knows its memory
    transposed, update = first.transpose(batch.images, batch.index), first.updates[0]
    library = kernels.library("float32")
    pointers = (ctypes.c_void_p * 1)(grad.data_ptr())
    update.task.grads = ctypes.addressof(pointers)
    number = update.rule.number if update.rule else 0
    return (
        least(lambda: first.products(batch)),
        least(lambda: library.step_first(number, ctypes.byref(update.task), transposed)),
        least(lambda: first.transpose(batch.images, batch.index)),
    )


def in_pytorch(pixels: torch.Tensor, size: int) -> tuple[float, float]:
    """The product, and the gradient's that is accumulated into the weights."""
    wide, x = torch.randn(MEMBERS * 32, 784) / 28, pixels[torch.randperm(len(pixels))[:size]]
    rows = torch.randn(MEMBERS * 32, size) * 1e-6
    return least(lambda: wide @ x.t()), least(lambda: wide.addmm_(rows, x, alpha=-1e-3))


def main() -> None:
    """Print the tables; with --avx2 in a process of its own, whose environment says so from the start."""
    if "--avx2" in sys.argv[1:]:
        sys.exit(subprocess.run([sys.executable, __file__], check=False, env=os.environ | AVX2).returncode)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    with torch.no_grad():
        compare_steps()
        compare_layer_one()


def compare_layer_one() -> None:
    """Print what layer one takes in PyTorch and in the kernels."""
    pixels = torch.from_numpy(prepare(resolve({"dataset": "mnist", "epochs": 1})).train.x)
    print("batch  product: PyTorch, kernel   SGD's step: PyTorch, kernel   Adam's step: kernel   turned")
    for size in (16, 32, 128):
        theirs, folded = (value / MEMBERS for value in in_pytorch(pixels, size))
        product, sgd, turned = in_kernels("sgd", size)
        _, adam, _ = in_kernels("adam", size)
        ours = f"{product / MEMBERS:6.1f}   {folded:19.1f}, {sgd / MEMBERS:6.1f}   {adam / MEMBERS:19.1f}"
        print(f"{size:5}  {theirs:16.1f}, {ours}   {turned:12.1f}")


if __name__ == "__main__":
    main()
