#!/usr/bin/env bash
# NumPy 2.4.6 (x86-64 wheel): np.exp, np.log, np.tanh and np.power of the same 100,000 numbers, by one wheel on one machine.
#
# One expects the same bits from the same wheel on every x86-64 processor. NumPy chooses loops by the processor's
# instructions when it is imported, and the loops round differently: another processor, or NPY_DISABLE_CPU_FEATURES, which
# takes instructions away as below, changes the last bit of up to 39 % of the results. A learning rate made by np.power, or
# pixels made by np.log, are then another machine's others. Roots, sums, products and quotients are the same everywhere.
#
# Observed (2026-11-29, Python 3.11, a processor with AVX-512); the script fails where nothing differs, so on a processor
# without AVX2, and where sqrt or a product differs. Results that differ from those with all instructions:
#   float32 exp: 0 without AVX-512, 38596 without AVX2     float64 exp: 4610 and 4610
#   float32 log: 0 and 23051                               float64 log: 268 and 268
#   float32 tanh: 0 and 37817                              float64 tanh: 0 and 30203
#   float32 power: 20471 and 20471                         float64 power: 5416 and 5416
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet numpy==2.4.6
cat > "$folder/functions.py" <<'PYTHON'
import sys

import numpy as np

results = {}
for dtype in ("float32", "float64"):
    x = np.linspace(0.01, 3, 100_000).astype(dtype)
    made = {name: getattr(np, name)(x) for name in ("exp", "log", "tanh", "sqrt")}
    made["power"], made["product"] = np.power(x, x.dtype.type(2.5)), x * x
    results |= {f"{dtype} {name}": values for name, values in made.items()}
np.savez(sys.argv[1], **results)
PYTHON
run() {
    NPY_DISABLE_CPU_FEATURES="$2" "$folder/env/bin/python" -W ignore "$folder/functions.py" "$folder/$1.npz"
}
run all ""
run v3 "X86_V4 AVX512_ICL AVX512_SPR"
run v2 "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np

whole, *others = (np.load(f"{sys.argv[1]}/{name}.npz") for name in ("all", "v3", "v2"))
unlike = {name: [int((whole[name] != other[name]).sum()) for other in others] for name in whole}
for name, (v3, v2) in unlike.items():
    print(f"{name}: {v3} without AVX-512, {v2} without AVX2")
exact = [sum(counts) for name, counts in unlike.items() if name.endswith(("sqrt", "product"))]
rounded = [sum(counts) for name, counts in unlike.items() if not name.endswith(("sqrt", "product"))]
sys.exit(any(exact) or not any(rounded))
PYTHON
