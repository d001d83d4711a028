"""One part of gpu.py: it measures a system at several numbers of trials, and prints each row as JSON.

Trials are of a 784-32-32-10 network under softmax cross-entropy at batch 32, of one seed, and differ in their
learning rate. Steps are timed for some seconds and evaluations once; "a trial" is 10 epochs with evaluations
of train and val before and after each, and of test at the end, as `harness run` does.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from cells import Cell
from peers import groups
from peers.shares import Share

from harness.data.arm_settings import Settings
from harness.data.samples import SPLITS, Data, Samples, Split, prepare
from harness.study.trials import Arm, Trial, resolve

EPOCHS = 10
JAX_LAYOUTS = ("images", "rows")
TRY = 0.3
"""Seconds of steps in a short try."""


@dataclass(frozen=True)
class Sizes:
    """What is measured, and for how long."""

    cells: Sequence[tuple[str, int]]
    dataset: str
    seconds: float
    chunk: int
    device: str

    def work(self, optimizer: str, trials: int) -> Cell:
        """The work of a cell."""
        return Cell(optimizer, {"optimizer": optimizer, "dataset": self.dataset}, trials, EPOCHS)


FULL = Sizes((("sgd", 1024), ("sgd", 256), ("sgd", 4096), ("adam", 1024)), "mnist", 4.0, 512, "cuda")
DRY = Sizes((("sgd", 3), ("adam", 2)), "digits", 0.05, 40, "cpu")


@dataclass(frozen=True)
class Row:
    """What was measured of a system."""

    system: str
    work: Cell
    step: float
    evaluation: float
    tested: float
    steps: int
    form: str = ""

    @property
    def rate(self) -> float:
        """Whole trials a second."""
        whole = self.work.steps * self.step + (self.work.epochs + 1) * self.evaluation + self.tested
        return self.work.trials / whole

    def table(self) -> dict[str, Any]:
        """As gpu.py writes it."""
        work, trials = self.work, self.work.trials
        return {
            "system": self.system, "form": self.form, "optimizer": work.optimizer,
            "batch_size": work.batch_size, "trials": trials, "seconds_a_step": self.step,
            "seconds_an_evaluation": self.evaluation, "trials_a_second": self.rate,
            "trials_a_second_steps_alone": trials / (work.steps * self.step),
            "timed_steps": self.steps,
            "extrapolated": f"{self.steps} of {work.steps} steps, evaluations once",
        }  # fmt: skip


def measured(system: str, work: Cell, group: groups.Group, sizes: Sizes) -> Row:
    """Time steps for some seconds, after a warm-up, and each evaluation once, after a first one."""
    chunk = min(sizes.chunk, work.steps_per_epoch)
    group.train(chunk)
    steps, before = 0, time.perf_counter()
    while steps == 0 or time.perf_counter() - before < sizes.seconds:
        group.train(chunk)
        steps += chunk
    step = (time.perf_counter() - before) / steps
    seconds: dict[Split, float] = {}
    for split in ("val", "train", "val", "test"):
        before = time.perf_counter()
        group.evaluate(split)
        seconds[split] = time.perf_counter() - before
    return Row(system, work, step, seconds["train"] + seconds["val"], seconds["test"], steps)


def trials_of(work: Cell) -> list[Trial]:
    """The trials as the harness has them."""
    every = [resolve({**work.whole, "lr": rate}) for rate in work.rates]
    return [Trial(f"t{k}", Arm(str(k), settings), 0) for k, settings in enumerate(every)]


class Stack:
    """Trials in training in the stacked engine (`groups.Group`), by graphs or the resident kernel."""

    def __init__(self, data: Data, work: Cell, device: str, kind: type) -> None:
        from harness.data.batches import Budget
        from harness.engines.stacked.engine import StackTraining
        from harness.engines.stacked.network import StackedNetwork
        from harness.engines.stacked.optimizer import stack_optimizers

        trials, where = trials_of(work), torch.device(device)
        budget = Budget.of(trials[0].arm.settings, len(data.train.y))
        network = StackedNetwork(trials, data, stack_optimizers(trials, budget, where), where, torch.float32)
        self.training, self.step = StackTraining(network, data, budget, ()), 0
        trains = type(self.training.steps)
        if trains is not kind:
            told = " ".join(self.training.notes)
            raise RuntimeError(f"{trains.__name__} trains, not {kind.__name__}: {told}")

    def train(self, steps: int) -> None:
        """Take steps, as many at a time as the run does; after the last one comes the first again."""
        if self.step + steps > self.training.budget.steps:
            self.step = 0
        end = self.step + steps
        while self.step < end:
            until = min(end, self.step - self.step % 64 + 64)
            self.losses = self.training.take_steps(self.step, until)
            self.step = until

    def evaluate(self, split: Split) -> Sequence[float]:
        """Accuracies."""
        return [float(x) for x in self.training.evaluate(split, keep=False).accuracy]


def stacks(system: str, kind: type, data: Data, sizes: Sizes) -> Iterator[Row]:
    """Rows of the stacked engine."""
    from harness.engines.stacked import cuda_graphs

    for optimizer, trials in sizes.cells:
        work = sizes.work(optimizer, trials)
        with torch.no_grad(), cuda_graphs.streaming(torch.device(sizes.device)):
            group = Stack(data, work, sizes.device, kind)
            yield measured(system, work, group, sizes)
            if not np.isfinite(group.losses).any():
                raise RuntimeError("no loss is finite: nothing was trained")
            del group
        if sizes.device == "cuda":
            torch.cuda.empty_cache()


def graphs(data: Data, sizes: Sizes) -> Iterator[Row]:
    """CUDA graphs; in a dry run PyTorch's operations, one by one."""
    from harness.engines.resident import steps as resident
    from harness.engines.stacked import cuda_graphs
    from harness.engines.stacked.steps import Eager

    resident.launchers = lambda _: None  # type: ignore[assignment]
    yield from stacks("graphs", Eager if sizes is DRY else cuda_graphs.Captured, data, sizes)


def resident(data: Data, sizes: Sizes) -> Iterator[Row]:
    """The resident kernel; in a dry run compiled for this processor."""
    from harness.engines.resident import steps

    if sizes is DRY:
        stand_in(steps)
    yield from stacks("resident", steps.Resident, data, sizes)


def stand_in(steps: Any) -> None:
    """Let a processor stand in for a GPU."""
    from host_launcher import Host

    from harness.engines import kernels
    from harness.engines.stacked.dense import Dense
    from harness.engines.stacked.gpu_images import ResidentImages

    steps.launchers = lambda _: Host
    kernels.why_not = lambda *_: "a GPU has none"

    def images(dense: Dense, samples: Samples) -> ResidentImages:
        return ResidentImages(samples, dense.seeds, dense.wide.device)

    Dense.images = images  # type: ignore[method-assign, assignment]


def jax(data: Data, sizes: Sizes) -> Iterator[Row]:
    """JAX, compiled before anything is timed."""
    import jax as library
    from peers import jax_components

    if sizes is FULL:
        library.config.update("jax_platforms", None)  # which that module, made for processors, has set
    backend = library.default_backend()
    if sizes is FULL and backend != "gpu":
        raise RuntimeError(f"JAX finds no GPU: its backend is {backend}")
    for optimizer, trials in sizes.cells:
        work = sizes.work(optimizer, trials)
        steps = min(sizes.chunk, work.steps_per_epoch)
        starts = {
            layout: functools.partial(JaxMembers, jax_components, data, work, steps, layout)
            for layout in JAX_LAYOUTS
        }
        yield fastest("jax", work, starts, dataclass_with(sizes, chunk=steps))


def fastest(system: str, work: Cell, starts: Mapping[str, Callable[[], groups.Group]], sizes: Sizes) -> Row:
    """Try each form shortly and measure the fastest; the row names it.

    Raises:
        RuntimeError: none of them runs.
    """
    rates: dict[str, float] = {}
    best: tuple[float, str, groups.Group] | None = None
    for form, start in starts.items():
        try:
            group = start()
            rates[form] = measured(system, work, group, dataclass_with(sizes, seconds=TRY)).rate
            if best is None or rates[form] > best[0]:
                best = rates[form], form, group  # the others' memory is free again
        except RuntimeError as error:  # JAX's own errors are, such as one of too little memory
            print(f"{system}, {form}: {error}", flush=True)
    if best is None:
        raise RuntimeError(f"{system}: none of {', '.join(starts)} runs")
    told = ", ".join(f"{form} {rate:.4g}" for form, rate in rates.items())
    print(f"{system}, {work.optimizer}, K = {work.trials}: trials/s in a short try: {told}", flush=True)
    return replace(measured(system, work, best[2], sizes), form=best[1])


class JaxMembers:
    """All trials as one in a layout of `jax_components`, many steps in a scan (`groups.Group`)."""

    def __init__(self, module: Any, data: Data, work: Cell, steps: int, layout: str) -> None:
        import jax.numpy as jnp

        pixels: dict[str, Any] = {
            split: (jnp.asarray(data[split].x), jnp.asarray(data[split].y, jnp.int32)) for split in SPLITS
        }
        task = module.Task("", 1.0, 0.0, work.whole, work.rates, work.epochs, inputs=data.inputs)
        self.group = module.Group(task, f"{layout} {work.trials}", work.trials, pixels, steps)
        self.group.compile_judges()
        self.group.begin(work.rates)
        self.rng = np.random.default_rng(0)

    def train(self, steps: int) -> None:  # noqa: ARG002 (as many as are compiled)
        """Take the steps that are compiled."""
        self.group.train(self.rng)

    def evaluate(self, split: Split) -> Sequence[float]:
        """Accuracies."""
        return list(self.group.evaluate(split))


def dataclass_with(sizes: Sizes, **changed: Any) -> Sizes:
    """Sizes, otherwise chosen; those of a dry run stay those of one."""
    return replace(sizes, **changed)


def labs(data: Data, sizes: Sizes) -> Iterator[Row]:
    """The labs' loop with images in memory, and with each batch brought to the GPU."""
    from peers import labs_loop

    class OnDevice(labs_loop.Trial):
        """The loop with its network on a GPU, as labs write it."""

        def train(self, steps: int) -> None:
            import itertools

            for x, y in itertools.islice(self.batches, steps):
                loss = self.lab.loss(self.model(x.to("cuda")), y.to("cuda"))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            torch.cuda.synchronize()

        def evaluate(self, split: Split) -> Sequence[float]:
            from torch.utils.data import DataLoader

            right = 0
            with torch.no_grad():
                for x, y in DataLoader(self.data[split], batch_size=512):
                    right += int((self.model(x.to("cuda")).argmax(1) == y.to("cuda")).sum())
            return [right / len(self.data[split])]

    work = sizes.work("sgd", 1)
    few = dataclass_with(sizes, chunk=20, seconds=min(sizes.seconds, 3.0))
    share = Share(work, work.rates)
    yield measured("labs cpu", work, labs_loop.Trial(data, share), few)
    if sizes.device == "cuda":
        group = OnDevice(data, share)
        group.model.to("cuda")
        yield measured("labs cuda", work, group, few)


MEASURE: dict[str, Callable[[Data, Sizes], Iterator[Row]]] = {
    "graphs": graphs, "resident": resident, "jax": jax, "labs": labs,
}  # fmt: skip


def main() -> int:
    """Measure the part that is named."""
    sizes = DRY if "--dry-run" in sys.argv else FULL
    data = prepare(Settings(sizes.work("sgd", 1).whole))
    for row in MEASURE[sys.argv[1]](data, sizes):
        print(json.dumps(row.table()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
