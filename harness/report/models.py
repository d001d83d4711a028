"""A look at the best model of each data set, as far as images, predictions and weights are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import gallery, pictures, predictions, sources, weights
from harness.errors import MachineError, UsageError
from harness.plots import percent
from harness.report.figures import Drawn, slug
from harness.report.reading import Reading, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

RANDOM = (
    "Test images drawn at random, with their labels, the model's prediction and its probability; a wrong one "
    "is red."
)
FAILURES = "The test images it gets wrong, by their true class (the row), the surest mistake first."
BARS = (
    "Its probability of each class, computed from the kept weights: two images it gets right and is sure "
    "of, two it gets right and is least sure of, its two surest mistakes."
)
HARDEST = (
    "By the share of all finished models, of every arm and seed, that get them wrong, then by the mean "
    "probability that these gave to wrong classes. An image that most get wrong may be mislabelled, or not "
    "be what any of these networks can tell. `harness data show {} --hardest RESULTS` lists them all."
)


@dataclass(frozen=True)
class Look:
    """One data set's part of the page: who its best model is, what is not shown and why, and figures."""

    dataset: str
    words: Sequence[str]
    drawn: Sequence[Drawn]


def looks(reading: Reading) -> Iterator[Look]:
    """Look at the best arm's best seed by validation, on each data set where a trial has finished."""
    ranking = rank(reading)
    for dataset in reading.datasets:
        trials = reading.trials[reading.trials["dataset"].eq(dataset) & reading.trials["status"].eq("ok")]
        ranked = ranking[ranking["dataset"].eq(dataset) & ranking["rank"].notna()]
        of_best = trials[trials["label"].isin(ranked["label"].head(1))].dropna(subset="val_accuracy")
        if not of_best.empty:
            yield _look(reading, of_best.iloc[int(of_best["val_accuracy"].to_numpy().argmax())])
        elif not trials.empty:
            yield Look(dataset, ["Without a validation accuracy no model is the best, so none is shown."], [])


def _look(reading: Reading, trial: pd.Series[Any]) -> Look:
    """Draw what can be drawn; what cannot is said, once for each reason."""
    dataset, folder = str(trial["dataset"]), str(reading.results.folder)
    drawn, left = [], dict[str, list[str]]()
    who = (
        f"The best arm's best seed by validation: {trial['label']}, seed {trial['seed']} "
        f"({trial['trial_id']}), {trial['parameters']:,.0f} trainable parameters, val "
        f"{percent(trial['val_accuracy'], 2)}, test {percent(trial['test_accuracy'], 2)}."
    )
    makers: dict[str, Callable[[Reading, pd.Series[Any]], Drawn]] = {
        "random images of test": _random,
        "class probabilities": _bars,
        "its mistakes": _failures,
        "the images that most models get wrong": _hardest,
    }
    for what, make in makers.items():
        try:
            _check_at_hand(reading, dataset)
            drawn.append(make(reading, trial))
        except (UsageError, MachineError) as error:
            # A page is passed on: it says nothing of where the folder lies.
            why = str(error).replace(f"{folder}/", "").replace(folder, "the results folder")
            left.setdefault(why, []).append(what)
    told = [f"Not shown, {', '.join(what)}: {why.rstrip('.')}." for why, what in left.items()]
    return Look(dataset, [who, *told], drawn)


def _check_at_hand(reading: Reading, dataset: str) -> None:
    """Raise a UsageError without predictions, or where images would be fetched: a report never downloads."""
    if not any((reading.results.folder / "predictions").glob("*.npz")):
        raise UsageError(
            "this results folder holds no predictions: it was copied without them, or keep_predictions under "
            "[study] is empty"
        )
    if dataset in sources.PINS and any(state.status != "ok" for state in sources.check(dataset)):
        raise UsageError(
            f"the images of {dataset} are not in this machine's data cache; `harness data fetch {dataset}` "
            "brings them"
        )


def _random(reading: Reading, trial: pd.Series[Any]) -> Drawn:
    seen = pictures.see(reading.results, trial)
    count = gallery.COUNTS["predictions"]
    at = np.sort(np.random.default_rng(0).permutation(len(seen.table))[:count])
    figure = gallery.predictions_figure(seen, seen.table.iloc[at], " at random (seed 0)")
    return Drawn(_name(trial, "random"), f"Random images of {trial['dataset']}", RANDOM, figure)


def _failures(reading: Reading, trial: pd.Series[Any]) -> Drawn:
    figure = gallery.failures_figure(pictures.see(reading.results, trial))
    title = f"What it gets wrong on {trial['dataset']}"
    return Drawn(_name(trial, "failures"), title, FAILURES, figure, folded=True)


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
