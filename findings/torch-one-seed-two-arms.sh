#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.manual_seed(0) at the start of two arms that differ in one setting, and the batches they see.
#
# One expects arms of one seed to be paired: the same start, the same batches. DataLoader(shuffle=True) draws the seed
# of each epoch's order from the global generator, and whatever draws from that in between moves all that follows:
# dropout, an evaluation by a DataLoader that shuffles nothing (it draws a seed for workers that it has not), and the
# weights of a wider layer, before the first batch. So a study of dropout, of the width, or of how often one evaluates
# compares batch orders too, and its differences are not paired. A generator of the loader's own keeps the arms together.
#
# Observed (2026-11-30, Python 3.11), against an arm of 16 hidden units without dropout; the script fails if this changes:
#   another learning rate: the same batches in epoch 1 True, in epoch 2 True
#   dropout 0.5: the same batches in epoch 1 True, in epoch 2 False
#   evaluated after each epoch: the same batches in epoch 1 True, in epoch 2 False
#   32 hidden units: the same batches in epoch 1 False, in epoch 2 False
#   a generator of the loader's own: the same batches in all arms True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
PLACES = torch.arange(64)
PIXELS = torch.sin(torch.arange(64 * 8.0)).view(64, 8)
TRAIN, VAL = TensorDataset(PIXELS, PLACES), TensorDataset(PIXELS)
ARMS = {
    "another learning rate": {"lr": 0.2},
    "dropout 0.5": {"dropout": 0.5},
    "evaluated after each epoch": {"evaluate": True},
    "32 hidden units": {"hidden": 32},
}


def batches(lr=0.1, dropout=0.0, evaluate=False, hidden=16, own=False):
    """Train an arm for two epochs from seed 0; return the order of the images in each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0) if own else None
    train, val = DataLoader(TRAIN, 8, shuffle=True, generator=generator), DataLoader(VAL, 64)
    orders = []
    for _ in range(2):
        order = []
        for x, places in train:
            optimizer.zero_grad()
            cross_entropy(net(x), places % 2).backward()
            optimizer.step()
            order += places.tolist()
        orders.append(order)
        if evaluate:
            net.eval()
            for (x,) in val:
                net(x)
            net.train()
    return orders


base = batches()
seen = {}
for words, changed in ARMS.items():
    seen[words] = [one == other for one, other in zip(batches(**changed), base)]
    print(f"{words}: the same batches in epoch 1 {seen[words][0]}, in epoch 2 {seen[words][1]}")
kept = all(batches(**changed, own=True) == batches(own=True) for changed in ARMS.values())
print(f"a generator of the loader's own: the same batches in all arms {kept}")
sys.exit(list(seen.values()) != [[True, True], [True, False], [True, False], [False, False]] or not kept)
PYTHON
