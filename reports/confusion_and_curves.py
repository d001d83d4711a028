"""Draw confusion matrices and learning curves of chosen arms, from trials.csv, epochs.csv and confusion.csv.

python reports/confusion_and_curves.py results/choices --where activation=relu,optimizer=adam --out relu

The tables may lie alone in a folder, without study.toml, plain or packed by gzip (docs/tables.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from harness import plots, reporting
from harness.errors import MachineError, UsageError
from harness.reporting.model import slug


def main() -> None:
    """Parse the command line, and report errors without a traceback."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of the tables")
    parser.add_argument("--where", default="", metavar="SETTING=VALUE,...", help="which arms; default: all")
    parser.add_argument("--most", type=int, default=3, help="arms to draw for each data set, best first")
    parser.add_argument("--out", default="arms", help="how the names of the figures begin")
    options = parser.parse_args()
    if options.most < 1:
        parser.error(f"argument --most: allowed: 1 or more, not {options.most}")
    try:
        draw(options)
    except (UsageError, MachineError) as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    except OSError as error:
        parser.exit(MachineError.exit_code, f"error: the figure cannot be written: {error}\n")


def draw(options: argparse.Namespace) -> None:
    """Write two figures for each data set: confusion matrices and learning curves.

    Raises:
        UsageError: the folder has no such tables, or nothing in them to draw for these conditions.
    """
    reading = reporting.where(reporting.read_tables(options.results), options.where)
    ranking = reporting.rank(reading).query("rank.notna()")
    if ranking.empty:
        raise UsageError(f"{options.results}: no trial of these has finished with a val accuracy, to draw it")
    for dataset in dict.fromkeys(ranking["dataset"]):
        labels = list(ranking.loc[ranking["dataset"].eq(dataset), "label"].head(options.most))
        stem = f"{options.out}-{slug(dataset)}"
        print(*plots.save(confusion(reading, dataset, labels), Path(f"{stem}-confusion")), sep="\n")
        print(*plots.save(curves(reading, dataset, labels), Path(f"{stem}-curves")), sep="\n")


def confusion(reading: reporting.ReportData, dataset: str, labels: Sequence[str]) -> Figure:
    """Draw the confusion matrices of arms on test, each summed over its finished seeds."""
    matrices = {label: reporting.arm_confusion(reading, dataset, label) for label in labels}
    empty = [label for label, counts in matrices.items() if not counts.to_numpy().any()]
    if empty:
        raise UsageError(f"{reading.results.folder}: confusion.csv has no rows of test for {empty[0]!r}")
    return plots.confusion_figure(matrices, reading.classes(dataset))


def curves(reading: reporting.ReportData, dataset: str, labels: Sequence[str]) -> Figure:
    """Draw the learning curves of arms, accuracy above loss."""
    panels = reporting.arm_panels(reading, reading.of(dataset), labels)
    if all(panel.table.empty for panel in panels):
        raise UsageError(f"{reading.results.folder}: epochs.csv has no rows for {labels[0]!r}")
    return plots.curves_figure(panels, "split", len(labels))


if __name__ == "__main__":
    main()
