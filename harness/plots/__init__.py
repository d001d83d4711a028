"""Figures of a study: DataFrame -> matplotlib Axes or Figure, drawn with seaborn, without global state.

The functions that take an `ax` draw one panel; the `*_figure` functions lay panels out. Tables come from
`stats`. Figures are plain `matplotlib.figure.Figure` objects: pyplot is never asked for a current one, and
the style holds only while one of these functions runs. Accuracies come in as shares in 0..1 and are shown
in % or, for differences, in percentage points.
"""

from harness.plots.calibration import reliability_figure
from harness.plots.charts import (
    MAX_LINES,
    Panel,
    arms_figure,
    curves,
    curves_by_arm_figure,
    curves_figure,
    curves_panel,
    differences_figure,
    dots,
    effects_figure,
    log_axis,
)  # fmt: skip
from harness.plots.factorial import Cells, interaction_figure, variance_figure
from harness.plots.figures import new_figure
from harness.plots.forecasts import forecast_figure
from harness.plots.forest import MOST_ROWS, forest_bend, forest_figure
from harness.plots.functions import function
from harness.plots.hidden_layers import activations_figure, filters_figure
from harness.plots.ladder import ladder_figure
from harness.plots.learning_rates import rates_figure
from harness.plots.matrices import confusion, confusion_change, confusion_figure
from harness.plots.panels import public
from harness.plots.search import (
    budget_figure,
    finalists_figure,
    front_figure,
    history_figure,
    hypervolume_figure,
    importance_figure,
    pruning_figure,
)  # fmt: skip
from harness.plots.search_space import Dimension, contour_figure, parallel_figure, slices_figure
from harness.plots.sources import sources_figure
from harness.plots.style import COLORS, GREY, SEED, STYLE, TEST, VAL, save, styled
from harness.plots.survival import survival_figure
from harness.plots.svg import uri as svg_uri

__all__ = [
    "COLORS", "GREY", "MAX_LINES", "MOST_ROWS", "SEED", "STYLE", "TEST", "VAL", "Cells", "Dimension",
    "Panel", "activations_figure", "arms_figure", "budget_figure", "confusion", "confusion_change",
    "confusion_figure", "contour_figure", "curves", "curves_by_arm_figure", "curves_figure",
    "curves_panel", "differences_figure", "dots", "effects_figure", "filters_figure", "finalists_figure",
    "forecast_figure", "forest_bend", "forest_figure", "front_figure", "function", "history_figure",
    "hypervolume_figure", "importance_figure", "interaction_figure", "ladder_figure", "log_axis",
    "new_figure", "parallel_figure", "pruning_figure", "public", "rates_figure", "reliability_figure",
    "save", "slices_figure", "sources_figure", "styled", "survival_figure", "svg_uri", "variance_figure",
]  # fmt: skip
