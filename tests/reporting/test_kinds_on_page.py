"""Reports of trials that were made on several kinds of processor: first screen, table, sentences, JSON."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness import reporting
from harness.cli import answers
from harness.cli import merge as merge_command
from harness.comparison import comparing
from harness.comparison import text as comparison_text
from harness.reporting import contrasts, verdict_views
from harness.reporting.contrasts import Verdicts
from harness.reporting.evidence import gather
from harness.reporting.first_screen import headline
from harness.results.merging import MergedFolder
from harness.results.merging.placing import Placed
from harness.study.reading import parse
from harness.training import runs

STUDY = {
    "study": {"name": "kinds", "seeds": 4},
    "baseline": {"dataset": "digits", "steps": 30, "hidden": [8]},
    "axes": {"activation": ["relu", "tanh"], "batch_size": [32, 64]},
}
OLD, NEW = ("c-0000000001+aaaaaa", "lab3"), ("c-0000000002+aaaaaa", "lab4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two activations at two batch sizes, four seeds each, as it is published."""
    folder = tmp_path_factory.mktemp("kinds") / "trained"
    runs.train(parse(STUDY), folder, device="cpu", workers=1)
    shutil.rmtree(folder / "parts")
    (folder / "checksums.json").unlink()
    return folder


def made_on(folder: Path, copy: Path, other: Callable[[pd.DataFrame], pd.Series[bool]]) -> Path:
    """Copy a folder as if `other` of its trials had been trained on another kind of processor."""
    shutil.copytree(folder, copy)
    path = copy / "trials.csv"
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    chosen = other(rows)
    for name, old, new in zip(("kernels", "host"), OLD, NEW, strict=True):
        rows[name] = chosen.map({True: new, False: old})
    rows.to_csv(path, index=False, lineterminator="\n")
    return copy


def judged(folder: Path) -> Verdicts:
    reading = reporting.read(folder)
    return contrasts.judge(reading, contrasts.read_family(reading))


def told(folder: Path) -> str:
    return " ".join(" ".join(lines) for lines in reporting.judgement(reporting.read(folder)).answers)


def sureness(folder: Path) -> dict[str, str]:
    return dict(headline.of_study(gather(reporting.read(folder))).sureness)


def test_nothing_is_said_where_both_sides_of_all_seeds_are_of_one_kind(trained: Path, tmp_path: Path) -> None:
    folder = made_on(trained, tmp_path / "copy", lambda rows: rows["seed"].isin(["1", "2"]))
    found = judged(folder)
    assert found.alike is None
    assert list(found.table["same_kind"]) == list(found.table["n"]) == [4, 4]
    assert "one kind of processor" not in told(folder)
    assert "Processors" not in sureness(folder)
    assert [column.name for column in verdict_views.table(found).columns][:4][2:] == ["seeds", "difference"]
    assert not list(verdict_views.alike_table(found))


def test_seeds_of_which_sides_are_of_two_kinds_are_counted(trained: Path, tmp_path: Path) -> None:
    def other(rows: pd.DataFrame) -> pd.Series[bool]:
        return rows["activation"].eq("tanh") & rows["seed"].eq("1")

    folder = made_on(trained, tmp_path / "copy", other)
    found = judged(folder)
    table = found.table.set_index("axis")
    assert table["same_kind"].to_dict() == {"activation": 3, "batch_size": 4}  # both sizes of that seed moved
    assert found.alike is not None
    assert list(found.alike["n"]) == [3, 4]
    assert sureness(folder)["Processors"] == (
        "several kinds; both arms are known to be made on the same one in 7 of 8 paired seeds."
    )
    words = told(folder)
    assert "1 of 2 contrasts has others: tanh against relu (3 of 4)." in words
    assert "Seconds of such a pair compare processors; steps and epochs do not." in words
    assert "By the seeds of one kind alone, " in words
    assert "No seed has both arms on one kind" not in words


def test_one_pair_of_cells_of_two_kinds_makes_its_seed_mixed(trained: Path, tmp_path: Path) -> None:
    def other(rows: pd.DataFrame) -> pd.Series[bool]:
        return rows["activation"].eq("tanh") & rows["seed"].eq("1") & rows["batch_size"].eq("32")

    table = judged(made_on(trained, tmp_path / "copy", other)).table.set_index("axis")
    assert table["same_kind"].to_dict() == {"activation": 3, "batch_size": 3}


def test_an_arm_that_is_on_a_kind_of_its_own_cannot_be_told_from_it(trained: Path, tmp_path: Path) -> None:
    folder = made_on(trained, tmp_path / "copy", lambda rows: rows["activation"].eq("tanh"))
    words = told(folder)
    assert "No seed has both arms on one kind for tanh against relu: there, what the arm does" in words
    assert sureness(folder)["Processors"].endswith("in 4 of 8 paired seeds, in none of tanh against relu.")
    found = judged(folder)
    (table,) = verdict_views.alike_table(found)
    assert table.data is not None
    assert table.data["verdict"].iloc[0] == "no data"
    assert "on one kind" in [column.name for column in verdict_views.table(found).columns]


def test_the_page_has_the_column_and_the_table(trained: Path, tmp_path: Path) -> None:
    folder = made_on(trained, tmp_path / "copy", lambda rows: rows["activation"].eq("tanh"))
    reporting.write(folder)
    page = (folder / "report.html").read_text()
    assert "Verdicts on one kind of processor" in page
    assert "on one kind" in page
    assert (folder / "tables" / "verdicts-one-kind.csv").exists()


def test_the_answer_in_json_has_the_number(trained: Path, tmp_path: Path) -> None:
    folder = made_on(trained, tmp_path / "copy", lambda rows: rows["activation"].eq("tanh"))
    rows = answers.outcome(folder)["contrasts"]["rows"]
    assert [row["same_kind"] for row in rows] == [0, 4]
    assert [row["n"] for row in rows] == [4, 4]


def test_compare_counts_the_pairs_of_one_kind(trained: Path, tmp_path: Path) -> None:
    a = made_on(trained, tmp_path / "a", lambda rows: rows["seed"].eq("9"))
    b = made_on(trained, tmp_path / "b", lambda rows: rows["seed"].eq("1"))
    found = comparing.compare(a, b)
    assert list(found.arms["same_kind"]) == [3, 3, 3, 3]
    lines = comparison_text.overview(found)
    assert any("12 of 16 pairs are known to be made on one kind of processor" in line for line in lines)
    alike = comparing.compare(a, a)
    assert list(alike.arms["same_kind"]) == [4, 4, 4, 4]
    assert not any("kind of processor" in line for line in comparison_text.overview(alike))


def test_merge_says_what_the_contrasts_of_both_folders_are_made_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made_on(trained, tmp_path / "copy", lambda rows: rows["activation"].eq("tanh"))
    merged = MergedFolder(folder, "kinds", [], {"ok": 16}, 0, [], Placed(), one_machine=False)
    told = "processors: several kinds; both arms are known to be made on the same one in 4 of 8 paired seeds"
    assert list(merge_command._kinds(merged)) == [f"{told}, in none of tanh against relu"]
    assert list(merge_command._kinds(replace(merged, one_machine=True))) == []
    monkeypatch.setattr(merge_command, "MOST_JUDGED", 15)
    (line,) = merge_command._kinds(merged)
    assert line.startswith("`harness report` says")
