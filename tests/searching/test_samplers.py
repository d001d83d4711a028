"""Samplers: informed by results, and asking the same again after a search was killed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection as Best
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from harness.searching import draws, samplers
from harness.study.searches import Sampler, Search
from harness.study.space import Choices, Floats, Ints, Layers, Space, SpaceEntry

pytestmark = pytest.mark.usefixtures("quiet_optuna")

NAMES: tuple[Sampler, ...] = get_args(Sampler)
BATCH = 8


def choices_of(name: str, *choices: Any) -> SpaceEntry:
    return SpaceEntry(name, Choices(tuple(map(str, choices))), means={str(c): {name: c} for c in choices})


NUMBERS = (
    SpaceEntry("lr", Floats(1e-4, 1.0, log=True)),
    SpaceEntry("weight_decay", Floats(0.0, 0.1)),
    SpaceEntry("epochs", Ints(3, 9, step=2)),
)
SPACE = Space(
    (
        *NUMBERS, choices_of("batch_size", 16, 32), choices_of("optimizer", "sgd", "momentum"),
        SpaceEntry("momentum", Floats(0.5, 0.99)),
        Layers("hidden", Ints(1, 3), width=Ints(16, 256, log=True)),
    ),
    {},
)  # fmt: skip
"""With all there is: linked, conditional by the optimizer, conditional by depth."""


def draw_parameters(trial: Trial, space: Space) -> dict[str, Any]:
    def draw(parameter: Any) -> Any:
        values = draws.distribution(parameter.values)
        match values:
            case CategoricalDistribution():
                return trial.suggest_categorical(parameter.name, values.choices)
            case IntDistribution():
                return trial.suggest_int(
                    parameter.name, values.low, values.high, log=values.log, step=values.step
                )
            case FloatDistribution():
                return trial.suggest_float(parameter.name, values.low, values.high, log=values.log)
        raise AssertionError(values)

    return space.walk(draw)[0]


def ask(study: optuna.Study, search: Search, space: Space = SPACE, count: int = BATCH) -> list[Trial]:
    study.sampler = samplers.make(search, space, seed=1000 + len(study.trials))
    trials = [study.ask() for _ in range(count)]
    for trial in trials:
        draw_parameters(trial, space)
    return trials


def goodness(params: dict[str, Any]) -> float:
    """Best at lr = 0.01, weight_decay = 0."""
    return -abs(math.log10(params["lr"]) + 2.0) - 20.0 * float(params["weight_decay"])


def run(study: optuna.Study, search: Search, batches: int) -> None:
    for _ in range(batches):
        tell(study, ask(study, search))


def tell(study: optuna.Study, trials: Sequence[Trial]) -> None:
    """Two of eight fail or are pruned, as it happens."""
    for trial in trials:
        values = [goodness(trial.params), 1.0 * trial.params["epochs"]][: len(study.directions)]
        if trial.number % 8 == 3:
            study.tell(trial, state=TrialState.FAIL)
        elif trial.number % 8 == 5 and len(study.directions) == 1:
            trial.report(values[0], 1)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, values)


def rebuilt(study: optuna.Study) -> optuna.Study:
    """A study in memory of what a storage has of another: its finished trials."""
    again = optuna.create_study(directions=study.directions)
    for trial in study.trials:
        if trial.state.is_finished():
            again.add_trial(as_stored(trial))
    return again


def as_stored(trial: FrozenTrial) -> FrozenTrial:
    return create_trial(
        state=trial.state,
        values=trial.values if trial.state == TrialState.COMPLETE else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
        system_attrs=trial.system_attrs,
    )


def new_study(objectives: int = 1) -> optuna.Study:
    return optuna.create_study(directions=[Best.MAXIMIZE, Best.MINIMIZE][:objectives])


def params(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    return [trial.params for trial in trials]


def search_by(name: Sampler, objectives: int = 1) -> Search:
    return Search(sampler=name, batch=BATCH, objective=["val_loss", "parameters"][:objectives])


# ----------------------------------------------------------------------------------------- killed and rebuilt


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_was_killed_asks_the_same_again(name: Sampler) -> None:
    study, search = new_study(), search_by(name)
    for _ in range(4):  # CMA-ES and NSGA-II: within a generation, six of eight being complete, and at its end
        again = rebuilt(study)
        expected = ask(study, search)
        assert params(ask(again, search)) == params(expected)
        tell(study, expected)


@pytest.mark.parametrize("name", ["tpe", "optuna", "gp", "nsga2"])
def test_a_killed_search_for_two_things_asks_the_same_again(name: Sampler) -> None:
    study, search = new_study(2), search_by(name, 2)
    for _ in range(4):
        again = rebuilt(study)
        expected = ask(study, search)
        assert params(ask(again, search)) == params(expected)
        tell(study, expected)


def test_cma_es_continues_its_generation() -> None:
    study, search = new_study(), search_by("cmaes")
    run(study, search, 3)
    before = max(trial.system_attrs["cma:generation"] for trial in study.trials)
    ask(again := rebuilt(study), search)
    assert before > 0
    assert again.trials[-1].system_attrs["cma:generation"] >= before


# ---------------------------------------------------------------------------------- informed by what was told


@pytest.mark.parametrize("name", ["tpe", "optuna", "cmaes", "gp", "nsga2"])
def test_a_batch_is_informed_by_what_was_told(name: Sampler) -> None:
    space = Space(NUMBERS, {})
    study = new_study()
    for _ in range(8):
        tell(study, ask(study, search_by(name), space))
    informed = ask(study, search_by(name), space, count=32)
    at_random = ask(new_study(), search_by("random"), space, count=100)
    typical = np.median([goodness(trial.params) for trial in at_random])
    assert np.mean([goodness(trial.params) > typical for trial in informed]) > 0.7


def test_the_members_of_a_batch_of_tpe_keep_apart() -> None:
    """Constant liar: those that are out count as bad ones."""
    study = new_study()
    run(study, search_by("random"), 4)
    liar = ask(study, search_by("tpe"), count=16)
    alone = []
    for i in range(16):
        again = rebuilt(study)
        again.sampler = samplers.make(search_by("tpe"), SPACE, seed=i)
        alone.append(again.ask())
        draw_parameters(alone[-1], SPACE)
    assert spread(liar) > spread(alone)


def spread(trials: Sequence[Trial]) -> float:
    points = np.log10([trial.params["lr"] for trial in trials])
    return float(np.std(points))


@pytest.mark.parametrize("objectives", [1, 2])
def test_optuna_is_what_optuna_takes_where_nobody_chooses(objectives: int) -> None:
    """After the same draws of its first ten, both ask for the same."""
    study, default = new_study(objectives), new_study(objectives)
    search = search_by("optuna", objectives)
    run(study, search_by("random", objectives), 2)
    for trial in study.trials:
        default.add_trial(trial)
    study.sampler = samplers.make(search, SPACE, seed=7)
    assert type(study.sampler) is type(default.sampler)
    default.sampler = type(default.sampler)(seed=7)  # type: ignore[call-arg]
    expected, found = ([each.ask() for _ in range(BATCH)] for each in (default, study))
    for asked in (*expected, *found):
        draw_parameters(asked, SPACE)
    assert params(found) == params(expected)


# -------------------------------------------------------------------------------------------------------- QMC


def test_sobol_continues_without_repeating_a_point() -> None:
    study, search = new_study(), search_by("qmc")
    for _ in range(4):
        tell(study, ask(study, search, count=16))
        study = rebuilt(study)
    rates = np.log10([trial.params["lr"] for trial in study.trials])
    cells = np.floor((rates + 4) / 4 * 64).astype(int)
    assert sorted(cells.tolist()) == list(range(64))  # a net: one point in each of 64 equal cells


def test_sobol_draws_conditional_parameters_evenly() -> None:
    study = new_study()
    tell(study, ask(study, search_by("qmc"), count=64))
    assert sum(trial.params["optimizer"] == "momentum" for trial in study.trials) == 32
    values = [trial.params["momentum"] for trial in study.trials if "momentum" in trial.params]
    assert np.max(np.diff(np.sort(values))) < 0.1
    assert len({trial.params["hidden.depth"] for trial in study.trials}) == 3


# ----------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (Choices(("a", "b")), CategoricalDistribution(("a", "b"))),
        (Ints(3, 9, step=2), IntDistribution(3, 9, step=2)),
        (Ints(16, 256, log=True), IntDistribution(16, 256, log=True)),
        (Floats(1e-4, 1.0, log=True), FloatDistribution(1e-4, 1.0, log=True)),
        (Floats(0.0, 0.5, step=0.25), FloatDistribution(0.0, 0.5, step=0.25)),
    ],
)
def test_space_entries_become_optuna_distributions(values: Any, expected: Any) -> None:
    assert draws.distribution(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (Choices(("a", "b", "c")), ["a", "b", "c"]),
        (Ints(3, 9, step=2), [3, 5, 7, 9]),
        (Ints(1, 4), [1, 2, 3, 4]),
        (Floats(0.0, 0.5, step=0.25), [0.0, 0.25, 0.5]),
    ],
)
def test_each_value_of_a_grid_has_an_equal_share(values: Any, expected: list[Any]) -> None:
    grid = [draws.at(draws.distribution(values), u) for u in (np.arange(1200) + 0.5) / 1200]
    assert [grid.count(value) for value in expected] == [1200 // len(expected)] * len(expected)


@given(st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 50), st.integers(0, 500), st.booleans())
def test_a_quantile_is_a_value_of_the_distribution(u: float, low: int, more: int, log: bool) -> None:
    for distribution in (
        IntDistribution(low, low + more, log=log), FloatDistribution(low / 10, low / 10 + more, log=log),
        CategoricalDistribution(tuple(range(low))),
    ):  # fmt: skip
        value = draws.at(distribution, u)
        assert distribution.to_external_repr(distribution.to_internal_repr(value)) == value
        if not isinstance(distribution, CategoricalDistribution):
            assert distribution.low <= value <= distribution.high


# ---------------------------------------------------------------------------------------------------- remarks


def test_unconditional_parameters_are_listed() -> None:
    names = [parameter.name for parameter in samplers.unconditional(SPACE)]
    assert names == [
        "lr",
        "weight_decay",
        "epochs",
        "batch_size",
        "optimizer",
        "hidden.depth",
        "hidden.width.1",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tpe", []),
        ("optuna", ["one at a time, beside its joint model: momentum, hidden.width.2, hidden.width.3"]),
        ("random", ["learns nothing"]),
        ("qmc", ["learns nothing"]),
        ("cmaes", ["at random: batch_size, optimizer, momentum, hidden.width.2, hidden.width.3"]),
        ("gp", []),
        ("nsga2", ["at random: momentum, hidden.width.2, hidden.width.3", "pruned"]),
    ],
)
def test_samplers_have_remarks_on_their_limits(name: Sampler, expected: list[str]) -> None:
    search = Search(sampler=name, pruner="hyperband")  # type: ignore[arg-type]
    told = samplers.remarks(search, SPACE)
    assert len(told) == len(expected)
    assert all(word in line for word, line in zip(expected, told, strict=True)), told


def test_cma_es_needs_two_numbers() -> None:
    assert samplers.problems(search_by("cmaes"), Space(NUMBERS, {})) == []
    (told,) = samplers.problems(search_by("cmaes"), Space((NUMBERS[0], *SPACE.entries[3:5]), {}))
    assert "lr" in told
    assert "at least 2" in told
