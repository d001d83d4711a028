"""`harness.figures`: a figure a line, of data, trained trials, arrays of one's own, and functions.

    harness.figures.label_counts("mnist")
    harness.figures.images("mnist", label=7, count=1)
    harness.figures.confusion(results.trial())

Each function returns matplotlib's Axes, or an array of them where there are several panels; `ax.figure` is
the figure, and `ax.figure.savefig("it.png")` writes it. In a notebook it appears below its cell, once.
`harness.tables` has the same functions as DataFrames, with the same arguments but those of drawing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import plots
from harness.axes import function_values
from harness.errors import UsageError
from harness.exporting.hidden_layers import IMAGES
from harness.gallery import dataset_pages, image_choice, prediction_pages, views
from harness.gallery.image_choice import ImageChoice, whole
from harness.plots import public
from harness.reporting import lookups, own_arrays, trial_figures
from harness.reporting.lookups import MOST_IMAGES, MOST_UNITS, UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "activations", "confusion", "curves", "failures", "filters", "function", "grid", "hardest", "images",
    "label_counts", "predictions", "probabilities",
]  # fmt: skip


def __dir__() -> list[str]:
    """List the public names alone, for tab completion."""
    return list(__all__)


MOST_OF_A_CLASS = 50  # misclassified images in a row of a figure


@public
def label_counts(
    dataset: Any, split: str | None = None, *, ax: Axes | None = None, **settings: Any
) -> Sequence[Axes]:
    """Draw bars of the images of each class: is a split balanced?

    Args:
        dataset: "mnist": train of 60,000 and test, as the files come; with settings, divided by them; a study
            or a trial: as it divides its data; or a Dataset or Subset of one's own, (image, label) an item.
        split: train, val or test; all of them side by side by default.
        ax: the Axes to draw into, of one split.
        settings: val_fraction=0.1, val_split="balanced", split_seed=0; of a study also dataset=.

    Returns:
        An Axes a split.

    Raises:
        UsageError: there is no such data set, split or setting.

    Example: `harness.figures.label_counts("mnist", val_fraction=0.1)`
    """
    view = views.seen(dataset, split, **settings)
    shown = (views.existing(view, split),) if split else view.splits
    if ax is not None:
        (only,) = _one(shown, "label_counts", "split=")
        dataset_pages.counts_panel(ax, view, only)
        return [ax]
    return dataset_pages.counts_figure(view, shown).axes


@public
def images(  # noqa: PLR0913 (a person's keywords)
    dataset: Any, split: str = "train", *, label: str | int | None = None, number: Any = None,
    first: int | None = None, count: int | None = None, seed: int | None = None, columns: int | None = None,
    ink: str = "auto", captions: str | None = None, ax: Axes | None = None, **settings: Any,
) -> Sequence[Axes]:  # fmt: skip
    """Draw images of a data set: by number, the first ones, or some at random, of all classes or of one.

    Args:
        dataset: as for `label_counts`.
        split: train, val or test.
        label: only images of this class, by its name or number.
        number: the images of these numbers: 15, [25, 26], range(25, 30), or "25-29,40".
        first: so many, as they come.
        count: so many at random, 10 by default; count=1 is one image.
        seed: of the random ones; without one they are others each time, and the title says which seed it was.
        columns: images in a row, 5 by default.
        ink: "light" on dark, "dark" on light, or "auto": as the pixels are stored.
        captions: what stands above an image: "name" (its file, or its index), "label", "Label: 5", "both",
            "none", or a text with {name}, {label} or {number}.
        ax: the Axes to draw into, of one image.
        settings: as for `label_counts`.

    Returns:
        An Axes an image.

    Raises:
        UsageError: an image number beyond the split, a class that is not there, or ways of choosing mixed.

    Example: `harness.figures.images("mnist", label=7, count=1)`
    """
    view = views.seen(dataset, split, **settings)
    chosen = ImageChoice(split, label, number, first, count, seed).of(view)
    wanted = captions or ("name" if label is not None else "both")
    if ax is None:
        return _images_drawn(chosen, wanted, ink, columns)
    (place,) = _one(chosen.places, "images", "count=1 or number=")
    (words,) = image_choice.captions(view, chosen.split, [place], wanted)
    turned = dataset_pages.is_turned(view, ink)
    image = view.pixels[chosen.split][place]
    dataset_pages.image_panel(ax, image, words, view.facts.pixel_max, turned=turned)
    return [ax]


def _images_drawn(
    chosen: image_choice.Chosen, captions: str, ink: str, columns: int | None
) -> Sequence[Axes]:
    figure = dataset_pages.chosen_figure(chosen, captions, ink, columns)
    return [ax for ax in figure.axes if ax.images]


@public
def grid(
    dataset: Any, split: str = "train", *, rows: int = 3, columns: int = 6, captions: str = "Label: 5",
    ink: str = "auto", **settings: Any,
) -> Sequence[Axes]:  # fmt: skip
    """Draw evenly spaced images of a split, from the first to the last, 3 x 6 with "Label: 5" above each.

    Args:
        dataset: as for `label_counts`.
        split: train, val or test.
        rows: rows of images.
        columns: images in a row.
        captions: as for `images`.
        ink: as for `images`.
        settings: as for `label_counts`.

    Returns:
        An Axes an image.

    Raises:
        UsageError: there is no such data set, split, caption or ink.

    Example: `harness.figures.grid("mnist", ink="dark")`
    """
    chosen = image_choice.spaced(views.seen(dataset, split, **settings), split, rows * columns)
    return _images_drawn(chosen, captions, ink, columns)


@public
def predictions(
    trial: Any, split: str = "test", *, samples: Any = None, count: int = 18, seed: int | None = 0,
    where: str = "",
) -> Sequence[Axes]:  # fmt: skip
    """Draw images with label and prediction by a trained trial; wrong predictions are red.

    Args:
        trial: `results.trial(..)`; or results or their folder, of which the best by val is taken.
        split: a split whose predictions the study kept (keep_predictions).
        samples: these images, by number or name; some at random by default.
        count: so many at random.
        seed: of the random ones; None draws others each time.
        where: of results, the conditions that the trial meets: "loss=ce,seed=0".

    Returns:
        One Axes, the page of all images.

    Raises:
        UsageError: there is no such trial or image, or its predictions were not kept.

    Example: `harness.figures.predictions(results.trial(), samples=[0, 17])`
    """
    model = lookups.predictions_of(trial, split, where)
    rows, how = lookups.sampled(model, samples, whole("count", count), seed)
    return prediction_pages.predictions_figure(model, rows, how).axes


@public
def probabilities(  # noqa: PLR0913 (a person's keywords)
    trial: Any, split: str = "test", *, samples: Any = None, count: int = 6, where: str = "",
    classes: Sequence[object] | None = None, images: Any = None, labels: Any = None, ax: Axes | None = None,
) -> Sequence[Axes]:  # fmt: skip
    """Draw bars of class probabilities: of a trained trial beside its images, or of one's own array.

    Args:
        trial: as for `predictions`; or probabilities (n, C), or (C,) of one sample, that one made.
        split: as for `predictions`.
        samples: as for `predictions`; by default some that the trial gets right or wrong, sure or unsure.
        count: so many samples.
        where: as for `predictions`.
        classes: names of the classes, of one's own array.
        images: (n, H, W), or of colour (n, H, W, 3), to be drawn beside one's own array.
        labels: (n,) true classes, drawn green, of one's own array.
        ax: the Axes to draw into, of one sample of one's own array.

    Returns:
        An Axes of bars a sample.

    Raises:
        UsageError: the numbers are no probabilities or do not fit each other, or see `predictions`.

    Example: `harness.figures.probabilities(softmax(z), classes="0123456789")`
    """
    whole("count", count)
    if own_arrays.is_array(trial):
        own = own_arrays.own_probabilities(trial, classes, images, labels, count)
        if ax is not None:
            _one(own.values, "probabilities", "one sample, (C,)")
            prediction_pages.bars_panel(ax, own.pictures, own.table.iloc[0], own.values[0])
            return [ax]
        if images is None:
            return prediction_pages.bars_figure(own.pictures, own.table, own.values).axes
        return prediction_pages.own_figure(own.pictures, own.table, own.values).axes[1:]
    if ax is not None or any(given is not None for given in (classes, images, labels)):
        raise UsageError("classes=, images=, labels= and ax= go with an array of one's own, not with a trial")
    model, rows, values = lookups.probabilities_of(trial, split, where, samples, count)
    return prediction_pages.probabilities_figure(model, rows, values).axes[1:]


@public
def failures(trial: Any, split: str = "test", *, per_class: int = 10, where: str = "") -> Sequence[Axes]:
    """Draw a trained trial's misclassified images, a row a true class, the surest mistake first.

    Args:
        trial: as for `predictions`.
        split: as for `predictions`.
        per_class: so many images of each class at most.
        where: as for `predictions`.

    Returns:
        One Axes, the page of all images.

    Raises:
        UsageError: see `predictions`.

    Example: `harness.figures.failures(results.trial(), "train")`
    """
    most = whole("per_class", per_class, MOST_OF_A_CLASS)
    return prediction_pages.failures_figure(lookups.predictions_of(trial, split, where), most).axes


@public
def hardest(
    results: Any, dataset: str | None = None, split: str = "test", *, where: str = "", count: int = 18
) -> Sequence[Axes]:
    """Draw the images that most trained trials of some results get wrong: mislabelled ones among them.

    Args:
        results: `harness.read(FOLDER)`, or the folder.
        dataset: the data set, if there are several.
        split: as for `predictions`.
        where: the trials that vote: "lr=0.1"; all by default.
        count: so many images.

    Returns:
        One Axes, the page of all images.

    Raises:
        UsageError: no trial has finished, or the predictions of the split were not kept.

    Example: `harness.figures.hardest("results/lab1_learning_rate", split="train")`
    """
    whole("count", count)
    pictures, table, name = lookups.hardest_of(results, dataset, split, where)
    return prediction_pages.hardest_figure(pictures, table, name, count, where).axes


@public
def confusion(  # noqa: PLR0913 (a person's keywords)
    trial: Any = None, split: str = "test", *, where: str = "", combine: str | None = None,
    labels: Any = None, predictions: Any = None, classes: Sequence[object] | None = None,
    ax: Axes | None = None,
) -> Sequence[Axes]:  # fmt: skip
    """Draw a confusion matrix: true classes as rows, predicted ones as columns, mistakes coloured.

    Args:
        trial: as for `predictions`; or results of which `where` leaves the seeds of one arm.
        split: test, val, or train if its predictions were kept.
        where: of results, conditions such as "loss=ce" that leave the seeds of one arm, which are combined.
        combine: "sum" or "mean" over the arm's seeds; the title says which. "sum" if `where` is given.
        labels: (n,) true classes of one's own, in place of a trial.
        predictions: (n,) predicted classes of one's own.
        classes: names of the classes, of one's own arrays.
        ax: the Axes to draw into.

    Returns:
        One Axes.

    Raises:
        UsageError: the arrays do not fit each other, or several arms are left.

    Example: `harness.figures.confusion(labels=y, predictions=outputs.argmax(1))`
    """
    counts = lookups.confusion_of(trial, split, where, combine, (labels, predictions, classes))
    if ax is not None:
        plots.confusion(ax, counts.table, counts.classes)
        ax.set_title(textwrap.fill(counts.title, 60), loc="left")
        return [ax]
    return trial_figures.confusion_figure(counts).axes[:1]


@public
def curves(
    trial: Any, quantity: str = "loss", *, log: bool = True, where: str = "", ax: Axes | None = None
) -> Sequence[Axes]:
    """Draw learning curves: val solid, train dashed; of several seeds thin lines and their mean.

    Args:
        trial: `results.trial(..)`: its train and val; or results: an arm a colour, a panel a kind of loss.
        quantity: "loss", "accuracy", or another metric that the study tracks.
        log: draw losses on a logarithmic axis.
        where: of results, conditions that trials meet: "optimizer=sgd".
        ax: the Axes to draw into, where there is one panel.

    Returns:
        An Axes a data set and kind of loss.

    Raises:
        UsageError: nothing has finished, or no such quantity was recorded.

    Example: `harness.figures.curves(results.trial())`
    """
    panels = lookups.curves_of(trial, quantity, where, plots.MAX_LINES)
    if ax is not None:
        (panel,) = _one(panels, "curves", "where=")
        plots.curves_panel(ax, panel, log=log)
        return [ax]
    return trial_figures.curves_figure(panels, log=log).axes


@public
def activations(trial: Any, split: str = "val", *, where: str = "", count: int = IMAGES) -> Sequence[Axes]:
    """Draw the activity of a trained network's layers by depth: dead units, saturation, mean and sd.

    Args:
        trial: as for `predictions`; its network is rebuilt from its kept weights, or trained again.
        split: train, val or test; neither labels nor accuracies of it are read.
        where: as for `predictions`.
        count: so many images of the split, its first ones.

    Returns:
        Two Axes: shares of dead units and saturated values; mean and standard deviation.

    Raises:
        UsageError: there is no such trial, the split is empty, or the network has no hidden layer.

    Example: `harness.figures.activations(results.trial())`
    """
    table, title = lookups.activations_of(trial, split, where, whole("count", count, MOST_IMAGES))
    return trial_figures.activations_figure(table, title).axes


@public
def filters(trial: Any, *, where: str = "", count: int = UNITS) -> Sequence[Axes]:
    """Draw the weights of a trained network's first layer as images: what its units look for.

    Args:
        trial: as for `activations`.
        where: as for `predictions`.
        count: so many units, the first ones.

    Returns:
        An Axes a unit.

    Raises:
        UsageError: there is no such trial, or its first layer takes no image.

    Example: `harness.figures.filters(results.trial(where="architecture=cnn"))`
    """
    first, title = lookups.first_weights_of(trial, where, whole("count", count, MOST_UNITS))
    return [ax for ax in trial_figures.filters_figure(first.weights, title).axes if ax.images]


@public
def function(
    name: str | Callable[..., Any], low: float = -5, high: float = 5, *, axis: str | None = None,
    ax: Axes | None = None,
) -> Sequence[Axes]:  # fmt: skip
    """Draw a registered activation, head or loss, or a function of one's own, and its derivative.

    Args:
        name: "gelu", "softmax", "ce"; or a function of one's own, of tensors or arrays: torch.exp, np.exp.
        low: the lower end of x.
        high: the upper end of x.
        axis: "activation", "head" or "loss", where several have the name; else the first of these.
        ax: the Axes to draw into.

    Returns:
        One Axes. Of heads and losses x is one class's logit, the true one's, with the others at 0.

    Raises:
        UsageError: there is no such component, or the range is none.

    Example: `harness.figures.function("gelu")`
    """
    found = function_values.found(name, axis)
    table = function_values.values(found, low, high)
    ax = trial_figures.function_axes() if ax is None else ax
    trial_figures.function_panel(ax, found, table)
    return [ax]


def _one(panels: Sequence[Any] | np.ndarray[Any, Any], name: str, narrower: str) -> Sequence[Any]:
    """Return the one panel that `ax` takes; raise UsageError where there are several."""
    if len(panels) != 1:
        raise UsageError(
            f"{name}: ax= takes one panel, and there are {len(panels)}: narrow it down with {narrower}, or "
            "leave ax= out"
        )
    return list(panels)
