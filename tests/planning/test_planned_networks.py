"""Networks of any modules in a plan: which train together, how, why not, and within which bytes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from harness.axes.architectures import architectures
from harness.check import network_stacking
from harness.engines.members import shape
from harness.errors import UsageError
from harness.planning import compilation, networks
from harness.planning.plan import make
from harness.planning.stack import stack_bytes
from harness.study.reading import parse
from harness.study.trials import resolve


def plan(processes: int = 1, *, seeds: int = 2, baseline: str = "", axes: str = "") -> Any:
    text = f"""
[study]
name = "s"
design = "grid"
seeds = {seeds}
[baseline]
dataset = "digits"
steps = 20
{baseline}
[axes]
{axes or 'activation = ["tanh", "relu"]'}
"""
    return make(parse(tomllib.loads(text)), processes=processes)


def told(planned: Any) -> list[str]:
    return compilation.reasons(planned.stacks, "cpu", ())


def test_networks_of_one_form_share_stacks_and_the_plan_says_how() -> None:
    planned = plan(
        baseline='architecture = "cnn"\nchannels = [3]',
        axes='optimizer = ["sgd", "adam"]\ndropout = [0.1, 0.2]',
    )
    assert [len(stack.trials) for stack in planned.stacks] == [8]
    assert {stack.engine for stack in planned.stacks} == {"stacked"}
    assert told(planned)[0] == "8 trials of architecture 'cnn' train in PyTorch, in stacks layer by layer"
    assert not planned.routed


def test_each_form_has_stacks_of_its_own() -> None:
    planned = plan(baseline='architecture = "cnn"', axes="channels = [[3], [4]]\ndropout = [0.0, 0.2]")
    assert len(planned.stacks) == 4
    for stack in planned.stacks:
        assert len({shape(trial) for trial in stack.trials}) == 1


def test_every_process_has_work() -> None:
    planned = plan(2, baseline='architecture = "lenet5"')
    assert sorted(len(stack.trials) for stack in planned.stacks) == [2, 2]


def test_stacks_are_bounded_in_members_and_bytes() -> None:
    narrow = plan(seeds=40, baseline='architecture = "cnn"\nchannels = [3]')
    assert max(len(stack.trials) for stack in narrow.stacks) <= networks.STACK_MEMBERS
    wide = plan(seeds=20, baseline='architecture = "cnn"\nchannels = [256, 256]\nbatch_size = 512')
    assert len(wide.stacks) > 1
    assert all(stack_bytes(stack) <= networks.STACK_BYTES for stack in wide.stacks)


class Sorting(nn.Module):
    """A sort, which vmap knows, and no rule of ours."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        logits: Tensor = self.out(x.flatten(1).sort(1).values)
        return logits


class Drawing(nn.Module):
    """Noise from torch's own generator."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        from torch import randn_like

        logits: Tensor = self.out(x.flatten(1) + randn_like(x.flatten(1)))
        return logits


class Watching(nn.Module):
    """One linear layer, which notes in how many threads it computes."""

    threads: ClassVar[set[int]] = set()

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        self.threads.add(torch.get_num_threads())
        logits: Tensor = self.out(x.flatten(1))
        return logits


class Counting(nn.Module):
    """State outside parameters and buffers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out, self.calls = nn.Linear(64, classes), 0

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        self.calls += 1
        logits: Tensor = self.out(x.flatten(1)) / self.calls
        return logits


class WholeBatch(nn.Module):
    """The mean of a batch: each member has its own."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        x = x.flatten(1)
        logits: Tensor = self.out(x - x.mean(0) if self.training else x)
        return logits


class Assigning(nn.Module):
    """A mean that moves, whose buffer is given a new tensor: torch.func would forget it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(64, classes)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        x = x.flatten(1)
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * x.detach().mean(0)
        logits: Tensor = self.out(x - self.centre)
        return logits


@pytest.mark.parametrize(
    ("made", "way", "words"),
    [
        (Sorting, "mapped", "sort"),
        (Assigning, "loop", "another centre of a member"),
        (WholeBatch, "layers", ""),
    ],
)
def test_an_own_network_trains_in_the_best_way_that_is_right(made: Any, way: str, words: str) -> None:
    def build(shape: Any, classes: int, activation: Any) -> nn.Module:  # noqa: ARG001
        """Build."""
        network: nn.Module = made(classes)
        return network

    architectures.register("mine")(build)
    planned = plan(baseline='architecture = "mine"', axes="lr = [0.1, 0.2]")
    found = network_stacking.how(planned.trials[0].arm.settings)
    assert found.way == way
    assert words in found.reason
    if way == "loop":
        assert {stack.engine for stack in planned.stacks} == {"loop"}
        assert list(planned.routed) == [f"architecture 'mine': {found.reason}"]
        return
    assert [len(stack.trials) for stack in planned.stacks] == [4]
    assert ("by torch.func, not layer by layer: " in told(planned)[0]) == (way == "mapped")


@pytest.mark.parametrize(("made", "words"), [(Drawing, "draws random numbers"), (Counting, "called again")])
def test_a_network_that_gives_other_logits_each_time_is_never_stacked(made: Any, words: str) -> None:
    architectures.register("mine")(lambda shape, classes, activation: made(classes))  # noqa: ARG005
    settings = resolve({"dataset": "digits", "steps": 20, "architecture": "mine"})
    found = network_stacking.how(settings)
    assert found.way == "loop"
    assert words in found.reason


def test_networks_are_tried_in_one_thread() -> None:
    """Where other programs have the cores, a plan took four times as long in several."""
    architectures.register("mine")(lambda shape, classes, activation: Watching(classes))  # noqa: ARG005
    Watching.threads.clear()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        network_stacking.how(resolve({"dataset": "digits", "steps": 21, "architecture": "mine"}))
        assert Watching.threads == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_plan_of_mlps_imports_no_torch() -> None:
    tables = {
        "study": {"name": "s", "design": "grid", "seeds": 1}, "baseline": {"epochs": 1},
        "axes": {"activation": ["tanh", "relu"]},
    }  # fmt: skip
    code = (
        "import sys; from harness.study.reading import parse; from harness.planning.plan import make; "
        f"make(parse({tables})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_network_of_too_many_operations_is_told_before_it_is_tried(study_of: Any) -> None:
    """A first layer of 3 x 3 on 64 pixels, and the output layer: 2 (9 * 64 + 10) operations a channel."""
    with pytest.raises(UsageError, match=r"'cnn': 1,172,000,000 multiplications .* up to 1,000,000,000"):
        make(study_of(architecture="cnn", channels=[1_000_000]))
