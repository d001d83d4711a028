"""The data that a study was trained on, as it divides them: label counts, one image a class, a grid."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from harness import pictures
from harness.data import DATA_SETTINGS
from harness.looks import GRID as SHAPE
from harness.looks import View, balance, counts_figure, grid_figure, row_figure, view
from harness.report.at_hand import Look, look
from harness.report.figures import Drawn, slug
from harness.report.reading import Reading
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.settings import Value

DIVIDING = tuple(name for name in DATA_SETTINGS if name not in {"dataset", "preprocessing"})
ROW = "A training image of each class, drawn at random (seed 0), as it is stored, before any preprocessing."
GRID = "Training images, evenly spaced from the first to the last in the order of the data set."


def looks(reading: Reading) -> Iterator[Look]:
    """Look at each data set, in the study's order, as its first trial divides it."""
    for dataset in reading.datasets:
        ways = divisions(reading, dataset)
        how = ", ".join(f"{name} {value}" for name, value in ways[0].items() if name != "dataset")
        words = f"Divided with {how}."
        if len(ways) > 1:
            words += f" The study divides it in {len(ways)} ways; this is its first trial's."
        makers = {
            "label counts": partial(_counts, reading, ways[0]),
            "one image a class": partial(_row, reading, ways[0]),
            "a grid of training images": partial(_grid, reading, ways[0]),
        }
        yield look(reading, dataset, [words], makers)


def divisions(reading: Reading, dataset: str) -> list[dict[str, Value]]:
    """The ways in which trials divide a data set, the first trial's first: settings for `harness.looks.view`.

    Read from trials.csv, where the split of each trial stands even if the study resamples it by seed.
    """
    trials = reading.trials[reading.trials["dataset"].eq(dataset)]
    columns = ["dataset", *(name for name in DIVIDING if name in trials)]
    ways = trials[columns].drop_duplicates().to_dict("records")
    return [{str(name): _plain(value) for name, value in way.items() if _applies(value)} for way in ways]


def _applies(value: object) -> bool:
    return as_word(value) != NOT_APPLICABLE


def _plain(value: object) -> Value:
    """A number that pandas widened for the sake of an empty cell, as it was: 0.0 is 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value  # type: ignore[return-value]


def _view(reading: Reading, settings: dict[str, Value]) -> View:
    """The data set as these settings divide it; raises where it is not what the folder was trained on."""
    pictures.originals(reading.results, str(settings["dataset"]), "train")
    return view(settings)


def _counts(reading: Reading, settings: dict[str, Value]) -> Drawn:
    divided = _view(reading, settings)
    return Drawn(
        f"data-{slug(divided.name)}-counts", f"Label counts of {divided.name}: train, val and test",
        balance(divided), counts_figure(divided), folded=True,
    )  # fmt: skip


def _row(reading: Reading, settings: dict[str, Value]) -> Drawn:
    divided = _view(reading, settings)
    figure = row_figure(divided, 0)
    return Drawn(
        f"data-{slug(divided.name)}-row", f"One image a class of {divided.name}", ROW, figure, folded=True
    )


def _grid(reading: Reading, settings: dict[str, Value]) -> Drawn:
    divided = _view(reading, settings)
    title = f"{SHAPE[0]} x {SHAPE[1]} training images of {divided.name}"
    return Drawn(f"data-{slug(divided.name)}-grid", title, GRID, grid_figure(divided), folded=True)
