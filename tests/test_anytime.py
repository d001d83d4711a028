"""The anytime comparison: its problem, its cells, the common training, and the harness's own cell."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import campaign
import network
import numpy as np
import own_cell
import problem
import pytest
import session
import torch
from anytime_cells import FULL, GOOD, SHORT, FakeClock, cell_in, lines_of
from problem import Cell, Configuration, OutOfTimeError

from harness import study
from harness.data.samples import prepare
from harness.engines.classifier import Classifier
from harness.planning.plan import draw
from harness.study.trials import settings_of

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


def log_often(cell: Cell) -> None:
    for _ in range(200):
        cell.log(GOOD, 1, 0.5)


def test_processes_log_whole_lines(tmp_path: Path) -> None:
    cell = cell_in(tmp_path)
    # Not forked: the tests' process has threads, whose locks a fork would hold for ever.
    spawned = multiprocessing.get_context("spawn")
    writers = [spawned.Process(target=log_often, args=(cell,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
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
        values: Any = drawn.pop(renamed.get(parameter.name, parameter.name)).values
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


# The deadline is an interrupt, which may come between the opening of a file and its closing.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_search_stops_at_the_deadline(tmp_path: Path) -> None:
    cell = Cell("harness", SHORT, 0, 4, tmp_path, "", time.monotonic())
    own_cell.run(cell, "dataset=digits", "search.batch=2", "search.suggestions=100000")
    assert not cell.left > 0
    assert (tmp_path / "search" / "trials.csv").is_file() or not (tmp_path / problem.LOG).exists()
