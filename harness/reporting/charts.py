"""Charts that can be explored: the numbers behind a figure, as a page's script reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Axis:
    """An axis of a chart: its words, and its scale. `percent`: values are shares, shown in %."""

    label: str
    log: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Series:
    """A line or a cloud of points.

    `name` is what a reader picks in the legend (an arm, mostly). `low` and `high` are the ends of an interval
    around `y`. `labels` say what each point is when it is pointed at; one label stands for all of them.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    labels: Sequence[str] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of several series on one pair of axes."""

    kind: Literal["lines", "points"]
    x: Axis
    y: Axis
    series: Sequence[Series]

    def as_json(self) -> dict[str, Any]:
        """Return the chart as plain JSON values; a number that is not finite becomes null."""
        return {
            "kind": self.kind,
            "x": {"label": self.x.label, "log": self.x.log, "percent": self.x.percent},
            "y": {"label": self.y.label, "log": self.y.log, "percent": self.y.percent},
            "series": [_series(one) for one in self.series],
        }


def _series(series: Series) -> dict[str, Any]:
    numbers = {"x": series.x, "y": series.y, "low": series.low, "high": series.high}
    kept = {name: [_number(value) for value in values] for name, values in numbers.items() if len(values)}
    return {"name": series.name, "dashed": series.dashed, "labels": list(series.labels), **kept}


def _number(value: float) -> float | None:
    """Return a number with seven digits, as much as can be seen; None where it is not finite."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
