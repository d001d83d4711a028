"""The differences of a family of contrasts: pairs of arms, and levels of an axis, over all data sets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from harness import stats
from harness.errors import UsageError
from harness.settings.schema import FIXED_SEED
from harness.stats.group_sequential import alpha_at_look, verdicts_at_look
from harness.stats.verdicts import DIFFERENT
from harness.study.contrasts import Contrasts, Levels, default_pairs, read_resolved, reference_level
from harness.study.seed_axes import NONE
from harness.text import NOT_APPLICABLE, as_word

KEY = ["dataset", "axis", "within", "arm", "reference"]
"""Columns that tell the contrasts of a family apart."""
ENDED = ("ok", "diverged")
"""Statuses of trials that a look counts as trained; one that failed is tried again."""
DECIDED = (*DIFFERENT, "same within margin")
"""Verdicts that end a contrast's need of seeds."""


def read(folder: Path, study: Mapping[str, Any]) -> tuple[Contrasts, bool]:
    """Read the family of a results folder, and tell whether it names its contrasts: else take `default`.

    `study`: the tables of its study.toml.

    Raises:
        UsageError: the study.toml was edited so that its [contrasts] cannot be read.
    """
    table = study.get("contrasts", {})
    try:
        family = read_resolved(table)
    except ValueError as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise UsageError(
            f"{folder / 'study.toml'}: [contrasts] cannot be read ({reason}); allowed: metric, margin > 0, "
            "alpha between 0 and 0.5, pairs = [[ARM, REFERENCE]], and [[contrasts.levels]] with axis, "
            "reference and within. Restore the file, or run the study again."
        ) from error
    declared = family.declared and bool(table)
    return family, bool(declared or family.pairs or family.levels)


def varied(trials: pd.DataFrame, study: Mapping[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """Give the trials with the axes of a study as text, and the axes that vary in them, the data set aside.

    Arms with a fixed seed tell where variance comes from (`stats.seed_variance`), and are left out.
    `study`: the tables of its study.toml.
    """
    axes = [axis for axis in study.get("axes", {}) if axis in trials and axis != "dataset"]
    trials = trials.assign(**{axis: trials[axis].map(as_word) for axis in axes})
    if FIXED_SEED in axes and trials[FIXED_SEED].eq(NONE).any():
        trials = trials[trials[FIXED_SEED].eq(NONE)]
    return trials, [axis for axis in axes if len(trials[axis].unique()) > 1]


def default(
    family: Contrasts,
    trials: pd.DataFrame,
    axes: Sequence[str],
    study: Mapping[str, Any],
    arms: Sequence[str],
) -> Contrasts:
    """Return the family with the contrasts of the study's design, where the study declares none.

    `axes`: the settings that were varied; `study`: the tables of study.toml; `arms`: the trained arms, in
    order.
    """
    design, levels = str(study.get("study", {}).get("design", "grid")), []
    if design == "grid":
        baseline = study.get("baseline", {})
        levels = [Levels(axis=axis, reference=default_level(trials, axis, baseline)) for axis in axes]
    pairs = dict.fromkeys((arm, base) for arm, base in default_pairs(design, arms) if arm != base)
    update = {"declared": False, "pairs": [list(pair) for pair in pairs], "levels": levels}
    return family.model_copy(update=update)


def default_level(trials: pd.DataFrame, axis: str, baseline: Mapping[str, Any]) -> str:
    """Return the level that an axis's others are compared with, in words, where nobody has said."""
    levels = [level for level in trials[axis].unique() if level != NOT_APPLICABLE]
    return reference_level(axis, levels, baseline)


def differences(
    trials: pd.DataFrame, axes: Sequence[str], family: Contrasts, doubts: list[str]
) -> pd.DataFrame:
    """Subtract the reference of each contrast of a family from its arm, seed by seed.

    Args:
        trials: as `results.trials`, axes as text.
        axes: columns of the settings that were varied, the data set aside.
        family: pairs and levels.
        doubts: gets a sentence for each contrast that cannot be made at all.

    Returns:
        KEY, seed, value, reference_value, difference, cells, left_out; a row a planned seed, in which a seed
        that one side has not finished has no numbers.
    """
    tables = [
        _pairs(trials, family, doubts),
        *(_levels(trials, axes, family.metric, levels, doubts) for levels in family.levels),
    ]
    tables = [table for table in tables if not table.empty]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*KEY, "difference"])


def _pairs(trials: pd.DataFrame, family: Contrasts, doubts: list[str]) -> pd.DataFrame:
    """Return the differences of pairs of arms."""
    trials = trials.assign(arm=trials["arm"].astype(str))
    known = set(trials["arm"])
    pairs = pd.DataFrame(family.pairs, columns=["arm", "reference"]).drop_duplicates()
    differences = stats.paired_differences(trials, pairs, family.metric, unfinished=True)
    met = set(differences[["arm", "reference"]].itertuples(index=False, name=None))
    for arm, reference in pairs.itertuples(index=False, name=None):
        absent = [repr(name) for name in (arm, reference) if name not in known]
        if absent:
            why = f"trials.csv has no arm {' and no arm '.join(absent)}"
            doubts.append(f"{arm} against {reference} cannot be judged: {why}.")
        elif (arm, reference) not in met:
            doubts.append(f"{arm} against {reference} cannot be judged: they share no data set and seed.")
    return differences.assign(axis="", within="", cells=1, left_out=0)


def _levels(
    trials: pd.DataFrame, axes: Sequence[str], metric: str, levels: Levels, doubts: list[str]
) -> pd.DataFrame:
    """Return the differences of an axis' levels from their reference; columns as from `_pairs`."""
    axis, within, reference = levels.axis, levels.within, as_word(levels.reference)
    absent = [column for column in (axis, *within) if column not in trials]
    if absent:
        doubts.append(f"The levels of {axis} cannot be judged: trials.csv has no column {absent[0]}.")
        return pd.DataFrame()
    trials = trials.assign(**{name: trials[name].map(as_word) for name in (axis, *within)})
    if not trials[axis].eq(reference).any():
        why = f"no trial has the reference level {reference!r}"
        doubts.append(f"The levels of {axis} cannot be judged: {why}.")
        return pd.DataFrame()
    varied = list(dict.fromkeys([*axes, axis, *within]))
    differences = stats.level_differences(trials, axis, reference, within=within, axes=varied, metric=metric)
    differences = differences[differences["arm"].ne(NOT_APPLICABLE)]
    cells = [within_words(within, cell) for cell in differences[within].to_numpy().tolist()] if within else ""
    return differences.assign(axis=axis, within=cells)


def within_words(axes: Sequence[str], values: Sequence[object]) -> str:
    """Name the combination of levels that a contrast is made within."""
    return ", ".join(f"{axis} {value}" for axis, value in zip(axes, values, strict=True))


def last_look(trials: pd.DataFrame, family: Contrasts, seeds: Sequence[int]) -> int:
    """Return the last look of a family of which all trials have ended; 0 before the first one.

    Args:
        trials: seed, status; a row a planned trial.
        family: with `looks`.
        seeds: the study's, in its order.
    """
    trained = set(trials.loc[trials["status"].isin(ENDED), "seed"])
    waiting = set(trials.loc[~trials["status"].isin([*ENDED, "skipped"]), "seed"])
    there = list(itertools.takewhile(lambda seed: seed in trained and seed not in waiting, seeds))
    return max((look for look in family.looks if look <= len(there)), default=0)


def verdicts(
    differences: pd.DataFrame, family: Contrasts, look: int = 0, *, higher_is_better: bool = True
) -> pd.DataFrame:
    """Judge the differences of a family together: as `stats.verdicts`, or at a look as `verdicts_at_look`.

    Args:
        differences: as from `differences`; at a look, of the seeds up to it.
        family: margin, alpha, metric; `looks` and `spending`.
        look: one of `family.looks`; 0 where the study is judged once.
        higher_is_better: as for `stats.verdicts`.
    """
    ends = stats.difference_limits(family.metric)
    if not look:
        return stats.verdicts(
            differences, KEY, margin=family.margin, alpha=family.alpha, within=ends,
            higher_is_better=higher_is_better,
        )  # fmt: skip
    return verdicts_at_look(
        differences, KEY, seeds=look, looks=tuple(family.looks), margin=family.margin, alpha=family.alpha,
        spending=family.spending, within=ends, higher_is_better=higher_is_better,
    )  # fmt: skip


def sides(
    trials: pd.DataFrame, family: Contrasts, row: Mapping[Any, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Select from trials on a data set those of the arm, and those of the reference, of a contrast.

    `row`: of verdicts, or of differences: KEY.
    """
    name = trials[row["axis"]].map(as_word) if row["axis"] else trials["arm"].astype(str)
    there = name.isin([row["arm"], row["reference"]])
    trials, name = trials[there], name[there]
    within = next((levels.within for levels in family.levels if levels.axis == row["axis"]), [])
    if row["within"] and len(trials):
        cells = trials[list(within)].map(as_word).to_numpy().tolist()
        inside = [within_words(within, cell) == row["within"] for cell in cells]
        trials, name = trials[inside], name[inside]
    return trials[name.eq(row["arm"])], trials[name.eq(row["reference"])]


def resamples_split(study: Mapping[str, Any]) -> bool:
    """Tell whether each seed of a study has a split of its own; `study`: the tables of its study.toml."""
    return bool(study.get("study", {}).get("resample_split", False))


def shared_images(
    differences: pd.DataFrame, trials: pd.DataFrame, family: Contrasts, study: Mapping[str, Any]
) -> pd.DataFrame:
    """Add the column overlap, which `stats.verdicts` takes: what seeds share of their images.

    It is 0 unless each seed draws a split of its own and the family is judged by val: then it is val images /
    train images of the data set, the largest where its trials differ. Where val is the last images as they
    came, nothing is drawn: the split is one, and the overlap 0. Where blocks of seeds chose, it counts once
    for each seed of a block: the mean of a block averages what its seeds have apart, and not what all share.
    """
    overlap: dict[str, float] = {}
    if resamples_split(study) and family.metric == "val_accuracy" and "val_fraction" in trials:
        drawn = trials[trials["val_split"].ne("last")] if "val_split" in trials else trials
        parts = pd.to_numeric(drawn["val_fraction"], errors="coerce")  # an axis is text
        share = parts.groupby(drawn["dataset"], sort=False).max()
        overlap = {str(name): part / (1 - part) for name, part in share.items()}
    of_seeds = differences["dataset"].map(overlap).fillna(0.0).astype(float)
    return differences.assign(overlap=of_seeds * _seeds_of_block(differences))


def _seeds_of_block(differences: pd.DataFrame) -> pd.Series[int] | int:
    """Return how many seeds the mean of a difference's block is of; 1 without blocks."""
    if stats.BLOCK not in differences:
        return 1
    by = [*(name for name in KEY if name in differences), stats.BLOCK]
    seeds = differences.groupby(by, sort=False, dropna=False)["difference"].transform("count")
    return seeds.clip(lower=1)


def alpha_of(family: Contrasts, look: int, tests: int) -> float:
    """Return the alpha that a family may spend: all of it, or at a look as Bonferroni divides it (tests)."""
    if not look:
        return family.alpha
    return alpha_at_look(tests, look, tuple(family.looks), family.alpha, family.spending)
