"""A verdict on any table: every arm against its reference, paired by seed, all corrected together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd

from harness import stats
from harness.comparison.judging import pairing, sample_files, table_files, table_forms
from harness.comparison.judging import results_folder as judged_folder
from harness.comparison.judging.observations import LeftOut, Observations
from harness.comparison.judging.options import JudgeKeywords, JudgeOptions
from harness.comparison.judging.results_folder import StudyDifferences
from harness.comparison.judging.scales import MetricScale, scale_of
from harness.errors import UsageError
from harness.results import Results
from harness.settings.schema import TO_TARGET
from harness.stats.verdicts import IDENTICAL, UNDECIDED
from harness.text import count, p_value
from harness.text.cards import card

ALPHA = 0.05
TRIALS = "trials.csv"
GOOD = ("better", "same within margin", IDENTICAL)
CONTRAST = ["block", "arm", "reference"]
MOST_SHOWN = 30


@dataclass(frozen=True)
class Judgement:
    """The verdicts on a table.

    Attributes:
        verdict: of all contrasts together. "worse": an arm is; else "cannot tell": of some arm it cannot be
            told, or it could not be compared; else their own verdict where all agree, or "not worse". An arm
            that is worse by less than the margin, and shown to be, counts as not worse.
        contrasts: a row a contrast: block, arm, reference, n (seeds, or samples, of both), mean and
            reference_mean (over these), the columns of `stats.verdicts`; of samples also only_arm and
            only_reference (right on one side alone).
        arms: a row a block and arm: block, arm, n, mean, sd of all its runs.
        observations: the table, as it was understood.
        scale: of the metric: shares, percent or other numbers, its direction and its margin.
        references: the reference arms; alpha: the error rate of all verdicts together.
        left_out: runs that were not judged, and why.
        notes: what to know before trusting this, in words.
    """

    verdict: str
    contrasts: pd.DataFrame
    arms: pd.DataFrame
    observations: Observations
    scale: MetricScale
    references: tuple[str, ...]
    alpha: float
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Judgement {self.verdict!r}: {count(len(self.contrasts), 'contrast')} of {self.metric}"

    def _repr_html_(self) -> str:
        """Show the verdicts in a notebook."""
        rows = [
            [
                str(row["block"]), str(row["arm"]), str(row["reference"]), str(row["n"]),
                self.scale.difference(row["difference"]), p_value(row["p_holm"]), str(row["verdict"]),
            ]
            for row in self.contrasts.head(MOST_SHOWN).to_dict("records")
        ]  # fmt: skip
        unit = f"differences in {self.scale.unit}" if self.scale.unit else "differences in the metric's unit"
        left = len(self.contrasts) - len(rows)
        lines = [repr(self), unit, f"{left:,} others are in .contrasts" if left else "", *self.notes]
        units = f"{self.observations.unit}s"
        p = "p" if len(self.contrasts) == 1 else "p (Holm)"
        columns = ("block", "arm", "reference", units, "difference", p, "verdict")
        return card(f"judgement: {self.verdict}", lines, columns, rows)

    @property
    def exit_code(self) -> int:
        """The exit code of `--fail-on worse`: 0 not worse, 1 worse, 2 cannot tell."""
        return {"worse": 1, "not worse": 0, **dict.fromkeys(GOOD, 0)}.get(self.verdict, 2)

    @property
    def metric(self) -> str:
        """The metric, in words."""
        return self.observations.words["metric"]

    def read_as(self) -> dict[str, Any]:
        """Give what the table was understood as, in values that JSON has."""
        rows = self.observations.rows
        return {
            "form": self.observations.form, **self.observations.words, "unit": self.observations.unit,
            "arms": list(dict.fromkeys(rows["arm"])), "blocks": list(dict.fromkeys(rows["block"])),
            "seeds": int(rows["seed"].nunique()), "rows": len(rows), "references": list(self.references),
            "higher_is_better": self.scale.higher_is_better, "direction_assumed": self.scale.assumed,
            "scale": self.scale.kind, "margin": self.scale.margin, "alpha": self.alpha,
        }  # fmt: skip


Source = pd.DataFrame | Results | Path | str | Sequence[Path | str]


def judge(table: Source, **options: Unpack[JudgeKeywords]) -> Judgement:
    """Judge the arms of any table of runs: every arm against a reference, paired by seed.

    Args:
        table: a DataFrame; a CSV with a row a run (or a column an arm, or an export of Optuna or Weights &
            Biases); several samples_*.jsonl of lm-eval, a file a model, or a folder of them; or results of
            the harness, which are judged as in their report.
        options: `JudgeOptions`: arm, seed, metric, block, reference, margin, higher_is_better and others.
            What is not given is taken from the table; `Judgement.read_as()` says how.

    Returns:
        The verdicts, and what they rest on.

    Raises:
        UsageError: the table cannot be read or understood, runs are doubled, or arms share no seed.

    Example:
        >>> harness.judge("runs.csv", arm="model", seed="seed", metric="accuracy").contrasts  # doctest: +SKIP
    """
    asked = JudgeOptions(**options)
    folder = _results_folder(table)
    if folder is not None and not asked.names_columns:
        return judged_study(judged_folder.read(folder), asked)
    return judged(understood(folder / TRIALS if folder is not None else table, asked), asked)


def _results_folder(table: Source) -> Path | None:
    """Return the folder if the table is a results folder of the harness."""
    if not isinstance(table, str | Path | Results):
        return None
    path = Path(table)
    return path if (path / TRIALS).is_file() else None


def judged_study(study: StudyDifferences, options: JudgeOptions) -> Judgement:
    """Judge the family of contrasts that a study declares; of the options, margin and alpha count."""
    family, seen = study.family, study.observations
    margin = options.margin if options.margin is not None else family.margin
    values = seen.rows["value"].to_numpy(dtype=float)
    scale = scale_of(seen.measure, values, options.higher_is_better, margin)
    alpha = options.alpha if options.alpha is not None else family.alpha
    by = ["dataset", "axis", "within", "arm", "reference"]
    contrasts = _verdicts(study.differences, seen, scale, alpha, by)
    references = tuple(dict.fromkeys(contrasts["reference"]))
    verdict = overall(contrasts)
    if study.doubts and verdict != "worse":  # a contrast that cannot be made must pass no gate
        verdict = UNDECIDED
    return Judgement(
        verdict, contrasts, _arms(seen.rows), seen, scale, references, alpha, seen.left_out, seen.notes,
    )  # fmt: skip


def understood(table: Source, options: JudgeOptions) -> Observations:
    """Read a table, or files of samples, as observations."""
    if isinstance(table, pd.DataFrame):
        return table_forms.observations(table_files.from_frame(table), options)
    several = [table] if isinstance(table, str | Path | Results) else table
    paths = [Path(path) for path in several]
    if not paths:
        raise UsageError("there is no table to judge; name a CSV, or several samples_*.jsonl")
    if len(paths) == 1 and paths[0].suffix in sample_files.SUFFIXES and sample_files.is_records(paths[0]):
        return table_forms.observations(table_files.from_frame(sample_files.records(paths[0])), options)
    if any(path.is_dir() or path.suffix in sample_files.SUFFIXES for path in paths):
        return sample_files.observations(paths, options)
    if len(paths) > 1:
        raise UsageError(
            f"{count(len(paths), 'file')}: several files are read as samples of lm-eval (.jsonl), a file a "
            "model. Of tables, name one"
        )
    return table_forms.observations(table_files.read_csv(paths[0], options.decimal), options)


def judged(seen: Observations, options: JudgeOptions) -> Judgement:
    """Judge observations; the options are those they were read with."""
    rows = seen.rows
    pairs, references, notes = pairing.chosen(list(dict.fromkeys(rows["arm"])), seen, options)
    values = rows["value"].to_numpy(dtype=float)
    scale = scale_of(seen.measure, values, options.higher_is_better, options.margin)
    known = values[np.isfinite(values)]
    if not known.size:
        raise UsageError(f"no row has a number for {seen.measure}; name another column: --metric COLUMN")
    if _binary(seen) and not options.unpaired:
        seen = replace(seen, unit="sample")
    trials = rows.rename(columns={"block": "dataset"}).assign(status="ok")
    alpha = ALPHA if options.alpha is None else options.alpha
    alone: Iterator[LeftOut] = iter(())
    if options.unpaired:
        contrasts = _unpaired(trials, pairs, scale, alpha)
    else:
        differences = stats.paired_differences(trials, pairs, "value", unfinished=True)
        pairing.require_met(differences, rows, pairs, seen)
        differences = pd.concat([differences, pairing.unmet(trials, pairs, differences)], ignore_index=True)
        contrasts = _verdicts(differences, seen, scale, alpha)
        alone = pairing.without_partner(rows, pairs, seen)
    return Judgement(
        overall(contrasts), contrasts, _arms(rows), seen, scale, references, alpha, (*seen.left_out, *alone),
        (*seen.notes, *notes, *_doubts(scale, seen)),
    )  # fmt: skip


def _unpaired(trials: pd.DataFrame, pairs: pd.DataFrame, scale: MetricScale, alpha: float) -> pd.DataFrame:
    """Judge arms whose runs share nothing."""
    blocks = trials[["dataset", "arm"]].drop_duplicates()
    met = pairs.merge(blocks, on="arm").merge(
        blocks.rename(columns={"arm": "reference"}), on=["dataset", "reference"]
    )
    if met.empty:
        raise UsageError(
            "no arm shares a block with its reference, so nothing can be compared: name another --block"
        )
    absent = pairing.unmet(trials, pairs, met).drop(columns="arm").rename(columns={"reference": "arm"})
    table = stats.unpaired_verdicts(
        pd.concat([trials, absent], ignore_index=True), pairs, margin=scale.margin, alpha=alpha,
        higher_is_better=scale.higher_is_better, within=scale.limits,
    )  # fmt: skip
    return _ordered(table.rename(columns={"dataset": "block"}), trials["dataset"])


def _ordered(table: pd.DataFrame, blocks: pd.Series[str]) -> pd.DataFrame:
    """Order contrasts by their blocks as the table has these, and put their names, n and means first."""
    front = [*CONTRAST, "n", "mean", "reference_mean"]
    table = table[[*front, *(name for name in table.columns if name not in front)]]
    places = {block: place for place, block in enumerate(dict.fromkeys(blocks))}
    ordered = table.sort_values("block", key=lambda names: names.map(places), kind="stable")
    return ordered.reset_index(drop=True)


def _verdicts(
    differences: pd.DataFrame, seen: Observations, scale: MetricScale, alpha: float,
    by: Sequence[str] = ("dataset", "arm", "reference"),
) -> pd.DataFrame:  # fmt: skip
    """Judge the differences, and add the means of both sides over the pairs that both have."""
    margin, better = scale.margin, scale.higher_is_better
    if _binary(seen):
        table = stats.sample_verdicts(differences, by, margin=margin, alpha=alpha, higher_is_better=better)
    else:
        ends = scale.limits
        table = stats.verdicts(
            differences, by, margin=margin, alpha=alpha, higher_is_better=better, within=ends
        )
    both = differences.dropna(subset=["difference"])
    means = both.groupby(list(by), sort=False)[["value", "reference_value"]].mean().reset_index()
    means = means.rename(columns={"value": "mean", "reference_value": "reference_mean"})
    table = table.merge(means, on=list(by), how="left").rename(columns={"dataset": "block"})
    return _ordered(table, seen.rows["block"])


def _binary(seen: Observations) -> bool:
    """Tell whether every value is 0 or 1, so that a row is a sample that is right or wrong."""
    values = seen.rows["value"].dropna()
    return bool(len(values) and values.isin((0.0, 1.0)).all())


def overall(contrasts: pd.DataFrame) -> str:
    """Put all verdicts into one, as `Judgement.verdict` says."""
    small = contrasts["verdict"].eq("worse") & contrasts["within_margin"]
    words = set(contrasts["verdict"].mask(small, "not worse"))
    if len(words) == 1:
        return str(words.pop())
    if "worse" in words:
        return "worse"
    return "not worse" if words <= {*GOOD, "not worse"} else UNDECIDED


def _arms(rows: pd.DataFrame) -> pd.DataFrame:
    grouped = rows.groupby(["block", "arm"], sort=False)["value"]
    return grouped.agg(n="count", mean="mean", sd="std").reset_index()


def _doubts(scale: MetricScale, seen: Observations) -> Iterator[str]:
    """Yield what was assumed of the metric."""
    metric = seen.measure
    if scale.assumed:
        yield f"higher {metric} is taken for better: its name does not say (else --lower-is-better)"
    if scale.kind == "plain" and scale.named_share:
        yield f"{metric} is neither a share in 0 to 1 nor a percentage throughout: read as a plain number"
    if metric in TO_TARGET and seen.rows["value"].isna().any():
        yield (
            f"{metric} is empty where a run never reached its target, and such runs are left out here, which "
            "flatters their arm: `harness report` compares the times with them"
        )
    if scale.margin is None:
        yield (
            f"no arm is called the same: nobody has said which difference of {metric} is too small to matter "
            "(--margin, in its unit)"
        )
    if seen.unit == "run":
        yield (
            "the runs of two arms are taken to share nothing: Welch's t test. Where they share seeds, "
            "pairing them shows smaller differences"
        )
    elif _binary(seen):
        yield (
            "every value is 0 or 1, so a row is a sample that is right or wrong: McNemar's exact test, with "
            "the interval of Bonett and Price. Samples are the observations; another training is not covered"
        )
