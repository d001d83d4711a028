"""Results folders that were damaged, copied, edited, or come from anybody: the same numbers, or words."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import harness
from harness.cli import main
from harness.errors import UsageError

STUDY: dict[str, Any] = {
    "study": {"name": "small", "seeds": 2, "keep_weights": "all", "keep_predictions": ["test"]},
    "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
    "axes": {"activation": ["relu", "tanh"]},
}
TOML = """
[study]
name = "small"
seeds = 2
keep_weights = "all"
[baseline]
dataset = "digits"
epochs = 1
hidden = [8]
[axes]
activation = ["relu", "tanh"]
"""
Command = Callable[..., "tuple[int, str]"]


@pytest.fixture(scope="module")
def intact_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished results folder of two stacks."""
    folder = tmp_path_factory.mktemp("damage") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.planning.grouping.GATHERED", 0)  # a stack a seed
        harness.run(harness.parse(STUDY), folder, device="cpu", workers=1)
    return folder


@pytest.fixture
def folder(intact_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to do things to, beside the file of its study, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.planning.grouping.GATHERED", 0)
    (tmp_path / "small.toml").write_text(TOML)
    return Path(shutil.copytree(intact_folder, tmp_path / "copy"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process: its exit code, and what it prints on both streams."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = "".join(capsys.readouterr())
        assert "Traceback" not in printed
        return int(ended.value.code or 0), printed

    return call


def published(folder: Path, *, checksums: bool = True) -> None:
    """Leave of a folder what is committed and passed on: no parts."""
    shutil.rmtree(folder / "parts")
    (folder / "planned.csv.gz").unlink()
    if not checksums:
        (folder / "checksums.json").unlink()


def as_before(folder: Path) -> None:
    """Leave of a folder what there was before there were checksums."""
    (folder / "checksums.json").unlink()
    (folder / "planned.csv.gz").unlink()


def check_same(folder: Path, intact_folder: Path) -> None:
    """Assert that two folders are read alike, number by number."""
    one, other = harness.read(folder), harness.read(intact_folder)
    for name in ("trials", "epochs", "confusion", "scores", "stacks"):
        left, right = (
            getattr(found, name).drop(columns="group_seconds", errors="ignore") for found in (one, other)
        )
        pd.testing.assert_frame_equal(left, right)


def text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


# ------------------------------------------------------------------------------------------------ file times


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to which a run that died added a second stack: its part is there, its CSVs are older."""
    folder = tmp_path_factory.mktemp("damage") / "killed"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.planning.grouping.GATHERED", 0)
        one = harness.parse({**STUDY, "study": {**STUDY["study"], "seeds": [0]}})
        harness.run(one, folder, device="cpu", workers=1)
        patch.setattr("harness.results.tables.consolidate", die)
        with pytest.raises(KeyboardInterrupt):
            harness.run(harness.parse(STUDY), folder, device="cpu", workers=1)
    return folder


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("order", ["names", "reversed", "none"])
def test_parts_decide_and_file_times_do_not(
    killed: Path, intact_folder: Path, tmp_path: Path, order: str, checksums: bool
) -> None:
    copy = Path(shutil.copytree(killed, tmp_path / "copied"))
    if not checksums:
        as_before(copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    for i, path in enumerate(files[::-1] if order == "reversed" else files):
        os.utime(path, (1e9 + i, 1e9 + i) if order != "none" else (1e9, 1e9))
    found = harness.read(copy).trials
    assert found["status"].eq("ok").sum() == 4
    assert sorted(found["test_accuracy"]) == sorted(harness.read(intact_folder).trials["test_accuracy"])


# --------------------------------------------------------------------------------------- changed by a program


def digit(column: str) -> Callable[[bytes], bytes]:
    """Change one number of a column."""

    def change(content: bytes) -> bytes:
        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        first, *others = frame[column].tolist()
        frame[column] = [first[:-1] + ("1" if first.endswith("0") else "0"), *others]
        return str(frame.to_csv(index=False, lineterminator="\n")).encode()

    return change


def saved(**how: Any) -> Callable[[bytes], bytes]:
    """Save a CSV as another program would."""

    def change(content: bytes) -> bytes:
        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        return str(frame.to_csv(index=False, **how)).encode()

    return change


CHANGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a digit of an accuracy": ("trials.csv", digit("test_accuracy")),
    "a digit of a setting": ("trials.csv", digit("batch_size")),
    "a digit of a curve": ("epochs.csv", digit("loss")),
    "a digit of a count": ("confusion.csv", digit("count")),
    "a digit of a score": ("scores.csv", digit("value")),
    "a digit of a stack": ("stacks.csv", digit("parameters")),
    "a type": ("datapackage.json", lambda content: content.replace(b'"number"', b'"string"')),
    "semicolons": ("trials.csv", saved(sep=";")),
    "decimal commas": ("trials.csv", lambda content: content.replace(b".", b",")),
    "a byte order mark": ("trials.csv", lambda content: b"\xef\xbb\xbf" + content),
    "quotes": ("trials.csv", saved(quoting=csv.QUOTE_ALL)),
    "cut at a line": ("trials.csv", lambda content: b"\n".join(content.split(b"\n")[:2]) + b"\n"),
    "cut in a line": ("epochs.csv", lambda content: content[: len(content) // 2]),
    "a row twice": ("trials.csv", lambda content: content + content.split(b"\n")[1] + b"\n"),
    "columns in another order": (
        "trials.csv", lambda content: pd.read_csv(io.BytesIO(content)).iloc[:, ::-1].to_csv().encode()
    ),
    "empty": ("confusion.csv", lambda _: b""),
    "no text": ("trials.csv", lambda _: b"\xff\xfe\x00\x01"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_table_is_read_from_the_parts_with_a_note(
    folder: Path, intact_folder: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, how = CHANGES[change]
    path = folder / name
    path.write_bytes(how(path.read_bytes()))
    check_same(folder, intact_folder)
    printed = capsys.readouterr().err
    assert f"{path} was changed by another program" in printed
    assert "`harness run` writes it anew from parts/" in printed


def test_a_gate_is_not_passed_by_a_changed_digit(folder: Path, intact_folder: Path, command: Command) -> None:
    better = text(folder / "trials.csv").assign(test_accuracy="0.99")
    better.to_csv(folder / "trials.csv", index=False, lineterminator="\n")
    code, printed = command("compare", intact_folder, folder, "--fail-on", "worse")
    assert code == 0
    assert "trials.csv was changed by another program" in printed
    assert "4 of 4 have the same numbers to the last digit" in printed


def test_the_advice_on_a_changed_table_works(
    folder: Path, intact_folder: Path, command: Command, capsys: Any
) -> None:
    study = (folder / "study.toml").read_bytes()
    written = {path.name: path.read_bytes() for path in [*folder.glob("*.csv"), folder / "datapackage.json"]}
    assert len(written) == 6
    for name, content in written.items():
        (folder / name).write_bytes(content.replace(b"1", b"2"))
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert "0 trials trained" in printed
    assert {name: (folder / name).read_bytes() for name in written} == written
    assert (folder / "study.toml").read_bytes() == study  # a run that goes on writes the same again
    capsys.readouterr()
    check_same(folder, intact_folder)
    assert "note" not in capsys.readouterr().err


@pytest.mark.parametrize("change", ["a digit of a score", "a digit of a stack", "a type"])
def test_without_parts_a_change_of_what_only_others_read_is_said(
    folder: Path, intact_folder: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    published(folder)
    name, how = CHANGES[change]
    (folder / name).write_bytes(how((folder / name).read_bytes()))
    check_same(folder, intact_folder)
    printed = capsys.readouterr().err
    assert f"{folder / name} was changed by another program" in printed
    assert "trials.csv is read in its place. Copy the whole results folder again" in printed
    (folder / name).unlink()  # as in a folder that is older than these files
    check_same(folder, intact_folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["a digit of an accuracy", "a digit of a count", "cut at a line"])
def test_without_parts_a_changed_table_is_refused(
    folder: Path, intact_folder: Path, change: str, command: Command
) -> None:
    published(folder)
    check_same(folder, intact_folder)
    name, how = CHANGES[change]
    (folder / name).write_bytes(how((folder / name).read_bytes()))
    for arguments in (("compare", intact_folder, folder, "--fail-on", "worse"), ("report", folder)):
        code, printed = command(*arguments)
        assert code == 2
        assert f"{name} was changed by another program, or by hand" in " ".join(printed.split())
    if "digit" in change:  # the advice: the file as it is now
        (folder / "checksums.json").unlink()
        assert len(harness.read(folder).trials) == 4


def test_converted_line_ends_are_not_a_change(folder: Path, intact_folder: Path, capsys: Any) -> None:
    published(folder)
    for path in folder.glob("*.csv"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    check_same(folder, intact_folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("parts", [True, False])
def test_a_folder_without_checksums_is_read(folder: Path, intact_folder: Path, parts: bool) -> None:
    as_before(folder)
    if not parts:
        shutil.rmtree(folder / "parts")
    check_same(folder, intact_folder)


def test_a_table_saved_by_a_spreadsheet_is_reported_without_checksums(folder: Path, command: Command) -> None:
    published(folder, checksums=False)
    for change in ("semicolons", "decimal commas", "a row twice", "cut at a line"):
        name, how = CHANGES[change]
        intact_folder = (folder / name).read_bytes()
        (folder / name).write_bytes(how(intact_folder))
        code, printed = command("compare", folder, folder)
        assert code == 2, change
        assert "trials.csv" in printed
        (folder / name).write_bytes(intact_folder)


# -------------------------------------------------------------------------------- parts, weights, predictions


def rezipped(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """A part with one of its tables changed, and a checksum that fits it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.namelist():
            inside = old.read(member)
            new.writestr(member, change(inside) if member == name else inside)
    return buffer.getvalue()


PARTS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "another accuracy": lambda content: rezipped(content, "trials.csv", digit("test_accuracy")),
    "another curve": lambda content: rezipped(content, "epochs.csv", digit("loss")),
    "a table without columns": lambda content: rezipped(content, "trials.csv", lambda _: b"a,b\n1,2\n"),
    "rows of other lengths": lambda content: rezipped(content, "epochs.csv", lambda table: table + b"x\n"),
    "no archive": lambda _: b"[]",
}


@pytest.mark.parametrize("how", PARTS)
def test_a_damaged_part_is_skipped_and_reported(
    folder: Path, intact_folder: Path, how: str, capsys: Any
) -> None:
    part = min((folder / "parts").glob("*.zip"))
    part.write_bytes(PARTS[how](part.read_bytes()))
    check_same(folder, intact_folder)
    assert f"{part.name}: damaged, or changed after the run" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["cut", "another accuracy"])
def test_a_damaged_part_is_set_aside_and_trained_again(
    folder: Path, intact_folder: Path, how: str, command: Command
) -> None:
    part = min((folder / "parts").glob("*.zip"))
    part.write_bytes(PARTS[how](part.read_bytes()))
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert "set aside, and its trials are trained again" in " ".join(printed.split())
    assert "2 trials trained" in printed
    check_same(folder, intact_folder)


@pytest.mark.parametrize("name", ["{} (1).zip", "a{}.zip"])
def test_a_copied_part_is_skipped_and_reported(
    folder: Path, intact_folder: Path, name: str, command: Command, capsys: Any
) -> None:
    part = min((folder / "parts").glob("*.zip"))
    copy = part.with_name(name.format(part.stem))
    shutil.copy(part, copy)
    (folder / "epochs.csv").write_text("")  # so that the parts are read
    check_same(folder, intact_folder)
    printed = capsys.readouterr().err
    assert (
        f"{copy} is a part under another name, so not read; {part.name} is there: remove this one" in printed
    )
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert "0 trials trained" in printed
    assert "remove this one" in " ".join(printed.split())
    assert (folder / "epochs.csv").read_bytes() == (intact_folder / "epochs.csv").read_bytes()
    copy.unlink()
    check_same(folder, intact_folder)
    assert "note" not in capsys.readouterr().err


def test_a_part_that_was_renamed_is_read_when_it_has_its_name_again(
    folder: Path, intact_folder: Path, capsys: Any
) -> None:
    part = min((folder / "parts").glob("*.zip"))
    other = part.rename(part.with_name("copy.zip"))
    (folder / "trials.csv").write_text("")
    assert harness.read(folder).trials["status"].eq("ok").sum() == 2
    assert f"rename it to {part.name}, and it is read" in capsys.readouterr().err
    other.rename(part)
    check_same(folder, intact_folder)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], None]:
    """`unreadable(path)`: the disk fails when this file is read; no file's, with None."""
    failing: list[Path | None] = [None]
    real = Path.open

    def fail(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if self == failing[0] and "r" in mode:
            raise OSError(5, "Input/output error", str(self))
        return real(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", fail)
    return lambda path: failing.__setitem__(0, path)


@pytest.mark.parametrize("name", ["parts", "checksums.json", "study.toml", "plan.json"])
def test_a_temporarily_unreadable_part_is_not_taken_for_lost(
    folder: Path, intact_folder: Path, name: str, command: Command, unreadable: Any
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    path = min((folder / "parts").glob("*.zip")) if name == "parts" else folder / name
    unreadable(path)
    run = ("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    code, printed = command(*run)
    assert code == 1
    assert f"{path.name} cannot be read: Input/output error. It may be whole" in " ".join(printed.split())
    unreadable(None)
    assert {path: path.read_bytes() for path in before} == before
    code, printed = command(*run)
    assert code == 0
    assert "0 trials trained" in printed
    check_same(folder, intact_folder)


@pytest.mark.parametrize("name", ["parts", "trials.csv", "checksums.json", "study.toml", "provenance.json"])
def test_a_temporarily_unreadable_file_is_reported(
    folder: Path, name: str, command: Command, unreadable: Any
) -> None:
    path = min((folder / "parts").glob("*.zip")) if name == "parts" else folder / name
    unreadable(path)
    code, printed = command("compare", folder, folder)
    assert code == 1
    assert f"{path.name} cannot be read: Input/output error" in " ".join(printed.split())


@pytest.mark.parametrize("kind", ["weights", "predictions"])
@pytest.mark.parametrize("how", ["a bit", "cut", "empty"])
def test_damaged_weights_and_predictions_are_noticed_and_made_again(
    folder: Path, intact_folder: Path, kind: str, how: str, command: Command
) -> None:
    path = min((folder / kind).iterdir())
    content = path.read_bytes()
    bit = bytes([content[-100] ^ 1])
    path.write_bytes({"a bit": content[:-100] + bit + content[-99:], "cut": content[:-9], "empty": b""}[how])
    if kind == "weights":
        code, printed = command("export", path.stem, "--results", folder, "--out", "out")
        assert code == 1
    else:
        trials = text(folder / "trials.csv")
        trial = trials.loc[trials["group"].eq(path.stem), "trial_id"].iloc[0]
        code, printed = command("show", folder, "predictions", "--trial", trial)
        assert code == 2
    assert path.name in printed
    assert "`harness run` of" in printed
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert "2 trials trained" in printed
    assert path.read_bytes() == content
    check_same(folder, intact_folder)


def test_equal_runs_give_equal_weights_to_the_byte(
    intact_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("harness.planning.grouping.GATHERED", 0)
    harness.run(harness.parse(STUDY), tmp_path / "again", device="cpu", workers=1)
    for path in (intact_folder / "weights").iterdir():
        assert (tmp_path / "again" / "weights" / path.name).read_bytes() == path.read_bytes()


# ---------------------------------------------------------------------------------------------- from anybody


def test_the_name_of_a_stack_stays_in_its_folder(folder: Path, command: Command) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    plan["stacks"][0]["group"] = "../../outside"
    (folder / "plan.json").write_text(json.dumps(plan))
    shutil.rmtree(folder / "parts")
    before = {path for path in folder.parent.rglob("*") if path.parent != folder}
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 2
    assert "stacks[0].group = '../../outside'" in printed
    assert {path for path in folder.parent.rglob("*") if path.parent != folder} == before


@pytest.mark.parametrize("column", ["trial_id", "group"])
def test_no_name_in_a_table_leads_elsewhere(folder: Path, command: Command, column: str) -> None:
    published(folder, checksums=False)
    trials = text(folder / "trials.csv").assign(**{column: "../../elsewhere"})
    trials.to_csv(folder / "trials.csv", index=False)
    code, printed = command("export", "best", "--results", folder, "--out", "out")
    assert code == 2
    assert f"a {column} is '../../elsewhere'" in printed


def test_decompression_bombs_are_not_unpacked(folder: Path, intact_folder: Path, capsys: Any) -> None:
    part = min((folder / "parts").glob("*.zip"))
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("trials", "epochs", "confusion"):
            archive.writestr(f"{name}.csv", "trial_id,status,reason\n" + "a" * 8_000_000)
    check_same(folder, intact_folder)
    assert "damaged" in capsys.readouterr().err
    as_before(folder)
    assert harness.read(folder).trials["status"].eq("ok").sum() == 4  # trials.csv has more than the parts


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter there")
def test_files_get_the_permissions_that_this_process_gives(tmp_path: Path, intact_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        harness.run(harness.parse(STUDY), tmp_path / "own", device="cpu", workers=1)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "own").rglob("*") if path.suffix}
    assert modes == {0o600}
    assert (intact_folder / "trials.csv").stat().st_mode & 0o777 == 0o666 & ~before


def test_a_folder_that_a_killed_export_left_stops_no_run(folder: Path, command: Command) -> None:
    (folder / ".tmp-out").mkdir()
    (folder / ".tmp-out" / "model.pt").write_bytes(b"")
    (folder / ".tmp-file").write_bytes(b"")
    code, _ = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert (folder / ".tmp-out" / "model.pt").is_file()  # nobody knows whose it is
    assert not (folder / ".tmp-file").exists()


# --------------------------------------------------------------------------------------- one reader a file

JUNK = [b"", b"\xff\xfe\x00", b"[", b"3", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 100_000]
TYPES = [
    ("study.toml", b"study = 3\n"), ("study.toml", b"[study]\nseeds = [0]\n"),
    ("study.toml", b"[study]\nname = 3\nseeds = [0]\n"),
    ("study.toml", b"[study]\nname = 'x'\nseeds = [0]\n[axes]\nlr = 3\n"),
    ("study.toml", b"axes = []\n[study]\nname = 'x'\nseeds = [0]\n"),
    ("plan.json", b'{"schema": 1, "study": "small", "stacks": 3}'),
    ("plan.json", b'{"schema": 1, "study": "small", "stacks": [{"group": 3}]}'),
    ("plan.json", b'{"schema": 1, "study": "small", "data": [1]}'),
    ("provenance.json", b'{"runs": 3, "data": [1], "versions": {"torch": {}}}'),
    ("provenance.json", b'{"runs": [{"versions": 3}, 4], "data": {"digits": 3}, "metrics": 7}'),
    ("checksums.json", b'{"tables": {"trials.csv": 3}, "parts": [], "files": {}}'),
    ("planned.csv.gz", b"\x1f\x8b" + b"\x00" * 20),
    ("datapackage.json", b'{"resources": 3}'),
    ("datapackage.json", b'{"resources": [{"name": "trials", "schema": {"fields": [3]}}, [], {"name": []}]}'),
    ("datapackage.json", b'{"resources": [{"name": "epochs", "schema": {"fields": [{"name": "a"}]}}]}'),
]  # fmt: skip
EVERY = (
    "study.toml", "plan.json", "provenance.json", "checksums.json", "planned.csv.gz", "datapackage.json",
)  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [*TYPES, *((name, junk) for name in EVERY for junk in JUNK)])
def test_any_kind_of_file_in_a_results_folder_is_reported_in_words(
    folder: Path, intact_folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    if name == "study.toml":
        with pytest.raises(UsageError, match=r"study\.toml cannot be read"):
            harness.read(folder)
    else:
        check_same(folder, intact_folder)
    if name == "plan.json":
        with pytest.raises(UsageError, match=r"plan\.json|results schema"):
            harness.compare(intact_folder, folder)


@pytest.mark.parametrize("name", ["study.toml", "plan.json", "provenance.json"])
def test_the_commands_report_damage_too(
    folder: Path, intact_folder: Path, command: Command, name: str
) -> None:
    (folder / name).write_bytes(b"[3]")
    code, printed = command("compare", intact_folder, folder)
    assert code == (0 if name == "provenance.json" else 2)
    assert name in printed


def test_a_provenance_that_cannot_be_read_is_begun_anew(folder: Path, command: Command) -> None:
    (folder / "provenance.json").write_text("[3]")
    code, printed = command("run", "small.toml", "--results", folder, "--workers", "1", "--device", "cpu")
    assert code == 0
    assert "set aside as provenance.damaged" in printed
    assert (folder / "provenance.damaged").read_text() == "[3]"
    assert len(json.loads((folder / "provenance.json").read_text())["runs"]) == 1


def npz(path: Path, **changed: Any) -> None:
    with np.load(path) as file:
        arrays = {**file, **changed}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


ARRAYS: dict[str, dict[str, Any]] = {
    "test_index is missing": {"test_index": None},
    "test_index has shape": {"test_index": np.zeros(1, np.uint32)},
    "expected: whole numbers": {"test_predicted": np.zeros((2, 360))},
    "not those": {"test_index": np.arange(360, dtype=np.uint32) + 4_000_000_000 - 360},
    "one-dimensional": {"test_label": np.zeros((3, 3, 3), np.uint8)},
}


@pytest.mark.parametrize("what", ARRAYS)
def test_predictions_of_wrong_types_are_reported(folder: Path, command: Command, what: str) -> None:
    published(folder, checksums=False)
    for path in (folder / "predictions").iterdir():
        npz(path, **ARRAYS[what])
    code, printed = command("data", "show", "digits", "--hardest", folder, "--out", "figures")
    assert code == 2
    assert ("test_index" if "missing" in what else what) in " ".join(printed.split())


@pytest.mark.slow
def test_a_page_without_its_images_is_still_written(tmp_path: Path, command: Command) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 8, 8), np.uint8)
    for part in ("train", "test"):
        (tmp_path / "scans" / part).mkdir(parents=True)
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / "scans" / part / f"{i % 2}_{i:03d}.png")
    study = {
        "study": {"name": "own", "seeds": 2, "keep_weights": "best"},
        "baseline": {"dataset": "mine", "epochs": 1, "hidden": [4], "batch_size": 8, "val_fraction": 0.25},
        "axes": {"activation": ["relu", "tanh"]},
        "datasets": {"mine": {"format": "png", "path": str(tmp_path / "scans")}},
    }
    harness.run(harness.parse(study), tmp_path / "own", device="cpu", workers=1)
    (tmp_path / "scans").rename(tmp_path / "away")
    code, _ = command("report", tmp_path / "own")
    assert code == 0
    page = (tmp_path / "own" / "report.html").read_text(encoding="utf-8")
    assert "the images of mine are not at hand" in page


def test_an_unforeseen_disk_error_is_reported_in_a_sentence(
    folder: Path, command: Command, monkeypatch: Any
) -> None:
    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("harness.results.read", fail)
    code, printed = command("compare", folder, folder)
    assert code == 1
    assert "Input/output error" in printed


def test_finished_trials_without_their_parts_are_not_trained_again_unasked(
    study_of: Callable[..., Any], tmp_path: Path
) -> None:
    study, folder = study_of(epochs=1, hidden=[4]), tmp_path / "results"
    before = harness.run(study, folder, workers=1).trials
    shutil.rmtree(folder / "parts")
    with pytest.raises(
        UsageError, match=r"has 2 finished trials in trials.csv, but the parts/ that it was made"
    ):
        harness.run(study, folder, workers=1)
    pd.testing.assert_frame_equal(harness.read(folder).trials, before)
    shutil.move(folder, tmp_path / "away")  # as the message advises
    again = harness.run(study, folder, workers=1).trials
    assert again["test_accuracy"].tolist() == before["test_accuracy"].tolist()
