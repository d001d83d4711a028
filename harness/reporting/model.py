"""The parts of a page: cells, tables, figures, sections, and the page itself."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.stats.verdicts import UNDECIDED
from harness.text import DASH, count, hundredths, p_value, percent, points, significant, span

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import figure as matplotlib_figure

    from harness.reporting.charts import Chart
    from harness.reporting.first_screen.model import Headline
    from harness.text import Row

NONE = "no data"
NUMBERS = ("mean", "low", "high", "n")


@dataclass(frozen=True)
class Cell:
    """Text, a smaller line under it, and what to sort by (None: the text; NaN: always last)."""

    text: str
    small: str = ""
    key: float | None = None

    @property
    def sort(self) -> str:
        """The sort key as an attribute's text; empty sorts last, and so does what is shown as no number."""
        if self.text == DASH:
            return ""
        if self.key is None:
            return self.text
        return "" if math.isnan(self.key) else repr(float(self.key))


@dataclass(frozen=True)
class Column:
    """A column of a table: its header, and how its cells are made.

    `cell`: the key of a record's text or number, or a function record -> cell. `show`: "" always, "wide" or
    "narrow" only on such a screen, "long" with room for words: on a narrow screen, those of the wide ones.
    """

    name: str
    cell: str | Callable[[Any], Cell] = ""
    numeric: bool = False
    show: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table with the words that say how to read it.

    `data`: its numbers in full, for files beside the page; None where none are written. `searched`: its rows
    are arms, or contrasts of them, which the page's search filters.
    """

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    data: pd.DataFrame | None = None
    searched: bool = False

    def stacked(self, row: Sequence[Cell]) -> str:
        """Put a row's wide cells into words, which a narrow screen shows in the long one; dashes left out."""
        beside = [
            (column.name, cell)
            for column, cell in zip(self.columns, row, strict=True)
            if column.show == "wide" and cell.text not in (DASH, "")
        ]
        return ", ".join(
            f"{name} {cell.text}{f' ({cell.small})' if cell.small else ''}" for name, cell in beside
        )


@dataclass(frozen=True)
class Figure:
    """A figure with its words.

    `folded`: the page shows it only on request. `chart`: the same numbers, to be explored; the figure is what
    is seen on paper and without scripts.
    """

    name: str
    title: str
    caption: str
    figure: matplotlib_figure.Figure
    folded: bool = False
    chart: Chart | None = None

    @property
    def titled(self) -> bool:
        """Tell whether the picture has the title in itself, so that paper needs it nowhere else."""
        drawn = [ax.get_title(loc="left") for ax in self.figure.axes]
        return self.title in [" ".join(title.split()) for title in drawn]


@dataclass(frozen=True)
class Section:
    """A heading with everything below it, in this order.

    `opened`: the page shows it from the start; all others on request.
    """

    name: str  # the fragment that leads to it; fit for an address
    title: str  # the heading, also in the page's contents
    words: Sequence[str] = ()  # paragraphs
    tables: Sequence[Table] = ()  # sortable
    figures: Sequence[Figure] = ()  # below the tables
    parts: Sequence[Section] = ()  # smaller headings, last
    opened: bool = False

    @property
    def every_figure(self) -> list[Figure]:
        """All figures, those of its parts last."""
        return [*self.figures, *(figure for part in self.parts for figure in part.every_figure)]

    @property
    def every_table(self) -> list[Table]:
        """All tables, those of its parts last."""
        return [*self.tables, *(table for part in self.parts for table in part.every_table)]

    @property
    def holds(self) -> str:
        """Say what is below the heading: "1 table, 2 figures"."""
        numbers = {"table": len(self.every_table), "figure": len(self.every_figure)}
        return ", ".join(count(n, noun) for noun, n in numbers.items() if n)


@dataclass(frozen=True)
class Page:
    """A report, or a part of one.

    `facts`: numbers and settings for the page's standing text.
    """

    headline: Headline | None = None  # the first screen
    answers: Sequence[Sequence[str]] = ()  # paragraphs of sentences
    tables: Sequence[Table] = ()  # those of the verdicts
    figures: Sequence[Figure] = ()  # those of the verdicts
    sections: Sequence[Section] = ()  # in the order in which they are read
    data: Sequence[Section] = ()  # a section a data set, on its images
    files: Sequence[Table] = ()  # tables that are written to files and not shown
    missing: Sequence[Section] = ()  # trials without a result: a section for each reason, a paragraph an arm
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def every_figure(self) -> list[Figure]:
        """All figures, in the page's order."""
        sections = (*self.sections, *self.data)
        return [*self.figures, *(figure for part in sections for figure in part.every_figure)]

    @property
    def every_table(self) -> list[Table]:
        """All tables that are written to files."""
        shown = [*self.tables, *(table for part in self.sections for table in part.every_table), *self.files]
        return [table for table in shown if table.data is not None]


def rows_of(columns: Sequence[Column], records: Iterable[Any]) -> list[list[Cell]]:
    """Make a row of cells for each record, such as a row of a DataFrame."""
    return [[_cell(column, record) for column in columns] for record in records]


def _cell(column: Column, record: Any) -> Cell:
    if not isinstance(column.cell, str):
        return column.cell(record)
    value = record[column.cell]
    return Cell(str(value), key=value if column.numeric else None)


def accuracy_cell(row: Row, name: str = "{}") -> Cell:
    """Show a mean accuracy in % with its interval; no data where n is 0.

    `row` has mean, low, high and n, under names such as "shown_{}".
    """
    mean, low, high, n = (row[name.format(part)] for part in NUMBERS)
    if not n:
        return Cell(NONE, key=math.nan)
    return Cell(percent(mean, 2), span({"low": low, "high": high, "n": n}, hundredths), mean)


def share_cell(share: float, small: str = "", digits: int = 1) -> Cell:
    """Show a share in %; no data for NaN."""
    return Cell(NONE, key=math.nan) if math.isnan(share) else Cell(percent(share, digits), small, share)


def number_cell(row: Row, digits: int = 3) -> Cell:
    """Show a mean with its interval (mean, low, high, n); no data where n is 0."""
    if not row["n"]:
        return Cell(NONE, key=math.nan)
    return Cell(significant(row["mean"], digits), span(row, significant), float(row["mean"]))


def p_cell(row: Row) -> Cell:
    """Show the corrected p of a contrast."""
    return Cell(p_value(row["p_holm"]), key=row["p_holm"])


def more_cell(row: Row) -> Cell:
    """Show how many more seeds an undecided contrast needs to show its margin; a dash for any other."""
    more = row["more_seeds"]
    known = row["verdict"] == UNDECIDED and math.isfinite(more)
    return Cell(f"{more:,.0f}" if known else DASH, key=more)


def difference_cell(row: Row, name: str = "{}") -> Cell:
    """Show a difference in points with its interval; no data where n is 0.

    `row` has difference, low, high and n, under names such as "{}_test".
    """
    difference, low, high, n = (row[name.format(part)] for part in ("difference", *NUMBERS[1:]))
    if not n > 0:
        return Cell(NONE, key=math.nan)
    return Cell(points(difference, sign=True), span({"low": low, "high": high, "n": n}), difference)


def slug(name: str) -> str:
    """Make a name fit for a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"
