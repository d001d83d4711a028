"""A look at the best trial of each data set, as far as images, predictions and weights are at hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import gallery, pictures, predictions, selection, weights
from harness.errors import UsageError
from harness.report.at_hand import Look, look
from harness.report.figures import Drawn, slug
from harness.report.reading import Reading
from harness.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from harness.data import Split

RANDOM = (
    "Test images drawn at random, with their labels, the model's prediction and its probability; a wrong one "
    "is red."
)
FAILURES = "The {} images it gets wrong, by their true class (the row), the surest mistake first."
BARS = (
    "Its probability of each class, computed from the kept weights: two images it gets right and is sure "
    "of, two it gets right and is least sure of, its two surest mistakes."
)
HARDEST = (
    "By the share of all finished models, of every arm and seed, that get them wrong, then by the mean "
    "probability that these gave to wrong classes. An image that most get wrong may be mislabelled, or not "
    "be what any of these networks can tell. `harness data show {} --hardest RESULTS` lists them all."
)


def looks(reading: Reading) -> Iterator[Look]:
    """Look at the best trial by validation, as `selection.best` finds it, on each data set that has one."""
    done = reading.trials[reading.trials["status"].eq("ok")]
    for dataset in reading.datasets:
        trials = done[done["dataset"].eq(dataset)]
        if trials.empty:
            continue
        try:
            found = selection.best(replace(reading.results, trials=trials))
        except UsageError:
            yield Look(dataset, ["Without a validation accuracy no model is the best, so none is shown."], [])
        else:
            yield _look(reading, found.iloc[0], alone=len(trials) == 1)


def _look(reading: Reading, trial: pd.Series[Any], *, alone: bool) -> Look:
    makers: dict[str, Callable[[Reading, pd.Series[Any]], Drawn]] = {
        "random images of test": _random,
        "class probabilities": _bars,
        "its mistakes": partial(_failures, split="test"),
    }
    if "train" in reading.results.study.get("study", {}).get("keep_predictions", []):
        makers["its mistakes on train"] = partial(_failures, split="train")
    makers["the images that most models get wrong"] = _hardest
    of_trial = {what: partial(_of_kept, make, reading, trial) for what, make in makers.items()}
    return look(reading, str(trial["dataset"]), [_who(trial, alone=alone)], of_trial)


def _who(trial: pd.Series[Any], *, alone: bool) -> str:
    """Which trial it is, how large and how good; a model without val is shown only where it is alone."""
    facts = [
        f"{trial['parameters']:,.0f} trainable parameters",
        *(
            f"{split} {percent(float(trial[f'{split}_accuracy']), 2)}"
            for split in ("val", "test")
            if math.isfinite(trial[f"{split}_accuracy"])
        ),
    ]
    which = "The only finished trial" if alone else "The best trial by validation"
    return f"{which}: {trial['label']}, seed {trial['seed']} ({trial['trial_id']}), {', '.join(facts)}."


def _of_kept(
    make: Callable[[Reading, pd.Series[Any]], Drawn], reading: Reading, trial: pd.Series[Any]
) -> Drawn:
    """Make a figure of predictions; raise a UsageError where the folder holds none."""
    if not any((reading.results.folder / "predictions").glob("*.npz")):
        raise UsageError(
            "this results folder holds no predictions: it was copied without them, or keep_predictions under "
            "[study] is empty"
        )
    return make(reading, trial)


def _random(reading: Reading, trial: pd.Series[Any]) -> Drawn:
    seen = pictures.see(reading.results, trial)
    count = gallery.COUNTS["predictions"]
    at = np.sort(np.random.default_rng(0).permutation(len(seen.table))[:count])
    figure = gallery.predictions_figure(seen, seen.table.iloc[at], " at random (seed 0)")
    return Drawn(_name(trial, "random"), f"Random images of {trial['dataset']}", RANDOM, figure)


def _failures(reading: Reading, trial: pd.Series[Any], split: Split) -> Drawn:
    figure = gallery.failures_figure(pictures.see(reading.results, trial, split))
    title = f"What it gets wrong on {trial['dataset']}, {split}"
    name = _name(trial, "failures" if split == "test" else f"failures-{split}")
    return Drawn(name, title, FAILURES.format(split), figure, folded=True)


def _bars(reading: Reading, trial: pd.Series[Any]) -> Drawn:
    path = weights.file_of(reading.results, str(trial["trial_id"]))
    if not path.is_file():
        raise UsageError(
            'the weights of this model were not kept. With keep_weights = "all" under [study] they are; '
            "`harness show` trains it again."
        )
    seen = pictures.see(reading.results, trial)
    given = weights.probabilities(weights.read(path), "test")
    rows = predictions.telling(seen.table)
    figure = gallery.probabilities_figure(seen, rows, given[rows.index])
    return Drawn(_name(trial, "probabilities"), f"How sure it is, on {trial['dataset']}", BARS, figure)


def _hardest(reading: Reading, trial: pd.Series[Any]) -> Drawn:
    dataset = str(trial["dataset"])
    table = pictures.hardest(reading.results, dataset)
    figure = gallery.hardest_figure(pictures.originals(reading.results, dataset, "test"), table, "test")
    title = f"The images of {dataset} that most models get wrong"
    return Drawn(_name(trial, "hardest"), title, HARDEST.format(dataset), figure)


def _name(trial: pd.Series[Any], what: str) -> str:
    return f"model-{slug(str(trial['dataset']))}-{what}"
