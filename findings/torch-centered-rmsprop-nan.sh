#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.optim.RMSprop(centered=True) with finite gradients, each parameter's the same at every step.
#
# One expects finite parameters: the gradients are finite, and eps is added so that nothing is divided by 0. The centered
# variant takes the root of square_avg - grad_avg^2, a variance. For a constant gradient both terms approach the same
# number, and rounding makes the difference a little negative; its root is NaN, before eps is added, and the parameter is
# NaN from then on. No step warns. A floor of 0 below the root keeps everything finite.
#
# Observed (2026-11-29, Python 3.11), of 1,000 parameters with gradients from 1e-6 to 1e3; the script fails if none is NaN,
# or if one is with the floor (counts may differ with the processor's vectors):
#   alpha 0.9, float32: 449 parameters are NaN after 2,000 steps, the first at step 133; with the floor: 0
#   alpha 0.99, float32: 31 parameters are NaN after 2,000 steps, the first at step 1211; with the floor: 0
#   alpha 0.9, float64: 46 parameters are NaN after 2,000 steps, the first at step 329; with the floor: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch

STEPS = 2000


def trained(alpha, dtype):
    """Train by torch's class; return the parameters and the first step that leaves a NaN."""
    gradient = torch.logspace(-6, 3, 1000, dtype=dtype)
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    optimizer = torch.optim.RMSprop([parameter], lr=1e-3, alpha=alpha, centered=True)
    first = None
    for step in range(1, STEPS + 1):
        parameter.grad = gradient.clone()
        optimizer.step()
        if first is None and parameter.isnan().any():
            first = step
    return parameter, first


def floored(alpha, dtype):
    """The same rule with a variance that is at least 0."""
    gradient = torch.logspace(-6, 3, 1000, dtype=dtype)
    parameter, square, mean = (torch.zeros_like(gradient) for _ in range(3))
    for _ in range(STEPS):
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        mean.lerp_(gradient, 1 - alpha)
        variance = square.addcmul(mean, mean, value=-1).clamp_(min=0)
        parameter.addcdiv_(gradient, variance.sqrt_().add_(1e-8), value=-1e-3)
    return parameter


surprising = True
for alpha, dtype in ((0.9, torch.float32), (0.99, torch.float32), (0.9, torch.float64)):
    parameter, first = trained(alpha, dtype)
    wrong, repaired = int(parameter.isnan().sum()), int((~floored(alpha, dtype).isfinite()).sum())
    name = str(dtype).removeprefix("torch.")
    print(f"alpha {alpha}, {name}: {wrong} parameters are NaN after {STEPS:,} steps, the first at step {first}; "
          f"with the floor: {repaired}")
    surprising = surprising and wrong > 0 and repaired == 0
sys.exit(not surprising)
PYTHON
