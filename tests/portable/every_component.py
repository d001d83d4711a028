"""A small study of every built-in component, on real digits, and the comparison of two machines' results.

`python tests/portable/every_component.py FOLDER` writes the study and its images into a folder.
"""

from __future__ import annotations

import csv
import itertools
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tomli_w
from numpy.typing import NDArray
from safetensors.numpy import load_file

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.axes.schedules import schedules
from harness.data import kept_digits
from harness.data.preprocessing import preprocessings

Pixels: TypeAlias = NDArray[np.uint8]
STUDY = "study.toml"
ENLARGED = 3
"""Each pixel becomes so many, squared: images of 576 pixels, which the kernels cut into ranges."""
TRAIN, TEST = 360, 90
OTHER: dict[str, Any] = {
    "momentum": 0.7, "dampening": 0.3, "betas": [0.8, 0.98], "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.03,
    "lr_decay": 0.01, "initial_accumulator_value": 0.1, "centered": True, "amsgrad": True,
}  # fmt: skip
"""A value for every setting of an optimizer that is not its default."""
ZEROED = ("weight_decay", "momentum", "dampening", "lr_decay", "initial_accumulator_value")
"""Settings that have a text of their own where they are 0."""
PIXELS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "large_digits": lambda x: x,
    "sparse_digits": lambda x: x * (x > 13),
    "dense_digits": lambda x: x // 2 + np.random.default_rng(0).integers(0, 9, x.shape, np.uint8),
}
"""Data sets, and the digits' pixels in them: as they are, mostly zeros, and of all values everywhere."""
NOT_COMPARED = {
    "group_seconds": "it is a time",
    "seconds": "it is a time",
    "host": "it names the machine",
}
"""Columns that differ between machines, and why."""


def cases() -> Iterator[dict[str, Any]]:
    """Yield the settings of every arm: each component at least once, and shapes and budgets of all kinds."""
    for k, activation in enumerate(activations):
        yield {"activation": activation.name, "hidden": [24, 9, 33], "dropout": 0.1 * (k % 3), "seed": k}
    fitting = (
        (head, loss) for head in heads for loss in losses if loss.component.form(head.component.kind, "kind")
    )
    for k, (head, loss) in enumerate(fitting):
        yield {"head": head.name, "loss": loss.name, "lr": 0.02, "label_smoothing": 0.1 * (k % 2)}
    yield from _optimizers()
    for schedule in schedules:
        yield {"schedule": schedule.name, "epochs": 5, "batch_size": 90}
    for preprocessing in preprocessings:
        yield {"preprocessing": preprocessing.name, "lr": 0.003}
    for batch_size, hidden in itertools.product((1, 3, 7, 64), ([], [5], [40, 17])):
        yield {"batch_size": batch_size, "hidden": hidden, "epochs": 1, "dropout": 0.25 if hidden else 0.0}
    yield {"hidden": [150, 40], "batch_size": 128}
    for dataset, batch_size in itertools.product(("dense_digits", "sparse_digits"), (2, 9, 100)):
        yield {"dataset": dataset, "batch_size": batch_size, "optimizer": "adam", "hidden": [33], "epochs": 1}
    yield {"sampling": "replacement"}
    yield {"sampling": "sequential"}
    yield {"label_noise": 0.2, "val_split": "random"}
    yield {"weight_decay": 0.9, "lr": 1.0, "epochs": 6}  # weights shrink to subnormal numbers
    yield {"weight_decay": 0.97, "lr": 1.0, "epochs": 6, "optimizer": "momentum", "dampening": 0.3}
    yield {"activation": "identity", "optimizer": "momentum", "lr": 30.0, "preprocessing": "raw"}  # diverges


def _optimizers() -> Iterator[dict[str, Any]]:
    """Yield every text of every optimizer: with its switches on or off, and settings 0 or not."""
    for optimizer in optimizers:
        own = optimizer.component.settings
        named = {"optimizer": optimizer.name, "lr": 0.01}
        named |= {name: value for name, value in OTHER.items() if name in own and not isinstance(value, bool)}
        choices = {name: [OTHER[name], 0.0] for name in ZEROED if name in own}
        choices |= {name: [False, True] for name in own if isinstance(OTHER.get(name), bool)}
        if "betas" in own:
            choices["betas"] = [OTHER["betas"], [0.0, 0.99]]
        for values in itertools.product(*choices.values()):
            yield named | dict(zip(choices, values, strict=True))


def write(folder: Path) -> Path:
    """Write the study and its images into a folder; return the path of its file."""
    _write_images(folder)
    arms = []
    for number, case in enumerate(cases()):
        settings = {name: value for name, value in case.items() if name != "seed"}
        arms.append({"name": f"case {number}", **settings})
    study = {
        "study": {
            "name": "every", "hypothesis": "Processors agree to the last bit.", "seeds": 1,
            "metrics": [metric.name for metric in metrics],
            "keep_weights": "all", "keep_predictions": ["val", "test"],
        },
        "datasets": {name: {"format": "idx", "path": name, "pixel_max": 16} for name in PIXELS},
        "baseline": {
            "dataset": "large_digits", "epochs": 2, "hidden": [12], "batch_size": 20, "lr": 0.05,
        },
        "axes": {"case": arms},
    }  # fmt: skip
    path = folder / STUDY
    path.write_text(tomli_w.dumps(study), encoding="utf-8")
    return path


def _write_images(folder: Path) -> None:
    """Write digits, enlarged, in MNIST's format: with each of PIXELS into a folder of its name."""
    pixels, labels = kept_digits.read()
    large = pixels.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    splits = {"train": slice(0, TRAIN), "t10k": slice(TRAIN, TRAIN + TEST)}
    for (name, changed), (split, part) in itertools.product(PIXELS.items(), splits.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        _write_idx(folder / name / f"{split}-images-idx3-ubyte", changed(large[part]))
        _write_idx(folder / name / f"{split}-labels-idx1-ubyte", labels[part].astype(np.uint8))


def _write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def differences(one: Path, other: Path) -> list[str]:
    """Name what differs between two results folders, to the last bit, beside the columns NOT_COMPARED."""
    names = sorted({str(p.relative_to(folder)) for folder in (one, other) for p in _files(folder)})
    found = [f"{name}: {fault}" for name in names if (fault := _difference(one / name, other / name))]
    return found if names else ["no files"]


def _files(folder: Path) -> Iterator[Path]:
    for suffix in ("csv", "npz", "safetensors"):
        yield from folder.rglob(f"*.{suffix}")


def _difference(one: Path, other: Path) -> str:
    """Say how two files differ; empty where they do not."""
    if not one.exists() or not other.exists():
        return "only one machine has it"
    if one.suffix == ".csv":
        first, second = _rows(one), _rows(other)
        different = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
        if len(first) != len(second):
            return f"{len(first)} rows and {len(second)}"
        return f"{len(different)} rows, such as {different[0]}" if different else ""
    left, right = map(_arrays, (one, other))
    unlike = sorted(name for name in left | right if _bytes(left, name) != _bytes(right, name))
    return f"arrays {', '.join(unlike)}" if unlike else ""


def _rows(path: Path) -> list[str]:
    """Read a CSV's rows without the columns NOT_COMPARED."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    kept = [i for i, name in enumerate(header) if name not in NOT_COMPARED]
    return [",".join(row[i] for i in kept) for row in (header, *rows)]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _bytes(arrays: dict[str, NDArray[Any]], name: str) -> tuple[Any, ...]:
    values = arrays.get(name)
    return () if values is None else (values.dtype.str, values.shape, values.tobytes())


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
