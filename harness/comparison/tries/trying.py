"""`harness try`: is a changed baseline better, worse or the same, with as few seeds as that takes?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from harness import notes
from harness.comparison.tries import changes as try_changes
from harness.comparison.tries import looks as try_looks
from harness.comparison.tries.changes import Change
from harness.comparison.tries.folder import FolderKeywords, Trained, TryFolder
from harness.comparison.tries.ledger import Ledger, TryCounts
from harness.comparison.tries.looks import HIGHER, LOWER, Look, TryRules, VerdictWord
from harness.errors import UsageError, did_you_mean
from harness.settings.schema import BASELINE
from harness.stats import sequential
from harness.study.study import Study
from harness.system import spawning
from harness.training.cluster import connection

if TYPE_CHECKING:
    import pandas as pd

MOST_SEEDS = 20
EXIT_CODES: Mapping[str, int] = {"better": 0, "same": 0, "worse": 1, "cannot tell": 2}
UNITS = {"s": 1, "second": 1, "seconds": 1, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hour": 3600,
         "hours": 3600}  # fmt: skip


class JudgingKeywords(TypedDict, total=False):
    """Keywords that decide a verdict; what is not given is the study's own, or the default.

    max_seeds: seeds of each arm at most, 3 to 80. budget: "5 minutes", or "300 s", looked at between looks.
    margin: the difference that does not matter, in the metric's unit; alpha: the error rate of this try over
    all its looks; both are the study's [contrasts] if not given. metric: val_accuracy, val_loss, or a tracked
    metric of val. family: how many tries are planned in all; alpha is divided by it.
    """

    max_seeds: int
    budget: str | None
    margin: float | None
    alpha: float | None
    metric: str
    family: int


class TryKeywords(JudgingKeywords, FolderKeywords, total=False):
    """Keywords of `harness.try_`: those that decide the verdict, those of the folder, and `tell`.

    tell: is called with each `Look`.
    """

    tell: Callable[[Look], None] | None


@dataclass(frozen=True)
class Try:
    """A try, told or not.

    Attributes:
        study: the study's name.
        change: such as "lr=0.2".
        differences: setting -> before and after, defaults that go along included.
        rules: metric, margin, alpha, and when it ends.
        looks: from the first to the last.
        why: why it ended undecided: "seeds", "budget" or "failed"; "" if it is told.
        trained: trials trained in this call, their seconds, and failures.
        counts: which try of this baseline it is, and of how many.
        folder: where its trials are, and the ledger.
        values: seed, baseline, changed: the metric of each, NaN where one diverged; their statuses.
    """

    study: str
    change: str
    differences: Mapping[str, tuple[str, str]]
    rules: TryRules
    looks: Sequence[Look]
    why: str
    trained: Trained
    counts: TryCounts
    folder: Path
    values: pd.DataFrame = field(repr=False)

    @property
    def last(self) -> Look:
        """The last look."""
        return self.looks[-1]

    @property
    def verdict(self) -> VerdictWord:
        """The verdict: better, worse, same, or cannot tell."""
        return self.last.verdict

    @property
    def exit_code(self) -> int:
        """0 where the change is not worse, 1 where it is, 2 where nobody can tell."""
        return EXIT_CODES[self.verdict]

    @property
    def false_better(self) -> float:
        """Bound how probably any try of the baseline is called better if none is: half of all alphas."""
        return min(1.0, self.counts.alpha / 2)


def try_(study: Study, changes: Sequence[str], **keywords: Unpack[TryKeywords]) -> Try:
    """Tell whether a change makes a study's baseline better, worse or leaves it the same, by val.

    Seeds are added, to both arms alike, until it is told or `max_seeds` or the budget are used up; each look
    tests at a level of its own, so that all together keep alpha (`harness.stats.sequential`). Test stays
    closed. Called again, it goes on where it stopped, and trains nothing twice.

    Args:
        study: one with a baseline, of `harness.load` or `harness.parse`.
        changes: such as ["lr=0.2"], or several that belong together.
        **keywords: `TryKeywords`: max_seeds, budget, margin, alpha, metric, family, folder, and others.

    Returns:
        The verdict, every look, and what it cost.

    Raises:
        UsageError: the study, a change or an option is not valid, or the change changes nothing.
        MachineError: results cannot be written, or the data cannot be had.

    Example:
        >>> harness.try_(study, ["lr=0.2"], max_seeds=10).verdict  # doctest: +SKIP
        'better'
    """
    spawning.check_main()
    return prepared(study, changes, **keywords).run()


def prepared(study: Study, changes: Sequence[str], **keywords: Unpack[TryKeywords]) -> Trying:
    """Check all that `try_` is asked, before anything is trained."""
    asked = try_changes.asked(study, changes)
    alone = asked.study
    if study.tune is not None:
        notes.warn(f"{study.name} tunes every arm; a try compares two arms as they stand")
    rules = rules_of(alone, study, keywords)
    if rules.metric == "val_loss" and "loss" in asked.differences:
        raise UsageError(
            "--metric val_loss: the change is of the loss itself, so losses do not compare; allowed: "
            "--metric val_accuracy"
        )
    arms = {BASELINE: dict(alone.baseline), asked.words: asked.given}
    folder = TryFolder.of(alone, arms, keywords)
    folder.check(rules.looks[0])
    return Trying(asked, rules, folder, keywords.get("tell"))


def rules_of(alone: Study, study: Study, given: JudgingKeywords) -> TryRules:
    """Return the rules of a try; raise UsageError where one is out of range."""
    metric = check_metric(alone, given.get("metric", "val_accuracy"))
    margin, alpha = given.get("margin"), given.get("alpha")
    family, most = given.get("family", 1), given.get("max_seeds", MOST_SEEDS)
    if margin is None and metric != "val_accuracy":
        raise UsageError(f"--metric {metric}: give the margin in its unit, too, such as --margin 0.01")
    margin = study.contrasts.margin if margin is None else margin
    alpha = study.contrasts.alpha if alpha is None else alpha
    if not 0 < margin < (1 if metric == "val_accuracy" else math.inf):
        raise UsageError(
            f"--margin {margin}: allowed are shares between 0 and 1; 0.2 points are a margin of 0.002"
        )
    if not 0 < alpha <= sequential.ALPHAS[-1]:
        raise UsageError(
            f"--alpha {alpha}: allowed is an error rate above 0, up to {sequential.ALPHAS[-1]}, such as 0.05"
        )
    if not family >= 1:
        raise UsageError(f"--family {family}: allowed is a number of tries, 1 or more")
    first, last = sequential.LOOKS[0], sequential.LOOKS[-1]
    if not first <= most <= last:
        raise UsageError(
            f"--max-seeds {most}: allowed are {first} to {last}; the first look is at {first} seeds"
            + (f". With more than {last}, make it a study: harness run" if most > last else "")
        )
    return TryRules(metric, float(margin), alpha / family, family, most, seconds(given.get("budget")))


def check_metric(alone: Study, metric: str) -> str:
    """Return a metric that a baseline can be judged by.

    Raises:
        UsageError: it is none of val's, or nobody has said whether more of it is better; or there is no val.
    """
    known = [f"val_{name}" for name in ("accuracy", "loss", *alone.metrics) if name in {*HIGHER, *LOWER}]
    if metric not in known:
        more = "; test stays closed, since this is a choice" if str(metric).startswith("test") else ""
        raise UsageError(f"--metric {metric!r}: {did_you_mean(str(metric), known)}{more}")
    if alone.baseline.get("val_fraction") == 0:
        raise UsageError(
            f"{alone.name} has val_fraction = 0, so no val images to choose by, and test stays closed. Give "
            "it some: --base val_fraction=0.1 (harness noise: --set)"
        )
    return metric


def seconds(budget: str | None) -> float:
    """Read a budget, such as "5 minutes" or "300 s", as seconds; infinite if there is none.

    Raises:
        UsageError: it has another form.
    """
    if budget is None:
        return math.inf
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", str(budget))
    if match is None or match[2] not in UNITS or not float(match[1]) > 0:
        raise UsageError(f"--budget {budget!r}: allowed is a time such as '90 s', '5 minutes' or '1.5 hours'")
    return float(match[1]) * UNITS[match[2]]


@dataclass
class Trying:
    """A try that goes on: what is asked, and what has been seen and trained so far."""

    asked: Change
    rules: TryRules
    folder: TryFolder
    tell: Callable[[Look], None] | None = None
    trained: Trained = field(default_factory=Trained)

    def run(self) -> Try:
        """Add seeds until it is told, or may not go on."""
        with connection.connected(self.folder.options.cluster):  # all looks on one connection
            return self._run()

    def _run(self) -> Try:
        looks: list[Look] = []
        counts, why = TryCounts(), "seeds"
        for place, seeds in enumerate(self.rules.looks):
            if looks and self.trained.seconds + looks[-1].next_seconds > self.rules.budget:
                why = "budget"
                break
            now = self.folder.train(seeds)
            self.trained = self.trained.plus(now)
            look = try_looks.look(self._pairs(seeds), seeds, self.rules)
            if not look.told and not now.failures:
                look = self._with_next(look, self.rules.looks[place + 1 :])
            looks.append(look)
            counts = Ledger(self.folder.path).write(self._row(looks))
            if self.tell is not None:
                self.tell(look)
            if look.told or now.failures:
                why = "failed" if now.failures else ""
                break
        return Try(
            self.asked.study.name, self.asked.words, self.asked.differences, self.rules, looks, why,
            self.trained, counts, self.folder.path, self._pairs(looks[-1].seeds),
        )  # fmt: skip

    def _pairs(self, seeds: int) -> pd.DataFrame:
        return try_looks.paired(self.folder.rows(seeds), self.asked.words, BASELINE, self.rules.metric)

    def _with_next(self, look: Look, following: Sequence[int]) -> Look:
        """Add to a look the seeds and seconds of the next one, if there is one."""
        if not following:
            return look
        trials = 2 * (following[0] - look.seeds)
        return replace(look, next_seeds=following[0], next_seconds=trials * self._seconds_a_trial(look.seeds))

    def _seconds_a_trial(self, seeds: int) -> float:
        """Estimate the seconds of one more trial: as in this call, else as they took before."""
        if self.trained.trials:
            return self.trained.seconds / self.trained.trials
        return self.folder.seconds_a_trial(seeds)

    def _row(self, looks: Sequence[Look]) -> dict[str, Any]:
        """Make the ledger's row of this try."""
        look, rules = looks[-1], self.rules
        return {
            "baseline": self.folder.first_id(BASELINE), "trial": self.folder.first_id(self.asked.words),
            "change": self.asked.words, "metric": rules.metric, "margin": rules.margin, "alpha": rules.alpha,
            "family": rules.family, "verdict": look.verdict, "seeds": look.seeds, "looks": len(looks),
            "difference": look.difference, "low": look.low, "high": look.high, "diverged": look.diverged,
            "baseline_diverged": look.baseline_diverged,
        }  # fmt: skip
