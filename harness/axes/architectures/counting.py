"""Operations of a network: the multiplications and additions in its products, for one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

UNKNOWN = frozenset({
    "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    "tensordot", "cdist", "bilinear", "chain_matmul", "multi_dot", "outer", "inner",
})  # fmt: skip
"""Functions with products that are not counted here."""


def operations(network: nn.Module, shape: Sequence[int]) -> int | None:
    """Count the operations of a forward pass of one image of a shape, in inference mode.

    A multiplication and an addition are two operations; biases, activations, norms and pooling are left out,
    as is usual. None where the network has products that are not known here, or does not run on one image.
    """
    first = next(network.parameters(), torch.zeros(()))
    training = network.training
    network.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad(), _Counting() as counting:
            network(torch.zeros(1, *shape, dtype=first.dtype))
    except Exception:  # noqa: BLE001 (a person's network may raise anything, and is checked elsewhere)
        return None
    finally:
        network.train(training)
    return None if counting.unknown else counting.total


class _Counting(TorchFunctionMode):
    """Adds up the operations of the functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.unknown = 0, False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and count its operations."""
        result = func(*args, **(kwargs or {}))
        name = str(getattr(func, "__name__", ""))
        if name in COUNTS:
            self.total += COUNTS[name](result, *args, **(kwargs or {}))
        self.unknown = self.unknown or name in UNKNOWN
        return result


def _linear(result: Tensor, x: Tensor, *_: Any, **__: Any) -> int:
    return 2 * result.numel() * x.shape[-1]


def _added(result: Tensor, _: Any, x: Tensor, *__: Any, **___: Any) -> int:
    """Count a product that is added to the first argument."""
    return 2 * result.numel() * x.shape[-1]


def _reflected(result: Tensor, _: Any, x: Tensor) -> int:
    """Count x @ self."""
    return 2 * result.numel() * x.shape[-1]


def _convolution(result: Tensor, _: Tensor, weight: Tensor, *__: Any, **___: Any) -> int:
    return 2 * result.numel() * math.prod(weight.shape[1:])


def _transposed(_: Tensor, x: Tensor, weight: Tensor, *__: Any, **___: Any) -> int:
    return 2 * x.numel() * math.prod(weight.shape[1:])


def _einsum(_: Tensor, equation: Any, *operands: Any) -> int:
    """Count a sum over products of two operands: all combinations of all indices."""
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    names = str(equation).replace(" ", "").partition("->")[0].split(",")
    if len(given) < 2:
        return 0
    if len(given) > 2 or "." in str(equation):
        raise NotImplementedError(f"einsum {equation}")
    sizes: dict[str, int] = {}
    for letters, x in zip(names, given, strict=True):
        sizes |= dict(zip(letters, x.shape, strict=True))
    return 2 * math.prod(sizes.values())


def _attention(_: Tensor, query: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any) -> int:
    """Count scaled dot products (.., L, E) of queries and (.., S, E) of keys, and their sums of values."""
    heads = math.prod(query.shape[:-2]) * query.shape[-2] * key.shape[-2]
    return 2 * heads * (query.shape[-1] + value.shape[-1])


def _heads(_: Any, query: Tensor, key: Tensor, value: Tensor, width: int, *__: Any, **___: Any) -> int:
    """Count attention of heads with its linear layers: queries (L, B, E), keys and values (S, B, E)."""
    batch = query.numel() // (len(query) * query.shape[-1])
    projected = len(query) * width * (query.shape[-1] + width) + len(key) * width * (
        key.shape[-1] + value.shape[-1]
    )
    return 2 * batch * (projected + 2 * len(query) * len(key) * width)


COUNTS: dict[str, Callable[..., int]] = {
    "linear": _linear, "matmul": _linear, "mm": _linear, "bmm": _linear, "mv": _linear, "__matmul__": _linear,
    "__rmatmul__": _reflected, "addmm": _added, "baddbmm": _added, "addbmm": _added, "einsum": _einsum,
    "conv1d": _convolution, "conv2d": _convolution, "conv3d": _convolution,
    "conv_transpose1d": _transposed, "conv_transpose2d": _transposed, "conv_transpose3d": _transposed,
    functional.scaled_dot_product_attention.__name__: _attention, "multi_head_attention_forward": _heads,
}  # fmt: skip
"""Operations of a function's call, by its name: of its result and its arguments."""
