"""Whether models are as right as they say: ECE, Brier's score and NLL of each arm, reliability curves.

From the kept predictions of test, stack by stack. ECE looks at the predicted class's probability only,
which is what is kept of every sample; Brier's score and NLL need all of them, so they are there where the
study tracked them, or of the one model whose weights were kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness import plots, predictions, selection, stats, weights
from harness.errors import MachineError, UsageError
from harness.report.figures import Drawn, slug
from harness.report.pairs import reference_arm
from harness.report.reading import rank
from harness.report.section import Section
from harness.report.tables import NONE, Cell, Column, Table, accuracy_cell
from harness.trained_on import study_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.predictions import Predictions
    from harness.report.reading import Reading

BINS = 15
MOST_ROWS = 200
HALF_A_STEP = 2.0**-12  # of a float16 in 0.5..1
MADE = {
    "identity": "softmax of logits",
    "log_softmax": "exp of log-probabilities",
    "sigmoid": "scores divided by their sum",
    "softmax": "as the head gives them",
}
"""Head -> how its output became the probabilities of its classes."""
HOW = (
    "A model is calibrated if of the samples of which it is 80\u00a0% sure it gets 80\u00a0% right. So that "
    "losses of different scales can be compared, every head's output was made into probabilities: softmax "
    "of logits, exp of log-probabilities, scores divided by their sum; a softmax head's are taken as they "
    "are. "
    "ECE is the gap between confidence (the predicted class's probability) and accuracy, averaged over "
    f"{BINS} bins of equal width with the samples as weights, in points: 0 is perfect."
)
ROUNDED = (
    "The confidence of each sample is kept as a float16, in steps of 0.0005 between 50 and 100\u00a0%: it is "
    f"off by at most {100 * HALF_A_STEP:.2f} points, and so is an ECE, but for the few samples that near "
    "a bin's edge; what is surer than 99.98\u00a0% counts as 100\u00a0%."
)
UNTRACKED = (
    "Brier's score and NLL need the probabilities of all classes, which are not kept of every sample. With "
    'metrics = ["nll", "brier"] under [study], a run into a new folder measures them for every trial.'
)
CURVES = (
    "Above the dashed line a model is right more often than it says, below it is overconfident. Thick over "
    "all seeds together, with points that grow with the samples in their bin; thin each seed. Below, the "
    "share of samples by confidence. {}"
)
NOTE = (
    "On test, means over the finished seeds, under them 95\u00a0% Student-t intervals; arms in the order of "
    "their validation accuracy. Lower is better in ECE, Brier's score (in 0..2) and NLL (in nats; infinite "
    "where a true class got probability 0). A model that guesses and says so has a low ECE too: see its "
    "accuracy."
)


def section(reading: Reading) -> Section | None:
    """The section on calibration; None where nothing has finished."""
    if not reading.trials["status"].eq("ok").any():
        return None
    words, parts, drawn = [HOW], [], []
    for dataset in reading.datasets:
        try:
            tallied = tallies(reading, dataset)
        except UsageError as error:
            folder = str(reading.results.folder)
            why = str(error).replace(f"{folder}/", "").replace(folder, "the results folder")
            words.append(f"Not measured on {dataset}: {why.rstrip('.')}.")
            continue
        parts.append(tallied)
        drawn.append(_curves(reading, dataset, tallied))
    if not parts:
        return Section("calibration", "Calibration", words)
    words += [ROUNDED, *_alone(reading)]
    return Section("calibration", "Calibration", words, [_table(reading, pd.concat(parts))], drawn)


def tallies(reading: Reading, dataset: str) -> pd.DataFrame:
    """Sum the kept test predictions of every finished trial on a data set by confidence.

    Returns:
        trial_id, low, high (a bin's edges), n, confidence (mean), accuracy; `BINS` rows a trial, those of
        an empty bin with n 0 and NaN. A confidence that is not a number is left out.

    Raises:
        UsageError: no predictions of test are kept, or they are missing or damaged.
    """
    if not any((reading.results.folder / "predictions").glob("*.npz")):
        raise UsageError(
            "this results folder holds no predictions: it was copied without them, or keep_predictions under "
            "[study] is empty"
        )
    done = reading.trials[reading.trials["dataset"].eq(dataset) & reading.trials["status"].eq("ok")]
    found = replace(reading.results, trials=done)
    return pd.concat([_tally(said) for said in predictions.stacks(found, dataset, "test")], ignore_index=True)


def _tally(said: Predictions) -> pd.DataFrame:
    k, n = said.confidence.shape
    edges = np.linspace(0, 1, BINS + 1)
    known = np.isfinite(said.confidence)
    # As in the field's own code, a bin holds its upper edge.
    places = np.clip(np.searchsorted(edges, said.confidence, side="left") - 1, 0, BINS - 1)
    cells = (np.arange(k)[:, None] * BINS + places)[known]

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(cells, values[known], k * BINS).astype(np.float64)

    count = total(np.ones((k, n)))
    with np.errstate(invalid="ignore"):
        confidence, accuracy = total(said.confidence) / count, total(~said.wrong) / count
    return pd.DataFrame(
        {
            "trial_id": np.repeat(said.trial_ids, BINS),
            "low": np.tile(edges[:-1], k),
            "high": np.tile(edges[1:], k),
            "n": count.astype(int),
            "confidence": confidence,
            "accuracy": accuracy,
        }
    )


def errors(tallied: pd.DataFrame) -> pd.Series[float]:
    """The expected calibration error of each trial, by trial_id: as shares."""
    gap = (tallied["confidence"] - tallied["accuracy"]).abs().fillna(0) * tallied["n"]
    sums = gap.to_frame("gap").assign(n=tallied["n"], trial_id=tallied["trial_id"])
    sums = sums.groupby("trial_id", sort=False).sum()
    return sums["gap"] / sums["n"]


# -------------------------------------------------------------------------------------------------- the table


def _table(reading: Reading, tallied: pd.DataFrame) -> Table:
    trials = reading.trials[reading.trials["status"].eq("ok")]
    trials = trials.assign(test_ece=trials["trial_id"].map(errors(tallied)))
    tracked = [name for name in ("brier", "nll") if f"test_{name}" in trials]
    by = ["dataset", "label"]
    summaries = {
        name: stats.summarise(trials, by, f"test_{name}").set_index(by) for name in ("ece", *tracked)
    }
    heads = trials.drop_duplicates(by).set_index(by)["head"]
    ranking = rank(reading).set_index(by)
    order = [arm for arm in ranking.index if arm in summaries["ece"].index]
    several = len(reading.datasets) > 1
    columns = [Column("data set")] * several + [
        Column("arm", show="long"),
        Column("probabilities", show="wide"),
    ]
    columns += [Column("test accuracy", numeric=True), Column("test ECE (points)", numeric=True)]
    columns += [Column(f"test {'NLL' if name == 'nll' else 'Brier'}", numeric=True) for name in tracked]
    rows = []
    for arm in order[:MOST_ROWS]:
        head = str(heads[arm])
        row = [Cell(arm[0])] * several + [Cell(arm[1]), Cell(MADE.get(head, f"from head {head}"))]
        row.append(
            accuracy_cell({key: ranking.loc[arm, f"shown_{key}"] for key in ("mean", "low", "high", "n")})
        )
        row.append(_points({key: summaries["ece"].loc[arm, key] for key in ("mean", "low", "high", "n")}))
        row += [_plain(summaries[name].loc[arm]) for name in tracked]
        rows.append(row)
    note = NOTE
    if len(order) > MOST_ROWS:
        note += f" Of {len(order)} arms, the first {MOST_ROWS} are shown; tables/ece.csv has all."
    data = pd.concat(summaries, names=["measure"]).reset_index().rename(columns={"label": "arm"})
    title = "ECE, Brier's score and NLL" if tracked else "ECE"
    return Table("ece", title, note, columns, rows, data)


def _points(row: dict[str, Any]) -> Cell:
    """An ECE in points, with its interval; below 0 there is no ECE, and none is shown."""
    cell = accuracy_cell(row | {"low": max(row["low"], 0.0) if row["n"] > 1 else row["low"]})
    return replace(cell, text=cell.text.replace("\u00a0%", ""))


def _plain(row: pd.Series[Any]) -> Cell:
    if not row["n"]:
        return Cell(NONE, key=math.nan)
    told = f"{row['low']:.3g} to {row['high']:.3g}" if row["n"] > 1 else "one seed"
    return Cell(f"{row['mean']:.4g}", told.replace("-", "\u2212"), float(row["mean"]))


def _alone(reading: Reading) -> Iterator[str]:
    """Where the study tracked neither score: what the kept weights of the best model say, and what to do."""
    if {"test_brier", "test_nll"} <= set(reading.trials):
        return
    for dataset in reading.datasets:
        trials = reading.trials[reading.trials["dataset"].eq(dataset)]
        try:
            found = replace(reading.results, trials=trials)
            trial = selection.best(found).iloc[0]
            path = weights.file_of(found, str(trial["trial_id"]))
            if path.is_file():
                yield _scores(reading, trial)
        except (UsageError, MachineError):
            continue  # no best model, or its images are not at hand: the last sentence says what would do
    yield UNTRACKED


def _scores(reading: Reading, trial: pd.Series[Any]) -> str:
    path = weights.file_of(reading.results, str(trial["trial_id"]))
    dataset = study_dataset(reading.results, str(trial["dataset"]))
    p = weights.probabilities(weights.read(path, dataset), "test")
    label = predictions.table(reading.results, trial, "test")["label"].to_numpy()
    own = p[np.arange(len(label)), label].astype(float)
    with np.errstate(divide="ignore"):
        nll = float(-np.log(own).mean())
    brier = float(((p.astype(float) ** 2).sum(1) - 2 * own + 1).mean())
    return (
        f"The best trial by validation on {trial['dataset']} ({trial['label']}, seed {trial['seed']}), "
        f"computed from its kept weights: NLL {nll:.4g} nats, Brier's score {brier:.4g}."
    )


# ------------------------------------------------------------------------------------------------ the figures


def _curves(reading: Reading, dataset: str, tallied: pd.DataFrame) -> Drawn:
    shown = _shown(reading, dataset)
    trials = reading.trials[reading.trials["dataset"].eq(dataset) & reading.trials["label"].isin(shown)]
    arms = tallied.merge(trials[["trial_id", "label", "seed"]], on="trial_id", sort=False)
    arms = pd.concat([arms[arms["label"].eq(label)].assign(arm=words) for label, words in shown.items()])
    caption = CURVES.format("Arms were picked on validation." if len(shown) > 1 else "")
    title = f"How sure and how right on {dataset}"
    figure = plots.reliability_figure(arms, "")
    return Drawn(f"calibration-{slug(dataset)}", title, caption.strip(), figure)


def _shown(reading: Reading, dataset: str) -> dict[str, str]:
    """The best arm by validation and the study's reference: label -> its words in the figure."""
    done = reading.trials[reading.trials["dataset"].eq(dataset) & reading.trials["status"].eq("ok")]
    ranked = stats.rank_arms(done, arm="label").dropna(subset=["rank"])
    best = str(ranked["label"].iloc[0]) if len(ranked) else ""
    reference = reference_arm(reading, dataset)
    shown = {best: f"best: {best}"} if best else {}
    if reference in set(done["label"]) - {best}:
        shown[reference] = f"reference: {reference}"
    elif len(ranked) > 1:
        shown[str(ranked["label"].iloc[-1])] = f"last: {ranked['label'].iloc[-1]}"
    return shown
