"""Latency as a cost: measured once a network by onnxruntime, kept in the folder, told where it cannot be."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import reporting
from harness.errors import UsageError
from harness.reporting.search import data as search_data
from harness.reporting.search import page as search_page
from harness.searching import checks, latency, loop
from harness.searching.latency import Latencies, Latency
from harness.settings.schema import LATENCY
from harness.study.reading import parse
from harness.study.study import Study
from harness.study.trials import settings_of
from harness.system import machine

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")),
    reason="needs the extra latency",
)


def study(
    space: dict[str, Any] | None = None, baseline: dict[str, Any] | None = None, **search: Any
) -> Study:
    usual = {"suggestions": 4, "batch": 2, "objective": ["val_accuracy", "latency"], "finalists": 1}
    return parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 1},
            "baseline": {
                "dataset": "digits",
                "hidden": [8],
                "epochs": 1,
                "batch_size": 200,
                **(baseline or {}),
            },
            "search": {**usual, **search},
            "space": space or {"lr": [0.03, 0.3], "hidden": [[8], [16], [32]]},
        }
    )


def by_size(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a network take a microsecond a hidden unit; returns the networks that are measured, in turn."""
    measured: list[str] = []

    def measure(settings: Any) -> Latency:
        measured.append(str(settings["hidden"]))
        return Latency(float(sum(settings["hidden"])), 1.0, 99.0, 30, measured[-1], "a-host", "1.0")

    monkeypatch.setattr(latency, "measure", measure)
    monkeypatch.setattr(latency, "missing", list)
    return measured


@installed
@pytest.mark.parametrize(
    "baseline",
    [
        {"activation": "gelu", "head": "softmax"},
        {"norm": "batch", "dropout": 0.2},
        {"architecture": "cnn", "channels": [4, 8], "norm": "batch"},
        {"architecture": "resnet", "channels": 4},
    ],
)
def test_a_network_is_measured_without_its_training(baseline: dict[str, Any]) -> None:
    hidden = {} if "architecture" in baseline else {"hidden": [8]}
    given = {"dataset": "digits", "epochs": 1, **hidden, **baseline}
    settings = settings_of(parse({"study": {"name": "s"}, "baseline": given}))
    measured = latency.measure(settings)
    assert 0 < measured.low <= measured.microseconds <= measured.high
    assert measured.runs >= latency.FEWEST
    assert measured.host
    assert measured.onnxruntime


@installed
def test_a_search_for_accuracy_and_latency_has_a_front(tmp_path: Path) -> None:
    result = loop.search(study(), tmp_path / "s", workers=1)
    table = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    kept = json.loads((tmp_path / "s" / LATENCY).read_text())["networks"]
    assert result.winner is not None
    assert set(table["latency"]) <= {entry["microseconds"] for entry in kept.values()}
    page = search_page.sections(search_data.read(reporting.read(tmp_path / "s")))
    words = " ".join(next(section for section in page if section.name == "searched").words)
    assert f"on one thread of {machine.host()}, by onnxruntime" in words
    assert "measured once, with new weights" in words


def test_a_network_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = by_size(monkeypatch)
    given = study()
    small, large = settings_of(given), settings_of(given, {"hidden": [16]})
    kept = Latencies(tmp_path)
    assert [kept.of(small), kept.of(large), kept.of(small)] == [8, 16, 8]
    assert Latencies(tmp_path).of(settings_of(given, {"lr": 0.5, "hidden": [16]})) == 16  # lr decides nothing
    assert measured == ["[8]", "[16]"]
    assert Latencies(tmp_path).of(settings_of(given, {"activation": "tanh"})) == 8
    assert len(measured) == 3
    entry = next(iter(json.loads((tmp_path / LATENCY).read_text())["networks"].values()))
    assert (entry["host"], entry["runs"], entry["low"], entry["high"]) == ("a-host", 30, 1.0, 99.0)


@pytest.mark.parametrize(
    "content", ["{", '{"networks": {"a": {"microseconds": 1}}}', "[]", '{"networks": 3}']
)
def test_a_damaged_file_is_told_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    by_size(monkeypatch)
    (tmp_path / LATENCY).write_text(content)
    assert Latencies(tmp_path).of(settings_of(study())) == 8
    assert "its networks are measured again" in caplog.text
    assert json.loads((tmp_path / LATENCY).read_text())["networks"]


@pytest.mark.parametrize(
    "search", [{}, {"objective": "val_accuracy", "constraints": {"latency": 20}}], ids=["objective", "bound"]
)
def test_packages_that_are_not_installed_are_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: dict[str, Any]
) -> None:
    monkeypatch.setattr(latency, "missing", lambda: ["onnx", "onnxruntime"])
    with pytest.raises(
        UsageError, match=r"onnx and onnxruntime are not installed.*pip install onnx onnxruntime"
    ):
        loop.search(study(**search), tmp_path / "s", workers=1)
    assert not (tmp_path / "s").exists()


def test_a_bound_of_latency_is_kept_and_what_nothing_keeps_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_size(monkeypatch)
    one: dict[str, Any] = {"objective": "val_accuracy", "sampler": "tpe"}
    with pytest.raises(UsageError, match=r"keeps latency = 7; the smallest of all points has latency = 8\."):
        checks.check(study(constraints={"latency": 7}, **one))
    loop.search(study(constraints={"latency": 20}, **one), tmp_path / "s", workers=1)
    table = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    assert len(table) == 4
    assert table["latency"].tolist() == [float(width.strip("[]")) for width in table["hidden"]]
    assert table["latency"].max() == 16


def test_a_search_that_goes_on_finds_the_latencies_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_size(monkeypatch)
    loop.search(study(suggestions=2), tmp_path / "s", workers=1)
    before = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    monkeypatch.setattr(latency, "measure", lambda _: Latency(500.0, 1.0, 999.0, 30, "", "b-host", "1.0"))
    loop.search(study(suggestions=4), tmp_path / "s", workers=1)
    after = pd.read_csv(tmp_path / "s" / "suggestions.csv")
    assert after["latency"][:2].tolist() == before["latency"].tolist()
    known = dict(zip(before["hidden"], before["latency"], strict=True))
    assert all(known.get(row["hidden"], 500) == row["latency"] for row in after.to_dict("records"))


@installed
def test_a_network_that_onnx_does_not_have_is_told() -> None:
    import torch

    from harness.axes.activations import activations

    @activations.register("no_onnx")
    def no_onnx(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.special.bessel_j0(x)
        return result

    try:
        with pytest.raises(UsageError, match="latency of mlp with no_onnx cannot be measured"):
            latency.measure(settings_of(study(baseline={"activation": "no_onnx"})))
    finally:
        activations.remove("no_onnx")
