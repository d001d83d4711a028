"""Studies in which each seed draws a split of its own: which interval is right, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.reporting.contrasts import judge
from harness.reporting.model import Cell, Column, Section, Table, difference_cell, rows_of
from harness.reporting.verdict_views import contrast_cell
from harness.results import families
from harness.results.families import KEY
from harness.text import DASH, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.reporting.contrasts import Verdicts
    from harness.reporting.evidence import Evidence

TITLE = "Each seed has a split of its own"
NAME = "resampled-splits"
VAL = "val_accuracy"
BY_VAL = (
    "The contrasts are judged by val, and seeds share val images and train images: their differences are "
    "not independent. So the verdicts take the corrected t test of Nadeau and Bengio (2003): the variance of "
    "a mean of n seeds is sd\u00b2 (1/n + val images / train images). More seeds narrow these intervals only "
    "down to that second part."
)
BY_TEST = (
    "The contrasts are judged by test, whose images are the same for all seeds. Their intervals are "
    "Student's t, for other seeds and other splits of these train images, on these test images. For other "
    "images, too, the table below takes val, which each seed draws anew."
)
NOTHING = "No split is drawn here (val_fraction 0, or val_split last), so all seeds have the same one."
NOTE = (
    "Differences in val accuracy, in points, under each its 95\u00a0% interval by Nadeau and Bengio (2003): "
    "Student's t with the variance sd\u00b2 (1/n + val images / train images), since seeds share images. It "
    "is for another sample of images of this kind, split and trained alike. Beside it Student's t without "
    "the correction, which is for other splits of these images alone. {marked}"
)
EXPLORATORY = "Exploratory: the family of contrasts is judged by test."


def section(evidence: Evidence) -> Section:
    """Compare the family on val with the interval that is right for resampled splits; empty for one split."""
    reading, family = evidence.reading, evidence.fixed.family
    if not families.resamples_split(reading.results.study) or evidence.fixed.table.empty:
        return Section(NAME, TITLE)
    by_val = family.metric == VAL
    judged = evidence.fixed if by_val else judge(reading, family.model_copy(update={"metric": VAL}))
    rows = table(judged)
    if rows.empty:
        return Section(NAME, TITLE, [NOTHING])
    columns = [
        Column("data set", "dataset"),
        Column("contrast", contrast_cell, show="long"),
        Column("seeds", "n", numeric=True, show="wide"),
        Column(_shared(judged), _ratio, numeric=True, show="wide"),
        Column("difference", difference_cell, numeric=True),
        Column("uncorrected", _uncorrected, numeric=True),
    ]
    note = NOTE.format(marked="" if by_val else EXPLORATORY).rstrip()
    shown = Table(NAME, TITLE, note, columns, rows_of(columns, rows.to_dict("records")), rows, searched=True)
    return Section(NAME, TITLE, [BY_VAL if by_val else BY_TEST], [shown])


def table(judged: Verdicts) -> pd.DataFrame:
    """Return KEY, n, overlap, difference, low, high (corrected), low_t and high_t (not), p, p_t.

    Only contrasts whose seeds share val images have a row.
    """
    if judged.seeds is None or not judged.seeds["overlap"].any():
        return pd.DataFrame()
    shared = judged.seeds[judged.seeds["overlap"].gt(0)]
    family = judged.family
    ends = stats.difference_limits(family.metric)
    found, plain = (
        stats.verdicts(seeds, KEY, margin=family.margin, alpha=family.alpha, within=ends)
        for seeds in (shared, shared.drop(columns="overlap"))
    )
    overlap: pd.DataFrame = shared.groupby(KEY, sort=False)["overlap"].max().reset_index()
    both = found[[*KEY, "n", "difference", "low", "high", "p"]].merge(overlap, on=KEY)
    beside = plain[[*KEY, "low", "high", "p"]].rename(
        columns={name: f"{name}_t" for name in ("low", "high", "p")}
    )
    return both.merge(beside, on=KEY)


def _shared(judged: Verdicts) -> str:
    """Name what takes the place of the ratio of images: where blocks count, that times the seeds of one."""
    return "val / train images" + (", by seeds of a block" if judged.unit == "block" else "")


def _ratio(row: Mapping[Any, Any]) -> Cell:
    return Cell(f"{row['overlap']:.3g}", key=row["overlap"])


def _uncorrected(row: Mapping[Any, Any]) -> Cell:
    if not row["n"] > 1:
        return Cell(DASH)
    return Cell(span({"low": row["low_t"], "high": row["high_t"], "n": row["n"]}))
