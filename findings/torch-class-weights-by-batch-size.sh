#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): CrossEntropyLoss(weight=[1, 9]) on data with 900 samples of class 0 and 100 of class 1.
#
# One expects a network without inputs to learn that both classes are as likely, since the weights make up for the
# shares. The default reduction divides each batch's loss by the batch's own weights, not by its size: in a batch of one
# the weight cancels and has no effect, and in small batches it has part of its effect. So the batch size decides what
# the weights mean, and micro-batches that are accumulated are not the batch that they make up. With reduction="none"
# and the mean over the samples' weights of the whole data, every batch size learns the same.
#
# Observed (2026-11-30, Python 3.11), the probability of class 1 that is learned; the script fails where one differs by
# more than 0.03:
#   batches of 1: 0.09
#   batches of 10: 0.39
#   batches of 100: 0.49
#   batches of 1000: 0.50
#   batches of 1, weighted losses divided by a constant: 0.48
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)
STEPS, WEIGHT = 6_000, torch.tensor([1.0, 9.0])
LABELS = torch.arange(1000).lt(100).long()


def learned(batch, loss):
    """Train two logits by SGD; return the mean probability of class 1 over the second half of the steps."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(1, 2, requires_grad=True)
    total = 0.0
    for step in range(STEPS):
        y = LABELS[torch.randint(1000, (batch,), generator=generator)]
        (gradient,) = torch.autograd.grad(loss(logits.expand(batch, 2), y), logits)
        with torch.no_grad():
            logits -= 0.03 * gradient
            total += logits.softmax(1)[0, 1].item() * (step >= STEPS // 2)
    return total / (STEPS - STEPS // 2)


def built_in(z, y):
    return cross_entropy(z, y, weight=WEIGHT)


def by_constant(z, y):
    return (cross_entropy(z, y, reduction="none") * WEIGHT[y]).mean() / WEIGHT[LABELS].mean()


seen = [learned(batch, built_in) for batch in (1, 10, 100, 1000)]
for batch, share in zip((1, 10, 100, 1000), seen):
    print(f"batches of {batch}: {share:.2f}")
even = learned(1, by_constant)
print(f"batches of 1, weighted losses divided by a constant: {even:.2f}")
observed = [0.09, 0.39, 0.49, 0.50, 0.48]
sys.exit(any(abs(a - b) > 0.03 for a, b in zip([*seen, even], observed)))
PYTHON
