"""The self-test of the kernels: are they right on this machine, faster than PyTorch, and in which form?

`python -m harness.engines.self_test [BITS]` prints `kernels.Measured` as JSON. It trains small stacks on
made-up images with and without the kernels by turns, for about a second each, then some in each form. Kernels
of portable bits have to be right, and may be slow; what decides bits is not measured for them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.data.samples import Data, Samples
from harness.engines import kernels, stack_engine
from harness.engines.compiled.forms import CELLS, FORMS, Forms
from harness.engines.compiled.training import CompiledTraining
from harness.engines.outcome import Floats
from harness.lowering import builds, components
from harness.lowering.compiler import SWITCH
from harness.study.trials import Arm, Trial, resolve

MEMBERS, STEPS, ROUNDS = 12, 100, 3
INPUTS, CLASSES, DENSITY = 784, 10, 0.2
"""Pixels, classes and the share of pixels that are not zero, as in MNIST."""
DIFFERENT = 0.01
"""Difference of losses beyond rounding: in float32, they agree to about 1e-5 after 100 steps."""
WIDE: dict[str, Any] = {"hidden": [512], "batch_size": 128, "steps": 20, "eval_every": "20 steps"}
BATCHES = (1, 8, 32, 64, 128)
"""Batch sizes whose forms are measured; others have those of the next smaller."""
DENSITIES = (0.25, 0.5, 0.75)


def images(count: int, seed: int, density: float = DENSITY) -> Samples:
    """Make up images (count, INPUTS), of which some pixels are not zero and a few reveal the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = (rng.random((count, INPUTS)) * (rng.random((count, INPUTS)) < density)).astype(np.float32)
    x[np.arange(count), y] = 1.0
    return Samples(x, y, np.arange(count))


def stack(members: int = MEMBERS, **changed: Any) -> list[Trial]:
    """Return the members of a stack, which differ in their learning rate."""
    base: dict[str, Any] = {"dataset": "digits", "steps": STEPS, **changed}
    settings = resolve({"eval_every": f"{base['steps']} steps", **base})
    rates = np.linspace(0.5, 1, members) * settings.lr
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


def made_up(density: float = DENSITY) -> Data:
    """Make up a data set."""
    train, val, test = (images(count, seed, density) for seed, count in enumerate((2_048, 256, 256)))
    return Data(train, val, test, tuple(map(str, range(CLASSES))))


@dataclass(frozen=True)
class SideBySide:
    """The kernels beside PyTorch: how many times as long they take; do they train to the same losses?"""

    slowness: float
    same: bool


def compared(stacks: Sequence[list[Trial]], data: Data) -> SideBySide:
    """Train stacks by turns with the kernels and without."""
    least, same = {"on": 0.0, "off": 0.0}, True
    for trials in stacks:
        seconds: dict[str, list[float]] = {"on": [], "off": []}
        losses: dict[str, Floats] = {}
        for switch in ("on", "off") * ROUNDS:
            taken, losses[switch] = timed(trials, data, switch=switch)
            seconds[switch].append(taken)
        same = same and np.allclose(losses["on"], losses["off"], rtol=DIFFERENT, atol=DIFFERENT)
        for switch in least:
            least[switch] += min(seconds[switch])
    return SideBySide(least["on"] / least["off"], same)


class FormTraining(CompiledTraining):
    """A stack whose images have a form that is given."""

    def __init__(self, trials: Sequence[Trial], data: Data, form: Forms) -> None:
        """Start the networks of trials."""
        lowered = [components.of_trial(trial.arm.settings) for trial in trials]
        super().__init__(trials, lowered, data, ())
        self.in_full, self.given = False, form

    def forms(self, batch: int) -> Forms:  # noqa: ARG002 (whatever the batch is)
        """Return the form."""
        return self.given

    def seconds(self, first: int, steps: int) -> float:
        """Return processor seconds of steps, after the first ones."""
        start = time.process_time()
        self.take_steps(first, first + steps)
        return time.process_time() - start


@dataclass(frozen=True)
class FormResult:
    """The fastest form in each cell of density, as `kernels.Measured.forms`; are all forms alike?"""

    cells: str
    same: bool


def tried_forms(batch: int) -> FormResult:
    """Train in each form at some densities.

    The members are narrow and wide, of one shape and of others, as in studies and in searches.
    """
    steps = max(4, min(32, 1024 // batch))
    taken, same = [], True
    for density in DENSITIES:
        data, how = made_up(density), {"batch_size": batch, "steps": (ROUNDS + 1) * steps}
        trials = [*stack(3, hidden=[32], **how), *(stack(1, hidden=[h], **how)[0] for h in (48, 112, 144))]
        trainings = [FormTraining(trials, data, form) for form in FORMS]
        seconds = [
            [training.seconds(i * steps, steps) for training in trainings]  # by turns
            for i in range(ROUNDS + 1)
        ]
        taken.append(np.min(seconds[1:], axis=0))
        losses = [training.evaluate("val", keep=False).loss for training in trainings]
        same = same and all(np.allclose(x, losses[0], rtol=DIFFERENT, atol=DIFFERENT) for x in losses)
    return FormResult(fastest(np.array(taken)), same)


def fastest(taken: Floats) -> str:
    """Return the fastest form in the middle of each cell, of seconds (densities, forms) at DENSITIES.

    Between two densities, and beyond them, seconds are taken as linear in the density.
    """
    middle = (np.arange(CELLS) + 0.5) / CELLS
    place = np.clip(np.searchsorted(DENSITIES, middle) - 1, 0, len(DENSITIES) - 2)
    low, high = (np.array(DENSITIES)[place + i] for i in (0, 1))
    share = ((middle - low) / (high - low))[:, None]
    return "".join(map(str, np.argmin((1 - share) * taken[place] + share * taken[place + 1], axis=1)))


def verdict() -> kernels.Measured:
    """Try all of it; of portable bits only whether it is right, because speed decides nothing there."""
    data = made_up()
    narrow = compared([stack(optimizer=optimizer) for optimizer in ("sgd", "adam")], data)
    wide, dense = compared([stack(4, **WIDE)], data), compared([stack()], made_up(1.0))
    slow = narrow.slowness > 1 and not builds.portable()
    os.environ[SWITCH] = "on"
    kernels.forget()
    forms = [] if slow else [tried_forms(batch) for batch in BATCHES]
    same = [one.same for one in (narrow, wide, dense)] + [one.same for one in forms]
    if not all(same):
        return kernels.Measured("the kernels fail their self-test: they train to other losses than PyTorch")
    if builds.portable():
        return kernels.Measured()
    if slow:
        slower = f"{narrow.slowness:.1f} times as long as PyTorch"
        return kernels.Measured(f"the kernels take {slower} on this machine, by their self-test")
    rows = [(batch, one.cells) for batch, one in zip(BATCHES, forms, strict=True)]
    return kernels.Measured("", wide.slowness <= 1, dense.slowness <= 1, rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    builds.inherit(builds.named(sys.argv[1] if len(sys.argv) > 1 else "native"))
    print(json.dumps(vars(verdict())))
