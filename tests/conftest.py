"""Shared fixtures: real studies, really trained."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from postgres_server import Postgres, serving

from harness import reporting
from harness.axes import plugins
from harness.engines import kernels
from harness.lowering import compiler
from harness.planning import grouping
from harness.reporting import ReportData
from harness.study.reading import parse
from harness.study.study import Study
from harness.system import signals
from harness.training import runs

DIGITS: dict[str, Any] = {
    "study": {"name": "digits", "hypothesis": "Softmax with CE beats squared errors.", "seeds": 3},
    "baseline": {"dataset": "digits", "epochs": 4, "hidden": [16], "eval_every": "1 epoch"},
    "axes": {
        "activation": ["relu", "tanh"],
        "optimizer": ["sgd", "adam"],
        "output": [
            {"name": "softmax + CE", "head": "identity", "loss": "ce"},
            {"name": "softmax + MSE", "head": "softmax", "loss": "mse"},
            {"name": "softmax + NLL", "head": "softmax", "loss": "nll"},
        ],
    },
}


hypothesis.settings.register_profile("steady", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("steady")


class FailuresAtOnce:
    """Names each failure when it comes: a run that is stopped from outside shows none at its end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a line on a test that failed."""
        if report.failed:
            reason = report.longreprtext.strip()[-1000:]
            self.terminal.ensure_newline()
            self.terminal.write_line(f"{report.nodeid} ({report.when}): {reason}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name failures at once in the process that has the terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # of xdist's workers none has it
        config.pluginmanager.register(FailuresAtOnce(terminal))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As in the workers: the tests' own processes fill the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _registered_for_one_test() -> Iterator[None]:
    """Take out what a test registered: no test sees the components of those before it in its process."""
    before = {axis: {entry.name for entry in registry} for axis, registry in plugins.catalogue().items()}
    modules = set(sys.modules)
    yield
    for axis, registry in plugins.catalogue().items():
        for entry in [entry for entry in registry if entry.name not in before[axis]]:
            registry.remove(entry.name)
    for name in [name for name in sys.modules if name.startswith(plugins.FILE) and name not in modules]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Fail a test that leaves the words of a command, or a handler of signals, to those after it."""
    before = _process_state()
    yield
    assert _process_state() == before, "a test has changed its process: sys.argv, or a signal's handler"


def _process_state() -> list[Any]:
    ending = [getattr(signal, name) for name in ("SIGINT", *signals.NAMES) if hasattr(signal, name)]
    return [list(sys.argv), *map(signal.getsignal, ending)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this session's own."""
    with serving() as server:
        yield server


@pytest.fixture
def a_stack_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of this process keep seeds apart, for tests that need several stacks."""
    monkeypatch.setattr(grouping, "GATHERED", 0)


@pytest.fixture
def in_pytorch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stacks train in PyTorch, as without a C compiler."""
    monkeypatch.setenv(compiler.SWITCH, "off")
    yield
    kernels.forget()  # that they are switched off


@pytest.fixture
def study_of() -> Callable[..., Study]:
    """A study on digits: `study_of(axes={...}, lr=0.1)` changes tables and baseline."""

    def make(
        axes: dict[str, Any] | None = None,
        steps: list[Any] | None = None,
        study: dict[str, Any] | None = None,
        **baseline: Any,
    ) -> Study:
        tables = {
            "study": {"name": "small", "seeds": 2, **(study or {})},
            "baseline": {"dataset": "digits", "epochs": 2, "hidden": [8], **baseline},
            "axes": axes or {},
            "steps": steps or [],
        }
        return parse({key: table for key, table in tables.items() if table})

    return make


@pytest.fixture(scope="session")
def digits_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a real study on digits: 36 trials, 12 of them skipped."""
    folder = tmp_path_factory.mktemp("results") / "digits"
    runs.train(parse(DIGITS), folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def digits_page(digits_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the digits study."""
    return reporting.write(digits_results, tmp_path_factory.mktemp("report") / "report.html")


KEPT: dict[str, Any] = {
    "study": {"name": "kept", "seeds": 2, "keep_predictions": ["val", "test"], "keep_weights": "all"},
    "baseline": {"dataset": "digits", "epochs": 3, "hidden": [16], "match": "ignore"},
    "axes": {"lr": [0.1, 1e25], "head": ["identity", "sigmoid", "softmax", "log_softmax"]},
}


@pytest.fixture(scope="session")
def kept_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a real study that keeps weights and predictions; some of its trials diverge."""
    folder = tmp_path_factory.mktemp("results") / "kept"
    runs.train(parse(KEPT), folder, workers=1)
    return folder


SWEEP: dict[str, Any] = {
    "study": {"name": "sweep", "seeds": 2, "keep_weights": "best", "metrics": ["brier"]},
    "baseline": {"dataset": "digits", "epochs": 3, "hidden": [16], "lr": 0.3},
    "axes": {
        "lr": [0.03, 0.3, 1e25],
        "activation": ["relu", "tanh"],
        "output": [
            {"name": "logits + CE", "head": "identity", "loss": "ce"},
            {"name": "softmax + QL", "head": "softmax", "loss": "ql"},
            {"name": "logits + QL", "head": "identity", "loss": "ql"},
        ],
    },
}


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study with lr as an axis, a tracked metric, weights, and trials that diverge."""
    folder = tmp_path_factory.mktemp("results") / "sweep"
    runs.train(parse(SWEEP), folder, workers=1)
    return folder


@pytest.fixture
def sweep(sweep_folder: Path) -> ReportData:
    """The same folder, made ready to be reported on."""
    return reporting.read(sweep_folder)


@pytest.fixture
def registries() -> Iterator[None]:
    """Take back whatever a test registers."""
    before = {axis: dict(registry._entries) for axis, registry in plugins.catalogue().items()}
    yield
    for axis, registry in plugins.catalogue().items():
        registry._entries.clear()
        registry._entries.update(before[axis])


@pytest.fixture
def quiet_optuna() -> Iterator[None]:
    """Have Optuna log as it does in a search."""
    from harness.searching import storages

    with storages.quiet_optuna():
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts without the number that no measured rate is about, and that takes nearly all their time."""
    verdicts = importlib.import_module("harness.stats.verdicts")  # the name in stats is the function
    monkeypatch.setattr(verdicts, "seeds_needed", lambda margin, sd, alpha, **_: sd * margin * alpha)
