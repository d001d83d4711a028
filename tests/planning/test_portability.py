"""Portable bits: what cannot give them is refused before training, in words; what can gives its own rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from click.testing import CliRunner
from torch import Tensor

from harness import searching, training
from harness.axes.activations import activations
from harness.axes.metrics import metrics
from harness.axes.optimizers import optimizers
from harness.axes.schedules import Clock, schedules
from harness.cli.main import harness
from harness.data.preprocessing import Pixels, preprocessings
from harness.engines import kernels
from harness.errors import MachineError, UsageError
from harness.lowering import builds, checks, compiler
from harness.planning import portability
from harness.planning.plan import draw
from harness.study.reading import parse
from harness.study.study import Study
from harness.training import runs

StudyOf = Callable[..., Study]


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled code is used without a test, which takes seconds and is not what is tested here."""
    monkeypatch.setenv(compiler.SWITCH, "on")
    kernels.forget()
    checks.forget()
    yield
    monkeypatch.undo()
    kernels.forget()
    checks.forget()


def refusal(study: Study) -> str:
    with builds.using("portable"), pytest.raises(UsageError) as refused:
        portability.check(draw(study).trials, study.metrics)
    return str(refused.value)


def test_built_in_components_of_every_kind_are_portable(study_of: StudyOf) -> None:
    axes: dict[str, Any] = {"activation": [entry.name for entry in activations]}
    axes["optimizer"] = [entry.name for entry in optimizers]
    study = study_of(
        axes, study={"metrics": [entry.name for entry in metrics]}, hidden=[300], schedule="cosine"
    )
    with builds.using("portable"):
        portability.check(draw(study).trials, study.metrics)


def test_components_that_call_the_c_library_or_are_not_compiled(study_of: StudyOf) -> None:
    @activations.register("waving")
    def waving(x: Tensor) -> Tensor:
        return x + torch.sin(x) ** 2

    @activations.register("noisy")
    def noisy(x: Tensor) -> Tensor:
        return x + torch.randn_like(x)

    @activations.register("bent")
    def bent(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.5 * x)

    words = refusal(study_of({"activation": ["waving", "noisy", "bent", "relu"]}))
    assert "nothing was run" in words
    assert "'waving'" in words
    assert "calls the C library's cos, sin, whose last bits differ from library to library" in words
    assert "'noisy'" in words
    assert "is not compiled: aten.randn_like: random numbers" in words
    assert "bent" not in words
    assert words.endswith("Take --bits native, or components and shapes that are portable")


def test_functions_that_are_not_compiled_at_all(study_of: StudyOf) -> None:
    @schedules.register("decaying")
    def decaying(clock: Clock) -> np.ndarray[Any, Any]:
        return np.exp(-clock.epoch)

    @preprocessings.register("rooted")
    def rooted(x: Pixels) -> Pixels:
        return np.sqrt(x)

    words = refusal(study_of(schedule="decaying", preprocessing="rooted"))
    assert "schedule 'decaying'" in words
    assert "preprocessing 'rooted'" in words
    assert words.count("cannot be seen") == 2


def test_normal_initial_weights_are_drawn_by_the_c_library(study_of: StudyOf) -> None:
    words = refusal(study_of({"initial_weights": ["glorot_uniform", "he_normal", "lecun_1998", "normal"]}))
    assert words.count("draws normal numbers by the C library's exp and log") == 2
    assert "'he_normal'" in words
    assert "'normal'" in words


def test_of_many_reasons_some_are_told(study_of: StudyOf) -> None:
    for number in range(9):
        activations.register(f"wave{number}")(lambda x, n=number: torch.sin(x + n))
    words = refusal(study_of({"activation": [f"wave{number}" for number in range(9)]}))
    assert words.count("sin") == portability.MOST_TOLD
    assert "and 3 more" in words


def test_compiled_code_that_is_switched_off(study_of: StudyOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.SWITCH, "off")
    assert "switched off by HARNESS_KERNELS" in refusal(study_of())


def test_a_machine_without_a_compiler(
    study_of: StudyOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    kernels.forget()
    with pytest.raises(MachineError, match="no-such-compiler") as failed:
        runs.train(study_of(), tmp_path / "results", bits="portable")
    assert "--bits native" in str(failed.value)
    assert not (tmp_path / "results" / "parts").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--engine", "loop"), "--bits portable with --engine loop"),
        (("--engine", "numpy"), "--bits portable with --engine numpy"),
        (("--device", "cuda"), "--bits portable with --device cuda"),
        (("--set", "hidden=[8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8]"), "31 layers"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_commands_refuse(
    command: str, options: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["choices", "--bits", "portable", "--set", "dataset=digits", *options]
    done = CliRunner().invoke(harness, [command, *given])
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_bits_of_no_name(study_of: StudyOf, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'portable'"):
        training.run(study_of(), tmp_path / "results", bits="portabel")  # type: ignore[arg-type]
    assert CliRunner().invoke(harness, ["run", "choices", "--bits", "exact"]).exit_code == 2


def rows(folder: Path) -> tuple[str, str]:
    return (folder / "epochs.csv").read_text(), (folder / "confusion.csv").read_text()


@pytest.mark.usefixtures("a_stack_a_seed")
def test_workers_and_stacks_change_no_portable_bit(study_of: StudyOf, tmp_path: Path) -> None:
    """Also workers that are spawned, which are told their bits: torch, imported here, forbids a fork."""
    study = study_of({"activation": ["tanh", "gelu"]}, hidden=[40, 20], batch_size=10, lr=0.5, epochs=4)
    folders = {}
    for name, options in (("one", {"workers": 1}), ("two", {"workers": 2}), ("native", {"bits": "native"})):
        folders[name] = tmp_path / name
        chosen: dict[str, Any] = {"bits": "portable", "workers": 1, **options}
        training.run(study, folders[name], **chosen)
    assert rows(folders["one"]) == rows(folders["two"])
    assert rows(folders["one"]) != rows(folders["native"])
    about = json.loads((folders["one"] / "provenance.json").read_text())
    assert about["bits"] == about["runs"][0]["bits"] == "portable"


def test_rows_of_other_bits_are_not_mixed(study_of: StudyOf, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shape: dict[str, Any] = {"hidden": [40, 20], "batch_size": 10, "lr": 0.5, "epochs": 4}
    two, three = study_of(**shape), study_of(study={"seeds": 3}, **shape)
    runs.train(two, folder, workers=1)
    with pytest.raises(UsageError, match="2 finished trials of a run with --bits native"):
        runs.train(two, folder, workers=1, bits="portable")
    assert "portable-" not in (folder / "trials.csv").read_text()
    assert runs.train(two, folder, workers=1, bits="portable", retrain=True).trained == 2
    assert (folder / "trials.csv").read_text().count(",portable-") == 2
    assert runs.train(two, folder, workers=1, bits="portable").trained == 0
    assert runs.train(two, folder, workers=1).trained == 0  # which mixes nothing
    with pytest.raises(UsageError, match="2 finished trials of a run with --bits portable"):
        runs.train(three, folder, workers=1)
    assert runs.train(three, folder, workers=1, bits="portable").trained == 1


def test_a_plan_refuses_the_bits_that_a_run_would(tmp_path: Path) -> None:
    study, folder = tmp_path / "small.toml", tmp_path / "results"
    small = {"dataset": "digits", "hidden": [4], "epochs": 1}
    study.write_text(tomli_w.dumps({"study": {"name": "small", "seeds": 1}, "baseline": small}))

    def command(name: str, *options: str) -> BaseException | None:
        given = [name, str(study), "--results", str(folder), *options]
        return CliRunner().invoke(harness, given).exception

    assert command("run", "--workers", "1") is None
    assert command("plan") is None
    refused = command("plan", "--bits", "portable")
    assert isinstance(refused, UsageError)
    assert str(refused) == str(command("run", "--bits", "portable"))


def test_rows_say_which_bits_they_have(study_of: StudyOf, tmp_path: Path) -> None:
    """Not the list of runs: one that was killed may have trained nothing, and the list may be lost."""
    folder = tmp_path / "results"
    two, three = study_of(), study_of(study={"seeds": 3})
    runs.train(two, folder, workers=1, bits="portable")
    path = folder / "provenance.json"
    killed = {"bits": "native"}  # it wrote no number of trials
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "runs": [killed, *about["runs"]]}))
    assert runs.train(three, folder, workers=1, bits="portable").trained == 1
    path.write_text("{")
    with pytest.raises(UsageError, match="3 finished trials of a run with --bits portable"):
        runs.train(study_of(study={"seeds": 4}), folder, workers=1)


SEARCH: dict[str, Any] = {
    "study": {"name": "small", "hypothesis": "h", "design": "search", "seeds": 1},
    "baseline": {"dataset": "digits", "epochs": 1, "hidden": [8]},
    "search": {"suggestions": 4, "batch": 2, "sampler": "random"},
    "space": {"activation": ["relu", "waving"], "lr": {"low": 0.01, "high": 1.0, "log": True}},
}


def test_a_search_is_refused_before_it_asks(tmp_path: Path) -> None:
    @activations.register("waving")
    def waving(x: Tensor) -> Tensor:
        return torch.cos(x)

    with pytest.raises(UsageError, match="calls the C library's cos"):
        searching.search(parse(SEARCH), tmp_path / "results", bits="portable")
    assert not (tmp_path / "results").exists()
    fine = {**SEARCH, "space": {**SEARCH["space"], "activation": ["relu", "tanh"]}}
    found = [tmp_path / name for name in ("one", "other")]
    for folder in found:
        searching.search(parse(fine), folder, workers=1, bits="portable")
    assert rows(found[0]) == rows(found[1])
    about = json.loads((found[0] / "provenance.json").read_text())
    assert about["runs"][0]["bits"] == "portable"
