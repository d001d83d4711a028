"""A person's own networks: how they are found and named, and what is said of wrong ones before a training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.axes import own_network_probes, own_networks
from harness.axes.own_networks import Network, find, named
from harness.errors import ComponentError, UsageError
from harness.registry import PACKAGE_ROOT
from harness.study.trials import resolve

EXAMPLE = PACKAGE_ROOT.parent / "docs" / "examples" / "my_network.py"
GOOD = EXAMPLE.read_text(encoding="utf-8")
SETTINGS = resolve({"dataset": "digits", "hidden": [50], "head": "softmax"})
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "net.py"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def changed(*pairs: str) -> str:
    """The example with some texts replaced: what, by what, what, by what."""
    text = GOOD
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text, old
        text = text.replace(old, new)
    return text


def test_a_name_is_that_of_the_code(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = named(str(write(GOOD)))
    assert own_networks.NAME.fullmatch(first)
    assert first.startswith("own:net@")
    assert named(write(GOOD)) == first == named(first)
    assert named(write(GOOD + "# more\n")) != first
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper.py").write_text("FACTOR = 1.0\n")
    with_helper = "from helper import FACTOR\n" + changed("/ len(x)", "/ len(x) * FACTOR")
    one = named(write(with_helper))
    (tmp_path / "helper.py").write_text("FACTOR = 2.0\n")
    assert named(write(with_helper)) != one


def test_a_class_of_a_cell_has_a_name_that_changes_with_it() -> None:
    def of(text: str) -> str:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, "<cell>", "exec"), space)  # noqa: S102 (a cell)
        return named(space["Network"])

    assert of(GOOD) == of(GOOD)
    assert of(GOOD) != of(changed("self.h > 0", "self.h >= 0"))
    assert find(of(GOOD)).file is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Network(:", r"network .*net\.py fails when it is run: SyntaxError"),
        ("1 / 0", r"fails when it is run: ZeroDivisionError"),
        ("def forward(x): ...", r"net\.py has no class \(it has: forward\)\. Allowed: class Network with"),
        ("Network = 3", r"net\.py: Network is not a class, but of type int"),
        (GOOD.replace("def gradients", "def grads"), r"class Network has no method gradients"),
        (
            GOOD.replace("(self, weights, settings)", "(self, weights)"),
            r"__init__\(self, weights\) takes other",
        ),
        (GOOD.replace("forward(self, x)", "forward(self, x, y)"), r"forward\(self, x, y\) takes other"),
        (
            GOOD.replace("class Network", "class A") + GOOD.replace("class Network", "class B"),
            "2 networks: A, B",
        ),
    ],
)
def test_a_file_without_a_network_is_refused(write: Write, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        named(write(text))


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("gone.py", r"engine .*gone\.py: there is no such file\. Allowed: stacked, loop, numpy, or"),
        ("numpi", r"engine 'numpi': did you mean 'numpy'"),
        (3, r"engine = 3: got int\. Allowed: a name, a file my_network\.py"),
    ],
)
def test_what_is_no_engine_is_refused(engine: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        named(engine)


def test_a_class_not_its_object_is_asked_for(write: Write) -> None:
    kind = find(named(write(GOOD))).kind
    with pytest.raises(UsageError, match="the class itself, not an object of it"):
        named(kind([(np.zeros((50, 64)), np.zeros(50)), (np.zeros((10, 50)), np.zeros(10))], {}))


PARAMETERS = "self.parameters = [self.W1, self.b1, self.W2, self.b2]"
RETURNED = "return [d1.T @ x, d1.sum(0), d2.T @ self.h, d2.sum(0)]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(PARAMETERS, "pass"), "has no attribute parameters. Allowed: a list of the arrays to train"),
        (changed(PARAMETERS, "self.parameters = [1.0]"), r"parameters\[0\] is a float"),
        (changed(PARAMETERS, "self.parameters = [self.W1.astype(int)]"), r"parameters\[0\] is int64 of"),
        (changed("self.W2, self.b2]", "self.W2, self.W2]"), "parameters has one array twice"),
        (
            changed(PARAMETERS, "self.parameters = [p.copy() for p in (self.W1, self.b1, self.W2, self.b2)]"),
            r"forward\(x\) does not change with the arrays in parameters.* copies",
        ),
        (changed("return e / e.sum(1, keepdims=True)", "return (e / e.sum(1, keepdims=True)).T"),
         r"float32 of shape \(10, 7\) for x \(7, 64\)\. Allowed: .* \(7, 10\).*transposed\?"),
        (changed("return e / e.sum(1, keepdims=True)", "pass"), r"forward\(x\) gives None for x"),
        (changed("return e / e.sum(1, keepdims=True)", "return z"),
         r"head = 'softmax' means that forward\(x\) gives probabilities, and those of an image add up to"),
        (changed("np.exp(z - z.max(1, keepdims=True))", "np.log(-np.exp(z))"), r"forward\(x\) gives NaN"),
        (changed(RETURNED, "return [d1.T @ x, d2.T @ self.h]"), r"gives 2 arrays\. Allowed: a list of 4"),
        (changed("[d1.T @ x,", "[x.T @ d1,"), r"gradients\(x, target\)\[0\] is .*\(50, 64\); transposed\?"),
        (changed(RETURNED, "pass"), r"gradients\(x, target\) gives None"),
        (changed("d2 @ self.W2", "d2 @ self.W2.T"), r"gradients raises ValueError: .*line 29 of net\.py"),
        (changed("d2 = (", "x -= 1; d2 = ("), "line 28 of net.py; x and target must not be changed in"),
        (changed("= weights", "= weights[:1]"), "__init__ raises ValueError: not enough values to unpack"),
        (changed("d2 = (", "np.zeros(10**14); d2 = ("), "gradients raises .*Unable to allocate.*line 28 of"),
        (GOOD + "    def step(self, lr): ...\n", "step raises TypeError"),
        (GOOD + "    def losses(self, output, target): return output.mean()\n",
         "one loss a sample, shape .7,., not their mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_once_and_in_words(write: Write, text: str, words: str) -> None:
    engine = named(write(text))
    problems = own_network_probes.look(engine, [(SETTINGS, seed) for seed in range(3)], ()).problems
    assert len(problems) == 1
    with pytest.raises(ComponentError, match=words):
        raise ComponentError(problems[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(" / len(x)", ""), "those of the batch's sum, not of its mean"),
        (changed("self.forward(x) - target", "target - self.forward(x)"), "their sign is turned"),
        (changed(" * (self.h > 0)", ""), r"of parameters\[0\]; parameters\[1\] are not those"),
        (changed("/ len(x)", "/ 7"), r"are not those of loss = 'ce'"),
        (changed("x @ self.W1", "np.random.default_rng().random(x.shape) @ self.W1"), "other numbers"),
        (changed("return [d1.T", "d2 = d2 * np.random.default_rng().random()\n        return [d1.T"),
         "is in no checkpoint"),
    ],
)  # fmt: skip
def test_what_is_probably_not_meant_is_a_remark(write: Write, text: str, words: str) -> None:
    found = own_network_probes.look(named(write(text)), [(SETTINGS, 0)], ())
    assert not found.problems
    assert len(found.remarks) == 1
    assert words in found.remarks[0] or re.search(words, found.remarks[0])


@pytest.mark.parametrize("head", ["identity", "sigmoid", "softmax", "log_softmax"])
@pytest.mark.parametrize("loss", ["ce", "mse", "ql", "ccql", "nll"])
def test_the_probe_finds_nothing_in_the_harnesss_own_formulas(write: Write, head: str, loss: str) -> None:
    text = f"""
from harness.axes import formulas
from harness.axes.losses import losses
class Network:
    def __init__(self, weights, settings):
        self.W, self.b = weights[0]
        self.parameters = [self.W, self.b]
        self.given = {{name: settings[name] for name in losses[settings["loss"]].settings}}
        self.loss = next(iter(formulas.LOSSES["{loss}"].values()))
    def forward(self, x):
        return formulas.HEADS["{head}"].forward(x @ self.W.T + self.b)
    def gradients(self, x, target):
        f = self.forward(x)
        d = formulas.HEADS["{head}"].backward(self.loss.backward(f, target, **self.given), f) / len(x)
        return [d.T @ x, d.sum(0)]
"""
    output = {"head": head, "loss": loss, "match": "ignore"}
    settings = resolve({"dataset": "digits", "hidden": [], "label_smoothing": 0.1, **output})
    assert (
        own_network_probes.look(named(write(text)), [(settings, 0)], ()) == own_network_probes.ProbeFindings()
    )


def test_what_the_harness_has_no_formula_for_is_the_networks_own(write: Write) -> None:
    dropout = resolve({"dataset": "digits", "hidden": [50], "head": "softmax", "dropout": 0.2})
    (problem,) = own_network_probes.look(named(write(GOOD)), [(dropout, 0)], ()).problems
    assert "dropout = 0.2, and gradients(x, target) takes no masks" in problem
    masked = changed("gradients(self, x, target)", "gradients(self, x, target, masks)")
    assert not own_network_probes.look(named(write(masked)), [(dropout, 0)], ()).problems


def test_each_network_has_its_own_copy_of_the_start(write: Write) -> None:
    own = find(named(write(GOOD)))
    first, second = (Network(own, SETTINGS, 0, np.float32) for _ in range(2))
    first.parameters[0] += 1
    assert not np.array_equal(first.parameters[0], second.parameters[0])
    np.testing.assert_array_equal(first.start[0][0], second.parameters[0])
