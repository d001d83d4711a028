#!/usr/bin/env bash
# NumPy 2.4.6: default_rng([seed, arm]), a list of numbers that is to give every arm of a seed a stream of its own.
#
# One expects lists that differ to give streams that differ. SeedSequence mixes words of 32 bits in a pool of four,
# and a word that the list has not counts as 0: up to four words, lists that differ in the zeros at their end are
# one seed. So arm 0 of a seed draws what the seed alone draws (its split, say), and so does repetition 0 of arm 0. A
# seed above 32 bits is a list of two words. A fifth word is kept apart, even a 0; but it is how children are spawned,
# so a list of five words may be a child's stream. Lists of one length, of numbers below 2**32, do not collide.
#
# Observed (2026-11-30, Python 3.11); the script fails if this changes:
#   the stream of default_rng(7): [7, 0], [7, 0, 0], [7, 0, 0, 0]
#   another stream: [7, 1], [0, 7], [7, 0, 0, 0, 0]
#   default_rng(7 + 5 * 2**32) is that of [7, 5]: True
#   the first child of SeedSequence(7) is that of [7, 0, 0, 0, 0]: True
#   1,000 lists [seed, arm, repetition] of numbers below 10 give 1,000 streams
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import itertools
import sys

import numpy as np


def stream(seed):
    return tuple(np.random.default_rng(seed).integers(2**63, size=4).tolist())


lists = [[7, 0], [7, 0, 0], [7, 0, 0, 0], [7, 1], [0, 7], [7, 0, 0, 0, 0]]
same = [seed for seed in lists if stream(seed) == stream(7)]
others = [seed for seed in lists if stream(seed) != stream(7)]
large = stream(7 + 5 * 2**32) == stream([7, 5])
child = stream(np.random.SeedSequence(7).spawn(1)[0]) == stream([7, 0, 0, 0, 0])
distinct = len({stream(list(seed)) for seed in itertools.product(range(10), repeat=3)})
print(f"the stream of default_rng(7): {', '.join(map(str, same))}")
print(f"another stream: {', '.join(map(str, others))}")
print(f"default_rng(7 + 5 * 2**32) is that of [7, 5]: {large}")
print(f"the first child of SeedSequence(7) is that of [7, 0, 0, 0, 0]: {child}")
print(f"1,000 lists [seed, arm, repetition] of numbers below 10 give {distinct:,} streams")
sys.exit((same, others, large, child, distinct) != (lists[:3], lists[3:], True, True, 1000))
PYTHON
