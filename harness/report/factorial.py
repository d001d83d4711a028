"""What a grid's choices do: main effects, the share of variance of each term, the largest interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import plots, stats
from harness.report.figures import Drawn, intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from harness.report.reading import Reading

EFFECTS = (
    "How far each level lies from the mean of all levels of its axis, averaged over all other choices: "
    "further apart means that the choice matters more. At the right, the level's mean val accuracy."
)


def draw(reading: Reading) -> Iterator[Drawn]:
    """Draw what a grid allows; nothing for other designs."""
    if reading.design == "grid":
        yield from _effects(reading)


def _effects(reading: Reading) -> Iterator[Drawn]:
    effects = stats.main_effects(reading.trials, reading.axes)
    if not effects.empty:
        left = _left_out(stats.effect_cells(reading.trials, reading.axes))
        caption = " ".join([EFFECTS, intervals(effects["n"]), *left])
        seeds = stats.seed_effects(reading.trials, reading.axes)
        yield Drawn("effects", "Main effects", caption, plots.effects_figure(effects, seeds))


def _left_out(cells: pd.DataFrame) -> Iterator[str]:
    rows = cells.to_dict("records")
    for row in rows:
        if row["empty_levels"]:
            levels = ", ".join(row["empty_levels"])
            yield f"No finished trial for {row['axis']} {levels} on {row['dataset']}."
    left = [
        f"{row['left_out']} of {row['cells'] + row['left_out']} ({row['axis']} on {row['dataset']})"
        for row in rows
        if row["left_out"]
    ]
    if left:
        yield (
            "Levels are compared over the combinations of the other choices that every level finished with "
            f"every seed; left out: {', '.join(left)}."
        )
