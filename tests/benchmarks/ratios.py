"""From timings to what is reported: ratios within rounds, rates, costs per trial, tables on the screen."""

from __future__ import annotations

import pandas as pd
from peers import HARNESS, PEERS
from rich.console import Console
from rich.table import Table

MAIN = "mnist"  # cells of the table; others are short trials, counted


def timed(rounds: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a time."""
    return rounds[rounds["failed"].eq("")] if len(rounds) else rounds


def ratios(rounds: pd.DataFrame) -> pd.DataFrame:
    """Each timing of the table's cells against the harness's in the same round.

    Returns:
        The rows of `rounds` with ratio (peer's seconds / harness's), microseconds_per_step (of one trial,
        amortised, evaluation and data included), trials_per_hour, and gemm_share (nominal dense FLOPs over
        time, of the best GEMM rate that all cores reached together in that round).
    """
    own = timed(rounds)
    own = own[own["dataset"].eq(MAIN)].copy()
    ours = own[own["peer"].eq(HARNESS)].set_index(["cell", "round"])["seconds"]
    keys = pd.MultiIndex.from_frame(own[["cell", "round"]])
    own["ratio"] = own["seconds"].to_numpy() / ours.reindex(keys).to_numpy()
    own["microseconds_per_step"] = 1e6 * own["seconds"] / (own["trials"] * own["steps"])
    own["trials_per_hour"] = 3600 * own["trials"] / own["seconds"]
    # The rate is the cores': a GPU's time has no share in it.
    own["gemm_share"] = (own["gflop"] / own["seconds"] / own["gemm_gflops"]).where(own["device"].eq("cpu"))
    return own


def summary(rounds: pd.DataFrame) -> pd.DataFrame:
    """A row a cell and peer: medians over rounds, and the lowest and highest ratio.

    Returns:
        cell, peer, form, device, rounds, ratio, low, high, microseconds_per_step, trials_per_hour,
        gemm_share, compile_seconds, steps_timed, extrapolated.
    """
    grouped = ratios(rounds).groupby(["cell", "peer"], sort=False)
    found = grouped.agg(
        form=("form", "first"), device=("device", "first"), rounds=("round", "nunique"),
        ratio=("ratio", "median"), low=("ratio", "min"),
        high=("ratio", "max"), microseconds_per_step=("microseconds_per_step", "median"),
        trials_per_hour=("trials_per_hour", "median"), gemm_share=("gemm_share", "median"),
        compile_seconds=("compile_seconds", "median"), steps_timed=("steps_timed", "median"),
        extrapolated=("extrapolated", "last"),
    ).reset_index()  # fmt: skip
    order = {name: i for i, name in enumerate(PEERS)}
    cells = {name: i for i, name in enumerate(dict.fromkeys(rounds["cell"]))}
    by = found.assign(_cell=found["cell"].map(cells), _peer=found["peer"].map(order))
    return by.sort_values(["_cell", "_peer"]).drop(columns=["_cell", "_peer"]).reset_index(drop=True)


def costs(rounds: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds of all cores that a short trial takes, by the number of trials.

    Returns:
        peer, trials, milliseconds_per_trial, extrapolated.
    """
    own = timed(rounds)
    own = own[own["dataset"].ne(MAIN)].copy()
    own["milliseconds_per_trial"] = 1000 * own["seconds"] / own["trials"]
    return own[["peer", "trials", "milliseconds_per_trial", "extrapolated"]].reset_index(drop=True)


def share_of(share: float, device: str) -> str:
    """`42 %`; the device's name where the cores' rate says nothing."""
    return f"{100 * share:.0f} %" if device == "cpu" else device


def spread(median: float, low: float, high: float) -> str:
    """`4.1 (3.9 to 4.4)`; a single round has no spread."""
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    if low == high:
        return f"{median:.{digits}f} (1 round)"
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def show(rounds: pd.DataFrame, console: Console | None = None) -> None:
    """Print what was found: a table of all cells, of costs per trial, and who is missing and why."""
    console = console or Console(width=170)
    table = Table(
        title="peer's time / harness's time, median (lowest to highest round)", title_justify="left"
    )
    for name in ("peer", "its best form", "times the harness"):
        table.add_column(name)
    for name in ("us a step", "trials an hour", "of best GEMM", "compiled in", "timed"):
        table.add_column(name, justify="right")
    found = summary(rounds)
    for cell, rows in found.groupby("cell", sort=False):
        table.add_section()
        table.add_row(f"[bold]{cell}[/bold]")
        for row in rows.to_dict("records"):
            ratio = "1" if row["peer"] == HARNESS else spread(row["ratio"], row["low"], row["high"])
            table.add_row(
                PEERS[row["peer"]].title, row["form"], ratio, f"{row['microseconds_per_step']:.1f}",
                f"{row['trials_per_hour']:,.0f}", share_of(row["gemm_share"], row["device"]),
                f"{row['compile_seconds']:.1f} s" if row["compile_seconds"] else "",
                row["extrapolated"] or "all of it",
            )  # fmt: skip
    console.print(table)
    _show_costs(rounds, console)
    for peer, why in timed_not(rounds).items():
        console.print(f"{PEERS[peer].title}: {why}", highlight=False)


def timed_not(rounds: pd.DataFrame) -> dict[str, str]:
    """Who is missing somewhere, and why."""
    missing = rounds[rounds["failed"].ne("")]
    return dict(zip(missing["peer"], missing["failed"], strict=True))


def _show_costs(rounds: pd.DataFrame, console: Console) -> None:
    found = costs(rounds)
    if found.empty:
        return
    wide = found.pivot_table(index="trials", columns="peer", values="milliseconds_per_trial", sort=False)
    table = Table(
        title="milliseconds a trial, of one epoch on digits (start of processes: harness alone)",
        title_justify="left",
    )
    table.add_column("trials", justify="right")
    for name in wide.columns:
        table.add_column(PEERS[str(name)].title, justify="right")
    for trials, row in wide.iterrows():
        table.add_row(f"{trials:,}", *(f"{value:.2f}" for value in row))
    console.print(table)
