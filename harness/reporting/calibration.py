"""The calibration of models: ECE, Brier score and NLL of each arm, and reliability diagrams.

They are computed from the kept test predictions, one stack at a time. ECE needs the probability of the
predicted class, which is kept for every sample. Brier score and NLL need the probabilities of all classes: a
study tracks them, or they are computed for the model whose weights were kept.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import plots, stats
from harness.errors import MachineError, UsageError
from harness.reporting.data import rank
from harness.reporting.flips import reference_arm
from harness.reporting.model import Cell, Column, Figure, Section, Table, accuracy_cell, number_cell, slug
from harness.results import predictions, selection, weights
from harness.results.trained_on import study_dataset
from harness.stats.calibrations import BINS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.reporting.data import ReportData

MOST_ROWS = 200
HALF_A_STEP = 2.0**-12  # of a float16 in 0.5..1
PROBABILITIES = {
    "identity": "softmax of logits",
    "log_softmax": "exp of log-probabilities",
    "sigmoid": "scores divided by their sum",
    "softmax": "as the head gives them",
}
"""Head -> the way from its output to probabilities of classes."""
HOW = (
    "A model is calibrated if it gets 80\u00a0% of the samples right that it is 80\u00a0% sure of. So that "
    "losses of different scales can be compared, every head's output was turned into probabilities: softmax "
    "of logits, exp of log-probabilities, scores divided by their sum; the output of a softmax head is used "
    "unchanged. The expected calibration error (ECE) is the gap between confidence (the probability of the "
    f"predicted class) and accuracy, averaged over {BINS} bins of equal width, each weighted by its "
    "samples, in points: 0 is perfect."
)
ROUNDED = (
    "The confidence of each sample is kept as a float16, in steps of 0.0005 between 50 and 100\u00a0%. It "
    f"is off by at most {100 * HALF_A_STEP:.2f} points, and so is an ECE, except for the few samples near "
    "the edge of a bin; a confidence above 99.98\u00a0% counts as 100\u00a0%."
)
UNTRACKED = (
    "The Brier score and NLL need the probabilities of all classes, which are not kept for every sample. "
    'With metrics = ["nll", "brier"] under [study], a run into a new folder measures them for every trial.'
)
CURVES = (
    "Above the dashed line a model is underconfident, below it overconfident. Thick lines pool all seeds, "
    "and their points grow with the samples in the bin; thin lines are single seeds. The lower panel shows "
    "the share of samples by confidence. {}"
)
NOTE = (
    "On test, means over the finished seeds, under them 95\u00a0% Student-t intervals; arms in the order of "
    "their validation accuracy. Lower is better in ECE, Brier score (in 0..2) and NLL (in nats; infinite "
    "if a true class got probability 0). A model that guesses and is not sure has a low ECE too, so look at "
    "its accuracy as well."
)


def section(reading: ReportData) -> Section | None:
    """Report on calibration; None if nothing has finished."""
    if not reading.trials["status"].eq("ok").any():
        return None
    words, tables, figures = [HOW], [], []
    for dataset in reading.datasets:
        try:
            table = reliability(reading, dataset)
        except UsageError as error:
            words.append(f"Not measured on {dataset}: {reading.reason(error)}.")
        else:
            tables.append(table)
            figures.append(_diagram(reading, dataset, table))
    if not tables:
        return Section("calibration", "Calibration", words)
    every = pd.concat(tables)
    words += [*_smoothing(reading, every), ROUNDED, *_other_scores(reading)]
    return Section("calibration", "Calibration", words, [_table(reading, every)], figures)


def reliability(reading: ReportData, dataset: str) -> pd.DataFrame:
    """Return `stats.calibration` of every finished trial on a data set, from its kept test predictions.

    Returns:
        trial_id, then the columns of `stats.calibration`; `BINS` rows a trial. Confidences that are not
        shares are left out.

    Raises:
        UsageError: no predictions of test are kept, or they are missing or damaged.
    """
    reading.require_predictions()
    subset = replace(reading.results, trials=reading.finished(dataset))
    tables = {}
    for stack in predictions.stacks(subset, dataset, "test"):
        for trial_id, confidence, wrong in zip(stack.trial_ids, stack.confidence, stack.wrong, strict=True):
            known = (confidence >= 0) & (confidence <= 1)  # NaN is neither
            tables[trial_id] = stats.calibration(confidence[known], ~wrong[known], BINS)
    return pd.concat(tables, names=["trial_id"]).reset_index(level="trial_id").reset_index(drop=True)


def eces(table: pd.DataFrame) -> dict[str, float]:
    """Compute the expected calibration error of each trial in a table of `reliability`, as a share."""
    return {str(trial): stats.ece_of_table(bins) for trial, bins in table.groupby("trial_id", sort=False)}


def _smoothing(reading: ReportData, reliabilities: pd.DataFrame) -> Iterator[str]:
    """Say in which direction label smoothing moves confidence, where a study has arms with it."""
    trials = reading.trials.set_index("trial_id")
    gaps = pd.Series({
        str(trial): stats.overconfidence_of_table(bins)
        for trial, bins in reliabilities.groupby("trial_id", sort=False)
    })  # fmt: skip
    trials = trials.loc[gaps.index].assign(gap=gaps)
    for dataset, group in trials.groupby("dataset", sort=False):
        smoothing = group.get("label_smoothing", pd.Series(0.0, group.index)).astype(float).fillna(0)
        if not smoothing.any():
            continue
        means = group["gap"].groupby(smoothing).mean()
        parts = [f"{_direction(gap)} at label_smoothing = {share:g}" for share, gap in means.items()]
        yield (
            f"Confidence on {dataset} is, against accuracy and in the mean over trials, {', '.join(parts)}. "
            "Smoothed labels tell a network never to be sure: they lower its confidence, and may raise the "
            "ECE while accuracy rises."
        )


def _direction(gap: float) -> str:
    words = "above (overconfident)" if gap > 0 else "below (underconfident)"
    return f"{100 * abs(gap):.1f} points {words}"


def _table(reading: ReportData, reliabilities: pd.DataFrame) -> Table:
    trials = reading.trials[reading.trials["status"].eq("ok")]
    trials = trials.assign(test_ece=trials["trial_id"].map(eces(reliabilities)))
    tracked = [name for name in ("brier", "nll") if f"test_{name}" in trials]
    by = ["dataset", "label"]
    summaries = {
        name: stats.summarise(trials, by, f"test_{name}").set_index(by) for name in ("ece", *tracked)
    }
    heads = trials.drop_duplicates(by).set_index(by)["head"]
    ranking = rank(reading).set_index(by)
    order = [arm for arm in ranking.index if arm in summaries["ece"].index]
    several = len(reading.datasets) > 1
    columns = [Column("data set")] * several
    columns += [Column("arm", show="long"), Column("probabilities", show="wide")]
    columns += [Column("test accuracy", numeric=True), Column("test ECE (points)", numeric=True)]
    columns += [Column(f"test {'NLL' if name == 'nll' else 'Brier'}", numeric=True) for name in tracked]
    rows = [
        [
            *[Cell(arm[0])] * several,
            Cell(arm[1]),
            Cell(PROBABILITIES.get(str(heads[arm]), f"from head {heads[arm]}")),
            accuracy_cell(ranking.loc[arm], "shown_{}"),
            _ece_cell(summaries["ece"].loc[arm]),
            *(number_cell(summaries[name].loc[arm], 4) for name in tracked),
        ]
        for arm in order[:MOST_ROWS]
    ]
    note = NOTE
    if len(order) > MOST_ROWS:
        note += f" Of {len(order)} arms, the first {MOST_ROWS} are shown; tables/ece.csv has all."
    data = pd.concat(summaries, names=["measure"]).reset_index().rename(columns={"label": "arm"})
    title = "ECE, Brier score and NLL" if tracked else "ECE"
    return Table("ece", title, note, columns, rows, data)


def _ece_cell(row: pd.Series[Any]) -> Cell:
    cell = accuracy_cell({**row, "low": max(row["low"], 0.0) if row["n"] > 1 else row["low"]})
    return replace(cell, text=cell.text.replace("\u00a0%", ""))


def _other_scores(reading: ReportData) -> Iterator[str]:
    """Compute the scores of the best models from their kept weights, if the study did not track them."""
    if {"test_brier", "test_nll"} <= set(reading.trials):
        return
    for dataset in reading.datasets:
        subset = replace(reading.results, trials=reading.of(dataset))
        # Without a best model or its images, the last sentence says how to get the scores.
        with suppress(UsageError, MachineError):
            trial = selection.best(subset).iloc[0]
            path = weights.file_of(subset, str(trial["trial_id"]))
            if path.is_file():
                yield _scores(reading, trial, path)
    yield UNTRACKED


def _scores(reading: ReportData, trial: pd.Series[Any], path: Path) -> str:
    dataset = study_dataset(reading.results, str(trial["dataset"]))
    p = weights.probabilities(weights.read(path, dataset), "test")
    labels = predictions.table(reading.results, trial, "test")["label"]
    return (
        f"The best trial by validation on {trial['dataset']} ({trial['label']}, seed {trial['seed']}), "
        f"computed from its kept weights: NLL {stats.nll(p, labels):.4g} nats, Brier score "
        f"{stats.brier(p, labels):.4g}."
    )


def _diagram(reading: ReportData, dataset: str, table: pd.DataFrame) -> Figure:
    shown = _shown(reading, dataset)
    trials = reading.of(dataset)[["trial_id", "label", "seed"]]
    arms = table.merge(trials, on="trial_id", sort=False)
    arms = pd.concat([arms[arms["label"].eq(label)].assign(arm=words) for label, words in shown.items()])
    caption = CURVES.format("Arms were picked on validation." if len(shown) > 1 else "")
    figure = plots.reliability_figure(arms, "")
    title = f"Calibration curves (reliability diagram) on {dataset}"
    return Figure(f"calibration-{slug(dataset)}", title, caption.strip(), figure)


def _shown(reading: ReportData, dataset: str) -> dict[str, str]:
    """Pick the best arm by validation and the study's reference: label -> its words in the figure."""
    done = reading.finished(dataset)
    ranked = stats.rank_arms(done, arm="label").dropna(subset=["rank"])
    best = str(ranked["label"].iloc[0]) if len(ranked) else ""
    reference = reference_arm(reading, dataset)
    shown = {best: f"best: {best}"} if best else {}
    if reference in set(done["label"]) - {best}:
        shown[reference] = f"reference: {reference}"
    elif len(ranked) > 1:
        shown[str(ranked["label"].iloc[-1])] = f"last: {ranked['label'].iloc[-1]}"
    return shown
