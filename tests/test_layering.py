"""The layout is held here: the way imports point, no circles, one class name once, openings of docstrings.

`python tests/test_layering.py` prints the figures.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness"
# A room, which is a module or a package in harness/, imports from floors before its own, and from itself.
FLOORS: list[set[str]] = [
    {"errors", "rng", "text", "settings", "stats", "notes"},
    {"system", "registry", "plots"},
    {"data"},
    {"axes"},
    {"study", "check"},
    {"lowering"},
    {"planning"},
    {"engines"},
    {"results"},
    {"training", "gallery"},
    {"searching", "exporting", "comparison"},
    {"reporting"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FRONT_DOOR = {"__init__", "__main__"}  # the public names, and `python -m harness`: from any floor
QUESTION = re.compile(r"(What|Who|Whose|Where|Which|How|Whether|When|Why)\b")
MOST = {
    "rooms": 26,
    "floors": 13,
    "circles": 0,
    "names in harness/": 26,
    "class names defined more than once": 0,
    "type: ignore": 0,
    "docstrings that open with a question word, in percent": 0,
}


@cache
def modules() -> Mapping[str, ast.Module]:
    """Parse every module below harness/, by its dotted name there (a package's own is the package's)."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield what code imports, at its top, later, or for annotations alone: "harness.plots.style", "json"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """Find all pairs (importing module, imported module) of the harness's own."""
    return frozenset(_arrows())


def _arrows() -> Iterator[tuple[str, str]]:
    for name, tree in modules().items():
        for target in imported(tree):
            package, _, path = target.partition(".")
            while path and path not in modules():
                path = path.rpartition(".")[0]
            if package == "harness" and path not in ("", name):
                yield name, path


def room_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def circles(pairs: frozenset[tuple[str, str]]) -> list[set[str]]:
    """Find the sets of names that reach each other by arrows."""
    reached: dict[str, set[str]] = {name: set() for pair in pairs for name in pair}
    for source, target in pairs:
        reached[source].add(target)
    before = -1
    while (size := sum(map(len, reached.values()))) > before:
        before = size
        reached = {name: now.union(*(reached[target] for target in now)) for name, now in reached.items()}
    rings = {frozenset(other for other in reached[name] if name in reached[other]) for name in reached}
    return sorted((set(ring) for ring in rings if ring), key=sorted)


def repeated_classes() -> list[str]:
    names = Counter(
        node.name for tree in modules().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    return sorted(name for name, count in names.items() if count > 1)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield (module, docstring) of every module, class and function that has one."""
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                text := ast.get_docstring(node)
            ):
                yield name, text


def names_at_the_top() -> list[str]:
    return sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__")


@cache
def figures() -> dict[str, float]:
    """Measure what MOST bounds."""
    rooms = {room_of(name) for name in modules()} - FRONT_DOOR
    texts = [text for _, text in docstrings()]
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    return {
        "rooms": len(rooms),
        "floors": len(FLOORS),
        "circles": len(circles(arrows())),
        "names in harness/": len(names_at_the_top()),
        "class names defined more than once": len(repeated_classes()),
        "type: ignore": sum(source.count("# type: ignore") for source in sources),
        "docstrings that open with a question word, in percent": round(
            100 * sum(bool(QUESTION.match(text)) for text in texts) / len(texts), 1
        ),
    }


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_one_way(name: str) -> None:
    room = room_of(name)
    if room in FRONT_DOOR:
        return
    assert room in FLOOR, f"{room} is a new room: say in FLOORS where it stands"
    for source, target in arrows():
        if source == name and room_of(target) != room:
            assert room_of(target) in FLOOR, f"{name} imports {target}"
            assert FLOOR[room_of(target)] < FLOOR[room], f"{name} imports {target}"


def test_every_listed_room_exists() -> None:
    assert set(FLOOR) == {room_of(name) for name in modules()} - FRONT_DOOR


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(arrows()) == []


def test_circles_are_found() -> None:
    pairs = {("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")}
    assert circles(frozenset(pairs)) == [{"a", "b", "c"}]


def test_a_class_name_is_defined_once() -> None:
    assert repeated_classes() == []


@pytest.mark.parametrize("figure", MOST)
def test_the_layout_stays_within_its_figures(figure: str) -> None:
    assert figures()[figure] <= MOST[figure]


def test_imports_are_found_wherever_they_are() -> None:
    code = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import hidden
def f():
    from harness import planning
    with x:
        import torch.nn
"""
    assert list(imported(ast.parse(code))) == [
        "typing.TYPE_CHECKING",
        "hidden",
        "harness.planning",
        "torch.nn",
    ]


# An optimizer takes a kernel of torch's when it steps, tracing takes its tracer; the others
# import torch where they train or export.
STACKED_LAYERS = ("chains", "form", "functions", "graphs", "layers", "mapped", "normalisation")
MAY_IMPORT_TORCH = {
    "axes.architectures.building", "axes.architectures.counting", "axes.architectures.modules",
    "axes.optimizers", *(f"axes.stacked_layers.{name}" for name in STACKED_LAYERS),
    "data.torch_dataset", "exporting.loaders", "exporting.models", "exporting.opened", "exporting.parts",
    "exporting.plain_code", "lowering.tracing", "results.provenance", "system.lazy", "training.options",
    "training.tasks",
}  # fmt: skip


@pytest.mark.parametrize("room", sorted(set(FLOOR) - {"engines"}))
def test_only_engines_and_a_few_modules_import_torch_themselves(room: str) -> None:
    for name, tree in modules().items():
        if room_of(name) == room and name not in MAY_IMPORT_TORCH:
            assert "torch" not in {target.partition(".")[0] for target in runtime_imports(tree)}, name


def test_imports_for_annotations_do_not_run() -> None:
    code = "if TYPE_CHECKING:\n    import torch\nelse:\n    import shown\n"
    assert list(runtime_imports(ast.parse(code))) == ["shown"]


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Yield what code imports when it runs: not what only annotations need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from runtime_imports(ast.Module(node.orelse, []))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(ast.Module([node], []))
        else:
            yield from runtime_imports(node)


if __name__ == "__main__":
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path in PACKAGE.rglob("*.py"))
    for figure, value in figures().items():
        print(f"{figure}: {value} (at most {MOST[figure]})")
    print(f"modules: {len(modules())}\nlines: {lines:,}")
    print("\n".join(f"circle: {', '.join(sorted(ring))}" for ring in circles(arrows())))
