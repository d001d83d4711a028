"""datapackage.json: the frictionless library validates real folders by it, and finds what is wrong in one."""

from __future__ import annotations

import gc
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import frictionless
import pandas as pd
import pytest

import harness
from harness.axes import plugins
from harness.results import datapackage, tables
from harness.system import files
from harness.training import runs

PLUGIN = """
from pathlib import Path

import torch
from harness import losses, metrics, optimizers


@optimizers.register("slow")
def slow(param, grad, state, t, *, lr=0.1, slow_rule="01", slow_every=2, slow_nudge=True):
    \"\"\"p -= lr g / 2.\"\"\"
    param.sub_(lr * grad / 2)


@metrics.register("margin")
def margin(p, target):
    \"\"\"The true class's probability less a half.\"\"\"
    return (p * target).sum(-1) - 0.5


@losses.register("touchy", takes="logits")
def touchy(z, target):
    \"\"\"Cross-entropy that fails in training while there is a file called broken.\"\"\"
    if z.shape[-1] == 10 and Path(__file__).with_name("broken").exists():
        raise ValueError("it is broken")
    return torch.logsumexp(z, -1) - (target * z).sum(-1)
"""
OUTPUTS = [
    {"name": "=1 + CE, as text", "head": "identity", "loss": "ce"},
    {"name": "softmax + NLL", "head": "softmax", "loss": "nll"},
    {"name": "logits + CCQL", "head": "identity", "loss": "ccql", "lr": 1e25},
    {"name": "touchy", "head": "identity", "loss": "touchy"},
]
SEARCH: dict[str, Any] = {
    "study": {"name": "s", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "epochs": 2},
    "search": {"suggestions": 4, "batch": 2, "pruner": "median", "objective": ["val_accuracy"]},
    "space": {
        "lr": {"low": 1e-3, "high": 1.0, "log": True},
        "optimizer": ["sgd", "adam"],
        "hidden": {"depth": {"low": 1, "high": 2}, "width": {"low": 4, "high": 16, "log": True}},
    },
}
TUNE: dict[str, Any] = {
    "study": {"name": "t", "seeds": 2},
    "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
    "axes": {"activation": ["relu", "tanh"]},
    "tune": {"seeds": 1, "space": {"lr": [0.1, 0.3]}},
}


def problems(folder: Path) -> list[Any]:
    """What frictionless finds in a folder: row, field, kind and message."""
    report = frictionless.validate(str(folder / datapackage.FILE))
    return list(report.flatten(["rowNumber", "fieldName", "type", "message"]))


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """The resources of a folder's datapackage.json, by name."""
    resources = json.loads((folder / datapackage.FILE).read_text(encoding="utf-8"))["resources"]
    return {one["name"]: one for one in resources}


def changed(path: Path, column: str, value: str) -> None:
    """Change the first cell of a column of a CSV."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[0, column] = value
    frame.to_csv(path, index=False, lineterminator="\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials that are ok, skipped, diverged and failed, with linked settings and third-party components."""
    place = tmp_path_factory.mktemp("package")
    (place / "mine.py").write_text(PLUGIN)
    (place / "broken").touch()
    about = {"name": "whole", "seeds": 2, "hypothesis": "None.", "plugins": [str(place / "mine.py")]}
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    for outputs in (OUTPUTS[:3], OUTPUTS):  # of a stack that fails, all trials do: the others are done before
        study = {
            "study": {**about, "metrics": ["margin", "nll"]},
            "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
            "axes": {"optimizer": ["sgd", "slow"], "output": outputs},
        }
        runs.train(harness.parse(study), place / "results", device="cpu", workers=1)
    for axis, registry in plugins.catalogue().items():  # as in a process that has not loaded the plugin
        registry._entries.clear()
        registry._entries.update(before[axis])
    return place / "results"


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """The folder to do things to, as it is passed on."""
    copy = Path(shutil.copytree(whole, tmp_path / "copied"))
    shutil.rmtree(copy / "parts")
    (copy / "checksums.json").unlink()
    return copy


def test_a_folder_with_all_kinds_of_trials_is_valid(whole: Path) -> None:
    assert set(harness.read(whole).trials["status"]) == {"ok", "skipped", "diverged", "failed"}
    assert problems(whole) == []
    found = described(whole)
    assert list(found) == ["trials", "epochs", "confusion", "scores", "stacks"]
    for name, resource in found.items():
        header = pd.read_csv(whole / resource["path"], nrows=0).columns
        listed = resource["schema"]["fields"]
        assert [field["name"] for field in listed] == list(header), name
        assert all(field["description"].endswith(".") for field in listed), name
    fields = {field["name"]: field for field in found["trials"]["schema"]["fields"]}
    assert {name: fields[name]["type"] for name in ("slow_rule", "slow_every", "slow_nudge", "output")} == {
        "slow_rule": "string", "slow_every": "integer", "slow_nudge": "boolean", "output": "string",
    }  # fmt: skip
    assert fields["slow_rule"]["description"].startswith("Setting of optimizer slow.")
    assert fields["val_margin"]["description"].endswith("The true class's probability less a half.")
    assert fields["val_accuracy"]["constraints"] == {"minimum": 0, "maximum": 1}
    assert fields["group_seconds"]["unit"] == "seconds"
    assert fields["status"]["constraints"]["enum"] == ["ok", "diverged", "pruned", "failed", "skipped"]
    package = json.loads((whole / datapackage.FILE).read_text(encoding="utf-8"))
    assert (package["name"], package["description"]) == ("whole", "None.")
    assert "Licence: CC BY 4.0" in package["sources"][0]["title"]


@pytest.mark.parametrize(
    ("table", "column", "value", "kind"),
    [
        ("trials", "status", "finished", "constraint-error"),
        ("trials", "val_accuracy", "1.5", "constraint-error"),
        ("trials", "batch_size", "32.5", "type-error"),
        ("trials", "centered", "perhaps", "type-error"),
        ("trials", "seed", "", "constraint-error"),
        ("trials", "group", "g0", "foreign-key"),
        ("epochs", "trial_id", "t0", "foreign-key"),
        ("scores", "metric", "accuracy", "primary-key"),
        ("stacks", "group_seconds", "soon", "type-error"),
    ],
)
def test_what_is_wrong_in_a_table_is_found(
    copied: Path, table: str, column: str, value: str, kind: str
) -> None:
    changed(copied / f"{table}.csv", column, value)
    assert kind in {found[2] for found in problems(copied)}


def test_a_search_and_its_confirmation_are_valid(tmp_path: Path) -> None:
    harness.search(harness.parse(SEARCH), tmp_path / "s", workers=1)
    assert problems(tmp_path / "s") == problems(tmp_path / "s" / "confirmed") == []
    found = described(tmp_path / "s")
    assert list(found) == [
        "trials", "epochs", "confusion", "scores", "stacks", "suggestions", "winners"
    ]  # fmt: skip
    types = {field["name"]: field["type"] for field in found["suggestions"]["schema"]["fields"]}
    assert [types[name] for name in ("optimizer", "hidden.depth", "hidden.width.1", "lr")] == [
        "string", "integer", "integer", "number",
    ]  # fmt: skip


def test_a_tuned_study_is_valid_in_its_three_folders(tmp_path: Path) -> None:
    harness.run(harness.parse(TUNE), tmp_path, device="cpu", workers=1)
    for folder in (tmp_path, tmp_path / "tuning", tmp_path / "tuned"):
        assert problems(folder) == []
    assert "chosen" in described(tmp_path)
    assert "of_arm" in {
        field["name"] for field in described(tmp_path / "tuning")["trials"]["schema"]["fields"]
    }


def test_arms_that_share_a_trial_are_told_apart_by_their_names() -> None:
    rows = b"trial_id,arm\nt1,a\nt1,b\nt2,c\n"
    assert datapackage._key_of_trials(rows) == ["trial_id", "arm"]
    assert datapackage._key_of_trials(rows.replace(b"t1,b", b"t3,b")) == ["trial_id"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # frictionless' open files
def test_a_folder_that_is_kept_is_completed_and_valid(copied: Path) -> None:
    before = harness.read(copied)
    for name in ("scores.csv", "stacks.csv"):
        (copied / name).unlink()
    for name in ("epochs.csv", "confusion.csv"):
        (copied / f"{name}.gz").write_bytes(gzip.compress((copied / name).read_bytes()))
        (copied / name).unlink()
    tables.complete(copied)
    assert described(copied)["epochs"]["path"] == "epochs.csv.gz"
    assert not (copied / "checksums.json").exists()
    after = harness.read(copied)
    assert not problems(copied)
    gc.collect()
    assert after.trials.astype(str).equals(before.trials.astype(str))
    assert after.trials["slow_rule"].dropna().eq("01").all()


def test_columns_of_components_that_are_not_loaded_have_the_types_they_were_written_with(
    copied: Path,
) -> None:
    trials = harness.read(copied).trials
    slow = trials[trials["optimizer"].eq("slow")]
    assert set(slow["slow_rule"]) == {"01"}  # which no value of the study gives
    assert [str(trials[name].dtype) for name in ("slow_every", "slow_nudge")] == ["Int64", "boolean"]
    assert set(slow["slow_nudge"]) == {True}


def test_a_file_from_anybody_decides_nothing_of_the_harness_s_own(copied: Path) -> None:
    before = harness.read(copied).trials.dtypes
    path = copied / datapackage.FILE
    path.write_text(path.read_text(encoding="utf-8").replace('"number"', '"string"'), encoding="utf-8")
    pd.testing.assert_series_equal(harness.read(copied).trials.dtypes, before)


def test_a_description_that_has_not_changed_is_not_written_and_is_settled(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "again"))
    tables.consolidate(folder)  # without the plugin, whose metric it can describe no more
    written: list[str] = []
    real = files.write

    def write(path: Path, content: bytes) -> None:
        written.append(path.name)
        real(path, content)

    monkeypatch.setattr(files, "write", write)
    tables.consolidate(folder)
    assert datapackage.FILE not in written
    assert written.count("scores.csv") == 1
    record = json.loads((folder / "checksums.json").read_text())
    record["tables"][datapackage.FILE].insert(0, "0" * 64)  # as a run leaves it that was killed meanwhile
    (folder / "checksums.json").write_text(json.dumps(record))
    tables.consolidate(folder)
    assert datapackage.FILE in written
    again = json.loads((folder / "checksums.json").read_text())
    assert all(len(digests) == 1 for digests in again["tables"].values())
