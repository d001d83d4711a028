"""Options of runs and searches: the engine, the devices, the worker processes, and the checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from harness.axes import own_networks
from harness.data.arm_settings import once_an_arm
from harness.errors import MachineError, UsageError
from harness.lowering.builds import Bits, named
from harness.planning.shards import Shard
from harness.planning.stack import Engine, Stack, any_member_bytes, stack_bytes
from harness.results.checkpoints import EVERY, Cadence
from harness.system import resources
from harness.training.progress import Display

GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")  # NVIDIA's, Jetson's, WSL's and AMD's, in /dev


class MachineKeywords(TypedDict, total=False):
    """Keywords of `harness.run` and `harness.search`: fields of RunOptions."""

    engine: Engine
    device: str
    workers: int | None
    bits: Bits
    cluster: str


class RunKeywords(MachineKeywords, total=False):
    """Keywords of `harness.run`: fields of RunOptions."""

    checkpoint_every: str
    retrain: bool
    display: Display | None
    shard: str


@dataclass(frozen=True)
class RunOptions:
    """The options of a run, for all of its phases.

    Attributes:
        engine: the engine that trains the trials: stacked, loop, or numpy; or a person's own network, a
            file "my_network.py" or a class (`harness.axes.own_networks`).
        device: auto (a GPU if there is one), cpu, cuda, or mps.
        workers: worker processes; 1 trains in this process. One a core, or one a GPU, if not given.
        checkpoint_every: how often a stack is kept, to be gone on from after a kill: "60 seconds",
            "5 epochs", or "never".
        retrain: train all trials anew, although they are finished: where something has changed that their
            ids do not tell. The old results stay until the new ones of their stack are written. A run that
            is stopped goes on without it.
        bits: "native", as fast as this processor allows; or "portable", the same on every x86-64 and AArch64
            processor to the last bit, by the stacked engine on a CPU, compiled code alone.
        cluster: the Ray cluster that trains: "auto", "local:4", "HOST:PORT" or "ray://HOST:PORT"
            (`harness.training.cluster`); "": this machine's own processes. `workers` are then the most
            actors that train at once.
        display: a context manager made from a Progress, which changes while trials are trained.
        shard: "3/16": the third of sixteen shares of the trials (`harness.planning.shards`); "": all.
    """

    engine: Engine = "stacked"
    device: str = "auto"
    workers: int | None = None
    checkpoint_every: str = EVERY
    retrain: bool = False
    display: Display | None = None
    bits: Bits = "native"
    cluster: str = ""
    shard: str = ""

    def __post_init__(self) -> None:
        named(self.bits)
        _ = self.share
        object.__setattr__(self, "engine", own_networks.named(self.engine))
        if self.bits == "portable" and self.engine != "stacked":
            raise UsageError(
                f"--bits portable with --engine {self.engine}: its bits depend on the processor. Allowed: "
                "--engine stacked, or --bits native"
            )
        if self.bits == "portable" and self.device not in {"auto", "cpu"}:
            raise UsageError(
                f"--bits portable with --device {self.device}: its bits are its own. Allowed: --device auto "
                "or cpu, which both take the CPU; or --bits native"
            )

    @property
    def share(self) -> Shard | None:
        """The shard to train; None for all trials."""
        return Shard.of(self.shard) if self.shard else None

    @property
    def cadence(self) -> Cadence:
        """The interval between checkpoints; raises UsageError where the option cannot be read."""
        return Cadence.of(self.checkpoint_every)

    def devices(self) -> list[str]:
        """Return the devices to train on: all GPUs for cuda, one name otherwise.

        Raises UsageError if the engine does not compute there, MachineError if the machine has none.
        """
        device, engine = self.device, self.engine
        in_numpy = engine == "numpy" or own_networks.is_own(engine)
        if in_numpy and device not in {"auto", "cpu"}:
            named = "the numpy engine" if engine == "numpy" else "a network of your own in NumPy"
            raise UsageError(f"device {device!r}: {named} computes on the CPU. Allowed: auto or cpu.")
        on_cpu = device == "cpu" or in_numpy or self.bits == "portable"
        if self.cluster and not on_cpu:
            return self._on_nodes()
        if on_cpu or (device == "auto" and not _may_have_gpu()):
            return ["cpu"]
        import torch

        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        if device == "auto":
            return gpus or ["cpu"]
        if device == "cuda" and gpus:
            return gpus
        if device == "mps" and torch.backends.mps.is_available():
            return ["mps"]
        raise MachineError(
            f"device {device!r}: PyTorch {torch.__version__} finds none here. Allowed: auto or cpu."
        )

    def processes(self, devices: Sequence[str]) -> int:
        """Return how many processes train: as given; else one a GPU, or one a core."""
        if self.cluster:
            from harness.training.cluster import connection

            places = connection.current().places(devices[0])
            return max(1, min(places, self.workers or places))
        return self.workers or (len(devices) if devices[0] != "cpu" else resources.cores())

    def _on_nodes(self) -> list[str]:
        from harness.training.cluster import connection

        if self.device == "mps":
            raise UsageError(
                "--device mps with --cluster: nodes train on CPUs or CUDA GPUs. Allowed: auto, cpu or cuda"
            )
        return connection.current().devices(self.device)


def _may_have_gpu() -> bool:
    """Return False if torch surely has no GPU: to ask torch itself costs its import, a second or two."""
    return sys.platform != "linux" or any(next(Path("/dev").glob(name), None) for name in GPU_FILES)


def affordable(count: int, stacks: Sequence[Stack]) -> int:
    """Return as many workers, up to `count`, as memory allows, each with the largest of the stacks."""
    left = resources.memory_left()
    if left is None:
        return count
    of_member = once_an_arm(any_member_bytes)
    largest = max((stack_bytes(stack, of_member) for stack in stacks), default=0)
    return max(1, min(count, left // (resources.WORKER_BYTES + largest)))
