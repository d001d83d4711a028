"""Gates: whether a comparison lets B pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.comparison.arms import BROKEN
from harness.comparison.comparing import Comparison
from harness.comparison.sides import same_folder
from harness.stats.verdicts import EQUAL
from harness.text import count, difference, p_value_column, signed_points


@dataclass(frozen=True)
class Gate:
    """Whether B may pass: what got worse, and what cannot be said; both in words.

    Attributes:
        worse: what got worse.
        untold: what would have to be known to let B pass.
        judged: arms that were judged.
        unsettled: arms that pass, and whose 95 % interval reaches below -margin all the same.
        absent: arms of A that B does not have, which nothing was judged of.
    """

    worse: tuple[str, ...]
    untold: tuple[str, ...]
    judged: int
    unsettled: int
    absent: int

    @property
    def exit_code(self) -> int:
        """1 where something got worse, 2 where that cannot be said, 0 where B may pass."""
        return 1 if self.worse else 2 if self.untold else 0


def gate(comparison: Comparison) -> Gate:
    """Whether B may pass: nothing got worse by more than the margin, and that could be seen.

    An arm is worse where b - a is significantly below -margin (one-sided, Holm over all arms), or where
    trials that were ok in A diverged or failed in B. What nobody can judge does not pass: one seed with other
    numbers, trials without an outcome in B yet, an arm whose settings or a data set whose images changed, a
    folder beside itself. Arms that B leaves out do pass, and are counted.
    """
    arms = comparison.arms
    worse = [_regressed(comparison, row) for row in arms[arms["regressed"]].to_dict("records")]
    worse += [_lost(comparison, row) for row in arms[arms["lost"] > 0].to_dict("records")]
    judged = arms["identical"].eq(arms["trials"]) | (arms["n"].gt(0) & arms["changed"].eq(0))
    judged |= arms["n"].gt(1) | arms["lost"].gt(0)
    alone = comparison.trials.loc[comparison.trials["inside"].eq("a"), ["dataset", "arm"]].drop_duplicates()
    absent = alone.merge(arms[["dataset", "arm"]], how="left", indicator="there")["there"].eq("left_only")
    unsettled = arms["low"].lt(-comparison.margin) & ~arms["regressed"]
    return Gate(
        tuple(worse), tuple(_untold(comparison)), int(judged.sum()), int(unsettled.sum()), int(absent.sum())
    )


def _untold(comparison: Comparison) -> list[str]:
    """What would have to be known to let B pass."""
    arms, told = comparison.arms, list(comparison.set_aside)
    if same_folder(comparison.a, comparison.b):
        told.append("A and B are the same folder")
    single = arms["n"].eq(1) & arms["lost"].eq(0) & arms["changed"].gt(0)
    below = arms["difference"].lt(-comparison.margin - EQUAL)
    even = arms["n"].gt(1) & arms["sd"].le(EQUAL) & below & ~arms["regressed"]
    for cases, why in (
        (arms["waiting"].gt(0), "trials that are ok in A have no outcome in B"),
        (single, "one seed, with other numbers than in A, gives no interval"),
        (even, "every seed fell by the same, which leaves no spread to test with"),
    ):
        told += [f"{row['dataset']}, {row['arm']}: {why}" for row in arms[cases].to_dict("records")]
    told += [
        f"{row['dataset']}, {row['arm']}: is another arm in B ({row['differing']})"
        for row in comparison.matched.namesakes.to_dict("records")
    ]
    if not (arms["identical"].eq(arms["trials"]) | arms["n"].gt(0) | arms["lost"].gt(0)).any():
        told.append("no trial finished in both folders")
    return told


def _regressed(comparison: Comparison, row: Mapping[Any, Any]) -> str:
    return (
        f"{row['dataset']}, {row['arm']}: {comparison.metric} {difference(row)} points, {row['n']} seeds: "
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
