"""The worth of a search's choice: of the best suggestion, or of a few trained anew with some seeds.

`python tests/benchmarks/worth_of_finalists.py FOLDER` reads a search that had ten finalists with many
seeds. Again and again it takes a few seeds at random, picks the best of the first few finalists by these,
and looks at the mean of the picked one over the other seeds. It prints that mean, and how much the number
that it was picked by was too good, both in %.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import harness

PICKS = 4000
FINALISTS = (1, 2, 3, 5, 10)
SEEDS = (1, 3, 5, 10)


def read(folder: Path) -> tuple[pd.Series[float], pd.DataFrame]:
    """Read the finalists' val accuracies: in the search, and by seed with a column an arm, the best first."""
    trials = harness.read(folder / "finalists").trials
    values = trials.pivot_table(index="seed", columns="arm", values="val_accuracy", dropna=False)
    searched = pd.read_csv(folder / "suggestions.csv").set_index("arm")["val_accuracy"]
    searched = searched[values.columns].sort_values(ascending=False, kind="stable")
    return searched, values[searched.index]


def picked(
    values: NDArray[np.float64], finalists: int, seeds: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the mean of the picked one over the other seeds, and by how much its own seeds were too good."""
    worth, excess = [], []
    for _ in range(PICKS):
        order = rng.permutation(len(values))
        own, others = values[order[:seeds], :finalists], values[order[seeds:], :finalists]
        place = own.mean(axis=0).argmax()
        worth.append(others[:, place].mean())
        excess.append(own[:, place].mean() - others[:, place].mean())
    return 100 * float(np.mean(worth)), 100 * float(np.mean(excess))


def main(folder: Path) -> None:
    searched, values = read(folder)
    print(f"in the search {100 * searched.iloc[0]:.2f}, its mean {100 * values.iloc[:, 0].mean():.2f}")
    print(pd.DataFrame({"searched": searched, "mean": values.mean(), "sd": values.std()}).mul(100).round(2))
    for finalists in FINALISTS:
        rng = np.random.default_rng(0)
        cells = [picked(values.to_numpy(), finalists, seeds, rng) for seeds in SEEDS]
        print(f"{finalists:>2} finalists: " + "; ".join(
            f"{seeds} seeds {worth:.2f} ({excess:+.2f})"
            for seeds, (worth, excess) in zip(SEEDS, cells, strict=True)
        ))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
