"""Parameters: what a walk draws, and that it is the same whoever draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from harness.settings import DEFAULTS
from harness.study.checker import Checker, known_settings
from harness.study.space import Choices, Drawn, Floats, Ints, Parameter, Space, applies
from harness.study.space_table import read
from harness.study.trials import identity_of, resolve

BASELINE: dict[str, Any] = {"dataset": "digits", "hidden": [8], "epochs": 2}
OUTPUT = [
    {"name": "CE", "head": "identity", "loss": "ce"},
    {"name": "MSE", "head": "softmax", "loss": "mse", "lr": 0.5},
]
FINITE: dict[str, list[Any]] = {
    "optimizer": [["sgd", "momentum", "adam"], ["adam", "adamw"]],
    "momentum": [[0.5, 0.9], {"low": 0.5, "high": 0.9, "step": 0.2}],
    "dropout": [[0.0, 0.5], {"values": [0.0, 0.5], "when": {"optimizer": ["adam"]}}],
    "weight_decay": [{"values": [0.0, 1e-4], "when": {"dropout": 0.5, "optimizer": "adam"}}],
    "hidden": [
        [[], [4], [4, 4]],
        {"depth": {"low": 0, "high": 2}, "width": [4, 8]},
        {"depth": [0, 2], "width": {"low": 4, "high": 6}, "same": True},
    ],
    "output": [OUTPUT],
    "activation": [["relu", "tanh"]],
    "batch_size": [{"low": 16, "high": 64, "step": 16}],
    "label_smoothing": [{"values": [0.0, 0.1], "when": {"output": "CE"}}],
}
LR = {"low": 1e-4, "high": 1.0, "log": True}


def space(table: Mapping[str, Any]) -> Space | None:
    """The space of a table; None where it contradicts itself."""
    checker = Checker(known_settings(), [])
    found = read(table, BASELINE, checker)
    return None if checker.problems else found


@st.composite
def spaces(draw: st.DrawFn, *, finite: bool = False) -> Space:
    """Spaces of any of FINITE's entries in any order, and perhaps lr."""
    names = draw(st.lists(st.sampled_from(sorted(FINITE)), unique=True, min_size=1, max_size=4))
    table = {name: draw(st.sampled_from(FINITE[name])) for name in names}
    if not finite and "output" not in table and draw(st.booleans()):
        table["lr"] = LR
    found = space(table)
    if found is None:
        reject()
    return found


def drawing(draw: st.DataObject) -> Any:
    """Draws any value of a parameter, and keeps what it was asked for."""

    def one(parameter: Parameter) -> Any:
        values = parameter.values
        if isinstance(values, Choices):
            return draw.draw(st.sampled_from(values.names))
        if isinstance(values, Ints):
            return draw.draw(st.sampled_from(range(values.low, values.high + 1, values.step)))
        if values.step:
            count = round((values.high - values.low) / values.step)
            return values.low + values.step * draw.draw(st.integers(0, count))
        return draw.draw(st.floats(values.low, values.high))

    return one


@settings(max_examples=40)
@given(spaces(), st.data())
def test_drawn_parameters_give_the_same_settings_again(found: Space, data: st.DataObject) -> None:
    drawn, meant = found.walk(drawing(data))
    assert found.settings(drawn) == meant
    assert set(drawn) <= {parameter.name for parameter in found.parameters}
    names = [parameter.name for parameter in found.parameters]
    assert list(drawn) == sorted(drawn, key=names.index)


@settings(max_examples=40)
@given(spaces(), st.data())
def test_exactly_the_parameters_with_an_effect_are_drawn(found: Space, data: st.DataObject) -> None:
    drawn, meant = found.walk(drawing(data))
    given_ = {**DEFAULTS, **BASELINE, **meant}
    used = resolve(BASELINE | meant)
    assert set(meant) <= set(used)
    for entry in found.entries:
        there = any(parameter.name in drawn for parameter in entry.parameters)
        conditions = all(
            str(drawn.get(key, given_.get(key))) in allowed for key, allowed in entry.when.items()
        )
        assert there == (conditions and any(applies(name, given_) for name in entry.sets)), entry.name


@settings(max_examples=40)
@given(spaces(finite=True), st.data())
def test_points_are_all_walks_each_once(found: Space, data: st.DataObject) -> None:
    points = [tuple(point.items()) for point in found.points()]
    assert found.finite
    assert len(set(points)) == len(points)
    drawn, _ = found.walk(drawing(data))
    rounded = {tuple((k, _rounded(v)) for k, v in point) for point in points}
    assert tuple((k, _rounded(v)) for k, v in drawn.items()) in rounded
    for point in points:
        own = dict(point)
        assert tuple(found.walk(lambda p, own=own: own[p.name])[0].items()) == point  # type: ignore[misc]


def _rounded(value: Any) -> Any:
    return round(value, 9) if isinstance(value, float) else value


@given(st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_layers_may_have_any_depth(least: int, more: int, same: bool) -> None:
    width = {"low": 4, "high": 5}
    depth = {"low": least, "high": least + more} if more else least
    found = space({"hidden": {"depth": depth, "width": width, "same": same}})
    assert found is not None
    hidden = [tuple(found.settings(point)["hidden"]) for point in found.points()]  # type: ignore[arg-type]
    expected = sum(1 if d == 0 else 2 if same else 2**d for d in range(least, least + more + 1))
    assert len(set(hidden)) == len(hidden) == expected
    assert {len(widths) for widths in hidden} == set(range(least, least + more + 1))


def test_a_condition_may_depend_on_a_condition() -> None:
    table = {
        "optimizer": ["sgd", "adam"],
        "dropout": {"values": [0.0, 0.5], "when": {"optimizer": "adam"}},
        "weight_decay": {"values": [0.1, 0.2], "when": {"dropout": 0.5}},
    }
    found = space(table)
    assert found is not None
    assert [list(point.values()) for point in found.points()] == [
        ["sgd"], ["adam", "0"], ["adam", "0.5", "0.1"], ["adam", "0.5", "0.2"],
    ]  # fmt: skip


def test_a_missing_parameter_is_reported() -> None:
    found = space({"optimizer": ["sgd", "momentum"], "momentum": {"low": 0.5, "high": 0.9}})
    assert found is not None
    assert found.settings({"optimizer": "sgd"}) == {"optimizer": "sgd"}
    with pytest.raises(KeyError, match="momentum"):
        found.settings({"optimizer": "momentum"})
    with pytest.raises(KeyError, match="adamw"):
        found.settings({"optimizer": "adamw"})


def test_points_come_one_by_one_of_a_space_that_no_memory_holds() -> None:
    found = space({"steps": {"low": 1, "high": 10**9}, "batch_size": {"low": 1, "high": 10**9}})
    assert found is not None
    points = found.points()
    assert [next(points) for _ in range(3)] == [{"steps": 1, "batch_size": n} for n in (1, 2, 3)]


def test_a_space_with_floats_cannot_be_counted() -> None:
    found = space({"lr": LR, "optimizer": ["sgd", "adam"]})
    assert found is not None
    assert not found.finite
    stepped = replace(found.entries[1], values=Floats(0.1, 0.5, step=0.1))
    assert replace(found, entries=(stepped,)).finite


def test_float_steps_reach_their_end() -> None:
    found = space({"lr": {"low": 0.1, "high": 0.7, "step": 0.1}})
    assert found is not None
    assert np.allclose([float(point["lr"]) for point in found.points()], np.arange(1, 8) / 10)


def test_different_points_may_be_one_training() -> None:
    found = space({"activation": ["relu", "tanh"], "hidden": [[], [4]]})
    assert found is not None
    points: list[Drawn] = list(found.points())
    identities = {identity_of(resolve(BASELINE | found.settings(point))) for point in points}
    assert len(identities) == 3


def test_ends_of_a_logarithmic_range_are_rounded_as_they_are_written() -> None:
    """A logarithm and its exponential may come back beside a number; from there it rounds the other way."""
    assert [Floats(0.12344999, 1.0, log=True).at(0), Floats(1e-5, 0.98765001, log=True).at(1)] == [
        0.1234,
        0.9877,
    ]
    assert [Floats(1e-4, 1.0, log=True).at(i / 4) for i in range(5)] == [1e-4, 1e-3, 0.01, 0.1, 1.0]


def test_a_number_of_a_range_is_the_same_whatever_the_callers_decimals_are() -> None:
    floats = Floats(1e-4, 0.37, log=True)
    plain = [floats.at(i / 16) for i in range(17)]
    with localcontext() as context:
        context.prec = 3
        assert [floats.at(i / 16) for i in range(17)] == plain
        assert Floats(1e-4, 1.0, log=True).at(0.75) == 0.1
