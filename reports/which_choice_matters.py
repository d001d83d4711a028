"""Rank the axes of a grid by the spread they make, and draw their main effects, from trials.csv.

python reports/which_choice_matters.py results/choices --out effects

trials.csv may lie alone in a folder, without study.toml; docs/tables.md has its form.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import plots, reporting, stats
from harness.errors import MachineError, UsageError


def main() -> None:
    """Parse the command line, and report errors without a traceback."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of a grid's trials.csv")
    parser.add_argument("--out", type=Path, default=Path("effects"), help="figure, without .png and .svg")
    options = parser.parse_args()
    try:
        draw(options.results, options.out)
    except (UsageError, MachineError) as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    except OSError as error:
        parser.exit(MachineError.exit_code, f"error: the figure cannot be written: {error}\n")


def draw(folder: Path, out: Path) -> None:
    """Print the spreads of a results folder's axes, and write the figure of their main effects.

    Raises:
        UsageError: the folder has no such table, or no axis has two finished levels.
    """
    reading = reporting.read_tables(folder, ["trials"])
    spreads = stats.axis_spreads(reading.trials, reading.axes)
    effects = stats.main_effects(reading.trials, reading.axes)
    if effects.empty:
        raise UsageError(f"{folder} has no axis with two levels that finished; report a grid that has one")
    print(spreads.round(4).to_string(index=False))
    figure = plots.effects_figure(effects, stats.seed_effects(reading.trials, reading.axes))
    print(*plots.save(figure, out), sep="\n")


if __name__ == "__main__":
    main()
