"""The page of a judgement of any table: its verdict, its contrasts drawn and listed, what was left out."""

from __future__ import annotations

import base64
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from harness import plots
from harness.comparison.judging import text as judged_text
from harness.reporting import charts, comparison_charts, table_files
from harness.reporting.model import Cell, Column, Figure, Table, more_cell, p_cell, rows_of
from harness.system import files
from harness.text import DASH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from harness.comparison.judging.judge import Judgement

MOST_CONTRASTS = 2_000
"""Rows of the table that a page shows; the CSV beside it has all."""
MOST_FIGURES = 5
NOTE = (
    "Differences in {metric}, arm minus reference, {paired}{unit}; under each its 95 % interval, which "
    "stands by itself. Better or worse: p \u2264 {alpha:g}, all {contrasts:,} corrected together (Holm). "
    "The same: {same}. Detectable: the difference that these {units}s show with 80 % power, corrected."
)


def write(judgement: Judgement, path: Path, name: str) -> list[Path]:
    """Write the page of a judgement; and beside judgement.html, its tables.

    Args:
        judgement: the verdicts.
        path: the page. Of `judgement.html` the folder also gets verdicts.csv and .tex, and arms.csv and .tex.
        name: of the judged table, the page's heading.

    Returns:
        The files, the page first.

    Raises:
        MachineError: a file cannot be written.
    """
    tables, figures = [verdicts(judgement), arms(judgement)], list(forests(judgement))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        images = {figure.name: _image(figure, folder) for figure in figures}
        kept = [(table, table_files.save(table, folder)) for table in tables]
        links = [
            (table.title, [(file.name, table_files.uri(file)) for file in paths])
            for table, paths in kept
            if table.data is not None
            and len(table.data) <= MOST_CONTRASTS  # or the page would be too large to be mailed
        ]
        contents = {file.name: file.read_bytes() for _, paths in kept for file in paths}
    page = _render(judgement, name, {"tables": tables, "figures": figures, "images": images, "files": links})
    beside = contents if path.name == "judgement.html" else {}
    files.write(path, page.encode())
    for file, content in beside.items():
        files.write(path.parent / file, content)
    return [path, *(path.parent / file for file in beside)]


def verdicts(judgement: Judgement) -> Table:
    """Make a table with a row a contrast."""
    scale, seen = judgement.scale, judgement.observations
    block = [Column(seen.words["block"], "block")] if seen.words["block"] else []
    unit = f" ({scale.unit})" if scale.unit else ""

    def difference(row: Mapping[Any, Any]) -> Cell:
        ends = [scale.difference(row[end]) for end in ("low", "high")]
        span = "" if math.isnan(row["low"]) else f"{ends[0]} to {ends[1]}"
        return Cell(scale.difference(row["difference"]), span, row["difference"])

    def mean(row: Mapping[Any, Any]) -> Cell:
        return Cell(scale.value(row["mean"]), f"against {scale.value(row['reference_mean'])}", row["mean"])

    columns = [
        *block,
        Column("arm", "arm", show="long"),
        *([] if len(judgement.references) == 1 else [Column("against", "reference", show="long")]),
        Column(
            f"{seen.unit}s", lambda row: Cell(judged_text.number(judgement, row), key=row["n"]), numeric=True
        ),
        Column("mean", mean, numeric=True, show="wide"),
        Column(f"difference{unit}", difference, numeric=True),
        Column("p (Holm)", p_cell, numeric=True, show="wide"),
        Column("verdict", lambda row: Cell(judged_text.verdict(judgement, row))),
        Column("detectable", _sized(judgement, "detectable"), numeric=True, show="wide"),
        Column(f"more {seen.unit}s", more_cell, numeric=True, show="wide"),
    ]
    rows = rows_of(columns, judgement.contrasts.head(MOST_CONTRASTS).to_dict("records"))
    note = _note(judgement) + _cut(judgement.contrasts)
    return Table("verdicts", "Verdicts", note, columns, rows, judgement.contrasts)


def _note(judgement: Judgement) -> str:
    """Explain the table of verdicts."""
    scale, seen = judgement.scale, judgement.observations
    margin = scale.margin
    paired = "unpaired" if seen.unit == "run" else f"paired by {seen.words['seed']}"
    return NOTE.format(
        metric=seen.words["metric"], paired=paired, unit=f", in {scale.unit}" if scale.unit else "",
        alpha=judgement.alpha, contrasts=len(judgement.contrasts), units=seen.unit,
        same="not judged, as no margin was given" if margin is None
        else f"shown to lie within \u00b1{scale.size(margin)} (TOST, corrected alike)",
    )  # fmt: skip


def _cut(table: pd.DataFrame) -> str:
    """Say that a table is shown in part."""
    if len(table) <= MOST_CONTRASTS:
        return ""
    return f" The first {MOST_CONTRASTS:,} of {len(table):,} rows; a folder (--out FOLDER) gets all as CSV."


def _sized(judgement: Judgement, name: str) -> Any:
    def cell(row: Mapping[Any, Any]) -> Cell:
        value = row[name]
        return Cell(DASH if math.isnan(value) else judgement.scale.difference(value, sign=False), key=value)

    return cell


def arms(judgement: Judgement) -> Table:
    """Make a table with a row a block and arm: all its runs, also those without a partner."""
    scale, seen = judgement.scale, judgement.observations
    block = [Column(seen.words["block"], "block")] if seen.words["block"] else []
    columns = [
        *block,
        Column("arm", "arm", show="long"),
        Column("runs", "n", numeric=True),
        Column("mean", lambda row: Cell(scale.value(row["mean"]), key=row["mean"]), numeric=True),
        Column("SD", _sized(judgement, "sd"), numeric=True),
    ]
    note = f"Mean and standard deviation of {seen.words['metric']} over all runs of an arm, paired or not."
    note += _cut(judgement.arms)
    rows = rows_of(columns, judgement.arms.head(MOST_CONTRASTS).to_dict("records"))
    return Table("arms", "Arms", note, columns, rows, judgement.arms)


def forests(judgement: Judgement) -> Iterator[Figure]:
    """Draw the contrasts as forest plots, all but the first folded; none if nothing was compared."""
    scale, seen = judgement.scale, judgement.observations
    rows = judgement.contrasts[judgement.contrasts["n"].gt(0)]
    if rows.empty:
        return
    table = rows.assign(
        series="", unit=seen.unit, heading=rows["block"], label=list(_labels(judgement, rows))
    )
    table["words"] = [_words(judgement, row) for row in rows.to_dict("records")]
    parts = np.array_split(np.arange(len(table)), math.ceil(len(table) / plots.MOST_ROWS))
    for number, places in enumerate(parts[:MOST_FIGURES], start=1):
        title = "Contrasts with their intervals" + (f", {number} of {len(parts)}" if parts[1:] else "")
        rest = " The other contrasts are in the table." if number == MOST_FIGURES < len(parts) else ""
        figure = _forest(judgement, _percent_as_shares(table.iloc[places], scale.kind))
        yield replace(
            figure, name=f"forest-{number}", title=title, caption=figure.caption + rest, folded=number > 1
        )


def _forest(judgement: Judgement, table: pd.DataFrame) -> Figure:
    """Draw contrasts, twice: as a picture, and as a chart to be explored."""
    scale, metric = judgement.scale, judgement.metric
    unit, margin = scale.unit, (scale.margin or 0) / (100 if scale.kind == "percent" else 1)
    bend = plots.forest_bend(table, margin, unit)
    across = f"difference in {metric}" + (f" ({unit})" if unit else "")
    chart = comparison_charts.forest(table, margin, across, bend)
    if not unit:
        chart = replace(chart, y=replace(chart.y, points=False))
    caption = (
        f"Each contrast's difference in {metric}, arm minus reference, with its 95 % interval; right of 0 is "
        f"{'better' if scale.higher_is_better else 'worse'}."
        + (" The band is the margin within which two arms count as the same." if margin else "")
        + (" Away from 0 the axis is logarithmic." if bend else "")
    )
    return Figure(
        "forest", "Contrasts", caption, plots.forest_figure(table, margin, across, unit), chart=chart
    )


def _percent_as_shares(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    if kind != "percent":
        return table
    return table.assign(**(table[["difference", "low", "high"]] / 100))


def _labels(judgement: Judgement, rows: pd.DataFrame) -> Iterator[str]:
    """Name each row; two rows of a block never alike, or they would share a line."""
    single = len(judgement.references) == 1
    for row in rows.to_dict("records"):
        yield str(row["arm"]) if single else f"{row['arm']} against {row['reference']}"


def _words(judgement: Judgement, row: Mapping[Any, Any]) -> str:
    return f"{judged_text.verdict(judgement, row)} {judgement.scale.difference(row['difference'])}"


def _image(figure: Figure, folder: Path) -> dict[str, object]:
    """Draw a figure and return the smaller of its files as a data URI, with its size."""
    png, svg = plots.save(figure.figure, folder / figure.name)
    uris = [
        f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode('ascii')}",
        plots.svg_uri(svg.read_text(encoding="utf-8")),
    ]
    width, height = figure.figure.get_size_inches()
    return {
        "uri": min(uris, key=len),
        "file": svg.name,
        "width": round(width * 96),
        "height": round(height * 96),
    }


def _render(judgement: Judgement, name: str, parts: Mapping[str, Sequence[Any] | Mapping[str, Any]]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.reporting"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("judged.html").render(
        name=name, headline=judged_text.headline(judgement),
        read_as=judged_text.read_as(judgement), sentences=list(judged_text.sentences(judgement)),
        scripts=charts.scripts() if parts["figures"] else "", notes=judgement.notes,
        left_out=judged_text.left_out(judgement), unread=plots.fonts.note(),
        samples=judgement.observations.unit == "sample",
        unpaired=judgement.observations.unit == "run",
        **parts,
    )  # fmt: skip
