"""Notes on a loss, worth knowing and not wrong: a large gap between logits, smoothed labels, its type."""

from __future__ import annotations

import numpy as np

from harness.axes import probes
from harness.check import numbers
from harness.check.calling import Array, Findings, OwnFunction
from harness.check.loss_calls import LossWay
from harness.check.loss_cases import LossCase, RightLoss, cases
from harness.errors import ComponentError
from harness.system.lazy import torch

GAP = 110.0
"""Between two logits: from about 104 on, the probability of the smaller one is 0 in single precision."""

LARGEST_ADDED, SMALLEST_ADDED = 4.0, 300.0
"""Minus the logarithms of what may have been added to a probability on purpose."""


def add(own: OwnFunction, way: LossWay, right: RightLoss, reduction: str, findings: Findings) -> None:
    """Add the notes; a loss that fails in single precision has a problem."""
    single = OwnFunction(own.name, own.function, own.library, np.float32)
    case = cases(right.name, right.kind)[0]
    _note_gap(single, way, right, findings)
    try:
        value = single(*way.arguments(case.f, case))
    except ComponentError as fault:
        findings.problems.append(f"in single precision, with which networks compute, {fault}")
        return
    if own.library == "torch" and value.dtype == np.float64 and own.dtype == np.float64:
        findings.notes.append("gives float64 for float32: networks compute with float32 (.to(output.dtype))")
    if way.labels == "one-hot" and reduction == "none" and not _smooths(own, right, case):
        findings.notes.append(
            "reads its target as one-hot: with label_smoothing it gives other values than the loss"
        )


def inside_the_log(own: OwnFunction, way: LossWay, right: RightLoss) -> float:
    """Return what a cross-entropy adds to probabilities inside its logarithm, found where one is 0; or 0."""
    if right.name != "ce" or right.kind not in ("logits", "probabilities"):
        return 0.0
    f = np.zeros((1, 10))
    f[0, 1] = 1.0 if right.kind == "probabilities" else 10 * GAP
    case = LossCase(f, np.array([0]))
    try:
        got = _first(own(*way.arguments(case.f, case)))
    except ComponentError:
        return 0.0
    return float(np.exp(-got)) if LARGEST_ADDED < got < SMALLEST_ADDED else 0.0


def _first(values: Array) -> float:
    return float(values.flat[0]) if values.size else np.nan


def _smooths(own: OwnFunction, right: RightLoss, case: LossCase) -> bool:
    """Tell whether the loss is right of smoothed labels, too."""
    smooth = probes.smoothed(torch.from_numpy(case.one_hot)).numpy()
    try:
        return numbers.error(own(case.f, smooth), right.values(case.f, smooth)) < numbers.SINGLE
    except ComponentError:
        return False


def _note_gap(single: OwnFunction, way: LossWay, right: RightLoss, findings: Findings) -> None:
    """Say what comes out at a gap of 110 between logits, in single precision."""
    if right.name not in ("ce", "nll") or right.kind == "scores":
        return
    z = np.zeros((1, 10))
    z[0, 1] = GAP
    f = probes.like_output(right.kind, torch.from_numpy(z).float()).numpy().astype(np.float64)
    case = LossCase(f, np.array([0]))
    try:
        got = _first(single(*way.arguments(case.f, case)))
    except ComponentError:
        return
    if right.kind == "probabilities":
        findings.notes.append(_of_textbook(got))
    elif not np.isfinite(got):
        cause = "e^z overflows, or 0 times log 0" if np.isnan(got) else "the probability underflows to 0"
        findings.notes.append(
            f"gives {got:.4g} at a logit gap of 110 in single precision, where the loss is 110 ({cause}): "
            "subtract the maximum of the logits before exp, and take -z_y + log(sum e^z) instead of the "
            "log of a softmax"
        )
    elif abs(got - GAP) > 1:
        findings.notes.append(
            f"gives {got:.4g} at a logit gap of 110, where the loss is 110: something is added inside the "
            f"logarithm (about {np.exp(-got):.1g})"
        )


def _of_textbook(got: float) -> str:
    if np.isfinite(got):
        return (
            f"of a probability that is 0 in single precision (a logit gap of 110) it gives {got:.4g} where "
            f"-log p_y is inf: about {np.exp(-got):.1g} is added or kept as a minimum"
        )
    return (
        f"gives {got:.4g} at a logit gap of 110 in single precision: expected of -log p_y, as the "
        "textbooks write it; of logits, subtract the maximum and the loss stays finite"
    )
