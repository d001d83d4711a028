"""Tables of single runs: which pairs they have in the wrong order, and how often."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import single_run_page
import single_runs
from scipy.stats import norm
from single_runs import ALL, BEST, CAREFUL, ITSELF, LAST, OWN, SAME

import harness

ARMS = ("activation", "output")


def tables(**accuracies: list[float]) -> pd.DataFrame:
    """Give a row an arm and table, of one cell."""
    rows = [
        {"cell": "mnist", "arm": arm, "table": table, "accuracy": accuracy}
        for arm, values in accuracies.items()
        for table, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


def noisy(means: dict[str, float], sd: float, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw tables of arms with these true accuracies, whose runs have nothing in common."""
    return tables(**{arm: list(rng.normal(mean, sd, count)) for arm, mean in means.items()})


def test_arms_of_a_cell_are_subtracted_table_by_table_and_those_of_others_are_not() -> None:
    other = tables(tanh=[0.5]).assign(cell="fashion_mnist")
    found = single_runs.differences(pd.concat([tables(tanh=[0.90, 0.92], relu=[0.91, math.nan]), other]))
    assert found[single_runs.PAIR].drop_duplicates().to_numpy().tolist() == [["mnist", "relu", "tanh"]]
    assert found["difference"].tolist() == pytest.approx([0.01, math.nan], nan_ok=True)


def test_no_pair_is_no_difference() -> None:
    assert single_runs.differences(tables(relu=[0.9, 0.8])).empty


def test_the_true_order_is_known_where_the_family_shows_it() -> None:
    rng = np.random.default_rng(0)
    careful = noisy({"a": 0.95, "b": 0.95, "c": 0.93}, 0.002, 20, rng)
    true = single_runs.true_orders(careful).set_index(["arm", "reference"])
    assert true["known"].to_dict() == {("a", "b"): False, ("a", "c"): True, ("b", "c"): True}
    assert true.loc[("a", "c"), "difference"] == pytest.approx(0.02, abs=0.002)
    assert (true["n"] == 20).all()
    assert true["p_holm"].ge(0).all()


def known(**differences: float) -> pd.DataFrame:
    """True orders of pairs that are named FIRST_SECOND."""
    rows = [
        {"cell": "mnist", "arm": name[0], "reference": name[2], "difference": difference, "known": True}
        for name, difference in differences.items()
    ]
    return pd.DataFrame(rows)


def test_an_order_is_wrong_right_or_a_tie() -> None:
    single = tables(a=[0.92, 0.90, 0.91], b=[0.91, 0.91, 0.91])
    up = single_runs.orders(single, known(a_b=0.004))
    assert up["wrong"].tolist() == [False, True, False]
    assert up["tie"].tolist() == [False, False, True]
    assert up["size"].tolist() == [0.004] * 3
    down = single_runs.orders(single, known(a_b=-0.004))
    assert down["wrong"].tolist() == [True, False, False]
    assert down["size"].tolist() == [0.004] * 3


def test_what_is_unknown_or_did_not_finish_is_left_out() -> None:
    single = tables(a=[0.92, math.nan], b=[0.91, 0.91])
    assert single_runs.orders(single, known(a_b=0.004))["table"].tolist() == [0]
    assert single_runs.orders(single, known(a_b=0.004).assign(known=False)).empty


def test_a_rate_counts_tables_and_pairs_by_the_size_of_their_difference() -> None:
    single = tables(a=[0.92, 0.90, 0.92, 0.92], b=[0.91] * 4, c=[0.80] * 4)
    true = known(a_b=0.0015, a_c=0.11, b_c=0.11)
    found = single_runs.rates(single_runs.orders(single, true)).set_index("size_low")
    whole, small, large = found[found["size_high"].eq(math.inf)].iloc[0], found.loc[0.001], found.loc[0.02]
    assert (whole["pairs"], whole["n"], whole["wrong"]) == (3, 4, pytest.approx(1 / 12))
    assert (small["pairs"], small["wrong"], large["pairs"]) == (1, 0.25, 2)
    assert small["low"] == 0  # a share ends there
    assert 0.25 < small["high"] <= 1
    assert large["wrong"] == 0
    assert np.isnan(large["low"])  # all tables have the same share, which shows no spread


def test_the_rate_is_that_of_the_normal_distribution() -> None:
    """Two runs of the same spread are in the wrong order with probability Phi(-d / (sqrt 2 sd))."""
    difference, sd = 0.003, 0.004
    single = noisy({"a": 0.95 + difference, "b": 0.95}, sd, 4000, np.random.default_rng(1))
    found = single_runs.rates(single_runs.orders(single, known(a_b=difference))).iloc[0]
    assert found["low"] < norm.cdf(-difference / (math.sqrt(2) * sd)) < found["high"]
    assert found["high"] - found["low"] < 0.03


def test_with_seeds_of_their_own_arms_have_the_same_runs_in_other_tables() -> None:
    own = single_runs.with_own_seeds(tables(a=[1.0, 2.0, 3.0, 4.0], b=[1.0, 2.0, 3.0, 4.0]))
    wide = own.pivot_table(index="table", columns="arm", values="accuracy")
    assert wide["a"].tolist() == [1, 2, 3, 4]
    assert wide["b"].tolist() == [2, 3, 4, 1]


def test_runs_that_share_their_luck_are_in_order_and_with_own_seeds_they_are_not() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(0, 0.01, 40)
    single = tables(a=list(0.951 + luck), b=list(0.95 + luck))
    found = single_runs.compared(known(a_b=0.001), {"one seed": single})
    rate = found[found["size_high"].eq(math.inf) & found["size_low"].eq(0)].set_index(["seeds", "against"])[
        "wrong"
    ]
    assert rate[SAME, CAREFUL] == 0
    assert rate[OWN, CAREFUL] > 0.2


def test_a_protocol_that_favours_an_arm_is_wrong_beyond_the_luck_of_a_seed() -> None:
    rng = np.random.default_rng(3)
    single = noisy({"a": 0.94, "b": 0.96}, 0.001, 20, rng)  # b wins, though a is truly better
    found = single_runs.compared(known(a_b=0.01), {"fixed lr": single})
    rate = found[found["size_low"].eq(0) & found["seeds"].eq(SAME)].set_index("against")["wrong"]
    assert rate[CAREFUL] == 1
    assert rate[ITSELF] == 0
    averaged = found[found["size_low"].eq(0) & found["seeds"].eq(ALL)]
    assert averaged[["against", "wrong", "n"]].to_numpy().tolist() == [[CAREFUL, 1, 1]]


def test_the_luck_of_a_seed_is_told_over_the_pairs_whose_order_is_known() -> None:
    """Of a and b, which are known, and c and d, which only the tables themselves could tell apart."""
    rng = np.random.default_rng(4)
    single = noisy({"a": 0.95, "b": 0.95, "c": 0.91, "d": 0.97}, 0.001, 20, rng)
    found = single_runs.compared(known(a_b=0.01), {"one": single})
    every = found[found["size_low"].eq(0) & found["size_high"].eq(math.inf)]
    assert set(every["pairs"]) == {1}
    alone = every[every["seeds"].eq(SAME) & every["against"].eq(ITSELF)]["wrong"].item()
    values = single.pivot_table(index="table", columns="arm", values="accuracy")
    apart = values["a"] - values["b"]
    assert alone == pytest.approx((np.sign(apart) == -np.sign(apart.mean())).mean())


def test_a_block_of_seeds_is_one_table_and_its_first_seed_a_run() -> None:
    trials = pd.DataFrame(
        {
            "dataset": "mnist", "label_noise": 0.0, "output": "CE", "seed": [3, 2, 0, 1],
            "seed_block": [2, 2, 1, 1], "status": ["ok", "ok", "ok", "diverged"],
            "test_accuracy": [0.94, 0.92, 0.95, math.nan],
        }
    )  # fmt: skip
    means, runs = single_runs.of_study(trials, ["output"])
    assert dict(zip(means["table"], means["accuracy"], strict=True)) == pytest.approx({2: 0.93, 1: 0.95})
    assert dict(zip(runs["table"], runs["accuracy"], strict=True)) == pytest.approx({2: 0.92, 1: 0.95})
    assert set(means["cell"]) == {"mnist, 0"}
    alone, _ = single_runs.of_study(trials.drop(columns="seed_block"), ["output"])
    assert sorted(alone["table"]) == [0, 1, 2, 3]


def test_tables_of_a_real_study_have_the_last_and_the_best_epoch(sweep_folder: Path) -> None:
    results = harness.read(sweep_folder)
    found = single_runs.of_tables(results.trials, results.epochs, ARMS)
    done = results.trials["status"].eq("ok")
    assert set(results.trials["status"]) == {"ok", "diverged"}
    for name in (LAST, BEST):
        assert found[name]["accuracy"].notna().tolist() == done.tolist()
    assert (found[BEST]["accuracy"] > found[LAST]["accuracy"]).any()
    val = results.epochs[results.epochs["split"].eq("val") & results.epochs["epoch"].gt(0)]
    for place, row in zip(results.trials.index[done], results.trials[done].to_dict("records"), strict=True):
        curve = val.loc[val["trial_id"].eq(row["trial_id"]), "accuracy"]
        last, best = (found[name].loc[place] for name in (LAST, BEST))
        assert (last["accuracy"], best["accuracy"]) == (curve.iloc[-1], curve.max())
        assert best["arm"] == ", ".join(str(row[name]) for name in ARMS)
        assert (best["cell"], best["table"]) == ("digits, 0", row["seed"])


def test_names_of_data_sets_whose_val_is_test_are_those_of_the_careful_study() -> None:
    trials = pd.DataFrame({"dataset": ["mnist_val_is_test"], "label_noise": [0.4], "network": ["mlp 32"]})
    named = single_runs.named(trials, ["network"])
    assert named[["cell", "arm"]].to_numpy().tolist() == [["mnist, 0.4", "mlp 32"]]


def test_trials_with_a_fixed_seed_are_no_runs_of_a_careful_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = pd.DataFrame({"fixed_seed": ["none", "start 3"], "seed": [0, 0]})
    monkeypatch.setattr("single_run_page.results.read_trials", lambda _: trials)
    assert single_run_page.careful_trials(tmp_path)["fixed_seed"].tolist() == ["none"]


def test_sizes_have_words() -> None:
    assert single_run_page.SIZES == [
        "0 to 0.1", "0.1 to 0.2", "0.2 to 0.5", "0.5 to 1", "1 to 2", "2 and more",
    ]  # fmt: skip
