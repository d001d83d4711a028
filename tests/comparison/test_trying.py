"""Tries of a baseline on digits, really trained: verdicts, what is kept and shared, and what is refused."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import tomli_w

import harness
from harness import results
from harness.comparison.tries import looks as try_looks
from harness.comparison.tries import text as try_text
from harness.comparison.tries import trying
from harness.comparison.tries.folder import FIRST_SEED
from harness.comparison.tries.looks import Look, TryRules
from harness.comparison.tries.trying import Try, TryKeywords
from harness.errors import UsageError
from harness.study.study import Study
from harness.system import locks

Tried = Callable[..., Try]
UNCLEAR, OTHER = "sampling=replacement", "sampling=sequential"
RULES = TryRules("val_accuracy", 0.002, 0.05, 1, 20, math.inf)


@pytest.fixture
def study(study_of: Callable[..., Study]) -> Study:
    return study_of(steps=[], study={"metrics": ["brier"]}, hidden=[16], lr=0.1)


@pytest.fixture
def tried(study: Study, tmp_path: Path) -> Tried:
    """`tried("lr=0.3", max_seeds=5)`: a try in this process, into one folder a test."""

    def run(*changes: str, of: Study | None = None, **keywords: object) -> Try:
        given = cast(TryKeywords, {"folder": tmp_path / "tries", "workers": 1, **keywords})
        return harness.try_(of or study, list(changes), **given)

    return run


# ----------------------------------------------------------------------------------------------- verdicts


def test_a_change_that_helps_is_better_and_judged_by_val_alone(tried: Tried, tmp_path: Path) -> None:
    better = tried("lr=0.5")
    assert better.verdict == "better"
    assert better.exit_code == 0
    trials = results.read_trials(tmp_path / "tries")
    assert trials["test_accuracy"].isna().all()
    wide = trials.pivot_table(index="seed", columns="arm", values="val_accuracy")
    differences = wide["lr=0.5"] - wide["baseline"]
    assert better.last.difference == pytest.approx(differences.mean())
    assert better.last.sd == pytest.approx(differences.std())
    assert better.last.low > 0
    assert len(differences) == better.last.seeds < 20
    assert list(wide.index) == list(range(FIRST_SEED, FIRST_SEED + better.last.seeds))


def test_a_change_that_hurts_is_worse_and_exits_1(tried: Tried) -> None:
    worse = tried("lr=0.001")
    assert (worse.verdict, worse.exit_code) == ("worse", 1)
    assert worse.last.high < 0
    assert try_text.verdict(worse).startswith("Worse: lr=0.001 gives -")


def test_a_change_that_hardly_matters_is_the_same_within_a_wide_margin(tried: Tried) -> None:
    same = tried("label_smoothing=0.001", margin=0.1)
    assert (same.verdict, same.exit_code) == ("same", 0)
    assert -0.1 < same.last.same_low < same.last.same_high < 0.1
    assert "Same: label_smoothing=0.001 is within 10.00 points of the baseline" in try_text.verdict(same)


def test_too_few_seeds_cannot_tell_and_more_go_on(tried: Tried) -> None:
    few = tried(UNCLEAR, max_seeds=3)
    assert (few.verdict, few.exit_code, few.why) == ("cannot tell", 2, "seeds")
    assert (few.trained.trials, few.last.next_seeds) == (6, 0)
    assert try_text.following(few, "s", [UNCLEAR]).startswith(
        f"next: harness try s --set {UNCLEAR} --max-seeds"
    )
    more = tried(UNCLEAR, max_seeds=5)
    assert more.trained.trials == 4
    assert more.looks[0].difference == few.last.difference
    assert (more.counts.number, more.counts.tries) == (1, 1)


def test_a_loss_is_better_where_it_is_lower(tried: Tried) -> None:
    assert tried("lr=0.5", metric="val_loss", margin=0.01).verdict == "better"
    assert tried("lr=0.001", metric="val_brier", margin=0.01).verdict == "worse"


def test_a_change_that_diverges_is_worse_by_the_sign_test(tried: Tried) -> None:
    diverging = tried("lr=1e25")
    assert diverging.verdict == "worse"
    assert (diverging.last.seeds, diverging.last.diverged, diverging.last.baseline_diverged) == (10, 10, 0)
    assert diverging.last.p == pytest.approx(2 / 2**10)
    assert math.isnan(diverging.last.low)
    assert "it diverged in 10 of 10 seeds, the baseline in 0" in try_text.verdict(diverging)


# -------------------------------------------------------------------------------------------------- looks


def pairs_of(baseline: list[float], changed: list[float]) -> pd.DataFrame:
    """Values of seeds; NaN where one diverged."""
    table = pd.DataFrame({"baseline": baseline, "changed": changed})
    for side in ("baseline", "changed"):
        table[f"{side}_status"] = np.where(table[side].isna(), "diverged", "ok")
    return table


def test_one_diverged_seed_is_a_vote_and_never_left_out() -> None:
    base = list(np.linspace(0.5, 0.6, 10))
    up = [value + 0.1 for value in base]
    clear = try_looks.look(pairs_of(base, up), 10, RULES)
    assert clear.verdict == "better"
    one = try_looks.look(pairs_of(base, [*up[:9], math.nan]), 10, RULES)
    assert (one.verdict, one.n, one.diverged) == ("cannot tell", 9, 1)  # 9 against 1: p = 0.021
    assert one.p == pytest.approx(0.021484375)
    both = try_looks.look(pairs_of([*base[:9], math.nan], [*up[:9], math.nan]), 10, RULES)
    assert both.p == pytest.approx(2 / 2**9)  # diverged in both: no vote
    assert both.verdict == "better"


def test_a_told_look_needs_no_more_seeds() -> None:
    told = try_looks.look(pairs_of([0.9] * 3, [0.951, 0.95, 0.949]), 3, RULES)
    assert (told.verdict, math.isnan(told.more_seeds)) == ("better", True)
    untold = try_looks.look(pairs_of([0.9] * 3, [0.90, 0.92, 0.91]), 3, RULES)
    assert (untold.verdict, untold.more_seeds > 0) == ("cannot tell", True)


def test_a_difference_that_no_look_shows_is_given_the_seeds_of_a_study(tried: Tried) -> None:
    seen = Look(20, 20, 0.005, 0.03, -0.02, 0.03, level=0.02, detectable=0.03, more_seeds=3000.0)
    words = list(try_text.sureness(replace(tried(UNCLEAR, max_seeds=3), looks=[seen])))
    said = "if the difference is as large as it looks, it takes about 285 seeds, more than a try has: make"
    assert any(one.startswith(said) for one in words)
    near = replace(seen, difference=0.003)
    words = list(try_text.sureness(replace(tried(UNCLEAR, max_seeds=3), looks=[near])))
    assert not any("as large as it looks" in one for one in words)


def test_a_failed_trial_tells_nothing() -> None:
    pairs = pairs_of([0.5, 0.5, 0.5], [0.6, 0.7, 0.9]).assign(changed_status=["ok", "ok", "failed"])
    assert try_looks.look(pairs, 3, RULES).verdict == "cannot tell"


def test_lines_say_what_is_seen_and_what_comes() -> None:
    look = Look(5, 5, 0.0031, 0.003, -0.001, 0.0072, next_seeds=7, next_seconds=4.2)
    said = "5 seeds: +0.31 points [-0.10, +0.72], not told yet; next 7 seeds, about 4 s"
    assert try_text.line(look, RULES) == said


# ---------------------------------------------------------------------------------- what is kept and shared


def test_tries_share_their_baseline_and_the_ledger_counts_them(tried: Tried, tmp_path: Path) -> None:
    assert tried(UNCLEAR, max_seeds=3).trained.trials == 6
    second = tried(OTHER, max_seeds=3, family=2)
    assert second.trained.trials == 3
    assert (second.counts.number, second.counts.tries) == (2, 2)
    assert second.false_better == pytest.approx((0.05 + 0.025) / 2)
    assert "this is try 2 of 2 of this baseline" in " ".join(try_text.sureness(second))
    again = tried(UNCLEAR, max_seeds=3)
    assert (again.trained.trials, again.counts.number, again.counts.tries) == (0, 1, 2)
    assert tried(UNCLEAR, max_seeds=3, margin=0.01).counts.number == 3  # judged by another rule
    ledger = pd.read_csv(tmp_path / "tries" / "tries.csv")
    assert ledger["change"].tolist() == [UNCLEAR, OTHER, UNCLEAR]
    assert ledger["try"].tolist() == [1, 2, 3]
    assert sorted(results.read_trials(tmp_path / "tries")["arm"].unique()) == ["baseline", UNCLEAR, OTHER]


def test_another_baseline_counts_from_one_and_the_earlier_trials_stay(
    tried: Tried, study_of: Callable[..., Study]
) -> None:
    first = tried("activation=tanh", max_seeds=3)
    other = study_of(study={"metrics": ["brier"]}, hidden=[16], lr=0.2)
    second = tried("activation=tanh", max_seeds=3, of=other)
    assert (second.counts.number, second.counts.tries, first.counts.number) == (1, 1, 1)
    assert second.counts.all_tries == 2
    assert second.counts.all_alpha == pytest.approx(0.1)
    assert "with other baselines, 2 tries in" in " ".join(try_text.sureness(second))
    again = tried("activation=tanh", max_seeds=3)
    assert again.trained.trials == 0
    assert again.last.difference == first.last.difference


def test_noise_trains_what_a_try_finds_again(tried: Tried, study: Study, tmp_path: Path) -> None:
    harness.noise(study, seeds=3, folder=tmp_path / "tries", workers=1)
    assert tried(UNCLEAR, max_seeds=3).trained.trials == 3


def test_a_budget_ends_between_looks(tried: Tried) -> None:
    short = tried(UNCLEAR, budget="0.001 s")
    assert (short.why, len(short.looks), short.verdict) == ("budget", 1, "cannot tell")
    assert "the budget is used up" in try_text.verdict(short)


def test_a_damaged_ledger_is_told_before_anything_is_trained_over_it(tried: Tried, tmp_path: Path) -> None:
    tried(UNCLEAR, max_seeds=3)
    (tmp_path / "tries" / "tries.csv").write_text("nothing\n1\n")
    with pytest.raises(UsageError, match=r"tries.csv cannot be read.*It counts"):
        tried(UNCLEAR, max_seeds=3)


def test_a_folder_that_is_written_by_another_is_refused(tried: Tried, tmp_path: Path) -> None:
    with locks.locked(tmp_path / "tries"), pytest.raises(UsageError, match="another run is writing"):
        tried(UNCLEAR, max_seeds=3)


def test_the_study_file_of_a_folder_of_tries_can_be_read(tried: Tried, tmp_path: Path) -> None:
    tried(UNCLEAR, max_seeds=3)
    study = harness.load(tmp_path / "tries" / "study.toml")
    assert study.sealed
    assert len(harness.plan(study).trials) == 6


def test_a_report_of_tries_is_refused(tried: Tried, tmp_path: Path) -> None:
    tried(UNCLEAR, max_seeds=3)
    with pytest.raises(UsageError, match="holds tries of a study, without test"):
        harness.report(tmp_path / "tries")


BROKEN = """
from pathlib import Path
import torch
from harness.axes.losses import losses

@losses.register("touchy", takes="logits")
def touchy(z, target):
    'Cross-entropy that fails in training while there is a file called broken.'
    if z.shape[-1] == 10 and Path(__file__).with_name("broken").exists():
        raise ValueError("it is broken")
    return torch.logsumexp(z, -1) - (target * z).sum(-1)
"""


def test_a_change_that_cannot_be_trained_tells_nothing_and_disturbs_no_other(tmp_path: Path) -> None:
    (tmp_path / "touchy.py").write_text(BROKEN)
    tables = {
        "study": {"name": "s", "plugins": ["touchy.py"]},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
    }
    (tmp_path / "s.toml").write_text(tomli_w.dumps(tables))
    (tmp_path / "broken").touch()
    study, folder = harness.load(tmp_path / "s.toml"), tmp_path / "tries"
    failed = harness.try_(study, ["loss=touchy"], folder=folder, workers=1, max_seeds=3)
    assert (failed.verdict, failed.why, failed.exit_code) == ("cannot tell", "failed", 2)
    assert "it is broken" in failed.trained.failures[0]
    assert "trials could not be trained" in try_text.verdict(failed)
    other = harness.try_(study, [UNCLEAR], folder=folder, workers=1, max_seeds=3)
    assert (other.why, other.trained.failures, other.trained.trials) == ("seeds", [], 3)
    (tmp_path / "broken").unlink()
    assert harness.try_(study, ["loss=touchy"], folder=folder, workers=1, max_seeds=3).why != "failed"


def test_a_study_runs_where_it_was_tried_before(study: Study, tmp_path: Path) -> None:
    harness.try_(study, [UNCLEAR], max_seeds=3, folder=tmp_path / "small" / "tries", workers=1)
    assert len(harness.run(study, tmp_path / "small", workers=1).trials) == 2
    assert results.folder_with("best", tmp_path) == tmp_path / "small"


def test_a_try_that_is_killed_goes_on_to_the_same_answer(tmp_path: Path) -> None:
    tables = {"study": {"name": "s"}, "baseline": {"dataset": "digits", "hidden": [16], "epochs": 2}}
    (tmp_path / "s.toml").write_text(tomli_w.dumps(tables))
    command = [sys.executable, "-m", "harness", "try", "s.toml", "--set", UNCLEAR, "--max-seeds", "7"]
    command += ["--workers", "1", "--results"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(harness.__file__).parents[1])}
    killed = subprocess.Popen(
        [*command, "killed"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    with killed:
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.startswith("5 seeds"):
                break
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    study = harness.load(tmp_path / "s.toml")
    tries = [
        harness.try_(study, [UNCLEAR], max_seeds=7, folder=tmp_path / name, workers=1)
        for name in ("killed", "whole")
    ]
    assert [one.trained.trials for one in tries][1] == 14
    assert tries[0].trained.trials <= 4
    pd.testing.assert_frame_equal(tries[0].values, tries[1].values)
    assert tries[0].last.p == tries[1].last.p


# ------------------------------------------------------------------------------------------ what is a change


LINKED = {
    "lr": [0.1, 0.2],
    "output": [
        {"name": "logits + CE", "head": "identity", "loss": "ce"},
        {"name": "softmax + MSE", "head": "softmax", "loss": "mse"},
    ],
}


def test_the_baseline_of_a_grid_has_the_reference_level_of_each_axis(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    grid = study_of(axes={**LINKED, "lr": [0.2, 0.3]})
    prepared = trying.prepared(grid, ["output=softmax + MSE"], folder=tmp_path / "tries")
    assert prepared.asked.study.baseline["lr"] == 0.2
    assert prepared.asked.study.baseline["loss"] == "ce"
    assert dict(prepared.asked.differences) == {"head": ("identity", "softmax"), "loss": ("ce", "mse")}
    assert prepared.asked.words == "head=softmax, loss=mse"


def test_defaults_that_go_along_are_told(study_of: Callable[..., Study], tmp_path: Path) -> None:
    prepared = trying.prepared(study_of(), ["optimizer=adam"], folder=tmp_path / "tries")
    lines = list(try_text.asked(prepared.asked, prepared.rules))
    assert "  optimizer: sgd -> adam" in lines
    assert "  lr: 0.1 -> 0.001, a default that goes along" in lines
    costly = trying.prepared(study_of(), ["epochs=3"], folder=tmp_path / "tries")
    assert costly.asked.costs == ["epochs"]
    steps = trying.prepared(study_of(), ["steps=30"], folder=tmp_path / "tries")
    assert dict(steps.asked.differences) == {"epochs": ("2", ""), "steps": ("", "30")}


REFUSED = {
    "lr=0.1": "lr is 0.1 already",
    "momentum=0.9": "momentum does not apply here",
    "lr=0.1,0.2": "--set lr has 2 values, 0.1; 0.2: a try has one",
    "lr": "allowed: KEY=VALUE",
    "learning_rate=0.1": "unknown setting",
    "lr=fast": 'baseline.lr = "fast": allowed: a valid number',
    "dataset=digits_writers": "arms are compared on the same val images",
    "val_fraction=0.2": "arms are compared on the same val images.*--base val_fraction=0.2",
    "split_seed=3": "arms are compared on the same val images",
    "seeds=5": "seeds is the study's; their number is --max-seeds",
    "study.seeds=5": "seeds is the study's",
    "resample_split=true": "resample_split is the study's",
    "tune.budget=3": "tune.budget is none of them",
    "loss=nll": "nll.*takes",
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_is_no_change_is_refused_before_anything_is_written(
    change: str, tried: Tried, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=REFUSED[change]):
        tried(change)
    assert not (tmp_path / "tries").exists()


OPTIONS: list[tuple[dict[str, object], str]] = [
    ({"max_seeds": 2}, "--max-seeds 2: allowed are 3 to 80; the first look is at 3 seeds"),
    ({"max_seeds": 81}, "make it a study"),
    ({"budget": "soon"}, "--budget 'soon': allowed is a time such as"),
    ({"budget": "0 s"}, "--budget '0 s'"),
    ({"budget": "5 epochs"}, "--budget '5 epochs'"),
    ({"margin": 0.0}, r"--margin 0\.0"),
    ({"margin": math.nan}, "--margin nan"),
    ({"alpha": 0.5}, r"--alpha 0\.5: allowed"),
    ({"alpha": math.nan}, "--alpha nan"),
    ({"family": 0}, "--family 0"),
    ({"metric": "test_accuracy"}, "test stays closed, since this is a choice"),
    ({"metric": "val_los"}, "val_loss"),
    ({"metric": "val_loss"}, "give the margin in its unit"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str, tried: Tried) -> None:
    with pytest.raises(UsageError, match=message):
        tried("lr=0.2", **options)


def test_studies_without_a_baseline_to_change_are_refused(
    tried: Tried, study_of: Callable[..., Study]
) -> None:
    search = harness.load("search")
    with pytest.raises(UsageError, match="study 'search' is a search"):
        tried("lr=0.2", of=search)
    two = study_of(axes={"dataset": ["digits", "digits_writers"]})
    with pytest.raises(
        UsageError, match=r"has 2 data sets \(digits, digits_writers\).*--base dataset=digits"
    ):
        tried("lr=0.2", of=two)
    with pytest.raises(UsageError, match="val_fraction = 0, so no val images"):
        tried("lr=0.2", of=study_of(val_fraction=0))
    with pytest.raises(UsageError, match=r"allowed is a list of one or more, such as --set lr=0\.2"):
        tried()
    with pytest.raises(UsageError, match="did you mean 'softmax \\+ MSE'"):
        tried("output=softmax + MS", of=study_of(axes=LINKED))
    with pytest.raises(UsageError, match="losses do not compare"):
        tried("loss=mse", metric="val_loss", margin=0.1)
