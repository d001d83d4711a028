"""The anytime comparison: its problem, cells, campaign, standings and page; formulas in place of networks."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import campaign
import cell_process
import confirming
import environments
import network
import numpy as np
import own_cell
import page
import pandas as pd
import problem
import pytest
import session
import standings
import torch
from campaign import Campaign
from click.testing import CliRunner
from environments import Method
from problem import PROBLEMS, Cell, Configuration, OutOfTimeError

from harness.data.samples import prepare
from harness.engines.classifier import Classifier
from harness.errors import UsageError
from harness.planning.plan import draw
from harness.study import study
from harness.study.trials import settings_of

FULL, SHORT = PROBLEMS["full"], PROBLEMS["short"]
Curves: TypeAlias = "dict[tuple[str, int], pd.DataFrame]"
GOOD: Configuration = {
    "width_1": 128, "width_2": 64, "batch_size": 32, "dropout": 0.1, "lr": 1e-3, "weight_decay": 1e-8
}  # fmt: skip


class FakeClock:
    """A clock that goes on by `step` whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def cell_in(folder: Path, seconds: float = 60, clock: Callable[[], float] | None = None) -> Cell:
    """A cell of the short problem, with formulas, that starts now."""
    clock = clock or FakeClock()
    return Cell("random", SHORT, 0, seconds, folder, "", clock(), clock)


def lines_of(cell: Cell) -> list[dict[str, object]]:
    return [json.loads(line) for line in (cell.folder / problem.LOG).read_text().splitlines()]


# -------------------------------------------------------------------------------------- the problem


def test_the_space_is_syne_tunes() -> None:
    assert [(p.name, p.low, p.high, p.log, p.whole) for p in FULL.parameters] == [
        ("width_1", 4, 1024, True, True),
        ("width_2", 4, 1024, True, True),
        ("batch_size", 8, 128, True, True),
        ("dropout", 0.0, 0.99, False, False),
        ("lr", 1e-6, 1.0, True, False),
        ("weight_decay", 1e-8, 1.0, True, False),
    ]
    assert (FULL.rungs, SHORT.rungs, SHORT.parameters[0].high) == ((1, 3, 9, 27), (1, 3, 9), 128)


@pytest.mark.parametrize("parameter", FULL.parameters, ids=lambda parameter: parameter.name)
def test_shares_reach_both_ends_and_draw_evenly(parameter: problem.Parameter) -> None:
    assert (parameter.at(0.0), parameter.at(1.0)) == pytest.approx((parameter.low, parameter.high))
    values = np.array([parameter.at(share) for share in np.linspace(0, 1, 2001)])
    scale = np.log(values) if parameter.log else values
    middle = (math.log(parameter.low) + math.log(parameter.high)) / 2 if parameter.log else parameter.high / 2
    assert np.median(scale) == pytest.approx(middle, abs=0.05 * abs(scale[-1] - scale[0]))
    assert isinstance(parameter.at(0.3), int if parameter.whole else float)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"width_1": 3}, "width_1 = 3: allowed: a whole number from 4 to 1024"),
        ({"width_1": 7.5}, "width_1 = 7.5"),
        ({"lr": math.nan}, "lr = nan: allowed: a number from 1e-06 to 1"),
        ({"depth": 2}, "allowed: width_1, width_2"),
    ],
)
def test_a_configuration_of_another_space_is_refused(changed: Configuration, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        FULL.checked(GOOD | changed)


def test_values_of_other_types_are_the_problems_own(tmp_path: Path) -> None:
    given = GOOD | {"width_1": np.int64(128), "lr": np.float32(0.5)}
    checked = FULL.checked(given)
    assert (type(checked["width_1"]), type(checked["lr"])) == (int, float)
    cell_in(tmp_path).log(checked, 1, 0.5)  # as JSON


# -------------------------------------------------------------------------------------- cells


def test_a_cell_survives_its_file(tmp_path: Path) -> None:
    cell = cell_in(tmp_path)
    cell.write(tmp_path / "cell.json")
    assert Cell.read(tmp_path / "cell.json") == cell


def test_evaluations_are_logged_with_their_seconds(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, clock=FakeClock(step=0.25))
    assert problem.train(cell, GOOD, 3)[0] == 3
    lines = lines_of(cell)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[0]["configuration"] == GOOD
    seconds = [float(str(line["seconds"])) for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_a_checkpoint_goes_on_where_it_was(tmp_path: Path) -> None:
    cell = cell_in(tmp_path)
    once = [value for _, value in problem.evaluations(cell, GOOD, 9)]
    kept = tmp_path / "kept"
    parts = [value for until in (1, 3, 9) for _, value in problem.evaluations(cell, GOOD, until, kept)]
    assert parts == once
    with pytest.raises(ValueError, match="has 9 epochs; until = 9: allowed: more"):
        problem.train(cell, GOOD, 9, kept)


def test_a_training_that_diverges_ends_with_nan(tmp_path: Path) -> None:
    cell = cell_in(tmp_path)
    epoch, value = problem.train(cell, GOOD | {"lr": 0.9}, 9)
    assert (epoch, math.isnan(value)) == (1, True)
    assert lines_of(cell)[-1]["val_accuracy"] is None


def test_nothing_counts_behind_the_deadline(tmp_path: Path) -> None:
    clock = FakeClock()
    cell = cell_in(tmp_path, seconds=10, clock=clock)
    problem.train(cell, GOOD, 1)
    cell.note_incumbent(GOOD, 0.5, "first")
    clock.now += 11
    with pytest.raises(OutOfTimeError):
        problem.train(cell, GOOD, 2)
    cell.note_incumbent(GOOD, 0.9, "late")
    cell.log(GOOD, 2, 0.99)  # as by a method that does not look at the clock
    assert campaign.incumbent(cell)["rule"] == "first"
    assert len(campaign.read_log(cell)) == 1


def test_processes_log_whole_lines(tmp_path: Path) -> None:
    cell = cell_in(tmp_path)
    for _ in range(3):
        pid = os.fork()
        if not pid:
            for _ in range(200):
                cell.log(GOOD, 1, 0.5)
            os._exit(0)
    for _ in range(3):
        os.wait()
    assert len(lines_of(cell)) == 600


# -------------------------------------------------------------------------------------- the common training


@pytest.fixture
def digits_cell(tmp_path: Path) -> Cell:
    """A cell with 800 images of digits in 784 pixels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 800)
    pixels = rng.random((800, 784), dtype=np.float32) * 0.2
    pixels[np.arange(800)[:, None], labels[:, None] * 20 + np.arange(20)] += 0.8
    for split, rows in (("train", slice(0, 600)), ("val", slice(600, 800))):
        np.save(tmp_path / f"{split}_x.npy", pixels[rows])
        np.save(tmp_path / f"{split}_y.npy", labels[rows])
    return dataclasses.replace(cell_in(tmp_path), images=str(tmp_path))


def test_the_network_learns(digits_cell: Cell) -> None:
    values = [value for _, value in problem.evaluations(digits_cell, GOOD, 3)]
    assert values[-1] > 0.9
    assert values == [value for _, value in problem.evaluations(digits_cell, GOOD, 3)]


def test_a_paused_training_has_the_bits_of_an_uninterrupted_one(digits_cell: Cell) -> None:
    whole, parts = network.Training(digits_cell, GOOD), network.Training(digits_cell, GOOD)
    for _ in range(3):
        whole.next_epoch()
    parts.next_epoch()
    parts.save(digits_cell.folder / "kept")
    resumed = network.Training(digits_cell, GOOD)
    resumed.load(digits_cell.folder / "kept")
    for _ in range(2):
        resumed.next_epoch()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_training_leaves_the_global_generator_alone(digits_cell: Cell) -> None:
    before = torch.get_rng_state()
    problem.train(digits_cell, GOOD, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_that_diverges_gives_nan(digits_cell: Cell) -> None:
    training = network.Training(digits_cell, GOOD)
    with torch.no_grad():
        training.model[0].bias.fill_(math.inf)  # type: ignore[operator]
    assert math.isnan(training.next_epoch())


def test_the_network_is_the_harnesss() -> None:
    tables = own_cell.table(FULL)
    tables["baseline"] |= own_cell.settings_of(GOOD)
    plain = {name: tables[name] for name in ("baseline",)} | {"study": {"name": "one"}}
    (trial, *_) = draw(study.parse(plain)).trials
    theirs, ours = Classifier(trial, (1, 28, 28), 10).net, network.network(GOOD)
    x = torch.rand(8, 784)
    with torch.no_grad():
        for mine, given in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == given.shape
            if mine.ndim == 2:  # the same distribution
                assert mine.std() == pytest.approx(float(given.std()), rel=0.1)
            mine.copy_(given)
        assert torch.allclose(ours.eval()(x), theirs.eval().to(torch.float32)(x), atol=1e-6)
    assert [m.p for m in ours if isinstance(m, torch.nn.Dropout)] == [GOOD["dropout"]] * 2


def test_the_images_are_the_harnesss(tmp_path: Path) -> None:
    folder = session.images(tmp_path / "images")
    tables = {"study": {"name": "any"}, "baseline": {"dataset": "fashion_mnist"}}
    data = prepare(settings_of(study.parse(tables)))
    for split in ("train", "val"):
        x, y = network.images(folder, split)
        assert np.array_equal(x.numpy(), data[split].x)
        assert np.array_equal(y.numpy(), data[split].y)
    assert sorted(path.name[:4] for path in Path(folder).iterdir()) == ["trai", "trai", "val_", "val_"]


# ---------------------------------------------------------------------------------- the harness's own cell


@pytest.mark.parametrize("given", [FULL, SHORT], ids=["full", "short"])
@pytest.mark.parametrize("method", own_cell.METHODS)
def test_the_study_has_the_space(given: problem.Problem, method: str) -> None:
    space = study.parse(own_cell.table(given), own_cell.METHODS[method].overrides).space
    drawn = {drawn.name: drawn for drawn in space.parameters}
    renamed = {"width_1": "hidden.width.1", "width_2": "hidden.width.2"}
    for parameter in given.parameters:
        values: Any = drawn.pop(renamed.get(parameter.name, parameter.name)).values  # noqa: PD011 (no frame's)
        assert (values.low, values.high, values.log) == (parameter.low, parameter.high, parameter.log)
    assert list(drawn) == ["hidden.depth"]


def test_configurations_and_settings_are_inverse() -> None:
    assert own_cell.configuration(own_cell.settings_of(GOOD)) == GOOD


def test_the_harnesss_search_is_logged(tmp_path: Path) -> None:
    cell = dataclasses.replace(
        Cell("harness", SHORT, 1, 300, tmp_path, "", time.monotonic()), images="read by the harness"
    )
    small = [
        "dataset=digits",
        "search.suggestions=4",
        "search.batch=4",
        "study.seeds=1",
        "baseline.hidden=[8]",
    ]
    own_cell.run(cell, *small)
    log = campaign.read_log(cell)
    assert log["key"].nunique() == 4
    assert log["epoch"].max() == 9
    complete = log.loc[log["epoch"].eq(9), "val_accuracy"]
    found = campaign.incumbent(cell)
    assert found["val_accuracy"] == complete.max()
    assert found["rule"] == own_cell.RULE
    assert {line["seed"] for line in lines_of(cell)} == {2001}


def test_the_search_stops_at_the_deadline(tmp_path: Path) -> None:
    cell = Cell("harness", SHORT, 0, 4, tmp_path, "", time.monotonic())
    own_cell.run(cell, "dataset=digits", "search.batch=2", "search.suggestions=100000")
    assert not cell.left > 0
    assert (tmp_path / "search" / "trials.csv").is_file() or not (tmp_path / problem.LOG).exists()


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
