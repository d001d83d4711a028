"""A campaign of the anytime comparison: its cells, methods, standings and page; nothing real is trained."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from pathlib import Path
from typing import TypeAlias

import campaign
import cell_process
import confirming
import environments
import numpy as np
import page
import pandas as pd
import pytest
import session
import standings
from anytime_cells import GOOD, SHORT, FakeClock, cell_in
from campaign import Campaign
from click.testing import CliRunner
from environments import Method

from harness.errors import UsageError

Curves: TypeAlias = "dict[tuple[str, int], pd.DataFrame]"


# -------------------------------------------------------------------------------------- a campaign


def campaign_in(folder: Path, methods: list[Method], repeats: int = 2, minutes: float = 0.05) -> Campaign:
    return Campaign(SHORT, minutes, repeats, methods, folder / "out", folder / "work", "")


@pytest.fixture
def random_search() -> Method:
    (method,) = environments.prepared(environments.chosen(["random"], short=False), Path("unused"), print)
    return method


def script(folder: Path, name: str, text: str) -> Method:
    """A method of a few lines."""
    path = folder / f"peers_{name}.py"
    path.write_text(text)
    return Method(name, name, path, python=Path(sys.executable))


def test_a_campaign_runs_what_is_left(tmp_path: Path, random_search: Method) -> None:
    given = campaign_in(tmp_path, [random_search])
    assert session.run(given) == []
    cells = given.cells()
    assert list(cells["repeat"]) == [0, 1]
    assert (cells["configurations"] > 2).all()
    assert (cells["best_val_accuracy"] >= cells["val_accuracy"]).all()
    assert (cells["cpu_seconds"] > 0).all()
    assert given.left() == []
    assert [repeat for repeat, _ in dataclasses.replace(given, repeats=3).left()] == [2]
    kept = sorted(path.name for path in (tmp_path / "work" / "random-0").iterdir())
    assert kept == ["cell.json", "cost.json", "evaluations.jsonl", "incumbent.json", "printed.txt"]


def test_repeats_have_seeds_of_their_own_and_are_repeated(tmp_path: Path) -> None:
    import peers_random

    cells = [dataclasses.replace(cell_in(tmp_path), repeat=repeat) for repeat in (0, 0, 1)]
    first, again, other = (peers_random.configuration(c, peers_random.draw(c, 0)) for c in cells)
    assert first == again != other
    assert SHORT.checked(first) == first


def test_nobody_counts_the_processor_seconds_of_detached_workers() -> None:
    ended = cell_process.Ended(20.0, 240.0, 0, "")
    seconds = {
        name: campaign.about(ended, method, 0.0, "a processor", "code")["cpu_seconds"]
        for name, method in environments.known().items()
    }
    assert seconds["optuna"] == 20.0
    assert math.isnan(seconds["ray"])


def test_methods_take_turns_in_going_first(tmp_path: Path) -> None:
    methods = [Method(name, name, Path("x")) for name in ("a", "b", "c")]
    order = campaign_in(tmp_path, methods, repeats=3).left()
    firsts = [next(method.name for repeat, method in order if repeat == k) for k in range(3)]
    assert firsts == ["a", "b", "c"]
    assert [repeat for repeat, _ in order] == sorted(repeat for repeat, _ in order)


def test_a_failed_cell_is_told_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = script(tmp_path, "broken", "raise SystemExit('no such optimizer')")
    given = campaign_in(tmp_path, [broken], repeats=1)
    (words,) = session.run(given)
    assert words.startswith("broken, repeat 0: exit code 1 after")
    assert words.endswith("no such optimizer")
    assert "failed: broken" in capsys.readouterr().err
    assert len(given.left()) == 1


def test_a_method_that_does_not_end_is_ended_with_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_process, "GRACE", 0.2)
    stubborn = script(
        tmp_path,
        "stubborn",
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "time.sleep(600)\n",
    )
    monkeypatch.setattr(cell_process, "TERMINATION", 1.0)
    given = campaign_in(tmp_path, [stubborn], repeats=1, minutes=0.02)
    assert session.run(given) == []  # it used its time
    assert cell_process.processes_of(str((tmp_path / "work" / "stubborn-0").resolve()), 0) == []
    assert given.cells()["val_accuracy"].isna().all()


def test_cells_of_other_minutes_do_not_mix(tmp_path: Path, random_search: Method) -> None:
    given = campaign_in(tmp_path, [random_search], repeats=1)
    session.run(given)
    with pytest.raises(UsageError, match=r"cells with minutes 0\.05, not 9"):
        dataclasses.replace(given, minutes=9).left()


def test_improvements_are_better_than_all_before(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, clock=FakeClock(step=1))
    other = GOOD | {"width_1": 64}
    for chosen, epoch, value in (
        (GOOD, 1, 0.5), (other, 1, 0.4), (GOOD, 2, 0.5), (other, 2, math.nan), (GOOD, 3, 0.6),
    ):  # fmt: skip
        cell.log(chosen, epoch, value)
    found = campaign.improvements(campaign.read_log(cell))
    columns = ["val_accuracy", "configurations", "epochs", "epoch", "width_1"]
    assert found[columns].to_numpy().tolist() == [[0.5, 1, 1, 1, 128], [0.6, 2, 5, 3, 128]]


def test_incumbents_are_confirmed_once(tmp_path: Path, random_search: Method) -> None:
    given = campaign_in(tmp_path, [random_search], repeats=1)
    session.run(given)
    (row,) = given.unconfirmed()
    few = ["dataset=digits", "epochs=2"]
    rows = confirming.confirm(SHORT, row, 2, tmp_path / "confirmed", few)
    assert list(rows["seed"]) == [confirming.FIRST_SEED, confirming.FIRST_SEED + 1]
    assert rows["test_accuracy"].between(0, 1).all()
    given.keep_confirmed(rows)
    assert list(given.unconfirmed()) == []


# -------------------------------------------------------------------------------------- methods


def test_an_unknown_method_is_told() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'randon'.*random"):
        environments.chosen(["randon"], short=False)


def test_a_method_that_is_not_installed_is_told_before_anything_trains(tmp_path: Path) -> None:
    result = CliRunner().invoke(session.main, ["--methods", "harnes", "--work", str(tmp_path)])
    assert result.exit_code == 2
    missing = Method("missing", "Missing", tmp_path / "peers_missing.py", modules=("no_such_tool",))
    with pytest.raises(UsageError, match=r"missing .Missing.: ModuleNotFoundError.*\nNothing was trained"):
        environments.prepared([missing], tmp_path, print)


def test_every_method_has_a_file_pins_and_modules() -> None:
    for name, method in environments.known().items():
        assert method.script.is_file(), name
        assert all("==" in pin for pin in method.requirements), name


def test_pins_are_constraints() -> None:
    assert environments._pins(["ray[tune]==2.50.0", "torch==2.13.0"]) == "ray==2.50.0\ntorch==2.13.0"


# -------------------------------------------------------------------------------------- standings


def tables(
    seconds: dict[str, list[float]], tests: dict[str, list[float]]
) -> tuple[pd.DataFrame, Curves, pd.DataFrame]:
    """Cells, curves by cell and confirmed rows of methods that came to 90 % after so many seconds."""
    cells, confirmed = [], []
    found: Curves = {}
    for name, repeat in itertools.product(seconds, range(5)):
        reached = seconds[name][repeat]
        values = [(1.0, 0.5)] + ([(reached, 0.9)] if math.isfinite(reached) else [])
        found[name, repeat] = pd.DataFrame(values, columns=["seconds", "val_accuracy"])
        about = {"problem": "full", "minutes": 10.0, "load": 0.1, "version": "1", "processor": "any"}
        counts = {"configurations": 10, "epochs": 50, "best_val_accuracy": 0.9, "cpu_seconds": 900.0}
        cells.append({"method": name, "repeat": repeat, "val_accuracy": 0.9, **about, **counts})
        for seed in (5000, 5001):
            row = {"method": name, "repeat": repeat, "seed": seed, "status": "ok", "val_accuracy": 0.9}
            confirmed.append({**row, "test_accuracy": tests[name][repeat]})
    return pd.DataFrame(cells), found, pd.DataFrame(confirmed)


FAST = [10.0, 12, 11, 9, 10]
SLOW = [40.0, 30, math.inf, 20, 50]
WELL, BADLY = [0.890, 0.892, 0.891, 0.889, 0.890], [0.880, 0.881, 0.880, 0.880, 0.879]


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 20])
def test_the_interval_covers_the_median(n: int) -> None:
    rng = np.random.default_rng(n)
    intervals = [standings.median(list(rng.normal(size=n)))[1:] for _ in range(2000)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert covered >= min(0.94, 1 - 2 * 0.5**n) - 0.02


def test_a_time_that_was_never_reached_has_its_order() -> None:
    assert standings.median([3.0, math.inf, 1.0]) == (3.0, 1.0, math.inf)
    assert math.isinf(standings.median([math.inf, math.inf, 1.0])[0])


def test_the_target_is_the_best_of_all_methods() -> None:
    _, found, _ = tables({"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY})
    assert standings.target(found) == pytest.approx((0.9, 0.895))


def test_times_and_verdicts() -> None:
    cells, found, confirmed = tables({"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY})
    reached = standings.times(cells, found, 0.895)
    assert list(reached.loc[reached["method"].eq("harness"), "seconds"]) == FAST
    (row,) = standings.judged(standings.log_times(reached), "log2_seconds", None, higher=False).to_dict(
        "records"
    )
    assert row["verdict"] == "better"
    ratios = [other / own for other, own in zip([40, 30, 600, 20, 50], FAST, strict=True)]
    assert row["difference"] == pytest.approx(-np.mean(np.log2(ratios)))
    means = standings.confirmed_means(confirmed, cells)
    (row,) = standings.judged(means, "test_accuracy", standings.MARGIN, higher=True).to_dict("records")
    assert (row["verdict"], row["reference"]) == ("better", "slow")
    assert row["difference"] == pytest.approx(np.mean(WELL) - np.mean(BADLY))


def test_a_cell_of_which_a_seed_diverged_has_no_accuracy() -> None:
    cells, _, confirmed = tables({"harness": FAST}, {"harness": WELL})
    confirmed.loc[0, "status"] = "diverged"
    means = standings.confirmed_means(confirmed, cells)
    assert list(means["test_accuracy"].isna()) == [True, False, False, False, False]


def written(folder: Path, seconds: dict[str, list[float]], tests: dict[str, list[float]]) -> str:
    cells, found, confirmed = tables(seconds, tests)
    for (name, repeat), curve in found.items():
        campaign.write(folder / f"{name}-{repeat}.csv", curve)
    campaign.write(folder / campaign.CELLS, cells)
    campaign.write(folder / campaign.CONFIRMED, confirmed)
    path = page.write(folder, {"harness": "the harness", "slow": "A slow one"})
    assert path is not None
    assert (folder / "anytime.png").stat().st_size > 10_000
    return path.read_text()


def test_the_page_says_who_was_first(tmp_path: Path) -> None:
    text = written(tmp_path, {"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY})
    assert "| the harness | 10 (9 to 12) | 5 of 5 | 90.00 %" in text
    assert "| A slow one | 40 (20 to never) | 4 of 5 |" in text
    assert "All other tools take at least 2 times as long in the median." in text
    assert "Better than the harness: none by these tests." in text


def test_the_page_says_where_the_harness_loses(tmp_path: Path) -> None:
    text = written(tmp_path, {"harness": SLOW, "slow": FAST}, {"harness": BADLY, "slow": WELL})
    assert "**Not 2 times as long in the median: A slow one.**" in text
    assert "**Better than the harness: A slow one.**" in text
    assert "Higher in the mean: A slow one." in text


def test_a_repeat_that_not_all_have_finished_does_not_count(tmp_path: Path) -> None:
    cells, _, _ = tables({"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY})
    assert set(standings.whole_repeats(cells.drop(index=9))["repeat"]) == {0, 1, 2, 3}
    assert page.write(tmp_path, {}) is None


def test_the_page_says_which_repeats_it_left_out(tmp_path: Path) -> None:
    seconds, tests = {"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY}
    written(tmp_path, seconds, tests)
    cells = campaign.read(tmp_path / campaign.CELLS)
    campaign.write(tmp_path / campaign.CELLS, cells.drop(index=9))
    path = page.write(tmp_path, {"harness": "the harness", "slow": "A slow one"})
    assert path is not None
    assert "Left out, since not every method has finished it: repeat 4." in path.read_text()


def test_one_confirmed_repeat_has_no_interval(tmp_path: Path) -> None:
    seconds, tests = {"harness": FAST, "slow": SLOW}, {"harness": WELL, "slow": BADLY}
    written(tmp_path, seconds, tests)
    confirmed = campaign.read(tmp_path / campaign.CONFIRMED)
    campaign.write(tmp_path / campaign.CONFIRMED, confirmed[confirmed["repeat"].eq(0)])
    path = page.write(tmp_path, {"harness": "the harness", "slow": "A slow one"})
    assert path is not None
    assert "| A slow one | +1.00 no interval | one seed |" in path.read_text()
    assert "nan" not in path.read_text()
