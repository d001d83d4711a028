"""`nox -s bench`: all peers side by side, into results/bench. `nox -s bench -- --help` has its options."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import bench_figure
import cells
import pytest
import ratios
import side_by_side
import torch
from cells import Selection
from peers import HARNESS

from harness.errors import UsageError
from harness.plots.style import save


def selection(config: pytest.Config) -> Selection:
    """What was asked for; without the plugin `bench_options`, the default."""

    def given(name: str, default: Any) -> Any:
        return config.getoption(name, default=default)

    everything = bool(given("--all", False))
    asked = Selection(device=device(given("--device", "auto")), out=Path(given("--out", "results/bench")))
    if everything:
        asked = dataclasses.replace(
            asked, cells=cells.EVERY, counts=cells.COUNTS, everywhere=True, minutes=float("inf")
        )
    if only := given("--only", ""):
        asked = dataclasses.replace(asked, peers=cells.chosen_peers(only), everywhere=True)
    if told := given("--cells", ""):
        chosen = cells.chosen_cells(told, given("--epochs", 3))
        asked = dataclasses.replace(asked, cells=chosen, counts=(), everywhere=True)
    if (counts := given("--counts", None)) is not None:
        if not all(n.strip().isdecimal() for n in counts.split(",")):
            raise UsageError(f"--counts {counts!r}: allowed are numbers of trials, such as 10,100, or 0")
        numbers = tuple(int(n) for n in counts.split(",") if int(n))
        asked = dataclasses.replace(asked, counts=numbers)
    minutes = given("--minutes", None)
    minutes = asked.minutes if minutes is None else minutes
    return dataclasses.replace(asked, rounds=given("--rounds", 3), minutes=minutes)


def device(asked: str) -> str:
    """cuda where there is one and it is wanted."""
    if asked == "cuda" or (asked == "auto" and torch.cuda.is_available()):
        return "cuda"
    return "cpu"


def test_side_by_side(
    benchmark: Any, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = selection(request.config)
    with capsys.disabled():
        print()
        if asked.device == "cpu" and not torch.cuda.is_available():
            print("no CUDA device: everything is measured on the CPU, and nothing is said about GPUs")
        rounds, accuracies = benchmark.pedantic(side_by_side.run, args=(asked,), rounds=1)
        asked.out.mkdir(parents=True, exist_ok=True)
        rounds.to_csv(asked.out / "rounds.csv", index=False)
        accuracies.to_csv(asked.out / "accuracies.csv", index=False)
        summary = ratios.summary(rounds)
        summary.to_csv(asked.out / "summary.csv", index=False)
        ratios.costs(rounds).to_csv(asked.out / "costs.csv", index=False)
        ratios.show(rounds)
        png, _ = save(bench_figure.figure(rounds), asked.out / "bench")
        print(f"rounds.csv, summary.csv, costs.csv, accuracies.csv, {png.name} in {asked.out}")
    medians = summary[summary["peer"].ne(HARNESS)]
    benchmark.extra_info["ratios"] = {
        f"{row['cell']}: {row['peer']}": row["ratio"] for row in medians.to_dict("records")
    }
    failed = {peer: why for peer, why in ratios.timed_not(rounds).items() if "not installed" not in why}
    assert not failed
