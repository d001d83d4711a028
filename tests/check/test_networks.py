"""Checks of a whole NumPy network of a person's own, on real images."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.check import network
from harness.errors import UsageError

Array = NDArray[Any]
LIKE = {"hidden": [20], "activation": "relu", "head": "softmax", "loss": "ce"}


def start(*, turned: bool = False) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(20, 64)) * 0.1, rng.normal(size=(10, 20)) * 0.3
    if turned:
        w1, w2 = w1.T, w2.T
    return {"W1": w1, "b1": rng.normal(size=20) * 0.1, "W2": w2, "b2": np.zeros(10)}


class Network:
    """A network with one hidden layer, or the same with one mistake."""

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake

    def __call__(self, parameters: dict[str, Array], x: Array, y: Array) -> Any:
        w1, b1, w2, b2 = parameters.values()
        z = x @ w1.T + b1
        a = np.maximum(z, 0)
        o = a @ w2.T + b2
        f = np.exp(o - o.max(1, keepdims=True))
        f /= f.sum(1, keepdims=True)
        t = np.eye(10)[y]
        losses = -np.log((f * t).sum(1))
        d = (f - t) / (1 if self.mistake == "sum" else len(x))
        d = -d if self.mistake == "sign" else d
        e = (d @ w2) * {"no derivative": 1, "other side": z < 0}.get(self.mistake, z > 0)
        gradients = {"W1": e.T @ x, "b1": e.sum(0), "W2": d.T @ a, "b2": d.sum(0)}
        return self.changed(parameters, losses.mean(), losses, gradients)

    def changed(self, parameters: Any, loss: Any, losses: Array, gradients: Any) -> Any:
        if self.mistake == "step":
            parameters["W1"] -= gradients["W1"]
        if self.mistake == "missing":
            del gradients["b2"]
        if self.mistake == "random":
            loss += np.random.default_rng().random()
        changes: dict[str, dict[str, Any]] = {
            "transposed": {"W1": gradients["W1"].T},
            "zero": {"W1": 0 * gradients["W1"]},
            "bias averaged": {"b2": gradients.get("b2", 0) / 16},
            "single": {name: value.astype(np.float32) for name, value in gradients.items()},
        }
        gradients = {**gradients, **changes.get(self.mistake, {})}
        results = {
            "summed": (losses.sum(), {name: 16 * value for name, value in gradients.items()}),
            "losses": (losses, gradients),
            "alone": loss,
            "nan": (float("nan"), gradients),
        }
        return results.get(self.mistake, (loss, gradients))


def test_a_right_network_agrees_with_differences_and_with_the_harness() -> None:
    parameters = start()
    before = {name: value.copy() for name, value in parameters.items()}
    result = network(Network(), parameters, dataset="digits", like=LIKE)
    assert result, result
    assert "the gradients of 4 arrays, at" in result.compared[0]
    assert "harness's of 64-20-10, relu, softmax, ce" in result.compared[1]
    assert all(np.array_equal(parameters[name], before[name]) for name in before)
    assert float(result.compared[1].rpartition("(")[2].rstrip(")")) < 1e-9


@pytest.mark.parametrize("kind", [list, tuple])
def test_parameters_in_a_list_weights_turned_and_labels_one_hot(kind: type) -> None:
    same_kind: list[bool] = []

    def own(parameters: Any, x: Array, t: Array) -> Any:
        w1, b1, w2, b2 = parameters
        same_kind.append(type(parameters) is kind)
        z = x @ w1 + b1
        s = 1 / (1 + np.exp(-z))
        d = s @ w2 + b2 - t
        e = (d @ w2.T) * s * (1 - s) / len(x)
        return (d * d).sum(1).mean() / 2, [x.T @ e, e.sum(0), s.T @ d / len(x), d.mean(0)]

    like = {"hidden": [20], "activation": "sigmoid", "head": "identity", "loss": "ql"}
    values = kind(start(turned=True).values())
    result = network(own, values, dataset="digits", like=like)
    assert result, result
    assert all(same_kind)
    assert "labels as one-hot rows" in result.compared[0]


def test_mnist_and_single_precision_and_softmax_regression() -> None:
    def regression(parameters: Any, x: Array, y: Array) -> Any:
        w, b = parameters
        z = x @ w + b
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        d = (p - np.eye(10)[y]) / len(x)
        return -np.log(p[np.arange(len(x)), y]).mean(), (x.T @ d, d.sum(0))

    images = np.random.default_rng(0).random((12, 30)), np.arange(12) % 10
    assert network(regression, [np.zeros((30, 10)), np.zeros(10)], dataset=images, like={"hidden": []})
    result = network(Network("single"), start(), dataset="digits", like=LIKE)
    assert "equal to single precision only" in result.notes[0]


MISTAKES = {
    "sum": r"each of W1, b1, W2 and b2 is exactly 16 times the derivative, and 16 is the number of samples",
    "sign": r"each of W1, b1, W2 and b2 is minus the derivative",
    "no derivative": r"the gradient of 'W1' is wrong at .*the gradient of 'b1' is wrong at",
    "other side": r"the gradient of 'W1' is wrong at",
    "transposed": r"the gradient of 'W1' is \(64, 20\), the parameter \(20, 64\): transposed\?",
    "missing": r"there is no gradient of 'b2'; there are: W1, b1, W2",
    "zero": r"the gradient of 'W1' is 0 everywhere",
    "bias averaged": r"^the gradient of 'b2' is exactly 1/16 of the derivative",
    "step": r"changes 'W1' \(does it take a step\?\)",
    "random": r"gives another loss when it is called again",
    "losses": r"gives losses of shape \(16,\); allowed: one number",
    "alone": r"gives float64; allowed: \(loss, gradients\)",
    "nan": r"the loss is nan at these parameters",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence(mistake: str) -> None:
    result = network(Network(mistake), start(), dataset="digits")
    assert re.search(MISTAKES[mistake], "; ".join(result.problems)), result


def test_where_the_mistake_is_between_layers_is_said() -> None:
    result = network(Network("no derivative"), start(), dataset="digits")
    assert "W2 and b2 are right and W1 and b1, nearer to the input, are not" in result.notes[0]


@pytest.mark.parametrize(
    ("mistake", "like", "words"),
    [
        ("summed", LIKE, r"16 times the mean: the sum over the batch"),
        ("", {**LIKE, "activation": "tanh"}, r"It is the loss of 64-20-10, relu, softmax, ce"),
        ("", {**LIKE, "hidden": [30]}, r"like says 64-30-10: .* the parameters have \(20, 64\)"),
        ("", {**LIKE, "hidden": [20, 20]}, r"like says 64-20-20-10, which is 3 matrices"),
    ],
)  # fmt: skip
def test_another_network_than_said(mistake: str, like: dict[str, Any], words: str) -> None:
    result = network(Network(mistake), start(), dataset="digits", like=like)
    assert re.search(words, "; ".join(result.problems)), result


def test_a_network_that_reads_other_parameters() -> None:
    others = start()
    result = network(lambda _p, x, y: Network()(others, x, y), start(), dataset="digits")
    assert "does the network read the parameters that it is given?" in result.problems[0]


def test_wrong_shapes_raise_one_message_with_the_shapes() -> None:
    result = network(Network(), start(turned=True), dataset="digits")
    assert len(result.problems) == 1
    assert re.search(r"raises ValueError: .*test_networks\.py:\d+, .*\(64, 20\)", result.problems[0]), result


@pytest.mark.parametrize(
    ("arguments", "how", "words"),
    [
        ((3, start()), {}, r"loss_and_gradients = 3: not a function"),
        ((Network(), []), {}, r"there are no parameters"),
        ((Network(), "W1"), {}, r"parameters = str: allowed: a list, tuple or dict"),
        ((Network(), {"W1": "a"}), {}, r"'W1' is <U1 of shape \(\)"),
        ((Network(), start()), {"dataset": "digit"}, r"unknown dataset 'digit': did you mean 'digits'"),
        ((Network(), start()), {"dataset": 3}, r"dataset = 3: allowed: a name"),
        ((Network(), start()), {"batch": 0}, r"batch = 0: allowed: a whole number from 1"),
        ((Network(), start()), {"labels": "ints"}, r"labels = 'ints': did you mean 'int'"),
        ((Network(), start()), {"like": {"activation": "rele"}}, r"did you mean 'relu'"),
        ((Network(), start()), {"like": {"hiden": [3]}}, r"did you mean 'hidden'"),
        ((Network(), start()), {"like": {"hidden": 20}}, r"'hidden': 20.*a list of widths"),
        ((Network(), start()), {"like": {"head": "identity", "loss": "nll"}}, r"does not take the logits"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(arguments: tuple[Any, ...], how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        network(*arguments, **{"dataset": "digits", **how})


def test_as_many_images_as_classes_do_not_confuse_labels() -> None:
    def quadratic(parameters: list[Array], x: Array, t: Array) -> Any:
        d = x @ parameters[0] - t  # of whole numbers (10,), rows would be taken for columns
        return (d * d).sum() / 2 / len(x), [x.T @ d / len(x)]

    like = {"hidden": [], "head": "identity", "loss": "ql"}
    assert network(quadratic, [np.ones((64, 10)) / 64], dataset="digits", batch=10, like=like)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_in_single_precision_raises_no_false_alarm(seed: int) -> None:
    def single(parameters: dict[str, Array], x: Array, y: Array) -> Any:
        values = {name: value.astype(np.float32) for name, value in parameters.items()}
        return Network()(values, x.astype(np.float32), y)

    rng = np.random.default_rng(seed)
    parameters = {name: value + 0.1 * rng.standard_normal(value.shape) for name, value in start().items()}
    result = network(single, parameters, dataset="digits", like=LIKE)
    assert result, result
    assert "it computes in single precision" in result.notes[0]

    def wrong(parameters: dict[str, Array], x: Array, y: Array) -> Any:
        loss, gradients = single(parameters, x, y)
        return loss, {**gradients, "W2": -gradients["W2"]}

    assert "the gradient of 'W2' is" in network(wrong, parameters, dataset="digits").problems[0]
