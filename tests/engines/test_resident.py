"""The resident kernel, compiled for a processor, does what the compiled engine does."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from host_launcher import COMPILER, Host, source
from host_launcher import compiled as compiled_by_gpp
from torch import Tensor

from harness.axes.activations import activations
from harness.axes.heads import heads
from harness.axes.losses import losses
from harness.axes.optimizers import optimizers
from harness.data.samples import Data, Samples, prepare
from harness.engines import driver, kernels
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.outcome import Outcome
from harness.engines.resident import launching, nvrtc, sources
from harness.engines.resident import steps as resident
from harness.engines.resident.launching import Arguments, Launch
from harness.engines.resident.sources import GroupFacts, Program
from harness.engines.stacked import cuda_graphs, engine, gpu_images, network, steps
from harness.engines.stacked.dense import Dense
from harness.engines.stacked.gpu_images import ResidentImages
from harness.engines.states import State
from harness.errors import MachineError
from harness.lowering import components, shipping
from harness.lowering.compiler import UnavailableError
from harness.planning import grouping
from harness.study.trials import Arm, Trial, resolve

pytestmark = pytest.mark.skipif(
    COMPILER is None or bool(kernels.why_not()), reason=f"no C++ compiler, or no kernels: {kernels.why_not()}"
)
TIGHT = 1e-11


def trial(seed: int = 0, **changed: Any) -> Trial:
    base: dict[str, Any] = {"dataset": "digits", "steps": 90, "batch_size": 32, "eval_every": "40 steps"}
    made = resolve({**base, "hidden": [12], **changed})
    return Trial(f"t{seed}{sorted(changed.items())}", Arm(str(changed), made), seed)


def dense(data: Data, blocks: Any, optimizers: Any, seeds: Any) -> Dense:
    """Layer one as a GPU has it."""
    return Dense(blocks, optimizers, data.inputs, seeds)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A processor in place of a GPU, for the stacked engine."""
    made = Host()

    def dense(data: Any, blocks: Any, optimizers: Any, seeds: Any) -> Dense:
        return Dense(blocks, optimizers, data.inputs, seeds)

    monkeypatch.setattr(resident, "launchers", lambda _: lambda: made)
    monkeypatch.setattr(cuda_graphs, "graphs", lambda _: None)
    monkeypatch.setattr(network, "Tiled", dense)

    def images(layer: Dense, samples: Samples) -> Any:
        return ResidentImages(samples, layer.seeds, layer.wide.device)

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
    assert max(host.launches) == 41 - 1  # an epoch is 41 steps, and step 40 is evaluated


@pytest.mark.usefixtures("host")
def test_streams_with_seeds_of_their_own() -> None:
    members = [
        trial(0, dropout=0.3), trial(1, dropout=0.3, order_seed=0), trial(0, dropout=0.3, start_seed=7),
        trial(2, dropout=0.3, order_seed=1, dropout_seed=0), trial(1, order_seed=4),
    ]  # fmt: skip
    assert_as_in_c(members)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("hidden", [[16, 9], [], [5, 40, 24]], ids=str)
def test_every_activation_at_any_depth(hidden: list[int]) -> None:
    members = [
        trial(seed, activation=activation.name, lr=0.03 * (1 + k), label_smoothing=0.1 * k, hidden=hidden)
        for activation in activations
        for k, seed in enumerate((3, 4))
    ]
    assert_as_in_c(members)


@pytest.mark.usefixtures("host")
def test_every_head_and_loss() -> None:
    """Fitting or not, with smoothing and settings that differ from member to member."""
    rates = {"ql": 0.02, "mse": 0.1, "ccql": 0.03}
    named = [
        {"head": head.name, "loss": loss.name, "lr": rates.get(loss.name, 0.05), "label_smoothing": smoothing}
        | ({"ccql_weight": 0.3 + smoothing} if loss.name == "ccql" else {})
        for head in heads
        for loss in losses
        for smoothing in (0.0, 0.2)
        if loss.component.form(head.component.kind) is not None
    ]
    named += [{"head": "softmax", "loss": "nll", "match": "ignore", "lr": 0.005}]
    assert_as_in_c([trial(k % 2, steps=60, **one) for k, one in enumerate(named)])


OTHER: dict[str, Any] = {
    "momentum": 0.7, "dampening": 0.3, "betas": [0.8, 0.98], "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.03,
    "lr_decay": 0.01, "initial_accumulator_value": 0.1, "centered": True, "amsgrad": True,
}  # fmt: skip


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("batch_size", "changed"), [(7, True), pytest.param(32, False, marks=pytest.mark.slow)]
)
def test_every_optimizer_on_epochs_whose_last_batch_is_short(batch_size: int, changed: bool) -> None:
    """With all settings but the default ones, or with some that are 0; by a schedule."""
    members = []
    for k, optimizer in enumerate(optimizers):
        own = optimizer.component.settings
        lr = min(0.02, float(own["lr"].default))  # type: ignore[arg-type]
        shared = {"optimizer": optimizer.name, "schedule": "cosine", "batch_size": batch_size, "steps": 190}
        others = {n: OTHER[n] for n in own if n in OTHER} if changed else {}
        members.append(trial(k % 2, lr=lr * 0.7, **shared, **others))
    assert_as_in_c(members, 1e-9)


@pytest.mark.usefixtures("host")
def test_members_leave_out_units_of_their_own() -> None:
    """Dropout's shares differ, or are 0; three seeds; several depths."""
    members = [
        trial(k, steps=50, hidden=hidden, dropout=p, lr=0.05, optimizer=optimizer, activation="silu")
        for hidden in ([6, 33], [16], [])
        for optimizer in ("sgd", "adam")
        for k, p in enumerate((0.0, 0.2, 0.5))
    ]
    assert_as_in_c(members, 1e-9)


MNIST: dict[str, Any] = {"dataset": "mnist", "steps": 70, "hidden": [32, 32], "eval_every": "70 steps"}


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("preprocessing", ["standardize", pytest.param("unit", marks=pytest.mark.slow)])
def test_float32_on_mnist_is_within_rounding_of_c(preprocessing: str) -> None:
    members = [trial(0, preprocessing=preprocessing, optimizer=o, **MNIST) for o in ("sgd", "adam")]
    ours = assert_as_in_c(members, 2e-4, np.float32)
    assert (ours.final["test"].accuracy > 0.6).all()


@pytest.mark.usefixtures("host")
def test_float32_of_every_activation_and_output_is_within_rounding_of_c() -> None:
    """Which has the elementary functions of vectors of one number."""
    named: list[dict[str, Any]] = [{"activation": activation.name} for activation in activations]
    named += [
        {"head": head.name, "loss": loss.name, "lr": 0.02}
        for head in heads
        for loss in losses
        if loss.component.form(head.component.kind) is not None
    ]
    assert_as_in_c([trial(1, steps=20, **one) for one in named], 2e-5, np.float32)


@pytest.mark.usefixtures("host")
def test_a_member_that_amplifies_rounding_takes_nobody_to_graphs() -> None:
    train([trial(), trial(lr=40.0), trial(lr=1e4, loss="mse"), trial(lr=1e-8), trial(lr=0.0)], np.float32)


def test_pixels_of_too_many_values_are_read_as_they_are(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_images, "PALETTE", 5)
    gpu_images.coded.cache_clear()
    assert_as_in_c([trial(), trial(1)])
    assert "#define CODED 0" in host.programs[0].text
    gpu_images.coded.cache_clear()


# ------------------------------------------------------------------------------------------------------ bits


def assert_same_bits(a: Outcome, b: Outcome, members: Sequence[int]) -> None:
    """The outcomes of b are those of some members of a."""
    for j, k in enumerate(members):
        for name, expected in b.weights[j].items():
            assert (a.weights[k][name] == expected).all(), name
        for p, q in zip(a.curve, b.curve, strict=True):
            assert p.loss[k] == pytest.approx(q.loss[j], rel=1e-6)  # PyTorch evaluates them together


VARIED: list[dict[str, Any]] = [
    {"optimizer": "adam", "activation": "gelu"}, {}, {"dropout": 0.3}, {"hidden": [24, 5]},
    {"optimizer": "momentum", "label_smoothing": 0.1, "activation": "tanh"},
]  # fmt: skip


@pytest.mark.usefixtures("host")
def test_a_members_bits_are_its_own() -> None:
    members = grouping.side_by_side([trial(k % 2, **one) for k, one in enumerate(VARIED)])
    together = train(members, np.float32)
    for k, one in enumerate(members):
        assert_same_bits(together, train([one], np.float32), [k])


def test_bits_depend_neither_on_threads_nor_on_room_nor_on_cuts(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too little shared memory for the pixels, and several threads that wait for each other."""
    members = grouping.side_by_side([trial(k % 2, **one) for k, one in enumerate(VARIED)])
    places, whole = range(len(members)), train(members, np.float32)
    assert host.launches
    host.threads = 5
    assert_same_bits(train(members, np.float32), whole, places)
    host.threads, most = 1, max(program.shared_bytes for program in host.programs)
    host.shared_limit = most - 4 * 32 * 64
    assert_same_bits(train(members, np.float32), whole, places)
    assert host.programs[-1].scratch == 32 * 64
    for module in (steps, driver):
        monkeypatch.setattr(module, "LOOK_EVERY", 7)
    assert_same_bits(train(members, np.float32), whole, places)


class Folder:
    """Keeps the state of one step, as arrays."""

    def __init__(self, at: int = 0, go_on: State | None = None) -> None:
        self.at, self.go_on = at, go_on

    def load(self) -> State | None:
        return self.go_on

    def due(self, step: int, _budget: Any) -> bool:
        return step == self.at

    def save(self, step: int, values: Any) -> None:
        arrays = {n: v.numpy().copy() if isinstance(v, Tensor) else v for n, v in values.items()}
        self.go_on = State(step, {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in arrays.items()})


@pytest.mark.usefixtures("host")
def test_a_resumed_stack_has_the_bits_of_an_uninterrupted_one() -> None:
    members = grouping.side_by_side([trial(k % 2, **one) for k, one in enumerate(VARIED)])
    folder = Folder(64)
    whole = train(members, np.float32, EngineOptions(checkpoints=folder))
    assert folder.go_on is not None
    resumed = train(members, np.float32, EngineOptions(checkpoints=Folder(0, folder.go_on)))
    assert_same_bits(resumed, whole, range(len(members)))


def test_a_stack_goes_on_from_a_state_of_the_compiled_engine(host: Host) -> None:
    members, folder = [trial(optimizer="adam")], Folder(64)
    data = prepare(members[0].arm.settings, np.float64)
    whole = compiled.train(members, data, EngineOptions(checkpoints=folder))
    assert folder.go_on is not None
    resumed = train(members, np.float64, EngineOptions(checkpoints=Folder(0, folder.go_on)))
    assert_same(resumed, whole, TIGHT)
    assert sum(host.launches) == 90 - 64 + resident.TRIED


@pytest.mark.usefixtures("host")
def test_a_divergence_is_found_at_the_same_step() -> None:
    wild: dict[str, Any] = {"loss": "mse", "preprocessing": "standardize", "hidden": [12]}
    members = [trial(lr=lr, **wild) for lr in (1e6, 0.01)]
    ours, theirs = train(members, np.float32), in_c(members, np.float32)
    assert 0 < ours.diverged_step[0] == theirs.diverged_step[0]
    assert ours.diverged_step[1] == theirs.diverged_step[1] == 0


# -------------------------------------------------------------------------------------------------- refusals


def notes(members: list[Trial], dtype: Any = np.float32) -> list[str]:
    return engine.train(members, prepare(members[0].arm.settings, dtype), "cpu", dtype).notes


def test_weights_that_have_no_room_train_otherwise(host: Host) -> None:
    host.shared_limit = 1000
    (note,) = notes([trial()])
    assert re.fullmatch(
        r"the resident kernel is not used: the weights of 64-12-10 take [\d,]+ bytes, and a block of threads "
        r"has 1,000, " + resident.OTHERWISE,
        note,
    )


@pytest.mark.usefixtures("host", "in_pytorch")
def test_it_can_be_switched_off() -> None:
    (note,) = notes([trial()])
    assert note == f"the resident kernel is not used: switched off by HARNESS_KERNELS, {resident.OTHERWISE}"


@pytest.mark.usefixtures("host")
def test_components_without_a_compiled_form_train_otherwise() -> None:
    @activations.register("sorted")
    def sorted_(x: Tensor) -> Tensor:
        return x.sort(-1).values

    (note,) = notes([trial(activation="sorted")])
    assert "a component is not compiled (" in note
    assert note.endswith(resident.OTHERWISE)


@pytest.mark.parametrize("wrong", ["losses", "weights"])
@pytest.mark.usefixtures("host")
def test_a_kernel_that_computes_otherwise_is_not_used(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's compiler may be wrong, too: what trains then is as if the kernel had never run."""
    monkeypatch.setattr(resident, "launchers", lambda _: None)
    plain = engine.train([trial()], prepare(trial().arm.settings), "cpu")
    spoilt = Host()
    prepare_one = spoilt.prepare

    def wrongly(program: Program) -> Launch:
        at, by = (
            ("sum / (REAL)s.count", "1 + sum")
            if wrong == "losses"
            else ("const vector next", "w *= 1.001f; const vector next")
        )
        assert at in program.text
        return prepare_one(dataclasses.replace(program, text=program.text.replace(at, by)))

    monkeypatch.setattr(spoilt, "prepare", wrongly)
    monkeypatch.setattr(resident, "launchers", lambda _: lambda: spoilt)
    outcome = engine.train([trial()], prepare(trial().arm.settings), "cpu")
    (note,) = outcome.notes
    assert f"its {wrong} are not PyTorch's, by " in note
    assert_same_bits(outcome, plain, [0])


@pytest.mark.usefixtures("host")
def test_of_members_that_all_grow_at_once_the_first_step_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = [trial(lr=1e6, loss="mse"), trial(lr=1e4, loss="mse", hidden=[5])]
    train(wild, np.float32)
    prepare_one = Host.prepare

    def wrongly(self: Host, program: Program) -> Launch:
        text = program.text.replace("sum / (REAL)s.count", "1 + sum")
        return prepare_one(self, dataclasses.replace(program, text=text))

    monkeypatch.setattr(Host, "prepare", wrongly)
    assert "its losses are not PyTorch's" in notes(wild)[0]


@pytest.mark.parametrize("starts", [0, 1, 100])
def test_a_kernel_that_does_not_start_trains_otherwise_and_later_ends_the_run(
    starts: int, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (steps, driver):
        monkeypatch.setattr(module, "LOOK_EVERY", 2)  # so that the comparison's three steps take two launches
    prepare_one = host.prepare

    def prepared(program: Program) -> Launch:
        launch = prepare_one(program)

        def failing(arguments: Arguments, members: int) -> None:
            if len(host.launches) >= (starts if starts < 100 else 2):
                raise UnavailableError("it does not start: out of resources")
            launch(arguments, members)

        return failing

    monkeypatch.setattr(host, "prepare", prepared)
    if starts == 100:
        with pytest.raises(
            MachineError, match=r"does not start: out of resources.* with HARNESS_KERNELS=off"
        ):
            train([trial()], np.float32)
        return
    ours = engine.train([trial()], prepare(trial().arm.settings), "cpu")
    (note,) = ours.notes
    assert note.endswith(f"it does not start: out of resources, {resident.OTHERWISE}")
    assert ours.steps == "eager"
    monkeypatch.setattr(resident, "launchers", lambda _: None)
    assert_same_bits(ours, engine.train([trial()], prepare(trial().arm.settings), "cpu"), [0])


class FakeDriver:
    """CUDA's driver, which notes its calls; each returns 0, or the error that is set for it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*_: Any) -> int:
            self.calls.append(name)
            return self.errors.get(name, 0)

        return call


def test_a_text_is_loaded_once_on_a_device_and_a_failed_launch_is_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, stream = FakeDriver(), SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(launching, "_driver", lambda: driver)
    monkeypatch.setattr(nvrtc, "compiled", lambda *_: b"")
    given = {"Stream": stream, "current_stream": stream, "synchronize": None, "get_device_capability": (9, 0)}
    for name, value in given.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    launching._cuda.cache_clear()
    device = torch.device("cuda:0")
    assert launching.cuda(device) is launching.cuda(device) is not launching.cuda(torch.device("cuda:1"))
    program, other = (Program(text, 32, 100, 0) for text in ("one", "other"))
    launches = [launching.cuda(device).prepare(made) for made in (program, other, program)]
    assert driver.calls.count("cuModuleLoadData") == 2
    launches[2](Arguments(), 1)
    driver.errors["cuLaunchKernel"] = 701
    with pytest.raises(UnavailableError, match=r"\(cuda:0\) does not start it: .* \(701\)"):
        launches[2](Arguments(), 1)
    launching._cuda.cache_clear()


# ------------------------------------------------------------------------------------------- races, compilers


def sanitized(program: Program, folder: Path, sanitizer: str) -> str:
    """Run three steps in eight threads; return what a sanitizer says, or the exit status and the last loss.

    Not optimised: what is done between two barriers would be over too soon to be seen at the same time.
    """
    text = folder / "program.h"
    text.write_text(program.text, encoding="utf-8")
    main = Path(__file__).with_name("one_block.cpp").read_text(encoding="utf-8")
    defines = (f'-DPROGRAM="{text}"', f"-DSHARED={program.shared_bytes}")
    path = compiled_by_gpp(main, folder, f"-fsanitize={sanitizer}", "-O0", *defines)
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([path], check=False, capture_output=True, text=True, timeout=120, env=environment)
    if "FATAL: ThreadSanitizer" in done.stderr:
        pytest.skip("ThreadSanitizer does not run here")
    return done.stderr or f"{done.returncode} {done.stdout}"


def small_program() -> Program:
    """Widths that fill their rows, and that do not."""
    parts = components.of_trial(trial(optimizer="momentum", activation="tanh").arm.settings)
    shared = ((parts.activation,), (parts.output,), parts.optimizer, "float32")
    return sources.program(GroupFacts((16, 8, 12, 10), 16, *shared, coded=True, dropout=True))


BARRIER = "__syncthreads();"


@pytest.mark.parametrize(
    ("sanitizer", "spoilt", "words"),
    [
        ("thread", lambda text: "".join(text.rpartition(BARRIER)[::2]), "data race"),
        (
            "address,undefined",
            lambda text: text.replace("EXISTS(unit, OUT, EDGE)", "true"),
            "buffer-overflow",
        ),
    ],
)
def test_threads_neither_race_nor_write_beside_their_arrays(
    sanitizer: str, spoilt: Callable[[str], str], words: str, tmp_path: Path
) -> None:
    """Without a barrier, or where a unit is taken for one that exists, the sanitizer says so."""
    program = small_program()
    assert sanitized(program, tmp_path, sanitizer).startswith("0 ")
    wrong = dataclasses.replace(program, text=spoilt(program.text))
    assert wrong.text != program.text
    assert words in sanitized(wrong, tmp_path, sanitizer)


class Without(Host):
    """A host that compiles a program without one of its barriers."""

    barrier = 0

    def prepare(self, program: Program) -> Launch:
        pieces = program.text.split("__syncthreads();")
        text = "__syncthreads();".join(pieces[: self.barrier]) + "".join(
            ["/* none */", "__syncthreads();".join(pieces[self.barrier :])]
        )
        return super().prepare(dataclasses.replace(program, text=text) if self.barrier else program)


@pytest.mark.parametrize("barrier", range(9))
def test_threads_that_run_in_another_order_compute_the_same(
    barrier: int, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one from barrier to barrier; without any one of the eight barriers they would not."""
    one = trial(hidden=[9, 8], optimizer="momentum", dropout=0.2, steps=5, eval_every="5 steps")
    assert host.threads == 1
    whole, different = train([one], np.float32), 0
    assert host.programs[0].text.count("__syncthreads();") == 8
    for order in (1, -1):
        without = Without(threads=6, order=order)
        without.barrier = barrier
        monkeypatch.setattr(resident, "launchers", lambda _, made=without: lambda: made)
        outcome = engine.train([one], prepare(one.arm.settings), "cpu")
        same = all((outcome.weights[0][name] == x).all() for name, x in whole.weights[0].items())
        different += bool(outcome.notes) or not same
    assert different == 0 if barrier == 0 else different > 0


@pytest.mark.slow
def test_nvrtc_compiles_every_component(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It needs no GPU, only NVRTC; nothing is run. Optimizers in their longest form, in a small network."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    try:
        nvrtc.version()
    except UnavailableError as error:
        pytest.skip(str(error))
    shipped = [components.lower(origin) for origin in shipping.origins()]
    kinds = {kind: tuple(x for x in shipped if x.kind == kind) for kind in ("activation", "output")}
    longest = {x.origin.names: x for x in shipped if x.kind == "optimizer" and not x.origin.zeros}
    assert len(longest) == len(optimizers)
    shapes = itertools.chain([(784, 32, 32, 10)], itertools.repeat((8, 4, 10)))
    for optimizer, widths in zip(longest.values(), shapes, strict=False):
        facts = GroupFacts(
            widths, 32, kinds["activation"], kinds["output"], optimizer, "float32", coded=True, dropout=True
        )
        assert nvrtc.compiled(sources.program(facts).text, "sm_90").startswith(b"\x7fELF")
        kinds = {kind: found[:1] for kind, found in kinds.items()}  # all of them once


def test_a_text_that_nvrtc_refuses_is_told_with_its_error() -> None:
    try:
        nvrtc.version()
    except UnavailableError as error:
        pytest.skip(str(error))
    with pytest.raises(UnavailableError, match=r"refuses its text: .*identifier .nothing. is undefined"):
        nvrtc.compiled("int x = nothing;", "sm_90")


def test_without_nvrtc_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_paths", lambda: iter(["libnvrtc-of-nobody.so"]))
    nvrtc._library.cache_clear()
    with pytest.raises(UnavailableError, match=r"NVRTC \(libnvrtc.so\), .* is not found"):
        nvrtc.compiled("", "sm_90")
    nvrtc._library.cache_clear()


def test_arguments_are_those_of_the_kernel(tmp_path: Path) -> None:
    text = source(small_program()) + 'extern "C" int64_t size(void) { return sizeof(arguments); }'
    path = compiled_by_gpp(text, tmp_path, "-shared", "-fPIC")
    assert ctypes.CDLL(str(path)).size() == ctypes.sizeof(Arguments)


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.mark.cuda
@CUDA
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_on_a_gpu_it_trains_as_graphs_do(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [trial(seed, optimizer=optimizer, **MNIST) for seed in (0, 1)]
    data = prepare(members[0].arm.settings)
    ours = engine.train(members, data, "cuda")
    assert not ours.notes
    monkeypatch.setattr(resident, "launchers", lambda _: None)
    assert_same(ours, engine.train(members, data, "cuda"), 5e-4)
