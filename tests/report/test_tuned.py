"""Fixed and tuned verdicts side by side: two really trained folders, one of them at other settings."""

from __future__ import annotations

import html
import itertools
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from harness import report, training
from harness.report import declared, tuned
from harness.report.judgement import judgement
from harness.study import parse

STUDY: dict[str, Any] = {
    "study": {"name": "losses", "seeds": 3, "keep_predictions": [], "keep_weights": "none"},
    "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8], "batch_size": 64, "lr": 0.02},
    "axes": {
        "output": [
            {"name": "softmax + CE", "head": "identity", "loss": "ce"},
            {"name": "softmax + MSE", "head": "softmax", "loss": "mse"},
            {"name": "softmax + QL", "head": "softmax", "loss": "ql"},
        ]
    },
}
TUNE = {"seeds": [100, 101], "budget": 2, "space": {"lr": [0.02, 0.5]}}
LEVELS = [{"axis": "output", "reference": "softmax + CE", "within": []}]
CHOSEN = """dataset,arm,lr,val_accuracy,seeds,tried,unfinished,edge
digits,softmax + CE,0.5,0.9,2,2,0,lr is the highest tried
digits,softmax + MSE,0.02,0.8,2,2,1,
digits,softmax + QL,,,,2,2,
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study at lr 0.02 and, in tuned/, the same arms at lr 0.5, of which one trial diverged."""
    folder = tmp_path_factory.mktemp("results") / "losses"
    for where, lr in ((folder, 0.02), (folder / "tuned", 0.5)):
        training.train(parse({**STUDY, "baseline": STUDY["baseline"] | {"lr": lr}}), where, workers=1)
        study = tomllib.loads((where / "study.toml").read_text())
        study |= {"contrasts": {"margin": 0.01, "declared": True, "levels": LEVELS}, "tune": TUNE}
        (where / "study.toml").write_text(tomli_w.dumps(study))
    (folder / "chosen.csv").write_text(CHOSEN)
    trials = pd.read_csv(folder / "tuned" / "trials.csv", dtype=str, keep_default_na=False)
    last = len(trials) - 1
    trials.loc[last, ["status", "reason", "val_accuracy", "test_accuracy"]] = ["diverged", "by hand", "", ""]
    trials.to_csv(folder / "tuned" / "trials.csv", index=False)
    _write_tuning(folder / "tuning")
    return folder


def _write_tuning(folder: Path) -> None:
    """Trials of two settings an arm: MSE's second did not finish."""
    folder.mkdir()
    (folder / "study.toml").write_text(tomli_w.dumps(STUDY))
    arms = [arm["name"] for arm in STUDY["axes"]["output"]]
    rows = [
        {"trial_id": f"{arm}{lr}{seed}", "arm": f"{arm}, lr={lr}", "of_arm": arm, "dataset": "digits",
         "lr": lr, "seed": seed, "status": "ok", "reason": "", "val_accuracy": lr, "test_accuracy": ""}
        for arm, lr, seed in itertools.product(arms, [0.02, 0.5], [100, 101])
    ]  # fmt: skip
    trials = pd.DataFrame(rows).astype(object)
    trials.loc[7, ["status", "val_accuracy"]] = ["diverged", ""]
    trials.to_csv(folder / "trials.csv", index=False)
    for name in ("epochs", "confusion"):
        (folder / f"{name}.csv").write_text("trial_id,split,label,prediction,count,epoch,loss,accuracy\n")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(trained, tmp_path / "losses")


def paragraphs(folder: Path) -> list[str]:
    return [" ".join(said).replace("\u00a0", " ") for said in judgement(report.read(folder)).answers]


def test_both_families_are_judged_each_by_itself(trained: Path) -> None:
    reading = report.read(trained)
    fixed = declared.judge(reading, declared.family(reading))
    found = tuned.read(reading, fixed)
    assert found is not None
    assert found.judged is not None
    table = tuned.both(fixed, found.judged)
    assert table["arm"].tolist() == ["softmax + MSE", "softmax + QL"]
    alone = declared.judge(report.read(trained / "tuned"), declared.family(reading)).table
    assert table["p_holm_tuned"].tolist() == pytest.approx(alone["p_holm"].tolist(), nan_ok=True)
    assert table["p_holm_fixed"].tolist() == pytest.approx(fixed.table["p_holm"].tolist(), nan_ok=True)
    assert table["n_tuned"].tolist() == [3, 2], "one tuned trial diverged"


def test_each_changed_verdict_has_a_sentence_and_the_second_family_is_said(trained: Path) -> None:
    reading = report.read(trained)
    fixed = declared.judge(reading, declared.family(reading))
    found = tuned.read(reading, fixed)
    assert found is not None
    assert found.judged is not None
    both = tuned.both(fixed, found.judged)
    changed = both[both["verdict_fixed"].ne(both["verdict_tuned"])]
    assert len(changed), "at lr 0.02 squared errors lag, at 0.5 less"
    text = " ".join(paragraphs(trained))
    for row in changed.to_dict("records"):
        said = rf"{re.escape(row['arm'])} against softmax \+ CE: {row['verdict_fixed']} \([^)]* points\) at"
        assert re.search(rf"{said} the fixed setting, {row['verdict_tuned']} \([^)]* points\) tuned\.", text)
    assert f"On digits tuning changes {len(changed)} of 2 contrasts." in text
    assert "second family of 2 contrasts of test accuracy, corrected by itself" in text
    assert text.count("standard error of its own") == 1


def test_the_choices_are_shown_with_edges_and_spread(trained: Path) -> None:
    tables = {table.name: table for table in judgement(report.read(trained)).tables}
    assert list(tables) == ["verdicts", "fixed-and-tuned", "verdicts-tuned", "chosen"]
    chosen = tables["chosen"]
    names = [column.name for column in chosen.columns]
    ce, mse, ql = (dict(zip(names, row, strict=True)) for row in chosen.rows)
    assert (ce["chosen lr"].text, ce["edge"].text) == ("0.5", "lr is the highest tried")
    assert ce["median of the settings"].text == "26.00\u00a0%"
    assert ce["median of the settings"].small == "2.0\u00a0% to 50.0\u00a0%"
    assert mse["median of the settings"].text == "2.00\u00a0%", "only one of its settings finished"
    assert (ql["chosen lr"].text, ql["val accuracy"].text) == ("no data", "no data")
    text = " ".join(paragraphs(trained))
    assert "No setting finished, so none was chosen, for softmax + QL on digits." in text
    assert "1 choice of 3 lies at the edge" in text


def test_the_page_has_both_and_names_what_is_missing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "draw", lambda _: iter(()))  # the other figures take a while
    monkeypatch.setattr(report.samples, "looks", lambda _: iter(()))
    monkeypatch.setattr(report.best, "looks", lambda _: iter(()))
    page = report.write(trained, tmp_path / "report.html")
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.read_text(encoding="utf-8")))
    assert re.search(r"1 trial on digits, tuned, diverged.*\(by hand\)", text)
    assert "and again each at the settings it chose on validation" in text
    files = {path.name for path in (tmp_path / "tables").iterdir()}
    names = ["chosen", "effects", "fixed-and-tuned", "verdicts", "verdicts-tuned"]
    assert files == {f"{name}.{kind}" for name in names for kind in ("csv", "tex")}
    assert all(f"tables/{name}" in text for name in files)
    both = pd.read_csv(tmp_path / "tables" / "fixed-and-tuned.csv")
    assert len(both) == 2
    (forest,) = judgement(report.read(trained)).drawn
    said = [words.get_text().partition(":")[0] for words in forest.figure.axes[0].texts]
    assert (said.count("fixed"), said.count("tuned")) == (2, 2)


def test_a_study_without_tune_says_nothing_of_it(digits_results: Path) -> None:
    assert not judgement(report.read(digits_results)).tuned


def test_a_tuned_comparison_that_is_not_there_yet_is_said(folder: Path) -> None:
    shutil.rmtree(folder / "tuned")
    text = " ".join(paragraphs(folder))
    assert "declares a tuned comparison whose final trials are not there yet" in text
    assert [table.name for table in judgement(report.read(folder)).tables] == ["verdicts", "chosen"]


def test_files_that_cannot_be_read_are_said(folder: Path) -> None:
    (folder / "chosen.csv").write_text("dataset,arm\n")
    (folder / "tuning" / "study.toml").write_text("not = [toml")
    text = " ".join(paragraphs(folder))
    assert "chosen.csv cannot be read" in text
    assert "The folder tuning/ cannot be read" in text
