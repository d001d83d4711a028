"""Check an optimizer: its steps on given gradients, against the harness's and torch.optim's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.axes import formulas
from harness.axes.optimizers import Optimizer, optimizers
from harness.check import calling, numbers
from harness.check.calling import Array, Findings
from harness.check.optimizer_mistakes import Step, optimizer_mistakes
from harness.check.optimizer_runs import (
    SHAPES,
    STEPS,
    OptimizerRuns,
    OptimizerSubject,
    StepProblem,
    problem_of,
    subject_of,
)
from harness.check.result import CheckResult
from harness.errors import UsageError
from harness.settings import Setting
from harness.system.lazy import torch
from harness.text import joined

SINGLE = 2e-3
"""Relative difference of how far parameters moved to which single precision agrees: they moved by 1e-3."""
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
    settings = calling.checked_settings(f"optimizer {like!r}", reference.settings, settings)
    subject = subject_of(fn)
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


class _OptimizerCheck:
    """The steps of a check; each adds to the findings."""

    def __init__(
        self, subject: OptimizerSubject, reference: Optimizer, base: Mapping[str, Any], findings: Findings
    ) -> None:
        self.subject, self.reference, self.base, self.findings = subject, reference, base, findings
        self.runs = OptimizerRuns(subject)

    def all(self, given: Mapping[str, Any]) -> None:
        """Compare the steps with the default settings and with others."""
        problems = list(self._problems(given))
        self.right_step = self._right_step()
        gots = [self.runs.moved(problem) for problem in problems]
        expecteds = [problem.by(self.right_step) for problem in problems]
        self.same = SINGLE if self.runs.single else numbers.SINGLE
        offs = [numbers.error(got, expected) for got, expected in zip(gots, expecteds, strict=True)]
        if max(offs) < self.same:
            self._tell(problems, gots, max(offs))
        else:
            self._tell_wrong(problems, gots, expecteds, offs)
        if self.runs.returned and not self.findings.problems:
            self.findings.notes.append(
                "it returns new parameters: a registered optimizer must change param in place (param -= ..)"
            )

    def _problems(self, given: Mapping[str, Any]) -> Iterator[StepProblem]:
        """Yield the base problem, and one with another value of each setting that fn has."""
        yield problem_of(self.base)
        for name in self.base:
            if name in TRIED and name not in given and self.subject.takes(name):
                more = {"momentum": 0.9} if name == "dampening" else {}
                yield problem_of({**self.base, **more, name: TRIED[name]}, f"{name} = {TRIED[name]}")

    def _right_step(self) -> Step:
        """Give the right step in NumPy: the harness's formula, or a third party's registered update."""
        name = self.reference.name
        if name in formulas.OPTIMIZERS and not optimizers.entry(name).third_party:
            return formulas.OPTIMIZERS[name]

        def step(p: Array, g: Array, state: dict[str, Any], k: int, **settings: Any) -> None:
            with torch.no_grad():
                self.reference.update(torch.from_numpy(p), torch.from_numpy(g), state, k, **settings)

        return step

    def _tell(self, problems: Sequence[StepProblem], gots: Sequence[Array], off: float) -> None:
        changed = [problem.changed for problem in problems if problem.changed]
        settings = ", ".join(
            f"{name} = {value}" for name, value in self.base.items() if self.subject.takes(name)
        )
        others = f", and with {joined(changed)}, each alone" if changed else ""
        self.findings.compared.append(
            f"{STEPS} steps of {sum(math.prod(shape) for shape in SHAPES)} parameters with "
            f"{settings}{others} (largest relative difference {off:.1g})"
        )
        self._tell_torch(problems, gots)
        missing = [name for name in self.base if not self.subject.takes(name)]
        if missing:
            self.findings.notes.append(f"not compared, because it has no such setting: {', '.join(missing)}")
        if off > numbers.DOUBLE:
            self.findings.notes.append(f"equal to single precision only: a relative difference of {off:.1g}")

    def _tell_torch(self, problems: Sequence[StepProblem], gots: Sequence[Array]) -> None:
        """Compare with the class in torch.optim, where there is one that does the same."""
        reference = self.reference
        if reference.torch_class is None:
            return
        worst = 0.0
        for problem, got in zip(problems, gots, strict=True):
            if any(problem.settings[name] for name in reference.torch_differs):
                continue
            made = getattr(torch.optim, reference.torch_class)
            theirs = OptimizerSubject(reference.torch_class, made, True, ("**",))
            settings = {**problem.settings, **reference.torch_settings}
            worst = max(worst, numbers.error(got, OptimizerRuns(theirs).moved(problem_of(settings))))
        if worst < self.same:
            self.findings.compared.append(f"torch.optim.{reference.torch_class} ({worst:.1g})")

    def _tell_wrong(
        self,
        problems: Sequence[StepProblem],
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
            f"{start:.6g} is {start + gots[first][step, place]:.9g}; of {self.reference.name} it is "
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
        self, problems: Sequence[StepProblem], gots: Sequence[Array], expecteds: Sequence[Array]
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
                f"parameters are not finite from step {step} on (a division by 0 where a gradient is 0, or "
                "by 1 - beta^t at t = 0?)"
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
        both = problem_of(self.base)
        alone = StepProblem(both.starts[:1], [step[:1] for step in both.gradients], self.base)
        size = both.starts[0].size
        if numbers.error(self.runs.moved(alone), self.runs.moved(both)[:, :size]) < self.same:
            return ""
        return (
            "the steps of one array of parameters change with another's: keep what is remembered in "
            "`state`, of which each array has its own, and not in a global variable"
        )
