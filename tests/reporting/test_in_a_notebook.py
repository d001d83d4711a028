"""In a real notebook: a figure a call, once; a bar that stays; results in a few lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.registry import PACKAGE_ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CELLS = {
    "last": "import harness\nharness.figures.images('digits', label=7)",
    "not last": "axes = harness.figures.images('digits', count=1)\naxes.set_title('mine')\nx = 3",
    "twice": "for _ in range(2):\n    harness.figures.function('gelu')",
    "beside pyplot": (
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(1, 2)\n"
        "harness.figures.function('relu', ax=axes[0]);"
    ),
    "left open": "print(plt.get_fignums())",
    "an error": "harness.figures.images('digits', number=70000)",
    "an error while drawing": (
        "from harness.gallery import dataset_pages\n"
        "dataset_pages.image_panel = lambda *given, **named: 1 / 0\n"
        "harness.figures.images('digits', number=7)"
    ),
    "a run": (
        "study = harness.parse("
        "{'study': {'name': 'small', 'seeds': 2}, 'baseline': {'dataset': 'digits', 'epochs': 2}})\n"
        "results = harness.run(study, 'small', workers=1)"
    ),
    "again": "results = harness.run(study, 'small', workers=1)",
    "results": "results",
    "a study": "study",
    "a plan": "harness.plan(study)",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of each cell, run in a kernel one after the other."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS.values()])
    folder = tmp_path_factory.mktemp("notebook")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    environment.pop("MPLBACKEND", None)
    client = nbclient.NotebookClient(
        notebook,
        timeout=180,
        startup_timeout=180,
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return {name: list(cell.outputs) for name, cell in zip(CELLS, notebook.cells, strict=True)}


def images(cell: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell)


def html(cell: list[Any]) -> str:
    (page,) = [output["data"]["text/html"] for output in cell if "text/html" in output.get("data", {})]
    return str(page)


@pytest.mark.parametrize(
    ("cell", "count"), [("last", 1), ("not last", 1), ("twice", 2), ("beside pyplot", 1), ("left open", 0)]
)
def test_a_figure_appears_once(outputs: dict[str, list[Any]], cell: str, count: int) -> None:
    assert images(outputs[cell]) == count
    assert not [output for output in outputs[cell] if output["output_type"] == "error"]
    assert not [output for output in outputs[cell] if output.get("name") == "stderr"]


def test_the_value_of_a_cell_is_one_line(outputs: dict[str, list[Any]]) -> None:
    (value,) = [output for output in outputs["last"] if output["output_type"] == "execute_result"]
    assert value["data"]["text/plain"] == "an array of 10 Axes"
    assert outputs["left open"][0]["text"] == "[]\n"


def test_a_figure_that_cannot_be_drawn_is_not_shown(outputs: dict[str, list[Any]]) -> None:
    for cell, said in (("an error", "numbers 0 to 1,436"), ("an error while drawing", "division by zero")):
        (error,) = outputs[cell]
        assert error["output_type"] == "error"
        assert said in error["evalue"]


def test_a_run_shows_a_bar_that_stays_and_says_when_nothing_is_left(outputs: dict[str, list[Any]]) -> None:
    assert "2/2 trials" in html(outputs["a run"])
    assert "done in" in html(outputs["a run"])
    (said,) = outputs["again"]
    assert said["text"] == "training: nothing is left to train\n"


def test_results_studies_and_plans_are_told_in_short(outputs: dict[str, list[Any]]) -> None:
    assert "2 trials, 2 ok" in html(outputs["results"])
    assert "val accuracy" in html(outputs["results"])
    assert "study small" in html(outputs["a study"])
    assert "1 arm x 2 seeds = 2 trials" in html(outputs["a plan"])
    assert not Path("small").exists()
