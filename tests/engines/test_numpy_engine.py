"""The numpy engine: its derivatives are autograd's, its trials the other engines', PyTorch is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from test_agreement import (
    CASES,
    OTHER,
    assert_same_observations,
    assert_same_weights,
    both_types,
    every_case,
    trial,
)

from harness import results
from harness.axes import formulas
from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.data.arm_settings import Settings
from harness.data.samples import prepare
from harness.engines import classifier, loop
from harness.engines import numpy_engine as engine
from harness.engines.base import EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.regularisation import seed_dropout
from harness.errors import UsageError
from harness.planning import cost, plan
from harness.planning.stack import Engine
from harness.rng import stream
from harness.study.trials import Trial
from harness.training import runs

if TYPE_CHECKING:
    from harness.axes.formulas import Array, State
    from harness.registry import Registry
    from harness.study.study import Study

WITHOUT_FORMULA: set[tuple[str, str]] = set()
"""(axis, name) of the components of ours that the numpy engine cannot train: none."""
GRADIENT = 1e-9  # float64, against autograd
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
"""How far weights may be from the loop engine's after 210 steps, as a share of the tensor's largest (measured
over all cases: 2e-14 and 6e-6)."""
BATCH, CLASSES = 16, 10


def noise(*shape: int, scale: float = 1.0) -> Array:
    return scale * np.random.default_rng(0).standard_normal(shape)


def one_hot() -> Array:
    return engine.one_hot(np.arange(BATCH) % CLASSES, CLASSES, np.float64)


def by_autograd(function: Callable[[torch.Tensor], torch.Tensor], x: Array) -> tuple[Array, Array]:
    """A function's value, and the gradient of the sum of its values each times another number."""
    variable = torch.from_numpy(x.copy()).requires_grad_()
    value = function(variable)
    value.backward(torch.from_numpy(factors(*value.shape)))
    assert variable.grad is not None
    return value.detach().numpy(), variable.grad.numpy()


def factors(*shape: int) -> Array:
    return np.random.default_rng(1).uniform(0.5, 2, shape)


def assert_close(got: Array, expected: Array, tolerance: float = GRADIENT) -> None:
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------------------------------- formulas


def test_every_component_of_the_registries_has_a_formula() -> None:
    tables: dict[str, tuple[Registry[Any], Any]] = {
        "activation": (activations, formulas.ACTIVATIONS), "head": (heads, formulas.HEADS),
        "loss": (losses, formulas.LOSSES), "optimizer": (optimizers, formulas.OPTIMIZERS),
        "metric": (metrics, formulas.METRICS),
    }  # fmt: skip
    without = {
        (axis, entry.name)
        for axis, (registry, table) in tables.items()
        for entry in registry
        if not entry.source_digest and entry.name not in table
    }
    assert without == WITHOUT_FORMULA
    for axis, (registry, table) in tables.items():
        assert set(table) <= {entry.name for entry in registry}, axis
    for name, forms in formulas.LOSSES.items():
        assert list(forms) == list(losses[name].forms)


@pytest.mark.parametrize("name", formulas.ACTIVATIONS)
def test_activations_and_derivatives_equal_pytorchs(name: str) -> None:
    edges = np.array([0.0, -0.0, 1e-300, 0.5, 1, 5, 19.999, 20, 20.001, 30, 90, 700, 1e4])
    z = np.concatenate([edges, -edges, np.linspace(-9, 9, 2001), noise(500, scale=4)])
    expected, expected_grad = by_autograd(activations[name].forward, z)
    formula = formulas.ACTIVATIONS[name]
    y = formula.forward(z)
    assert_close(y, expected)
    assert_close(formula.backward(factors(len(z)), z, y), expected_grad)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("name", formulas.HEADS)
def test_heads_and_derivatives_equal_pytorchs(name: str, scale: float) -> None:
    z = noise(BATCH, CLASSES, scale=scale)
    expected, expected_grad = by_autograd(heads[name].forward, z)
    formula = formulas.HEADS[name]
    f = formula.forward(z)
    assert_close(f, expected)
    assert_close(formula.backward(factors(BATCH, CLASSES), f), expected_grad)


def outputs() -> Iterator[tuple[str, str, str, float | None]]:
    """Head, loss, match, ccql_weight: all that can be trained."""
    for head in heads:
        for loss in losses:
            weights = [None] if loss.name != "ccql" else [None, 0.0, 0.5, 7.0]
            for weight in weights:
                if loss.component.form(head.component.kind) is not None:
                    yield head.name, loss.name, "kind", weight
                yield head.name, loss.name, "ignore", weight


@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize(("head", "loss", "match", "weight"), list(outputs()))
def test_losses_and_gradients_at_the_logits_equal_pytorchs(
    head: str, loss: str, match: str, weight: float | None, scale: float
) -> None:
    settings = Settings({"head": head, "loss": loss, "match": match})
    own: dict[str, Any] = {}
    if loss == "ccql":
        own["ccql_weight"] = losses[loss].default_of("ccql_weight", CLASSES) if weight is None else weight
    form = losses[loss].form(heads[head].kind, match)
    assert form is not None
    t = one_hot()
    own_tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in own.items()}

    def function(z: torch.Tensor) -> torch.Tensor:
        return form.forward(heads[head].forward(z), torch.from_numpy(t), **own_tensors)

    z = noise(BATCH, CLASSES, scale=scale)
    expected, expected_grad = by_autograd(function, z)
    formula = formulas.loss_of(settings)
    f = formulas.HEADS[head].forward(z)
    assert_close(formula.forward(f, t, **own), expected)
    g = formula.backward(f, t, **own) * factors(BATCH)[:, None]
    assert_close(formulas.HEADS[head].backward(g, f), expected_grad)


def test_losses_have_the_worked_values() -> None:
    f, t = np.array([[0.3, 0.2, 0.4, 0.1]]), np.eye(4)[[2]]
    assert formulas.ql(f, t)[0] == pytest.approx(0.25)
    uniform, zeros, t = np.full((1, 10), 0.1), np.zeros((1, 10)), np.eye(10)[[3]]
    assert formulas.cross_entropy(zeros, t)[0] == pytest.approx(2.302585, abs=1e-6)
    assert formulas.negative_log(uniform, t)[0] == pytest.approx(2.302585, abs=1e-6)
    assert formulas.mse(uniform, t)[0] == pytest.approx(0.09)
    assert formulas.ql(uniform, t)[0] == pytest.approx(0.45)
    assert formulas.ccql(uniform, t, ccql_weight=2.0)[0] == pytest.approx(1.26)
    assert formulas.ccql(zeros, t, ccql_weight=2.0)[0] == pytest.approx(1.5)


def test_cross_entropy_of_underflown_probabilities_is_infinite_and_of_logits_is_not() -> None:
    z, t = np.array([[1e4, 0.0]]), np.eye(2)[[1]]
    with np.errstate(divide="ignore"):
        assert formulas.negative_log(formulas.softmax(z), t)[0] == np.inf
    assert formulas.cross_entropy(z, t)[0] == 1e4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formulas_stay_in_the_type_they_are_given(dtype: Any) -> None:
    z, t = noise(BATCH, CLASSES).astype(dtype), one_hot().astype(dtype)
    for name, formula in formulas.ACTIVATIONS.items():
        y = formula.forward(z)
        assert (y.dtype, formula.backward(z, z, y).dtype) == (dtype, dtype), name
    for name, formula in formulas.HEADS.items():
        f = formula.forward(z)
        assert (f.dtype, formula.backward(z, f).dtype) == (dtype, dtype), name
    for name, forms in formulas.LOSSES.items():
        own = {"ccql_weight": 2.0} if name == "ccql" else {}
        for formula in forms.values():
            values = formula.forward(np.abs(z), t, **own), formula.backward(np.abs(z), t, **own)
            assert {value.dtype for value in values} == {np.dtype(dtype)}, name


def optimizer_settings() -> Iterator[Any]:
    """Each optimizer with its defaults, with every setting changed, and with each changed alone."""
    for entry in optimizers:
        own = {name: setting.default for name, setting in entry.component.settings.items()}
        changed = {name: OTHER[name] for name in own if name in OTHER}
        yield pytest.param(entry.name, own, id=f"{entry.name}, defaults")
        yield pytest.param(entry.name, own | changed | {"lr": 0.03}, id=f"{entry.name}, all")
        for name, value in changed.items():
            yield pytest.param(entry.name, own | {name: value}, id=f"{entry.name}, {name}")


@pytest.mark.parametrize(("name", "settings"), list(optimizer_settings()))
def test_optimizers_take_the_steps_of_torch_optim(name: str, settings: dict[str, Any]) -> None:
    """300 steps, the gradient noisy and turning with the parameters, lr changing as under a schedule."""
    entry = optimizers[name]
    assert entry.torch_class is not None
    own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    p = noise(4, 3)
    theirs = torch.from_numpy(p.copy()).requires_grad_()
    optimizer = getattr(torch.optim, entry.torch_class)([theirs], **own, **entry.torch_settings)
    state: State = {}
    lr, rng = own.pop("lr"), np.random.default_rng(2)
    for k in range(1, 301):
        shift, rate = rng.standard_normal(p.shape), lr * 0.99**k
        theirs.grad = torch.sin(3 * theirs.detach()) + torch.from_numpy(shift)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        formulas.OPTIMIZERS[name](p, np.sin(3 * p) + shift, state, k, lr=rate, **own)
    assert_close(p, theirs.detach().numpy(), 1e-10)


# ------------------------------------------------------------------------------------------ whole networks


@pytest.mark.parametrize("hidden", [[], [16], [16, 12]], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_a_network_equal_autograds(name: str, hidden: list[int]) -> None:
    settings: dict[str, Any] = {**CASES[name].arm.settings, "hidden": hidden}
    one = trial(name, **settings)
    x, y = noise(BATCH, 64, scale=0.5), np.arange(BATCH) % CLASSES
    network = engine.NumpyNetwork(one, 64, CLASSES, np.float64)
    model = classifier.Classifier(one, (1, 8, 8), CLASSES)
    for module in seed_dropout(model.net, one):
        module.step = 7
    loss = loop.LossFunction(one, CLASSES, torch.float64, torch.device("cpu"))
    expected = loss(model(torch.from_numpy(x)), torch.from_numpy(y)).mean()
    expected.backward()
    t = formulas.smoothed(one_hot(), settings["label_smoothing"])
    done = network.forward(x, network.masks(7, BATCH))
    assert network.losses(done.f, t).mean() == pytest.approx(expected.item(), rel=1e-12)
    gradients = network.backward(done, t)
    theirs = [parameter.grad for parameter in model.net.parameters()]
    assert len(gradients) == len(theirs) == 2 * (len(hidden) + 1)
    for got, reference in zip(gradients, theirs, strict=True):
        assert reference is not None
        assert np.abs(reference.numpy()).max() > 0
        assert_close(got, reference.numpy())


def by_hand(one: Trial, dtype: Any = np.float64) -> Outcome:
    return engine.train([one], prepare(one.arm.settings, dtype), dtype=dtype)


def plain(one: Trial, dtype: Any = np.float64) -> Outcome:
    return loop.train([one], prepare(one.arm.settings, dtype), dtype=dtype)


def assert_agrees(one: Trial, dtype: Any = np.float64) -> Outcome:
    mine, reference = by_hand(one, dtype), plain(one, dtype)
    flips = 0 if dtype is np.float64 else 8
    assert (mine.parameters, mine.steps_done, mine.epochs_done) == (
        reference.parameters, reference.steps_done, reference.epochs_done
    )  # fmt: skip
    assert_same_observations(mine, 0, reference, 0, TOLERANCE[dtype], flips)
    if not reference.diverged_step[0]:
        assert_same_weights(mine, 0, reference, 0, TOLERANCE[dtype])
        assert {array.dtype for array in mine.weights[0].values()} == {np.dtype(dtype)}
    return mine


@both_types
@every_case
def test_a_trial_in_numpy_equals_the_pytorch_loop(name: str, dtype: Any) -> None:
    outcome = assert_agrees(CASES[name], dtype)
    assert outcome.steps_done >= 200
    assert not outcome.diverged_step[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": []},
        {"hidden": [16, 12]},
        {"hidden": [16, 12, 8]},
        {"batch_size": 1},
        {"sampling": "sequential"},
        {"sampling": "replacement"},
        {"val_fraction": 0.0},
        {"val_split": "balanced", "val_fraction": 0.3, "split_seed": 5},
        {"preprocessing": "standardize"},
        {"preprocessing": "raw", "lr": 0.001},
        {"epochs": 5, "steps": None, "batch_size": 25, "eval_every": "2 epochs"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "output", [{}, {"optimizer": "adam", "activation": "tanh"}, {"head": "softmax", "loss": "ql"}], ids=str
)
def test_engines_agree_on_any_shape_budget_and_split(
    settings: dict[str, Any], output: dict[str, Any]
) -> None:
    outcome = assert_agrees(trial(seed=3, **{**output, **settings}))
    assert ("val" in outcome.final) is (settings.get("val_fraction") != 0)
    if "epochs" in settings:
        assert outcome.steps_done == 5 * 52  # 1,293 = 51 * 25 + 18


DIVERGING: dict[str, dict[str, Any]] = {
    "learning rate": {"head": "identity", "loss": "ql", "lr": 1e9},
    "underflow": {"head": "softmax", "loss": "ce", "lr": 300.0},
    "momentum": {"head": "identity", "loss": "mse", "optimizer": "momentum", "lr": 1e6},
}


@both_types
@pytest.mark.parametrize("every", ["50 steps", "1 step"])
@pytest.mark.parametrize("name", DIVERGING)
def test_divergence_is_found_at_the_same_step(name: str, every: str, dtype: Any) -> None:
    """In a batch's loss, or in an evaluation's that comes before it."""
    bad = trial("bad", **DIVERGING[name], preprocessing="standardize", eval_every=every)
    outcome = assert_agrees(bad, dtype)
    assert 0 < outcome.diverged_step[0] < 210
    assert "test" not in outcome.final


def test_initial_weights_come_from_the_seeds_own_stream() -> None:
    outcome = by_hand(trial(seed=7, steps=1, lr=1e-300))
    bound = 64**-0.5
    expected = stream(7, "weights").uniform(-bound, bound, (12, 64))
    assert (outcome.weights[0]["0.weight"] == expected).all()


def test_the_same_trial_twice_gives_the_same_bits() -> None:
    a, b = (by_hand(trial(optimizer="adam"), np.float32) for _ in range(2))
    assert all((a.weights[0][name] == b.weights[0][name]).all() for name in a.weights[0])


def test_progress_is_reported() -> None:
    told: list[float] = []
    one = trial()
    engine.train(
        [one], prepare(one.arm.settings), options=EngineOptions(lambda fraction, _: told.append(fraction))
    )
    assert told == [step / 210 for step in (64, 105, 128, 192, 210)]


# ------------------------------------------------------------------------------------------- plans and runs


def test_a_plan_for_numpy_trains_trials_one_by_one(study_of: Callable[..., Study]) -> None:
    planned = plan.make(study_of({"activation": ["relu", "gelu"]}), "numpy")
    assert [(stack.engine, len(stack.trials)) for stack in planned.stacks] == [("numpy", 1)] * 4
    assert cost.cost(planned.stacks, planned.study, 2, flops=lambda: 1e11).seconds > 0


def test_a_component_without_a_formula_is_refused_before_training(study_of: Callable[..., Study]) -> None:
    activations.register("swish2")(lambda x: x * torch.sigmoid(2 * x))
    optimizers.register("still")(lambda param, grad, state, t, *, lr=0.1: param.sub_(lr * grad))  # noqa: ARG005
    try:
        study = study_of({"activation": ["swish2", "relu"], "optimizer": ["still", "sgd"]})
        with pytest.raises(UsageError) as told:
            plan.make(study, "numpy")
        assert plan.make(study, "loop").stacks
    finally:
        activations.remove("swish2")
        optimizers.remove("still")
    message = str(told.value)
    assert message.count("\n  - ") == 2
    assert "activation 'swish2' (test_numpy_engine.py:" in message
    assert "optimizer 'still' (test_numpy_engine.py:" in message
    assert "it has: sgd, momentum" in message
    assert "--engine stacked or loop" in message


def test_another_device_than_the_cpu_is_refused(study_of: Callable[..., Study], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device 'cuda': the numpy engine computes on the CPU"):
        runs.train(study_of(), tmp_path, engine="numpy", device="cuda")


NO_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is not to be imported here")
sys.meta_path.insert(0, NoTorch())
"""
STUDY = """
[study]
name = "by_hand"
hypothesis = "None of this needs PyTorch."
seeds = 2
[baseline]
dataset = "digits"
hidden = [16]
optimizer = "adam"
lr = 0.01
epochs = 5
[axes]
activation = ["relu", "gelu"]
output = [{ name = "CE", loss = "ce" }, { name = "CCQL", head = "softmax", loss = "ccql" }]
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_trains_where_torch_cannot_be_imported(workers: int, tmp_path: Path) -> None:
    """Python runs sitecustomize at every start, so that worker processes have no torch either."""
    (tmp_path / "sitecustomize.py").write_text(NO_TORCH)
    (tmp_path / "by_hand.toml").write_text(STUDY)
    checkout = Path(formulas.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(checkout)])}
    refused = subprocess.run(
        [sys.executable, "-c", "import torch"], check=False, env=environment, capture_output=True
    )
    assert b"torch is not to be imported here" in refused.stderr
    command = [sys.executable, "-m", "harness", "run", "by_hand.toml", "--engine", "numpy"]
    done = subprocess.run(
        [*command, "--results", "out", "--workers", str(workers)],
        check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = results.read(tmp_path / "out").trials
    assert list(trials.status) == ["ok"] * 8
    assert set(trials.engine) == {"numpy"}
    assert (trials.test_accuracy > 0.8).all()
    assert (trials.group_size == 1).all()


def test_a_numpy_run_has_the_rows_of_a_stacked_run(study_of: Callable[..., Study], tmp_path: Path) -> None:
    axes = {"activation": ["relu", "silu"], "optimizer": ["sgd", "adamw"]}
    frames = {}
    engines: tuple[Engine, ...] = ("stacked", "numpy")
    for name in engines:
        runs.train(study_of(axes), tmp_path / name, engine=name, workers=1)
        frames[name] = results.read(tmp_path / name)
    a, b = frames["stacked"], frames["numpy"]
    assert list(a.trials.columns) == list(b.trials.columns)
    assert list(a.trials.trial_id) == list(b.trials.trial_id)
    for column in ("train_loss", "val_loss", "test_loss"):
        np.testing.assert_allclose(a.trials[column], b.trials[column], rtol=2e-3)
    np.testing.assert_allclose(a.trials.test_accuracy, b.trials.test_accuracy, atol=3 / 360)
    assert list(a.epochs.step) == list(b.epochs.step)
