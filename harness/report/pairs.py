"""Which two arms a report looks at closely: of the declared contrasts, the one with most between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import stats
from harness.report.rungs import ladders
from harness.selection import as_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.report.reading import Reading

VAL = "val_accuracy"


@dataclass(frozen=True)
class Pair:
    """Two arms of one data set, one against the other, by their labels.

    Attributes:
        dataset: which.
        arm: the label of the one that is looked at.
        reference: the label of what it is compared with.
        why: how the two were picked, a sentence.
    """

    dataset: str
    arm: str
    reference: str
    why: str


def reference_levels(reading: Reading) -> dict[str, str]:
    """Each axis' level that others are compared with: as declared, else the baseline's, else the first."""
    declared = reading.results.study.get("contrasts", {}).get("levels", [])
    told = {entry["axis"]: str(entry["reference"]) for entry in declared}
    baseline = reading.results.study.get("baseline", {})
    levels = {axis: list(dict.fromkeys(reading.trials[axis])) for axis in reading.axes}
    wanted = {axis: told.get(axis, as_word(baseline.get(axis, ""))) for axis in levels}
    return {axis: wanted[axis] if wanted[axis] in there else there[0] for axis, there in levels.items()}


def reference_arm(reading: Reading, dataset: str) -> str:
    """The label of the arm that the study compares others with, on a data set; empty where it has none."""
    here = reading.trials[reading.trials["dataset"].eq(dataset)]
    if reading.design == "grid":
        here = _cell(here, reference_levels(reading))
    return str(here["label"].iloc[0]) if len(here) else ""


def largest(reading: Reading, dataset: str) -> Pair | None:
    """The contrast of the study's family with the largest mean difference in val accuracy, either way.

    Picked on val, as all in a report. A contrast of levels, which is a mean over many arms, is looked at in
    one of its cells: that with the reference levels of the other axes. None where no contrast has a seed that
    both of its arms finished.
    """
    found = [pair for pair in _family(reading, dataset) if pd.notna(pair[0])]
    if not found:
        return None
    difference, arm, reference, what = max(found, key=lambda pair: abs(pair[0]))
    family = "declared contrasts" if _declared(reading) else "contrasts of the design's default family"
    why = (
        f"Of the {len(found)} {family} on {dataset}, the one with the largest difference in val accuracy "
        f"({100 * difference:+.2f} points): {what}."
    )
    return Pair(dataset, arm, reference, why.replace("-", "\u2212", why.count("(-")))


def _declared(reading: Reading) -> bool:
    return bool(reading.results.study.get("contrasts", {}).get("declared", False))


def _family(reading: Reading, dataset: str) -> Iterator[tuple[float, str, str, str]]:
    """Each contrast: its mean difference, the labels of arm and reference to look at, and its words."""
    trials = reading.trials[reading.trials["dataset"].eq(dataset)]
    told = reading.results.study.get("contrasts", {})
    if reading.design == "grid":
        entries = told.get("levels") or [
            {"axis": axis, "reference": level, "within": []}
            for axis, level in reference_levels(reading).items()
        ]
        for entry in entries:
            yield from _levels(reading, trials, entry)
    yield from _pairs(reading, dataset, trials, told.get("pairs", []))


def _pairs(
    reading: Reading, dataset: str, trials: pd.DataFrame, declared: list[list[str]]
) -> Iterator[tuple[float, str, str, str]]:
    labels = trials.drop_duplicates("arm").set_index("arm")["label"]
    pairs = [(labels[arm], labels[to]) for arm, to in declared if arm in labels and to in labels]
    if not pairs and reading.design == "ladder":
        ladder = next(ladder for ladder in ladders(reading) if ladder.dataset == dataset)
        of = {rung.label: labels[rung.arm] for rung in ladder.rungs}
        pairs = [(of[row["arm"]], of[row["reference"]]) for row in ladder.pairs.to_dict("records")]
    elif not pairs and reading.design == "one-factor":
        pairs = [(label, labels.iloc[0]) for label in labels.iloc[1:]]
    wanted = pd.DataFrame([pair for pair in pairs if pair[0] != pair[1]], columns=["arm", "reference"])
    for row in stats.contrasts(trials, wanted, VAL, "label").to_dict("records"):
        yield row["difference"], row["arm"], row["reference"], f"{row['arm']} against {row['reference']}"


def _levels(
    reading: Reading, trials: pd.DataFrame, entry: Mapping[str, Any]
) -> Iterator[tuple[float, str, str, str]]:
    axis, reference = str(entry["axis"]), str(entry["reference"])
    within = [name for name in entry.get("within", []) if name in reading.axes]
    if axis not in reading.axes:
        return
    each = stats.level_differences(trials, axis, reference, within, list(reading.axes), VAL)
    means = each.groupby([*within, "arm"], sort=False)["difference"].mean().reset_index()
    for row in means.to_dict("records"):
        others = reference_levels(reading) | {name: row[name] for name in within}
        cells = [_cell(trials, others | {axis: level}) for level in (row["arm"], reference)]
        if all(len(cell) for cell in cells):
            first, second = (str(cell["label"].iloc[0]) for cell in cells)
            where = "".join(f", {name} {row[name]}" for name in within)
            rest = ", ".join(f"{k} {v}" for k, v in others.items() if k != axis and k not in within)
            what = f"{axis} {row['arm']} against {reference}{where}, averaged over the other choices"
            what += f"; looked at here with {rest}" if rest else ""
            yield row["difference"], first, second, what


def _cell(trials: pd.DataFrame, levels: Mapping[str, str]) -> pd.DataFrame:
    for axis, level in levels.items():
        trials = trials[trials[axis].eq(level)]
    return trials
