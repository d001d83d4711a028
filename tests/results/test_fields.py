"""Types of columns: the same in every folder, by the column's name and never by its cells."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

import harness
from harness.results import columns, csv_rows, fields
from harness.settings import TYPES, Setting, _annotation, limited, limits
from harness.study.checker import known_settings

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.rglob("trials.csv"))
SMALL = [folder for folder in FOLDERS if (folder / "confusion.csv").is_file()]


def read(text: str, study: dict[str, Any] | None = None) -> pd.DataFrame:
    return columns.typed(csv_rows.read(io.StringIO(text)), "trials", study or {})


def test_a_column_has_one_dtype_in_all_committed_folders_and_it_is_its_field_s() -> None:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for folder in SMALL:
        results = harness.read(folder)
        for table in ("trials", "epochs", "confusion", "scores", "stacks"):
            frame = getattr(results, table)
            described = fields.describe(table, list(frame.columns), results.study)
            assert set(described) == set(frame.columns), (folder, table)
            for name, dtype in frame.dtypes.items():
                found[table, str(name)].add(str(dtype).replace("object", "str"))
                assert found[table, str(name)] == {described[str(name)].dtype}, (folder, table, name)
    assert len(SMALL) >= 9
    assert {"str", "int64", "Int64", "float64", "boolean"} == set().union(*found.values())


def test_an_empty_column_has_the_dtype_of_a_full_one() -> None:
    names = ["trial_id", "hidden", "epochs", "centered", "lr", "seed", "kernels", "val_loss", "batch_size"]
    names += ["train_loss", "test_loss"]
    header = ",".join(names)
    full = read(f"{header}\nt1,[8],5,true,0.1,0,c-1,0.5,32,1,1\n")
    empty = read(f"{header}\nt1,[],,,,0,,,32,,\n")
    pd.testing.assert_series_equal(full.dtypes, empty.dtypes)
    assert full.dtypes[["epochs", "centered", "lr", "seed"]].astype(str).tolist() == [
        "Int64", "boolean", "float64", "int64",
    ]  # fmt: skip
    assert (full["epochs"].tolist(), full["centered"].tolist()) == ([5], [True])
    assert empty["hidden"].tolist() == ["[]"]


def test_large_seeds_keep_their_digits_beside_empty_cells() -> None:
    frame = read(f"split_seed,label_noise_seed\n{limits.SEED},{limits.SEED - 1}\n,{limits.SEED}\n")
    assert frame["split_seed"].tolist() == [limits.SEED, pd.NA]
    assert frame["label_noise_seed"].tolist() == [limits.SEED - 1, limits.SEED]


def test_names_that_look_like_numbers_stay_names() -> None:
    study = {"axes": {"size": [{"name": "01", "batch_size": 8}, {"name": "1e-3", "batch_size": 16}]}}
    frame = read("trial_id,size,reason\nt1,01,nan\nt2,1e-3,7\n", study)
    assert frame["size"].tolist() == ["01", "1e-3"]
    assert frame["reason"].tolist() == ["nan", "7"]


@pytest.mark.parametrize(
    ("column", "cells", "kept"),
    [
        ("lr", ["0.1", "a tenth"], ["0.1", "a tenth"]),
        ("epochs", ["5", "2.5"], [5.0, 2.5]),  # not whole: nothing is rounded
        ("epochs", ["5.0", "7"], [5, 7]),  # as another program saves a column with empty cells
        ("centered", ["true", "yes"], ["true", "yes"]),
        ("centered", ["True", "False"], [True, False]),  # as pandas saves them
        ("lr", ["0,1", "0,2"], ["0,1", "0,2"]),
        ("unknown", ["1", "2"], [1, 2]),
        ("unknown", ["1", "x"], ["1", "x"]),
    ],
)
def test_a_column_that_somebody_edited_loses_nothing(column: str, cells: list[str], kept: list[Any]) -> None:
    text = "\n".join([column, *(f'"{cell}"' for cell in cells)])
    assert read(text + "\n")[column].tolist() == kept


def test_a_setting_of_a_component_that_is_loaded_is_described_by_it() -> None:
    @harness.optimizers.register("lazy")
    def lazy(param: Any, grad: Any, state: Any, t: Any, *, lr: float = 0.1, lazy_rule: str = "1") -> None:
        """Do nothing."""

    found = fields.describe("trials", ["lazy_rule", "lr"], {})
    assert (found["lazy_rule"].type, found["lr"].type) == ("string", "number")
    assert found["lazy_rule"].meaning == f"Setting of optimizer lazy.{fields.EMPTY}"
    assert read("trial_id,lazy_rule\nt1,01\n")["lazy_rule"].tolist() == ["01"]


def test_limits_are_those_that_pydantic_checks() -> None:
    every = [*known_settings().values(), *(Setting(name, None) for name in TYPES)]
    others = ("minItems", "maxItems", "items")
    for setting in [*every, Setting("one_s_own", "a"), Setting("one_s_own", True)]:
        schema = TypeAdapter(_annotation(setting.name, type(setting.default).__name__)).json_schema()
        schema = schema.get("anyOf", [schema])[0]  # of a list or one number, the list
        found = limited(setting)
        assert {key: found[key] for key in found if key not in others} == {
            key: schema[key] for key in schema if key not in others
        }, setting


def test_a_metric_is_told_from_a_setting_whose_name_begins_alike() -> None:
    names = ["val_fraction", "val_split", "val_loss", "train_loss", "test_loss", "val_x"]
    found = fields.describe("trials", names, {})
    assert {name: one.type for name, one in found.items()} == {
        "val_fraction": "number", "val_split": "string", "val_loss": "number", "train_loss": "number",
        "test_loss": "number",
    }  # fmt: skip
