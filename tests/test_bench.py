"""The benchmark's arithmetic: what is counted, extrapolated and compared. Nothing is timed here."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import cells
import crews
import groups
import pandas as pd
import pytest
import ratios
import side_by_side
import torch
import work
from cells import Selection
from peers import HARNESS, PEERS, Form, harness_run, in_memory, sklearn_mlp, vmap
from rich.console import Console
from work import Share, Timing, Work

from harness.data.batches import Budget
from harness.data.samples import Data, Split
from harness.errors import UsageError
from harness.planning.plan import make
from harness.plots.style import save
from harness.study import study

DIGITS = Work(hidden=(8,), trials=2, epochs=2, dataset="digits")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass when a test says so: `clock[0] += 1`."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


class Ticking:
    """A group whose step takes 2 ms, evaluation of train 30 s, val 3 s and test 5 s."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.steps = 0

    def train(self, steps: int) -> None:
        self.clock[0] += 0.002 * steps
        self.steps += steps

    def evaluate(self, split: Split) -> Sequence[float]:
        self.clock[0] += {"train": 30.0, "val": 3.0, "test": 5.0}[split]
        return [0.5]


def test_flops_of_one_trial_by_hand() -> None:
    one = Work(hidden=(32, 32), trials=1, epochs=1)
    macs = 784 * 32 + 32 * 32 + 32 * 10
    trained = 54_000 * 2 * (3 * macs - 784 * 32)
    assert one.flops == trained + (2 * 60_000 + 10_000) * 2 * macs
    assert dataclasses.replace(one, trials=5).flops == 5 * one.flops


def test_the_benchmarked_work_equals_the_harnesss() -> None:
    wanted = study.parse(harness_run.tables(Share(DIGITS, DIGITS.rates)))
    plan = make(wanted, "stacked")
    assert len(plan.trials) == DIGITS.trials
    for trial in plan.trials:
        budget = Budget.of(trial.arm.settings, DIGITS.sizes[0])
        assert (budget.steps, len(budget.eval_steps)) == (DIGITS.steps, DIGITS.epochs + 1)
    data = work.load(DIGITS)
    assert tuple(len(data[split].y) for split in ("train", "val", "test")) == DIGITS.sizes
    assert (data.inputs, len(data.classes)) == (DIGITS.widths[0], DIGITS.widths[-1])


@pytest.mark.parametrize("trials", [1, 8, 64, 10_000])
def test_learning_rates_differ_and_lie_around_the_default(trials: int) -> None:
    rates = Work(trials=trials, optimizer="adam").rates
    assert len(set(rates)) == trials
    assert min(rates) == pytest.approx(0.001 / 8)
    assert max(rates) <= 0.002


def test_shares_hold_every_trial_once() -> None:
    dealt = work.shares(Work(trials=7), 3, members=16)
    assert sorted(itertools.chain(*(share.rates for share in dealt))) == sorted(Work(trials=7).rates)
    assert [share.members for share in dealt] == [3, 2, 2]  # no wider than there are trials
    assert len(work.shares(Work(trials=2), 16)) == 2
    share = dataclasses.replace(dealt[0], extent="group", variant="fused")
    assert work.from_json(work.as_json(share)) == share


def test_steps_and_evaluations_are_multiplied(clock: list[float]) -> None:
    made = Work(trials=6, epochs=3)
    share = Share(made, made.rates, members=2, slice=1.0)
    group = Ticking(clock)

    def start(_data: Data, _share: Share) -> Ticking:
        clock[0] += 7.0
        return group

    timing = groups.in_parts(share, start, work.load(DIGITS), 100, 5)
    one = 7.0 + made.steps * 0.002 + 4 * 33.0 + 5.0
    assert timing.seconds == pytest.approx(3 * one)  # 6 trials, 2 a group
    assert (timing.steps, group.steps) == (500, 505)  # one second of them, after the warm-up
    assert timing.measured == pytest.approx(7.0 + 505 * 0.002 + 33.0 + 5.0)
    assert "500 of 5064 steps of 2 of 6 trials" in timing.extrapolated


@pytest.mark.parametrize(("extent", "groups_trained"), [("group", 1), ("all", 3)])
def test_whole_groups_are_counted_for_the_others(
    clock: list[float], extent: work.Extent, groups_trained: int
) -> None:
    made = dataclasses.replace(DIGITS, trials=3)
    share = Share(made, made.rates, members=1, extent=extent)
    timing = groups.time(share, lambda _data, _share: Ticking(clock))
    one = made.steps * 0.002 + 3 * 33.0 + 5.0
    assert timing.seconds == pytest.approx(3 * one)
    assert timing.measured == pytest.approx(groups_trained * one)
    assert len(timing.accuracies) == groups_trained
    assert bool(timing.extrapolated) == (groups_trained < 3)


def test_the_slowest_process_is_the_peers_time() -> None:
    both = crews.as_one([Timing(3.0, 1.0, 0.1, trials=2), Timing(4.0, 2.0, 0.2, set_up=9.0, trials=1)])
    assert (both["seconds"], both["compile_seconds"], both["trials_timed"]) == (4.0, 9.0, 3)


def rounds_of(seconds: dict[str, Sequence[float]], **absent: str) -> pd.DataFrame:
    """Rounds as the benchmark gives them."""
    made = Work()
    rows = [
        {**side_by_side.cell(made), "round": i, "peer": peer, "form": "1 process", "seconds": one,
         "compile_seconds": 0.0, "steps_timed": 100, "extrapolated": "", "device": "cpu",
         "gemm_gflops": 300.0, "failed": ""}
        for peer, times in seconds.items()
        for i, one in enumerate(times)
    ]  # fmt: skip
    rows += [{**side_by_side.cell(made), "peer": peer, "failed": why} for peer, why in absent.items()]
    rows += [
        {**rows[0], **side_by_side.cell(cells.short(n)), "peer": HARNESS, "seconds": 2.0} for n in (10, 100)
    ]
    return pd.DataFrame(rows)


def test_ratios_are_taken_within_a_round() -> None:
    found = ratios.summary(rounds_of({HARNESS: [10.0, 20.0, 40.0], "jax": [20.0, 20.0, 20.0]}))
    assert found["peer"].tolist() == ["jax", HARNESS]
    jax, ours = found.to_dict("records")
    assert (jax["ratio"], jax["low"], jax["high"], jax["rounds"]) == (1.0, 0.5, 2.0, 3)
    assert (ours["ratio"], ours["low"], ours["high"]) == (1.0, 1.0, 1.0)
    assert ours["trials_per_hour"] == pytest.approx(64 * 3600 / 20)
    assert ours["microseconds_per_step"] == pytest.approx(20e6 / (64 * 5064))
    assert ours["gemm_share"] == pytest.approx(Work().flops / 20 / 300e9)


def test_short_trials_cost_by_their_number() -> None:
    found = ratios.costs(rounds_of({HARNESS: [1.0]}))
    assert found[["trials", "milliseconds_per_trial"]].to_numpy().tolist() == [[10, 200.0], [100, 20.0]]


def test_missing_peers_are_reported(tmp_path: Path) -> None:
    rounds = rounds_of({HARNESS: [10.0, 12.0], "vmap": [50.0, 40.0]}, ray="ray is not installed")
    console = Console(width=170, record=True, file=(tmp_path / "screen").open("w"))
    ratios.show(rounds, console)
    console.file.close()
    told = console.export_text()
    assert "Ray Tune, a trial a core: ray is not installed" in told
    assert "4.17 (3.33 to 5.00)" in told
    assert ratios.timed_not(rounds) == {"ray": "ray is not installed"}


def test_the_figure_has_a_row_a_cell(tmp_path: Path) -> None:
    import bench_figure

    figure = bench_figure.figure(rounds_of({HARNESS: [10.0, 12.0], "vmap": [50.0, 40.0]}))
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == [work.words(Work()).replace(", ", "\n")]
    assert above.get_xlim()[0] < 1 < 5 < above.get_xlim()[1]
    assert below.get_ylabel() == "milliseconds a trial"
    assert all(path.stat().st_size for path in save(figure, tmp_path / "bench"))


def test_cells_are_described_in_words() -> None:
    first, second = cells.chosen_cells("32:sgd,128:adam:512-512:8")
    assert first == Work()
    assert second == Work((512, 512), 128, "adam", 8)
    assert set(cells.WITH_SLOW) <= set(cells.DEFAULT)
    assert len(set(cells.EVERY)) == 3 * 5 * 3 * 3


@pytest.mark.parametrize("text", ["32", "0:sgd", "32:adagrad", "x:sgd", "32:sgd:a-b", "32:sgd:8:8:8"])
def test_an_invalid_cell_is_reported(text: str) -> None:
    if text == "32":
        assert cells.chosen_cells(text) == (Work(),)  # sgd, where no optimizer is named
        return
    with pytest.raises(UsageError, match="allowed: BATCH:OPTIMIZER"):
        cells.chosen_cells(text)


def test_peers_are_chosen_by_name() -> None:
    assert cells.chosen_peers("jax,harness") == ("jax", "harness")
    with pytest.raises(UsageError, match=r"--only jacks: .*jax"):
        cells.chosen_peers("jacks")
    slow = [name for name, peer in PEERS.items() if peer.slow]
    assert not set(slow) & set(Selection().of(Work(batch_size=16)))
    assert set(slow) <= set(Selection().of(Work()))
    assert HARNESS in Selection(peers=("jax",)).of(Work())


def test_forms_that_few_trials_make_the_same_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    forms = PEERS["jax"].forms
    assert side_by_side.distinct(forms, Work(trials=512)) == list(forms)
    assert side_by_side.distinct(forms, Work(trials=8)) == [Form(True, 16), Form(False, 16)]
    assert [f.members for f in side_by_side.distinct(forms, Work(trials=64))] == [16, 32, 16, 32, 64]


def test_only_k_is_tried_again_at_another_batch_size() -> None:
    bench = side_by_side.Bench(Selection(), crews.Crews(), print)
    forms = PEERS["jax"].forms
    assert side_by_side.still_open(bench, "jax", Work()) == forms
    bench.best["jax", Work()] = Form(True, 32)
    assert side_by_side.still_open(bench, "jax", Work(batch_size=16)) == [f for f in forms if f.a_core]
    assert side_by_side.still_open(bench, "jax", Work(optimizer="adam")) == forms
    assert side_by_side.still_open(bench, "vmap", Work()) == PEERS["vmap"].forms


@pytest.mark.parametrize("optimizer", cells.OPTIMIZERS)
def test_members_of_vmap_train_as_with_torch_optim(optimizer: str) -> None:
    made = Work((16,), 32, optimizer, 3, 1, "digits")
    share = Share(made, made.rates, members=3)
    data = work.load(made)
    together = vmap.Members(data, share)
    alone = in_memory.Trial(data, share, made.rates[2])
    mine = dict(alone.model.named_parameters())
    with torch.no_grad():
        for name, stacked in together.parameters.items():
            mine[name].copy_(stacked[2])
    for group in (together, alone):
        with torch.random.fork_rng():
            torch.manual_seed(3)  # the order of the images
            group.train(made.steps)
    for name, stacked in together.parameters.items():
        torch.testing.assert_close(mine[name].detach(), stacked[2], rtol=1e-4, atol=1e-5)
    assert together.evaluate("test")[2] == pytest.approx(alone.evaluate("test")[0], abs=0.003)


def test_a_classifier_of_scikit_learn_begins_as_torch_does_and_learns() -> None:
    made = Work((16,), trials=1, epochs=3, dataset="digits", octaves=(0.0, 0.0))
    share = Share(made, made.rates)
    model = sklearn_mlp.Classifier(work.load(made), share)
    assert max(abs(w).max() for w in model.model.coefs_[:1]) <= 64**-0.5
    before = model.evaluate("test")[0]
    for _ in range(made.epochs):
        model.train(made.steps_per_epoch)
    assert before < 0.3 < 0.6 < model.evaluate("test")[0]


def test_the_harness_trains_all_of_the_work() -> None:
    timing = harness_run.time(Share(DIGITS, DIGITS.rates))
    assert (timing.trials, len(timing.accuracies), timing.extrapolated) == (2, 2, "")
    assert timing.seconds == timing.measured > 0


def test_a_peer_that_fails_says_why() -> None:
    with crews.Crews() as opened:
        wrong = dataclasses.replace(DIGITS, optimizer="adagrad", dataset="nowhere")
        with pytest.raises(crews.PeerError, match="nowhere"):
            opened.of("in_memory", Form()).all_do("time", [Share(wrong, (0.1,))])


def test_a_missing_peer_is_reported() -> None:
    absent = dataclasses.replace(PEERS["jax"], needs=("no_such_library",))
    assert crews.missing(absent).startswith("no_such_library is not installed")
    assert not crews.missing(PEERS["in_memory"])
