"""Trained networks looked into: how active the units of each layer are, and the weights at the image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.data.samples import Split, prepare, shape_of
from harness.errors import UsageError
from harness.system.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from harness.engines.classifier import Classifier
    from harness.exporting.models import Model

IMAGES = 2000
"""So many images of a split are looked at, its first ones."""
AT_ONCE = 200
FLAT, NO_SLOPE = 0.1, 0.001
"""Shares of an activation's steepest slope up to which a value counts as saturated, and a unit as dead."""
GRID = 10
"""The steepest slope is looked for between -GRID and GRID."""


def activation_statistics(model: Model, split: Split = "val", images: int = IMAGES) -> pd.DataFrame:
    """Measure how active the units of each hidden layer of a trained network are.

    A unit is a neuron, or a channel of a convolution, whose pixels share its weights.

    Args:
        model: the network, as `models.restore` gives it.
        split: the images it is shown.
        images: so many of them, the first ones.

    Returns:
        A row an activation, in the order of the forward pass: depth (from 1), layer (its module's name),
        activation, units, dead (share of units whose activation has no slope on any image, so that no
        gradient reaches their weights: never active, of ReLU), saturated (share of values where the slope is
        at most a tenth of the activation's steepest; of ReLU, its zeros), mean and sd of the values.
        `attrs["images"]` is the number of images.

    Raises:
        UsageError: the split is empty, or the network has no activation.
    """
    x = prepare(model.trial.arm.settings)[split].x[:images]
    if not len(x):
        raise UsageError(f"{split} has no images: this study keeps none apart; look at train")
    watched = _Watched(model.classifier)
    if not watched.modules:
        raise UsageError("the network has no hidden layer: nothing lies between its pixels and its logits")
    return watched.table(x)


class _Watched:
    """The activations of a network, and what they did so far; one that is used twice counts as two."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.modules = {name: module for name, module in model.net.named_modules() if _is_activation(module)}
        self.seen: dict[tuple[str, int], _LayerSums] = {}
        self.uses: Counter[str] = Counter()

    def table(self, x: NDArray[np.floating[Any]]) -> pd.DataFrame:
        """Show the network images x (n, D), and tabulate its layers."""
        # One that works in place would write over what it is given, at which its slope is asked for.
        in_place = [module for module in self.modules.values() if getattr(module, "inplace", False)]
        for module in in_place:
            vars(module)["inplace"] = False
        hooks = [
            module.register_forward_hook(
                lambda module, given, y, name=name: self._see(name, module, given, y)
            )
            for name, module in self.modules.items()
        ]
        try:
            with torch.no_grad():
                for some in torch.from_numpy(x).split(AT_ONCE):
                    self.uses.clear()
                    self.model(some)
        finally:
            for hook in hooks:
                hook.remove()
            for module in in_place:
                vars(module)["inplace"] = True
        rows = [sums.row(name, use) for (name, use), sums in self.seen.items()]
        table = pd.DataFrame([{"depth": depth, **row} for depth, row in enumerate(rows, 1)])
        table.attrs["images"] = len(x)
        return table

    def _see(self, name: str, module: nn.Module, given: tuple[Tensor, ...], y: Tensor) -> None:
        key = name, self.uses[name]
        self.uses[name] += 1
        if key not in self.seen:
            self.seen[key] = _LayerSums(module, y.shape[1])
        self.seen[key].add(given[0], y)


def _is_activation(module: nn.Module) -> bool:
    """Tell whether a module is an elementwise function: the trial's activation, or one of PyTorch's."""
    from harness.engines.classifier import Function

    of_torch = type(module).__module__ == "torch.nn.modules.activation"
    mixing = ("MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "GLU")
    return isinstance(module, Function) or (of_torch and type(module).__name__ not in mixing)


def _name(module: nn.Module) -> str:
    """Name an activation: the trial's by its own name, one of PyTorch's by its class."""
    from harness.engines.classifier import Function

    return module.extra_repr() if isinstance(module, Function) else type(module).__name__


class _LayerSums:
    """Sums over the images that an activation of so many units has seen."""

    def __init__(self, module: nn.Module, units: int) -> None:
        self.module = module
        self.steepest = self._steepest(units)  # a PReLU may have a slope for each of them
        self.values, self.flat, self.sum, self.squares = 0, 0, 0.0, 0.0
        self.most: NDArray[Any] | None = None  # the steepest slope of each unit

    def _slope(self, z: Tensor) -> Tensor:
        """Compute |phi'(z)|; where the function does not depend on z it is 0."""
        with torch.enable_grad():
            z = z.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.module.forward(z).sum(), z, allow_unused=True)
        return torch.zeros_like(z) if slope is None else slope.abs()

    def _steepest(self, units: int) -> float:
        grid = torch.linspace(-GRID, GRID, 200 * GRID + 1)
        return float(self._slope(grid[:, None].expand(-1, units)).max())

    def add(self, z: Tensor, y: Tensor) -> None:
        """Count values y (B, units, ..), and the slopes at z that they came by."""
        slope = self._slope(z)
        of_units = slope.transpose(0, 1).flatten(1).amax(1).numpy()
        self.most = of_units if self.most is None else np.maximum(self.most, of_units)
        self.flat += int((slope <= FLAT * self.steepest).sum())
        self.values += y.numel()
        self.sum += float(y.sum(dtype=torch.float64))
        self.squares += float((y.double() ** 2).sum())

    def row(self, name: str, use: int) -> dict[str, Any]:
        """Make the layer's row of the table."""
        assert self.most is not None  # noqa: S101 (it has seen images)
        mean = self.sum / self.values
        return {
            "layer": f"{name} ({use + 1})" if use else name,
            "activation": _name(self.module),
            "units": len(self.most),
            "dead": float((self.most <= NO_SLOPE * self.steepest).mean()),
            "saturated": self.flat / self.values,
            "mean": mean,
            "sd": max(self.squares / self.values - mean**2, 0.0) ** 0.5,
        }


@dataclass(frozen=True)
class FirstWeights:
    """The weights (units, C, h, w) of a network's first layer: images of what its units look for.

    `layer` is its module's name; `convolution` tells whether they are small kernels, not whole images.
    """

    weights: NDArray[np.floating[Any]]
    layer: str
    convolution: bool


def first_weights(model: Model) -> FirstWeights:
    """Give the weights of the first layer of a trained network, as images.

    Raises:
        UsageError: no layer of it takes the image's channels, or all its pixels.
    """
    shape = shape_of(model.trial.arm.settings)
    for name, module in model.classifier.net.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Conv2d) and weight is not None:
            if weight.shape[1] == shape[0]:
                return FirstWeights(weight.detach().numpy(), name, convolution=True)
            break
        if isinstance(module, torch.nn.Linear) and weight is not None:
            if weight.shape[1] == np.prod(shape):
                return FirstWeights(weight.detach().numpy().reshape(-1, *shape), name, convolution=False)
            break
    raise UsageError("the first layer of this network is neither a convolution of the image nor linear")
