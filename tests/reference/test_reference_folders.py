"""The committed results: no folder is older than the code, unless it is known to be and says why."""

from __future__ import annotations

import csv
import gzip
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import make_reference
import pytest
from reference_folders import (
    CHECKOUT,
    KEPT,
    OLD,
    REFERENCE,
    Reference,
    headings,
    made,
    shown_figures,
    stale,
)

from harness import results
from harness.study.study import load
from harness.training import runs


@pytest.mark.parametrize("name", KEPT)
def test_a_folder_is_current_or_known_to_be_old(name: str) -> None:
    reasons = stale(KEPT[name])
    if name in OLD:
        assert reasons, f"{name} is current: take it out of OLD, which says {OLD[name]!r}"
    else:
        assert not reasons, f"`nox -s reference -- {name}` makes it anew: {'; '.join(reasons)}"


def test_every_committed_folder_has_a_command() -> None:
    others = {"anytime", "bench", "gpu", "published", "validity"}
    assert {path.name for path in REFERENCE.iterdir() if path.is_dir()} <= {*KEPT, *others}
    assert set(OLD) <= set(KEPT)


def test_a_page_has_headings_that_no_condition_decides() -> None:
    assert {"Provenance"} < set(headings())


CHANGES = ["dataset=digits", "steps=20", "seeds=2", "eval_every=10 steps", "hidden=[8]"]


def train_here(kept: Reference, folder: Path, changes: Sequence[str] = ()) -> None:
    """Train as the command does, in this process, and write a page of headings alone: drawing takes long."""
    runs.train(load(CHECKOUT / "ablations" / f"{kept.name}.toml", changes), folder, workers=1)
    (folder / "report.html").write_text("".join(f"<h2>{title}</h2>" for title in headings()))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference folder of few small trials, made in place of an earlier one."""
    into = tmp_path_factory.mktemp("reference")
    (into / "lab4_steps").mkdir()
    (into / "lab4_steps" / "stranger.txt").write_text("of the folder before")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_reference, "train", train_here)
        make_reference.main(["lab4_steps", "--into", str(into), *set_options()])
    return into / "lab4_steps"


def set_options() -> list[str]:
    return [option for change in CHANGES for option in ("--set", change)]


KEPT_FILES = {
    "trials.csv", "epochs.csv", "confusion.csv", "plan.json", "study.toml", "provenance.json", "report.html",
}  # fmt: skip


def test_a_folder_is_made_anew_without_what_is_not_kept(small: Path) -> None:
    assert {path.name for path in small.iterdir()} >= KEPT_FILES
    gone = ("parts", "predictions", "weights", "checksums.json", ".lock", "planned.csv.gz", "stranger.txt")
    assert not [name for name in gone if (small / name).exists()]
    assert sorted(path.name for path in (small.parent / ".making").iterdir()) == []
    assert results.read(small).trials["status"].eq("ok").all()
    assert made(small)[0]


@pytest.mark.slow
def test_the_command_itself_makes_a_folder_with_its_page(tmp_path: Path) -> None:
    make_reference.main(["lab4_steps", "--into", str(tmp_path), *set_options()])
    folder = tmp_path / "lab4_steps"
    assert {path.name for path in folder.iterdir()} >= {*KEPT_FILES, "tables"}
    assert len(stale(KEPT["lab4_steps"], folder)) == 1


def test_a_command_that_fails_leaves_the_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "lab4_steps").mkdir()
    (tmp_path / "lab4_steps" / "trials.csv").write_text("as it was")
    with pytest.raises(subprocess.CalledProcessError):
        make_reference.main(["lab4_steps", "--into", str(tmp_path), "--set", "no_such_setting=1"])
    assert (tmp_path / "lab4_steps" / "trials.csv").read_text() == "as it was"


def test_what_the_command_made_differs_from_the_study_in_its_trials_alone(small: Path) -> None:
    (reason,) = stale(KEPT["lab4_steps"], small)
    assert reason.startswith("trials.csv has 10 of 10 trials under other ids: ")


def test_a_column_or_a_heading_that_is_missing_makes_a_folder_stale(small: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(small, tmp_path / "old"))
    with (old / "trials.csv").open() as file:
        rows = list(csv.reader(file))
    at = rows[0].index("kernels")
    shorter = [[*row[:at], *row[at + 1 :]] for row in rows]
    with (old / "trials.csv").open("w", newline="") as file:
        csv.writer(file).writerows(shorter)
    page = (old / "report.html").read_text()
    title = headings()[0]
    (old / "report.html").write_text(page.replace(title, "Another title"))
    (old / "epochs.csv").unlink()
    reasons = stale(KEPT["lab4_steps"], old)
    assert "trials.csv lacks kernels" in reasons
    assert "no epochs.csv" in reasons
    assert f"report.html has no heading {title!r}" in reasons
    assert stale(KEPT["lab4_steps"], tmp_path / "nowhere") == ["not made yet"]


def test_long_tables_are_packed_and_figures_that_docs_show_are_kept(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_reference, "LONG", 100)
    (tmp_path / "figures").mkdir()
    whole = Path(shutil.copytree(small, tmp_path / "whole"))
    (whole / "figures").mkdir()
    (whole / "figures" / "shown.png").write_bytes(b"png")
    (whole / "figures" / "other.png").write_bytes(b"png")
    make_reference.keep(whole, tmp_path / "kept", ["shown.png"])
    assert (
        gzip.decompress((tmp_path / "kept" / "epochs.csv.gz").read_bytes())
        == (small / "epochs.csv").read_bytes()
    )
    assert not (tmp_path / "kept" / "epochs.csv").exists()
    assert [path.name for path in (tmp_path / "kept" / "figures").iterdir()] == ["shown.png"]
    assert results.read(tmp_path / "kept").epochs.equals(results.read(small).epochs)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        make_reference.keep(whole, tmp_path / "kept", ["gone.png"])
    assert shown_figures("lab5_ladder") == ["confusion-mnist-rung-3.png", "ladder-mnist.png"]


def test_a_wrong_name_ends_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (
        (["lab9"], "unknown lab9; allowed: lab1_learning_rate"),
        (["choices", "--set", "lr=1"], "--into"),
    ):
        with pytest.raises(SystemExit) as stopped:
            make_reference.main(given)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_the_listing_says_what_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference.main(["--stale"])
    listed = capsys.readouterr().out
    assert all(f"\n{name} " in listed for name in OLD)
