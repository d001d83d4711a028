#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.func.functional_call of a module with tied weights, of which a part is registered twice.
#
# One expects a call to leave the module as it was, and a second call with the same values to give the same result. A part
# that is registered under two names has the given values put in once for each; at the end, the second name puts "back"
# what the first had put there. The module keeps the given tensors in place of its parameters, and two layers that shared a
# weight share it no more: the next call computes one of them with the weight of before. Nothing warns. Each name once, with
# tie_weights=False, gives equal results.
#
# Observed (2026-11-29, Python 3.11); the script fails where the two results are equal, or where those of each name once
# are not:
#   equal results of two calls: False; the weight is still tied: False; each name once: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.func import functional_call


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.again = self.one

    def forward(self, x):
        return self.again(self.other(self.one(x)))


torch.manual_seed(0)
x, net = torch.randn(2, 3), Tied()
values = {name: torch.randn_like(value) for name, value in net.named_parameters()}
first, second = (functional_call(net, values, (x,)) for _ in range(2))
equal, tied = torch.equal(first, second), net.one.weight is net.other.weight
net = Tied()
once = {**values, "other.weight": values["one.weight"]}
results = [functional_call(net, once, (x,), tie_weights=False) for _ in range(2)]
sound = torch.equal(*results) and torch.equal(results[0], first)
print(f"equal results of two calls: {equal}; the weight is still tied: {tied}; each name once: {sound}")
sys.exit(equal or tied or not sound)
PYTHON
