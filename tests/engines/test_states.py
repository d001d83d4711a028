"""An engine that was stopped and goes on ends bit for bit where one that was not stopped ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.axes import formulas
from harness.axes.architectures import architectures
from harness.axes.optimizers import Scalar, optimizers
from harness.data.batches import Budget
from harness.data.samples import prepare
from harness.engines import loop, numpy_engine
from harness.engines import stack_engine as engine
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions, batch_indices
from harness.engines.outcome import Outcome, Point
from harness.engines.states import NEVER, State
from harness.planning import grouping
from harness.planning.stack import Stack
from harness.results import checkpoints, origins
from harness.study.trials import Arm, Trial, resolve

if TYPE_CHECKING:
    from torch import Tensor

ENGINES: dict[str, Any] = {"stacked": engine, "loop": loop, "numpy": numpy_engine}
every_engine = pytest.mark.parametrize("engine", ENGINES)
SWITCHED: dict[str, Any] = {"centered": True, "amsgrad": True, "momentum": 0.8, "dampening": 0.2}
"""Settings that make an optimizer keep more than it does by default."""
ORIGIN = origins.Origin.here(Stack.of("stacked", []), "cpu")
HEADER = checkpoints.CheckpointHeader("g", ["t"], 1.0)


class Stopped(Exception):  # noqa: N818 (the end of a sitting is no error)
    """The process ends here."""


@dataclasses.dataclass
class StopsOnce:
    """Checkpoints of a run that is killed right after the first one at or after step `at`; in a real file."""

    path: Path
    at: int
    step: int = 0

    def load(self) -> State | None:
        return checkpoints.read(self.path, ORIGIN)[1] if self.path.exists() else None

    def due(self, step: int, budget: Budget) -> bool:
        return self.at <= step < budget.steps and not self.path.exists()

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        checkpoints.write(self.path, ORIGIN, HEADER, step, values)
        self.step = step
        raise Stopped


def trial(name: str = "t", **settings: Any) -> Trial:
    # 1,293 images in batches of 16: an epoch is 81 steps.
    base: dict[str, Any] = {
        "dataset": "digits",
        "steps": 140,
        "batch_size": 16,
        "hidden": [8],
        "eval_every": "25 steps",
    }
    return Trial(name, Arm(name, resolve({**base, **settings})), 1)


def outcome_of(engine: str, trials: Sequence[Trial], options: EngineOptions = DEFAULT_OPTIONS) -> Outcome:
    data = prepare(trials[0].arm.settings)
    outcome: Outcome = ENGINES[engine].train(trials, data, options=options)
    return outcome


def in_two_sittings(engine: str, trials: Sequence[Trial], folder: Path, at: int) -> tuple[Outcome, int]:
    """Train, be killed after a checkpoint, go on; gives the step of the checkpoint too."""
    kept = StopsOnce(folder / "kept.safetensors", at)
    with pytest.raises(Stopped):
        outcome_of(engine, trials, EngineOptions(checkpoints=kept))
    told: list[float] = []
    outcome = outcome_of(
        engine, trials, EngineOptions(lambda fraction, _: told.append(fraction), checkpoints=kept)
    )
    steps = outcome.steps_done
    assert all(fraction * steps > kept.step for fraction in told)  # it did go on
    return outcome, kept.step


def assert_same_bits(a: Outcome, b: Outcome) -> None:
    assert np.array_equal(a.diverged_step, b.diverged_step)
    for one, other in zip(a.weights, b.weights, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
    assert a.final.keys() == b.final.keys()
    pairs: list[tuple[Any, Any]] = [
        *zip(a.curve, b.curve, strict=True),
        *((a.final[split], b.final[split]) for split in a.final),
    ]
    for seen, expected in pairs:
        # A point or an evaluation as one flat dict: the metrics beside the other fields.
        fields, others = (
            {**vars(one), **one.metrics, "metrics": list(one.metrics)} for one in (seen, expected)
        )
        assert fields.keys() == others.keys()
        for name, x in fields.items():
            assert type(x) is type(others[name])
            if isinstance(x, np.ndarray):
                assert x.dtype == others[name].dtype
                assert np.array_equal(x, others[name], equal_nan=True), name
            else:
                assert x == others[name], name
    assert np.array_equal(a.parameters, b.parameters)
    assert (a.epochs_done, a.steps_done) == (b.epochs_done, b.steps_done)


def cases() -> Iterator[Trial]:
    """Every optimizer in the registry, as it is by default and with all it can keep."""
    for entry in optimizers:
        yield trial(entry.name, optimizer=entry.name)
        switched = {name: SWITCHED[name] for name in entry.component.settings if name in SWITCHED}
        if switched:
            yield trial(f"{entry.name}, switched", optimizer=entry.name, **switched)


CASES = {case.arm.name: case for case in cases()}


@pytest.mark.parametrize("name", CASES)
@every_engine
def test_every_optimizer_resumes_bit_for_bit(engine: str, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if engine == "numpy" and formulas.missing(case.arm.settings):
        pytest.skip("it has no formula")
    at = int(np.random.default_rng(list(f"{engine} {name}".encode())).integers(1, 125))
    whole = outcome_of(engine, [case])
    outcome, step = in_two_sittings(engine, [case], tmp_path, at)
    assert at <= step < 140
    assert_same_bits(outcome, whole)


LATE: dict[str, Any] = {"loss": "ql", "optimizer": "momentum", "lr": 5.0}


@pytest.mark.parametrize("at", [1, 26, 64, 101])
def test_a_mixed_stack_resumes_bit_for_bit_divergence_included(at: int, tmp_path: Path) -> None:
    """One member has diverged by every checkpoint, one does so between the first two, the others never."""
    wild = {"early": trial("early", lr=1e25, loss="mse"), "late": trial("late", **LATE)}
    members = sorted([*CASES.values(), *wild.values()], key=grouping.order)
    whole = outcome_of("stacked", members)
    steps = {member.arm.name: int(s) for member, s in zip(members, whole.diverged_step, strict=True)}
    assert {name for name, step in steps.items() if step} == {"early", "late"}
    assert steps["early"] < 25
    assert (
        25 < steps["late"] < 64
    )  # after the first checkpoint, before the losses are looked at by themselves
    assert_same_bits(in_two_sittings("stacked", members, tmp_path, at)[0], whole)


@pytest.mark.parametrize("at", [81, 101], ids=["epoch-end", "mid-epoch"])
@pytest.mark.parametrize("sampling", ["shuffle", "sequential", "replacement"])
@every_engine
def test_batches_continue_at_the_saved_step(engine: str, sampling: str, at: int, tmp_path: Path) -> None:
    one = trial(sampling=sampling, optimizer="momentum", schedule="cosine", eval_every="1 epoch")
    outcome, step = in_two_sittings(engine, [one], tmp_path, at)
    assert step == {81: 81, 101: 128}[at]
    assert_same_bits(outcome, outcome_of(engine, [one]))


@every_engine
def test_dropout_and_smoothing_continue_at_the_saved_step(engine: str, tmp_path: Path) -> None:
    both: dict[str, Any] = {"dropout": 0.3, "label_smoothing": 0.1, "hidden": [12, 8], "optimizer": "adam"}
    members = [trial(**both)]
    if engine == "stacked":
        members += [
            trial("other", **both | {"dropout": 0.5}),
            trial("none", hidden=[12, 8], optimizer="adam"),
        ]
    outcome, step = in_two_sittings(engine, members, tmp_path, 30)
    assert step % 81  # in the middle of an epoch
    assert_same_bits(outcome, outcome_of(engine, members))


@pytest.mark.parametrize("start", [0, 1, 80, 81, 82, 161, 162, 199])
@pytest.mark.parametrize("sampling", ["shuffle", "sequential", "replacement"])
def test_batches_from_a_step_are_the_last_of_all(start: int, sampling: str) -> None:
    one, budget = trial(sampling=sampling), Budget(1293, 16, 200, (0, 200))
    everything = [batch.tolist() for batch in batch_indices(one, budget)]
    assert [batch.tolist() for batch in batch_indices(one, budget, start)] == everything[start:]


@every_engine
def test_an_engine_asks_for_checkpoints_when_it_reads_losses_until_divergence(engine: str) -> None:
    asked: list[int] = []

    class Asked:
        def load(self) -> None:
            return None

        def due(self, step: int, _: Budget) -> bool:
            asked.append(step)
            return False

        save = NEVER.save

    outcome_of(engine, [trial(lr=1e25, loss="mse")], EngineOptions(checkpoints=Asked()))
    assert asked == []
    outcome_of(engine, [trial()], EngineOptions(checkpoints=Asked()))
    assert [step for step in asked if step < 140] == [25, 50, 64, 75, 100, 125, 128]


def test_a_state_holds_every_field_of_the_learning_curve() -> None:
    """Whoever observes more has to keep it in Outcome.state_dict and load_state_dict, too."""
    outcome = Outcome(np.zeros(1, np.int64), np.ones(1, np.int64), 1.0, 1)
    ones = np.ones(1)
    outcome.curve = [Point(1.0, 3, "val", ones, ones, {"top3": share * ones}) for share in (0.25, 0.5)]
    values = outcome.state_dict()
    kept = {name.partition(".")[0 if name.startswith("metrics.") else 2] for name in values if "." in name}
    assert kept == {field.name for field in dataclasses.fields(Point)}
    again = Outcome(np.zeros(1, np.int64), np.ones(1, np.int64), 1.0, 1)
    again.load_state_dict(State(3, values))
    assert [dataclasses.asdict(point) for point in again.curve] == [
        dataclasses.asdict(point) for point in outcome.curve
    ]


# ------------------------------------------------------------------------------ a third party's components


class Noisy(nn.Module):
    """Dropout, running statistics, and a buffer that its own state_dict leaves out."""

    seen: torch.Tensor

    def __init__(self, inputs: int, classes: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, 8), nn.BatchNorm1d(8), activation(), nn.Dropout(0.3), nn.Linear(8, classes)
        )
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        z: torch.Tensor = self.net(x)
        return z * (1 + 1 / (1 + self.seen))


def noisy(inputs: int, classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """A network that draws."""
    return Noisy(inputs, classes, activation)


def lopsided(param: Tensor, grad: Tensor, state: dict[str, Tensor], t: int, *, lr: Scalar = 0.1) -> None:
    """Gradient descent by the running norm of the whole gradient; every third step is half as long."""
    if "norm" not in state:
        state["norm"], state["mean"] = torch.ones(()), torch.zeros_like(param)
    state["norm"].mul_(0.9).add_(0.1 * grad.norm())
    state["mean"].mul_(0.5).add_(grad)
    param.sub_(lr * state["mean"] / state["norm"] * (0.5 if t % 3 == 0 else 1.0))


def counted(param: Tensor, grad: Tensor, state: dict[str, Any], t: int, *, lr: Scalar = 0.1) -> None:  # noqa: ARG001
    """Gradient descent, slower by the steps that it has counted in a plain number."""
    state["n"] = state.get("n", 0) + 1
    param.sub_(lr * grad / state["n"] ** 0.5)


@pytest.fixture
def third_party() -> Iterator[None]:
    architectures.register("noisy")(noisy)
    optimizers.register("lopsided", stackable=False)(lopsided)
    optimizers.register("counted")(counted)
    yield
    architectures.remove("noisy")
    optimizers.remove("lopsided")
    optimizers.remove("counted")


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("optimizer", ["adam", "lopsided"])
@pytest.mark.parametrize("at", [1, 81])
def test_a_module_with_random_draws_resumes_bit_for_bit(optimizer: str, at: int, tmp_path: Path) -> None:
    one = trial(architecture="noisy", optimizer=optimizer)
    whole = outcome_of("loop", [one])
    torch.rand(3)  # whatever else has drawn since
    outcome, _ = in_two_sittings("loop", [one], tmp_path, at)
    assert_same_bits(outcome, whole)


@pytest.mark.usefixtures("third_party")
def test_resuming_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    in_two_sittings("loop", [trial(architecture="noisy")], tmp_path, 50)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_a_plain_number_in_an_optimizers_state_is_resumed(engine: str, tmp_path: Path) -> None:
    one = trial(optimizer="counted")
    outcome, _ = in_two_sittings(engine, [one], tmp_path, 50)
    assert_same_bits(outcome, outcome_of(engine, [one]))
