"""NePS: its own choice for a space with a fidelity and no prior, Hyperband; a process a core over one folder.

A promoted configuration goes on from the folder of its shorter training, as NePS documents it. A training
that diverges returns the worst error.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import neps
import numpy as np
import torch
from neps.exceptions import WorkerRaiseError
from problem import WORKERS, Cell, Problem, train

RULE = "lowest error at any epoch (neps.status)"
EPOCHS, CHECKPOINT = "epochs", "checkpoint.pt"


def space(problem: Problem) -> Any:
    """Translate a problem, its epochs as the fidelity."""
    entries: dict[str, Any] = {EPOCHS: neps.IntegerFidelity(problem.rungs[0], problem.rungs[-1])}
    for p in problem.parameters:
        if p.whole:
            entries[p.name] = neps.Integer(int(p.low), int(p.high), log=p.log)
        else:
            entries[p.name] = neps.Float(p.low, p.high, log=p.log)
    return type("Space", (neps.PipelineSpace,), entries)()


def work(cell: Cell, worker: int, lock: AbstractContextManager[bool], best: Any) -> None:
    """Search in one process until the time is over; `best` is the lowest error of all processes."""
    rungs = cell.problem.rungs
    # NePS draws from the global generators.
    np.random.seed(WORKERS * cell.seed + worker)  # noqa: NPY002
    torch.manual_seed(WORKERS * cell.seed + worker)

    def error(pipeline_directory: Path, previous_pipeline_directory: Path | None, **known: Any) -> float:
        until = int(known.pop(EPOCHS))
        checkpoint = pipeline_directory / CHECKPOINT
        before = previous_pipeline_directory and previous_pipeline_directory / CHECKPOINT
        if before and before.exists():
            checkpoint.write_bytes(before.read_bytes())
        _, accuracy = train(cell, known, until, checkpoint)
        if not math.isfinite(accuracy):
            return 1.0
        with lock:
            if 1 - accuracy < best.value:
                best.value = 1 - accuracy
                cell.note_incumbent(known, accuracy, RULE)
        return 1 - accuracy

    try:
        neps.run(
            error,
            space(cell.problem),
            root_directory=cell.folder / "neps",
            optimizer=("neps_hyperband", {"eta": rungs[1] // rungs[0]}),
            worker_id=str(worker),
        )
    except WorkerRaiseError:  # what NePS makes of OutOfTimeError, in this process or in another
        if cell.left > 0:
            raise


def main() -> None:
    """Search with as many processes as the cell allows."""
    cell = Cell.read(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    lock, best = context.Lock(), context.Value("d", math.inf)
    others = [context.Process(target=work, args=(cell, k, lock, best)) for k in range(1, WORKERS)]
    for process in others:
        process.start()
    work(cell, 0, lock, best)
    for process in others:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in others))


if __name__ == "__main__":
    main()
