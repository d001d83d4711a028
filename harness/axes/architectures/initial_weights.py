"""Initial weights: drawn in NumPy from a trial's own stream, so that all engines start from the same bits."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.rng import stream
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn

UNIFORM_FAN_IN = "uniform_fan_in"
"""The rule of an mlp that is given none."""
NORMAL = ("he_normal", "normal", "normal_fan_in")
"""Rules that draw normal numbers, which NumPy makes with the C library's exp and log."""
Fill: TypeAlias = "Callable[[Any, np.random.Generator, Collection[str]], None]"
"""A function that draws a module's weights from a generator, but those whose names are given."""


@dataclass(frozen=True)
class Layer:
    """One fully connected layer: weight (out, in) and bias (out,), as torch.nn.Linear has them."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def initial_layers(
    widths: Sequence[int], rng: np.random.Generator, rule: str = UNIFORM_FAN_IN
) -> list[Layer]:
    """Draw initial weights of an mlp with these widths (inputs, hidden .., classes), by a rule of RULES."""
    return [RULES[rule](rng, i, o) for i, o in itertools.pairwise(widths)]


def _uniform_fan_in(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw weights and biases uniformly within 1/sqrt(i): torch.nn.Linear's default distribution."""
    bound = inverse_root(i)
    return Layer(_uniform(rng, bound, (o, i)), _uniform(rng, bound, (o,)))


def _glorot_uniform(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw weights uniformly within sqrt(6 / (i + o)), biases 0 (Glorot and Bengio 2010; Keras' default)."""
    return Layer(_uniform(rng, math.sqrt(6 / (i + o)), (o, i)), np.zeros(o))


def _he_normal(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw normal weights of variance 2/i, biases 0 (He et al. 2015)."""
    return Layer(rng.standard_normal((o, i)) * math.sqrt(2 / i), np.zeros(o))


def _lecun_1998(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw weights and biases uniformly within 2.4/i (LeCun et al. 1998, appendix A)."""
    return Layer(_uniform(rng, 2.4 / i, (o, i)), _uniform(rng, 2.4 / i, (o,)))


def _normal(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw weights and biases as standard normal numbers (Nielsen 2015, chapter 1)."""
    return Layer(rng.standard_normal((o, i)), rng.standard_normal(o))


def _normal_fan_in(rng: np.random.Generator, i: int, o: int) -> Layer:
    """Draw normal weights of variance 1/i, and standard normal biases (Nielsen 2015, chapter 3)."""
    return Layer(rng.standard_normal((o, i)) * inverse_root(i), rng.standard_normal(o))


RULES: Mapping[str, Callable[[np.random.Generator, int, int], Layer]] = {
    UNIFORM_FAN_IN: _uniform_fan_in, "glorot_uniform": _glorot_uniform, "he_normal": _he_normal,
    "lecun_1998": _lecun_1998, "normal": _normal, "normal_fan_in": _normal_fan_in,
}  # fmt: skip
"""Values of the setting `initial_weights`: draws a layer of i inputs and o units."""


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw as rng.uniform(-bound, bound, shape), product and sum each rounded by itself.

    In NumPy's own C they are one rounding on processors for which it is built with fused operations.
    """
    drawn = rng.random(shape)
    drawn *= 2 * bound
    drawn += -bound
    return drawn


def inverse_root(n: int) -> float:
    """Return 1/sqrt(n), correctly rounded; C libraries differ in the last bit of n**-0.5.

    >>> inverse_root(4), inverse_root(784) == 1 / 28
    (0.5, True)
    """
    return math.isqrt((1 << 400) // n) / (1 << 200)


def initialise(network: nn.Module, seed: int) -> None:
    """Draw the initial weights of a network of any modules from a trial's seed, in place, in float64.

    Each has the distribution that PyTorch's class gives it. Linear layers, convolutions and embeddings are
    drawn in NumPy, each from a stream of its kind and of its number among those of its kind: networks that
    differ in modules of other kinds, such as norms, start from the same convolutions. Any other module's own
    `reset_parameters` is called, behind its parts', under a generator of its stream. What has no reset, and
    what the network's own code drew in a reset's place (`building`), stays as it was built.
    """
    from harness.axes.architectures.building import remade  # imports torch

    started = {module: remade(module) for module in network.modules()}
    network.to(torch.float64)
    counted: dict[str, int] = {}
    for module in _parts_first(network):
        kind, fill = _kind(module)
        if fill is None:
            continue
        number = counted[kind] = counted.get(kind, -1) + 1
        with torch.no_grad():
            fill(module, stream(seed, "weights", _number_of(kind), number), started[module])


def fan_in_draws(
    kind: str, number: int, shapes: Sequence[tuple[int, ...]], seed: int
) -> list[NDArray[np.float64]]:
    """Draw the weight, and the bias behind it, of a linear layer or a convolution, as `initialise` does.

    Args:
        kind: "Linear" or "Conv2d".
        number: its place among those of its kind.
        shapes: those of its parameters, the weight's (out, in, ..) first.
        seed: the trial's.
    """
    rng, bound = stream(seed, "weights", _number_of(kind), number), inverse_root(math.prod(shapes[0][1:]))
    return [_uniform(rng, bound, shape) for shape in shapes]


def _parts_first(module: nn.Module, seen: set[int] | None = None) -> list[nn.Module]:
    """List the modules of a network, each once and behind all of its parts."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return []
    seen.add(id(module))
    return [*(each for part in module.children() for each in _parts_first(part, seen)), module]


def _number_of(kind: str) -> int:
    """Give the number of a kind of modules among streams: of its name, so that it never changes."""
    return int.from_bytes(hashlib.sha256(kind.encode()).digest()[:4], "big")


def _kind(module: nn.Module) -> tuple[str, Fill | None]:
    """Return the kind of a module and the function that draws its weights; None where it has none."""
    from harness.axes.architectures.building import reset_of

    reset = reset_of(type(module))
    known: dict[Any, Fill] = {
        torch.nn.Linear.reset_parameters: _uniform_by_fan_in,
        torch.nn.Conv2d.reset_parameters: _uniform_by_fan_in,  # of all convolutions, also transposed
        torch.nn.Bilinear.reset_parameters: _uniform_by_fan_in,
        torch.nn.Embedding.reset_parameters: _normal_embedding,
        torch.nn.EmbeddingBag.reset_parameters: _normal_embedding,
    }
    # A person's subclass of a layer is of the layer's kind.
    kind = next(c.__name__ for c in type(module).__mro__ if c.__module__.startswith("torch.nn"))
    if reset in known:
        return kind, known[reset]
    return type(module).__name__, _own_reset if reset is not None else None


def _uniform_by_fan_in(module: nn.Module, rng: np.random.Generator, started: Collection[str]) -> None:
    """Fill weight and bias uniformly within 1/sqrt(fan_in), as PyTorch does in layers that multiply."""
    own = dict(module.named_parameters(recurse=False))
    if "weight" not in own:  # it is made of others, as by torch.nn.utils.parametrizations
        return
    shape = tuple(own["weight"].shape)
    bound = inverse_root(shape[1] if isinstance(module, torch.nn.Bilinear) else math.prod(shape[1:]))
    for name in ("weight", "bias"):
        if name in own:
            drawn = _uniform(rng, bound, tuple(own[name].shape))
            if name not in started:
                own[name].copy_(torch.from_numpy(drawn))


def _normal_embedding(module: Any, rng: np.random.Generator, started: Collection[str]) -> None:
    """Fill an embedding with standard normal numbers, and its padding with zeros."""
    if "weight" in started:
        return
    module.weight.copy_(torch.from_numpy(rng.standard_normal(tuple(module.weight.shape))))
    if module.padding_idx is not None:
        module.weight[module.padding_idx] = 0


def _own_reset(module: nn.Module, rng: np.random.Generator, started: Collection[str]) -> None:
    """Call a module's own reset under a generator of its own; the global ones are left as they were."""
    from harness.axes.architectures.building import reset_of

    reset = reset_of(type(module))
    if reset is None or (started and reset.__module__.startswith("torch.")):
        return
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**63)))
        reset(module)
