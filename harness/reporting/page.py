"""The page of a report: everything that it says and shows, written as one HTML file that needs no network."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from harness import plots
from harness.errors import MachineError
from harness.reporting import (
    arm_figures,
    best_model,
    calibration,
    charts,
    choices,
    data_sets,
    flips,
    inside,
    ladder,
    learning_rates,
    outline,
    seed_sources,
    table_files,
    time_to_target,
    tuned,
    verdict_text,
    verdict_views,
)
from harness.reporting.arm_tables import missing, provenance
from harness.reporting.data import read
from harness.reporting.evidence import gather
from harness.reporting.first_screen import headline
from harness.reporting.model import Page, Section
from harness.reporting.search import data as search_data
from harness.reporting.search import page as search_page
from harness.results import Results
from harness.text import TURNING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from harness.reporting.data import ReportData
    from harness.reporting.evidence import Evidence
    from harness.reporting.model import Figure, Table

MAX_BYTES = 9_000_000
"""Bytes of all figures in the page together; further figures are named only, so that it can be mailed."""
OUTSIDE = (
    "Everything outside of the families of contrasts is exploratory: the sentences below, and all figures "
    "and tables except those of the verdicts."
)


def write(results: Results | Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a results folder.

    Args:
        results: results, or their folder, of `harness run` or `harness search`.
        out: the page to write; report.html in the folder by default. Figures go to figures/ beside it,
            tables to tables/.

    Returns:
        The page.

    Raises:
        UsageError: it is not a results folder, or the [contrasts] of its study.toml or a search's
            suggestions.csv cannot be read.
        MachineError: the page, a figure or a table cannot be written.

    Example:
        >>> harness.report(results)  # doctest: +SKIP
    """
    folder = Path(results)
    reading = read(folder)
    path = folder / "report.html" if out is None else Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        page = _search_page(reading) if search_data.is_search(reading) else _study_page(reading)
        images = {figure.name: save(figure, path.parent / "figures") for figure in page.every_figure}
        tables = [(table, table_files.save(table, path.parent / "tables")) for table in page.every_table]
        path.write_text(_render(reading, page, images, tables), encoding="utf-8", newline="\n")
    except OSError as error:
        raise MachineError(
            f"the report {path} cannot be written: {error}; choose another place (out)"
        ) from error
    return path


def _study_page(reading: ReportData) -> Page:
    evidence = gather(reading)
    page = _verdicts(evidence)
    drawn = [*page.figures, *draw(reading)]
    tuned_arms = None if evidence.tuned is None else evidence.tuned.reading
    timed = time_to_target.sections(reading, tuned=tuned_arms)
    optional = [
        *timed, seed_sources.section(reading), calibration.section(reading), flips.section(reading),
        *inside.sections(reading),
    ]  # fmt: skip
    others = [part for part in (*optional, *best_model.sections(reading)) if part is not None]
    return replace(
        page,
        headline=headline.of_study(evidence),
        answers=[*page.answers, *answers(reading)],
        tables=[], figures=[],  # they stand in their section
        sections=outline.sections(evidence, page.tables, drawn, others),
        data=list(data_sets.sections(reading)),
        files=list(verdict_views.effects(reading)),
        missing=[*missing(reading), *page.missing],
    )  # fmt: skip


def _search_page(reading: ReportData) -> Page:
    """Describe a search; its suggestions are not ranked as arms are, and none of them was tested."""
    search = search_data.read(reading)
    sections = [*search_page.sections(search), *time_to_target.sections(reading, confirmed=search.confirmed)]
    return Page(
        headline=headline.of_search(search),
        answers=search_page.answers(search), sections=sections,
        data=list(data_sets.sections(reading)), missing=missing(reading),
        facts={"tunes": False, "suggestions": len(search.suggestions), "searched": search_page.facts(search)},
    )  # fmt: skip


def judgement(reading: ReportData) -> Page:
    """Judge the family of contrasts of a results folder, fixed and tuned: a page of the verdicts alone."""
    return _verdicts(gather(reading))


def _verdicts(evidence: Evidence) -> Page:
    reading, fixed, comparison = evidence.reading, evidence.fixed, evidence.tuned
    paragraphs = verdict_text.answers(reading, fixed)
    tables = [] if fixed.table.empty else [verdict_views.table(fixed), *verdict_views.alike_table(fixed)]
    forests, unfinished = list(verdict_views.draw(fixed)), list[Section]()
    if comparison is not None:
        paragraphs += tuned.tell(fixed, comparison)
        tables += tuned.tables(fixed, comparison)
        if comparison.reading is not None:
            unfinished = missing(comparison.reading, "tuned")
        if comparison.judged is not None:
            forests = list(tuned.draw(fixed, comparison.judged))
    if paragraphs and tables:
        paragraphs[-1] = [*paragraphs[-1], OUTSIDE]
    tunes = comparison is not None and not comparison.phases.mismatch
    return Page(
        answers=paragraphs, tables=tables, figures=forests, missing=unfinished, facts={"tunes": tunes}
    )


def draw(reading: ReportData) -> Iterator[Figure]:
    """Draw what the design and the finished trials allow, the most important figure first."""
    yield from choices.draw(reading)
    yield from ladder.draw(reading) if reading.design == "ladder" else arm_figures.draw(reading)
    yield from learning_rates.draw(reading)


def answers(reading: ReportData) -> list[list[str]]:
    """Describe the results: a paragraph for each data set, the most important sentence first."""
    if reading.design == "ladder" and reading.trials["status"].eq("ok").any():
        return ladder.answers(reading)
    return choices.answers(reading)


def save(figure: Figure, folder: Path) -> tuple[Path, Path]:
    """Write a figure as `folder`/<name>.png and .svg."""
    folder.mkdir(parents=True, exist_ok=True)
    return plots.save(figure.figure, folder / figure.name)


def _render(
    reading: ReportData, page: Page, images: Mapping[str, tuple[Path, Path]],
    tables: list[tuple[Table, tuple[Path, Path]]],
) -> str:  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.reporting"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    study = reading.study
    files = [(t.title, [(file.name, table_files.uri(file)) for file in paths]) for t, paths in tables]
    written = environment.get_template("page.html").render(
        page=page, names=[(part.name, part.title) for part in page.sections],
        images=_inlined(page.every_figure, images), name=study.name or reading.results.folder.name,
        hypothesis=study.hypothesis, design=reading.design, phase=study.phase,
        facts={**_facts(reading), **page.facts}, files=files, unread=plots.fonts.note(),
        provenance=list(provenance(reading.results.provenance)),
        scripts=charts.scripts() if any(figure.chart for figure in page.every_figure) else "",
    )  # fmt: skip
    return written.translate(TURNING)


def _inlined(drawn: list[Figure], images: Mapping[str, tuple[Path, Path]]) -> dict[str, dict[str, object]]:
    """Return each figure's image, the smaller of its files, as a data URI; none once the page is full."""
    inlined, total = {}, 0
    for figure in drawn:
        uris = {_uri(path): path for path in images[figure.name]}
        uri = min(uris, key=len)
        total += len(uri)
        width, height = figure.figure.get_size_inches()
        size = {"width": round(width * 96), "height": round(height * 96)}
        shown = uri if total <= MAX_BYTES else ""
        inlined[figure.name] = {"uri": shown, "file": f"figures/{uris[uri].name}", **size}
    return inlined


def _uri(path: Path) -> str:
    """Return an image as a data URI that needs no escapes in a quoted attribute."""
    if path.suffix == ".svg":
        return plots.svg_uri(path.read_text(encoding="utf-8"))
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _facts(reading: ReportData) -> dict[str, object]:
    trials = reading.trials
    unique = trials.drop_duplicates("trial_id")  # tuned arms that chose the same settings share trials
    names = ("val_fraction", "val_split", "epochs", "steps", "engine", "device")
    noise = _values(trials, "label_noise")
    return {
        "planned": len(unique), "done": int(unique["status"].eq("ok").sum()),
        "arms": trials.drop_duplicates(["dataset", "label"]).shape[0], "seeds": trials["seed"].nunique(),
        "datasets": reading.datasets, "axes": reading.axes, "varies_lr": "lr" in reading.axes,
        "noise": "" if noise == "0" else noise, **{name: _values(trials, name) for name in names},
    }  # fmt: skip


def _values(trials: pd.DataFrame, column: str) -> str:
    values: list[object] = list(trials[column].dropna().unique()) if column in trials else []
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
