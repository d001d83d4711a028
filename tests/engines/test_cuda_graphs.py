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

from harness.axes.losses import losses
from harness.axes.optimizers import Count, Scalar, State, optimizers
from harness.data.preprocessing import preprocessings
from harness.data.samples import Samples, prepare
from harness.engines import kernels, loop
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.members import SeedIndex
from harness.engines.outcome import Outcome
from harness.engines.resident import steps
from harness.engines.stacked import cuda_graphs, engine
from harness.engines.stacked.dense import Dense, DenseImages
from harness.engines.stacked.gpu_images import ResidentImages, coded
from harness.engines.states import State as Kept
from harness.planning import grouping
from harness.study.trials import Arm, Trial, resolve

CPU = torch.device("cpu")
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


@dataclasses.dataclass
class Device:
    """Where stacks train, the graphs they are recorded as, and how far apart the same bits may be there."""

    name: str
    kind: Any
    bits: float
    graphs: list[Any] = dataclasses.field(default_factory=list)

    def make(self) -> Any:
        self.graphs.append(self.kind())
        return self.graphs[-1]

    def train(
        self, trials: Sequence[Trial], dtype: Any = np.float64, options: EngineOptions = DEFAULT_OPTIONS
    ) -> Outcome:
        data = prepare(trials[0].arm.settings, dtype)
        return engine.train(trials, data, self.name, dtype, options)

    def eagerly(self, trials: Sequence[Trial], dtype: Any = np.float64) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda_graphs, "graphs", lambda _: None)
            return self.train(trials, dtype)


class CountedGraph(cuda_graphs.CudaGraph):
    """A CUDA graph whose replays are counted."""

    def __init__(self) -> None:
        super().__init__(torch.device("cuda"))
        self.replayed = 0

    def replay(self) -> None:
        self.replayed += 1
        super().replay()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, CUDA])])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A GPU; or a CPU that computes as one, without its kernels, with images in bytes, recording on tapes."""
    if request.param == "cuda":
        made = Device("cuda", CountedGraph, 1e-6)
    else:
        made = Device("cpu", Tape, 0)
        monkeypatch.setattr(kernels, "why_not", lambda *_: "as on a GPU")
        monkeypatch.setattr(Dense, "images", resident)
    monkeypatch.setattr(cuda_graphs, "graphs", lambda _: made.make)
    monkeypatch.setattr(steps, "launchers", lambda _: None)  # the resident kernel would train instead
    return made


def resident(dense: Dense, samples: Samples) -> Any:
    if dense.wide.is_meta:  # what a step is tried with
        return DenseImages(torch.from_numpy(samples.x).to("meta"), dense.seeds)
    return ResidentImages(samples, dense.seeds, dense.wide.device)


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
def test_replayed_steps_equal_eager_steps(name: str, device: Device) -> None:
    trials = STACKS[name]
    if name == "seeds":
        trials = sorted(trials, key=grouping.order)
    outcome = device.train(trials)
    assert not outcome.notes
    assert outcome.steps_done == device.eagerly(trials).steps_done
    assert sum(graph.replayed for graph in device.graphs) == outcome.steps_done - cuda_graphs.WARM_UP * len(
        device.graphs
    )
    assert_same(outcome, device.eagerly(trials))


def test_replayed_steps_equal_the_pytorch_loop(device: Device) -> None:
    members: list[dict[str, Any]] = [
        {"optimizer": "adam", "schedule": "cosine", "dropout": 0.3},
        {"optimizer": "momentum", "dampening": 0.3, "head": "softmax", "loss": "ql"},
        {"schedule": "linear", "label_smoothing": 0.1, "hidden": [16, 8]},
    ]
    trials = [trial(str(i), **own) for i, own in enumerate(members)]
    together = device.train(trials)
    assert device.graphs
    for k, one in enumerate(trials):
        data = prepare(one.arm.settings, np.float64)
        alone = loop.train([one], data, device.name, np.float64)
        for name, weight in alone.weights[0].items():
            assert np.abs(together.weights[k][name] - weight).max() <= 1e-10 * np.abs(weight).max()


def test_an_epochs_short_last_batch_has_a_graph_of_its_own(device: Device) -> None:
    device.train([trial()])
    assert [graph.replayed for graph in device.graphs] == [
        6 * 12 - cuda_graphs.WARM_UP,
        6 - cuda_graphs.WARM_UP,
    ]


def test_replayed_steps_have_the_bits_of_the_warm_up(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32: what is recorded is what is run operation by operation."""
    replayed = device.train(STACKS["mixed"], np.float32)
    assert sum(graph.replayed for graph in device.graphs) > 60
    monkeypatch.setattr(cuda_graphs, "WARM_UP", 10**6)
    assert_same(replayed, device.train(STACKS["mixed"], np.float32), device.bits)


def test_replayed_steps_equal_eager_steps_in_float32(device: Device) -> None:
    trials = STACKS["dropout"]
    assert_same(device.train(trials, np.float32), device.eagerly(trials, np.float32), 1e-5)
    assert device.graphs


def test_a_divergence_is_found_at_the_same_step(device: Device) -> None:
    wild: dict[str, Any] = {"loss": "mse", "optimizer": "momentum", "lr": 1e6, "preprocessing": "standardize"}
    trials = [trial("a", **wild), trial("b", **{**wild, "lr": 0.01}), trial("c", **{**wild, "lr": 1e3})]
    outcome = device.train(trials, np.float32)
    assert device.graphs
    assert outcome.diverged_step[1] == 0
    assert cuda_graphs.WARM_UP < outcome.diverged_step[0] != outcome.diverged_step[2]
    assert outcome.diverged_step.tolist() == device.eagerly(trials, np.float32).diverged_step.tolist()


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
        arrays = {n: v.cpu().numpy().copy() if isinstance(v, Tensor) else v for n, v in values.items()}
        self.kept = Kept(step, {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in arrays.items()})


@pytest.mark.parametrize("name", ["mixed", "dropout"])
@pytest.mark.parametrize("at", [26, 64], ids=["at an evaluation", "amid an epoch"])
def test_a_resumed_stack_has_the_bits_of_an_uninterrupted_one(name: str, at: int, device: Device) -> None:
    folder = Folder(at)
    whole = device.train(STACKS[name], np.float32, EngineOptions(checkpoints=folder))
    assert folder.kept is not None
    assert folder.kept.step == at
    resumed = device.train(STACKS[name], np.float32, EngineOptions(checkpoints=Folder(0, go_on=folder.kept)))
    assert_same(resumed, whole, device.bits)
    assert len(device.graphs) == (4 if at == 26 else 3)  # there are too few short batches left to record one


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
def test_an_unreplayable_optimizer_trains_eagerly_with_a_reason(
    register: Callable[..., str], device: Device, function: Any, why: str
) -> None:
    name = register(optimizers, function)
    trials = [trial(optimizer=name), trial("other")]
    outcome = device.train(trials)
    (note,) = outcome.notes
    assert note.startswith(f"optimizer {name!r} {why}")
    assert note.endswith(cuda_graphs.OTHERWISE)
    assert not device.graphs
    assert_same(outcome, device.eagerly(trials), device.bits)


def test_a_third_partys_optimizer_of_plain_arithmetic_is_replayed(
    register: Callable[..., str], device: Device
) -> None:
    trials = [trial(optimizer=register(optimizers, simple))]
    outcome = device.train(trials)
    assert len(device.graphs) == 2
    assert not outcome.notes
    assert_same(outcome, device.eagerly(trials))


def asking(z: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, after a look at the logits."""
    scale = 1.0 if float(z.abs().max()) < 1e9 else 0.5
    return scale * (z.logsumexp(-1) - (z * target).sum(-1))


def test_a_loss_that_reads_numbers_trains_eagerly_with_a_reason(
    register: Callable[..., str], device: Device
) -> None:
    trials = [trial(loss=register(losses, asking, takes="logits"))]
    outcome = device.train(trials)
    (note,) = outcome.notes
    assert note.startswith("a step cannot be recorded as a CUDA graph (")
    assert not device.graphs
    assert_same(outcome, device.eagerly(trials), device.bits)


def test_steps_that_fail_to_record_are_taken_eagerly(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_self: Any, _record: Callable[[], None]) -> None:
        raise RuntimeError("capture failed")

    monkeypatch.setattr(device.kind, "capture", failing)
    outcome = device.train(STACKS["adam"])
    assert len(device.graphs) == len(outcome.notes) == 2
    assert all("(RuntimeError: capture failed)" in note for note in outcome.notes)
    assert_same(outcome, device.eagerly(STACKS["adam"]))


def test_a_state_replaced_while_recording_is_restored(
    register: Callable[..., str], device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the trial on tensors without numbers did not show it."""
    monkeypatch.setattr(cuda_graphs, "why_not", lambda *_: "")
    trials = [trial(optimizer=register(optimizers, rebinding))]
    outcome = device.train(trials)
    assert len(device.graphs) == len(outcome.notes) == 2
    assert not any(graph.replayed for graph in device.graphs)
    assert_same(outcome, device.eagerly(trials), device.bits)


def test_running_out_of_memory_while_recording_is_raised(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Any, _record: Callable[[], None]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(device.kind, "capture", full)
    with pytest.raises(torch.OutOfMemoryError):
        device.train([trial()])
    assert device.graphs


def test_representatives_have_every_component_of_a_stack() -> None:
    members = sorted([*mixed(), *(dataclasses.replace(one, seed=s) for one in mixed() for s in (1, 2))],
                     key=grouping.order)  # fmt: skip
    few = cuda_graphs.representatives(members)
    assert len(few) < len(members)
    assert [one for one in members if one in few] == few
    for axis in ("optimizer", "activation", "head", "loss"):
        assert {t.arm.settings[axis] for t in few} == {t.arm.settings[axis] for t in members}
    assert {one.seed for one in few} == {0, 1}


# ------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("name", [entry.name for entry in preprocessings])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_in_bytes_equal_images_in_floats(name: str, dtype: Any) -> None:
    samples = prepare(trial(preprocessing=name).arm.settings, dtype).train
    seeds, places = SeedIndex.of([7, 3, 3]), torch.tensor([[5, 0, 1292], [7, 7, 3]])
    images, plain = ResidentImages(samples, seeds, CPU), DenseImages(torch.from_numpy(samples.x), seeds)
    kept = coded(samples, CPU)
    assert kept.palette is not None
    assert kept.stored.dtype == torch.uint8
    for index in (places, places[:1]):
        assert torch.equal(images.at(index), plain.at(index))
    assert all(torch.equal(a, b) for a, b in zip(images.chunks(500), plain.chunks(500), strict=True))


@pytest.mark.parametrize("spoilt", ["many values", "no number"])
def test_images_without_a_palette_stay_floats(spoilt: str) -> None:
    samples = prepare(trial().arm.settings, np.float32).train
    x = samples.x.copy()
    x[:9] = np.random.default_rng(0).random((9, x.shape[1])) if spoilt == "many values" else np.nan
    images = ResidentImages(dataclasses.replace(samples, pixels=x), SeedIndex.of([0]), CPU)
    assert images.coded.palette is None
    index = torch.tensor([[8, 3, 200]])
    assert np.array_equal(images.at(index).numpy(), x[[8, 3, 200]], equal_nan=True)
    assert np.array_equal(torch.cat(list(images.chunks(1000))).numpy(), x, equal_nan=True)
