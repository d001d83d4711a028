"""A person's own NumPy network, called: parameters in, loss and gradients out, on a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.check import calling
from harness.check.calling import Array
from harness.data.arm_settings import Settings
from harness.data.datasets import datasets
from harness.data.samples import prepare
from harness.errors import ComponentError, UsageError, in_words
from harness.settings import DEFAULTS
from harness.text import count

MOST_IMAGES = 1000
LABELS = ("int", "one-hot")


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """A batch: pixels x (B, D), labels y (B,), the number of classes, and the data set's name."""

    x: Array
    y: Array
    classes: int
    name: str

    def target(self, labels: str) -> Array:
        """Give the labels as whole numbers (B,), of "int", or as one-hot rows (B, C)."""
        return self.y if labels == "int" else np.eye(self.classes)[self.y]


def image_batch(dataset: Any, batch: int) -> ImageBatch:
    """Take the first training images of a data set, or a person's own."""
    if isinstance(dataset, (tuple, list)) and len(dataset) == 2:
        x, y = (np.array(part) for part in dataset)
        if x.ndim != 2 or y.shape != x.shape[:1] or y.dtype.kind not in "iu" or not len(x):
            raise UsageError(
                f"dataset = (x {x.shape}, y {y.shape} {y.dtype}): allowed: pixels (B, D) and whole-number "
                "labels (B,)"
            )
        return ImageBatch(x.astype(np.float64), y.astype(np.int64), int(y.max()) + 1, "your own")
    if not isinstance(dataset, str):
        raise UsageError(f"dataset = {dataset!r:.80}: allowed: a name, such as 'digits', or (images, labels)")
    datasets.entry(dataset)
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MOST_IMAGES:
        raise UsageError(f"batch = {batch!r}: allowed: a whole number from 1 to {MOST_IMAGES:,}")
    values = {key: value for key, value in DEFAULTS.items() if value is not None}
    data = prepare(Settings({**values, "dataset": dataset}), dtype=np.float64)
    x = np.array(next(data.train.chunks())[:batch])
    return ImageBatch(x, data.train.y[: len(x)], len(data.classes), dataset)


@dataclass(frozen=True, eq=False)
class OwnParameters:
    """A person's parameters, as arrays in float64, and how they came: in a list, tuple or dict."""

    names: tuple[str, ...]
    arrays: tuple[Array, ...]
    kind: type

    @classmethod
    def of(cls, parameters: Any) -> OwnParameters:
        """Take copies; raise UsageError for what is no list, tuple or dict of arrays."""
        if isinstance(parameters, Mapping):
            names, values = [str(name) for name in parameters], list(parameters.values())
        elif isinstance(parameters, (list, tuple)):
            names, values = [], list(parameters)
        else:
            raise UsageError(
                f"parameters = {type(parameters).__name__}: allowed: a list, tuple or dict of NumPy arrays"
            )
        arrays = [np.array(value) for value in values]
        names = names or [f"parameter {i + 1} {a.shape}" for i, a in enumerate(arrays)]
        for name, array in zip(names, arrays, strict=True):
            if array.dtype.kind not in "iuf" or not array.size:
                raise UsageError(
                    f"{name!r} is {array.dtype} of shape {array.shape}; allowed: an array of numbers"
                )
        if not arrays:
            raise UsageError("there are no parameters to differentiate by")
        kind = dict if isinstance(parameters, Mapping) else type(parameters)
        keys = tuple(parameters) if isinstance(parameters, Mapping) else tuple(names)
        return cls(keys, tuple(array.astype(np.float64) for array in arrays), kind)

    def packed(self, arrays: Sequence[Array]) -> Any:
        """Put arrays into a container like the person's own."""
        copies = [np.array(array) for array in arrays]
        if self.kind is dict:
            return dict(zip(self.names, copies, strict=True))
        return tuple(copies) if self.kind is tuple else copies

    def unpacked(self, container: Any) -> list[Any]:
        """List the arrays of a container."""
        return list(container.values()) if isinstance(container, Mapping) else list(container)


class NetworkFunction:
    """A person's function of parameters, on a batch of images."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        held: OwnParameters,
        images: ImageBatch,
        labels: str | None,
    ) -> None:
        self.name, self.function, self.held, self.images = name, function, held, images
        self.labels = self._labels(labels)
        self.target = images.target(self.labels)

    def _labels(self, labels: str | None) -> str:
        """Find which labels the function takes, by trying."""
        if labels is not None:
            return labels
        whole, faults = self.images, list[ComponentError]()
        if len(whole.x) == whole.classes:  # where rows and columns of one-hot labels could be confused
            self.images = ImageBatch(whole.x[:-1], whole.y[:-1], whole.classes, whole.name)
        try:
            for self.labels in LABELS:
                try:
                    self.results(self.held.arrays)
                except ComponentError as fault:
                    faults.append(fault)
                else:
                    return self.labels
        finally:
            self.images = whole
        if len({str(fault.__cause__ or fault) for fault in faults}) == 1:
            raise faults[0]
        raise ComponentError(
            f"with whole-number labels (B,), {faults[0]}; with one-hot rows (B, C), {faults[1]}"
        )

    def loss(self, arrays: Sequence[Array]) -> float:
        """Give the loss alone, of a network that has been called before."""
        try:
            return float(self.function(self.held.packed(arrays), self.images.x, self.target)[0])
        except Exception:  # noqa: BLE001 (then with words for it)
            return self.results(arrays)[0]

    def results(self, arrays: Sequence[Array]) -> tuple[float, list[Array]]:
        """Give the loss and a gradient for each parameter; raise ComponentError for anything else."""
        given, x, y = self.held.packed(arrays), self.images.x.copy(), self.images.target(self.labels).copy()
        try:
            result = self.function(given, x, y)
        except (KeyboardInterrupt, ComponentError):
            raise
        except BaseException as error:
            where = calling.line_of(error, self.function)
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise ComponentError(
                f"{self.name} raises {in_words(error)} ({where}called with parameters {shapes}, x "
                f"{x.shape} and y {y.shape})"
            ) from error
        self._check_unchanged(given, arrays, x)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise ComponentError(f"{self.name} gives {type(result).__name__}; allowed: (loss, gradients)")
        loss = calling.as_array(f"{self.name}'s loss", result[0])
        if loss.size != 1:
            raise ComponentError(
                f"{self.name} gives losses of shape {loss.shape}; allowed: one number, their mean"
            )
        return float(loss.ravel()[0]), self._gradients(result[1])

    def _check_unchanged(self, given: Any, arrays: Sequence[Array], x: Array) -> None:
        if not np.array_equal(x, self.images.x):
            raise ComponentError(f"{self.name} changes the images x in place: make a new array")
        for name, now, before in zip(self.held.names, self.held.unpacked(given), arrays, strict=True):
            if not np.array_equal(now, before, equal_nan=True):
                raise ComponentError(
                    f"{self.name} changes {name!r} (does it take a step?): it must only compute loss and "
                    "gradients"
                )

    def _gradients(self, given: Any) -> list[Array]:
        """Give a gradient for each parameter, in their order, each of the parameter's shape."""
        held = self.held
        if isinstance(given, Mapping) and held.kind is dict:
            missing = [str(name) for name in held.names if name not in given]
            if missing:
                got = ", ".join(map(str, given)) or "none"
                raise ComponentError(f"there is no gradient of {missing[0]!r}; there are: {got}")
            values = [given[name] for name in held.names]
        elif isinstance(given, (list, tuple, Mapping)):
            values = held.unpacked(given)
        else:
            raise ComponentError(
                f"the gradients are {type(given).__name__}; allowed: a list or dict of arrays"
            )
        if len(values) != len(held.arrays):
            raise ComponentError(
                f"there are {count(len(held.arrays), 'parameter')} and {count(len(values), 'gradient')}"
            )
        pairs = zip(held.names, values, strict=True)
        return [
            calling.as_array(f"the gradient of {name!r}", value).astype(np.float64) for name, value in pairs
        ]
