"""The report of a ladder: a really trained one, and one whose numbers are known."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import reporting, stats
from harness.errors import UsageError
from harness.reporting import ReportData, ladder, ladder_steps
from harness.results import Results
from harness.study.reading import parse
from harness.training import runs

STUDY: dict[str, Any] = {
    "study": {"name": "climb", "design": "ladder", "seeds": 3},
    "baseline": {"dataset": "digits", "epochs": 2, "hidden": [16], "head": "softmax", "loss": "mse"},
    "steps": [
        {"name": "cross-entropy", "head": "identity", "loss": "ce"},
        {"name": "RMSprop", "optimizer": "rmsprop", "lr": 0.01},
        {"name": "the same lr", "lr": 0.01},
        {"name": "far too fast", "optimizer": "sgd", "lr": 1e30},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ladder on digits: step 3 sets nothing new, step 4 diverges."""
    folder = tmp_path_factory.mktemp("results") / "climb"
    runs.train(parse(STUDY), folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def reading(folder: Path) -> ReportData:
    return reporting.read(folder)


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reporting.write(folder, tmp_path_factory.mktemp("report") / "report.html")


def ladder_with_gains(gains: list[float], seeds: int = 5, noise: float = 0.0) -> ReportData:
    """A ladder of 2 classes whose rung k adds gains[k - 1] to val and test, give or take `noise` a seed."""
    sizes = np.concatenate([[0.5], 0.5 + np.cumsum(gains)])
    names = ["baseline", *(f"step {number}" for number in range(1, len(sizes)))]
    trials, confusion = [], []
    for (number, name), seed in itertools.product(enumerate(names), range(seeds)):
        value = sizes[number] + noise * (-1) ** number * (seed - (seeds - 1) / 2)
        trial_id = f"t{number}{seed}"
        row = {"trial_id": trial_id, "arm": name, "dataset": "two", "lr": 0.1 + number, "loss": "ce"}
        row |= {"head": "identity", "seed": seed, "status": "ok", "reason": "", "parameters": 10.0}
        trials.append({**row, "val_accuracy": value, "test_accuracy": value, "diverged_step": np.nan})
        wrong = round(1000 * (1 - value))
        confusion += [(trial_id, "test", 0, 0, 1000 - wrong), (trial_id, "test", 0, 1, wrong)]
    cells = pd.DataFrame(confusion, columns=["trial_id", "split", "label", "prediction", "count"])
    epochs = pd.DataFrame(columns=["trial_id", "epoch", "split", "accuracy", "loss"])
    steps = [{"name": name, "lr": 0.1 + number} for number, name in enumerate(names)][1:]
    study = {"study": {"design": "ladder"}, "baseline": {"lr": 0.1}, "steps": steps}
    return reporting.prepare(Results(Path(), pd.DataFrame(trials), epochs, cells, study, {}))


def ladder_sentences(reading: ReportData) -> list[str]:
    """The answer's paragraphs, with plain spaces."""
    return [" ".join(said).replace("\u00a0", " ") for said in reporting.answers(reading)]


def unfinished(reading: ReportData, label: str, seeds: list[int]) -> ReportData:
    """The same reading with some seeds of an arm diverged."""
    trials = reading.results.trials
    hit = trials["arm"].eq(label) & trials["seed"].isin(seeds)
    empty = {name: trials[name].mask(hit) for name in ("val_accuracy", "test_accuracy")}
    trials = trials.assign(status=trials["status"].mask(hit, "diverged"), **empty)
    return reporting.prepare(replace(reading.results, trials=trials))


# ---------------------------------------------------------------------------------------------------- rungs


def test_a_step_lists_the_settings_it_set_and_those_that_followed(reading: ReportData) -> None:
    climbed = list(ladder_steps.ladder_steps(reading))
    assert [rung.label for rung in climbed] == [
        "0 baseline", "1 cross-entropy", "2 RMSprop", "3 the same lr", "4 far too fast",
    ]  # fmt: skip
    assert climbed[0].changes == climbed[0].follows == {}
    assert climbed[1].changes == {"head": ("softmax", "identity"), "loss": ("mse", "ce")}
    assert climbed[2].changes == {"optimizer": ("sgd", "rmsprop"), "lr": ("0.1", "0.01")}
    assert climbed[2].follows["alpha"] == ("not applicable", "0.99"), "RMSprop's own default"


def test_a_step_that_changes_nothing_stands_for_the_trained_one(reading: ReportData) -> None:
    same = list(ladder_steps.ladder_steps(reading))[3]
    assert (same.arm, same.changes, same.follows) == ("RMSprop", {}, {})
    (climb,) = ladder_steps.ladders(reading)
    both = climb.contrasts("test").set_index("arm").loc["3 the same lr"]
    assert both["difference"] == 0
    assert both[["low", "high"]].isna().all(), "no spread, so no interval"


def test_a_step_back_is_compared_with_the_step_before_it(folder: Path) -> None:
    found = reporting.read(folder).results
    steps = [*found.study["steps"][:2], {"name": "back", "optimizer": "sgd", "lr": 0.1}]
    reading = reporting.prepare(replace(found, study={**found.study, "steps": steps}))
    back = list(ladder_steps.ladder_steps(reading))[3]
    assert back.arm == "cross-entropy"
    assert back.changes == {"optimizer": ("rmsprop", "sgd"), "lr": ("0.01", "0.1")}
    (climb,) = ladder_steps.ladders(reading)
    there, again = (climb.contrasts("val").set_index("arm")["difference"][i] for i in ("2 RMSprop", "3 back"))
    assert again == pytest.approx(-there)


def test_a_step_that_belongs_to_no_trial_is_an_error(reading: ReportData) -> None:
    steps = [{"name": "unheard of", "lr": 0.123}]
    stranger = replace(reading, results=replace(reading.results, study={**STUDY, "steps": steps}))
    with pytest.raises(UsageError, match="without trials"):
        list(ladder_steps.ladder_steps(stranger))


def test_the_most_improved_pair_of_classes_comes_first() -> None:
    reading = ladder_with_gains([0.1])
    (climb,) = ladder_steps.ladders(reading)
    pairs = ladder_steps.class_pairs(reading.results.confusion, climb, ("1 step 1", "0 baseline"), 3)
    assert pairs.columns.to_frame().to_numpy().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert pairs[0, 1].tolist() == [-100] * 5, "each seed's mistakes between 0 and 1"


# ---------------------------------------------------------------------------------------------------- words


def test_a_step_adds_costs_or_cannot_be_told_from_no_change() -> None:
    adds, costs, opens = (
        ladder_sentences(ladder_with_gains([gain], noise=0.001))[1] for gain in (0.2, -0.2, 0.001)
    )
    assert adds.startswith("Step 1 (step 1) adds 20.0 points of val accuracy (95 % interval 19.")
    assert costs.startswith("Step 1 (step 1) costs 20.0 points of val accuracy (95 % interval 19.")
    assert opens.startswith(
        "Step 1 (step 1) cannot be distinguished from no change with 5 seeds: +0.10 points of val"
    )


def test_a_step_that_changes_no_prediction_says_so() -> None:
    assert ladder_sentences(ladder_with_gains([0.0]))[1] == (
        "Step 1 (step 1) leaves val and test accuracy exactly as they were in all 5 seeds."
    )


def test_test_has_a_verdict_of_its_own() -> None:
    reading = ladder_with_gains([0.1], noise=0.001)
    trials = reading.results.trials
    noisy = trials["test_accuracy"] - 0.1 * trials["arm"].eq("step 1")
    said = ladder_sentences(
        reporting.prepare(replace(reading.results, trials=trials.assign(test_accuracy=noisy)))
    )[1]
    assert "adds 10.0 points of val accuracy" in said
    assert "; on test it cannot be distinguished from no change: " in said


def test_one_seed_gives_numbers_and_no_verdict() -> None:
    whole, step = ladder_sentences(ladder_with_gains([0.1], seeds=1))
    assert "one seed, so no interval" in whole
    assert step == (
        "Step 1 (step 1): +10.0 points of val accuracy in the only seed, so there is no interval and no "
        "verdict; test +10.0 (one seed)."
    )


def test_improved_and_worsened_classes_are_named_only_if_they_stand_out() -> None:
    assert (
        "Its largest change is between 0 and 1: 100 fewer test mistakes a seed"
        in ladder_sentences(ladder_with_gains([0.1], noise=0.001))[1]
    )
    assert (
        "Its largest change is between 0 and 1: 100 more test mistakes a seed"
        in ladder_sentences(ladder_with_gains([-0.1], noise=0.001))[1]
    )
    assert "No pair of classes stands out" in ladder_sentences(ladder_with_gains([0.002], noise=0.01))[1]


def test_a_step_with_diverged_seeds_states_its_number_of_seeds() -> None:
    said = ladder_sentences(unfinished(ladder_with_gains([0.1], noise=0.001), "step 1", [0, 1]))[1]
    assert "Only 3 of 5 seeds finished both steps, and survivors may flatter." in said


def test_a_diverged_step_is_compared_with_nothing_and_hides_nothing(reading: ReportData) -> None:
    paragraphs = ladder_sentences(reading)
    assert paragraphs[-1] == (
        "Step 4 (far too fast) cannot be compared with step 3: no seed finished both (step 4: 3 diverged)."
    )
    assert paragraphs[-2] == "Step 3 (the same lr) sets nothing new: it repeats step 2."
    assert "(step 3, the same lr)" in paragraphs[0], "the climb ends where it can be compared"
    assert "It changes 2 settings at once" in paragraphs[2]


def test_a_ladder_may_finish_only_its_first_step() -> None:
    paragraphs = ladder_sentences(unfinished(ladder_with_gains([0.1]), "step 1", [0, 1, 2, 3, 4]))
    assert paragraphs[0] == "On two no step finished a seed that step 0 finished too."


def test_a_ladder_without_finished_trials_says_so_as_any_study() -> None:
    reading = ladder_with_gains([0.1])
    none = unfinished(unfinished(reading, "baseline", list(range(5))), "step 1", list(range(5)))
    assert "nothing to conclude" in ladder_sentences(none)[0]
    assert list(reporting.draw(none)) == []


def test_a_ladder_is_judged_on_test_without_a_val_split() -> None:
    reading = ladder_with_gains([0.1], noise=0.001)
    trials = reading.results.trials.assign(val_accuracy=np.nan)
    assert "adds 10.0 points of test accuracy" in ladder_sentences(
        reporting.prepare(replace(reading.results, trials=trials))
    )[1]  # fmt: skip


# ------------------------------------------------------------------------------------------ tables, figures


def test_the_table_has_a_row_for_each_step_with_the_numbers_of_stats(reading: ReportData) -> None:
    (table,) = ladder.tables(reading)
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert [row["step"].sort for row in rows] == ["0.0", "1.0", "2.0", "3.0", "4.0"]
    assert rows[4]["step"].text == "4 far too fast"
    assert rows[1]["what changed"].text == "head softmax \u2192 identity, loss mse \u2192 ce"
    assert "alpha 0.99" in rows[2]["what changed"].small
    assert rows[3]["what changed"].text == "nothing"
    assert "step 2" in rows[3]["what changed"].small
    assert (rows[4]["seeds"].text, rows[4]["seeds"].small) == ("0 of 3", "3 diverged")
    assert {rows[4][f"{split} accuracy"].text for split in ("val", "test")} == {"no data"}
    assert rows[0]["parameters"].text == f"{64 * 16 + 16 + 16 * 10 + 10:,}"
    trials = reading.trials.set_index(["arm", "seed"])["test_accuracy"]
    assert rows[1]["test accuracy"].key == pytest.approx(trials["cross-entropy"].mean())
    by_seed = trials["cross-entropy"] - trials["baseline"]
    assert rows[1]["test difference"].key == pytest.approx(by_seed.mean())


def test_every_finished_step_has_its_confusion_matrix_and_its_change(reading: ReportData, page: Path) -> None:
    files = {path.stem for path in (page.parent / "figures").glob("*.png")}
    assert {name for name in files if name.startswith("confusion-")} == {
        f"confusion-digits-rung-{number}" for number in range(4)
    }
    assert {"ladder-digits", "differences-digits", "curves-digits-rung"} <= files
    _, first, second = itertools.islice(reporting.draw(reading), 3)
    assert "Blue is better" not in first.caption, "there is nothing before the first"
    assert "Blue is better" in second.caption
    panels = [ax for ax in second.figure.axes if ax.get_xlabel() == "predicted"]
    written = [text.get_text() for text in panels[1].texts]
    pair = ("cross-entropy", "baseline")
    change = stats.confusion_differences(reading.results.confusion, reading.results.trials, pair, 10)
    total = change.groupby(level="true").sum().to_numpy().ravel()
    assert total.any()
    assert [int(text.replace("\u2212", "-") or 0) for text in written] == total.tolist()


def test_a_ladder_of_two_steps_draws_if_one_diverged() -> None:
    drawn = [
        figure.name
        for figure in reporting.draw(unfinished(ladder_with_gains([0.1]), "step 1", list(range(5))))
    ]
    assert drawn[:2] == ["ladder-two", "confusion-two-rung-0"]


def test_the_page_ranks_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert 'id="table-rungs"' in text
    assert 'id="table-arms"' not in text
    assert "The best of" not in text
    assert text.count("<img ") == len(list((page.parent / "figures").glob("*.png")))


def test_a_step_to_another_data_set_begins_another_ladder() -> None:
    reading = ladder_with_gains([0.1, 0.1])
    trials = reading.results.trials
    moved = trials.assign(dataset=trials["dataset"].mask(trials["arm"].eq("step 2"), "other"))
    reading = reporting.prepare(replace(reading.results, trials=moved))
    assert ladder_sentences(reading)[-1] == "On other step 2 (step 2) stands alone: nothing to compare."
    assert [table.name for table in ladder.tables(reading)] == ["rungs-two", "rungs-other"]
