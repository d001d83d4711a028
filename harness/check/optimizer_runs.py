"""A person's optimizer, run on given gradients: a function that takes a step, or an object with step()."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.axes.optimizers import optimizers
from harness.check import calling
from harness.check.calling import Array, Library
from harness.check.optimizer_mistakes import Step
from harness.errors import ComponentError, UsageError, in_words
from harness.system.lazy import torch

STEPS = 6
SHAPES = ((2, 4), (3,))
ALIASES: Mapping[str, Sequence[str]] = {
    "lr": ("learning_rate", "eta", "step_size", "rate"), "eps": ("epsilon",),
    "alpha": ("rho", "beta", "decay_rate"), "momentum": ("mu", "beta", "gamma"),
    "weight_decay": ("wd", "l2", "decay"),
}  # fmt: skip
COUNTERS = {"t", "k", "i", "n", "step", "iteration", "timestep"}


@dataclass(frozen=True)
class OptimizerSubject:
    """A person's optimizer: a function that takes a step, or what makes an object with step()."""

    name: str
    function: Callable[..., Any]
    makes: bool
    parameters: tuple[str, ...]

    def names_of(self, setting: str) -> list[str]:
        """Give the parameter that is this setting, or the two that are a pair."""
        if setting == "betas" and {"beta1", "beta2"} <= set(self.parameters):
            return ["beta1", "beta2"]
        return [name for name in (setting, *ALIASES.get(setting, ())) if name in self.parameters][:1]

    def takes(self, setting: str) -> bool:
        """Tell whether it has a parameter for a setting."""
        return bool(self.names_of(setting)) or "**" in self.parameters

    def chosen(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give the settings for which it has parameters, under its own names."""
        chosen: dict[str, Any] = {}
        for name, value in settings.items():
            own = self.names_of(name)
            if len(own) == 2:
                chosen |= dict(zip(own, value, strict=True))
            elif own or "**" in self.parameters:
                chosen[own[0] if own else name] = value
        return chosen


def subject_of(fn: Any) -> OptimizerSubject:
    """Tell what kind of optimizer something is; raise UsageError if it is none."""
    if isinstance(fn, str):
        update = optimizers[fn].update
        return OptimizerSubject(fn, update, False, tuple(inspect.signature(update).parameters))
    if not callable(fn):
        raise UsageError(
            f"fn = {fn!r:.80}: allowed: a function update(param, grad, state, t, *, lr), or a class such "
            "as torch.optim.Adam"
        )
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError) as error:
        raise UsageError(f"fn: the parameters of {fn!r:.80} cannot be read: {error}") from error
    names = tuple("**" if p.kind is p.VAR_KEYWORD else name for name, p in parameters.items())
    needed, _ = calling.positional(fn) or (1, 1)
    makes = inspect.isclass(fn) or needed == 1
    return OptimizerSubject(calling.name_of(fn), fn, makes, names)


@dataclass(frozen=True)
class StepProblem:
    """Problem that an optimizer is tried on: two arrays, gradients (STEPS of each), and settings."""

    starts: Sequence[Array]
    gradients: Sequence[Sequence[Array]]
    settings: Mapping[str, Any]
    changed: str = ""

    def moved(self, arrays: Sequence[Array]) -> Array:
        """Return how far all numbers have moved, in one row."""
        return np.concatenate([(a - start).ravel() for a, start in zip(arrays, self.starts, strict=True)])

    def by(self, step: Step) -> Array:
        """Return how far they moved after each step (STEPS, n), of a step written in NumPy."""
        arrays = [start.copy() for start in self.starts]
        states: list[dict[str, Array]] = [{} for _ in arrays]
        rows = []
        for k, gradients in enumerate(self.gradients, 1):
            for array, gradient, state in zip(arrays, gradients, states, strict=True):
                step(array, gradient.copy(), state, k, **self.settings)
            rows.append(self.moved(arrays))
        return np.array(rows)


def problem_of(settings: Mapping[str, Any], changed: str = "") -> StepProblem:
    """Make a problem whose gradients have many sizes, 0 among them."""
    rng = np.random.default_rng(0)
    starts = [rng.uniform(0.2, 1, shape) * rng.choice([-1, 1], shape) for shape in SHAPES]
    gradients = []
    for _ in range(STEPS):
        step = [rng.standard_normal(shape) for shape in SHAPES]
        step[0][0, 0], step[0][0, 1], step[1][0] = 0.0, step[0][0, 1] * 1e-3, step[1][0] * 1e-5
        gradients.append(step)
    return StepProblem(starts, gradients, settings, changed)


class OptimizerRuns:
    """Runs of one optimizer; `single` if one needed single precision, `returned` if it gave new arrays."""

    def __init__(self, subject: OptimizerSubject) -> None:
        self.subject = subject
        self.single = False
        self.returned = False

    def moved(self, problem: StepProblem) -> Array:
        """Run a person's optimizer: how far the numbers moved after each step (STEPS, n)."""
        if self.subject.makes:
            return self._of_object(problem)
        faults = []
        libraries: list[tuple[Library, type]] = [
            (library, dtype)
            for library in calling.libraries(self.subject.function, "torch")
            for dtype in (np.float64, np.float32)
        ]
        for library, dtype in libraries:
            try:
                moved = self._of_update(problem, library, dtype)
            except ComponentError as fault:
                faults.append(fault)
            else:
                self.single = self.single or dtype is np.float32
                self.library = library
                return moved
        raise faults[0]

    def _of_update(self, problem: StepProblem, library: Library, dtype: type) -> Array:
        make = (
            (lambda a: torch.from_numpy(a.astype(dtype)))
            if library == "torch"
            else (lambda a: a.astype(dtype))
        )
        arrays: list[Any] = [make(start) for start in problem.starts]
        states: list[dict[str, Any]] = [{} for _ in arrays]
        settings, rows = self.subject.chosen(problem.settings), []
        for k, gradients in enumerate(problem.gradients, 1):
            for i, gradient in enumerate(gradients):
                before = np.array(arrays[i])
                result = self._step(arrays[i], make(gradient), states[i], k, settings)
                new = isinstance(result, (np.ndarray, torch.Tensor)) and tuple(result.shape) == before.shape
                if new and np.array_equal(np.array(arrays[i]), before):
                    arrays[i], self.returned = result, True
            rows.append(problem.moved([np.array(array, dtype=np.float64) for array in arrays]))
        return np.array(rows)

    def _step(self, param: Any, grad: Any, state: dict[str, Any], k: int, settings: Mapping[str, Any]) -> Any:
        """Call update with as many arguments as it takes."""
        named = [name for name in self.subject.parameters if name not in settings and name != "**"]
        more = [k if name.strip("_").lower() in COUNTERS else state for name in named[2:4]]
        try:
            with torch.no_grad():
                return self.subject.function(param, grad, *more, **settings)
        except (KeyboardInterrupt, UsageError):
            raise
        except BaseException as error:
            where = calling.line_of(error, self.subject.function)
            raise ComponentError(
                f"{self.subject.name} raises {in_words(error)} ({where}at step {k}, of parameters "
                f"{tuple(param.shape)})"
            ) from error

    def _of_object(self, problem: StepProblem) -> Array:
        """Run what makes an object with step(), as torch.optim's classes do."""
        parameters = [torch.nn.Parameter(torch.from_numpy(start.copy())) for start in problem.starts]
        name, rows = self.subject.name, []
        try:
            made = self.subject.function(parameters, **self.subject.chosen(problem.settings))
            step = getattr(made, "step", None)
            for gradients in problem.gradients if callable(step) else ():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = torch.from_numpy(gradient.copy())
                made.step()
                rows.append(problem.moved([p.detach().numpy() for p in parameters]))
        except (KeyboardInterrupt, UsageError):
            raise
        except BaseException as error:
            where = calling.line_of(error, self.subject.function)
            raise ComponentError(
                f"{name} raises {in_words(error)} ({where}at step {len(rows) + 1})"
            ) from error
        if not rows:
            raise ComponentError(
                f"{name} gives {type(made).__name__}; allowed: an object with step(), or a function "
                "update(param, grad, state, t, *, lr)"
            )
        return np.array(rows)
