"""The data sets of a study as its trials split them: label counts, one image of each class, a grid."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness.data.arm_settings import Settings
from harness.data.samples import DATA_SETTINGS
from harness.gallery import predicted_images
from harness.gallery.dataset_pages import GRID as SHAPE
from harness.gallery.dataset_pages import balance, counts_figure, grid_figure, row_figure
from harness.gallery.views import view
from harness.reporting.arm_figures import draw_images
from harness.reporting.model import Figure, Section, slug
from harness.results.trained_on import study_dataset
from harness.text import NOT_APPLICABLE, as_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.reporting.data import ReportData
    from harness.settings import Value

DIVIDING = tuple(name for name in DATA_SETTINGS if name not in {"dataset", "preprocessing"})
ROW = "A training image of each class, drawn at random (seed 0), as it is stored, before any preprocessing."
GRID = "Training images, evenly spaced from the first to the last in the order of the data set."


def sections(reading: ReportData) -> Iterator[Section]:
    """Show each data set, in the study's order, as its first trial splits it."""
    for dataset in reading.datasets:
        splits = divisions(reading, dataset)
        settings = ", ".join(f"{name} {value}" for name, value in splits[0].items() if name != "dataset")
        words = f"Split with {settings}."
        if len(splits) > 1:
            words += f" The study splits it in {len(splits)} ways; the figures show that of its first trial."
        makers = {
            "label counts": partial(_figure, "counts", reading, splits[0]),
            "one image of each class": partial(_figure, "row", reading, splits[0]),
            "a grid of training images": partial(_figure, "grid", reading, splits[0]),
        }
        figures, left_out = draw_images(reading, dataset, makers)
        yield Section(f"data-{dataset}", dataset, [words, *left_out], figures=figures)


def divisions(reading: ReportData, dataset: str) -> list[dict[str, Value]]:
    """Return the settings by which trials split a data set, the first trial's first.

    They are read from trials.csv, which has the split of each trial even if the study resamples it by seed.
    """
    trials = reading.of(dataset)
    columns = ["dataset", *(name for name in DIVIDING if name in trials)]
    splits = trials[columns].drop_duplicates().to_dict("records")
    return [
        {str(name): _integer(value) for name, value in split.items() if as_word(value) != NOT_APPLICABLE}
        for split in splits
    ]


def _integer(value: Any) -> Value:
    """Undo pandas' widening of integers to floats in a column with empty cells: 0.0 is 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _figure(kind: str, reading: ReportData, settings: dict[str, Value]) -> Figure:
    name = str(settings["dataset"])
    predicted_images.originals(reading.results, name, "train")  # or a UsageError: other data were trained on
    divided = view(Settings(settings, study_dataset(reading.results, name)))
    if kind == "counts":
        title, caption = f"Label counts of {name}: train, val and test", balance(divided)
        figure = counts_figure(divided)
    elif kind == "row":
        title, caption, figure = f"One image of each class of {name}", ROW, row_figure(divided, 0)
    else:
        title, caption = f"{SHAPE[0]} x {SHAPE[1]} training images of {name}", GRID
        figure = grid_figure(divided)
    return Figure(f"data-{slug(name)}-{kind}", title, caption, figure, folded=True)
