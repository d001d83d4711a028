"""The state of a results folder for the live page: joined curves, a search, and who holds the folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.reporting.live import curves as live_curves
from harness.reporting.live.curves import MeanCurve
from harness.reporting.live.phase import LivePhase
from harness.reporting.live.state import LiveState
from harness.results import progress_file
from harness.results.csv_rows import TextTable
from harness.results.progress_file import WatchedArm, WatchedState
from harness.system import locks

TRIALS = TextTable(
    ["trial_id", "dataset", "arm", "loss", "group"],
    [["t1", "d", "a", "ce", "g1"], ["t2", "d", "a", "ce", "g1"], ["t3", "d", "a", "ce", "g2"]],
)
EPOCHS = """trial_id,epoch,step,split,loss,accuracy
t1,0,0,val,2,0.2
t1,0.5,4,val,1.5,0.3
t1,1,8,val,1,0.4
t2,0,0,val,4,0.4
t2,1,8,val,,0.6
t3,0,0,val,100,0.9
"""


def state_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(LiveState(folder).content()[0])
    return content


def test_curves_of_finished_trials_and_of_a_run_are_one_mean() -> None:
    finished = live_curves.of_folder(TRIALS, EPOCHS, ["g2"])
    curve = finished["d", "a"]
    assert dict(curve.points("val_accuracy")) == pytest.approx({0: 0.3, 0.5: 0.3, 1: 0.5})
    assert curve.points("val_loss") == [(0, 3), (0.5, 1.5), (1, 1)]  # an empty cell is no number
    now = WatchedArm(
        dataset="d", arm="a", loss="ce", trials=1, training=1, epochs=[0, 0.75], seeds=[1, 1],
        val_accuracy=[0.9, 0.8], val_loss=[1, None],
    )  # fmt: skip
    joined = live_curves.joined(finished, [now])["d", "a"]
    assert dict(joined.points("val_accuracy")) == pytest.approx({0: 0.5, 0.75: 0.8, 1: 0.5})
    assert dict(joined.points("val_loss")) == pytest.approx({0: 7 / 3, 1: 1})
    assert math.isnan(joined.last("train_loss"))


def test_arms_that_a_run_does_not_tell_of_are_said(search: tuple[Path, list[WatchedState]]) -> None:
    state = WatchedState(total=9, trained=1, seconds=1, notes=["slow"], arms_left_out=1200)
    shown = LivePhase(search[0] / "confirmed", "").describe(state)
    assert shown["notes"] == ["slow", "arms shown by their finished trials alone: 1,200"]


def test_a_long_curve_keeps_its_ends() -> None:
    curve = MeanCurve("ce")
    for epoch in range(1000):
        curve.add("val_loss", float(epoch), epoch / 2)
    points = curve.points("val_loss")
    assert len(points) == live_curves.MOST_POINTS
    assert (points[0], points[-1]) == ((0, 0), (999, 499.5))


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[WatchedState]]:
    """A search that is over, and the states that it told."""
    folder, states = tmp_path_factory.mktemp("search"), list[WatchedState]()

    def keep(_: Path, content: bytes) -> None:
        states.append(WatchedState.model_validate_json(content))

    tables = {
        "study": {"name": "found", "design": "search", "seeds": 2},
        "baseline": {"dataset": "digits", "hidden": [8], "epochs": 3},
        "space": {"lr": {"low": 0.01, "high": 1.0, "log": True}},
        "search": {"suggestions": 6, "batch": 3, "sampler": "random"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress_file, "_replace", keep)
        patch.setattr(progress_file, "EVERY", 0.0)
        patch.setattr(progress_file, "SHARE", math.inf)
        harness.search(harness.parse(tables), folder, workers=1)
    return folder, states


def test_a_search_tells_how_far_it_is_and_its_best(search: tuple[Path, list[WatchedState]]) -> None:
    folder, states = search
    told = [state for state in states if state.kind == "search"]
    assert [state.trained for state in told] == sorted(state.trained for state in told)
    assert (told[0].trained, told[-1].trained, told[-1].total) == (0, 6, 6)
    assert told[-1].states == {"complete": 6}
    shown = state_of(folder)
    first, finalists, confirmed = shown["phases"]
    rows = first["suggestions"]["rows"]
    values = [float(row[2]) for row in rows]
    assert len(rows) == 6
    assert values == sorted(values, reverse=True)
    assert told[-1].best == pytest.approx(values[0], abs=1e-4)
    (chart,) = first["charts"]
    best = next(series for series in chart["spec"]["series"] if series["name"] == "best so far")
    assert best["y"] == sorted(best["y"])
    assert best["y"][-1] == pytest.approx(told[-1].best)
    assert {row["arm"] for row in confirmed["arms"][0]["rows"]} == {"winner", "baseline"}
    assert len(finalists["arms"][0]["rows"]) == 3
    assert shown["status"]["words"].endswith(
        "Suggestions: 6 ok; Finalists: the best suggestions, trained anew: 15 ok; "
        "Confirmation: the winner and the baseline: 4 ok."
    )


def test_the_end_is_the_runs_own_and_not_a_copys(
    search: tuple[Path, list[WatchedState]], tmp_path: Path
) -> None:
    shutil.copytree(search[0], tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("provenance.json"):
        told = json.loads(path.read_text())
        told["runs"][-1]["finished"] = "2020-06-15T12:00:00+00:00"
        path.write_text(json.dumps(told))
    assert "The run is over since 2020-06-15 " in state_of(tmp_path / "copy")["status"]["words"]
    for path in (tmp_path / "copy").rglob("provenance.json"):
        path.write_text('{"runs": [{"finished": 7}, {}]}')
    assert state_of(tmp_path / "copy")["status"]["words"].startswith("The run is over: ")


def test_a_folder_that_is_held_is_running_though_it_says_nothing_yet(
    search: tuple[Path, list[WatchedState]],
) -> None:
    folder, _ = search
    assert locks.is_held(folder) is False
    old = WatchedState(kind="search", total=6, trained=3, seconds=1)
    (folder / progress_file.FILE).write_text(old.model_dump_json())
    os.utime(folder / progress_file.FILE, (1, 1))
    assert "it was killed" in state_of(folder)["status"]["words"]
    with locks.locked(folder):
        assert locks.is_held(folder) is True
        state = state_of(folder)  # of a run that was killed in 1970, before this one began
        assert state["going"]
        assert state["status"]["words"] == "A run is going on: it is preparing, or writing its tables."
        now = time.time() + 5
        os.utime(folder / progress_file.FILE, (now, now))
        assert state_of(folder)["status"]["words"].startswith("3 of 6 suggestions done; 50 % of the work")
    (folder / progress_file.FILE).unlink()


def test_trials_are_counted_whole_and_arms_stand_in_the_order_of_the_val_that_is_shown(
    search: tuple[Path, list[WatchedState]], tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "now"\nseeds = [0]\ndesign = "one-factor"\n[baseline]\n'
    )
    (tmp_path / "plan.json").write_bytes((search[0] / "plan.json").read_bytes())
    header, row, *_ = (search[0] / "trials.csv").read_text().splitlines()
    plain = dict(zip(header.split(","), row.split(","), strict=False))
    rows = [
        {**plain, "trial_id": f"t{place}", "arm": arm, "status": "", "dataset": "digits"}
        for place, arm in enumerate("abc")
    ]
    lines = [",".join(one.values()) for one in rows]
    (tmp_path / "trials.csv").write_text("\n".join([",".join(plain), *lines, ""]))
    (tmp_path / "epochs.csv").write_text(EPOCHS.splitlines()[0] + "\n")
    arms = [
        WatchedArm(
            dataset="digits", arm=arm, loss="ce", trials=1, training=1, epoch=1, val=val,
            epochs=[0, 1, 2], seeds=[1, 1, 1], val_accuracy=[0.1, 0.1, end],
        )
        for arm, val, end in (("a", 0.5, 0.9), ("b", 0.7, 0.1), ("c", 0.6, 0.5))
    ]  # fmt: skip
    state = WatchedState(total=3, trained=1.53, training=3, seconds=0.1, arms=arms, groups=["g"])
    (tmp_path / ".lock").touch()
    with locks.locked(tmp_path):
        (tmp_path / progress_file.FILE).write_text(state.model_dump_json())
        shown = state_of(tmp_path)
    assert shown["phases"][0]["notes"] == []
    words = shown["status"]["words"]
    assert words.startswith("0 of 3 trials done, 3 in training; 51 % of the work; ")
    assert [row["arm"] for row in shown["phases"][0]["arms"][0]["rows"]] == ["b", "c", "a"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"total": -1, "trained": 0, "seconds": 0}', "\0"])
def test_what_no_run_has_written_is_no_state(tmp_path: Path, content: str) -> None:
    (tmp_path / progress_file.FILE).write_text(content)
    assert progress_file.read(tmp_path) is None
    (tmp_path / progress_file.FILE).unlink()
    (tmp_path / "other").write_text('{"total": 1, "trained": 0, "seconds": 0}')
    (tmp_path / progress_file.FILE).symlink_to(tmp_path / "other")
    assert progress_file.read(tmp_path) is None


def test_a_look_at_a_lock_stops_no_run_from_starting(tmp_path: Path) -> None:
    import fcntl
    import threading

    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        timer = threading.Timer(0.05, lambda: fcntl.flock(looked, fcntl.LOCK_UN))
        timer.start()
        with locks.locked(tmp_path):
            assert locks.is_held(tmp_path)
        timer.join()


def test_a_damaged_folder_is_told_on_the_page(
    search: tuple[Path, list[WatchedState]], tmp_path: Path
) -> None:
    (tmp_path / "trials.csv").write_text("trial_id,arm\n")
    for name in ("plan.json", "study.toml"):
        (tmp_path / name).write_bytes((search[0] / name).read_bytes())
    state = state_of(tmp_path)
    assert not state["going"]
    (tmp_path / "study.toml").write_text("nonsense")
    assert state_of(tmp_path)["name"] == tmp_path.name
