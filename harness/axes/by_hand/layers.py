"""A layer, and the simplest of them: linear, activation, flattening, dropout.

In all files here x is a layer's input, y its output, and g the gradient of the loss at y. A backward pass
gives the gradient at x by the chain rule, and notes those of the layer's own parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.axes import formulas
from harness.axes.formulas import Array, Formula

Draw = Callable[[int, int, int], Array]
"""(step, values of a sample, samples) -> uniform numbers (values, samples), of one dropout layer."""


class LayerByHand(ABC):
    """One layer of a network: `forward`, and `backward`, which differentiates the last forward pass.

    `parameters` are trained, and `gradients` those of the last backward pass, by the same names; `buffers`
    are kept with the parameters, but not trained. `inside` are the layers that a layer is made of. All have
    the names of PyTorch's state_dict. Parameters are changed in place.
    """

    kind = ""
    """PyTorch's class of the same name of weights; "" of a layer without any."""

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.buffers: dict[str, NDArray[Any]] = {}
        self.inside: dict[str, LayerByHand] = {}

    @abstractmethod
    def forward(self, x: Array, step: int | None = None) -> Array:
        """Compute y from x; `step` counts from 1 while training, and is None in inference mode."""

    @abstractmethod
    def backward(self, g: Array) -> Array:
        """Return the gradient at x, given the gradient at y, and note the parameters' own."""

    def operations(self) -> int:
        """Count the multiplications and additions in the last forward pass's product; 0 without one."""
        return 0

    def walk(self, prefix: str = "") -> Iterator[tuple[str, LayerByHand]]:
        """Yield this layer and all layers inside, each with the prefix of its names, in PyTorch's order."""
        yield prefix, self
        for name, layer in self.inside.items():
            yield from layer.walk(f"{prefix}{name}.")

    def named_parameters(self) -> dict[str, Array]:
        """Return the trained arrays of all layers by name: the very ones."""
        return {prefix + name: array for prefix, one in self.walk() for name, array in one.parameters.items()}

    def named_gradients(self) -> dict[str, Array]:
        """Return the gradients of the last backward pass, by the parameters' names and in their order."""
        return {prefix + name: one.gradients[name] for prefix, one in self.walk() for name in one.parameters}

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return parameters and buffers of all layers by name: the very arrays."""
        return {
            prefix + name: array
            for prefix, one in self.walk()
            for name, array in (one.parameters | one.buffers).items()
        }


def zeros(*shape: int) -> Array:
    """Make zeros; of more than memory holds, such as have a shape alone, and cannot be changed."""
    try:
        return np.zeros(shape)
    except MemoryError:
        return np.broadcast_to(np.zeros(()), shape)


class LinearLayer(LayerByHand):
    """y = x W^T + b for x (B, in), weight W (out, in) and bias b (out,)."""

    kind = "Linear"

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.parameters = {"weight": zeros(outputs, inputs)}
        if bias:
            self.parameters["bias"] = np.zeros(outputs)

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y (B, out)."""
        self.x = x
        y: Array = x @ self.parameters["weight"].T
        return y + self.parameters["bias"] if "bias" in self.parameters else y

    def backward(self, g: Array) -> Array:
        """dW = g^T x, db = the sum of g over the batch, and g W at x."""
        self.gradients = {"weight": g.T @ self.x}
        if "bias" in self.parameters:
            self.gradients["bias"] = g.sum(0)
        return np.asarray(g @ self.parameters["weight"])

    def operations(self) -> int:
        """Two for each weight and sample."""
        return 2 * len(self.x) * self.parameters["weight"].size


class ActivationLayer(LayerByHand):
    """y = phi(x), element by element, for x of any shape."""

    def __init__(self, formula: Formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Compute y, of x's shape."""
        self.x, self.y = x, self.formula.forward(x)
        return self.y

    def backward(self, g: Array) -> Array:
        """g times phi'(x)."""
        return self.formula.backward(g, self.x, self.y)


class IdentityLayer(LayerByHand):
    """y = x."""

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Give x."""
        return x

    def backward(self, g: Array) -> Array:
        """Give g."""
        return g


class FlattenLayer(LayerByHand):
    """(B, C, H, W) becomes (B, C * H * W): the same numbers in the same order."""

    def forward(self, x: Array, step: int | None = None) -> Array:  # noqa: ARG002 (as LayerByHand's)
        """Give each sample's values a single axis."""
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, g: Array) -> Array:
        """Give the gradient the shape that x had."""
        return g.reshape(self.shape)


class DropoutLayer(LayerByHand):
    """y = m x with a mask m of zeros and 1 / (1 - p) while training; y = x in inference mode."""

    def __init__(self, p: float, draw: Draw | None) -> None:
        super().__init__()
        self.p, self.draw = p, draw

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Leave out some values of each sample."""
        self.mask = np.ones_like(x[:0])
        if step is None or self.draw is None:
            return x
        u = self.draw(step, x[0].size, len(x)).T.reshape(x.shape)
        self.mask = formulas.dropout_mask(u, self.p, x.dtype)
        return x * self.mask

    def backward(self, g: Array) -> Array:
        """m g: what was left out gets no gradient."""
        return g * self.mask
