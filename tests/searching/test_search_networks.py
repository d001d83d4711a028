"""Searches of convolutional networks: what is told before anything is trained, and a search to its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import reporting
from harness.cli import search_output
from harness.errors import UsageError
from harness.reporting.search import data as search_data
from harness.reporting.search import tables as search_tables
from harness.searching import checks, networks
from harness.study.space import layers_of
from harness.study.study import Study


def study(space: dict[str, Any], search: dict[str, Any] | None = None, **baseline: Any) -> Study:
    return harness.parse(
        {
            "study": {"name": "s", "design": "search", "seeds": 2},
            "search": {"suggestions": 8, "batch": 4, "sampler": "random", **(search or {})},
            "baseline": {
                "dataset": "digits",
                "epochs": 3,
                "batch_size": 200,
                "architecture": "cnn",
                **baseline,
            },
            "space": space,
        }
    )


def test_corners_are_the_deepest_networks_and_the_ends_of_ranges() -> None:
    found = study(
        {
            "lr": {"low": 0.1, "high": 0.2},
            "channels": {"depth": {"low": 1, "high": 3}, "width": {"low": 4, "high": 9}},
            "kernel": {"low": 3, "high": 7, "step": 2},
            "norm": ["none", "batch"],
        }
    )
    got = {(str(c["channels"]), c["kernel"], c["norm"]) for c in networks.corners(found)}
    assert got == {
        (channels, kernel, norm)
        for channels in ("[9, 9, 9]", "[9, 4, 9]")
        for kernel in (3, 7)
        for norm in ("none", "batch")
    }


def test_what_a_condition_names_is_among_the_corners() -> None:
    optimizers = {"optimizer": ["sgd", "adam"]}
    found = study({**optimizers, "kernel": {"values": [3, 5], "when": {"optimizer": ["adam"]}}})
    got = {(c["optimizer"], c["kernel"]) for c in networks.corners(found)}
    assert got == {("sgd", 3), ("adam", 3), ("adam", 5)}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"channels": {"depth": [2, 4], "width": [4, 8]}}, "halves images of 8 x 8 below one pixel"),
        ({"kernel": [3, 9]}, "kernel = 9 is larger than its images, 8 x 8"),
        (
            {"channels": {"depth": [1, 2], "width": [10**6, 8], "same": True}},
            r"channels = .* parameters; allowed",
        ),
        (
            {"architecture": ["mlp", "resnet"], "channels": {"low": 16, "high": 100_000}},
            r"channels = 100000, blocks = 1: .* parameters; allowed",
        ),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_are_told_before_anything_is_trained(
    space: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        checks.check(study({"lr": [0.1, 0.2], **space}))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_of_convolutional_networks_comes_to_its_end(tmp_path: Path, sampler: str) -> None:
    found = study(
        {
            "lr": {"low": 0.05, "high": 0.5, "log": True},
            "channels": {"depth": [1, 2], "width": [4, 8], "double": True},
            "norm": ["none", "batch"],
            "augmentation": ["none", "shift"],
            "shift_pixels": [1, 2],
        },
        {"sampler": sampler, "pruner": {"name": "halving", "first": 1, "reduction": 2}},
    )
    harness.search(found, tmp_path / "out", workers=1)
    rows = harness.read(tmp_path / "out").trials
    assert set(rows["status"]) == {"ok", "pruned"}
    assert set(rows["engine"]) == {"stacked"}
    assert rows["augmentation"].isin(["none", "shift"]).all()
    assert rows["shift_pixels"].notna().equals(rows["augmentation"].eq("shift"))
    assert {len(widths.split(",")) for widths in rows["channels"]} == {1, 2}
    confirmed = harness.read(tmp_path / "out" / "confirmed").trials
    assert set(confirmed["arm"]) == {"winner", "baseline"}
    assert confirmed["test_accuracy"].notna().all()


@pytest.mark.parametrize(
    ("how", "name", "widths"), [("double", "channels", [8, 16]), ("same", "hidden", [8, 8])]
)
def test_lists_that_a_depth_and_one_width_mean_are_shown_of_the_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, name: str, widths: list[int]
) -> None:
    space = {name: {"depth": {"low": 1, "high": 2}, "width": [8, 12], how: True}}
    network = "cnn" if name == "channels" else "mlp"
    given = study(space, {"suggestions": 4, "finalists": 1}, architecture=network, epochs=1)
    found = harness.search(given, tmp_path / "found", workers=1)
    drawn = {f"{name}.depth": 2, f"{name}.width": "8"}
    number = next(number for number, trial in enumerate(found.trials) if trial.params == drawn)
    search_output.show_results(replace(found, winner=number), given)
    told = f"winner: suggestion {number}, {name}.depth 2, {name}.width 8, {name} {widths}"
    assert told in capsys.readouterr().out
    search = search_data.read(reporting.read(found.folder))
    row = search.suggestions.iloc[number]
    assert search_tables.settings_words(search, row).endswith(f"{name}.width = 8; {name} = {widths}")
    shown = search_tables.best(search, row)
    assert [cell.text for cell in shown.rows[-1]][:2] == [name, str(widths)]
    assert shown.data is not None
    assert shown.data["value"].iloc[-1] == str(widths)
    best = search.chosen
    assert best is not None
    page = reporting.write(found.folder).read_text(encoding="utf-8")
    assert f"{name} = {search.layers(best)[name]}" in page


def test_lists_whose_widths_are_all_drawn_are_not_shown_twice() -> None:
    table = {"hidden": {"depth": [0, 2], "width": [8, 16]}}
    assert layers_of(table, {"hidden.depth": "2", "hidden.width.1": "8", "hidden.width.2": "16"}) == {}
    same = {"hidden": {"depth": [0, 2], "width": [8, 16], "same": True}}
    assert layers_of(same, {"hidden.depth": "0"}) == {"hidden": []}
    assert layers_of(same, {"lr": 0.1}) == {}
    for damaged in (float("inf"), "wide", 10**9, None):
        assert layers_of(same, {"hidden.depth": damaged, "hidden.width": 8}) == {}
