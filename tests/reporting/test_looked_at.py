"""The report of a study that is looked at: the look's seeds, its levels, and words on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.testing as npt
import pytest
from families import arms

from harness import comparison, reporting, stats
from harness.errors import UsageError
from harness.reporting import ReportData, equivalence_matrix, evidence, verdict_views
from harness.reporting.contrasts import judge, read_family
from harness.reporting.data import read
from harness.reporting.first_screen import headline
from harness.reporting.verdict_text import answers
from harness.results import families
from harness.stats.group_sequential import levels, repeated
from harness.study.reading import parse
from harness.training import runs

LOOKS = (4, 8)
EFFECTS = {"base": 0.0, "up": 0.02, "near": 0.0001}


def looked_at(trained: int, **compared: Any) -> ReportData:
    """Three arms, looked at after 4 and 8 seeds, of which so many are trained."""
    family = {"declared": False, "looks": list(LOOKS), "spending": "pocock", "margin": 0.01, **compared}
    tables = {"study": {"design": "one-factor", "seeds": list(range(8))}, "contrasts": family}
    reading = arms(EFFECTS, seeds=8, study=tables)
    trials = reading.results.trials
    late = trials["seed"].ge(trained)
    numbers = {name: trials[name].mask(late) for name in ("test_accuracy", "val_accuracy")}
    trials = trials.assign(status=trials["status"].mask(late, ""), **numbers)
    return reporting.prepare(replace(reading.results, trials=trials))


def test_a_look_judges_its_own_seeds_by_its_own_levels() -> None:
    reading = looked_at(8)
    judged = judge(reading, read_family(reading))
    assert judged.look == 8
    assert judged.table["n"].tolist() == [8, 8]
    plain = stats.verdicts(
        families.differences(reading.trials, reading.axes, judged.family, []), families.KEY, margin=0.01,
    )  # fmt: skip
    npt.assert_allclose(judged.table["p"], repeated(plain["p"], 8, LOOKS, "pocock"))
    npt.assert_array_equal(judged.table["difference"], plain["difference"])
    half, usual = ((one["high"] - one["low"]) / 2 for one in (judged.table, plain))
    assert (half > usual).all()
    assert ((judged.table["high_all"] - judged.table["low_all"]) / 2 > half).all()
    assert levels(LOOKS, 0.05, "pocock")[1] < 0.05


def test_seeds_behind_the_last_whole_look_are_in_no_verdict() -> None:
    reading = looked_at(6)
    judged = judge(reading, read_family(reading))
    assert judged.look == 4
    assert judged.table["n"].tolist() == [4, 4]
    (doubt,) = judged.doubts
    assert "The next look is at 8 seeds" in doubt
    assert "the look at 4 seeds stands" in doubt


def test_before_the_first_look_nothing_is_judged() -> None:
    reading = looked_at(3)
    judged = judge(reading, read_family(reading))
    assert (judged.look, len(judged.table)) == (0, 0)
    said = " ".join(line for part in answers(reading, judged) for line in part)
    assert "The next look is at 4 seeds, and not all of them are trained yet" in said


def test_the_words_say_which_look_and_that_its_numbers_are_repeated_ones() -> None:
    reading = looked_at(8)
    said = " ".join(line for part in answers(reading, judge(reading, read_family(reading))) for line in part)
    assert "looked at after 4 and 8 seeds, until all contrasts are decided, and this is the look at 8" in said
    assert "All looks ask for about the same evidence (Pocock)" in said
    assert "up is better than base" in said


def test_the_note_of_verdicts_has_its_margin_in_words_that_agree() -> None:
    reading = looked_at(8)
    note = verdict_views.note(judge(reading, read_family(reading)))
    assert "shown to lie within \u00b11 point (TOST" in note
    assert "would then resolve 1 point. " in note


def test_the_first_screen_says_that_intervals_hold_at_all_looks() -> None:
    words = dict(headline.of_study(evidence.gather(looked_at(8))).sureness)["Seeds"]
    assert "95\u00a0% t intervals that hold at all looks, of which this is the one at 8." in words


def test_pairs_outside_of_the_family_have_no_levels() -> None:
    reading = looked_at(8)
    assert equivalence_matrix.table(reading, read_family(reading)).empty


def test_a_trained_study_is_reported_and_judge_points_to_the_report(tmp_path: Path) -> None:
    study = parse(
        {
            "study": {"name": "looked", "seeds": 6},
            "baseline": {"dataset": "digits", "epochs": 4, "hidden": [16]},
            "axes": {"lr": [0.3, 1e-4]},
            "contrasts": {"looks": [3, 6], "spending": "pocock"},
        }
    )
    folder = tmp_path / "looked"
    runs.train(study, folder, device="cpu", workers=1)
    page = reporting.write(folder).read_text(encoding="utf-8")
    assert "this is the look at 3" in page
    assert "1 contrast of test accuracy, at 5\u00a0% over all looks without a correction" in page
    assert "corrected p" not in page
    assert "for the looks alone, of one contrast" in page
    screen = headline.of_study(evidence.gather(read(folder)))
    first, *_ = screen.answers
    assert first.startswith("On digits lr 0.0001 is worse than 0.3 by "), "it was stopped for that"
    assert screen.picture is not None
    assert [bar.verdict for bar in screen.picture.bars] == ["worse"], "its verdict, not what is exploratory"
    assert "What is exploratory takes all trained seeds as if nobody had looked" in page
    assert "Exploratory: on digits the lr has the largest share of the variance" in page
    assert "a grid without holes" not in page, "seeds that no look needed are no holes"
    assert "6 of 6 trials finished" in page
    assert "shown to lie within \u00b10.2 points (TOST" in page
    with pytest.raises(UsageError, match=r"looked at after 3, 6 seeds.*harness report"):
        comparison.judge(folder)
