"""Words: the numbers of a comparison as the screen, a table and the gate say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.comparison.matching import SIDES
from harness.text import count, difference

if TYPE_CHECKING:
    from harness.comparison.comparing import Comparison
    from harness.comparison.gates import Gate

MOST_LISTED = 5  # arms in a line: differences.csv and trials.csv have them all


def verdict(row: Mapping[Any, Any]) -> str:
    """An arm's verdict in words, with what a mean does not show: trials lost, numbers that are the same."""
    if row["trials"] and row["identical"] == row["trials"]:
        return "the same numbers"
    told = f"{row['verdict']}, beyond the margin" if row["regressed"] else str(row["verdict"])
    return f"{told}; {row['lost']} no longer finish" if row["lost"] else told


def overview(found: Comparison) -> list[str]:
    """What matched by what, what is only in one folder or not finished, and where the folders come from."""
    trials = found.trials
    inside = {name: int(trials["inside"].eq(name).sum()) for name in ("both", *SIDES)}
    by = "settings and seed" if found.matched.by == "settings" else "the arms' names and seed"
    in_a, in_b = inside["both"] + inside["a"], inside["both"] + inside["b"]
    told = [f"matched by {by}: {count(inside['both'], 'trial')} of {in_a:,} in A and {in_b:,} in B"]
    told += [
        f"  they differ in {row['setting']}: {row['a']} in A, {row['b']} in B"
        for row in found.matched.differing.to_dict("records")
    ]
    for row in found.matched.assumed.to_dict("records"):
        side = str(row["side"]).upper()
        told.append(f"  {side} has no setting {row['setting']!r}: taken for the default, {row['value']}")
    told.append(
        f"  {int(trials['identical'].sum()):,} of {inside['both']:,} have the same numbers to the last digit"
    )
    told += [line for side in SIDES for line in (*_only_in(trials, side), *_unfinished(trials, side))]
    told += [
        f"  not compared: {row['arm']} on {row['dataset']} is another arm in B: {row['differing']}"
        for row in found.matched.namesakes.head(MOST_LISTED).to_dict("records")
    ]
    told += [
        f"  {row['what']}: {row['a'] or 'none'} in A, {row['b'] or 'none'} in B"
        for row in found.provenance.to_dict("records")
    ]
    return told


def _only_in(trials: pd.DataFrame, side: str) -> list[str]:
    alone = trials[trials["inside"].eq(side)]
    if alone.empty:
        return []
    counts = alone.groupby(["dataset", "arm"], sort=False).size().reset_index(name="count")
    listed = [
        f"{row['arm']} on {row['dataset']} ({row['count']})"
        for row in counts.head(MOST_LISTED).to_dict("records")
    ]
    more = f"; and {count(len(counts) - len(listed), 'more arm')}" if len(counts) > len(listed) else ""
    return [f"  only in {side.upper()}: {count(len(alone), 'trial')}: {'; '.join(listed)}{more}"]


def _unfinished(trials: pd.DataFrame, side: str) -> list[str]:
    """Of the matched trials those that have no result in one folder, counted by how they ended."""
    status = trials.loc[trials["inside"].eq("both"), f"status_{side}"].replace("", "not trained yet")
    counts = status[status.ne("ok")].value_counts()
    if counts.empty:
        return []
    return [f"  without a result in {side.upper()}: " + ", ".join(f"{n} {how}" for how, n in counts.items())]


def told_apart(arms: pd.DataFrame, few: int) -> tuple[pd.DataFrame, list[str]]:
    """The arms that a table shows, worst first, and in words which ones it leaves out."""
    lost = arms["lost"].gt(0) | arms["regressed"]
    ordered = arms.assign(_first=~lost).sort_values(["_first", "difference"], kind="stable")
    if len(arms) <= 2 * few:
        return ordered, []
    telling = lost | arms["verdict"].isin(("better", "worse"))
    shown = ordered[telling.reindex(ordered.index)]
    shown = shown if len(shown) <= 4 * few else pd.concat([shown.head(3 * few), shown.tail(few)])
    left = [verdict(row) for row in ordered.drop(shown.index).to_dict("records")]
    counts = ", ".join(f"{left.count(how)} {how}" for how in dict.fromkeys(left))
    return shown, [f"{count(len(left), 'more arm')}: {counts}"] if left else []


def below_table(arms: pd.DataFrame, found: Comparison, dataset: str) -> list[str]:
    """The mean over all arms of a data set, and what differences could have been seen."""
    told = []
    for row in found.pooled[found.pooled["dataset"].eq(dataset)].to_dict("records"):
        left = f"; left out: {count(row['left_out'], 'arm')} without all seeds" if row["left_out"] else ""
        if row["n"]:
            told.append(
                f"mean over {count(row['arms'], 'arm')}, B - A: {difference(row)} points, "
                f"{count(row['n'], 'seed')}{left}"
            )
    seen = arms.loc[arms["identical"].lt(arms["trials"]), "detectable"].dropna()
    if len(seen):
        low, high = f"{100 * seen.min():.2f}", f"{100 * seen.max():.2f}"
        span = low if low == high else f"{low} to {high}"
        told.append(f"at 80 % power, true differences of {span} points could be seen")
    return told


def cannot_tell(gate: Gate) -> str:
    """Why a gate does not let B pass though nothing got worse, and what to do."""
    listed = gate.untold[:MOST_LISTED]
    more = f"; and {len(gate.untold) - len(listed)} more" if len(gate.untold) > len(listed) else ""
    return (
        f"the gate cannot tell whether B is worse: {'; '.join(listed)}{more}. Two finished folders can be "
        "judged, of the same data and arms, with two seeds at least; five tell more."
    )
