#!/usr/bin/env bash
# PyTorch 2.13.0 (CPU): torch.manual_seed with seeds of 64 bits, made by hashing the names of trials.
#
# One expects that trials with different seeds start from different weights: manual_seed takes 64 bits, and initial_seed()
# gives all of them back. The generator of the CPU, a Mersenne Twister, is started by the lower 32 bits alone: seeds
# that differ by a multiple of 2**32 draw the same numbers. Of n hashed seeds some two are then equal from about n =
# 77,000 on (one chance in two) instead of 5 billion. Seeds that are counted, 0, 1, 2, .., never meet.
#
# Observed (2026-11-30, Python 3.11); the script fails if this changes:
#   200,000 names: 200,000 seeds of 64 bits, 199,997 streams
#   trial 42825 and trial 167178: initial_seed() equal: False, equal weights: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import hashlib
import sys
from collections import defaultdict

import torch

NAMES = [f"trial {i}" for i in range(200_000)]


def seed_of(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def weights(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(100, 100).weight, torch.initial_seed()


seeds = {seed_of(name) for name in NAMES}
alike = defaultdict(list)
for name in NAMES:
    alike[seed_of(name) % 2**32].append(name)
one, other = next(names for names in alike.values() if len(names) > 1)[:2]
(w, seed), (v, another) = (weights(seed_of(name)) for name in (one, other))
print(f"{len(NAMES):,} names: {len(seeds):,} seeds of 64 bits, {len(alike):,} streams")
print(f"{one} and {other}: initial_seed() equal: {seed == another}, equal weights: {torch.equal(w, v)}")
sys.exit(len(seeds) < len(NAMES) or len(alike) == len(NAMES) or seed == another or not torch.equal(w, v))
PYTHON
