"""Ways to compute a stack's convolutions, and how far a whole step is from what one core can do.

    python tests/benchmarks/convolution_ways.py [--members 8]

First the ways by layer: milliseconds a member of one thread, of the output and of all gradients that training
needs. Then a step of whole networks as `harness run` takes it, beside a bound: the multiply-adds at the rate
of the machine's best matrix product, and one pass through memory for each elementwise layer, forth and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.arm_settings import Settings
from harness.data.batches import Budget
from harness.data.samples import Data, Samples
from harness.engines.modules import image_kernels
from harness.engines.modules.convolution import convolve
from harness.engines.modules.engine import ModuleTraining
from harness.engines.modules.memory import freed_memory_kept
from harness.engines.modules.network import ModuleStack
from harness.engines.stacked.optimizer import stack_optimizers
from harness.study.trials import Arm, Trial, resolve

ROUNDS, STEPS = 8, 10
SIDE, CLASSES = 28, 10
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Layer:
    """A convolution: of `shared` images there is no gradient, and all members see the same."""

    name: str
    batch: int
    channels: int
    outputs: int
    pixels: int
    kernel: int
    padding: int
    shared: bool = False

    @property
    def sums(self) -> int:
        """Multiply-adds of the output, and as many of each gradient."""
        out = self.pixels + 2 * self.padding - self.kernel + 1
        return self.batch * out * out * self.outputs * self.channels * self.kernel**2


LAYERS = (
    Layer("LeNet-5, first", 64, 1, 6, 28, 5, 2, True),
    Layer("LeNet-5, second", 64, 6, 16, 14, 5, 0),
    Layer("cnn, first", 32, 1, 16, 28, 3, 1, True),
    Layer("cnn, second", 32, 16, 32, 14, 3, 1),
    Layer("resnet, stage 1", 32, 16, 16, 28, 3, 1),
    Layer("resnet, stage 3", 32, 64, 64, 7, 3, 1),
)
NETWORKS: dict[str, dict[str, Any]] = {
    "LeNet-5, batch 64": {"architecture": "lenet5", "batch_size": 64},
    "cnn with batch norm, batch 32": {"architecture": "cnn", "norm": "batch", "batch_size": 32},
}
Forward = Callable[[Tensor, Tensor], Tensor]


def least(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Processor seconds of the fastest of some calls, behind one that is not counted."""
    call()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def one_by_one(layer: Layer, layout: torch.memory_format) -> Forward:
    """PyTorch's convolution, member by member."""

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        own = [of.to(memory_format=layout) for of in x.expand(len(weight), *x.shape[1:])]
        return torch.stack(
            [functional.conv2d(of, w, None, 1, layer.padding) for of, w in zip(own, weight, strict=True)]
        )

    return forward


def grouped(layer: Layer) -> Forward:
    """One convolution of all members' channels, a group a member; of shared images, K times the outputs."""

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        images, groups = (x[0], 1) if len(x) == 1 else (x.transpose(0, 1).flatten(1, 2), len(x))
        return functional.conv2d(images, weight.flatten(0, 1), None, 1, layer.padding, groups=groups)

    return forward


def unfolded(layer: Layer) -> Forward:
    """One batched product of weights and of the pixels under a kernel."""

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        seen = functional.unfold(x.flatten(0, 1), layer.kernel, padding=layer.padding)
        seen = seen.unflatten(0, (len(x), -1)).transpose(1, 2).flatten(2)  # (K, C kernel, B pixels)
        product: Tensor = weight.flatten(2) @ seen
        return product

    return forward


def by_kernels(layer: Layer) -> Forward:
    """This harness's kernels."""
    return lambda x, weight: convolve(x, weight, None, 1, layer.padding)


def ways(layer: Layer) -> dict[str, Forward]:
    """All of them."""
    return {
        "one by one": one_by_one(layer, torch.contiguous_format),
        "channels last": one_by_one(layer, torch.channels_last),
        "K C outputs" if layer.shared else "grouped": grouped(layer),
        "unfolded": unfolded(layer), "kernels": by_kernels(layer),
    }  # fmt: skip


def compared(layer: Layer, members: int) -> Iterator[tuple[str, float]]:
    """Milliseconds a member of each way: output and gradients."""
    x = torch.randn(1 if layer.shared else members, layer.batch, layer.channels, layer.pixels, layer.pixels)
    weight = torch.randn(
        members, layer.outputs, layer.channels, layer.kernel, layer.kernel, requires_grad=True
    )
    inner = image_kernels.outer(image_kernels.inner(x), layer.batch)
    for name, forward in ways(layer).items():
        given = (inner if name == "kernels" else x).detach().requires_grad_(not layer.shared)
        wanted = [weight] if layer.shared else [given, weight]
        g = torch.randn_like(forward(given, weight))

        def call(
            forward: Forward = forward, given: Tensor = given, wanted: Any = wanted, g: Tensor = g
        ) -> None:
            torch.autograd.grad(forward(given, weight), wanted, g)

        yield name, 1e3 * least(call) / members


def made_up(count: int = 2_048) -> Data:
    """Images of noise, whose training takes as long as another's."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Samples:
        return Samples(rng.random((n, SIDE**2), np.float32), rng.integers(0, CLASSES, n), np.arange(n))

    return Data(split(count), split(256), split(256), tuple(map(str, range(CLASSES))), (1, SIDE, SIDE))


def step_seconds(asked: dict[str, Any], members: int) -> float:
    """Processor seconds of a step and member."""
    settings = resolve(
        {"dataset": "mnist", "optimizer": "sgd", "steps": 1_000, "eval_every": "1000 steps", **asked}
    )
    trials = [Trial(f"t{k}", Arm(str(k), settings | {"lr": 0.01 * (k + 1)}), 0) for k in range(members)]
    data, device = made_up(), torch.device("cpu")
    budget = Budget.of(settings, len(data.train.y))
    with torch.no_grad():
        stack = ModuleStack(trials, data, stack_optimizers(trials, budget, device), device, torch.float32)
        training, done = ModuleTraining(stack, data, budget, ()), 0

        def steps() -> None:
            nonlocal done
            training.take_steps(done, done + STEPS)
            done += STEPS

        return least(steps) / STEPS / members


def bound(settings: Settings, rate: float, memory: float) -> tuple[float, int, int]:
    """Seconds of a step at least, its multiply-adds, and bytes of its elementwise layers."""
    from harness.axes.architectures import architectures

    net = architectures[settings.architecture].network((1, SIDE, SIDE), CLASSES, nn.ReLU, settings)
    sums = moved = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal sums, moved
        if isinstance(module, nn.Conv2d | nn.Linear):
            first = sums == 0  # whose images have no gradient
            sums += (2 if first else 3) * out.numel() * module.weight[0].numel()
        elif not list(module.children()) and not isinstance(module, nn.Flatten):
            moved += 2 * FLOAT * (given[0].numel() + out.numel())

    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.zeros(settings.batch_size, 1, SIDE, SIDE))
    return sums / rate + moved / memory, sums, moved


def rates() -> tuple[float, float]:
    """Multiply-adds a second of the best of some products, and bytes a second of a copy."""
    found = []
    for n in (256, 512, 768):
        a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        found.append(n**3 / least(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 30))  # type: ignore[misc]
    large = torch.zeros(2**24)
    to = torch.empty_like(large)
    return max(found), 2 * FLOAT * len(large) / least(lambda: to.copy_(large))


def measure(members: int, *, by_layer: bool) -> None:
    """Measure and print."""
    for layer in LAYERS if by_layer else ():
        told = "; ".join(f"{name} {ms:.2f}" for name, ms in compared(layer, members))
        click.echo(f"{layer.name}: ms a member: {told}")
    rate, memory = rates()
    click.echo(f"best product: {2e-9 * rate:.0f} GFLOP/s; memory: {1e-9 * memory:.0f} GB/s read and written")
    for name, asked in NETWORKS.items():
        least_seconds, sums, moved = bound(resolve({"dataset": "mnist", **asked}), rate, memory)
        taken = step_seconds(asked, members)
        click.echo(
            f"{name}: {1e-6 * sums:.0f} M multiply-adds and {1e-6 * moved:.0f} MB: "
            f"{1e3 * least_seconds:.2f} ms a step at least; it takes {1e3 * taken:.2f} ms: "
            f"{least_seconds / taken:.0%} of the bound's speed"
        )


@click.command(help=__doc__)
@click.option("--members", default=8, show_default=True, help="Networks of a stack.")
@click.option("--ways/--no-ways", "by_layer", default=True, help="Measure the ways by layer, too.")
def main(members: int, by_layer: bool) -> None:
    """Measure with one thread, and print."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with freed_memory_kept():
        measure(members, by_layer=by_layer)


if __name__ == "__main__":
    main()
