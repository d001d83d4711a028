"""Comparisons of two results folders: two commits, two machines, two settings; and the gate made of one.

A is what was, B what is: every difference is B minus A, paired by seed. Frames only, never torch.
"""

from harness.comparison.comparing import ALPHA, MARGIN, Comparison, Metric, compare
from harness.comparison.gates import Gate, gate
from harness.comparison.tables import check_out, write

__all__ = ["ALPHA", "MARGIN", "Comparison", "Gate", "Metric", "check_out", "compare", "gate", "write"]
