"""The gate of a comparison: it fails if B is worse than A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.comparison.comparing import BROKEN, Comparison
from harness.comparison.folders import same_folder
from harness.comparison.text import MOST_LISTED
from harness.stats.verdicts import EQUAL
from harness.text import count, difference, listed, p_value_column, signed_points


@dataclass(frozen=True)
class Gate:
    """The outcome of a gate: regressions and open questions, in words."""

    worse: tuple[str, ...]  # regressions
    undecided: tuple[str, ...]  # questions that must be answered before B may pass
    judged: int  # arms that were judged
    not_excluded: int  # arms that pass although their 95 % interval reaches below -margin
    absent: int  # arms of A that B lacks, which are not judged

    @property
    def exit_code(self) -> int:
        """1 if something got worse, 2 if that is undecided, 0 if B may pass."""
        return 1 if self.worse else 2 if self.undecided else 0


def gate(comparison: Comparison) -> Gate:
    """Decide whether B may pass: nothing got worse by more than the margin, and that was detectable.

    An arm is worse if b - a is significantly below -margin (one-sided, Holm over all arms), or if trials that
    were ok in A diverged or failed in B. Undecided cases do not pass: one seed with other numbers, trials
    without an outcome in B yet, an arm whose settings or a data set whose images changed, a folder compared
    with itself. Arms that B leaves out do pass, and are counted.
    """
    arms = comparison.arms
    worse = [_regressed(comparison, row) for row in arms[arms["regressed"]].to_dict("records")]
    worse += [_lost(comparison, row) for row in arms[arms["lost"] > 0].to_dict("records")]
    judged = arms["identical"].eq(arms["trials"]) | (arms["n"].gt(0) & arms["changed"].eq(0))
    judged |= arms["n"].gt(1) | arms["lost"].gt(0)
    alone = comparison.trials.loc[comparison.trials["inside"].eq("a"), ["dataset", "arm"]].drop_duplicates()
    absent = alone.merge(arms[["dataset", "arm"]], how="left", indicator="there")["there"].eq("left_only")
    not_excluded = arms["low"].lt(-comparison.margin) & ~arms["regressed"]
    counts = (int(cases.sum()) for cases in (judged, not_excluded, absent))
    return Gate(tuple(worse), tuple(_undecided(comparison)), *counts)


def cannot_tell(gate: Gate) -> str:
    """Say why a gate does not let B pass although nothing got worse, and what to do."""
    return (
        f"the gate cannot tell whether B is worse: {listed(gate.undecided, MOST_LISTED)}. Compare two "
        "finished folders of the same data and arms, with at least two seeds; five are better."
    )


def _undecided(comparison: Comparison) -> list[str]:
    """List the questions that must be answered before B may pass."""
    arms, reasons = comparison.arms, list(comparison.set_aside)
    if same_folder(comparison.a, comparison.b):
        reasons.append("A and B are the same folder")
    single = arms["n"].eq(1) & arms["lost"].eq(0) & arms["changed"].gt(0)
    below = arms["difference"].lt(-comparison.margin - EQUAL)
    even = arms["n"].gt(1) & arms["sd"].le(EQUAL) & below & ~arms["regressed"]
    for cases, why in (
        (arms["waiting"].gt(0), "trials that are ok in A have no outcome in B"),
        (single, "one seed, with other numbers than in A, gives no interval"),
        (even, "every seed fell by the same, which leaves no spread to test with"),
    ):
        reasons += [f"{row['dataset']}, {row['arm']}: {why}" for row in arms[cases].to_dict("records")]
    reasons += [
        f"{row['dataset']}, {row['arm']}: is another arm in B ({row['differing']})"
        for row in comparison.matched.namesakes.to_dict("records")
    ]
    if not (arms["identical"].eq(arms["trials"]) | arms["n"].gt(0) | arms["lost"].gt(0)).any():
        reasons.append("no trial finished in both folders")
    return reasons


def _regressed(comparison: Comparison, row: Mapping[Any, Any]) -> str:
    return (
        f"{row['dataset']}, {row['arm']}: {comparison.metric} {difference(row)} points, "
        f"{row['n']} {comparison.unit}s: "
        f"significantly below {signed_points(-comparison.margin)} "
        f"(one-sided, Holm-corrected p {p_value_column(row['p_below_holm'])})"
    )


def _lost(comparison: Comparison, row: Mapping[Any, Any]) -> str:
    trials = comparison.trials
    here = trials["dataset"].eq(row["dataset"]) & trials["arm"].eq(row["arm"]) & trials["status_a"].eq("ok")
    lost = trials[here & trials["status_b"].isin(BROKEN)]
    seeds = ", ".join(str(seed) for seed in lost["seed"])
    how = " or ".join(sorted(set(lost["status_b"])))
    return f"{row['dataset']}, {row['arm']}: {count(len(lost), 'trial')} ok in A {how} in B (seed {seeds})"
