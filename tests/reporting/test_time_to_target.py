"""Time to a target on the page: shares of seeds, restricted means, verdicts, and what is not claimed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.testing as npt
import pandas as pd
import pytest
from families import reading as made_of
from scipy import stats as scipy_stats

from harness import reporting, results, stats
from harness.reporting import ReportData, time_to_target
from harness.reporting.model import Section
from harness.results import targets
from harness.study.reading import parse
from harness.training import runs

NEVER = math.nan
BUDGET = 8


def timed(
    epochs_to: dict[str, list[float]], diverged: tuple[str, ...] = (), study: dict[str, Any] | None = None,
    every: int = 1,
) -> ReportData:  # fmt: skip
    """Arms of a one-factor study whose seeds took these epochs, of 8; an epoch is 100 steps."""
    rows = [
        {"arm": arm, "dataset": "digits", "seed": seed, "value": 0.9, "epochs_to": time}
        for arm, times in epochs_to.items()
        for seed, time in enumerate(times)
    ]
    tables = {
        "study": {"design": "one-factor", "until": {"val_accuracy": 0.97}},
        "baseline": {},
        **(study or {}),
    }
    plain = made_of(pd.DataFrame(rows), tables).results
    broken = plain.trials["arm"].isin(diverged)
    trials = plain.trials.assign(
        steps_to=plain.trials["epochs_to"] * 100, epochs=float(BUDGET), steps=math.nan,
        epochs_done=plain.trials["arm"].map(lambda arm: 2.5 if arm in diverged else float(BUDGET)),
        status=plain.trials["status"].mask(broken, "diverged"),
    )  # fmt: skip
    trials = trials.assign(steps_done=trials["epochs_done"] * 100)
    epochs = pd.DataFrame([
        {"trial_id": trial, "epoch": float(epoch), "step": epoch * 100, "split": split, "loss": 1.0}
        for trial in trials["trial_id"] for epoch in range(0, BUDGET + 1, every) for split in ("train", "val")
    ])  # fmt: skip
    return reporting.prepare(replace(plain, trials=trials, epochs=epochs))


def reported(reading: ReportData) -> Section:
    (section,) = time_to_target.sections(reading)
    return section


def rows(section: Section, table: int = 0) -> list[dict[str, str]]:
    shown = section.tables[table]
    return [
        dict(zip([c.name for c in shown.columns], [cell.text for cell in row], strict=True))
        for row in shown.rows
    ]


def verdict(reading: ReportData) -> dict[str, Any]:
    (row,) = time_to_target.judge(reading, time_to_target.read(reading, target(reading))).table.to_dict(
        "records"
    )
    return {str(name): value for name, value in row.items()}


def target(reading: ReportData) -> Any:
    found = targets.of_study(reading.results.study["study"])
    assert found is not None
    return found


SLOW, FAST = [7.0, 8.0, 6.0, 7.0, NEVER, 8.0], [2.0, 3.0, 2.0, 1.0, 2.0, 3.0]


def test_an_arm_has_its_share_its_restricted_mean_and_its_median() -> None:
    section = reported(timed({"slow": SLOW, "fast": FAST}))
    fast, slow = rows(section)
    assert (fast["arm"], fast["reached it"], fast["restricted mean epochs"]) == ("fast", "6 of 6", "2.17")
    assert (slow["reached it"], slow["restricted mean epochs"]) == ("5 of 6", "7.33")
    assert (fast["median epochs"], fast["median steps"]) == ("2", "200")
    assert section.words[0].replace("\u00a0", " ") == (
        "On digits, 11 of 12 trials reached 97 % val accuracy. Lowest restricted mean: fast, 2.17 epochs in "
        "the mean of 6 seeds (95 % interval 1.38 to 2.96). Never reached: slow in 1 of 6."
    )
    (figure,) = section.figures
    assert figure.chart is not None
    (line, _) = figure.chart.series
    assert (line.name, line.y[-1]) == ("fast", 1.0)


def test_verdicts_are_paired_tests_of_restricted_times_with_the_resolution_counted_in() -> None:
    row = verdict(timed({"slow": SLOW, "fast": FAST}))
    differences = [2 - 7, 3 - 8, 2 - 6, 1 - 7, 2 - 8, 3 - 8]
    assert row["difference"] == pytest.approx(sum(differences) / 6)
    assert row["p"] == pytest.approx(scipy_stats.ttest_1samp([d + 1 for d in differences], 0).pvalue)
    assert (row["arm"], row["verdict"]) == ("fast", "better")
    coarse = verdict(timed({"slow": SLOW, "fast": FAST}, every=4))
    assert coarse["p"] > row["p"]


def test_the_difference_of_one_evaluation_is_not_a_verdict() -> None:
    late = [3.0, 4.0, 3.0, 2.0, 3.0, 4.0]
    row = verdict(timed({"late": late, "fast": FAST}))
    assert (row["difference"], row["verdict"]) == (-1.0, "cannot tell")


def test_arms_that_never_reach_it_are_not_called_the_same() -> None:
    reading = timed({"a": [NEVER] * 6, "b": [NEVER] * 6, "c": FAST})
    table = time_to_target.judge(reading, time_to_target.read(reading, target(reading))).table
    assert table.set_index("arm")["verdict"].to_dict() == {"b": "no data", "c": "better"}
    assert table.set_index("arm")["p_holm"]["c"] == pytest.approx(table.set_index("arm")["p"]["c"])
    section = reported(reading)
    assert any("No seed sooner than the whole budget: b against a" in words for words in section.words)


def test_an_arm_that_never_reached_it_is_not_named_and_a_tie_at_the_budget_has_no_fastest() -> None:
    section = reported(timed({"never": [NEVER] * 3, "once": [NEVER, NEVER, float(BUDGET)]}))
    assert section.words[0].replace("\u00a0", " ") == (
        "On digits, 1 of 6 trials reached 97 % val accuracy. None did sooner than the whole budget, "
        "8 epochs: no arm is shown to be faster. Never reached: never in 3 of 3; once in 2 of 3."
    )
    assert [row["arm"] for row in rows(section)] == ["once", "never"]
    assert "in time" not in " ".join(section.words)
    assert rows(section, 1)[0]["difference (epochs)"] == "no seed sooner than the whole budget"


def test_the_lowest_mean_is_not_the_fastest_where_intervals_overlap() -> None:
    arms = {"a": [2.0, 6.0, 4.0], "b": [3.0, 5.0, 5.0], "c": [NEVER] * 3, "d": [7.0] * 3}
    first = reported(timed(arms)).words[0]
    assert "Lowest restricted mean: a, 4 epochs in the mean of 3 seeds (95\u00a0% interval 0 to 8)." in first
    assert "By these intervals, it cannot be told to be faster than b; d; c." in first
    only = reported(timed({"a": [2.0], "b": [7.0]})).words[0]
    assert "(no interval). By these intervals, it cannot be told to be faster than b." in only
    apart = reported(timed({"a": [2.0, 2.0], "d": [7.0, 7.0]})).words[0]
    assert "cannot be told" not in apart


def test_a_page_without_an_arm_at_the_target_says_so_and_judges_nothing() -> None:
    section = reported(timed({"a": [NEVER] * 4, "b": [NEVER] * 4}))
    assert section.words[0].startswith(
        "No arm reached 97\u00a0% val accuracy on digits (8 trials, up to 8 epochs)"
    )
    assert [table.name for table in section.tables] == ["time-to-target"]
    assert not section.figures


def test_a_diverged_trial_takes_the_whole_budget() -> None:
    reading = timed({"ok": FAST, "broken": [NEVER] * 6}, diverged=("broken",))
    times = time_to_target.read(reading, target(reading))
    assert times.horizons == {"digits": BUDGET}
    npt.assert_array_equal(times.table.query("arm == 'broken'")["restricted"], [BUDGET] * 6)
    assert verdict(reading)["verdict"] == "worse"
    assert rows(reported(reading))[1]["reached it"] == "0 of 6"
    both = timed({"ok": [NEVER] * 6, "broken": [NEVER] * 6}, diverged=("ok", "broken"))
    assert "No arm reached" in reported(both).words[0]


def test_trials_that_were_at_the_target_before_they_all_diverged_are_reported(tmp_path: Path) -> None:
    study = parse(
        {
            "study": {"name": "gone", "seeds": 3, "until": {"val_loss": 100.0}},
            "baseline": {"dataset": "digits", "hidden": [8], "epochs": 2, "lr": 1e30},
            "axes": {"optimizer": ["sgd", "momentum"]},
        }
    )
    runs.train(study, tmp_path / "r", workers=1)
    reading = reporting.prepare(results.read(tmp_path / "r"))
    assert reading.trials["status"].eq("diverged").all()
    section = reported(reading)
    assert "6 of 6 trials reached a val loss of 100" in section.words[0]
    assert verdict(reading)["verdict"] == stats.IDENTICAL


def test_a_folder_without_a_target_has_no_section_and_one_without_times_says_what_to_do() -> None:
    reading = timed({"a": FAST, "b": SLOW})
    none = {**reading.results.study, "study": {"design": "one-factor", "until": None}}
    assert list(time_to_target.sections(reporting.prepare(replace(reading.results, study=none)))) == []
    old = reading.results.trials.drop(columns=["steps_to", "epochs_to"])
    section = reported(reporting.prepare(replace(reading.results, trials=old)))
    assert section.words == [time_to_target.STALE]


@pytest.mark.parametrize("budget", [{"epochs": 10}, {"steps": 300, "eval_every": "20 steps"}])
def test_a_real_folder_is_compared_in_the_unit_of_its_budget(budget: dict[str, Any], tmp_path: Path) -> None:
    study = parse(
        {
            "study": {"name": "sooner", "seeds": 6, "until": {"val_accuracy": 0.8}},
            "baseline": {"dataset": "digits", "hidden": [16], **budget},
            "axes": {"batch_size": [16, 64], "lr": [0.2, 1e25]},
        }
    )
    runs.train(study, tmp_path / "r", workers=1)
    reading = reporting.prepare(results.read(tmp_path / "r"))
    times = time_to_target.read(reading, target(reading))
    assert times.unit == next(iter(budget))
    assert times.horizons == {"digits": next(iter(budget.values()))}
    assert times.resolution == {"epochs": 1, "steps": 20}[times.unit]
    assert reading.trials["status"].eq("diverged").any()
    section = reported(reading)
    assert {row["reached it"] for row in rows(section)} >= {"0 of 6", "6 of 6"}
    judged = time_to_target.judge(reading, times).table.set_index("arm")
    assert judged.loc["1e+25", "verdict"] == "worse"
    assert judged.loc["1e+25", "n"] == 6


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ({}, "Exploratory: not in the family"),
        ({"pairs": [["fast", "slow"]]}, "Declared in the study with its target, before training"),
        (
            {"pairs": [["fast", "slow"]], "target_after": 12},
            "Exploratory: the target was given after 12 trials",
        ),
        ({"pairs": [["fast", "slow"]], "changed_after": 12}, "Exploratory: not in the family"),
    ],
)
def test_verdicts_are_exploratory_unless_contrasts_and_target_were_declared(
    contrasts: dict[str, Any], said: str
) -> None:
    section = reported(timed({"slow": SLOW, "fast": FAST}, study={"contrasts": contrasts}))
    assert said in section.tables[1].note
