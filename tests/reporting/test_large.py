"""The report of 10,000 trials: it is drawn, and its page can still be mailed.

What it takes is not asserted but measured: `tests/benchmarks/large_folder.py` says how.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import harness
from harness import reporting, results

SCRIPT = Path(harness.__file__).parents[1] / "tests" / "benchmarks" / "large_folder.py"


@pytest.mark.slow
def test_ten_thousand_trials_make_a_page_of_less_than_ten_megabytes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("large_folder", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    large = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(large)
    large.write(tmp_path / "large")
    found = results.read(tmp_path / "large")
    assert len(found.trials) == 10_000
    assert len(found.epochs) == 1_000_000
    page = reporting.write(tmp_path / "large", tmp_path / "page" / "report.html")
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 10_000_000
    assert "10000 trials finished" in text
    assert "Left out of this page" not in text
    for name in ("effects", "variance", "lr-digits", "calibration-digits"):
        assert (page.parent / "figures" / f"{name}.png").stat().st_size < 1_000_000
