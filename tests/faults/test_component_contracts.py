"""Mistakes in a person's own components: the plan says what is wrong, in words, and nothing is trained."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.axes import plugins
from harness.check import component
from harness.cli import main
from harness.errors import UsageError

HEAD = """
import os, sys
import numpy as np
import torch
from harness.axes.activations import activations; from harness.axes.augmentations import augmentations
from harness.axes.architectures import architectures
from harness.axes.datasets import Images, datasets
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.axes.preprocessing import preprocessings
from harness.axes.schedules import schedules
"""
STUDY = """
[study]
name = "own"
seeds = 1
plugins = ["own.py"]
[baseline]
dataset = "digits"
epochs = 1
hidden = [8]
"""


@pytest.fixture(autouse=True)
def as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: None) -> None:  # noqa: ARG001
    """In a folder of the test's own; its components are gone afterwards."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`answer("plan", plugin, *lines)`: exit code, stdout and stderr of a command."""

    def run(command: str, plugin: str, *baseline: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        Path("own.py").write_text(HEAD + plugin)
        text = (
            STUDY.replace('dataset = "digits"', "") if any("dataset" in line for line in baseline) else STUDY
        )
        Path("own.toml").write_text(text + "\n".join(baseline))
        monkeypatch.setattr(sys, "argv", ["harness", command, "own.toml", *options])
        with pytest.raises(SystemExit) as ended:
            main.main()
        told = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else int(bool(code))), told.out, told.err

    return run


CE = "torch.logsumexp(z, -1) - (target * z).sum(-1)"
LOSS = '@losses.register("mine", takes="logits")\ndef mine(z, target):\n    """Mine."""\n'
HEADED = '@heads.register("mine", kind="{}")\ndef mine(z):\n    """Mine."""\n    return '
MUTE = """
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")
    __repr__ = __str__
"""
ACTIVATION = '@activations.register("mine")\ndef mine(x):\n    """Mine."""\n'
OPTIMIZER = '@optimizers.register("mine")\ndef mine(param, grad, state, t, *, lr=0.1):\n    """Mine."""\n'
SCHEDULE = '@schedules.register("mine")\ndef mine(clock):\n    """Mine."""\n    return '
BATCH = '@augmentations.register("mine")\ndef mine(x, target, rng):\n    """Mine."""\n    return '
PIXELS = '@preprocessings.register("mine")\ndef mine(x, pixels):\n    """Mine."""\n    return '
NETWORK = '@architectures.register("mine")\ndef mine(inputs, classes, activation):\n    """Mine."""\n'
METRIC = '@metrics.register("mine")\ndef mine(p, target):\n    """Mine."""\n    return '
DATA = '@datasets.register("mine", classes=("a", "b"))\ndef mine():\n    """Mine."""\n'

# axis, plugin, what is told
REFUSED: dict[str, tuple[str, str, str]] = {
    # losses
    "softmax over the batch": (
        "loss",
        f"{LOSS}    z = z.softmax(-2)\n    return -(target * z.log()).sum(-1)",
        r"own.py:14: loss 'mine' of logits: the loss of one sample changes with the other samples in the b",
    ),
    "softmax over dimension 0": (
        "loss",
        f"{LOSS}    return -(target * z.log_softmax(0)).sum(-1)",
        "the loss of one sample changes with",
    ),
    "weights of the batch's classes": (
        "loss",
        f"{LOSS}    return ({CE}) * (target / target.mean(0).add(1)).sum(-1)",
        "the loss of one sample",
    ),
    "a wrong gradient": (
        "loss",
        (
            '@losses.register("mine", takes="logits", gradient=lambda z, t: z.softmax(-1) - 2 * t)\n'
            f'def mine(z, target):\n    """Mine."""\n    return {CE}'
        ),
        (
            r"the closed-form derivative of loss 'mine' of logits is not autograd's: at x = \S+, got \S+, "
            r"autograd gives \S+"
        ),
    ),
    "the mean": (
        "loss",
        f"{LOSS}    return ({CE}).mean()",
        r"loss 'mine' of logits gives one number for the whole batch; allowed: one value .*no \.mean\(\)",
    ),
    "no sum": (
        "loss",
        f"{LOSS}    return (z - target) ** 2",
        r"gives shape \(6, 5\); .*sum over the classes, ",
    ),
    "labels first, by name": (
        "loss",
        (
            '@losses.register("mine", takes="logits")\ndef mine(labels, pred):\n    """Mine."""\n'
            "    return -(labels * pred.log_softmax(-1)).sum(-1)"
        ),
        r"takes \(labels, pred\): the output comes first, the target second; swap the parameters",
    ),
    "labels first, by what comes out": (
        "loss",
        (
            '@losses.register("mine", takes="probabilities")\ndef mine(a, b):\n    """Mine."""\n'
            "    return -(a * b.log()).sum(-1)"
        ),
        r"With its arguments swapped it works: the output comes first, the target second",
    ),
    "one argument": (
        "loss",
        '@losses.register("mine", takes="logits")\ndef mine(z):\n    """Mine."""\n    return z.sum(-1)',
        r"loss 'mine' of logits raises TypeError: mine\(\) takes 1 positional .*called with \(6, 5\), ",
    ),
    "a target changed in place": (
        "loss",
        f"{LOSS}    target *= 0.9\n    return {CE}",
        "changes its argument 2 in",
    ),
    "no gradient": (
        "loss",
        f"{LOSS}    return (z.argmax(-1) != target.argmax(-1)).float()",
        "without a gradient",
    ),
    "a list": ("loss", f"{LOSS}    return [0.0] * len(z)", "gives list; allowed: a tensor of shape"),
    "the end of the process": (
        "loss",
        f"{LOSS}    sys.exit(3)",
        r"loss 'mine' of logits raises sys.exit\(3\)",
    ),
    "an argument missing": (
        "loss",
        LOSS.replace("target", "target, weight") + f"    return {CE}",
        "raises TypeError",
    ),
    "the default dtype": (
        "loss",
        f"{LOSS}    torch.set_default_dtype(torch.float64)\n    return {CE}",
        "changes settings of the whole process: torch's default dtype to torch.float64",
    ),
    "the folder": (
        "loss",
        f"{LOSS}    os.chdir('/')\n    return {CE}",
        "whole process: the current folder to /",
    ),
    "random numbers of NumPy": (
        "loss",
        f"{LOSS}    return ({CE}) * np.random.rand()",
        "other values when it is called again",
    ),
    # heads
    "a head over the batch": (
        "head",
        HEADED.format("probabilities") + "z.softmax(0)",
        "head 'mine': the output of one sample changes with the other samples in the batch",
    ),
    "a head of another kind": (
        "head",
        HEADED.format("probabilities") + "z.sigmoid()",
        r"head 'mine' declares kind = 'probabilities', and the probabilities of a sample sum to",
    ),
    "a head with fewer classes": (
        "head",
        HEADED.format("logits") + "z[..., 1:]",
        r"gives shape \(6, 4\); allowed",
    ),
    # activations
    "a wrong derivative": (
        "activation",
        (
            '@activations.register("mine", backward=lambda grad, x, y: grad * y)\n'
            'def mine(x):\n    """Mine."""\n    return x.tanh()'
        ),
        r"the closed-form derivative of activation 'mine' is not autograd's: at x = \S+, got \S+, auto",
    ),
    "double precision": (
        "activation",
        f"{ACTIVATION}    return x.double().tanh()",
        "gives torch.float64 of float32; allowed",
    ),
    "in place": ("activation", f"{ACTIVATION}    return x.tanh_()", "changes its argument 1 in place"),
    # optimizers
    "an optimizer that gives what it should change": (
        "optimizer",
        f"{OPTIMIZER}    return param - lr * grad",
        "optimizer 'mine' changes no parameter: it must change `param` in place",
    ),
    "an optimizer that divides by zero": (
        "optimizer",
        f"{OPTIMIZER}    param.sub_(lr * grad / (1 - 0.9 ** (t - 1)))",
        "parameters that are not finite at step 1",
    ),
    "an optimizer of no gradient": (
        "optimizer",
        f"{OPTIMIZER}    param.sub_(lr * grad / grad.abs())",
        "at step 1 where the gradient is 0",
    ),
    "another shape": (
        "optimizer",
        f"{OPTIMIZER}    param.data = param.new_zeros(3)",
        r"of shape \(3,\) of parameters",
    ),
    "falsely linear": (
        "optimizer",
        OPTIMIZER.replace('"mine")', '"mine", linear=True)', 1) + "    param.sub_(lr * grad.sign())",
        "is declared linear = True, and does otherwise",
    ),
    "a rate that is no setting": (
        "optimizer",
        OPTIMIZER.replace("*, lr", "lr") + "    param.sub_(lr * grad)",
        r"optimizer 'mine' \(own.py:14\) cannot be registered: it needs a setting lr",
    ),
    "a column's name": (
        "optimizer",
        OPTIMIZER.replace("lr=0.1", "lr=0.1, seed=0") + "    param.sub_(lr * grad)",
        r"optimizer 'mine' \(own.py:14\) cannot be registered: its setting 'seed' has the name of a column",
    ),
    "another column's name": (
        "optimizer",
        OPTIMIZER.replace("lr=0.1", "lr=0.1, trial_id='a'") + "    param.sub_(lr * grad)",
        "its setting 'trial_id' has the name of a column",
    ),
    "no default": (
        "optimizer",
        OPTIMIZER.replace("lr=0.1", "lr=0.1, beta") + "    param.sub_(lr * grad)",
        "its setting 'beta' has no default",
    ),
    # schedules
    "no factors": ("schedule", f"{SCHEDULE}None", r"schedule 'mine' gives None; allowed: an array \(\d+,\)"),
    "one factor": ("schedule", f"{SCHEDULE}0.5", r"schedule 'mine' gives shape \(\); allowed"),
    "a negative factor": (
        "schedule",
        f"{SCHEDULE}1 - clock.step",
        r"schedule 'mine' gives -1 at step 2; allowed",
    ),
    "an infinite factor": (
        "schedule",
        f"{SCHEDULE}np.where(clock.step < 9, 1, np.nan)",
        r"schedule 'mine' gives nan at step 9",
    ),
    "a schedule that raises": (
        "schedule",
        f"{SCHEDULE}clock.nothing",
        "schedule 'mine' raises AttributeError: ",
    ),
    # augmentations
    "no batch": ("augmentation", f"{BATCH}x", r"augmentation 'mine' gives ndarray; allowed: two arrays"),
    "images without channels": (
        "augmentation",
        f"{BATCH}(x[:, 0], target)",
        r"gives x as shape \(12, 8, 8\); allowed: shape \(12, 1, 8, 8\)",
    ),
    "labels": ("augmentation", f"{BATCH}(x, target.argmax(1))", r"gives target as shape \(12,\); allowed"),
    "pixels that are not finite": (
        "augmentation",
        f"{BATCH}(x * np.nan, target)",
        "numbers in x that are not finite",
    ),
    "draws of its own": (
        "augmentation",
        f"{BATCH}(x + np.random.rand(), target)",
        "gives another batch at each call: all that is random",
    ),
    "a batch of one": ("augmentation", f"{BATCH}(x + x[1], target)", "augmentation 'mine' raises IndexError"),
    # preprocessings
    "a ragged list": ("preprocessing", f"{PIXELS}[None]", r"preprocessing 'mine' gives \[None\] for images "),
    "one number": ("preprocessing", f"{PIXELS}x.mean()", r"preprocessing 'mine' gives shape \(\) for images"),
    "no numbers": ("preprocessing", f"{PIXELS}x * np.nan", "gives pixels that are not finite for"),
    "images that know each other": (
        "preprocessing",
        f"{PIXELS}x - x.mean(0)",
        "the pixels of one image change with the images beside it",
    ),
    "three arguments": (
        "preprocessing",
        PIXELS.replace("x, pixels", "x, pixels, more") + "x",
        "preprocessing 'mine' raises TypeError: .*allowed: a function of both, or of the images alone",
    ),
    # architectures
    "no module": ("architecture", f"{NETWORK}    return inputs", "gives int; allowed: a torch.nn.Module"),
    "no parameters": ("architecture", f"{NETWORK}    return torch.nn.Flatten()", "has no parameters: keep"),
    "too few classes": (
        "architecture",
        f"{NETWORK}    return torch.nn.Linear(inputs, classes - 1)",
        r"the network of architecture 'mine' gives shape \(4, 9\); allowed: \(4, 10\), logits of 10 classes",
    ),
    "other inputs": (
        "architecture",
        f"{NETWORK}    return torch.nn.Linear(784, classes)",
        "the network of architecture 'mine' raises RuntimeError: mat1",
    ),
    # data sets
    "a data set that raises": (
        "dataset",
        f"{DATA}    return open('nowhere.npy')",
        "data set 'mine': its function raises FileNotFoundError: ",
    ),
    "a data set that ends the process": (
        "dataset",
        f"{DATA}    sys.exit(3)",
        r"its function raises sys.exit\(3\)",
    ),
    # metrics
    "a metric of the batch": (
        "metrics",
        f"{METRIC}(p.argmax(-1) == target.argmax(-1)).float().mean()",
        r"gives \(\) for probabilities",
    ),
    "a metric of labels first": (
        "metrics",
        METRIC.replace("p, target", "labels, probs") + "(labels * probs).sum(-1)",
        r"takes \(labels, probs\): the probabilities come first",
    ),
    "a metric that compares samples": (
        "metrics",
        f"{METRIC}(p * target).sum(-1) - (p * target).sum(-1).mean(-1, keepdim=True)",
        "the value of one sample changes with the other samples",
    ),
    # the file
    "a plugin that ends the process": (
        "activation",
        "sys.exit(3)",
        r"plugin \S*own.py fails when it is run: sys.exit",
    ),
    "a plugin that raises what is no Exception": (
        "activation",
        "raise GeneratorExit",
        r"plugin \S*own.py fails when it is run: GeneratorExit",
    ),
    "a plugin that takes the harness's own component out": (
        "activation",
        "activations.remove('relu')",
        r"own.py:14 takes activation 'relu' out, which is the harness's own",
    ),
    "a loss that takes the harness's own component out": (
        "loss",
        f"{LOSS}    activations.remove('relu')",
        r"own.py:17 takes activation 'relu' out, which is the harness's own",
    ),
    # exceptions of an odd kind
    "a loss that raises what is no Exception": (
        "loss",
        f"{LOSS}    raise GeneratorExit('words')",
        "loss 'mine' of logits raises GeneratorExit: words",
    ),
    "a loss whose exception has no words": (
        "loss",
        f"{MUTE}{LOSS}    raise Mute",
        r"loss 'mine' of logits raises Mute",
    ),
}


def chosen(axis: str, name: str = "mine") -> list[str]:
    """The lines of [baseline] that choose a component."""
    if axis == "metrics":
        return ["[axes]", "lr = [0.1]"]
    heads = {"head": ['loss = "ce"', 'match = "ignore"'], "loss": ['match = "ignore"']}
    return [f'{axis} = "{name}"', *heads.get(axis, [])]


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_plan_reports_a_mistake(answer: Callable[..., tuple[int, str, str]], mistake: str) -> None:
    axis, plugin, words = REFUSED[mistake]
    code, _, told = answer("plan", plugin, *chosen(axis))
    assert code == 2, told
    assert re.search(words, told.replace("\n", " ")), told
    assert "Traceback" not in told
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("mistake", ["softmax over the batch", "no factors", "a data set that raises"])
def test_run_refuses_a_mistake_before_the_folder_is_touched(
    answer: Callable[..., tuple[int, str, str]], mistake: str
) -> None:
    axis, plugin, words = REFUSED[mistake]
    code, _, told = answer("run", plugin, *chosen(axis), options=("--results", "out", "--workers", "1"))
    assert code == 2
    assert re.search(words, told.replace("\n", " ")), told
    assert not Path("out").exists()


@pytest.mark.parametrize("mistake", [m for m, (axis, _, _) in REFUSED.items() if axis != "activation"])
def test_check_reports_the_same_mistake(mistake: str) -> None:
    axis, plugin, words = REFUSED[mistake]
    Path("own.py").write_text(HEAD + plugin)
    axis = axis.replace("metrics", "metric")
    if "cannot be registered" in words or "setting" in words.replace("settings", ""):
        with pytest.raises(UsageError, match=words):
            plugins.load_file(Path("own.py"), quiet=True)
        return
    plugins.load_file(Path("own.py"), quiet=True)
    result = component(axis, "mine")
    assert re.search(words.removeprefix("own.py:14: "), "".join(result.problems).replace("\n", " "))


LATER = f"""
calls = []

{HEADED.format("logits")}z if len(calls) < 12 else stop()

def stop():
    raise GeneratorExit
"""


def test_mistakes_without_an_exception_are_reported_by_the_trial_stack() -> None:
    text = LATER.replace("    return z", "    calls.append(0)\n    return z")
    Path("own.py").write_text(HEAD + text)
    plugins.load_file(Path("own.py"), quiet=True)
    assert component("head", "mine").problems == ("head 'mine' fails on a stack (GeneratorExit)",)


SEARCH = """
[study]
name = "own"
design = "search"
seeds = 2
plugins = ["own.py"]
[search]
suggestions = 4
[baseline]
dataset = "digits"
epochs = 1
[space]
lr = { low = 0.01, high = 1.0, log = true }
loss = ["ce", "mine"]
"""


@pytest.mark.parametrize("command", ["plan", "search"])
def test_a_search_refuses_faulty_components_that_it_might_suggest(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, plugin, words = REFUSED["softmax over the batch"]
    Path("own.py").write_text(HEAD + plugin)
    Path("own.toml").write_text(SEARCH)
    monkeypatch.setattr(sys, "argv", ["harness", command, "own.toml", "--results", "out"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert re.search(words, capsys.readouterr().err)
    assert not Path("out").exists()


# --------------------------------------------------------------------------- what is right trains as before

MENDED = f"""
{LOSS}    return -(target * z.log_softmax(-1)).sum(-1)

@losses.register("named", takes="logits")
def named(a, b, *, strength=1.0):
    '''Names of one's own.'''
    return strength * (torch.logsumexp(a, -1) - (a * b).sum(-1))

@heads.register("own_head", kind="probabilities", backward=lambda u, v: v * (u - (u * v).sum(-1, True)))
def own_head(logits_):
    '''Softmax.'''
    return logits_.softmax(-1)

@activations.register("own_activation", backward=lambda u, v, w: u * (1 - w * w))
def own_activation(v):
    '''tanh, which prints.'''
    print("printed by a component")
    return v.tanh()

@optimizers.register("own_optimizer")
def own_optimizer(w, g, kept, step, *, lr=0.1):
    '''SGD.'''
    w.sub_(lr * g)

@schedules.register("own_schedule")
def own_schedule(now):
    '''Constant.'''
    return [1] * len(now.step)

@preprocessings.register("alone")
def alone(images):
    '''x / 16, of one argument.'''
    images /= 16
    return images

@metrics.register("own_metric")
def own_metric(u, v):
    '''The probability of the true class.'''
    return (u * v).sum(-1)
"""
CASES: dict[str, dict[str, str]] = {
    "ours": {"loss": "ce"},
    "loss": {"loss": "mine"},
    "loss of other names": {"loss": "named"},
    "optimizer": {"optimizer": "own_optimizer"},
    "schedule": {"schedule": "own_schedule"},
    "preprocessing": {"preprocessing": "alone"},
    "tanh": {"activation": "tanh"},
    "activation": {"activation": "own_activation"},
    "softmax": {"head": "softmax"},
    "head": {"head": "own_head"},
}
SAME = {
    "loss": "ours", "loss of other names": "ours", "optimizer": "ours", "schedule": "ours",
    "preprocessing": "ours", "activation": "tanh", "head": "softmax",
}  # fmt: skip
SMALL: dict[str, Any] = {"dataset": "digits", "epochs": 2, "hidden": [16], "lr": 0.5}


def test_components_with_names_of_their_own_train_as_the_harness_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("own.py").write_text(HEAD + MENDED)
    tables = {
        "study": {"name": "own", "seeds": 1, "plugins": ["own.py"], "metrics": ["own_metric"]},
        "baseline": SMALL,
        "axes": {"case": [{"name": name, **settings} for name, settings in CASES.items()]},
    }
    study = harness.parse(tables)
    rows = harness.run(study, "stacked", workers=1, device="cpu").trials.set_index("case")
    assert set(rows["status"]) == {"ok"}
    assert set(rows["engine"]) == {"stacked"}
    losses, right = rows["train_loss"].to_dict(), rows["test_accuracy"].to_dict()
    for own, ours in SAME.items():
        assert losses[own] == pytest.approx(losses[ours], rel=1e-4), own
    assert right["loss"] == pytest.approx(right["ours"], abs=0.01)
    assert right["loss"] > 0.75
    assert rows["test_own_metric"].between(0.3, 1).all()
    tables["axes"] = {"case": [{"name": name, **CASES[name]} for name in ("loss", "activation", "head")]}
    loop = harness.run(harness.parse(tables), "loop", engine="loop", workers=1, device="cpu").trials
    for name, loss in loop.set_index("case")["train_loss"].to_dict().items():
        assert loss == pytest.approx(losses[name], rel=1e-3), name
    told = capsys.readouterr()
    assert told.out == ""
    assert "printed by a component" in told.err


ALONE = {
    "samples": ("activation", f"{ACTIVATION}    return x - x.mean()", "mixes the samples of a batch"),
    "units": ("activation", f"{ACTIVATION}    return x.softmax(-1)", "mixes the units of a layer"),
    "elements": ("optimizer", f"{OPTIMIZER}    param.sub_(lr * grad / (grad.norm() + 1))", "stackable=False"),
    "random": ("activation", f"{ACTIVATION}    return x * (1 + torch.rand_like(x))", "draws random numbers"),
    "dimension 1": ("loss", LOSS + "    return (z.exp().sum(1)).log() - (target * z).sum(1)", "dim=-1"),
}


@pytest.mark.parametrize("case", ALONE)
def test_components_that_work_alone_train_in_the_loop_engine_with_a_reason(
    answer: Callable[..., tuple[int, str, str]], case: str
) -> None:
    axis, plugin, words = ALONE[case]
    code, out, told = answer("plan", plugin, *chosen(axis))
    assert code == 0, told
    line = " ".join(out.split())
    assert "one by one in the loop engine" in line
    assert words in line


# --------------------------------------------------------------------------------- what the plan cannot see

LATE = f"""
{LOSS}    if z.shape[-1] == 10:
        FAULT
    return {CE}
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("sys.exit(3)", "sys.exit(3), in loss 'mine' (own.py:15)"),
        ("raise ValueError('no\\nway')", "ValueError: no way, in loss 'mine' (own.py:15)"),
        ("activations.remove('relu')", "takes activation 'relu' out, which is the harness's own"),
        ("activations['none']", "unknown activation 'none': allowed"),
        ("raise GeneratorExit('no')", "GeneratorExit: no, in loss 'mine' (own.py:15)"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda _: 1 / 0})",
            "Mute, in loss 'mine' (own.py:15)",
        ),
        ("os.chdir('/')", "a component changed settings of the whole process: the current folder to /"),
        ("torch.set_num_threads(2)", "whole process: torch's number of threads to 2"),
    ],
)
def test_a_fault_in_training_fails_only_its_stack(
    answer: Callable[..., tuple[int, str, str]], fault: str, reason: str
) -> None:
    here = Path.cwd()
    axes = ["[axes]", "case = [{name = 'mine', loss = 'mine'}, {name = 'other', batch_size = 64}]"]
    code, _, told = answer(
        "run", LATE.replace("FAULT", fault), *axes, options=("--results", "out", "--workers", "1")
    )
    assert code == 1, told
    assert "Traceback" not in told
    assert Path.cwd() == here
    rows = harness.read("out").trials.set_index("case")
    assert rows["status"].to_dict() == {"mine": "failed", "other": "ok"}
    assert reason in rows["reason"].to_dict()["mine"]


def test_process_settings_of_a_plugin_are_restored_and_reported(
    answer: Callable[..., tuple[int, str, str]],
) -> None:
    here = Path.cwd()
    plugin = "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\nos.chdir('/')\n"
    plugin += "os.environ['HARNESS_KERNELS'] = 'off'\nprint('hello')\n"
    code, out, told = answer("plan", plugin + ACTIVATION + "    return x.tanh()", *chosen("activation"))
    assert code == 0, told
    assert Path.cwd() == here
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert "HARNESS_KERNELS" not in os.environ
    assert "hello" not in out
    for words in ("default dtype to torch.float64", "the current folder to /", "HARNESS_KERNELS to off"):
        assert words in told


@pytest.mark.slow  # torch imports its compiler to switch them
def test_deterministic_algorithms_are_put_back(answer: Callable[..., tuple[int, str, str]]) -> None:
    plugin = "torch.use_deterministic_algorithms(True, warn_only=True)\n" + ACTIVATION
    code, _, told = answer("plan", plugin + "    return x.tanh()", *chosen("activation"))
    assert code == 0, told
    assert not torch.are_deterministic_algorithms_enabled()
    assert "torch's deterministic algorithms to (True, True)" in told


def test_a_notebooks_default_dtype_changes_no_number() -> None:
    study = harness.parse({"study": {"name": "own", "seeds": 1}, "baseline": {**SMALL, "epochs": 1}})
    before = harness.run(study, "before", engine="loop", workers=1, device="cpu").trials
    torch.set_default_dtype(torch.float64)
    try:
        after = harness.run(study, "after", engine="loop", workers=1, device="cpu").trials
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert list(before["test_loss"]) == list(after["test_loss"])


# -------------------------------------------------------------------------- preprocessings without a name


def test_a_preprocessing_of_one_argument_works() -> None:
    for own in (lambda x: x / 16, lambda x, pixels: x / pixels.max, lambda x: (x / 16).tolist()):
        assert torch.equal(harness.split_dataset("digits", "val", preprocessing=own).x, unit())
    batches = harness.loader("digits", "val", preprocessing=np.sqrt, batch_size=500)
    assert torch.allclose(next(iter(batches))[0] ** 2, 16 * unit(), atol=1e-5)


def unit() -> torch.Tensor:
    return harness.split_dataset("digits", "val").x


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (lambda x: x.nothing, "preprocessing '<lambda>' raises AttributeError: "),
        (lambda: 0, r"raises TypeError: .* allowed: a function of both, or of the images alone"),
        (lambda x: [["a"]] * len(x), r"preprocessing '<lambda>' gives \[\['a'\]"),
        (lambda x: x[:3], r"gives shape \(3, 8, 8\) for images \(1293, 8, 8\); allowed: numbers \(1293, "),
        (lambda x: x * np.inf, "gives pixels that are not finite for 1293 of 1293 images"),
        (lambda x: x[:, : len(x) % 4 + 1], "gives 16 pixels an image, then 8; allowed"),
        (lambda x, pixels: pixels.train.sort(0) or x, "raises ValueError: .*read-only"),
    ],
)  # fmt: skip
def test_an_invalid_preprocessing_is_reported_in_words(own: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words), np.errstate(invalid="ignore"):
        harness.loader("digits", "val", preprocessing=own)  # of train, pixels are made for its width
