"""The sampler `gp`: its process against formulas, its batches, and what it makes of each outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.integrate import dblquad, quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from test_samplers import SPACE, choices_of

from harness.searching import draws, gaussian_process, gp_sampler
from harness.searching.ask_tell import suggest
from harness.searching.gaussian_process import Prediction
from harness.searching.gp_sampler import Candidates, Encoding, GpSampler, front_of, key_of, scores
from harness.searching.pruners import BATCH, EVALUATIONS
from harness.study.space import Drawn, Floats, Ints, Space, SpaceEntry

pytestmark = pytest.mark.usefixtures("quiet_optuna")

MAXIMIZE = StudyDirection.MAXIMIZE


# -------------------------------------------------------------------------------------------- the process


def data(n: int = 20) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    points = rng.random((n, 3))
    values = np.sin(5 * points[:, 0]) + 0.1 * rng.standard_normal(n)
    return points, (values - values.mean()) / values.std(), np.arange(3)


def test_the_posterior_is_that_of_scikit_learn() -> None:
    points, values, owners = data()
    process = gaussian_process.fit(points, values, owners, np.arange(len(points)))
    kernel = Matern(length_scale=process.scales, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=process.noise, optimizer=None).fit(points, values)
    new = np.random.default_rng(1).random((50, 3))
    mean, spread = theirs.predict(new, return_std=True)
    found = Prediction(process, new)
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    np.testing.assert_allclose(found.variance, spread**2, atol=1e-8)


def test_the_fit_tells_parameters_that_matter_from_those_that_do_not() -> None:
    points, values, owners = data(60)
    scales = gaussian_process.fit(points, values, owners, np.arange(60)).scales
    assert scales[0] * 3 < min(scales[1:])


def test_a_point_in_training_counts_with_its_mean() -> None:
    """Adding it is the same as a process that was told its own mean there."""
    points, values, owners = data()
    process = gaussian_process.fit(points, values, owners, np.arange(len(points)))
    new = np.random.default_rng(1).random((50, 3))
    told = Prediction(process, new[:1]).mean
    kernel = Matern(length_scale=process.scales, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=process.noise, optimizer=None)
    theirs.fit(np.vstack([points, new[:1]]), np.append(values, told))
    before = Prediction(process, new)
    before.update(process, *process.add(new[0]))
    mean, spread = theirs.predict(new, return_std=True)
    for found in (before, Prediction(process, new)):
        np.testing.assert_allclose(found.mean, mean, atol=1e-7)
        np.testing.assert_allclose(found.variance, spread**2, atol=1e-7)


@pytest.mark.parametrize("best", [-1.0, 0.3, 4.0])
def test_the_expected_improvement_is_the_integral(best: float) -> None:
    mean, variance = np.array([0.2]), np.array([0.25])
    excess, _ = quad(lambda y: (y - best) * norm.pdf(y, 0.2, 0.5), best, 10.0)
    found = gaussian_process.expected_improvement(mean, variance, best)[0]
    assert found == pytest.approx(excess, rel=1e-6)
    logarithm = gaussian_process.log_expected_improvement(mean, variance, best)[0]
    assert math.exp(logarithm) == pytest.approx(excess, rel=1e-6)


def test_the_logarithm_orders_candidates_that_are_hopeless() -> None:
    z = -np.linspace(1.0, 200.0, 400)
    found = gaussian_process.log_expected_improvement(z, np.ones_like(z), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


def test_the_expected_hypervolume_is_the_integral() -> None:
    front, reference = np.array([[1.0, 0.2], [0.4, 0.9]]), np.array([0.0, 0.0])
    means, variances = np.array([[0.7], [0.6]]), np.array([[0.09], [0.04]])

    def gain(y: float, x: float) -> float:
        grid = [(0.0, 0.4, 0.9), (0.4, 1.0, 0.2), (1.0, math.inf, 0.0)]
        volume = sum(max(min(x, b) - a, 0.0) * max(y - h, 0.0) for a, b, h in grid)
        return volume * float(norm.pdf(x, 0.7, 0.3) * norm.pdf(y, 0.6, 0.2))

    expected, _ = dblquad(gain, -0.5, 1.9, -0.2, 1.4, epsabs=1e-4)
    found = gaussian_process.expected_hypervolume(means, variances, front, reference)[0]
    assert found == pytest.approx(expected, rel=0.01)


def test_the_front_has_what_nothing_exceeds() -> None:
    values = np.array([[1.0, 0.0], [0.5, 0.5], [0.4, 0.4], [0.0, 1.0], [0.5, 0.5], [1.0, -1.0]])
    assert front_of(values).tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]


# --------------------------------------------------------------------------------------- points and values


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 50), st.integers(1, 500), st.booleans())
def test_a_value_has_a_quantile_that_gives_it(u: float, low: int, more: int, log: bool) -> None:
    for distribution in (
        IntDistribution(low, low + more, log=log), IntDistribution(low, low + 3 * more, step=3),
        FloatDistribution(0.0, 0.25 * more, step=0.25), CategoricalDistribution(tuple(range(low))),
    ):  # fmt: skip
        value = draws.at(distribution, u)
        assert draws.at(distribution, draws.quantile(distribution, value)) == value


def test_candidates_have_the_parameters_that_apply() -> None:
    rng = np.random.default_rng(0)
    candidates = Candidates(SPACE)
    for point in candidates.points(rng.random((200, len(SPACE.parameters)))):
        assert SPACE.walk(lambda parameter, point=point: point[parameter.name])[0] == point  # type: ignore[misc]
        if "hidden.width.2" in point:
            assert candidates.points(candidates.quantiles(point, rng)[None])[0].keys() == point.keys()


def test_parameters_that_do_not_apply_put_nothing_between_points() -> None:
    encoding = Encoding(SPACE.parameters)
    shared: Drawn = {"lr": 0.01, "weight_decay": 0.0, "epochs": 3, "batch_size": "16", "hidden.depth": 1}
    plain = shared | {"hidden.width.1": 16, "optimizer": "sgd"}
    with_momentum = shared | {"hidden.width.1": 16, "optimizer": "momentum", "momentum": 0.745}
    rows = encoding.rows([plain, with_momentum, plain | {"lr": 1.0}])
    apart = gaussian_process.squared_distances(rows, rows)
    assert apart[0, 1] == pytest.approx(1.0)  # another optimizer; momentum is in the middle of its range
    assert apart[0, 2] == pytest.approx(0.25)  # half of the range of lr, by its logarithm


def finished(
    value: float | None, steps: Mapping[int, float] = {}, *, pruned: bool = False, evaluations: int = 0
) -> FrozenTrial:
    state = TrialState.PRUNED if pruned else TrialState.FAIL if value is None else TrialState.COMPLETE
    return create_trial(
        state=state, value=None if pruned else value, params={"x": 0.5},
        distributions={"x": FloatDistribution(0.0, 1.0)}, intermediate_values=dict(steps),
        user_attrs={BATCH: 0, EVALUATIONS: evaluations},
    )  # fmt: skip


def test_values_count_by_rank_and_failures_as_the_worst() -> None:
    found = scores([finished(0.9), finished(None), finished(0.1), finished(0.5), finished(None)], 0, MAXIMIZE)
    assert np.argsort(-found, kind="stable").tolist() == [0, 3, 2, 1, 4]
    assert found[1] == found[4]
    assert found.mean() == pytest.approx(0.0, abs=1e-12)
    turned = scores([finished(0.9), finished(0.1), finished(0.5)], 0, StudyDirection.MINIMIZE)
    assert np.argsort(-turned).tolist() == [1, 2, 0]


def test_a_suggestion_in_training_gains_nothing_yet() -> None:
    """It is shown as complete with the last value that it has, which says nothing of what comes behind."""
    whole = finished(0.9, {1: 0.5, 2: 0.7, 3: 0.9}, evaluations=3)
    training = finished(0.6, {1: 0.6}, evaluations=3)
    pruned = finished(None, {1: 0.55}, pruned=True)
    found = scores([whole, training, pruned], 0, MAXIMIZE)
    assert np.argsort(-found).tolist() == [2, 0, 1]  # 0.55 + 0.4 is above 0.9


def test_a_pruned_suggestion_counts_with_the_gain_of_the_others() -> None:
    complete = [finished(0.8, {1: 0.5, 2: 0.8}), finished(0.6, {1: 0.3, 2: 0.6})]
    found = scores([*complete, finished(None, {1: 0.4}, pruned=True)], 0, MAXIMIZE)
    assert np.argsort(-found).tolist() == [0, 2, 1]  # 0.4 + 0.3 lies between


# ----------------------------------------------------------------------------------------------- batches

LINE = Space((SpaceEntry("lr", Floats(0.0, 1.0)), SpaceEntry("weight_decay", Floats(0.0, 1.0))), {})


def asked(
    study: optuna.Study, space: Space, count: int, kept: Any = lambda _point: True
) -> list[dict[str, Any]]:
    study.sampler = GpSampler(space, kept, seed=1000 + len(study.trials), sobol_seed=0)
    points: list[dict[str, Any]] = []
    for _ in range(count):
        trial = study.ask()
        points.append(space.walk(lambda p, trial=trial: suggest(trial, p))[0])  # type: ignore[misc]
    return points


def tell(study: optuna.Study, value: Any) -> None:
    for trial in study.trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, value(trial.params))


def hill(point: Mapping[str, Any]) -> float:
    return -float((point["lr"] - 0.3) ** 2) - float((point["weight_decay"] - 0.6) ** 2)


def test_batches_find_the_top_of_a_hill() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(4):
        asked(study, LINE, 8)
        tell(study, hill)
    assert study.best_value > -1e-3


def test_the_members_of_a_batch_keep_apart() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(2):
        asked(study, LINE, 8)
        tell(study, hill)
    batch = asked(study, LINE, 8)
    spread = np.std([point["lr"] for point in batch])
    alone: list[dict[str, Any]] = []
    for i in range(8):
        again = optuna.create_study(direction="maximize")
        for known in study.trials[:16]:
            again.add_trial(known)
        again.sampler = GpSampler(LINE, lambda _point: True, seed=i, sobol_seed=0)
        trial = again.ask()
        alone.append(LINE.walk(lambda p, trial=trial: suggest(trial, p))[0])  # type: ignore[misc]
    assert spread > 2 * np.std([point["lr"] for point in alone])


def test_a_small_grid_is_never_drawn_twice() -> None:
    """Optuna's GPSampler draws 14 to 17 of 60 cells in 60 suggestions."""
    names = ("relu", "elu", "gelu", "silu", "tanh")
    grid = Space((choices_of("activation", *names), SpaceEntry("epochs", Ints(1, 12))), {})
    study = optuna.create_study(direction="maximize")
    points: list[dict[str, Any]] = []
    for _ in range(6):
        points += asked(study, grid, 8)
        tell(study, lambda point: -abs(point["epochs"] - 5) + (point["activation"] == "gelu"))
    # Before the process knows enough, Sobol points may repeat, which `AskTell` refuses.
    assert len({key_of(point) for point in points[16:]}) == 32
    assert not {key_of(point) for point in points[16:]} & {key_of(point) for point in points[:16]}
    best = [i for i, point in enumerate(points) if point == {"activation": "gelu", "epochs": 5}]
    assert best
    assert best[0] < 32


def test_points_that_break_a_constraint_are_not_given() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(2):
        asked(study, LINE, 8)
        tell(study, hill)
    points = asked(study, LINE, 8, kept=lambda point: point["lr"] > 0.5)
    assert all(point["lr"] > 0.5 for point in points)
    assert min(point["lr"] for point in points) < 0.7  # close to the bound, where the hill is highest


def test_two_objectives_spread_along_the_front() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for _ in range(4):
        asked(study, LINE, 8)
        tell(study, lambda p: (p["lr"] - p["weight_decay"] ** 2, p["lr"] ** 2 + p["weight_decay"] ** 2))
    found = [trial.params for trial in study.trials[16:]]
    assert np.mean([point["weight_decay"] < 0.15 for point in found]) > 0.6
    assert np.ptp([point["lr"] for point in found]) > 0.6


def test_asks_that_were_refused_as_repeated_leave_no_trace() -> None:
    """A study that is rebuilt has empty places of them."""
    study, again = (optuna.create_study(direction="maximize") for _ in range(2))
    asked(study, LINE, 12)
    study.tell(3, state=TrialState.FAIL)
    tell(study, hill)
    for trial in study.trials:
        again.add_trial(create_trial(state=TrialState.FAIL) if trial.number == 3 else trial)
    assert asked(study, LINE, 4) == asked(again, LINE, 4)


def test_little_that_is_known_is_no_reason_to_fit() -> None:
    study = optuna.create_study(direction="maximize")
    points = asked(study, LINE, gp_sampler.STARTUP - 1)
    tell(study, hill)
    points += asked(study, LINE, 2)
    sobol = draws.SobolSampler(["lr", "weight_decay"], seed=0)
    study.sampler = sobol
    expected = optuna.create_study(sampler=sobol)
    for point in points:
        trial = expected.ask()
        assert LINE.walk(lambda p, trial=trial: suggest(trial, p))[0] == point  # type: ignore[misc]
