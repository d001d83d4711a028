"""The first screen of a page says what the numbers of a study are, by design, in three sentences at most."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from families import arms, grid, without
from searches import confirm, suggestions, write
from test_ladder import ladder_with_gains

from harness import reporting
from harness.reporting import ReportData, arm_tables, contrasts, evidence, tuned
from harness.reporting.data import prepare
from harness.reporting.first_screen import headline
from harness.reporting.first_screen.model import SENTENCES, Bar, Headline, Picture
from harness.reporting.search import data as search_data

CHOICES = {
    "activation": {"relu": 0.0, "tanh": -0.02, "gelu": 0.0},
    "batch_size": {"32": 0.0, "128": -0.05},
}


def first_screen(reading: ReportData) -> Headline:
    made = headline.of_study(evidence.gather(reading))
    assert len(made.answers) <= SENTENCES
    return replace(made, answers=[plain(words) for words in made.answers])


def plain(words: str) -> str:
    return words.replace("\u00a0", " ")


def sureness(screen: Headline) -> dict[str, str]:
    return {label: plain(words) for label, words in screen.sureness}


def bars(screen: Headline) -> list[Bar]:
    assert screen.picture is not None
    return list(screen.picture.bars)


def declared(**levels: Any) -> dict[str, Any]:
    return {
        "contrasts": {"declared": True, "levels": [{"axis": "activation", "reference": "relu", **levels}]}
    }


def test_a_grid_says_which_choice_matters_most_and_draws_all_of_them() -> None:
    screen = first_screen(grid(CHOICES))
    # Sums of squares of 36 trials: 36 * 0.025^2 of the batch size, 36 * 2/9 * 0.02^2 of the activation.
    assert screen.answers[0] == (
        "What matters most (exploratory) is the batch_size: 87.5 % of the variance of val accuracy (32 lies "
        "5.0 points above 128)."
    )
    assert screen.answers[1].startswith("3 contrasts of test accuracy: 2 worse")
    assert screen.answers[2].startswith("Best arm by validation: ")
    assert [bar.name for bar in bars(screen)] == ["batch_size", "activation"]
    assert bars(screen)[0].value == pytest.approx(0.05, abs=1e-3)
    assert bars(screen)[0].low < 0.05 < bars(screen)[0].high
    assert plain(bars(screen)[0].verdict) == "87.5 % of variance"
    assert screen.picture is not None
    assert (screen.picture.link, screen.picture.more) == ("choices", 0)


def test_two_data_sets_share_the_picture_and_what_is_left_out_is_counted() -> None:
    effects = CHOICES | {name: {"a": 0.0, "b": -0.01 * k} for k, name in enumerate(("one", "two"), start=3)}
    screen = first_screen(grid(effects, datasets=("digits", "mnist")))
    assert "on digits, " in screen.answers[0]
    assert screen.answers[0].endswith("on mnist.")
    assert [(bar.name, bar.small) for bar in bars(screen)] == [
        (axis, dataset) for dataset in ("digits", "mnist") for axis in ("batch_size", "two", "one")
    ]
    assert screen.picture is not None
    assert screen.picture.more == 2, "the activation, of either data set"


def test_other_first_choices_are_told_by_data_set_and_overlaps_leave_the_order_open() -> None:
    alike = grid({"a": {"x": 0.0, "y": -0.02}, "b": {"x": 0.0, "y": -0.0202}}, seeds=3)
    assert "may matter as much: intervals overlap." in first_screen(alike).answers[0]
    two = grid({"a": {"x": 0.0, "y": -0.02}, "b": {"x": 0.0, "y": -0.06}}, datasets=("one", "two"))
    trials = two.results.trials
    turned = trials["dataset"].eq("two") & trials["a"].eq("y")
    changed = trials.assign(
        **{name: trials[name] - 0.2 * turned for name in ("val_accuracy", "test_accuracy")}
    )
    told = first_screen(reporting.prepare(replace(two.results, trials=changed))).answers[0]
    assert told.startswith("What matters most (exploratory): on one the b (")
    assert ", on two the a (" in told


def test_declared_contrasts_come_first_and_are_the_picture() -> None:
    screen = first_screen(grid(CHOICES, study=declared()))
    assert screen.answers[0].startswith("On digits tanh is worse than relu by 2.0 points of test accuracy")
    assert screen.answers[1].startswith("On digits gelu ")
    assert [bar.name for bar in bars(screen)] == ["tanh", "gelu"]
    assert screen.picture is not None
    assert screen.picture.title == "Points of test accuracy above relu"
    assert (bars(screen)[0].verdict, bars(screen)[0].tone) == ("worse", "worse")
    assert bars(screen)[0].words == "\u22122.0 (\u22122.0 to \u22122.0)"
    assert sureness(screen)["Correction"].startswith("Holm, 2 contrasts, 5 %; differences below 0.")


def test_contrasts_within_many_combinations_are_counted_and_drawn_as_ranges() -> None:
    effects = CHOICES | {"depth": {"1": 0.0, "2": -0.1}}
    screen = first_screen(grid(effects, study=declared(within=["batch_size", "depth"])))
    assert screen.answers[0].startswith("8 contrasts of test accuracy: 4 worse")
    assert "most often worse: tanh against relu (4 of 4 combinations)" in screen.answers[1].lower()
    tanh = bars(screen)[0]
    assert (tanh.name, tanh.verdict, tanh.tone) == ("tanh", "4 worse", "worse")
    assert math.isnan(tanh.value), "a range has no point"
    assert -0.021 < tanh.low <= -0.02 <= tanh.high < -0.019


def test_a_study_of_one_arm_is_asked_how_good_that_is() -> None:
    screen = first_screen(arms({"baseline": 0.0}, seeds=3))
    assert screen.question == "How good is it, on digits?"
    assert screen.answers[0] == "There is only one arm, so there is nothing to compare."


def test_one_factor_names_the_largest_difference_and_what_stays_undecided() -> None:
    reading = arms({"baseline": 0.0, "big": 0.05, "bad": -0.03, "close": 0.0009}, seeds=3)
    screen = first_screen(reading)
    assert screen.kind == "Ablation, one factor at a time"
    assert screen.question == "Which of baseline, big, bad and close is best, on digits?"
    assert not screen.states
    assert screen.answers[0] == (
        "3 contrasts of test accuracy: 1 better: big against baseline, +5.0 points; 1 "
        "worse: bad against baseline, \u22123.0 points; 1 "
        "undecided: close against baseline."
    )
    assert screen.answers[1] == "Best arm by validation: big (test 85.0 %)."
    assert [bar.name for bar in bars(screen)] == ["big", "bad", "close"], "the largest first"
    assert sureness(screen)["Not tuned"] == "learning rates (lr 0.1) and all else: they are as given."
    assert sureness(screen)["Missing"] == "none of 12 trials."


def with_plan(folder: Path, **plan: Any) -> ReportData:
    """A finished study whose folder's plan.json says this of shards."""
    (folder / "plan.json").write_text(json.dumps({"schema": 1, **plan}))
    made = arms({"baseline": 0.0, "big": 0.05})
    return replace(made, results=replace(made.results, folder=folder))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, ""),
        ({"shard": [1, 1]}, ""),
        ({"shard": [1, 3]}, "; shards 2 and 3 of 3 are not in this folder"),
        ({"shard": [3, 16]}, "; 15 of the study's 16 shards are not in this folder"),
        ({"shards": {"count": 4, "numbers": [1, 2, 4]}}, "; shard 3 of 4 is not in this folder"),
        ({"shards": {"count": 2, "numbers": [1, 2]}}, ""),
    ],
)
def test_shards_that_are_not_in_the_folder_are_missing(
    tmp_path: Path, plan: dict[str, Any], words: str
) -> None:
    reading = with_plan(tmp_path, **plan)
    told = sureness(first_screen(reading))["Missing"]
    assert told == f"none of {len(reading.trials)} trials{words}."
    sections = [section.title for section in arm_tables.missing(reading)]
    assert [title.lower() for title in sections] == ([words.removeprefix("; ").lower()] if words else [])


def test_trials_that_a_look_made_needless_are_not_told_as_a_loss(tmp_path: Path) -> None:
    found = with_plan(tmp_path).results
    needless = found.trials["seed"].eq(found.trials["seed"].max())
    trials = found.trials.assign(
        status=found.trials["status"].mask(needless, "skipped"),
        reason=needless.map({True: "not needed: every contrast was decided at 3 seeds", False: ""}),
    )
    reading = prepare(replace(found, trials=trials))
    _, told = headline._missing(reading)
    assert (
        told
        == f"{needless.sum()} not needed: every contrast was decided at 3 seeds, of {len(trials)} trials."
    )
    assert len(reading.trials) == len(trials) - needless.sum()
    assert reading.ranking["planned"].eq(reading.ranking["ok"]).all(), "no arm lacks a seed"


def test_what_was_found_is_named_with_its_data_sets() -> None:
    effects = {"output": {"a": 0.0, "b": 0.05, "c": 0.02, "d": 0.0018}}
    told = first_screen(grid(effects, seeds=3, datasets=("digits", "mnist"))).answers
    assert told[0].startswith("What matters most (exploratory) is the output: ")
    assert "better, most of all b against a on digits, +5.0 points; " in told[1]
    assert "undecided, alike on both data sets: " in told[1]


def test_a_difference_far_from_the_margin_has_no_count_of_seeds_for_the_margin() -> None:
    words = "more seeds would resolve"
    chance = {"baseline": 0.0, "far": 0.003}
    for margin, said in ((0.0005, False), (0.002, True)):
        study = {"contrasts": {"margin": margin, "pairs": [["far", "baseline"]]}}
        (answer,) = [a for a in first_screen(arms(chance, seeds=2, study=study)).answers if "cannot" in a]
        assert (words in answer) is said


def test_a_hypothesis_is_the_question() -> None:
    screen = first_screen(
        arms({"a": 0.0, "b": 0.1}, study={"study": {"design": "one-factor", "hypothesis": "b > a"}})
    )
    assert (screen.question, screen.states) == ("b > a", True)


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    screen = first_screen(arms({"baseline": 0.0, "big": 0.05}, seeds=1))
    assert "in the only seed, so there is no verdict" in screen.answers[0]
    assert math.isnan(bars(screen)[0].low)
    assert screen.picture is not None
    assert screen.picture.note.startswith("There are no intervals.")
    assert (bars(screen)[0].verdict, bars(screen)[0].tone) == ("one seed", "open")
    assert sureness(screen)["Seeds"].startswith("one, so there is no interval and no verdict")
    assert "Correction" not in sureness(screen)
    assert "with one seed this may be chance" in first_screen(grid(CHOICES, seeds=1)).answers[0]


def test_nothing_finished_concludes_nothing_and_counts_the_missing() -> None:
    screen = first_screen(without(arms({"baseline": 0.0, "big": 0.05}, seeds=2), seed=[0, 1]))
    assert screen.answers == ["No trial has finished, so there is nothing to conclude."]
    assert screen.picture is None
    assert sureness(screen)["Missing"] == "4 diverged, of 4 trials."


def test_a_ladder_leads_from_its_first_step_to_its_last() -> None:
    screen = first_screen(ladder_with_gains([0.2, 0.1, -0.05], noise=0.001))
    assert screen.answers[0].startswith(
        "On two the ladder leads from 50.0 % val accuracy (step 0, baseline) to 75.0 % (step 3, step 3): "
        "+25.0 points"
    )
    assert screen.answers[1].startswith("3 contrasts of test accuracy: 2 better, most of all step 1 against ")
    assert [(bar.name, bar.verdict, bar.tone) for bar in bars(screen)] == [
        ("0 baseline", "", "open"), ("1 step 1", "better +20.0", "better"),
        ("2 step 2", "better +10.0", "better"), ("3 step 3", "worse \u22125.0", "worse"),
    ]  # fmt: skip
    assert [bar.value for bar in bars(screen)] == pytest.approx([0.5, 0.7, 0.8, 0.75])


def test_a_long_ladder_shows_its_ends_and_its_largest_steps() -> None:
    gains = [0.01, 0.05, 0.001, 0.06, 0.002, 0.07, 0.08, 0.003]
    screen = first_screen(ladder_with_gains(gains, noise=0.0005))
    assert [bar.name for bar in bars(screen)] == [
        "0 baseline", "2 step 2", "4 step 4", "6 step 6", "7 step 7", "8 step 8",
    ]  # fmt: skip
    assert screen.picture is not None
    assert screen.picture.more == 3


def test_tuned_verdicts_come_before_fixed_ones_and_the_changed_are_counted() -> None:
    effects = {"baseline": 0.0, "better": 0.05, "bad": -0.03, "turns": 0.02}
    fixed = evidence.gather(arms(effects))
    chosen = pd.DataFrame({"dataset": ["digits"], "arm": ["turns"], "val_accuracy": [0.8], "lr": [0.3]})
    second = arms(effects | {"turns": -0.02})
    judged = contrasts.judge(second, fixed.fixed.family)
    phases = tuned.Phases(None, None, chosen, [], "")
    both = replace(fixed, tuned=tuned.Tuned(phases, second, judged))
    screen = headline.of_study(both)
    assert screen.answers[0].startswith("Tuned, 3 contrasts of test accuracy: 1 better: better against ")
    assert "; 2 worse, most of all bad against baseline, " in screen.answers[0]
    assert screen.answers[1] == "Tuning changes the verdict of 1 of 3 contrasts."
    verdicts = {bar.name: bar.verdict for bar in bars(screen)}
    assert verdicts == {"better": "better", "bad": "worse", "turns": "worse"}
    assert sureness(screen)["Tuned"] == "lr, for each arm on val."
    assert sureness(screen)["Not tuned"] == "all else: it is as given."


def test_the_page_of_a_confirmation_says_that_its_baseline_was_not_searched_for() -> None:
    study = {"study": {"design": "one-factor", "phase": "confirmed"}}
    screen = first_screen(arms({"baseline": 0.0, "winner": 0.05}, study=study))
    assert screen.kind == "Confirmation of a search"
    assert len(screen.answers) == 1, "with two arms, the best one is said already"
    assert screen.answers[0].startswith("On digits winner is better than baseline by 5.0 points")
    assert sureness(screen)["Not tuned"] == "the baseline, which is as given; the winner was searched for."


def test_a_search_without_a_confirmation_flatters_and_says_so(tmp_path: Path) -> None:
    search = search_data.read(reporting.read(write(tmp_path / "known", suggestions())))
    screen = headline.of_search(search)
    best = suggestions().query("state == 'complete'").nlargest(6, "val_accuracy")
    assert plain(screen.answers[0]) == (
        f"The best of 32 complete suggestions by val accuracy: {best['arm'].iloc[0]}, "
        f"{100 * best['val_accuracy'].iloc[0]:.2f} %."
    )
    assert screen.answers[1].startswith("It is not confirmed")
    assert [bar.name for bar in bars(screen)] == list(best["arm"])
    assert screen.picture is not None
    assert screen.picture.more == 26
    assert sureness(screen)["Missing"] == "4 pruned, 4 failed, of 40 suggestions."


def test_a_confirmed_search_draws_its_winner_against_the_baseline(tmp_path: Path) -> None:
    folder = write(tmp_path / "known", suggestions())
    best = suggestions().query("state == 'complete'").nlargest(1, "val_accuracy").iloc[0]
    confirm(folder, best["lr"], best["optimizer"], float(best["val_accuracy"]) - 0.01)
    search = search_data.read(reporting.read(folder))
    screen = headline.of_search(search)
    assert screen.answers[1].startswith("On digits winner is better than baseline by 10.0 points")
    assert screen.answers[2].startswith(f"In the search {best['arm']} had val accuracy")
    baseline, winner = bars(screen)
    assert winner.name == "winner of the search"
    assert winner.value - baseline.value == pytest.approx(0.1)
    assert (winner.verdict, winner.tone) == ("better +10.0", "better")
    assert sureness(screen)["Not tuned"].startswith("the baseline")


def test_places_on_the_axis_are_shares_of_its_width() -> None:
    bar = Bar("a", "", 5.0, math.nan, math.nan, "5")
    picture = Picture("t", "n", [bar, replace(bar, value=10.0)], 0, "x", zero=0.0)
    low, high = picture.ends
    assert (low, high) == pytest.approx((-0.4, 10.4))
    assert picture.place(5.0) == pytest.approx(50)
    assert math.isnan(picture.place(math.nan))
    alone = Picture("t", "n", [bar], 0, "x")
    assert 0 < alone.place(5.0) < 100, "one value has a place too"
