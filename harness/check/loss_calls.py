"""The way in which a person's loss is called: with which labels, in which order, found by trying."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from harness.axes.heads import Kind
from harness.axes.losses import losses
from harness.check import calling, numbers
from harness.check.calling import Array, OwnFunction
from harness.check.loss_cases import CLASSES, LossCase, RightLoss, default_settings, reduced
from harness.errors import ComponentError, UsageError, did_you_mean
from harness.system.lazy import torch

Labels = Literal["one-hot", "int"]
LABELS: Mapping[Labels, str] = {"one-hot": "one-hot labels", "int": "whole-number labels"}


def check_choice(name: str, value: object, allowed: Sequence[str | None]) -> None:
    """Raise UsageError for a value that is not allowed."""
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: {did_you_mean(str(value), [a for a in allowed if a])}")


@dataclass(frozen=True)
class LossSubject:
    """A person's loss, its closed-form gradient if there is one, and what it should be."""

    name: str
    function: Callable[..., Any]
    gradient: Callable[..., Any] | None
    right: RightLoss


def subject_of(
    fn: Callable[..., Any] | str, like: str, takes: str | None, gradient: Any, settings: Mapping[str, float]
) -> LossSubject:
    """Look up what is compared; raise UsageError for what is unknown."""
    reference = losses.entry(like).component
    kinds = reference.forms
    kind = takes if takes is not None else next(iter(kinds))
    if kind not in kinds:
        raise UsageError(f"takes = {takes!r}: of loss {like!r}: {did_you_mean(str(takes), kinds)}")
    settings = calling.checked_settings(f"loss {like!r}", reference.settings, settings)
    right = RightLoss(like, cast(Kind, kind), default_settings(like, settings))
    name = fn if isinstance(fn, str) else calling.name_of(fn)
    if isinstance(fn, str):
        own = losses.entry(fn).component
        form = own.forms.get(right.kind)
        if form is None:
            raise UsageError(f"loss {fn!r} takes {', '.join(own.forms)}, not {right.kind}: say takes=")
        values = {
            **{n: own.default_of(n, CLASSES) for n in own.settings},
            **{n: v for n, v in right.settings.items() if n in own.settings},
        }
        tensors = {n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()}
        fn, gradient = functools.partial(form.forward, **tensors), gradient or form.gradient
        gradient = functools.partial(gradient, **tensors) if gradient else None
        return LossSubject(name, fn, gradient, right)
    calling.check_callable("fn", fn)
    if gradient is not None:
        calling.check_callable("gradient", gradient)
        _, most = calling.positional(gradient) or (2, 2)
        if most == 0:  # of an object whose forward has kept its arguments
            gradient = _after(fn, gradient)
        gradient = functools.partial(gradient, **calling.accepted(gradient, right.settings))
    return LossSubject(name, functools.partial(fn, **calling.accepted(fn, right.settings)), gradient, right)


def _after(forward: Callable[..., Any], backward: Callable[[], Any]) -> Callable[..., Any]:
    @functools.wraps(backward)
    def call(*arguments: Any) -> Any:
        forward(*arguments)
        return backward()

    return call


@dataclass(frozen=True)
class LossWay:
    """A way in which a loss is called: with which labels, and whether the labels come first."""

    labels: Labels
    swapped: bool

    def arguments(self, f: Array, case: LossCase) -> tuple[Array, Array]:
        """Give the arguments of a call for outputs f, with the labels of a case."""
        target = case.target(self.labels)
        return (target, f) if self.swapped else (f, target)


def way_of(subject: LossSubject, labels: Labels | None, case: LossCase) -> tuple[OwnFunction, LossWay, Array]:
    """Find the way in which a loss works, and its result: one with the right values, else the first.

    Raises:
        ComponentError: it fails in all ways.
    """
    tried: list[tuple[OwnFunction, LossWay, Array]] = []
    faults: dict[str, str] = {}
    for way in _ways(labels):
        try:
            own, value = calling.find(subject.name, subject.function, *way.arguments(case.f, case))
        except ComponentError as fault:
            if not way.swapped:
                faults.setdefault(str(fault.__cause__ or fault), f"with {LABELS[way.labels]}, {fault}")
            continue
        tried.append((own, way, value))
        if _right_at_once(value, case, subject.right):
            return tried[-1]
    plain = [one for one in tried if not one[1].swapped]
    fitting = [one for one in plain if one[2].shape in {(), case.y.shape}]
    for one in (*fitting, *plain):
        return one
    raise ComponentError("; ".join(faults.values()))


def _right_at_once(value: Array, case: LossCase, right: RightLoss) -> bool:
    values = right.values(case.f, case.one_hot)
    return any(
        numbers.error(value, reduced(values, reduction)) < numbers.SINGLE
        for reduction in ("none", "mean", "sum")
    )


def _ways(labels: Labels | None) -> Iterator[LossWay]:
    for swapped in (False, True):
        for kind in (labels,) if labels else LABELS:
            yield LossWay(kind, swapped)
