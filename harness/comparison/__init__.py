"""Comparison of two results folders, with a gate for regressions; and verdicts on any table of runs.

Of two folders, A is the old run, B the new one: every difference is B minus A, paired by seed. Of a table,
every arm is compared with its reference (`judge`). Nothing here imports torch.
"""

from harness.comparison.comparing import ALPHA, MARGIN, Comparison, Metric, compare
from harness.comparison.gates import Gate, gate
from harness.comparison.judging import Judgement, judge
from harness.comparison.text import write

__all__ = [
    "ALPHA", "MARGIN", "Comparison", "Gate", "Judgement", "Metric", "compare", "gate", "judge", "write",
]  # fmt: skip
