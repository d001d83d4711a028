"""From rows to what is reported: ratios within rounds, one table of CPU seconds and seconds."""

from __future__ import annotations

import pandas as pd
from cells import CELLS
from peers import PEERS
from rich.console import Console
from rich.table import Table
from sides import CHECKED, HARNESS, TITLES

GROUP = ["cell", "title", "trials", "epochs", "instructions"]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a cell, instruction set and side: medians over rounds.

    Returns:
        cell, title, trials, epochs, instructions, side, form, rounds, cpu, wall, cpu_in_all, peak_mb,
        accuracy, ratio, low, high, wall_ratio, extrapolated. Ratios are over the harness's seconds of the
        same round; ratio, low and high are the median, least and greatest of processor seconds.
    """
    timed = rows[rows["failed"].eq("")].copy()
    ours = timed[timed["side"].eq(HARNESS)].drop_duplicates([*GROUP, "round"], keep="last")
    ours = ours.set_index([*GROUP, "round"])[["cpu", "wall"]]
    base = ours.reindex(pd.MultiIndex.from_frame(timed[[*GROUP, "round"]]))
    timed["ratio"] = timed["cpu"].to_numpy(float) / base["cpu"].to_numpy(float)
    timed["wall_ratio"] = timed["wall"].to_numpy(float) / base["wall"].to_numpy(float)
    timed["accuracy"] = timed["accuracy"].astype(float)
    found = timed.groupby([*GROUP, "side"], sort=False).agg(
        form=("form", "last"), rounds=("round", "nunique"), cpu=("cpu", "median"), wall=("wall", "median"),
        cpu_in_all=("cpu_in_all", "median"), peak_mb=("peak_mb", "median"), accuracy=("accuracy", "mean"),
        ratio=("ratio", "median"), low=("ratio", "min"), high=("ratio", "max"),
        wall_ratio=("wall_ratio", "median"), extrapolated=("extrapolated", "last"),
    )  # fmt: skip
    return found.reset_index()


def different(rows: pd.DataFrame) -> list[str]:
    """The sides that failed, or whose accuracy is not the harness's but for noise, in words."""
    failed = rows[rows["failed"].ne("")].drop_duplicates([*GROUP, "side"])
    problems = [
        f"{row['title']}: {TITLES[row['side']]}: {row['failed']}" for row in failed.to_dict("records")
    ]
    found = summary(rows)
    for _, sides in found[found["accuracy"].notna()].groupby(GROUP, sort=False):
        same = CELLS[sides["cell"].iloc[0]].same
        if sides["accuracy"].max() - sides["accuracy"].min() > same:
            each = ", ".join(
                f"{TITLES[row['side']]} {row['accuracy']:.4f}" for row in sides.to_dict("records")
            )
            problems.append(f"{sides['title'].iloc[0]}: not the same work: test accuracies differ: {each}")
    return problems


def spread(median: float, low: float, high: float) -> str:
    """`4.1 (3.9 to 4.4)`; a single round has no spread."""
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    if low == high:
        return f"{median:.{digits}f} (1 round)"
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def show(rows: pd.DataFrame, console: Console | None = None) -> None:
    """Print the table: a row a cell, instruction set and side."""
    console = console or Console(width=170)
    table = Table(
        title="CPU seconds of all processes, and over the harness's: median (lowest to highest round)",
        caption=CHECKED if rows["side"].isin(list(PEERS)).any() else None,
    )
    for name in ("cell", "side, its form"):
        table.add_column(name)
    for name in ("rounds", "CPU s", "times the harness's", "s", "times", "accuracy", "peak MB", "timed"):
        table.add_column(name, justify="right")
    for _, sides in summary(rows).groupby(GROUP, sort=False):
        table.add_section()
        for i, row in enumerate(sides.to_dict("records")):
            held = "" if row["instructions"] == "native" else f", {row['instructions']}"
            measured = pd.notna(row["ratio"])
            own = row["side"] == HARNESS
            table.add_row(
                f"{row['title']}{held}" if i == 0 else "",
                TITLES[row["side"]] + (f": {row['form']}" if row["form"] else ""), str(row["rounds"]),
                f"{row['cpu']:.2f}",
                "1" if own else spread(row["ratio"], row["low"], row["high"]) if measured else "",
                f"{row['wall']:.1f}", "1" if own else f"{row['wall_ratio']:.2f}" if measured else "",
                f"{row['accuracy']:.4f}" if pd.notna(row["accuracy"]) else "",
                f"{row['peak_mb']:.0f}" if row["peak_mb"] else "", row["extrapolated"] or "all of it",
            )  # fmt: skip
    console.print(table)
