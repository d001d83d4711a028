"""The gate: did something get slower than in another revision? 0: nothing did, 1: something did, 2: nobody can tell.

Both builds run each cell once a round, in an order that turns; what is compared is the logarithm of the ratio
of their processor seconds within a round. Judged is after `LOOKS` rounds and never in between. A cell is slower
when even the lower end of its interval is above 1, and not slower when even the upper end is below 1 + margin.

Two errors are held to `ALPHA` each, over the whole gate: to call a change slower that is not (the lower ends are
one-sided Student's t, divided over cells and looks by Bonferroni), and to let pass a change that makes some cell
slower by the margin or more (the upper ends are divided over looks alone: all cells must pass, so the one that
should not is enough to hold it; Berger 1982, "Multiparameter hypothesis testing and acceptance sampling"). A
change that is there and smaller than the margin may get either answer, and passes once it is known so well.
"""

from __future__ import annotations

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
    wide = timed.pivot_table(
        index=["cell", "round"], columns="side", values="cpu", aggfunc="last", sort=False
    )
    wide = wide.reindex(columns=[HARNESS, OTHER]).astype(float).dropna()
    return np.log(wide[HARNESS] / wide[OTHER]).rename("log_ratio").reset_index()


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
    return table.assign(
        verdict=[_verdict(low, high, margin) for low, high in zip(table["low"], table["high"], strict=True)]
    )


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
            return Answer(
                code, table, f"{'something got' if code else 'nothing got'} slower, after {done} rounds"
            )
    why = (
        "the machine is too noisy for so many"
        if done == LOOKS[-1]
        else "the minutes are over; call again to go on"
    )
    return Answer(UNKNOWN, table, f"nobody can tell after {done} of {LOOKS[-1]} rounds: {why}")


def words(table: pd.DataFrame) -> str:
    """The table in words, a line a cell."""
    return "\n".join(
        f"  {row['cell']}: {row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['rounds']} rounds: "
        f"{row['verdict']}"
        for row in table.to_dict("records")
    )
