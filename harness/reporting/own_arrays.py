"""A person's own arrays: labels and predictions to count, probabilities to draw; checked, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.data.datasets import Facts
from harness.data.images import as_pictures
from harness.errors import UsageError
from harness.gallery.predicted_images import Pictures
from harness.text import percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-3
"""Probabilities add to one to within this."""
MOST_CLASSES = 1000
"""Classes of a confusion matrix; one of 10,000 would take a gigabyte, and show nothing."""


def is_array(given: Any) -> bool:
    """Return whether an object is numbers, and no trained trial or results folder."""
    return hasattr(given, "__array__") or (isinstance(given, list | tuple) and len(given) > 0)


@dataclass(frozen=True)
class Counts:
    """A confusion matrix: true labels as rows, predictions as columns; its classes, and its title."""

    table: pd.DataFrame
    classes: Sequence[str]
    title: str


def array_of(values: Any) -> NDArray[Any]:
    """Return a person's numbers as an array, also those of a tensor that autograd follows."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def counted(labels: Any, predicted: Any, classes: Sequence[object] | None = None) -> Counts:
    """Count pairs of labels and predictions of a person's own.

    Raises:
        UsageError: they are not whole numbers, one a sample, or are beyond the classes.
    """
    pairs = {"labels": array_of(labels), "predictions": array_of(predicted)}
    for name, array in pairs.items():
        hint = ": of outputs (n, C), the predictions are outputs.argmax(1)" if array.ndim == 2 else ""
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise UsageError(
                f"{name}: got {array.dtype} of shape {array.shape}; allowed are whole numbers from 0 on, one "
                f"a sample, of shape (n,){hint}"
            )
    true, said = pairs.values()
    if len(true) != len(said):
        raise UsageError(f"{len(true):,} labels and {len(said):,} predictions: allowed are as many of both")
    highest = int(max(true.max(initial=0), said.max(initial=0)))
    if classes is None and highest >= MOST_CLASSES:
        raise UsageError(
            f"labels and predictions up to {highest:,}: allowed are classes, 0..{MOST_CLASSES - 1}"
        )
    names = tuple(map(str, range(highest + 1))) if classes is None else tuple(map(str, classes))
    for name, array in pairs.items():
        if len(array) and (array.min() < 0 or array.max() >= len(names)):
            raise UsageError(
                f"{name} {array.min()}..{array.max()}: allowed is 0..{len(names) - 1}, for {len(names)} "
                "classes"
            )
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (true.astype(int), said.astype(int)), 1)
    right = np.trace(matrix) / max(len(true), 1)
    return Counts(square(matrix), names, f"{len(true):,} samples, {percent(right, 2)} right")


def square(matrix: NDArray[Any]) -> pd.DataFrame:
    """Make a table of a matrix, true classes as rows and predicted ones as columns."""
    places = range(len(matrix))
    true, said = pd.Index(places, name="true"), pd.Index(places, name="predicted")
    return pd.DataFrame(matrix, index=true, columns=said)


def checked_probabilities(values: Any, classes: Sequence[object] | None = None) -> NDArray[np.float64]:
    """Check probabilities that a person made; return them as (n, C), one sample's (C,) as (1, C).

    Raises:
        UsageError: they are no probabilities, or not as many as the classes.
    """
    array = array_of(values)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise UsageError(
            f"probabilities: got {array.dtype} of shape {array.shape}; allowed is (n, C), a row a sample, "
            "or (C,)"
        )
    if classes is not None and len(classes) != array.shape[1]:
        swapped = ": is it (C, n), transposed?" if array.shape[0] == len(classes) else ""
        raise UsageError(
            f"probabilities of {array.shape[1]} classes, and {len(classes)} names of classes{swapped}"
        )
    given = array.astype(np.float64)
    sums = given.sum(1)
    for wrong, why in (
        (~np.isfinite(given).all(1), "has numbers that are not finite"),
        (given.min(1) < -ROUNDING, "has negative numbers: are they logits? Their softmax are probabilities"),
        (abs(sums - 1) > ROUNDING, "adds to {:.4g}, not to 1: is the softmax over the other dimension?"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UsageError(f"row {row} of the probabilities {why.format(sums[row])}")
    return given


@dataclass(frozen=True)
class OwnProbabilities:
    """Probabilities (n, C) of a person's own, with images if there are some, and a table as of a trial."""

    pictures: Pictures
    table: pd.DataFrame
    values: NDArray[np.float64]


def own_probabilities(
    values: Any, classes: Sequence[object] | None, images: Any, labels: Any, most: int | None
) -> OwnProbabilities:
    """Check a person's own probabilities, and the images and labels that belong to them.

    Raises:
        UsageError: they are no probabilities, or do not fit each other.
    """
    given = checked_probabilities(values, classes)
    names = tuple(map(str, range(given.shape[1]) if classes is None else classes))
    pixels = np.zeros((len(given), 1, 1), np.uint8) if images is None else array_of(images)
    one = pixels.ndim == 2 or (pixels.ndim == 3 and len(pixels) != 1)
    pixels = as_pictures(pixels[None] if one and len(given) == 1 else pixels)
    if pixels.ndim not in {3, 4} or len(pixels) != len(given):
        raise UsageError(
            f"images of shape {pixels.shape} and {len(given)} rows of probabilities: allowed are images "
            f"({len(given)}, height, width), or with channels behind"
        )
    predicted = given.argmax(1)
    true = predicted if labels is None else np.atleast_1d(array_of(labels))
    counted(true, predicted, names)
    numbers = range(len(given))
    facts = Facts(pixels.shape[1:], names, 0, len(given), float(pixels.max(initial=1)), "")
    pictures = Pictures("own probabilities", facts, pixels, true, [f"row {i}" for i in numbers])
    columns = {"index": numbers, "label": true if labels is not None else -1, "predicted": predicted}
    table = pd.DataFrame({**columns, "confidence": given.max(1), "wrong": true != predicted})
    shown = len(given) if most is None else most
    return OwnProbabilities(pictures, table.head(shown), given[:shown])
