"""The forest plot: every contrast has its row, its words, and a size that a page can hold."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from harness import plots
from harness.plots import forest

NAN = float("nan")


def table(contrasts: int, series: tuple[str, ...] = ("",), size: float = 0.01) -> pd.DataFrame:
    verdicts = itertools.cycle(["better", "worse", "same within margin", "cannot tell", "no data"])
    rows = []
    for number, verdict in zip(range(contrasts), verdicts, strict=False):
        for which in series:
            middle = {"better": size, "worse": -size, "no data": NAN}.get(verdict, 0.0)
            rows.append(
                {"heading": f"data {number // 20}", "label": f"contrast {number}", "difference": middle,
                 "low": middle - 0.001, "high": middle + 0.001, "verdict": verdict,
                 "words": f"{which} {verdict}", "series": which}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("contrasts", [1, 2, 40, 80])
def test_every_contrast_has_a_row_and_words_and_none_makes_a_page_of_its_own(contrasts: int) -> None:
    figure = plots.forest_figure(table(contrasts), 0.002, "difference")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"contrast {i}" for i in range(contrasts)]
    told = [text.get_text().strip() for text in ax.texts if "data" not in text.get_text()]
    assert {"better", "worse", "same within margin", "cannot tell"} >= set(told)
    assert figure.get_size_inches()[1] < 24


def test_verdicts_differ_in_colour_and_in_marker() -> None:
    (ax,) = plots.forest_figure(table(4), 0.002, "difference").axes
    points = [line for line in ax.lines if str(line.get_marker()) in "<>so"]
    assert [line.get_marker() for line in points] == [">", "<", "s", "o"]
    assert len({to_hex(line.get_markeredgecolor()) for line in points}) == 4
    assert [line.get_xdata()[0] for line in points] == pytest.approx([1, -1, 0, 0])  # type: ignore[index]


def test_the_margin_is_a_band_around_0() -> None:
    (ax,) = plots.forest_figure(table(3), 0.002, "difference").axes
    corners = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (corners.x0, corners.x1) == pytest.approx((-0.2, 0.2))


def test_fixed_is_hollow_and_tuned_filled_on_one_line() -> None:
    (ax,) = plots.forest_figure(table(1, ("fixed", "tuned")), 0.002, "difference").axes
    fixed, tuned = (line for line in ax.lines if line.get_marker() == ">")
    assert fixed.get_markerfacecolor() == "white"
    assert to_hex(tuned.get_markerfacecolor()) == to_hex(forest.LOOKS["better"].color)
    assert fixed.get_ydata()[0] < ax.get_yticks()[0] < tuned.get_ydata()[0]  # type: ignore[index]
    assert len(ax.get_yticks()) == 1


def test_a_difference_that_would_hide_the_margin_makes_the_axis_logarithmic() -> None:
    small, large = table(3), table(3, size=0.5)
    assert not plots.forest_bend(small, 0.002)
    assert plots.forest_bend(large, 0.002)
    scales = [plots.forest_figure(rows, 0.002, "").axes[0].get_xscale() for rows in (small, large)]
    assert scales == ["linear", "symlog"]


def test_rows_without_any_number_are_drawn_as_words() -> None:
    rows = table(5).iloc[4:]
    (ax,) = plots.forest_figure(rows, 0.002, "difference").axes
    assert [text.get_text().strip() for text in ax.texts] == ["no data", "data 0"]
