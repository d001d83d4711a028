"""Check a loss: values and gradient, against the harness's in float64, torch's own, and worked values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from harness.axes import probes
from harness.axes.heads import Kind
from harness.axes.losses import losses
from harness.check import calling, loss_mistakes, numbers
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.loss_cases import LossCase, RightLoss, cases, default_settings, of_torch, reduced
from harness.check.result import CheckResult
from harness.errors import ComponentError, UsageError, did_you_mean
from harness.system.lazy import torch

Labels = Literal["one-hot", "int"]
Reduction = Literal["none", "mean", "sum"]
LABELS: Mapping[Labels, str] = {"one-hot": "one-hot labels", "int": "whole-number labels"}
GAP = 110.0
"""Between two logits: from about 104 on, the probability of the smaller one is 0 in single precision."""


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
    subject = _subject(fn, like, takes, gradient, settings)
    check_choice("labels", labels, (None, "one-hot", "int"))
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    with calling.checking(f"{subject.name} as {like} of {subject.right.kind.replace('_', '-')}") as findings:
        _LossCheck(subject, labels, reduction, findings).all()
    return findings.result()


def check_choice(name: str, value: object, allowed: Sequence[str | None]) -> None:
    """Raise UsageError for a value that is not allowed."""
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: {did_you_mean(str(value), [a for a in allowed if a])}")


@dataclass(frozen=True)
class _Subject:
    """A person's loss, its closed-form gradient if there is one, and what it should be."""

    name: str
    function: Callable[..., Any]
    gradient: Callable[..., Any] | None
    right: RightLoss


def _subject(
    fn: Callable[..., Any] | str, like: str, takes: str | None, gradient: Any, settings: Mapping[str, float]
) -> _Subject:
    """Look up what is compared; raise UsageError for what is unknown."""
    reference = losses.entry(like).component
    kinds = reference.forms
    kind = takes if takes is not None else next(iter(kinds))
    if kind not in kinds:
        raise UsageError(f"takes = {takes!r}: of loss {like!r}: {did_you_mean(str(takes), kinds)}")
    unknown = [name for name in settings if name not in reference.settings]
    if unknown:
        known = ", ".join(reference.settings) or "none"
        raise UsageError(f"{unknown[0]} is no setting of loss {like!r}; its settings: {known}")
    right = RightLoss(like, cast(Kind, kind), default_settings(like, settings))
    name = fn if isinstance(fn, str) else calling.name_of(fn)
    if isinstance(fn, str):
        own = losses.entry(fn).component
        form = own.forms.get(right.kind)
        if form is None:
            raise UsageError(f"loss {fn!r} takes {', '.join(own.forms)}, not {right.kind}: say takes=")
        values = {
            **{n: own.default_of(n, 10) for n in own.settings},
            **accepted_by(own.settings, right.settings),
        }
        tensors = {n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()}
        fn, gradient = functools.partial(form.forward, **tensors), gradient or form.gradient
        gradient = functools.partial(gradient, **tensors) if gradient else None
        return _Subject(name, fn, gradient, right)
    calling.check_callable("fn", fn)
    if gradient is not None:
        calling.check_callable("gradient", gradient)
        gradient = functools.partial(gradient, **calling.accepted(gradient, right.settings))
    return _Subject(name, functools.partial(fn, **calling.accepted(fn, right.settings)), gradient, right)


def accepted_by(names: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the settings among these names."""
    return {name: value for name, value in settings.items() if name in names}


@dataclass(frozen=True)
class _Way:
    """A way in which a loss is called: with which labels, and whether the labels come first."""

    labels: Labels
    swapped: bool

    def arguments(self, f: Array, case: LossCase) -> tuple[Array, Array]:
        target = case.target(self.labels)
        return (target, f) if self.swapped else (f, target)


class _LossCheck:
    """The steps of a check, each of which adds to the findings."""

    def __init__(
        self, subject: _Subject, labels: Labels | None, reduction: Reduction, findings: Findings
    ) -> None:
        self.subject, self.right, self.findings = subject, subject.right, findings
        self.labels, self.reduction = labels, reduction
        self.batches = cases(self.right.name, self.right.kind)

    def all(self) -> None:
        """Compare values, then what follows where they are right."""
        self.own, self.way, value = self._way()
        if not self._shape(value):
            return
        if not self._values():
            return
        self._autograd()
        self._closed_form()
        self._notes()

    def expected(self, case: LossCase) -> Array:
        return reduced(self.right.values(case.f, case.one_hot), self.reduction)

    def call(self, case: LossCase) -> Array:
        return self.own(*self.way.arguments(case.f, case))

    def _way(self) -> tuple[OwnFunction, _Way, Array]:
        """Find the way in which the function works: that with the right values, else the first with any."""
        case, tried = self.batches[0], []
        faults: list[str] = []
        for way in self._ways():
            try:
                own, value = calling.find(
                    self.subject.name, self.subject.function, *way.arguments(case.f, case)
                )
            except ComponentError as fault:
                faults += [] if way.swapped else [f"with {LABELS[way.labels]}, {fault}"]
                continue
            tried.append((own, way, value))
            if self._right_at_once(value, case):
                return tried[-1]
        plain = [one for one in tried if not one[1].swapped]
        fitting = [one for one in plain if one[2].shape in {(), case.y.shape}]
        for one in (*fitting, *plain):
            return one
        raise ComponentError("; ".join(faults))

    def _right_at_once(self, value: Array, case: LossCase) -> bool:
        values = self.right.values(case.f, case.one_hot)
        return any(
            numbers.error(value, reduced(values, reduction)) < numbers.SINGLE
            for reduction in ("none", "mean", "sum")
        )

    def _ways(self) -> Iterator[_Way]:
        for swapped in (False, True):
            for labels in (self.labels,) if self.labels else ("one-hot", "int"):
                yield _Way(labels, swapped)

    def _shape(self, value: Array) -> bool:
        """Say what is wrong with the result's shape and the order of arguments; tell if nothing is."""
        (b, c), name = self.batches[0].size, self.subject.name
        if self.way.swapped:
            self.findings.problems.append(
                f"labels and predictions are swapped: {name} works when it is called with the labels "
                "first. The "
                "output comes first, the labels second"
            )
        if self.reduction == "none" and value.shape == ():
            self.findings.problems.append(self._one_number())
        elif self.reduction != "none" and value.shape == (b,):
            self.findings.problems.append(
                f"returns a loss for each sample, shape ({b},), not their {self.reduction}: say "
                "reduction='none', "
                f"or take the {self.reduction}"
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
                "number for each "
                f"sample, shape ({b},){hint}"
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
                    "compare it; a "
                    "registered loss gives one per sample (no .mean(), no .sum() over the batch)"
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
            f"the losses of {count} samples, worked values among them ({self._worked()}), with {labels}, in "
            f"{'NumPy' if self.own.library == 'numpy' else 'PyTorch'} (largest relative difference {off:.1g})"
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
                    "nothing would "
                    "be learned through it"
                )
                return
            gots.append(gradient)
            expecteds.append(self._expected_gradient(case))
        off = numbers.worst(gots, expecteds)
        if off < numbers.SINGLE:
            self.findings.compared.append(f"autograd's gradient ({off:.1g})")
        else:
            self.findings.problems.append(
                f"the values are right and autograd's gradient is not{_place(gots[0], expecteds[0])}: is "
                "a part "
                "detached, or computed outside of PyTorch?"
            )

    def _expected_gradient(self, case: LossCase) -> Array:
        gradient = self.right.gradient(case.f, case.one_hot)
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

    def _notes(self) -> None:
        """Say what is worth knowing: a large gap between logits, the type of the result, smoothed labels."""
        self._note_gap()
        single = OwnFunction(self.own.name, self.own.function, self.own.library, np.float32)
        case = self.batches[0]
        try:
            value = single(*self.way.arguments(case.f, case))
        except ComponentError as fault:
            self.findings.problems.append(f"in single precision, with which networks compute, {fault}")
            return
        if value.dtype == np.float64 and self.own.dtype == np.float64:
            self.findings.notes.append(
                "gives float64 for float32: networks compute with float32 (.to(output.dtype))"
            )
        self._note_smoothing()

    def _note_smoothing(self) -> None:
        case, label_way = self.batches[0], self.way.labels
        if label_way == "int" or self.reduction != "none":
            return
        smooth = probes.smoothed(torch.from_numpy(case.one_hot)).numpy()
        expected = self.right.values(case.f, smooth)
        try:
            same = numbers.error(self.own(case.f, smooth), expected) < numbers.SINGLE
        except ComponentError:
            same = False
        if not same:
            self.findings.notes.append(
                "reads its target as one-hot: with label_smoothing it gives other values than the loss"
            )

    def _note_gap(self) -> None:
        """Say what comes out at a gap of 110 between logits, in single precision."""
        z = np.zeros((1, 10))
        z[0, 1] = GAP
        kind = self.right.kind
        if self.right.name not in ("ce", "nll") or kind == "scores":
            return
        f = probes.like_output(kind, torch.from_numpy(z).float()).numpy().astype(np.float64)
        case = LossCase(f, np.array([0]))
        single = OwnFunction(self.own.name, self.own.function, self.own.library, np.float32)
        try:
            got = float(np.ravel(single(*self.way.arguments(case.f, case)))[0])
        except ComponentError:
            return
        if kind == "probabilities":
            self.findings.notes.append(_of_textbook(got))
        elif not np.isfinite(got):
            cause = "e^z overflows, or 0 times log 0" if np.isnan(got) else "the probability underflows to 0"
            self.findings.notes.append(
                f"gives {got:.4g} at a logit gap of 110 in single precision, where the loss is 110 "
                f"({cause}): subtract "
                "the maximum of the logits before exp, and take -z_y + log(sum e^z) instead of the log of "
                "a softmax"
            )
        elif abs(got - GAP) > 1:
            self.findings.notes.append(
                f"gives {got:.4g} at a logit gap of 110, where the loss is 110: something is added inside "
                "the "
                f"logarithm (about {np.exp(-got):.1g})"
            )


def _of_textbook(got: float) -> str:
    if np.isfinite(got):
        return (
            f"of a probability that is 0 in single precision (a logit gap of 110) it gives {got:.4g} "
            "where -log p_y is "
            f"inf: about {np.exp(-got):.1g} is added or kept as a minimum"
        )
    return (
        f"gives {got:.4g} at a logit gap of 110 in single precision: expected of -log p_y, as the "
        "textbooks write "
        "it; of logits, subtract the maximum and the loss stays finite"
    )


def _place(got: Array, expected: Array) -> str:
    """Say where two arrays differ most, with both values; "" if their shapes differ."""
    if got.shape != expected.shape:
        return f" (shape {got.shape}; allowed: {expected.shape})"
    off = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    place = np.unravel_index(int(off.argmax()), off.shape)
    where = ", ".join(str(int(index)) for index in place)
    return f" (at [{where}] it is {got[place]:.6g}; right is {expected[place]:.6g})"
