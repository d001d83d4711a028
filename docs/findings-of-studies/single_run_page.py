"""Numbers of the page on tables of single runs: two studies, and such tables of the arms of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page_parts
import pandas as pd
import single_runs
import study_figures
from page_parts import Finding
from single_runs import ALL, BEST, CAREFUL, EDGES, ITSELF, OWN, SAME

from harness import results
from harness.settings.schema import TUNED
from harness.text import as_word, percent, whole_percent

FIXED_SEED = "fixed_seed"
ALL_SIZES = "all"
SIZES = [
    f"{100 * low:g} to {100 * high:g}" if math.isfinite(high) else f"{100 * low:g} and more"
    for low, high in itertools.pairwise(EDGES)
]
"""The sizes of true differences in words, in points."""
SMALL, LARGE = "0.1 to 0.2", "2 and more"
"""The sizes of the hypotheses: many pairs of the one are in the wrong order, none of the other."""
MANY = 0.1
WORDS = dict(zip(itertools.pairwise(EDGES), SIZES, strict=True))


@dataclass(frozen=True)
class Compared:
    """Two studies of the same arms.

    `careful` is the one that gives the true order, `phase` the folder of its trials in its results, `tables`
    the one whose seeds are tables of single runs. `settings` name an arm, `title` says what arms differ in,
    `own` how a single run of the careful study was made.
    """

    title: str
    careful: str
    phase: str
    tables: str
    settings: Sequence[str]
    own: str


STUDIES = (
    Compared(
        "networks and schedules", "variance", "", "single_runs_networks", ("network", "schedule"),
        "one seed, last epoch",
    ),
    Compared(
        "losses and budgets", "losses_noise", TUNED, "single_runs_losses", ("budget", "output"),
        "one seed, tuned, last epoch",
    ),
)  # fmt: skip


def careful_trials(folder: Path) -> pd.DataFrame:
    """Read the trials of a careful study that draw everything by their own seed.

    Raises:
        UsageError: it is not a results folder.
    """
    trials = results.read_trials(folder)
    return trials[trials[FIXED_SEED].eq("none")] if FIXED_SEED in trials else trials


def held(compared: Compared, folders: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold the tables of single runs of two studies against the true order of their arms.

    Returns:
        The rates, as `single_runs.compared` gives them, and the true orders. Both have a column study, the
        rates their size in words, too.

    Raises:
        UsageError: one is not a results folder.
    """
    trials = careful_trials(folders[compared.careful] / compared.phase)
    means, runs = single_runs.of_study(trials, compared.settings)
    true = single_runs.true_orders(means)
    protocols = {compared.own: runs, **_protocols(compared, folders[compared.tables])}
    rates = single_runs.compared(true, protocols)
    ends = zip(rates["size_low"], rates["size_high"], strict=True)
    rates.insert(0, "size", [WORDS.get(pair, ALL_SIZES) for pair in ends])
    rates.insert(0, "study", compared.title)
    true.insert(0, "study", compared.title)
    return rates, true


def _protocols(compared: Compared, folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of single runs by protocol: each learning rate by itself, where there are several."""
    epochs = results.read_epochs(folder)
    by_rate = {as_word(rate): rows for rate, rows in results.read_trials(folder).groupby("lr", sort=True)}
    return {
        f"lr {rate}, {chosen}" if len(by_rate) > 1 else f"one seed, all of train, {chosen}": tables
        for rate, trials in by_rate.items()
        for chosen, tables in single_runs.of_tables(trials, epochs, compared.settings).items()
    }


def finding(folders: Mapping[str, Path]) -> Finding:
    """Read the four results folders and make what the page shows.

    Raises:
        UsageError: one is not a results folder.
    """
    both = [held(compared, folders) for compared in STUDIES]
    rates, true = (pd.concat(tables, ignore_index=True) for tables in zip(*both, strict=True))
    main = rates[rates["seeds"].eq(SAME) & rates["against"].eq(CAREFUL)]
    words = {
        "studies": [_words(compared, rates, true) for compared in STUDIES],
        "sizes": SIZES, "tables": int(main["n"].max()),
        "took": page_parts.took([folders[compared.tables] for compared in STUDIES]),
    }  # fmt: skip
    figure = study_figures.orders_figure(main[main["size"].ne(ALL_SIZES)], SIZES)
    return Finding(words, {"rates": rates, "pairs": true}, figure)


def _words(compared: Compared, rates: pd.DataFrame, true: pd.DataFrame) -> dict[str, Any]:
    """Give what the page says of the pairs of one of the two studies."""
    pairs, here = (table[table["study"].eq(compared.title)] for table in (true, rates))
    main = _of(here, SAME, CAREFUL)
    protocols = list(dict.fromkeys(main["protocol"]))
    every = {
        "whole": main, "own": _of(here, OWN, CAREFUL), "alone": _of(here, SAME, ITSELF),
    }  # fmt: skip
    averaged = _of(here, ALL, CAREFUL)
    return {
        "title": compared.title, "careful": compared.careful, "tables": compared.tables,
        "pairs": len(pairs), "known": int(pairs["known"].sum()), "protocols": protocols,
        "outcomes": [f"{outcome(main, name)} for {name}" for name in protocols if BEST in name],
        "counts": [_pairs(main, size) for size in SIZES],
        "rows": [[_cell(main, protocol, size) for protocol in protocols] for size in SIZES],
        **{
            name: [_cell(some, protocol, ALL_SIZES) for protocol in protocols] for name, some in every.items()
        },
        "averaged": [_averaged(averaged, protocol) for protocol in protocols],
    }  # fmt: skip


def outcome(rates: pd.DataFrame, protocol: str) -> str:
    """Say what became of the hypothesis for a protocol: it holds, is rejected, or is not decided.

    It holds where the interval of the rate lies above `MANY` at the size `SMALL`, and no pair of `LARGE` is
    in the wrong order. It is rejected where that interval lies below, or such a pair is; where neither does
    that and there is no pair of one of the sizes, it cannot be judged.

    Args:
        rates: as from `held`, against the careful study.
        protocol: one of theirs.
    """
    rows = {row["size"]: row for row in rates[rates["protocol"].eq(protocol)].to_dict("records")}
    small, large = rows.get(SMALL), rows.get(LARGE)
    if (large and large["wrong"] > 0) or (small and max(small["wrong"], _end(small, "high")) < MANY):
        return "is rejected"
    if small is None or large is None:
        missing = [size for size in (SMALL, LARGE) if size not in rows]
        return f"cannot be judged (no pair differs by {' points, or by '.join(missing)} points)"
    held = min(small["wrong"], _end(small, "low")) > MANY
    return "holds" if held else "is not decided"


def _end(row: Mapping[Any, Any], name: str) -> float:
    """Give an end of a rate's interval; the rate itself, where all tables have the same."""
    return float(row["wrong"] if math.isnan(row[name]) else row[name])


def _of(rates: pd.DataFrame, seeds: str, against: str) -> pd.DataFrame:
    return rates[rates["seeds"].eq(seeds) & rates["against"].eq(against)]


def _pairs(rates: pd.DataFrame, size: str) -> int:
    """Count the pairs of a size: those of the protocol that has most."""
    return max(map(int, rates.loc[rates["size"].eq(size), "pairs"]), default=0)


def _averaged(rates: pd.DataFrame, protocol: str) -> str:
    """Write the rate of the mean of all tables of a protocol, which is one table."""
    (row,) = rates[rates["protocol"].eq(protocol) & rates["size"].eq(ALL_SIZES)].to_dict("records")
    return percent(row["wrong"], 0)


def _cell(rates: pd.DataFrame, protocol: str, size: str) -> str:
    """Write the rate of a protocol at a size with its interval; "no pair" where there is none."""
    rows = rates[rates["protocol"].eq(protocol) & rates["size"].eq(size)].to_dict("records")
    if not rows:
        return "no pair"
    (row,) = rows
    if math.isnan(row["low"]):
        return f"{whole_percent(row['wrong'])} in each table"
    return f"{whole_percent(row['wrong'])} ({whole_percent(row['low'])} to {whole_percent(row['high'])})"
