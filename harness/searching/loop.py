"""Searching: ask for a batch, train it as stacks, tell the results; then pick and confirm the winner.

A search writes first the part of a batch (its trials' rows), then the storage's trials. A search that is
killed between the two asks for the same batch again, finds the part, and tells the results in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness import notes
from harness.axes import plugins
from harness.data.datasets import Dataset
from harness.engines.compiled import engine as compiled
from harness.errors import UsageError
from harness.lowering import builds, components
from harness.lowering.builds import Bits
from harness.planning import cost, portability
from harness.planning.doubts import unseen
from harness.planning.plan import Plan, arrange, draw, make
from harness.planning.stack import Engine, Stack
from harness.results import documents, part_files, run_folder, tables
from harness.results.progress_file import ProgressFile
from harness.results.provenance import Provenance
from harness.searching import (
    ask_tell,
    checks,
    confirming,
    displays,
    outcomes,
    pruners,
    storages,
    suggestions,
    warm_start,
)
from harness.searching.ask_tell import AskTell, Suggestion, arm_of, drawn_of
from harness.searching.costs import Costs
from harness.searching.displays import SearchDisplay, SearchProgress
from harness.searching.scheduling import Batch, StageSchedule
from harness.searching.search_result import SearchResult
from harness.searching.told import Told
from harness.study.checker import GivenSettings
from harness.study.searches import Search
from harness.study.space import Space
from harness.study.study import Study
from harness.study.trials import SEMANTICS, arms, settings_of
from harness.system import locks, spawning
from harness.training import displays as run_displays
from harness.training import folder_runs, progress, runs
from harness.training.bit_checks import check_bits, compile_portable
from harness.training.cluster import connection
from harness.training.cluster.choosing import workers_for
from harness.training.options import RunOptions, affordable


def search(  # noqa: PLR0913 (a person's keywords; RunOptions from here on)
    study: Study, folder: Path | str | None = None, *, engine: Engine = "stacked", device: str = "auto",
    workers: int | None = None, display: SearchDisplay | None = None,
    confirm: progress.Display | None = None, bits: Bits = "native", cluster: str = "",
) -> SearchResult:  # fmt: skip
    """Search for the best settings in a study's space, pick the winner among the best, and confirm it.

    Args:
        study: one of design "search".
        folder: the results folder; results/<study>/ if not given.
        display: a context manager made from a SearchProgress; in a notebook, a progress bar if not given.
        confirm: a context manager made from a Progress, for the finalists and the trials that confirm.
        engine: stacked, loop or numpy.
        device: auto, cpu, cuda or mps.
        workers: worker processes; one a core or GPU if not given.
        bits: "native", or "portable": of equal suggestions, rows that are the same to the last bit on every
            x86-64 and AArch64 processor. What is suggested comes from Optuna, NumPy and SciPy, whose own bits
            may differ.
        cluster: a Ray cluster that trains in place of this machine's processes: "auto", "local:4",
            "HOST:PORT" or "ray://HOST:PORT".

    Raises:
        UsageError: the study is not a search, or the folder or the storage is another search's.
        MachineError: the results or the storage cannot be written, or the cluster cannot be reached.

    Example:
        >>> found = harness.search(harness.load("search"))  # doctest: +SKIP
    """
    spawning.check_main()
    checks.check_engine(engine)
    study = Study.checked(study)
    if study.search is not None and study.search.own:
        raise UsageError(
            f"search.own = {study.search.own!r}: an Optuna study outside asked for the suggestions of this "
            "folder, by harness.StackedStudy. Search with the study's own file, which goes on from them, or "
            "leave the key out: --set search.own="
        )
    shown = run_displays.chosen(confirm)
    options = RunOptions(engine, device, workers, display=shown, bits=bits, cluster=cluster)
    with builds.using(bits):
        return _searched(study, runs.folder_of(study, folder), options, displays.chosen(display))


def _searched(study: Study, folder: Path, options: RunOptions, display: SearchDisplay | None) -> SearchResult:
    """Search as `search`, in the build that is in use."""
    checks.check(study, folder)
    check_bits(draw(checks.every_component(study), options.engine), options)
    folder_runs.check_folder(folder, draw(study.in_phase("search"), options.engine), options)
    with locks.locked(folder), connection.connected(options.cluster):
        result = evaluated(study, folder, options, AskTell, display)
        return replace(result, **vars(confirming.confirm(folder, result.trials, study, options)))


Asking = Callable[[Search, Space, int, Mapping[str, Dataset]], AskTell]
"""Makes what a search asks and tells: of its table, its space, the most evaluations, and its data sets."""


def evaluated(
    study: Study, folder: Path, options: RunOptions, asking: Asking, display: SearchDisplay | None
) -> SearchResult:
    """Search in a folder that is held, asking and telling what `asking` makes, and confirm nothing.

    With `options.cluster`, this process is connected to it.
    """
    with closing(_Search(study, folder, options, asking)) as running:
        return running.run(display)


class _Search:
    """A search in its folder, which is held: Optuna's trials, the folder's trials, and the plan so far."""

    def __init__(self, study: Study, folder: Path, options: RunOptions, asking: Asking) -> None:
        assert study.search is not None  # noqa: S101 (`check` has made sure)
        self.start = time.monotonic()
        self.study, self.folder, self.options = study, folder, options
        self.engine, self.bits = options.engine, options.bits
        self.search, self.space = study.search, study.space
        self.devices = options.devices()
        self.processes = options.processes(self.devices)
        self.data = settings_of(study).data
        self.digests = {self.data.name: self.data.facts.digest}
        self.plan = make(study.in_phase("search"), self.engine)
        self.known = documents.stacks_of(run_folder.check_compatible(folder, self.plan.study, self.digests))
        self.earlier = warm_start.known(study, folder)
        if not self.known:
            run_folder.write_plan(folder, self.plan, self.digests)
            warm_start.keep(folder, self.earlier)
        self.data.load()
        self.storage = storages.open_storage(
            self.search.storage, folder, study.name, self.search.directions, self._about()
        )
        try:
            warm_start.keep(folder, self.earlier)
            self._restore(asking)
        except BaseException:
            self.storage.close()
            raise

    def close(self) -> None:
        """Close the storage."""
        self.storage.close()

    def _about(self) -> dict[str, Any]:
        """Return the entries that a storage must agree on for the search to go on in it."""
        entries = {f"space.{name}": given for name, given in self.space.table.items()}
        entries |= {f"baseline.{name}": value for name, value in self.study.baseline.items()}
        search = self.search
        entries |= {"objective": search.objective, "seeds": search.seeds, "diverged": search.diverged}
        if search.constraints:
            entries["constraints"] = search.constraints
        if self.earlier:
            entries["warm start"] = f"{self.earlier.words} ({self.earlier.digest})"
        entries |= {f"source of {name}": digest for name, digest in self._sources()}
        if self.bits == "portable":
            entries["bits"] = self.bits
        return {**entries, "data": self.data.facts.digest, "semantics": SEMANTICS}

    def _sources(self) -> Iterator[tuple[str, str]]:
        """Yield the third-party components that a suggestion may have, and the digests of their sources."""
        for arm in arms(checks.every_component(self.study)):
            for axis, entry in plugins.chosen_by([arm.settings]):
                if entry.third_party:
                    yield f"{axis} {entry.name}", entry.source_digest

    def _restore(self, asking: Asking) -> None:
        """Restore the suggestions of an earlier run of this search."""
        evaluations = checks.evaluations_of(self.study)
        self.trials, self.incomplete = ask_tell.whole_batches(self.storage.trials())
        self.before = max((float(trial.user_attrs[ask_tell.SECONDS]) for trial in self.trials), default=0.0)
        self.costs = Costs(self.search, self.folder)
        self.ask_tell = asking(self.search, self.space, max(evaluations), self.study.datasets)
        self.ask_tell.costs = self.costs
        if self.earlier:
            self.ask_tell.learn(self.earlier.points)
        self.ask_tell.restore(self.trials)
        self.exhausted = False
        self.again, since = suggestions.died(self.trials) if self.ask_tell.repeats else ([], [])
        # Suggestions that are asked for again take no other's place.
        before = len(self.trials)
        self.wanted = max(self.ask_tell.wanted(before) + len(since), before) + len(self.again)
        self.finished = frozenset(run_folder.finished(self.folder, set_aside=True))
        self.rungs = pruners.rungs(self.search.pruner, max(evaluations))
        for chosen in self._chosen():
            self._add(make(self.study.in_phase("search", chosen), self.engine, self.known))
        if self.trials:
            self._check_complete()

    def _chosen(self) -> Iterator[dict[str, GivenSettings]]:
        """Yield the settings of suggestions by arm; of those that were asked for again, each time apart.

        A plan takes arms that mean the same for one.
        """
        left = {arm_of(i): drawn_of(trial) for i, trial in enumerate(self.trials)}
        while left:
            first = {json.dumps(drawn, sort_keys=True): arm for arm, drawn in reversed(left.items())}
            now = set(first.values())
            yield {arm: self.space.settings(drawn) for arm, drawn in left.items() if arm in now}
            left = {arm: drawn for arm, drawn in left.items() if arm not in now}

    def _check_complete(self) -> None:
        """Raise UsageError where the storage has suggestions that were trained into another folder."""
        complete = {arm_of(i) for i, trial in enumerate(self.trials) if trial.state == TrialState.COMPLETE}
        missing = {trial.arm.name for trial in self.plan.trials if trial.trial_id not in self.finished}
        lost = missing & complete
        if lost:
            raise UsageError(
                f"{self.storage.shown} holds {len(lost)} suggestions whose trials are not in {self.folder}: "
                "they were trained into another folder, or their parts were removed. Choose that folder with "
                "--results, or give this search another name or another [search] storage."
            )

    def _add(self, more: Plan) -> None:
        """Add suggestions and their stacks to the plan, and write it down."""
        study = self.study.in_phase("search", {**self.plan.study.chosen, **more.study.chosen})
        self.plan = replace(
            more,
            study=study,
            trials=[*self.plan.trials, *more.trials],
            # A suggestion that is asked for again has the stack that it had before.
            stacks=list({stack.group: stack for stack in (*self.plan.stacks, *more.stacks)}.values()),
            skipped={**self.plan.skipped, **more.skipped},
        )
        run_folder.write_plan(self.folder, self.plan, self.digests)

    def run(self, display: SearchDisplay | None) -> SearchResult:
        """Ask, train and tell until there are as many suggestions as the study asks for."""
        provenance = Provenance(
            self.folder, self.plan, self.devices, self.processes,
            here=not self.options.cluster, engine=self.engine,
        )  # fmt: skip
        every = draw(checks.every_component(self.study), self.engine)
        modules = folder_runs.third_party_modules(every)
        count = self.processes if self.options.cluster else spawning.possible(self.processes)
        before, file = len(self.trials), ProgressFile(self.folder)
        remarks = unseen(self.study, every.trials)
        progress = SearchProgress(self.wanted, notes=remarks, before=before, file=file)
        self._note(progress)
        workers = workers_for(self.options, count, self.devices[0], modules, drawn=every)
        self.workers, self.progress = workers, progress
        self.schedule = StageSchedule(
            self.study, self.ask_tell, Told(self.folder), self.costs, self.rungs, self.devices, count
        )

        def finish() -> None:
            file.remove()
            suggestions.write(self.folder, self.trials, self.search, self.space)
            tables.consolidate(self.folder)
            taken = {
                "optuna_seconds": round(self.ask_tell.seconds, 2),
                "busy": round(self.schedule.busy, 3),
                "idle_seconds": round(workers.idle, 2),
            }
            facts = {**taken, **self.ask_tell.facts(), **workers.facts()}
            provenance.finish(len(self.trials) - before, facts)

        end = folder_runs.put_in_order(self.folder, finish)
        with end, (display or nullcontext)(progress), closing(workers):
            if self.options.cluster:
                workers.start(
                    (), early=True
                )  # actors import what they need while the first batch is asked for
            if self._ask_next():
                workers.start({stack.engine for stack in self.plan.stacks})
                for result in workers.serve(self.schedule.take, self.devices, self._meanwhile, ahead=True):
                    self.schedule.count_workers(workers.count)
                    self.schedule.arrive(result, more=self._is_more_wanted)
                    for note in result.notes:
                        notes.warn_once(note)
                    self._show()
            self.schedule.stop()
        return SearchResult(
            self.folder,
            self.trials,
            suggestions.best(self.trials, self.search),
            time.monotonic() - self.start,
            self.ask_tell.seconds,
            self.storage.shown,
            len(self.trials) - before,
            suggestions.reached(self.trials, self.search),
            busy=self.schedule.busy,
        )

    def _meanwhile(self) -> bool:
        """Do one thing that has to be done beside the training; returns False if there is none."""
        return self._ask_next() or self._finish_next() or self.schedule.release()

    def _ask_next(self) -> bool:
        """Ask for the next batch, if it is its time, and begin to train it; False if there is none."""
        number = self.ask_tell.batch
        if not self._is_more_wanted or not self.schedule.may_ask():
            return False
        if self._is_over(number) or (self.schedule.batches and self.ask_tell.waits):
            return False
        self.schedule.foresee(number)
        batch = self._ask()
        self._check_stored(batch)
        self.exhausted = not batch
        if batch:
            plan = self._planned(batch)
            self._add(plan)
            ended, stacks = self._ended(batch, plan)
            if not self.options.cluster:  # whose nodes have memory of their own
                self.workers.limit(affordable(self.workers.count, stacks))
            self.schedule.add(number, batch, plan, ended, stacks)
            self._show()
        return bool(batch)

    @property
    def _is_more_wanted(self) -> bool:
        """True while fewer suggestions were asked for than are wanted, and the space has others."""
        return not self.exhausted and self.ask_tell.count < self.wanted

    def _is_over(self, number: int) -> bool:
        """Tell whether the target was reached before a batch was asked for.

        A batch that was stored in part is told whole first. One that was asked for while the batch before it
        was in training goes on, whatever that has reached since.
        """
        log = self.schedule.told
        drawn = log.was_drawn(self.ask_tell.count)
        if drawn and self.schedule.waits_for != "batch":
            return False
        last = number - (2 if drawn or number in log.wanted else 1)
        told = [trial for trial in self.trials if trial.user_attrs[pruners.BATCH] <= last]
        return not self.incomplete and suggestions.reached(told, self.search) is not None

    def _finish_next(self) -> bool:
        """Write what has ended: batches are told and stored in their order; False if nothing has."""
        for batch in self.schedule.batches:
            if batch.is_over or self.schedule.waits_for == "search":
                before = len(batch.written)
                batch.write(self.folder)
                if batch.is_over and batch is self.schedule.batches[0]:
                    self._tell(batch)
                    return True
                if len(batch.written) > before:
                    return True
        return False

    def _tell(self, batch: Batch) -> None:
        """Tell and store the results of a batch that has ended."""
        results = batch.results(self.search, self.costs)
        seconds = self.before + time.monotonic() - self.start
        self._store(self.ask_tell.tell(batch.suggestions, results, seconds))
        self.schedule.remove(batch)
        suggestions.write(self.folder, self.trials, self.search, self.space)
        self._count(self.progress)
        self._note(self.progress)

    def _ask(self) -> list[Suggestion]:
        """Ask for a batch: again for suggestions whose worker died, else for new ones."""
        count = min(self.search.batch, self.wanted - self.ask_tell.count)
        again = self.again[:count]
        if self.incomplete and self.ask_tell.count == len(self.trials):
            attributes = self.incomplete[0].user_attrs
            count, again = attributes[ask_tell.SIZE], attributes.get(ask_tell.AGAIN, [])
        self.again = [number for number in self.again if number not in again]
        return self.ask_tell.ask(
            count,
            lambda settings: cost.evaluations(settings_of(self.study, settings)),
            {number: drawn_of(self.trials[number]) for number in again},
        )

    def _planned(self, batch: Sequence[Suggestion]) -> Plan:
        """Plan the stacks of a batch: as they were cut before, if they were.

        New components are compiled and checked before; what trains in PyTorch instead is told once.
        """
        study = self.study.in_phase("search", {suggestion.arm: suggestion.settings for suggestion in batch})
        drawn, device = draw(study, self.engine), self.devices[0]
        if self.engine == "stacked" and device == "cpu":
            todo = [trial for trial in drawn.trials if trial.trial_id not in drawn.skipped]
            if self.bits == "portable":  # a head with a loss, drawn apart, are known together only now
                portability.check(todo, study.metrics)
                compile_portable(drawn, todo)
            else:
                compiled.compile_new(todo, study.metrics)
            for reason in components.reasons([trial.arm.settings for trial in todo], study.metrics):
                notes.warn_once(reason)
        # Twice as many stacks as workers, so that none waits long for the last one at a rung.
        count = self.workers.count if self.options.cluster else self.processes
        processes = 2 * count if count > 1 else 1
        return arrange(drawn, self.engine, self.known, device, processes, ())

    def _ended(
        self, batch: Sequence[Suggestion], plan: Plan
    ) -> tuple[Mapping[str, outcomes.TrialResult], Sequence[Stack]]:
        """Return the results that need no training, such as those of an earlier run, and the other stacks."""
        ended = {trial_id: outcomes.TrialResult("failed", why) for trial_id, why in plan.skipped.items()}
        finished = self.finished.intersection(trial.trial_id for trial in plan.trials)
        if finished:
            ended |= outcomes.of_part(part_files.rows_of(self.folder, finished), self.search.objective)
        left = {trial.arm.name for trial in plan.trials if trial.trial_id not in ended}
        if not left:
            return ended, ()
        if len(left) < len(batch):
            plan = self._planned([suggestion for suggestion in batch if suggestion.arm in left])
        return ended, plan.stacks

    def _store(self, frozen: Sequence[FrozenTrial]) -> None:
        """Add a batch to the storage; of one that was killed meanwhile, the missing suggestions."""
        with self.ask_tell.timed():
            self.storage.add(frozen[len(self.incomplete) :])
        self.trials, self.incomplete = [*self.trials, *frozen], []

    def _check_stored(self, batch: Sequence[Suggestion]) -> None:
        """Raise UsageError where a batch that was killed while it was stored is asked for as another one."""
        stored = dict(enumerate(self.incomplete, len(self.trials)))
        for suggestion in batch:
            before = stored.get(suggestion.number)
            if before is not None and before.params != suggestion.trial.params:
                raise UsageError(
                    f"{self.storage.shown}: the batch that was being stored when the search was killed "
                    "cannot be asked for again (another version of Optuna, or another [search]). Choose "
                    "another folder with --results, or move this one away."
                )

    def _show(self) -> None:
        """Show how far the batches in training are."""
        self._count(self.progress)
        self.progress.keep()

    def _count(self, progress: SearchProgress) -> None:
        """Count the suggestions in training, and which share of them is done."""
        batches = self.schedule.batches
        progress.in_training = sum(len(batch.suggestions) for batch in batches)
        done = sum(len(batch.suggestions) * batch.share for batch in batches)
        progress.share = done / max(1, progress.in_training)

    def _note(self, progress: SearchProgress) -> None:
        progress.done = len(self.trials)
        progress.states = suggestions.counted(self.trials)
        best = suggestions.best(self.trials, self.search)
        leading = self.search.objectives.index(self.search.ranking[0])
        progress.best = None if best is None else self.trials[best].values[leading]
        progress.keep()
