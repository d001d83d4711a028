#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): AveragedModel with get_ema_multi_avg_fn(0.999), of a network whose parameters are bfloat16.
#
# One expects the moving average of a weight that stays at 1 to approach 1, at 0.999 by half within 700 steps. The
# average has the parameters' type. Each step moves it by a thousandth of what is left, and a step below half a unit
# of its last place is rounded away: the average stands still where that begins, and the longer training takes no part
# in it. Nothing warns, and the averaged network looks like a bad one. An average kept in float32 arrives.
#
# Observed (2026-11-30, Python 3.11), the average of weights that are 0 once and then 1 for 10,000 steps; the script
# fails if this changes:
#   bfloat16: 0.25
#   float16: 0.76
#   float32: 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.set_num_threads(1)


def averaged(dtype):
    net = torch.nn.Linear(4, 4, bias=False).to(dtype)
    torch.nn.init.zeros_(net.weight)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    average.update_parameters(net)  # the first call copies
    torch.nn.init.ones_(net.weight)
    for _ in range(10_000):
        average.update_parameters(net)
    return average.module.weight.double().mean().item()


seen = {str(dtype).removeprefix("torch."): averaged(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
for name, value in seen.items():
    print(f"{name}: {value:.2f}")
sys.exit(seen["bfloat16"] > 0.3 or not 0.3 < seen["float16"] < 0.9 or seen["float32"] < 0.99)
PYTHON
