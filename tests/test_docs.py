"""The files, modules and functions that README, ARCHITECTURE, CONTRIBUTING, SECURITY and docs/ name exist."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "harness"
PAGES = sorted([*CHECKOUT.glob("[A-Z]*.md"), *CHECKOUT.glob("docs/**/*.md")])
PAGES.remove(CHECKOUT / "CHANGELOG.md")  # which names what was, too
BASES = (CHECKOUT, PACKAGE)  # folders that a path in the text may start from
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"(?<![\w/.<-])((?:[\w-]+/)+[\w-]+\.(?:py|c|h|sh|toml|txt))\b")
DOTTED = re.compile(r"`([a-z_]+(?:\.\w+)+)(?:\([^`]*\))?`")
MODULE = re.compile(r"`(\w+\.py)`")
IMPORT = re.compile(r"from (harness[\w.]*) import (\w+(?:, \w+)*)")
NAME_OF_FILE = re.compile(r"`([\w/]+\.py)`, `(\w+)`")
ROOMS = {path.stem for path in PACKAGE.iterdir()} - {"__pycache__"}
NOT_MODULES = {"harness.components", "study.toml", "study.optimize"}  # entry points, a file, Optuna's method
EXAMPLES = {"my_axes.py", "own.py"}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Collect the names that a module defines, imports or offers lazily, and its classes' members."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in nodes:  # which grows
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        if not isinstance(node, ast.FunctionDef):
            nodes += ast.iter_child_nodes(node)
    return frozenset(names)


@cache
def names_of_files() -> frozenset[str]:
    return frozenset(path.name for folder in (PACKAGE, CHECKOUT / "tests") for path in folder.rglob("*.py"))


def exists(dotted: str) -> bool:
    """Look for `harness.stats.verdicts`, `stats.verdicts` or `training.runs.train` in the package."""
    path = PACKAGE
    for part in dotted.removeprefix("harness.").split("."):
        if path.is_dir() and (path / part).is_dir():
            path /= part
        elif path.is_dir() and (path / f"{part}.py").is_file():
            path = path / f"{part}.py"
        else:
            return part in names_in(path / "__init__.py" if path.is_dir() else path)
    return True


def missing(text: str, folder: Path) -> Iterator[str]:
    """Yield each link, file, dotted name and import in a page's text that leads nowhere."""
    yield from (f"link to {target}" for target in LINK.findall(text) if not (folder / target).exists())
    for name in FILE.findall(text):
        if not any((base / name).is_file() for base in (folder, *BASES)):
            yield name
    yield from (name for name in MODULE.findall(text) if name not in {*EXAMPLES, *names_of_files()})
    dotted_names = [name for name in DOTTED.findall(text) if name.split(".")[0] in {"harness", *ROOMS}]
    for module, names in IMPORT.findall(text):
        dotted_names += [f"{module}.{name}" for name in names.split(", ")]
    known = {*NOT_MODULES, *(name for name in dotted_names if name.endswith(".py"))}
    yield from (name for name in dotted_names if name not in known and not exists(name))
    for file, name in NAME_OF_FILE.findall(text):
        path = next((base / file for base in BASES if (base / file).is_file()), None)
        if path and name not in names_in(path):
            yield f"{name} in {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_page_names_only_what_exists(page: Path) -> None:
    assert list(missing(page.read_text(encoding="utf-8"), page.parent)) == []


def test_names_that_lead_nowhere_are_found() -> None:
    text = """`stats.verdicts`, `harness.runs`, [map](nowhere.md), engines/stack.py, `training.runs.trainer`,
`stats/verdicts.py`, `verdicts`; `stats/verdicts.py`, `judge_all`
from harness.axes.activations import activations, sigmoids
"""
    assert list(missing(text, CHECKOUT)) == [
        "link to nowhere.md",
        "engines/stack.py",
        "harness.runs",
        "training.runs.trainer",
        "harness.axes.activations.sigmoids",
        "judge_all in stats/verdicts.py",
    ]


def test_the_results_that_are_kept_are_small_enough_to_travel() -> None:
    """Everyone who clones the project gets them: figures that docs show, two pages, tables packed."""
    if not (CHECKOUT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout of git")
    command = ["git", "-C", str(CHECKOUT), "ls-files", "-z", "results/reference"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    sizes = {name: (CHECKOUT / name).stat().st_size for name in filter(None, listed)}
    assert len(sizes) > 100
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    assert sum(sizes.values()) <= 20_000_000, f"the largest are {', '.join(largest)}"
