#!/usr/bin/env bash
# torchmetrics 1.9.0: BinaryAccuracy of a network's logits, updated with batches of several sizes.
#
# One expects the accuracy of 1,000 fixed predictions to be one number. Whether they are logits is guessed anew at
# each update, by whether any of the batch is outside of 0..1: then they pass a sigmoid, and are split at 0. A batch
# whose logits all happen to lie in 0..1 counts as probabilities, and is split at 0.5. In small batches, and with the
# small logits of a network that has hardly begun, that happens: the number depends on the batch size, and the last,
# smaller batch is measured otherwise than the rest. torch.sigmoid before the update gives one number.
#
# Observed (2026-11-30, Python 3.11, PyTorch 2.13.0, NumPy 2.4.6); the script fails if this changes:
#   batches of 1: 73.8 % of logits, 81.7 % of their sigmoids
#   batches of 2: 78.4 % of logits, 81.7 % of their sigmoids
#   batches of 4: 81.8 % of logits, 81.7 % of their sigmoids
#   batches of 64: 81.7 % of logits, 81.7 % of their sigmoids
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import torch
from torchmetrics.classification import BinaryAccuracy

rng = np.random.default_rng(0)
labels = rng.integers(0, 2, 1000)
logits = torch.tensor(0.7 * (rng.normal(size=1000) + 0.8 * (2 * labels - 1)), dtype=torch.float32)
labels = torch.tensor(labels)


def accuracy(predictions, batch):
    metric = BinaryAccuracy()
    for start in range(0, len(labels), batch):
        metric.update(predictions[start : start + batch], labels[start : start + batch])
    return f"{100 * metric.compute():.1f} %"


seen = {batch: (accuracy(logits, batch), accuracy(logits.sigmoid(), batch)) for batch in (1, 2, 4, 64)}
for batch, (of_logits, of_sigmoids) in seen.items():
    print(f"batches of {batch}: {of_logits} of logits, {of_sigmoids} of their sigmoids")
sys.exit(list(seen.values()) != [(value, "81.7 %") for value in ("73.8 %", "78.4 %", "81.8 %", "81.7 %")])
PYTHON
