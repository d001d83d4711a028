"""Extrapolation of learning curves from finished ones, with bounds that the finished ones have calibrated.

The end of a curve is predicted from its value at an evaluation by local linear regression (Cleveland 1979,
https://doi.org/10.1080/01621459.1979.10481038) on the finished curves, as sequential regression models do
(Baker et al. 2017, https://arxiv.org/abs/1705.10823). Bounds are quantiles of the errors that the regression
makes for each finished curve if that one is left out, relative to the errors of the curves near it (Lei et
al. 2018, https://doi.org/10.1080/01621459.2017.1307116): no curve has to have a given shape, nor errors a
given distribution. That a bound holds with its confidence supposes that the new curve comes from where the
finished ones come from; `forecast_errors` measures whether it did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NEAR = 0.5
"""Share of the finished curves that a prediction is fitted to, weighted by their nearness."""
SCALED = 0.25
"""Share of the finished curves whose errors, on average, are the scale of an error near them."""
FEWEST_NEAR = 5
"""The fewest curves that are near."""
MOST_CURVES = 400
"""Of more finished curves the last so many count: errors are of every pair of them."""
_STEADY = 1e-4  # share of the variance of all that a slope is shrunk by


def least_curves(confidence: float) -> int:
    """Return how many finished curves a bound needs: the least n with ceil((n + 1) confidence) <= n.

    >>> least_curves(0.95)
    19
    """
    share = Fraction(str(confidence))
    return math.ceil(share / (1 - share))


@dataclass(frozen=True)
class Forecast:
    """The end of a curve, as finished curves foretell it from its value at one evaluation.

    `at` and `end` (n,) are the finished curves' values at that evaluation and at their end, `errors` (n,)
    what each reached less what the others predict for it, `scales` (n,) the mean absolute error near it.
    """

    at: NDArray[np.float64]
    end: NDArray[np.float64]
    errors: NDArray[np.float64]
    scales: NDArray[np.float64]

    @classmethod
    def of(cls, at: ArrayLike, end: ArrayLike) -> Forecast:
        """Fit to finished curves: (n,) values at an evaluation and (n,) at the end, all finite; n >= 2.

        >>> forecast = Forecast.of([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6])
        >>> forecast.predict([0.25]).round(3)
        array([0.45])
        """
        starts = np.asarray(at, dtype=float)[-MOST_CURVES:]
        ends = np.asarray(end, dtype=float)[-MOST_CURVES:]
        distances = np.abs(starts[:, None] - starts[None])
        np.fill_diagonal(distances, math.inf)
        errors = ends - _local(starts, ends, starts, distances)
        return cls(starts, ends, errors, _scales(errors, distances))

    def predict(self, values: ArrayLike) -> NDArray[np.float64]:
        """Predict the end of curves by their values (m,); beyond all finished ones they count as the last."""
        inside = np.clip(np.asarray(values, dtype=float), self.at.min(), self.at.max())
        return _local(self.at, self.end, inside, np.abs(inside[:, None] - self.at[None]))

    def bounds(self, values: ArrayLike, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the end's lower and upper bound, (m,) each; either holds with the confidence by itself.

        Infinite if there are fewer finished curves than `least_curves`.
        """
        n = len(self.errors)
        place = math.ceil((n + 1) * Fraction(str(confidence)))
        ends = self.predict(values)
        if place > n:
            return np.full_like(ends, -math.inf), np.full_like(ends, math.inf)
        inside = np.clip(np.asarray(values, dtype=float), self.at.min(), self.at.max())
        scale = _scales(self.errors, np.abs(inside[:, None] - self.at[None]))
        relative = np.sort(self.errors / self.scales)
        return ends + relative[n - place] * scale, ends + relative[place - 1] * scale


def _local(
    at: NDArray[np.float64], end: NDArray[np.float64], x: NDArray[np.float64], distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Regress `end` on `at` around each x (m,), with tricube weights by `distances` (m, n), inf: none."""
    near = min(max(FEWEST_NEAR, math.ceil(NEAR * len(at))), int(np.isfinite(distances).sum(1).min()))
    reach = np.partition(distances, near - 1, axis=1)[:, near - 1 : near]
    # A hair wider, so that the last of them has a weight too; and of equal values all do.
    reach = np.maximum(reach * (1 + 1e-3), np.finfo(float).tiny)
    weights = np.clip(1 - np.minimum(distances / reach, 1) ** 3, 0, None) ** 3
    weights /= weights.sum(1, keepdims=True)
    middle, level = weights @ at, weights @ end
    around = at[None] - middle[:, None]
    spread = (weights * around**2).sum(1) + _STEADY * at.var() + np.finfo(float).tiny
    slope = (weights * around * (end[None] - level[:, None])).sum(1) / spread
    return np.asarray(level + slope * (x - middle), dtype=float)


def _scales(errors: NDArray[np.float64], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (m,) mean absolute errors of the nearest curves, never far below that of all of them."""
    near = min(max(FEWEST_NEAR, math.ceil(SCALED * len(errors))), int(np.isfinite(distances).sum(1).min()))
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :near]
    sizes = np.abs(errors)
    return np.asarray(sizes[nearest].mean(1) + 0.1 * sizes.mean() + np.finfo(float).tiny, dtype=float)


def forecast_errors(
    curves: ArrayLike, batches: ArrayLike, confidence: float, *, maximize: bool = True
) -> pd.DataFrame:
    """Predict the end of each finished curve from those of earlier batches, and compare it with its end.

    So nothing that a prediction is judged by had a part in it. Curves that too few went before for a bound of
    the confidence are not predicted.

    Args:
        curves: (n, evaluations), finite, of suggestions that were trained to their end; in their order.
        batches: (n,) the batch of each.
        confidence: of either bound by itself, so both hold with 2 confidence - 1.
        maximize: whether more is better.

    Returns:
        A row a curve and evaluation but the last: curve (its place), evaluation, value, predicted, low, high,
        reached, best (of the ends of earlier batches), below (whether the better bound is worse than best:
        a pruner would stop it).
    """
    table, batch = np.asarray(curves, dtype=float), np.asarray(batches)
    rows = []
    for number in dict.fromkeys(batch.tolist()):
        before, here = table[batch < number], np.flatnonzero(batch == number)
        if len(before) < least_curves(confidence):
            continue
        best = before[:, -1].max() if maximize else before[:, -1].min()
        for evaluation in range(1, table.shape[1]):
            values = table[here, evaluation - 1]
            forecast = Forecast.of(before[:, evaluation - 1], before[:, -1])
            low, high = forecast.bounds(values, confidence)
            rows.append(
                pd.DataFrame(
                    {
                        "curve": here, "evaluation": evaluation, "value": values,
                        "predicted": forecast.predict(values), "low": low, "high": high,
                        "reached": table[here, -1], "best": best,
                        "below": high < best if maximize else low > best,
                    }
                )
            )  # fmt: skip
    columns = ["curve", "evaluation", "value", "predicted", "low", "high", "reached", "best", "below"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def forecast_summary(errors: pd.DataFrame, *, maximize: bool = True) -> pd.DataFrame:
    """Summarise `forecast_errors` by evaluation.

    Returns:
        evaluation, n, bias (mean of predicted less reached), rmse, unchanged_rmse (of the value itself taken
        as the end), covered (in how many the end lay within low and high), below (how many would be stopped),
        lost (how many of these ended better than best).
    """
    miss = errors["predicted"] - errors["reached"]
    better = errors["reached"] > errors["best"] if maximize else errors["reached"] < errors["best"]
    table = errors.assign(
        miss=miss, square=miss**2, unchanged=(errors["value"] - errors["reached"]) ** 2,
        covered=errors["reached"].between(errors["low"], errors["high"]), lost=errors["below"] & better,
    )  # fmt: skip
    groups = table.groupby("evaluation", sort=True)
    return pd.DataFrame(
        {
            "n": groups.size(), "bias": groups["miss"].mean(), "rmse": groups["square"].mean() ** 0.5,
            "unchanged_rmse": groups["unchanged"].mean() ** 0.5, "covered": groups["covered"].sum(),
            "below": groups["below"].sum(), "lost": groups["lost"].sum(),
        }
    ).reset_index()  # fmt: skip
