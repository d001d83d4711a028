"""Check an optimizer: its steps on given gradients, against the harness's and torch.optim's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.axes import formulas
from harness.axes.optimizers import Optimizer, optimizers
from harness.check import calling, numbers
from harness.check.calling import Array, Findings, Library
from harness.check.optimizer_mistakes import Step, optimizer_mistakes
from harness.check.result import CheckResult
from harness.errors import ComponentError, UsageError, did_you_mean, in_words
from harness.settings import Setting
from harness.system.lazy import torch
from harness.text import joined

STEPS = 6
SHAPES = ((2, 4), (3,))
SINGLE = 2e-3
"""Relative difference of how far parameters moved to which single precision agrees: they moved by 1e-3."""
ALIASES: Mapping[str, Sequence[str]] = {
    "lr": ("learning_rate", "eta", "step_size", "rate"), "eps": ("epsilon",),
    "alpha": ("rho", "beta", "decay_rate"), "momentum": ("mu", "beta", "gamma"),
    "weight_decay": ("wd", "l2", "decay"),
}  # fmt: skip
COUNTERS = {"t", "k", "i", "n", "step", "iteration", "timestep"}
TRIED: Mapping[str, Any] = {
    "weight_decay": 0.1, "eps": 1e-2, "momentum": 0.8, "dampening": 0.5, "betas": (0.7, 0.9), "alpha": 0.8,
    "centered": True, "amsgrad": True, "lr_decay": 0.3, "initial_accumulator_value": 0.5,
}  # fmt: skip
"""Other values of settings with which an optimizer is tried, where it has them."""


def optimizer(fn: Any, like: str = "adam", **settings: Any) -> CheckResult:
    """Check an optimizer of your own: its steps, against the harness's and torch.optim's.

    Args:
        fn: a function update(param, grad, state, t, *, lr, ..) that changes param in place, as registered
            ones are, in PyTorch or NumPy (state and t may be left out); a class, or a function of parameters,
            whose object has step(), as torch.optim's; or the name of a registered optimizer.
        like: the registered optimizer that it should be: "sgd", "momentum", "nesterov", "rmsprop", "adam",
            "adamw", "adagrad".
        settings: of the optimizer, such as lr=0.01; the others have the harness's defaults, and then other
            values are tried of those for which fn has a parameter.

    Returns:
        A result that is true where all steps are equal, to rounding; shown, it says what is wrong.

    Raises:
        UsageError: `like` or a setting is unknown, or fn is no optimizer.

    Example:
        >>> def my_sgd(param, grad, lr):
        ...     param += lr * grad
        >>> optimizer(my_sgd, "sgd").problems[0][:30]
        'it goes up: the sign is wrong,'
    """
    reference = optimizers.entry(like).component
    unknown = [name for name in settings if name not in reference.settings]
    if unknown:
        raise UsageError(
            f"{unknown[0]} is no setting of {like}: {did_you_mean(unknown[0], reference.settings)}"
        )
    subject = _subject(fn)
    base = {name: settings.get(name, _default(setting)) for name, setting in reference.settings.items()}
    refused = [name for name in settings if not subject.takes(name)]
    if refused:
        raise UsageError(
            f"{subject.name} has no parameter {refused[0]!r}; it has: "
            f"{', '.join(subject.parameters) or 'none'}"
        )
    with calling.checking(f"{subject.name} as {like}") as findings:
        _OptimizerCheck(subject, reference, base, findings).all(settings)
    return findings.result()


def _default(setting: Setting) -> Any:
    return tuple(setting.default) if isinstance(setting.default, list) else setting.default


@dataclass(frozen=True)
class _Subject:
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


def _subject(fn: Any) -> _Subject:
    """Tell what kind of optimizer something is; raise UsageError if it is none."""
    if isinstance(fn, str):
        update = optimizers[fn].update
        return _Subject(fn, update, False, tuple(inspect.signature(update).parameters))
    if not callable(fn):
        raise UsageError(
            f"fn = {fn!r:.80}: allowed: a function update(param, grad, state, t, *, lr), or a class such as "
            "torch.optim.Adam"
        )
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError) as error:
        raise UsageError(f"fn: the parameters of {fn!r:.80} cannot be read: {error}") from error
    names = tuple("**" if p.kind is p.VAR_KEYWORD else name for name, p in parameters.items())
    needed, _ = calling.positional(fn) or (1, 1)
    makes = inspect.isclass(fn) or needed == 1
    return _Subject(calling.name_of(fn), fn, makes, names)


@dataclass(frozen=True)
class _Problem:
    """What an optimizer is tried on: two arrays, gradients (STEPS of each), and settings."""

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


def _problem(settings: Mapping[str, Any], changed: str = "") -> _Problem:
    """Make a problem whose gradients have many sizes, 0 among them."""
    rng = np.random.default_rng(0)
    starts = [rng.uniform(0.2, 1, shape) * rng.choice([-1, 1], shape) for shape in SHAPES]
    gradients = []
    for _ in range(STEPS):
        step = [rng.standard_normal(shape) for shape in SHAPES]
        step[0][0, 0], step[0][0, 1], step[1][0] = 0.0, step[0][0, 1] * 1e-3, step[1][0] * 1e-5
        gradients.append(step)
    return _Problem(starts, gradients, settings, changed)


class _OptimizerCheck:
    """The steps of a check; each adds to the findings."""

    def __init__(
        self, subject: _Subject, reference: Optimizer, base: Mapping[str, Any], findings: Findings
    ) -> None:
        self.subject, self.reference, self.base, self.findings = subject, reference, base, findings
        self.single = False
        self.returned = False

    def all(self, given: Mapping[str, Any]) -> None:
        """Compare the steps with the default settings and with others."""
        problems = list(self._problems(given))
        self.right_step = self._right_step()
        gots = [self._run(problem) for problem in problems]
        expecteds = [problem.by(self.right_step) for problem in problems]
        self.same = SINGLE if self.single else numbers.SINGLE
        offs = [numbers.error(got, expected) for got, expected in zip(gots, expecteds, strict=True)]
        if max(offs) < self.same:
            self._tell(problems, gots, max(offs))
        else:
            self._tell_wrong(problems, gots, expecteds, offs)
        if self.returned and not self.findings.problems:
            self.findings.notes.append(
                "it returns new parameters: a registered optimizer must change param in place (param -= ..)"
            )

    def _problems(self, given: Mapping[str, Any]) -> Iterator[_Problem]:
        """Yield the base problem, and one with another value of each setting that fn has."""
        yield _problem(self.base)
        for name in self.base:
            if name in TRIED and name not in given and self.subject.takes(name):
                more = {"momentum": 0.9} if name == "dampening" else {}
                yield _problem({**self.base, **more, name: TRIED[name]}, f"{name} = {TRIED[name]}")

    def _right_step(self) -> Step:
        """Give the right step in NumPy: the harness's formula, or a third party's registered update."""
        name = self.reference.name
        if name in formulas.OPTIMIZERS and not optimizers.entry(name).third_party:
            return formulas.OPTIMIZERS[name]

        def step(p: Array, g: Array, state: dict[str, Any], k: int, **settings: Any) -> None:
            with torch.no_grad():
                self.reference.update(torch.from_numpy(p), torch.from_numpy(g), state, k, **settings)

        return step

    def _run(self, problem: _Problem) -> Array:
        """Run a person's optimizer: how far the numbers moved after each step (STEPS, n)."""
        if self.subject.makes:
            return self._run_object(problem)
        faults = []
        libraries: list[tuple[Library, type]] = [
            (library, dtype)
            for library in calling.libraries(self.subject.function, "torch")
            for dtype in (np.float64, np.float32)
        ]
        for library, dtype in libraries:
            try:
                moved = self._run_update(problem, library, dtype)
            except ComponentError as fault:
                faults.append(fault)
            else:
                self.single = self.single or dtype is np.float32
                self.library = library
                return moved
        raise faults[0]

    def _run_update(self, problem: _Problem, library: Library, dtype: type) -> Array:
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

    def _run_object(self, problem: _Problem) -> Array:
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

    def _tell(self, problems: Sequence[_Problem], gots: Sequence[Array], off: float) -> None:
        changed = [problem.changed for problem in problems if problem.changed]
        settings = ", ".join(
            f"{name} = {value}" for name, value in self.base.items() if self.subject.takes(name)
        )
        others = f", and with {joined(changed)}, each alone" if changed else ""
        self.findings.compared.append(
            f"{STEPS} steps of {sum(math.prod(shape) for shape in SHAPES)} parameters with "
            f"{settings}{others} (largest "
            f"relative difference {off:.1g})"
        )
        self._tell_torch(problems, gots)
        missing = [name for name in self.base if not self.subject.takes(name)]
        if missing:
            self.findings.notes.append(f"not compared, because it has no such setting: {', '.join(missing)}")
        if off > numbers.DOUBLE:
            self.findings.notes.append(f"equal to single precision only: a relative difference of {off:.1g}")

    def _tell_torch(self, problems: Sequence[_Problem], gots: Sequence[Array]) -> None:
        """Compare with the class in torch.optim, where there is one that does the same."""
        reference = self.reference
        if reference.torch_class is None:
            return
        worst = 0.0
        for problem, got in zip(problems, gots, strict=True):
            if any(problem.settings[name] for name in reference.torch_differs):
                continue
            made = getattr(torch.optim, reference.torch_class)
            theirs = _Subject(reference.torch_class, made, True, ("**",))
            check = _OptimizerCheck(theirs, reference, self.base, self.findings)
            settings = {**problem.settings, **reference.torch_settings}
            worst = max(worst, numbers.error(got, check._run_object(_problem(settings))))
        if worst < self.same:
            self.findings.compared.append(f"torch.optim.{reference.torch_class} ({worst:.1g})")

    def _tell_wrong(
        self,
        problems: Sequence[_Problem],
        gots: Sequence[Array],
        expecteds: Sequence[Array],
        offs: Sequence[float],
    ) -> None:
        """Say which mistake gives exactly these steps, or where they differ first."""
        if not any(got.any() for got in gots):
            self.findings.problems.append(
                "changes no parameter: it must change `param` in place (param -= .., param.sub_(..))"
            )
            return
        words = self._diagnosis(problems, gots, expecteds)
        first = next(i for i, off in enumerate(offs) if off >= self.same)
        step, place = self._first_difference(gots[first], expecteds[first])
        start = np.concatenate([x.ravel() for x in problems[first].starts])[place]
        wrong = f" with {problems[first].changed}" if problems[first].changed else ""
        right = "With the other settings it is right. " if first > 0 and not words else ""
        self.findings.problems.append(
            f"{words or 'its steps differ'}. {right}After step {step + 1}{wrong}, a parameter that was "
            f"{start:.6g} is "
            f"{start + gots[first][step, place]:.9g}; of {self.reference.name} it is "
            f"{start + expecteds[first][step, place]:.9g}"
        )

    def _first_difference(self, got: Array, expected: Array) -> tuple[int, int]:
        for step in range(STEPS):
            if numbers.error(got[step], expected[step]) >= self.same:
                off = np.abs(np.where(np.isfinite(got[step]), got[step], np.inf) - expected[step])
                return step, int(off.argmax())
        off = np.abs(got - expected)
        return int(off.max(1).argmax()), int(off.max(0).argmax())

    def _diagnosis(
        self, problems: Sequence[_Problem], gots: Sequence[Array], expecteds: Sequence[Array]
    ) -> str:
        for mistake in optimizer_mistakes(self.reference.name, self.right_step):
            try:
                made = [problem.by(mistake.step) for problem in problems]
            except (KeyError, TypeError, ZeroDivisionError):  # of an optimizer with other settings
                continue
            if numbers.worst(gots, made) < self.same:
                return mistake.words
        if not np.isfinite(gots[0]).all() and np.isfinite(expecteds[0]).all():
            step = int(np.argmax(~np.isfinite(gots[0]).all(1))) + 1
            return (
                f"parameters are not finite from step {step} on (a division by 0 where a gradient is 0, "
                "or by "
                "1 - beta^t at t = 0?)"
            )
        ratios = [numbers.ratio(got[0], expected[0]) for got, expected in zip(gots, expecteds, strict=True)]
        value = ratios[0]
        same = all(ratio is not None and math.isclose(ratio, value or 0) for ratio in ratios)
        if value is not None and same and not math.isclose(value, 1, rel_tol=numbers.SAME_FACTOR):
            return f"the first step is exactly {value:.6g} times as long"
        return self._mixed()

    def _mixed(self) -> str:
        """Say so if the steps of one array change with the presence of another."""
        if self.subject.makes:
            return ""
        both = _problem(self.base)
        alone = _Problem(both.starts[:1], [step[:1] for step in both.gradients], self.base)
        size = both.starts[0].size
        if numbers.error(self._run(alone), self._run(both)[:, :size]) < self.same:
            return ""
        return (
            "the steps of one array of parameters change with another's: keep what is remembered in "
            "`state`, of which "
            "each array has its own, and not in a global variable"
        )
