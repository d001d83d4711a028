"""Check a metric, such as an accuracy: its values, against the harness's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.axes import probes
from harness.axes.metrics import metrics
from harness.check import calling, numbers
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.result import CheckResult
from harness.errors import ComponentError, UsageError, did_you_mean
from harness.system.lazy import torch

ACCURACY = "accuracy"
BATCHES = ((12, 10), (7, 10), (9, 4))
"""Samples and classes of the batches on which metrics are compared."""


def metric(fn: Callable[..., Any] | str, like: str = ACCURACY) -> CheckResult:
    """Check a metric of your own, such as an accuracy, against the harness's.

    Args:
        fn: a function (probabilities (B, C), labels) in PyTorch or NumPy, or the name of a registered metric;
            labels are one-hot rows (B, C) or whole numbers (B,). An accuracy may also take the predicted
            classes (B,) and the labels (B,). It gives one number for each sample (B,) or their mean; all this
            is found by trying.
        like: the metric that it should be: "accuracy", or a registered one ("top3", "brier", ..).

    Returns:
        A result that is true where the values are equal; shown, it says what is wrong.

    Raises:
        UsageError: `like` is unknown, or fn is no function.

    Example:
        >>> def accuracy(p, y):
        ...     return (p.argmax(1) == y).sum()
        >>> metric(accuracy).problems[0][:38]
        'it counts the right ones: divide by B,'
    """
    if like != ACCURACY and like not in metrics:
        known = [ACCURACY, *(entry.name for entry in metrics)]
        raise UsageError(f"unknown metric {like!r}: {did_you_mean(str(like), known)}")
    name = fn if isinstance(fn, str) else calling.name_of(fn)
    function = metrics[fn].function if isinstance(fn, str) else fn
    calling.check_callable("fn", function)
    with calling.checking(f"{name} as {like}") as findings:
        _MetricCheck(name, function, like, findings).all()
    return findings.result()


@dataclass(frozen=True, eq=False)
class _MetricCase:
    """A batch: probabilities p (B, C) and labels y (B,)."""

    p: Array
    y: Array

    def given(self, way: str) -> tuple[Array, Array]:
        """The arguments in one of the ways in which a metric may be called."""
        one_hot = np.eye(self.p.shape[1])[self.y]
        return {
            "one-hot labels": (self.p, one_hot),
            "whole-number labels": (self.p, self.y),
            "predicted classes and labels": (self.p.argmax(1), self.y),
        }[way]


def _cases() -> list[_MetricCase]:
    made = []
    for seed, (samples, classes) in enumerate(BATCHES):
        p = probes.noise(samples, classes, seed=seed).softmax(-1).numpy()
        y = np.random.default_rng(seed).integers(classes, size=samples)
        y[: samples // 3] = p[: samples // 3].argmax(1)  # some are right
        made.append(_MetricCase(p, y))
    return made


def _right(like: str, case: _MetricCase) -> Array:
    """Return the right values (B,)."""
    if like == ACCURACY:
        return np.asarray((case.p.argmax(1) == case.y) * 1.0)
    p, target = (torch.from_numpy(np.array(x)) for x in case.given("one-hot labels"))
    values: Array = metrics[like].function(p, target).double().numpy()
    return values


class _MetricCheck:
    """The steps of a check; each adds to the findings."""

    def __init__(self, name: str, function: Callable[..., Any], like: str, findings: Findings) -> None:
        self.name, self.function, self.like, self.findings = name, function, like, findings
        self.cases = _cases()

    def all(self) -> None:
        """Find the way in which the metric is called, and compare its values."""
        tried = list(self._tried())
        for way, swapped, own, gots in tried:
            if self._same(gots, "one") or self._same(gots, "mean"):
                self._tell(way, own, gots, swapped=swapped)
                return
        if self._over_samples():
            self.findings.problems.append(
                "the argmax is over dimension 0, the samples: classes are the last dimension (dim=-1, axis=1)"
            )
            return
        plain = [one for one in tried if not one[1]]
        for way, _, _, gots in plain:
            if words := self._diagnosis(gots):
                self.findings.problems.append(f"{words}{self._example(way, gots)}")
                return
        if not plain:
            raise ComponentError("; ".join(self.faults))
        way, _, _, gots = plain[0]
        shape = gots[0].shape
        if shape not in {(), (BATCHES[0][0],)}:
            self.findings.problems.append(
                f"returns shape {shape} for a batch of {BATCHES[0][0]} samples; allowed: one number for "
                "each sample, or their mean"
            )
        else:
            self.findings.problems.append(f"the values differ{self._example(way, gots)}")

    def _tried(self) -> Iterator[tuple[str, bool, OwnFunction, list[Array]]]:
        """Yield each way in which the metric can be called: how, whether swapped, and what it gives."""
        self.faults: list[str] = []
        ways = ["one-hot labels", "whole-number labels"]
        ways += ["predicted classes and labels"] if self.like == ACCURACY else []
        for swapped in (False, True):
            for way in ways:
                try:
                    given = [self._order(case.given(way), swapped=swapped) for case in self.cases]
                    own, first = calling.find(self.name, self.function, *given[0])
                    yield way, swapped, own, [first, *(own(*arguments) for arguments in given[1:])]
                except ComponentError as fault:
                    self.faults += [] if swapped else [f"with {way}, {fault}"]

    def _order(self, given: tuple[Array, Array], *, swapped: bool) -> tuple[Array, Array]:
        return (given[1], given[0]) if swapped else given

    def _rights(self, kind: str) -> list[Array]:
        values = [_right(self.like, case) for case in self.cases]
        return values if kind == "one" else [np.asarray(value.mean()) for value in values]

    def _same(self, gots: Sequence[Array], kind: str) -> bool:
        return numbers.worst([got.astype(np.float64) for got in gots], self._rights(kind)) < numbers.SINGLE

    def _tell(self, way: str, own: OwnFunction, gots: Sequence[Array], *, swapped: bool) -> None:
        """Say that it is right, or right with its arguments exchanged where that matters."""
        symmetric = way == "predicted classes and labels"
        if swapped and not symmetric:
            self.findings.problems.append(
                f"labels and predictions are swapped: {self.name} works when it is called with the labels "
                "first"
            )
            return
        mean = not gots[0].shape
        library = "NumPy" if own.library == "numpy" else "PyTorch"
        self.findings.compared.append(
            f"{'the means' if mean else 'the values'} of {sum(b for b, _ in BATCHES)} samples in "
            f"{len(BATCHES)} batches, with {way}, in {library}"
        )
        if mean or way != "one-hot labels":
            self.findings.notes.append(
                "a registered metric takes probabilities and one-hot rows and gives one number for each "
                "sample"
            )

    def _diagnosis(self, gots: Sequence[Array]) -> str:
        gots = [got.astype(np.float64) for got in gots]
        values = self._rights("one")
        sums = [np.asarray(value.sum()) for value in values]
        means = self._rights("mean")
        known = [
            ("it counts the right ones: divide by B, the number of samples", sums),
            ("it is in percent, 100 times the share", [100 * mean for mean in means]),
            ("it is the share of wrong ones: 1 minus the accuracy", [1 - mean for mean in means]),
            ("it is 1 where the prediction is wrong", [1 - value for value in values]),
            (
                "divided by C, the number of classes, instead of B, the number of samples",
                [np.asarray(s / case.p.shape[1]) for s, case in zip(sums, self.cases, strict=True)],
            ),
        ]
        for words, made in known if self.like == ACCURACY else known[:2]:
            if numbers.worst(gots, made) < numbers.SINGLE:
                return words if self.like == ACCURACY else words.replace("counts the right ones", "is a sum")
        for expecteds in (values, means):
            found = numbers.factor(gots, expecteds, BATCHES)
            if found is not None:
                return f"it is {found} times what it should be"
        return ""

    def _over_samples(self) -> bool:
        """Tell whether an accuracy takes each class's best sample, found where there are as many of both."""
        if self.like != ACCURACY:
            return False
        p = probes.noise(10, 10, seed=3).softmax(-1).numpy()
        y = np.where(np.arange(10) < 4, p.argmax(0), 0)
        wrong = (p.argmax(0) == y) * 1.0
        try:
            _, got = calling.find(self.name, self.function, p, y)
        except ComponentError:
            return False
        return any(
            numbers.error(got * 1.0, np.asarray(made)) < numbers.SINGLE for made in (wrong, wrong.mean())
        )

    def _example(self, way: str, gots: Sequence[Array]) -> str:
        right = self._rights("one" if gots[0].shape else "mean")
        for case, got, expected in zip(self.cases, gots, right, strict=True):
            if (
                got.shape == expected.shape
                and numbers.error(got.astype(np.float64), expected) > numbers.SINGLE
            ):
                values, rights = np.atleast_1d(got), np.atleast_1d(expected)
                place = int(np.abs(values - rights).argmax())
                return (
                    f". Of {len(case.y)} samples in {case.p.shape[1]} classes, with {way}, it gives "
                    f"{values[place]:.6g}{f' for sample {place}' if len(values) > 1 else ''}; {self.like} "
                    f"is {rights[place]:.6g}"
                )
        return ""
