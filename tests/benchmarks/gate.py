"""The gate: did something get slower than in another revision?

Both builds run each cell once a round, in an order that turns; what is compared is the logarithm of the ratio
of their processor seconds within a round. It is judged after `LOOKS` rounds and never in between. A cell is
not slower when even the upper end of its interval is below 1 + margin, and else slower when even the lower
end is above 1.

Two errors are held to `ALPHA` each, over the whole gate. One is to call slower what is not: the lower ends
are one-sided Student's t, divided over cells and looks by Bonferroni. The other is to let pass a change that
makes some cell slower by the margin or more: the upper ends are divided over looks alone, because all cells
must pass, so that the one that should not is enough to hold it (Berger 1982, "Multiparameter hypothesis
testing and acceptance sampling"). A change that is there and smaller than the margin may get any answer; with
rounds enough it passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from measuring import Bench
from sides import HARNESS, OTHER
from tables import different

from harness.stats import summarise

LOOKS = (6, 12, 24)  # rounds; even, so that each side is first as often
TRIALS, EPOCHS = 32, 1  # of a cell, at most: many short rounds tell more than few long ones
MARGIN = 0.05
ALPHA = 0.05
NOTHING, SLOWER, UNKNOWN = 0, 1, 2
Verdict = Literal["slower", "not slower", "cannot tell"]


def ratios(rows: pd.DataFrame, rounds: int) -> pd.DataFrame:
    """Logarithms of this build's processor seconds over the other's, of the first so many rounds.

    Returns:
        cell, round, log_ratio; only rounds in which both were measured.
    """
    timed = rows[rows["failed"].eq("") & rows["round"].lt(rounds)]
    ours, others = (
        timed[timed["side"].eq(side)].groupby(["cell", "round"], sort=False)["cpu"].last().astype(float)
        for side in (HARNESS, OTHER)
    )
    ratio = (ours / others).dropna()
    return ratio.rename("log_ratio").map(math.log).reset_index()


def judged(found: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Judge every cell.

    Args:
        found: cell, round, log_ratio.
        margin: how much slower is too little to matter, as a share.

    Returns:
        cell, rounds, ratio (geometric mean), low, high, verdict. Ends are NaN where there is no spread.
    """
    tests = found["cell"].nunique() * len(LOOKS)
    lower = summarise(found, ["cell"], "log_ratio", 1 - 2 * ALPHA / tests, (-np.inf, np.inf))
    upper = summarise(found, ["cell"], "log_ratio", 1 - 2 * ALPHA / len(LOOKS), (-np.inf, np.inf))
    table = pd.DataFrame({
        "cell": lower["cell"], "rounds": lower["n"], "ratio": np.exp(lower["mean"]),
        "low": np.exp(lower["low"]), "high": np.exp(upper["high"]),
    })  # fmt: skip
    ends = zip(table["low"], table["high"], strict=True)
    return table.assign(verdict=[_verdict(low, high, margin) for low, high in ends])


def _verdict(low: float, high: float, margin: float) -> Verdict:
    if high < 1 + margin:
        return "not slower"
    return "slower" if low > 1 else "cannot tell"


def decided(table: pd.DataFrame) -> int:
    """The exit code."""
    if table["verdict"].eq("slower").any():
        return SLOWER
    return NOTHING if len(table) and table["verdict"].eq("not slower").all() else UNKNOWN


@dataclass(frozen=True)
class Answer:
    """What the gate found: an exit code, the table behind it, and what it says."""

    code: int
    table: pd.DataFrame
    words: str


def run(bench: Bench, margin: float, tell: Callable[[str], None]) -> Answer:
    """Measure rounds until it is known, or the time is over."""
    table, done = pd.DataFrame(columns=["cell", "verdict"]), 0
    for i in range(LOOKS[-1]):
        whole = bench.one_round(i)
        if problems := different(bench.table()):
            return Answer(UNKNOWN, table, "the builds cannot be compared: " + "; ".join(problems))
        if not whole:
            break
        done = i + 1
        if done not in LOOKS:
            continue
        table = judged(ratios(bench.table(), done), margin)
        tell(words(table))
        if (code := decided(table)) != UNKNOWN:
            what = "something" if code == SLOWER else "nothing"
            return Answer(code, table, f"{what} got slower, after {done} rounds")
    noisy = (
        "the machine is too noisy" if done == LOOKS[-1] else "the minutes are over; the same command goes on"
    )
    return Answer(UNKNOWN, table, f"nobody can tell after {done} of {LOOKS[-1]} rounds: {noisy}")


def words(table: pd.DataFrame) -> str:
    """The table in words, a line a cell."""
    return "\n".join(
        f"  {row['cell']}: {row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}) "
        f"in {row['rounds']} rounds: {row['verdict']}"
        for row in table.to_dict("records")
    )
