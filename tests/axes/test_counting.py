"""Operations of networks: counted by hand, and as PyTorch's own counter has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.axes.architectures import architectures
from harness.axes.architectures.counting import operations
from harness.exporting.untrained import untrained
from harness.planning.parameters import size_of


class Function(nn.Module):
    """A function of a weight (6, 6) and the input (1, 6)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.w = function, nn.Parameter(torch.ones(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x, self.w)
        return result


def of_pytorch(network: nn.Module, shape: Sequence[int]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *shape))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (nn.Linear(6, 5), (6,), 2 * 6 * 5),
        (nn.Conv2d(3, 4, 3), (3, 8, 7), 2 * 6 * 5 * 4 * 27),
        (nn.Conv2d(4, 6, (3, 5), stride=2, groups=2), (4, 9, 9), 2 * 4 * 3 * 6 * 2 * 15),
        (nn.Conv1d(2, 3, 4), (2, 10), 2 * 7 * 3 * 8),
        (nn.ConvTranspose2d(2, 3, 2), (2, 5, 5), 2 * 25 * 2 * 3 * 4),
        (nn.Sequential(nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.ReLU()), (2, 4, 4), 0),
        (Function(lambda x, w: x @ w), (6,), 72),
        (Function(lambda x, w: torch.addmm(x, x, w)), (6,), 72),
        (Function(lambda x, w: torch.einsum("bi,ij->bj", x, w)), (6,), 72),
        (Function(lambda x, w: torch.bmm(x[None], w[None])[0]), (6,), 72),
        (Function(lambda x, w: torch.baddbmm(x[None], x[None], w[None])[0]), (6,), 72),
        (Function(lambda x, w: (x * w).sum(0)), (6,), 0),
    ],
)
def test_products_are_counted(layer: nn.Module, shape: Sequence[int], count: int) -> None:
    assert operations(layer, shape) == count
    assert of_pytorch(layer, shape) == count


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp", {"norm": "batch"}), ("linear", {}), ("lenet5", {}), ("resnet", {"channels": 4}),
        ("cnn", {"readout": "dense", "hidden": [7], "norm": "layer", "pooling": "stride"}),
    ],
)  # fmt: skip
def test_built_in_networks_have_pytorchs_count(name: str, settings: dict[str, Any]) -> None:
    architecture = architectures[name]
    network = architecture.network((3, 12, 10), 10, nn.Identity, settings)
    shape = (3, 12, 10) if architecture.takes_images else (360,)
    assert operations(network, shape) == of_pytorch(network, shape)


def test_what_is_not_known_is_not_told() -> None:
    assert operations(nn.Sequential(nn.Unflatten(1, (2, 3)), nn.LSTM(3, 2)), (6,)) is None
    assert operations(Function(lambda x, w: torch.einsum("bi,ij,jk->bk", x, w, w)), (6,)) is None
    assert operations(nn.Linear(5, 5), (6,)) is None  # does not run


def test_a_count_leaves_the_network_and_the_generator_as_they_were() -> None:
    network = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
    before = torch.get_rng_state()
    operations(network, (6,))
    assert network.training
    assert int(network.state_dict()["1.num_batches_tracked"]) == 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "parameters", "flops"),
    [
        ({"hidden": [5, 4]}, 65 * 5 + 6 * 4 + 5 * 10, 2 * (64 * 5 + 5 * 4 + 4 * 10)),
        ({"hidden": [5, 4], "norm": "batch"}, 66 * 5 + 7 * 4 + 5 * 10, 2 * (64 * 5 + 5 * 4 + 4 * 10)),
        ({"hidden": [5, 4], "norm": "layer"}, 67 * 5 + 8 * 4 + 5 * 10, 2 * (64 * 5 + 5 * 4 + 4 * 10)),
        ({"architecture": "linear"}, 650, 1280),
        (
            {"architecture": "cnn", "channels": [3, 4]},
            30 + 112 + 50,
            2 * (64 * 3 * 9 + 16 * 4 * 27 + 4 * 10),
        ),
    ],
)
def test_sizes_of_arms_are_counted_by_hand(settings: dict[str, Any], parameters: int, flops: int) -> None:
    trial = untrained({"dataset": "digits", **settings})
    size = size_of(trial.arm.settings)
    assert (size.parameters, size.flops) == (parameters, flops)


def test_a_network_that_no_memory_holds_is_counted() -> None:
    settings = untrained({"dataset": "digits", "architecture": "cnn", "channels": [1_000_000, 1_000_000]})
    size = size_of(settings.arm.settings)
    assert size.parameters == 10 * 10**6 + (9 * 10**6 + 1) * 10**6 + 10_000_010
    assert size.flops is None
