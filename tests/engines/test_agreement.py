"""The two engines are two ways to write one computation, whatever stands around a trial in its stack."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from harness.axes.activations import activations
from harness.axes.architectures import RULES
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import Scalar, State, optimizers, slot
from harness.axes.schedules import schedules
from harness.check.stacking import stacks
from harness.data.datasets import datasets
from harness.data.images import Images
from harness.data.samples import prepare
from harness.engines import kernels, loop
from harness.engines import stack_engine as engine
from harness.engines.compiled import engine as compiled
from harness.engines.outcome import Outcome
from harness.planning import grouping
from harness.planning import plan as planning
from harness.registry import Registry
from harness.study.trials import Arm, Trial, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from harness.study.checker import GivenSettings
from harness.study.study import Study

# 1,293 images in batches of 8: a pass is 162 steps, its last batch has 5 images; 210 steps begin a second.
BASE: GivenSettings = {
    "dataset": "digits",
    "steps": 210,
    "batch_size": 8,
    "hidden": [12],
    "eval_every": "105 steps",
}
OTHER: dict[str, Any] = {
    "momentum": 0.7, "dampening": 0.3, "betas": [0.8, 0.98], "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.03,
    "lr_decay": 0.01, "initial_accumulator_value": 0.1, "centered": True, "amsgrad": True, "gamma": 0.5,
    "ccql_weight": 0.5, "dropout": 0.3, "label_smoothing": 0.1,
}  # fmt: skip
"""A value for every setting that is not its default."""
TOLERANCE = {np.float64: 1e-10, np.float32: 2e-3}
"""How far apart two engines' weights may be, as a share of the largest weight of the tensor. In float32 the
rounding of 210 steps is amplified by training itself, most where an adaptive optimizer divides by little."""
Made = Callable[..., Any]


@pytest.fixture(autouse=True, params=["dense", "tiled", "compiled"])
def layer_one(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack in PyTorch with both forms of layer one, and in C, whatever share of an image is zero."""
    if request.param != "dense" and kernels.why_not():
        pytest.skip(f"no kernels: {kernels.why_not()}")
    if request.param != "compiled":
        monkeypatch.setattr(compiled, "why_not", pytorch_is_wanted)
    if request.param == "dense":
        monkeypatch.setattr(kernels, "why_not", pytorch_is_wanted)


def pytorch_is_wanted(*_: object) -> str:
    """Return why there is no compiled code. One function, so that `all_together` keeps what it trained."""
    return "this test wants PyTorch"


def trial(name: str = "base", seed: int = 0, **settings: Any) -> Trial:
    return Trial(f"t_{name}", Arm(name, resolve({**BASE, **settings})), seed)


def cases() -> Iterator[Trial]:
    """Every component of every axis against the base; optimizers and schedules also as nobody sets them."""
    for activation in activations:
        yield trial(f"activation={activation.name}", activation=activation.name)
    for head in heads:
        for loss in losses:
            form = loss.component.form(head.component.kind)
            ignored = loss.component.form("logits", "ignore")
            assert ignored is not None
            named: dict[str, Any] = {"head": head.name, "loss": loss.name}
            if form is not None:
                yield trial(f"{head.name} + {loss.name}", **named)
            if form is None or form.forward is not ignored.forward:
                yield trial(f"{head.name} + {loss.name}, mismatched", **named, match="ignore", lr=0.01)
    for optimizer in optimizers:
        yield trial(f"optimizer={optimizer.name}", optimizer=optimizer.name)
        own = optimizer.component.settings
        changed = {name: OTHER[name] for name in own if name in OTHER}
        lr = own["lr"].default
        assert isinstance(lr, float)
        yield trial(f"optimizer={optimizer.name}, other", optimizer=optimizer.name, lr=lr * 0.7, **changed)
        decayed: dict[str, Any] = {"weight_decay": 0.01} if "weight_decay" in own else {}
        yield trial(f"optimizer={optimizer.name}, decay", optimizer=optimizer.name, lr=lr * 1.3, **decayed)
    for schedule in schedules:
        yield trial(f"schedule={schedule.name}", schedule=schedule.name, optimizer="momentum")
        for name in schedule.component.settings:
            own_value: dict[str, Any] = {name: OTHER[name]} if name in OTHER else {}
            yield trial(f"schedule={schedule.name}, other {name}", schedule=schedule.name, **own_value)
    yield trial("ccql, other weight", loss="ccql", ccql_weight=OTHER["ccql_weight"])
    yield from (trial(f"initial_weights={rule}", initial_weights=rule) for rule in RULES)
    yield from regularised()


def regularised() -> Iterator[Trial]:
    """Dropout and label smoothing, alone and together, under every loss."""
    yield trial("dropout", dropout=OTHER["dropout"])
    yield trial("more dropout, adam", dropout=0.5, optimizer="adam", activation="sigmoid")
    yield trial("label smoothing", label_smoothing=OTHER["label_smoothing"])
    for head, loss in (("identity", "ce"), ("softmax", "ce"), ("log_softmax", "nll"), ("softmax", "mse"),
                       ("identity", "ql"), ("log_softmax", "ccql"), ("sigmoid", "ccql")):  # fmt: skip
        both = {name: OTHER[name] for name in ("dropout", "label_smoothing")}
        yield trial(f"regularised {head} + {loss}", head=head, loss=loss, activation="tanh", **both)


CASES = {case.arm.name: case for case in cases()}
every_case = pytest.mark.parametrize("name", CASES)
both_types = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def stack(trials: Sequence[Trial], dtype: Any = np.float64) -> Outcome:
    return engine.train(trials, prepare(trials[0].arm.settings, dtype), dtype=dtype)


def train_alone(one: Trial, dtype: Any = np.float64) -> Outcome:
    return loop.train([one], prepare(one.arm.settings, dtype), dtype=dtype)


@functools.cache
def _all_together(dtype: Any, _why_not: Any, _kernels: Any) -> tuple[list[str], Outcome]:
    ordered = sorted(CASES.values(), key=grouping.order)
    return [case.arm.name for case in ordered], stack(ordered, dtype)


def all_together(dtype: Any) -> tuple[list[str], Outcome]:
    """Every case as a member of one stack, in the plan's order."""
    return _all_together(dtype, compiled.why_not, kernels.why_not)


@functools.cache
def case_alone(name: str, dtype: Any) -> Outcome:
    return train_alone(CASES[name], dtype)


def assert_same_weights(a: Outcome, k: int, b: Outcome, j: int, tolerance: float) -> None:
    assert a.weights[k].keys() == b.weights[j].keys()
    for name, expected in b.weights[j].items():
        got = a.weights[k][name]
        assert got.shape == expected.shape
        assert np.isfinite(expected).all()
        apart = np.abs(got.astype(np.float64) - expected).max() / np.abs(expected).max()
        assert apart <= tolerance, f"{name}: {apart:.1e} of the largest weight apart"


def assert_same_observations(
    a: Outcome, k: int, b: Outcome, j: int, tolerance: float, flips: int = 0
) -> None:
    """What the rows are made of: the step of divergence, curves, final predictions."""
    diverged = int(b.diverged_step[j])
    assert int(a.diverged_step[k]) == diverged
    until = diverged or b.steps_done + 1
    seen = [[point for point in outcome.curve if point.step < until] for outcome in (a, b)]
    assert [(p.epoch, p.step, p.split) for p in seen[0]] == [(p.epoch, p.step, p.split) for p in seen[1]]
    assert seen[1]
    for p, q in zip(*seen, strict=True):
        assert p.loss[k] == pytest.approx(q.loss[j], rel=tolerance, abs=tolerance)
        assert p.accuracy[k] == pytest.approx(q.accuracy[j], abs=flips / 100 + 1e-12)
    if diverged:
        return
    assert a.final.keys() == b.final.keys()
    for split, end in b.final.items():
        assert (a.final[split].predicted[k] != end.predicted[j]).sum() <= flips
        assert a.final[split].confidence[k] == pytest.approx(
            end.confidence[j], rel=50 * tolerance, abs=tolerance
        )


def assert_engines_agree(trials: Sequence[Trial], dtype: Any = np.float64) -> Outcome:
    """One stack of these trials, and each of them in the loop engine."""
    outcome, tolerance = stack(trials, dtype), TOLERANCE[dtype]
    for k, one in enumerate(trials):
        reference = train_alone(one, dtype)
        assert_same_observations(outcome, k, reference, 0, tolerance)
        if not reference.diverged_step[0]:
            assert_same_weights(outcome, k, reference, 0, tolerance)
    return outcome


@both_types
@every_case
def test_a_member_of_a_mixed_stack_equals_the_pytorch_loop(name: str, dtype: Any) -> None:
    names, together = all_together(dtype)
    reference, k = case_alone(name, dtype), names.index(name)
    assert reference.diverged_step[0] == 0
    assert_same_weights(together, k, reference, 0, TOLERANCE[dtype])
    flips = 0 if dtype is np.float64 else 8
    assert_same_observations(together, k, reference, 0, TOLERANCE[dtype], flips)


@every_case
def test_a_trial_alone_equals_itself_in_a_stack(name: str) -> None:
    names, together = all_together(np.float64)
    lone, k = stack([CASES[name]]), names.index(name)
    assert_same_weights(lone, 0, together, k, 1e-10)
    assert_same_observations(lone, 0, together, k, 1e-10)


def test_training_moves_every_weight_matrix() -> None:
    """So that agreement is not that of two networks that never trained."""
    names, together = all_together(np.float64)
    start = stack([trial(steps=1, eval_every="1 step", lr=1e-300)])
    for k, name in enumerate(names):
        moved = [np.abs(w - start.weights[0][key]).max() for key, w in together.weights[k].items()]
        assert min(moved) > 1e-3, name


def test_members_are_regularised_as_they_would_be_alone() -> None:
    """Two hidden layers, two seeds in one stack, shares of their own beside members without any."""
    shares = [(0.0, 0.0), (0.3, 0.1), (0.5, 0.0), (0.0, 0.2), (0.3, 0.1)]
    members = [
        trial(
            f"{p} {s} {seed}", seed=seed, hidden=[12, 9], dropout=p, label_smoothing=s, activation=activation
        )
        for seed in (0, 4)
        for activation in ("sigmoid", "relu")
        for p, s in shares
    ]
    outcome = assert_engines_agree(members)
    losses_ = outcome.curve[-2].loss
    assert len(set(losses_.tolist())) == len(members) - 4  # the same twice over, once a seed and activation


def test_regularised_members_keep_their_bits_in_any_company() -> None:
    """Float32: a mask of ones and a smoothing of 0 change nothing, and what others leave out is theirs."""
    plain, both = trial("plain"), trial("both", dropout=0.3, label_smoothing=0.1)
    others = [trial(f"other {p}", dropout=p, label_smoothing=p / 2) for p in (0.1, 0.45)]
    pairs = [stack([plain, other], np.float32) for other in (plain, both)]
    assert_same_weights(pairs[0], 0, pairs[1], 0, 0)
    pairs = [stack([both, *rest], np.float32) for rest in ([both, both], others)]
    assert_same_weights(pairs[0], 0, pairs[1], 0, 0)


def test_a_member_that_diverges_under_dropout_changes_no_other() -> None:
    first: dict[str, Any] = {"seed": 1, "dropout": 0.5, "loss": "ql", "label_smoothing": 0.1}
    others = [trial("calm", seed=1), trial("mild", seed=1, dropout=0.2, label_smoothing=0.3)]
    among, without = (stack([trial("first", lr=lr, **first), *others]) for lr in (1e20, 0.05))
    assert among.diverged_step.astype(bool).tolist() == [True, False, False]
    for k in (1, 2):
        assert_same_weights(among, k, without, k, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": []},
        {"hidden": [7]},
        {"hidden": [16, 12, 8]},
        {"val_fraction": 0.9, "val_split": "random", "batch_size": 144},
        {"sampling": "sequential"},
        {"sampling": "replacement"},
        {"val_fraction": 0.0},
        {"val_split": "balanced", "val_fraction": 0.3, "split_seed": 5},
        {"preprocessing": "standardize"},
        {"preprocessing": "raw"},
        {"eval_every": "1 epoch"},
    ],
    ids=str,
)
def test_engines_agree_on_any_shape_budget_and_split(settings: dict[str, Any]) -> None:
    members = [
        trial("adam", seed=3, optimizer="adam", activation="tanh", **settings),
        trial("sgd", seed=3, lr=0.02, **settings),
        trial("ql", seed=3, head="softmax", loss="ql", optimizer="nesterov", **settings),
    ]
    outcome = assert_engines_agree(members)
    assert outcome.steps_done >= 200
    assert not outcome.diverged_step.any()
    assert ("val" in outcome.final) is (settings.get("val_fraction") != 0)


def test_engines_agree_on_epochs_with_a_short_last_batch() -> None:
    budget: dict[str, Any] = {"epochs": 5, "steps": None, "batch_size": 25, "eval_every": "2 epochs"}
    members = [trial("a", **budget), trial("b", optimizer="rmsprop", schedule="exponential", **budget)]
    outcome = assert_engines_agree(members)
    assert outcome.steps_done == 5 * 52  # 1,293 = 51 * 25 + 18
    assert [point.epoch for point in outcome.curve if point.split == "train"] == [0, 2, 4, 5]


def few_digits() -> Images:
    """The digits 0, 1 and 2, cropped to 8x5."""
    images = datasets["digits"].load()

    def crop(pixels: Any, labels: Any) -> tuple[Any, Any]:
        kept = labels < 3
        return pixels[kept][:, :, 1:6], labels[kept]

    return Images(
        *crop(images.train_images, images.train_labels), *crop(images.test_images, images.test_labels)
    )


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """`register(registry, name, function, **facts)` as a third party would, undone afterwards."""
    done: list[tuple[Registry[Any], str]] = []

    def third_party(registry: Registry[Any], name: str, function: Made, **facts: Any) -> str:
        registry.register(name, **facts)(function)
        done.append((registry, name))
        return name

    yield third_party
    for registry, name in done:
        registry.remove(name)


def test_engines_agree_on_another_class_count_and_image_shape(register: Callable[..., str]) -> None:
    register(datasets, "few_digits", few_digits, classes=("zero", "one", "two"), pixel_max=16)
    members = [
        trial(f"{head} + {loss}", dataset="few_digits", head=head, loss=loss) for head, loss in SOME_OUTPUTS
    ]
    outcome = assert_engines_agree(members)
    assert outcome.weights[0]["0.weight"].shape == (12, 40)
    assert outcome.weights[0]["1.weight"].shape == (3, 12)
    assert members[1].arm.settings["ccql_weight"] == pytest.approx(2**0.5 - 1)
    assert (outcome.final["test"].accuracy > 0.8).all()


SOME_OUTPUTS = [("identity", "ce"), ("softmax", "ccql"), ("log_softmax", "nll"), ("sigmoid", "mse")]


# ------------------------------------------------------------------------------------------- neighbours


def neighbours(count: int) -> list[Trial]:
    names = sorted(CASES)
    return [CASES[names[i * 7 % len(names)]] for i in range(count)]


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam", "activation": "gelu"}], ids=str)
def test_neighbours_do_not_change_a_trial(count: int, settings: dict[str, Any]) -> None:
    mine = trial("mine", lr=0.0123, **settings)
    members = sorted([mine, *neighbours(count)], key=grouping.order)
    together, lone = stack(members), stack([mine])
    assert len(members) == count + 1
    assert_same_weights(together, members.index(mine), lone, 0, 1e-10)
    assert_same_observations(together, members.index(mine), lone, 0, 1e-10)


DIVERGING: dict[str, dict[str, Any]] = {
    "learning rate": {"head": "identity", "loss": "ql", "lr": 1e9},
    "underflow": {"head": "softmax", "loss": "ce", "lr": 300.0},
    "momentum": {"head": "identity", "loss": "mse", "optimizer": "momentum", "lr": 1e6},
}
OVERFLOW = {"head": "identity", "loss": "mse", "optimizer": "rmsprop", "lr": 1e30}


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_engines_agree_on_members_with_a_learning_rate_each(optimizer: str) -> None:
    """All else alike, Adam takes one fused step for all; its lengths differ by lr, schedule and decay."""
    members = [
        trial("a", optimizer=optimizer, lr=1e-3),
        trial("b", optimizer=optimizer, lr=2e-2, schedule="cosine"),
        trial("c", optimizer=optimizer, lr=3e-4, weight_decay=0.1),
        trial("d", optimizer=optimizer, lr=1e-3, weight_decay=0.02),
    ]
    assert_engines_agree(members)


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_seeds_that_share_a_stack_train_as_they_would_alone(sampling: str) -> None:
    arms: list[dict[str, Any]] = [
        {"lr": 0.05},  # plain SGD, whose rates differ within its slice ...
        {"lr": 0.2, "activation": "tanh", "schedule": "exponential", "gamma": 0.5},
        {"optimizer": "adam", "head": "softmax", "loss": "ccql"},  # ... and what keeps a gradient
        {"optimizer": "sgd", "weight_decay": 0.01, "head": "sigmoid", "loss": "mse"},
    ]
    members = [
        trial(f"{i}_{seed}", seed, sampling=sampling, **arm)
        for seed in (0, 1, 2)
        for i, arm in enumerate(arms)
    ]
    members.sort(key=grouping.order)
    together = stack(members)
    for k, member in enumerate(members):
        assert_same_weights(together, k, train_alone(member), 0, 1e-10)
        assert_same_observations(together, k, train_alone(member), 0, 1e-10)


@both_types
@pytest.mark.parametrize("name", DIVERGING)
def test_both_engines_see_a_divergence_at_the_same_step(name: str, dtype: Any) -> None:
    bad = trial("bad", **DIVERGING[name], preprocessing="standardize", eval_every="50 steps")
    fine = trial("fine", preprocessing="standardize", eval_every="50 steps")
    reference, together = train_alone(bad, dtype), stack([fine, bad], dtype)
    assert together.diverged_step[0] == 0
    assert 0 < reference.diverged_step[0] < 210
    assert_same_observations(together, 1, reference, 0, TOLERANCE[dtype], flips=8)


@pytest.mark.parametrize("bad", [*DIVERGING.values(), OVERFLOW], ids=[*DIVERGING, "overflow"])
def test_a_diverging_member_changes_no_bit_of_another(bad: dict[str, Any]) -> None:
    others = [
        trial("a", lr=0.07),
        trial("b", activation="gelu", optimizer="adam"),
        trial("c", lr=0.03, activation="elu"),
        trial("d", head="softmax", loss="ce", lr=0.02),
        trial("e", optimizer="rmsprop", lr=2e-3, momentum=0.5),
        trial("f", loss="ql", lr=0.01, schedule="linear"),
    ]  # fmt: skip

    def with_lr(lr: float) -> list[Trial]:
        return sorted([trial("c2", **{**bad, "lr": lr}), *others], key=grouping.order)

    wild, tame = with_lr(bad["lr"]), with_lr(1e-3)
    k = [member.arm.name for member in wild].index("c2")
    assert [member.arm.name for member in wild] == [member.arm.name for member in tame]
    a, b = stack(wild, np.float32), stack(tame, np.float32)
    assert a.diverged_step[k] > 0
    assert not b.diverged_step.any()
    for i in set(range(len(wild))) - {k}:
        assert a.diverged_step[i] == 0
        for key, value in b.weights[i].items():
            assert (a.weights[i][key] == value).all(), f"{wild[i].arm.name}: {key}"
        for p, q in zip(a.curve, b.curve, strict=True):
            assert p.loss[i] == q.loss[i]
        assert (a.final["test"].confidence[i] == b.final["test"].confidence[i]).all()


def test_a_stack_stops_when_every_member_has_diverged() -> None:
    bad = [
        trial(f"bad {i}", **DIVERGING["learning rate"], activation=a) for i, a in enumerate(("relu", "elu"))
    ]
    outcome = stack(bad, np.float32)
    assert (outcome.diverged_step > 0).all()
    assert "test" not in outcome.final


# ---------------------------------------------------------------------------------------- third parties


def swish2(x: Tensor) -> Tensor:
    """x sigmoid(2x), without a closed form."""
    return x * torch.sigmoid(2 * x)


def spherical(z: Tensor) -> Tensor:
    """z^2 over its sum: probabilities without an exponential."""
    square = z.square() + 1e-3
    return square / square.sum(-1, keepdim=True)


def focal(p: Tensor, target: Tensor, *, focus: Tensor = 1.5) -> Tensor:  # type: ignore[assignment]
    """Focal loss (Lin et al. 2017)."""
    py = (p * target).sum(-1)
    return -((1 - py) ** focus) * py.log()


def signed(
    param: Tensor, grad: Tensor, state: State, t: int, *, lr: Scalar = 1e-3, beta: Scalar = 0.9
) -> None:
    """The sign of a running mean (Bernstein et al. 2018)."""
    mean = slot(state, "mean", param).mul_(beta).add_(grad * (1 - beta))
    param.sub_(lr * torch.tanh(1e3 * mean / t))


def normalised(param: Tensor, grad: Tensor, state: State, t: int, *, lr: Scalar = 0.1) -> None:  # noqa: ARG001
    """Steps of one length: divides by the norm of the whole gradient."""
    param.sub_(lr * grad / grad.norm())


def over_features(x: Tensor) -> Tensor:
    """Softmax over a layer's features: not elementwise."""
    return x.softmax(-1)


def test_a_third_partys_components_train_in_the_stack_by_autograd(register: Callable[..., str]) -> None:
    register(activations, "swish2", swish2)
    register(heads, "spherical", spherical, kind="probabilities")
    register(losses, "focal", focal, takes="probabilities")
    register(optimizers, "signed", signed)
    members = [
        trial("activation", activation="swish2"),
        trial("head", head="spherical", loss="ql"),
        trial("head, closed loss", head="spherical", loss="ce", lr=0.02),
        trial("loss", head="softmax", loss="focal"),
        trial("loss, other focus", head="softmax", loss="focal", focus=3.0),
        trial("optimizer", optimizer="signed"),
        trial("optimizer, other settings", optimizer="signed", lr=5e-4, beta=0.5),
        trial("all", activation="swish2", head="spherical", loss="focal", optimizer="signed"),
        trial("none"),
    ]
    members.sort(key=grouping.order)
    for axis, name in [
        ("activation", "swish2"), ("head", "spherical"), ("loss", "focal"), ("optimizer", "signed")
    ]:  # fmt: skip
        assert stacks(axis, name)
    outcome = assert_engines_agree(members)
    assert not outcome.diverged_step.any()
    assert len({w["0.weight"].tobytes() for w in outcome.weights}) == len(members)


def test_a_third_partys_switch_may_differ_within_a_stack(register: Callable[..., str]) -> None:
    def switched(
        param: Tensor,
        grad: Tensor,
        state: State,  # noqa: ARG001
        t: int,  # noqa: ARG001
        *,
        lr: Scalar = 0.05,
        flip: bool = False,
        way: str = "a",
    ) -> None:
        """Gradient descent with settings that are no numbers."""
        param.sub_((grad.sign() * 0.01 if flip else grad) * lr * (2 if way == "b" else 1))

    register(optimizers, "switched", switched)
    members = [
        trial("a", optimizer="switched"),
        trial("b", optimizer="switched", flip=True),
        trial("c", optimizer="switched", way="b"),
        trial("d", optimizer="switched", way="b", lr=0.01),
    ]
    assert_engines_agree(sorted(members, key=grouping.order))


@pytest.mark.parametrize(
    ("registry", "axis", "function", "why"),
    [
        (optimizers, "optimizer", normalised, "changes an element by what others are"),
        (activations, "activation", over_features, "mixes the units of a layer"),
    ],
    ids=["optimizer", "activation"],
)
def test_unstackable_components_train_in_the_loop_engine(
    register: Callable[..., str],
    study_of: Callable[..., Study],
    registry: Registry[Any],
    axis: str,
    function: Made,
    why: str,
) -> None:
    name = register(registry, function.__name__, function)
    assert not stacks(axis, name)
    plan = planning.make(study_of(axes={axis: [name, *{"optimizer": ["sgd"], "activation": ["tanh"]}[axis]]}))
    ((reason, count),) = plan.routed.items()
    assert reason.startswith(f"{axis} {name!r} {why}")
    assert count == 2
    engine_of = {t.trial_id: s.engine for s in plan.stacks for t in s.trials}
    for one in plan.trials:
        assert engine_of[one.trial_id] == ("loop" if one.arm.settings[axis] == name else "stacked")
    lone = next(s for s in plan.stacks if s.engine == "loop")
    outcome = train_alone(lone.trials[0], np.float32)
    assert not outcome.diverged_step.any()
    assert outcome.curve[-1].loss[0] < outcome.curve[0].loss[0]


def by_index(z: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy by class index, which a target a member has no place for."""
    return z.logsumexp(-1) - z[..., torch.arange(len(target)), target.argmax(1)]


def test_a_loss_for_shared_batches_only_trains_in_the_loop_engine(
    register: Callable[..., str], study_of: Callable[..., Study]
) -> None:
    name = register(losses, "by_index", by_index, takes="logits")
    plan = planning.make(study_of(axes={"loss": [name, "ce"]}))
    ((reason, count),) = plan.routed.items()
    assert reason.startswith("loss 'by_index' fails on a stack (")
    assert count == 2
    assert {s.engine for s in plan.stacks for t in s.trials if t.arm.settings["loss"] == name} == {"loop"}


def test_an_optimizer_may_declare_itself_unstackable(
    register: Callable[..., str], study_of: Callable[..., Study]
) -> None:
    register(optimizers, "normalised", normalised, stackable=False)
    plan = planning.make(study_of(optimizer="normalised"))
    assert plan.routed == {"optimizer 'normalised' is declared stackable = False": 2}
    assert {s.engine for s in plan.stacks} == {"loop"}


# ----------------------------------------------------------------------------------------------- same rows


@pytest.mark.parametrize("engine", [loop, engine], ids=["loop", "stacked"])
def test_the_same_trial_twice_gives_the_same_bits(engine: Any) -> None:
    one = trial(optimizer="adam", activation="silu")
    data = prepare(one.arm.settings)
    a, b = engine.train([one], data), engine.train([one], data)
    assert all((a.weights[0][name] == b.weights[0][name]).all() for name in a.weights[0])
    assert [p.loss[0] for p in a.curve] == [p.loss[0] for p in b.curve]


def test_mse_at_five_times_the_rate_is_ql() -> None:
    """The built-in A/A: C = 10, so QL is 5 MSE."""
    members = [
        trial(f"{loss} {head}", head=head, loss=loss, lr=lr)
        for head in ("identity", "sigmoid", "softmax", "log_softmax")
        for loss, lr in (("mse", 0.25), ("ql", 0.05))
    ]
    outcome = stack(members)
    for k in range(0, len(members), 2):
        assert_same_weights(outcome, k, outcome, k + 1, 1e-11)
        for point in outcome.curve:
            assert point.loss[k + 1] == pytest.approx(5 * point.loss[k])


@pytest.mark.parametrize("head", ["identity", "softmax"])
def test_scaling_a_loss_up_and_the_rate_down_changes_nothing(head: str, register: Callable[..., str]) -> None:
    ce = losses["ce"].form(heads[head].kind)
    assert ce is not None
    form = ce.forward

    def triple(f: Tensor, target: Tensor) -> Tensor:
        """3 CE."""
        return 3 * form(f, target)

    register(losses, "triple", triple, takes=heads[head].kind)
    outcome = stack([trial(head=head, lr=0.06), trial(head=head, loss="triple", lr=0.02)])
    assert_same_weights(outcome, 0, outcome, 1, 1e-11)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_gives_the_results_of_the_cpu() -> None:
    names, together = all_together(np.float64)
    ordered = [CASES[name] for name in names]
    outcome = engine.train(ordered, prepare(BASE_RESOLVED, np.float64), "cuda", np.float64)
    for k in range(len(names)):
        assert_same_weights(outcome, k, together, k, 1e-9)


BASE_RESOLVED = resolve(BASE)
