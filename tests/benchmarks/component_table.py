"""The table of `component_cells`: ratios within rounds, and whether all sides trained alike."""

from __future__ import annotations

import pandas as pd
from ratios import spread
from rich.console import Console
from rich.table import Table

OURS, THEIRS = "this checkout", "the other"
SAME = 0.015  # mean test accuracies that differ by less are the same


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a cell and side: medians over rounds; ratios are over this checkout's seconds in the same round.

    Returns:
        cell, title, side, rounds, cpu, cpu_in_all, wall, peak_mb, accuracy, form, ratio, low, high,
        ratio_in_all.
    """
    timed = rows[rows["failed"].eq("")].copy()
    ours = timed[timed["side"].eq(OURS)].set_index(["cell", "round"])["cpu"]
    base = ours.reindex(pd.MultiIndex.from_frame(timed[["cell", "round"]])).to_numpy()
    timed["ratio"], timed["ratio_in_all"] = timed["cpu"] / base, timed["cpu_in_all"] / base
    found = timed.groupby(["cell", "title", "side"], sort=False).agg(
        rounds=("round", "nunique"), cpu=("cpu", "median"), cpu_in_all=("cpu_in_all", "median"),
        wall=("wall", "median"), peak_mb=("peak_mb", "median"), accuracy=("accuracy", "mean"),
        form=("form", "first"), ratio=("ratio", "median"), low=("ratio", "min"), high=("ratio", "max"),
        ratio_in_all=("ratio_in_all", "median"),
    )  # fmt: skip
    return found.reset_index()


def different(rows: pd.DataFrame) -> list[str]:
    """The sides that failed, or whose accuracy is not this checkout's but for noise, in words."""
    problems = [
        f"{row['title']}: {row['side']}: failed" for row in rows[rows["failed"].ne("")].to_dict("records")
    ]
    if len(problems) == len(rows):
        return problems
    for title, sides in summary(rows).groupby("title", sort=False):
        least, most = sides["accuracy"].min(), sides["accuracy"].max()
        if most - least > SAME:
            told = ", ".join(f"{row['side']} {row['accuracy']:.4f}" for row in sides.to_dict("records"))
            problems.append(f"{title}: test accuracies differ by more than {SAME}: {told}")
    return problems


def show(rows: pd.DataFrame, console: Console | None = None) -> None:
    """Print the table: a row a cell and side."""
    console = console or Console(width=150)
    if not rows["failed"].eq("").any():
        return
    table = Table(title=f"CPU seconds of all processes; times {OURS}'s, median (lowest to highest round)")
    for name in ("cell", "side"):
        table.add_column(name)
    for name in ("CPU s", f"times {OURS}'s", "s", "peak MB", "accuracy", "start, compiling too"):
        table.add_column(name, justify="right")
    for title, sides in summary(rows).groupby("title", sort=False):
        table.add_section()
        for i, row in enumerate(sides.to_dict("records")):
            ratio = "1" if row["side"] == OURS else spread(row["ratio"], row["low"], row["high"])
            table.add_row(
                str(title) if i == 0 else "", row["side"] + (f", {row['form']}" if row["form"] else ""),
                f"{row['cpu']:.2f}", ratio, f"{row['wall']:.1f}",
                f"{row['peak_mb']:.0f}" if row["peak_mb"] else "", f"{row['accuracy']:.4f}",
                f"{row['cpu_in_all']:.1f} s, {row['ratio_in_all']:.2f}" if row["form"] else "",
            )  # fmt: skip
    console.print(table)
