"""Types of tensors, and tensors of a checkpoint put back beside what they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor


def torch_dtype(dtype: DTypeLike) -> torch.dtype:
    """Return PyTorch's type for a NumPy float type."""
    return torch.from_numpy(np.empty(0, dtype)).dtype


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return the type that settings and sums are kept in: float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def joined(pieces: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Join tensors along their first dimension; a single one is returned as it is."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def restored(array: NDArray[Any], like: Tensor) -> Tensor:
    """Return an array of a checkpoint as a CPU tensor, with the strides of `like` if it has its shape."""
    tensor = torch.from_numpy(array)
    if tensor.shape != like.shape:
        return tensor.clone()
    # Memory of torch's own, so that kernels find it aligned as they did before.
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def restored_value(value: Any, like: Tensor) -> Any:
    """Return a value of an optimizer's state for the parameter `like`: an array on its device."""
    return restored(value, like).to(like.device) if isinstance(value, np.ndarray) else value
