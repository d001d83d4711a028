"""Executors: memory that runs out, workers that die, and what is told meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch

from harness import results
from harness.axes.own_networks import ENGINES
from harness.cli import output
from harness.data.datasets import Dataset
from harness.engines import stack_engine as stacked
from harness.engines.stacked import cuda_graphs
from harness.errors import MachineError
from harness.planning import plan
from harness.planning.stack import Stack
from harness.results import parts, run_folder
from harness.searching import loop
from harness.study.reading import load, parse
from harness.study.study import Study
from harness.training import executors, runs
from harness.training.progress import SharedProgress
from harness.training.tasks import StackTask, Task, quiet_arithmetic

Make = Callable[..., Study]
LRS = [0.1, 0.2, 0.3, 0.4, 0.5]


def short_of_memory(monkeypatch: pytest.MonkeyPatch, widest: int, error: Exception) -> list[int]:
    """Let the stacked engine run out of memory above a width; gives the widths it was asked for."""
    asked, whole = [], stacked.train

    def train(trials: Any, *arguments: Any, **named: Any) -> Any:
        asked.append(len(trials))
        if len(trials) > widest:
            raise error
        return whole(trials, *arguments, **named)

    monkeypatch.setattr(stacked, "train", train)
    return asked


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)  # fmt: skip
def test_a_stack_that_needs_too_much_memory_is_halved(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    study = study_of({"lr": LRS}, study={"seeds": 1, "keep_predictions": ["test"]})
    runs.train(study, tmp_path / "whole", device="cpu", workers=1)
    asked = short_of_memory(monkeypatch, 2, error)
    summary = runs.train(study, tmp_path / "halved", device="cpu", workers=1)
    assert asked == [5, 2, 3, 1, 2]
    assert summary.statuses == {"ok": 5}
    whole, halved = (results.read(tmp_path / name) for name in ("whole", "halved"))
    assert sorted(halved.trials["group_size"]) == [1, 2, 2, 2, 2]
    assert set(whole.trials["group_size"]) == {5}
    assert list(halved.trials["trial_id"]) == list(whole.trials["trial_id"])
    for name in ("train_loss", "test_accuracy"):
        assert halved.trials[name].to_numpy() == pytest.approx(whole.trials[name].to_numpy(), rel=1e-3)
    assert len(halved.epochs) == len(whole.epochs)
    (path,) = (tmp_path / "halved/predictions").iterdir()
    with np.load(path) as arrays:
        assert sorted(arrays["trial_id"]) == sorted(halved.trials["trial_id"])
        assert arrays["test_predicted"].shape == (5, 360)


@pytest.mark.usefixtures("a_stack_a_seed")
def test_a_trial_that_needs_too_much_memory_by_itself_fails_with_the_message(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = short_of_memory(monkeypatch, 0, RuntimeError("out of memory\nand more"))
    summary = runs.train(study_of({"lr": LRS}), tmp_path, device="cpu", workers=1)
    assert asked == [5, 2, 1] * 2
    assert summary.statuses == {"failed": 10}
    assert set(results.read(tmp_path).trials["reason"]) == {"RuntimeError: out of memory and more"}


def test_other_errors_are_not_tried_in_halves(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = short_of_memory(monkeypatch, 0, RuntimeError("shapes do not match"))
    runs.train(study_of({"lr": LRS}, study={"seeds": 1}), tmp_path, device="cpu", workers=1)
    assert asked == [5]


def test_a_part_that_cannot_be_written_stops_the_run(study_of: Make, tmp_path: Path) -> None:
    study = study_of(study={"seeds": 1})
    (stack,) = plan.make(study).stacks
    (tmp_path / "parts").write_text("in the way")
    with pytest.raises(MachineError, match=r"parts/g\w+\.zip cannot be written"):
        executors.run_task(StackTask(stack, "cpu", study, tmp_path))


def test_training_in_this_process_leaves_its_arithmetic_as_it_was(study_of: Make, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("high")
    runs.train(study_of(epochs=1), tmp_path, device="cpu", workers=1)
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "high"
    with quiet_arithmetic("torch"):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
    torch.set_float32_matmul_precision("highest")
    assert np.multiply(np.float64(5e-324), 1.0) > 0  # subnormal numbers are there again
    torch.set_num_threads(before)


@pytest.mark.parametrize("shares", [1, 2, 3, 8])
def test_a_stack_in_shares_trains_every_trial_once(study_of: Make, tmp_path: Path, shares: int) -> None:
    study = study_of({"lr": LRS}, epochs=1, study={"seeds": 1})
    (stack,) = plan.make(study).stacks
    result = executors.run_task(StackTask(stack, "cpu", study, tmp_path, shares=shares))
    assert result.statuses == {"ok": 5}
    assert set(run_folder.finished(tmp_path)) == {trial.trial_id for trial in stack.trials}


def test_a_stack_goes_to_the_gpu_that_is_free(study_of: Make, tmp_path: Path) -> None:
    study = study_of()
    (stack,) = plan.make(study).stacks
    gpus = ["cuda:0", "cuda:1", "cuda:2"]
    busy = [StackTask(stack, device, study, tmp_path) for device in ("cuda:2", "cuda:0")]
    assert executors.idlest(gpus, busy) == "cuda:1"
    assert executors.idlest(gpus, []) == "cuda:0"
    assert executors.idlest(["cpu"], [StackTask(stack, "cpu", study, tmp_path)] * 3) == "cpu"


# --------------------------------------------------------------------------------------------------- progress


def noting(_stack: Any, _data: Any, _feed: Any, note: Callable[[str], None]) -> None:
    note("a step cannot be recorded")


@pytest.mark.usefixtures("in_pytorch")
def test_notes_of_an_engine_are_shown_once(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_graphs, "steps", noting)
    study = study_of({"batch_size": [32, 64]}, epochs=1, study={"seeds": 1})
    summary = runs.train(study, tmp_path, device="cpu", workers=1)
    assert summary.notes == ["a step cannot be recorded"]
    assert summary.statuses == {"ok": 2}
    output.show_summary(summary)
    assert "note: a step cannot be recorded" in capsys.readouterr().err


@pytest.mark.usefixtures("in_pytorch")
def test_a_search_shows_notes_of_an_engine_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_graphs, "steps", noting)
    tables = {
        "study": {"name": "small", "design": "search", "seeds": 1},
        "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
        "search": {"suggestions": 4, "batch": 2, "sampler": "random", "finalists": 1},
        "space": {"lr": {"low": 0.01, "high": 0.1}},
    }
    loop.search(parse(tables), tmp_path, workers=1)
    assert capsys.readouterr().err.count("note: a step cannot be recorded") == 1


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_the_progress_ends_at_the_trials_trained(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    study = study_of({"lr": [*LRS[:4], 1e25]}, loss="mse")
    stacks = plan.make(study, engine).stacks
    short_of_memory(monkeypatch, 2, MemoryError())
    shared = SharedProgress([len(stack.trials) for stack in stacks], 3)
    tasks = [StackTask(stack, "cpu", study, tmp_path, place) for place, stack in enumerate(stacks)]
    assert len(list(executors.Workers(1, [], shared).run(tasks))) == len(stacks)
    assert list(shared.trained) == [len(stack.trials) for stack in stacks]


# -------------------------------------------------------------------------------- workers that begin early


def test_workers_end_if_their_data_are_missing(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = []

    def load(_: Dataset) -> None:
        alive.append(len(multiprocessing.active_children()))
        raise MachineError("no data")

    monkeypatch.setattr(Dataset, "load", load)
    with pytest.raises(MachineError, match="no data"):
        runs.train(study_of(), tmp_path, device="cpu", workers=2)
    assert alive == [2]
    assert not multiprocessing.active_children()
    assert not (tmp_path / "plan.json").exists()


def test_one_worker_is_this_process(study_of: Make, tmp_path: Path) -> None:
    study = study_of(study={"seeds": 1})
    (stack,) = plan.make(study).stacks
    with closing(executors.Workers(1, [], SharedProgress([1], 3))) as workers:
        workers.start(["stacked"])
        assert not multiprocessing.active_children()
        assert not list(tmp_path.iterdir())
        stack_results = workers.run([StackTask(stack, "cpu", study, tmp_path)])
        assert [result.statuses for result in stack_results] == [{"ok": 1}]


OWN_TWO = """
from harness.axes.losses import losses
from harness.axes.metrics import metrics

@losses.register("own_square", takes="probabilities")
def own_square(output, target):
    '''Squared error, and squared once more.'''
    return ((output - target) ** 4).sum(-1)

@metrics.register("own_highest")
def own_highest(probabilities, target):
    '''The highest probability.'''
    return probabilities.max(-1).values
"""


def test_workers_know_a_plugin_that_the_study_does_not_name(tmp_path: Path) -> None:
    (tmp_path / "own_two.py").write_text(OWN_TWO)
    tables = {
        "study": {"name": "unnamed", "seeds": 1, "metrics": ["own_highest"]},
        "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1, "head": "softmax"},
        "axes": {"loss": ["own_square"], "batch_size": [32, 64]},
    }
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(tables).encode())
    study = load(tmp_path / "study.toml", plugin_files=[tmp_path / "own_two.py"])
    summary = runs.train(study, tmp_path / "results", device="cpu", workers=2)
    assert summary.statuses == {"ok": 2}
    assert results.read(tmp_path / "results").trials["test_own_highest"].between(0.1, 1).all()


# ------------------------------------------------------------------------------------------- workers that die

DEADLY = """
import multiprocessing, os, signal
from harness.axes.activations import activations

def kill_worker():
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)

def relu(x):
    '''Compute ReLU with an operation that has no compiled form: a compiled function is not called.'''
    return x.relu() + 0 * x.fmod(1)

@activations.register("wide")
def wide(x):
    '''ReLU that kills its worker in a stack of more than 2 on batches of 32, as if memory were short.'''
    if x.ndim == 3 and len(x) > 2 and x.shape[-1] == 32:
        kill_worker()
    return relu(x)

@activations.register("always")
def always(x):
    '''ReLU that kills its worker.'''
    kill_worker()
    return relu(x)
"""


@pytest.fixture
def deadly(tmp_path: Path) -> Callable[..., Study]:
    """Studies with components that kill the process they run in, unless it is the main one."""
    (tmp_path / "deadly.py").write_text(DEADLY)

    def make(axes: dict[str, Any], **baseline: Any) -> Study:
        tables = {
            "study": {"name": "deadly", "seeds": 1, "plugins": ["deadly.py"]},
            "baseline": {"dataset": "digits", "hidden": [4], "epochs": 1, **baseline},
            "axes": axes,
        }
        (tmp_path / "study.toml").write_bytes(tomli_w.dumps(tables).encode())
        return load(tmp_path / "study.toml")

    return make


def test_a_stack_that_kills_its_worker_is_halved_and_the_others_stay_whole(
    deadly: Callable[..., Study], tmp_path: Path
) -> None:
    study = deadly({"lr": [0.1, 0.2, 0.3, 0.4], "batch_size": [32, 64, 256]}, activation="wide")
    summary = runs.train(study, tmp_path / "results", device="cpu", workers=2)
    assert summary.statuses == {"ok": 12}
    rows = results.read(tmp_path / "results").trials
    sizes = {batch: set(rows.loc[rows["batch_size"] == batch, "group_size"]) for batch in (32, 64, 256)}
    assert sizes[32] == {2}
    # Beside it was one other stack in flight, which may have gone with the worker; the third was not begun.
    assert {4} in (sizes[64], sizes[256])


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_fails_alone(
    deadly: Callable[..., Study], tmp_path: Path
) -> None:
    study = deadly({"activation": ["relu", "always"], "batch_size": [32, 64]}, epochs=4)
    cases: list[tuple[str, int]] = [("loop", 2), ("stacked", 4)]
    for engine, failed in cases:
        folder = tmp_path / engine
        summary = runs.train(study, folder, device="cpu", workers=2, engine=engine)
        rows = results.read(folder).trials
        assert summary.statuses == {"ok": 4 - failed, "failed": failed} if failed < 4 else {"failed": 4}
        reasons = set(rows.loc[rows["status"] == "failed", "reason"])
        assert reasons == {"its worker process died (killed, or out of memory) 3 times"}
        assert len(summary.failures) == 2


def test_every_engine_trains_the_same_plan(study_of: Make, tmp_path: Path) -> None:
    study = study_of({"optimizer": ["sgd", "adam"]}, study={"seeds": 1})
    engines = ENGINES
    for name in engines:
        runs.train(study, tmp_path / name, device="cpu", workers=1, engine=name)
    one, *others = (results.read(tmp_path / engine).trials for engine in engines)
    for engine, other in zip(engines[1:], others, strict=True):
        assert set(other["engine"]) == {engine}
        assert set(other["group_size"]) == {1}
        assert list(one["trial_id"]) == list(other["trial_id"])
        assert one["train_loss"].to_numpy() == pytest.approx(other["train_loss"].to_numpy(), rel=1e-4)


def test_a_stack_whose_part_cannot_be_made_fails_alone(
    study_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "write", lambda *_: 1 / 0)
    summary = runs.train(study_of(), tmp_path, device="cpu", workers=1)
    assert summary.statuses == {"failed": 2}
    assert set(results.read(tmp_path).trials["reason"]) == {"ZeroDivisionError: division by zero"}


@dataclass(frozen=True)
class Number(Task[int]):
    """A task whose result is its number."""

    number: int = 0

    def run(self, shared: SharedProgress | None = None) -> int:  # noqa: ARG002 (the tasks' signature)
        return self.number

    def train(self, *_: Any) -> int:
        raise NotImplementedError

    def failed(self, message: str) -> int:
        raise NotImplementedError


def number(n: int) -> Number:
    return Number(Stack("g", "numpy", ()), "cpu", None, n)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_may_follow_from_results_and_other_things_are_done_meanwhile(count: int) -> None:
    waiting, chores, done = [number(0), number(10)], [1, 2, 3], []
    with closing(executors.Workers(count, [])) as workers:
        workers.start({"numpy"})
        take = lambda: waiting.pop(0) if waiting else None  # noqa: E731
        for result in workers.serve(take, ["cpu"], lambda: bool(chores and chores.pop())):
            done.append(result)
            if result < 3:
                waiting.append(number(result + 1))
    assert sorted(done) == [0, 1, 2, 3, 10]
    assert not chores


@pytest.mark.parametrize(("ahead", "expected"), [(False, 2), (True, 4)])
def test_a_worker_has_its_next_task_early(ahead: bool, expected: int) -> None:
    taken: list[int] = []

    def take() -> Number | None:
        taken.append(len(taken))
        return number(len(taken)) if len(taken) <= 8 else None

    with closing(executors.Workers(2, [])) as workers:
        workers.start({"numpy"})
        results = workers.serve(take, ["cpu"], ahead=ahead)
        first = [next(results)]
        assert len(taken) == expected
        workers.limit(1)
        rest = [(result, len(taken)) for result in results]
    assert sorted([*first, *(result for result, _ in rest)]) == list(range(1, 9))
    assert all(many <= len(first) + i + expected for i, (_, many) in enumerate(rest))
