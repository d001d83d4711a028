"""`harness search` against `study.optimize` over the labs' loop, and that both do the same work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import optuna_loop
import pytest
import search_speed
import torch
from labs_loop import in_memory
from optuna.distributions import CategoricalDistribution
from search_speed import Contest
from torch.utils.data import TensorDataset

from harness import results
from harness.searching import draws
from harness.training import runs

MODEST = {
    "optimizer": "momentum", "activation": "relu", "schedule": "linear", "hidden.depth": 2,
    "hidden.width.1": 128, "hidden.width.2": 64, "batch_size": 64, "lr": 0.03, "momentum": 0.9,
    "dropout": 0.1,
}  # fmt: skip
EXPECTED = 0.875  # of MODEST on val, about


def as_declared(drawn: optuna.distributions.BaseDistribution) -> optuna.distributions.BaseDistribution:
    """A distribution whose choices are text, as a study file's are."""
    if isinstance(drawn, CategoricalDistribution):
        return CategoricalDistribution([str(choice) for choice in drawn.choices])
    return drawn


def test_both_search_the_same_space() -> None:
    splits = in_memory("fashion_mnist")[:2]
    train, val = (TensorDataset(*(tensor[:256] for tensor in data.tensors)) for data in splits)
    by_hand = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    by_hand.optimize(lambda trial: optuna_loop.objective(trial, train, val, "slices"), n_trials=30)
    contest = Contest(Path())
    space = contest.study().space
    assert space is not None
    declared = {p.name: draws.distribution(p.values) for p in space.parameters}
    drawn = {name: own for trial in by_hand.trials for name, own in trial.distributions.items()}
    assert {name: as_declared(own) for name, own in drawn.items()} == declared
    for trial in by_hand.trials:  # momentum and widths where they apply, and nowhere else
        settings = search_speed.settings_of(contest, trial.params)
        assert ("momentum" in settings) == ("momentum" in trial.params)
        assert len(settings["hidden"]) == trial.params["hidden.depth"]  # type: ignore[arg-type]


@pytest.mark.parametrize("feed", ["DataLoader", "slices"])
def test_both_train_a_suggestion_alike(tmp_path: Path, feed: optuna_loop.Feed) -> None:
    torch.manual_seed(0)
    train, val = in_memory("fashion_mnist")[:2]
    by_hand = optuna_loop.objective(optuna.trial.FixedTrial(MODEST), train, val, feed)
    contest = Contest(tmp_path)
    study = contest.study("seeds=1").in_phase(
        "confirmed", {"modest": search_speed.settings_of(contest, MODEST)}
    )
    runs.train(study, tmp_path / "ours")
    ours = results.read(tmp_path / "ours").trials["val_accuracy"].item()
    assert abs(ours - EXPECTED) < 0.02
    assert abs(by_hand - EXPECTED) < 0.02


def test_search_against_study_optimize(
    benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contest = Contest(tmp_path, repeats=2)
    with capsys.disabled():
        rows = benchmark.pedantic(search_speed.run, args=(contest,), rounds=1)
        search_speed.show(rows)
    ours = rows[rows["search"] == search_speed.HARNESS]
    assert ours["suggestions"].tolist() == [contest.suggestions] * contest.repeats
    theirs = rows[rows["search"] != search_speed.HARNESS]
    assert (theirs["suggestions"] > 0).all()
    ratios = ours.set_index("repeat")["suggestions_per_hour"] / theirs.pivot_table(
        index="repeat", columns="search", values="suggestions_per_hour"
    ).max(axis=1)
    benchmark.extra_info["ratios"] = ratios.tolist()
