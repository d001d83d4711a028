#!/usr/bin/env bash
# SciPy 1.17.1: mannwhitneyu of three seeds an arm, and of the same accuracies as they are rounded for a table.
#
# One expects that three against three can never be significant at 5 %: of the 20 ways to share out six numbers,
# two are the most extreme, p = 0.1. Without ties the function counts them. Two equal values anywhere, and it takes
# the normal approximation, whatever the sizes: the rounded accuracies are "significant" where the exact ones are
# not. method=PermutationMethod() counts with ties too, and gives 0.1.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6); the script fails if this changes:
#   97.11 97.08 97.14 against 98.02 97.96 97.99: p = 0.1000, counted 0.1000
#   97.1 97.1 97.1 against 98.0 98.0 98.0: p = 0.0469, counted 0.1000
#   97 97 97 against 98 98 98: p = 0.0469, counted 0.1000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

from scipy.stats import PermutationMethod, mannwhitneyu

ONE, OTHER = (97.11, 97.08, 97.14), (98.02, 97.96, 97.99)
ps = []
for places in (2, 1, 0):
    a, b = ([round(value, places) for value in arm] for arm in (ONE, OTHER))
    p, counted = mannwhitneyu(a, b).pvalue, mannwhitneyu(a, b, method=PermutationMethod()).pvalue
    words = [" ".join(f"{value:.{places}f}" for value in arm) for arm in (a, b)]
    print(f"{words[0]} against {words[1]}: p = {p:.4f}, counted {counted:.4f}")
    ps.append((round(float(p), 4), round(float(counted), 4)))
sys.exit(ps != [(0.1, 0.1), (0.0469, 0.1), (0.0469, 0.1)])
PYTHON
