"""Rows of published tables: what a source says, the band around it, and the arm of ours beside it.

docs/published/rows.toml lists them. A band is the published accuracy, plus and minus two standard errors of
an accuracy on so many test images, and half a unit of the last digit that was printed.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.study.reading import load
from harness.study.study import Study

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS = CHECKOUT / "docs" / "published" / "rows.toml"
STUDIES = CHECKOUT / "ablations" / "published"
ERRORS = 2  # standard errors of an accuracy, on either side
INSIDE, EDGE, OUTSIDE = "inside", "at the edge", "outside"
Reading: TypeAlias = Literal["test", "val", "best val", "val where training stopped"]
"""What of a trial is held against a row: its accuracy on test, on val at the end, at val's best epoch, or at
the epoch where scikit-learn would have stopped."""


class Reason(BaseModel):
    """An arm that may show why a row is outside: what differs in it, in words.

    `reads` is given where it is another reading that differs; `afterwards` says that nobody had thought of it
    before our numbers were seen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    arm: str
    differs: str = Field(min_length=1)
    reads: Reading | None = None
    afterwards: bool = False


class Row(BaseModel):
    """A number that a source prints, in percent, as accuracy or as error; and our arm for it.

    `chose` says what of its own training the source reports, `where` the place in it. `images` are those of
    its test file, `trainings` those that the number is the mean of, or the best of where `best` says so.
    `epochs_unsaid`: the source does not say after how many epochs, so that another epoch may be theirs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    network: str
    data: str
    accuracy: str = ""
    error: str = ""
    chose: str
    where: str
    arm: str
    reads: Reading
    images: int = Field(default=10_000, ge=1)
    trainings: int = Field(default=1, ge=1)
    best: bool = False
    epochs_unsaid: bool = False
    reasons: tuple[Reason, ...] = ()

    @model_validator(mode="after")
    def _one_number(self) -> Row:
        if bool(self.accuracy) == bool(self.error):
            raise ValueError("accuracy or error, one of them, in percent as the source prints it")
        if not 0 < self.share < 1:
            raise ValueError(f"{self.accuracy or self.error} is no share of images in percent")
        return self

    @property
    def share(self) -> float:
        """The published accuracy, in 0..1."""
        printed = Decimal(self.accuracy or self.error) / 100
        return float(printed if self.accuracy else 1 - printed)

    @property
    def printed(self) -> tuple[float, float]:
        """The least and the greatest accuracy that is printed so."""
        _, _, exponent = Decimal(self.accuracy or self.error).as_tuple()
        half_a_unit = float(Decimal(5).scaleb(int(exponent) - 1) / 100)
        return self.share - half_a_unit, self.share + half_a_unit

    @property
    def band(self) -> tuple[float, float]:
        """The least and the greatest accuracy that the row may stand for."""
        low, high = self.printed
        error = ERRORS * math.sqrt(self.share * (1 - self.share) / self.images)
        return low - error, high + error


class Source(BaseModel):
    """A publication: its title, what of it was read, what it does not say, and the minutes of our study.

    `outcome` says what became of the study's hypothesis where that is more than the verdicts of the rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    read: str
    unsaid: str = ""
    outcome: str = ""
    minutes: float = Field(gt=0)

    @property
    def study_file(self) -> Path:
        """The study that trains its networks."""
        return STUDIES / f"{self.name}.toml"

    def study(self) -> Study:
        """Read that study as it is today."""
        return load(self.study_file)


@dataclass(frozen=True)
class Published:
    """All sources, and their rows, in the order of the file."""

    sources: Sequence[Source]
    rows: Sequence[Row]

    def rows_of(self, source: Source) -> list[Row]:
        """List the rows of a source."""
        return [row for row in self.rows if row.source == source.name]


def read(path: Path = ROWS) -> Published:
    """Read the sources and rows of a file.

    Raises:
        ValueError: a table is not as its class says, or a row names a source that is not listed.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    sources = [Source.model_validate(table) for table in tables["sources"]]
    rows = [Row.model_validate(table) for table in tables["rows"]]
    names = {source.name for source in sources}
    if strangers := sorted({row.source for row in rows} - names):
        raise ValueError(f"rows of {', '.join(strangers)}; sources listed: {', '.join(sorted(names))}")
    return Published(sources, rows)


def judge(low: float, high: float, band: tuple[float, float]) -> str:
    """Say where an interval lies: inside a band, across its edge, or outside; empty without an interval."""
    if math.isnan(low) or math.isnan(high):
        return ""
    if band[0] <= low and high <= band[1]:
        return INSIDE
    return OUTSIDE if high < band[0] or low > band[1] else EDGE
