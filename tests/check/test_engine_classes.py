"""A class as `--engine` takes it, checked as any other network."""

from __future__ import annotations

from typing import Any

import pytest

import harness
from harness.axes import own_networks
from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT

LIKE: dict[str, Any] = {"hidden": [50], "activation": "relu", "head": "softmax", "loss": "ce"}


@pytest.fixture
def kind() -> Any:
    example = PACKAGE_ROOT.parent / "docs" / "examples" / "my_network.py"
    return own_networks.find(own_networks.named(example)).kind


def test_the_example_is_right_and_is_what_it_says(kind: Any) -> None:
    result = harness.check.network(kind, dataset="digits", like=LIKE)
    assert result
    assert "64-50-10, relu, softmax, ce" in str(result)


def test_the_gradients_of_a_sum_are_found(kind: Any) -> None:
    class OfTheSum(kind):  # type: ignore[misc]
        def gradients(self, x: Any, target: Any) -> Any:
            return [gradient * len(x) for gradient in super().gradients(x, target)]

    result = harness.check.network(OfTheSum, dataset="digits", like=LIKE)
    assert not result
    assert "of the sum, not of the mean?" in " ".join(str(result).split())


def test_a_class_needs_the_settings_that_it_is_made_of(kind: Any) -> None:
    with pytest.raises(
        UsageError, match=r"Network is made for a trial, .*network\(Network, dataset='digits'"
    ):
        harness.check.network(kind)
    with pytest.raises(UsageError, match="dict has no method forward and no gradients"):
        harness.check.network(dict, dataset="digits", like=LIKE)
