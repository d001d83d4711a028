"""The folders of results/reference: what each is of, and whether the code has outgrown it.

A folder is stale where the code of today would write other columns, tables or headings, or trains trials
with other ids: training means something else by now (SEMANTICS), or the study, a component or the data has
changed. Nothing is trained or drawn to tell.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness import reporting
from harness.planning import plan
from harness.results import datapackage, derived, run_folder
from harness.results.columns import TABLES
from harness.results.csv_rows import CONFUSION, TextTable
from harness.results.tables import is_there
from harness.settings.schema import CONFIRMED, EPOCHS, PARENT, TO_TARGET, TUNED, TUNING, outcome_columns
from harness.study.checker import known_settings
from harness.study.reading import load
from harness.study.study import Study

CHECKOUT = Path(__file__).parents[2]
ABLATIONS = CHECKOUT / "ablations"
REFERENCE = CHECKOUT / "results" / "reference"
PHASES = ("", TUNING, TUNED, CONFIRMED)
"""Folders in a reference folder that hold trials."""
FEWEST_HEADINGS = 3
OTHER = "what they mean, or the study, has changed"
H2 = re.compile(r"<h2[^>]*>\s*([^<{]+?)\s*</h2>")


@dataclass(frozen=True)
class Reference:
    """A reference folder: its study, the command that makes it, and what is kept of it.

    `tables` are those of trials.csv, epochs.csv and confusion.csv that are kept, by name; `phases` the
    folders in it whose trials are; `page` whether report.html is. `plugins` are in ablations/.
    """

    name: str
    command: str = "run"
    options: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    page: bool = False
    tables: tuple[str, ...] = TABLES
    phases: tuple[str, ...] = PHASES

    @property
    def folder(self) -> Path:
        """Its committed folder."""
        return REFERENCE / self.name

    def study(self) -> Study:
        """Read its study as it is today."""
        return load(ABLATIONS / f"{self.name}.toml", plugin_files=[ABLATIONS / file for file in self.plugins])


KEPT = {
    kept.name: kept
    for kept in (
        Reference("lab1_learning_rate"),
        Reference("lab2_losses"),
        Reference("lab3_fashion"),
        Reference("lab3_numpy", options=("--engine", "numpy")),
        Reference("lab4_steps"),
        Reference("lab5_ladder"),
        Reference("pitfalls", plugins=("sorted_mnist.py",)),
        Reference("lr_losses"),
        Reference("time_to_target"),
        Reference("choices", page=True),
        Reference("best-mlp-mnist", "search"),
        Reference("best-mlp-fashion", "search", page=True),
        Reference("best-small-mnist", "search"),
        Reference("best-small-fashion", "search"),
        Reference("losses", tables=("trials", "epochs")),
        Reference("cnn"),
        Reference("augmentation"),
        Reference("normalisation"),
        Reference("variance", tables=("trials",), phases=("",)),
        Reference("losses_noise", tables=("trials",), phases=("", TUNED)),
        Reference("single_runs_networks", tables=("trials", "epochs"), plugins=("published/val_is_test.py",)),
        Reference("single_runs_losses", tables=("trials", "epochs"), plugins=("published/val_is_test.py",)),
    )
}
"""The folders that a command of the harness makes, by name; sessions of nox make the others."""
OLD: dict[str, str] = {}
"""Folders that are known to be stale, and why. To be made anew is the only way out of this list."""


def stale(kept: Reference, folder: Path | None = None) -> list[str]:
    """Say in what a folder differs from one that the code of today would make; [] if in nothing."""
    folder = folder or kept.folder
    if not (folder / "trials.csv").is_file():
        return ["not made yet"]
    reasons = list(
        dict.fromkeys(reason for phase in kept.phases for reason in _stale_phase(kept, folder, phase))
    )
    return [*reasons, *(_stale_page(folder / "report.html") if kept.page else [])]


def _stale_phase(kept: Reference, folder: Path, phase: str) -> Iterator[str]:
    there = folder / phase
    if not (there / "study.toml").is_file():
        return
    tables = {name: _header_and_ids(there, name) for name in kept.tables}
    where = f"{phase}/" if phase else ""
    yield from (f"no {where}{name}.csv" for name, (header, _) in tables.items() if not header)
    made_of_them = (*(f"{name}.csv" for name in derived.DERIVED), datapackage.FILE)
    yield from (f"no {where}{name}" for name in made_of_them if not is_there(there / name))
    study = kept.study() if not phase and kept.command == "run" else _as_written(kept, there)
    planned = plan.draw(study)
    expected = {
        "trials": [
            *run_folder.planned_rows(planned).columns[:-2],
            *outcome_columns(study.metrics),
            *(TO_TARGET if study.target else []),
        ],
        "epochs": [*EPOCHS, *study.metrics],
        "confusion": CONFUSION,
    }
    unused = {PARENT, *_unused(run_folder.planned_rows(planned))}
    for name, (columns, _) in tables.items():
        header, today = ([c for c in those if c not in unused] for those in (columns, expected[name]))
        if columns and header != today:
            yield _difference(f"{where}{name}", header, today)
    ids = {trial.trial_id for trial in planned.trials}
    if other := ids - tables["trials"][1]:
        yield f"{where}trials.csv has {len(other)} of {len(ids)} trials under other ids: {OTHER}"


def _unused(rows: TextTable) -> set[str]:
    """Name the settings that no trial has: a component that came later may have brought a column for them."""
    return {name for name in known_settings() if name not in rows or not any(rows[name])}


def _as_written(kept: Reference, there: Path) -> Study:
    plugins = [ABLATIONS / file for file in kept.plugins]
    return load(there / "study.toml", plugin_files=plugins)


def _difference(name: str, header: list[str], columns: list[str]) -> str:
    missing = [column for column in columns if column not in header]
    more = [column for column in header if column not in columns]
    parts = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("has", more)) if names]
    return f"{name}.csv {' and '.join(parts)}" if parts else f"{name}.csv has its columns in another order"


def _header_and_ids(folder: Path, name: str) -> tuple[list[str], set[str]]:
    """Read the header of a table, plain or packed, and of trials.csv the ids; nothing of one not there."""
    path = folder / f"{name}.csv"
    packed = path.with_name(f"{path.name}.gz")
    if not path.is_file() and not packed.is_file():
        return [], set()
    with path.open(encoding="utf-8") if path.is_file() else gzip.open(packed, "rt", encoding="utf-8") as file:
        header, *rows = csv.reader(file) if name == "trials" else [next(csv.reader(file))]
    return header, {row[0] for row in rows}


def _stale_page(path: Path) -> Iterator[str]:
    if not path.is_file():
        yield "no report.html"
        return
    there = set(H2.findall(path.read_text(encoding="utf-8")))
    missing = [title for title in headings() if title not in there]
    if missing:
        yield f"report.html has no heading {', '.join(map(repr, missing))}"


def headings() -> list[str]:
    """List the headings that every page has: those in the template that no condition decides."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("harness.reporting"), autoescape=True)
    folder = Path(reporting.__file__).parent / "templates"
    page = next(path for path in (folder / "page.html", folder / "report.html") if path.is_file())
    found = [
        title for node in environment.parse(page.read_text(encoding="utf-8")).body for title in _titles(node)
    ]
    if len(found) < FEWEST_HEADINGS:
        raise AssertionError(
            f"{page.name}: only {found} are seen as headings of every page; look for them anew"
        )
    return found


def _titles(node: jinja2.nodes.Node) -> Iterator[str]:
    """Find headings: texts between h2's tags, or the title of a call block `section(name, title, ..)`."""
    if isinstance(node, jinja2.nodes.Output):
        for part in node.nodes:
            if isinstance(part, jinja2.nodes.TemplateData):
                yield from H2.findall(part.data)
    if isinstance(node, jinja2.nodes.CallBlock) and len(node.call.args) > 1:
        title = node.call.args[1]
        if isinstance(title, jinja2.nodes.Const):
            yield str(title.value)


def shown_figures(name: str) -> list[str]:
    """List the figures of a reference folder that README and docs show."""
    pattern = re.compile(rf"results/reference/{re.escape(name)}/figures/([\w.-]+)")
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    return sorted({file for page in pages for file in pattern.findall(page.read_text(encoding="utf-8"))})


def made(folder: Path) -> tuple[str, float]:
    """Say when and by which commit a folder was made, and the minutes of its runs; ("", 0) if unknown."""
    found = [folder / phase / "provenance.json" for phase in PHASES]
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    if not documents:
        return "", 0.0
    runs = [run for document in documents for run in document.get("runs", [])]
    started = max((str(run.get("started", ""))[:10] for run in runs), default="")
    seconds = sum(float(run.get("seconds", 0)) for run in runs)
    return f"{started} {documents[0].get('commit') or ''}".strip(), seconds / 60
