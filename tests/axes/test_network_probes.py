"""Probes of networks: each fault of a module is named before anything is trained, and sound modules pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional

from harness.axes import network_probes
from harness.axes.architectures import architectures
from harness.check.components import component
from harness.cli import main
from harness.errors import ComponentError, UsageError
from harness.planning import plan
from harness.study.study import Study

Make = Callable[..., Study]
CLASSES = 5


class Part(nn.Module):
    """A linear layer on flattened images, and a function of it and of the images."""

    def __init__(self, after: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.after = nn.Linear(16, CLASSES), after
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("loose", torch.zeros(()), persistent=False)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self, x, self.linear(x.flatten(1)))


def counts(net: Any, _: Tensor, z: Tensor) -> Any:
    net.calls += 1
    return z * (1 + 0.1 * net.calls)


def counts_in_buffer(net: Any, _: Tensor, z: Tensor) -> Any:
    net.seen += net.training
    return z * (1 + 0.1 * net.seen)


def counts_loosely(net: Any, _: Tensor, z: Tensor) -> Any:
    net.loose += 1
    return z * (1 + 0.1 * net.loose)


def batch_norm_of_all_batches(*_: object) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, CLASSES)
    )


FAULTS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "noise": (lambda _net, _x, z: z + 0.1 * torch.randn_like(z), r"random numbers of its own .*nn\.Dropout"),
    "functional dropout": (
        lambda net, _x, z: functional.dropout(z, 0.5, net.training),
        "random numbers of its own",
    ),
    "if": (
        lambda _net, _x, z: z if z.sum() > 0 else 2 * z,
        r"branches on data.*\(if, and, while\).*torch\.where",
    ),
    "item": (lambda _net, x, z: z * x.mean().item(), r"branches on data.*\(\.item\(\)\)"),
    "state": (counts, "keeps state outside its parameters and buffers.*register_buffer"),
    "loose buffer": (counts_loosely, r"changes the buffer loose .*persistent=True"),
    "neighbours": (lambda _net, _x, z: z - z.mean(0), r"other logits beside other images, in evaluation"),
    "no gradient": (lambda _net, _x, z: z.detach(), "without a gradient"),
    "not finite": (lambda _net, _x, z: z / 0, "not finite"),
    "shape": (lambda _net, _x, z: z[:, :4], r"gives shape \(4, 4\); allowed: \(4, 5\)"),
    "in place": (lambda _net, x, z: z + x.mul_(2).flatten(1)[:, :CLASSES], "changes its argument 1 in place"),
}


def looked_at(net: nn.Module) -> None:
    images = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network_probes.check("architecture 'mine'", net, images, CLASSES)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    function, words = FAULTS[fault]
    with pytest.raises(ComponentError, match=words):
        looked_at(Part(function))


def test_parameters_that_no_gradient_reaches_are_named() -> None:
    net = Part(lambda _net, _x, z: z)
    net.spare = nn.Linear(3, 3)
    with pytest.raises(ComponentError, match=r"no gradient reaches: spare\.weight; spare\.bias"):
        looked_at(net)
    net.spare.requires_grad_(requires_grad=False)
    looked_at(net)


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_complex_numbers_are_refused(kind: str) -> None:
    net = Part(
        lambda net, _x, z: (
            z * torch.abs(net.get_parameter("turned") if kind == "parameter" else net.get_buffer("turned"))
        )
    )
    turned = torch.full((CLASSES,), 1j)
    if kind == "parameter":
        net.turned = nn.Parameter(turned)
    else:
        net.register_buffer("turned", turned)
    with pytest.raises(ComponentError, match=r"keeps complex numbers: turned.*view_as_complex"):
        looked_at(net)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Part(lambda _net, _x, z: z),
        lambda: Part(counts_in_buffer),
        lambda: Part(lambda _net, _x, z: torch.where(z.sum(1, keepdim=True) > 0, z, 2 * z)),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, CLASSES)),
        lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, CLASSES)),
        batch_norm_of_all_batches,
    ],
    ids=["linear", "counts in a buffer", "torch.where", "batch norm", "dropout", "a float of a buffer"],
)
def test_sound_networks_pass(make: Callable[[], nn.Module]) -> None:
    looked_at(make())


OWN = """
import torch
from torch import nn
from harness.axes.architectures import architectures

class Noisy(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.linear = nn.Linear(inputs, classes)
    def forward(self, x):
        return self.linear(x.flatten(1) + 0.1 * torch.randn(1))

@architectures.register("noisy")
def noisy(shape, classes, activation):
    '''Adds noise.'''
    return Noisy(shape[0] * shape[1] * shape[2], classes)
"""


@pytest.fixture
def unregistered() -> Iterator[None]:
    yield
    architectures._entries.pop("noisy", None)


@pytest.mark.usefixtures("unregistered")
def test_nothing_is_run_with_such_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "s.toml").write_text(
        '[study]\nname = "s"\nplugins = ["own.py"]\n[baseline]\ndataset = "digits"\narchitecture = "noisy"\n'
    )
    result = CliRunner().invoke(main.harness, ["run", "s.toml"])
    assert isinstance(result.exception, UsageError)  # exit code 2
    assert "draws random numbers of its own" in str(result.exception)
    assert not (tmp_path / "results").exists()
    checked = component("architecture", "noisy")
    assert not checked
    assert "draws random numbers of its own" in str(checked)


def test_batch_norm_of_a_batch_of_one_image_is_told_before_it_trains(study_of: Make) -> None:
    """1,437 images less a tenth, rounded up, are 1,293 = 4 x 323 + 1."""
    with pytest.raises(UsageError, match=r"a batch of one image has no spread.*batch_size than 4, for 1,293"):
        plan.make(study_of(norm="batch", batch_size=4))
    plan.make(study_of(norm="batch", batch_size=3))
    plan.make(study_of(norm="batch", batch_size=4, sampling="replacement"))
    plan.make(study_of(norm="layer", batch_size=4))


def test_a_networks_own_error_names_the_line_that_raised_it() -> None:
    def misshapen(_: nn.Module, __: Tensor, z: Tensor) -> Tensor:
        return z @ torch.ones(CLASSES + 1, 2)

    line = misshapen.__code__.co_firstlineno + 1
    with pytest.raises(
        ComponentError, match=rf"shapes cannot be multiplied.*, line {line} of {Path(__file__).name}$"
    ):
        network_probes.check("it", Part(misshapen), torch.rand(4, 1, 4, 4), CLASSES)
