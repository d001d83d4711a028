"""Options of `nox -s bench`: a pytest plugin, because only those may be given before tests are collected."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which peers, which cells, how long."""
    group = parser.getgroup("side by side")
    group.addoption(
        "--all", action="store_true", help="every shape, batch size, optimizer and number of trials"
    )
    group.addoption("--only", default="", help="peers, such as jax,harness (the harness always takes part)")
    group.addoption(
        "--cells", default="", help="BATCH:OPTIMIZER[:WIDTHS[:TRIALS]], such as 32:sgd,16:adam:200:8"
    )
    group.addoption("--epochs", type=int, default=3, help="of the trials of --cells")
    group.addoption("--rounds", type=int, default=3, help="at most")
    group.addoption(
        "--minutes", type=float, help="no further round begins that would pass it (15; none with --all)"
    )
    group.addoption("--counts", help="numbers of short trials, such as 10,100 (none: 0)")
    group.addoption(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="of peers that can use a GPU"
    )
    group.addoption("--out", default="results/bench", help="the folder for tables and figure")
