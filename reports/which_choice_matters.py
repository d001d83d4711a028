"""Which choice matters? Print the axes of a grid by the spread they make, and draw their main effects.

python reports/which_choice_matters.py results/choices --out effects
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import plots, report, stats


def main() -> None:
    """Read the command line, print the spreads, write the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results folder of a grid")
    parser.add_argument("--out", type=Path, default=Path("effects"), help="figure, without .png and .svg")
    options = parser.parse_args()

    reading = report.read(options.results)
    spreads = stats.axis_spreads(reading.trials, reading.axes)
    effects = stats.main_effects(reading.trials, reading.axes)
    if effects.empty:
        parser.error(f"{options.results} has no axis with two finished levels in common")
    print(spreads.round(4).to_string(index=False))
    figure = plots.effects_figure(effects, stats.seed_effects(reading.trials, reading.axes))
    print(*plots.save(figure, options.out), sep="\n")


if __name__ == "__main__":
    main()
