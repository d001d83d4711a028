"""`harness search` beside a search by hand: what is kept, gone on with and judged. Nothing is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna_loop
import pandas as pd
import pytest
import search_speed
from search_speed import HARNESS, IN_MEMORY, Contest

from harness.study.checker import GivenSettings

SETTINGS: GivenSettings = {"lr": 0.01, "hidden": [64]}


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """Searches that took no time, and the list of them: name, repeat, seconds that it was given."""
    made: list[tuple[str, int, float]] = []

    def row(name: str, i: int, seconds: float) -> dict[str, Any]:
        made.append((name, i, seconds))
        done = [optuna_loop.Done(seconds or 30.0 + i, 12, 6, 20)]
        return search_speed._row(i, name, 0.0, done, 50.0, SETTINGS)

    monkeypatch.setattr(
        search_speed, "harness_row", lambda _, i: {**row(HARNESS, i, 0.0), "optuna_seconds": 1.5}
    )
    monkeypatch.setattr(search_speed, "rival_row", lambda _, rival, i, seconds: row(rival.name, i, seconds))
    return made


def test_the_rival_gets_the_harnesss_seconds(
    tmp_path: Path, searches: list[tuple[str, int, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = search_speed.run(Contest(tmp_path, repeats=2))
    assert searches == [
        (name, i, (30.0 + i) * (name != HARNESS)) for i in (0, 1) for name in (HARNESS, IN_MEMORY.name)
    ]
    assert json.loads(rows["winner"].iloc[0]) == SETTINGS
    search_speed.show(rows)
    shown = capsys.readouterr().out
    assert "1.0 (1.0 to 1.0)" in shown  # as many suggestions an hour
    assert "4.17" in shown  # 50 CPU seconds for 12 suggestions
    assert "24 suggestions in 61 s; Optuna's own part of it, in %: 4.9 (4.8 to 5.0)" in shown


def test_rows_that_are_there_are_not_searched_again(
    tmp_path: Path, searches: list[tuple[str, int, float]]
) -> None:
    search_speed.run(Contest(tmp_path, repeats=1))
    path = tmp_path / search_speed.FILE
    path.write_text(
        "".join(path.read_text().splitlines(keepends=True)[:2])
    )  # as killed after the first search
    searches.clear()
    rows = search_speed.run(Contest(tmp_path, repeats=2))
    assert [(name, i) for name, i, _ in searches] == [(IN_MEMORY.name, 0), (HARNESS, 1), (IN_MEMORY.name, 1)]
    assert searches[0][2] == 30.0  # the seconds of the row that was kept
    assert len(rows) == 4


def confirmed(ours: list[float], theirs: list[float]) -> pd.DataFrame:
    rows = [
        {"dataset": "fashion_mnist", "arm": name, "seed": i, "status": "ok", "test_accuracy": value}
        for name, values in ((HARNESS, ours), (IN_MEMORY.name, theirs))
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([0.880, 0.882, 0.881, 0.879, 0.880], "same within margin"),
        ([0.890, 0.892, 0.891, 0.889, 0.892], "better"),
        ([0.870, 0.895, 0.880, 0.860, 0.890], "cannot tell"),
    ],
)
def test_winners_are_judged_by_repeats(ours: list[float], verdict: str) -> None:
    table = confirmed(ours, [0.8805, 0.8815, 0.8812, 0.8795, 0.8796])
    (row,) = search_speed.judged(table).to_dict("records")
    assert (row["arm"], row["verdict"], row["n"]) == (HARNESS, verdict, 5)
