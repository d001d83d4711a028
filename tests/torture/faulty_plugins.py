"""Faulty components: whatever they do, at import, in the plan's check or in training, is told as theirs."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from torture import forks, oracle
from torture.kinds import Kind
from torture.oracle import Case, Fault, Outcome
from torture.values import SMALL

PATIENCE = 2.0  # seconds after which a person presses Ctrl-C
INTERRUPTED = 130
HEAD = """\
import builtins, gc, locale, logging, os, random, signal, sys, time, warnings
import numpy as np
import torch
from harness.axes.activations import activations
from harness.axes.architectures import architectures
from harness.axes.datasets import Images, datasets
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.axes.preprocessing import preprocessings
from harness.axes.schedules import schedules

CALLS = 0

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no words")
    __repr__ = __str__

def fault():
{fault}

def noise():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 17, (40, 8, 8)).astype(np.uint8), np.arange(40) % 2
    return Images(x, y, x, y)

def called():
    global CALLS
    CALLS += 1
    if CALLS > {after}:
        fault()

"""
COMPONENTS: Mapping[str, tuple[str, str, str]] = {
    "activation": ("", "x", "torch.relu(x)"),
    "head": (', kind="logits"', "z", "z * 1"),
    "loss": (', takes="logits"', "f, target", "(f - target).square().sum(-1)"),
    "optimizer": ("", "param, grad, state, t, *, lr=0.1", "param.sub_(grad * lr)"),
    "schedule": ("", "clock", "np.ones(len(clock.step))"),
    "preprocessing": ("", "x, pixels", "x / pixels.max"),
    "architecture": ("", "inputs, classes, activation", "torch.nn.Linear(inputs, classes)"),
    "metric": ("", "p, target", "(p * target).sum(-1)"),
    "dataset": (', classes=("a", "b"), pixel_max=16', "", "noise()"),
}
"""Axis -> the facts beside its name, the parameters, and the right value."""
AXES = {"loss": "losses"}
"""Registries whose names are no plural in s."""
SOUND_COMPONENTS: Mapping[str, str] = {
    "activation": "relu", "head": "identity", "loss": "ce", "optimizer": "sgd", "schedule": "constant",
    "preprocessing": "unit", "architecture": "mlp", "dataset": "digits",
}  # fmt: skip
FAULTS: Mapping[str, str] = {
    **{f"raise {what}": f"raise {what}" for what in (
        "ValueError('no')", "KeyError('k')", "TypeError()", "AssertionError", "StopIteration",
    "GeneratorExit",
        "MemoryError('much')", "RecursionError", "OSError(28, 'No space left on device')", "Odd()",
        "SystemExit(3)", "SystemExit(0)", "SystemExit('words')", "KeyboardInterrupt", "BaseException('b')",
        "Exception('[/] [bold]x $y$ \\r\\n two')", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'r')",
        "torch.cuda.OutOfMemoryError('out of memory')", "Warning('w')", "ImportError('i')",
    )},
    "exit": "sys.exit(3)", "hang": "time.sleep(1000)", "loop": "while True: pass",
    "print": "print('x' * 100000); print('y', file=sys.stderr)",
    "fork": "pid = os.fork()\nif not pid:\n    os._exit(0)\nos.waitpid(pid, 0)",
    "default type": "torch.set_default_dtype(torch.float64)",
    "seeds": "torch.manual_seed(0); np.random.seed(0); random.seed(0)",
    "no gradients": "torch.set_grad_enabled(False)", "threads": "torch.set_num_threads(2)",
    "folder": "os.chdir('/')", "environment": "os.environ.clear()", "recursion": "sys.setrecursionlimit(150)",
    "warnings": "warnings.simplefilter('error')", "warn": "warnings.warn('w')",
    "NumPy's errors": "np.seterr(all='raise')",
    "signals": "signal.signal(signal.SIGINT, signal.SIG_IGN)", "umask": "os.umask(0o777)",
    "logging": "logging.disable(100); logging.getLogger().handlers.clear()",
    "locale": "locale.setlocale(locale.LC_ALL, 'C')",
    "builtins": "builtins.print = lambda *a, **k: None",
    "modules": "sys.modules.pop('harness.results', None)",
    "collector": "gc.disable()", "deterministic": "torch.use_deterministic_algorithms(True)",
    "registry": "activations.remove('relu') if 'relu' in activations else None",
    "deep": "(lambda f: f(f))(lambda f: f(f))",
}  # fmt: skip
GIVEN: Sequence[str] = (
    "None", "1.0", "'x'", "[]", "torch.zeros(3)", "torch.zeros(2, 2, 2, 2, 2)", "np.zeros(3)", "float('nan')",
    "{} * float('nan')", "{}.double()", "{}.detach()", "{}[..., :1]", "{}.to(torch.complex64)", "{}.bool()",
    "({},)", "{}.unsqueeze(0)", "torch.float32", "object()", "(lambda: 1)", "{} + torch.rand(1)",
)  # fmt: skip
"""What is given back instead of the right value, which stands for the braces."""
PLACES = {"at import": None, "in the first call": 0, "in a later call": 12}
"""Where a fault happens: after how many calls, the plan's own trial among them."""


@dataclass(frozen=True)
class Faulty:
    """A plugin: its axis, what is wrong with it, and its source."""

    axis: str
    fault: str
    source: str

    @property
    def hangs(self) -> bool:
        return self.fault.startswith(("hang", "loop"))


def plugins() -> list[Faulty]:
    """All faulty plugins: each fault in each place of each kind of component, then the wrong values."""
    found = []
    for (name, body), (place, after), axis in itertools.product(FAULTS.items(), PLACES.items(), COMPONENTS):
        last = "\nfault()\n" if after is None else "\n"
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        head = HEAD.format(fault=lines, after=10**9 if after is None else after)
        found.append(Faulty(axis, f"{name} {place}", head + _component(axis) + last))
    for given, axis in itertools.product(GIVEN, [axis for axis in COMPONENTS if axis != "optimizer"]):
        head = HEAD.format(fault="    pass\n", after=0)
        body = _component(axis, given.replace("{}", f"({COMPONENTS[axis][2]})"))
        found.append(Faulty(axis, f"gives back {given}", head + body))
    return found


def _component(axis: str, given: str = "") -> str:
    """A component's source; it gives back the right value, or another."""
    facts, parameters, right = COMPONENTS[axis]
    lines = [
        f'@{AXES.get(axis, axis + "s")}.register("bad"{facts})',
        f"def bad({parameters}):",
        '    """Bad."""',
        "    called()",
        f"    return {given or right}",
        "",
    ]
    return "\n".join(lines)


def _study(axis: str, source: str, folder: Path) -> Path:
    (folder / "faulty.py").write_text(source, encoding="utf-8")
    study: dict[str, Any] = {"name": "faulty", "seeds": 1, "plugins": ["faulty.py"]}
    tables: dict[str, Any] = {"study": study, "baseline": dict(SMALL)}
    if axis == "metric":
        study["metrics"] = ["bad"]
    else:
        tables["axes"] = {axis: [SOUND_COMPONENTS[axis], "bad"]}
        tables["baseline"].pop(axis, None)
    path = folder / "study.toml"
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return path


def _prepare(folder: Path, short: bool) -> Mapping[str, pd.DataFrame]:
    """What the house's own arm comes to beside a sound component, by kind."""
    prepared = {}
    for axis in list(COMPONENTS)[: 2 if short else None]:
        place = folder / axis
        place.mkdir()
        study = _study(axis, HEAD.format(fault="    pass\n", after=0) + _component(axis), place)
        words = ("run", study, "--results", place / "results", "--workers", "1")
        outcome = forks.apart(lambda words=words: oracle.command(*words), place, 60)  # type: ignore[misc]
        if outcome.code != 0:
            raise AssertionError(f"a sound {axis} does not train: {outcome.words}{outcome.raised}")
        prepared[axis] = _house(axis, place / "results")
    return prepared


def _house(axis: str, results: Path) -> pd.DataFrame:
    trials = oracle.tables(results, ["trials"])["trials"]
    return trials if axis == "metric" else trials[trials[axis] == SOUND_COMPONENTS[axis]]


def _run(seed: int, folder: Path, prepared: Mapping[str, pd.DataFrame]) -> Case:
    case, there = Case(), [one for one in plugins() if one.axis in prepared]
    # A step that shares no factor with their number: each is met once before any is met again.
    faulty = there[seed * 7919 % len(there)]
    case.count(faulty.axis)
    study = _study(faulty.axis, faulty.source, folder)
    results = folder / "results"

    def work() -> Outcome:
        if faulty.hangs:
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        return oracle.command("run", study, "--results", results, "--workers", "1")

    outcome = forks.apart(work, folder, 30)
    smallest = f"{faulty.axis}: {faulty.fault}"
    if outcome.code == INTERRUPTED and (faulty.hangs or "KeyboardInterrupt" in faulty.fault):
        return case
    case.judge(outcome, smallest, quoted=True)
    reasons = ""
    if (results / "trials.csv").is_file():
        trials = oracle.tables(results, ["trials"])["trials"]
        reasons = " ".join(trials["reason"])
        if outcome.code == 0 or "failed" in set(trials["status"]):
            _same(faulty, prepared[faulty.axis], _house(faulty.axis, results), smallest, case)
    told = f"{outcome.words} {reasons}".replace(str(folder), "").replace(
        "running the study's plugin /faulty.py", ""
    )
    if outcome.code in {1, 2} and not outcome.raised and "bad" not in told and "faulty.py" not in told:
        case.faults.append(
            Fault("the component is not named", f"{smallest}\n{outcome.words[:800]} {reasons[:300]}")
        )
    return case


def _same(faulty: Faulty, before: pd.DataFrame, after: pd.DataFrame, smallest: str, case: Case) -> None:
    """The house's own arm is what it is beside a sound component, to rounding; or it has failed."""
    done = after[after["status"] == "ok"]
    for column in ("train_loss", "val_loss", "test_loss"):
        one = before.set_index("trial_id")[column].reindex(done["trial_id"]).replace("", "nan").astype(float)
        other = done.set_index("trial_id")[column].replace("", "nan").astype(float)
        known = one.notna()
        if not np.allclose(one[known], other[known], rtol=1e-3, equal_nan=True):
            what = f"another arm's {column} is another beside a faulty {faulty.axis}"
            case.faults.append(Fault(what, smallest))
            return


KIND = Kind("plugins", "faulty plugins", 1500, 4, _prepare, _run, chunk=10, patience=90)
