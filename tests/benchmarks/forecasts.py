"""Ways to extrapolate learning curves, on the finished curves of searches that pruned nothing.

    python tests/benchmarks/forecasts.py results/my_search ..

For each folder: the root mean square error of the end that is predicted after the first, second, middle and
last evaluation but one, from the curves of earlier batches; then what the pruner would have done with the
same curves in 60 random orders: the share of evaluations saved, in how many orders the best was lost, and by
how much.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from harness import reporting, stats
from harness.reporting.search import data, pruning

Array = NDArray[np.float64]
ORDERS, BATCH, FIRST = 60, 16, 19
"""Random orders, suggestions of a batch in these, and the finished curves before the first prediction."""


def local(finished: Array, curves: Array) -> Array:
    """Predict by `stats.Forecast`."""
    step = curves.shape[1]
    return stats.Forecast.of(finished[:, step - 1], finished[:, -1]).predict(curves[:, -1])


def unchanged(finished: Array, curves: Array) -> Array:  # noqa: ARG001 (one signature)
    """Take the last value for the end."""
    return curves[:, -1]


def linear(finished: Array, curves: Array) -> Array:
    """Regress the end on the last value."""
    at = np.stack([np.ones(len(finished)), finished[:, curves.shape[1] - 1]], axis=1)
    return np.asarray(
        np.stack([np.ones(len(curves)), curves[:, -1]], axis=1)
        @ np.linalg.lstsq(at, finished[:, -1], rcond=None)[0]
    )


def nearest(finished: Array, curves: Array) -> Array:
    """Add the median gain of the five finished curves whose last values are nearest."""
    at = finished[:, curves.shape[1] - 1]
    order = np.argsort(np.abs(curves[:, -1:] - at[None]), axis=1, kind="stable")[:, :5]
    return np.asarray(curves[:, -1] + np.median((finished[:, -1] - at)[order], axis=1))


def power(finished: Array, curves: Array) -> Array:
    """Fit a - b t^-c to each curve by itself, from three evaluations on (pow3 of Domhan et al. 2015)."""
    steps = np.arange(1, curves.shape[1] + 1)
    if len(steps) < 3:
        return curves[:, -1]
    ends = []
    for curve in curves:
        try:
            start = [curve[-1], max(curve[-1] - curve[0], 1e-3), 1.0]
            law = curve_fit(_law, steps, curve, p0=start, bounds=([-1, -2, 0.01], [1.5, 2, 5]))[0]
            ends.append(_law(finished.shape[1], *law))
        except RuntimeError:  # no convergence
            ends.append(curve[-1])
    return np.asarray(ends)


def _law(t: Array | int, a: float, b: float, c: float) -> Array:
    return np.asarray(a - b * np.asarray(t, dtype=float) ** -c)


WAYS: dict[str, Callable[[Array, Array], Array]] = {
    "last value": unchanged, "linear": linear, "power law": power, "nearest 5": nearest,
    "local linear": local,
}  # fmt: skip


def read(folder: Path) -> tuple[Array, NDArray[np.int64]]:
    """Read the curves (n, evaluations) of complete suggestions with most evaluations, and their batches."""
    search = data.read(reporting.read(folder))
    longest = search.complete["evaluations"].max()
    complete = search.complete[search.complete["evaluations"].eq(longest)]
    curves = pruning.by_evaluation(search).loc[complete["number"], range(1, longest + 1)]
    return curves.to_numpy(), complete["batch"].to_numpy()


def errors(curves: Array, batches: NDArray[np.int64]) -> None:
    """Print the error of each way, in percent of a share."""
    length = curves.shape[1]
    steps = sorted({1, 2, length // 2, length - 1})
    print(f"{'':14}" + "".join(f"after {step:2} " for step in steps))
    for name, way in WAYS.items():
        line = []
        for step in steps:
            misses: list[float] = []
            for batch in np.unique(batches):
                before, here = curves[batches < batch], curves[batches == batch]
                if len(before) >= FIRST:
                    misses.extend(way(before, here[:, :step]) - here[:, -1])
            line.append(100 * float(np.sqrt(np.mean(np.square(misses)))))
        print(f"{name:14}" + "".join(f"{error:8.2f} " for error in line))


def orders(curves: Array) -> None:
    """Print what the pruner would have saved and lost in random orders."""
    rng, length = np.random.default_rng(0), curves.shape[1]
    for confidence in (0.8, 0.9, 0.95):
        saved, lost = [], []
        for _ in range(ORDERS):
            table = curves[rng.permutation(len(curves))]
            found = stats.forecast_errors(table, np.arange(len(table)) // BATCH, confidence)
            stopped = found[found["below"]].groupby("curve")["evaluation"].min()
            left = np.setdiff1d(np.arange(len(table)), stopped.index)
            saved.append((length - stopped).sum() / table.size)
            lost.append(100 * (table[:, -1].max() - table[left, -1].max()))
        print(
            f"confidence {confidence}: {np.mean(saved):.0%} saved; the best lost in "
            f"{np.count_nonzero(lost)} of {ORDERS} orders, by {np.max(lost):.2f} points at most"
        )


if __name__ == "__main__":
    for given in sys.argv[1:]:
        print(given)
        everything = read(Path(given))
        errors(*everything)
        orders(everything[0])
