"""Components that a test registers for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.registry import Registry


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """`register(registry, function, **facts)` as "mine", undone afterwards."""
    done: list[Registry[Any]] = []

    def third_party(registry: Registry[Any], function: Callable[..., Any], **facts: Any) -> None:
        registry.register("mine", **facts)(function)
        done.append(registry)

    yield third_party
    for registry in done:
        registry.remove("mine")
