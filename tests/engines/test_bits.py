"""Names of what decides the float bits of trials: equal where bits should be, different elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.samples import Data, prepare
from harness.engines import bits, kernels
from harness.engines.modules import image_kernels
from harness.engines.resident import nvrtc, sources
from harness.lowering import compiler
from harness.study.study import Study
from harness.study.trials import Trial, trials
from harness.system import machine

Make = Callable[..., Study]
VERSION = re.escape(np.__version__.partition("+")[0])


def named(study: Study, engine: str = "stacked") -> dict[str, str]:
    """Map the arms of a study to the names of their first trials' bits."""
    planned, _ = trials(study)
    data = prepare(planned[0].arm.settings)
    names = bits.of_trials(engine, planned, data, "cpu", ())
    return {trial.arm.name: name for trial, name in zip(planned, names, strict=True) if not trial.seed}


@pytest.fixture
def switched_off(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(compiler.SWITCH, "off")
    kernels.forget()
    yield
    monkeypatch.undo()
    kernels.forget()


def needs_kernels() -> None:
    if why := kernels.why_not():
        pytest.skip(f"there are no kernels here: {why}")


def test_arms_of_the_kernels_share_their_build_and_differ_in_their_components(study_of: Make) -> None:
    needs_kernels()
    names = named(study_of({"activation": ["relu", "gelu"]}, epochs=1))
    assert all(re.fullmatch(r"c-[0-9a-f]{10}\+[0-9a-f]{6}", name) for name in names.values())
    assert len(set(names.values())) == 2
    assert {bits.without_components(name) for name in names.values()} == {bits.build()}


def test_settings_that_are_no_components_change_no_name(study_of: Make) -> None:
    needs_kernels()
    names = named(study_of({"lr": [0.1, 0.2], "hidden": [[8], [6, 5]]}, epochs=1))
    assert len(names) == 4
    assert len(set(names.values())) == 1


def test_another_build_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bits.build()
    monkeypatch.setattr(kernels, "identity", lambda *_: "kernels-float32-of-another-processor")
    assert bits.build() != before


def test_numpy_is_named_with_its_version_and_processor(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(epochs=1)
    (name,) = set(named(study, "numpy").values())
    assert re.fullmatch(rf"numpy-{VERSION}-[0-9a-f]{{8}}", name)
    assert set(named(study, "numpy").values()) == {name}
    monkeypatch.setattr(machine, "processor", lambda: "another")
    assert set(named(study, "numpy").values()) != {name}


def test_pytorch_is_named_with_what_its_products_depend_on(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(epochs=1)
    (name,) = set(named(study, "loop").values())
    assert re.fullmatch(r"torch-[0-9.]+[a-z0-9]*-[0-9a-f]{8}", name)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    (other,) = set(named(study, "loop").values())
    assert other != name
    assert other.rpartition("-")[0] == name.rpartition("-")[0]


@pytest.mark.usefixtures("switched_off")
def test_a_stack_without_kernels_is_pytorchs(study_of: Make) -> None:
    (name,) = set(named(study_of(epochs=1)).values())
    assert name.startswith("torch-")


def test_layer_one_in_the_kernels_counts_for_pytorchs_stacks(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_kernels()
    planned, _ = trials(study_of(epochs=1))
    data = prepare(planned[0].arm.settings)
    monkeypatch.setattr(bits, "arithmetic", lambda *_: "torch")
    sparse = _names(planned, data, "stacked"), _names(planned, data, "loop")
    monkeypatch.setattr(kernels, "why_not", lambda _: "none here")
    dense = _names(planned, data, "stacked"), _names(planned, data, "loop")
    assert sparse[0] != dense[0]
    assert sparse[1] == dense[1]


def test_kernels_of_images_count_for_stacks_of_networks(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, seen = study_of(epochs=1, architecture="lenet5"), []
    for identity in ("0123456789", "9876543210", ""):
        monkeypatch.setattr(image_kernels, "identity", lambda of=identity: of)
        seen.append([next(iter(named(study, engine).values())) for engine in ("stacked", "loop")])
    stacked, loop = zip(*seen, strict=True)
    assert len(set(stacked)) == 3
    assert len(set(loop)) == 1


def test_a_gpus_name_says_the_kind_of_steps_and_the_resident_kernel(
    study_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimpleNamespace(name="H100", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(nvrtc, "identity", lambda: "a text")
    planned, _ = trials(study_of({"activation": ["relu", "gelu"]}, epochs=1))
    data = prepare(planned[0].arm.settings)

    def names(steps: str) -> set[str]:
        return set(bits.of_trials("stacked", planned, data, "cuda:0", (), steps))

    graphs, resident = names("graphs"), names("resident")
    assert re.fullmatch(r"torch-[0-9.]+[a-z0-9]*-graphs-[0-9a-f]{8}", "".join(graphs))
    pattern = r"torch-[0-9.]+[a-z0-9]*-resident-[0-9a-f]{8}\+[0-9a-f]{6}"
    assert len(resident) == 2
    assert all(re.fullmatch(pattern, name) for name in resident)
    monkeypatch.setattr(nvrtc, "identity", lambda: "another")
    assert not names("resident") & resident
    assert names("graphs") == graphs


def test_the_resident_kernels_identity_is_of_its_text_options_and_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = set()
    for name, value in (
        ("version", lambda: "13.0"),
        ("version", lambda: "12.8"),
        ("OPTIONS", ("--std=c++17",)),
    ):
        monkeypatch.setattr(nvrtc, name, value)
        found.add(nvrtc.identity.__wrapped__())
    monkeypatch.setattr(sources, "digest", lambda: "another text")
    assert len(found | {nvrtc.identity.__wrapped__()}) == 4


def _names(planned: list[Trial], data: Data, engine: str) -> list[str]:
    return bits.of_trials(engine, planned, data, "cpu", ())
