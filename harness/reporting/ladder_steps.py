"""The steps of a ladder, their changes of settings, and their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from harness import stats
from harness.errors import UsageError
from harness.reporting.data import ReportData
from harness.results import documents
from harness.text import NOT_APPLICABLE, as_word

Changes = Mapping[str, tuple[str, str]]
"""Setting -> its old and its new value, as words."""


@dataclass(frozen=True)
class LadderStep:
    """One step of a ladder."""

    number: int  # 0 for the baseline
    name: str  # as in the study file
    arm: str  # the arm in trials.csv; an earlier step's if this one sets nothing new
    dataset: str  # the data set it was trained on
    changes: Changes  # settings that the step names and that differ from the step before
    follows: Changes  # settings that differ without being named, such as another optimizer's defaults

    @property
    def label(self) -> str:
        """Number and name, which together are unique in a ladder."""
        return f"{self.number} {self.name}"


@dataclass(frozen=True)
class Ladder:
    """The steps on one data set."""

    dataset: str  # its name
    steps: Sequence[LadderStep]  # in order, the lowest first
    trials: pd.DataFrame  # a row a trial of a step, with the step's label in `label`
    pairs: pd.DataFrame  # arm, reference: labels of each step and of the one before it

    @property
    def splits(self) -> list[str]:
        """The splits that have any accuracy."""
        return [
            split for split in ("val", "test") if not stats.finished(self.trials, f"{split}_accuracy").empty
        ]

    def accuracy(self, split: str) -> pd.DataFrame:
        """Summarise every step's accuracy, by label, with `stats.summarise`."""
        metric = f"{split}_accuracy"
        done = self.trials.assign(**{metric: self.trials[metric].where(self.trials["status"].eq("ok"))})
        return stats.summarise(done, ["label"], metric)

    def contrasts(self, split: str, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Compare each step with the one before, or other `pairs`, with `stats.contrasts`."""
        return stats.contrasts(
            self.trials, self.pairs if pairs is None else pairs, f"{split}_accuracy", "label"
        )

    def differences(self, split: str) -> pd.DataFrame:
        """Subtract the step before from each step with `stats.paired_differences`."""
        return stats.paired_differences(self.trials, self.pairs, f"{split}_accuracy", "label")

    def before(self, step: LadderStep) -> LadderStep | None:
        """Return the step before this one, if it is on the same data set."""
        return next((other for other in self.steps if other.number == step.number - 1), None)


def ladders(reading: ReportData) -> list[Ladder]:
    """Return the ladder of each data set; a step that changes the data set begins another."""
    result = []
    every = list(ladder_steps(reading))
    for dataset in reading.datasets:
        steps = [step for step in every if step.dataset == dataset]
        rows = [reading.trials[reading.trials["arm"].eq(step.arm)].assign(label=step.label) for step in steps]
        labels = [(b.label, a.label) for a, b in pairwise(steps) if b.number == a.number + 1]
        pairs = pd.DataFrame(labels, columns=["arm", "reference"])
        result.append(Ladder(dataset, steps, pd.concat(rows, ignore_index=True), pairs))
    return result


def ladder_steps(reading: ReportData) -> Iterator[LadderStep]:
    """Yield the steps that have a trial in `reading.trials`, in the study's order."""
    first = reading.results.trials.drop_duplicates("arm").set_index("arm", drop=False)
    settings = first.loc[:, "arm":"seed"].drop(columns=["arm", "seed"]).map(as_word)
    given = dict(reading.study.baseline)
    arm, earlier = "baseline", ["baseline"]
    kept = set(reading.trials["arm"])
    for number, step in enumerate([{"name": "baseline"}, *reading.study.steps]):
        named = {key: value for key, value in step.items() if key != "name"}
        given |= named
        before, arm = arm, step["name"]
        if arm not in settings.index or arm in earlier[1:]:
            arm = _merged(reading).get(arm) or _same(given, settings.loc[earlier])
        earlier.append(arm)
        differ = {
            key: (old, new)
            for key, old, new in zip(settings.columns, settings.loc[before], settings.loc[arm], strict=True)
            if old != new
        }
        if arm in kept:
            yield LadderStep(
                number, step["name"], arm, str(settings.loc[arm, "dataset"]),
                {key: differ[key] for key in named if key in differ},
                {key: pair for key, pair in differ.items() if key not in named},
            )  # fmt: skip


def _merged(reading: ReportData) -> dict[str, str]:
    """Return the arms that were trained as another arm: name -> that one's; older folders do not say."""
    path = reading.results.folder / "plan.json"
    merged = documents.plan(path.parent).get("merged", {}) if path.is_file() else {}
    return {str(other): str(name) for name, others in merged.items() for other in others}


def _same(given: Mapping[str, object], settings: pd.DataFrame) -> str:
    """Find, for an older folder, the earlier arm that has all given settings, as far as they apply to it.

    Raises:
        UsageError: there is no such arm, so study and trials do not belong together.
    """
    words = {key: as_word(value) for key, value in given.items() if key in settings}
    fits = [
        all(row[key] in {value, NOT_APPLICABLE} for key, value in words.items())
        for row in settings.to_dict("records")
    ]
    if not any(fits):
        raise UsageError(
            "the results folder's study.toml has a step without trials, and no earlier step has the same "
            "settings: `harness run` the study again"
        )
    return str(settings.index[fits][-1])


def class_pairs(confusion: pd.DataFrame, ladder: Ladder, pair: tuple[str, str], classes: int) -> pd.DataFrame:
    """Compute the change in test mistakes between each two classes, in either direction, for each seed.

    `pair`: labels of a step and of the one before; `classes`: their number.

    Returns:
        Change in mistakes, (seeds that both steps finished) x (first, second), the largest decrease first.
    """
    changes = stats.confusion_differences(confusion, ladder.trials, pair, classes, "label")
    cube = changes.to_numpy().reshape(-1, classes, classes)
    first, second = np.triu_indices(classes, 1)
    between = pd.DataFrame(
        (cube + cube.transpose(0, 2, 1))[:, first, second],
        columns=pd.MultiIndex.from_arrays([first, second], names=["first", "second"]),
    )
    return between.iloc[:, np.argsort(between.to_numpy().sum(axis=0), kind="stable")]
