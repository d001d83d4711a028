#!/usr/bin/env bash
# pandas 3.1.1: merge on a learning rate, float32 in one table (as a tensor gave it) and float64 in the other (as a
# file did).
#
# One expects all rows to meet, or a warning: merge warns where integers meet floats. float32's 0.1 is made float64 first,
# 0.10000000149011612, which is not 0.1: only the learning rates that are sums of few powers of two stay in the table.
# Written to a CSV and read again, the float32 column is "0.1" and all rows meet; through float() or .item() they do not.
#
# Observed (2026-11-30, Python 3.11, NumPy 2.4.6), of 12 learning rates; the script fails if this changes:
#   float32 against float64: 3 rows: 1.0 0.5 0.25
#   float() of float32 against float64: 3 rows: 1.0 0.5 0.25
#   float32 through a CSV against float64: 12 rows
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet pandas==3.1.1 numpy==2.4.6
"$folder/env/bin/python" -W error - <<'PYTHON'
import io
import sys

import numpy as np
import pandas as pd

RATES = [1.0, 0.5, 0.3, 0.25, 0.2, 0.1, 0.05, 0.03, 0.01, 0.003, 0.001, 0.0001]
of_file = pd.DataFrame({"lr": RATES, "accuracy": 0.9})
of_tensor = pd.DataFrame({"lr": np.array(RATES, np.float32), "loss": 0.3})


def met(table):
    return of_file.merge(table, on="lr")["lr"].tolist()


direct = met(of_tensor)
by_float = met(of_tensor.assign(lr=[float(rate) for rate in of_tensor["lr"]]))
through_csv = met(pd.read_csv(io.StringIO(of_tensor.to_csv(index=False))))
print(f"float32 against float64: {len(direct)} rows: {' '.join(map(str, direct))}")
print(f"float() of float32 against float64: {len(by_float)} rows: {' '.join(map(str, by_float))}")
print(f"float32 through a CSV against float64: {len(through_csv)} rows")
sys.exit(direct != [1.0, 0.5, 0.25] or by_float != direct or through_csv != RATES)
PYTHON
