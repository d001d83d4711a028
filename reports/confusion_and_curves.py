"""Draw confusion matrices and learning curves of chosen arms.

python reports/confusion_and_curves.py results/choices --where activation=relu,optimizer=adam --out relu
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import plots, reporting
from harness.errors import MachineError, UsageError


def main() -> None:
    """Parse the command line, and report errors without a traceback."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results folder")
    parser.add_argument("--where", default="", metavar="SETTING=VALUE,...", help="which arms; default: all")
    parser.add_argument("--most", type=int, default=3, help="arms to draw for each data set, best first")
    parser.add_argument("--out", default="arms", help="how the names of the figures begin")
    options = parser.parse_args()
    try:
        draw(options)
    except (UsageError, MachineError) as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    except OSError as error:
        parser.exit(MachineError.exit_code, f"error: the figure cannot be written: {error}\n")


def draw(options: argparse.Namespace) -> None:
    """Write two figures for each data set: confusion matrices and learning curves.

    Raises:
        UsageError: the folder is not a results folder, or no trial meets the conditions.
    """
    reading = reporting.where(reporting.read(options.results), options.where)
    ranking = reporting.rank(reading).query("rank.notna()")
    for dataset in dict.fromkeys(ranking["dataset"]):
        trials = reading.trials[reading.trials["dataset"].eq(dataset)]
        labels = ranking.loc[ranking["dataset"].eq(dataset), "label"].head(options.most)
        matrices = {label: reporting.arm_confusion(reading, dataset, label) for label in labels}
        confusion = plots.confusion_figure(matrices, reading.classes(dataset))
        curves = plots.curves_figure(
            reporting.arm_panels(reading, trials, list(labels)), "split", len(labels)
        )
        for name, figure in (("confusion", confusion), ("curves", curves)):
            print(*plots.save(figure, Path(f"{options.out}-{dataset}-{name}")), sep="\n")


if __name__ == "__main__":
    main()
