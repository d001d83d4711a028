"""The network that a person's own should be: loss and gradients by the harness's formulas, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.axes import formulas
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.check.calling import Array
from harness.check.loss_cases import default_settings
from harness.errors import ComponentError, UsageError, did_you_mean
from harness.settings import DEFAULTS

SETTINGS = ("hidden", "activation", "head", "loss")


@dataclass(frozen=True)
class ReferenceNetwork:
    """A multilayer perceptron: widths of its layers, activation, head and loss, by a study file's names."""

    widths: tuple[int, ...]
    activation: str
    head: str
    loss: str
    loss_settings: Mapping[str, float]

    def __str__(self) -> str:
        widths = "-".join(map(str, self.widths))
        return f"{widths}, {f'{self.activation}, ' if len(self.widths) > 2 else ''}{self.head}, {self.loss}"

    def loss_and_gradients(self, layers: Sequence[OwnLayer], x: Array, t: Array) -> tuple[float, list[Array]]:
        """Compute the mean loss of a batch x (B, D) with targets t (B, C), and each array's gradient.

        The gradients are in the order of `arrays`.
        """
        activation, head = formulas.ACTIVATIONS[self.activation], formulas.HEADS[self.head]
        loss = formulas.LOSSES[self.loss][heads[self.head].kind]
        y, z = [x], [layers[0].apply(x)]
        for layer in layers[1:]:
            y.append(activation.forward(z[-1]))
            z.append(layer.apply(y[-1]))
        f = head.forward(z[-1])
        d: Array = head.backward(loss.backward(f, t, **self.loss_settings), f) / len(x)
        gradients: list[Array] = []
        for i in reversed(range(len(layers))):
            gradients = [*layers[i].gradients(d, y[i]), *gradients]
            if i > 0:
                d = activation.backward(d @ layers[i].matrix, z[i - 1], y[i])
        return float(loss.forward(f, t, **self.loss_settings).mean()), gradients


@dataclass(frozen=True, eq=False)
class OwnLayer:
    """A layer's weights, (out, in) or turned round as (in, out), and its bias, if it has one."""

    weight: Array
    bias: Array | None
    turned: bool

    @property
    def matrix(self) -> Array:
        """The weights (out, in)."""
        return self.weight.T if self.turned else self.weight

    def apply(self, y: Array) -> Array:
        """Compute its output (B, out) of its input (B, in)."""
        z: Array = y @ self.matrix.T
        return z if self.bias is None else z + self.bias.ravel()

    def gradients(self, d: Array, y: Array) -> list[Array]:
        """Compute its gradients, of the shapes of its arrays, of the loss's gradient d at its output."""
        weight = y.T @ d if self.turned else d.T @ y
        return [weight] if self.bias is None else [weight, d.sum(0).reshape(self.bias.shape)]

    def arrays(self) -> list[Array]:
        """List its arrays, in the order of the gradients."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]


def architecture(like: Mapping[str, Any], inputs: int, classes: int) -> ReferenceNetwork:
    """Read like=dict(hidden=[50], activation="relu", ..); raise UsageError for what is unknown."""
    if not isinstance(like, Mapping):
        raise UsageError(
            f"like = {like!r:.80}: allowed: dict(hidden=[50], activation='relu', head='softmax')"
        )
    loss = str(like.get("loss", DEFAULTS["loss"]))
    head = str(like.get("head", DEFAULTS["head"]))
    known: dict[str, Mapping[str, object]] = {
        "activation": formulas.ACTIVATIONS,
        "head": formulas.HEADS,
        "loss": formulas.LOSSES,
    }
    for axis, table in known.items():
        name = like.get(axis)
        if name is not None and name not in table:
            raise UsageError(f"like = {{{axis!r}: {name!r}}}: {did_you_mean(str(name), table)}")
    allowed = [*SETTINGS, *losses[loss].settings]
    unknown = [key for key in like if key not in allowed]
    if unknown:
        raise UsageError(f"like = {{{unknown[0]!r}: ..}}: {did_you_mean(str(unknown[0]), allowed)}")
    if heads[head].kind not in formulas.LOSSES[loss]:
        raise UsageError(
            f"like: loss {loss!r} does not take the {heads[head].kind} of head {head!r}; it takes "
            f"{', '.join(formulas.LOSSES[loss])}"
        )
    hidden = like.get("hidden", [])
    if not isinstance(hidden, (list, tuple)) or not all(isinstance(n, int) and n > 0 for n in hidden):
        raise UsageError(f"like = {{'hidden': {hidden!r:.80}}}: allowed: a list of widths, [50] or []")
    activation = str(like.get("activation", "identity" if not hidden else "relu"))
    settings = default_settings(loss, {key: like[key] for key in losses[loss].settings if key in like})
    return ReferenceNetwork((inputs, *hidden, classes), activation, head, loss, settings)


def layouts(widths: Sequence[int], arrays: Sequence[Array]) -> Iterator[list[OwnLayer]]:
    """Yield the ways in which arrays are layers of these widths: square weights may be turned round or not.

    Raises:
        ComponentError: their shapes fit no layers.
    """
    sizes = list(itertools.pairwise(widths))
    matrices = [array for array in arrays if array.ndim == 2 and min(array.shape) > 1]
    biases: list[Array | None] = [a for a in arrays if not any(a is matrix for matrix in matrices)]
    shapes = ", ".join(str(array.shape) for array in arrays)
    wanted = "-".join(map(str, widths))
    if len(matrices) != len(sizes) or len(biases) not in (0, len(sizes)):
        raise ComponentError(
            f"like says {wanted}, which is {len(sizes)} matrices, each with a bias or none; the parameters "
            f"have shapes {shapes}"
        )
    ways = []
    for (n, m), matrix, bias in zip(sizes, matrices, biases or [None] * len(sizes), strict=True):
        turned = [way for way, shape in ((False, (m, n)), (True, (n, m))) if matrix.shape == shape]
        if not turned or (bias is not None and bias.size != m):
            got = f"{matrix.shape}{'' if bias is None else f' and bias {bias.shape}'}"
            raise ComponentError(
                f"like says {wanted}: a layer from {n} to {m} has weights ({m}, {n}) or ({n}, {m}) and {m} "
                f"biases; the parameters have {got}"
            )
        ways.append([OwnLayer(matrix, bias, way) for way in turned])
    yield from (list(way) for way in itertools.product(*ways))


def others(given: ReferenceNetwork) -> Iterator[ReferenceNetwork]:
    """Yield the networks of the same widths with one thing else: activation, head or loss."""
    for activation in formulas.ACTIVATIONS:
        yield ReferenceNetwork(given.widths, activation, given.head, given.loss, given.loss_settings)
    for head, loss in itertools.product(formulas.HEADS, formulas.LOSSES):
        if heads[head].kind in formulas.LOSSES[loss]:
            yield ReferenceNetwork(given.widths, given.activation, head, loss, default_settings(loss, {}))
