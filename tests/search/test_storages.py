"""Finished trials go into every storage and come out of it the same, whatever happens in between."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.search import storages
from harness.search.storages import Storage

ABOUT = {"space.lr": {"low": 1e-4, "high": 1.0, "log": True}, "sampler": "tpe", "seeds": [2000, 2001]}
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "epochs": IntDistribution(3, 9, step=2),
    "optimizer": CategoricalDistribution(["sgd", "adam"]),
    "momentum": FloatDistribution(0.5, 0.99),
}


@dataclass(frozen=True)
class Place:
    """Where a test's storage lies."""

    where: str
    folder: Path

    def open(self, name: str = "small", directions: tuple[str, ...] = ("maximize",), **about: Any) -> Storage:
        return storages.open(self.where, self.folder, name, directions, {**ABOUT, **about})


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgresql":
        return Place(request.getfixturevalue("postgres").create(tmp_path.name), tmp_path)
    return Place(request.param, tmp_path / "results" / "small")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna tries an addition five times, and waits up to two seconds between; and so do locks."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setattr(storages, "LOCK_SECONDS", 0.2)


def trial(lr: float = 0.1, state: TrialState = TrialState.COMPLETE, **fields: Any) -> FrozenTrial:
    params = {"lr": lr, "epochs": 5, "optimizer": "sgd", "momentum": 0.9} | fields.pop("params", {})
    params = {key: value for key, value in params.items() if value is not None}
    fields.setdefault("values", None if state == TrialState.FAIL else [lr])
    return create_trial(
        state=state, params=params, distributions={key: SPACE[key] for key in params},
        intermediate_values={0: lr / 2, 4: lr}, **fields,
    )  # fmt: skip


def fields(one: FrozenTrial) -> tuple[Any, ...]:
    return (
        one.state, one.values, one.params, one.distributions, one.user_attrs, one.system_attrs,
        one.intermediate_values, one.datetime_start, one.datetime_complete,
    )  # fmt: skip


def same(there: list[FrozenTrial], given: list[FrozenTrial]) -> bool:
    return [one.number for one in there] == list(range(len(given))) and [*map(fields, there)] == [
        *map(fields, given)
    ]


def every_kind() -> list[FrozenTrial]:
    return [
        trial(0.3, user_attrs={"arm": "suggestion 0", "test": None, "nested": {"a": [1, 2.5]}}),
        trial(0.01, TrialState.PRUNED),
        trial(0.2, TrialState.FAIL, user_attrs={"reason": "diverged at step 12, ä"}),
        trial(0.1 + 0.2, params={"optimizer": "adam", "momentum": None}),
        trial(0.5, system_attrs={"nsga2:generation": 3}),
    ]


# ---------------------------------------------------------------------------------------------- round trips


def test_trials_come_out_as_they_went_in(place: Place) -> None:
    given = every_kind()
    with closing(place.open()) as storage:
        assert storage.trials() == []
        storage.add(given[:2])
        storage.add(given[2:])
        assert same(storage.trials(), given)
    with closing(place.open()) as storage:
        assert same(storage.trials(), given)


def test_several_objectives_and_values_that_are_not_finite(place: Place) -> None:
    given = [trial(values=[0.9, 12_000.0]), trial(values=[float("inf"), 1.0])]
    with closing(place.open(directions=("maximize", "minimize"))) as storage:
        storage.add(given)
    with closing(place.open(directions=("maximize", "minimize"))) as storage:
        assert same(storage.trials(), given)


def test_a_resumed_search_goes_on_with_the_next_number(place: Place) -> None:
    for first in (0, 3):
        with closing(place.open()) as storage:
            storage.add([trial(0.1 + (first + i) / 100) for i in range(3)])
    with closing(place.open()) as storage:
        assert [one.number for one in storage.trials()] == list(range(6))
        assert [one.params["lr"] for one in storage.trials()] == [0.1 + i / 100 for i in range(6)]
