"""The machine's best float32 GEMM rate, of one single-threaded process: over shapes and libraries."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

SECONDS = 0.08  # a try
SHAPES = ((32, 784, 1024), (128, 784, 1024), (512, 512, 512), (1024, 1024, 1024), (2048, 784, 512))


def best() -> tuple[float, str]:
    """GFLOP/s, and which product it was."""
    torch.set_num_threads(1)
    rates = {
        f"{name} {m}x{k}x{n}": _rate(product, m, k, n)
        for name, product in _products().items()
        for m, k, n in SHAPES
    }
    fastest = max(rates, key=rates.__getitem__)
    return rates[fastest], fastest


def _products() -> dict[str, Callable[[torch.Tensor, torch.Tensor], object]]:
    """Libraries that multiply a (m, k) by the transpose of b (n, k), all exact in float32."""
    found: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
        "torch.mm": lambda a, b: a @ b.T,
        "numpy": lambda a, b: a.numpy() @ b.numpy().T,
    }
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        found["oneDNN"] = lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return found


def _rate(product: Callable[[torch.Tensor, torch.Tensor], object], m: int, k: int, n: int) -> float:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((rows, k), np.float32)) for rows in (m, n))
    product(a, b)
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        before = time.perf_counter()
        product(a, b)
        fastest = min(fastest, time.perf_counter() - before)
    return 2e-9 * m * k * n / fastest
