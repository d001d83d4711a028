"""SMAC3: its multi-fidelity facade, random forests and Hyperband, with two Dask workers of its own.

SMAC knows no pause: a promoted configuration is trained anew. A training that diverges returns NaN, which is
a crash to SMAC, at the cost that the scenario declares.
"""

from __future__ import annotations

import sys
from typing import Any

from config_spaces import space
from distributed import Client
from problem import WORKERS, Cell, train
from smac import MultiFidelityFacade, Scenario
from smac.callback import Callback
from smac.main.smbo import SMBO

RULE = "lowest error at the highest epochs of each (intensifier.get_incumbent)"
TRIALS = 100_000
"""More than there is time for: the seconds end the search."""


class Notes(Callback):  # type: ignore[misc]
    """Writes the incumbent down whenever it may have changed."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def on_tell_end(self, smbo: SMBO, info: Any, value: Any) -> None:  # noqa: ARG002 - their names are SMAC's
        """After each result."""
        best = smbo.intensifier.get_incumbent()
        if best is not None:
            self.cell.note_incumbent(dict(best), 1 - smbo.runhistory.get_cost(best), RULE)


def main() -> None:
    """Search until the time is over."""
    cell = Cell.read(sys.argv[1])
    rungs = cell.problem.rungs

    def error(config: Any, seed: int = 0, budget: float = 0) -> float:
        del seed  # all configurations of a cell are trained with one seed
        _, accuracy = train(cell, dict(config), round(budget))
        return 1 - accuracy

    # As SMAC makes it for n_workers=2, but closed before Python's exit, where SMAC waits a minute for it.
    with Client(
        n_workers=WORKERS, processes=True, threads_per_worker=1, local_directory=str(cell.folder)
    ) as client:
        scenario = Scenario(
            space(cell.problem, cell.seed),
            output_directory=cell.folder / "smac",
            deterministic=True,
            walltime_limit=max(1.0, cell.left),
            n_trials=TRIALS,
            min_budget=rungs[0],
            max_budget=rungs[-1],
            seed=cell.seed,
            crash_cost=1.0,
        )
        MultiFidelityFacade(
            scenario,
            error,
            intensifier=MultiFidelityFacade.get_intensifier(scenario, eta=rungs[1] // rungs[0]),
            callbacks=[Notes(cell)],
            dask_client=client,
        ).optimize()


if __name__ == "__main__":
    main()
