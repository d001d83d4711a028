"""Text of a comparison: its numbers and findings in words, and its tables as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison.comparing import Comparison
from harness.comparison.matching import SIDES
from harness.results import computation, csv_rows, part_files
from harness.results.columns import FINISHED
from harness.stats.verdicts import DIFFERENT
from harness.system import files, output_folder
from harness.text import between, count, difference, hundredths, minus, p_value_column
from harness.text.latex import tabular

MOST_LISTED = 5  # arms in a line: differences.csv and trials.csv have them all
OTHER_KIND = "of the others, seconds compare processors, and a difference may come from them in part"
CSV, LATEX = "differences.csv", "differences.tex"


def verdict(row: Mapping[Any, Any]) -> str:
    """Write an arm's verdict, and what a mean does not show: lost trials, or the same numbers."""
    if row["trials"] and row["identical"] == row["trials"]:
        return "the same numbers"
    text = f"{row['verdict']}, beyond the margin" if row["regressed"] else str(row["verdict"])
    return f"{text}; {row['lost']} no longer finish" if row["lost"] else text


def overview(comparison: Comparison) -> list[str]:
    """Say how trials matched, which are in one folder only or unfinished, and how the origins differ."""
    trials = comparison.trials
    inside = {name: int(trials["inside"].eq(name).sum()) for name in ("both", *SIDES)}
    by = "settings and seed" if comparison.matched.by == "settings" else "the arms' names and seed"
    in_a, in_b = inside["both"] + inside["a"], inside["both"] + inside["b"]
    lines = [f"matched by {by}: {count(inside['both'], 'trial')} of {in_a:,} in A and {in_b:,} in B"]
    lines += [
        f"  they differ in {row['setting']}: {row['a']} in A, {row['b']} in B"
        for row in comparison.matched.differing.to_dict("records")
    ]
    for row in comparison.matched.assumed.to_dict("records"):
        side = str(row["side"]).upper()
        lines.append(f"  {side} has no setting {row['setting']!r}: the default is assumed, {row['value']}")
    lines.append(
        f"  {int(trials['identical'].sum()):,} of {inside['both']:,} have the same numbers to the last digit"
    )
    lines += _computed(trials)
    lines += [line for side in SIDES for line in (*_only_in(trials, side), *_unfinished(trials, side))]
    lines += [
        f"  not compared: {row['arm']} on {row['dataset']} is another arm in B: {row['differing']}"
        for row in comparison.matched.namesakes.head(MOST_LISTED).to_dict("records")
    ]
    lines += [
        f"  {row['what']}: {row['a'] or 'none'} in A, {row['b'] or 'none'} in B"
        for row in comparison.provenance.to_dict("records")
    ]
    return lines


def _computed(trials: pd.DataFrame) -> list[str]:
    """Say by which kernels and on which hosts trials were computed that differ in them; nothing otherwise."""
    done = trials[trials["inside"].eq("both")]
    done = done[done["status_a"].isin(FINISHED) & done["status_b"].isin(FINISHED)]
    columns = [f"{name}_{side}" for side in SIDES for name in ("kernels", "host")]
    cells = done[columns].astype(object).fillna("")
    other = cells["kernels_a"].ne(cells["kernels_b"]) | cells["host_a"].ne(cells["host_b"])
    if not other.any():
        return []
    sides = [computation.computed(done[other], f"_{side}") for side in SIDES]
    if not computation.differ(sides):  # but for their components
        sides = [computation.computed(done[other], f"_{side}", components=True) for side in SIDES]
    a, b = map(computation.words, sides)
    many = count(int(other.sum()), "trial")
    line = f"  {many} computed otherwise: {a} in A, {b} in B; {computation.consequence(sides)}"
    same, pairs = int(done["same_kind"].sum()), count(len(done), "pair")
    if same == len(done):
        return [line]
    return [line, f"  {same:,} of {pairs} are known to be made on one kind of processor; {OTHER_KIND}"]


def _only_in(trials: pd.DataFrame, side: str) -> list[str]:
    alone = trials[trials["inside"].eq(side)]
    if alone.empty:
        return []
    counts = alone.groupby(["dataset", "arm"], sort=False).size().reset_index(name="count")
    shown = counts.head(MOST_LISTED).to_dict("records")
    arms = [f"{row['arm']} on {row['dataset']} ({row['count']})" for row in shown]
    arms += [f"and {count(len(counts) - len(arms), 'more arm')}"] if len(counts) > len(arms) else []
    return [f"  only in {side.upper()}: {count(len(alone), 'trial')}: {'; '.join(arms)}"]


def _unfinished(trials: pd.DataFrame, side: str) -> list[str]:
    status = trials.loc[trials["inside"].eq("both"), f"status_{side}"].replace("", "not trained yet")
    counts = status[status.ne("ok")].value_counts()
    if counts.empty:
        return []
    return [f"  without a result in {side.upper()}: " + ", ".join(f"{n} {how}" for how, n in counts.items())]


def arms_shown(arms: pd.DataFrame, few: int) -> tuple[pd.DataFrame, list[str]]:
    """Select the arms that a table shows, worst first, and say which ones it leaves out."""
    lost = arms["lost"].gt(0) | arms["regressed"]
    ordered = arms.assign(_first=~lost).sort_values(["_first", "difference"], kind="stable")
    if len(arms) <= 2 * few:
        return ordered, []
    telling = lost | arms["verdict"].isin(DIFFERENT)
    shown = ordered[telling.reindex(ordered.index)]
    shown = shown if len(shown) <= 4 * few else pd.concat([shown.head(3 * few), shown.tail(few)])
    left = [verdict(row) for row in ordered.drop(shown.index).to_dict("records")]
    counts = ", ".join(f"{left.count(how)} {how}" for how in dict.fromkeys(left))
    return shown, [f"{count(len(left), 'more arm')}: {counts}"] if left else []


def below_table(arms: pd.DataFrame, comparison: Comparison, dataset: str) -> list[str]:
    """Say the mean difference over all arms of a data set, and which differences were detectable."""
    lines = []
    for row in comparison.pooled[comparison.pooled["dataset"].eq(dataset)].to_dict("records"):
        left = f"; left out: {count(row['left_out'], 'arm')} without all seeds" if row["left_out"] else ""
        over = f"mean over {count(row['arms'], 'arm')}, B - A: {difference(row)} points"
        lines += [f"{over}, {count(row['n'], comparison.unit)}{left}"] if row["n"] else []
    detectable = arms.loc[arms["identical"].lt(arms["trials"]), "detectable"].dropna()
    if len(detectable):
        sizes = between([f"{100 * size:.2f}" for size in (detectable.min(), detectable.max())])
        lines.append(f"at 80 % power, true differences of {sizes} points could be seen")
    return lines


def write(comparison: Comparison, out: Path) -> list[Path]:
    """Write differences.csv (a row an arm, shares) and differences.tex (booktabs, points) into a folder.

    Raises:
        UsageError: `out` is a file.
        MachineError: it cannot be written.
    """
    output_folder.check_folder(out)
    text = csv_rows.written(comparison.arms, part_files.SIGNIFICANT)
    files.write(out / CSV, text.encode())
    files.write(out / LATEX, latex(comparison).encode())
    return [out / CSV, out / LATEX]


def latex(comparison: Comparison) -> str:
    """Write the arms as a booktabs tabular: seeds, means in percent, difference in points, p, verdict."""
    head = ["data set", "arm", f"{comparison.unit}s", "A", "B", "B \u2212 A", "p (Holm)", "verdict"]
    rows = [
        [
            str(row["dataset"]), str(row["arm"]), str(row["n"]), hundredths(row["a"]), hundredths(row["b"]),
            minus(difference(row)), p_value_column(row["p_holm"]), verdict(row),
        ]
        for row in comparison.arms.to_dict("records")
    ]  # fmt: skip
    return tabular(head, rows, "llrrrrrl")
