"""`harness.tables`: the numbers behind `harness.figures`, by the same names, as DataFrames.

Arguments are the same, too, but for those of drawing (`ax`, `ink`, `captions` and the like).
`harness.tables.confusion(results, where="loss=ce", combine="sum")` are the counts that the figure shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from harness.axes import function_values
from harness.exporting.hidden_layers import IMAGES
from harness.gallery import image_choice, views
from harness.gallery.image_choice import ImageChoice, whole
from harness.reporting import lookups, own_arrays
from harness.reporting.lookups import MOST_IMAGES

__all__ = [
    "activations", "confusion", "curves", "failures", "filters", "function", "grid", "hardest", "images",
    "label_counts", "predictions", "probabilities",
]  # fmt: skip


def __dir__() -> list[str]:
    """List the public names alone, for tab completion."""
    return list(__all__)


def label_counts(dataset: Any, split: str | None = None, **settings: Any) -> pd.DataFrame:
    """Tabulate the images of each class and split; the arguments are those of `figures.label_counts`.

    Returns:
        Columns split, label, class, images, share (of the split's images).

    Example: `harness.tables.label_counts("mnist").query("split == 'train'")`
    """
    view = views.seen(dataset, split, **settings)
    return views.label_counts(view, views.existing(view, split) if split else None)


def images(  # noqa: PLR0913 (a person's keywords)
    dataset: Any, split: str = "train", *, label: str | int | None = None, number: Any = None,
    first: int | None = None, count: int | None = None, seed: int | None = None, **settings: Any,
) -> pd.DataFrame:  # fmt: skip
    """Tabulate the images that `figures.images` shows of these arguments.

    Returns:
        Columns split, number, name, label, class; `attrs["seed"]` is the seed that drew them.

    Example: `harness.tables.images("mnist", first=10)`
    """
    view = views.seen(dataset, split, **settings)
    return ImageChoice(split, label, number, first, count, seed).of(view).table()


def grid(
    dataset: Any, split: str = "train", *, rows: int = 3, columns: int = 6, **settings: Any
) -> pd.DataFrame:
    """Tabulate the evenly spaced images that `figures.grid` shows; columns as of `images`.

    Example: `harness.tables.grid("mnist")`
    """
    return image_choice.spaced(views.seen(dataset, split, **settings), split, rows * columns).table()


def predictions(
    trial: Any, split: str = "test", *, samples: Any = None, count: int | None = None, seed: int | None = 0,
    where: str = "",
) -> pd.DataFrame:  # fmt: skip
    """Tabulate a trained trial's predictions: of all images of a split, or of some as `figures.predictions`.

    Returns:
        Columns index, name, label, predicted, confidence (its probability), wrong.

    Example: `harness.tables.predictions(results.trial()).query("wrong")`
    """
    model = lookups.predictions_of(trial, split, where)
    rows = model.table
    if samples is not None or count is not None:
        rows, _ = lookups.sampled(model, samples, len(rows) if count is None else count, seed)
    return lookups.with_names(model, rows)


def probabilities(
    trial: Any, split: str = "test", *, samples: Any = None, count: int | None = None, where: str = "",
    classes: Sequence[object] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Tabulate class probabilities: of a trained trial on a split, or of one's own array, checked.

    Returns:
        A row a sample and a column a class; of a trial indexed by the image's number and its label.

    Example: `harness.tables.probabilities(results.trial(), samples=[0, 17])`
    """
    if own_arrays.is_array(trial):
        own = own_arrays.own_probabilities(trial, classes, None, None, count)
        return pd.DataFrame(own.values, columns=list(own.pictures.facts.classes))
    model, rows, values = lookups.probabilities_of(trial, split, where, samples, count, everything=True)
    index = pd.MultiIndex.from_frame(rows[["index", "label"]])
    return pd.DataFrame(values, index=index, columns=list(model.pictures.facts.classes))


def failures(trial: Any, split: str = "test", *, per_class: int | None = 10, where: str = "") -> pd.DataFrame:
    """Tabulate a trained trial's surest mistakes of each true class (None: all); columns as of `predictions`.

    Example: `harness.tables.failures(results.trial(), "train", per_class=3)`
    """
    model = lookups.predictions_of(trial, split, where)
    return lookups.with_names(model, lookups.mistakes(model, per_class))


def hardest(
    results: Any, dataset: str | None = None, split: str = "test", *, where: str = "",
    count: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Rank images by how many trained trials get them wrong, the hardest first; all of them by default.

    Returns:
        Columns index, name, label, trials, wrong_share, prediction, mean_confidence, wrong_probability, and
        the names of the classes.

    Example: `harness.tables.hardest("results/lab1_learning_rate", split="train", count=20)`
    """
    _, table, _ = lookups.hardest_of(results, dataset, split, where)
    return table if count is None else table.head(count)


def confusion(  # noqa: PLR0913 (a person's keywords)
    trial: Any = None, split: str = "test", *, where: str = "", combine: str | None = None,
    labels: Any = None, predictions: Any = None, classes: Sequence[object] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Count predictions of each class: true classes as rows, predicted ones as columns.

    The arguments are those of `figures.confusion`.

    Example: `harness.tables.confusion(labels=y, predictions=outputs.argmax(1))`
    """
    counts = lookups.confusion_of(trial, split, where, combine, (labels, predictions, classes))
    true, said = (pd.Index(counts.classes, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(counts.table.to_numpy(), index=true, columns=said)


def curves(trial: Any, quantity: str = "loss", *, where: str = "") -> pd.DataFrame:
    """Tabulate learning curves; the arguments are those of `figures.curves`, and all arms are there.

    Returns:
        Columns dataset, loss (its kind), arm, seed, split, epoch, value.

    Example: `harness.tables.curves(results.trial())`
    """
    return lookups.curve_table(trial, quantity, where)


def activations(trial: Any, split: str = "val", *, where: str = "", count: int = IMAGES) -> pd.DataFrame:
    """Tabulate the activity of a trained network's layers by depth; the arguments are `figures.activations`'.

    Returns:
        Columns depth, layer, activation, units, dead (share of units whose activation has no slope on any of
        the images: never active, of ReLU), saturated (share of values where the slope is at most a tenth of
        the steepest), mean, sd.

    Example: `harness.tables.activations(results.trial()).query("dead > 0")`
    """
    return lookups.activations_of(trial, split, where, whole("count", count, MOST_IMAGES))[0]


def filters(trial: Any, *, where: str = "", count: int | None = None) -> pd.DataFrame:
    """Tabulate the weights of a trained network's first layer; the arguments are those of `figures.filters`.

    Returns:
        Columns unit, channel, row, column, weight; a row a weight, of all units by default.

    Example: `harness.tables.filters(results.trial(where="architecture=cnn"))`
    """
    return lookups.weight_table(lookups.first_weights_of(trial, where, count)[0])


def function(
    name: str | Callable[..., Any], low: float = -5, high: float = 5, *, axis: str | None = None,
    points: int = function_values.POINTS,
) -> pd.DataFrame:  # fmt: skip
    """Tabulate a registered activation, head or loss, or a function of one's own, and its derivative.

    Args:
        name: as for `figures.function`.
        low: the lower end of x.
        high: the upper end of x.
        axis: as for `figures.function`.
        points: evenly spaced values of x.

    Returns:
        Columns x, value, derivative.

    Example: `harness.tables.function("gelu", points=11)`
    """
    return function_values.values(function_values.found(name, axis), low, high, points)
