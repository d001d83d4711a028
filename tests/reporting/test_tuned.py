"""Fixed and tuned verdicts side by side: a really tuned study."""

from __future__ import annotations

import html
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from families import IMAGES, arms

from harness import reporting, stats
from harness.errors import UsageError
from harness.reporting import (
    ReportData,
    arm_confusion,
    calibration,
    contrasts,
    judgement,
    learning_rates,
    page,
    tuned,
)
from harness.results import Results
from harness.study.reading import parse
from harness.training import runs

STUDY: dict[str, Any] = {
    "study": {"name": "losses", "seeds": 3, "keep_predictions": [], "keep_weights": "none"},
    "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8], "batch_size": 64, "lr": 0.02},
    "axes": {
        "output": [
            {"name": "softmax + CE", "head": "identity", "loss": "ce"},
            {"name": "softmax + MSE", "head": "softmax", "loss": "mse"},
            {"name": "logits + QL", "head": "identity", "loss": "ql", "tune": {"lr": [1e24, 1e25]}},
        ]
    },
    "contrasts": {"margin": 0.01, "levels": [{"axis": "output", "reference": "softmax + CE"}]},
    "tune": {"seeds": 2, "budget": 2, "space": {"lr": [0.02, 0.5]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose last arm diverges at every setting that it may try."""
    folder = tmp_path_factory.mktemp("results") / "losses"
    runs.train(parse(STUDY), folder, workers=1)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(trained, tmp_path / "losses")


def paragraphs(folder: Path) -> list[str]:
    return [" ".join(said).replace("\u00a0", " ") for said in judgement(reporting.read(folder)).answers]


def test_fixed_and_tuned_families_are_judged_separately(trained: Path) -> None:
    reading = reporting.read(trained)
    fixed = contrasts.judge(reading, contrasts.read_family(reading))
    found = tuned.read(reading, fixed)
    assert found is not None
    assert found.judged is not None
    table = tuned.both(fixed, found.judged)
    assert table["arm"].tolist() == ["softmax + MSE", "logits + QL"]
    alone = contrasts.judge(reporting.read(trained / "tuned"), contrasts.read_family(reading)).table
    assert table["p_holm_tuned"].tolist() == pytest.approx(alone["p_holm"].tolist(), nan_ok=True)
    assert table["p_holm_fixed"].tolist() == pytest.approx(fixed.table["p_holm"].tolist(), nan_ok=True)
    assert table["n_tuned"].tolist() == [3, 0], "the last arm could choose nothing"


def test_each_changed_verdict_has_a_sentence_and_the_second_family_is_stated(trained: Path) -> None:
    tables = {table.name: table for table in judgement(reporting.read(trained)).tables}
    both = tables["fixed-and-tuned"].data
    assert both is not None
    (row, _) = both.to_dict("records")
    assert row["verdict_fixed"] != row["verdict_tuned"], "at lr 0.02 nothing is learnt, at 0.5 by CE alone"
    text = " ".join(paragraphs(trained))
    said = (
        rf"softmax \+ MSE against softmax \+ CE: {row['verdict_fixed']} \([^)]* points\) at the fixed setting"
    )
    assert re.search(rf"{said}, {row['verdict_tuned']} \([^)]* points\) tuned\.", text)
    assert "On digits tuning changes the verdict of 1 of 1 contrast." in text
    assert "second family of 2 contrasts of test accuracy, corrected by itself" in text
    assert text.count("adds a standard error of") == 1


def test_the_choices_are_shown_with_edges_and_spread(trained: Path) -> None:
    tables = {table.name: table for table in judgement(reporting.read(trained)).tables}
    assert list(tables) == ["verdicts", "fixed-and-tuned", "verdicts-tuned", "chosen"]
    chosen = tables["chosen"]
    names = [column.name for column in chosen.columns]
    ce, _, ql = (dict(zip(names, row, strict=True)) for row in chosen.rows)
    assert (ce["chosen lr"].text, ce["edge"].text) == ("0.5", "lr is the highest tried")
    tried = pd.read_csv(trained / "tuning" / "trials.csv").query("of_arm == 'softmax + CE'")
    means = tried.groupby("lr")["val_accuracy"].mean()
    assert ce["val accuracy"].key == pytest.approx(means.max())
    assert ce["median of the settings"].key == pytest.approx(means.median())
    assert (ql["chosen lr"].text, ql["val accuracy"].text) == ("no data", "no data")
    assert (ql["median of the settings"].text, ql["unfinished"].text) == ("no data", "2")
    text = " ".join(paragraphs(trained))
    assert "No setting finished, so none was chosen, for logits + QL on digits." in text
    assert "2 choices of 3 lie at the edge" in text


def test_the_page_has_both_and_names_what_is_missing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reporting.page.draw", lambda _: iter(()))  # the other figures take a while
    monkeypatch.setattr("harness.reporting.data_sets.sections", lambda _: iter(()))
    monkeypatch.setattr("harness.reporting.best_model.sections", lambda _: iter(()))
    page = reporting.write(trained, tmp_path / "report.html")
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.read_text(encoding="utf-8")))
    assert re.search(r"3 trials on digits, tuned, skipped.*\(none of the settings it tried finished", text)
    assert "and again at the settings that each arm chose on validation" in text
    files = {path.name for path in (tmp_path / "tables").iterdir()}
    names = ["chosen", "effects", "fixed-and-tuned", "pairs", "same-digits-output", "seeds-and-images",
             "verdicts", "verdicts-tuned"]  # fmt: skip
    assert files == {f"{name}.{kind}" for name in names for kind in ("csv", "tex")}
    assert all(f"tables/{name}" in text for name in files)
    both = pd.read_csv(tmp_path / "tables" / "fixed-and-tuned.csv")
    assert len(both) == 2
    (forest,) = judgement(reporting.read(trained)).figures
    said = [words.get_text().partition(":")[0] for words in forest.figure.axes[0].texts]
    assert (said.count("fixed"), said.count("tuned")) == (2, 2)


def test_a_study_without_tune_says_nothing_of_it(digits_results: Path) -> None:
    assert not judgement(reporting.read(digits_results)).facts["tunes"]


def test_a_missing_tuned_comparison_is_reported(folder: Path) -> None:
    shutil.rmtree(folder / "tuned")
    text = " ".join(paragraphs(folder))
    assert "declares a tuned comparison whose final trials are missing" in text
    assert [table.name for table in judgement(reporting.read(folder)).tables] == ["verdicts", "chosen"]


def test_unreadable_files_are_reported(folder: Path) -> None:
    (folder / "chosen.csv").write_text("dataset,arm\n")
    (folder / "tuning" / "study.toml").write_text("not = [toml", encoding="utf-8")
    text = " ".join(paragraphs(folder))
    assert "chosen.csv cannot be read" in text
    assert "The folder tuning/ cannot be read" in text


def test_the_evidence_of_a_choice_is_stated(trained: Path) -> None:
    told = [said for said in paragraphs(trained) if "the settings chosen for it" in said]
    assert len(told) == 1
    assert (
        "The choice itself rests on 2 tuning seeds. These intervals do not cover that another choice"
        in told[0]
    )


def test_the_tuned_folder_by_itself_says_that_its_arms_are_tuned(trained: Path) -> None:
    told = " ".join(paragraphs(trained / "tuned"))
    assert "at the settings chosen for it on val" in told
    assert "without tuning" not in told
    assert "run it again" not in told


def test_the_tuning_folder_has_no_report_of_its_own(trained: Path) -> None:
    with pytest.raises(UsageError, match=r"the report of .*losses has them; write that one"):
        reporting.write(trained / "tuning")


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("epochs = 2", "epochs = 3", "baseline: epochs"),
        ("    2,\n]\nplugins", "    2,\n    3,\n]\nplugins", "seeds"),
        ("budget = 2", "budget = 3", "tune: budget"),
    ],
)
def test_a_root_trained_again_is_not_set_beside_old_tuned_results(
    folder: Path, before: str, after: str, what: str
) -> None:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    assert before in text
    (folder / "study.toml").write_text(text.replace(before, after), encoding="utf-8")
    made, said = judgement(reporting.read(folder)), " ".join(paragraphs(folder))
    assert (
        f"In this folder, tuning/ belongs to a study with other settings ({what}) and tuned/ "
        f"belongs to a study with other settings ({what}), so there are no tuned verdicts. Run "
        "the study again."
    ) in said
    assert [table.name for table in made.tables] == ["verdicts"]
    assert not made.facts["tunes"]
    assert not list(learning_rates.draw(reporting.read(folder)))


def test_choices_other_than_the_trained_ones_are_reported(folder: Path) -> None:
    assert list(learning_rates.draw(reporting.read(folder)))
    path = folder / "chosen.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("CE,0.5", "CE,0.02"), encoding="utf-8")
    (folder / "checksums.json").unlink()  # which would tell that it was changed
    assert "tuned/ was trained with other choices than chosen.csv has" in " ".join(paragraphs(folder))
    assert [table.name for table in judgement(reporting.read(folder)).tables] == ["verdicts"]


def test_a_root_that_tunes_no_more_ignores_the_old_folders_and_says_so(folder: Path) -> None:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    kept, _, _ = text.partition("[tune]")
    (folder / "study.toml").write_text(kept, encoding="utf-8")
    said = " ".join(paragraphs(folder))
    assert (
        "This study tunes nothing: tuning/, tuned/ and chosen.csv in its folder belong to an earlier study"
        in said
    )
    assert "run it again" not in said
    assert "without tuning" in said
    assert not list(learning_rates.draw(reporting.read(folder)))


def test_data_is_the_same_wherever_it_is_named_from(tmp_path: Path) -> None:
    def found(folder: Path, path: str) -> Results:
        study = {"datasets": {"mine": {"path": path}}, "tune": {"seeds": [1000]}}
        return Results(folder, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), study, {})

    root, below = found(tmp_path, "../data"), found(tmp_path / "tuned", "../../data")
    assert not list(tuned._differing(root, below))
    assert list(tuned._differing(root, found(tmp_path / "tuned", "../data"))) == ["datasets: mine"]


def twins() -> ReportData:
    """Three arms of which two are the same trials, as where tuned arms chose the same settings."""
    made = arms({"baseline": 0.0, "first": 0.02, "second": 0.02})
    found = made.results
    kept = found.trials[found.trials["arm"].ne("second")]
    again = kept[kept["arm"].eq("first")].assign(arm="second")
    trials = pd.concat([kept, again], ignore_index=True)
    confusion = found.confusion[found.confusion["trial_id"].isin(kept["trial_id"])]
    ids, splits = list(kept["trial_id"]), ("train", "val")
    epochs = pd.DataFrame([{"trial_id": i, "epoch": 1.0, "split": s} for i in ids for s in splits])
    epochs = epochs.assign(accuracy=0.5, loss=1.0)
    return reporting.prepare(replace(found, trials=trials, confusion=confusion, epochs=epochs))


def test_arms_that_chose_the_same_are_judged_as_arms_and_counted_once_each() -> None:
    reading = twins()
    table = contrasts.judge(reading, contrasts.read_family(reading)).table
    assert table["arm"].tolist() == ["first", "second"]
    assert table["n"].tolist() == [6, 6]
    first, second = table.drop(columns=["axis", "within", "arm"]).to_dict("records")
    assert first == second
    assert (page._facts(reading)["planned"], page._facts(reading)["arms"]) == (12, 3)
    drawn = {figure.name: figure for figure in reporting.draw(reading)}
    assert "curves-digits" in " ".join(drawn)
    curves = stats.mean_curves(reading.results.epochs, reading.trials, ["label"], "loss")
    assert curves["trials"].eq(1).all()
    assert len(curves) == 3 * 2 * 6
    (ranked, *_) = (reporting.rank(reading)[["label", "n"]].to_dict("list"),)
    assert ranked["n"] == [6, 6, 6]
    of = {name: arm_confusion(reading, "digits", name).to_numpy().sum() for name in ranked["label"]}
    assert set(of.values()) == {6 * IMAGES}


def test_predictions_of_trials_with_two_names_are_read_once(sweep: ReportData) -> None:
    done = sweep.results.trials
    one = done[done["status"].eq("ok")].iloc[:1]
    trials = pd.concat([done, one.assign(arm="again", activation="twin")], ignore_index=True)
    doubled = reporting.prepare(replace(sweep.results, trials=trials))
    before, after = (calibration.reliability(reading, "digits") for reading in (sweep, doubled))
    pd.testing.assert_frame_equal(before, after)
    section = calibration.section(doubled)
    assert section is not None
    (table,) = section.tables
    assert table.data is not None
    ece = table.data.query("measure == 'ece'").set_index("arm")
    twin = next(name for name in ece.index if "twin" in name)
    other = twin.replace("twin", str(one["activation"].iloc[0]))
    assert ece.loc[twin, "mean"] == calibration.eces(before)[one["trial_id"].iloc[0]]
    assert ece.loc[other, "n"] >= 1
