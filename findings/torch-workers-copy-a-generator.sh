#!/usr/bin/env bash
# PyTorch 2.13.0: a Dataset that augments with a NumPy generator of its own, in a DataLoader with workers, on Linux.
#
# One expects fresh noise for each image in each epoch: a Generator that is made once and handed on is what NumPy
# advises, and the loader seeds its workers. It seeds the global generators of torch, random and NumPy. The Dataset's
# own is copied with the Dataset: all workers draw the same numbers, and new workers, of each epoch, the same ones
# again. Without workers nothing repeats; persistent workers repeat no epoch, but one another. A generator made in the
# worker, by its seed (torch.utils.data.get_worker_info().seed), draws other numbers everywhere.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6), of 192 images in 3 epochs; the script fails if this changes:
#   no workers: 192 different draws
#   1 worker: 64 different draws
#   4 workers: 16 different draws
#   2 persistent workers: 96 different draws
#   4 workers, each with a generator by its seed: 192 different draws
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/draws.py" <<'PYTHON'
import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Noisy(Dataset):
    """64 images whose augmentation is one random number."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return 64

    def __getitem__(self, place):
        return self.rng.normal()


def seeded(_worker):
    info = get_worker_info()
    info.dataset.rng = np.random.default_rng(info.seed)


def different(workers, **settings):
    torch.manual_seed(0)
    loader = DataLoader(Noisy(), batch_size=4, num_workers=workers, **settings)
    return len({float(value) for _epoch in range(3) for batch in loader for value in batch})


if __name__ == "__main__":
    seen = {
        "no workers": different(0),
        "1 worker": different(1),
        "4 workers": different(4),
        "2 persistent workers": different(2, persistent_workers=True),
        "4 workers, each with a generator by its seed": different(4, worker_init_fn=seeded),
    }
    for name, count in seen.items():
        print(f"{name}: {count} different draws")
    sys.exit(list(seen.values()) != [192, 64, 16, 96, 192])
PYTHON
"$folder/env/bin/python" -W ignore "$folder/draws.py"
