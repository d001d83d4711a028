"""Comparing: two results folders -> one Comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from harness.comparison.arms import arm_verdicts, differences, identical, pooled
from harness.comparison.matching import SIDES, Matched, match
from harness.comparison.sides import Side, folder_notes, provenance, same_data
from harness.errors import UsageError, did_you_mean

Metric = Literal["test_accuracy", "val_accuracy"]
MARGIN, ALPHA = 0.002, 0.05


@dataclass(frozen=True)
class Comparison:
    """What two results folders say of each other; frames to look at, and what to know before believing them.

    Attributes:
        a: the folder that was.
        b: the folder that is.
        metric: what is compared, a share in 0..1.
        margin: differences within it are the same for all that matters, a share.
        alpha: the error rate of all verdicts together.
        matched: the trials of both, side by side; `identical`: all their numbers agree to the last digit.
        arms: a row an arm and data set that both have: dataset, arm, trials (matched), identical, changed (ok
            in both, with other numbers), lost (ok in A, diverged or failed in B), mended (the reverse),
            waiting (ok in A, without an outcome in B), a and b (means over the seeds that both finished),
            what `stats.verdicts` says of b - a; p_below, p_below_holm and regressed: whether b - a is
            significantly below -margin.
        pooled: dataset, arms, left_out (arms without all seeds), n, difference, low, high: the mean over the
            arms, first within a seed.
        provenance: what, a, b: where the folders come from, as far as that differs.
        set_aside: in words, the data sets that are in both and whose images differ: not compared.
        notes: in words, what else is to be known.
    """

    a: Path
    b: Path
    metric: Metric
    margin: float
    alpha: float
    matched: Matched
    arms: pd.DataFrame
    pooled: pd.DataFrame
    provenance: pd.DataFrame
    set_aside: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial of either folder: who it is, where it is, how it ended on each side."""
        return self.matched.trials


def compare(
    a: Path | str,
    b: Path | str,
    *,
    metric: Metric = "test_accuracy",
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Comparison:
    """Compare two results folders arm by arm: B minus A, paired by seed.

    Args:
        a: the folder that was.
        b: the folder that is.
        metric: test_accuracy or val_accuracy.
        margin: what difference does not matter, a share in 0..1.
        alpha: the error rate of all verdicts together (Holm over all arms compared).

    Raises:
        UsageError: a folder is none of results, is damaged, or of another schema; or they have no trial in
            common.
    """
    _check(metric, margin, alpha)
    once = [Side.read(Path(folder)).once() for folder in (a, b)]
    sides = once[0][0], once[1][0]
    notes = [*folder_notes(*sides), *(note for side in sides for note in side.notes())]
    notes += [note for _, twins in once for note in twins]
    first, second, other_data = same_data(*sides)
    matched = match(first.found, second.found)
    _require_common(matched, sides, metric)
    matched = replace(matched, trials=matched.trials.assign(identical=identical(matched.trials)))
    paired = differences(matched.trials, metric)
    arms = arm_verdicts(matched.trials, paired, margin, alpha)
    return Comparison(
        Path(a), Path(b), metric, margin, alpha, matched, arms,
        pooled(paired), provenance(first.found, second.found),
        tuple(other_data), (*notes, *_version_notes(matched)),
    )  # fmt: skip


def _check(metric: str, margin: float, alpha: float) -> None:
    known = ("test_accuracy", "val_accuracy")
    if metric not in known:
        raise UsageError(f"--metric {metric!r}: {did_you_mean(metric, known)}")
    if not 0 < margin < 1:
        raise UsageError(
            f"--margin {margin}: allowed are shares between 0 and 1; 0.2 points are a margin of 0.002"
        )
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha}: allowed is an error rate between 0 and 1, such as 0.05")


def _require_common(matched: Matched, sides: tuple[Side, Side], metric: str) -> None:
    """Raise UsageError where no trial is in both folders, or one has no value of the metric at all."""
    both = matched.trials[matched.trials["inside"].eq("both")]
    if both.empty:
        seeds = [_few(sorted(set(side.found.trials["seed"]))) for side in sides]
        arms = [_few(dict.fromkeys(side.found.trials["arm"])) for side in sides]
        raise UsageError(
            "the folders have no trial in common, neither by settings and seed nor by arm and seed. "
            f"A has the seeds {seeds[0]} and the arms {arms[0]}. B has the seeds {seeds[1]} and the arms "
            f"{arms[1]}. "
            "Run one study's file for both, with the same seeds."
        )
    for name, side in zip(SIDES, sides, strict=True):
        done = both[both[f"status_{name}"].eq("ok")]
        if len(done) and done[f"{metric}_{name}"].isna().all():
            other = "val_accuracy" if metric == "test_accuracy" else "test_accuracy"
            raise UsageError(
                f"{side.found.folder} has no {metric}: none of its {len(done)} finished trials does. "
                f"Compare --metric {other}."
            )


def _few(values: Any, most: int = 5) -> str:
    told = [str(value) for value in values]
    return "; ".join(told[:most]) + (f"; and {len(told) - most} more" if len(told) > most else "")


def _version_notes(matched: Matched) -> list[str]:
    """That trials of the same settings are other trials, which is another version of what training means."""
    if matched.by != "settings" or len(matched.differing) or len(matched.assumed):
        return []
    both = matched.trials[matched.trials["inside"].eq("both")]
    changed = int(both["trial_id_a"].ne(both["trial_id_b"]).sum())
    if not changed:
        return []
    told = (
        f"{changed} of {len(both)} matched trials have another trial_id: what training means has another "
        "version, or a third party's component another source"
    )
    return [told]
