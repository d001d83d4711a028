"""Values of a parameter: Optuna's distribution of them, by quantiles, and as Sobol points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from harness.study.space import Choices, Ints, Space, Values


def distribution(values: Values) -> BaseDistribution:
    """Return Optuna's distribution of a parameter's values."""
    if isinstance(values, Choices):
        return CategoricalDistribution(values.names)
    if isinstance(values, Ints):
        return IntDistribution(values.low, values.high, log=values.log, step=values.step)
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def distributions(space: Space, names: Iterable[str]) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of some parameters of a space, by their names."""
    values = {parameter.name: parameter.values for parameter in space.parameters}
    return {name: distribution(values[name]) for name in names}


def at(values: BaseDistribution, quantile: float) -> Any:
    """Return the value at a quantile in [0, 1): each choice, and each number of a grid, has an equal share.

    >>> at(IntDistribution(3, 9, step=2), 0.99)
    9
    """
    if isinstance(values, CategoricalDistribution):
        return values.choices[int(quantile * len(values.choices))]
    assert isinstance(values, IntDistribution | FloatDistribution)  # noqa: S101 (what `distribution` gives)
    low, high = float(values.low), float(values.high)
    if values.log:
        # A whole number has the share of all that rounds to it.
        edge = 0.5 if isinstance(values, IntDistribution) else 0.0
        low, high = math.log(low - edge), math.log(high + edge)
        value = math.exp(low + quantile * (high - low))
    elif values.step is not None:
        value = low + values.step * int(quantile * (round((high - low) / values.step) + 1))
    else:
        value = low + quantile * (high - low)
    if isinstance(values, IntDistribution):
        value = round(value)
    return min(max(value, values.low), values.high)


def quantile(values: BaseDistribution, value: Any) -> float:
    """Return a quantile in [0, 1) at which `at` gives the value.

    >>> at(IntDistribution(3, 9, step=2), quantile(IntDistribution(3, 9, step=2), 7))
    7
    """
    if isinstance(values, CategoricalDistribution):
        return (values.choices.index(value) + 0.5) / len(values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)  # noqa: S101 (what `distribution` gives)
    low, high, number = float(values.low), float(values.high), float(value)
    if values.log:
        edge = 0.5 if isinstance(values, IntDistribution) else 0.0
        low, high, number = math.log(low - edge), math.log(high + edge), math.log(number)
    elif values.step is not None:
        steps = round((high - low) / values.step) + 1
        low, high, number = 0.0, float(steps), round((number - low) / values.step) + 0.5
    return min(max((number - low) / (high - low), 0.0), math.nextafter(1.0, 0.0))


class SobolSampler(RandomSampler):
    """Scrambled Sobol points: suggestion i is point i, and each parameter has a coordinate of its own.

    Optuna's QMCSampler counts its points in the study's system attributes, which a rebuilt study has lost,
    and draws conditional parameters at random. Here the number of the trial is the index, and a parameter
    that does not apply leaves its coordinate unused. Sobol rather than Halton: batches are mostly powers of
    two, where a Sobol sequence is balanced, and the later coordinates of Halton's are correlated. `names` are
    of all parameters that could ever be drawn; the seed is the same for all batches of a search.
    """

    def __init__(self, names: Sequence[str], *, seed: int) -> None:
        super().__init__(seed=seed)
        self._column = {name: i for i, name in enumerate(names)}
        self._points = qmc.Sobol(len(names), scramble=True, seed=np.random.default_rng(seed))
        self._point: tuple[int, NDArray[np.float64]] = -1, np.empty(0)

    def sample_independent(
        self, study: Study, trial: FrozenTrial,  # noqa: ARG002 (Optuna's interface)
        param_name: str, param_distribution: BaseDistribution,
    ) -> Any:  # fmt: skip
        """Return the parameter's coordinate of the trial's point."""
        if trial.number != self._point[0]:
            self._points.reset()
            if trial.number:
                self._points.fast_forward(trial.number)
            self._point = trial.number, self._points.random(1)[0]
        return at(param_distribution, float(self._point[1][self._column[param_name]]))
