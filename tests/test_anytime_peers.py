"""The peers of the anytime comparison: spaces, logs and incumbents; formulas in place of networks.

A peer is run by its environment's Python: this one if it has the peer's packages, or the one that `nox -s
anytime` made; ANYTIME_ENVIRONMENTS names another folder of environments. Without either the test is skipped.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asking
import cell_process
import environments
import numpy as np
import problem
import pytest
from asking import Request
from environments import Method
from problem import PROBLEMS, Cell, Configuration, Parameter
from scipy import stats as scipy_stats

FULL, SHORT = PROBLEMS["full"], PROBLEMS["short"]
ENVIRONMENTS = Path(os.environ.get("ANYTIME_ENVIRONMENTS", "results/anytime/environments"))
PEERS = {name: method for name, method in environments.known().items() if method.requirements}
NAMES = [pytest.param(name, marks=[] if name == "optuna" else pytest.mark.slow) for name in PEERS]
"""Fast where the tests' own environment has the peer."""
DRAWN = 400
DRAWS = {
    "optuna": """
import optuna, peers_optuna
optuna.logging.disable_default_handler()
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
for _ in range(DRAWN):
    trial = study.ask()
    drawn.append({p.name: peers_optuna.suggest(trial, p) for p in FULL.parameters})
""",
    "ray": """
import numpy, peers_ray
numpy.random.seed(0)
space = peers_ray.space(FULL)
drawn = [{name: domain.sample() for name, domain in space.items()} for _ in range(DRAWN)]
""",
    "smac": """
import config_spaces
drawn = [dict(c) for c in config_spaces.space(FULL, 0).sample_configuration(DRAWN)]
""",
    "dehb": """
import config_spaces, dehb
drawn = [dict(c) for c in config_spaces.space(FULL, 0).sample_configuration(DRAWN)]
""",
    "syne_tune": """
import numpy, peers_syne_tune
numpy.random.seed(0)
space = peers_syne_tune.space(FULL)
drawn = [{name: domain.sample() for name, domain in space.items()} for _ in range(DRAWN)]
""",
    "neps": """
import neps, numpy, peers_neps, random, torch
random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
asked = neps.AskAndTell(neps.algorithms.neps_hyperband(peers_neps.space(FULL)))
while len(drawn) < DRAWN:
    trial = asked.ask()
    named = {key.split("Resolvable.")[-1].split("::")[0]: v for key, v in trial.config.items()}
    drawn.append({p.name: named[p.name] for p in FULL.parameters})
    asked.trials.clear()
""",
    "ax": """
import peers_ax
from ax.api.client import Client
client = Client(random_seed=0)
client.configure_experiment(parameters=[peers_ax.domain(p) for p in FULL.parameters])
client.configure_optimization(objective="a")
client.configure_generation_strategy(method="random_search", initialize_with_center=False)
drawn = list(client.get_next_trials(max_trials=DRAWN).values())
""",
}
"""How to draw configurations at random from a peer's translation of the space."""


def python_of(method: Method) -> Path:
    """The Python that has a peer; skips the test if there is none."""
    if all(importlib.util.find_spec(name.partition(".")[0]) for name in method.modules):
        return Path(sys.executable)
    python = ENVIRONMENTS.resolve() / method.name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{method.title} is not installed: `nox -s anytime` makes {python}")
    return python


# ---------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("name", PEERS)
def test_versions_are_pinned(name: str) -> None:
    pins = PEERS[name].requirements
    assert "torch==2.13.0" in pins
    assert all(re.fullmatch(r"[\w.-]+(\[\w+\])?==[\d.]+", pin) for pin in pins)


@pytest.mark.parametrize("name", environments.known())
def test_no_method_hides_a_package(name: str) -> None:
    method = environments.known()[name]
    assert method.script.is_file()
    assert method.script.stem not in {module.partition(".")[0] for module in method.modules}


def test_the_owed_peers_are_there_and_three_are_short() -> None:
    assert {"optuna", "ray", "smac", "dehb"} <= set(PEERS)
    assert sum(method.short for method in PEERS.values()) == 3


def test_a_cell_names_the_code_that_its_peer_shares() -> None:
    given = {name: environments.digest(PEERS[name]) for name in ("dehb", "optuna")}
    shared = environments.HERE / "asking.py"
    changed = dataclasses.replace(PEERS["dehb"], script=shared)
    assert shared in environments.sources(PEERS["dehb"])
    assert shared not in environments.sources(PEERS["optuna"])
    assert environments.digest(changed) != given["dehb"] != given["optuna"]


def test_a_cell_in_a_relative_folder_is_written_for_a_process_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cells").mkdir()
    Cell("peer", SHORT, 0, 1, Path("cells"), "", 0.0).write(Path("cells/cell.json"))
    monkeypatch.chdir(tmp_path / "cells")
    Cell.read("cell.json").note_incumbent(good(), 0.5, "any")
    assert Cell.read("cell.json").folder == tmp_path / "cells"


# ---------------------------------------------------------------------------------------- asking


class FakeClock:
    """A clock that goes on by `step` whenever it is read, by whichever thread."""

    def __init__(self, step: float) -> None:
        self.now, self.step, self.lock = 100.0, step, threading.Lock()

    def __call__(self) -> float:
        with self.lock:
            self.now += self.step
            return self.now


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads train, which share a clock of the test's."""
    monkeypatch.setattr(asking, "ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count))


def cell_in(folder: Path, seconds: float, clock: Callable[[], float]) -> Cell:
    return Cell("peer", SHORT, 0, seconds, folder, "", clock(), clock)


def good(**changed: float) -> Configuration:
    values: Configuration = {
        "width_1": 64, "width_2": 64, "batch_size": 32, "dropout": 0.1, "lr": 1e-3, "weight_decay": 1e-8
    }  # fmt: skip
    return values | changed


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / problem.LOG).read_text().splitlines()]


@pytest.mark.usefixtures("threads")
def test_what_is_asked_is_told_until_the_time_is_over(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, 50, FakeClock(0.01))
    asked: list[int] = []
    told: dict[int, float] = {}

    def ask() -> Request[int]:
        assert len(asked) - len(told) < problem.WORKERS
        asked.append(len(asked))
        return Request(asked[-1], good(lr=0.9 if asked[-1] % 3 == 2 else 1e-3), 3)

    asking.search(cell, ask, lambda request, accuracy: told.update({request.token: accuracy}))
    assert not cell.left > 0
    assert len(told) > 10
    assert len(asked) - problem.WORKERS <= len(told) <= len(asked)
    assert all(math.isnan(value) == (token % 3 == 2) for token, value in told.items())
    lines = lines_of(tmp_path)
    assert max(line["seconds"] for line in lines) < 50.1  # the clock goes on between its look and the line
    assert sum(line["epoch"] == 3 for line in lines) >= sum(map(math.isfinite, told.values()))


@pytest.mark.usefixtures("threads")
def test_a_request_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, 3, FakeClock(0.01))
    waiting = [Request("a", good(), until, tmp_path / "kept") for until in (1, 3, 9)]
    told: list[int] = []

    def ask() -> Request[str] | None:
        alone = told == [request.until for request in done]
        if alone and waiting:
            done.append(waiting.pop(0))
            return done[-1]
        return None

    done: list[Request[str]] = []
    with pytest.raises(RuntimeError, match="nothing to ask for, and nothing is in training"):
        asking.search(cell, ask, lambda request, _: told.append(request.until))
    assert told == [1, 3, 9]
    assert [line["epoch"] for line in lines_of(tmp_path)] == list(range(1, 10))


@pytest.mark.usefixtures("threads")
def test_a_configuration_of_another_space_ends_the_search(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, 50, FakeClock(0.01))
    with pytest.raises(ValueError, match="width_1 = 2000: allowed"):
        asking.search(cell, lambda: Request(0, good(width_1=2000), 1), lambda *_: None)


# ---------------------------------------------------------------------------------------- spaces


def drawn_by(name: str) -> list[dict[str, float]]:
    """Configurations that a peer draws at random."""
    code = (
        "import json\nfrom problem import PROBLEMS\n"
        f"FULL, DRAWN, drawn = PROBLEMS['full'], {DRAWN}, []\n"
        f"{DRAWS[name]}\n"
        "print('\\n' + json.dumps([FULL.checked(c) for c in drawn]))"
    )
    command = [str(python_of(PEERS[name])), "-W", "ignore", "-c", code]
    environment = environments.environment(os.environ, "none")
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert not ran.returncode, ran.stderr
    drawn: list[dict[str, float]] = json.loads(ran.stdout.splitlines()[-1])
    return drawn


def even(parameter: Parameter, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values of evenly spaced shares."""
    return np.array([parameter.at((k + 0.5) / count) for k in range(count)])


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_draws_from_the_space(name: str) -> None:
    drawn = drawn_by(name)
    assert len(drawn) >= DRAWN
    for parameter in FULL.parameters:
        values = np.array([configuration[parameter.name] for configuration in drawn])
        test = scipy_stats.ks_2samp(values, even(parameter, 2000))
        assert test.statistic < 0.1, f"{parameter.name}: {test}"


# ---------------------------------------------------------------------------------------- searches


def test_optuna_searches_by_a_fake_clock(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    import optuna
    import peers_optuna

    optuna.logging.disable_default_handler()
    cell = cell_in(tmp_path, 40, FakeClock(0.05))
    peers_optuna.work(cell, 0, threading.Lock())
    lines = lines_of(tmp_path)
    assert max(line["seconds"] for line in lines) < 40.1
    last = {json.dumps(line["configuration"]): line for line in lines}
    complete = [line["val_accuracy"] for line in last.values() if line["epoch"] == SHORT.epochs]
    incumbent = json.loads((tmp_path / problem.INCUMBENT).read_text())
    assert incumbent["val_accuracy"] == max(filter(None, complete))
    assert incumbent["rule"] == peers_optuna.RULE
    stopped = [line["epoch"] for line in last.values() if line["val_accuracy"] is not None]
    assert {1, 9} <= set(stopped[:-1]) <= {1, 3, 9}, "trials end at rungs"
    assert any(line["val_accuracy"] is None for line in lines), "a diverged trial among them"


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_searches_until_the_deadline(tmp_path: Path, name: str) -> None:
    method = dataclasses.replace(PEERS[name], python=python_of(PEERS[name]))
    cell = Cell(name, SHORT, 0, 60, tmp_path.resolve(), "", time.monotonic())
    ended = cell_process.run(cell, method)
    printed = (tmp_path / cell_process.PRINTED).read_text(errors="replace")
    assert ended.status == 0, printed[-2000:]
    assert ended.wall < 60 + cell_process.GRACE
    lines = lines_of(tmp_path)
    assert max(line["seconds"] for line in lines) <= 60
    assert len({json.dumps(line["configuration"]) for line in lines}) > 3
    assert {line["epoch"] for line in lines} >= {1, 9}
    incumbent = json.loads((tmp_path / problem.INCUMBENT).read_text())
    known = {
        (json.dumps(line["configuration"]), round(line["val_accuracy"], 9))
        for line in lines
        if line["val_accuracy"] is not None
    }
    found = (json.dumps(incumbent["configuration"]), round(incumbent["val_accuracy"], 9))
    assert found in known, "what was noted was trained"
    assert not cell_process.processes_of(str(tmp_path.resolve()), 0)
