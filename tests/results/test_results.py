"""Results: the schema of a folder, what its tables agree on, and what it survives."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import results
from harness.data.samples import prepare
from harness.errors import MachineError, UsageError
from harness.planning import plan
from harness.results import csv_rows, datapackage, documents, part_files, run_folder, tables
from harness.settings import limits
from harness.settings.schema import NAMED_ONLY
from harness.study.checker import known_settings
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.study.trials import trials
from harness.system import files, locks
from harness.training import runs

Make = Callable[..., Study]
OUTPUT = [
    {"name": "softmax + CE", "head": "identity", "loss": "ce"},
    {"name": "softmax + NLL", "head": "softmax", "loss": "nll"},
    {"name": "logits + CCQL", "head": "identity", "loss": "ccql", "lr": 1e25},
]
SETTINGS = [
    "dataset", "preprocessing", "val_fraction", "val_split", "split_seed", "architecture", "activation",
    "head", "loss", "optimizer", "schedule", "batch_size", "epochs", "steps", "sampling", "match",
    "eval_every", "label_noise", "label_noise_seed", "label_smoothing", "augmentation",
    "start_seed", "order_seed", "dropout_seed", "augmentation_seed", "hidden", "dropout", "norm", "skip",
    "initial_weights", "channels", "kernel", "pooling", "readout", "blocks", "ccql_weight", "lr",
    "weight_decay", "momentum", "dampening", "alpha", "eps", "centered", "betas", "amsgrad", "lr_decay",
    "initial_accumulator_value", "gamma", "shift_pixels", "flip_probability", "rotate_degrees",
    "erase_probability", "erase_share", "mixup_alpha", "pixel_dropout_share",
]  # fmt: skip
"""In the order of the columns, which scripts lean on: never reorder them."""
OUTCOME = [
    "status", "reason", "diverged_step", "parameters", "flops", "epochs_done", "steps_done", "train_loss",
    "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "engine", "device", "group",
    "group_size", "group_seconds", "kernels", "host",
]  # fmt: skip


def study(**head: Any) -> Study:
    """Trials that are ok, skipped and diverged, with two shapes of one data set."""
    return parse(
        {
            "study": {
                "name": "contract",
                "seeds": [0, 4],
                "keep_predictions": ["train", "val", "test"],
                **head,
            },
            "baseline": {"dataset": "digits", "epochs": 2, "weight_decay": 1e-3},
            "axes": {"hidden": [[8], [6, 5]], "optimizer": ["sgd", "adam"], "output": OUTPUT},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    runs.train(study(), folder, device="cpu", workers=1)
    return folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """The folder to do things to."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


# ------------------------------------------------------------------------------------------------- trials.csv


def test_the_columns_have_their_documented_order(folder: Path) -> None:
    assert list(known_settings()) == SETTINGS
    usual = [name for name in SETTINGS if name not in NAMED_ONLY]
    columns = ["trial_id", "arm", "output", *usual, "seed", *OUTCOME]
    assert list(text(folder / "trials.csv")) == columns
    assert list(text(folder / "epochs.csv")) == ["trial_id", "epoch", "step", "split", "loss", "accuracy"]
    assert list(text(folder / "confusion.csv")) == ["trial_id", "split", "label", "prediction", "count"]


@pytest.mark.parametrize(
    "tables",
    [
        {"baseline": {"initial_weights": "normal"}},
        {"axes": {"initial_weights": ["normal", "glorot_uniform"]}},
        {"axes": {"start": [{"name": "a", "initial_weights": "normal"}, {"name": "b"}]}},
        {"tune": {"seeds": 1, "space": {"lr": [0.1, 0.2], "initial_weights": ["normal", "glorot_uniform"]}}},
    ],
)  # fmt: skip
def test_initial_weights_have_a_column_where_a_study_names_them(tables: dict[str, Any]) -> None:
    named = parse({"study": {"name": "named", "hypothesis": "None."}, **tables})
    assert "initial_weights" in run_folder.planned_rows(plan.draw(named)).columns
    assert "initial_weights" not in run_folder.planned_rows(plan.draw(study())).columns


def test_every_planned_trial_has_a_row_in_order(folder: Path) -> None:
    planned, _ = trials(study())
    rows = text(folder / "trials.csv")
    assert list(rows["trial_id"]) == [trial.trial_id for trial in planned]
    assert list(rows["arm"]) == [trial.arm.name for trial in planned]
    assert list(rows["seed"]) == [str(trial.seed) for trial in planned]
    assert rows["status"].value_counts().to_dict() == {"ok": 8, "skipped": 8, "diverged": 8}


def test_settings_that_do_not_apply_are_empty(folder: Path) -> None:
    rows = text(folder / "trials.csv")
    adam = rows["optimizer"] == "adam"
    assert set(rows.loc[adam, "betas"]) == {"[0.9, 0.999]"}
    assert set(rows.loc[~adam, "betas"]) == {""}
    assert set(rows.loc[~adam, "eps"]) == {""}
    ccql = rows["output"] == "logits + CCQL"
    assert set(rows.loc[ccql, "ccql_weight"]) == {"2"}
    assert set(rows.loc[~ccql, "ccql_weight"]) == {""}
    for name in ("steps", "momentum", "alpha", "gamma"):
        assert set(rows[name]) == {""}
    assert set(rows["weight_decay"]) == {"0.001"}
    assert set(rows.loc[~adam & ~ccql, "lr"]) == {"0.1"}
    assert set(rows.loc[adam & ~ccql, "lr"]) == {"0.001"}


def test_ok_rows_are_whole(folder: Path) -> None:
    rows = results.read(folder).trials
    ok = rows[rows["status"] == "ok"]
    assert set(ok["reason"]) == {""}
    assert ok["diverged_step"].isna().all()
    assert set(ok["epochs_done"]) == {2}
    assert set(ok["steps_done"]) == {2 * 41}
    for split in ("train", "val", "test"):
        assert ok[f"{split}_accuracy"].between(0.02, 1).all()
        assert (ok[f"{split}_loss"] > 0).all()
    assert set(ok.loc[ok["hidden"] == "[8]", "parameters"]) == {65 * 8 + 9 * 10}
    assert set(ok.loc[ok["hidden"] == "[6, 5]", "parameters"]) == {65 * 6 + 7 * 5 + 6 * 10}
    assert set(ok["engine"]) == {"stacked"}
    assert set(ok["device"]) == {"cpu"}
    trained = rows[rows["status"] != "skipped"]
    assert (trained.groupby("group")["trial_id"].transform("size") == trained["group_size"]).all()
    seconds = trained.groupby("group")["group_seconds"]
    assert (seconds.min() == seconds.max()).all()


def test_skipped_rows_have_a_reason_and_no_numbers(folder: Path) -> None:
    rows = text(folder / "trials.csv")
    skipped = rows[rows["status"] == "skipped"]
    assert set(skipped["output"]) == {"softmax + NLL"}
    assert (
        skipped["reason"]
        .str.startswith("loss 'nll' takes log_probabilities; head 'softmax' gives prob")
        .all()
    )
    assert (skipped[OUTCOME[2:]] == "").all().all()


def test_diverged_rows_have_a_step_and_no_numbers(folder: Path) -> None:
    rows = text(folder / "trials.csv")
    diverged = rows[rows["status"] == "diverged"]
    assert set(diverged["output"]) == {"logits + CCQL"}
    assert (diverged["diverged_step"].astype(int) >= 1).all()
    assert (diverged["steps_done"] == diverged["diverged_step"]).all()
    assert (
        (diverged[[f"{s}_{m}" for s in ("train", "val", "test") for m in ("loss", "accuracy")]] == "")
        .all()
        .all()
    )
    reasons = "the loss was not finite at step " + diverged["diverged_step"]
    assert (diverged["reason"] == reasons).all()


def test_numbers_have_no_more_digits_than_float32(folder: Path) -> None:
    for name in ("train_loss", "test_accuracy"):
        numbers = text(folder / "trials.csv")[name]
        mantissas = numbers[numbers != ""].str.split("e").str[0].str.replace(".", "").str.lstrip("0")
        assert (mantissas.str.len() <= 7).all()


# ------------------------------------------------------------------------------------------------- epochs.csv


def test_curves_start_before_training_and_end_at_the_row(folder: Path) -> None:
    read = results.read(folder)
    for _, row in read.trials[read.trials["status"] == "ok"].iterrows():
        curve = read.epochs[read.epochs["trial_id"] == row["trial_id"]]
        for split in ("train", "val"):
            one = curve[curve["split"] == split]
            assert list(one["epoch"]) == [0, 1, 2]
            assert list(one["step"]) == [0, 41, 82]
            assert one["loss"].iloc[-1] == row[f"{split}_loss"]
            assert one["accuracy"].iloc[-1] == row[f"{split}_accuracy"]
        assert set(curve["split"]) == {"train", "val"}  # test is evaluated once, and is no curve
    assert read.epochs["accuracy"].between(0, 1).all()


def test_arms_of_one_shape_start_from_the_same_weights(folder: Path) -> None:
    read = results.read(folder)
    start = read.epochs[read.epochs["step"] == 0].merge(read.trials, on="trial_id")
    groups = start.groupby(["hidden", "seed", "split", "output"])["loss_x"]
    assert (groups.min() == groups.max()).all()
    assert len(set(start.loc[start["output"] == "softmax + CE", "loss_x"])) == 2 * 2 * 2


def test_a_curve_ends_where_its_trial_diverged(folder: Path) -> None:
    read = results.read(folder)
    for _, row in read.trials[read.trials["status"] == "diverged"].iterrows():
        curve = read.epochs[read.epochs["trial_id"] == row["trial_id"]]
        assert len(curve) >= 2
        assert (curve["step"] < row["diverged_step"]).all()
        assert np.isfinite(curve["loss"]).all()


# ---------------------------------------------------------------------------------------------- confusion.csv


def test_confusions_sum_to_the_splits_and_agree_with_the_accuracies(folder: Path) -> None:
    read = results.read(folder)
    ok = read.trials[read.trials["status"] == "ok"].set_index("trial_id")
    assert set(read.confusion["trial_id"]) == set(ok.index)
    assert (read.confusion["count"] > 0).all()
    sizes = read.confusion.groupby(["split", "trial_id"])["count"].sum()
    assert set(sizes["test"]) == {360}
    assert set(sizes["val"]) == {144}
    right = read.confusion[read.confusion["label"] == read.confusion["prediction"]]
    counts = right.groupby(["split", "trial_id"])["count"].sum()
    for split, size in (("val", 144), ("test", 360)):
        expected = ok[f"{split}_accuracy"] * size
        assert (counts[split].reindex(ok.index, fill_value=0) - expected).abs().max() < 1e-3
    labels = prepare(trials(study())[0][0].arm.settings).test.y
    test = read.confusion[read.confusion["split"] == "test"]
    shares = test.pivot_table(index="trial_id", columns="label", values="count", aggfunc="sum")
    assert (shares == np.bincount(labels)).all().all()


# -------------------------------------------------------------------------------------------- everything else


def test_the_study_written_down_means_the_same_trials(folder: Path) -> None:
    again = load(folder / "study.toml")
    assert trials(again) == trials(study())
    assert again.about == study().about


def test_the_plan_names_every_trained_trial_once(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    assert (plan["schema"], plan["study"], list(plan["data"])) == (1, "contract", ["digits"])
    assert plan["merged"] == trials(study())[1]
    rows = text(folder / "trials.csv").set_index("trial_id")
    members = {trial: stack["group"] for stack in plan["stacks"] for trial in stack["trials"]}
    assert sum(len(stack["trials"]) for stack in plan["stacks"]) == len(members)
    assert members == rows.loc[rows["status"] != "skipped", "group"].to_dict()
    assert {path.stem for path in (folder / "parts").iterdir()} == set(members.values())


def test_the_folder_holds_what_the_contract_names_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "trials.csv", "epochs.csv", "confusion.csv", "parts", "predictions", "weights", "study.toml",
        "plan.json", "provenance.json", "checksums.json", "planned.csv.gz", "scores.csv", "stacks.csv",
        "datapackage.json",
    }  # fmt: skip


def test_without_validation_its_columns_are_empty(study_of: Make, tmp_path: Path) -> None:
    runs.train(study_of(epochs=1, val_fraction=0), tmp_path, device="cpu", workers=1)
    rows = text(tmp_path / "trials.csv")
    assert set(rows["status"]) == {"ok"}
    for name in ("val_loss", "val_accuracy", "val_split", "split_seed"):
        assert set(rows[name]) == {""}
    assert set(rows["steps_done"]) == {"45"}  # all 1,437 images
    assert set(text(tmp_path / "epochs.csv")["split"]) == {"train"}
    assert set(text(tmp_path / "confusion.csv")["split"]) == {"test"}
    assert not (tmp_path / "weights").exists()  # the best by val: there is none


def test_a_budget_in_steps_is_kept_to_the_step(tmp_path: Path) -> None:
    tables: dict[str, Any] = {
        "study": {"name": "steps", "seeds": 1},
        "baseline": {"dataset": "digits", "hidden": [4], "steps": 50, "eval_every": "20 steps"},
    }
    runs.train(parse(tables), tmp_path, device="cpu", workers=1)
    rows = results.read(tmp_path)
    assert list(rows.trials["steps_done"]) == [50]
    assert list(rows.epochs.query("split == 'train'")["step"]) == [0, 20, 40, 50]
    assert rows.epochs["epoch"].iloc[-1] == pytest.approx(50 / 41)
    assert set(text(tmp_path / "trials.csv")["epochs"]) == {""}


# ---------------------------------------------------------------------------------------------------- reading


def test_tables_are_read_with_types(folder: Path) -> None:
    read = results.read(folder)
    assert read.trials["seed"].dtype.kind == read.epochs["step"].dtype.kind == "i"
    assert read.trials["lr"].dtype.kind == read.trials["test_accuracy"].dtype.kind == "f"
    assert list(read.trials["hidden"].unique()) == ["[8]", "[6, 5]"]
    assert read.study["study"]["name"] == "contract"
    assert read.provenance["data"]["digits"]["train"] == 1437


def test_a_table_can_be_read_alone(folder: Path, tmp_path: Path) -> None:
    whole = results.read(folder)
    pd.testing.assert_frame_equal(results.read_trials(folder), whole.trials)
    pd.testing.assert_frame_equal(results.read_epochs(folder), whole.epochs)
    shutil.copytree(folder, tmp_path / "x")
    shutil.rmtree(tmp_path / "x" / "parts")
    (tmp_path / "x" / "confusion.csv").unlink()
    pd.testing.assert_frame_equal(results.read_epochs(tmp_path / "x"), whole.epochs)


def test_reading_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a results folder: it has no trials\.csv"):
        results.read(tmp_path)
    (tmp_path / "trials.csv").write_text("mine\n1\n")
    with pytest.raises(UsageError, match="cannot be read"):
        results.read(tmp_path)


def test_statuses_are_counted(folder: Path) -> None:
    read = results.read(folder).trials
    assert results.count_statuses(read) == {"ok": 8, "skipped": 8, "diverged": 8}
    assert results.count_statuses(read.assign(status=["ok", np.nan] * 12)) == {"ok": 12, "": 12}


# ---------------------------------------------------------------------------------------------- damaged parts


def damaged_versions(content: bytes) -> list[bytes]:
    """A part cut short, emptied, and with a byte changed here and there."""
    spoiled = [b"", content[:40], content[: len(content) // 2], content[:-1]]
    for at in range(0, len(content), max(1, len(content) // 60)):
        changed = bytearray(content)
        changed[at] ^= 0xFF
        spoiled.append(bytes(changed))
    return spoiled


def test_a_damaged_part_is_set_aside_and_its_trials_retrained(copied: Path, folder: Path) -> None:
    part = min((copied / "parts").glob("*.zip"))
    content = part.read_bytes()
    for spoiled in (content[: len(content) // 2], b""):
        part.write_bytes(spoiled)
        summary = runs.train(study(), copied, device="cpu", workers=1)
        rows = text(folder / "trials.csv")
        assert summary.trained == (rows["group"] == part.stem).sum()
        assert part.with_suffix(".damaged").read_bytes() == spoiled
        same = text(copied / "trials.csv").drop(columns="group_seconds")
        pd.testing.assert_frame_equal(same, rows.drop(columns="group_seconds"))


def test_a_damaged_part_causes_no_crash_and_no_wrong_row(copied: Path) -> None:
    whole = run_folder.finished(copied)
    part = min((copied / "parts").glob("*.zip"))
    content = part.read_bytes()
    with zipfile.ZipFile(part) as archive:
        members = set(csv_rows.read(io.StringIO(archive.read("trials.csv").decode()))["trial_id"])
    for spoiled in damaged_versions(content):
        part.write_bytes(spoiled)
        found = run_folder.finished(copied)
        assert found in (whole, {k: v for k, v in whole.items() if k not in members})
        part.with_suffix(".damaged").unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------- writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.csv"
    files.write(path, b"first")
    assert path.read_bytes() == b"first"

    def fail(*_: object) -> None:
        raise OSError(122, "Disk quota exceeded")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(
                MachineError, match=r"file\.csv cannot be written: Disk quota exceeded.*free some"
            ):
                files.write(path, b"second")
        assert path.read_bytes() == b"first"
        assert [p.name for p in path.parent.iterdir()] == ["file.csv"]


def test_an_unwritable_folder_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match=r"cannot be written: .*check the folder's permissions"):
        files.write(tmp_path / "file" / "trials.csv", b"")


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    with locks.locked(tmp_path / "new"):
        with (
            pytest.raises(UsageError, match="another run is writing into"),
            locks.locked(tmp_path / "new"),
        ):
            pass
        (tmp_path / "new/.tmp-mine").touch()
    with locks.locked(tmp_path / "new"):
        assert not (tmp_path / "new/.tmp-mine").exists()


def test_a_damaged_run_of_provenance_is_left_out_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"commit": "abc", "runs": [{"command": "harness run"}, 7, {"started": "today"}], "cpu": [1]}
    (tmp_path / "provenance.json").write_text(json.dumps(content))
    sound = documents.provenance(tmp_path)
    assert sound == {"commit": "abc", "runs": [{"command": "harness run"}, {"started": "today"}]}
    assert "its cpu, 1 of 3 runs cannot be read" in capsys.readouterr().err + caplog.text


def test_a_part_is_listed_once_however_its_folder_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "folder" / "parts" / "g1.zip"
    part.parent.mkdir(parents=True)
    part.touch()
    part_files.remember(tmp_path / "folder", "g1")
    monkeypatch.chdir(tmp_path)
    assert part_files.paths(Path("folder")) == [Path("folder/parts/g1.zip")]
    assert part_files.paths(tmp_path / "folder") == [part]


def test_the_planned_rows_of_the_largest_study_may_be_read() -> None:
    rows = run_folder.planned_rows(plan.make(study()))
    size = len(rows.written().encode()) / len(rows)
    assert size * limits.TRIALS < tables.MOST_PLANNED


# ------------------------------------------------------------------------------------------- packed tables


def packed(folder: Path, names: Sequence[str] = ("epochs", "confusion")) -> Path:
    """The folder as it is kept: without parts, and with tables that gzip packed."""
    shutil.rmtree(folder / "parts")
    for name in names:
        path = folder / f"{name}.csv"
        path.with_name(f"{name}.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def test_packed_tables_are_read_like_others(folder: Path, copied: Path) -> None:
    there, here = results.read(folder), results.read(packed(copied))
    for name in ("trials", "epochs", "confusion"):
        pd.testing.assert_frame_equal(getattr(here, name), getattr(there, name))


def test_a_packed_table_that_was_changed_is_noticed(copied: Path) -> None:
    path = packed(copied) / "confusion.csv.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-2] + b"9\n"))
    with pytest.raises(UsageError, match=r"confusion\.csv was changed by another program"):
        results.read(copied)


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda _: b"no archive"])
def test_a_damaged_packed_table_is_reported(copied: Path, damage: Callable[[bytes], bytes]) -> None:
    path = packed(copied) / "epochs.csv.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=r"epochs\.csv\.gz is damaged: it cannot be unpacked"):
        results.read(copied)


def test_a_table_that_unpacks_to_more_than_any_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datapackage, "MOST_UNPACKED", 1000)
    with pytest.raises(UsageError, match=r"it would unpack to more than 1,000 bytes"):
        results.read(packed(copied))
