"""The page on the study `variance`: counts, labels, pairs, and what becomes of the hypothesis."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import variance

from harness import stats
from harness.stats.seed_variance import EVERY, NOTHING


def test_network_and_schedule_are_found_in_any_order() -> None:
    for label in ("linear \u00b7 mlp 32", "mlp 32 \u00b7 linear"):
        assert (variance.network_of(label), variance.schedule_of(label)) == ("mlp 32", "linear")


def test_trials_are_counted_once() -> None:
    sizes = {"start": 4, "order": 4, "split": 4, EVERY: 1, NOTHING: 1}
    trials = pd.DataFrame(
        {
            "label": "mlp 32",
            "source": source,
            "value": value,
            "seed": seed,
            "test_accuracy": 0.9 + 0.01 * seed,
        }
        for source, values in sizes.items()
        for value, seed in itertools.product(range(values), range(6))
    ).assign(status="ok")
    # 4 x 6 starts and orders, 3 x 6 further splits, 6 with no fixed seed, 6 with all fixed.
    assert variance.trials_of(stats.seed_variance(trials, ["label"])) == 24 + 24 + 18 + 6 + 6


def test_pairs_that_share_everything_gain_everything() -> None:
    rng = np.random.default_rng(1)
    seeds = np.arange(2000)
    common, own = rng.normal(size=seeds.size), rng.normal(size=(3, seeds.size))
    values = {
        ("a", "constant"): common, ("a", "linear"): common + 0.01 * own[0],
        ("b", "constant"): own[1], ("b", "linear"): own[2],
    }  # fmt: skip
    rows = [
        pd.DataFrame(
            {"dataset": "mnist", "network": network, "schedule": schedule, "seed": seeds, "status": "ok",
             "test_accuracy": accuracies}
        )
        for (network, schedule), accuracies in values.items()
    ]  # fmt: skip
    paired = variance.paired_deviations(pd.concat(rows))
    assert paired[("mnist", "a")] < 0.02
    assert paired[("mnist", "b")] == pytest.approx(1, abs=0.1)


def test_repetitions_that_differ_are_said_with_their_deviation() -> None:
    sources = pd.DataFrame({"source": [NOTHING], "sd": [0.0012], "seeds": [10]})
    said = variance.of_repetitions(sources)
    assert said == "The same trial again: a standard deviation of at most 0.12 points over 10 trials."


def test_a_share_that_lies_above_nothing_is_not_written_as_nothing() -> None:
    row = {
        "label": "constant \u00b7 mlp 32",
        "source": "start",
        "share": 0.009,
        "share_low": 0.0028,
        "share_high": 0.02,
    }
    assert variance._share(row).replace("\u00a0", " ") == "1 % (0.3 % to 2 %)"
    assert variance.shares(pd.Series([0.0, 0.0028])).replace("\u00a0", " ") == "0 % to 0.3 %"


def test_a_part_of_the_hypothesis_on_variance_is_judged_by_its_intervals() -> None:
    rows = [
        {
            "dataset": "mnist",
            "label": f"{network} · constant",
            "source": source,
            "share": 0.6,
            "share_low": 0.51,
            "share_high": 0.8,
        }
        for network in ("mlp 32", variance.FLAT)
        for source in ("start", "order")
    ]
    ends = {"constant": (0.002, 0.004), "linear": (0.001, 0.0014)}
    needed = pd.DataFrame(
        {
            "dataset": "mnist",
            "network": "mlp 32",
            "schedule": schedule,
            "sd_all_low": low,
            "sd_all_high": high,
        }
        for schedule, (low, high) in ends.items()
    )
    weights, flat, schedules = variance.parts(pd.DataFrame(rows), needed)
    assert "more than half of the variance holds: of 2 cases" in weights
    assert "initial weights is rejected: the interval lies above 0 in 1 of 1 arm" in flat
    assert "needs holds: held end against end" in schedules
    needed["sd_all_high"] *= 1.1
    assert "needs is not decided" in list(variance.parts(pd.DataFrame(rows), needed))[2]
    rows[0] |= {"share_low": 0.2, "share_high": 0.45}
    rejected = next(variance.parts(pd.DataFrame(rows), needed))
    assert "of the variance is rejected: of 2 cases" in rejected
    assert "below it in 1 (mnist, mlp 32 · constant, initial weights). Each" in rejected
