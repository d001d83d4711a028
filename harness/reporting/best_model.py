"""The best model of each data set: random images, class probabilities, mistakes, the hardest images."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.gallery import predicted_images, prediction_pages
from harness.reporting.arm_figures import draw_images
from harness.reporting.model import Figure, Section, slug
from harness.results import predictions, selection, weights
from harness.results.trained_on import study_dataset
from harness.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from harness.data.samples import Split
    from harness.reporting.data import ReportData

RANDOM = (
    "Test images drawn at random, with their labels, the model's prediction and its probability; a wrong one "
    "is red."
)
FAILURES = "The {} images that the model gets wrong, one row for each true class, the surest mistake first."
BARS = (
    "The model's probability of each class, computed from the kept weights: two right answers that it is "
    "surest of, two right answers that it is least sure of, and its two surest mistakes."
)
HARDEST = (
    "Ordered by the share of all finished models, of every arm and seed, that get an image wrong, then by "
    "the mean probability that these models give to wrong classes. Such an image may be mislabelled, or too "
    "hard for all of these networks. `harness data show {} --hardest RESULTS` lists all images."
)


def sections(reading: ReportData) -> Iterator[Section]:
    """Show the best trial by validation of each data set that has finished trials."""
    for dataset in reading.datasets:
        trials = reading.finished(dataset)
        if trials.empty:
            continue
        words = ["Without a validation accuracy no model is the best, so none is shown."]
        figures = list[Figure]()
        with suppress(UsageError):
            best = selection.best(replace(reading.results, trials=trials)).iloc[0]
            figures, words = draw_images(reading, dataset, _makers(reading, best))
            words = [_facts(best, alone=len(trials) == 1), *words]
        yield Section(f"model-{dataset}", f"The best model on {dataset}", words, figures=figures)


def _makers(reading: ReportData, trial: pd.Series[Any]) -> dict[str, Callable[[], Figure]]:
    makers: dict[str, Callable[[ReportData, pd.Series[Any]], Figure]] = {
        "random test images": _random,
        "class probabilities": _probabilities,
        "the model's mistakes on test": partial(_mistakes, split="test"),
    }
    if "train" in reading.study.keep_predictions:
        makers["the model's mistakes on train"] = partial(_mistakes, split="train")
    makers["the images that most models get wrong"] = _hardest
    return {subject: partial(_from_predictions, make, reading, trial) for subject, make in makers.items()}


def _facts(trial: pd.Series[Any], *, alone: bool) -> str:
    accuracies = {split: float(trial[f"{split}_accuracy"]) for split in ("val", "test")}
    facts = [f"{trial['parameters']:,.0f} trainable parameters"]
    facts += [f"{split} {percent(share, 2)}" for split, share in accuracies.items() if math.isfinite(share)]
    which = "The only finished trial" if alone else "The best trial by validation"
    return f"{which}: {trial['label']}, seed {trial['seed']} ({trial['trial_id']}), {', '.join(facts)}."


def _from_predictions(
    make: Callable[[ReportData, pd.Series[Any]], Figure], reading: ReportData, trial: pd.Series[Any]
) -> Figure:
    """Draw a figure of kept predictions, or raise UsageError where the folder holds none."""
    reading.require_predictions()
    return make(reading, trial)


def _random(reading: ReportData, trial: pd.Series[Any]) -> Figure:
    model = predicted_images.see(reading.results, trial)
    count = prediction_pages.COUNTS["predictions"]
    places = np.sort(np.random.default_rng(0).permutation(len(model.table))[:count])
    figure = prediction_pages.predictions_figure(model, model.table.iloc[places], " at random (seed 0)")
    return Figure(_name(trial, "random"), f"Random images of {trial['dataset']}", RANDOM, figure)


def _mistakes(reading: ReportData, trial: pd.Series[Any], split: Split) -> Figure:
    figure = prediction_pages.failures_figure(predicted_images.see(reading.results, trial, split))
    title = f"Mistakes on {trial['dataset']}, {split}"
    name = _name(trial, "failures" if split == "test" else f"failures-{split}")
    return Figure(name, title, FAILURES.format(split), figure, folded=True)


def _probabilities(reading: ReportData, trial: pd.Series[Any]) -> Figure:
    path = weights.file_of(reading.results, str(trial["trial_id"]))
    if not path.is_file():
        raise UsageError(
            'the weights of this model were not kept. With keep_weights = "all" under [study] they are; '
            "`harness show` trains it again."
        )
    model = predicted_images.see(reading.results, trial)
    dataset = study_dataset(reading.results, str(trial["dataset"]))
    given = weights.probabilities(weights.read(path, dataset), "test")
    rows = predictions.telling(model.table)
    figure = prediction_pages.probabilities_figure(model, rows, given[rows.index])
    return Figure(_name(trial, "probabilities"), f"Class probabilities on {trial['dataset']}", BARS, figure)


def _hardest(reading: ReportData, trial: pd.Series[Any]) -> Figure:
    dataset = str(trial["dataset"])
    table = predicted_images.hardest(reading.results, dataset)
    figure = prediction_pages.hardest_figure(
        predicted_images.originals(reading.results, dataset, "test"), table, "test"
    )
    title = f"The hardest images of {dataset}"
    return Figure(_name(trial, "hardest"), title, HARDEST.format(dataset), figure)


def _name(trial: pd.Series[Any], kind: str) -> str:
    return f"model-{slug(str(trial['dataset']))}-{kind}"
