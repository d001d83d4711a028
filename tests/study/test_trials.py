"""Trials: the arms of each design, settings in canonical form, and who a trial is."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.study.trials
from harness.axes.activations import activations
from harness.axes.optimizers import optimizers
from harness.data.datasets import datasets
from harness.errors import UsageError
from harness.registry.digest import ComponentDigest
from harness.study.checker import known_settings
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.study.trials import Trial, arms, resolve, trials
from harness.text import as_text

Make = Callable[..., Study]
REFERENCE = Path(__file__).parents[2] / "results" / "reference"
OUTPUT: list[dict[str, Any]] = [
    {"name": "softmax + CE", "head": "identity", "loss": "ce"},
    {"name": "softmax + MSE", "head": "softmax", "loss": "mse", "lr": 0.5},
]


def only(baseline: dict[str, Any], seed: int = 0, name: str = "x") -> Trial:
    """The one trial of a study without axes."""
    ((trial,), _) = trials(parse({"study": {"name": name, "seeds": [seed]}, "baseline": baseline}))
    return trial


def identity(**settings: Any) -> str:
    return only({"dataset": "digits", **settings}).trial_id


# ---------------------------------------------------------------------------------------------------- designs


def test_a_grid_is_exactly_the_product(study_of: Make) -> None:
    axes = {"activation": ["relu", "tanh"], "batch_size": [16, 32, 64], "output": OUTPUT}
    found = list(arms(study_of(axes)))
    assert [arm.name for arm in found] == [
        f"activation={a}, batch_size={b}, {output['name']}"
        for a, b, output in itertools.product(["relu", "tanh"], [16, 32, 64], OUTPUT)
    ]
    for arm, (a, b, output) in zip(
        found, itertools.product(["relu", "tanh"], [16, 32, 64], OUTPUT), strict=True
    ):
        assert arm.settings["activation"] == a
        assert arm.settings["batch_size"] == b
        assert arm.labels == {"output": output["name"]}
        assert (arm.settings["head"], arm.settings["loss"]) == (output["head"], output["loss"])
        assert arm.settings["lr"] == output.get("lr", 0.1)
    everything, merged = trials(study_of(axes))
    assert len(everything) == 2 * 3 * 2 * 2
    assert merged == {}


def test_in_a_grid_an_axis_wins_over_the_baseline(study_of: Make) -> None:
    found = list(arms(study_of({"activation": ["tanh"]}, activation="relu")))
    assert [arm.settings["activation"] for arm in found] == ["tanh"]


def test_a_study_without_axes_is_its_baseline(study_of: Make) -> None:
    assert [arm.name for arm in arms(study_of())] == ["baseline"]


def test_one_factor_is_the_baseline_and_each_axis_alone(study_of: Make) -> None:
    study = study_of(
        {"activation": ["relu", "tanh"], "batch_size": [32, 64], "output": OUTPUT},
        study={"design": "one-factor"}, activation="relu",
    )  # fmt: skip
    everything, merged = trials(study)
    names = list(dict.fromkeys(trial.arm.name for trial in everything))
    assert names == ["baseline", "activation=tanh", "batch_size=64", "softmax + MSE"]
    assert merged == {"baseline": ["activation=relu", "batch_size=32", "softmax + CE"]}
    reference = everything[0].arm.settings
    for trial in everything:
        changed = {key for key in reference if trial.arm.settings.get(key) != reference[key]}
        assert changed == {
            "baseline": set(), "activation=tanh": {"activation"}, "batch_size=64": {"batch_size"},
            "softmax + MSE": {"head", "loss", "lr"},
        }[trial.arm.name]  # fmt: skip
    assert [arm.labels["output"] for arm in arms(study)] == ["baseline"] * 5 + [
        "softmax + CE",
        "softmax + MSE",
    ]


def test_a_ladder_adds_step_to_step(study_of: Make) -> None:
    steps: list[Any] = [
        {"name": "ReLU", "activation": "relu"},
        {"name": "Adam", "optimizer": "adam"},
        {"name": "nothing"},
        {"name": "wide, slow", "hidden": [32], "lr": 1e-4},
    ]
    everything, merged = trials(
        study_of(steps=steps, study={"design": "ladder", "seeds": 1}, activation="tanh")
    )
    assert merged == {"Adam": ["nothing"]}
    seen = [
        (t.arm.name, *map(t.arm.settings.get, ("activation", "optimizer", "hidden", "lr")))
        for t in everything
    ]
    assert seen == [
        ("baseline", "tanh", "sgd", [8], 0.1),
        ("ReLU", "relu", "sgd", [8], 0.1),
        ("Adam", "relu", "adam", [8], 0.001),
        ("wide, slow", "relu", "adam", [32], 1e-4),
    ]


def test_values_that_read_alike_are_two_arms_or_an_error(study_of: Make) -> None:
    with pytest.raises(UsageError, match=r"two different arms are both called 'lr=0\.1'"):
        trials(study_of({"lr": [0.1, 0.1 + 1e-15]}))


@given(st.data())
def test_any_grid_is_its_product(data: st.DataObject) -> None:
    axes = {
        "activation": data.draw(st.lists(st.sampled_from(["relu", "tanh", "gelu"]), min_size=1, unique=True)),
        "batch_size": data.draw(st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True)),
        "weight_decay": data.draw(st.lists(st.sampled_from([0, 0.1, 0.2]), min_size=1, unique=True)),
    }
    seeds = data.draw(st.integers(1, 3))
    study = parse({"study": {"name": "x", "seeds": seeds}, "baseline": {"dataset": "digits"}, "axes": axes})
    everything, merged = trials(study)
    got = {(t.seed, *(t.arm.settings[axis] for axis in axes)) for t in everything}
    assert got == set(itertools.product(range(seeds), *axes.values()))
    assert len(everything) == len(got)
    assert not merged
    assert len({trial.trial_id for trial in everything}) == len(everything)


# --------------------------------------------------------------------------------------------- canonical form


def test_defaults_are_resolved() -> None:
    assert resolve({}) == {
        "dataset": "mnist", "preprocessing": "unit", "val_fraction": 0.1, "val_split": "stratified",
        "split_seed": 0, "architecture": "mlp", "hidden": [32, 32], "activation": "relu", "head": "identity",
        "loss": "ce", "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant",
        "batch_size": 32, "epochs": 5, "sampling": "shuffle", "match": "kind", "eval_every": "1 epoch",
        "label_noise": 0.0, "label_smoothing": 0.0, "augmentation": "none", "dropout": 0.0, "norm": "none",
        "skip": False, "initial_weights": "uniform_fan_in",
    }  # fmt: skip


@pytest.mark.parametrize("optimizer", [entry.name for entry in optimizers])
def test_lr_is_the_optimizers_own_unless_given(optimizer: str) -> None:
    own = optimizers[optimizer].settings["lr"].default
    assert resolve({"optimizer": optimizer})["lr"] == own
    assert resolve({"optimizer": optimizer, "lr": 0.25})["lr"] == 0.25


def test_the_weight_of_ccql_is_by_the_number_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve({"dataset": "digits", "loss": "ccql"})["ccql_weight"] == 2.0
    facts = dataclasses.replace(datasets["digits"].facts, classes=("a", "b", "c", "d", "e"))
    monkeypatch.setitem(
        datasets._entries,
        "digits",
        dataclasses.replace(
            datasets.entry("digits"), component=dataclasses.replace(datasets["digits"], known=facts)
        ),
    )
    assert resolve({"dataset": "digits", "loss": "ccql"})["ccql_weight"] == 1.0
    assert resolve({"dataset": "digits", "loss": "ccql", "ccql_weight": 3.0})["ccql_weight"] == 3.0


def test_settings_that_do_not_apply_are_left_out() -> None:
    assert "momentum" not in resolve({"optimizer": "adam", "momentum": 0.9})
    assert "betas" not in resolve({"optimizer": "sgd", "betas": [0.9, 0.99]})
    assert "gamma" not in resolve({"schedule": "linear", "gamma": 0.5})
    assert "ccql_weight" not in resolve({"loss": "ce", "ccql_weight": 1.0})
    assert "epochs" not in resolve({"steps": 10})
    assert "activation" not in resolve({"hidden": [], "activation": "tanh"})
    assert not {"val_split", "split_seed"} & resolve({"val_fraction": 0.0, "split_seed": 3}).keys()
    usual, given = (resolve({"dataset": "digits_writers", **more}) for more in ({}, {"val_split": "random"}))
    assert (usual.val_split, usual.val_fraction, given.val_split) == ("blocks", 0.3, "random")
    assert resolve({"dataset": "digits"}).val_split == "stratified"
    assert "label_noise_seed" not in resolve({"label_noise_seed": 3})
    assert "dropout" not in resolve({"hidden": [], "dropout": 0.5})


def test_values_as_text() -> None:
    values = [None, True, 0.1, 1.0, 1e-08, 16, [32, 32], [0.9, 0.999], "relu"]
    texts = ["", "true", "0.1", "1", "1e-08", "16", "[32, 32]", "[0.9, 0.999]", "relu"]
    assert [as_text(value) for value in values] == texts


# --------------------------------------------------------------------------------------------- who a trial is


def test_known_trials_keep_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids in every results folder: if they change, SEMANTICS must say why, and nothing else."""
    assert identity() == "tb597377f5a2e"
    assert only({}, seed=7).trial_id == "tcf9fbbe5befe"
    monkeypatch.setattr(harness.study.trials, "SEMANTICS", 1)
    assert identity() == "tc250378bdc60"
    assert only({}, seed=7).trial_id == "te0feddc423f5"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lr": 1}, {"lr": 1.0}),
        ({}, {"lr": 0.1, "activation": "relu", "batch_size": 32}),
        ({}, {"momentum": 0.5, "betas": [0.5, 0.5], "gamma": 0.3, "ccql_weight": 7}),
        ({}, {"match": "ignore"}),
        ({"loss": "ccql"}, {"loss": "ccql", "ccql_weight": 2}),
        ({"eval_every": 1}, {"eval_every": "1 epochs"}),
        ({"hidden": []}, {"hidden": [], "activation": "tanh"}),
        ({"val_fraction": 0}, {"val_fraction": 0.0, "split_seed": 4, "val_split": "random"}),
        ({"optimizer": "adam"}, {"optimizer": "adam", "betas": [0.9, 0.999], "amsgrad": False, "eps": 1e-8}),
        ({"weight_decay": 0.0}, {"weight_decay": -0.0}),
        ({}, {"label_noise": 0.0, "label_noise_seed": 3}),
        ({}, {"dropout": 0, "label_smoothing": -0.0}),
        ({"hidden": []}, {"hidden": [], "dropout": 0.5}),
        ({}, {"augmentation": "none", "shift_pixels": 3}),
        ({"augmentation": "shift"}, {"augmentation": "shift", "shift_pixels": 2, "mixup_alpha": 0.3}),
    ],
)
def test_two_spellings_of_a_trial_have_one_id(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert identity(**one) == identity(**other)


@pytest.mark.parametrize(
    "changed",
    [
        {"lr": 0.2}, {"lr": 0.1 + 1e-12}, {"dataset": "mnist"}, {"activation": "tanh"}, {"optimizer": "adam"},
        {"optimizer": "momentum", "lr": 0.1}, {"schedule": "linear"}, {"hidden": [32]}, {"hidden": []},
        {"epochs": 4}, {"steps": 205}, {"batch_size": 16}, {"sampling": "sequential"}, {"split_seed": 1},
        {"val_fraction": 0.2}, {"val_fraction": 0}, {"val_split": "random"}, {"preprocessing": "raw"},
        {"loss": "mse"}, {"head": "softmax"}, {"weight_decay": 0.1}, {"eval_every": "2 epochs"},
        {"loss": "nll", "match": "ignore"}, {"label_noise": 0.1},
        {"dropout": 0.1}, {"label_smoothing": 0.1}, {"augmentation": "flip"}, {"augmentation": "shift"},
    ],
)  # fmt: skip
def test_settings_that_decide_results_decide_the_id(changed: dict[str, Any]) -> None:
    assert identity(**changed) != identity()


def test_ids_are_those_of_before_label_noise_dropout_and_smoothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 720 trials that were trained on 2026-11-21: the SHA-256 of their ids, line by line."""
    monkeypatch.setattr(harness.study.trials, "SEMANTICS", 1)  # of that day
    ids = [trial.trial_id for trial in trials(load(REFERENCE / "choices" / "study.toml"))[0]]
    assert len(ids) == 720
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == "fc0fcd53d48a92b3"


def test_match_counts_where_kinds_do_not_fit() -> None:
    assert identity(loss="nll", match="ignore") != identity(loss="nll")


def test_seed_data_and_source_decide_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    known = identity()
    assert only({"dataset": "digits"}, seed=1).trial_id != known
    entry = activations.entry("relu")
    with monkeypatch.context() as patch:
        patch.setitem(
            activations._entries,
            "relu",
            dataclasses.replace(entry, take_digest=lambda: ComponentDigest("f" * 64)),
        )
        assert identity() != known
        assert identity(activation="tanh") == only({"dataset": "digits", "activation": "tanh"}).trial_id
    digits = datasets.entry("digits")
    facts = dataclasses.replace(digits.component.facts, digest="f" * 64)
    other = dataclasses.replace(digits, component=dataclasses.replace(digits.component, known=facts))
    monkeypatch.setitem(datasets._entries, "digits", other)
    assert identity() != known


def test_the_studys_name_and_design_do_not_decide_the_id(study_of: Make) -> None:
    grid, _ = trials(study_of({"lr": [0.1, 0.2]}))
    factor, _ = trials(study_of({"lr": [0.1, 0.2]}, study={"design": "one-factor", "name": "other"}))
    ladder, _ = trials(
        study_of(steps=[{"name": "fast", "lr": 0.2}], study={"design": "ladder", "hypothesis": "?"})
    )
    assert [t.trial_id for t in grid] == [t.trial_id for t in factor] == [t.trial_id for t in ladder]


@given(st.permutations(["lr", "activation", "batch_size", "hidden", "optimizer"]))
def test_the_order_of_settings_does_not_decide_the_id(order: list[str]) -> None:
    values = {"lr": 0.1, "activation": "relu", "batch_size": 32, "hidden": [32, 32], "optimizer": "sgd"}
    assert identity(**{name: values[name] for name in order}) == identity()


@given(st.sampled_from([entry.name for entry in optimizers]), st.data())
def test_naming_every_default_changes_nothing(optimizer: str, data: st.DataObject) -> None:
    resolved = resolve({"dataset": "digits", "optimizer": optimizer})
    named = data.draw(st.sets(st.sampled_from(sorted(resolved))))
    given_ = {name: resolved[name] for name in named} | {"optimizer": optimizer}
    assert identity(**given_) == identity(optimizer=optimizer)


def test_no_csv_reader_takes_an_id_for_a_number() -> None:
    for seed in range(200):
        trial_id = only({}, seed=seed).trial_id
        assert trial_id[0] == "t"
        assert len(trial_id) == 13
        with pytest.raises(ValueError, match="could not convert"):
            float(trial_id)


def test_a_resampled_split_goes_with_the_seed(study_of: Make) -> None:
    everything, _ = trials(study_of(study={"resample_split": True, "seeds": [3, 5]}))
    assert [trial.arm.settings["split_seed"] for trial in everything] == [3, 5]
    plain, _ = trials(study_of(study={"seeds": [3, 5]}))
    assert not {t.trial_id for t in plain} & {t.trial_id for t in everything}


def test_settings_have_one_default_each() -> None:
    known = known_settings()
    assert {"lr", "momentum", "betas", "gamma", "hidden", "ccql_weight"} <= known.keys()
    for name, value in resolve({"dataset": "digits"}).items():
        assert known[name].check(value) == value


def test_the_default_study_is_large_enough() -> None:
    everything, merged = trials(load("choices"))
    assert len(everything) == 720
    assert not merged


def test_a_data_set_is_read_only_where_a_default_depends_on_its_classes() -> None:
    assert resolve({"dataset": "gone", "loss": "ce"}).dataset == "gone"
    with pytest.raises(UsageError, match="unknown dataset 'gone'"):
        resolve({"dataset": "gone", "loss": "ccql"})
