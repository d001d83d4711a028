#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.optim.ASGD, "averaged stochastic gradient descent", with its defaults, on noisy gradients.
#
# One expects the network to end with averaged weights, nearer to the optimum than those of plain SGD (Polyak & Juditsky
# 1992). With the default t0 the average begins after 1,000,000 steps; until then it is a copy of the weights. From
# t0 on it is kept in the optimizer's state, as "ax", and the network's parameters are never set to it: who does not
# copy it evaluates plain SGD with a slowly falling learning rate.
#
# Observed (2026-11-30, Python 3.11), 1,000 parameters around the optimum, 2,000 steps at lr 0.1; root mean square
# distance from the optimum. The script fails if this changes:
#   SGD: parameters 0.23
#   ASGD: parameters 0.23, average 0.23
#   ASGD(t0=0): parameters 0.23, average 0.02
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch

torch.set_num_threads(1)


def distances(make):
    """Return how far the parameters are from the optimum, 0, and how far their average is, if there is one."""
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimizer = make([parameter])
    for _ in range(2000):
        parameter.grad = parameter.detach() + torch.randn(1000, generator=generator)
        optimizer.step()
    average = optimizer.state[parameter].get("ax")
    return [x.detach().square().mean().sqrt().item() for x in (parameter, average) if x is not None]


(sgd,) = distances(lambda parameters: torch.optim.SGD(parameters, lr=0.1))
asgd = distances(lambda parameters: torch.optim.ASGD(parameters, lr=0.1))
early = distances(lambda parameters: torch.optim.ASGD(parameters, lr=0.1, t0=0))
print(f"SGD: parameters {sgd:.2f}")
print(f"ASGD: parameters {asgd[0]:.2f}, average {asgd[1]:.2f}")
print(f"ASGD(t0=0): parameters {early[0]:.2f}, average {early[1]:.2f}")
sys.exit(asgd[0] != asgd[1] or asgd[0] != early[0] or asgd[0] < 0.9 * sgd or early[1] > 0.2 * early[0])
PYTHON
