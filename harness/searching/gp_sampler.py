"""The sampler `gp`: a Gaussian process over the whole space, fitted once a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri
from scipy.stats import rankdata

from harness.searching import gaussian_process
from harness.searching.draws import SobolSampler, at, distribution, quantile
from harness.searching.gaussian_process import Array, Prediction
from harness.searching.pruners import BATCH, EVALUATIONS
from harness.study.space import Choices, Drawn, Layers, Parameter, Space

STARTUP = 10
"""Suggestions with a result before the process is fitted; until then they are Sobol points."""
MOST_FITTED, MOST_KNOWN = 256, 1024
"""Suggestions by which the length scales are fitted; and those which the process is conditioned on."""
GLOBAL, NEIGHBOURS = 1024, 256
"""Candidates in the whole space, and around the best suggestions."""
BEST = 8
"""Suggestions that candidates are drawn around."""
CLIMBS = (0.1, 0.03, 0.01)
"""The spread of the steps by which each chosen point is improved, in shares of a parameter's range."""
STEPS = 32
"""Points that are tried in each climb."""
EXPLORING = 0.1
"""How far beyond the best a point is to improve, on average, in standard deviations of the values."""
LISTED = 2048
"""Points of a finite space up to which all of them are candidates."""


class GpSampler(BaseSampler):
    """Bayesian optimization of a conditional space in batches.

    The first suggestion of a batch fits the process to what is known. Each one then takes the candidate with
    the largest expected improvement (of the hypervolume, for two objectives), and joins the process with the
    mean as its value, so that the next one keeps away (kriging believer: Ginsbourger, Le Riche & Carraro
    2010, https://doi.org/10.1007/978-3-642-10701-6_6). So do suggestions that are still in training.

    Values count by rank, as quantiles of a normal distribution. A pruned suggestion counts with its last
    value and what the complete ones gained from there on, in the median; one that failed as the worst. A
    parameter that does not apply stands in the middle of its range, or is a choice of its own. What was drawn
    once is no candidate. Everything follows from the trials, the seed and the number of the trial.
    """

    def __init__(self, space: Space, kept: Callable[[Drawn], bool], *, seed: int, sobol_seed: int) -> None:
        self._space, self._kept, self._seed = space, kept, seed
        self._parameters = {parameter.name: parameter for parameter in space.parameters}
        self._first = SobolSampler(list(self._parameters), seed=sobol_seed)
        self._placing: Placing | None = None
        self._point: tuple[int, Drawn | None] = -1, None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial  # noqa: ARG002 (Optuna's interface)
    ) -> dict[str, BaseDistribution]:  # fmt: skip
        """Return nothing: all parameters are those of one point, given one by one."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]  # noqa: ARG002
    ) -> dict[str, Any]:  # fmt: skip
        """Return nothing, as `infer_relative_search_space`."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a parameter of the trial's point."""
        if trial.number != self._point[0]:
            self._point = trial.number, self._placed(study, trial)
        point = self._point[1]
        if point is None or param_name not in point:
            return self._first.sample_independent(study, trial, param_name, param_distribution)
        return point[param_name]

    def _placed(self, study: Study, trial: FrozenTrial) -> Drawn | None:
        """Return the trial's point; None while too little is known, or where all points were drawn."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        if self._placing is None:
            known = [other for other in others if _has_result(other)]
            if len(known) < STARTUP:
                return None
            self._placing = Placing(self._space, self._kept, study.directions, known, self._seed)
        self._placing.follow(others)
        return self._placing.place(np.random.default_rng([self._seed, trial.number]))


def _has_result(trial: FrozenTrial) -> bool:
    """Tell whether something is known of a suggestion; settings that were refused as repeated are none."""
    lost = trial.state == TrialState.FAIL and BATCH in trial.user_attrs and bool(trial.params)
    pruned = trial.state == TrialState.PRUNED and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE or pruned or lost


class Encoding:
    """Points of a space as rows of numbers: a number as its place in its range, a choice as a column each."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._columns: list[tuple[Parameter, int, int]] = []
        owners: list[int] = []
        for i, parameter in enumerate(parameters):
            choices = parameter.values.names if isinstance(parameter.values, Choices) else ()
            width = len(choices) or 1
            self._columns.append((parameter, len(owners), width))
            owners += [i] * width
        self.owners = np.array(owners)

    def rows(self, points: Sequence[Drawn]) -> Array:
        """Return the rows (N, C) of points."""
        rows = np.zeros((len(points), len(self.owners)))
        for parameter, start, _ in self._columns:
            given = [point.get(parameter.name) for point in points]
            values = parameter.values
            if isinstance(values, Choices):
                places = {name: k for k, name in enumerate(values.names)}
                for i, value in enumerate(given):
                    if value in places:  # choices lie 1 apart from each other
                        rows[i, start + places[str(value)]] = math.sqrt(0.5)
            else:
                scale = math.log if values.log else float
                low, high = scale(values.low), scale(values.high)
                span = (high - low) or 1.0
                rows[:, start] = [
                    0.5 if value is None else (scale(float(value)) - low) / span for value in given
                ]
        return rows


def _given(point: Drawn) -> Callable[[Parameter], Any]:
    return lambda parameter: point[parameter.name]


def key_of(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return what makes a point the same as another."""
    return tuple(sorted(point.items()))


class Candidates:
    """Draws points of a space from quantiles, a parameter each, and walks the space once a kind of point."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._names = [parameter.name for parameter in space.parameters]
        self._distributions = [distribution(parameter.values) for parameter in space.parameters]
        deciding = {key for entry in space.entries for key in entry.when}
        deciding |= {entry.depth for entry in space.entries if isinstance(entry, Layers)}
        self._deciding = [
            p.name for p in space.parameters if p.name in deciding or isinstance(p.values, Choices)
        ]
        self._kinds: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def points(self, quantiles: Array) -> list[Drawn]:
        """Return the points of quantiles (N, P) in [0, 1), as far as their parameters apply."""
        columns = [
            [at(values, u) for u in column]
            for values, column in zip(self._distributions, quantiles.T.tolist(), strict=True)
        ]
        drawn = []
        for row in zip(*columns, strict=True):
            point = dict(zip(self._names, row, strict=True))
            kind = tuple(point[name] for name in self._deciding)
            if kind not in self._kinds:
                self._kinds[kind] = tuple(self._space.walk(_given(point))[0])
            drawn.append({name: point[name] for name in self._kinds[kind]})
        return drawn

    def around(self, center: Array, spread: float, count: int, rng: np.random.Generator) -> Array:
        """Return quantiles (count, P) near those of a point (P,), moved in some of their places."""
        size = len(center)
        moved = rng.random((count, size)) < max(0.3, 2.0 / size)
        moved[np.arange(count), rng.integers(size, size=count)] = True
        steps = rng.normal(0.0, spread, (count, size))
        choices = np.array([isinstance(p.values, Choices) for p in self._space.parameters])
        anew = np.where(choices, rng.random((count, size)), center + steps)
        folded = np.abs(np.where(moved, anew, center))  # mirrored at both ends
        folded = np.where(folded > 1.0, 2.0 - folded, folded)
        return np.clip(folded, 0.0, np.nextafter(1.0, 0.0))

    def quantiles(self, point: Drawn, rng: np.random.Generator) -> Array:
        """Return quantiles (P,) that give a point; of parameters that do not apply, any."""
        quantiles = rng.random(len(self._names))
        for i, (name, values) in enumerate(zip(self._names, self._distributions, strict=True)):
            if name in point:
                quantiles[i] = quantile(values, point[name])
        return quantiles


class Placing:
    """The process of a batch, and its candidates: `place` gives the next point, `follow` takes in others."""

    def __init__(
        self, space: Space, kept: Callable[[Drawn], bool], directions: Sequence[StudyDirection],
        known: Sequence[FrozenTrial], seed: int,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng([seed, len(known)])
        self._encoding = encoding = Encoding(space.parameters)
        self._candidates, self._kept = Candidates(space), kept
        values = np.stack([scores(known, i, direction) for i, direction in enumerate(directions)])
        order = np.argsort(-values.mean(0), kind="stable")
        chosen = order[_spread(len(order), MOST_KNOWN)]
        rows, values = encoding.rows([known[i].params for i in chosen]), values[:, chosen]
        fitted = _spread(len(chosen), MOST_FITTED)
        self.processes = [gaussian_process.fit(rows, value, encoding.owners, fitted) for value in values]
        self._beyond = 0.0
        self._followed = {trial.number for trial in known}
        self._taken = {key_of(trial.params) for trial in known}
        self._reached = [Prediction(process, rows).mean for process in self.processes]
        best = [known[i].params for i in chosen[np.argsort(-sum(self._reached), kind="stable")[:BEST]]]
        self._pool = list(self._first_pool(space, best, rng))
        self._rows = encoding.rows(self._pool)
        self._predictions = [Prediction(process, self._rows) for process in self.processes]

    def _first_pool(self, space: Space, best: Sequence[Drawn], rng: np.random.Generator) -> Iterator[Drawn]:
        """Yield all points of a small space; else some from everywhere, and some near the best ones."""
        if space.finite:
            listed = list(islice(space.points(), LISTED + 1))
            if len(listed) <= LISTED:
                yield from listed
                return
        yield from self._candidates.points(rng.random((GLOBAL, len(space.parameters))))
        for point in best:
            center = self._candidates.quantiles(point, rng)
            near = [
                self._candidates.around(center, spread, NEIGHBOURS // BEST // 2, rng)
                for spread in (0.1, 0.02)
            ]
            yield from self._candidates.points(np.vstack(near))

    def follow(self, trials: Sequence[FrozenTrial]) -> None:
        """Add suggestions that are in training, which are no candidates any more."""
        for trial in trials:
            # What was refused as repeated leaves nothing in a study that is rebuilt: it must not count.
            if trial.state != TrialState.RUNNING or trial.number in self._followed or not trial.params:
                continue
            self._followed.add(trial.number)
            self._taken.add(key_of(trial.params))
            row = self._encoding.rows([trial.params])
            for i, process in enumerate(self.processes):
                self._reached[i] = np.append(self._reached[i], Prediction(process, row).mean)
                added = process.add(row[0])
                self._predictions[i].update(process, *added)

    def place(self, rng: np.random.Generator) -> Drawn | None:
        """Return the best candidate, improved by climbs; None where all of a small space was drawn."""
        self._beyond = float(rng.exponential(EXPLORING))
        gains = self._gains(self._predictions)
        for i in np.argsort(-gains, kind="stable"):
            if self._is_left(self._pool[i]):
                point = self._climbed(self._pool[i], float(gains[i]), rng)
                self._taken.add(key_of(point))
                return point
        return None

    def _climbed(self, point: Drawn, gain: float, rng: np.random.Generator) -> Drawn:
        for spread in CLIMBS:
            center = self._candidates.quantiles(point, rng)
            near = self._candidates.points(self._candidates.around(center, spread, STEPS, rng))
            rows = self._encoding.rows(near)
            gains = self._gains([Prediction(process, rows) for process in self.processes])
            for i in np.argsort(-gains, kind="stable"):
                if gains[i] <= gain or self._is_left(near[i]):
                    point, gain = (near[i], float(gains[i])) if gains[i] > gain else (point, gain)
                    break
        return point

    def _is_left(self, point: Drawn) -> bool:
        """Tell whether a point was not drawn yet, and keeps the constraints."""
        key = key_of(point)
        if key not in self._taken and not self._kept(point):
            self._taken.add(key)
        return key not in self._taken

    def _gains(self, predictions: Sequence[Prediction]) -> Array:
        """Return the logarithm of the expected improvement of each candidate, or that of the hypervolume."""
        if len(predictions) == 1:
            best = float(self._reached[0].max()) + self._beyond
            return gaussian_process.log_expected_improvement(
                predictions[0].mean, predictions[0].variance, best
            )
        reached = np.stack(self._reached, axis=1)
        means = np.stack([prediction.mean for prediction in predictions])
        variances = np.stack([prediction.variance for prediction in predictions])
        gains = gaussian_process.expected_hypervolume(
            means, variances, front_of(reached), reached.min(0) - 0.1
        )
        return np.log(np.maximum(gains, 1e-300))


def front_of(values: Array) -> Array:
    """Return the rows (F, 2) that no other row exceeds in both columns, from the largest first value on."""
    ranked = values[np.lexsort((-values[:, 1], -values[:, 0]))]
    before = np.maximum.accumulate(np.append(-np.inf, ranked[:-1, 1]))
    return ranked[ranked[:, 1] > before]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Return up to `most` of so many places: half of them the first ones, the others evenly from the rest."""
    if count <= most:
        return np.arange(count)
    first = most // 2
    return np.append(np.arange(first), np.linspace(first, count - 1, most - first).astype(int))


def scores(trials: Sequence[FrozenTrial], objective: int, direction: StudyDirection) -> Array:
    """Return what suggestions reached as quantiles of a normal distribution (N,), the larger the better.

    Equal values have equal scores. A trial that failed is the worst there is, together with all that failed.
    """
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    gains: dict[int, list[float]] = {}
    for trial in trials:
        # What is still in training is shown as complete with the last value that it has.
        whole = len(trial.intermediate_values) >= trial.user_attrs.get(EVALUATIONS, 0)
        if trial.state == TrialState.COMPLETE and whole:
            for step, value in trial.intermediate_values.items():
                gains.setdefault(step, []).append(trial.values[objective] - value)
    values = np.array([sign * _value(trial, objective, gains) for trial in trials])
    values[~np.isfinite(values)] = -np.inf
    scored: Array = ndtri((rankdata(values) - 0.5) / len(values))
    standardised: Array = (scored - scored.mean()) / max(float(scored.std()), 1e-12)
    return standardised


def _value(trial: FrozenTrial, objective: int, gains: Mapping[int, Sequence[float]]) -> float:
    """Return the value of a trial: of a pruned one, what it would have if it had gained as much as others."""
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[objective])
    if trial.state == TrialState.PRUNED:
        step = max(trial.intermediate_values)
        return float(trial.intermediate_values[step] + np.median(gains.get(step, [math.nan])))
    return math.nan
