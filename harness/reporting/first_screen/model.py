"""A first screen: rows with an interval each, their picture, and the headline around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PAD = 0.04  # of a picture's axis, on either side
SENTENCES = 3  # of an answer


@dataclass(frozen=True)
class Bar:
    """A row: a value with its interval, in words and as places on the picture's axis."""

    name: str
    small: str  # the data set, where there are several
    value: float  # NaN: no data
    low: float  # NaN: no interval
    high: float
    words: str  # the number with its interval
    verdict: str = ""
    tone: str = "open"  # better, worse, same or open: a colour beside the verdict's words


@dataclass(frozen=True)
class Picture:
    """Rows on one axis."""

    title: str
    note: str  # how to read it
    bars: Sequence[Bar]
    more: int  # rows that are not shown
    link: str  # the heading that has all of them
    zero: float | None = None  # a line across all rows, where there is one
    margin: float = 0.0  # half the width of a band around it

    @property
    def ends(self) -> tuple[float, float]:
        """The axis: from the lowest to the highest of what is drawn, and a little more."""
        drawn = [x for bar in self.bars for x in (bar.value, bar.low, bar.high) if math.isfinite(x)]
        drawn += [] if self.zero is None else [self.zero - self.margin, self.zero + self.margin]
        low, high = min(drawn, default=0.0), max(drawn, default=1.0)
        pad = PAD * (high - low) or 0.5 * abs(high) or 1.0
        return low - pad, high + pad

    def place(self, value: float) -> float:
        """Return a value's place on the axis in %; NaN where there is none."""
        low, high = self.ends
        return round(100 * (value - low) / (high - low), 2) if math.isfinite(value) else math.nan


@dataclass(frozen=True)
class Headline:
    """The first screen of a page."""

    kind: str  # the kind of study, in a few words
    question: str  # the hypothesis; without one, what is varied
    states: bool  # whether the question is the study's hypothesis
    answers: Sequence[str]  # at most SENTENCES sentences
    picture: Picture | None  # None if nothing has finished
    sureness: Sequence[tuple[str, str]]  # label and words: seeds, correction, not tuned, missing
