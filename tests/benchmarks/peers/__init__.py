"""Loops that a person could write or take instead. One module each, with `prepare(share)` and `time(share)`.

`prepare` is set-up, which nobody's clock counts (imports, compiling); `time` does the work and gives a
`shares.Timing`. Each runs in processes of its own (`crews`, `one_peer`). JAX is none of them:
`jax_components` is a script that an environment without the harness can run; gpu_parts.py takes it, too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One way in which a peer may be run: a short try finds the best.

    Attributes:
        a_core: a process a core, each single-threaded, instead of a single one.
        members: trials that train as one, at most.
        variant: which of the peer's own forms.
        threads: of the single process; 0 leaves it to the library.
    """

    a_core: bool = False
    members: int = 1
    variant: str = ""
    threads: int = 0

    @property
    def words(self) -> str:
        """In short: `a process a core, K = 32`."""
        told = ["a process a core" if self.a_core else "1 process"]
        told += [f"{self.threads} thread"] if self.threads else []
        told += [f"K = {self.members}"] if self.members > 1 else []
        return ", ".join([*told, *filter(None, [self.variant])])


@dataclass(frozen=True)
class Peer:
    """Who trains.

    Attributes:
        title: in tables and figures.
        module: in this package.
        forms: how it may be run.
        needs: the modules that must be importable.
        slow: left out unless it is named.
        networks: it trains networks that are no MLPs, too.
    """

    title: str
    module: str
    forms: tuple[Form, ...] = (Form(),)
    needs: tuple[str, ...] = ()
    slow: bool = False
    networks: bool = False


_FUSED = ("fused", "foreach")
_THREADS = (Form(threads=1), Form())
PEERS: dict[str, Peer] = {
    "labs_loop": Peer("labs' DataLoader loop", "labs_loop", _THREADS),
    "in_memory": Peer(
        "tensors in memory, 1 process", "in_memory", tuple(Form(variant=v, threads=1) for v in _FUSED)
    ),
    "in_memory_cores": Peer(
        "tensors in memory, a process a core",
        "in_memory",
        tuple(Form(True, variant=v) for v in _FUSED),
        networks=True,
    ),
    "vmap": Peer("torch.func vmap", "vmap", tuple(Form(True, k) for k in (8, 16, 32)), networks=True),
    "sklearn": Peer("scikit-learn MLPClassifier", "sklearn_mlp", (Form(True),)),
    "lightning": Peer("Lightning", "lightning_trainer", _THREADS, needs=("lightning",), slow=True),
    "ray": Peer("Ray Tune, a trial a core", "ray_tune", (Form(variant="fused"),), needs=("ray",), slow=True),
}
