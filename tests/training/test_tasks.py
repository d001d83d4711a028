"""A stack that fails is a result; a GPU that fails, or is gone, ends the run in words."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import MachineError
from harness.planning.plan import draw, make
from harness.study.reading import parse
from harness.training import folder_runs, tasks
from harness.training.options import RunOptions
from harness.training.tasks import StackTask

STUDY = {
    "study": {"name": "gpu", "hypothesis": "A GPU may fail.", "seeds": 1},
    "baseline": {"dataset": "digits", "epochs": 1, "hidden": [4]},
    "axes": {"lr": [0.1, 0.2, 0.3, 0.4]},
}


Failing = Callable[[Exception], tuple[StackTask, list[int]]]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """A stack's task on a GPU whose engine raises, and how many trials it was given each time."""

    def made(error: Exception) -> tuple[StackTask, list[int]]:
        given: list[int] = []

        def train(trials: Any, *_: Any, **__: Any) -> None:
            given.append(len(trials))
            raise error

        monkeypatch.setattr(tasks, "engine", lambda _: SimpleNamespace(train=train))
        study = parse(STUDY)
        plan = make(study)
        return StackTask(plan.stacks[0], "cuda:0", study, tmp_path), given

    return made


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: unspecified launch failure",
        "No CUDA GPUs are available",
    ],
)
def test_a_gpu_that_fails_ends_the_run(failing: Failing, words: str) -> None:
    task, given = failing(RuntimeError(words))
    expected = rf"the GPU \(cuda:0\) does not go on: RuntimeError: {words}. What is finished is safe"
    with pytest.raises(MachineError, match=expected):
        task.run()
    assert given == [4]  # no halves of it: nothing would train
    with pytest.raises(MachineError, match="with HARNESS_KERNELS=off without the harness's own kernels"):
        task.run()


def test_an_assertion_on_a_gpu_fails_its_stack_alone(failing: Failing) -> None:
    task, _ = failing(RuntimeError("CUDA error: device-side assert triggered"))
    assert "device-side assert triggered" in task.run().failure


def test_a_full_gpu_trains_halves_and_then_fails_the_stack(failing: Failing) -> None:
    task, given = failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    result = task.run()
    assert given == [4, 2, 1]
    assert "CUDA out of memory" in result.failure


def test_a_components_own_error_fails_its_stack_alone(failing: Failing) -> None:
    task, _ = failing(RuntimeError("shapes do not match"))
    assert task.run().failure.startswith("RuntimeError: shapes do not match")


def test_a_task_does_not_grow_with_the_data_sets_of_its_study(tmp_path: Path) -> None:
    """Each is sent to a worker by itself: of 400 data sets, a task was 260 kB."""
    sizes = []
    for sets in (2, 40):
        letters = {"generate": "glyphs", "classes": "AB", "per_class": 4, "test_per_class": 2, "size": 8}
        study = parse({
            "study": {"name": "letters", "seeds": 2},
            "baseline": {"hidden": [], "epochs": 1, "batch_size": 2},
            "axes": {"dataset": [f"letters{k}" for k in range(sets)]},
            "datasets": {f"letters{k}": {**letters, "seed": k} for k in range(sets)},
        })  # fmt: skip
        options = RunOptions(workers=1, device="cpu")
        planned, _ = folder_runs.plan_run(draw(study), tmp_path / str(sets), options)
        sizes.append(max(len(pickle.dumps(task)) for task in planned.tasks))
    assert sizes[1] < 1.1 * sizes[0]
