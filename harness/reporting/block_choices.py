"""The choices of blocks of seeds: how often an arm got which settings, and what that adds to its spread."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting.model import Cell, Column, Table, rows_of, share_cell
from harness.settings.schema import SEED_BLOCK
from harness.text import DASH, as_word, between, count, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FACTS = ["dataset", "arm", "val_accuracy", "seeds", "tried", "unfinished", "edge"]
"""Columns of chosen.csv beside the chosen settings and, where blocks of seeds choose, the block."""
NAMED = 4  # settings of an arm that are named, the most frequent first
NOTE = (
    "What each block of seeds chose on val by tuning seeds of its own; test was not read. In brackets: by "
    "how many blocks. Val accuracy: of the chosen settings, the mean over blocks, the lowest, the highest. "
    "Spread of seeds, of choices: standard deviations of the test accuracy in points, at one choice and "
    "of what is chosen, by an analysis of variance with blocks as random effects, rough with few blocks; 0 "
    "where all blocks chose the same, and a dash where blocks have one seed, of which the two cannot be told "
    "apart. The intervals of the verdicts cover both."
)


def chosen_settings(chosen: pd.DataFrame) -> list[str]:
    """List the settings that were chosen: columns of chosen.csv."""
    return [str(name) for name in chosen if name not in {*FACTS, SEED_BLOCK}]


def most_frequent(chosen: pd.DataFrame) -> pd.DataFrame:
    """Keep of each arm's choices the one that most of its blocks made, of equal ones the first."""
    if SEED_BLOCK not in chosen:
        return chosen
    made = chosen[chosen["val_accuracy"].notna()]
    key = ["dataset", "arm", *chosen_settings(chosen)]
    times = made.groupby(key, sort=False, dropna=False)["seeds"].transform("size")
    order = times.sort_values(ascending=False, kind="stable").index
    return made.loc[order].drop_duplicates(["dataset", "arm"]).sort_index()


def table(chosen: pd.DataFrame, trials: pd.DataFrame) -> Table:
    """Tabulate what blocks of seeds chose, a row an arm.

    `chosen`: chosen.csv, with blocks; `trials`: those of the tuned arms, without rows where there are none.
    """
    names = chosen_settings(chosen)
    rows = [_row(arm, names) for _, arm in chosen.groupby(["dataset", "arm"], sort=False)]
    columns = ["dataset", "arm", "seed_sd", "choice_sd"]
    spreads = stats.choice_spreads(trials)[columns] if len(trials) else pd.DataFrame(columns=columns)
    data = pd.DataFrame(rows).merge(spreads, on=["dataset", "arm"], how="left")
    data.loc[data["choices"].eq(1), "choice_sd"] = 0.0  # more of it would be the seeds' noise
    shown = [
        Column("data set", "dataset"),
        Column("arm", "arm", show="long"),
        Column("chosen (blocks)", "chosen"),
        Column("val accuracy", _accuracy, numeric=True),
        Column("spread of seeds", lambda row: _sd(row["seed_sd"]), numeric=True),
        Column("spread of choices", lambda row: _sd(row["choice_sd"]), numeric=True),
        Column("tried", "tried", numeric=True),
        Column("blocks without a choice", "without", numeric=True, show="wide"),
        Column("at an edge", lambda row: Cell(row["edges"]), show="wide"),
    ]
    title = "What each block of seeds chose"
    return Table("chosen", title, NOTE, shown, rows_of(shown, data.to_dict("records")), data, searched=True)


def _row(arm: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Summarise the choices of an arm's blocks."""
    made = arm[arm["val_accuracy"].notna()]
    times = Counter(_words(row, names) for row in made.to_dict("records"))
    settings = [f"{words} ({many})" for words, many in times.most_common()]
    edges = Counter(edge for edge in made["edge"].fillna("") if edge)
    first = arm.iloc[0]
    return {
        "dataset": first["dataset"], "arm": str(first["arm"]), "blocks": len(arm),
        "choices": len(times), "chosen": listed(settings, NAMED) or DASH,
        "val_accuracy": made["val_accuracy"].mean(), "lowest": made["val_accuracy"].min(),
        "highest": made["val_accuracy"].max(), "tried": int(first["tried"]),
        "without": len(arm) - len(made),
        "edges": "; ".join(f"{words} ({many})" for words, many in edges.most_common()),
    }  # fmt: skip


def _words(row: Mapping[Any, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {as_word(row[name])}" for name in names if not pd.isna(row[name]))


def _accuracy(row: Mapping[Any, Any]) -> Cell:
    if math.isnan(row["val_accuracy"]):
        return share_cell(math.nan)
    ends = between([percent(row["lowest"]), percent(row["highest"])])
    return share_cell(row["val_accuracy"], ends, 2)


def _sd(share: float) -> Cell:
    return Cell(DASH if math.isnan(share) else points(share), key=share)


def edges(chosen: pd.DataFrame) -> Iterator[str]:
    """Name the arms for which blocks chose a setting at the edge of its space, or nothing."""
    none = chosen[chosen["val_accuracy"].isna()]
    if len(none):
        yield (
            f"No setting finished with every tuning seed of {count(len(none), 'block')} of an arm, so none "
            f"was chosen there, and these blocks are not in its contrasts: {listed(_arms(none), NAMED)}."
        )
    edge = chosen[chosen["edge"].fillna("").ne("")]
    if len(edge):
        lie = "lies" if len(edge) == 1 else "lie"
        yield (
            f"{count(len(edge), 'choice')} of {len(chosen)} {lie} at the edge of the space, so better ones "
            f"may lie beyond: {listed(_arms(edge), NAMED)}."
        )


def _arms(chosen: pd.DataFrame) -> list[str]:
    """Name arms with the number of their rows, the most frequent first."""
    times = Counter(
        f"{arm} on {dataset}" for arm, dataset in zip(chosen["arm"], chosen["dataset"], strict=True)
    )
    return [f"{name} ({count(many, 'block')})" for name, many in times.most_common()]
