"""The standing of arms, for the screen: as the statistics of the reports have it."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.results import csv_rows, selection, standing
from harness.results.columns import typed


def trials_of(seed: int, seeds: int) -> str:
    """Make trials.csv of some arms on two data sets, with every status and ties."""
    rng = np.random.default_rng(seed)
    rows = ["trial_id,arm,dataset,lr,seed,status,val_accuracy,test_accuracy"]
    for dataset in ("one", "two"):
        for arm in ("baseline", "lr=0.1", "lr=1", "lr=3", "lr=0.3", "lr=9"):
            statuses = (
                ["ok"] if arm == "lr=0.1" else ["failed", "skipped"] if arm == "lr=9" else ["ok", "diverged"]
            )
            for s in range(seeds):
                status = rng.choice(statuses, p=[0.9, 0.1] if len(statuses) == 2 else None)
                val = "" if rng.random() < 0.1 else f"{rng.choice([0.5, 0.75, rng.random()]):.7g}"
                test = f"{rng.random():.7g}"
                cells = (val, test) if status == "ok" else ("", "")
                lr = "0.01" if arm == "baseline" else arm[3:]
                rows.append(f"t{len(rows)},{arm},{dataset},{lr},{s},{status},{','.join(cells)}")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("seeds", [1, 2, 7])
def test_arms_stand_as_the_statistics_rank_them(seed: int, seeds: int) -> None:
    text = trials_of(seed, seeds)
    frame = typed(csv_rows.read(io.StringIO(text)), "trials", {})
    expected = stats.rank_arms(frame)
    got = pd.DataFrame([vars(arm) for arms in standing.ranked(csv_rows.table(text)).values() for arm in arms])
    assert list(got["arm"]) == list(expected["arm"])
    assert list(got["dataset"]) == list(expected["dataset"])
    assert list(got["rank"]) == list(expected["rank"].fillna(0))
    assert list(got["finished"]) == list(expected["ok"])
    pairs = {"n": "n", "mean": "mean", "low": "low", "high": "high", "shown": "shown_mean"}
    for name, other in pairs.items():
        np.testing.assert_allclose(got[name].astype(float), expected[other].astype(float), rtol=1e-12)
    assert standing.shown_arms(csv_rows.table(text)) == selection.shown_arms(frame)
    assert standing.shown_arms(csv_rows.table(text))["baseline"] == "lr=0.01 (baseline)"


def test_trials_with_a_fixed_seed_are_no_arms_to_choose_among() -> None:
    lines = ["trial_id,arm,dataset,lr,fixed_seed,seed,status,val_accuracy,test_accuracy"]
    lines += [f"t{i},arm,one,0.1,none,{i},ok,0.{i + 5},0.5" for i in range(2)]
    lines += [f"u{i},start {i},one,0.1,start {i},0,ok,0.9,0.9" for i in range(2)]
    (arms,) = standing.ranked(csv_rows.table("\n".join(lines) + "\n")).values()
    assert [(arm.arm, arm.n, round(arm.mean, 3)) for arm in arms] == [("arm", 2, 0.55)]


def test_student_is_scipys() -> None:
    freedoms = [*range(1, 40), 99, 1000]
    expected = scipy_stats.t.ppf(0.975, freedoms)
    np.testing.assert_allclose([standing.student(n) for n in freedoms], expected, rtol=1e-11)
