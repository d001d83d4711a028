"""Check a loss: values and gradient, against the harness's in float64, torch's own, and worked values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from harness.check import calling, loss_mistakes, loss_notes, numbers
from harness.check.calling import Array, Findings
from harness.check.loss_calls import LABELS, Labels, LossSubject, check_choice, subject_of, way_of
from harness.check.loss_cases import LossCase, cases, of_torch, reduced
from harness.check.result import CheckResult
from harness.errors import ComponentError

Reduction = Literal["none", "mean", "sum"]


def loss(
    fn: Callable[..., Any] | str,
    like: str = "ce",
    *,
    takes: str | None = None,
    labels: Labels | None = None,
    reduction: Reduction = "none",
    gradient: Callable[..., Any] | None = None,
    **settings: float,
) -> CheckResult:
    """Check a loss of your own: values and gradient, against the harness's, torch's own and worked values.

    Args:
        fn: a function (output (B, C), labels) in PyTorch or NumPy, or the name of a registered loss. Labels
            are one-hot rows (B, C), as registered losses take them, or whole numbers (B,): found by trying.
        like: the registered loss that it should be: "ce", "nll", "mse", "ql", "ccql", or your own.
        takes: the kind of output: "logits", "scores", "probabilities" or "log_probabilities"; None is the
            first that the loss `like` takes (of "ce" logits).
        labels: "one-hot" or "int", where only one of the two should be tried.
        reduction: "none" where it gives one number for each sample (B,); "mean" or "sum" over the batch.
        gradient: its derivative by hand, (output, labels) -> (B, C). Of a function in PyTorch autograd's is
            compared, too.
        settings: of the loss, such as ccql_weight=2.

    Returns:
        A result that is true where all is equal, to rounding; shown, it says what is wrong.

    Raises:
        UsageError: `like`, `takes` or another choice is unknown, or fn is no function.

    Example:
        >>> import numpy as np
        >>> def my_ce(p, y):
        ...     return -np.log(p[np.arange(len(y)), y]).mean()
        >>> bool(loss(my_ce, "ce", takes="probabilities", reduction="mean"))
        True
    """
    subject = subject_of(fn, like, takes, gradient, settings)
    check_choice("labels", labels, (None, "one-hot", "int"))
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    with calling.checking(f"{subject.name} as {like} of {subject.right.kind.replace('_', '-')}") as findings:
        _LossCheck(subject, labels, reduction, findings).all()
    return findings.result()


class _LossCheck:
    """The steps of a check, each of which adds to the findings."""

    def __init__(
        self, subject: LossSubject, labels: Labels | None, reduction: Reduction, findings: Findings
    ) -> None:
        self.subject, self.right, self.findings = subject, subject.right, findings
        self.labels, self.reduction = labels, reduction
        self.batches = cases(self.right.name, self.right.kind)

    def all(self) -> None:
        """Compare values, then what follows where they are right."""
        self.own, self.way, value = way_of(self.subject, self.labels, self.batches[0])
        if self.call(self.batches[0]).tobytes() != value.tobytes():
            raise ComponentError(
                f"{self.subject.name} gives other values when it is called again on the same numbers "
                "(random numbers?)"
            )
        self.added = loss_notes.inside_the_log(self.own, self.way, self.right)
        if not self._shape(value):
            return
        if not self._values():
            return
        self._autograd()
        self._closed_form()
        loss_notes.add(self.own, self.way, self.subject.right, self.reduction, self.findings)

    def expected(self, case: LossCase) -> Array:
        """Return the right result; something added on purpose inside the logarithm is right."""
        values = self.right.values(case.f, case.one_hot)
        if self.added:
            values = -np.log(np.exp(-values) + self.added)
        return reduced(values, self.reduction)

    def call(self, case: LossCase) -> Array:
        return self.own(*self.way.arguments(case.f, case))

    def _shape(self, value: Array) -> bool:
        """Say what is wrong with the result's shape and the order of arguments; tell if nothing is."""
        (b, c), name = self.batches[0].size, self.subject.name
        if self.way.swapped:
            self.findings.problems.append(
                f"labels and predictions are swapped: {name} works when it is called with the labels "
                "first. The output comes first, the labels second"
            )
        if self.reduction == "none" and value.shape == ():
            self.findings.problems.append(self._one_number())
        elif self.reduction != "none" and value.shape == (b,):
            self.findings.problems.append(
                f"returns a loss for each sample, shape ({b},), not their {self.reduction}: say "
                f"reduction='none', or take the {self.reduction}"
            )
        elif value.shape not in {(b,), ()}:
            hint = {
                (b, c): ": sum over the classes, .sum(-1)",
                (c,): ": the sum is over dimension 0, the samples; classes are the last dimension",
                (b, 1): ": drop keepdim=True",
                (b, b): ": a column (B, 1) was combined with a row (B,), which gives every pair",
                (1,): ": one number in a list",
            }.get(value.shape, "")
            self.findings.problems.append(
                f"returns shape {value.shape} for a batch of {b} samples and {c} classes; allowed: one "
                f"number for each sample, shape ({b},){hint}"
            )
        return not self.findings.problems

    def _one_number(self) -> str:
        opening = "returns one number, not one per sample"
        gots = self._results()
        batches = self.batches[: len(gots)]
        for reduction in ("mean", "sum"):
            expecteds = [reduced(self.right.values(case.f, case.one_hot), reduction) for case in batches]
            if numbers.worst(gots, expecteds) < numbers.SINGLE:
                return (
                    f"{opening}: their {reduction}, and that is right. Say reduction={reduction!r} to "
                    "compare it; a registered loss gives one per sample (no .mean(), no .sum() over the "
                    "batch)"
                )
        words = loss_mistakes.diagnosis(gots, batches, self.right, "mean")
        return (
            f"{opening}; and of their mean: {words}"
            if words
            else f"{opening}; and their mean is another number"
        )

    def _results(self) -> list[Array]:
        """Call it on the batches; the last has four classes, which a function may not allow."""
        results = [self.call(case) for case in self.batches[:-1]]
        try:
            results.append(self.call(self.batches[-1]))
        except ComponentError as fault:
            note = f"it works with 10 classes only: with 4, as in the worked example, {fault}"
            self.findings.notes.append(note)
        return results

    def _values(self) -> bool:
        """Compare the losses; tell if they are right."""
        gots = self._results()
        batches = self.batches[: len(gots)]
        off = numbers.worst(gots, [self.expected(case) for case in batches])
        same = off < numbers.SINGLE
        mixed = self.reduction == "none" and self._mixes()
        if not same:
            words = loss_mistakes.diagnosis(gots, batches, self.right, self.reduction)
            words = loss_mistakes.NORMALISED if mixed and not words else words
            self.findings.problems.append(f"{words or 'the values differ'}{self._example(gots, batches)}")
        elif mixed:
            self.findings.problems.append(loss_mistakes.NORMALISED)
        self._compared(off, batches)
        return not self.findings.problems

    def _example(self, gots: Sequence[Array], batches: Sequence[LossCase]) -> str:
        """Give the first worked value that is wrong, else the first value."""
        case, got = batches[-1], np.atleast_1d(gots[-1])
        expected = np.atleast_1d(self.expected(case))
        row = int(np.argmax(~np.isclose(got, expected, rtol=numbers.SINGLE)))
        numbers_given = ", ".join(f"{x:.4g}" for x in case.f[row])
        rest = f" (and {len(case.y) - 1} more)" if self.reduction != "none" else ""
        return (
            f". Of the output [{numbers_given}]{rest}, class {case.y[row]} true (counted from 0), it gives "
            f"{got[row]:.6g}; {self.right.name} is {expected[row]:.6g}"
        )

    def _mixes(self) -> bool:
        """Tell whether the loss of one sample changes with another's output."""
        case = self.batches[0]
        other = np.concatenate([case.f[:1, ::-1], case.f[1:]])
        changed = self.own(*self.way.arguments(other, case))
        return numbers.error(changed[1:], self.call(case)[1:]) > numbers.SINGLE

    def _compared(self, off: float, batches: Sequence[LossCase]) -> None:
        labels = LABELS[self.way.labels]
        count = sum(case.size[0] for case in batches)
        compared = self.findings.compared
        if self.findings.problems:
            return
        compared.append(
            f"the losses of {count} samples, worked values among them ({self._worked()}), with {labels}, "
            f"in {'NumPy' if self.own.library == 'numpy' else 'PyTorch'} (largest relative difference "
            f"{off:.1g})"
        )
        theirs = of_torch(self.right.name, self.right.kind)
        if theirs is not None:
            name, values = theirs
            gots = [self.call(case) for case in batches]
            apart = numbers.worst(gots, [reduced(values(case.f, case), self.reduction) for case in batches])
            if apart < numbers.SINGLE:
                compared.append(f"{name} ({apart:.1g})")
        if off > numbers.DOUBLE:
            self.findings.notes.append(f"equal to single precision only: a relative difference of {off:.1g}")

    def _worked(self) -> str:
        even, known = self.batches[-2], self.batches[-1]
        equal = self.right.values(even.f[-1:], even.one_hot[-1:])[0]
        value = self.right.values(known.f[:1], known.one_hot[:1])[0]
        return (
            f"{equal:.7g} of ten outputs of {even.f[-1, 0]:.4g}, {value:.7g} of "
            f"[{', '.join(f'{x:.4g}' for x in known.f[0])}], the third class true"
        )

    def _autograd(self) -> None:
        """Compare autograd's gradient of a function in PyTorch."""
        if self.own.library != "torch":
            if self.subject.gradient is None:
                self.findings.notes.append(
                    "a function in NumPy has no gradient of its own: give yours as gradient= to have it "
                    "checked"
                )
            return
        gots, expecteds = [], []
        for case in self.batches[:-1]:
            f, target = self.way.arguments(case.f, case)
            _, gradient = self.own.with_gradient(np.ones_like, f, target)
            if gradient is None:
                self.findings.problems.append(
                    "gives values without a gradient (a .detach(), .item(), no_grad or NumPy inside?): "
                    "nothing would be learned through it"
                )
                return
            gots.append(gradient)
            expecteds.append(self._expected_gradient(case))
        off = numbers.worst(gots, expecteds)
        if off < numbers.SINGLE:
            self.findings.compared.append(f"autograd's gradient ({off:.1g})")
        else:
            self.findings.problems.append(
                f"the values are right and autograd's gradient is not{_place(gots[0], expecteds[0])}: is a "
                "part detached, or computed outside of PyTorch?"
            )

    def _expected_gradient(self, case: LossCase) -> Array:
        gradient = self.right.gradient(case.f, case.one_hot)
        if self.added:
            p = np.exp(-self.right.values(case.f, case.one_hot))[:, None]
            gradient = gradient * p / (p + self.added)
        return gradient / len(gradient) if self.reduction == "mean" else gradient

    def _closed_form(self) -> None:
        """Compare the gradient that a person wrote by hand."""
        if self.subject.gradient is None:
            return
        batches = self.batches[:-1]
        name = f"gradient {calling.name_of(self.subject.gradient)}"
        own, _ = calling.find(name, self.subject.gradient, *self.way.arguments(batches[0].f, batches[0]))
        gots = [own(*self.way.arguments(case.f, case)) for case in batches]
        expecteds = [self._expected_gradient(case) for case in batches]
        off = numbers.worst(gots, expecteds)
        if off < numbers.SINGLE:
            self.findings.compared.append(f"the gradient by hand ({off:.1g})")
            return
        words = self._gradient_words(gots, expecteds, batches)
        self.findings.problems.append(words or f"your gradient is wrong{_place(gots[0], expecteds[0])}")

    def _gradient_words(
        self, gots: Sequence[Array], expecteds: Sequence[Array], batches: Sequence[LossCase]
    ) -> str:
        shape, wanted = gots[0].shape, expecteds[0].shape
        if shape != wanted:
            turned = shape == wanted[::-1] and numbers.error(gots[0].T, expecteds[0]) < numbers.SINGLE
            hint = ": transposed" if turned else ""
            return f"your gradient has shape {shape}; the output has {wanted}{hint}"
        per_mean = self.reduction == "mean"
        known = loss_mistakes.MEAN_GRADIENT_FACTORS if per_mean else loss_mistakes.GRADIENT_FACTORS
        if words := loss_mistakes.explained(gots, expecteds, batches, known):
            return words
        for mistake in loss_mistakes.gradient_mistakes(self.right):
            made = [
                mistake.values(case.f, case.one_hot) / (len(case.y) if per_mean else 1) for case in batches
            ]
            if numbers.worst(gots, made) < numbers.SINGLE:
                return mistake.words
            if words := loss_mistakes.explained(gots, made, batches, known):
                return f"{mistake.words}; and besides {words}"
        return ""


def _place(got: Array, expected: Array) -> str:
    """Say where two arrays differ most, with both values; "" if their shapes differ."""
    if got.shape != expected.shape:
        return f" (shape {got.shape}; allowed: {expected.shape})"
    off = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    place = np.unravel_index(int(off.argmax()), off.shape)
    where = ", ".join(str(int(index)) for index in place)
    return f" (at [{where}] it is {got[place]:.6g}; right is {expected[place]:.6g})"
