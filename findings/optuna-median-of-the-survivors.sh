#!/usr/bin/env bash
# Optuna 5.0.0: MedianPruner and SuccessiveHalvingPruner, told the same trials, each of one constant accuracy, in
# three orders.
#
# One expects the median pruner to stop about half of the trials, and successive halving with factor 3 to spend about
# the same on the same trials. MedianPruner takes the median of complete trials, those that it did not stop: of trials
# at random it lets fewer and fewer through. And each looks only at the trials before: given from bad to good (a grid
# from its worst end, a sampler that learns) nothing is ever stopped, and from good to bad nearly everything.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6), 243 trials of up to 27 epochs; the script fails if this changes:
#   MedianPruner, at random: 40 trials complete, 1283 epochs
#   MedianPruner, from bad to good: 243 trials complete, 6561 epochs
#   MedianPruner, from good to bad: 5 trials complete, 373 epochs
#   SuccessiveHalvingPruner, at random: 11 trials complete, 745 epochs
#   SuccessiveHalvingPruner, from bad to good: 243 trials complete, 6561 epochs
#   SuccessiveHalvingPruner, from good to bad: 1 trials complete, 269 epochs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet optuna==5.0.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
EPOCHS, TRIALS = 27, 243
RISING = np.linspace(0.1, 0.9, TRIALS)
ORDERS = {
    "at random": np.random.default_rng(0).permutation(RISING),
    "from bad to good": RISING,
    "from good to bad": RISING[::-1],
}


def trained(pruner, accuracies):
    """Return how many trials are complete, and all their epochs."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    complete = epochs = 0
    for accuracy in accuracies:
        trial = study.ask()
        for epoch in range(1, EPOCHS + 1):
            epochs += 1
            trial.report(float(accuracy), epoch)
            if epoch < EPOCHS and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(accuracy))
            complete += 1
    return complete, epochs


pruners = {
    "MedianPruner": lambda: optuna.pruners.MedianPruner(),
    "SuccessiveHalvingPruner": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
}
seen = {(name, order): trained(make(), ORDERS[order]) for name, make in pruners.items() for order in ORDERS}
for (name, order), (complete, epochs) in seen.items():
    print(f"{name}, {order}: {complete} trials complete, {epochs} epochs")
everything = (TRIALS, TRIALS * EPOCHS)
rising = [seen[name, "from bad to good"] for name in pruners]
sys.exit(rising != [everything] * 2 or seen["MedianPruner", "at random"][0] > TRIALS / 4)
PYTHON
