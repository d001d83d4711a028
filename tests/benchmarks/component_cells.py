"""Whole runs of many components, in processor seconds: this checkout, another one, and JAX, in turn.

    python tests/benchmarks/component_cells.py                                     # all cells, three rounds
    python tests/benchmarks/component_cells.py --against ../older --rounds 5       # beside another checkout
    python tests/benchmarks/component_cells.py --cells ce-16,adam --trials 16 --epochs 1 --rounds 1

A cell is 64 trials of 784-32-32-10 on MNIST for 3 epochs that differ in learning rate, unless it says
otherwise. In each round every side of every cell runs once, in an order that rotates; ratios are taken within
a round. Counted are the processor seconds of all processes: of a harness from the start of `harness run` to
its last file; of JAX, in two processes on a core each, those of loading, training and the same evaluations.
What JAX takes to start and to compile comes on top: the last column has all of it. JAX's form is chosen in
the first round. Before that each harness runs every cell once with few trials, so that its C is compiled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import pandas as pd
import tomli_w
from component_table import OURS, THEIRS, different, show
from cpu_seconds import cost_of
from one_peer import POOLS, XLA_ONE_THREAD
from work import LADDER, LEAST_BATCH, VAL_FRACTION

from harness.axes.optimizers import optimizers
from harness.data import samples
from harness.data.arm_settings import Settings
from harness.data.samples import Split
from harness.results.provenance import _commit, _cpu
from harness.system.resources import cores

HERE = Path(__file__).parent
PLUGIN = HERE / "own_components.py"
OWN_LR = 3e-4  # of the plugin's optimizer
JAX = "JAX"
LAYOUTS = ("rows", "members")
XLA_WIDEST = "--xla_cpu_prefer_vector_width=512"
SPLITS: Sequence[Split] = ("train", "val", "test")
COUNTED = ("load", "train", "evaluate")
"""What JAX's processes are charged for."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Work that is measured.

    Attributes:
        title: in the table.
        settings: what differs from ReLU, cross-entropy, SGD, batch 32, unit pixels, hidden layers 32 and 32.
        trials: that differ in learning rate, unless `shapes` are there.
        epochs: passes.
        faster: by how much the learning rates are raised, for a loss whose gradients are small.
        jax: JAX takes part.
        own: needs the plugin.
        shapes: the hidden layers of as many trials, instead of learning rates.
        study: a study file, instead of all that.
        rounds: at most.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 64
    epochs: int = 3
    faster: float = 1.0
    jax: bool = True
    own: bool = False
    shapes: Sequence[Sequence[int]] = ()
    study: str = ""
    rounds: int = 1_000

    @property
    def whole(self) -> dict[str, Any]:
        """All settings that the cell names, as a study's baseline."""
        return {
            "dataset": "mnist", "val_fraction": VAL_FRACTION, "preprocessing": "unit", "hidden": [32, 32],
            "activation": "relu", "head": "identity", "loss": "ce", "optimizer": "sgd", "batch_size": 32,
            **self.settings, "epochs": self.epochs,
        }  # fmt: skip

    @property
    def rates(self) -> list[float]:
        """The trials' learning rates: a ladder around the optimizer's default, lowered for tiny batches."""
        name = self.whole["optimizer"]
        default = OWN_LR if self.own else float(optimizers[name].settings["lr"].default)  # type: ignore[arg-type]
        lowered = self.faster * default * min(1.0, self.whole["batch_size"] / LEAST_BATCH)
        return [float(f"{lr:.6g}") for lr in lowered * np.logspace(*LADDER, self.trials, base=2)]

    def tables(self) -> dict[str, Any]:
        """The study."""
        axes = {"hidden": [list(shape) for shape in self.shapes]} if self.shapes else {"lr": self.rates}
        baseline = {name: value for name, value in self.whole.items() if name not in axes}
        about = {"name": "bench", "seeds": 1, **({"plugins": [str(PLUGIN)]} if self.own else {})}
        return {"study": about, "baseline": baseline, "axes": axes}

    def shorter(self, trials: int | None, epochs: int | None) -> Cell:
        """The cell with at most so many trials and epochs."""
        n = min(self.trials, trials or self.trials)
        return replace(self, trials=n, epochs=min(self.epochs, epochs or self.epochs), shapes=self.shapes[:n])


def _cell(title: str, **settings: Any) -> Cell:
    return Cell(title, settings)


RAGGED = [(first, second) for first in range(16, 129, 16) for second in (16, 32, 64, 128)]
DROPOUT = {"hidden": [64], "dropout": 0.2}
OWN = {"activation": "bench_mish", "loss": "bench_hinge", "optimizer": "bench_lion"}
CELLS: dict[str, Cell] = {
    "ce-16": _cell("CE, ReLU, SGD, batch 16", batch_size=16),
    "ce-32": _cell("CE, ReLU, SGD, batch 32"),
    "ce-128": _cell("CE, ReLU, SGD, batch 128", batch_size=128),
    "adam": _cell("Adam", optimizer="adam"),
    "ql": Cell("QL on softmax", {"head": "softmax", "loss": "ql"}, faster=4),
    "mse": Cell("MSE on sigmoid", {"head": "sigmoid", "loss": "mse"}, faster=16),
    "ccql": _cell("CCQL on identity", loss="ccql"),
    "standardize": _cell("standardize", preprocessing="standardize"),
    "gelu": Cell(
        "GELU, standardize, Adam", {"preprocessing": "standardize", "activation": "gelu", "optimizer": "adam"}
    ),
    "rmsprop": _cell("RMSprop", optimizer="rmsprop"),
    "adagrad": _cell("Adagrad", optimizer="adagrad"),
    "dropout": Cell("dropout 0.2, 784-64-10", DROPOUT),
    "own": Cell("a plugin's activation, loss and optimizer", OWN, jax=False, own=True),
    "batch-1": Cell("batch 1, 1 epoch", {"batch_size": 1}, epochs=1),
    "batch-8": Cell("batch 8, 1 epoch", {"batch_size": 8}, epochs=1),
    "ragged": Cell("32 shapes, batch 64", {"batch_size": 64}, trials=32, jax=False, shapes=RAGGED),
    "digits": Cell("digits, 5 epochs", {"dataset": "digits"}, epochs=5, jax=False),
    "start": Cell("digits, 10 trials x 1 epoch", {"dataset": "digits"}, trials=10, epochs=1, jax=False),
    "choices": Cell("the default study", trials=720, jax=False, study="choices.toml", rounds=1),
}  # fmt: skip


@dataclass
class Bench:
    """A benchmark under way.

    Attributes:
        cells: name -> what is measured.
        checkouts: side -> the checkout whose harness runs.
        folder: for what is left over.
        forms: cell -> JAX's form.
        rows: a row a round, cell and side.
    """

    cells: Mapping[str, Cell]
    checkouts: Mapping[str, Path]
    folder: Path
    jax: bool = True
    forms: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    pixels: tuple[float, float] = (0.0, 1.0)
    """Mean and sd of the training images' bytes."""

    def sides(self, name: str) -> list[str]:
        """Who takes part in a cell."""
        return [*self.checkouts, *([JAX] if self.jax and self.cells[name].jax else [])]

    def measure(self, name: str, side: str) -> Row:
        """Run one side of a cell once."""
        if side == JAX:
            return run_jax(self, name)
        return run_harness(self.cells[name], self.checkouts[side], self.folder)


def run_harness(cell: Cell, checkout: Path, folder: Path, *options: str) -> Row:
    """A whole `harness run` by the code of a checkout."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        study, results = Path(place) / "bench.toml", Path(place) / "results"
        study.write_bytes(tomli_w.dumps(cell.tables()).encode())
        if cell.study:
            study = HERE.parents[1] / "ablations" / cell.study
            options = (*_seeds(cell), "--set", f"epochs={cell.epochs}", *options)
        command = [sys.executable, "-m", "harness", "run", str(study), "--results", str(results)]
        command += ["--device", "cpu", *options]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        cost = cost_of(command, Path(place), environment)
        trials = pd.read_csv(results / "trials.csv")
    if not trials["status"].isin(["ok", "diverged"]).all():
        raise RuntimeError(f"{cell.title}:\n{trials['status'].value_counts()}\n{trials['reason'].unique()}")
    accuracy = float(trials["test_accuracy"].fillna(0).mean())
    return {"cpu": cost.cpu, "cpu_in_all": cost.cpu, "wall": cost.wall, "peak_mb": cost.peak_mb,
            "trials": len(trials), "accuracy": accuracy, "form": ""}  # fmt: skip


def _seeds(cell: Cell) -> list[str]:
    """A short form of the default study has fewer seeds."""
    most = CELLS["choices"].trials
    return [] if cell.trials >= most else ["--set", f"seeds={max(1, 3 * cell.trials // most)}"]


def warm_up(cell: Cell, checkout: Path, folder: Path) -> None:
    """Let a checkout compile what the cell needs."""
    short = cell.shorter(1 if cell.study else 4, 1)
    run_harness(short, checkout, folder, *(["--set", "dataset=digits"] if cell.study else []))


def write_images(folder: Path) -> tuple[float, float]:
    """Put MNIST's splits where JAX reads them, as bytes; gives mean and sd of the training images."""
    data = samples.prepare(Settings(CELLS["ce-32"].whole))
    for split in SPLITS:
        np.save(folder / f"{split}_x.npy", np.rint(data[split].x * 255).astype(np.uint8))
        np.save(folder / f"{split}_y.npy", data[split].y)
    raw = np.rint(data["train"].x * 255)
    return float(raw.mean(dtype=np.float64)), float(raw.std(dtype=np.float64))


def run_jax(bench: Bench, name: str) -> Row:
    """A process a core, each with its share of the trials."""
    cell, count = bench.cells[name], min(cores(), bench.cells[name].trials)
    shares = [cell.rates[i::count] for i in range(count)]
    form = bench.forms.get(name) or choose_form(bench, cell, shares)
    bench.forms[name] = form
    found = _jax(bench, cell, [{"rates": rates, "form": form} for rates in shares])
    parts = {part: sum(one["seconds"][part] for one in found) for part in found[0]["seconds"]}
    accuracies = [accuracy for one in found for accuracy in one["accuracies"]]
    return {
        "cpu": sum(parts[part] for part in COUNTED), "cpu_in_all": sum(parts.values()),
        "wall": max(sum(one["seconds"].values()) for one in found), "peak_mb": 0.0,
        "trials": len(accuracies), "accuracy": float(np.mean(accuracies)), "form": form,
        **{f"jax_{part}": seconds for part, seconds in parts.items()},
    }  # fmt: skip


def choose_form(bench: Bench, cell: Cell, shares: Sequence[Sequence[float]]) -> str:
    """The form whose steps are the cheapest; each process tries some."""
    sizes = dict.fromkeys(min(len(shares[-1]), size) for size in (8, 16, 32))
    forms = [f"{layout} {size}" for size in sizes for layout in LAYOUTS]
    asked = [{"rates": rates, "tries": forms[i :: len(shares)]} for i, rates in enumerate(shares)]
    tried: dict[str, float] = {}
    for one in _jax(bench, cell, asked):
        tried |= one["tried"]
    words = ", ".join(f"{form} {us:.1f}" for form, us in tried.items())
    click.echo(f"  {cell.title}: JAX, us a member and step: {words}")
    return min(tried, key=tried.__getitem__)


def _jax(bench: Bench, cell: Cell, asked: Sequence[Row]) -> list[Row]:
    """Run JAX's processes at once, and give what each one printed."""
    mean, sd = bench.pixels
    unit = cell.whole["preprocessing"] == "unit"
    scale, shift = (1 / 255, 0.0) if unit else (1 / sd, -mean / sd)
    places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1] * len(asked)
    flags = f"{os.environ.get('XLA_FLAGS', '')} {XLA_ONE_THREAD} {XLA_WIDEST}".strip()
    environment = {**os.environ, **dict.fromkeys(POOLS, "1"), "XLA_FLAGS": flags}
    script, processes = HERE / "peers" / "jax_components.py", []
    for own, core in zip(asked, places, strict=False):
        task = {
            "images": str(bench.folder), "scale": scale, "shift": shift, "settings": cell.whole,
            "epochs": cell.epochs, "core": core, **own,
        }  # fmt: skip
        command = [sys.executable, "-W", "ignore", str(script), json.dumps(task)]
        processes.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            )
        )
    replies = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, replies, strict=True):
        if process.returncode:
            raise RuntimeError(f"{cell.title}: JAX failed: {errors[-2000:]}")
    return [json.loads(printed) for printed, _ in replies]


def rounds(bench: Bench, count: int) -> Iterator[Row]:
    """Measure everything in turn; a failure is a row that says so."""
    for i in range(count):
        for name, cell in bench.cells.items():
            sides = bench.sides(name)
            for side in [*sides[i % len(sides) :], *sides[: i % len(sides)]] if i < cell.rounds else []:
                row = {
                    "round": i,
                    "cell": name,
                    "title": cell.title,
                    "side": side,
                    "load": os.getloadavg()[0],
                }
                try:
                    row |= {"failed": "", **bench.measure(name, side)}
                except RuntimeError as error:
                    row |= {"failed": str(error)}
                bench.rows.append(row)
                yield row


def prepare(bench: Bench, tell: Callable[[str], None], warm: bool) -> None:
    """Write JAX's images, and let the checkouts compile."""
    if any(JAX in bench.sides(name) for name in bench.cells):
        bench.pixels = write_images(bench.folder)
    for side, checkout in bench.checkouts.items() if warm else ():
        for name, cell in bench.cells.items():
            try:
                warm_up(cell, checkout, bench.folder)
            except RuntimeError as error:
                tell(f"  {side}: {name}: {error}")
        tell(f"{side}: warmed up")


def chosen(text: str, trials: int | None, epochs: int | None) -> dict[str, Cell]:
    """Cells by name, shortened.

    Raises:
        click.UsageError: there is no such cell.
    """
    names = [name for name in text.split(",") if name] or list(CELLS)
    if unknown := [name for name in names if name not in CELLS]:
        raise click.UsageError(f"--cells {', '.join(unknown)}: allowed: {', '.join(CELLS)}")
    return {name: CELLS[name].shorter(trials, epochs) for name in names}


def _told(row: Row) -> str:
    where = f"round {row['round'] + 1}: {row['title']}: {row['side']}"
    if row["failed"]:
        return f"{where} failed: {row['failed']}"
    form = f" ({row['form']}; {row['cpu_in_all']:.1f} s with start and compiling)" if row["form"] else ""
    return f"{where}: {row['cpu']:.2f} CPU s, {row['wall']:.1f} s, accuracy {row['accuracy']:.4f}{form}"


@click.command(help=__doc__)
@click.option("--cells", default="", help=f"Some of: {', '.join(CELLS)}.")
@click.option("--checkout", default=HERE.parents[1], type=click.Path(path_type=Path, exists=True))
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another checkout.")
@click.option("--jax/--no-jax", default=True)
@click.option("--warm/--no-warm", default=True, help="Run each cell in short first.")
@click.option("--rounds", "count", default=3, show_default=True)
@click.option("--trials", type=int, help="At most, in each cell.")
@click.option("--epochs", type=int, help="At most, in each cell.")
@click.option("--out", default="results/bench", type=click.Path(path_type=Path), show_default=True)
def main(
    cells: str, checkout: Path, against: Path | None, jax: bool, warm: bool, count: int, trials: int | None,
    epochs: int | None, out: Path,
) -> None:  # fmt: skip
    """Measure, print and keep."""
    checkouts = {OURS: checkout.resolve(), **({THEIRS: against.resolve()} if against else {})}
    about: Row = {"machine": _cpu(), "cores": cores(), "commit": _commit()}
    out.mkdir(parents=True, exist_ok=True)
    file = out / "components.csv"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(chosen(cells, trials, epochs), checkouts, Path(folder), jax)
        prepare(bench, click.echo, warm)
        for row in rounds(bench, count):
            click.echo(_told(row))
            pd.DataFrame(bench.rows).assign(**about).to_csv(file, index=False)
    found = pd.DataFrame(bench.rows)
    show(found)
    click.echo(f"{file}; median load {median(found['load']):.1f} on {cores()} cores")
    if problems := different(found):
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
