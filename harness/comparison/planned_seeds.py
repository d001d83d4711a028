"""Seeds planned from a pilot: how many a study needs to find a difference, and what they take.

Only the pilot's spread enters, never its differences, so that it may be the study's own first seeds (an
internal pilot; Wittes and Brittain 1990, "The role of internal pilot studies in increasing the efficiency of
clinical trials").
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from harness import stats
from harness.comparison import pilots
from harness.comparison.pilots import Pilot, PilotKind
from harness.errors import UsageError
from harness.planning.cost import cost, flops_per_second
from harness.planning.plan import Plan, arrange, draw
from harness.results import columns, csv_rows, families, run_folder
from harness.results.families import KEY, sides
from harness.stats import group_sequential
from harness.stats.power_analysis import POWER
from harness.stats.verdicts import EQUAL
from harness.study.contrasts import Contrasts
from harness.study.study import Study
from harness.system.resources import cores
from harness.text import count
from harness.training.options import MachineKeywords, RunOptions

PRICED = 40
"""Seeds up to which a plan is priced by its stacks; more seeds take as much more as they are more."""


@dataclass(frozen=True)
class PlannedSeeds:
    """The seeds that the contrasts of a study need.

    Attributes:
        study: its name.
        metric: of its contrasts.
        difference: the true difference that is not to be missed, a share.
        power: the share of studies that find it.
        alpha: of the whole family.
        level: alpha of one contrast's test: Holm's hardest, and at the last look where there are looks.
        pilot: the folder that the spread is from.
        kind: "study" or "noise".
        contrasts: a row a contrast and data set: dataset, axis, within, arm, reference; n (the pilot's
            seeds), sd of the differences, sd_low, sd_high (its 95 % interval, by chi-square); seeds (needed),
            seeds_low, seeds_high (with the ends of the SD's interval); planned (the study's seeds),
            detectable (the smallest difference that these find as surely), seconds (both sides trained with
            `seeds`). NaN where the pilot has no spread, or where 100,000 seeds are too few.
        seeds: the most that a contrast needs; NaN if one's number is not known.
        seconds: of the whole study with so many.
        notes: what weakens this, in words.
    """

    study: str
    metric: str
    difference: float
    power: float
    alpha: float
    level: float
    pilot: Path
    kind: PilotKind
    contrasts: pd.DataFrame = field(repr=False)
    seeds: float
    seconds: float
    notes: Sequence[str]


def plan_seeds(
    study: Study, difference: float, *, pilot: Path | str | None = None, folder: Path | str | None = None,
    **machine: Unpack[MachineKeywords],
) -> PlannedSeeds:  # fmt: skip
    """Tell how many seeds each contrast of a study needs, from a pilot, and what they take; trains nothing.

    Args:
        study: one with contrasts, of `harness.load` or `harness.parse`.
        difference: the true difference that should not be missed, as a share: 0.002 are 0.2 points.
        pilot: a results folder of the study, or that of `harness noise`; `folder`, or the tries in it, if not
            given.
        folder: the study's results folder; results/<study>/ if not given.
        **machine: `MachineKeywords`, as of `harness.run`: engine, device, workers and others.

    Raises:
        UsageError: there is no pilot, or it has no spread; the study is a search, or has one arm; or the
            difference is out of range.

    Example:
        >>> harness.plan_seeds(study, 0.002).contrasts[["arm", "seeds"]]  # doctest: +SKIP
    """
    study, options = Study.checked(study), RunOptions(**machine)
    check(study, difference)
    found = pilots.find(study, Path(folder or Path("results") / study.name), pilot)
    return of_plan(draw(study, options.engine), difference, found, options)


def check(study: Study, difference: float, shard: str = "") -> None:
    """Raise UsageError where the seeds of a study cannot be planned, whatever the pilot."""
    asked = f"--power {100 * difference:g}"
    if not 0 < difference < 1:
        raise UsageError(
            f"{asked}: allowed is the difference that should be found, in points of accuracy, above 0 and "
            "below 100, such as 0.2"
        )
    if study.search is not None:
        raise UsageError(
            f"{asked}: {study.name} is a search, whose winner nobody knows before it; allowed: a study whose "
            "arms are given"
        )
    if study.blocks != [0]:
        raise UsageError(
            f"{asked}: {study.name} makes a choice a block of seeds ([tune] blocks), so that blocks are what "
            "its verdicts count, and seeds are not. Its report has more blocks for each contrast, those that "
            "the margin takes; allowed here: a study without blocks"
        )
    if shard:
        raise UsageError(f"{asked} with --shard {shard}: seeds are planned for a whole study; leave one out")


def of_plan(planned: Plan, difference: float, pilot: Pilot, options: RunOptions) -> PlannedSeeds:
    """Tell how many seeds each contrast of a plan needs, as `plan_seeds`.

    Raises:
        UsageError: the plan has no contrast, or the pilot no spread of one.
    """
    study, family = planned.study, planned.contrasts
    contrasts, trials = _contrasts(planned)
    found = pilots.spread(pilot, family, contrasts)
    level = _level(family, len(found))
    table = _needed(found, difference, level, len(study.about.seeds))
    prices = SeedPrices(planned, options)
    table["seconds"] = [
        prices.seconds(_arms(trials, family, row), row["seeds"]) for row in table.to_dict("records")
    ]
    most = float(table["seeds"].max(skipna=False))
    notes = [*pilots.doubts(pilot, study, found), *_spreadless(table), *_tuning(study)]
    return PlannedSeeds(
        study.name, family.metric, difference, POWER, family.alpha, level, pilot.folder, pilot.kind,
        table.drop(columns="overlap"), most, prices.seconds(None, most), notes,
    )  # fmt: skip


def _contrasts(planned: Plan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the contrasts of a plan, KEY and overlap, and the trials of one seed that they are made of."""
    study, family = planned.study, planned.contrasts
    first = [trial for trial in planned.trials if trial.seed == study.seeds[0]]
    tables, text = study.tables(), run_folder.planned_rows(replace(planned, trials=first)).written()
    rows = columns.typed(csv_rows.read(io.StringIO(text)), "trials", tables)
    rows = rows[rows["status"].eq("")].assign(status="ok", **{family.metric: 0.0})
    trials, axes = families.varied(rows, tables)
    differences = families.differences(trials, axes, family, [])
    if differences.empty:
        raise UsageError(
            f"--power: {study.name} has no contrast to plan seeds for. Give it a second arm ([axes]), or "
            "[contrasts] of arms that are trained"
        )
    shared = families.shared_images(differences, trials, family, tables)
    return shared.drop_duplicates(KEY)[[*KEY, "overlap"]].reset_index(drop=True), trials


def _arms(trials: pd.DataFrame, family: Contrasts, row: Mapping[Any, Any]) -> frozenset[str]:
    """Collect the names of the arms that a contrast needs trained."""
    here = trials[trials["dataset"].eq(row["dataset"])]
    return frozenset(str(name) for side in sides(here, family, row) for name in side["arm"])


def _level(family: Contrasts, tests: int) -> float:
    """Return the alpha of one contrast's test: Bonferroni's, at the last look where there are looks."""
    share = family.alpha / tests
    if not family.looks:
        return share
    return group_sequential.levels(tuple(family.looks), share, family.spending)[-1]


def _needed(found: pd.DataFrame, difference: float, level: float, planned: int) -> pd.DataFrame:
    """Add to KEY, n, sd and overlap the SD's interval, the seeds, and what the planned seeds find."""
    spread = found["sd"].mask(found["sd"].le(EQUAL))
    pairs = zip(spread, found["n"].fillna(0), strict=True)
    ends = [stats.sd_interval(float(sd), int(n)) for sd, n in pairs]
    table = found.assign(
        sd=spread, sd_low=[low for low, _ in ends], sd_high=[high for _, high in ends], planned=planned
    )
    overlap = table["overlap"].to_numpy(dtype=float)
    for end in ("", "_low", "_high"):
        sd = table[f"sd{end}"].to_numpy(dtype=float)
        table[f"seeds{end}"] = stats.seeds_needed(difference, sd, level, POWER, overlap=overlap)
    found_by_planned = stats.detectable_difference(planned, spread.to_numpy(dtype=float), level, POWER)
    table["detectable"] = found_by_planned * (1 + planned * overlap) ** 0.5
    return table


def _spreadless(table: pd.DataFrame) -> list[str]:
    """Say where a pilot's seeds do not differ at all."""
    equal = int((table["n"].gt(1) & table["sd"].isna()).sum())
    if not equal:
        return []
    return [f"the pilot's differences of {count(equal, 'contrast')} are the same in all seeds: no spread"]


def _tuning(study: Study) -> list[str]:
    """Say what of a study that tunes the seconds leave out."""
    if study.tune is None:
        return []
    return ["the times are of one phase: tuning comes on top, and arms are trained as they stand and tuned"]


class SeedPrices:
    """Estimates of what seeds take, each set of arms and number of seeds put into stacks once."""

    def __init__(self, planned: Plan, options: RunOptions) -> None:
        self._study, self._engine = planned.study, options.engine
        self._device = "cuda" if options.device == "cuda" else "cpu"
        self._processes = options.workers or cores()
        self._rate = flops_per_second()
        self._drawn: dict[int, Plan] = {}
        self._known: dict[tuple[frozenset[str] | None, int], float] = {}

    def seconds(self, arms: frozenset[str] | None, seeds: float) -> float:
        """Estimate the seconds of arms (None: all) with so many seeds, all processes at work; NaN of NaN."""
        if math.isnan(seeds):
            return math.nan
        few = min(int(seeds), PRICED)
        if (arms, few) not in self._known:
            self._known[arms, few] = self._estimated(arms, few)
        return self._known[arms, few] * seeds / few

    def _estimated(self, arms: frozenset[str] | None, seeds: int) -> float:
        if seeds not in self._drawn:
            about = self._study.about.model_copy(update={"seeds": list(range(seeds))})
            self._drawn[seeds] = draw(replace(self._study, about=about), self._engine)
        whole = self._drawn[seeds]
        trials = [trial for trial in whole.trials if arms is None or trial.arm.name in arms]
        chosen = replace(whole, trials=trials)
        stacks = arrange(chosen, self._engine, (), self._device, self._processes, ()).stacks
        return cost(stacks, whole.study, self._processes, flops=lambda: self._rate).seconds
