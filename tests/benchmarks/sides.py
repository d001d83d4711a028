"""Who is measured: this harness, its PyTorch engine alone, another revision of it, JAX, and loops."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import pandas as pd
import tomli_w
from cells import CELLS, Cell
from cpu_seconds import cost_of
from instructions import ENVIRONMENTS
from jax_side import Jax
from peers import PEERS, Form, Peer
from peers.crews import Crews, PeerError
from peers.shares import SLICE, Extent, Timing
from rows import Measured, NotMeasuredError
from worktrees import ROOT

from harness.system.resources import cores

HARNESS, PYTORCH, OTHER, JAX, LOOP = "harness", "pytorch", "other", "jax", "loop"
TITLES = {
    HARNESS: "harness", PYTORCH: "harness, PyTorch alone", OTHER: "the other revision",
    JAX: "JAX, its best form",
    LOOP: "harness, loop engine",
    **{name: peer.title for name, peer in PEERS.items()},
}  # fmt: skip
CHECKED = (
    "loops are checked once an optimizer, in their first form: three trials of one epoch of 784-32-32-10 on "
    "MNIST at batch 32 reach the harness's accuracy; they are not trained to the end in each cell"
)
"""How far it is known that loops do the same work."""
TRY = 0.3  # seconds of steps in a short try of a loop's form
PACKAGES = ("torch", "numpy", "scikit-learn", "lightning", "ray")


class Side(Protocol):
    """Someone who can do the work of cells."""

    def takes(self, cell: Cell) -> bool:
        """Whether it can do a cell at all."""

    def version(self, held: str) -> str:
        """What decides its speed, beside the machine, with one of the instruction sets."""

    def warm_up(self, cell: Cell, held: str) -> None:
        """Whatever is done once for a cell and is not measured."""

    def remember(self, row: Mapping[str, Any]) -> None:
        """Take the form of an earlier call's row, by the same code and versions, without trying again."""

    def measure(self, cell: Cell, held: str) -> Measured:
        """Do the work once.

        Raises:
            NotMeasuredError: it could not.
        """


@dataclass(frozen=True)
class HarnessSide:
    """Whole runs of the command by the code of a checkout, from its start to its last file."""

    checkout: Path
    folder: Path
    kernels: bool = True
    engine: str = ""

    def takes(self, cell: Cell) -> bool:
        return not (self.engine and cell.mlp)

    def version(self, held: str) -> str:  # noqa: ARG002 (the set is named beside it)
        return f"{code_of(self.checkout / 'harness')} {versions(('torch', 'numpy'))}"

    def warm_up(self, cell: Cell, held: str) -> None:
        self._run(cell.shorter(1, 1) if cell.study else cell.shorter(None, 1), held, cell.study != "")

    def remember(self, row: Mapping[str, Any]) -> None:
        """It has one form."""

    def measure(self, cell: Cell, held: str) -> Measured:
        return self._run(cell, held)

    def _run(self, cell: Cell, held: str, tiny: bool = False) -> Measured:
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            study, results = Path(place) / "bench.toml", Path(place) / "results"
            study.write_bytes(tomli_w.dumps(cell.tables()).encode())
            options = ["--results", str(results), "--device", "cpu"]
            options += ["--engine", self.engine] if self.engine else []
            if cell.study:
                study = self.checkout / "ablations" / cell.study
                options += [*_seeds(cell), "--set", f"epochs={cell.epochs}"]
                options += ["--set", "dataset=digits"] if tiny else []
            command = [sys.executable, "-m", "harness", "run", str(study), *options]
            environment = {**os.environ, **ENVIRONMENTS[held], "PYTHONPATH": str(self.checkout)}
            environment.pop(
                "PYTHONDONTWRITEBYTECODE", None
            )  # a new checkout would compile itself in every run
            if not self.kernels:
                environment["HARNESS_KERNELS"] = "off"
            try:
                cost = cost_of(command, Path(place), environment)
            except RuntimeError as error:
                raise NotMeasuredError(str(error)) from error
            trials = pd.read_csv(results / "trials.csv")
        if not trials["status"].isin(["ok", "diverged"]).all():
            raise NotMeasuredError(f"{trials['status'].value_counts()}\n{trials['reason'].unique()}")
        accuracy = float(trials["test_accuracy"].fillna(0).mean())
        return Measured(cost.cpu, cost.cpu, cost.wall, cost.peak_mb, len(trials), accuracy)


def _seeds(cell: Cell) -> list[str]:
    """A short form of the default study has fewer seeds."""
    most = CELLS["choices"].trials
    return [] if cell.trials >= most else ["--set", f"seeds={max(1, 3 * cell.trials // most)}"]


@dataclass(frozen=True)
class JaxSide:
    """JAX in its best form."""

    jax: Jax

    def takes(self, cell: Cell) -> bool:
        return cell.jax

    def version(self, held: str) -> str:
        return f"{self.jax.version(held)} {code_of(ROOT / 'tests' / 'benchmarks' / 'peers')}"

    def warm_up(self, cell: Cell, held: str) -> None:
        """Its tries are one, and compiling is not charged."""

    def remember(self, row: Mapping[str, Any]) -> None:
        self.jax.forms[row["title"], row["instructions"]] = row["form"]

    def measure(self, cell: Cell, held: str) -> Measured:
        return self.jax.measure(cell, held)


@dataclass
class Reference:
    """The accuracy that loops must reach: the harness's."""

    harness: HarnessSide
    reached: dict[str, float] = field(default_factory=dict)

    def accuracy(self, few: Cell, held: str) -> float:
        """Mean test accuracy of a few trials; measured once an optimizer and architecture."""
        if few.work not in self.reached:
            self.reached[few.work] = self.harness.measure(few, held).accuracy or 0.0
        return self.reached[few.work]


@dataclass
class LoopSide:
    """A loop that one writes or takes instead; of plain cells, steps are timed and multiplied."""

    peer: Peer
    crews: Crews
    reference: Reference
    forms: dict[tuple[str, str], Form] = field(default_factory=dict)
    checked: dict[str, float] = field(default_factory=dict)

    def takes(self, cell: Cell) -> bool:
        return cell.plain and (cell.mlp or self.peer.networks)

    def version(self, held: str) -> str:  # noqa: ARG002 (the set is named beside it)
        return f"{versions(PACKAGES)} {code_of(ROOT / 'tests' / 'benchmarks' / 'peers')}"

    def warm_up(self, cell: Cell, held: str) -> None:
        """Few trials must reach the harness's accuracy; then a short try of each form takes the best.

        The check is one for all cells of an optimizer: one a cell would take longer than what is timed. A
        form that is known from an earlier call, by the same code, is neither checked nor tried again.

        Raises:
            NotMeasuredError: it is not the same work.
        """
        if (cell.title, held) in self.forms:
            return
        few = (Cell(cell.title, {"optimizer": cell.optimizer}) if cell.mlp else cell).reference()
        if few.work not in self.checked:
            self.checked[few.work] = mean(self._time(self.peer.forms[0], few, held, "all").accuracies)
        mine, ours = self.checked[few.work], self.reference.accuracy(few, held)
        if abs(mine - ours) >= few.same:
            raise NotMeasuredError(
                f"not the same work: test accuracy {mine:.4f}, the harness's {ours:.4f}, of a few trials"
            )
        forms = _distinct(self.peer.forms, cell)
        tried = {form: self._time(form, cell, held, "parts", TRY).cpu for form in forms} if forms[1:] else {}
        self.forms[cell.title, held] = min(tried, key=tried.__getitem__) if tried else forms[0]

    def remember(self, row: Mapping[str, Any]) -> None:
        known = {form.words: form for form in self.peer.forms}
        if row["form"] in known:
            self.forms[row["title"], row["instructions"]] = known[row["form"]]

    def measure(self, cell: Cell, held: str) -> Measured:
        self.warm_up(cell, held)
        form = self.forms[cell.title, held]
        timing = self._time(form, cell, held, "parts")
        return Measured(
            timing.cpu, timing.cpu, timing.wall, 0.0, form=form.words, extrapolated=timing.extrapolated
        )

    def _time(self, form: Form, cell: Cell, held: str, extent: Extent, seconds: float = SLICE) -> Timing:
        try:
            return self.crews.time(self.peer, form, cell, ENVIRONMENTS[held], extent=extent, slice=seconds)
        except PeerError as error:
            raise NotMeasuredError(str(error)) from error


def _distinct(forms: Sequence[Form], cell: Cell) -> list[Form]:
    """Forms less those that are another's with so few trials: a process has no more members than trials."""
    kept: dict[Form, Form] = {}
    for form in forms:
        most = -(-cell.trials // cores()) if form.a_core else cell.trials
        kept.setdefault(Form(form.a_core, min(form.members, most), form.variant, form.threads), form)
    return list(kept.values())


def versions(packages: Sequence[str]) -> str:
    """Packages with their versions, those that are installed."""
    told = []
    for name in packages:
        try:
            told.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(told)


def code_of(folder: Path) -> str:
    """A digest of the code in a folder: it changes when anything that could make a difference does."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:12]
