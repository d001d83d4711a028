"""A results folder -> report.html and figures: the question, the answer, and the evidence for it.

Every word about a number is generated from that number, every selection reads the validation split, and
a part without data says so.
"""

from harness.reporting.arm_figures import arm_confusion, arm_panels
from harness.reporting.data import ReportData, prepare, rank, read, read_tables, where
from harness.reporting.model import Figure, Page, Section, Table
from harness.reporting.page import answers, draw, judgement, save, write

__all__ = [
    "Figure", "Page", "ReportData", "Section", "Table", "answers", "arm_confusion", "arm_panels", "draw",
    "judgement", "prepare", "rank", "read", "read_tables", "save", "where", "write",
]  # fmt: skip
