"""The cost of a thin stack, and of each form of a batch: `python tests/benchmarks/thin_stacks.py`.

Eight members as a search suggests them, each of its own shape, train on FashionMNIST in stacks of 8, 4, 2
and 1. Then they train in one stack with each form of a batch in layer one. It prints processor microseconds a
member and step: the least of five rounds by turns, so that other work on the machine changes little.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from harness.data.samples import Data, prepare
from harness.engines.compiled.forms import FORMS, Forms
from harness.engines.compiled.training import CompiledTraining
from harness.lowering import components
from harness.planning.grouping import side_by_side
from harness.study.trials import Arm, Trial, resolve

MEMBERS, SIZES, ROUNDS, IMAGES = 8, (8, 4, 2, 1), 5, 1024
BATCHES = (64, 128, 256)
COMPONENTS = {"optimizer": ["sgd", "momentum", "adam"], "activation": ["relu", "gelu", "silu", "tanh"]}


class InForm(CompiledTraining):
    """A stack in a form that is given."""

    given: Forms

    def forms(self, batch: int) -> Forms:  # noqa: ARG002 (whatever the batch is)
        """Return the form."""
        return self.given


def members(batch: int) -> list[Trial]:
    """Draw members of widths from 32 to 256 and one or two layers, in a plan's order."""
    rng = np.random.default_rng(0)
    trials = []
    for k in range(MEMBERS):
        hidden = np.exp(rng.uniform(np.log(32), np.log(256), rng.integers(1, 3))).astype(int).tolist()
        drawn = {axis: str(rng.choice(names)) for axis, names in COMPONENTS.items()}
        settings = {
            "dataset": "fashion_mnist",
            "batch_size": batch,
            "hidden": hidden,
            "dropout": 0.2,
            "lr": 1e-3,
        }
        trials.append(Trial(f"t{k}", Arm(str(k), resolve({**settings, **drawn})), 0))
    return side_by_side(trials)


def training(trials: Sequence[Trial], data: Data, form: Forms | None = None) -> CompiledTraining:
    """Start the networks of trials, in a form that is given or in the one that this machine chooses."""
    lowered = [components.of_trial(trial.arm.settings) for trial in trials]
    if form is None:
        return CompiledTraining(trials, lowered, data, ())
    made = InForm(trials, lowered, data, ())
    made.given = form
    return made


def least(ways: Mapping[str, Sequence[CompiledTraining]], batch: int) -> dict[str, float]:
    """Return the processor microseconds a member and step of each way to train the same members."""
    steps = IMAGES // batch
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(ROUNDS + 1):
        for name, stacks in ways.items():
            start = time.process_time()
            for stack in stacks:
                stack.take_steps(i * steps, (i + 1) * steps)
            taken[name].append((time.process_time() - start) / steps / MEMBERS * 1e6)
    return {name: min(times[1:]) for name, times in taken.items()}


def main() -> None:
    """Print a table of each."""
    for batch in BATCHES:
        trials = members(batch)
        data = prepare(trials[0].arm.settings)
        cut = {
            f"stacks of {n}": [training(trials[i : i + n], data) for i in range(0, MEMBERS, n)] for n in SIZES
        }
        words = {True: "in full", False: "compressed"}
        formed = {
            f"products {words[form.products]}, gradients {words[form.gradients]}": [
                training(trials, data, form)
            ]
            for form in FORMS
        }
        for ways in (cut, formed):
            for name, micros in least(ways, batch).items():
                print(f"batch size {batch}, {name}: {micros:.0f} us", flush=True)


if __name__ == "__main__":
    main()
