#!/usr/bin/env bash
# syne-tune 0.16.0: ASHA, told losses at the first rung, where one trial in ten has diverged and reports NaN.
#
# One expects diverged trials to count as the worst, and the others to be judged as if those had reported a very high
# loss. ASHA sorts the rung's losses with Python's `sorted`, which NaN leaves out of order, and looks up a trial's rank in
# that list by bisection: of the trials that have not diverged, good ones are stopped, and bad ones go on.
#
# Observed (2026-11-29, Python 3.11, NumPy 2.4.6, pandas 3.1.1); the script fails if this changes:
#   diverged trials report a loss of 1,000: of the others, 60 % are stopped: 0 % of losses below 0.2, 99 % of losses above 0.6
#   diverged trials report NaN: of the others, 52 % are stopped: 5 % of losses below 0.2, 85 % of losses above 0.6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet syne-tune==0.16.0 numpy==2.4.6 pandas==3.1.1
"$folder/env/bin/python" - <<'PYTHON'
import datetime
import logging
import math
import sys

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import ASHA

logging.disable(logging.CRITICAL)
TRIALS, EVERY = 300, 10


def stopped(diverged, seed):
    """Losses of the trials that have not diverged, and which of them ASHA stops."""
    losses = np.random.default_rng(seed).uniform(size=TRIALS)
    asha = ASHA({"x": uniform(0, 1)}, metric="loss", time_attr="epoch", max_t=27, random_seed=seed)
    decisions = []
    for number, loss in enumerate(losses):
        trial = Trial(number, {"x": 0.5}, datetime.datetime.now())
        asha.on_trial_add(trial)
        reported = diverged if number % EVERY == 0 else float(loss)
        decisions.append(asha.on_trial_result(trial, {"loss": reported, "epoch": 1}) == "STOP")
    others = np.arange(TRIALS) % EVERY != 0
    return losses[others], np.array(decisions)[others]


def seen(diverged):
    all_losses, all_stopped = map(np.concatenate, zip(*(stopped(diverged, seed) for seed in range(10))))
    good, bad = all_losses < 0.2, all_losses > 0.6
    return tuple(round(100 * float(x.mean())) for x in (all_stopped, all_stopped[good], all_stopped[bad]))


results = {"a loss of 1,000": seen(1000.0), "NaN": seen(math.nan)}
for reported, (share, good, bad) in results.items():
    print(
        f"diverged trials report {reported}: of the others, {share} % are stopped: "
        f"{good} % of losses below 0.2, {bad} % of losses above 0.6"
    )
sys.exit(results != {"a loss of 1,000": (60, 0, 99), "NaN": (52, 5, 85)})
PYTHON
