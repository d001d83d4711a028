"""Cases of compiled outputs and metrics: logits and labels to give them, and what their functions say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.axes.heads import probabilities
from harness.lowering.calls import Arrays
from harness.lowering.expectations import Case, Expected, Reals, allowed, error_of, numpy_of, varied
from harness.lowering.lowered import Lowered
from harness.system.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 64


def _samples(classes: int, scale: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int32], int]:
    """Draw logits (C, b), labels of every class (b,), and how many samples count."""
    b = max(SAMPLES, math.ceil(min(classes, 1024) / 16) * 16)
    rng = np.random.default_rng(seed)
    z = rng.normal(0, scale, (classes, b)).astype(np.float32)
    label = rng.permutation(np.resize(np.arange(classes), b)).astype(np.int32)
    return z, label, b - 3


def output(lowered: Lowered) -> Iterator[Case]:
    """Make the cases of a head with a loss, in training and in evaluation."""
    classes = lowered.origin.classes
    targets = ((1.0, 0.0), (0.9, 0.1 / classes), (1.0, 0.0), (0.5, 0.5 / classes))
    for number_of, (scale, target) in enumerate(zip((0.3, 3.0, 30.0, 1.0), targets, strict=True)):
        yield _of_output(lowered, *_samples(classes, scale, number_of), target, number_of)
    z, label, _ = _samples(classes, 1.0, 9)
    for value in (np.nan, np.inf, -np.inf):
        for place in (0, classes - 1):
            logits = z[:, :16].copy()
            logits[place, 1] = value
            yield _of_broken_output(lowered, logits, label[:16])
    yield _of_output(
        lowered, np.zeros_like(z), label, SAMPLES, (1.0, 0.0), 0
    )  # the first of equal ones is best


def _loss_settings(lowered: Lowered, variant: int) -> dict[str, float]:
    _, loss = lowered.origin.components
    values = {name: float(loss.default_of(name, lowered.origin.classes)) for name in loss.settings}
    return {name: varied(value, variant) for name, value in values.items()}


class _Outputs:
    """A head and a loss on samples, in one type of numbers."""

    def __init__(
        self, lowered: Lowered, z: NDArray[Any], label: NDArray[Any], values: Mapping[str, float], dtype: Any
    ) -> None:
        self.head, self.form = lowered.origin.components[0], lowered.origin.form
        self.z = torch.tensor(z.T, dtype=dtype)
        self.one_hot = torch.nn.functional.one_hot(torch.tensor(label).long(), len(z)).to(dtype)
        self.settings = {name: torch.tensor(value, dtype=dtype) for name, value in values.items()}

    def losses(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        f = self.head.forward(z)
        return f, self.form.forward(f, target, **self.settings)

    def trained(self, keep: float, spread: float) -> tuple[Reals, Reals]:
        """Return losses (B,) and their gradients (C, B)."""
        target = keep * self.one_hot + spread
        if self.head.backward is not None and self.form.gradient is not None:
            f, loss = self.losses(self.z, target)
            grad = self.head.backward(self.form.gradient(f, target, **self.settings), f)
        else:
            leaf = self.z.clone().requires_grad_()
            _, loss = self.losses(leaf, target)
            (grad,) = torch.autograd.grad(loss.sum(), leaf)
        return numpy_of(loss), numpy_of(grad).T

    def judged(self) -> tuple[Reals, Reals, Reals]:
        """Return losses (B,), outputs and probabilities (B, C)."""
        f, loss = self.losses(self.z, self.one_hot)
        return numpy_of(loss), numpy_of(f), numpy_of(probabilities(self.head, f))


def _of_output(
    lowered: Lowered, z: NDArray[np.float32], label: NDArray[np.int32], count: int,
    target: tuple[float, float], variant: int,
) -> Case:  # fmt: skip
    values = _loss_settings(lowered, variant)
    exact, single = (
        _Outputs(lowered, z[:, :count], label[:count], values, dtype)
        for dtype in (torch.float64, torch.float32)
    )
    trained, judged = [x.trained(*target) for x in (exact, single)], [x.judged() for x in (exact, single)]
    loss = _mean(trained[0][0], trained[1][0])
    error = error_of(trained[0][1], trained[1][1]).max(
        keepdims=True
    )  # where p - 1 cancels, it may be 0 by luck
    size = np.abs(trained[0][1]).max(0, keepdims=True)
    most = np.broadcast_to(allowed(error, size), trained[0][1].shape) / count
    grad = Expected(trained[0][1] / count, trained[1][1] / count, most)
    total = _mean(judged[0][0], judged[1][0], count)

    def compare(answer: Arrays) -> str:
        if loss.first_wrong(answer["loss"]) is not None:
            return (
                f"the loss of a batch is {float(answer['loss']):.9g}, by its function {float(loss.exact):.9g}"
            )
        place = grad.first_wrong(answer["grad"][:, :count])
        if place is not None:
            got, right = answer["grad"][place] * count, grad.exact[place] * count
            return f"at a logit of {z[place]:.9g} it has the gradient {got:.9g}, its function {right:.9g}"
        if (answer["grad"][:, count:] != 0).any():
            return "samples beyond the batch have a gradient"
        return _misjudged(answer, total, judged, label[:count])

    arrays = {"z": z, "label": label, "count": np.array(count), "target": np.array(target)}
    settings = np.array([values[name] for name in lowered.settings], np.float64)
    return Case("output", {**arrays, "settings": settings}, compare)


def _mean(exact: Reals, single: Reals, times: int = 1) -> Expected:
    """Expect the mean of values, so many times."""
    most = allowed(np.asarray(error_of(exact, single).mean()), np.asarray(np.abs(exact).mean()))
    return Expected(np.asarray(exact.mean() * times), np.asarray(single.mean() * times), most * times)


def _misjudged(answer: Arrays, total: Expected, judged: Sequence[Any], label: NDArray[Any]) -> str:
    """Say how an evaluation is wrong: losses, hits, best classes, their probabilities."""
    (_, f, p), (_, f_single, _) = judged
    if total.first_wrong(answer["total"][0]) is not None:
        return f"evaluated losses sum to {answer['total'][0]:.9g}, by its function {float(total.exact):.9g}"
    best, rows = answer["best"], np.arange(len(f))
    if ((best < 0) | (best >= f.shape[1])).any():
        return "a class that it finds best is none"
    error = allowed(error_of(f, f_single).max(1), np.abs(f).max(1))
    ahead = f.max(1) - f[rows, best] > 2 * error
    equal = (f == f[:, :1]).all(1) & (best > 0)
    if (ahead | equal).any():
        return "another class has the largest output, or a later one of equal ones is taken"
    if answer["hits"][0] != (best == label).sum():
        return f"it counts {answer['hits'][0]} hits, and there are {(best == label).sum()}"
    sure = np.abs(answer["sure"] - p[rows, best]) <= allowed(error, p[rows, best]) + 1e-5
    if not sure.all():
        return "the probability of the best class is wrong"
    if not np.allclose(answer["total_twice"], 2 * answer["total"], rtol=1e-6, equal_nan=True):
        return "evaluated losses are not added to what is there"
    return "" if (answer["hits_twice"] == 2 * answer["hits"]).all() else "hits are not added to what is there"


def _of_broken_output(lowered: Lowered, z: NDArray[np.float32], label: NDArray[np.int32]) -> Case:
    """Judge a batch with a logit that is not finite: a loss is only where PyTorch has one."""
    values = _loss_settings(lowered, 0)
    broken = z[~np.isfinite(z)][0]
    single = _Outputs(lowered, z, label, values, torch.float32)
    f = numpy_of(single.head.forward(single.z))
    largest = f == f.max(1, keepdims=True)  # nothing equals NaN: then the last class
    right = np.where(largest.any(1), largest.argmax(1), f.shape[1] - 1)
    try:
        finite = bool(np.isfinite(single.trained(1.0, 0.0)[0]).all())
    except RuntimeError:  # torch refuses such numbers
        finite = False

    def compare(answer: Arrays) -> str:
        if np.isfinite(answer["loss"]) and not finite:
            return f"with a logit of {broken} the loss is {float(answer['loss']):.9g}"
        if np.isfinite(answer["total"]).any() and not finite:
            return f"with a logit of {broken} evaluated losses are finite"
        return "" if answer["best"][1] == right[1] else f"with a logit of {broken} another class is best"

    settings = np.array([values[name] for name in lowered.settings], np.float64)
    arrays = {"z": z, "label": label, "count": np.array(len(label)), "target": np.array((1.0, 0.0))}
    return Case("output", {**arrays, "settings": settings}, compare)


def metric(lowered: Lowered) -> Iterator[Case]:
    """Make the cases of a metric of a head's probabilities."""
    head, component = lowered.origin.components
    for seed, scale in enumerate((0.3, 1.0, 4.0)):
        z, label, count = _samples(lowered.origin.classes, scale, seed)

        def measured(dtype: Any, z: Any = z, label: Any = label, count: int = count) -> Reals:
            logits = torch.tensor(z.T[:count], dtype=dtype)
            target = torch.nn.functional.one_hot(torch.tensor(label[:count]).long(), len(z)).to(dtype)
            p = probabilities(head, head.forward(logits))
            return numpy_of(component.function(p, target))

        total = _mean(measured(torch.float64), measured(torch.float32), count)

        def compare(answer: Arrays, total: Expected = total) -> str:
            if total.first_wrong(answer["total"][0]) is None:
                return ""
            return f"its values sum to {answer['total'][0]:.9g}, by its function {float(total.exact):.9g}"

        yield Case("metric", {"z": z, "label": label, "count": np.array(count)}, compare)
