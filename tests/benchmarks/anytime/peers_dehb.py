"""DEHB: differential evolution and Hyperband, by its ask-and-tell interface.

`DEHB.run` polls its workers without a pause, which would take a third of two cores; `ask` and `tell` are
what it calls itself. DEHB knows no pause: a promoted configuration is trained anew.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any, TypeAlias

from asking import Request, search
from problem import Cell

RULE = "lowest error at any epoch (DEHB.get_incumbents)"
Asked: TypeAlias = "tuple[dict[str, Any], float]"
"""A suggestion of DEHB's, and when it was asked for."""


def main() -> None:
    """Search until the time is over."""
    from config_spaces import space  # training processes import this file too, and need neither
    from dehb import DEHB

    cell = Cell.read(sys.argv[1])
    rungs = cell.problem.rungs
    made = space(cell.problem, cell.seed)
    dehb = DEHB(
        cs=made,
        dimensions=len(made),
        min_fidelity=rungs[0],
        max_fidelity=rungs[-1],
        eta=rungs[1] // rungs[0],
        n_workers=1,
        seed=cell.seed,
        output_path=cell.folder / "dehb",
        save_freq="end",
    )

    def ask() -> Request[Asked]:
        suggestion = dehb.ask()
        asked = suggestion, time.monotonic()
        return Request(asked, dict(suggestion["config"]), round(suggestion["fidelity"]))

    def tell(request: Request[Asked], accuracy: float) -> None:
        before = dehb.inc_score
        suggestion, begun = request.token
        error = 1 - accuracy if math.isfinite(accuracy) else 1.0
        dehb.tell(suggestion, {"fitness": error, "cost": time.monotonic() - begun})
        if dehb.inc_score < before:
            best, score = dehb.get_incumbents()
            cell.note_incumbent(dict(best), 1 - score, RULE)

    search(cell, ask, tell)


if __name__ == "__main__":
    main()
