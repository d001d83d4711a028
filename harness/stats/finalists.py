"""Finalists of a search: the choice among a few arms that have several seeds, and how sure it is."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from harness.stats.contrasts import paired_differences
from harness.stats.summaries import difference_limits, finished, outcomes, summarise
from harness.stats.verdicts import COLUMNS, verdicts

RESAMPLES = 10_000
"""Resamples of the seeds; a share of wins is then known to half a point."""
FEWEST_SEEDS = 4
"""Seeds below which resamples say nothing of other seeds: of two there are three, two of one seed alone."""


def finalists(trials: pd.DataFrame, metric: str = "val_accuracy", *, maximize: bool = True) -> pd.DataFrame:
    """Order finalists by their mean over seeds, best first, and tell how often each would win.

    An arm with a seed that diverged or failed comes after those without, because the mean of the survivors
    flatters it. Arms that tie keep their order.

    Args:
        trials: arm, seed, status, `metric`; arms in the order in which the search ranks them.
        metric: what is compared.
        maximize: whether more is better.

    Returns:
        arm, n (seeds with a value), mean, low, high (95 % Student's t), planned (seeds), ok, diverged,
        failed, wins. wins: the share of bootstrap resamples of the seeds, drawn with replacement, in which
        the arm's mean is the best of all arms that finished every seed (Efron 1979); the arms of a resample
        share its seeds, and those that tie share the win. NaN for an arm with a hole, and with fewer than
        `FEWEST_SEEDS`.

    >>> two = pd.DataFrame({"arm": [*"aaaabbbb"], "seed": [0, 1, 2, 3] * 2, "status": "ok"})
    >>> x = [0.8, 0.7, 0.8, 0.7, 0.9, 0.8, 0.9, 0.8]
    >>> finalists(two.assign(x=x), "x")[["arm", "n", "wins"]].values.tolist()
    [['b', 4, 1.0], ['a', 4, 0.0]]
    """
    done = trials.assign(**{metric: trials[metric].where(trials["status"].eq("ok"))})
    table = summarise(done, ["arm"], metric).drop(columns="sd")
    table = table.merge(outcomes(trials, ["arm"])[["arm", "planned", "ok", "diverged", "failed"]], on="arm")
    table["wins"] = table["arm"].map(_wins(done, metric, maximize=maximize))
    keys = pd.DataFrame(
        {
            "empty": table["mean"].isna(),
            "broken": table["n"].lt(table["planned"]),
            "cost": -table["mean"] if maximize else table["mean"],
        }
    )
    order = keys.sort_values(["empty", "broken", "cost"], kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _wins(done: pd.DataFrame, metric: str, *, maximize: bool) -> dict[str, float]:
    values = done.pivot_table(index="seed", columns="arm", values=metric, sort=False, dropna=False)
    values = values.dropna(axis="columns")
    n = len(values)
    if n < FEWEST_SEEDS or values.shape[1] == 0:
        return {}
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means = counts @ (values.to_numpy(dtype=float) * (1 if maximize else -1)) / n
    # Means of the same numbers in another order differ by rounding.
    best = np.isclose(means, means.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(map(str, values), map(float, shares), strict=True))


def finalist_verdicts(
    trials: pd.DataFrame, metric: str = "val_accuracy", *, margin: float | None, alpha: float = 0.05,
    maximize: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Judge the first of the finalists against each other one, paired within seeds.

    Which one is first was not known before, so that all pairs of finalists are one family: Holm's correction
    goes over all of them, and those without the first are then left out.

    Args:
        trials: dataset, arm, seed, status, `metric`.
        metric: what is compared.
        margin: up to which arms count as the same, in the unit of `metric`; None: nobody has said.
        alpha: of all pairs together.
        maximize: whether more is better.

    Returns:
        dataset, arm (the first), reference, and the columns of `verdicts`; no row with one arm.
    """
    order = list(finalists(trials, metric, maximize=maximize)["arm"])
    pairs = pd.DataFrame(list(itertools.combinations(order, 2)), columns=["arm", "reference"])
    if pairs.empty:
        return pd.DataFrame(columns=["dataset", "arm", "reference", *COLUMNS])
    differences = paired_differences(trials, pairs, metric, unfinished=True)
    judged = verdicts(
        differences, margin=margin, alpha=alpha, higher_is_better=maximize, within=difference_limits(metric)
    )
    return judged[judged["arm"].eq(order[0])].reset_index(drop=True)


def optimism(
    searched: float, trials: pd.DataFrame, metric: str = "val_accuracy", *, maximize: bool = True
) -> pd.DataFrame:
    """Compare the value by which a search chose with the mean of fresh seeds, which chose nothing.

    Args:
        searched: the value in the search, the best of many.
        trials: status, `metric`: the same settings with fresh seeds.
        metric: what is compared.
        maximize: whether more is better.

    Returns:
        One row, none without a finished trial: n (fresh seeds), searched, fresh, fresh_low, fresh_high,
        optimism, low, high. optimism: by how much the search's value is the better one, in the unit of
        `metric`, negative where it is the worse. Its interval is that of the fresh mean, 95 % Student's t;
        the search's value is one number, taken as it is.
    """
    done = finished(trials, metric)
    if done.empty:
        return pd.DataFrame()
    fresh = summarise(done.assign(arm=""), ["arm"], metric).iloc[0]
    sign = 1 if maximize else -1
    ends = sorted(sign * (searched - fresh[name]) for name in ("low", "high"))
    return pd.DataFrame(
        [
            {
                "n": int(fresh["n"]), "searched": searched, "fresh": fresh["mean"],
                "fresh_low": fresh["low"], "fresh_high": fresh["high"],
                "optimism": sign * (searched - fresh["mean"]), "low": ends[0], "high": ends[1],
            }
        ]
    )  # fmt: skip
