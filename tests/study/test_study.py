"""Studies: what a file and its overrides mean. Refusals are tested in tests/cli/test_main.py."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.axes import plugins
from harness.errors import UsageError
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.study.trials import arms, trials

LINKED: dict[str, Any] = {
    "study": {"name": "linked", "seeds": 2},
    "baseline": {"dataset": "digits", "lr": 0.3},
    "axes": {
        "activation": ["relu", "tanh"],
        "output": [
            {"name": "softmax + CE", "head": "identity", "loss": "ce"},
            {"name": "16", "head": "softmax", "loss": "mse", "lr": 0.5},
        ],
    },
}
LADDER: dict[str, Any] = {
    "study": {"name": "ladder", "design": "ladder"},
    "baseline": {"dataset": "digits", "activation": "sigmoid"},
    "steps": [{"name": "ReLU", "activation": "relu"}, {"name": "Adam", "optimizer": "adam"}],
}


def test_defaults_are_the_designs() -> None:
    study = parse({"study": {"name": "empty"}})
    assert study.about.design == "grid"
    assert study.about.seeds == [0, 1, 2]
    assert study.about.keep_predictions == ["test"]
    assert study.about.keep_weights == "best"
    assert (study.baseline, study.axes, study.steps, study.linked_axes) == ({}, {}, [], [])


def test_seeds_are_a_count_or_a_list() -> None:
    assert parse({"study": {"name": "x", "seeds": 3}}).about.seeds == [0, 1, 2]
    assert parse({"study": {"name": "x", "seeds": [7, 3]}}).about.seeds == [7, 3]


@pytest.mark.parametrize(
    ("overrides", "baseline", "axes"),
    [
        (["batch_size=16"], {"batch_size": 16}, {}),
        (["gamma=1"], {"gamma": 1.0}, {}),
        (["hidden=[64, 64]"], {"hidden": [64, 64]}, {}),
        (["hidden=[64],[32]"], {}, {"hidden": [[64], [32]]}),
        (["activation=gelu"], {}, {"activation": ["gelu"]}),
        (["activation=gelu, elu"], {}, {"activation": ["gelu", "elu"]}),
        (["batch_size=16,32"], {}, {"batch_size": [16, 32]}),
        (["eval_every=50 steps"], {"eval_every": "50 steps"}, {}),
        (["eval_every=2"], {"eval_every": "2 epochs"}, {}),
        (["steps=100"], {"steps": 100}, {}),
        (["output=16"], {}, {"output": [LINKED["axes"]["output"][1]]}),
        (["output=16,softmax + CE"], {}, {"output": LINKED["axes"]["output"][::-1]}),
        (["lr=0.05"], {"lr": 0.05}, {}),
    ],
)
def test_overrides_change_values_and_axes(
    overrides: list[str], baseline: dict[str, Any], axes: dict[str, Any]
) -> None:
    study, before = parse(LINKED, overrides), copy.deepcopy(LINKED)
    assert study.baseline == LINKED["baseline"] | baseline
    assert study.axes == LINKED["axes"] | axes
    assert before == LINKED


def test_overrides_change_the_study_table() -> None:
    study = parse(
        LINKED, ["seeds=4", "design=one-factor", "name=other", 'keep_predictions=["train", "test"]']
    )
    assert (study.about.seeds, study.about.design, study.name) == ([0, 1, 2, 3], "one-factor", "other")
    assert study.about.keep_predictions == ["train", "test"]
    assert parse(LINKED, ["seeds=5,9"]).about.seeds == [5, 9]


def test_an_overridden_budget_replaces_the_other() -> None:
    tables = {"study": {"name": "x"}, "baseline": {"epochs": 5}}
    assert parse(tables, ["steps=100"]).baseline == {"steps": 100}
    assert parse({**tables, "baseline": {"steps": 5}}, ["epochs=2"]).baseline == {"epochs": 2}


def test_in_a_one_factor_design_a_single_value_is_the_reference() -> None:
    tables = LINKED | {"study": {"name": "x", "design": "one-factor"}}
    study = parse(tables, ["activation=sigmoid", "loss=ql"])
    assert study.baseline == {"dataset": "digits", "lr": 0.3, "activation": "sigmoid", "loss": "ql"}
    assert study.axes == LINKED["axes"]


def test_values_come_out_in_canonical_form() -> None:
    study = parse(
        {"study": {"name": "x"}, "baseline": {"lr": 1, "eval_every": 1}, "axes": {"gamma": [1, 0.5]}}
    )
    assert study.baseline == {"lr": 1.0, "eval_every": "1 epoch"}
    assert isinstance(study.baseline["lr"], float)
    assert all(isinstance(value, float) for value in study.axes["gamma"])


@pytest.mark.parametrize("tables", [LINKED, LADDER])
def test_tables_written_down_mean_the_same_study(tables: dict[str, Any], tmp_path: Path) -> None:
    study = parse(tables)
    path = tmp_path / "study.toml"
    path.write_bytes(tomli_w.dumps(study.tables()).encode())
    again = load(path)
    assert (again.about, again.baseline, again.axes) == (study.about, study.baseline, study.axes)
    assert list(again.steps) == list(study.steps)
    assert trials(again) == trials(study)


settings = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.floats(1e-6, 10) | st.integers(1, 3),
        "momentum": st.floats(0, 0.99),
        "weight_decay": st.floats(0, 1),
        "hidden": st.lists(st.integers(1, 9), max_size=3),
        "activation": st.sampled_from(["relu", "tanh"]),
        "optimizer": st.sampled_from(["sgd", "momentum", "adam"]),
        "betas": st.lists(st.floats(0, 0.99), min_size=2, max_size=2),
        "eval_every": st.integers(1, 9) | st.sampled_from(["1 epoch", "7 steps"]),
        "val_fraction": st.just(0) | st.floats(0.01, 0.9),
        "batch_size": st.integers(1, 100),
    },
)


@given(settings, st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True))
def test_any_study_survives_being_written_down(baseline: dict[str, Any], seeds: list[int]) -> None:
    study = parse({"study": {"name": "x", "seeds": seeds}, "baseline": {"dataset": "digits", **baseline}})
    assert parse(study.tables()) == study
    assert [t.trial_id for t in trials(parse(study.tables()))[0]] == [t.trial_id for t in trials(study)[0]]


def test_a_study_is_found_by_name_beside_one_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("choices").path is not None
    monkeypatch.chdir(tmp_path)
    assert load("choices").name == "choices"
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations/choices.toml").write_text('[study]\nname = "mine"\n')
    assert load("choices").name == "mine"


# ---------------------------------------------------------------------------------------------------- plugins

PLUGIN = """
from harness.axes.activations import activations
from harness.axes.losses import losses

@activations.register("mine")
def mine(x):
    '''Half.'''
    return x / 2

@losses.register("owned", takes="logits")
def owned(z, target, *, softness=1.5):
    '''Cross-entropy of softer logits.'''
    return (z / softness).logsumexp(-1) - (target * z / softness).sum(-1)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """A plugin file, whose components are gone afterwards."""
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    yield path
    for axis, registry in plugins.catalogue().items():
        registry._entries.clear()
        registry._entries.update(before[axis])


def with_plugin(folder: Path, overrides: list[str]) -> Study:
    (folder / "study.toml").write_text('[study]\nname = "mine"\nseeds = 1\n[baseline]\ndataset = "digits"\n')
    return load(folder / "study.toml", overrides)


def test_a_plugin_named_by_an_override_is_loaded(plugin: Path) -> None:
    study = with_plugin(plugin.parent, ['plugins=["mine.py"]', "activation=mine", "loss=owned", "softness=2"])
    assert study.baseline == {"dataset": "digits", "activation": "mine", "loss": "owned", "softness": 2.0}
    (arm,) = arms(study)
    assert arm.settings["softness"] == 2.0
    with pytest.raises(UsageError, match=r'softness = "soft": allowed: a valid number'):
        with_plugin(plugin.parent, ['plugins=["mine.py"]', "loss=owned", "softness=soft"])


def test_files_under_the_current_folder_are_named_from_where_the_study_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "nothing.py").write_text('"""No component."""\n')
    (tmp_path / "studies" / "own.toml").write_text('[study]\nname = "own"\nplugins = ["nothing.py"]\n')
    monkeypatch.chdir(tmp_path)
    study = load("studies/own.toml")
    written = study.tables(Path("results/own"))["study"]["plugins"]
    assert written == ["../../studies/nothing.py"]
    elsewhere = study.tables(tmp_path.parent / "elsewhere")["study"]["plugins"]
    assert elsewhere == [(tmp_path / "studies" / "nothing.py").as_posix()]
    assert study.tables()["study"]["plugins"] == elsewhere
    (tmp_path / "results" / "own").mkdir(parents=True)
    (tmp_path / "results" / "own" / "study.toml").write_bytes(
        tomli_w.dumps(study.tables(Path("results/own"))).encode()
    )
    assert load("results/own/study.toml").about.plugins == written


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ("choices", "harness.load('choices')"),
        ({"study": {}}, "harness.parse(TABLES)"),
        (None, "harness.load(FILE)"),
    ],
)
@pytest.mark.parametrize("public", ["plan", "run", "search"])
def test_what_is_no_study_is_told_what_makes_one(public: str, wrong: Any, advice: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"a study is needed: {advice} makes one")):
        getattr(harness, public)(wrong)
