from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.axes import plugins
from harness.errors import UsageError
from harness.registry import Registry


@dataclasses.dataclass(frozen=True)
class Shade:
    name: str
    apply: Callable[[float], float]
    dark: bool = False


def shades() -> Registry[Shade]:
    return Registry("shade", Shade)


def half(x: float) -> float:
    """Half of it.

    More about it.
    """
    return x / 2


def test_a_function_is_registered_and_comes_back_unchanged() -> None:
    registry = shades()
    assert registry.register("half", dark=True)(half) is half
    assert registry["half"] == Shade("half", half, dark=True)
    assert registry["half"].apply(3) == 1.5
    assert "half" in registry
    assert "quarter" not in registry
    assert len(registry) == 1
    assert [entry.name for entry in registry] == ["half"]


def test_an_entry_has_a_summary_and_a_place() -> None:
    registry = shades()
    registry.register("half")(half)
    entry = registry.entry("half")
    assert entry.summary == "Half of it."
    assert entry.where == f"test_registry.py:{half.__code__.co_firstlineno}"
    assert entry.module == half.__module__


def test_entries_keep_the_order_in_which_they_came() -> None:
    registry = shades()
    for name in ("c", "a", "b"):
        registry.register(name)(half)
    assert [entry.name for entry in registry] == ["c", "a", "b"]


def test_a_name_cannot_be_registered_twice() -> None:
    registry = shades()
    registry.register("half")(half)
    with pytest.raises(
        UsageError, match=r"shade 'half' is defined twice: in test_registry.py:\d+ and in test_"
    ):
        registry.register("half")(lambda x: x)
    assert registry["half"].apply is half


def test_an_unknown_name_is_reported_with_suggestions_and_all_names() -> None:
    registry = shades()
    registry.register("half")(half)
    registry.register("quarter")(half)
    with pytest.raises(
        UsageError, match=r"unknown shade 'hafl': did you mean 'half'\? Allowed: half, quarter"
    ):
        registry["hafl"]
    with pytest.raises(UsageError, match=r"unknown shade 'zzz': allowed: half, quarter"):
        registry.entry("zzz")


def test_an_unknown_fact_of_a_component_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"shade 'half' \(test_registry.py:\d+\) cannot be registered.*'bright'"
    ):
        shades().register("half", bright=1)(half)


def test_a_removed_component_can_be_registered_again() -> None:
    registry = shades()
    registry.register("half")(half)
    registry.remove("half")
    assert "half" not in registry
    registry.register("half")(half)
    with pytest.raises(UsageError, match="unknown shade 'hal'"):
        registry.remove("hal")


def test_a_function_without_a_docstring_has_no_summary() -> None:
    registry = shades()
    registry.register("same")(lambda x: x)
    assert registry.entry("same").summary == ""


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shades_of_a_third_party", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_third_partys_digest_is_its_files_and_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    digests = []
    for source in ("def f(x):\n    return x\n", "def f(x):\n    return 2 * x\n"):
        path.write_text(source)
        registry = shades()
        registry.register("f")(module_of(path).f)
        digests.append(registry.entry("f").source_digest)
        assert digests[-1] == hashlib.sha256(source.encode()).hexdigest()
        assert registry.entry("f").where == "mine.py:1"
    assert digests[0] != digests[1]


def test_a_notebooks_cell_is_known_by_its_code() -> None:
    digests = []
    for factor in (2, 2, 3):
        cell: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(f"def f(x):\n    return {factor} * x\n", "<cell>", "exec"), cell)  # noqa: S102 (as a notebook)
        registry = shades()
        registry.register("f")(cell["f"])
        digests.append(registry.entry("f").source_digest)
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 64


@pytest.mark.parametrize("axis", plugins.catalogue())
def test_built_in_components_have_a_place_a_summary_and_no_digest(axis: str) -> None:
    own = [entry for entry in plugins.catalogue()[axis] if entry.where.startswith("harness/")]
    assert own
    for entry in own:
        assert entry.where.startswith(("harness/axes/", "harness/data/"))
        assert entry.summary
        assert entry.source_digest == ""
        assert getattr(entry.component, "name", entry.name) == entry.name
