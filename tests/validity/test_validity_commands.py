"""The commands of `nox -s validity`: what they write and show, and how they end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aa_rates
import click
import numpy as np
import pandas as pd
import pytest
import validity_commands

from harness.errors import UsageError

SOURCE: Any = SimpleNamespace(
    provenance={"cpu": "A processor", "cores": 2, "runs": []},
    study={"study": {"name": "pool"}}, trials=pd.DataFrame({"seed": range(1200)}),
)  # fmt: skip


def rates(events: int) -> pd.DataFrame:
    """The rate of an interval that held in so many of 2,000 studies, where 95 % are right."""
    held = np.arange(2000) < events
    return aa_rates.table([aa_rates.counted(aa_rates.COVERAGE, "x", 5, held, 0.95, 0.95)])


def test_what_was_measured_is_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = {"rates": rates(1900), "seeds": pd.DataFrame({"seeds": [5]})}
    validity_commands.show(tmp_path, tables, "rates.txt", ["Coverage", "All within bounds."], [SOURCE])
    assert pd.read_csv(tmp_path / "rates.csv")["events"].tolist() == [1900]
    assert pd.read_csv(tmp_path / "seeds.csv")["seeds"].tolist() == [5]
    text = (tmp_path / "rates.txt").read_text()
    assert text.startswith("Coverage\nAll within bounds.\n\npool: 1,200 trials\n  A processor, 2 cores")
    said = capsys.readouterr().out
    assert "Coverage\nAll within bounds.\n" in said
    assert f"in {tmp_path}: rates.csv, seeds.csv, rates.txt" in said


def test_a_rate_out_of_bounds_ends_with_exit_code_1(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        validity_commands.show(tmp_path, {"rates": rates(1500)}, "rates.txt", [], [SOURCE])
    assert stopped.value.code == 1
    assert (tmp_path / "rates.csv").is_file()


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (UsageError("no such pool"), 2, "error: no such pool"),
        (click.UsageError("no such option"), 2, "no such option"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
    ids=["error", "option", "interrupted"],
)
def test_what_stops_a_command_is_said(
    fault: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    @click.command()
    def measure() -> None:
        raise fault

    monkeypatch.setattr("sys.argv", ["measure"])
    with pytest.raises(SystemExit) as stopped:
        validity_commands.main(measure)
    assert stopped.value.code == code
    assert words in capsys.readouterr().err
