"""Looks at a try: what is known with so many seeds, and whether seeds are added."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.stats import sequential
from harness.stats.summaries import difference_limits
from harness.stats.verdicts import EQUAL

if TYPE_CHECKING:
    import pandas as pd

VerdictWord = Literal["better", "worse", "same", "cannot tell"]
UNTOLD: VerdictWord = "cannot tell"
WORDS: Mapping[str, VerdictWord] = {"better": "better", "worse": "worse", "same within margin": "same"}
HIGHER, LOWER = ("accuracy", "top3", "true_probability"), ("loss", "nll", "brier")
"""Metrics of which more, or less, is better; of a person's own, nobody has said.

Those of which more is better are shares, all of them.
"""


def is_share(metric: str) -> bool:
    """Tell whether a metric of val is a share, whose differences are told in points."""
    return metric.removeprefix("val_") in HIGHER


@dataclass(frozen=True)
class TryRules:
    """The rules of one try, fixed before it begins.

    Attributes:
        metric: a column of trials.csv, of val.
        margin: the difference that does not matter, in the metric's unit.
        alpha: the error rate of the try over all its looks, already divided by `family`.
        family: how many tries are planned in all.
        max_seeds: of each arm.
        budget: seconds.
    """

    metric: str
    margin: float
    alpha: float
    family: int
    max_seeds: int
    budget: float

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which it is looked at."""
        return sequential.looks(self.max_seeds)

    @property
    def higher_is_better(self) -> bool:
        """True of accuracies, False of losses."""
        return is_share(self.metric)


@dataclass(frozen=True)
class Look:
    """A look at a try.

    Attributes:
        seeds: of each arm.
        n: seeds with which both arms finished.
        difference: the change's mean less the baseline's, over these; `sd` of the differences.
        low: end of the interval that holds at all looks together, with 1 - alpha; NaN without one. And
        high: its other end.
        same_low: end of the interval that lies within the margin exactly where the arms are the same. And
        same_high: its other end.
        p: of the look's t test; where a seed diverged, of the sign test.
        level: p is compared with it.
        verdict: as far as this look shows.
        within_margin: the arms are the same within the margin, though they may differ.
        detectable: the smallest true difference that this look shows with 80 % power.
        more_seeds: how many more would show a difference of the margin with 80 % power; NaN if not known, or
            told already.
        diverged: seeds in which the change diverged; `baseline_diverged`: the baseline.
        next_seeds: the next look; 0 if this one tells, or is the last.
        next_seconds: an estimate of what the next look takes.
    """

    seeds: int
    n: int
    difference: float = math.nan
    sd: float = math.nan
    low: float = math.nan
    high: float = math.nan
    same_low: float = math.nan
    same_high: float = math.nan
    p: float = math.nan
    level: float = math.nan
    verdict: VerdictWord = "cannot tell"
    within_margin: bool = False
    detectable: float = math.nan
    more_seeds: float = math.nan
    diverged: int = 0
    baseline_diverged: int = 0
    next_seeds: int = 0
    next_seconds: float = math.nan

    @property
    def told(self) -> bool:
        """Tell whether no more seeds are needed."""
        return self.verdict != UNTOLD


def paired(rows: pd.DataFrame, changed: str, baseline: str, metric: str) -> pd.DataFrame:
    """Put the trials of two arms side by side.

    Args:
        rows: of trials.csv.
        changed: the name of an arm.
        baseline: the name of the other.
        metric: a column.

    Returns:
        A row a seed: seed; baseline, changed (the metric; NaN where the trial is not ok); baseline_status,
        changed_status.
    """
    import pandas as pd

    sides = {}
    for side, arm in (("baseline", baseline), ("changed", changed)):
        trials = rows[rows["arm"].eq(arm)].set_index("seed")
        sides[side] = trials[metric].astype(float).where(trials["status"].eq("ok"))
        sides[f"{side}_status"] = trials["status"]
    return pd.DataFrame(sides).sort_index().rename_axis("seed").reset_index()


def look(pairs: pd.DataFrame, seeds: int, rules: TryRules) -> Look:
    """Judge what the first `seeds` seeds show.

    Where neither arm diverged, by the paired t test and the two one-sided tests at the look's level. Where
    one did, the mean over the rest would flatter it: then a seed with which only one arm diverged counts
    against that arm, any other is ordered by the metric, and the exact sign test judges.
    """
    bad = {side: int(pairs[f"{side}_status"].eq("diverged").sum()) for side in ("changed", "baseline")}
    differences = (pairs["changed"] - pairs["baseline"]).to_numpy(dtype=float)
    present = differences[~np.isnan(differences)]
    base = Look(seeds, len(present), diverged=bad["changed"], baseline_diverged=bad["baseline"])
    if len(present):
        spread = float(present.std(ddof=1)) if len(present) > 1 else math.nan
        base = replace(base, difference=float(present.mean()), sd=spread)
    unfinished = ~pairs[["baseline_status", "changed_status"]].isin(["ok", "diverged"]).all(axis=1)
    if len(pairs) < seeds or unfinished.any():
        return base
    if bad["changed"] or bad["baseline"]:
        return _by_signs(base, pairs, rules)
    judged = sequential.at_look(
        differences, margin=rules.margin, alpha=rules.alpha, higher_is_better=rules.higher_is_better,
        within=difference_limits(rules.metric),
    )  # fmt: skip
    return _by_means(base, judged)


def _by_means(base: Look, judged: pd.Series[Any]) -> Look:
    """Add to a look what the tests of the mean difference say."""
    verdict = WORDS.get(str(judged["verdict"]), UNTOLD)
    more = float(judged["more_seeds"]) if verdict == UNTOLD else math.nan
    return replace(
        base, low=float(judged["low"]), high=float(judged["high"]), same_low=float(judged["same_low"]),
        same_high=float(judged["same_high"]), p=float(judged["p"]), level=float(judged["level"]),
        detectable=float(judged["detectable"]), more_seeds=more,
        verdict=verdict, within_margin=bool(judged["within_margin"]),
    )  # fmt: skip


def _by_signs(base: Look, pairs: pd.DataFrame, rules: TryRules) -> Look:
    """Judge seeds of which some diverged, by the sign test."""
    sign = 1 if rules.higher_is_better else -1
    worst = -math.inf
    changed, baseline = (
        (sign * pairs[side]).where(pairs[f"{side}_status"].eq("ok"), worst)
        for side in ("changed", "baseline")
    )
    level = sequential.increment(base.seeds, rules.alpha)
    better, worse = (int((a > b + EQUAL).sum()) for a, b in ((changed, baseline), (baseline, changed)))
    p = sequential.sign_test(better, worse)
    verdict = UNTOLD
    if p <= level:
        verdict = "better" if better > worse else "worse"
    return replace(base, p=p, level=level, verdict=verdict)
