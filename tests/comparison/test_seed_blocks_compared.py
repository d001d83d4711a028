"""Tuned arms for which blocks of seeds chose: `compare` and `judge` count blocks, and say so."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pandas as pd
import pytest

import harness
from harness import results
from harness.cli import answers, json_output, schemas
from harness.comparison import text
from harness.comparison.comparing import seed_blocks
from harness.comparison.judging.text import headings, read_as, sentences
from harness.study.reading import parse
from harness.text.json_values import plain
from harness.training import runs


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tuned folders of two studies of six seeds in three blocks, which differ in their batches."""
    root = tmp_path_factory.mktemp("results")
    for size in (16, 32):
        tables = {
            "study": {"name": "blocks", "seeds": 6},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8], "batch_size": size},
            "axes": {"activation": ["relu", "tanh"]},
            "tune": {"seeds": 3, "blocks": 3, "space": {"lr": [0.05, 0.3]}},
        }
        runs.train(parse(tables), root / str(size), device="cpu", workers=1)
    return [root / str(size) / "tuned" for size in (16, 32)]


def test_two_folders_are_compared_by_blocks(folders: list[Path]) -> None:
    found = harness.compare(*folders)
    one, other = (
        results.read_trials(folder).pivot_table(index="seed_block", columns="arm", values="test_accuracy")
        for folder in folders
    )
    means = other - one
    arms = found.arms.set_index("arm")
    assert found.unit == "seed block"
    for arm in map(str, means):
        assert arms.loc[arm, "n"] == 3
        assert arms.loc[arm, "difference"] == pytest.approx(means[arm].mean(), abs=1e-6)
        assert arms.loc[arm, "sd"] == pytest.approx(means[arm].std(ddof=1), abs=1e-6)
    assert found.pooled["n"].tolist() == [3]
    assert found.pooled["sd"].iloc[0] == pytest.approx(means.mean(axis=1).std(ddof=1), abs=1e-6)
    assert any("n counts blocks" in note for note in found.notes)
    assert "seed blocks" in text.latex(found)
    assert ", 3 seed blocks" in text.below_table(found.arms, found, "digits")[0]
    answer = plain({"command": "compare", "schema": json_output.SCHEMA, **answers.compared(found, None)})
    answer |= {"files": [], "notes": []}
    jsonschema.Draft202012Validator(schemas.schema("compare")).validate(answer)
    assert answer["unit"] == "block"


def test_blocks_of_either_folder_are_joined() -> None:
    pairs = pd.DataFrame({"seed": [0, 1, 2, 3], "seed_block": ["1", "1", "2", "2"]})
    others = pd.DataFrame({"seed": [1, 2, 3], "seed_block": ["1", "1", "2"]})
    seeds = pairs[["seed"]]
    assert seed_blocks(seeds, seeds) == {}
    assert seed_blocks(pairs, seeds) == {0: 0, 1: 0, 2: 2, 3: 2}
    assert seed_blocks(seeds, others) == {0: 0, 1: 1, 2: 1, 3: 3}
    assert set(seed_blocks(pairs, others).values()) == {0}


@pytest.mark.parametrize("file", ["", "trials.csv"])
def test_a_judgement_speaks_of_blocks(folders: list[Path], file: str) -> None:
    judged = harness.judge(folders[0] / file)
    assert judged.contrasts["n"].tolist() == [3]
    assert judged.read_as()["unit"] == "seed block"
    (said,) = sentences(judged)
    assert "over 3 seed blocks" in said
    assert "; 3 seed blocks show differences from" in said
    assert "seed = seed (6)" in read_as(judged)
    assert "seed blocks" in headings(judged)
