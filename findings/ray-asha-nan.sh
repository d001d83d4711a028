#!/usr/bin/env bash
# Ray Tune 2.60.0: ASHAScheduler and trials that report NaN at every epoch, beside trials that report an accuracy of 0.
#
# One expects a diverged trial to be stopped at the first rung, as the worst. The scheduler stops a trial that is below a
# percentile of those before, and no comparison with NaN is true: the trial is trained to the end, 27 epochs instead of 1. NaN
# is left out of the percentile as well, so the diverged trials do not count among those that are beaten: of the others more
# are stopped.
#
# Observed (2026-11-29, Python 3.11, NumPy 2.4.6, pandas 3.1.1); the script fails if this changes:
#   diverged trials report an accuracy of 0: they get 1.0 epochs on average, the others 5.3
#   diverged trials report NaN: they get 27.0 epochs on average, the others 4.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet "ray[tune]==2.60.0" numpy==2.4.6 pandas==3.1.1
"$folder/env/bin/python" - <<'PYTHON'
import math
import sys
from types import SimpleNamespace

import numpy as np
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

EPOCHS, TRIALS = 27, 300


def epochs(diverged):
    """Mean epochs of diverged trials, one in three, and of the others, whose accuracies are constant."""
    asha = ASHAScheduler(metric="accuracy", mode="max", max_t=EPOCHS, reduction_factor=3)
    accuracies = np.random.default_rng(0).uniform(0.1, 1, size=TRIALS)
    trained = []
    for number, accuracy in enumerate(accuracies):
        trial = SimpleNamespace(trial_id=str(number))
        asha.on_trial_add(None, trial)
        reported = diverged if number % 3 == 2 else float(accuracy)
        for epoch in range(1, EPOCHS + 1):
            result = {"accuracy": reported, "training_iteration": epoch}
            if asha.on_trial_result(None, trial, result) == TrialScheduler.STOP:
                break
        trained.append(epoch)
    bad = np.arange(TRIALS) % 3 == 2
    trained = np.array(trained)
    return round(float(trained[bad].mean()), 1), round(float(trained[~bad].mean()), 1)


results = {"an accuracy of 0": epochs(0.0), "NaN": epochs(math.nan)}
for reported, (bad, others) in results.items():
    print(f"diverged trials report {reported}: they get {bad} epochs on average, the others {others}")
sys.exit(results != {"an accuracy of 0": (1.0, 5.3), "NaN": (27.0, 4.5)})
PYTHON
