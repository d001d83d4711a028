"""Execute the labs' notebooks, or write the version that a class is given: without the solutions.

python docs/labs/notebooks.py                      every notebook on its own data set, into results/labs
python docs/labs/notebooks.py --dataset digits     all of them on digits
python docs/labs/notebooks.py --handout FOLDER     copies without the cells that are tagged "solution"
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("[0-9]-*.ipynb"))
SECONDS = 1800  # that a cell may take
Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    """Read a notebook's JSON."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Return a cell's tags."""
    return list(cell["metadata"].get("tags", []))


def with_dataset(notebook: Notebook, dataset: str) -> Notebook:
    """Name another data set in the cell of parameters."""
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in tags(cell))
    lines = [
        f'{name} = "{dataset}"\n' if (name := line.split(" ")[0]) in {"DATASET", "FASHION"} else line
        for line in cell["source"]
    ]
    changed = {**cell, "source": lines}
    return {**notebook, "cells": [changed if old is cell else old for old in notebook["cells"]]}


def without_solutions(notebook: Notebook) -> Notebook:
    """Leave out the cells that hold a solution."""
    return {**notebook, "cells": [cell for cell in notebook["cells"] if "solution" not in tags(cell)]}


def write(notebook: Notebook, path: Path) -> None:
    """Write a notebook's JSON as the notebooks of this folder are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def execute(notebook: Notebook, folder: Path) -> Notebook:
    """Execute a notebook in a kernel whose current folder is `folder`, and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    nbformat: Any = importlib.import_module("nbformat")  # untyped; a handout needs neither
    nbclient: Any = importlib.import_module("nbclient")
    node = nbformat.reads(json.dumps(notebook), as_version=4)
    folder.mkdir(parents=True, exist_ok=True)
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(node, timeout=SECONDS, startup_timeout=180, resources=place).execute()
    done: Notebook = json.loads(nbformat.writes(node))
    return done


def main() -> None:
    """Do what the command line asks for, and say how long each notebook took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="instead of the one that each notebook names")
    parser.add_argument("--only", default="", help="numbers of labs, such as 13")
    parser.add_argument("--out", type=Path, default=Path("results/labs"), help="gets the executed notebooks")
    parser.add_argument("--handout", type=Path, help="write copies without solutions there; execute nothing")
    options = parser.parse_args()
    if unknown := set(options.only) - {path.name[0] for path in NOTEBOOKS}:
        parser.error(f"--only {options.only}: there is no lab {min(unknown)}")
    for path in NOTEBOOKS:
        if options.only and path.name[0] not in options.only:
            continue
        notebook = read(path)
        if options.dataset:
            notebook = with_dataset(notebook, options.dataset)
        if options.handout:
            write(without_solutions(notebook), options.handout / path.name)
            continue
        began = time.perf_counter()
        write(execute(notebook, options.out), options.out / path.name)
        print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
