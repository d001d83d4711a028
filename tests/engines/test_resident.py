"""The resident kernel, compiled for a processor, does what the compiled engine does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from harness.axes.activations import activations
from harness.data.samples import Samples, prepare
from harness.engines import kernels
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.compiled import images as compiled_images
from harness.engines.outcome import Outcome
from harness.engines.resident import steps as resident
from harness.engines.stacked import cuda_graphs, engine
from harness.engines.stacked.dense import Dense
from harness.engines.stacked.gpu_images import ResidentImages
from harness.planning import grouping
from harness.study.trials import Arm, Trial, resolve
from host_launcher import COMPILER, Host

pytestmark = pytest.mark.skipif(
    COMPILER is None or bool(kernels.why_not()), reason=f"no C++ compiler, or no kernels: {kernels.why_not()}"
)
TIGHT = 1e-11


def trial(seed: int = 0, **changed: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "steps": 90, "batch_size": 32, "eval_every": "40 steps"}
    made = resolve({**base, "hidden": [12], **changed})
    return Trial(f"t{seed}{sorted(changed.items())}", Arm(str(changed), made), seed)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A processor in place of a GPU, for the stacked engine."""
    made = Host()
    monkeypatch.setattr(resident, "launchers", lambda _: lambda: made)
    monkeypatch.setattr(cuda_graphs, "graphs", lambda _: None)
    monkeypatch.setattr(compiled_images, "DENSEST", 1.0)
    monkeypatch.setattr("harness.engines.stacked.sparse.pays", lambda _: False)

    def images(dense: Dense, samples: Samples) -> Any:
        return ResidentImages(samples, dense.seeds, dense.wide.device)

    monkeypatch.setattr(Dense, "images", images)
    return made


def train(members: list[Trial], dtype: Any = np.float64, options: EngineOptions = DEFAULT_OPTIONS) -> Outcome:
    data = prepare(members[0].arm.settings, dtype)
    outcome = engine.train(members, data, "cpu", dtype, options)
    assert not outcome.notes
    return outcome


def in_c(members: list[Trial], dtype: Any = np.float64) -> Outcome:
    data = prepare(members[0].arm.settings, dtype)
    assert not compiled.why_not(members, data, "cpu", ())
    return compiled.train(members, data)


def assert_same(a: Outcome, b: Outcome, tolerance: float) -> None:
    assert (a.diverged_step == b.diverged_step).all()
    for p, q in zip(a.curve, b.curve, strict=True):
        np.testing.assert_allclose(p.loss, q.loss, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(a.weights, b.weights, strict=True):
        assert mine.keys() == theirs.keys()
        for name, expected in theirs.items():
            np.testing.assert_allclose(mine[name], expected, rtol=tolerance, atol=tolerance)


def assert_as_in_c(members: list[Trial], tolerance: float = TIGHT, dtype: Any = np.float64) -> Outcome:
    members = grouping.side_by_side(members)
    ours = train(members, dtype)
    assert_same(ours, in_c(members, dtype), tolerance)
    return ours


def test_relu_ce_sgd_as_in_c(host: Host) -> None:
    assert_as_in_c([trial(seed, lr=0.1 * (k + 1)) for k, seed in enumerate((0, 1, 0))])
    assert sum(host.launches) == 90 + resident.TRIED


def test_every_activation(host: Host) -> None:
    members = [
        trial(seed, activation=activation.name, lr=0.03 * (1 + k), label_smoothing=0.1 * k, hidden=[16, 9])
        for activation in activations
        for k, seed in enumerate((3, 4))
    ]
    assert_as_in_c(members)
