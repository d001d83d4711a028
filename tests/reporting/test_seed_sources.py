"""The report's section on where the variance of a seed comes from, on really trained trials."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness import reporting
from harness.planning.plan import make
from harness.reporting import ReportData, seed_sources
from harness.reporting.model import Section
from harness.settings.schema import FIXED_SEED
from harness.stats.seed_variance import EVERY, NOTHING, MeanSquares
from harness.study.reading import parse
from harness.text import DASH, whole_percent
from harness.training import runs

SEEDS, STARTS = 4, 3


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("results") / "sources"
    study = parse({
        "study": {"name": "sources", "seeds": SEEDS, "keep_predictions": [], "keep_weights": "none"},
        "baseline": {"dataset": "digits", "hidden": [8], "steps": 60, "eval_every": "60 steps", "lr": 0.3},
        "axes": {
            "schedule": ["constant", "linear"],
            "seed": {"start": STARTS, "order": 2, "split": 3, "all": [0]},
        },
    })  # fmt: skip
    runs.train(study, folder, workers=1)
    return reporting.read(folder)


def section(reading: ReportData) -> Section:
    made = seed_sources.section(reading)
    assert made is not None
    return made


def test_shares_are_those_of_the_tables_of_trials(reading: ReportData) -> None:
    table = seed_sources.variance(reading).set_index(["label", "source"])
    assert set(table.index) == {
        (label, source) for label in ("constant", "linear")
        for source in ("start", "order", "split", EVERY, NOTHING)
    }  # fmt: skip
    trials = reading.results.trials
    rows = trials[trials["schedule"].eq("linear") & trials[FIXED_SEED].astype(str).str.startswith("start")]
    squares = MeanSquares.of(
        rows.pivot_table(index="start_seed", columns="seed", values="test_accuracy").to_numpy()
    )
    row = table.loc[[("linear", "start")]].iloc[0]
    assert row["sd"] == pytest.approx(math.sqrt(squares.alone))
    assert row["sd_all"] == pytest.approx(math.sqrt(squares.all))
    assert (row["values"], row["seeds"], row["left_out"]) == (STARTS, SEEDS, 0)
    assert (table["sd"].xs("split", level="source") > 0).all()


def test_splits_are_compared_with_the_studys_own(reading: ReportData) -> None:
    table = seed_sources.variance(reading)
    assert table.loc[table["source"].eq("split"), "values"].eq(3).all()  # 1 and 2, and 0 of the usual arms


def test_the_same_trial_again_gives_the_same(reading: ReportData) -> None:
    table = seed_sources.variance(reading)
    again = table[table["source"].eq(NOTHING)]
    assert again["seeds"].eq(SEEDS).all()
    assert again["sd"].eq(0).all()
    assert any("Non-determinism has no share: 8 trials" in words for words in section(reading).words)


def test_the_section_says_shows_and_tabulates(reading: ReportData) -> None:
    made = section(reading)
    fixed = int(reading.results.trials[FIXED_SEED].astype(str).ne("none").sum())
    assert any(words.startswith(f"{fixed} trials with a fixed seed") for words in made.words)
    begin = "Share of the variance between seeds on digits, each source varied alone, "
    among = "from the lowest to the highest of 2 arms: "
    assert any(words.startswith(begin + among) for words in made.words), "not to be read as an interval"
    assert [table.name for table in made.tables] == ["seed-sources", "seeds-needed"]
    for table in made.tables:
        assert table.data is not None
        assert len(table.rows) == len(table.data)
    names = [column.name for column in made.tables[0].columns]
    cells = [dict(zip(names, row, strict=True)) for row in made.tables[0].rows]
    own = {row["varied"].text: row["share"].text for row in cells}
    assert own["a trial's own seed"] == own["the same trial again"] == DASH
    assert own["initial weights"].endswith("%")
    assert [figure.name for figure in made.figures] == ["seed-sources"]


def test_more_seeds_than_are_counted_are_said_to_be() -> None:
    assert seed_sources.whole(math.nan) == "over 100,000"
    assert seed_sources.whole(1234.0) == "1,234"


def test_everything_else_is_about_arms_without_a_fixed_seed(reading: ReportData) -> None:
    assert reading.axes == ("schedule",)
    assert reading.trials[FIXED_SEED].eq("none").all()
    assert len(reading.trials) == 2 * SEEDS


def test_one_arm_is_called_as_without_seed_axes_and_has_no_contrasts_to_miss(tmp_path: Path) -> None:
    study = parse({
        "study": {"name": "alone", "seeds": 3},
        "baseline": {"dataset": "digits", "hidden": [8], "epochs": 1},
        "axes": {"seed.start": 3, "seed.order": 2},
    })  # fmt: skip
    folder = tmp_path / "alone"
    runs.train(study, folder, workers=1)
    assert list(make(study).arms)[:2] == ["baseline", "start 0"]
    text = reporting.write(folder, tmp_path / "report.html").read_text(encoding="utf-8")
    answer = text[text.index("Where does the variance between seeds come from, on digits?") :]
    assert "No contrast can be judged" not in text
    assert "There is only one arm" not in answer[: answer.index("How sure")]
    assert "Share of the variance" in answer[: answer.index("How sure")]


def test_unfinished_trials_are_counted(reading: ReportData) -> None:
    trials = reading.results.trials.copy()
    trials.loc[trials["start_seed"].eq(1) & trials["seed"].eq(0), "status"] = "diverged"
    holed = replace(reading, results=replace(reading.results, trials=trials))
    table = seed_sources.variance(holed)
    assert (table.loc[table["source"].eq("start"), "left_out"] > 0).all()
    assert any("planned trials are not used" in words for words in section(holed).words)


def test_a_study_without_seed_axes_has_no_such_section(reading: ReportData) -> None:
    trials = reading.results.trials.drop(columns=FIXED_SEED)
    assert seed_sources.section(replace(reading, results=replace(reading.results, trials=trials))) is None


def test_a_folder_without_finished_trials_has_none_either(reading: ReportData) -> None:
    trials = reading.results.trials.assign(status="failed")
    assert seed_sources.section(replace(reading, results=replace(reading.results, trials=trials))) is None


def test_the_report_has_the_section_and_its_tables(reading: ReportData, tmp_path: Path) -> None:
    page = reporting.write(reading.results.folder, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "Where the variance of a seed comes from" in text
    question = (
        "Where does the variance between seeds come from, on digits, and how much do these choices matter:"
    )
    assert f"{question} schedule (constant and linear)?" in text
    answer = text[text.index("Share of the variance between seeds on digits") :]
    assert answer.index("initial weights") < answer.index("How sure")  # on the first screen
    table = seed_sources.variance(reading)
    starts = table.loc[table["source"].eq("start"), "share"]
    low, high = whole_percent(starts.min()), whole_percent(starts.max())
    assert f"initial weights {low} to {high}" in answer[: answer.index("How sure")]
    assert {"seed-sources.csv", "seeds-needed.csv"} <= {file.name for file in (tmp_path / "tables").iterdir()}
