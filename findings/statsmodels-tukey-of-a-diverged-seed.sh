#!/usr/bin/env bash
# statsmodels 0.15.0: pairwise_tukeyhsd of three arms with five seeds, where one seed of one arm has diverged.
#
# One expects the other two arms, whose accuracies do not overlap, to be found different as before. The test pools the
# variance over all arms. With NaN for the diverged seed it is NaN: no pair has a p value, and the table says reject
# "False" for each, as if all had been judged. With what a diverged network has, the accuracy of chance, the variance
# is that of this one seed, and no pair differs either. Only where the seed is left out do all three.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6, SciPy 1.17.1, pandas 3.1.1); the script fails if this changes:
#   the seed is left out: 3 of 3 pairs differ, b against c: p = 0.0000, reject True
#   the seed is NaN: 0 of 3 pairs differ, b against c: p = nan, reject False
#   the seed is at chance: 0 of 3 pairs differ, b against c: p = 0.9993, reject False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from statsmodels.stats.multicomp import pairwise_tukeyhsd

ARMS = np.repeat(["a", "b", "c"], 5)
ACCURACIES = np.repeat([0.970, 0.975, 0.980], 5) + np.tile([-0.0010, -0.0005, 0.0, 0.0005, 0.0010], 3)


def with_first(accuracy):
    return pairwise_tukeyhsd(np.array([accuracy, *ACCURACIES[1:]]), ARMS)


judged = {
    "left out": pairwise_tukeyhsd(ACCURACIES[1:], ARMS[1:]),
    "NaN": with_first(np.nan),
    "at chance": with_first(0.098),
}
for words, result in judged.items():
    p, found = result.pvalues, result.reject.tolist()
    print(f"the seed is {words}: {sum(found)} of 3 pairs differ, b against c: p = {p[2]:.4f}, reject {found[2]}")
left_out, nan, chance = judged.values()
seen = [left_out.reject.all(), not nan.reject.any(), np.isnan(nan.pvalues).all(), not chance.reject.any()]
sys.exit(not all(seen))
PYTHON
