"""The scripts under reports/: figures from the tables alone, and words where there is nothing to draw."""

from __future__ import annotations

import gzip
import io
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from harness import reporting, stats
from harness.results import bare

CHECKOUT = Path(__file__).parents[2]
FOREIGN = {
    "trials.csv": """\
trial_id,arm,dataset,seed,status,val_accuracy,when
r1,small,flowers,0,ok,0.50,10:01
r2,small,flowers,1,ok,0.75,10:02
r3,large,flowers,0,ok,1,10:03
r4,large,flowers,1,diverged,,10:04
""",
    "epochs.csv": """\
trial_id,epoch,step,split,loss,accuracy
r1,0,0,val,1.1,0.25
r1,1,10,val,0.9,0.5
r2,0,0,val,1.2,0.25
r2,1,10,val,0.8,0.75
r3,0,0,val,1.2,0.25
r3,1,10,val,0.1,1
""",
    "confusion.csv": """\
trial_id,split,label,prediction,count
r1,test,0,0,3
r1,test,1,0,2
r2,test,0,0,3
r2,test,1,1,2
r3,test,0,0,3
r3,test,1,1,2
""",
}
"""Tables that somebody else made."""


def script(name: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a person does, in a folder of figures."""
    command = [sys.executable, str(CHECKOUT / "reports" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def tables(sweep_folder: Path, tmp_path: Path) -> Path:
    """The three tables of a real study and nothing else, two of them packed."""
    folder = tmp_path / "tables"
    folder.mkdir()
    shutil.copy(sweep_folder / "trials.csv", folder)
    for name in ("epochs.csv", "confusion.csv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((sweep_folder / name).read_bytes()))
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in FOREIGN.items():
        (folder / name).write_text(text)
    return folder


def test_the_tables_alone_give_the_axes_and_the_numbers_of_the_study(
    tables: Path, sweep_folder: Path
) -> None:
    alone, whole = reporting.read_tables(tables), reporting.read(sweep_folder)
    assert set(alone.axes) == set(whole.axes) == {"lr", "activation", "output"}
    found, expected = (stats.axis_spreads(one.trials, sorted(one.axes)) for one in (alone, whole))
    pd.testing.assert_frame_equal(found, expected)
    by_arm = [one.trials.groupby("arm")["label"].nunique().eq(1).all() for one in (alone, whole)]
    assert by_arm == [True, True]
    for name in ("epochs", "confusion"):
        pd.testing.assert_frame_equal(getattr(alone.results, name), getattr(whole.results, name))


def test_the_scripts_draw_from_the_tables_alone(tables: Path, tmp_path: Path) -> None:
    drawn = script(
        "confusion_and_curves", tables, "--where", "activation=tanh", "--out", "a", folder=tmp_path
    )
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.split() == [
        "a-digits-confusion.png", "a-digits-confusion.svg", "a-digits-curves.png", "a-digits-curves.svg",
    ]  # fmt: skip
    (tables / "epochs.csv.gz").unlink()  # which the effects do not need
    ranked = script("which_choice_matters", tables, "--out", "effects", folder=tmp_path)
    assert ranked.returncode == 0, ranked.stderr
    assert ranked.stdout.split()[-2:] == ["effects.png", "effects.svg"]
    for name in ("a-digits-confusion", "a-digits-curves", "effects"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert len(image.convert("L").histogram()) > 1
            assert min(image.size) > 300
    svg = (tmp_path / "a-digits-curves.svg").read_text(encoding="utf-8")
    assert "tanh" in svg
    assert "relu" not in svg


def test_tables_that_somebody_else_made_are_drawn_by_their_arms(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = reporting.read_tables(foreign)
    assert reading.axes == ()
    assert set(reading.trials["label"]) == {"small", "large"}
    counts = reporting.arm_confusion(reading, "flowers", "small")
    assert counts.to_numpy().tolist() == [[6, 0], [2, 2]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["confusion_and_curves.py", "mine"])
    runpy.run_path(str(CHECKOUT / "reports" / "confusion_and_curves.py"), run_name="__main__")
    svg = (tmp_path / "arms-flowers-confusion.svg").read_text(encoding="utf-8")
    assert all(f">{label}<" in svg for label in ("small", "large"))


def without(column: str) -> Callable[[str], str]:
    """Take a column out of a CSV."""

    def change(text: str) -> str:
        rows = [line.split(",") for line in text.splitlines()]
        at = rows[0].index(column)
        return "".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in rows)

    return change


def header(text: str) -> str:
    return text.partition("\n")[0] + "\n"


WRONG: dict[str, tuple[str, Callable[[str], str], str]] = {
    "no arm": ("trials.csv", without("arm"), "mine/trials.csv cannot be read: it has no column arm"),
    "no count": (
        "confusion.csv",
        without("count"),
        "mine/confusion.csv cannot be read: it has no column count",
    ),
    "no epoch": ("epochs.csv", without("epoch"), "mine/epochs.csv cannot be read: it has no column epoch"),
    "no trials": ("trials.csv", header, "mine/trials.csv has no rows"),
    "no evaluations": ("epochs.csv", header, "mine/epochs.csv has no rows"),
    "no counts": ("confusion.csv", header, "mine/confusion.csv has no rows"),
    "empty": ("confusion.csv", lambda _: "", "mine/confusion.csv cannot be read"),
    "text": ("epochs.csv", lambda text: text.replace("0.9", "much"), "loss is not a number everywhere"),
    "a status": ("trials.csv", lambda text: text.replace("ok", "done"), "a status is 'done'; allowed: ok"),
    "val alone": ("confusion.csv", lambda text: text.replace("test", "val"), "no rows of test for 'small'"),
    "unfinished": ("trials.csv", lambda text: text.replace("ok", "failed"), "no trial of these has finished"),
}


def here(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, str]:
    """Run a script in this process: its exit code, and what it says of errors."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(CHECKOUT / "reports" / f"{name}.py"), run_name="__main__")
    return ended.value.code, said.getvalue()


@pytest.mark.parametrize("what", WRONG)
def test_wrong_tables_end_in_words(foreign: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change, words = WRONG[what]
    path = foreign / name
    path.write_text(change(path.read_text()))
    monkeypatch.chdir(foreign.parent)
    code, said = here("confusion_and_curves", "mine", monkeypatch=monkeypatch)
    assert code == 2
    assert words in said
    assert not list(foreign.parent.glob("*.png"))


def test_a_wrong_folder_ends_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("not results")
    done = script("confusion_and_curves", "nowhere", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere is not a results folder: it has no trials.csv")
    monkeypatch.chdir(tmp_path)
    for name in ("confusion_and_curves", "which_choice_matters"):
        for folder in ("nowhere", ".", "notes.txt"):
            code, said = here(name, folder, monkeypatch=monkeypatch)
            assert code == 2
            assert "is not a results folder: it has no trials.csv" in said
    code, said = here("confusion_and_curves", ".", "--most", "0", monkeypatch=monkeypatch)
    assert (code, "--most: allowed: 1 or more" in said) == (2, True)


def test_one_arm_has_no_effects_and_that_is_said(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = here("which_choice_matters", str(foreign), monkeypatch=monkeypatch)
    assert code == 2
    assert "has no axis with two levels that finished" in said


def test_what_an_optimizer_decides_is_no_axis() -> None:
    trials = pd.DataFrame(
        {
            "dataset": "d", "arm": ["a", "b", "c", "d"], "optimizer": ["sgd", "sgd", "adam", "adam"],
            "lr": [0.1, 0.1, 0.01, 0.01], "momentum": [None, None, 0.9, 0.9], "batch_size": [8, 16, 8, 16],
        }
    )  # fmt: skip
    assert bare._axes(trials) == ["optimizer", "batch_size"]
    assert bare._axes(trials.assign(lr=[0.1, 0.2, 0.1, 0.2], batch_size=8)) == ["optimizer", "lr"]
