"""The harness's own cell: `harness search` on the problem's space, until the cell's time is over.

    python own_cell.py CELL.json

The study is made of the problem's plain data. The search is stopped as by Ctrl-C; what its sampler had heard
of by then is what counts, at the seconds at which it heard of it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from problem import WORKERS, Cell, Configuration, Parameter, Problem

from harness import study
from harness.searching import loop
from harness.searching.ask_tell import AskTell, Suggestion
from harness.settings import limits
from harness.system import locks
from harness.training.options import RunOptions


@dataclass(frozen=True)
class OwnMethod:
    """A search by the harness: its title, and what it sets in the study, as `--set` does."""

    title: str
    overrides: Sequence[str]
    short: bool = True


METHODS: Mapping[str, OwnMethod] = {
    "harness": OwnMethod("the harness, TPE + Hyperband", ["search.pruner=hyperband"]),
    "harness_asha": OwnMethod("the harness, TPE + ASHA", ["search.pruner=asha", "search.batch=8"]),
}
RULE = "the highest val accuracy of a suggestion that was trained to its end"


def table(problem: Problem, cell: Cell | None = None) -> dict[str, Any]:
    """Return the study file of a problem, for a cell's repeat."""
    by_name = {parameter.name: parameter for parameter in problem.parameters}
    space = {name: bounds(by_name[name]) for name in ("batch_size", "dropout", "lr", "weight_decay")}
    search: dict[str, Any] = {"sampler": "tpe", "suggestions": limits.SUGGESTIONS}
    if cell is not None:
        search |= {"seed": cell.seed, "seeds": [cell.training_seed]}
    return {
        "study": {"name": f"anytime_{problem.name}", "design": "search"},
        "search": search,
        "baseline": {"dataset": "fashion_mnist", "optimizer": "adam", "epochs": problem.epochs},
        "space": {"hidden": {"depth": 2, "width": bounds(by_name["width_1"])}, **space},
    }


def bounds(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter as the space of a study file has it."""
    kind = int if parameter.whole else float
    return {"low": kind(parameter.low), "high": kind(parameter.high), "log": parameter.log}


def configuration(settings: Mapping[str, Any]) -> Configuration:
    """Return the configuration of a suggestion's settings."""
    first, second = settings["hidden"]
    others = {name: settings[name] for name in ("batch_size", "dropout", "lr", "weight_decay")}
    return {"width_1": first, "width_2": second, **others}


def settings_of(chosen: Configuration) -> dict[str, Any]:
    """Return the harness's settings of a configuration."""
    others = {name: value for name, value in chosen.items() if not name.startswith("width_")}
    return {"hidden": [chosen["width_1"], chosen["width_2"]], **others}


class LoggingAskTell(AskTell):
    """A search's ask and tell which logs what its sampler is told, at once, and notes the incumbent."""

    def __init__(self, cell: Cell, *given: Any) -> None:
        super().__init__(*given)
        self.cell, self.best = cell, -math.inf

    def report(self, suggestion: Suggestion, evaluation: int, value: float) -> None:
        """Report as every search does, then log."""
        super().report(suggestion, evaluation, value)
        chosen = configuration(suggestion.settings)
        self.cell.log(chosen, evaluation, value)
        if evaluation == self.cell.problem.epochs and value > self.best:
            self.best = value
            self.cell.note_incumbent(chosen, value, RULE)


def stop(_number: int, _frame: FrameType | None) -> None:
    """Stop the search as Ctrl-C does."""
    raise KeyboardInterrupt


def run(cell: Cell, *overrides: str) -> None:
    """Search until the cell's time is over, or until there is nothing left to ask for."""
    chosen = study.parse(table(cell.problem, cell), [*METHODS[cell.method].overrides, *overrides])
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(cell.left, 0.001))
    folder, asking = cell.folder / "search", functools.partial(LoggingAskTell, cell)
    with contextlib.suppress(KeyboardInterrupt), locks.locked(folder):
        loop.evaluated(chosen, folder, RunOptions(workers=WORKERS), asking, None)
    signal.setitimer(signal.ITIMER_REAL, 0)


def warm_up(problem: Problem, folder: Path) -> None:
    """Compile and try on this machine what the first search would: few steps of one small suggestion."""
    few = ["search.suggestions=2", "steps=2", "study.seeds=1"]
    chosen = study.parse(table(problem), [*few, "space.hidden={depth=2, width={low=4, high=8}}"])
    loop.search(chosen, folder, workers=WORKERS)


if __name__ == "__main__":
    run(Cell.read(sys.argv[1]))
