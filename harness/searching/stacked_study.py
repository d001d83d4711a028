"""`harness.StackedStudy`: anybody's optimizer, whose suggestions are trained as stacks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import optuna
import pandas as pd

from harness import notes
from harness.errors import UsageError, quoted
from harness.lowering import builds
from harness.planning.plan import draw
from harness.searching import checks, constraints, displays, draws, loop, own_studies
from harness.searching.ask_tell import arm_of
from harness.searching.own_studies import Outside, OwnAskTell
from harness.searching.storages import quiet_optuna
from harness.searching.suggestions import STATE_NAMES
from harness.settings import limits
from harness.study.reading import load
from harness.study.searches import Pruning, Search
from harness.study.space import Choices, Drawn, Floats, Ints, Parameter, Space, Values
from harness.study.study import Study
from harness.system import locks, machine, spawning
from harness.text import as_text, count
from harness.training import folder_runs, runs
from harness.training.bit_checks import check_bits
from harness.training.cluster import connection
from harness.training.options import MachineKeywords, RunOptions

EVALUATION = "evaluation {}"
"""Name of the column that has the first objective after so many evaluations."""


class StackedStudy:
    """An Optuna study of a person's own, or any optimizer with ask and tell, evaluated by stacks.

    Every suggestion is a point of the space of a search's study file. It is trained as a search trains it:
    with [search] seeds, sealed, in stacks with the others of its batch. All rows lie in a results folder.

    Args:
        optuna_study: a study with any storage, sampler and pruner; None for `evaluate` alone.
        space: a study of design "search", or the name or path of its file. Of its [search] table, objective,
            direction, seeds, diverged, batch, storage and constraints count; not its sampler, pruner and
            warm_start.
        folder: the results folder; results/<study>/ if not given. What lies in it is not trained again.
        options: engine, device, workers, bits and cluster, as for `harness.search`.

    Raises:
        UsageError: the study is no search, or its space is empty; the Optuna study is to be optimized in
            another direction, or has trials that are no points of the space.

    Example:
        >>> optuna_study = optuna.create_study(direction="maximize")  # doctest: +SKIP
        >>> stacked = harness.StackedStudy(optuna_study, "search")  # doctest: +SKIP
        >>> stacked.optimize(64, batch=32)  # doctest: +SKIP
    """

    def __init__(
        self,
        optuna_study: optuna.Study | None,
        space: Study | str | Path,
        folder: Path | str | None = None,
        **options: Unpack[MachineKeywords],
    ) -> None:
        spawning.check_main()
        self.study = load(space) if isinstance(space, str | Path) else Study.checked(space)
        self.optuna_study = optuna_study
        self.folder = runs.folder_of(self.study, folder)
        checks.check_engine(options.get("engine", "stacked"))
        self._options = RunOptions(**options)
        search = self.study.search
        others = {"suggestions": 1, "sampler": "random", "pruner": Pruning(), "warm_start": ""}
        checks.check(replace(self.study, search=search and search.model_copy(update=others)))
        if not self.study.space.parameters:
            raise UsageError(
                f"{self.study.name}: [space] is empty, so there is nothing to suggest; add a parameter"
            )
        if optuna_study is not None:
            with quiet_optuna():
                own_studies.check(optuna_study, self._search, self.study.space)

    def optimize(self, n_trials: int, batch: int | None = None) -> pd.DataFrame:
        """Ask the study for trials in batches, train each batch as stacks, and tell the results in order.

        Trials that are enqueued come first. The pruner is asked after every evaluation, once all of the
        batch have reported. Settings that were trained before in this folder are not trained again: their
        trials are told what was reached. A call that is interrupted tells the trials it has asked for that
        they failed; what a killed process left running is trained and told by the next call, besides
        `n_trials`. Trials that break [search.constraints] are not trained; a note says so where they are half
        of all or more.

        Args:
            n_trials: trials to ask for.
            batch: trials that train together; [search] batch if not given.

        Returns:
            A row a trial, in the order of asking: `trial` (Optuna's number), `number` and `arm` of the
            suggestion in the folder, state, reason, evaluations, the objectives, the first of them after each
            evaluation ("evaluation 1", ..), and the parameters.

        Raises:
            UsageError: trials do not fit the space, the folder is another study's, or n_trials is none.
            MachineError: the results or the folder's storage cannot be written.
        """
        if self.optuna_study is None:
            raise UsageError(
                "StackedStudy(None, space) has no study to optimize: give one (optuna.create_study()), or "
                "call evaluate with a list of points"
            )
        frame = self._told(self.optuna_study, _count("n_trials", n_trials), batch)
        self._warn_of_refused(int(frame["number"].isna().sum()), len(frame))
        return frame

    def evaluate(self, points: Sequence[Mapping[str, Any]], batch: int | None = None) -> pd.DataFrame:
        """Train points of the space as stacks: the tool for an optimizer that is not Optuna's.

        A point names every parameter that applies to it, as suggestions.csv does ("lr", "hidden.depth",
        "hidden.width.1"); those that do not apply are left out. A value of a list may be given as it stands
        there or as text. No point is pruned in training; one that breaks [search.constraints] is not trained,
        and is given back as pruned, with the reason; one that was pruned or trained before, in this folder,
        has that result.

        Returns:
            A row a point, in their order, as of `optimize` but for `trial`.

        Raises:
            UsageError: a point is none of the space; says what is wrong with each.
        """
        drawn = _points(points, self.study.space)
        with quiet_optuna():
            given = optuna.create_study(
                directions=self._search.directions, sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
            )  # fmt: skip
            for point in drawn:
                given.enqueue_trial(point)
        return self._told(given, len(drawn), batch).drop(columns="trial")

    @property
    def _search(self) -> Search:
        assert self.study.search is not None  # noqa: S101 (checked when it was made)
        return self.study.search

    def _warn_of_refused(self, refused: int, trials: int) -> None:
        """Say that a call was spent, or half of it and more, on trials that break the constraints."""
        if refused and 2 * refused >= trials:
            was = "was" if refused == 1 else "were"
            notes.warn(
                f"{refused} of {count(trials, 'trial')} broke [search.constraints] "
                f"({constraints.in_words(self._search)}) and {was} not trained; loosen the bound or narrow "
                "[space]"
            )

    def _told(self, optuna_study: optuna.Study, trials: int, batch: int | None) -> pd.DataFrame:
        """Ask for so many trials and tell them all; returns a row each."""
        with quiet_optuna():
            own_studies.check(optuna_study, self._search, self.study.space)
        outside = Outside(optuna_study, trials, f"{machine.host()}:{self.folder.resolve()}")
        changes: dict[str, Any] = {"own": outside.name, "pruner": outside.pruning, "until": None}
        changes["warm_start"] = ""
        changes["batch"] = _count("batch", batch or self._search.batch, limits.TOGETHER)
        study = replace(self.study, search=self._search.model_copy(update=changes))
        check_bits(draw(checks.every_component(study), self._options.engine), self._options)
        drawn = draw(study.in_phase("search"), self._options.engine)
        folder_runs.check_folder(self.folder, drawn, self._options)
        try:
            with (
                builds.using(self._options.bits),
                locks.locked(self.folder),
                connection.connected(self._options.cluster),
            ):
                asking = partial(OwnAskTell, outside=outside)
                loop.evaluated(study, self.folder, self._options, asking, displays.chosen(None))
        finally:
            with quiet_optuna():
                outside.fail_pending()
        return _frame(outside, study)


def _frame(outside: Outside, study: Study) -> pd.DataFrame:
    """Tabulate the trials that were told, in the order of asking."""
    assert study.search is not None  # noqa: S101 (a search's)
    told = sorted(outside.told, key=lambda row: row[0])
    most = max((max(result.intermediate, default=0) for *_, result in told), default=0)
    rows = []
    for trial, number, result in told:
        arm = None if number is None else arm_of(number)
        row: dict[str, Any] = {
            "trial": trial,
            "number": number,
            "arm": arm,
            "state": STATE_NAMES[result.state],
        }
        row |= {"reason": result.reason, "evaluations": result.reached}
        row |= dict(zip(study.search.objective, result.values, strict=False))
        row |= {EVALUATION.format(i): result.intermediate.get(i, math.nan) for i in range(1, most + 1)}
        rows.append(row | outside.drawn[trial])
    names = [parameter.name for parameter in study.space.parameters]
    curve = [EVALUATION.format(i) for i in range(1, most + 1)]
    columns = ["trial", "number", "arm", "state", "reason", "evaluations", *study.search.objective]
    return pd.DataFrame(rows, columns=[*columns, *curve, *names]).astype({"number": "Int64"})


def _count(name: str, given: object, most: int = limits.SUGGESTIONS) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        raise UsageError(f"{name} = {quoted(given)}: allowed: a whole number from 1 to {most:,}")
    return given


def _points(points: object, space: Space) -> list[Drawn]:
    """Return the parameters of points as the space draws them; UsageError says what is wrong with each."""
    if isinstance(points, str | Mapping) or not isinstance(points, Iterable):
        raise UsageError(
            f"points is {quoted(points)}: allowed: a list of dicts, each a parameter's name to its value"
        )
    problems: list[str] = []
    drawn = [_point(f"point {i}", point, space, problems) for i, point in enumerate(points)]
    if not drawn:
        raise UsageError("points is empty: give at least one, a dict of each parameter's name to its value")
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems[: own_studies.MOST_LISTED])
        raise UsageError(f"{count(len(problems), 'problem')} in the points; nothing was trained\n{listed}")
    return drawn


def _point(where: str, given: object, space: Space, problems: list[str]) -> Drawn:
    """Return a point's parameters that apply; problems are added where it is none."""
    if not isinstance(given, Mapping):
        problems.append(f"{where} is {quoted(given)}; allowed: a dict of each parameter's name to its value")
        return {}
    known = own_studies.values_of(space)
    point = {str(name): _plain(value, known.get(str(name))) for name, value in given.items()}
    wrong = [f"{where}: {why}" for why in own_studies.misfits(point, known)]
    missing: list[str] = []

    def value_of(parameter: Parameter) -> Any:
        if parameter.name not in point:
            missing.append(parameter.name)
            return draws.at(draws.distribution(parameter.values), 0.0)
        return point[parameter.name]

    problems += wrong
    drawn = {} if wrong else space.walk(value_of)[0]
    if missing:
        problems.append(f"{where} has no {', '.join(missing)}, which applies there")
    return drawn


def _plain(value: Any, values: Values | None) -> Any:
    """Return a value as the space draws it: Python's own numbers, and a choice by its name."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(values, Choices):
        return as_text(value)
    if isinstance(values, Ints) and isinstance(value, float) and value.is_integer():
        return int(value)
    return float(value) if isinstance(values, Floats) and type(value) is int else value
