"""`harness data export`, `check --study` and `show`, as a person types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.main import harness
from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.registry import PACKAGE_ROOT

HEAD = '[study]\nname = "own"\nseeds = 1\n[baseline]\nepochs = 1\nhidden = [8]\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(harness, list(words), standalone_mode=False)


def ok(*words: str) -> str:
    result = run(*words)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def refused(*words: str) -> str:
    """What the command says, with exit code 2."""
    error = run(*words).exception
    assert isinstance(error, UsageError)
    return str(error)


def real(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_the_table_that_export_prints_works_in_a_study() -> None:
    (Path("own.toml")).write_text(
        HEAD + 'dataset = "digits_png"\n' + ok("data", "export", "digits", "png", "scans")
    )
    told = ok("data", "check", "--study", "own.toml")
    assert "digits_png: ok: 1,437 train and 360 test images of 8 x 8 pixels, 10 classes" in told
    assert datasets["digits"].facts.digest in told
    done = real(["run", "own.toml", "--workers", "1", "--device", "cpu"])
    assert (done.returncode, "1 trials trained" in done.stdout) == (0, True), done.stderr
    # A folder that has changed in between: exit code 2, the file named, nothing lost.
    trials = Path("results/own/trials.csv").read_bytes()
    broken = next(Path("scans/test").iterdir())
    broken.write_bytes(broken.read_bytes()[:50])
    done = real(["run", "own.toml", "--workers", "1", "--device", "cpu"])
    assert done.returncode == 2
    assert broken.name in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("results/own/trials.csv").read_bytes() == trials


def test_a_declared_data_set_is_exported_and_shown_by_its_name() -> None:
    Path("own.toml").write_text(HEAD + ok("data", "export", "digits", "npy", "first"))
    ok("data", "export", "digits_npy", "idx.gz", "second", "--study", "own.toml")
    assert len(list(Path("second").iterdir())) == 4
    told = ok(
        "data", "show", "digits_npy", "--study", "own.toml", "--label", "7", "--split", "val", "--seed", "0"
    )
    assert "class 7 in digits_npy, val: 10 of 14 images at random (seed 0)" in told
    assert [path.name for path in sorted(Path("figures").iterdir())] == [
        "digits_npy-val-label-7-seed-0.png",
        "digits_npy-val-label-7-seed-0.svg",
    ]


def test_show_draws_counts_and_a_row_or_the_requested_figure() -> None:
    told = ok("data", "show", "digits", "--out", "one")
    assert "train is balanced: 127 images of class 8 to 131 of class 1" in told
    assert "written: one/digits-counts.png and .svg" in told
    assert {path.name for path in Path("one").glob("*.png")} == {"digits-counts.png", "digits-row.png"}
    ok("data", "show", "digits", "--grid", "--digit", "3", "--seed", "0", "--out", "two")
    assert {path.name for path in Path("two").glob("*.png")} == {
        "digits-grid.png",
        "digits-train-label-3-seed-0.png",
    }


def test_show_draws_the_data_of_a_study_as_it_divides_them() -> None:
    Path("own.toml").write_text(HEAD + 'dataset = "digits"\n[axes]\nval_split = ["stratified", "balanced"]\n')
    ok("data", "show", "own.toml")
    names = {path.name for path in Path("figures").glob("*-counts.png")}
    assert names == {"digits-stratified-counts.png", "digits-balanced-counts.png"}
    assert "No val images" in ok("data", "show", "digits", "--set", "val_fraction=0")


def test_unknown_names_are_reported_with_suggestions() -> None:
    told = refused("data", "show", "digit")
    assert "there is no study 'digit'" in told
    assert "not a data set either: did you mean 'digits'?" in told
    assert "did you mean 'digits'?" in refused("data", "export", "digit", "png", "scans")
    assert "no such class" in refused("data", "show", "digits", "--label", "12")
    assert "there is no study file none.toml" in refused("data", "check", "--study", "none.toml")
    assert not Path("scans").exists()


def drawn_names(folder: str = "figures") -> set[str]:
    return {path.name for path in Path(folder).glob("*.png")}


def test_show_draws_images_by_number_and_the_first_ones_as_the_files_come() -> None:
    assert "digits, train: image 15\n" in ok("data", "show", "digits", "--number", "15")
    assert "digits, test: images 25 to 29\n" in ok(
        "data", "show", "digits", "--number", "25-29", "--split", "test", "--ink", "dark"
    )
    assert "digits, train: the first 10 of 1,437 images\n" in ok("data", "show", "digits", "--first", "10")
    assert "class 7 in digits, train: 1 of 143 images at random (seed " in ok(
        "data", "show", "digits", "--label", "7", "--count", "1", "--captions", "{number} is a {label}"
    )
    assert "digits, test: evenly spaced images\n" in ok("data", "show", "digits", "--grid", "--split", "test")
    assert "digits, train: 3 of 1,437 images at random (seed 5)\n" in ok(
        "data", "show", "digits", "--count", "3", "--seed", "5"
    )
    names = drawn_names()
    assert {
        "digits-train-image-15.png", "digits-test-images-25-to-29.png", "digits-train-first-10.png",
        "digits-train-seed-5.png",
    } < names  # fmt: skip
    assert len([name for name in names if name.startswith("digits-train-label-7-seed-")]) == 1


def test_show_draws_the_data_as_given_or_as_set_divides_them() -> None:
    told = ok("data", "show", "digits", "--as-given")
    assert "No val images" not in told
    assert drawn_names() == {"digits-as-given-counts.png", "digits-as-given-row.png"}
    assert "the first 3 of 1,150 images" in ok(
        "data", "show", "digits", "--first", "3", "--set", "val_fraction=0.2", "--out", "set"
    )
    Path("own.toml").write_text(HEAD + 'dataset = "digits"\n')
    assert "the first 3 of 1,293 images" in ok("data", "show", "own.toml", "--first", "3", "--out", "study")
    assert "the first 3 of 1,437 images" in ok(
        "data", "show", "own.toml", "--first", "3", "--as-given", "--out", "study"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--number", "70000"], "image 70000: digits train has 1,437, numbers 0 to 1,436"),
        (["--number", "4-2"], "the first image of a range comes first"),
        (["--number", "3", "--label", "7"], "number says which images: it goes with no label"),
        (["--first", "3", "--count", "3"], "first takes no count and no seed"),
        (["--split", "val", "--number", "2000"], "image 2000: digits train has 1,437"),
        (["--captions", "titel", "--first", "2"], "captions = 'titel'"),
        (["--as-given", "--set", "val_fraction=0.2"], "--as-given divides nothing"),
        (["--as-given", "--split", "val"], "--as-given divides nothing"),
    ],
)
def test_what_show_cannot_draw_is_one_message_and_no_file(words: list[str], said: str) -> None:
    assert said in refused("data", "show", "digits", *words)
    assert not drawn_names()
