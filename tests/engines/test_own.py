"""The own engine: a network of a person's own trains as those of the numpy engine do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.axes import own_network_probes, own_networks
from harness.data import cache
from harness.data.preprocessing import preprocessings
from harness.data.samples import prepare
from harness.engines import engine
from harness.engines.base import EngineOptions
from harness.engines.outcome import Outcome
from harness.engines.states import State
from harness.errors import MachineError
from harness.planning import plan
from harness.registry import PACKAGE_ROOT
from harness.study.trials import Arm, Trial, resolve

EXAMPLE = PACKAGE_ROOT.parent / "docs" / "examples" / "my_network.py"
IN_FORMULAS = '''
import numpy as np
from harness.axes import formulas

class Network:
    """The harness's own formulas in a person's class, which must be the numpy engine to the last bit."""
    def __init__(self, weights, settings):
        self.layers = weights
        self.parameters = [array for layer in weights for array in layer]
        self.activation = formulas.ACTIVATIONS[settings.get("activation", "identity")]
        self.head = formulas.HEADS[settings["head"]]
        self.loss = formulas.LOSSES[settings["loss"]]["logits"]

    def forward(self, x, masks=()):
        self.y, self.z, self.a = [x], [], []
        for i, (w, b) in enumerate(self.layers):
            self.z.append(self.y[-1] @ w.T + b)
            if i < len(self.layers) - 1:
                self.a.append(self.activation.forward(self.z[-1]))
                self.y.append(self.a[-1] * masks[i] if masks else self.a[-1])
        return self.head.forward(self.z[-1])

    def gradients(self, x, target, masks=()):
        f, gradients = self.forward(x, masks), []
        d = self.head.backward(self.loss.backward(f, target), f) / len(target)
        for i in reversed(range(len(self.layers))):
            gradients = [d.T @ self.y[i], d.sum(0), *gradients]
            if i:
                d = d @ self.layers[i][0]
                d = d * masks[i - 1] if masks else d
                d = self.activation.backward(d, self.z[i - 1], self.a[i - 1])
        return gradients
'''
STEP = """
    def step(self, gradients, lr):
        for p, g in zip(self.parameters, gradients):
            p -= lr * g
"""


def written(folder: Path, text: str) -> str:
    (folder / "net.py").write_text(text, encoding="utf-8")
    return own_networks.named(folder / "net.py")


def trial(**settings: Any) -> Trial:
    settings = {
        "dataset": "digits",
        "hidden": [50],
        "epochs": 2,
        "lr": 0.5,
        "eval_every": "20 steps",
        **settings,
    }
    return Trial("t_own", Arm("own", resolve(settings)), 3)


def trained(name: str, one: Trial, options: EngineOptions | None = None) -> Outcome:
    options = options or EngineOptions(metrics=["top3", "brier"])
    with np.errstate(all="ignore"):
        return engine(name).train([one], prepare(one.arm.settings), options=options)


def assert_the_same(one: Outcome, other: Outcome) -> None:
    assert [(p.step, p.split) for p in one.curve] == [(p.step, p.split) for p in other.curve]
    for mine, theirs in zip(one.curve, other.curve, strict=True):
        np.testing.assert_array_equal(mine.loss, theirs.loss)
        np.testing.assert_array_equal(mine.accuracy, theirs.accuracy)
        for name, values in theirs.metrics.items():
            np.testing.assert_array_equal(mine.metrics[name], values)
    np.testing.assert_array_equal(one.final["test"].predicted, other.final["test"].predicted)
    for name, array in other.weights[0].items():
        np.testing.assert_array_equal(one.weights[0][name], array)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden": [20, 12], "activation": "gelu", "loss": "mse", "label_smoothing": 0.1},
        {"hidden": [16], "activation": "tanh", "dropout": 0.3, "optimizer": "adam", "lr": 0.01},
        {"hidden": [], "optimizer": "momentum", "schedule": "cosine", "sampling": "replacement"},
        {"hidden": [16], "optimizer": "rmsprop", "lr": 0.01, "batch_size": 100, "val_fraction": 0.0},
    ],
)
def test_formulas_in_a_persons_class_are_the_numpy_engine_bit_for_bit(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    one = trial(**settings)
    name = written(tmp_path, IN_FORMULAS)
    assert_the_same(trained(name, one), trained("numpy", one))


def test_a_network_has_the_inputs_that_a_preprocessing_of_ones_own_gives(tmp_path: Path) -> None:
    @preprocessings.register("every_second_row")
    def rows(x: Any) -> Any:
        return x[:, ::2] / 16

    name, one = written(tmp_path, IN_FORMULAS), trial(preprocessing="every_second_row", epochs=1)
    found = own_network_probes.look(name, [(one.arm.settings, one.seed)], [])
    assert (found.problems, found.remarks) == ((), ())
    assert_the_same(trained(name, one), trained("numpy", one))


def test_a_step_of_its_own_is_taken_in_place_of_the_optimizers(tmp_path: Path) -> None:
    one = trial(optimizer="adam", lr=0.5)
    sgd = trained("numpy", trial(optimizer="sgd", lr=0.5))
    assert_the_same(trained(written(tmp_path, IN_FORMULAS + STEP), one), sgd)


def test_a_loss_of_its_own_is_what_is_measured(tmp_path: Path) -> None:
    name = written(
        tmp_path, IN_FORMULAS + "    def losses(self, f, t):\n        return ((f - t) ** 2).sum(1)\n"
    )
    measured, usual = trained(name, trial()).curve[0], trained("numpy", trial()).curve[0]
    assert measured.loss[0] > 0
    assert measured.loss[0] != usual.loss[0]
    np.testing.assert_array_equal(measured.accuracy, usual.accuracy)


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_the_example_in_docs_agrees_with_the_numpy_engine(dataset: str) -> None:
    if dataset == "mnist" and any(state.status != "ok" for state in cache.verify("mnist")):
        pytest.skip("mnist is not in the cache")
    budget: dict[str, Any] = {"steps": 300, "eval_every": "300 steps"}
    one = trial(dataset=dataset, head="softmax", activation="relu", lr=0.1, **budget)
    mine, theirs = trained(own_networks.named(EXAMPLE), one), trained("numpy", one)
    for a, b in zip(mine.curve, theirs.curve, strict=True):
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-4)
    np.testing.assert_allclose(mine.curve[0].loss, theirs.curve[0].loss, rtol=1e-6)
    differ = mine.final["test"].predicted != theirs.final["test"].predicted
    assert differ.mean() < 0.001


class Keeper:
    """Checkpoints that keep the state after one step, and give it back."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.state: State | None = None

    def load(self) -> State | None:
        return self.state

    def due(self, step: int, budget: Any) -> bool:  # noqa: ARG002
        return step == self.at and self.state is None

    def save(self, step: int, values: Any) -> None:
        copied = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}
        self.state = State(step, copied)


def test_a_run_that_resumes_ends_in_the_same_bits(tmp_path: Path) -> None:
    name, one, keeper = written(tmp_path, IN_FORMULAS), trial(optimizer="adam", lr=0.01), Keeper(20)
    whole = trained(name, one, EngineOptions(checkpoints=keeper))
    assert keeper.state is not None
    assert_the_same(trained(name, one, EngineOptions(checkpoints=keeper)), whole)
    without = Keeper(20)  # what its own step keeps is not known, so that nothing is
    stepping = EngineOptions(checkpoints=without, keep_state=True)
    assert trained(written(tmp_path, IN_FORMULAS + STEP), one, stepping).state is None
    assert without.state is None


def test_weights_are_kept_where_the_settings_say_what_is_computed(tmp_path: Path) -> None:
    name = written(tmp_path, IN_FORMULAS)
    assert list(trained(name, trial()).weights[0]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    doubled = IN_FORMULAS.replace("return self.head.forward(self.z[-1])", "return 2 * self.z[-1]")
    assert trained(written(tmp_path, doubled), trial()).weights == [{}]


def test_a_network_that_is_not_here_is_missed() -> None:
    with pytest.raises(MachineError, match=r"own:gone@0123456789 is not here: its file changed"):
        trained("own:gone@0123456789", trial())


def test_a_plan_names_the_engine(tmp_path: Path, study_of: Any) -> None:
    name = written(tmp_path, IN_FORMULAS)
    made = plan.make(study_of({"lr": [0.1, 0.2]}, study={"seeds": 2}), engine=tmp_path / "net.py")
    assert {stack.engine for stack in made.stacks} == {name}
    assert {len(stack.trials) for stack in made.stacks} == {1}
