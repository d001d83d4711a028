"""Origins: the version, device and libraries that made a state; with the same ones, training is the same."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

from harness.axes.own_networks import is_own
from harness.engines import kernels
from harness.engines.compiled import engine as compiled
from harness.lowering import compiler
from harness.planning.stack import Engine, Stack
from harness.study.trials import SEMANTICS

FORMAT = 3
"""Version of the files and of the engines' states: raise it when either changes."""
LIBRARIES = {"stacked": ("torch", "numpy"), "loop": ("torch", "numpy"), "numpy": ("numpy",)}


@functools.cache
def _libraries(engine: str) -> str:
    names = LIBRARIES.get(engine, ("numpy",))  # a person's own network is NumPy's
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _pytorchs() -> str:
    """Name what decides the bits of PyTorch's stacks: the kernels of layer one, the library of products."""
    from harness.engines.stacked import products

    return f"{kernels.identity() or 'PyTorch'}, products by {products.identity()}"


def _on_gpu() -> str:
    """Name what decides the bits of stacks on a GPU, as far as it is known before they train.

    A stack that the resident kernel cannot train takes CUDA graphs, here as there.
    """
    if compiler.switched_off():
        return "PyTorch, CUDA graphs"
    from harness.engines.resident import nvrtc

    return f"PyTorch, resident kernel {nvrtc.identity()}"


@dataclass(frozen=True)
class Origin:
    """The version, device and libraries that made a checkpoint; with the same ones, training is the same."""

    format: int
    semantics: int
    libraries: str
    engine: Engine
    device: str
    dtype: str
    kernels: str

    @classmethod
    def here(cls, stack: Stack, device: str, metrics: Sequence[str] = ()) -> Origin:
        """Describe this run's training of a stack; float32, as in all runs."""
        engine = stack.engine
        kind = "cpu" if engine == "numpy" or is_own(engine) else device.partition(":")[0]
        identity = ""
        if engine == "stacked" and kind == "cpu":
            identity = compiled.identity(stack.trials, kind, metrics) or _pytorchs()
        elif engine == "stacked" and kind == "cuda":
            identity = _on_gpu()
        return cls(FORMAT, SEMANTICS, _libraries(engine), engine, kind, "float32", identity or "PyTorch")

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Parse JSON; entries that another format lacks are None."""
        entries = json.loads(text)
        return cls(entries["format"], *(entries.get(entry.name) for entry in fields(cls)[1:]))

    def on_kernels_of(self, other: Self) -> Self:
        """Return this origin with the device and kernels of another one."""
        return replace(self, device=other.device, kernels=other.kernels)

    def unlike(self, here: Origin) -> str:
        """List the differences in words; empty if there are none."""
        pairs = ((name, value, getattr(here, name)) for name, value in asdict(self).items())
        return "; ".join(f"{name} {there} there, {ours} here" for name, there, ours in pairs if there != ours)
