"""A bar in a notebook's cell: one place, whose last state stays and is right."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from harness import notes
from harness.notes import notebook, progress_bar


class Cells:
    """Stands for IPython.display: what each place of a cell shows now, and how often it was drawn."""

    def __init__(self) -> None:
        self.places: list[dict[str, str]] = []
        self.drawn = 0
        self.broken = False

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Place:
        assert raw
        assert display_id
        self.places.append({})
        place = Place(self, len(self.places) - 1)
        place.update(bundle, raw=True)
        return place


class Place:
    def __init__(self, cells: Cells, number: int) -> None:
        self.cells, self.number = cells, number

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        if self.cells.broken:
            raise OSError("the kernel's socket is closed")
        self.cells.drawn += 1
        self.cells.places[self.number] = bundle


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    """A process that seems to be a notebook's kernel."""
    shown, ipython, display = Cells(), ModuleType("IPython"), ModuleType("IPython.display")
    shell = type("Shell", (), {"kernel": None})()
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    display.display = shown.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress_bar, "FRAME_EVERY", 0.01)
    level = notes.logger.level
    yield shown
    notes.logger.setLevel(level)


def text(cells: Cells) -> str:
    (place,) = cells.places
    return place["text/plain"]


def until(cells: Cells, drawn: int) -> None:
    for _ in range(500):
        if cells.drawn >= drawn:
            return
        time.sleep(0.01)
    raise AssertionError(f"drawn {cells.drawn} times")


def test_a_bar_is_drawn_in_one_place_and_ends_at_all_done(cells: Cells) -> None:
    done: list[Any] = []
    with progress_bar.shown("training", "trials", 3, lambda: len(done), lambda: "loss 0.1"):
        until(cells, 2)
        assert text(cells) == "training: 0/3 trials \u00b7 loss 0.1"
        done += [1, 2]
        until(cells, cells.drawn + 2)
        assert "training: 2/3 trials \u00b7 " in text(cells)
        assert "ETA 0:0" in text(cells)
        done += [3]
    assert text(cells).startswith("training: 3/3 trials \u00b7 ")
    assert "done in" in text(cells)
    assert "<progress value='3.000' max='3'>" in cells.places[0]["text/html"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_raises_leaves_what_was_done(cells: Cells, error: type[BaseException]) -> None:
    with pytest.raises(error), progress_bar.shown("training", "trials", 3, lambda: 1):
        raise error
    assert text(cells).startswith("training: 1/3 trials \u00b7 stopped after")


def test_short_work_is_shown_at_its_end_unless_it_may_be_over_unseen(cells: Cells) -> None:
    with progress_bar.shown("training", "trials", 1, lambda: 1):
        pass
    assert "1/1 trials" in text(cells)
    with progress_bar.shown("reading", "images", 1, lambda: 1, delay=5):
        pass
    assert len(cells.places) == 1


def test_names_are_shown_as_they_are(cells: Cells) -> None:
    with progress_bar.shown("<b>bold</b>", "trials", 1, lambda: 1, lambda: "a < b"):
        until(cells, 1)
        assert "&lt;b&gt;bold" in cells.places[0]["text/html"]
        assert "a &lt; b" in cells.places[0]["text/html"]


def test_a_closed_output_stops_nothing(cells: Cells) -> None:
    with progress_bar.shown("training", "trials", 1, lambda: 1):
        until(cells, 1)
        cells.broken = True
        time.sleep(0.05)


def test_a_notebook_can_hide_progress(cells: Cells) -> None:
    logging.getLogger("harness").setLevel("WARNING")
    with progress_bar.shown("training", "trials", 1, lambda: 1):
        time.sleep(0.05)
    assert not cells.places


def test_ipython_on_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert notebook.ipython_display() is None  # half imported
    terminal = object()
    ipython.get_ipython = lambda: terminal  # type: ignore[attr-defined]
    assert notebook.ipython_display() is None
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    assert notebook.ipython_display() is None


@pytest.mark.parametrize("in_cell", [True, False])
def test_a_command_in_a_cell_writes_lines_though_it_has_a_terminal(
    in_cell: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(notebook, "ipython_display", lambda: None)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    if in_cell:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
    drawn: list[str] = []
    monkeypatch.setattr(progress_bar, "_draw_bar", lambda *_: drawn.append("bar"))
    monkeypatch.setattr(progress_bar, "_write_lines", lambda *_: drawn.append("lines"))
    with progress_bar.shown("writing", "images", 3, lambda: 3.0):
        pass
    assert drawn == ["lines" if in_cell else "bar"]
