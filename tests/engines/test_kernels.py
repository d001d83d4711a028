"""The kernels do what PyTorch does, step by step and in stretches."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from harness.engines.stacked.kernel_steps import DEEPEST, Stretches
from harness.planning.kernel_support import ACTIVATIONS, CROSS_ENTROPIES, RULES, kernels_support
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.samples import Data, Samples, prepare
from harness.engines import kernels
from harness.engines.outcome import Outcome
from harness.engines.stacked import engine, sparse
from harness.engines.stacked import network as engine_stack
from harness.engines.stacked import outputs as outputs_
from harness.engines.stacked.sparse import Transposer, compressed
from harness.planning import grouping
from harness.study.trials import Arm, Trial, resolve

pytestmark = pytest.mark.skipif(bool(kernels.why_not()), reason=f"no kernels: {kernels.why_not()}")
steady = settings(deadline=None, max_examples=25)  # time depends on the machine
TIGHT = 1e-11


@pytest.fixture(autouse=True)
def all_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "DENSEST", 1.0)


def trial(seed: int = 0, **changed: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "steps": 90, "batch_size": 32, "eval_every": "40 steps"}
    made = resolve({**base, "hidden": [12], **changed})
    return Trial(f"t{seed}{sorted(changed.items())}", Arm(str(changed), made), seed)


def train(members: Sequence[Trial], dtype: Any = np.float64, data: Data | None = None) -> Outcome:
    return engine.train(members, data or prepare(members[0].arm.settings, dtype), dtype=dtype)


def step_by_step(members: Sequence[Trial], monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """By the same layer one, and PyTorch's operations behind it."""
    with monkeypatch.context() as patch:
        patch.setattr(engine_stack, "stretches", lambda *_: None)
        patch.setattr(engine_stack, "kernels_support_layers", lambda _: False)
        patch.setattr(outputs_, "kernels_support_output", lambda _: False)
        return train(members)


def assert_same(a: Outcome, b: Outcome, tolerance: float) -> None:
    assert (a.diverged_step == b.diverged_step).all()
    fine = a.diverged_step == 0
    for p, q in zip(a.curve, b.curve, strict=True):
        np.testing.assert_allclose(p.loss[fine], q.loss[fine], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(p.accuracy[fine], q.accuracy[fine], atol=tolerance)
    for k in np.flatnonzero(fine):
        for name, expected in b.weights[k].items():
            np.testing.assert_allclose(a.weights[k][name], expected, rtol=tolerance, atol=tolerance)
    for split, end in b.final.items():
        assert (a.final[split].predicted[fine] == end.predicted[fine]).all()
        np.testing.assert_allclose(a.final[split].confidence[fine], end.confidence[fine], rtol=tolerance)


# ------------------------------------------------------------------------------------------- a step's pieces


def images(n: int, d: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.3)
    x[n // 2] = 0  # an image without any pixels
    return Samples(x, rng.integers(0, 3, n), np.arange(n))


@steady
@given(n=st.integers(1, 20), d=st.integers(1, 30), size=st.integers(1, 9), seed=st.integers(0, 9))
def test_a_transposed_batch_is_its_transpose(n: int, d: int, size: int, seed: int) -> None:
    samples = images(n, d, seed)
    index = torch.from_numpy(np.random.default_rng(seed).integers(0, n, (2, size)))
    transpose = Transposer(torch.empty(0, dtype=torch.float64), d)
    transpose(compressed(samples), index)
    for batch in range(2):
        start = transpose.starts[batch * (d + 2) :][: d + 1].tolist()
        sample, value = (x[batch * size * d :].numpy() for x in (transpose.samples, transpose.values))
        dense = np.zeros((d, size))
        for pixel, (a, b) in enumerate(itertools.pairwise(start)):
            dense[pixel, sample[a:b]] = value[a:b]
        assert (dense == samples.x[index[batch].numpy()].T).all()


def test_compressed_images_end_with_an_empty_one() -> None:
    kept = compressed(images(7, 5))
    assert kept.size == 7
    assert kept.row[7] == kept.row[8] == len(kept.value)
    assert kept.occurs.tolist() == (images(7, 5).x != 0).any(0).astype(int).tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "z",
    [
        [[1.0, 5.0, 5.0], [2.0, 2.0, 2.0], [-900.0, 900.0, 0.0]],  # ties: the first one
        [[np.nan, 1.0, 0.0], [np.inf, 0.0, 1.0], [-np.inf, 0.0, 1.0]],
        [[0.0, -np.inf, -np.inf], [np.nan] * 3, [np.inf, np.inf, 0.0]],
    ],
)
def test_an_evaluation_equals_pytorchs_for_any_logits(z: list[list[float]], dtype: torch.dtype) -> None:
    logits = torch.tensor(z, dtype=dtype).T.repeat(2, 1, 16)[:, :, :48]  # (2, C = 3, B = 48)
    y = torch.arange(48) % 3
    (fast,) = outputs_.Outputs([trial()] * 2, 3, torch.device("cpu"), dtype).parts
    assert fast.kernel is not None
    plain = outputs_.Output(fast.head, fast.form, {}, None)
    ours, theirs = (output.evaluate(logits, y, (), keep=True) for output in (fast, plain))
    torch.testing.assert_close(ours.loss, theirs.loss, equal_nan=True)
    assert ours.correct.tolist() == theirs.correct.tolist()
    assert ours.predicted is not None
    assert theirs.predicted is not None
    assert ours.predicted.tolist() == theirs.predicted.tolist()
    finite = logits.isfinite().all(1)
    assert ours.confidence is not None
    assert theirs.confidence is not None
    torch.testing.assert_close(ours.confidence[finite], theirs.confidence[finite])


def test_float32_losses_are_within_rounding_of_float64s() -> None:
    """The kernels' exponential is a polynomial of their own."""
    z = torch.linspace(-80, 80, 3 * 10 * 1600, dtype=torch.float64)[torch.randperm(48000)].view(3, 10, 1600)
    y = torch.arange(1600) % 10
    parts = [
        outputs_.Outputs([trial()] * 3, 10, torch.device("cpu"), dtype).parts[0]
        for dtype in (torch.float32, torch.float64)
    ]
    ours = parts[0].evaluate(z.float(), y, (), keep=True)
    exact = parts[1].evaluate(z.float().double(), y, (), keep=True)
    torch.testing.assert_close(ours.loss, exact.loss, rtol=1e-6, atol=0)
    assert ours.confidence is not None
    assert exact.confidence is not None
    torch.testing.assert_close(ours.confidence.double(), exact.confidence, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------------------------------- whole trials


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("head", "loss"), sorted(CROSS_ENTROPIES))
def test_many_steps_in_one_call_equal_single_steps(
    activation: str, head: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widths that fill vectors and that do not, any depth, two seeds, smoothed labels."""
    for hidden in ([16], [24, 9, 33], []):
        members = [
            trial(seed, activation=activation, head=head, loss=loss, hidden=hidden, lr=0.03 * (1 + k),
                  label_smoothing=0.1 * k)
            for k, seed in enumerate((3, 4, 3))
        ]  # fmt: skip
        assert all(kernels_support(one.arm.settings) for one in members)
        assert_same(train(members), step_by_step(members, monkeypatch), TIGHT)


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("batch_size", [1, 20, 64])
def test_every_rule_and_batch_size(optimizer: str, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On epochs whose last batch is short, with settings that differ from member to member."""
    budget: dict[str, Any] = {"epochs": 3, "steps": None} if batch_size > 1 else {"steps": 300}
    lr = {"sgd": 0.02, "momentum": 0.01, "nesterov": 0.01}.get(optimizer, 1e-3)
    members = [
        trial(
            k % 2, optimizer=optimizer, lr=lr * (1 + k), weight_decay=0.01 * k, schedule="cosine",
            batch_size=batch_size, eval_every="50 steps", **budget,
        )
        for k in range(5)
    ]  # fmt: skip
    assert_same(train(members), step_by_step(members, monkeypatch), 1e-9)


def test_shapes_and_rules_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        trial(optimizer=optimizer, hidden=hidden, activation=activation)
        for (optimizer, hidden), activation in zip(
            itertools.product(RULES, ([5], [40, 17])), itertools.cycle(ACTIVATIONS), strict=False
        )
    ]
    members = grouping.side_by_side(made)
    assert_same(train(members), step_by_step(members, monkeypatch), 1e-9)


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("hidden", [[16], [24, 10]], ids=str)
def test_a_members_bits_do_not_depend_on_other_members(optimizer: str, hidden: list[int]) -> None:
    """Float32, to the last bit, whoever trains beside it, before it or behind it."""
    same: dict[str, Any] = {"hidden": hidden, "optimizer": optimizer, "steps": 40}
    mine = trial(lr=0.002, **same)
    alone = train([mine], np.float32)
    for before, behind in ((1, 0), (0, 3), (7, 0), (2, 6), (0, 15)):
        others = [trial(lr=0.001 * (3 + k), **same) for k in range(before + behind)]
        among = train([*others[:before], mine, *others[before:]], np.float32)
        for name, expected in alone.weights[0].items():
            assert (among.weights[before][name] == expected).all()
        for p, q in zip(among.curve, alone.curve, strict=True):
            # Evaluations sum over samples in chunks, whose size depends on the stack.
            assert p.loss[before] == pytest.approx(q.loss[0], rel=1e-7)


@pytest.mark.parametrize("batch_size", [1, 20, 32])
def test_cutting_a_call_of_many_steps_changes_no_bit(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [trial(k % 2, optimizer=o, batch_size=batch_size) for k, o in enumerate(("adam", "sgd"))]
    whole = train(members, np.float32)
    monkeypatch.setattr(Stretches, "most", lambda *_: 1)
    single = train(members, np.float32)
    for a, b in zip(whole.weights, single.weights, strict=True):
        assert all((a[name] == b[name]).all() for name in a)


def test_divergence_is_dated_alike_and_stays_inside_its_member(monkeypatch: pytest.MonkeyPatch) -> None:
    wild: dict[str, Any] = {"preprocessing": "raw", "optimizer": "momentum", "activation": "identity"}
    members = [trial(lr=lr, **wild) for lr in (1e-6, 1e100, 1e200)]
    ours = train(members)
    assert (ours.diverged_step > 0).tolist() == [False, True, True]
    assert_same(ours, step_by_step(members, monkeypatch), TIGHT)
    assert all((ours.weights[0][name] == w).all() for name, w in train(members[:1]).weights[0].items())


def test_structs_and_constants_are_those_of_c() -> None:
    told = (ctypes.c_int64 * 10)()
    kernels.library("float32").layout(told)
    structs = (
        kernels.CImages,
        kernels.Turned,
        kernels.UpdateTask,
        kernels.CNetwork,
        kernels.Members,
        kernels.Stretch,
    )
    assert list(told) == [
        kernels.lanes("float32"), kernels.WIDEST, DEEPEST, kernels.TILE.itemsize, *map(ctypes.sizeof, structs)
    ]  # fmt: skip


def test_the_kernels_learn_mnist() -> None:
    members = [trial(dataset="mnist", steps=800, hidden=[32, 32], optimizer=o) for o in ("sgd", "adam")]
    outcome = train(members, np.float32)
    assert (outcome.final["test"].accuracy > 0.9).all()
