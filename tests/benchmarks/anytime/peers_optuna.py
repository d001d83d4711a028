"""Optuna: its default sampler, TPE, with its Hyperband pruner; a process a core over one storage.

The form is that of Optuna's documentation for several processes: a journal file, `study.optimize` in each.
A trial reports every epoch, and is pruned at the rungs of its bracket; nothing is ever trained twice.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from contextlib import AbstractContextManager

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from problem import WORKERS, Cell, OutOfTimeError, Parameter, evaluations

RULE = "highest last value of the complete trials (study.best_trial)"


def suggest(trial: optuna.Trial, parameter: Parameter) -> int | float:
    """Draw a parameter; Optuna's log-integers are those of `Parameter.at`."""
    if parameter.whole:
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)


def objective(trial: optuna.Trial, cell: Cell) -> float:
    """Train a trial to the end, unless Hyperband prunes it; NaN is a failed trial, as Optuna documents."""
    configuration = {parameter.name: suggest(trial, parameter) for parameter in cell.problem.parameters}
    accuracy = math.nan
    for epoch, accuracy in evaluations(cell, configuration, cell.problem.epochs):
        trial.report(accuracy, epoch)
        if math.isfinite(accuracy) and epoch < cell.problem.epochs and trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def study(cell: Cell, worker: int) -> optuna.Study:
    """Return the study that all processes share, with this process's own sampler."""
    rungs = cell.problem.rungs
    return optuna.create_study(
        study_name=f"{cell.method} {cell.repeat}",
        storage=JournalStorage(JournalFileBackend(str(cell.folder / "optuna.journal"))),
        sampler=TPESampler(seed=WORKERS * cell.seed + worker),
        pruner=optuna.pruners.HyperbandPruner(rungs[0], rungs[-1], rungs[1] // rungs[0]),
        direction="maximize",
        load_if_exists=True,
    )


def work(cell: Cell, worker: int, lock: AbstractContextManager[bool]) -> None:
    """Search in one process until the time is over."""

    def note(searched: optuna.Study, trial: FrozenTrial) -> None:
        if trial.state == TrialState.COMPLETE:
            with lock:  # the last to write has read what all others had told
                best = searched.best_trial
                cell.note_incumbent(best.params, searched.best_value, RULE)

    try:
        study(cell, worker).optimize(lambda trial: objective(trial, cell), callbacks=[note])
    except OutOfTimeError:
        return


def main() -> None:
    """Search with as many processes as the cell allows."""
    cell = Cell.read(sys.argv[1])
    study(cell, 0)
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    others = [context.Process(target=work, args=(cell, k, lock)) for k in range(1, WORKERS)]
    for process in others:
        process.start()
    work(cell, 0, lock)
    for process in others:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in others))


if __name__ == "__main__":
    main()
