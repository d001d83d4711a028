"""A ladder made ready to be reported on: its rungs, what each changed, and their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from harness import stats
from harness.errors import UsageError
from harness.report.reading import Reading
from harness.text import NOT_APPLICABLE, as_word

Changes = Mapping[str, tuple[str, str]]
"""Setting -> what it was and what it is, as words."""


@dataclass(frozen=True)
class Rung:
    """One rung of a ladder.

    Attributes:
        number: 0 for the baseline.
        name: the step's.
        arm: whose trials are the rung's; an earlier rung's where the step sets nothing new.
        dataset: what it was trained on.
        changes: settings that the step names and that differ from the rung before.
        follows: settings that differ without being named: another optimizer's defaults, for instance.
    """

    number: int
    name: str
    arm: str
    dataset: str
    changes: Changes
    follows: Changes

    @property
    def label(self) -> str:
        """Number and name: unique in a ladder, which a name is not."""
        return f"{self.number} {self.name}"


@dataclass(frozen=True)
class Ladder:
    """The rungs on one data set.

    Attributes:
        dataset: which.
        rungs: in order, the lowest first.
        trials: a row a trial of a rung, the rung's label in `label`.
        pairs: arm, reference: labels of each rung and of the one before it.
    """

    dataset: str
    rungs: Sequence[Rung]
    trials: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def splits(self) -> list[str]:
        """The splits that have any accuracy."""
        return [
            split for split in ("val", "test") if not stats.finished(self.trials, f"{split}_accuracy").empty
        ]

    def accuracy(self, split: str) -> pd.DataFrame:
        """`stats.summarise` of every rung's accuracy, by label."""
        metric = f"{split}_accuracy"
        done = self.trials.assign(**{metric: self.trials[metric].where(self.trials["status"].eq("ok"))})
        return stats.summarise(done, ["label"], metric)

    def contrasts(self, split: str, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
        """`stats.contrasts` of each rung with the one before, or of other `pairs`."""
        return stats.contrasts(
            self.trials, self.pairs if pairs is None else pairs, f"{split}_accuracy", "label"
        )

    def differences(self, split: str) -> pd.DataFrame:
        """`stats.paired_differences` of each rung with the one before."""
        return stats.paired_differences(self.trials, self.pairs, f"{split}_accuracy", "label")

    def before(self, rung: Rung) -> Rung | None:
        """The rung that this one was added to, if it is on the same data set."""
        return next((other for other in self.rungs if other.number == rung.number - 1), None)


def ladders(reading: Reading) -> list[Ladder]:
    """The ladder of each data set; a step that changes the data set begins another."""
    made = []
    climbed = list(rungs(reading))
    for dataset in reading.datasets:
        here = [rung for rung in climbed if rung.dataset == dataset]
        rows = [reading.trials[reading.trials["arm"].eq(rung.arm)].assign(label=rung.label) for rung in here]
        steps = [(b.label, a.label) for a, b in pairwise(here) if b.number == a.number + 1]
        pairs = pd.DataFrame(steps, columns=["arm", "reference"])
        made.append(Ladder(dataset, here, pd.concat(rows, ignore_index=True), pairs))
    return made


def rungs(reading: Reading) -> Iterator[Rung]:
    """The rungs that have a trial in the reading, in the study's order."""
    first = reading.results.trials.drop_duplicates("arm").set_index("arm", drop=False)
    settings = first.loc[:, "arm":"seed"].drop(columns=["arm", "seed"]).map(as_word)
    steps = reading.results.study.get("steps", [])
    given = dict(reading.results.study.get("baseline", {}))
    arm, seen = "baseline", ["baseline"]
    kept = set(reading.trials["arm"])
    for number, step in enumerate([{"name": "baseline"}, *steps]):
        named = {key: value for key, value in step.items() if key != "name"}
        given |= named
        before, arm = arm, step["name"]
        if arm not in settings.index or arm in seen[1:]:
            arm = _same(given, settings.loc[seen])
        seen.append(arm)
        differ = {
            key: (old, new)
            for key, old, new in zip(settings.columns, settings.loc[before], settings.loc[arm], strict=True)
            if old != new
        }
        if arm in kept:
            yield Rung(
                number, step["name"], arm, str(settings.loc[arm, "dataset"]),
                {key: differ[key] for key in named if key in differ},
                {key: pair for key, pair in differ.items() if key not in named},
            )  # fmt: skip


def _same(given: Mapping[str, object], settings: pd.DataFrame) -> str:
    """The arm, of some earlier ones, that has all given settings as far as they apply to it.

    A step that sets nothing new was trained once, as an earlier rung, and has no trials under its own name.

    Raises:
        UsageError: there is none, so study and trials do not belong together.
    """
    said = {key: as_word(value) for key, value in given.items() if key in settings}
    fits = [
        all(row[key] in {value, NOT_APPLICABLE} for key, value in said.items())
        for row in settings.to_dict("records")
    ]
    if not any(fits):
        raise UsageError(
            "the results folder's study.toml has a step without trials, and no earlier rung is the same: "
            "`harness run` the study again"
        )
    return str(settings.index[fits][-1])


def class_pairs(confusion: pd.DataFrame, ladder: Ladder, pair: tuple[str, str], classes: int) -> pd.DataFrame:
    """How the test mistakes between each two classes, either taken for the other, changed in each seed.

    Args:
        confusion: a results folder's.
        ladder: the rungs.
        pair: labels of the rung and of the one before.
        classes: how many there are.

    Returns:
        Change in mistakes: seeds that both rungs finished x (first, second), the most mended pair of classes
        first.
    """
    changes = stats.confusion_differences(confusion, ladder.trials, pair, classes, "label")
    cube = changes.to_numpy().reshape(-1, classes, classes)
    first, second = np.triu_indices(classes, 1)
    between = pd.DataFrame(
        (cube + cube.transpose(0, 2, 1))[:, first, second],
        columns=pd.MultiIndex.from_arrays([first, second], names=["first", "second"]),
    )
    return between.iloc[:, np.argsort(between.to_numpy().sum(axis=0), kind="stable")]
