"""Every level against every other: the family's pairs have their verdicts, all others none."""

from __future__ import annotations

import pandas as pd
import pytest
from families import arms, grid

from harness.reporting import evidence, level_pairs

EFFECTS = {"activation": {"relu": 0.0, "tanh": -0.02, "gelu": 0.01}, "batch_size": {"32": 0.0, "128": -0.05}}


def test_all_pairs_are_there_once_and_only_the_family_has_verdicts() -> None:
    study = {"contrasts": {"declared": True, "levels": [{"axis": "activation", "reference": "relu"}]}}
    table = level_pairs.table(evidence.gather(grid(EFFECTS, study=study, datasets=("one", "two"))))
    pairs = list(
        table.loc[table["dataset"].eq("one"), ["arm", "reference", "verdict"]].itertuples(index=False)
    )
    assert [tuple(pair) for pair in pairs] == [
        ("tanh", "relu", "worse"), ("gelu", "relu", "better"), ("gelu", "tanh", "exploratory"),
        ("128", "32", "exploratory"),
    ]  # fmt: skip
    assert list(table["dataset"]) == ["one"] * 4 + ["two"] * 4
    found = table.set_index(["dataset", "arm", "reference"])["difference"]
    assert found["one", "gelu", "tanh"] == pytest.approx(0.03, abs=1e-3)
    assert found["one", "gelu", "tanh"] == pytest.approx(
        found["one", "gelu", "relu"] - found["one", "tanh", "relu"]
    )
    assert table["low"].lt(table["difference"]).all()
    assert table["difference"].lt(table["high"]).all()


def test_an_axis_with_too_many_levels_is_left_out_and_named() -> None:
    many = {
        "width": {f"w{k}": 0.001 * k for k in range(level_pairs.MOST_LEVELS + 1)},
        "a": {"x": 0, "y": 0.1},
    }
    section = level_pairs.section(evidence.gather(grid(many, seeds=2)))
    assert "Left out: width" in section.words[0]
    (table,) = section.tables
    assert isinstance(table.data, pd.DataFrame)
    assert set(table.data["axis"]) == {"a"}


def test_a_design_without_axes_has_no_pairs() -> None:
    section = level_pairs.section(evidence.gather(arms({"baseline": 0.0, "b": 0.1})))
    assert not section.tables
