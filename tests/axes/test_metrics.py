"""Metrics: their values, how they are averaged, which are tracked, and where they are written."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from harness import results
from harness.axes import formulas
from harness.axes.heads import heads, probabilities, probability
from harness.axes.metrics import metrics
from harness.check import component
from harness.check.components import metric_fault
from harness.data.samples import SPLITS, prepare
from harness.engines import loop
from harness.engines import numpy_engine as by_hand
from harness.engines import stack_engine as engine
from harness.engines.base import EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.stacked import engine as in_pytorch
from harness.engines.stacked import network, outputs
from harness.errors import UsageError
from harness.planning import grouping, plan
from harness.planning.stack import Engine
from harness.study.reading import load
from harness.study.study import Study
from harness.study.trials import Trial, trials
from harness.training import progress, runs

if TYPE_CHECKING:
    from torch import Tensor

Make = Callable[..., Study]
OWN = [entry.name for entry in metrics]
HALVES = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1], [0.25] * 4], dtype=torch.float64)
"""Probabilities of three samples; the true class of each is given beside them."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = dict(metrics._entries)
    yield
    metrics._entries.clear()
    metrics._entries.update(before)


def values(name: str, labels: list[int]) -> list[float]:
    target = torch.nn.functional.one_hot(torch.tensor(labels), 4).double()
    got = metrics[name].function(HALVES, target).double()
    by_numpy = formulas.METRICS[name](HALVES.numpy(), target.numpy())
    np.testing.assert_allclose(by_numpy, got.numpy(), rtol=1e-12)
    return got.tolist()


# --------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(("labels", "expected"), [([2, 1, 2], [1, 1, 1]), ([3, 3, 3], [0, 0, 0])])
def test_top3_counts_the_first_of_equals(labels: list[int], expected: list[float]) -> None:
    assert values("top3", labels) == expected


def test_top3_counts_nan_as_a_miss() -> None:
    p = torch.full((1, 10), torch.nan)
    assert not metrics["top3"].function(p, torch.eye(10)[:1]).any()


def test_top3_is_torchs_own() -> None:
    p = torch.randn(500, 10, generator=torch.Generator().manual_seed(0)).softmax(-1)
    y = torch.arange(500) % 10
    expected = (p.topk(3).indices == y[:, None]).any(-1)
    assert torch.equal(metrics["top3"].function(p, torch.eye(10)[y]), expected)


def test_probability_and_briers_score_have_the_worked_values() -> None:
    assert values("true_probability", [0, 1, 3]) == pytest.approx([0.4, 0.1, 0.25])
    assert values("nll", [0, 1, 3]) == pytest.approx([math.log(2.5), math.log(10), math.log(4)])
    assert values("brier", [0, 1, 3]) == pytest.approx([0.36 + 0.09 + 0.04 + 0.01, 0.49 + 0.81 + 0.02, 0.75])


@pytest.mark.parametrize("head", [entry.name for entry in heads])
def test_probabilities_are_those_that_confidence_is_taken_from(head: str) -> None:
    z = torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f = heads[head].forward(z)
    chosen, p = f.argmax(-1), probabilities(heads[head], f)
    torch.testing.assert_close(p.sum(-1), torch.ones(3, 7, dtype=torch.float64))
    at = p.gather(-1, chosen[..., None])[..., 0]
    torch.testing.assert_close(at, probability(heads[head], f, chosen))
    np.testing.assert_allclose(
        by_hand.probabilities(heads[head].kind, f[0].numpy()), p[0].numpy(), rtol=1e-12
    )


# -------------------------------------------------------------------------------------------------- averages

OUTPUTS = [
    {"name": "ce", "head": "identity", "loss": "ce"},
    {"name": "log", "head": "log_softmax", "loss": "nll"},
    {"name": "softmax", "head": "softmax", "loss": "mse"},
    {"name": "sigmoid", "head": "sigmoid", "loss": "mse"},
]


def outcomes(study: Study) -> tuple[list[Trial], Outcome, dict[str, list[Outcome]]]:
    """A seed's trials in float64: as a stack, and one by one by the two other engines."""
    options, dtype = EngineOptions(metrics=OWN), np.float64
    members = [trial for trial in trials(study)[0] if trial.seed == 0]
    members.sort(key=grouping.order)
    data = prepare(members[0].arm.settings, dtype)
    alone = {
        module.__name__: [module.train([trial], data, dtype=dtype, options=options) for trial in members]
        for module in (loop, by_hand)
    }
    return members, engine.train(members, data, dtype=dtype, options=options), alone


def test_engines_measure_the_same_and_a_short_last_chunk_counts_by_its_samples(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1,293, 144 and 360 images in chunks of 64 (stacked) and of 100: each ends with a short one.
    monkeypatch.setattr(network, "EVALUATED_AT_ONCE", 1)
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 100)
    monkeypatch.setattr(by_hand, "EVALUATION_BATCH", 100)
    study = study_of({"output": OUTPUTS, "activation": ["relu", "tanh"]}, epochs=1)
    members, together, alone = outcomes(study)
    for name in OWN:
        for split in SPLITS:
            got = together.final[split].metrics[name]
            assert got.shape == (len(members),)
            for others in alone.values():
                each = [float(other.final[split].metrics[name][0]) for other in others]
                np.testing.assert_allclose(each, got, rtol=1e-9)
        last = [point for point in together.curve if point.split == "val"][-1]
        np.testing.assert_array_equal(last.metrics[name], together.final["val"].metrics[name])


def test_a_metrics_mean_equals_the_one_from_the_weights(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "EVALUATED_AT_ONCE", 1)
    (trial,) = trials(study_of(epochs=1, study={"seeds": 1}))[0]
    data = prepare(trial.arm.settings, np.float64)
    outcome = engine.train([trial], data, dtype=np.float64, options=EngineOptions(metrics=OWN))
    w = outcome.weights[0]
    hidden = np.maximum(data.test.x @ w["0.weight"].T + w["0.bias"], 0)
    z = hidden @ w["1.weight"].T + w["1.bias"]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y, rows = data.test.y, np.arange(len(z))
    expected = {
        "top3": np.mean([y[i] in np.argsort(-p[i])[:3] for i in rows]),
        "true_probability": p[rows, y].mean(),
        "brier": ((p - np.eye(10)[y]) ** 2).sum(1).mean(),
    }
    assert len(y) % 64 != 0
    for name, value in expected.items():
        assert float(outcome.final["test"].metrics[name][0]) == pytest.approx(value, rel=1e-9)


def test_untracked_metrics_are_not_computed(study_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("probabilities of all classes were computed")

    monkeypatch.setattr(outputs, "probabilities", never)
    (trial,) = trials(study_of(epochs=1, study={"seeds": 1}))[0]
    data = prepare(trial.arm.settings)
    assert engine.train([trial], data).final["test"].metrics == {}  # compiled, where there is a compiler
    assert in_pytorch.train([trial], data).final["test"].metrics == {}
    with pytest.raises(AssertionError, match="probabilities of all classes"):
        in_pytorch.train([trial], data, options=EngineOptions(metrics=["brier"]))


# --------------------------------------------------------------------------------------- which are tracked

PLUGIN = """
from harness.axes.metrics import metrics

@metrics.register("margin")
def margin(p, target):
    '''The true class's probability less the largest other.'''
    return (p * target).sum(-1) - (p * (1 - target)).amax(-1)
"""


def study_with_plugin(folder: Path, metrics_line: str = "", **about: Any) -> Study:
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "study.toml").write_text(
        f'[study]\nname = "small"\nseeds = {about.get("seeds", 1)}\nplugins = ["mine.py"]\n{metrics_line}\n'
        '[baseline]\ndataset = "digits"\nepochs = 1\nhidden = [8]\n'
        '[axes]\noptimizer = ["sgd", "adam"]\n'
    )
    return load(folder / "study.toml")


def test_a_plugins_metric_is_tracked_without_a_second_line_and_only_there(
    study_of: Make, tmp_path: Path
) -> None:
    assert study_with_plugin(tmp_path).metrics == ("margin",)
    assert study_of().metrics == ()  # the file is another study's
    assert study_with_plugin(tmp_path, "metrics = []").metrics == ()
    listed = study_with_plugin(tmp_path, 'metrics = ["brier", "margin"]')
    assert listed.metrics == ("brier", "margin")
    assert load(tmp_path / "study.toml", ["metrics=top3"]).metrics == ("top3",)
    assert listed.tables()["study"]["metrics"] == ["brier", "margin"]


def test_metrics_of_notebooks_and_packages_are_tracked(study_of: Make) -> None:
    metrics.register("mine")(lambda p, target: (p * target).sum(-1))
    assert study_of().metrics == ("mine",)


def test_metrics_do_not_change_trial_ids(study_of: Make) -> None:
    ids = [
        [trial.trial_id for trial in trials(study_of(study={"metrics": names}))[0]]
        for names in ([], ["top3"])
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [(["tpo3"], r"study\.metrics: unknown metric 'tpo3'; did you mean 'top3'\? Allowed: brier, nll, top3, "),
     (["top3", "top3"], "a metric is listed twice"), (3, r"study\.metrics = 3: allowed")],
)  # fmt: skip
def test_an_invalid_list_of_metrics_is_refused(study_of: Make, given: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study_of(study={"metrics": given})


@pytest.mark.parametrize("name", ["loss", "accuracy", "lr", "fraction", "split", "epoch", "trial_id"])
def test_a_metric_named_like_a_column_is_refused(name: str, study_of: Make) -> None:
    def track() -> None:
        metrics.register(name)(lambda p, target: (p * target).sum(-1))
        study_of()  # known here only: a setting that a component declares

    with pytest.raises(UsageError, match=rf"metric '{name}'.* would be a second column '\w+'"):
        track()


def test_a_metric_name_unfit_for_a_column_or_taken_by_an_axis_is_refused(study_of: Make) -> None:
    with pytest.raises(UsageError, match=r"metric 'top 3'.*allowed: a letter"):
        metrics.register("top 3")(lambda p, target: (p * target).sum(-1))
    axis = {"brier": [{"name": "a", "lr": 0.1}, {"name": "b", "lr": 0.2}]}
    with pytest.raises(
        UsageError, match=r"metric 'brier' .* second column 'brier', which is a setting or an"
    ):
        study_of(axis, study={"metrics": ["brier"]})
    assert study_of(axis).metrics == ()


# ------------------------------------------------------------------------------------------------ contract


def first(p: Tensor, target: Tensor) -> Tensor:
    """Of the first sample alone."""
    return (p * target).sum(-1)[..., :1]


def over_all(p: Tensor, target: Tensor) -> Tensor:
    """As if there were no members in front."""
    return (p * target).sum(-1) / p.sum()


def unbounded(p: Tensor, target: Tensor) -> Tensor:
    """The logarithm of what is 0."""
    return ((p * 0).log() * target).sum(-1)


def flat(p: Tensor, target: Tensor) -> Tensor:
    """Rows by number: of a stack, its members."""
    return p[torch.arange(6), target.argmax(-1)]


@pytest.mark.parametrize(
    ("function", "words"),
    [(first, r"gives \(1,\) for probabilities \(6, 5\); one value a sample is \(6,\)"),
     (over_all, "treats a stack otherwise than its members"), (unbounded, "is not finite"),
     (flat, "raises IndexError"), (lambda p, target: 1.0, "gives float")],  # noqa: ARG005
)  # fmt: skip
def test_a_metric_that_breaks_the_contract_is_refused_before_training(
    function: Callable[..., Any], words: str, study_of: Make
) -> None:
    function.__doc__ = function.__doc__ or "Documented."
    metrics.register("mine")(function)
    assert re.search(f"metric 'mine' .*{words}", "".join(component("metric", "mine").problems))
    with pytest.raises(UsageError, match=rf"metric 'mine' \(test_metrics\.py:\d+\) .*{words}"):
        plan.make(study_of())
    assert metric_fault("top3") == ""


@pytest.mark.parametrize("engine", ["stacked", "loop", "numpy"])
def test_the_plan_refuses_metrics_without_a_numpy_formula(study_of: Make, engine: Engine) -> None:
    metrics.register("mine")(lambda p, target: (p * target).sum(-1))
    study = study_of(study={"metrics": ["brier", "mine"]})
    if engine != "numpy":
        assert plan.make(study, engine).stacks
        return
    with pytest.raises(UsageError, match=r"metric 'mine' \(test_metrics.py:\d+\); it has: top3") as told:
        plan.make(study, engine)
    assert "--set 'metrics=[\"brier\"]'" in str(told.value)
    assert plan.make(study_of(study={"metrics": ["brier"]}), engine).stacks


# ------------------------------------------------------------------------------------------------- results


def test_a_grown_study_reports_empty_columns_of_a_new_metric(tmp_path: Path, study_of: Make) -> None:
    folder = tmp_path / "results"
    notes: list[str] = []
    before = study_of({"optimizer": ["sgd", "adam"]}, epochs=1, study={"seeds": 1})
    runs.train(before, folder, device="cpu", workers=1)
    plain = results.read(folder)
    study = study_with_plugin(tmp_path, 'metrics = ["brier", "margin"]', seeds=2)
    grown = plan.make(study)
    assert len(grown.trials) == 4

    def listen(progress: progress.Progress) -> Any:
        notes.extend(progress.notes)
        return contextlib.nullcontext()

    runs.train(study, folder, device="cpu", workers=2, display=listen)
    read = results.read(folder)
    own = [f"{split}_{name}" for name in ("brier", "margin") for split in ("train", "val", "test")]
    expected = list(plain.trials)
    at = expected.index("test_accuracy") + 1
    assert list(read.trials) == [*expected[:at], *own, *expected[at:]]
    assert list(read.epochs) == [*plain.epochs, "brier", "margin"]
    old = read.trials["seed"] == 0
    assert read.trials.loc[old, own].isna().all().all()
    assert read.trials.loc[~old, own].notna().all().all()
    assert [note.split(":")[0] for note in notes] == [
        f"2 finished trials were trained before metric '{name}' was tracked" for name in ("brier", "margin")
    ]
    last = read.epochs[read.epochs["split"].eq("val") & read.epochs["epoch"].eq(1)].set_index("trial_id")
    rows = read.trials[~old].set_index("trial_id")
    assert (last.loc[rows.index, "margin"] == rows["val_margin"]).all()
    # Nothing measured is dropped when the study tracks less.
    runs.train(study_of({"optimizer": ["sgd", "adam"]}, epochs=1), folder, device="cpu", workers=1)
    assert list(results.read(folder).trials) == list(read.trials)


def test_a_changed_metric_is_reported_to_mix_two_meanings(tmp_path: Path, study_of: Make) -> None:
    from harness.results.provenance import metric_notes

    digests: list[str] = []
    for power in (1, 2):
        metrics.register("mine")(lambda p, target, power=power: (p * target).sum(-1) ** power)
        digests.append(metrics.entry("mine").source_digest)
        study = study_of(epochs=1)
        if power == 1:
            runs.train(study, tmp_path, device="cpu", workers=1)
            assert metric_notes(tmp_path, plan.make(study), results.read_trials(tmp_path)) == []
        metrics.remove("mine") if power == 1 else None
    (note,) = metric_notes(tmp_path, plan.make(study), results.read_trials(tmp_path))
    assert "has changed since trials were measured with it" in note
    assert json.loads((tmp_path / "provenance.json").read_text())["metrics"] == {"mine": digests[:1]}


def test_a_diverged_trials_cells_stay_empty(study_of: Make, tmp_path: Path) -> None:
    study = study_of({"lr": [0.1, 1e25]}, loss="mse", epochs=1, study={"metrics": OWN, "seeds": 1})
    runs.train(study, tmp_path, device="cpu", workers=1)
    rows = results.read(tmp_path).trials.set_index("status")
    columns = [f"test_{name}" for name in OWN]
    assert rows.loc["diverged", columns].isna().all()
    assert rows.loc["ok", columns].notna().all()
