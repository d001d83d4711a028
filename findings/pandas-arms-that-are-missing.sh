#!/usr/bin/env bash
# pandas 3.1.1: read_csv of a results table whose arms are called "None", "NA" and "batch", then groupby and merge.
#
# One expects three arms. read_csv takes None, NA, null, n/a and more words for missing values, in columns of text
# too. groupby leaves missing keys out, so that the arm without normalisation, the baseline, is in no table; and merge,
# unlike SQL's join, takes missing keys for equal: each row of "None" meets the row of "NA" of its seed. No step warns.
# keep_default_na=False, with dtypes given, keeps all.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6); the script fails if this changes:
#   by default: arms with a mean: batch; 6 rows merged with themselves: 10
#   keep_default_na=False: arms with a mean: NA, None, batch; 6 rows merged with themselves: 6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet pandas==3.1.1 numpy==2.4.6
"$folder/env/bin/python" -W error - <<'PYTHON'
import io
import sys

import pandas as pd

TABLE = """normalisation,seed,accuracy
None,0,0.95
None,1,0.96
NA,0,0.90
NA,1,0.91
batch,0,0.97
batch,1,0.98
"""


def seen(**settings):
    trials = pd.read_csv(io.StringIO(TABLE), **settings)
    arms = sorted(trials.groupby("normalisation")["accuracy"].mean().index)
    return arms, len(trials.merge(trials, on=["normalisation", "seed"]))


default, kept = seen(), seen(keep_default_na=False)
for words, (arms, rows) in (("by default", default), ("keep_default_na=False", kept)):
    print(f"{words}: arms with a mean: {', '.join(arms)}; 6 rows merged with themselves: {rows}")
sys.exit((default, kept) != ((["batch"], 10), (["NA", "None", "batch"], 6)))
PYTHON
