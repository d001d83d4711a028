#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): OneCycleLR over SGD with momentum 0, 0.5 and 0.9, and over Adam with three beta1.
#
# One expects a study of the momentum to compare three momenta: the schedule is of the learning rate. By default it cycles
# the momentum as well, between 0.95 and 0.85, in place of the optimizer's: the three arms are one and the same training,
# to the last bit, plain SGD included. A study that has OneCycleLR on another axis compares momenta there. Nothing warns.
# cycle_momentum=False leaves the optimizer's own.
#
# Observed (2026-11-30, Python 3.11), different weights after 100 steps; the script fails if this changes:
#   SGD, momentum 0.0, 0.5, 0.9: 1, momentum in use 0.85 to 0.95
#   Adam, beta1 0.0, 0.5, 0.9: 1, momentum in use 0.85 to 0.95
#   SGD, cycle_momentum=False: 3, momentum in use 0.00 to 0.90
#   Adam, cycle_momentum=False: 3, momentum in use 0.00 to 0.90
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

torch.set_num_threads(1)
MOMENTA = (0.0, 0.5, 0.9)


def sgd(parameters, momentum):
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum)


def adam(parameters, momentum):
    return torch.optim.Adam(parameters, lr=0.1, betas=(momentum, 0.999))


def trained(make, momentum, **settings):
    """Return the weights after 100 steps, and the momenta that were in use."""
    torch.manual_seed(0)
    net, x, y = torch.nn.Linear(20, 2), torch.randn(500, 20), torch.randint(2, (500,))
    optimizer = make(net.parameters(), momentum)
    schedule = OneCycleLR(optimizer, max_lr=0.1, total_steps=101, **settings)
    used = []
    for _ in range(100):
        group = optimizer.param_groups[0]
        used.append(group["betas"][0] if "betas" in group else group["momentum"])
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
    return tuple(net.weight.detach().flatten().tolist()), used


def seen(words, make, **settings):
    weights, used = zip(*(trained(make, momentum, **settings) for momentum in MOMENTA))
    low, high = min(map(min, used)), max(map(max, used))
    print(f"{words}: {len(set(weights))}, momentum in use {low:.2f} to {high:.2f}")
    return len(set(weights))


listed = ", ".join(map(str, MOMENTA))
counts = [seen(f"SGD, momentum {listed}", sgd), seen(f"Adam, beta1 {listed}", adam)]
counts += [seen(f"{name}, cycle_momentum=False", make, cycle_momentum=False) for name, make in (("SGD", sgd), ("Adam", adam))]
sys.exit(counts != [1, 1, 3, 3])
PYTHON
