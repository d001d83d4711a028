"""Products of matrices on a CPU, by the library that is faster at them there: PyTorch's BLAS, or oneDNN.

PyTorch multiplies by MKL, which on some processors reaches half of what oneDNN does, and at some sizes it is
the other way round. Which one takes a class of products is measured once on a machine, and kept in the cache.
PyTorch hands products to oneDNN only where it is allowed a lower precision, of which oneDNN makes use on some
processors: there, float32 would not be float32, so the error is measured too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from harness.data import cache
from harness.system import files, machine
from harness.system.process_state import one_thread

Kind: TypeAlias = Literal["forward", "gradient", "update"]
"""A product of weights with images or activations; of a gradient with them; the latter, into the weights."""
Choice: TypeAlias = Mapping[str, bool]
"""Class of products, such as "forward, wide" -> whether they are oneDNN's."""
SMALLEST = 2**18
"""Multiplications of one matrix from which on it may be oneDNN's: below, the way to it takes as long."""
NARROW = 64
"""Largest batch of narrow products."""
SHAPES: Mapping[str, tuple[int, int, int, int]] = {
    "narrow": (1, 1024, 784, 32), "wide": (1, 1024, 784, 128),
    "narrow, batched": (8, 256, 256, 32), "wide, batched": (2, 512, 512, 128),
}  # fmt: skip
"""Sizes that stand for all: members, units, inputs, batch."""
CLASSES = tuple(f"{kind}, {size}" for kind in ("forward", "gradient", "update") for size in SHAPES)
EXACT = 1e-5
"""Largest error of float32, as a share of the largest value; a product in bfloat16 errs by 1e-3."""
GAIN = 0.95
"""Share of MKL's time that oneDNN takes at most where it is chosen: less of a gain is noise."""
ROUNDS, REPEATS = 5, 2
_ALONE = threading.RLock()
"""Held by every product: the permission is the whole process's, and must be no other thread's product's."""
if hasattr(os, "register_at_fork"):  # a process that is forked has neither a held lock nor the permission
    os.register_at_fork(before=_ALONE.acquire, after_in_parent=_ALONE.release, after_in_child=_ALONE.release)


def multiply(kind: Kind, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply matrices (m, n) and (n, p), or members' (K, m, n) and (K, n, p)."""
    product: Callable[..., Tensor] = torch.bmm if a.ndim == 3 else torch.mm
    return _called(kind, a, b, lambda: product(a, b, out=out))


def accumulate(weights: Tensor, a: Tensor, b: Tensor, factor: float) -> Tensor:
    """Add `factor` times a product to weights, which are changed; shapes as of `multiply`."""
    add = torch.Tensor.baddbmm_ if a.ndim == 3 else torch.Tensor.addmm_
    return _called("update", a, b, lambda: add(weights, a, b, alpha=factor))


def identity() -> str:
    """Return a text of what was chosen on this machine, which decides the bits of products."""
    return json.dumps(choice(), sort_keys=True)


@functools.cache
def choice() -> Choice:
    """Read what was measured on this machine, or measure it; empty where PyTorch has no oneDNN."""
    if _setting() is None:
        return {}
    path = _place()
    if kept := _kept(path):
        return kept
    found = _measured()
    return files.keep_first(path, json.dumps(found, indent=1), _kept) or found


def _measured() -> Choice:
    """Measure every class in one thread, as runs train."""
    with one_thread():
        return {name: _is_better(*name.split(", ", 1)) for name in CLASSES}


def _place() -> Path:
    """Return the file of the choice, named by all that a choice depends on."""
    facts = [torch.__version__, torch.backends.cpu.get_cpu_capability(), machine.processor(), str(SHAPES)]
    digest = hashlib.sha256("\0".join([*facts, *machine.tuning()]).encode()).hexdigest()[:16]
    return cache.cache_root() / "kernels" / f"products-{digest}.json"


def _kept(path: Path) -> Choice | None:
    """Read a choice that was kept; None where there is none, or a damaged one."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and set(content) == set(CLASSES):
            return {name: content[name] is True for name in CLASSES}
    return None


def _called(kind: Kind, a: Tensor, b: Tensor, product: Callable[[], Tensor]) -> Tensor:
    """Multiply by the library that was chosen; float64 is for checks, and stays PyTorch's."""
    if not a.is_cpu or a.dtype != torch.float32:
        return product()
    if a.shape[-2] * a.shape[-1] * b.shape[-1] >= SMALLEST:
        batch = b.shape[-1] if kind == "forward" else a.shape[-1]
        size = f"{'narrow' if batch <= NARROW else 'wide'}{', batched' if a.ndim == 3 else ''}"
        if choice().get(f"{kind}, {size}"):
            return _by_onednn(product)
    with _ALONE:
        return product()


def _setting() -> Any:
    """Return the setting that lets oneDNN multiply; None where PyTorch has no oneDNN, or is too old."""
    mkldnn: Any = torch.backends.mkldnn
    return getattr(mkldnn, "matmul", None) if mkldnn.is_available() else None


def _by_onednn(product: Callable[[], Tensor]) -> Tensor:
    """Multiply with the permission by which PyTorch hands a product to oneDNN."""
    setting = _setting()
    with _ALONE:
        before, setting.fp32_precision = setting.fp32_precision, "bf16"
        try:
            return product()
        finally:
            setting.fp32_precision = before


def _is_better(kind: str, size: str) -> bool:
    """Measure whether oneDNN is exact at a class of products, and takes clearly less processor time."""
    product, exact = _example(kind, size)
    if _error(_by_onednn(product), exact) > EXACT:
        return False
    calls: list[Callable[[], Tensor]] = [product, lambda: _by_onednn(product)]
    least = [float("inf")] * 2
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            start = time.thread_time()
            for _ in range(REPEATS):
                call()
            least[i] = min(least[i], time.thread_time() - start)
    return least[1] < GAIN * least[0]


def _error(result: Tensor, exact: Tensor) -> float:
    return float((result.double() - exact).abs().max() / exact.abs().max())


def _example(kind: str, size: str) -> tuple[Callable[[], Tensor], Tensor]:
    """Make a product of made-up numbers, and its result in float64."""
    members, units, inputs, batch = SHAPES[size]
    numbers = torch.Generator().manual_seed(0)
    shapes = (units, inputs), (batch, inputs), (units, batch)
    draws = (torch.rand((members, *shape), generator=numbers, dtype=torch.float32) - 0.5 for shape in shapes)
    weights, x, grad = draws if members > 1 else (draw[0] for draw in draws)
    product: Callable[..., Tensor] = torch.bmm if members > 1 else torch.mm
    if kind == "forward":
        return lambda: product(weights, x.mT), weights.double() @ x.mT.double()
    exact, out = grad.double() @ x.double(), torch.empty_like(weights)
    if kind == "gradient":
        return lambda: product(grad, x, out=out), exact
    add = torch.Tensor.baddbmm_ if members > 1 else torch.Tensor.addmm_
    return lambda: add(out.copy_(weights), grad, x, alpha=-1.0), weights.double() - exact
