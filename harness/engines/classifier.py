"""The network of a trial as a module: built and started by its settings and seed, and its weights by name.

It is the same in all engines that train in PyTorch, in exports, and in loops of a person's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.axes.activations import activations
from harness.axes.architectures import MLPS, Shape, architectures, initial_layers, initialise
from harness.axes.heads import heads
from harness.engines.outcome import Floats
from harness.errors import UsageError
from harness.rng import stream
from harness.study.trials import Trial


class Function(nn.Module):
    """A registered function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Return the function's name, for print(model)."""
        return str(getattr(self.function, "__name__", ""))


class Classifier(nn.Module):
    """A trial's network: `net` gives logits (B, C), `head` the output (B, C).

    Its state_dict has the names that `net` gives its weights, for an mlp those of a plain
    torch.nn.Sequential, as an exported model.pt has them. A state_dict of an earlier version, with "net."
    before its names, is loaded too.
    """

    def __init__(self, trial: Trial, shape: Shape, classes: int) -> None:
        """Build the network of a trial for images of a shape (C, H, W)."""
        super().__init__()
        settings, inputs = trial.arm.settings, math.prod(shape)
        architecture = architectures[settings.architecture]
        activation = activations[settings.activation]
        # torch's initialisers know only the global generator: it is forked, and left as it was.
        with torch.random.fork_rng():
            torch.manual_seed(int(stream(trial.start_seed, "weights").integers(2**63)))
            self.net = architecture.network(shape, classes, lambda: Function(activation.forward), settings)
        self.inputs, self.shape = inputs, shape if architecture.takes_images else None
        self.output = heads[settings.head]
        self.head = Function(self.output.forward)
        nn.Module.register_load_state_dict_pre_hook(self, _under_net)
        if architecture.name in MLPS:
            self._start(trial, [inputs, *settings.hidden, classes])
        else:
            initialise(self.net, trial.start_seed)

    @torch.no_grad()
    def _start(self, trial: Trial, widths: Sequence[int]) -> None:
        linear = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        rule = trial.arm.settings.initial_weights
        layers = initial_layers(widths, stream(trial.start_seed, "weights"), rule)
        self.net.to(torch.float64)
        for module, layer in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(layer.weight))
            if module.bias is not None:  # as before batch norm
                module.bias.copy_(torch.from_numpy(layer.bias))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of `net`, under its own names; arguments as torch.nn.Module's."""
        return self.net.state_dict(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output (B, C) for pixels (B, D); raise UsageError for what are none."""
        try:
            output: Tensor = self.head(self.net(x if self.shape is None else x.view(-1, *self.shape)))
        except (AttributeError, RuntimeError, TypeError) as error:
            if fault := self._fault(x):
                raise UsageError(fault) from error
            raise
        return output

    def _fault(self, x: Any) -> str:
        """Say why these are no pixels for the network; empty where they are."""
        if not isinstance(x, Tensor):
            return f"the network got {type(x).__name__}; allowed: a tensor of pixels (B, {self.inputs})"
        fits = x.dim() == 2 and x.shape[1] == self.inputs
        dtypes = {parameter.dtype for parameter in self.parameters()}
        if fits and x.dtype in dtypes:
            return ""
        wanted = str(next(iter(dtypes), torch.float32)).removeprefix("torch.")
        remedies = [] if fits else ["x.flatten(1) makes rows of images"]
        if not x.is_floating_point():
            remedies.append("harness.split_dataset gives pixels in floats")
        return (
            f"the network got {str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}; "
            f"{'; '.join([f'allowed: {wanted} pixels (B, {self.inputs})', *remedies])}"
        )


def _under_net(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename, in place, the entries of a Classifier's state_dict to where its weights are: below `net`."""
    expected = dict(model.net.state_dict()) if isinstance(model.net, nn.Module) else {}
    names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    if set(names) == {f"net.{name}" for name in expected}:
        return
    for name in names:
        state[f"{prefix}net.{name}"] = state.pop(prefix + name)


def weights(model: Classifier) -> dict[str, Floats]:
    """Return the weights under the names of `weight_names`."""
    state = model.net.state_dict()
    return {name: state[own].cpu().numpy() for name, own in weight_names(model.net).items()}


def weight_names(net: nn.Module) -> dict[str, str]:
    """Map the names of kept weights to a network's own: by layer where all are linear, else these themselves.

    All engines name the layers of an mlp alike, whatever is between them.
    """
    state = net.state_dict()
    linear = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    names = {
        f"{i}.{kind}": f"{layer}.{kind}".removeprefix(".")
        for i, layer in enumerate(linear)
        for kind in ("weight", "bias")
    }
    return names if set(names.values()) == set(state) else {name: name for name in state}


@torch.no_grad()
def load_weights(model: Classifier, named: Mapping[str, Floats]) -> None:
    """Load weights that `weights` took; raise UsageError if names or shapes are another network's."""
    state, names = dict(model.net.state_dict()), weight_names(model.net)
    shapes = {name: tuple(state[names[name]].shape) for name in names}
    if shapes != {name: array.shape for name, array in named.items()}:
        raise UsageError(
            f"the weights are another network's: {shapes_in_words({n: a.shape for n, a in named.items()})}; "
            f"this network has {shapes_in_words(shapes)}"
        )
    # np.array: a member's number of batches, taken out of a stack's array, is a NumPy scalar
    copies = {names[name]: torch.from_numpy(np.array(array)) for name, array in named.items()}
    model.net.load_state_dict(copies)


def shapes_in_words(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """List names and shapes, as for an error."""
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
