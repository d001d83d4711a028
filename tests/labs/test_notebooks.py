"""The labs' notebooks run on digits from the first cell to the last, and use public names alone."""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import notebooks
import pytest

import harness

CHECKOUT = Path(__file__).parents[2]
PACKAGES = {"harness", "matplotlib", "numpy", "pandas", "torch", "tqdm"}
PARTS = ("check", "figures", "tables")  # of the harness, with public names of their own
GOAL = "**Goal.**"


def cells(path: Path, kind: str = "code") -> list[Any]:
    return [cell for cell in notebooks.read(path)["cells"] if cell["cell_type"] == kind]


def code(cell: Any) -> str:
    """A cell's Python: without the lines that are given to the system's shell."""
    return "".join(line for line in cell["source"] if not line.startswith("!"))


def unknown(source: str) -> Iterator[str]:
    """Yield the names of the harness that a text uses and that are not public, and foreign packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
            yield from (f"from {name}" for name in names if name.split(".")[0] == "harness")
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            yield from (f"import {name}" for name in names if name.startswith("harness."))
        for name in names:
            if (package := name.split(".")[0]) not in PACKAGES | sys.stdlib_module_names:
                yield f"import {package}"
        if isinstance(node, ast.Attribute):
            whole = ast.unparse(node)
            first, *rest = whole.split(".")
            if first == "harness" and len(rest) == 1 and rest[0] not in harness.__all__:
                yield whole
            part = getattr(harness, rest[0]) if len(rest) == 2 and rest[0] in PARTS else None
            if first == "harness" and part and rest[1] not in part.__all__:
                yield whole


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_digits(path: Path, tmp_path: Path) -> None:
    """Its own asserts check its numbers."""
    done = notebooks.execute(notebooks.with_dataset(notebooks.read(path), "digits"), tmp_path)
    counts = [cell["execution_count"] for cell in done["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    streams = [output for cell in done["cells"] for output in cell.get("outputs", ())]
    shown = "".join("".join(output.get("text", "")) for output in streams)
    assert "Warning" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_each_cell_may_run_twice(path: Path, tmp_path: Path) -> None:
    notebook = notebooks.with_dataset(notebooks.read(path), "digits")
    twice = [{**cell, "id": f"{cell['id']}-{i}"} for cell in notebook["cells"] for i in range(2)]
    notebooks.execute({**notebook, "cells": twice}, tmp_path)


def test_there_is_a_notebook_a_lab() -> None:
    assert [path.name[0] for path in notebooks.NOTEBOOKS] == ["1", "2", "3", "4", "5"]


def test_a_cell_that_raises_is_noticed(tmp_path: Path) -> None:
    error = importlib.import_module("nbclient.exceptions").CellExecutionError
    notebook = notebooks.read(notebooks.NOTEBOOKS[0])
    cell = {**next(c for c in notebook["cells"] if c["cell_type"] == "code"), "source": ["assert 1 == 2"]}
    with pytest.raises(error, match="AssertionError"):
        notebooks.execute({**notebook, "cells": [cell]}, tmp_path)


def test_a_wrong_request_is_shown_without_calls_inside_of_the_harness(tmp_path: Path) -> None:
    source = ["import harness\n", "def wish():\n", "    return harness.dataset('digit')\n", "wish()"]
    cell = {**cells(notebooks.NOTEBOOKS[0])[0], "source": source}
    with pytest.raises(Exception, match="unknown dataset 'digit'") as raised:
        notebooks.execute({**notebooks.read(notebooks.NOTEBOOKS[0]), "cells": [cell]}, tmp_path)
    shown = str(raised.value).split("------------------\n")[-1].strip().splitlines()
    assert shown[:2] == ["line 4: wish()", "line 3: return harness.dataset('digit')"]
    assert shown[2].startswith("UsageError: unknown dataset 'digit'")


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_public_names_alone(path: Path) -> None:
    assert list(unknown("\n".join(map(code, cells(path))))) == []


def test_a_name_that_is_not_public_is_noticed() -> None:
    source = (
        "import harness.rng, seaborn\nfrom harness.study import trials\nharness.figures.nothing(harness.rng)"
    )
    found = [
        "import harness.rng",
        "import seaborn",
        "from harness.study",
        "harness.figures.nothing",
        "harness.rng",
    ]
    assert sorted(unknown(source)) == sorted(found)


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    """They would fill the repository, and nobody could review a change."""
    notebook = notebooks.read(path)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in notebook["cells"])
    assert {tag for cell in notebook["cells"] for tag in notebooks.tags(cell)} <= {
        "parameters", "exercise", "solution", "check",
    }  # fmt: skip
    assert path.read_text(encoding="utf-8") == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_each_exercise_has_a_goal_and_room_for_a_students_code(path: Path) -> None:
    kinds: dict[str, list[str]] = {}
    for cell in notebooks.read(path)["cells"]:
        text = "".join(cell["source"])
        if text.startswith("## ") and not text.startswith("## Before"):
            assert GOAL in text, text.splitlines()[0]
            kinds[text.splitlines()[0]] = []
        elif kinds:
            kinds[list(kinds)[-1]] += notebooks.tags(cell)
    assert [int(heading.split()[1].rstrip(".")) for heading in kinds] == list(range(1, len(kinds) + 1))
    for heading, tags in kinds.items():
        assert "exercise" in tags, heading
        assert "solution" in tags, heading


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_an_exercise_names_what_its_solution_takes_from_the_harness(path: Path) -> None:
    """So a person who has the headings alone knows where to look."""
    named = ""
    for cell in notebooks.read(path)["cells"]:
        text = "".join(cell["source"])
        if text.startswith("## "):
            named = ""
        if "solution" not in notebooks.tags(cell):
            named += text
        elif cell["cell_type"] == "code":
            used = re.findall(rf"harness\.(?:(?:{'|'.join(PARTS)})\.)?\w+", text)
            assert [name for name in used if name not in named] == []


def missing(path: Path) -> set[str]:
    """Names that a cell of a handout reads, and neither another cell defines nor an exercise asks for."""
    known = {*dir(builtins), "display"}
    lacking: set[str] = set()
    for cell in notebooks.without_solutions(notebooks.read(path))["cells"]:
        if cell["cell_type"] == "code":
            known |= (
                set(re.findall(r"\w+", "".join(cell["source"])))
                if "exercise" in notebooks.tags(cell)
                else set()
            )
            nodes = list(ast.walk(ast.parse(code(cell))))
            names = [node for node in nodes if isinstance(node, ast.Name)]
            known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            known |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
            known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
            imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
            known |= {alias.asname or alias.name for node in imports for alias in node.names}
            lacking |= {node.id for node in names} - known
    return lacking


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_handout_needs_only_what_its_exercises_ask_for(path: Path) -> None:
    """A student's cells may be written otherwise than the solutions that are taken out."""
    assert missing(path) == set()


def test_a_handout_has_no_solutions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["notebooks.py", "--handout", str(tmp_path)])
    notebooks.main()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in notebooks.NOTEBOOKS]
    whole, handed = cells(notebooks.NOTEBOOKS[0]), cells(tmp_path / notebooks.NOTEBOOKS[0].name)
    assert [cell for cell in whole if "solution" not in notebooks.tags(cell)] == handed
    assert len(handed) < len(whole)
