"""JAX in its best form: of several versions, of several layouts, with and without a flag of XLA's.

XLA's CPU runtime changed after JAX 0.4.31, for many kinds of small models to the worse (jax-ml/jax#36799),
and 0.10 fuses sums in a way that one flag turns off (jax-ml/jax#37465). So the newest version and 0.4.31,
each in an environment of its own, are tried for each cell, and the row names the one that was taken.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import instructions
import numpy as np
from cells import Cell
from peers.one_peer import POOLS
from rows import Measured, NotMeasuredError

from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.samples import Split, prepare
from harness.system.resources import cores

SCRIPT = Path(__file__).parent / "peers" / "jax_components.py"
ALWAYS = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "--xla_cpu_prefer_vector_width=512",
)
FUSION = "--xla_cpu_experimental_ynn_fusion_type=-reduce"
PROBE = "import jax; jax.numpy.zeros(1).block_until_ready(); print(jax.__version__)"
LAYOUTS = ("images", "members", "rows")
NETWORK_LAYOUTS, NETWORK_SIZES = ("unfold", "grouped"), (1, 4)
"""Those of networks that are no MLPs: how a convolution is computed; more members take longer, each."""
OLD = "0.4."
"""The versions that take 15 to 150 times as long in any layout but the first: `jax_components` says why."""
SIZES = (16, 32)  # members that train as one, at most
SPLITS: Sequence[Split] = ("train", "val", "test")
COUNTED = ("load", "train", "evaluate")
"""What JAX's processes are charged for; starting and compiling are told beside it."""


@dataclass(frozen=True)
class Environment:
    """A Python that has JAX, and flags for XLA."""

    title: str
    python: str
    flags: str


def probe(python: str, flags: str) -> str:
    """The version of JAX; empty if there is none that knows all flags: an unknown one ends the process."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    try:
        done = subprocess.run(
            [python, "-c", PROBE], capture_output=True, text=True, timeout=120, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def environments(
    pythons: Sequence[str], held: str, asked: Callable[[str, str], str] = probe
) -> tuple[list[Environment], list[str]]:
    """What can be tried, and in words what cannot.

    Args:
        pythons: paths of interpreters.
        held: the instruction set.
        asked: gives the version of JAX with flags, or nothing.
    """
    found: list[Environment] = []
    missing: list[str] = []
    for python in pythons:
        if not asked(python, ""):
            missing.append(
                f"JAX cannot be imported in {python}, which takes no part; `nox -s bench` tries to install "
                "it there, and where that fails pip says why"
            )
            continue
        must = instructions.XLA_FLAGS[held]
        version = asked(python, must)
        if not version:
            missing.append(
                f"JAX {asked(python, '')} cannot be held to {held} and is left out there: no {must}"
            )
            continue
        known = [flag for flag in ALWAYS if asked(python, flag)]
        flags = " ".join(filter(None, [must, *known]))
        found.append(Environment(version, python, flags))
        if asked(python, FUSION):
            found.append(Environment(f"{version} without reduce fusion", python, f"{flags} {FUSION}"))
    return found, missing


@dataclass
class Jax:
    """JAX as a side of the bench.

    Attributes:
        environments: by instruction set, what can be tried.
        folder: where images lie for it.
        tell: what a person sees.
        forms: (a cell's title, instruction set) -> the form that was taken, such as `0.10.2, rows 16`.
    """

    environments: Mapping[str, Sequence[Environment]]
    folder: Path
    tell: Callable[[str], None]
    forms: dict[tuple[str, str], str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def version(self, held: str) -> str:
        """Every environment that competes."""
        return " | ".join(one.title for one in self.environments[held])

    def measure(self, cell: Cell, held: str) -> Measured:
        """A process a core, each with its share of the trials.

        Raises:
            NotMeasuredError: it failed.
        """
        count = min(cores(), cell.trials)
        shares = [cell.rates[i::count] for i in range(count)]
        key = cell.title, held
        if key not in self.forms:
            self.forms[key] = self.best_form(cell, held, shares)
        title, form = self.forms[key].rsplit(", ", 1)
        taken = next(one for one in self.environments[held] if one.title == title)
        found = self._run(cell, taken, [{"rates": rates, "form": form} for rates in shares])
        accuracies = [accuracy for one in found for accuracy in one["accuracies"]]
        return Measured(
            cpu=sum(one["cpu"][part] for one in found for part in COUNTED),
            cpu_in_all=sum(sum(one["cpu"].values()) for one in found),
            wall=max(sum(one["wall"][part] for part in COUNTED) for one in found),
            trials_done=len(accuracies), accuracy=float(np.mean(accuracies)), form=self.forms[key],
        )  # fmt: skip

    def best_form(self, cell: Cell, held: str, shares: Sequence[Sequence[float]]) -> str:
        """The form that would take the fewest processor seconds; each process tries some."""
        sizes = dict.fromkeys(min(len(shares[-1]), size) for size in (SIZES if cell.mlp else NETWORK_SIZES))
        tried: dict[str, float] = {}
        for environment in self.environments[held]:
            layouts: Sequence[str] = LAYOUTS if cell.mlp else NETWORK_LAYOUTS
            if cell.mlp and environment.title.startswith(OLD):
                layouts = LAYOUTS[:1]
            forms = [f"{layout} {size}" for size in sizes for layout in layouts]
            asked = [
                {"rates": rates, "tries": forms[i :: len(shares)]}
                for i, rates in enumerate(shares[: len(forms)])
            ]
            try:
                found = self._run(cell, environment, asked)
            except NotMeasuredError as error:
                self.tell(f"  JAX {environment.title}: {error}")
                continue
            tried |= {f"{environment.title}, {form}": s for one in found for form, s in one["tried"].items()}
        if not tried:
            raise NotMeasuredError(f"{cell.title}: no version of JAX could do it")
        told = "; ".join(f"{form}: {1000 * seconds:.0f}" for form, seconds in tried.items())
        self.tell(f"  {cell.title}: JAX, CPU ms a trial: {told}")
        return min(tried, key=tried.__getitem__)

    def _run(
        self, cell: Cell, taken: Environment, asked: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Run JAX's processes at once, and give what each one printed."""
        places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1] * len(asked)
        flags = f"{os.environ.get('XLA_FLAGS', '')} {taken.flags}".strip()
        environment = {**os.environ, **dict.fromkeys(POOLS, "1"), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        environment.pop("PYTHONPATH", None)  # it has another version's packages
        common = {**self._images(cell), "settings": cell.whole, "epochs": cell.epochs}
        processes = [
            subprocess.Popen(
                [taken.python, "-W", "ignore", str(SCRIPT), json.dumps({**common, "core": core, **own})],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            )
            for own, core in zip(asked, places, strict=False)
        ]  # fmt: skip
        replies = [process.communicate() for process in processes]
        for process, (_, errors) in zip(processes, replies, strict=True):
            if process.returncode:
                raise NotMeasuredError(f"JAX {taken.title} failed: {errors[-1500:].strip()}")
        return [json.loads(printed) for printed, _ in replies]

    def _images(self, cell: Cell) -> dict[str, Any]:
        """Where the harness's images lie, as bytes, and what makes pixels of them."""
        name = cell.whole["dataset"]
        top = datasets[name].facts.pixel_max
        data = prepare(Settings({**cell.whole, "preprocessing": "unit"}))
        place = self.folder / name
        if name not in self.written:
            place.mkdir(parents=True, exist_ok=True)
            for split in SPLITS:
                np.save(place / f"{split}_x.npy", np.rint(data[split].x * top).astype(np.uint8))
                np.save(place / f"{split}_y.npy", data[split].y)
            self.written.add(name)
        scale, shift = 1 / top, 0.0
        if cell.whole["preprocessing"] == "standardize":
            raw = np.rint(data["train"].x * top)
            mean, deviation = float(raw.mean(dtype=np.float64)), float(raw.std(dtype=np.float64))
            scale, shift = 1 / deviation, -mean / deviation
        return {"images": str(place), "scale": scale, "shift": shift, "inputs": data["train"].x.shape[1]}
