"""The committed results: no folder is older than the code, unless it is known to be and says why."""

from __future__ import annotations

import csv
import gzip
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import make_reference
import pytest
from reference_digests import OTHER_BUILD, RECORD, UNRECORDED, digest, recorded, unfinished
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
from harness.study.reading import load
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


def train_here(
    kept: Reference, folder: Path, changes: Sequence[str] = (), _seconds: float = math.inf
) -> bool:
    """Train as the command does, in this process, and write a page of headings alone: drawing takes long."""
    runs.train(load(CHECKOUT / "ablations" / f"{kept.name}.toml", changes), folder, workers=1)
    (folder / "report.html").write_text(page_of_headings())
    return True


def page_of_headings() -> str:
    return "".join(f"<h2>{title}</h2>" for title in headings())


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
    "trials.csv", "epochs.csv", "confusion.csv", "plan.json", "study.toml", "provenance.json", RECORD,
}  # fmt: skip


def test_a_folder_is_made_anew_without_what_is_not_kept(small: Path) -> None:
    assert {path.name for path in small.iterdir()} >= KEPT_FILES
    gone = (
        "parts",
        "predictions",
        "weights",
        "checksums.json",
        ".lock",
        "planned.csv.gz",
        "stranger.txt",
        "report.html",
    )
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


def test_a_column_of_settings_that_no_trial_has_may_be_missing(small: Path, tmp_path: Path) -> None:
    reasons = {}
    for setting in ("erase_share", "lr"):
        old = Path(shutil.copytree(small, tmp_path / setting))
        with (old / "trials.csv").open() as file:
            rows = list(csv.reader(file))
        at = rows[0].index(setting)
        with (old / "trials.csv").open("w", newline="") as file:
            csv.writer(file).writerows([*row[:at], *row[at + 1 :]] for row in rows)
        reasons[setting] = stale(KEPT["lab4_steps"], old)
    assert reasons["erase_share"] == stale(KEPT["lab4_steps"], small), "a component that came later"
    assert "trials.csv lacks lr" in reasons["lr"]


def test_a_column_or_a_heading_that_is_missing_makes_a_folder_stale(small: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(small, tmp_path / "old"))
    with_page = replace(KEPT["lab4_steps"], page=True)
    with (old / "trials.csv").open() as file:
        rows = list(csv.reader(file))
    at = rows[0].index("kernels")
    shorter = [[*row[:at], *row[at + 1 :]] for row in rows]
    with (old / "trials.csv").open("w", newline="") as file:
        csv.writer(file).writerows(shorter)
    title = headings()[0]
    (old / "report.html").write_text(page_of_headings().replace(title, "Another title"))
    (old / "epochs.csv").unlink()
    reasons = stale(with_page, old)
    assert "trials.csv lacks kernels" in reasons
    assert "no epochs.csv" in reasons
    assert f"report.html has no heading {title!r}" in reasons
    assert not any("heading" in reason for reason in stale(KEPT["lab4_steps"], old)), "its page is not kept"
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
    (whole / "report.html").write_text("the page")
    kept = KEPT["lab4_steps"]
    make_reference.keep(replace(kept, page=True), whole, tmp_path / "kept", ["shown.png"])
    assert (
        gzip.decompress((tmp_path / "kept" / "epochs.csv.gz").read_bytes())
        == (small / "epochs.csv").read_bytes()
    )
    assert not (tmp_path / "kept" / "epochs.csv").exists()
    assert (tmp_path / "kept" / "report.html").read_text() == "the page"
    described = json.loads((tmp_path / "kept" / "datapackage.json").read_text())["resources"]
    assert {resource["path"] for resource in described} >= {"trials.csv", "epochs.csv.gz", "scores.csv.gz"}
    assert len(stale(kept, tmp_path / "kept")) == 1, "but for its ids, it is current"
    assert [path.name for path in (tmp_path / "kept" / "figures").iterdir()] == ["shown.png"]
    assert results.read(tmp_path / "kept").epochs.equals(results.read(small).epochs)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        make_reference.keep(kept, whole, tmp_path / "kept", ["gone.png"])
    assert shown_figures("lab5_ladder") == ["confusion-mnist-rung-3.png", "ladder-mnist.png"]


def test_a_wrong_name_ends_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (
        (["lab9"], "unknown lab9; allowed: lab1_learning_rate"),
        (["choices", "--set", "lr=1"], "--into"),
        (["choices", "--minutes", "0"], "allowed is a number above 0"),
        (["--all", "--write"], "--numbers"),
    ):
        with pytest.raises(SystemExit) as stopped:
            make_reference.main(given)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_the_listing_says_what_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference.main(["--stale"])
    listed = capsys.readouterr().out
    assert all(f"\n{name} " in listed for name in OLD)


def test_the_listing_says_how_long_a_plan_expects_a_folder_to_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"cnn": 90.0, "losses": 3600.0}
    monkeypatch.setattr(make_reference, "planned_seconds", lambda kept: seconds[kept.name])
    monkeypatch.setattr(make_reference, "unfinished", lambda _kept: [UNRECORDED])
    make_reference.main(["cnn", "losses", "--plan"])
    listed = capsys.readouterr().out
    assert "   1.5 min" in listed
    assert "  60.0 min" in listed
    assert listed.endswith("62 minutes of training in all, by plan\n")


def test_a_folder_that_this_study_made_is_left_and_another_is_made(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KEPT["lab4_steps"]
    there = Path(shutil.copytree(small, tmp_path / "lab4_steps"))
    monkeypatch.setattr(make_reference, "train", train_here)
    monkeypatch.setattr("reference_digests.stale", lambda _kept, _folder: [])
    assert recorded(there) == digest(kept, CHANGES) != digest(kept)
    assert unfinished(kept, there) == [OTHER_BUILD]
    (there / RECORD).unlink()
    assert unfinished(kept, there) == [UNRECORDED]
    (there / RECORD).write_text("damaged")
    assert unfinished(kept, there) == [UNRECORDED]
    (there / RECORD).write_text(json.dumps({"digest": digest(kept)}))
    assert unfinished(kept, there) == []
    before = b'{"runs": []}'  # of two runs within a second they may be the same
    (there / "provenance.json").write_bytes(before)
    make_reference.main(["lab4_steps", "--into", str(tmp_path), *set_options()])
    assert "is current (--anew makes it again)" in capsys.readouterr().out
    assert (there / "provenance.json").read_bytes() == before
    make_reference.main(["lab4_steps", "--anew", "--into", str(tmp_path), *set_options()])
    assert (there / "provenance.json").read_bytes() != before


def test_a_digest_tells_studies_and_components_apart_and_comments_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablations, shipped = tmp_path / "ablations", tmp_path / "shipped"
    ablations.mkdir()
    study = (CHECKOUT / "ablations" / "lab4_steps.toml").read_text()
    shutil.copytree(CHECKOUT / "harness" / "lowering" / "shipped", shipped)
    monkeypatch.setattr("reference_folders.ABLATIONS", ablations)
    monkeypatch.setattr("reference_digests.ABLATIONS", ablations)
    monkeypatch.setattr("reference_digests.SHIPPED", shipped)

    def digest_of(text: str) -> str:
        (ablations / "lab4_steps.toml").write_text(text)
        return digest(KEPT["lab4_steps"])

    as_it_is = digest_of(study)
    assert digest_of(f"# a remark\n{study}") == as_it_is
    assert digest_of(study.replace("[study]", "[study]\nuntil = { val_accuracy = 0.9 }")) != as_it_is
    (shipped / "activation-tanh.c").write_text("changed")
    assert digest_of(study) == as_it_is, "the study has no tanh"
    (shipped / "optimizer-adam.c").write_text("changed")
    assert digest_of(study) != as_it_is


def test_what_is_stopped_by_the_minutes_goes_on_unless_its_study_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bool] = []

    def train_a_piece(kept: Reference, folder: Path, changes: Sequence[str], seconds: float) -> bool:
        assert 0 < seconds <= 60
        pieces.append((folder / "begun").is_file())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "begun").touch()
        if len(pieces) <= 2:
            return False
        (folder / "begun").unlink()
        return train_here(kept, folder, changes)

    monkeypatch.setattr(make_reference, "train", train_a_piece)
    command = ["lab4_steps", "--minutes", "1", "--into", str(tmp_path)]
    for changes in (["--set", "lr=0.5"], set_options()):
        with pytest.raises(SystemExit) as stopped:
            make_reference.main([*command, *changes])
        assert stopped.value.code == make_reference.STOPPED
        assert "the same command goes on" in capsys.readouterr().out
        assert not (tmp_path / "lab4_steps").exists()
    make_reference.main([*command, *set_options()])
    assert pieces == [False, False, True], "the second piece is of another study, and begins anew"
    assert recorded(tmp_path / "lab4_steps") == digest(KEPT["lab4_steps"], CHANGES)
    assert not list((tmp_path / ".making").iterdir())


def test_a_command_that_takes_too_long_is_asked_to_end() -> None:
    assert make_reference.run([sys.executable, "-c", "pass"], 60)
    assert not make_reference.run([sys.executable, "-c", "import time; time.sleep(600)"], 0.2)
    with pytest.raises(subprocess.CalledProcessError):
        make_reference.run([sys.executable, "-c", "raise SystemExit(2)"], math.inf)


def test_of_a_large_folder_the_trials_alone_may_be_kept(small: Path, tmp_path: Path) -> None:
    kept = replace(KEPT["lab4_steps"], tables=("trials",), phases=("",))
    Path(shutil.copytree(small, tmp_path / "made" / "tuning"))
    shutil.copytree(small, tmp_path / "made", dirs_exist_ok=True)
    make_reference.keep(kept, tmp_path / "made", tmp_path / "kept", [])
    assert not [name for name in ("epochs.csv", "confusion.csv") if (tmp_path / "kept" / name).exists()]
    left = [file.name for file in (tmp_path / "kept" / "tuning").iterdir()]
    assert left == ["provenance.json"], "which says how long it took"
    assert len(stale(kept, tmp_path / "kept")) == 1, "but for its ids, it is current"
    assert {"no epochs.csv", "no confusion.csv"} < set(stale(KEPT["lab4_steps"], tmp_path / "kept"))
    assert results.read_trials(tmp_path / "kept")["status"].eq("ok").all()
