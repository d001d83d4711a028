"""Measured rates against what they should be: false positives, coverage, equivalence at the margin, power."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aa_draws
import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from harness import stats
from harness.stats import sequential

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

ALPHA = 0.05
CONFIDENCE = 0.95
SHIFTS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""True differences of the power curve, in SDs of the paired differences."""
MARGIN = 2.0
"""Of the equivalence test, in the same unit: wide enough that five seeds can pass it."""
NEAR = 0.05
"""Power may be so far from predicted: the prediction takes noise for normal."""
FAMILY = 5
"""Arms of a study with several contrasts: one reference and four others."""
RESAMPLES = 2000

FALSE_POSITIVES = "false positives"
SAME_SEEDS = "false positives, same seeds"
FAMILY_WISE = "false positives in a family of 4, Holm"
AT_MARGIN = "called the same, though exactly at the margin"
COVERAGE = "coverage"
COVERAGE_APART = "coverage of a difference that is there"
BOOTSTRAP = "coverage, percentile bootstrap"
POWER = "power"
LOOKED_AT = "false positives, looked at up to 20 seeds"
NAIVE = "false positives, looked at without a correction"
SAME_AT_MARGIN = "called the same at any look, though exactly at the margin"
COVERAGE_AT_ANY_LOOK = "coverage, looked at up to 20 seeds"
TWINS = "false positives, looked at, same seeds"
NARROW = 1e-6
"""A margin that nothing is within, so that no comparison ends as the same."""

MANY = 2000
"""From so many studies on, the interval itself must lie within these bounds."""
AROUND_95 = (0.93, 0.97)
"""Such bounds of the coverage of an interval of 95 %."""
INSIDE = {
    FALSE_POSITIVES: (0.02, 0.08),
    LOOKED_AT: (0.02, 0.08),
    COVERAGE: (0.92, 0.98),
    COVERAGE_APART: (0.92, 0.98),
}


@dataclass(frozen=True)
class Check:
    """How often something happened in studies whose truth is known, and how often it should.

    Attributes:
        question: what was counted; one of the constants above.
        source: which trials the studies are made of.
        n: seeds an arm.
        studies: how many.
        events: in how many of them it happened.
        least: the rate should be this at least,
        most: and this at most; NaN for both where nothing is asked.
        shift: the true difference, in SDs of the paired differences.
        predicted: what `stats.power` says.
    """

    question: str
    source: str
    n: int
    studies: int
    events: int
    least: float
    most: float
    shift: float = 0.0
    predicted: float = math.nan

    @property
    def rate(self) -> float:
        """In which share of the studies it happened."""
        return self.events / self.studies


def counted(
    question: str, source: str, n: int, events: NDArray[np.bool_], least: float, most: float, **more: float
) -> Check:
    """A check from what happened in each study."""
    return Check(question, source, n, len(events), int(events.sum()), least, most, **more)


def same_arms(source: str, studies: NDArray[np.float64], sd: float) -> list[Check]:
    """What two-arm A/A studies `(R, 2, n)` can be asked; `sd` is that of the paired differences."""
    n = studies.shape[2]
    table = aa_draws.judged(studies, margin=MARGIN * sd)
    checks = [
        counted(FALSE_POSITIVES, source, n, table["p"].le(ALPHA).to_numpy(), 0, ALPHA),
        counted(COVERAGE, source, n, covers(table, 0.0), CONFIDENCE, CONFIDENCE),
    ]
    at_margin = aa_draws.judged(shifted(studies, MARGIN * sd), margin=MARGIN * sd)
    same = at_margin["p_same"].le(ALPHA).to_numpy()
    return [*checks, counted(AT_MARGIN, source, n, same, 0, ALPHA, shift=MARGIN)]


def shifted(studies: NDArray[np.float64], difference: float) -> NDArray[np.float64]:
    """The same studies with a known difference between arm 1 and arm 0: real noise, made-up effect."""
    return np.asarray(studies + np.array([0.0, difference])[:, None])


def covers(table: pd.DataFrame, truth: float) -> NDArray[np.bool_]:
    """Which intervals have the truth in them. Where all seeds differ alike there is none: not covered."""
    return np.asarray(table["low"].le(truth) & table["high"].ge(truth))


def same_seeds(source: str, studies: NDArray[np.float64], sd: float) -> Check:
    """Studies of one training under two names, seeds paired: there is no difference to find."""
    table = aa_draws.judged(studies, margin=MARGIN * sd)
    return counted(SAME_SEEDS, source, studies.shape[2], table["p"].le(ALPHA).to_numpy(), 0, 0)


def arms_apart(source: str, studies: NDArray[np.float64], truth: float) -> Check:
    """Coverage over studies of two arms that differ by `truth`, seeds paired: nothing is made up."""
    table = aa_draws.judged(studies, margin=abs(truth))
    covered = covers(table, truth)
    return counted(COVERAGE_APART, source, studies.shape[2], covered, CONFIDENCE, CONFIDENCE)


def family_wise(source: str, studies: NDArray[np.float64], sd: float) -> Check:
    """Studies of several arms that are all the same `(R, arms, n)`: any arm better or worse is wrong."""
    table = aa_draws.judged_families(studies, margin=MARGIN * sd)
    wrong = table["verdict"].isin(["better", "worse"]).groupby(table["dataset"]).any().to_numpy()
    return counted(FAMILY_WISE, source, studies.shape[2], wrong, 0, ALPHA)


def power_curve(source: str, studies: NDArray[np.float64], sd: float) -> list[Check]:
    """Studies found, at each true difference, against `stats.power`."""
    n, checks = studies.shape[2], []
    for shift in SHIFTS:
        table = aa_draws.judged(shifted(studies, shift * sd), margin=MARGIN * sd)
        predicted = float(stats.power(n, shift, 1.0, ALPHA))
        least, most = max(0.0, predicted - NEAR), min(1.0, predicted + NEAR)
        found = table["p"].le(ALPHA).to_numpy()  # in either direction, as the prediction counts
        checks.append(counted(POWER, source, n, found, least, most, shift=shift, predicted=predicted))
    return checks


def looked_at(source: str, studies: NDArray[np.float64], sd: float) -> list[Check]:
    """A/A studies `(R, 2, n)` that go on until they are told, as `harness try` does.

    Nothing is called different, by the levels of the looks and, beside it, by p <= 5 % at every look; the
    interval at the end has zero in it; and arms a margin apart are not called the same.
    """
    n, values = studies.shape[2], studies[:, 1] - studies[:, 0]
    told = sequential.first_told(values, margin=NARROW, most=n)
    different = told["verdict"].ne(0).to_numpy()
    shift = MARGIN * sd
    apart = sequential.first_told(values + shift, margin=shift, most=n)
    same = (apart["told"] & apart["verdict"].eq(0)).to_numpy()
    naive = np.zeros(len(values), dtype=bool)
    for seeds in sequential.looks(n):
        naive |= aa_draws.judged(studies[:, :, :seeds], margin=NARROW)["p"].le(ALPHA).to_numpy()
    return [
        counted(LOOKED_AT, source, n, different, 0, ALPHA),
        counted(NAIVE, source, n, naive, math.nan, math.nan),
        counted(COVERAGE_AT_ANY_LOOK, source, n, covers(told, 0.0), CONFIDENCE, 1),
        counted(SAME_AT_MARGIN, source, n, same, 0, ALPHA, shift=MARGIN),
    ]


def twins(source: str, studies: NDArray[np.float64]) -> Check:
    """One training under two names, seeds paired, looked at again and again: there is nothing to find."""
    n = studies.shape[2]
    told = sequential.first_told(studies[:, 1] - studies[:, 0], margin=NARROW, most=n)
    return counted(TWINS, source, n, told["verdict"].ne(0).to_numpy(), 0, 0)


def bootstrap_coverage(source: str, studies: NDArray[np.float64], rng: np.random.Generator) -> Check:
    """Coverage of the percentile bootstrap on the same studies: the interval not used."""
    values, n = studies[:, 1] - studies[:, 0], studies.shape[2]
    # How often each resample has each seed; the same resamples serve all studies.
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    low, high = np.quantile(values @ counts.T / n, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1)
    return counted(BOOTSTRAP, source, n, (low <= 0) & (high >= 0), math.nan, math.nan)


def table(checks: Iterable[Check], inside: Mapping[str, tuple[float, float]] = INSIDE) -> pd.DataFrame:
    """Rates with their intervals (Clopper and Pearson 1934), a row a check.

    Returns:
        question, source, n, shift, studies, events, rate, low, high (95 % each), low_all, high_all (95 % for
        all rows together, by Bonferroni), predicted, least, most, ok. ok: the interval for all rows meets
        least..most; with 2,000 studies or more the interval also lies within the bounds of `inside`, by
        question. Of rows at 95 % each, one in twenty misses though nothing is wrong: so many rows need the
        wider intervals.
    """
    checks = list(checks)
    asked = sum(not math.isnan(check.least) for check in checks)
    together = 1 - (1 - CONFIDENCE) / max(asked, 1)
    rows = [_row(check, together, inside.get(check.question, (0.0, 1.0))) for check in checks]
    return pd.DataFrame(rows)


def _row(check: Check, confidence_all: float, bounds: tuple[float, float]) -> dict[str, object]:
    low, high = clopper_pearson(check.events, check.studies, CONFIDENCE)
    low_all, high_all = clopper_pearson(check.events, check.studies, confidence_all)
    inside = check.studies < MANY or (bounds[0] <= low and high <= bounds[1])
    meets = math.isnan(check.least) or (low_all <= check.most and high_all >= check.least)
    return {
        "question": check.question, "source": check.source, "n": check.n, "shift": check.shift,
        "studies": check.studies, "events": check.events, "rate": check.rate,
        "low": low, "high": high, "low_all": low_all, "high_all": high_all,
        "predicted": check.predicted, "least": check.least, "most": check.most, "ok": inside and meets,
    }  # fmt: skip


def clopper_pearson(events: int, studies: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share."""
    interval = scipy_stats.binomtest(events, studies).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
