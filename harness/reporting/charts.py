"""Charts that can be explored: the numbers behind a figure, as a page's script reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal, TypeAlias

LIBRARY = ("chart.umd.min.js", "charts.js")
"""The scripts of a page with charts, in this order: Chart.js as it is published, and what draws with it."""

Mark: TypeAlias = Literal["", "circle", "hollow", "tick", "diamond", "steps"]


@dataclass(frozen=True)
class Axis:
    """An axis of a chart: its words, and its scale.

    `percent`: values are shares, shown in %; `points`: differences of shares, shown in points. `log` and
    `error`: logarithmic in the values, or in what an accuracy lacks to 1; `bend`: linear below this absolute
    value and logarithmic above. `low`: where the axis begins at first, above some values. `names`: the values
    are 0, 1, 2, ..., and these their names, of one line or two; `beside`: words at the right of a name's row.
    """

    label: str
    log: bool = False
    percent: bool = False
    points: bool = False
    error: bool = False
    bend: float | None = None
    low: float | None = None
    names: Sequence[str] = ()
    beside: Sequence[str] = ()


@dataclass(frozen=True)
class Series:
    """A line or a cloud of points.

    `name` is what a reader picks in the legend (an arm, mostly); series of one name are picked together.
    `low` and `high` are the ends of an interval around `y`, and `span` is the word for it. `labels` say what
    each point is when it is pointed at; one label stands for all of them. `mark` is a point's look: `tick` a
    line across its interval, `steps` no points but a line of steps. `color` is its place in the palette, by
    the order of names unless given.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    labels: Sequence[str] = ()
    dashed: bool = False
    mark: Mark = ""
    span: str = "interval"
    color: int | None = None


@dataclass(frozen=True)
class Chart:
    """A chart of several series on one pair of axes.

    `title` names it among `others`, further charts of the same figure, one of which is seen at a time.
    `note`: what the chart shows otherwise than the figure, in words. `rows`: x runs downwards, a row a value,
    and y across. `band`: two values of y with a shade between them.
    """

    kind: Literal["lines", "points"]
    x: Axis
    y: Axis
    series: Sequence[Series]
    title: str = ""
    note: str = ""
    rows: bool = False
    band: tuple[float, float] | None = None
    others: Sequence[Chart] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the chart as plain JSON values; a number that is not finite becomes null.

        A series without x has that of the first one: lines share it mostly.
        """
        series = [_series(one) for one in self.series]
        for one in series[1:]:
            if one["x"] == series[0]["x"]:
                del one["x"]
        return {
            "kind": self.kind, "title": self.title, "note": self.note, "rows": self.rows,
            "x": _axis(self.x), "y": _axis(self.y),
            "band": None if self.band is None else [_number(value) for value in self.band],
            "series": series,
            "others": [other.as_json() for other in self.others],
        }  # fmt: skip

    def embedded(self) -> str:
        """Return the chart as JSON for a page's <script type="application/json">, which no name can end."""
        text = json.dumps(self.as_json(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c")


def together(charts: Sequence[Chart]) -> Chart | None:
    """Make charts the views of one, the first seen first; None if there is none."""
    return replace(charts[0], others=charts[1:]) if charts else None


def scripts() -> str:
    """Return what a page with charts needs in its <script>: the library with its notice, and ours."""
    folder = resources.files("harness.reporting") / "assets"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in LIBRARY)


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "label": axis.label, "log": axis.log, "percent": axis.percent, "points": axis.points,
        "error": axis.error, "bend": axis.bend, "low": None if axis.low is None else _number(axis.low),
        "names": list(axis.names), "beside": list(axis.beside),
    }  # fmt: skip


def _series(series: Series) -> dict[str, Any]:
    numbers = {"x": series.x, "y": series.y, "low": series.low, "high": series.high}
    kept = {
        name: [_number(value) for value in values]
        for name, values in numbers.items() if len(values) or name in {"x", "y"}
    }  # fmt: skip
    looks: dict[str, Any] = {"mark": series.mark} if series.mark else {}
    if series.color is not None:
        looks["color"] = series.color
    if "low" in kept:
        looks["span"] = series.span
    return {"name": series.name, "dashed": series.dashed, "labels": list(series.labels), **looks, **kept}


def _number(value: float) -> float | None:
    """Return a number with seven digits, as much as can be seen; None where it is not finite."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.7g}")
    return int(rounded) if rounded.is_integer() else rounded
