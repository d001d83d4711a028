"""Comparison of two results folders: two commits, two machines, two settings; and a gate for regressions.

A is the old run, B the new one: every difference is B minus A, paired by seed. Nothing here imports torch.
"""

from harness.comparison.comparing import ALPHA, MARGIN, Comparison, Metric, compare
from harness.comparison.gates import Gate, gate
from harness.comparison.text import write

__all__ = ["ALPHA", "MARGIN", "Comparison", "Gate", "Metric", "compare", "gate", "write"]
