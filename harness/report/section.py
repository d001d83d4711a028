"""A section of the page of its own: words, tables and figures under one heading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.figures import Drawn
    from harness.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order.

    Attributes:
        name: the fragment that leads to it; fit for an address.
        title: the heading, also in the page's contents.
        words: paragraphs.
        tables: sortable; shown at their full height.
        drawn: figures.
    """

    name: str
    title: str
    words: Sequence[str]
    tables: Sequence[Table] = field(default=())
    drawn: Sequence[Drawn] = field(default=())
