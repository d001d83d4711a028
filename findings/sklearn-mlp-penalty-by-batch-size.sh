#!/usr/bin/env bash
# scikit-learn 1.9.1: MLPClassifier's alpha, the strength of its L2 penalty, at several batch sizes.
#
# One expects a study of batch sizes to keep the penalty as it is: the documentation says that the penalty is divided by
# the sample size, which one takes for the images of the training set. It is divided by the size of each batch. At one
# learning rate, a step with batches of 1 shrinks the weights a thousand times as much as one with batches of 1,000,
# and such an epoch has a thousand times as many steps. In other libraries' words the decay is alpha / batch size:
# alpha = 1e-4 in batches of 200 is 5e-7.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6), first-layer weights after an epoch on 1,000 black images, for which
# their loss has no gradient: SGD, lr 0.01, alpha 1; the script fails if this changes:
#   batches of 1: 0.0000 of the start, (1 - lr alpha / 1) ** 1000 is 0.0000
#   batches of 10: 0.9048 of the start, (1 - lr alpha / 10) ** 100 is 0.9048
#   batches of 100: 0.9990 of the start, (1 - lr alpha / 100) ** 10 is 0.9990
#   batches of 1000: 1.0000 of the start, (1 - lr alpha / 1000) ** 1 is 1.0000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from sklearn.neural_network import MLPClassifier

LR, ALPHA, N = 0.01, 1.0, 1000
IMAGES, LABELS = np.zeros((N, 5)), np.tile([0, 1], N // 2)


def size(batch, lr, alpha):
    """Return the norm of the first layer's weights after an epoch."""
    model = MLPClassifier(
        (50,), solver="sgd", momentum=0, batch_size=batch, learning_rate_init=lr, alpha=alpha, max_iter=1,
        random_state=0,
    )  # fmt: skip
    return np.linalg.norm(model.fit(IMAGES, LABELS).coefs_[0])


wrong = False
for batch in (1, 10, 100, 1000):
    steps = N // batch
    share = size(batch, LR, ALPHA) / size(batch, 1e-12, 0)
    by_batch = (1 - LR * ALPHA / batch) ** steps
    wrong = wrong or abs(share - by_batch) > 1e-6
    print(f"batches of {batch}: {share:.4f} of the start, (1 - lr alpha / {batch}) ** {steps} is {by_batch:.4f}")
sys.exit(bool(wrong))
PYTHON
