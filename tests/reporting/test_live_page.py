"""The live page in a browser while a real run trains, which waits at gates: no speed decides anything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import console_errors, needs_browser, opened

import harness
from harness.reporting.live import state as live_state
from harness.results import progress_file
from harness.system import locks

ROOT = Path(__file__).parents[2]
BAD = "<script>document.title='owned'</script><b>bold</b>"
STUDY = f"""
[study]
name = "gated"
hypothesis = "Names <i>are</i> inert."
seeds = 2
[baseline]
dataset = "digits"
hidden = [32]
epochs = 8
[axes]
choice = [
    {{ name = "{BAD}", lr = 1e30 }},
    {{ name = "sound", lr = 0.1 }},
    {{ name = "broken", lr = 0.2, batch_size = 8 }},
]
"""
PROGRAM = """
import sys, time
from pathlib import Path
from harness.training import progress

whole = progress.ProgressWriter.__call__


def gated(self, fraction, outcome):
    whole(self, fraction, outcome)
    if self.place == 0:  # the longest stack, of the smaller batches
        raise RuntimeError("no <b>luck</b>")
    for gate in (0.25, 0.75):
        while fraction >= gate and not Path(f"pass-{gate}").exists():
            time.sleep(0.01)


progress.ProgressWriter.__call__ = gated
from harness.cli.main import main

if __name__ == "__main__":
    main()
"""


@contextmanager
def gated_run(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the study in a process of its own, which waits at each gate until its file is there."""
    (folder / "study.toml").write_text(STUDY)
    (folder / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "program.py", "run", "study.toml", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        try:
            wait_for(lambda: locks.is_held(folder / "results/gated"), run)
            yield run
        finally:
            run.kill()


def wait_for(ready: Callable[[], Any], run: subprocess.Popen[bytes] | None = None) -> Any:
    """Wait until something is so; fail if the run ends before."""
    for _ in range(1500):
        if found := ready():
            return found
        assert run is None or run.poll() is None, "the run has ended"
        time.sleep(0.02)
    raise AssertionError("it never was so")


class Page:
    """The live page in a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def text(self, name: str) -> str:
        return str(self.driver.find_element("id", name).text)

    @property
    def share(self) -> float:
        return float(self.driver.find_element("id", "bar").get_property("value"))

    def ask(self, code: str) -> Any:
        return self.driver.execute_script(f"return {code}")


@contextmanager
def watched(folder: Path, browser: Path) -> Iterator[tuple[Page, Any]]:
    """A folder's live page on a small screen, and what serves it."""
    with harness.watch(folder, port=0) as served, opened(served.address, browser, 400, 800) as driver:
        yield Page(driver), served


@needs_browser
def test_a_run_is_watched_from_its_start_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "results/gated"
    with gated_run(tmp_path) as run, watched(folder, tmp_path / "browser") as (page, served):
        endings = f"{BAD}, seed 0: diverged", "broken, seed 1: failed: "
        wait_for(lambda: all(ending in page.text("phases") for ending in endings), run)
        assert "no <b>luck</b>" in page.text("phases")
        wait_for(lambda: "in training" in page.text("status"), run)
        share = page.share
        assert 0.1 < share < 0.3  # two of six failed, four are at a quarter
        assert page.ask("document.querySelectorAll('#phases b, #phases script').length") == 0
        assert page.text("hypothesis") == "Hypothesis. Names <i>are</i> inert."
        wait_for(lambda: page.ask("document.querySelectorAll('canvas').length"), run)
        page.driver.execute_script("window.scrollTo(0, 300)")
        (tmp_path / "pass-0.25").touch()
        wait_for(lambda: page.share > share, run)
        assert page.ask("window.scrollY") == 300
        assert page.ask("document.documentElement.scrollWidth") <= 400
        (tmp_path / "pass-0.75").touch()
        wait_for(lambda: "The run is over" in page.text("status"))
        assert run.wait() == 1
        assert "2 failed. The same command tries the failed ones again." in page.text("status")
        assert f"harness report {folder}" in page.text("report")
        assert page.driver.title == "over: gated"
        (folder / "report.html").write_text("<title>the report</title>")
        wait_for(lambda: page.driver.find_elements("link text", "report.html"))
        assert console_errors(page.driver) == []
        served.close()
        wait_for(lambda: "cannot be reached" in page.text("gone"))
        assert "The run is over" in page.text("status")


def test_a_killed_run_is_told_and_leaves_nothing_once_it_was_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "results/gated"
    with gated_run(tmp_path) as run:
        wait_for(lambda: progress_file.read(folder), run)
        assert "in training" in str(live_state.LiveState(folder).content())
        run.kill()
    assert progress_file.read(folder)
    state = live_state.LiveState(folder)
    content, _ = state.content()
    assert b"it was killed" in content
    assert b'"going": false' in content
    for gate in ("0.25", "0.75"):
        (tmp_path / f"pass-{gate}").touch()
    with gated_run(tmp_path) as run:
        assert run.wait() == 1
    assert not list(folder.rglob(progress_file.FILE))
    assert not list(folder.rglob(".tmp-*"))


@pytest.mark.parametrize("name", ["results", "file", "empty"])
def test_what_is_no_results_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(harness.errors.UsageError, match=f"{name} is "):
        harness.watch(tmp_path / name, 0)
