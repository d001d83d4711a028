#!/usr/bin/env bash
# Optuna 5.0.0: a script with a seeded sampler and load_if_exists=True, started a second time to go on with its study.
#
# One expects a second start to add new trials: the storage keeps the trials, and the seed makes the whole reproducible. The
# sampler's generator is in no storage: it begins anew at its seed. RandomSampler draws the same trials again, all of
# them; TPESampler those of its ten random ones that are still to come, as they were at the first start. QMCSampler
# counts in the storage, and goes on.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6, SciPy 1.17.1); the script fails if this changes:
#   RandomSampler, 20 trials twice: 20 different
#   TPESampler, 5 trials twice: 5 different
#   QMCSampler, 20 trials twice: 40 different
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet optuna==5.0.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import optuna
from optuna.samplers import QMCSampler, RandomSampler, TPESampler

optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def started(sampler, trials):
    """Run the script once; return the study's learning rates so far."""
    study = optuna.create_study(
        storage="sqlite:///studies.db", study_name=sampler.__name__, sampler=sampler(seed=0), load_if_exists=True
    )
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1, log=True), n_trials=trials)
    return [trial.params["lr"] for trial in study.trials]


seen = {}
for sampler, trials in ((RandomSampler, 20), (TPESampler, 5), (QMCSampler, 20)):
    started(sampler, trials)
    rates = started(sampler, trials)
    seen[sampler] = len(set(rates))
    print(f"{sampler.__name__}, {trials} trials twice: {seen[sampler]} different")
sys.exit(seen[RandomSampler] != 20 or seen[TPESampler] != 5 or seen[QMCSampler] < 38)
PYTHON
