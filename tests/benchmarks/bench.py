"""How fast the harness is, beside whatever else could do the same work: `nox -s bench`.

\b
    nox -s bench                                                  # the default cells and sides, 15 minutes
    nox -s bench -- --cells batches,few --sides jax --rounds 3    # a part; call it again and it goes on
    nox -s bench -- --cells wide,fashion --instructions native,avx2 --sides pytorch,jax
    nox -s bench -- --cells components --against HEAD~1           # beside another revision
    nox -s bench -- --gate HEAD~1                                 # exit code 1: something got slower

Counted are the processor seconds of all processes, beside the seconds that passed. In each round every side
of every cell runs once, in an order that rotates; ratios are taken within a round. All sides must reach the
harness's accuracy. Each row is written to OUT/rows.csv as it is measured; a call with the same --out goes on
with what is missing. docs/decisions/benchmark-method.md says more.
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_figure
import cells
import click
import gate
import tables
from click.core import ParameterSource
from instructions import ENVIRONMENTS, NATIVE
from jax_side import Jax, environments
from measuring import Bench
from peers import PEERS
from peers.crews import Crews, missing
from rows import Rows
from sides import (
    HARNESS,
    JAX,
    LOOP,
    OTHER,
    PYTORCH,
    TITLES,
    HarnessSide,
    JaxSide,
    LoopSide,
    Reference,
    Side,
)
from worktrees import ROOT, commit_of, worktree

from harness.errors import MachineError, UsageError, did_you_mean
from harness.plots.style import save
from harness.system import signals

DEFAULT_SIDES = (LOOP, JAX, *(name for name, peer in PEERS.items() if not peer.slow))
ALLOWED = (HARNESS, PYTORCH, LOOP, JAX, *PEERS)
NOT_BESIDE_GATE = {"sides": "--sides", "against": "--against", "rounds": "--rounds", "pythons": "--jax"}
"""Options that the gate has no use for."""


def chosen_sides(text: str) -> list[str]:
    """Sides by name, the harness always first.

    Raises:
        UsageError: there is no such side.
    """
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in ALLOWED:
            raise UsageError(f"--sides {name}: {did_you_mean(name, ALLOWED)}")
    return list(dict.fromkeys([HARNESS, *(names or DEFAULT_SIDES)]))


def chosen_instructions(text: str) -> list[str]:
    """Instruction sets by name.

    Raises:
        UsageError: there is no such set.
    """
    names = list(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        if name not in ENVIRONMENTS:
            raise UsageError(f"--instructions {name}: {did_you_mean(name, ENVIRONMENTS)}")
    return names or [NATIVE]


def prepared(
    names: Sequence[str], held: Sequence[str], pythons: Sequence[str], folder: Path, crews: Crews
) -> dict[str, Side]:
    """The sides that can take part; those that cannot are told."""
    ours = HarnessSide(ROOT, folder)
    reference = Reference(ours)
    sides: dict[str, Side] = {}
    for name in names:
        if name == HARNESS:
            sides[name] = ours
        elif name == PYTORCH:
            sides[name] = HarnessSide(ROOT, folder, kernels=False)
        elif name == LOOP:
            sides[name] = HarnessSide(ROOT, folder, engine="loop")
        elif name == JAX:
            found = {one: environments(pythons, one) for one in held}
            for why in dict.fromkeys(why for _, words in found.values() for why in words):
                click.echo(why)
            if all(one for one, _ in found.values()):
                jax = Jax({one: can for one, (can, _) in found.items()}, folder, click.echo)
                sides[name] = JaxSide(jax)
            else:
                click.echo("JAX takes no part")
        elif why := missing(PEERS[name]):
            click.echo(f"{TITLES[name]} takes no part: {why}")
        else:
            sides[name] = LoopSide(PEERS[name], crews, reference)
    return sides


def refuse_beside_gate(given: Sequence[str]) -> None:
    """Refuse the options that the gate would ignore.

    Raises:
        UsageError: one of them is among those that were given, by their names in `main`.
    """
    if ignored := [option for name, option in NOT_BESIDE_GATE.items() if name in given]:
        them, looks = " and ".join(ignored), ", ".join(map(str, gate.LOOKS))
        raise UsageError(
            f"--gate with {them}: the gate runs this build beside REV alone and judges after {looks} rounds. "
            "Allowed beside it: --cells, --minutes, --out, --margin, --instructions, --trials, --epochs. "
            f"Leave out {them}, or --gate"
        )


def report(bench: Bench, out: Path) -> list[str]:
    """Print the table, draw the figure, and give what went wrong."""
    rows = bench.table()
    if rows["failed"].eq("").any():
        tables.summary(rows).to_csv(out / "summary.csv", index=False)
        tables.show(rows)
        save(bench_figure.figure(rows), out / "bench")
    return tables.different(rows) if len(rows) else []


def measure(bench: Bench, out: Path, rounds: int) -> int:
    """All rounds, as far as the time goes."""
    for i in range(rounds):
        if not bench.one_round(i):
            break
    left = sum(len(bench.missing(i)) for i in range(rounds))
    problems = report(bench, out)
    if left:
        click.echo(f"{left} measurements are missing; the same command goes on with them")
    click.echo(f"{bench.rows.file}; tables and figure beside it")
    for problem in problems:
        click.echo(problem, err=True)
    return 1 if problems else 0


def judge(bench: Bench, revision: str, margin: float) -> int:
    """The gate's answer as an exit code."""
    if old := len(bench.table()):
        click.echo(f"{old} measurements of earlier calls count: {bench.rows.file}")
    answer = gate.run(bench, margin, click.echo)
    click.echo(f"this build against {revision}: {answer.words}")
    return answer.code


@click.command(help=__doc__)
@click.option("--cells", "cell_names", default="", help=f"Of {', '.join([*cells.GROUPS, *cells.CELLS])}.")
@click.option("--sides", default="", help=f"Some of {', '.join(ALLOWED)}; {HARNESS} always.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--minutes", type=click.FloatRange(0), default=15.0, show_default=True)
@click.option("--out", default="results/bench", type=click.Path(path_type=Path), show_default=True)
@click.option("--against", metavar="REV", help="Another revision takes part.")
@click.option("--gate", "revision", metavar="REV", help="Judge: exit code 0, 1 slower, 2 unknown.")
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True), default=gate.MARGIN, show_default=True)
@click.option("--instructions", default=NATIVE, show_default=True, help=f"Some of {', '.join(ENVIRONMENTS)}.")
@click.option("--jax", "pythons", multiple=True, metavar="PYTHON", help="One with JAX; by default this one.")
@click.option("--trials", type=click.IntRange(1), help="At most, in each cell.")
@click.option("--epochs", type=click.IntRange(1), help="At most, in each cell.")
def main(**asked: Any) -> None:
    """Measure, print and keep."""
    context = click.get_current_context()
    given = [name for name in asked if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    try:
        if asked["revision"]:
            refuse_beside_gate(given)
        with signals.stopping() as came:  # so that a worktree is taken away
            sys.exit(_run(Asked(**asked)))
    except KeyboardInterrupt:
        sys.exit(signals.code(came, 130))
    except (UsageError, MachineError) as error:
        click.echo(error, err=True)
        sys.exit(2 if asked["revision"] or isinstance(error, UsageError) else 1)
    except Exception:  # 1 would say that something got slower
        if not asked["revision"]:
            raise
        traceback.print_exc()
        sys.exit(gate.UNKNOWN)


@dataclass(frozen=True)
class Asked:
    """The options of a call, as the command line names them."""

    cell_names: str
    sides: str
    rounds: int
    minutes: float
    out: Path
    against: str | None
    revision: str | None
    margin: float
    instructions: str
    pythons: Sequence[str]
    trials: int | None
    epochs: int | None

    def __post_init__(self) -> None:
        if "" in (self.revision, self.against):  # as of a variable that is not set: nothing would be compared
            raise UsageError("--gate and --against: got an empty text; allowed is a commit, such as HEAD~1")
        if math.isnan(self.margin) or math.isnan(self.minutes):
            raise UsageError("--margin and --minutes: got nan; allowed is a number")

    @property
    def cells(self) -> dict[str, cells.Cell]:
        """The cells; a gate's are short."""
        if self.revision:
            short = self.trials or gate.TRIALS, self.epochs or gate.EPOCHS
            return cells.chosen(self.cell_names or "gate", *short)
        return cells.chosen(self.cell_names or "default", self.trials, self.epochs)


def _run(asked: Asked) -> int:
    other = asked.revision or asked.against
    names = [HARNESS] if asked.revision else chosen_sides(asked.sides)
    chosen, held = asked.cells, chosen_instructions(asked.instructions)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        crews = stack.enter_context(Crews())
        rows = Rows(asked.out / ("gate.csv" if asked.revision else "rows.csv"))
        able = prepared(names, held, asked.pythons or [sys.executable], folder, crews)
        if other:
            able[OTHER] = HarnessSide(stack.enter_context(worktree(ROOT, other)), folder)
        deadline = time.monotonic() + 60 * asked.minutes
        bench = Bench(chosen, able, rows, commit_of(ROOT), click.echo, deadline, held)
        bench.remember()
        if asked.revision:
            return judge(bench, asked.revision, asked.margin)
        return measure(bench, asked.out, asked.rounds)


if __name__ == "__main__":
    main()
