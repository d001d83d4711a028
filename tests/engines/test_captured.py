"""Steps that are recorded and replayed. Where there is no GPU, a tape stands in for the CUDA graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness import grouping
from harness.axes.losses import losses
from harness.axes.optimizers import Count, Scalar, State, optimizers
from harness.data import prepare
from harness.engines import captured, kernels, stacked
from harness.engines.outcome import Outcome, Watch
from harness.engines.states import State as Kept
from harness.trials import Arm, Trial, resolve

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


class Tape(TorchDispatchMode):
    """What a CUDA graph is, on a CPU: operations on the memory they were recorded with, and no Python.

    Recording computes, where CUDA would not; so what it changed is put back.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self.replayed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for declared, given in zip(func._schema.arguments, args, strict=False):
            self._keep(declared, given)
        for declared in func._schema.arguments:
            self._keep(declared, kwargs.get(declared.name))
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out

    def _keep(self, declared: Any, given: Any) -> None:
        if declared.alias_info is not None and declared.alias_info.is_write:
            self.before += [(x, x.clone()) for x in tree_leaves(given) if isinstance(x, Tensor)]

    def capture(self, record: Callable[[], None]) -> None:
        with self:
            record()
        for tensor, kept in reversed(self.before):
            tensor.copy_(kept)

    def replay(self) -> None:
        self.replayed += 1
        for func, args, kwargs, out in self.calls:
            made = func(*args, **kwargs)
            returns = func._schema.returns
            if not returns or any(returned.alias_info is not None for returned in returns):
                continue  # a view of what is there, or what was written in its place
            for new, old in zip(tree_leaves(made), tree_leaves(out), strict=True):
                old.copy_(new)


# 1,293 images in batches of 100: an epoch is 12 full batches and one of 93.
BASE: dict[str, Any] = {
    "dataset": "digits", "epochs": 6, "batch_size": 100, "hidden": [12], "eval_every": "2 epochs"
}  # fmt: skip


def trial(name: str = "base", seed: int = 0, **settings: Any) -> Trial:
    return Trial(f"t_{name}", Arm(name, resolve({**BASE, **settings})), seed)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernels, which are the CPU's: what is left is what a GPU computes."""
    monkeypatch.setattr(kernels, "why_not", lambda *_: "as on a GPU")


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """The tapes that stacks are recorded on from now on."""
    made: list[Tape] = []

    def make() -> Tape:
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr(captured, "graphs", lambda _: make)
    return made


def train(trials: Sequence[Trial], dtype: Any = np.float64, watch: Watch | None = None) -> Outcome:
    data = prepare(trials[0].arm.settings, dtype)
    return stacked.train(trials, data, dtype=dtype, watch=watch or Watch())


def eagerly(trials: Sequence[Trial], dtype: Any = np.float64) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captured, "graphs", lambda _: None)
        return train(trials, dtype)


def assert_same(a: Outcome, b: Outcome, tolerance: float = 1e-12) -> None:
    assert a.diverged_step.tolist() == b.diverged_step.tolist()
    for k, expected in enumerate(b.weights):
        for name, weight in expected.items():
            apart = np.abs(a.weights[k][name] - weight).max() / np.abs(weight).max()
            assert apart <= tolerance, f"{k} {name}: {apart:.1e} of the largest weight apart"
    for p, q in zip(a.curve, b.curve, strict=True):
        assert (p.step, p.split) == (q.step, q.split)
        assert p.loss == pytest.approx(q.loss, rel=1e4 * tolerance)
    assert a.final.keys() == b.final.keys()


def mixed() -> list[Trial]:
    """Every optimizer, plain and by a schedule, beside others of its kind with a rate of their own."""
    members = []
    for optimizer in optimizers:
        lr = optimizer.component.settings["lr"].default
        assert isinstance(lr, float)
        rates: list[dict[str, Any]] = [{}, {"lr": lr / 2}, {"lr": lr / 3, "schedule": "cosine"}]
        members += [
            trial(f"{optimizer.name} {i}", optimizer=optimizer.name, **own) for i, own in enumerate(rates)
        ]
    others: list[dict[str, Any]] = [
        {"optimizer": "momentum", "dampening": 0.3},
        {"optimizer": "adam", "amsgrad": True, "betas": [0.8, 0.98]},
        {"optimizer": "adam", "betas": [0.7, 0.95], "eps": 1e-5},
        {"optimizer": "adagrad", "lr_decay": 0.01, "lr": 0.03},
        {"activation": "tanh", "head": "softmax", "loss": "ccql"},
        {"activation": "gelu", "head": "log_softmax", "loss": "nll", "weight_decay": 0.01},
    ]  # fmt: skip
    return sorted(
        [*members, *(trial(f"other {i}", **own) for i, own in enumerate(others))], key=grouping.order
    )


STACKS: dict[str, list[Trial]] = {
    "mixed": mixed(),
    "sgd": [trial()],
    "adam": [trial(optimizer="adam")],
    "one schedule": [trial(name, optimizer="adam", schedule="cosine") for name in "ab"],
    "sgd by a schedule": [trial(schedule="linear")],
    "dropout": [
        trial(f"{p} {hidden}", dropout=p, hidden=hidden, activation="tanh")
        for hidden in ([12, 9], [7], [16, 12]) for p in (0.0, 0.2, 0.5)
    ],
    "dropout of one block": [trial("a", hidden=[5, 4]), trial("b", dropout=0.3)],
    "seeds": [
        trial(f"{seed} {p}", seed, dropout=p, label_smoothing=p / 2, optimizer=optimizer)
        for seed in (0, 3) for optimizer, p in (("adam", 0.0), ("sgd", 0.3))
    ],
    "replacement": [trial(sampling="replacement"), trial("b", sampling="replacement", optimizer="momentum")],
    "small": [trial(batch_size=1293)],
    "steps": [trial(epochs=None, steps=70, eval_every="9 steps", optimizer="nesterov")],
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_replayed_steps_are_the_eager_ones(name: str, tapes: list[Tape]) -> None:
    trials = STACKS[name]
    if name == "seeds":
        trials = sorted(trials, key=grouping.order)
    outcome = train(trials)
    assert not outcome.notes
    assert outcome.steps_done == eagerly(trials).steps_done
    assert sum(tape.replayed for tape in tapes) == outcome.steps_done - captured.WARM_UP * len(tapes)
    assert_same(outcome, eagerly(trials))


def test_an_epochs_short_last_batch_has_a_graph_of_its_own(tapes: list[Tape]) -> None:
    train([trial()])
    assert [tape.replayed for tape in tapes] == [6 * 12 - captured.WARM_UP, 6 - captured.WARM_UP]


def test_replayed_steps_have_the_bits_of_the_warm_up(
    tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float32: what is recorded is what is run operation by operation."""
    replayed = train(STACKS["mixed"], np.float32)
    assert sum(tape.replayed for tape in tapes) > 60
    monkeypatch.setattr(captured, "WARM_UP", 10**6)
    assert_same(replayed, train(STACKS["mixed"], np.float32), 0)


def test_replayed_steps_are_the_eager_ones_in_float32(tapes: list[Tape]) -> None:
    trials = STACKS["dropout"]
    assert_same(train(trials, np.float32), eagerly(trials, np.float32), 1e-5)
    assert tapes


def test_a_divergence_is_found_at_the_same_step(tapes: list[Tape]) -> None:
    wild: dict[str, Any] = {"loss": "mse", "optimizer": "momentum", "lr": 1e6, "preprocessing": "standardize"}
    trials = [trial("a", **wild), trial("b", **{**wild, "lr": 0.01}), trial("c", **{**wild, "lr": 1e3})]
    outcome = train(trials, np.float32)
    assert tapes
    assert outcome.diverged_step[1] == 0
    assert captured.WARM_UP < outcome.diverged_step[0] != outcome.diverged_step[2]
    assert outcome.diverged_step.tolist() == eagerly(trials, np.float32).diverged_step.tolist()


@dataclasses.dataclass
class Folder:
    """Keeps the state of one step, as arrays."""

    at: int
    kept: Kept | None = None
    go_on: Kept | None = None

    def load(self) -> Kept | None:
        return self.go_on

    def due(self, step: int, _budget: Any) -> bool:
        return step == self.at

    def save(self, step: int, values: Any) -> None:
        arrays = {n: v.numpy().copy() if isinstance(v, Tensor) else v for n, v in values.items()}
        self.kept = Kept(step, {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in arrays.items()})


@pytest.mark.parametrize("name", ["mixed", "dropout"])
@pytest.mark.parametrize("at", [26, 64], ids=["at an evaluation", "amid an epoch"])
def test_a_resumed_stack_has_the_bits_of_one_that_was_not_killed(
    name: str, at: int, tapes: list[Tape]
) -> None:
    folder = Folder(at)
    whole = train(STACKS[name], np.float32, Watch(checkpoints=folder))
    assert folder.kept is not None
    assert folder.kept.step == at
    resumed = train(STACKS[name], np.float32, Watch(checkpoints=Folder(0, go_on=folder.kept)))
    assert_same(resumed, whole, 0)
    assert len(tapes) == (4 if at == 26 else 3)  # there are too few short batches left to record one


# ------------------------------------------------------------------------------------------- third parties


def counting(param: Tensor, grad: Tensor, _state: State, t: int, *, lr: Scalar = 0.1) -> None:
    """The first step is ten times shorter, which it asks Python."""
    param.sub_(grad * lr * (0.1 if t == 1 else 1))


def rebinding(param: Tensor, grad: Tensor, state: State, _t: Count, *, lr: Scalar = 0.1) -> None:
    """A velocity that is a new tensor at each step."""
    state["velocity"] = state["velocity"] * 0.9 + grad if "velocity" in state else grad.clone()
    param.sub_(state["velocity"] * lr)


def tallying(param: Tensor, grad: Tensor, state: Any, _t: Count, *, lr: Scalar = 0.1) -> None:
    """A number of its own that it counts by."""
    state["count"] = state.get("count", 0) + 1
    param.sub_(grad * lr / state["count"])


def simple(param: Tensor, grad: Tensor, _state: State, t: Count, *, lr: Scalar = 0.1) -> None:
    """Steps that grow shorter, by arithmetic alone."""
    param.sub_(grad * lr / t**0.5)


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """`register(registry, function, **facts)` as a third party would, undone afterwards."""
    done: list[tuple[Any, str]] = []

    def third_party(registry: Any, function: Any, **facts: Any) -> str:
        registry.register(function.__name__, **facts)(function)
        done.append((registry, function.__name__))
        return str(function.__name__)

    yield third_party
    for registry, name in done:
        registry.remove(name)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (counting, "needs numbers in Python"),
        (rebinding, "keeps a new 'velocity' at each step"),
        (tallying, "keeps a new 'count' at each step"),
    ],
)
def test_an_optimizer_that_cannot_be_replayed_is_not_and_says_why(
    register: Callable[..., str], tapes: list[Tape], function: Any, why: str
) -> None:
    name = register(optimizers, function)
    trials = [trial(optimizer=name), trial("other")]
    outcome = train(trials)
    (note,) = outcome.notes
    assert note.startswith(f"optimizer {name!r} {why}")
    assert note.endswith(captured.OTHERWISE)
    assert not tapes
    assert_same(outcome, eagerly(trials), 0)


def test_a_third_partys_optimizer_of_plain_arithmetic_is_replayed(
    register: Callable[..., str], tapes: list[Tape]
) -> None:
    trials = [trial(optimizer=register(optimizers, simple))]
    outcome = train(trials)
    assert len(tapes) == 2
    assert not outcome.notes
    assert_same(outcome, eagerly(trials))


def asking(z: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, after a look at the logits."""
    scale = 1.0 if float(z.abs().max()) < 1e9 else 0.5
    return scale * (z.logsumexp(-1) - (z * target).sum(-1))


def test_a_loss_that_looks_at_numbers_is_not_replayed_and_says_why(
    register: Callable[..., str], tapes: list[Tape]
) -> None:
    trials = [trial(loss=register(losses, asking, takes="logits"))]
    outcome = train(trials)
    (note,) = outcome.notes
    assert note.startswith("a step cannot be recorded as a CUDA graph (")
    assert not tapes
    assert_same(outcome, eagerly(trials), 0)


def test_what_fails_while_it_is_recorded_is_computed_otherwise(
    tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_self: Tape, _record: Callable[[], None]) -> None:
        raise RuntimeError("capture failed")

    monkeypatch.setattr(Tape, "capture", failing)
    outcome = train(STACKS["adam"])
    assert len(tapes) == len(outcome.notes) == 2
    assert all("(RuntimeError: capture failed)" in note for note in outcome.notes)
    assert_same(outcome, eagerly(STACKS["adam"]))


def test_memory_that_is_short_while_recording_is_the_executors_matter(
    tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Tape, _record: Callable[[], None]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Tape, "capture", full)
    with pytest.raises(torch.OutOfMemoryError):
        train([trial()])
    assert tapes


def test_representatives_have_every_component_of_a_stack() -> None:
    members = sorted([*mixed(), *(dataclasses.replace(one, seed=s) for one in mixed() for s in (1, 2))],
                     key=grouping.order)  # fmt: skip
    few = captured.representatives(members)
    assert len(few) < len(members)
    assert [one for one in members if one in few] == few
    for axis in ("optimizer", "activation", "head", "loss"):
        assert {t.arm.settings[axis] for t in few} == {t.arm.settings[axis] for t in members}
    assert {one.seed for one in few} == {0, 1}
