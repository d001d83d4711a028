"""Searching: ask a batch, train it as stacks, tell what came out; then confirm the winner with fresh seeds.

What is durable, in this order: the part of a batch (its trials' rows), then the storage's trials. A search
that is killed between the two asks for the same batch again, finds the part, and tells what is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness import parts, plugins, results, spawning, training
from harness.errors import UsageError
from harness.plan import Plan, cores, make, unseen
from harness.provenance import Provenance
from harness.schema import BASELINE, CONFIRMED, WINNER
from harness.searching import checks, outcomes, pruners, rounds, storages, suggestions
from harness.searching.asking import AGAIN, SECONDS, SIZE, Asker, Suggestion, arm_of, drawn_of, whole_batches
from harness.searching.stages import Workers
from harness.stacks import Engine
from harness.study import Study
from harness.trials import SEMANTICS, arms, settings_of


@dataclass
class Progress:
    """How far a search is, for a display in another thread. `share` is of the batch that is out."""

    total: int
    done: int = 0
    out: int = 0
    share: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    notes: Sequence[str] = ()

    @property
    def suggestions(self) -> float:
        """Suggestions that are over, those in flight by their share."""
        return self.done + self.share * self.out


Display = Callable[[Progress], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Found:
    """What a search came to: `trials` are Optuna's, one a suggestion, `winner` the number of the best."""

    folder: Path
    trials: Sequence[FrozenTrial] = field(repr=False)
    winner: int | None
    seconds: float
    optuna_seconds: float
    storage: str
    asked: int
    confirmed: training.Summary | None = None

    @property
    def suggestions(self) -> pd.DataFrame:
        """suggestions.csv."""
        return suggestions.read(self.folder)

    @property
    def failed(self) -> bool:
        """Whether a trial could not be trained, here or in the confirmation; one that diverged was."""
        reasons = suggestions.failures(self.trials)
        return any(" failed: " in reason for reason in reasons) or bool(
            self.confirmed and self.confirmed.statuses.get("failed")
        )


def search(
    study: Study,
    folder: Path | str | None = None,
    *,
    engine: Engine = "stacked",
    device: str = "auto",
    workers: int | None = None,
    display: Display | None = None,
    confirm: Callable[[training.Progress], AbstractContextManager[Any]] | None = None,
) -> Found:
    """Search for the best settings in a study's space, and confirm what was found.

    Args:
        study: one of design "search".
        folder: the results folder; results/<study>/ if not given.
        engine: what trains the trials.
        device: auto, cpu, cuda, or mps.
        workers: worker processes; one a core, or one a GPU, if not given.
        display: a context manager made from a Progress.
        confirm: the same of a run's progress, for the trials that confirm.

    Raises:
        UsageError: the study is no search, or the folder or the storage is another's.
        MachineError: the results or the storage cannot be written.
    """
    spawning.check_main()
    folder = training.folder_of(study, folder)
    checks.check(study)
    training.check(study.in_phase("search"), folder, engine)
    with results.claimed(folder):
        running = _Search(study, folder, engine, training.choose_devices(device, engine), workers)
        try:
            found = running.run(display)
        finally:
            running.storage.close()
        return replace(found, confirmed=_confirm(found, study, folder, (engine, device, workers, confirm)))


def _ids(plan: Plan, suggestion: Suggestion) -> list[str]:
    return [trial.trial_id for trial in plan.trials if trial.arm.name == suggestion.arm]


class _Search:
    """A search in its folder, which is held: what Optuna knows, what the folder has, and who trains."""

    def __init__(
        self, study: Study, folder: Path, engine: Engine, devices: Sequence[str], workers: int | None
    ) -> None:
        assert study.search is not None  # noqa: S101 (`check` has made sure)
        assert study.space is not None  # noqa: S101
        self.start = time.monotonic()
        self.study, self.folder, self.engine, self.devices = study, folder, engine, devices
        self.search, self.space = study.search, study.space
        self.data = settings_of(study).data
        self.digests = {self.data.name: self.data.facts.digest}
        self.workers = workers or (len(devices) if devices[0] != "cpu" else cores())
        self.plan = make(study.in_phase("search"), engine)
        self.known = results.stacks_of(results.check_same(folder, self.plan.study, self.digests))
        if not self.known:
            results.begin(folder, self.plan, self.digests)
        self.data.load()
        self.storage = storages.open(
            self.search.storage, folder, study.name, self.search.directions, self._about()
        )
        try:
            self._begin()
        except BaseException:
            self.storage.close()
            raise

    def _about(self) -> dict[str, Any]:
        """What a storage must agree on, entry by entry, for the search to go on in it."""
        entries = {f"space.{name}": given for name, given in self.space.table.items()}
        entries |= {f"baseline.{name}": value for name, value in self.study.baseline.items()}
        search = self.search
        entries |= {"objective": search.objective, "seeds": search.seeds, "diverged": search.diverged}
        entries |= {f"source of {name}": digest for name, digest in self._sources()}
        return {**entries, "data": self.data.facts.digest, "semantics": SEMANTICS}

    def _sources(self) -> Iterator[tuple[str, str]]:
        """The third-party components that a suggestion may have, and what defines them."""
        for arm in arms(self._everything()):
            for axis, entry in plugins.chosen_by([arm.settings]):
                if entry.third_party:
                    yield f"{axis} {entry.name}", entry.source_digest

    def _begin(self) -> None:
        """Know what an earlier run of this search was told."""
        evaluations = checks.evaluations_of(self.study)
        self.trials, self.half = whole_batches(self.storage.trials())
        self.before = max((float(trial.user_attrs[SECONDS]) for trial in self.trials), default=0.0)
        self.asker = Asker(self.search, self.space, max(evaluations), self.study.datasets)
        self.asker.know(self.trials)
        self.again, since = suggestions.died(self.trials)
        # Who is asked for again takes nobody's place.
        self.wanted = max(self.search.suggestions + len(since), len(self.trials)) + len(self.again)
        self.there = frozenset(results.finished(self.folder, set_aside=True))
        self.rungs = pruners.rungs(self.search.pruner, max(evaluations))
        chosen = {arm_of(i): self.space.settings(drawn_of(one)) for i, one in enumerate(self.trials)}
        if chosen:
            self._grow(make(self.study.in_phase("search", chosen), self.engine, self.known))
            self._check_whole()

    def _check_whole(self) -> None:
        """Raise UsageError where the storage has suggestions that were trained into another folder."""
        complete = {arm_of(i) for i, one in enumerate(self.trials) if one.state == TrialState.COMPLETE}
        lost = {one.arm.name for one in self.plan.trials if one.trial_id not in self.there} & complete
        if lost:
            raise UsageError(
                f"{self.storage.shown} holds {len(lost)} suggestions whose trials are not in {self.folder}: "
                "they were trained into another folder, or their parts were removed. Choose that folder with "
                "--results, or give this search another name or another [search] storage."
            )

    def _grow(self, more: Plan) -> None:
        """Write down that there are more suggestions than before, with their stacks."""
        study = self.study.in_phase("search", {**self.plan.study.chosen, **more.study.chosen})
        self.plan = replace(
            more,
            study=study,
            trials=[*self.plan.trials, *more.trials],
            # A suggestion that is asked for again has the stack that it had before.
            stacks=list({stack.group: stack for stack in (*self.plan.stacks, *more.stacks)}.values()),
            skipped={**self.plan.skipped, **more.skipped},
        )
        results.begin(self.folder, self.plan, self.digests)

    def run(self, display: Display | None) -> Found:
        """Ask, train and tell until there are as many suggestions as the study asks for."""
        provenance = Provenance(self.folder, self.plan, self.devices, self.workers)
        everything = make(self._everything(), self.engine)
        modules = training.third_party_modules(everything)
        count = spawning.possible(self.workers)
        progress = Progress(self.wanted, notes=unseen(self.study, everything.trials))
        self._note(progress)
        before = len(self.trials)

        def finish() -> None:
            suggestions.write(self.folder, self.trials, self.search, self.space)
            results.consolidate(self.folder)
            provenance.finish(len(self.trials) - before)

        end = training.put_in_order(self.folder, finish)
        with end, (display or nullcontext)(progress), Workers(count, modules) as workers:
            while len(self.trials) < self.wanted:
                if not self._batch(workers, progress):
                    break
        return Found(
            self.folder,
            self.trials,
            suggestions.best(self.trials, self.search),
            time.monotonic() - self.start,
            self.asker.seconds,
            self.storage.shown,
            len(self.trials) - before,
        )

    def _everything(self) -> Study:
        """A study whose arms name every component that a suggestion may."""
        arms = {
            f"{entry.name} {name}": meant
            for entry in self.space.entries
            for name, meant in entry.means.items()
        }
        return self.study.in_phase("search", {BASELINE: {}, **arms})

    def _batch(self, workers: Workers, progress: Progress) -> bool:
        """Ask for one batch, train it, and tell what came of it; whether there was anything left to ask."""
        count = min(self.search.batch, self.wanted - len(self.trials))
        again = self.again[:count]
        if self.half:
            count, again = self.half[0].user_attrs[SIZE], self.half[0].user_attrs.get(AGAIN, [])
        self.again = [number for number in self.again if number not in again]
        batch = self.asker.ask(
            count,
            lambda settings: checks.evaluations(settings_of(self.study, settings)),
            {number: drawn_of(self.trials[number]) for number in again},
        )
        if not batch:
            return False
        plan = self._planned(batch)
        self._grow(plan)
        progress.out = len(batch)
        ended = self._ended(batch, plan, workers, progress)
        trials = {one.arm: [trial for trial in plan.trials if trial.arm.name == one.arm] for one in batch}
        told = [outcomes.told(trials[one.arm], ended, self.search) for one in batch]
        frozen = self.asker.tell(batch, told, self.before + time.monotonic() - self.start)
        self._store(frozen)
        suggestions.write(self.folder, self.trials, self.search, self.space)
        self._note(progress)
        return True

    def _store(self, frozen: Sequence[FrozenTrial]) -> None:
        """Add a batch to the storage; of one that was killed meanwhile, what is missing."""
        for there, here in zip(self.half, frozen, strict=False):
            if there.params != here.params:
                raise UsageError(
                    f"{self.storage.shown}: the batch that was being stored when the search was killed "
                    "cannot be asked for again (another version of Optuna, or another [search]). Choose "
                    "another folder with --results, or move this one away."
                )
        with self.asker.timed():
            self.storage.add(frozen[len(self.half) :])
        self.trials, self.half = [*self.trials, *frozen], []

    def _ended(
        self, batch: Sequence[Suggestion], plan: Plan, workers: Workers, progress: Progress
    ) -> dict[str, outcomes.Ended]:
        """What came of a batch's trials: read, where an earlier run has trained them, else trained now."""
        ended = {trial_id: outcomes.Ended("failed", why) for trial_id, why in plan.skipped.items()}
        known = self.there.intersection(trial.trial_id for trial in plan.trials)
        if known:
            ended |= outcomes.of_part(results.rows_of(self.folder, known), self.search.objective)
        left = [one for one in batch if any(i not in ended for i in _ids(plan, one))]
        if not left:
            return ended
        if len(left) < len(batch):
            plan = self._planned(left)
        workers.limit(training.affordable(workers.count, plan.stacks))
        study, first = self.study, self.search.objective[0]
        setup = rounds.Setup(workers, self.devices, self.rungs, first, study.metrics)

        def tell(share: float) -> None:
            progress.share = share

        found = rounds.train(left, plan.stacks, self.asker, setup, tell)
        parts.write_batch(self.folder, rounds.name_of(plan.trials), found.shares, found.failed)
        return ended | outcomes.of_round(found, self.search.objective)

    def _planned(self, batch: Sequence[Suggestion]) -> Plan:
        """The stacks of a batch: as they were cut before, if they were."""
        return make(
            self.study.in_phase("search", {one.arm: one.settings for one in batch}),
            self.engine,
            self.known,
            device=self.devices[0],
            # Twice as many stacks as workers, so that none waits long for the last one at a rung.
            processes=2 * self.workers if self.workers > 1 else 1,
        )

    def _note(self, progress: Progress) -> None:
        """Show how far the search is."""
        progress.done, progress.out, progress.share = len(self.trials), 0, 0.0
        progress.states = suggestions.counted(self.trials)
        best = suggestions.best(self.trials, self.search)
        progress.best = None if best is None else self.trials[best].values[0]  # noqa: PD011 (Optuna's)


How = tuple[Engine, str, "int | None", "training.Display | None"]


def _confirm(found: Found, study: Study, folder: Path, how: How) -> training.Summary | None:
    """Train the winner and the baseline with the study's seeds, which chose nothing, and open test."""
    if found.winner is None or study.space is None:
        return None
    settings = study.space.settings(drawn_of(found.trials[found.winner]))
    suggestions.note_winner(
        folder, found.winner, len(found.trials), lambda: _opened(found.trials, study, folder / CONFIRMED)
    )
    confirmed = study.in_phase("confirmed", {BASELINE: {}, WINNER: settings})
    declared = {"declared": True, "pairs": [[WINNER, BASELINE]], "levels": []}
    confirmed = replace(confirmed, contrasts=study.contrasts.model_copy(update=declared))
    engine, device, workers, display = how
    return training.train(
        confirmed, folder / CONFIRMED, engine=engine, device=device, workers=workers, display=display
    )


def _opened(trials: Sequence[FrozenTrial], study: Study, folder: Path) -> list[int]:
    """The numbers of the suggestions whose settings were trained to confirm them."""
    assert study.space is not None  # noqa: S101 (a search has one)
    there = results.finished(folder).keys()
    opened = []
    for number, trial in enumerate(trials):
        settings = study.space.settings(drawn_of(trial))
        planned = make(study.in_phase("confirmed", {WINNER: settings})).trials
        if there & {one.trial_id for one in planned if one.arm.name == WINNER}:
            opened.append(number)
    return opened
