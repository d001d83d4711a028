#!/usr/bin/env bash
# scikit-learn 1.9.1: MLPClassifier(max_iter=1, warm_start=True), fitted again for each epoch to draw a learning curve.
#
# One expects fifteen fits of one epoch to be a fit of fifteen epochs: warm_start keeps the weights. It keeps no more
# than them: each fit begins with momentum 0, or Adam's moments and step count at 0, and with random_state=0 shuffles
# the images into the same order again. The curve is another training's. partial_fit goes on where it was.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6), digits, 64 hidden units, SGD with momentum 0.9, lr 0.05, mean accuracy
# over ten seeds; the script fails where the first is not better than the second by half a point:
#   one fit of 15 epochs: 95.6 %
#   15 fits of one epoch: 93.6 %
#   15 calls of partial_fit: 95.5 %
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS, SEEDS = 15, 10
DIGITS = load_digits()


def model(seed, **settings):
    return MLPClassifier(
        (64,), solver="sgd", learning_rate_init=0.05, n_iter_no_change=1000, random_state=seed, **settings
    )


def at_once(seed, x, y):
    return model(seed, max_iter=EPOCHS).fit(x, y)


def one_by_one(seed, x, y):
    made = model(seed, max_iter=1, warm_start=True)
    for _ in range(EPOCHS):
        made.fit(x, y)
    return made


def by_parts(seed, x, y):
    made = model(seed)
    for _ in range(EPOCHS):
        made.partial_fit(x, y, classes=range(10))
    return made


def accuracy(way):
    scores = []
    for seed in range(SEEDS):
        x, x_test, y, y_test = train_test_split(
            DIGITS.data / 16, DIGITS.target, test_size=0.3, random_state=seed, stratify=DIGITS.target
        )
        scores.append(way(seed, x, y).score(x_test, y_test))
    return np.mean(scores)


whole, fits, parts = map(accuracy, (at_once, one_by_one, by_parts))
print(f"one fit of {EPOCHS} epochs: {100 * whole:.1f} %")
print(f"{EPOCHS} fits of one epoch: {100 * fits:.1f} %")
print(f"{EPOCHS} calls of partial_fit: {100 * parts:.1f} %")
sys.exit(bool(whole - fits < 0.005 or abs(whole - parts) > 0.01))
PYTHON
