"""A person's own Optuna study, or optimizer, whose suggestions are trained as stacks."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import harness
from harness import results
from harness.errors import UsageError
from harness.searching import loop, own_studies, rounds
from harness.study.study import Study, parse

TABLES: dict[str, Any] = {
    "study": {"name": "mine", "design": "search", "seeds": 2},
    "baseline": {"dataset": "digits", "hidden": [8], "epochs": 3, "batch_size": 64},
    "search": {"suggestions": 6, "batch": 4},
    "space": {
        "lr": {"low": 1e-3, "high": 1.0, "log": True},
        "activation": ["relu", "tanh"],
        "optimizer": ["sgd", "momentum"],
        "momentum": {"low": 0.5, "high": 0.9},
    },
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def space(search: dict[str, Any] | None = None, **entries: Any) -> Study:
    given = entries or TABLES["space"]
    return parse(TABLES | {"space": given, "search": TABLES["search"] | (search or {})})


def new_study(seed: int = 0, pruner: optuna.pruners.BasePruner | None = None, **how: Any) -> optuna.Study:
    sampler = how.pop("sampler", optuna.samplers.RandomSampler(seed=seed))
    pruner = pruner or optuna.pruners.NopPruner()
    return optuna.create_study(**{"direction": "maximize", "sampler": sampler, "pruner": pruner, **how})


def stacked(study: optuna.Study | None, folder: Path, given: Study | None = None) -> harness.StackedStudy:
    return harness.StackedStudy(study, given or space(), folder / "mine", workers=1)


def test_an_own_study_is_evaluated_by_stacks(tmp_path: Path) -> None:
    study = new_study()
    frame = stacked(study, tmp_path).optimize(6, batch=4)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    assert frame["trial"].tolist() == list(range(6))
    assert frame["val_accuracy"].tolist() == [trial.value for trial in study.trials]
    assert frame["lr"].tolist() == [trial.params["lr"] for trial in study.trials]
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        assert trial.intermediate_values[3] == trial.value
    rows = results.read(tmp_path / "mine").trials.set_index("arm")
    for _, told in frame.iterrows():
        assert rows.loc[told["arm"], "val_accuracy"] == pytest.approx(told["val_accuracy"], abs=1e-6)
    suggestions = pd.read_csv(tmp_path / "mine" / "suggestions.csv")
    assert suggestions["batch"].tolist() == [0, 0, 0, 0, 1, 1]
