"""Times to an event that may not happen before a trial ends: survival curves, restricted times.

The event is that a trial reaches a target. A trial that ends without it is censored at its end: all that is
known is that it takes longer. A trial that diverges has no later chance, so its time is not censored at
divergence, which would say that it might have gone on as the others do, but counts as longer than any.

Budgets are common, so min(time, horizon) is known for every trial, reached or not. Its mean is the
restricted mean survival time, the area under the survival curve up to the horizon (Royston and Parmar 2013).
Seeds pair the arms, so arms are compared by the paired differences of these times, which a log-rank test,
made for independent groups, would not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROUNDED = 1e-6
"""Part of a time by which two that are equal may differ, since CSVs hold seven digits."""


def event_times(trials: pd.DataFrame, time: str, end: str) -> pd.DataFrame:
    """Give each trial's time to the event, or the time up to which it is known not to have happened.

    Args:
        trials: status, `time` (NaN where it did not happen), `end`, and whatever else; a row a trial.
        time: the column of the time of the event.
        end: the column of the time at which a trial that trains to its end has ended.

    Returns:
        The rows of trials that ended, `ok` or `diverged`, with their columns, time and reached. Trials that
        failed, were stopped early or are not trained yet are left out: nothing is known of them.

    >>> two = pd.DataFrame({"status": ["ok", "diverged"], "at": [2.0, np.nan], "until": [5.0, 5.0]})
    >>> event_times(two, "at", "until")[["time", "reached"]].to_dict("list")
    {'time': [2.0, 5.0], 'reached': [True, False]}
    """
    ended = trials[trials["status"].isin(["ok", "diverged"])]
    reached = ended[time].notna()
    return ended.assign(time=ended[time].where(reached, ended[end]).astype(float), reached=reached)


def survival_curves(times: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Estimate the share of trials that have reached the event by each time, after Kaplan and Meier (1958).

    Args:
        times: `by`, time, reached; as from `event_times`.
        by: the columns that name a group.

    Returns:
        `by`, time, at_risk (trials that had not reached it, nor ended, just before), events (that reach it
        then), share (1 minus the survival function, after that time). A group begins with a row at time 0,
        and ends with one at its last time, whether something happens then or not.
    """
    tables = [
        _curve(group).assign(**dict[str, Any](zip(by, name, strict=True)))
        for name, group in times.groupby(list(by), sort=False, observed=True, dropna=False)
    ]
    columns = [*by, "time", "at_risk", "events", "share"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _curve(group: pd.DataFrame) -> pd.DataFrame:
    from statsmodels.duration.survfunc import SurvfuncRight

    time = group["time"].to_numpy(dtype=float)
    fitted = SurvfuncRight(time, group["reached"].to_numpy(dtype=int))
    table = pd.DataFrame({
        "time": fitted.surv_times, "at_risk": fitted.n_risk, "events": fitted.n_events,
        "share": 1 - np.asarray(fitted.surv_prob),
    }).astype(float)  # fmt: skip
    ends = {0.0: len(time), float(time.max()): int((time == time.max()).sum())}
    for at, at_risk in ends.items():
        if at not in set(table["time"]):
            before = table.loc[table["time"].lt(at), "share"].max() if at else 0.0
            share = 0.0 if np.isnan(before) else before
            table.loc[len(table)] = [at, at_risk, 0, share]
    return table.sort_values("time", kind="stable").astype({"at_risk": int, "events": int})


def restricted(times: pd.DataFrame, horizon: float | pd.Series[float]) -> NDArray[np.float64]:
    """Give min(time, horizon) of each row of `event_times`: known, whether the event happened or not.

    Raises:
        ValueError: a trial ended before the horizon without the event, so that its time up to there is open.
    """
    time, reached = times["time"].to_numpy(dtype=float), times["reached"].to_numpy(dtype=bool)
    limit = np.broadcast_to(np.asarray(horizon, dtype=float), time.shape)
    if (~reached & (time < limit * (1 - ROUNDED))).any():
        raise ValueError("a trial ended before the horizon, without the event: take a shorter horizon")
    return np.asarray(np.minimum(time, limit), dtype=float)
