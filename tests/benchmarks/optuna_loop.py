"""The search that an Optuna user writes: `study.optimize` over the labs' loop, a suggestion at a time.

The space is that of ablations/search.toml, written out by hand; parameters have the same names, so that
the winner can be trained by the harness too. TPE and Hyperband are Optuna's own, with their defaults, over
SQLite. One process has the threads that torch takes; of several on one storage each has one thread, and TPE's
constant liar, as Optuna's documentation advises. Threads that share cores with other programs wait for each
other: the rate of one process means something on a quiet machine alone.
"""

from __future__ import annotations

import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from labs_loop import in_memory
from optuna.exceptions import ExperimentalWarning
from optuna.trial import BaseTrial, TrialState
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5
NAME = "by hand"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh
}  # fmt: skip
Batches = Iterable[tuple[Tensor, Tensor]]
Feed = Literal["DataLoader", "slices"]


@dataclass(frozen=True)
class Rival:
    """A form of the search by hand: so many processes; batches from a DataLoader, or as slices of tensors."""

    processes: int = 1
    feed: Feed = "DataLoader"

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"study.optimize, {self.feed}, {self.processes} process{'es' if self.processes > 1 else ''}"


@dataclass(frozen=True)
class Done:
    """What one process got done in so many seconds: suggestions that are over, complete ones, and epochs."""

    seconds: float
    suggestions: int
    complete: int
    epochs: int


def network(trial: BaseTrial) -> nn.Sequential:
    """784-..-10, with dropout after every hidden layer."""
    activation = ACTIVATIONS[trial.suggest_categorical("activation", list(ACTIVATIONS))]
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    layers: list[nn.Module] = []
    inputs = 784
    for i in range(1, trial.suggest_int("hidden.depth", 1, 2) + 1):
        width = trial.suggest_int(f"hidden.width.{i}", 32, 256, log=True)
        layers += [nn.Linear(inputs, width), activation(), nn.Dropout(dropout)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def optimizer(trial: BaseTrial, model: nn.Module) -> torch.optim.Optimizer:
    """One of three; momentum where it has one."""
    name = trial.suggest_categorical("optimizer", ["sgd", "momentum", "adam"])
    own = {"lr": trial.suggest_float("lr", 1e-4, 0.3, log=True)}
    if name == "momentum":
        own["momentum"] = trial.suggest_float("momentum", 0.5, 0.99)
    kind: Any = torch.optim.Adam if name == "adam" else torch.optim.SGD
    step: torch.optim.Optimizer = kind(model.parameters(), **own)
    return step


def factor(schedule: str, done: float) -> float:
    """What a schedule makes of the learning rate when a share of all steps is done."""
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]


def batches(data: TensorDataset, size: int, feed: Feed, *, shuffle: bool = False) -> Batches:
    """An epoch of batches: as courses write it, or without a Python call for every image."""
    if feed == "DataLoader":
        return DataLoader(data, batch_size=size, shuffle=shuffle)
    x, y = data.tensors
    order = torch.randperm(len(y)) if shuffle else torch.arange(len(y))
    return ((x[at], y[at]) for at in order.split(size))


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset, feed: Feed) -> float:
    """The share that a network gets right, in inference mode."""
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches(data, 512, feed))
    model.train()
    return right / len(data)


def objective(trial: BaseTrial, train: TensorDataset, val: TensorDataset, feed: Feed) -> float:
    """Train for EPOCHS, unless Hyperband stops it; val is looked at after each epoch."""
    model = network(trial)
    step = optimizer(trial, model)
    loss_function = nn.CrossEntropyLoss()
    size = trial.suggest_categorical("batch_size", [64, 128, 256])
    schedule = trial.suggest_categorical("schedule", ["constant", "linear", "cosine"])
    steps = EPOCHS * math.ceil(len(train) / size)
    rate = torch.optim.lr_scheduler.LambdaLR(step, lambda t: factor(schedule, t / steps))
    reached = 0.0
    for epoch in range(1, EPOCHS + 1):
        for x, y in batches(train, size, feed, shuffle=True):
            loss = loss_function(model(x), y)
            step.zero_grad()
            loss.backward()
            step.step()
            rate.step()
        reached = accuracy(model, val, feed)
        trial.report(reached, epoch)
        if epoch < EPOCHS and trial.should_prune():
            raise optuna.TrialPruned
    return reached


def storage(folder: Path) -> str:
    """Where a search by hand keeps its trials."""
    return f"sqlite:///{folder / 'optuna.db'}"


def load(folder: Path) -> optuna.Study:
    """The study of a folder, made where there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    return optuna.create_study(
        study_name=NAME, storage=storage(folder), pruner=pruner, direction="maximize", load_if_exists=True
    )


def search(rival: Rival, folder: Path, seconds: float, seed: int) -> list[Done]:
    """Go on with the search of a folder for so many seconds; what each process got done.

    The clock starts when all processes have their data in memory. Suggestions in training when it stops are
    finished, and their time counts.

    Args:
        rival: how.
        folder: where its storage is, or is made.
        seconds: after which no suggestion is begun.
        seed: of the samplers; another for each process and each call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    load(folder)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(rival.processes)
    with ProcessPoolExecutor(rival.processes, spawn, _begin, (ready, rival.processes)) as pool:
        places = range(rival.processes)
        running = [pool.submit(_search, rival, folder, seconds, 1000 * seed + place) for place in places]
        return [one.result() for one in running]


_data: list[TensorDataset] = []


def _begin(ready: Any, processes: int) -> None:
    warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's word for the liar
    if processes > 1:
        torch.set_num_threads(1)
    _data[:] = in_memory("fashion_mnist")[:2]  # test stays closed
    ready.wait()


def _search(rival: Rival, folder: Path, seconds: float, seed: int) -> Done:
    torch.manual_seed(seed)
    start = time.perf_counter()
    study = load(folder)
    study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=rival.processes > 1)
    over: list[optuna.trial.FrozenTrial] = []
    train, val = _data
    study.optimize(
        lambda trial: objective(trial, train, val, rival.feed),
        timeout=seconds,
        callbacks=[lambda _, trial: over.append(trial)],
    )
    complete = sum(trial.state == TrialState.COMPLETE for trial in over)
    epochs = sum(len(trial.intermediate_values) for trial in over)
    return Done(time.perf_counter() - start, len(over), complete, epochs)
