#!/usr/bin/env bash
# torchmetrics 1.9.0: BinaryCalibrationError and MulticlassCalibrationError of one classifier of two classes.
#
# One expects the same number, or nearly: both are "expected calibration error", in the same bins, of the same predictions,
# once as p and once as (1 - p, p). The binary one asks how far p is from the share of class 1. The other asks it of
# the predicted class alone, as papers on networks do. A classifier that gives class 1 ten points too many is too sure
# where it says 1, not sure enough where it says 0, and in a bin of confidences both meet: the error is hidden. So the
# two cannot be compared, and a small top-label error does not say that each class is calibrated.
#
# Observed (2026-11-30, Python 3.11, PyTorch 2.13.0, NumPy 2.4.6), 100,000 samples, the true probability of class 1 is
# p - 0.1; the script fails if this changes:
#   binary: 0.100
#   multiclass: 0.003
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import torch
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

rng = np.random.default_rng(0)
p = rng.uniform(0.15, 0.85, size=100_000)
labels = torch.tensor(rng.uniform(size=len(p)) < p - 0.1).long()
p = torch.tensor(p).float()
binary = float(BinaryCalibrationError(n_bins=15)(p, labels))
multiclass = float(MulticlassCalibrationError(2, n_bins=15)(torch.stack([1 - p, p], 1), labels))
print(f"binary: {binary:.3f}")
print(f"multiclass: {multiclass:.3f}")
sys.exit(abs(binary - 0.1) > 0.01 or multiclass > 0.02)
PYTHON
