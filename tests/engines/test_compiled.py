"""The compiled engine does what PyTorch does, and a member's bits are its own."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.data.datasets import datasets
from harness.data.images import Images
from harness.data.preprocessing import preprocessings
from harness.data.samples import Data, Samples, prepare
from harness.engines import driver, kernels, self_test, stack_engine
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.compiled import group, training
from harness.engines.compiled.components import CompiledOptimizer, functions
from harness.engines.compiled.images import SparseForm, Transposer, common_pixels, compressed, sparse_form
from harness.engines.outcome import Outcome
from harness.engines.stacked import engine as pytorch
from harness.engines.stacked.outputs import Output
from harness.errors import MachineError
from harness.lowering import builds, components
from harness.planning import compilation, grouping
from harness.study.trials import Arm, Trial, resolve

pytestmark = pytest.mark.skipif(bool(kernels.why_not()), reason=f"no kernels: {kernels.why_not()}")
steady = settings(deadline=None, max_examples=25)  # time depends on the machine
TIGHT = 1e-11
METRICS = [metric.name for metric in metrics]
OTHER: dict[str, Any] = {
    "momentum": 0.7, "dampening": 0.3, "betas": [0.8, 0.98], "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.03,
    "lr_decay": 0.01, "initial_accumulator_value": 0.1, "centered": True, "amsgrad": True,
}  # fmt: skip
"""A value for every setting of an optimizer that is not its default."""


def trial(seed: int = 0, **changed: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "steps": 90, "batch_size": 32, "eval_every": "40 steps"}
    made = resolve({**base, "hidden": [12], **changed})
    return Trial(f"t{seed}{sorted(changed.items())}", Arm(str(changed), made), seed)


def train(
    members: Sequence[Trial],
    dtype: Any = np.float64,
    data: Data | None = None,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:
    """Train in compiled code, from end to end."""
    data = data or prepare(members[0].arm.settings, dtype)
    assert not compiled.why_not(members, data, "cpu", options.metrics)
    return compiled.train(members, data, options)


def by_pytorch(members: Sequence[Trial], dtype: Any = np.float64, tracked: Sequence[str] = ()) -> Outcome:
    """Train by PyTorch's operations, behind the same layer one."""
    data = prepare(members[0].arm.settings, dtype)
    return pytorch.train(members, data, dtype=dtype, options=EngineOptions(metrics=tracked))


def assert_same(a: Outcome, b: Outcome, tolerance: float) -> None:
    assert (a.diverged_step == b.diverged_step).all()
    assert (a.parameters == b.parameters).all()
    fine = a.diverged_step == 0
    for p, q in zip(a.curve, b.curve, strict=True):
        assert (p.step, p.split, p.metrics.keys()) == (q.step, q.split, q.metrics.keys())
        np.testing.assert_allclose(p.loss[fine], q.loss[fine], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(p.accuracy[fine], q.accuracy[fine], atol=tolerance)
        for name, expected in q.metrics.items():
            np.testing.assert_allclose(p.metrics[name][fine], expected[fine], rtol=tolerance, atol=tolerance)
    for k in np.flatnonzero(fine):
        assert a.weights[k].keys() == b.weights[k].keys()
        for name, expected in b.weights[k].items():
            np.testing.assert_allclose(a.weights[k][name], expected, rtol=tolerance, atol=tolerance)
    assert a.final.keys() == b.final.keys()
    for split, end in b.final.items():
        assert (a.final[split].predicted[fine] == end.predicted[fine]).all()
        np.testing.assert_allclose(a.final[split].confidence[fine], end.confidence[fine], rtol=tolerance)


def assert_as_pytorch(
    members: Sequence[Trial], tolerance: float = TIGHT, tracked: Sequence[str] = ()
) -> Outcome:
    members = grouping.side_by_side(members)
    ours = train(members, options=EngineOptions(metrics=tracked))
    assert_same(ours, by_pytorch(members, tracked=tracked), tolerance)
    return ours


def assert_same_bits(a: Outcome, k: int, b: Outcome, j: int) -> None:
    for name, expected in b.weights[j].items():
        assert (a.weights[k][name] == expected).all(), name
    assert len(a.curve) == len(b.curve) > 0
    for p, q in zip(a.curve, b.curve, strict=True):
        assert (p.loss[k], p.accuracy[k]) == (q.loss[j], q.accuracy[j])
    for split, end in b.final.items():
        assert (a.final[split].confidence[k] == end.confidence[j]).all()


# ------------------------------------------------------------------------------------------- a step's pieces


def made_up(n: int, d: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.3)
    x[n // 2] = 0  # an image without any pixels
    return Samples(x, rng.integers(0, 3, n), np.arange(n))


@steady
@given(
    n=st.integers(1, 20), d=st.integers(1, 30), size=st.integers(1, 9), seed=st.integers(0, 9),
    moved=st.booleans(),
)  # fmt: skip
def test_a_transposed_batch_is_its_transpose(n: int, d: int, size: int, seed: int, moved: bool) -> None:
    samples = made_up(n, d, seed)
    common = np.random.default_rng(seed).normal(size=d) if moved else None
    if common is not None:
        samples.x[:] += common
    index = np.random.default_rng(seed).integers(0, n, (2, size))
    transpose = Transposer(d, samples.x.dtype)
    transpose(compressed(samples, SparseForm(common, 0.3)), index)
    for batch in range(2):
        start = transpose.starts[batch * (d + 2) :][: d + 1].tolist()
        sample, value = (x[batch * size * d :] for x in (transpose.samples, transpose.values))
        dense = np.zeros((d, size))
        for pixel, (a, b) in enumerate(itertools.pairwise(start)):
            dense[pixel, sample[a:b]] = value[a:b]
        expected = samples.x if common is None else samples.x - common
        np.testing.assert_allclose(dense, expected[index[batch]].T, atol=1e-15)


def test_compressed_images_end_with_an_empty_one() -> None:
    samples = made_up(7, 5)
    kept = compressed(samples, SparseForm(None, 0.3))
    assert kept.size == 7
    assert (kept.row[7 * kept.ranges :] == len(kept.value)).all()
    assert kept.occurs.tolist() == (samples.x != 0).any(0).astype(int).tolist()


def test_a_pixels_common_value_is_its_most_frequent_one() -> None:
    x = np.array([[3.0, 1.0, 5.0], [2.0, 1.0, 4.0], [3.0, 0.0, 6.0], [2.0, 1.0, 7.0]])
    assert common_pixels(x).tolist() == [2.0, 1.0, 4.0]  # of equals the smallest


@pytest.mark.parametrize(
    ("preprocessing", "common"),
    [("unit", False), ("raw", False), ("signed", True), ("invert", True), ("standardize", True)],
)
def test_common_values_are_left_out_where_they_are_not_zero(preprocessing: str, common: bool) -> None:
    form = sparse_form(prepare(trial(preprocessing=preprocessing).arm.settings).train)
    assert (form.common is not None) is common
    assert form.density < 0.6


# -------------------------------------------------------------------------------------------------- outputs


def judged(lowered: Any, z: NDArray[Any], y: NDArray[Any]) -> tuple[float, int, NDArray[Any], NDArray[Any]]:
    """The sums of losses and hits of logits (C, B), and each sample's class and probability."""
    real = z.dtype.name
    at = functions(lowered, real)["judge"]
    judge = ctypes.CFUNCTYPE(None, *2 * [ctypes.c_void_p], *2 * [ctypes.c_int64], *5 * [ctypes.c_void_p])(at)
    size = z.shape[1]
    label = y.astype(np.int32 if real == "float32" else np.int64)
    loss, hits, setting = np.zeros(1), np.zeros(1, np.int64), np.zeros(1)
    best, sure = np.zeros(size, np.int64), np.zeros(size, z.dtype)
    judge(
        z.ctypes.data, label.ctypes.data, size, size, setting.ctypes.data, loss.ctypes.data, hits.ctypes.data,
        best.ctypes.data, sure.ctypes.data,
    )  # fmt: skip
    return float(loss[0]), int(hits[0]), best, sure


FITTING = [
    (head.name, loss.name)
    for head in heads
    for loss in losses
    if loss.component.form(head.component.kind) is not None
]


def outputs(head: str, loss: str, classes: int) -> tuple[Any, Output]:
    """An output in compiled code, and in PyTorch."""
    form = losses[loss].form(heads[head].kind)
    assert form is not None
    own = {name: torch.zeros(1, 1, dtype=torch.float64) for name in losses[loss].settings}
    return components.output(head, loss, "kind", classes), Output(heads[head], form, own, None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("head", "loss"), FITTING)
def test_an_evaluation_equals_pytorchs_for_any_logits(head: str, loss: str, dtype: Any) -> None:
    rows = [
        [1.0, 5.0, 5.0], [2.0, 2.0, 2.0], [0.0, -80.0, 3.0],  # ties: the first one
        [-900.0, 900.0, 0.0],
        [np.nan, 1.0, 0.0], [np.inf, 0.0, 1.0], [-np.inf, 0.0, 1.0],
        [0.0, -np.inf, -np.inf], [np.nan] * 3, [np.inf, np.inf, 0.0],
    ]  # fmt: skip
    lowered, plain = outputs(head, loss, 3)
    for row, label in itertools.product(rows, range(3)):
        z = np.repeat(np.array(row, dtype)[:, None], 16, 1).copy()
        y = np.full(16, label)
        sum_, hits, best, sure = judged(lowered, z, y)
        theirs = plain.evaluate(torch.from_numpy(z)[None], torch.from_numpy(y), (), keep=True)
        assert theirs.predicted is not None
        assert theirs.confidence is not None
        np.testing.assert_allclose(sum_, float(theirs.loss), rtol=1e-6, atol=1e-6, equal_nan=True)
        assert best.tolist() == theirs.predicted[0].tolist()
        assert hits == int(theirs.correct)
        np.testing.assert_allclose(sure, theirs.confidence[0].numpy(), rtol=1e-5, equal_nan=True)


def test_float32_losses_are_within_rounding_of_float64s() -> None:
    """Compiled code has elementary functions of its own."""
    z = np.random.default_rng(0).permutation(np.linspace(-80, 80, 10 * 1600)).reshape(10, 1600)
    y, z = np.arange(1600) % 10, z.astype(np.float32)
    lowered, _ = outputs("identity", "ce", 10)
    ours, exact = judged(lowered, z, y), judged(lowered, z.astype(np.float64), y)
    assert ours[0] == pytest.approx(exact[0], rel=1e-6)
    assert ours[1] == exact[1]
    np.testing.assert_allclose(ours[3], exact[3], rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------------------------------- whole trials


@pytest.mark.parametrize("hidden", [[16], [24, 9, 33], [], [5, 40]], ids=str)
def test_every_activation_at_any_depth(hidden: list[int]) -> None:
    """Widths that fill vectors and that do not, two seeds, smoothed labels."""
    members = [
        trial(seed, activation=activation.name, hidden=hidden, lr=0.03 * (1 + k), label_smoothing=0.1 * k)
        for activation in activations
        for k, seed in enumerate((3, 4, 3))
    ]
    assert_as_pytorch(members)


def test_every_head_and_loss() -> None:
    """Fitting or not, with smoothing that differs from member to member, and measured by every metric."""
    rates = {"ql": 0.02, "mse": 0.1, "ccql": 0.03}
    named = [
        {"head": head, "loss": loss, "lr": rates.get(loss, 0.05), "label_smoothing": smoothing, **more}
        for head, loss in FITTING
        for smoothing, more in ((0.0, {}), (0.2, {"ccql_weight": 0.3} if loss == "ccql" else {}))
    ]
    named += [
        {"head": head.name, "loss": loss.name, "match": "ignore", "lr": 0.005}
        for head in heads
        for loss in losses
        if (head.name, loss.name) not in FITTING
    ]
    members = [trial(k % 2, steps=60, **one) for k, one in enumerate(named)]
    assert_as_pytorch(members, tracked=METRICS)


def rule_settings() -> Iterator[dict[str, Any]]:
    """Every optimizer as it is, with all of its settings changed, and with some of them alone."""
    for optimizer in optimizers:
        own = optimizer.component.settings
        lr = min(0.02, float(own["lr"].default))  # type: ignore[arg-type]
        named = {"optimizer": optimizer.name, "lr": lr}
        yield named
        yield {**named, "lr": lr * 0.7, **{name: OTHER[name] for name in own if name in OTHER}}
        for name in ("weight_decay", "amsgrad", "centered", "momentum"):
            if name in own:
                yield {**named, "lr": lr * 0.9, name: OTHER[name]}
        if "betas" in own:  # whose parts may be 0, one by one
            yield {**named, "betas": [0.0, 0.99]}


@pytest.mark.parametrize("batch_size", [1, 7, 20, 64])
def test_every_optimizer_and_batch_size(batch_size: int) -> None:
    """On epochs whose last batch is short, with settings that differ by member, some of them 0."""
    budget: dict[str, Any] = {"epochs": 2, "steps": None} if batch_size >= 20 else {"steps": 100}
    members = [
        trial(k % 2, schedule="cosine", batch_size=batch_size, eval_every="50 steps", **budget, **one)
        for k, one in enumerate(rule_settings())
    ]
    assert_as_pytorch(members, 1e-9)


def test_an_optimizer_that_moves_weights_without_a_gradient_is_not_idle() -> None:
    @optimizers.register("sparsifying")
    def sparsifying(param: Any, grad: Any, _state: Any, _t: Any, *, lr: Any = 0.1) -> None:
        """Set small weights to 0."""
        param.sub_((lr * grad).to(param.dtype))
        param.copy_(torch.where(param.abs() < 1e-3, 0, param))

    for name, idle in (("sgd", True), ("adam", True), ("sparsifying", False)):
        one = trial(optimizer=name)
        lowered = components.of_trial(one.arm.settings).optimizer
        assert CompiledOptimizer.of(lowered, [one], "float32").idle() is idle
    decayed = trial(optimizer="adamw", weight_decay=0.01)
    assert not CompiledOptimizer.of(
        components.of_trial(decayed.arm.settings).optimizer, [decayed], "float32"
    ).idle()


def test_members_leave_out_units_of_their_own() -> None:
    """Dropout's shares differ, or are 0; three seeds; every depth."""
    shares = (0.0, 0.2, 0.5)
    members = [
        trial(k, steps=50, hidden=hidden, dropout=p, lr=0.05, optimizer=optimizer)
        for hidden in ([20], [6, 33], [16, 9, 5], [])
        for optimizer in ("sgd", "adam")
        for k, p in enumerate(shares)
    ]
    assert_as_pytorch(members, 1e-9)


def test_shapes_and_optimizers_side_by_side() -> None:
    shapes = itertools.product([o.name for o in optimizers], ([5], [40, 17]))
    named = zip(shapes, itertools.cycle([a.name for a in activations]), strict=False)
    members = [
        trial(k % 3, steps=60, optimizer=o, hidden=hidden, activation=a)
        for k, ((o, hidden), a) in enumerate(named)
    ]
    assert_as_pytorch(members, 1e-9)


def test_pixels_that_are_not_zero() -> None:
    def standardised(x: NDArray[Any], pixels: Any) -> NDArray[Any]:
        """Each pixel by its own mean and deviation."""
        train = pixels.train.reshape(-1, *x.shape[1:])
        scaled: NDArray[Any] = (x - train.mean(0)) / (train.std(0) + 1)
        return scaled

    preprocessings.register("by_pixel")(standardised)
    for preprocessing in ("unit", "standardize", "signed", "invert", "by_pixel", "raw"):
        scale = 0.05 if preprocessing == "raw" else 1
        members = [
            trial(
                seed, steps=60, preprocessing=preprocessing, optimizer=o, lr=scale * lr, weight_decay=decay,
                hidden=[18],
            )
            for seed, o, lr, decay in (
                (0, "sgd", 0.02, 0.0), (1, "sgd", 0.02, 0.1), (0, "adam", 1e-3, 0.0),
                (1, "momentum", 5e-3, 0.0),
            )
        ]  # fmt: skip
        assert (sparse_form(prepare(members[0].arm.settings).train).common is None) is (
            preprocessing in {"unit", "raw"}
        )
        assert_as_pytorch(members, 1e-9)


@pytest.mark.parametrize("classes", [2, 37])
def test_another_number_of_classes(classes: int) -> None:
    def images_of_classes() -> Images:
        rng = np.random.default_rng(classes)
        labels = np.arange(400) % classes
        pixels = (rng.integers(0, 16, (400, 8, 9)) * (rng.random((400, 8, 9)) < 0.3)).astype(np.uint8)
        pixels[np.arange(400), labels % 8, labels // 8] = 16
        return Images(pixels[:300], labels[:300], pixels[300:], labels[300:])

    name = f"of_{classes}"
    datasets.register(name, classes=tuple(map(str, range(classes))), pixel_max=16)(images_of_classes)
    pairs = (("identity", "ce"), ("softmax", "ccql"), ("log_softmax", "nll"), ("sigmoid", "mse"))
    members = [
        trial(k % 2, dataset=name, head=head, loss=loss, batch_size=20, label_smoothing=0.1 * (k % 2))
        for k, (head, loss) in enumerate(pairs)
    ]
    outcome = assert_as_pytorch(members, 1e-10, ["top3", "brier"])
    assert outcome.weights[0]["1.weight"].shape == (classes, 12)


def test_divergence_is_dated_alike_and_stays_inside_its_member() -> None:
    wild: dict[str, Any] = {"preprocessing": "raw", "optimizer": "momentum", "activation": "identity"}
    members = [trial(lr=lr, **wild) for lr in (1e-6, 1e100, 1e200)]
    ours = train(members)
    assert (ours.diverged_step > 0).tolist() == [False, True, True]
    assert_same(ours, by_pytorch(members), TIGHT)
    assert all((ours.weights[0][name] == w).all() for name, w in train(members[:1]).weights[0].items())


def test_a_member_that_diverges_under_common_values_changes_no_other() -> None:
    wild: dict[str, Any] = {"preprocessing": "standardize", "loss": "ql"}
    among, without = (
        train([trial(lr=0.01, **wild), trial(1, lr=lr, **wild), trial(1, lr=0.02, **wild)], np.float32)
        for lr in (1e20, 0.005)
    )
    assert among.diverged_step.astype(bool).tolist() == [False, True, False]
    assert_same_bits(among, 0, without, 0)
    assert_same_bits(among, 2, without, 2)


# ------------------------------------------------------------------------------------------------------ bits


COMPANY: Sequence[dict[str, Any]] = (
    {"lr": 0.3, "seed": 0},
    {"activation": "gelu", "head": "softmax", "loss": "ql", "seed": 1},
    {"optimizer": "adam", "lr": 0.002, "seed": 2},
    {"optimizer": "adam", "lr": 0.002, "weight_decay": 0.1, "amsgrad": True, "seed": 1},
    {"optimizer": "sgd", "weight_decay": 0.1, "dropout": 0.4, "seed": 0},
    {"optimizer": "rmsprop", "lr": 0.002, "momentum": 0.5, "seed": 0},
    {"hidden": [40], "label_smoothing": 0.2, "dropout": 0.2, "seed": 1},
    {"hidden": [], "seed": 0},
)
"""Members of other components, optimizers, settings of zero, shapes and seeds."""


@pytest.mark.parametrize(
    "own", [{"preprocessing": "standardize"}, {"dropout": 0.3, "activation": "silu"}], ids=str
)
@pytest.mark.parametrize("optimizer", [optimizer.name for optimizer in optimizers])
def test_a_members_bits_do_not_depend_on_other_members(optimizer: str, own: dict[str, Any]) -> None:
    """Float32, to the last bit, whoever trains beside it, before it or behind it."""
    for hidden in ([16], [24, 10]):
        shared: dict[str, Any] = {"steps": 40, "preprocessing": own.get("preprocessing", "unit")}
        mine = trial(lr=0.002, hidden=hidden, optimizer=optimizer, **{**shared, **own})
        alone = train([mine], np.float32)
        likes = [trial(lr=0.001 * (3 + k), hidden=hidden, optimizer=optimizer, **{**shared, **own})
                 for k in range(15)]  # fmt: skip
        others = [trial(**{**shared, **one}) for one in COMPANY]
        for company in (likes[:1], likes, [*others, *likes[:6]]):
            members = grouping.side_by_side([mine, *company])
            assert_same_bits(train(members, np.float32), members.index(mine), alone, 0)


@pytest.mark.parametrize("batch_size", [1, 20, 32])
def test_cutting_a_stretch_changes_no_bit(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [
        trial(k % 2, optimizer=o, batch_size=batch_size, preprocessing="invert", dropout=0.1 * k, steps=70)
        for k, o in enumerate(("adam", "sgd", "rmsprop"))
    ]
    whole = train(members, np.float32)
    for values, looks, together in ((1, 64, 2**30), (2**30, 7, 1), (64 * 64 * 3, 5, 2**14)):
        with monkeypatch.context() as patch:
            patch.setattr(training, "STRETCH_VALUES", values)
            for module in (training, driver):
                patch.setattr(module, "LOOK_EVERY", looks)
            patch.setattr(group, "TRAINED_BYTES", together)
            patch.setattr(group, "EVALUATED_BYTES", together)
            cut = train(members, np.float32)
        for k in range(len(members)):
            assert_same_bits(cut, k, whole, k)


EXACT_STEPS = 320
RATES = (0.02, 0.07, 0.2)
"""As shares of the optimizer's default; kinks of ReLU amplify rounding at some of them, so medians count."""


def exactness_cases() -> Iterator[dict[str, Any]]:
    for activation in activations:
        yield {"activation": activation.name}
    for head, loss in FITTING:
        yield {"head": head, "loss": loss}
    for one in rule_settings():
        yield {name: value for name, value in one.items() if name != "lr"}


def apart(a: dict[str, Any], exact: dict[str, Any]) -> float:
    """How far layer one's weights are from the exact ones, as a share of these."""
    distance = np.linalg.norm(a["0.weight"].astype(np.float64) - exact["0.weight"])
    return float(distance / np.linalg.norm(exact["0.weight"]))


@pytest.mark.parametrize("preprocessing", ["unit", "standardize"])
def test_float32_is_about_as_exact_as_pytorchs(preprocessing: str) -> None:
    """For every component, after 320 steps: the median over rates is within 3 times PyTorch's own error."""
    cases = {str(one): one for one in exactness_cases()}
    members: list[Trial] = []
    for one in cases.values():
        default = optimizers[one.get("optimizer", "sgd")].settings["lr"].default
        assert isinstance(default, float)
        members += [
            trial(lr=share * default, steps=EXACT_STEPS, hidden=[16], preprocessing=preprocessing,
                  batch_size=16, eval_every="320 steps", **one)
            for share in RATES
        ]  # fmt: skip
    ordered = grouping.side_by_side(members)
    exact, ours, theirs = train(ordered), train(ordered, np.float32), by_pytorch(ordered, np.float32)
    worse = {}
    for i, name in enumerate(cases):
        places = [ordered.index(one) for one in members[i * len(RATES) : (i + 1) * len(RATES)]]
        errors = [
            np.median([apart(outcome.weights[k], exact.weights[k]) for k in places])
            for outcome in (ours, theirs)
        ]
        assert errors[1] > 1e-8, name
        if errors[0] > 3 * errors[1]:
            worse[name] = f"{errors[0]:.1e} against {errors[1]:.1e}"
    assert not worse


def test_structs_and_constants_are_those_of_c() -> None:
    told = (ctypes.c_int64 * kernels.LAYOUT)()
    kernels.library("float32").layout(told)
    structs = (
        kernels.CImages,
        kernels.Turned,
        kernels.CParts,
        kernels.Members,
        kernels.Stretch,
        kernels.CEvaluation,
    )
    assert list(told) == [
        kernels.lanes("float32"), kernels.WIDEST, compilation.DEEPEST, kernels.MOST_STATES,
        kernels.EVALUATED, kernels.TILE.itemsize, *map(ctypes.sizeof, structs),
    ]  # fmt: skip


def test_generated_images_are_learned() -> None:
    """The self-test compares losses that have moved, not two networks that never learned."""
    samples = self_test.images(64, 0)
    assert samples.x.shape == (64, self_test.INPUTS)
    assert 0.15 < (samples.x != 0).mean() < 0.25


def test_the_kernels_learn_mnist() -> None:
    members = [
        trial(dataset="mnist", steps=800, hidden=[32, 32], optimizer=o, preprocessing="standardize")
        for o in ("sgd", "adam")
    ]
    outcome = train(members, np.float32)
    assert (outcome.final["test"].accuracy > 0.9).all()


# -------------------------------------------------------------------------------------------- portable bits


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The portable build is in use, without the self-test, which takes seconds."""
    monkeypatch.setenv("HARNESS_KERNELS", "on")
    kernels.forget()
    with builds.using("portable"):
        yield
    monkeypatch.undo()
    kernels.forget()


@pytest.mark.usefixtures("portable")
def test_portable_bits_are_pytorchs_numbers_but_for_rounding() -> None:
    members = [
        trial(k % 2, activation=name, hidden=[24, 9, 33], optimizer=optimizer, dropout=0.1 * k, steps=40)
        for k, (name, optimizer) in enumerate([("gelu", "adam"), ("tanh", "sgd"), ("relu", "rmsprop")])
    ]
    assert kernels.lanes("float64") == 8
    assert_as_pytorch(members, 1e-9, METRICS)


@pytest.mark.usefixtures("portable")
def test_the_portable_build_trains_wide_layers_and_never_elsewhere() -> None:
    members = [trial(hidden=[200], steps=10)]
    assert not compiled.why_not(members, prepare(members[0].arm.settings), "cpu", ())
    with pytest.raises(MachineError, match="portable bits are compiled code's"):
        stack_engine.train(members, prepare(members[0].arm.settings), "cuda")


def test_native_and_portable_kernels_are_others() -> None:
    made: dict[builds.Bits, tuple[object, ...]] = {}
    for bits in builds.BUILDS:
        with builds.using(bits):
            made[bits] = (
                kernels.identity("float64"),
                *functions(components.activation("tanh"), "float64").values(),
            )
    assert not set(made["native"]) & set(made["portable"])


def test_subnormal_numbers_stay_where_bits_are_portable() -> None:
    tiny = np.float32(1e-39)
    with kernels.without_subnormals():
        assert np.array([tiny]) * np.float32(1) == 0
    with builds.using("portable"), kernels.without_subnormals():
        assert np.array([tiny]) * np.float32(1) != 0
