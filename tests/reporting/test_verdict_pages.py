"""Verdicts in the report: sentences hedged by their numbers, a table, a forest."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from families import arms, grid, without

from harness import plots, reporting
from harness.reporting import ReportData, contrasts, judgement, verdict_text

BROAD = {"margin": 0.005}


def verdict_paragraphs(reading: ReportData) -> list[str]:
    """The paragraphs of the verdicts, with plain spaces."""
    return [" ".join(said).replace("\u00a0", " ") for said in judgement(reading).answers]


def rows(reading: ReportData) -> list[dict[str, Any]]:
    """The table of verdicts, its cells by their columns' names."""
    table = judgement(reading).tables[0]
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def test_each_of_a_few_contrasts_gets_a_sentence_with_its_interval_and_p() -> None:
    pairs = [["up", "baseline"], ["down", "baseline"], ["same", "baseline"]]
    reading = arms(
        {"baseline": 0.0, "up": 0.05, "down": -0.05, "same": 0.0},
        study={"contrasts": BROAD | {"pairs": pairs}},
    )
    text = verdict_paragraphs(reading)[0]
    interval = r"\(95 % interval [45]\.\d to [45]\.\d over 6 seeds, corrected p < 0\.001\)\."
    assert re.match(rf"On digits up is better than baseline by 5\.0 points of test accuracy {interval}", text)
    assert re.search(rf" down is worse than baseline by [45]\.\d points of test accuracy {interval}", text)
    assert "same and baseline are the same within \u00b10.5 points:" in text
    assert "would be missed more often than one time in five, at the corrected level." in text


def test_undecided_contrasts_state_how_many_more_seeds_would_decide() -> None:
    reading = arms({"baseline": 0.0, "open": 0.0004}, study={"contrasts": {
        "margin": 0.0005, "pairs": [["open", "baseline"]]}})  # fmt: skip
    text = verdict_paragraphs(reading)[0]
    assert "open cannot be distinguished from baseline: +0.0" in text
    (row,) = rows(reading)
    more = row["more seeds"].text
    assert int(more) > 0
    assert f"about {more} more seeds would resolve differences of 0.05 points (80 % power" in text
    assert f"differences smaller than {row['detectable'].text} points would be missed more often" in text


def test_the_detectable_difference_is_not_called_a_floor() -> None:
    """A clear difference may lie below the one that is seen four times in five."""
    reading = arms({"baseline": 0.0, "up": 0.0014}, study={"contrasts": {"pairs": [["up", "baseline"]]}})
    (row,) = contrasts.judge(reading, contrasts.read_family(reading)).table.to_dict("records")
    assert (row["verdict"], row["difference"] < row["detectable"]) == ("better", True)
    text = verdict_paragraphs(reading)[0]
    assert "would be missed more often than one time in five." in text
    assert "corrected level" not in text + judgement(reading).tables[0].note, "it is the only contrast"
    assert "could not have been seen" not in text + judgement(reading).tables[0].note


def test_contrasts_with_seeds_enough_are_not_counted_among_those_that_need_more() -> None:
    family = contrasts.read_family(arms({"baseline": 0.0}))
    rows = [{"more_seeds": seeds} for seeds in (0.0, 25.0, 3.0, float("nan"))]
    assert "about 3 to 25 more seeds would resolve differences of 0.2 points in 2 of" in verdict_text._more(
        rows, family
    )
    enough = verdict_text._more(rows[:1], family)
    assert enough.endswith("so the difference is probably smaller, but this is not shown")
    assert "near the margin" not in enough


def test_a_larger_family_is_counted_and_all_of_it_named() -> None:
    effects = {f"level {i}": (i % 3) * 0.01 for i in range(8)}
    text = verdict_paragraphs(grid({"output": effects}))[0]
    assert text.startswith("On digits, 7 contrasts: 5 better and 2 ")
    better = text.split("Better: ")[1].split("). ")[0]
    assert {name for name in effects if f"{name} against level 0" in better} == {
        f"level {i}" for i in (1, 2, 4, 5, 7)
    }
    assert " more" not in better


def test_a_huge_family_is_named_in_its_table() -> None:
    text = verdict_paragraphs(grid({"output": {f"level {i}": (i > 0) * 0.1 for i in range(42)}}))[0]
    assert "; and 6 more (in the table)." in text


def test_contrasts_within_other_axes_have_a_sentence_each() -> None:
    family = {"margin": 0.005, "levels": [{"axis": "output", "reference": "a", "within": ["lr"]}]}
    effects = {"output": {"a": 0.0, "b": 0.05, "c": 0.0}, "lr": {"0.1": 0.0, "0.2": 0.01, "0.3": 0.02}}
    text = verdict_paragraphs(grid(effects, study={"contrasts": family}))[0]
    assert text.startswith("On digits, 6 contrasts: 3 better and 3 the same within")
    assert re.search(r" b against a, in 3 combinations of lr: better in 3 \(\+[45]\.\d .*points\)\.", text)
    assert re.search(r" c against a, in 3 combinations: the same within \S+ points in 3 \(", text)


def test_the_test_sets_own_error_is_stated_once_for_each_data_set() -> None:
    text = " ".join(verdict_paragraphs(grid({"output": {"a": 0.0, "b": 0.1}}, datasets=("digits", "other"))))
    # sqrt(.85 * .15 / 10,000) is 0.36 points.
    assert (
        text.count("The limited size of the test set, 10,000 images, adds a standard error of 0.36 points")
        == 2
    )


def test_the_page_states_its_family_and_its_question() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1})
    default = verdict_paragraphs(reading)
    assert (
        "The study file names no pairs or levels to contrast, so its design's default family is judged: "
        "1 contrast" in default[1]
    )
    assert "without tuning: part of any difference may come from learning rates" in default[1]
    assert "Everything outside of the families of contrasts is exploratory" in default[-1]
    contrasts = {"pairs": [["first", "baseline"]]}
    said = verdict_paragraphs(arms({"baseline": 0.0, "first": 0.1}, study={"contrasts": contrasts}))
    assert said[1].startswith(
        "The study declared 1 contrast of test accuracy, at 5 % without a correction, since it is"
    )
    contrasts = {"pairs": [["first", "baseline"], ["second", "baseline"]]}
    three = arms({"baseline": 0.0, "first": 0.1, "second": 0.2}, study={"contrasts": contrasts})
    assert verdict_paragraphs(three)[1].startswith(
        "The study declared 2 contrasts of test accuracy, corrected together (Holm, 5 %)"
    )
    assert (
        "The learning rate is one of the varied choices"
        in verdict_paragraphs(grid({"lr": {0.1: 0.0, 0.2: 0.1}}))[1]
    )


def test_one_seed_is_reported_without_an_interval() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1}, seeds=1)
    text = verdict_paragraphs(reading)[0]
    assert (
        "first against baseline: +9.9 points of test accuracy in the only seed, so there is no verdict"
        in text
    )
    assert "With a single seed no difference can be distinguished from chance." in text
    assert "interval" not in text
    (row,) = rows(reading)
    assert (row["verdict"].text, row["p (Holm)"].text, row["difference"].small) == (
        "one seed",
        "\u2013",
        "one seed",
    )
    (drawn,) = judgement(reading).figures
    assert "none with one seed" in drawn.caption


def test_arms_that_never_differ_have_no_interval_and_say_so() -> None:
    reading = arms({"baseline": 0.0, "copy": 0.0})
    trials = reading.trials.assign(test_accuracy=0.5)
    reading = ReportData(reading.results, reading.axes, trials)
    assert "copy and baseline are the same within \u00b10.2 points" in verdict_paragraphs(reading)[0]
    assert "the same in all 6 seeds, so no interval" in verdict_paragraphs(reading)[0]
    assert "nan" not in verdict_paragraphs(reading)[0]


def test_an_arm_that_diverged_is_compared_with_nothing() -> None:
    text = verdict_paragraphs(without(arms({"baseline": 0.0, "first": 0.1, "gone": 0.1}), arm="gone"))[0]
    assert "gone cannot be compared with baseline: no seed finished both." in text


def test_lost_seeds_and_combinations_are_reported() -> None:
    reading = without(arms({"baseline": 0.0, "first": 0.1}), arm="first", seed=[0, 1])
    assert "survivors may flatter: first against baseline on 4 of 6." in verdict_paragraphs(reading)[0]
    effects: dict[str, dict[Any, float]] = {
        "activation": {"relu": 0.0, "tanh": 0.1},
        "batch_size": {32: 0.0, 64: 0.0, 128: 0.0},
    }
    holed = without(grid(effects), activation="tanh", batch_size=128)
    assert (
        "left out combinations that one side did not finish, at most 1 of 2 (batch_size 128 against 32)"
        in verdict_paragraphs(holed)[0]
    )
    assert "1 of 3 combinations left out" in rows(holed)[0]["seeds"].small


def stopped(of: ReportData, **conditions: list[Any]) -> ReportData:
    """The same reading with the trials that meet all conditions not trained yet."""
    broken = without(of, **conditions).results
    status = broken.trials["status"].replace("diverged", "")
    return reporting.prepare(replace(broken, trials=broken.trials.assign(status=status)))


def test_untrained_seeds_do_not_improve_an_arm() -> None:
    reading = stopped(arms({"baseline": 0.0, "first": 0.1}, seeds=30), seed=list(range(6, 30)))
    text = verdict_paragraphs(reading)[0]
    assert "flatter" not in text
    assert "not trained yet, so this may change: first against baseline lacks 24 of 30 seeds." in text
    both = without(arms({"baseline": 0.0, "first": 0.1}), arm="first", seed=[0])
    trials = both.results.trials
    status = trials["status"].mask(trials["seed"].eq(5), "")
    both = reporting.prepare(replace(both.results, trials=trials.assign(status=status)))
    text = verdict_paragraphs(both)[0]
    assert "survivors may flatter: first against baseline on 4 of 6." in text
    assert "lacks 1 of 6 seeds." in text


def test_a_level_within_others_waits_for_its_own_seeds_only() -> None:
    family = {"margin": 0.005, "levels": [{"axis": "output", "reference": "a", "within": ["lr"]}]}
    whole = grid({"output": {"a": 0.0, "b": 0.05}, "lr": {0.1: 0.0, 0.2: 0.01}}, study={"contrasts": family})
    reading = stopped(whole, seed=[4, 5], lr=[0.2])
    judged = contrasts.judge(reading, contrasts.read_family(reading))
    waiting = [contrasts.untrained(reading, judged.family, row) for row in judged.table.to_dict("records")]
    assert waiting == [0, 2]


def test_a_family_of_one_contrast_is_not_said_to_be_corrected_for_all_of_it() -> None:
    made = judgement(arms({"baseline": 0.0, "first": 0.1}))
    texts = [made.tables[0].note, made.figures[0].caption]
    assert not any("all 1 contrasts" in text for text in texts)
    assert all("only contrast of its family" in text for text in texts)
    several = judgement(arms({"baseline": 0.0, "first": 0.1, "second": 0.1}))
    assert "corrected for all 2 contrasts of the family" in several.tables[0].note
    assert "corrected for all 2 contrasts of the family" in several.figures[0].caption


def test_a_data_set_without_finished_trials_is_reported() -> None:
    reading = without(grid({"output": {"a": 0.0, "b": 0.1}}, datasets=("digits", "other")), dataset="other")
    first, second, *_ = verdict_paragraphs(reading)
    assert first.startswith("On digits b is better than a")
    assert second == (
        "On other nothing can be compared: no seed finished both sides of any of 1 contrast (0 of 12 trials "
        "finished)."
    )


def test_a_single_arm_is_reported_and_draws_nothing() -> None:
    made = judgement(arms({"baseline": 0.0}))
    assert made.answers == [["There is only one arm, so there is nothing to compare."]]
    assert not made.tables
    assert not made.figures


def test_an_edited_study_file_is_reported() -> None:
    contrasts = {"pairs": [["first", "nobody"], ["first", "baseline"]]}
    reading = arms({"baseline": 0.0, "first": 0.1}, study={"contrasts": contrasts})
    text = " ".join(verdict_paragraphs(reading))
    assert "first against nobody cannot be judged: trials.csv has no arm 'nobody'." in text
    assert "first is better than baseline" in text


def test_there_is_no_verdict_if_nothing_finished() -> None:
    reading = arms({"baseline": 0.0, "first": 0.1})
    none = without(reading, arm=["baseline", "first"])
    assert judgement(none).answers == []
    assert judgement(none).figures == []


def test_a_large_family_is_split_and_all_but_its_first_figure_folded() -> None:
    effects = {"output": {f"level {i}": 0.001 * i for i in range(42)}}
    drawn = judgement(grid(effects, seeds=2, datasets=("digits", "other"))).figures
    assert [figure.name for figure in drawn] == ["forest-1", "forest-2", "forest-3", "forest-4"]
    assert [figure.folded for figure in drawn] == [False, True, True, True]
    rows = [len(figure.figure.axes[0].get_yticks()) for figure in drawn]
    assert sum(rows) == 2 * 41
    assert max(rows) <= plots.MOST_ROWS


def test_contrasts_outside_the_family_are_marked_exploratory(digits_results: Any) -> None:
    reading = reporting.read(digits_results)
    effects = next(figure for figure in reporting.draw(reading) if figure.name == "effects")
    assert effects.caption.startswith("Exploratory")
    (answer,) = reporting.answers(reading)
    assert answer[0].startswith("Exploratory: on digits the ")
    assert "has the largest share of the variance of val accuracy" in answer[0]
