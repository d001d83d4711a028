"""How often a table of single runs has two arms in the wrong order, by how far apart they truly are.

Such a table has one seed an arm, one learning rate for all, and perhaps the epoch that was best on test. It
is held against a careful study of the same arms: many seeds, the last epoch, and where the study tunes, a
learning rate that every block of seeds chose for itself. Nothing is trained here; all numbers come from
results folders.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness import stats
from harness.text import as_word

EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, np.inf)
"""The true differences, as shares, that are looked at together: from each up to the next."""
CELL = ("dataset", "label_noise")
"""Columns of what arms have to share to be compared."""
PAIR = ["cell", "arm", "reference"]
"""Columns that name two arms of a cell."""
KNOWN = ("better", "worse")
TIE = 1e-9  # accuracies that are equal on paper differ by less
VAL_IS_TEST = "_val_is_test"
BLOCK = "seed_block"
LAST, BEST = "last epoch", "best epoch on test"
CAREFUL, ITSELF = "the careful study", "the mean of such tables"
SAME, OWN, ALL = "the same in all arms", "its own in each arm", "all of them, averaged"


def differences(values: pd.DataFrame) -> pd.DataFrame:
    """Subtract the accuracies of all pairs of arms that can be compared, table by table.

    Args:
        values: cell, arm, table, accuracy: a row an arm and table; NaN for a run that has no accuracy.

    Returns:
        PAIR, table, difference: of the arm less the reference, which comes later in the alphabet.
    """
    parts = [pd.DataFrame(columns=[*PAIR, "table", "difference"])]
    for cell, group in values.groupby("cell", sort=False):
        wide = group.pivot_table(index="table", columns="arm", values="accuracy", dropna=False)
        for arm, reference in itertools.combinations(sorted(wide.columns), 2):
            difference = (wide[arm] - wide[reference]).rename("difference").reset_index()
            parts.append(difference.assign(cell=cell, arm=arm, reference=reference))
    return pd.concat(parts[1:] or parts, ignore_index=True)[[*PAIR, "table", "difference"]]


def true_orders(values: pd.DataFrame) -> pd.DataFrame:
    """Judge which arm of each pair is truly better, all pairs as one family (Student's t, Holm).

    Args:
        values: as for `differences`; its tables are the seeds, or the blocks of seeds, of a study.

    Returns:
        PAIR, n, difference, low, high (95 %, of the pair by itself), p_holm, known: whether there is an order
        at 5 % of the family.
    """
    table = stats.verdicts(differences(values), PAIR, margin=None)
    known = table["verdict"].isin(KNOWN)
    return table[[*PAIR, "n", "difference", "low", "high", "p_holm"]].assign(known=known)


def orders(values: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Hold each table's order of each pair against the true one, where that is known.

    Args:
        values: as for `differences`; its tables are tables of single runs.
        true: as from `true_orders`.

    Returns:
        PAIR, table, size (of the true difference), wrong, tie; no row where a run of the two has no accuracy.
    """
    known = true.loc[true["known"], [*PAIR, "difference"]].rename(columns={"difference": "true"})
    met = differences(values).dropna(subset=["difference"]).merge(known, on=PAIR)
    shown = met["difference"] * np.sign(met["true"])
    wrong, tie = shown.lt(-TIE), shown.abs().le(TIE)
    return met[[*PAIR, "table"]].assign(size=met["true"].abs(), wrong=wrong, tie=tie)


def rates(held: pd.DataFrame) -> pd.DataFrame:
    """Give the share of pairs in the wrong order, over all sizes of the true difference and by size.

    The pairs of a table share runs, so a table is what is counted: its share of wrong pairs is one number,
    and the interval is Student's t over tables. It is about other seeds of these arms, not about other arms.

    Args:
        held: as from `orders`.

    Returns:
        size_low, size_high (at least; less than), pairs, n (tables), wrong, low, high (NaN where all tables
        have the same share), ties: shares. Sizes of which there is no pair have no row.
    """
    rows = []
    for low, high in [(0.0, np.inf), *itertools.pairwise(EDGES)]:
        here = held[held["size"].ge(low) & held["size"].lt(high)]
        if len(here):
            rows.append({"size_low": low, "size_high": high, **_rate(here)})
    columns = ["size_low", "size_high", "pairs", "n", "wrong", "low", "high", "ties"]
    return pd.DataFrame(rows, columns=columns)


def _rate(held: pd.DataFrame) -> dict[str, float]:
    tables = held.groupby("table", as_index=False)[["wrong", "tie"]].mean()
    (row,) = stats.summarise(tables.assign(all=""), ["all"], "wrong", within=(0.0, 1.0)).to_dict("records")
    return {
        "pairs": len(held.drop_duplicates(PAIR)), "n": row["n"], "wrong": row["mean"],
        "low": row["low"], "high": row["high"], "ties": float(tables["tie"].mean()),
    }  # fmt: skip


def with_own_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Give each arm of a table a seed of its own: the k-th arm of a cell has that of the table k places on.

    Args:
        values: as for `differences`, every arm of a cell in all tables, which are more than the arms.
    """
    parts = []
    for _, group in values.sort_values("table").groupby("cell", sort=False):
        for place, (_, runs) in enumerate(group.groupby("arm")):
            parts.append(runs.assign(accuracy=np.roll(runs["accuracy"].to_numpy(), -place)))
    return pd.concat(parts, ignore_index=True)


def named(trials: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Name the cell and the arm of each trial, alike in two studies: columns cell and arm.

    Args:
        trials: of `harness.read`.
        settings: the columns whose values name an arm.
    """
    cells, arms = (
        [", ".join(words) for words in trials[list(columns)].map(as_word).to_numpy().tolist()]
        for columns in (CELL, settings)
    )
    return trials.assign(cell=[cell.replace(VAL_IS_TEST, "") for cell in cells], arm=arms)


def of_study(trials: pd.DataFrame, settings: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the true accuracies and single runs from the trials of a careful study.

    Args:
        trials: of `harness.read`, with a column seed_block where blocks of seeds chose.
        settings: as for `named`.

    Returns:
        Two tables as `differences` takes them. The first has a table a seed, or a block: the mean of its
        seeds that finished. The second has a run of each: its first seed.
    """
    done = named(trials, settings).assign(
        table=trials[BLOCK if BLOCK in trials else "seed"],
        accuracy=trials["test_accuracy"].where(trials["status"].eq("ok")),
    )
    by = ["cell", "arm", "table"]
    means = done.groupby(by, sort=False)["accuracy"].mean().reset_index()
    first = done.sort_values("seed", kind="stable").drop_duplicates(by)
    return means, first[[*by, "accuracy"]].reset_index(drop=True)


def of_tables(trials: pd.DataFrame, epochs: pd.DataFrame, settings: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read tables of single runs from a study whose val is the test file: a table a seed.

    Args:
        trials: of `harness.read`.
        epochs: the same; trials that are not in it have no best epoch.
        settings: as for `named`.

    Returns:
        `LAST` and `BEST` -> a table as `differences` takes it: the accuracy of the last epoch, and of the
        epoch that is best on that file.
    """
    curves = epochs[epochs["split"].eq("val") & epochs["epoch"].gt(0)]
    best = trials["trial_id"].map(curves.groupby("trial_id")["accuracy"].max())
    tables = named(trials, settings).assign(table=trials["seed"])[["cell", "arm", "table"]]
    finished = trials["status"].eq("ok")
    return {
        LAST: tables.assign(accuracy=trials["val_accuracy"].where(finished)),
        BEST: tables.assign(accuracy=best.where(finished)),
    }


def compared(true: pd.DataFrame, protocols: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give `rates` of each protocol by which tables of single runs were made.

    Args:
        true: as from `true_orders`, of the careful study.
        protocols: what a protocol is called -> its tables of single runs, as `differences` takes them.

    Returns:
        protocol, seeds (`SAME` or `OWN`; `ALL`: one table, the mean of all), against, and the columns of
        `rates`. All are over the pairs whose order `true` knows. Against `CAREFUL`, wrong is another order
        than the careful study's. Against `ITSELF`, it is another than the mean of all tables of this protocol
        has: what one seed does alone.
    """
    parts = []
    for protocol, tables in protocols.items():
        mean = tables.groupby(["cell", "arm"], as_index=False, sort=False)["accuracy"].mean()
        mean = mean.assign(table=0)
        against = {CAREFUL: true, ITSELF: _of_mean(mean, true)}
        whole = rates(orders(mean, true))
        parts.append(whole.assign(protocol=protocol, seeds=ALL, against=CAREFUL))
        for seeds, drawn in ((SAME, tables), (OWN, with_own_seeds(tables))):
            parts += [
                rates(orders(drawn, order)).assign(protocol=protocol, seeds=seeds, against=name)
                for name, order in against.items()
            ]
    whole = pd.concat(parts, ignore_index=True)
    first = ["protocol", "seeds", "against"]
    return whole[[*first, *whole.columns.drop(first)]]


def _of_mean(mean: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Give the order that the mean of all tables has, of the pairs whose true order is known."""
    known = true.loc[true["known"], PAIR]
    return differences(mean).merge(known, on=PAIR).assign(known=True)
