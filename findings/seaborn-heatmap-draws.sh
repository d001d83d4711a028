#!/usr/bin/env bash
# seaborn 0.13.2, matplotlib 3.11.1: a heatmap draws its whole figure while it is being made.
#
# One expects of a function that adds artists to an Axes that drawing waits for savefig. To turn tick labels that overlap,
# seaborn.heatmap draws the figure of the Axes it was given, with every panel that is there already and its layout, even where
# the labels are given. Six heatmaps in a figure are six draws and 21 draws of heatmaps, before the figure is saved: time
# grows with the square of the panels. matplotlib's pcolormesh draws nothing.
#
# Observed (2026-11-30, Python 3.11):
#   figures drawn while 1, 2, 4, 6 heatmaps are made: 1 2 4 6; heatmaps drawn meanwhile: 1 3 10 21; by pcolormesh 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet seaborn==0.13.2 matplotlib==3.11.1 numpy==2.4.6 pandas==3.1.1
cat > "$folder/draws.py" <<'PYTHON'
import sys

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

figures, meshes = [], []
figure_draw, mesh_draw = Figure.draw, QuadMesh.draw
Figure.draw = lambda self, renderer: (figures.append(self), figure_draw(self, renderer))[1]
QuadMesh.draw = lambda self, renderer: (meshes.append(self), mesh_draw(self, renderer))[1]
values = np.arange(9.0).reshape(3, 3)


def draws(panels, make):
    figures.clear(), meshes.clear()
    for ax in plt.subplots(1, panels, squeeze=False)[1][0]:
        make(ax)
    return len(figures), len(meshes)


def heatmap(ax):
    sns.heatmap(values, ax=ax, cbar=False, xticklabels=list("abc"), yticklabels=list("abc"))


seen = [draws(panels, heatmap) for panels in (1, 2, 4, 6)]
plain = draws(6, lambda ax: ax.pcolormesh(values))
print("heatmaps:", *seen, " pcolormesh:", plain)
sys.exit(seen != [(1, 1), (2, 3), (4, 10), (6, 21)] or plain != (0, 0))
PYTHON
"$folder/env/bin/python" "$folder/draws.py"
