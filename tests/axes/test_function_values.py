"""The values of a component and its derivative are those of the textbook."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.axes import function_values
from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.errors import UsageError


def at(name: str | Callable[..., Any], x: float, axis: str | None = None) -> tuple[float, float]:
    """A function's value and derivative at one place."""
    table = function_values.values(function_values.found(name, axis), x - 1, x + 1, 3)
    assert table["x"].tolist() == [x - 1, x, x + 1]
    return float(table["value"][1]), float(table["derivative"][1])


SOFTMAX = math.e**2 / (math.e**2 + 9)  # of ten classes, the others at 0


@pytest.mark.parametrize(
    ("name", "axis", "value", "derivative"),
    [
        ("sigmoid", None, 1 / (1 + math.e**-2), math.e**-2 / (1 + math.e**-2) ** 2),
        ("tanh", "activation", math.tanh(2), 1 - math.tanh(2) ** 2),
        ("relu", None, 2, 1),
        ("softmax", None, SOFTMAX, SOFTMAX * (1 - SOFTMAX)),
        ("log_softmax", None, math.log(SOFTMAX), 1 - SOFTMAX),
        ("sigmoid", "head", 1 / (1 + math.e**-2), math.e**-2 / (1 + math.e**-2) ** 2),
        ("ce", None, -math.log(SOFTMAX), SOFTMAX - 1),
        ("nll", "loss", -math.log(SOFTMAX), SOFTMAX - 1),  # of log-probabilities: through log-softmax
        ("mse", None, 0.1, 0.2),  # (2 - 1)^2 / 10 classes
        ("ql", None, 0.5, 1),
        ("ccql", None, 1.5, 3),  # ql + 2 / 2 (1 - 2)^2
        (torch.exp, None, math.e**2, math.e**2),
        (np.exp, None, math.e**2, math.e**2),
        (lambda x: np.maximum(x, 0), None, 2, 1),
    ],
)
def test_values_and_derivatives_are_the_textbooks(
    name: Any, axis: str | None, value: float, derivative: float
) -> None:
    assert at(name, 2.0, axis) == pytest.approx((value, derivative), rel=1e-8)


def test_every_component_can_be_drawn_with_its_facts() -> None:
    for registry, axis in ((activations, "activation"), (heads, "head"), (losses, "loss")):
        for entry in registry:
            found = function_values.found(entry.name, axis)
            table = function_values.values(found, -5, 5, 11)
            assert np.isfinite(table.to_numpy()).all(), entry.name
            said = function_values.facts(found, table)
            assert said[0].startswith(f"{axis} {entry.name}: "), said
            assert "trained with a closed form" in " ".join(said)


def test_a_name_of_two_axes_is_the_activation_unless_one_is_named() -> None:
    assert function_values.found("identity").kind == "activation"
    assert function_values.found("sigmoid", "head").kind == "head"
    assert function_values.title(function_values.found("sigmoid")).startswith(
        "activation sigmoid (also a head of this name)"
    )
    facts = function_values.facts(found := function_values.found("sigmoid", "head"), _any(found))
    assert "also an activation: --axis activation shows that" in facts


def _any(found: function_values.DrawnFunction) -> Any:
    return function_values.values(found, -1, 1, 3)


def test_a_persons_own_component_is_drawn_by_autograd() -> None:
    @activations.register("square")
    def square(x: torch.Tensor) -> torch.Tensor:
        """x times x."""
        return x * x

    assert at("square", 3.0) == pytest.approx((9, 6))
    found = function_values.found("square")
    assert "derivative: drawn by autograd, trained with autograd" in function_values.facts(found, _any(found))


def test_values_that_are_not_finite_stay_and_no_gradient_is_nan() -> None:
    table = function_values.values(function_values.found(torch.log), -1, 1, 3)
    assert np.isnan(table["value"][0])
    assert np.isneginf(table["value"][1])
    stepped = function_values.values(function_values.found(lambda x: (x > 0).double()), -1, 1, 3)
    assert stepped["value"].tolist() == [0, 0, 1]
    assert stepped["derivative"].isna().all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: function_values.found("gleu"), "did you mean 'gelu'"),
        (lambda: function_values.found("adam"), r"\(adam is a name of axis optimizer\)"),
        (lambda: function_values.found("gelu", "loss"), "there is no loss 'gelu'"),
        (lambda: function_values.found("gelu", "metric"), "axis = 'metric': allowed: activation, head, loss"),
        (lambda: at(lambda x: x.sum(), 0.0), "gives .* for a tensor of shape"),
        (lambda: at(np.sum, 0.0), r"gives shape \(\) for an array"),
        (lambda: at(lambda x: x / x.nothing, 0.0), "fails on numbers of shape"),
        (lambda: function_values.values(function_values.found("gelu"), 1, 1), "the lower one first"),
        (lambda: function_values.values(function_values.found("gelu"), 0, math.inf), "allowed: two numbers"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_words(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()
