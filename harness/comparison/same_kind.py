"""Differences of a family of contrasts that come from pairs of trials made on one kind of processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from harness.results import trial_kinds
from harness.results.families import KEY, within_words
from harness.text import as_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.study.contrasts import Contrasts, Levels

OF_KINDS = [f"_{name}" for name in trial_kinds.COLUMNS]


def same_kind(
    trials: pd.DataFrame, axes: Sequence[str], family: Contrasts, differences: pd.DataFrame
) -> pd.Series[bool]:
    """Tell of each difference whether all pairs of trials in it were made on one kind of processor.

    Args:
        trials: as `families.differences` takes them, with the columns of `trial_kinds.READ`, if they are
            known.
        axes: columns of the settings that were varied, the data set aside.
        family: pairs and levels.
        differences: as `families.differences` gives them.

    Returns:
        True where a pair is of one kind, on the index of `differences`; of several pairs (a level's in one
        seed, over the cells of the other axes), all of them. A seed that one side has not finished has none,
        and is True.
    """
    done = trials[trials["status"].eq("ok")]
    made = trial_kinds.of_trials(done)
    if trial_kinds.all_alike(made):
        return pd.Series(data=True, index=differences.index)
    rows = done.assign(arm=done["arm"].astype(str), **dict(zip(OF_KINDS, made.to_numpy().T, strict=True)))
    tables = [_pairs(rows, family), *(_levels(rows, axes, levels) for levels in family.levels)]
    pairs = pd.concat([table for table in tables if len(table)], ignore_index=True)
    mixed = set(pairs.loc[~pairs["alike"], [*KEY, "seed"]].itertuples(index=False, name=None))
    keys = differences[[*KEY, "seed"]].itertuples(index=False, name=None)
    return pd.Series([key not in mixed for key in keys], index=differences.index)


def _pairs(rows: pd.DataFrame, family: Contrasts) -> pd.DataFrame:
    """Compare the trials of pairs of arms, seed by seed."""
    pairs = pd.DataFrame(family.pairs, columns=["arm", "reference"]).drop_duplicates()
    rows = rows[["dataset", "arm", "seed", *OF_KINDS]]
    theirs = rows.rename(columns={"arm": "reference"})
    joined = pairs.merge(rows, on="arm").merge(
        theirs, on=["dataset", "reference", "seed"], suffixes=("", "_theirs")
    )
    return _compared(joined.assign(axis="", within=""))


def _levels(rows: pd.DataFrame, axes: Sequence[str], levels: Levels) -> pd.DataFrame:
    """Compare the trials of an axis' levels with those of its reference in the same cell and seed."""
    axis, within = levels.axis, list(levels.within)
    if not {axis, *within} <= set(rows):
        return pd.DataFrame()
    rows = rows.assign(**{name: rows[name].map(as_word) for name in (axis, *within)})
    cell = [name for name in dict.fromkeys([*axes, *within]) if name not in {axis, "dataset"}]
    kept = rows[["dataset", axis, *cell, "seed", *OF_KINDS]]
    theirs = kept[kept[axis].eq(as_word(levels.reference))]
    joined = kept.rename(columns={axis: "arm"}).merge(
        theirs.rename(columns={axis: "reference"}), on=["dataset", *cell, "seed"], suffixes=("", "_theirs")
    )
    words = [within_words(within, values) for values in joined[within].to_numpy().tolist()] if within else ""
    return _compared(joined.assign(axis=axis, within=words))


def _compared(joined: pd.DataFrame) -> pd.DataFrame:
    """Add to pairs of trials whether each is of one kind."""
    ours, theirs = (
        joined[[f"{name}{side}" for name in OF_KINDS]].set_axis(trial_kinds.COLUMNS, axis=1)
        for side in ("", "_theirs")
    )
    return joined[[*KEY, "seed"]].assign(alike=trial_kinds.alike(ours, theirs))
