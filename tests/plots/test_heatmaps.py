"""Tables as coloured cells: their colours, their texts, and what drawing them costs."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from harness import plots
from harness.plots.heatmaps import heatmap

VALUES = np.array([[0.0, 1.0, np.nan], [0.25, 2.0, 0.0]])
WRITTEN = [["0", "1", ""], ["low", "2", "0"]]


def test_cells_have_their_colours_and_texts_that_can_be_read() -> None:
    ax = Figure().add_subplot()
    colors = mpl.colormaps["Greys"].with_extremes(bad="red", over="blue")
    heatmap(
        ax, VALUES, WRITTEN, ends=(0, 1), colors=colors, names=("ab", "xyz"), size=8, bar={"label": "what"}
    )
    (mesh,) = ax.collections
    shades = mesh.to_rgba(np.ma.masked_invalid(VALUES))
    assert tuple(shades[0, 2][:3]) == to_rgb("red")
    assert tuple(shades[1, 1][:3]) == to_rgb("blue")
    texts = {text.get_position(): (text.get_text(), text.get_color()) for text in ax.texts}
    assert texts == {
        (0.5, 0.5): ("0", "0.15"), (1.5, 0.5): ("1", "w"), (0.5, 1.5): ("low", "0.15"),
        (1.5, 1.5): ("2", "w"), (2.5, 1.5): ("0", "0.15"), (2.5, 0.5): ("", "w"),
    }  # fmt: skip
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim() == (2, 0), "the first row is on top"
    assert ax.figure.axes[1].get_ylabel() == "what"


def test_a_figure_of_many_matrices_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    draw = Figure.draw

    def counted(figure: Figure, renderer: Any) -> None:
        drawn.append(figure)
        draw(figure, renderer)

    monkeypatch.setattr(Figure, "draw", counted)
    counts = pd.DataFrame(np.diag([5, 6, 7]) + 1)
    plots.confusion_figure({f"arm {i}": counts for i in range(4)}, ["a", "b", "c"], {"change": counts})
    assert len(drawn) == 1
