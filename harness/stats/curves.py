"""Learning curves, averaged within a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def mean_curves(
    epochs: pd.DataFrame, trials: pd.DataFrame, by: Sequence[str], metric: str = "accuracy"
) -> pd.DataFrame:
    """Average the learning curves of finished trials to one curve a group, split and seed.

    Args:
        epochs: trial_id, epoch, split, `metric`.
        trials: trial_id, status, seed and `by`.
        by: columns that name a curve; losses of different kinds must be told apart here.
        metric: the column to average.

    Returns:
        `by`, split, epoch, seed, value, trials (averaged into the value).
    """
    ok = trials.loc[trials["status"].eq("ok"), list(dict.fromkeys(["trial_id", "seed", *by]))]
    values = epochs[["trial_id", "epoch", "split"]].assign(value=epochs[metric])  # an axis may be "loss"
    joined = values.merge(ok, on="trial_id", sort=False)
    columns = [*by, "split", "epoch", "seed"]
    grouped = joined.groupby(columns, sort=False, observed=True, dropna=False)["value"]
    return grouped.agg(value="mean", trials="count").reset_index()
