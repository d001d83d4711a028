"""The folder of a study's tries: the baseline and what is tried against it, in any numbers of seeds.

An ordinary results folder, in the study's own, in its phase of tries: test stays closed, and of a trial only
rows are kept. All tries of a baseline share its trials, and what a folder holds is not trained again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import results
from harness.comparison.tries.changes import with_seeds
from harness.errors import UsageError
from harness.planning.cost import stack_seconds
from harness.planning.plan import Plan, arrange, draw
from harness.results import documents, run_folder
from harness.settings.schema import TRIES
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.study.trials import Arm, identity_of, resolve, trial_of
from harness.training import displays, folder_runs, runs
from harness.training.options import MachineKeywords, RunOptions
from harness.training.progress import Display

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 3000
"""The first seed of all tries: others than a study's, its tuning's (1000) and a search's (2000)."""
MOST_SEEDS = 10_000
QUICK = 3.0
"""Seconds of training, by estimate, in which worker processes would hardly have begun."""


class FolderKeywords(MachineKeywords, total=False):
    """Keywords of `harness.noise` and `harness.try_` that say where and how trials are trained.

    folder: the folder of tries; results/<study>/tries if not given. display: a context manager made from a
    Progress. engine, device, workers, bits and cluster are as `harness.run` takes them.
    """

    folder: Path | str | None
    display: Display | None


@dataclass(frozen=True)
class Trained:
    """The trials that one call trained, and the seconds that it took."""

    trials: int = 0
    seconds: float = 0.0
    failures: Sequence[str] = ()

    def plus(self, more: Trained) -> Trained:
        """Add what was trained later."""
        return Trained(
            self.trials + more.trials, self.seconds + more.seconds, [*self.failures, *more.failures]
        )


@dataclass(frozen=True)
class TryFolder:
    """A folder of tries.

    Attributes:
        path: where it is.
        study: the baseline, as a study of one arm.
        arms: the arms of this command as they are given, by name.
        options: how trials are trained.
    """

    path: Path
    study: Study
    arms: Mapping[str, GivenSettings]
    options: RunOptions

    @classmethod
    def of(cls, study: Study, arms: Mapping[str, GivenSettings], keywords: FolderKeywords) -> TryFolder:
        """Make the folder of a study's tries, and the options of its trainings."""
        path = keywords.get("folder") or Path("results") / study.name / TRIES
        options = RunOptions(
            engine=keywords.get("engine", "stacked"), device=keywords.get("device", "auto"),
            workers=keywords.get("workers"), bits=keywords.get("bits", "native"),
            display=displays.chosen(keywords.get("display")), cluster=keywords.get("cluster", ""),
        )  # fmt: skip
        return cls(Path(path), study, arms, options)

    def first_id(self, arm: str) -> str:
        """Return the id of an arm's first trial, by which the ledger knows the arm."""
        study = with_seeds(self.study, _seeds(1), {arm: self.arms[arm]})
        settings = resolve(self.arms[arm], self.study.datasets)
        return trial_of(study, Arm(arm, settings), FIRST_SEED).trial_id

    def draw(self, count: int) -> Plan:
        """Plan `count` seeds of each arm of this command, and what earlier tries finished.

        Raises:
            UsageError: an arm cannot be trained.
        """
        planned = self._planned_before()
        chosen = self._arms_before() if planned else {}
        most = max(count, len(self._seeds_before()) if planned else 0)
        arms = {**chosen, **self.arms}
        drawn = draw(with_seeds(self.study, _seeds(most), arms), self.options.engine)
        trials = [
            trial
            for trial in drawn.trials
            if trial.trial_id in planned or (trial.arm.name in self.arms and trial.seed < FIRST_SEED + count)
        ]
        for trial in trials:
            if trial.trial_id in drawn.skipped and trial.arm.name in self.arms:
                raise UsageError(f"{trial.arm.name} cannot be trained: {drawn.skipped[trial.trial_id]}")
        there = {trial.arm.name for trial in trials}
        study = replace(drawn.study, chosen={name: arms[name] for name in arms if name in there})
        return replace(drawn, study=study, trials=trials)

    def check(self, count: int) -> None:
        """Raise UsageError where the first `count` seeds cannot be trained, or not into this folder."""
        folder_runs.check_folder(self.path, self.draw(count), self.options)

    def train(self, count: int) -> Trained:
        """Train what is missing of the first `count` seeds of each arm.

        Raises:
            UsageError: an arm cannot be trained, or another run holds the folder.
            MachineError: results cannot be written.
        """
        drawn = self.draw(count)
        todo = self._todo(drawn, count)
        if not todo and self._tables_are_there(drawn):
            return Trained()
        start = time.monotonic()
        summary = runs.train_phases(drawn, self.path, self._options(drawn, todo))
        return Trained(len(todo), time.monotonic() - start if todo else 0.0, summary.failures)

    def _options(self, drawn: Plan, todo: Collection[str]) -> RunOptions:
        """Return the options; with one process, this one, for a training that ends before workers begin."""
        options = self.options
        if options.cluster or options.workers is not None or options.devices() != ["cpu"]:
            return options
        trials = [trial for trial in drawn.trials if trial.trial_id in todo]
        stacks = arrange(replace(drawn, trials=trials), options.engine, (), "cpu", 1, ()).stacks
        return replace(options, workers=1) if sum(map(stack_seconds, stacks)) < QUICK else options

    def rows(self, count: int) -> pd.DataFrame:
        """Read the trials of the first `count` seeds of this command's arms: trials.csv's rows."""
        trials = results.read_trials(self.path)
        mine = trials["arm"].isin(list(self.arms)) & trials["seed"].isin(_seeds(count))
        return trials[mine]

    def seconds_a_trial(self, count: int) -> float:
        """Return the seconds that a trial took of those that have finished, with all processes at work."""
        rows = self.rows(count)
        each = (rows["group_seconds"].astype(float) / rows["group_size"].astype(float)).mean()
        return float(each) / self.options.processes(self.options.devices())

    def _todo(self, drawn: Plan, count: int) -> set[str]:
        """Collect this command's trials that have not finished, in this plan or an earlier one."""
        last = FIRST_SEED + count
        mine = {t.trial_id for t in drawn.trials if t.arm.name in self.arms and t.seed < last}
        return mine - set(run_folder.finished(self.path)) if self.path.is_dir() else mine

    def _tables_are_there(self, drawn: Plan) -> bool:
        """Tell whether trials.csv has a row for every trial of a plan, each finished one with its result."""
        if not (self.path / "trials.csv").is_file():
            return False
        rows = results.read_trials(self.path)
        return {trial.trial_id for trial in drawn.trials} <= set(rows["trial_id"])

    def _table(self) -> Mapping[str, Any]:
        """Read study.toml; empty where a run was killed before it wrote one."""
        return documents.study(self.path) if (self.path / "study.toml").is_file() else {}

    def _planned_before(self) -> set[str]:
        """Collect the trials of earlier tries that have finished: one that failed disturbs no other."""
        if not (self.path / "plan.json").is_file():
            return set()
        planned = {name for _, _, ids in documents.stacks_of(documents.plan(self.path)) for name in ids}
        return planned & set(run_folder.finished(self.path))

    def _seeds_before(self) -> Sequence[int]:
        about: Mapping[str, Any] = self._table().get("study", {})
        seeds: Sequence[int] = about.get("seeds", [])
        return seeds

    def _arms_before(self) -> Mapping[str, GivenSettings]:
        """Give the other arms of earlier tries; none if one of this command's names meant another then."""
        chosen: Mapping[str, GivenSettings] = self._table().get("chosen", {})
        here = {name: self._identity(given) for name, given in self.arms.items()}
        try:
            before = {name: self._identity(given) for name, given in chosen.items()}
        except (UsageError, KeyError):  # a component is gone
            return {}
        if any(before.get(name, identity) != identity for name, identity in here.items()):
            return {}
        return {name: given for name, given in chosen.items() if before[name] not in here.values()}

    def _identity(self, given: GivenSettings) -> str:
        return identity_of(resolve(given, self.study.datasets))


def _seeds(count: int) -> list[int]:
    return list(range(FIRST_SEED, FIRST_SEED + count))
