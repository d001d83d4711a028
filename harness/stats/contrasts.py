"""Paired contrasts: an arm against its reference, within seeds."""

from __future__ import annotations

import pandas as pd

from harness.stats.summaries import CONFIDENCE, difference_limits, finished, summarise


def paired_differences(
    trials: pd.DataFrame,
    pairs: pd.DataFrame,
    metric: str = "val_accuracy",
    arm: str = "arm",
    *,
    unfinished: bool = False,
) -> pd.DataFrame:
    """Subtract each reference arm from its arm, within a data set and a seed.

    Args:
        trials: dataset, `arm`, seed, status, `metric`.
        pairs: arm, reference: which to compare; all with a baseline, or each rung with the one before.
        metric: what to subtract.
        arm: the column of `trials` that names an arm.
        unfinished: also give a row, without numbers, for seeds that were planned for both and not finished
            by both: `verdicts` then says of an arm that never finished that there is no data.

    Returns:
        dataset, arm, reference, seed, value, reference_value, difference; only seeds that both finished.
    """
    done = trials.assign(**{metric: trials[metric].where(trials["status"].eq("ok"))})
    done = done if unfinished else finished(trials, metric)
    values = pd.DataFrame(
        {"dataset": done["dataset"], "arm": done[arm], "seed": done["seed"], "value": done[metric]}
    )
    reference = values.rename(columns={"arm": "reference", "value": "reference_value"})
    table = pairs[["arm", "reference"]].merge(values, on="arm", sort=False)
    table = table.merge(reference, on=["dataset", "reference", "seed"], sort=False)
    table["difference"] = table["value"] - table["reference_value"]
    return table[["dataset", "arm", "reference", "seed", "value", "reference_value", "difference"]]


def contrasts(
    trials: pd.DataFrame,
    pairs: pd.DataFrame,
    metric: str = "val_accuracy",
    arm: str = "arm",
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Paired contrast of each pair on each data set: Student's t on the differences within seeds.

    Args:
        trials: as for `paired_differences`.
        pairs: as for `paired_differences`.
        metric: as for `paired_differences`.
        arm: as for `paired_differences`.
        confidence: coverage of each interval by itself; not corrected for their number.

    Returns:
        dataset, arm, reference, n (seeds that both finished), difference, low, high, in the order of
        `pairs`. A pair without a common seed on a data set has no row.
    """
    differences = paired_differences(trials, pairs, metric, arm)
    table = summarise(
        differences, ["dataset", "arm", "reference"], "difference", confidence, difference_limits(metric)
    )
    return table.rename(columns={"mean": "difference"})[
        ["dataset", "arm", "reference", "n", "difference", "low", "high"]
    ]
