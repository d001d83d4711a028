"""Random search over the common training, a process a core: every configuration gets all epochs.

python peers_random.py CELL.json
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import sys

from problem import WORKERS, Cell, Configuration, OutOfTimeError, train

RULE = "the highest val accuracy at the last epoch"


def draw(cell: Cell, worker: int) -> random.Random:
    """Return a worker's random numbers."""
    return random.Random(1000 * cell.seed + worker)  # noqa: S311 (no secret)


def configuration(cell: Cell, numbers: random.Random) -> Configuration:
    """Draw a configuration, each parameter evenly on its scale."""
    return {parameter.name: parameter.at(numbers.random()) for parameter in cell.problem.parameters}


def work(path: str, worker: int, best: multiprocessing.sharedctypes.Synchronized[float]) -> None:
    """Train one configuration after the other, until the time is over."""
    cell = Cell.read(path)
    numbers = draw(cell, worker)
    with contextlib.suppress(OutOfTimeError):
        while True:
            cell.check_time()
            chosen = configuration(cell, numbers)
            _, accuracy = train(cell, chosen, cell.problem.epochs)
            with best.get_lock():
                if accuracy > best.value:  # false for NaN
                    best.value = accuracy
                    cell.note_incumbent(chosen, accuracy, RULE)


def main() -> None:
    """Search in WORKERS processes."""
    spawn = multiprocessing.get_context("spawn")
    best = spawn.Value("d", -1.0)
    workers = [spawn.Process(target=work, args=(sys.argv[1], worker, best)) for worker in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(max(abs(worker.exitcode or 0) for worker in workers))


if __name__ == "__main__":
    main()
