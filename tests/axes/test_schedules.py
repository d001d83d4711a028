from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.axes.schedules import Clock, cosine_of, schedules, whole_powers
from harness.check import component

steady = settings(deadline=None, max_examples=40)  # time depends on the machine
every = pytest.mark.parametrize("name", [entry.name for entry in schedules])
STEPS, PER_EPOCH = 23, 5


def torchs(name: str) -> list[float]:
    """The factors of torch's own scheduler, stepped after each epoch or each step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler: Any = torch.optim.lr_scheduler
    made = {
        "constant": lambda: scheduler.ConstantLR(optimizer, factor=1.0),
        "exponential": lambda: scheduler.ExponentialLR(optimizer, gamma=0.9),
        "linear": lambda: scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS),
        "cosine": lambda: scheduler.CosineAnnealingLR(optimizer, T_max=STEPS),
    }[name]()
    factors = []
    for step in range(1, STEPS + 1):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if name != "exponential" or step % PER_EPOCH == 0:
            made.step()
    return factors


@every
def test_contract(name: str) -> None:
    assert component("schedule", name)


@pytest.mark.parametrize("name", ["constant", "exponential", "linear", "cosine"])
def test_is_torchs(name: str) -> None:
    factors = schedules[name].factor(Clock.of(STEPS, PER_EPOCH))
    np.testing.assert_allclose(factors, torchs(name), rtol=1e-12, atol=1e-14)


@every
@steady
@given(steps=st.integers(1, 300), per_epoch=st.integers(1, 80))
def test_one_factor_a_step_from_1_never_negative_and_never_rising(
    name: str, steps: int, per_epoch: int
) -> None:
    factors = schedules[name].factor(Clock.of(steps, per_epoch))
    assert factors.shape == (steps,)
    assert factors[0] == 1
    assert (factors >= 0).all()
    assert (np.diff(factors) <= 1e-12).all()


def test_exponential_multiplies_after_each_epoch() -> None:
    factors = schedules["exponential"].factor(Clock.of(7, 3), gamma=0.5)
    assert factors.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_next_factor_after_the_last_step_would_be_0(name: str) -> None:
    factors = schedules[name].factor(Clock.of(1000, 10))
    assert 0 < factors[-1] < 2e-3
    assert factors[500] == pytest.approx(0.5)


def test_the_clock_counts_steps_and_epochs() -> None:
    clock = Clock.of(5, 2)
    assert clock.step.tolist() == [0, 1, 2, 3, 4]
    assert clock.epoch.tolist() == [0, 0, 1, 1, 2]


def taylor(x: float) -> float:
    """The cosine, by its series in sixty decimals."""
    with localcontext(prec=60):
        square, term, total = Decimal(x) ** 2, Decimal(1), Decimal(1)
        for n in range(2, 80, 2):
            term *= -square / (n * (n - 1))
            total += term
        return float(total)


def test_cosines_are_within_one_unit_in_the_last_place() -> None:
    """Of the true value, at all steps of some runs, at the ends, and where the series change."""
    ends = [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi]
    x = np.concatenate([np.pi * np.arange(n) / n for n in (1, 2, 3, 7, 400, 1688)] + [np.array(ends)])
    exact = np.array([taylor(value) for value in x.tolist()])
    assert (np.abs(cosine_of(x) - exact) <= np.spacing(np.abs(exact))).all()
    assert cosine_of(np.array([0.0]))[0] == 1


@given(base=st.floats(0, 2), exponents=st.lists(st.integers(0, 1000), min_size=1, max_size=9))
@steady
def test_whole_powers_are_those_of_fractions(base: float, exponents: list[int]) -> None:
    def exact(n: int) -> float:
        try:
            return float(Fraction(base) ** n)
        except OverflowError:
            return float("inf")

    assert whole_powers(base, np.array(exponents)).tolist() == [exact(n) for n in exponents]
