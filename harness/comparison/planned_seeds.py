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
from harness.settings.schema import OF_ARM
from harness.stats import group_sequential
from harness.stats.power_analysis import POWER
from harness.stats.verdicts import EQUAL
from harness.study.about import PhaseName
from harness.study.contrasts import Contrasts
from harness.study.study import Study
from harness.study.trials import Trial
from harness.study.tuning_space import FIRST_TUNING_SEED
from harness.system.resources import cores
from harness.text import count
from harness.training import tuning as tuning_rounds
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
            seeds, or blocks of seeds that chose by themselves), sd of the differences, sd_low, sd_high (its
            95 % interval, by chi-square); seeds (needed), seeds_low, seeds_high (with the ends of the SD's
            interval); planned (the study's seeds),
            detectable (the smallest difference that these find as surely), seconds (both sides trained with
            `seeds`). NaN where the pilot has no spread, or where 100,000 seeds are too few.
        seeds: the most that a contrast needs; NaN if one's number is not known. Of a study whose blocks of
            seeds choose by themselves, those of whole blocks.
        seconds: of the whole study with so many, its tuning included.
        notes: what weakens this, in words.
        overrides: what plans for so many seeds, as for --set; none if their number is not known.
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
    overrides: Sequence[str] = ()


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
    if shard:
        raise UsageError(f"{asked} with --shard {shard}: seeds are planned for a whole study; leave one out")


def of_plan(planned: Plan, difference: float, pilot: Pilot, options: RunOptions) -> PlannedSeeds:
    """Tell how many seeds each contrast of a plan needs, as `plan_seeds`.

    Raises:
        UsageError: the plan has no contrast, or the pilot no spread of one.
    """
    study, family = planned.study, planned.contrasts
    contrasts, trials = _contrasts(planned)
    pilots.check_units(pilot, study)
    found = pilots.spread(pilot, family, contrasts)
    level = _level(family, len(found))
    block = max(pilots.block_of(study), 1)
    table = _needed(found, difference, level, len(study.about.seeds) // block, block)
    prices = SeedPrices(planned, options)
    table["seconds"] = [
        prices.seconds(_arms(trials, family, row), row["seeds"]) for row in table.to_dict("records")
    ]
    most = float(table["seeds"].max(skipna=False))
    notes = [*pilots.doubts(pilot, study, found), *_spreadless(table)]
    return PlannedSeeds(
        study.name, family.metric, difference, POWER, family.alpha, level, pilot.folder, pilot.kind,
        table.drop(columns="overlap"), most, prices.seconds(None, most), notes,
        _overrides(study, most),
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


def _overrides(study: Study, seeds: float) -> tuple[str, ...]:
    """Give the overrides by which a study has so many seeds."""
    if math.isnan(seeds):
        return ()
    block, tune, looks = pilots.block_of(study), study.tune, study.contrasts.looks
    if looks and seeds > looks[-1]:  # the last look is at all seeds
        return f"seeds={seeds:.0f}", f"contrasts.looks={','.join(map(str, looks[:-1]))},{seeds:.0f}"
    if not block or tune is None:
        return (f"seeds={seeds:.0f}",)
    blocks = int(seeds) // block
    tuning = blocks * (len(tune.seeds) // len(study.blocks))
    return f"study.seeds={seeds:.0f}", f"tune.blocks={blocks}", f"tune.seeds={tuning}"


def _needed(
    found: pd.DataFrame, difference: float, level: float, planned: int, block: int = 1
) -> pd.DataFrame:
    """Add to KEY, n, sd and overlap the SD's interval, the seeds, and what the planned seeds find.

    What is counted, planned too, are blocks of `block` seeds. As they share images more than seeds do
    (`families.shared_images`), the overlap counts once for each seed of a block.
    """
    spread = found["sd"].mask(found["sd"].le(EQUAL))
    pairs = zip(spread, found["n"].fillna(0), strict=True)
    ends = [stats.sd_interval(float(sd), int(n)) for sd, n in pairs]
    table = found.assign(
        sd=spread,
        sd_low=[low for low, _ in ends],
        sd_high=[high for _, high in ends],
        planned=planned * block,
    )
    overlap = table["overlap"].to_numpy(dtype=float) * block
    for end in ("", "_low", "_high"):
        sd = table[f"sd{end}"].to_numpy(dtype=float)
        table[f"seeds{end}"] = block * stats.seeds_needed(difference, sd, level, POWER, overlap=overlap)
    found_by_planned = stats.detectable_difference(planned, spread.to_numpy(dtype=float), level, POWER)
    table["detectable"] = found_by_planned * (1 + planned * overlap) ** 0.5
    return table


def _spreadless(table: pd.DataFrame) -> list[str]:
    """Say where a pilot's seeds do not differ at all."""
    equal = int((table["n"].gt(1) & table["sd"].isna()).sum())
    if not equal:
        return []
    return [f"the pilot's differences of {count(equal, 'contrast')} are the same in all seeds: no spread"]


class SeedPrices:
    """Estimates of what seeds take, each set of arms and number of seeds put into stacks once.

    Of a study with [tune], all three of its phases: the arms as they stand, tuning, and the tuned arms.
    """

    def __init__(self, planned: Plan, options: RunOptions) -> None:
        self._study, self._engine = planned.study, options.engine
        self._device = "cuda" if options.device == "cuda" else "cpu"
        self._processes = options.workers or cores()
        self._rate = flops_per_second()
        self._block = pilots.block_of(planned.study)
        self._drawn: dict[tuple[PhaseName, int], Plan] = {}
        self._known: dict[tuple[frozenset[str] | None, int], tuple[float, float]] = {}

    def seconds(self, arms: frozenset[str] | None, seeds: float) -> float:
        """Estimate the seconds of arms (None: all) with so many seeds, all processes at work; NaN of NaN."""
        if math.isnan(seeds):
            return math.nan
        priced = max(PRICED // self._block, 1) * self._block if self._block else PRICED
        few = min(int(seeds), priced)
        if (arms, few) not in self._known:
            self._known[arms, few] = self._of_arms(arms, few), self._of_tuning(arms, few)
        of_arms, of_tuning = self._known[arms, few]
        times = seeds / few
        return of_arms * times + of_tuning * (times if self._block else 1)

    def _of_arms(self, arms: frozenset[str] | None, seeds: int) -> float:
        """Estimate the seconds of arms at one setting; with [tune] also at the settings that they chose."""
        whole = self._plan("fixed", seeds)
        trials = [trial for trial in whole.trials if arms is None or trial.arm.name in arms]
        return self._estimated(whole, trials) * (1 if self._study.tune is None else 2)

    def _of_tuning(self, arms: frozenset[str] | None, seeds: int) -> float:
        """Estimate the seconds in which arms choose; 0 without [tune]."""
        if self._study.tune is None:
            return 0.0
        whole = self._plan("tuning", seeds)
        trials = [trial for trial in whole.trials if arms is None or trial.arm.labels[OF_ARM] in arms]
        return self._estimated(whole, trials)

    def _plan(self, phase: PhaseName, seeds: int) -> Plan:
        """Draw the plan of a phase of the study, with so many seeds and the blocks that they are of."""
        if (phase, seeds) not in self._drawn:
            study, tune = self._study, self._study.tune
            if tune is not None and self._block:
                blocks = seeds // self._block
                tuning = blocks * (len(tune.seeds) // len(study.blocks))
                others = list(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tuning))
                tune = tune.model_copy(update={"blocks": blocks, "seeds": others})
            about = study.about.model_copy(update={"seeds": list(range(seeds))})
            study = replace(study, about=about, tune=tune)
            drawn = draw(study if phase == "fixed" else study.in_phase(phase), self._engine)
            self._drawn[phase, seeds] = drawn if phase == "fixed" else tuning_rounds.expected(drawn)
        return self._drawn[phase, seeds]

    def _estimated(self, whole: Plan, trials: Sequence[Trial]) -> float:
        chosen = replace(whole, trials=trials)
        stacks = arrange(chosen, self._engine, (), self._device, self._processes, ()).stacks
        return cost(stacks, whole.study, self._processes, flops=lambda: self._rate).seconds
